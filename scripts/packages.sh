#!/usr/bin/env bash
# Installs those of the Debian packages named that are missing: scripts/packages.sh gcc pkg-config
set -euo pipefail

missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done

if ((${#missing[@]})); then
    as_root=()
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            echo "Missing Debian packages: ${missing[*]}" >&2
            echo "There is no sudo here; as root, run: apt-get install ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "Installing Debian packages: ${missing[*]}"
    # A server of Debian's own is not needed: demo and tests start private ones.
    config=/etc/postgresql-common/createcluster.conf
    if [[ " ${missing[*]} " == *" postgresql-"* && ! -e $config ]]; then
        "${as_root[@]}" mkdir -p "${config%/*}"
        echo "create_main_cluster = false" | "${as_root[@]}" tee "$config" >/dev/null
    fi
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"
fi
