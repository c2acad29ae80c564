#!/usr/bin/env bash
# Installs redis-server unless redis-server or valkey-server is on the PATH already.
set -euo pipefail

if command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then
    exit 0
fi

fail() {
    echo "quotagate needs redis-server or valkey-server, 7.0 or later, on the PATH: $*" >&2
    exit 1
}

install_with_apt() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "run 'apt-get install redis-server' as root"
        as_root=(sudo)
        # Without a terminal there is nobody to type a password.
        [ -t 0 ] || as_root=(sudo -n)
    fi
    echo "Installing redis-server with apt-get" >&2
    "${as_root[@]+"${as_root[@]}"}" apt-get update -q ||
        echo "apt-get update failed; trying with the package lists that are there" >&2
    "${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qy --no-install-recommends redis-server </dev/null ||
        fail "apt-get could not install redis-server"
    echo "The package may also run a service of its own on port 6379; quotagate does not use it" \
        "('sudo systemctl disable --now redis-server' turns it off)." >&2
}

install_with_brew() {
    echo "Installing redis with brew" >&2
    brew install redis </dev/null || fail "brew could not install redis"
}

if [ "$(uname -s)" = Darwin ]; then
    command -v brew >/dev/null || fail "install it, for example with Homebrew (https://brew.sh)"
    install_with_brew
elif command -v apt-get >/dev/null; then
    install_with_apt
else
    fail "install it with this system's package manager"
fi

command -v redis-server >/dev/null || fail "it was installed, but is not on the PATH"
