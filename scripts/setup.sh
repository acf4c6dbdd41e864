#!/usr/bin/env bash
# Brings what a bare Debian 12 with Rust and make lacks: Debian's packages and cargo-pgrx.
# Does nothing that is done already. `setup.sh peers` also brings what the benches' peers run in.
set -euo pipefail
cd "$(dirname "$0")/.."

pgrx_version=0.18.1

# A pg_config of the user's own choice brings its server and headers with it.
wanted=(gcc libc6-dev libclang-dev pkg-config)
if [[ $PG_CONFIG == /usr/lib/postgresql/*/bin/pg_config ]]; then
    major=${PG_CONFIG#/usr/lib/postgresql/}
    major=${major%%/*}
    # pg_cron is for the tests alone.
    wanted+=("postgresql-$major" "postgresql-server-dev-$major" "postgresql-$major-cron")
    [[ ${1:-} != peers ]] || wanted+=("postgresql-plpython3-$major")
fi
[[ ${1:-} != peers ]] || wanted+=(python3-venv)

scripts/packages.sh "${wanted[@]}"

if [[ ! -x $PG_CONFIG ]]; then
    echo "PG_CONFIG=$PG_CONFIG is no executable; name the pg_config of a PostgreSQL server" >&2
    exit 1
fi
if [[ ! -e $("$PG_CONFIG" --includedir-server)/postgres.h ]]; then
    echo "The PostgreSQL of $PG_CONFIG lacks its server headers" >&2
    exit 1
fi

if [[ $(target/tools/bin/cargo-pgrx pgrx --version 2>/dev/null) != "cargo-pgrx $pgrx_version" ]]; then
    # Without its default features cargo-pgrx needs no OpenSSL: it downloads nothing here.
    # Unoptimized, since compiling it takes longer than all that it will ever do here.
    echo "Installing cargo-pgrx $pgrx_version into target/tools"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=target/tools/build \
        cargo install cargo-pgrx --version "$pgrx_version" --locked --no-default-features \
        --debug --force --root target/tools
    rm -rf target/tools/build
fi
