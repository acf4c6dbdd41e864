#!/usr/bin/env bash
# What a change must pass besides its tests: format, lints, files short enough to read, and
# released scripts as they were.
set -euo pipefail
cd "$(dirname "$0")/.."

longest=600

cargo fmt --all -- --check
cargo clippy --workspace --all-targets -- -D warnings

long=$(git ls-files -z --cached --others --exclude-standard '*.rs' '*.sql' '*.sh' ':!sql/install' |
    xargs -0 wc -l | awk -v longest=$longest '$2 != "total" && $1 > longest')
if [[ -n $long ]]; then
    echo "Files of more than $longest lines; split them by subject:" >&2
    echo "$long" >&2
    exit 1
fi

# What was released is upgraded from, so it does not change any more.
(cd sql/install && sha256sum --check --quiet SHA256SUMS)
