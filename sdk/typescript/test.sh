#!/bin/sh
# Checks and tests the TypeScript SDK: installs the locked dependencies into this folder, compares the generated models,
# builds, checks types and lints, and runs all tests against a real gateway, also those of the built package.
#
#   QUOTAGATE_BIN=/path/to/quotagate ./test.sh       default: ../../target/debug/quotagate
#   ./test.sh checks                                 without the tests
#   ./test.sh tests                                  only the tests, after the checks
#   ./test.sh tests faults stream                    the tests of test/faults.test.ts and test/stream.test.ts
set -eu
cd "$(dirname "$0")"

fail() {
	echo "sdk/typescript: $1" >&2
	exit 1
}

command -v node >/dev/null || fail "node not found: install Node 20 or later"
[ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 20')" = true ] || fail "its tests need Node 20 or later"
: "${QUOTAGATE_BIN:=../../target/debug/quotagate}"
[ -x "$QUOTAGATE_BIN" ] || fail "no gateway at $QUOTAGATE_BIN: build it, or set QUOTAGATE_BIN"
QUOTAGATE_BIN=$(cd "$(dirname "$QUOTAGATE_BIN")" && pwd)/$(basename "$QUOTAGATE_BIN")
export QUOTAGATE_BIN

if ! cmp -s package-lock.json node_modules/.installed-lock; then
	npm ci --ignore-scripts
	cp package-lock.json node_modules/.installed-lock
fi

checks() {
	rm -rf .build
	mkdir .build
	node scripts/generate-models.mjs ../../docs/openapi.json .build/models.ts
	cmp -s src/models.ts .build/models.ts || fail "src/models.ts differs from docs/openapi.json: npm run generate"

	# Lints use one core, the build and the types the other.
	npm run --silent lint >.build/lint.log 2>&1 &
	lint=$!
	trap 'kill "$lint" 2>/dev/null' EXIT
	# The examples use the built package.
	npm run --silent build
	npm run --silent check
	wait "$lint" || {
		cat .build/lint.log >&2
		fail "lints failed: npm run lint"
	}
	trap - EXIT
}

tests() {
	[ $# -gt 0 ] || set -- '*'
	for name; do
		shift
		set -- "$@" .build/test/$name.test.js
	done
	node .build/test/support/run.js "$@"
}

case ${1:-all} in
	checks) checks ;;
	tests)
		shift
		tests "$@"
		;;
	*)
		checks
		tests
		;;
esac
