#!/usr/bin/env bash
# Builds the extension and installs it into the PostgreSQL of PG_CONFIG, unless what is installed
# there was built from these very sources.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=target/installed
libraries=$("$PG_CONFIG" --pkglibdir)
extensions=$("$PG_CONFIG" --sharedir)/extension

fingerprint() {
    {
        find Cargo.toml Cargo.lock pg_teller.control src sql models crates -type f -print0 |
            sort -z | xargs -0 sha256sum
        # The installed files too: another checkout may have replaced them.
        sha256sum "$libraries"/pg_teller*.so "$extensions"/pg_teller* 2>/dev/null || true
        "$PG_CONFIG" --version
        rustc --version
    } | sha256sum
}

if [[ -e $stamp && $(fingerprint) == $(cat "$stamp") ]]; then
    exit 0
fi

as_root=()
if [[ ! -w $libraries || ! -w $extensions ]]; then
    if ! command -v sudo >/dev/null; then
        echo "Cannot write to $libraries and $extensions, and there is no sudo here." >&2
        echo "Run 'make install' as a user who can." >&2
        exit 1
    fi
    as_root=(sudo)
fi

mkdir -p target
rm -rf "$stamp" target/package
PATH=$PWD/target/tools/bin:$PATH cargo pgrx package --pg-config "$PG_CONFIG" \
    --out-dir target/package
# Unlike cp, install replaces files: servers that have the old library mapped keep it.
"${as_root[@]}" install -m 755 "target/package$libraries"/pg_teller*.so "$libraries"
# Released versions too, so that a database can be upgraded from any of them.
"${as_root[@]}" install -m 644 "target/package$extensions"/pg_teller* sql/install/pg_teller--*.sql \
    "$extensions"
fingerprint >"$stamp"
