#!/usr/bin/env bash
# Runs the kernels' own tests, and those that hold networks to fixed bits, as a 64-bit ARM processor
# would. Says why and goes on where the compiler's target, the linker or the emulator cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
tests=(-p teller-numeric -p teller-nn --lib --test forced --test same_bits)

if [[ $(uname -m) == aarch64 ]]; then
    exit 0 # `cargo test` has run them already
fi
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/$target ]] && ! rustup target add "$target"; then
    echo "NEON is not tested: there is no Rust for $target here" >&2
    exit 0
fi
if ! scripts/packages.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; then
    echo "NEON is not tested: its linker and emulator cannot be installed here" >&2
    exit 0
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
# What others wrote need not be fast here; that halves the time.
cargo test --target "$target" "${tests[@]}" \
    --config 'profile.test.package."*".opt-level = 0' --config 'profile.test.debug = false'
