#!/usr/bin/env bash
# Repeats the model's histories, the concurrent ones, the parsers on random texts, hostile calls and
# the short fault tests with new seeds, for SOAK_SECONDS (default 600), one line of figures per round.
# Stops at the first failure with what replays it: a seed, or the name of the test.
# ROUND_SECONDS (default 60): how long histories of each kind are played in one round.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo=${CARGO:-cargo}
# NEW_SEEDS: each test prints its seeds, which repeat it.
export MODEL_SECONDS=${ROUND_SECONDS:-60} NEW_SEEDS=1 RUST_BACKTRACE=0

# The tests that run for hours are those of the start, whatever is edited or built meanwhile; only the gateways that the
# fault tests start are what was built last.
"$cargo" build || exit 1
built=$("$cargo" test --no-run --test model --test faults --test parsers 2>&1) || { echo "$built" >&2; exit 1; }
executable() {
    sed -nE "s|^ *Executable $1 \\((.*)\\)\$|\\1|p" <<<"$built"
}
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
cp "$(executable tests/model.rs)" "$kept/model" && cp "$(executable tests/faults/main.rs)" "$kept/faults" &&
    cp "$(executable tests/parsers.rs)" "$kept/parsers" || exit 1
log=$kept/log

fail() {
    echo "round $round, $1:" >&2
    grep -v '^test .* ok$' "$log" | tail -n 150 >&2
    exit 1
}

began=$SECONDS
round=0
calls=0
while ((round == 0 || SECONDS - began < ${SOAK_SECONDS:-600})); do
    round=$((round + 1))
    "$kept/model" --nocapture --test-threads 1 >"$log" 2>&1 || fail "histories"
    histories=$(grep -oE '(model|crowd|credits|credit crowd): [0-9]+ histories.*' "$log" | paste -sd ';' | sed 's/;/; /g')
    for count in $(grep -oE '[0-9]+ calls' "$log" | cut -d ' ' -f 1); do
        calls=$((calls + count))
    done
    PROPTEST_RNG_SEED=$((RANDOM << 15 | RANDOM))
    export PROPTEST_RNG_SEED
    "$kept/parsers" >"$log" 2>&1 || fail "parsers, PROPTEST_RNG_SEED=$PROPTEST_RNG_SEED"
    HOSTILE_SECONDS=${ROUND_SECONDS:-60} scripts/test-hostile.sh >"$log" 2>&1 || fail "hostile calls"
    "$kept/faults" --nocapture --test-threads 1 >"$log" 2>&1 || fail "faults"
    faults=$(grep -oE 'test result: ok. [0-9]+ passed' "$log" | grep -oE '[0-9]+')
    echo "round $round, $((SECONDS - began)) s: $histories; $faults fault tests; $calls calls of histories so far"
done
