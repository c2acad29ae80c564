#!/bin/sh
# Runs the built package on other runtimes, against a real gateway. It downloads them (about 300 MB) into a folder that it
# deletes, so test.sh does not run it.
#
#   QUOTAGATE_BIN=/path/to/quotagate scripts/runtimes.sh
set -eu
cd "$(dirname "$0")/.."
: "${QUOTAGATE_BIN:=../../target/debug/quotagate}"
QUOTAGATE_BIN=$(cd "$(dirname "$QUOTAGATE_BIN")" && pwd)/$(basename "$QUOTAGATE_BIN")
folder=$(pwd)
work=$(mktemp -d)
gateway=
trap 'if [ -n "$gateway" ]; then kill "$gateway"; wait "$gateway" || true; fi; rm -rf "$work"' EXIT

npm run --silent build
npm pack --silent --ignore-scripts --pack-destination "$work"
cd "$work"
echo '{ "private": true }' >package.json
npm install --no-audit --no-fund --ignore-scripts ./quotagate-sdk-*.tgz node@18.20.8 bun@1.4.5 deno@2.9.6
for package in node bun deno; do
	(cd "node_modules/$package" && npm run --if-present preinstall && npm run --if-present postinstall) >/dev/null
done
cp "$folder/scripts/any-runtime.mjs" .

QUOTAGATE_ADMIN_KEY=ak_any_runtime_0123456789abcdef
export QUOTAGATE_ADMIN_KEY
QUOTAGATE_BIND=127.0.0.1:0 QUOTAGATE_DATA_DIR="$work/data" "$QUOTAGATE_BIN" serve >"$work/output" 2>/dev/null &
gateway=$!
while ! grep -q "listening on" "$work/output"; do
	kill -0 "$gateway" || exit 1
	sleep 0.1
done
QUOTAGATE_URL=$(sed -n 's/.*listening on //p' "$work/output")
export QUOTAGATE_URL

for runtime in "node_modules/node/bin/node" "node" "node_modules/.bin/bun" "node_modules/.bin/deno run --allow-net --allow-env"; do
	echo "$runtime"
	$runtime any-runtime.mjs
done
