#!/usr/bin/env bash
# Builds target/release/quotagate twice: instrumented, to record which code calls run through, and then with that
# profile. Needs python3, redis-server and rustup. PROFILE_GUIDED=no builds once, without a profile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo=${CARGO:-cargo}
# Where rustup puts its programs, if they are not on the PATH.
export PATH="$PATH:$HOME/.cargo/bin"
if [ "${PROFILE_GUIDED:-yes}" = no ]; then
    exec "$cargo" build --release --locked --bin quotagate
fi
command -v rustup >/dev/null || {
    echo "rustup not found: it installs the program that merges profiles; or set PROFILE_GUIDED=no" >&2
    exit 1
}
rustup component add llvm-tools
tools=$(dirname "$(find "$(rustc --print sysroot)" -name llvm-profdata | head -n 1)")
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/trained" "$target/release"
folder=$(cd "$target/trained" && pwd)

# Both builds have the same settings, so that the names of functions agree with those in the profile. With --target, the
# flags do not apply to build scripts and procedural macros.
build() {
    RUSTFLAGS=$1 "$cargo" build --release --locked --bin quotagate --target "$host" --target-dir "$folder"
}
build "-Cprofile-generate=$folder/profiles"
rm -rf "$folder/profiles"
scripts/train.py "$folder/$host/release"
"$tools/llvm-profdata" merge --output "$folder/calls.profdata" "$folder/profiles"
build "-Cprofile-use=$folder/calls.profdata"

# The compiler says nothing about a profile of functions with other names, and does not use it.
functions() { grep -oE '(_ZN|_R)[A-Za-z0-9_.$]+' | sort -u; }
busiest=$("$tools/llvm-profdata" show --topn=1000 "$folder/calls.profdata" | functions)
found=$("$tools/llvm-nm" "$folder/$host/release/quotagate" | functions | comm -12 - <(echo "$busiest") | wc -l)
if [ "$found" -lt 300 ]; then
    echo "the release has $found of the 1000 functions that the profile names first: the compiler ignored the profile" >&2
    exit 1
fi
cp "$folder/$host/release/quotagate" "$target/release/quotagate"
