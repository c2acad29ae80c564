#!/usr/bin/env bash
# Runs the tests of both SDKs against the gateway that `cargo build` made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac
export QUOTAGATE_BIN=${QUOTAGATE_BIN:-$target/debug/quotagate}
sdk/typescript/test.sh
sdk/python/test.sh
