#!/usr/bin/env bash
# Runs the fuzz targets in fuzz/, each for SECONDS_EACH seconds. They need cargo-fuzz; without it the same checks run on
# stable, with random bytes and texts that no coverage steers. Nightly Rust adds the address sanitizer; stable takes what
# libFuzzer needs by RUSTC_BOOTSTRAP, without a sanitizer (the product has no unsafe code of its own).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo=${CARGO:-cargo}

if ! "$cargo" fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is not there (cargo install cargo-fuzz):" >&2
    echo "the same checks run on stable, with ${PROPTEST_CASES:=100000} cases each" >&2
    export PROPTEST_CASES PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-$RANDOM$RANDOM}
    echo "PROPTEST_RNG_SEED=$PROPTEST_RNG_SEED repeats this run" >&2
    exec "$cargo" test --release --test parsers the_fuzz_targets
fi
if "$cargo" +nightly --version >/dev/null 2>&1; then
    fuzz=("$cargo" +nightly fuzz run)
else
    export RUSTC_BOOTSTRAP=1
    fuzz=("$cargo" fuzz run --sanitizer none)
fi
for target in fuzz/fuzz_targets/*.rs; do
    "${fuzz[@]}" "$(basename "$target" .rs)" -- -max_total_time="${SECONDS_EACH:-60}" -max_len=4096
done
