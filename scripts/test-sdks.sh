#!/usr/bin/env bash
# Runs the checks and tests of both SDKs, beside each other, against the gateway that `cargo build` made.
#
#   scripts/test-sdks.sh                    both
#   sdk/typescript/test.sh                  one, with its output as it comes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac
export QUOTAGATE_BIN=${QUOTAGATE_BIN:-$target/debug/quotagate}

logs=$(mktemp -d)
names=(typescript python)
declare -A pids
for name in "${names[@]}"; do
    # A group of processes of its own each, so that an interrupt ends all of them.
    set -m
    "sdk/$name/test.sh" </dev/null >"$logs/$name" 2>&1 &
    set +m
    pids[$name]=$!
done
stop() {
    for name in "${names[@]}"; do kill -TERM -- "-${pids[$name]}" 2>/dev/null || true; done
    rm -rf "$logs"
}
trap stop EXIT
trap 'exit 130' INT TERM

failed=()
for name in "${names[@]}"; do
    wait "${pids[$name]}" || failed+=("sdk/$name/test.sh")
    printf '\n== sdk/%s\n' "$name"
    cat "$logs/$name"
done
[ ${#failed[@]} -eq 0 ] || { printf '\nFailed; to run it alone: %s\n' "${failed[@]}" >&2; exit 1; }
