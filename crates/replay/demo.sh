#!/usr/bin/env bash
# Starts a gateway of its own, loads the example plans, replays a trace of LLM calls on each
# and stops the gateway again. Nothing stays behind.
#
#   crates/replay/demo.sh [TRACE.csv]     the trace; else $TRACE, else the committed excerpt
#   USERS=50 crates/replay/demo.sh        users per plan; else one for every 30 rows
#   BINARIES=target/debug crates/replay/demo.sh     a folder with quotagate and quotagate-replay, to use
#                                                   instead of building them
set -euo pipefail

trace=${1:-${TRACE:-}}
case $trace in
    '' | /*) ;;
    *) trace=$PWD/$trace ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
trace=${trace:-tests/data/azure-llm-conv-2023-excerpt.csv}

say() { printf '\n== %s\n\n' "$*"; }
die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

[ -r "$trace" ] || die "cannot read the trace $trace"
command -v curl >/dev/null || die "curl is needed"
rows=$(($(grep -c "" "$trace") - 1))
users=${USERS:-$(((rows + 29) / 30))}

if [ -z "${BINARIES:-}" ]; then
    "${CARGO:-cargo}" build --release --package quotagate --package quotagate-replay
    BINARIES=${CARGO_TARGET_DIR:-target}/release
fi
for program in quotagate quotagate-replay; do
    [ -x "$BINARIES/$program" ] || die "there is no $BINARIES/$program"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/quotagate-demo.XXXXXX")
gateway=

# Stops the gateway, which stops its Redis; fails if it does not end by itself.
stop_gateway() {
    [ -n "$gateway" ] || return 0
    local pid=$gateway status=0
    gateway=
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 600); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        kill -KILL "$pid"
        echo "demo: the gateway did not stop within 60 seconds" >&2
        return 1
    fi
    wait "$pid" || status=$?
    [ "$status" -eq 0 ] || echo "demo: the gateway ended with status $status" >&2
    return "$status"
}

clean_up() {
    local status=$?
    trap - EXIT
    stop_gateway || status=1
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
admin_key=ak_$(random_hex 24)

# The gateway chooses its port, and prints its address when it is ready.
: >"$work/log"
env -u QUOTAGATE_REDIS_URL -u QUOTAGATE_CONFIG \
    QUOTAGATE_BIND=127.0.0.1:0 QUOTAGATE_DATA_DIR="$work/data" \
    QUOTAGATE_ADMIN_KEY="$admin_key" \
    "$BINARIES/quotagate" serve >>"$work/log" 2>&1 &
gateway=$!
url=
waited=0
while [ -z "$url" ]; do
    # It gives up by itself earlier: its Redis has 30 seconds to start.
    if ! kill -0 "$gateway" 2>/dev/null || [ "$waited" -ge 1200 ]; then
        tail -n 20 "$work/log" >&2
        die "the gateway did not become ready"
    fi
    sleep 0.1
    waited=$((waited + 1))
    url=$(sed -n 's/^quotagate is listening on //p' "$work/log")
done
say "A gateway runs at $url, its data in $work/data"

# admin METHOD PATH [curl arguments]: a call with the root admin key; prints the answer.
admin() {
    local method=$1 path=$2
    shift 2
    curl --silent --show-error --noproxy '*' --max-time 60 --request "$method" "$url/api/v1/$path" --fail-with-body \
        --header "Authorization: Bearer $admin_key" --header 'Content-Type: application/json' "$@"
}

load_plan() {
    local answer
    answer=$(admin PUT "plans/$1" --data-binary "@examples/demo/$1.json") ||
        die "the plan $1 was refused: $answer"
    echo "loaded examples/demo/$1.json"
}

load_plan demo_generous
load_plan demo_tight
answer=$(admin POST keys --data '{"kind":"secret","mode":"live","name":"demo"}') ||
    die "no key was made: $answer"
QUOTAGATE_KEY=$(sed -n 's/.*"key" *: *"\([^"]*\)".*/\1/p' <<<"$answer")
[ -n "$QUOTAGATE_KEY" ] || die "no key in the answer: $answer"
export QUOTAGATE_KEY

replay() {
    local plan=$1
    say "$plan: $(basename "$trace") as $users users"
    "$BINARIES/quotagate-replay" "$trace" --users "$users" --url "$url" \
        --plan "$plan" --user-prefix "${plan}_"
}

replay demo_generous
replay demo_tight
say "Stopping the gateway"
stop_gateway
