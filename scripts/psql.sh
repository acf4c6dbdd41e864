#!/usr/bin/env bash
# Opens psql in the server that the last demo kept, and stops that server afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

kept=target/demo-server
if [[ ! -e $kept || ! -d $(cat "$kept")/data ]]; then
    echo "There is no demo to go on with; run 'make demo' first." >&2
    exit 1
fi
dir=$(cat "$kept")
trap 'scripts/server.sh stop "$dir"' EXIT
# Ctrl-C is psql's: it cancels a statement.
trap : INT
scripts/server.sh start "$dir"
PGHOST=$dir PGUSER=postgres PGDATABASE=demo "$("$PG_CONFIG" --bindir)/psql"
