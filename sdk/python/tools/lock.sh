#!/bin/sh
# Makes the lock files anew, for every Python from 3.10 and every platform. Needs uv.
set -eu
cd "$(dirname "$0")/.."
for name in dev runtime; do
    uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
        --output-file "requirements-$name.lock" "requirements-$name.in"
done
