#!/usr/bin/env bash
# A module in a local Git repository, fetched by go through vcsproxy.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; wait; chmod -R u+w "$work"; rm -rf "$work"' EXIT

# 1. A repository with a module and a tag.
git init -q "$work/hello"
cd "$work/hello"
printf 'module corp.example/hello\n\ngo 1.21\n' >go.mod
printf 'package hello\n\nconst Greeting = "hello from git"\n' >hello.go
git add . && git -c user.name=You -c user.email=you@corp.example commit -qm 'first version' && git tag v1.0.0
git clone -q --bare . "$work/repos/hello.git"

# 2. The proxy, on a free port.
sed "s|@REPOS@|$work/repos|" "$here/vcsproxy.toml" >"$work/vcsproxy.toml"
vcsproxy serve --config "$work/vcsproxy.toml" --data "$work/data" --listen 127.0.0.1:0 2>"$work/log" &
server=$!
for _ in $(seq 100); do
    url=$(grep -o 'http://127.0.0.1:[0-9]*' "$work/log" | head -n 1) && [ -n "$url" ] && break
    sleep 0.1
done

# 3. The real go, with nothing but the proxy.
export GOPROXY=$url GONOSUMDB='*' GOVCS='*:off' GOMODCACHE=$work/modcache GOCACHE=$work/gocache GOFLAGS=-mod=mod
mkdir "$work/main" && cd "$work/main"
printf 'package main\n\nimport "corp.example/hello"\n\nfunc main() { println(hello.Greeting) }\n' >main.go
go mod init example.com/main 2>/dev/null
go get corp.example/hello@latest
go run .
cat go.sum
