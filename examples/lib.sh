# What the examples share: a place to work in, a Git host that stands for yours, the proxy, and go with nothing else.
# Needs vcsproxy, go, git and the Python of vcsproxy's test extra on PATH. Everything is cleaned up at the end.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
pids=()

finish() {
    for pid in "${pids[@]:-}"; do [ -z "$pid" ] || kill "$pid" 2>/dev/null || true; done
    wait
    chmod -R u+w "$work" && rm -rf "$work"
}
trap finish EXIT

# commit DIR MESSAGE TAG...: commit all of DIR and tag it.
commit() {
    local dir=$1 message=$2
    shift 2
    [ -d "$dir/.git" ] || git init -q -b main "$dir"
    git -C "$dir" add .
    git -C "$dir" -c user.name=You -c user.email=you@corp.example commit -qm "$message"
    for tag in "$@"; do git -C "$dir" tag "$tag"; done
}

# publish DIR NAME: put DIR as NAME.git on the Git host.
publish() { mkdir -p "$(dirname "$work/repos/$2")" && git clone -q --bare "$1" "$work/repos/$2.git"; }

# wait_for FILE PATTERN: print the first match in FILE, when it is there.
wait_for() {
    for _ in $(seq 200); do
        if grep -o "$2" "$1" 2>/dev/null | head -n 1 | grep .; then return; fi
        sleep 0.1
    done
    echo "nothing like $2 in $1:" >&2 && cat "$1" >&2 && return 1
}

# host ARGUMENTS...: start a Git host for $work/repos; its port goes to $port, its files to $work/host.
host() {
    PYTHONPATH=$root python -m tests.support.standin "$@" --repos "$work/repos" --files "$work/host" >"$work/host.log" 2>&1 &
    pids+=($!)
    port=$(wait_for "$work/host.log" 'port [0-9]*')
    port=${port#port }
}

# proxy: start vcsproxy with the example's configuration; @WORK@ and @PORT@ are filled in. Its address goes to $GOPROXY.
proxy() {
    sed -e "s|@WORK@|$work|g" -e "s|@PORT@|${port:-0}|g" "$here/vcsproxy.toml" >"$work/vcsproxy.toml"
    vcsproxy serve --config "$work/vcsproxy.toml" --data "$work/data" --listen 127.0.0.1:0 2>"$work/log" &
    pids+=($!)
    GOPROXY=$(wait_for "$work/log" 'http://127.0.0.1:[0-9]*')
    export GOPROXY GONOSUMDB='*' GOVCS='*:off' GOMODCACHE=$work/modcache GOCACHE=${GOCACHE:-$work/gocache} GOFLAGS=-mod=mod
}

# main IMPORT EXPRESSION: a program that prints something of a module, in the current directory.
main() {
    mkdir -p "$work/main" && cd "$work/main"
    printf 'package main\n\nimport m "%s"\n\nfunc main() { println(%s) }\n' "$1" "$2" >main.go
    go mod init example.com/main 2>/dev/null
}
