#!/usr/bin/env bash
# Installs Chromium and chromedriver, which the tests of the dashboard drive, unless both are on the PATH already.
set -euo pipefail

chromium() {
    local name
    for name in chromium-headless-shell chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null && return 0
    done
    return 1
}

# Debian has a Chromium without a window of its own, which starts faster: 52 tests took 169 s with it instead of 229 s.
headless() {
    apt-cache show chromium-headless-shell >/dev/null 2>&1
}

if chromium && command -v chromedriver >/dev/null; then
    # As root only, which is asked for no password, and of the driver's version, which drives no other one. The tests run
    # without it too.
    if ! command -v chromium-headless-shell >/dev/null && [ "$(id -u)" -eq 0 ] && headless; then
        version=$(dpkg-query -W -f '${Version}' chromium-driver 2>/dev/null) &&
            apt-get install -qy --no-install-recommends "chromium-headless-shell=$version" </dev/null >&2 ||
            echo "chromium-headless-shell could not be installed; the tests take a minute longer" >&2
    fi
    exit 0
fi

fail() {
    echo "the tests of the dashboard need Chromium and chromedriver on the PATH: $*" >&2
    exit 1
}

install_with_apt() {
    local as_root=() packages=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "run 'apt-get install chromium chromium-driver' as root"
        as_root=(sudo)
        # Without a terminal there is nobody to type a password.
        [ -t 0 ] || as_root=(sudo -n)
    fi
    echo "Installing Chromium and chromedriver with apt-get" >&2
    "${as_root[@]+"${as_root[@]}"}" apt-get update -q ||
        echo "apt-get update failed; trying with the package lists that are there" >&2
    # Debian has them as chromium and chromium-driver, Ubuntu as chromium-browser and chromium-chromedriver.
    if apt-cache show chromium-driver >/dev/null 2>&1; then
        packages=(chromium chromium-driver)
        ! headless || packages=(chromium-headless-shell chromium-driver)
    else
        packages=(chromium-browser chromium-chromedriver)
    fi
    "${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qy --no-install-recommends "${packages[@]}" </dev/null ||
        fail "apt-get could not install ${packages[*]}"
}

if [ "$(uname -s)" = Darwin ]; then
    command -v brew >/dev/null || fail "install them, for example with Homebrew (https://brew.sh)"
    brew install --cask chromium chromedriver </dev/null || fail "brew could not install them"
elif command -v apt-get >/dev/null; then
    install_with_apt
else
    fail "install them with this system's package manager"
fi

command -v chromedriver >/dev/null || fail "they were installed, but are not on the PATH"
