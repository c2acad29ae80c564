#!/bin/sh
# Installs the program, its man pages and its shell completions: install.sh BINARY PREFIX
# DESTDIR is put before the prefix, for those who make packages.
set -eu

binary=$1
prefix=${DESTDIR:-}$2

mkdir -p "$prefix/bin" "$prefix/share/man/man1" "$prefix/share/bash-completion/completions" \
    "$prefix/share/zsh/site-functions" "$prefix/share/fish/vendor_completions.d"
# Not over a program that runs.
cp "$binary" "$prefix/bin/quotagate.new"
chmod 755 "$prefix/bin/quotagate.new"
mv -f "$prefix/bin/quotagate.new" "$prefix/bin/quotagate"
"$binary" man --out "$prefix/share/man/man1"
"$binary" completions bash > "$prefix/share/bash-completion/completions/quotagate"
"$binary" completions zsh > "$prefix/share/zsh/site-functions/_quotagate"
"$binary" completions fish > "$prefix/share/fish/vendor_completions.d/quotagate.fish"
echo "Installed $prefix/bin/quotagate"
