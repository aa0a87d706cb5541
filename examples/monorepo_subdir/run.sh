#!/usr/bin/env bash
# One repository with much in it: Go lives in the directory go, and some directories there are modules of their own.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

# 1. The repository: documents, a frontend, and two Go modules.
mono=$work/mono
mkdir -p "$mono/docs" "$mono/web" "$mono/go/auth"
echo 'the handbook' >"$mono/docs/index.md"
echo '{"name": "web"}' >"$mono/web/package.json"
printf 'module corp.example/platform\n\ngo 1.21\n' >"$mono/go/go.mod"
printf 'package platform\n\nconst Greeting = "hello from go/"\n' >"$mono/go/platform.go"
printf 'module corp.example/platform/auth\n\ngo 1.21\n' >"$mono/go/auth/go.mod"
printf 'package auth\n\nconst Greeting = "hello from go/auth"\n' >"$mono/go/auth/auth.go"
commit "$mono" 'two modules' go/v1.0.0 go/auth/v0.1.0 web-7
publish "$mono" mono
# ... and another one, that tags its releases without the directory.
mkdir -p "$work/tools/go"
printf 'module corp.example/tools\n\ngo 1.21\n' >"$work/tools/go/go.mod"
printf 'package tools\n\nconst Greeting = "hello from tools"\n' >"$work/tools/go/tools.go"
commit "$work/tools" 'a module in a directory' v2024.1 v0.3.0
publish "$work/tools" tools

# 2. The proxy, 3. the real go.
proxy
main corp.example/platform/auth m.Greeting
go get corp.example/platform@latest corp.example/platform/auth@latest corp.example/tools@latest
go run .
cat go.sum
