#!/bin/sh
# Checks and tests the Python SDK on a machine with Python 3.10 or later and a package index: types, lints, the package,
# the package in an empty project, and tests against a real gateway. It installs its tools into .venv.
#
#   QUOTAGATE_BIN=../../target/debug/quotagate ./test.sh
#   ./test.sh checks                                    without the tests
#   ./test.sh tests                                     only the tests
#   ./test.sh tests tests/test_faults.py -k deadline    some tests; the arguments are those of pytest
#   ./test.sh generate                                  writes the generated files again; needs no gateway
set -eu
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

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

find_gateway() {
    QUOTAGATE_BIN="${QUOTAGATE_BIN:-../../target/debug/quotagate}"
    [ -x "$QUOTAGATE_BIN" ] || { echo "no gateway at $QUOTAGATE_BIN: build it, or set QUOTAGATE_BIN" >&2; exit 1; }
    QUOTAGATE_BIN="$(realpath "$QUOTAGATE_BIN")"
    export QUOTAGATE_BIN
}

generate() {
    step "Generated files"
    $python tools/generate_models.py
    $python tools/generate_sync.py
}

checks() {
    find_gateway
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
    # The environment contains only the locked dependencies. It is created again when these change.
    stamp=".test/$(sha256sum <requirements-runtime.lock | cut -c 1-16)"
    if [ ! -f "$stamp" ]; then
        rm -rf .test
        $python -m venv .test/venv
        .test/venv/bin/python -m pip install --quiet --require-hashes -r requirements-runtime.lock
        touch "$stamp"
    fi
    .test/venv/bin/python -m pip install --quiet --force-reinstall --no-deps --no-index dist/quotagate-*.whl
    .test/venv/bin/python -m pip check
    # In another folder, so that Python does not import this one.
    (cd .test && venv/bin/python -I ../tools/use_package.py)
    $python tools/typed_package.py .test
}

tests() {
    find_gateway
    step "Tests"
    $python -m pytest "$@"
}

case ${1:-all} in
    checks) checks ;;
    generate) generate ;;
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
echo "Passed."
