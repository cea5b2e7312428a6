#!/usr/bin/env bash
# Prints the manifest of the plugin for krew's index: release/krew.sh OWNER/NAME, the repository on GitHub. It has the platforms whose archives
# are in target/release-files.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$1
version=$(release/version.sh)

cat <<YAML
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: jit
spec:
  version: v$version
  homepage: https://github.com/$repository
  shortDescription: Activate RBAC roles just in time
  description: |
    Activates a role that you are eligible for, in one namespace and for a limited time, with justification and approval where the policy
    requires them. Approves, denies and revokes the requests of others. The cluster needs the operator jit-rbac.
  caveats: |
    Shell completion needs one more file on your PATH:
      kubectl jit completion install --directory DIRECTORY
  platforms:
YAML
for archive in target/release-files/kubectl-jit_"$version"_*.tar.gz; do
  platform=${archive##*kubectl-jit_"$version"_}
  platform=${platform%.tar.gz}
  suffix=
  [[ $platform != windows_* ]] || suffix=.exe
  cat <<YAML
    - selector:
        matchLabels: {os: ${platform%_*}, arch: ${platform#*_}}
      uri: https://github.com/$repository/releases/download/v$version/${archive##*/}
      sha256: $(sha256sum "$archive" | cut -d ' ' -f 1)
      bin: kubectl-jit$suffix
      files:
        - {from: kubectl-jit$suffix, to: .}
        - {from: LICENSE, to: .}
YAML
done
