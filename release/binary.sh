#!/usr/bin/env bash
# Builds one program for one platform, reproducible, and static on Linux: release/binary.sh PACKAGE PLATFORM, for example jit-rbac linux/arm64.
# The binary is target/binaries/PLATFORM/PACKAGE. The Makefile calls this with the compilers of release/requirements.txt on the PATH.
#
# For darwin the SDK of macOS must be in SDKROOT, since it may not be distributed; on a Mac, Xcode has it.
set -euo pipefail
cd "$(dirname "$0")/.."
package=$1 platform=$2 suffix=

case "$platform" in
  linux/amd64) target=x86_64-unknown-linux-musl ;;
  linux/arm64) target=aarch64-unknown-linux-musl ;;
  darwin/amd64) target=x86_64-apple-darwin ;;
  darwin/arm64) target=aarch64-apple-darwin ;;
  windows/amd64) target=x86_64-pc-windows-gnu suffix=.exe ;;
  windows/arm64) target=aarch64-pc-windows-gnullvm suffix=.exe ;;
  *) echo "unknown platform '$platform': use linux, darwin or windows with /amd64 or /arm64" >&2; exit 1 ;;
esac

if [[ $platform = darwin/* && $(uname -s) != Darwin && -z "${SDKROOT:-}" ]]; then
  echo "cannot build $package for $platform: SDKROOT must be the directory of a macOS SDK; without it, build on a Mac" >&2
  exit 1
fi

[ -d "$(rustc --print target-libdir --target "$target")" ] || rustup --quiet target add "$target" || {
  echo "the standard library for $target is missing: install it with 'rustup target add $target'" >&2
  exit 1
}

# Panic messages contain the paths of sources. No path of this machine may get into the binary: the same sources would give other bytes
# elsewhere. Where several prefixes match, the last one counts. Their sources are unpacked first: a directory has the name of its registry.
cargo fetch --quiet --locked --target "$target"
sysroot=$(rustc --print sysroot)
flags="--remap-path-prefix=$PWD=/src"
for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
  flags+=$'\x1f'"--remap-path-prefix=$sources=/crates"
done
flags+=$'\x1f'"--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$(rustc --version --verbose | sed -n 's/^commit-hash: //p')"

# By default zig writes an executable for a fixed address. The kernel loads a position-independent one at a random address.
[[ $platform != linux/* ]] || flags+=$'\x1f'"-Clink-arg=-pie"

# The package alone: built with the others, it would contain what only the plugin needs of their common dependencies. The encoded flags
# replace those of the user's environment and configuration, and may contain spaces. `auditable` puts the list of crates into the binary, in
# which scanners and `make sbom` look for it.
export CARGO_ENCODED_RUSTFLAGS="$flags" CARGO="$PWD/release/cargo-by-name.sh"
cargo-auditable auditable zigbuild --quiet --locked --release --package "$package" --target "$target" --target-dir target
mkdir -p "target/binaries/$platform"
install -m 0755 "target/$target/release/$package$suffix" "target/binaries/$platform/$package$suffix"
