#!/usr/bin/env bash
# Writes all files that are made of others: OpenAPI, the schema of configuration files, the page of the command line, and
# the models of the SDKs.
#
#   CARGO=cargo scripts/generate.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo=${CARGO:-cargo}

"$cargo" build
program=$(realpath "${CARGO_TARGET_DIR:-target}/debug/quotagate")
write() {
    "${@:2}" >"$1.new"
    mv "$1.new" "$1"
}
write docs/openapi.json "$program" openapi
write docs/config.schema.json "$program" schema
write docs/reference/cli.md scripts/cli-page.py "$program"
node sdk/typescript/scripts/generate-models.mjs
# The formatter of the Python SDK's own environment.
[ -x sdk/python/.venv/bin/python ] || QUOTAGATE_BIN=$program sdk/python/test.sh tests --version
sdk/python/.venv/bin/python sdk/python/tools/generate_models.py
sdk/python/.venv/bin/python sdk/python/tools/generate_sync.py
