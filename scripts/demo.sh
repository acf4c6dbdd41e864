#!/usr/bin/env bash
# Runs demo/demo.sql in a fresh private server and keeps the server's folder for `make psql`.
# With --remove it only removes what the last demo kept.
set -euo pipefail
cd "$(dirname "$0")/.."

kept=target/demo-server
if [[ -e $kept ]]; then
    scripts/server.sh remove "$(cat "$kept")"
    rm "$kept"
fi
[[ ${1:-} != --remove ]] || exit 0

mkdir -p target
dir=$(scripts/server.sh new)
echo "$dir" >"$kept"
trap 'scripts/server.sh stop "$dir"' EXIT
trap 'exit 130' INT TERM
scripts/server.sh start "$dir"

psql=$("$PG_CONFIG" --bindir)/psql
export PGHOST=$dir PGUSER=postgres PGOPTIONS='--client-min-messages=info'
"$psql" -X -q -d postgres -c 'CREATE DATABASE demo'
# Line by line, so that INFO lines of a training stand where they belong.
stdbuf -oL "$psql" -X -q -d demo --echo-queries -v ON_ERROR_STOP=1 -P pager=off <demo/demo.sql 2>&1
