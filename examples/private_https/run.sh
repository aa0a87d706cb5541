#!/usr/bin/env bash
# Two organisations on one private HTTPS host, each with a token of its own, behind the host's own authority.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

# 1. A private Git host with a repository of each organisation, and a token for each.
for team in core apps; do
    mkdir -p "$work/$team"
    printf 'module corp.example/%s/hello\n\ngo 1.21\n' "$team" >"$work/$team/go.mod"
    printf 'package hello\n\nconst Greeting = "hello from %s"\n' "$team" >"$work/$team/hello.go"
    commit "$work/$team" 'first version' v1.0.0
    publish "$work/$team" "$team/hello"
done
export CORE_TOKEN=core-token-4711
umask 077
printf 'apps-token-0815\n' >"$work/apps.token"
host https --name git.corp.example --password "core:$CORE_TOKEN" --password "apps:$(cat "$work/apps.token")"

# 2. The proxy, which has the tokens; 3. go, which has none.
proxy
main corp.example/core/hello m.Greeting
go get corp.example/core/hello@latest corp.example/apps/hello@latest
go run .
cat go.sum

# 4. Without its token a repository is an error with a cause and a cure, never a 404.
printf 'an-old-token\n' >"$work/apps.token"
vcsproxy explain --config "$work/vcsproxy.toml" --data "$work/other" corp.example/apps/hello@v1.0.0 | tail -n 2 || true
