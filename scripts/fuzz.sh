#!/usr/bin/env bash
# Runs the fuzz targets in fuzz/, each for SECONDS_EACH seconds. They need nightly Rust and cargo-fuzz; without these the
# same checks run on stable, with random bytes and texts that no coverage steers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo=${CARGO:-cargo}

if ! "$cargo" +nightly fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz or nightly Rust is not there (rustup toolchain install nightly; cargo install cargo-fuzz):" >&2
    echo "the same checks run on stable, with ${PROPTEST_CASES:=100000} cases each" >&2
    export PROPTEST_CASES
    exec "$cargo" test --release --test parsers the_fuzz_targets
fi
for target in fuzz/fuzz_targets/*.rs; do
    "$cargo" +nightly fuzz run "$(basename "$target" .rs)" -- -max_total_time="${SECONDS_EACH:-60}" -max_len=4096
done
