#!/usr/bin/env bash
# Builds one program for one platform, static and reproducible: release/binary.sh PACKAGE PLATFORM, for example jit-rbac linux/arm64.
# The binary is target/binaries/PLATFORM/PACKAGE. `make binaries` calls this with the compilers of release/requirements.txt on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
package=$1 platform=$2

case "$platform" in
  linux/amd64) target=x86_64-unknown-linux-musl ;;
  linux/arm64) target=aarch64-unknown-linux-musl ;;
  *) echo "unknown platform '$platform': use linux/amd64 or linux/arm64" >&2; exit 1 ;;
esac

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

# The package alone: built with the others, it would contain what only the plugin needs of their common dependencies. The encoded flags
# replace those of the user's environment and configuration, and may contain spaces.
# By default zig writes an executable for a fixed address. The kernel loads a position-independent one at a random address.
CARGO_ENCODED_RUSTFLAGS="$flags" cargo-zigbuild rustc --quiet --locked --release --package "$package" --bin "$package" \
  --target "$target" --target-dir target -- -C link-arg=-pie
install -D "target/$target/release/$package" "target/binaries/$platform/$package"
