#!/usr/bin/env bash
# Packs the plugin for one platform: release/archive.sh linux/amd64. The result is target/release-files/kubectl-jit_VERSION_OS_ARCH.tar.gz.
# The same binary gives the same archive. Windows 10 and krew unpack tar.gz as well.
set -euo pipefail
cd "$(dirname "$0")/.."
platform=$1 suffix=
[[ $platform != windows/* ]] || suffix=.exe

version=$(release/version.sh)
created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
mkdir -p target/release-files
content=$(mktemp --directory)
trap 'rm -rf "$content"' EXIT
install --mode 0755 "target/binaries/$platform/kubectl-jit$suffix" "$content/kubectl-jit$suffix"
install --mode 0644 LICENSE "$content/LICENSE"
tar --create --format ustar --sort name --mtime "@$created" --owner 0 --group 0 --numeric-owner --directory "$content" "kubectl-jit$suffix" LICENSE \
  | gzip --no-name --best >"target/release-files/kubectl-jit_${version}_${platform/\//_}.tar.gz"
