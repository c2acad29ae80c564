#!/usr/bin/env bash
# Runs all tests. Suites that mostly wait, for servers that die and come back or for a browser, run beside
# suites that compute. Each group writes to a log, which is printed when the group ends; the slots in tests/support keep
# the heavy tests of all groups from running at the same time.
#
#   CARGO=cargo scripts/test.sh
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
logs=$target/test-logs
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(getconf _NPROCESSORS_ONLN)}

mkdir -p "$logs"
# Each command builds for the whole workspace: for one package, cargo would choose other features and build again.
"$cargo" test --no-run --workspace --all-targets || exit 1

computing() {
    "$cargo" test --workspace --no-fail-fast --lib --bins --test allocations --test api --test dependencies --test docs \
        --test model --test parsers --test replay --test scripts --test tidy
}

faults() {
    "$cargo" test --workspace --no-fail-fast --test faults
}

processes() {
    "$cargo" test --workspace --no-fail-fast --test process
}

others() {
    scripts/check-dashboard.sh && scripts/test-sdks.sh && scripts/test-hostile.sh
}

browser() {
    "$cargo" test --workspace --no-fail-fast --test dashboard
}

groups=(computing faults processes others browser)
pids=()
# A group that is interrupted takes its processes with it.
trap 'kill "${pids[@]}" 2>/dev/null; exit 130' INT TERM

# How long the group took, and the processor's part of it, go to a file.
TIMEFORMAT='%0R s (processor: %0U s + %0S s in the kernel)'
run() {
    { time "$1" >"$logs/$1.log" 2>&1; } 2>"$logs/$1.time"
}

echo "==== running ${#groups[@]} groups beside each other, with logs in $logs"
for group in "${groups[@]}"; do
    run "$group" &
    pids+=($!)
done
failed=()
for place in "${!groups[@]}"; do
    name=${groups[place]}
    wait "${pids[place]}" || failed+=("$name")
    echo "==== $name, $(cat "$logs/$name.time")"
    cat "$logs/$name.log"
done
if ((${#failed[@]})); then
    echo "==== FAILED: ${failed[*]} (logs in $logs)" >&2
    exit 1
fi
echo "==== all tests passed in $SECONDS s"
grep -h '^test result: ' "$logs"/*.log | awk '{ passed += $4; failed += $6; ignored += $8 }
    END { printf "test result: ok. %d passed; %d failed; %d ignored\n", passed, failed, ignored }'
