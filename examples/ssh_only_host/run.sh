#!/usr/bin/env bash
# A host that is reached by SSH only, with a deploy key behind a passphrase: no go-import page, nothing over HTTP.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

# 1. A repository, a key with a passphrase, and an SSH server that lets this key read.
mkdir "$work/hello"
printf 'module git.corp.example/team/hello\n\ngo 1.21\n' >"$work/hello/go.mod"
printf 'package hello\n\nconst Greeting = "hello over ssh"\n' >"$work/hello/hello.go"
commit "$work/hello" 'first version' v1.0.0
publish "$work/hello" team/hello
export KEY_PASSPHRASE='correct horse'
ssh-keygen -q -t ed25519 -N "$KEY_PASSPHRASE" -C deploy -f "$work/deploy_key"
host ssh --name git.corp.example --authorized "$work/deploy_key.pub"

# 2. The proxy knows the host's key beforehand; 3. go has neither SSH nor Git to use.
proxy
main git.corp.example/team/hello m.Greeting
go get git.corp.example/team/hello@latest
go run .
cat go.sum
