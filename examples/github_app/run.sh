#!/usr/bin/env bash
# A GitHub App instead of anybody's token: the proxy signs with the app's key and gets tokens that live for an hour.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

# 1. A GitHub of our own: its API gives a token to app 12345 for installation 67890, its Git takes only such tokens.
mkdir "$work/hello"
printf 'module github.corp.example/platform/hello\n\ngo 1.21\n' >"$work/hello/go.mod"
printf 'package hello\n\nconst Greeting = "hello from an app"\n' >"$work/hello/hello.go"
commit "$work/hello" 'first version' v1.0.0
publish "$work/hello" platform/hello
ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f "$work/app.pem"
host github --name github.corp.example --app 12345 --installation 67890 --key "$work/app.pem"

# 2. The proxy, which has the app's key; 3. go, which has nothing.
proxy
main github.corp.example/platform/hello m.Greeting
go get github.corp.example/platform/hello@latest
go run .
cat go.sum
grep -c 'token given' "$work/host.log" | sed 's/$/ token was enough/'
