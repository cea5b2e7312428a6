#!/usr/bin/env bash
# Writes the SBOMs of what is released, in the format SPDX: of the image, and of the plugin for each platform. `make binaries` puts the list of
# its crates into each binary, so they say what is in it, not what is in Cargo.lock.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/release-files
version=$(release/version.sh)
export SYFT_CHECK_FOR_APP_UPDATE=false
syft() { command syft scan --quiet --override-default-catalogers cargo-auditable-binary-cataloger --source-version "$version" "$@"; }
if [ -e target/image/jit-rbac.oci.tar ]; then
  syft oci-archive:target/image/jit-rbac.oci.tar --source-name jit-rbac --output spdx-json=target/release-files/jit-rbac-image.spdx.json
fi
for binary in target/binaries/*/*/kubectl-jit*; do
  [ -e "$binary" ] || continue
  platform=${binary#target/binaries/}
  platform=${platform%/*}
  syft "file:$binary" --source-name kubectl-jit --output "spdx-json=target/release-files/kubectl-jit_${version}_${platform/\//_}.spdx.json"
done
