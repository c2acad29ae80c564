#!/usr/bin/env bash
# Makes sure that Node 20 or later and Python 3.10 or later (with venv) are there, for the tests of the SDKs.
set -euo pipefail

has_node() { command -v node >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0] >= 20')" = true ] && command -v npm >/dev/null; }
has_python() { "${PYTHON:-python3}" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

if ! has_node || ! has_python; then
    if command -v apt-get >/dev/null; then
        sudo=
        [ "$(id -u)" -eq 0 ] || sudo=sudo
        $sudo apt-get update -qq
        has_node || $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nodejs npm
        has_python || $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv
    elif command -v brew >/dev/null; then
        has_node || brew install node
        has_python || brew install python3
    fi
fi
has_node || {
    echo "Node 20 or later is needed for the tests of sdk/typescript; this system offers none: https://nodejs.org" >&2
    exit 1
}
has_python || {
    echo "Python 3.10 or later with venv is needed for the tests of sdk/python: https://www.python.org" >&2
    exit 1
}
