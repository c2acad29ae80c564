#!/bin/sh
# Checks the TypeScript SDK from nothing: installs what it is developed with into this folder, compares the generated
# models, checks types and lints, builds, and runs all tests against a real gateway, the built package among them.
#
#   QUOTAGATE_BIN=/path/to/quotagate ./test.sh       default: ../../target/debug/quotagate
#   ./test.sh checks                                 all but the tests
#   ./test.sh tests                                  these only, of what was built by the checks
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
	cmp -s src/models.ts .build/models.ts || fail "src/models.ts is not what docs/openapi.json says: npm run generate"

	# Lints use one core, types and the build the other.
	npm run --silent lint >.build/lint.log 2>&1 &
	lint=$!
	trap 'kill "$lint" 2>/dev/null' EXIT
	npm run --silent check
	npm run --silent build
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
		# The names of files, or all of them.
		set -- "$@" .build/test/$name.test.js
	done
	# Every wait has a deadline of its own, of two minutes.
	node --test --test-concurrency=2 --test-timeout=900000 --test-reporter=spec "$@"
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
