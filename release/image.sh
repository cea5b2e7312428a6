#!/usr/bin/env bash
# Assembles the image of the operator from the Dockerfile and the binaries of `make binaries`, without a daemon and without a registry:
# release/image.sh linux/amd64,linux/arm64. The result is target/image/jit-rbac.oci.tar, with its digest in target/image/digest.
#
# SOURCE_DATE_EPOCH and REVISION replace the time and the commit of the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
platforms=$1

version=$(release/version.sh)
created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
revision=${REVISION:-$(git describe --always --dirty --abbrev=40 --exclude '*')}
name=${IMAGE:-localhost/jit-rbac:$version}

rm -rf target/image
mkdir -p target/image/storage
trap 'rm -rf target/image/storage target/image/context' EXIT
# The image's history has digests of the copied files with their modes, which depend on the umask of the checkout.
install -D --mode 0644 LICENSE target/image/context/LICENSE
# A storage of its own, so that nothing of other builds is used; `vfs` needs no support by the kernel.
buildah=(buildah --root "$PWD/target/image/storage/root" --runroot "$PWD/target/image/storage/run" --storage-driver vfs)

# The directory of binaries replaces the stage of this name, which is then not built.
"${buildah[@]}" build --quiet --format oci --isolation chroot --no-cache --identity-label=false --timestamp "$created" \
  --platform "$platforms" --build-context "binaries=$PWD/target/binaries" \
  --build-arg "BUILDPLATFORM=${platforms%%,*}" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
  --manifest jit-rbac --file Dockerfile target/image/context >target/image/log 2>&1 || { cat target/image/log >&2; exit 1; }
"${buildah[@]}" manifest push --quiet --all --digestfile target/image/digest jit-rbac "oci-archive:$PWD/target/image/jit-rbac.oci.tar:$name" \
  >>target/image/log 2>&1 || { cat target/image/log >&2; exit 1; }

for platform in ${platforms//,/ }; do
  for binary in jit-rbac jit-rbac-services; do
    echo "$platform $binary: $(stat --format %s "target/binaries/$platform/$binary") bytes, sha256 $(sha256sum "target/binaries/$platform/$binary" | cut -d ' ' -f 1)"
  done
done
echo "target/image/jit-rbac.oci.tar: $name@$(cat target/image/digest)"
