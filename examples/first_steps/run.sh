#!/usr/bin/env bash
# A module in a local Git repository, fetched by go through vcsproxy.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

# 1. A repository with a module and a tag.
mkdir "$work/hello"
printf 'module corp.example/hello\n\ngo 1.21\n' >"$work/hello/go.mod"
printf 'package hello\n\nconst Greeting = "hello from git"\n' >"$work/hello/hello.go"
commit "$work/hello" 'first version' v1.0.0
publish "$work/hello" hello

# 2. The proxy, on a free port; 3. the real go, with nothing but the proxy.
proxy
main corp.example/hello m.Greeting
go get corp.example/hello@latest
go run .
cat go.sum
