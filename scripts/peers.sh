#!/usr/bin/env bash
# Brings what the benches are measured against into target/peers, a virtual environment:
# `peers.sh serving` or `peers.sh serving training`, the lists in scripts/peers. Without a
# package index a bench measures what it can.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=target/peers
# Debian's own Python, since that is the one inside PL/Python.
python=/usr/bin/python3
# The shell's settings of other Pythons are not for this one.
unset PYTHONHOME PYTHONPATH

mkdir -p target
for list in "$@"; do
    if cmp --silent "scripts/peers/$list.txt" "$environment/$list.txt"; then
        continue
    fi
    echo "Installing the peers of $list into $environment"
    if [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"; then
        if "$environment/bin/python" -m pip install --quiet --requirement "scripts/peers/$list.txt"; then
            cp "scripts/peers/$list.txt" "$environment/$list.txt"
            continue
        fi
    fi
    echo "The peers of $list are not to be had, so nothing is compared with them" >&2
done
