#!/usr/bin/env bash
# Starts a gateway of its own, loads the example plans, replays a trace of LLM calls on each
# and stops the gateway again. Nothing stays behind.
#
#   scripts/demo.sh [TRACE.csv]      the trace; else $TRACE, else the committed excerpt
#   USERS=50 scripts/demo.sh         users per plan; else one for every 30 rows
#   BINARY=path scripts/demo.sh      a quotagate binary to use instead of building one
set -euo pipefail

trace=${1:-${TRACE:-}}
case $trace in
    '' | /*) ;;
    *) trace=$PWD/$trace ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
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

if [ -z "${BINARY:-}" ]; then
    "${CARGO:-cargo}" build --release
    BINARY=${CARGO_TARGET_DIR:-target}/release/quotagate
fi
[ -x "$BINARY" ] || die "no binary at $BINARY"

work=$(mktemp -d "${TMPDIR:-/tmp}/quotagate-demo.XXXXXX")
gateway=

# Stops the gateway, which stops its Redis; fails if it does not end by itself.
stop_gateway() {
    [ -n "$gateway" ] || return 0
    local pid=$gateway status=0
    gateway=
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 150); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        kill -KILL "$pid"
        echo "demo: the gateway did not stop within 15 seconds" >&2
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

# A port that nobody listens on. Another process may still take it first, so the start is tried
# on several.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

http() { curl --silent --show-error --noproxy '*' --max-time 10 "$@"; }

is_ready() { http --fail --output "$work/readyz" "$url/readyz" 2>/dev/null; }

# Succeeds when the gateway is ready, fails if it ends or takes more than 30 seconds.
start_gateway() {
    local port
    port=$(free_port)
    url=http://127.0.0.1:$port
    env -u QUOTAGATE_REDIS_URL -u QUOTAGATE_CONFIG \
        QUOTAGATE_BIND="127.0.0.1:$port" QUOTAGATE_DATA_DIR="$work/data" \
        QUOTAGATE_ADMIN_KEY="$admin_key" \
        "$BINARY" serve >"$work/log" 2>&1 &
    gateway=$!
    for _ in $(seq 150); do
        is_ready && return 0
        kill -0 "$gateway" 2>/dev/null || return 1
        sleep 0.2
    done
    return 1
}

started=
for _ in 1 2 3; do
    if start_gateway; then
        started=yes
        break
    fi
    stop_gateway || true
done
if [ -z "$started" ]; then
    tail -n 20 "$work/log" >&2
    die "the gateway did not become ready"
fi
say "A gateway runs at $url, its data in $work/data"

# admin METHOD PATH [curl arguments]: a call with the root admin key; prints the answer.
admin() {
    local method=$1 path=$2
    shift 2
    http --request "$method" "$url/api/v1/$path" --fail-with-body \
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
    "$BINARY" replay "$trace" --users "$users" --url "$url" \
        --plan "$plan" --user-prefix "${plan}_"
}

replay demo_generous
replay demo_tight
say "Stopping the gateway"
stop_gateway
