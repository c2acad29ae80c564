#!/usr/bin/env bash
# Sends the gateway that `cargo build` made calls that are generated from docs/openapi.json, right ones and wrong ones.
#
#   scripts/test-hostile.sh                         the same calls each time
#   HOSTILE_SECONDS=900 scripts/test-hostile.sh     other calls, for so long
#   SEED=7 EXAMPLES=50 scripts/test-hostile.sh      that many calls per operation, made from this seed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac
export QUOTAGATE_BIN=${QUOTAGATE_BIN:-$target/debug/quotagate}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH

lock=tests/hostile/requirements.lock
venv=$target/hostile-venv
stamp=$venv/$(sha256sum <"$lock" | cut -c 1-16)
if [ ! -f "$stamp" ]; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --require-hashes -r "$lock"
    touch "$stamp"
fi
exec "$venv/bin/python" tests/hostile/run.py "$@"
