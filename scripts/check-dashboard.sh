#!/usr/bin/env bash
# Checks the types of the dashboard's scripts, with the compiler that the TypeScript SDK is developed with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../sdk/typescript"
if ! cmp -s package-lock.json node_modules/.installed-lock; then
    npm ci --ignore-scripts
    cp package-lock.json node_modules/.installed-lock
fi
exec node_modules/.bin/tsc -p ../../dashboard
