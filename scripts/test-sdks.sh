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

# Checks mostly keep one core busy, or wait for the network. Tests mind how long things take, and have the machine alone.
sdk/typescript/test.sh checks &
typescript=$!
status=0
sdk/python/test.sh checks || status=$?
wait "$typescript" || status=$?
[ "$status" -eq 0 ] || exit "$status"
sdk/typescript/test.sh tests
sdk/python/test.sh tests
