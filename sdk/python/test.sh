#!/bin/sh
# Everything, on a fresh machine with Python 3.10 or later and a package index:
# types, lints, the package, the package in an empty project, generated code, and tests against a real gateway.
#
#   QUOTAGATE_BIN=../../target/debug/quotagate ./test.sh
#   ./test.sh checks                                            all but the tests
#   ./test.sh tests                                             these only
#   ./test.sh tests tests/test_faults.py -k deadline            some of them; what follows is for pytest
set -eu
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

export QUOTAGATE_BIN="${QUOTAGATE_BIN:-../../target/debug/quotagate}"
[ -x "$QUOTAGATE_BIN" ] || { echo "no gateway at $QUOTAGATE_BIN: build it, or set QUOTAGATE_BIN" >&2; exit 1; }
QUOTAGATE_BIN="$(realpath "$QUOTAGATE_BIN")"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH

step "Dependencies, as locked"
stamp=".venv/$(cat requirements-dev.lock requirements-runtime.lock | sha256sum | cut -c 1-16)"
if [ ! -f "$stamp" ]; then
    rm -rf .venv
    "${PYTHON:-python3}" -m venv .venv
    .venv/bin/python -m pip install --quiet --require-hashes -r requirements-dev.lock
    touch "$stamp"
fi
python=.venv/bin/python

checks() {
    step "Types"
    $python -m mypy

    step "Lints and format"
    $python -m ruff check .
    $python -m ruff format --check .

    step "Package"
    rm -rf dist
    $python -m build --no-isolation >/dev/null
    ls dist

    step "The package in an empty project"
    # The environment has nothing but the locked dependencies; it is made anew when these change.
    stamp=".test/$(sha256sum <requirements-runtime.lock | cut -c 1-16)"
    if [ ! -f "$stamp" ]; then
        rm -rf .test
        $python -m venv .test/venv
        .test/venv/bin/python -m pip install --quiet --require-hashes -r requirements-runtime.lock
        touch "$stamp"
    fi
    .test/venv/bin/python -m pip install --quiet --force-reinstall --no-deps --no-index dist/quotagate-*.whl
    .test/venv/bin/python -m pip check
    # From elsewhere, so that nothing of this folder is found.
    (cd .test && venv/bin/python -I ../tools/use_package.py)
    $python tools/typed_package.py .test
}

tests() {
    step "Tests"
    $python -m pytest "$@"
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
echo
echo "All of it holds."
