#!/usr/bin/env bash
# Cargo runs this in place of the compiler for the workspace's own code, so that Clippy's lints are errors (`CLIPPY_ARGS`
# in the Makefile) and cost no build of their own. Cargo compiles the library twice, with and without its unit tests;
# Clippy reads it only with them.
if [[ " $* " == *" --crate-name quotagate "*" src/lib.rs "* && " $* " != *" --test "* ]]; then
    exec "$@" -Dwarnings
fi
exec clippy-driver "$@"
