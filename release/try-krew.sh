#!/usr/bin/env bash
# Installs the plugin from the manifest and the archive in target/release-files, with krew and without network, and runs it:
# release/try-krew.sh PATH_OF_KREW.
set -euo pipefail
cd "$(dirname "$0")/.."
krew=$1
files=target/release-files
architecture=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
archive=$(echo "$files"/kubectl-jit_*_linux_"$architecture".tar.gz)
if [ ! -e "$archive" ] || [ ! -e "$files/jit.yaml" ]; then
  echo "the archives are missing: run 'make archives krew' first" >&2
  exit 1
fi
KREW_ROOT=$(mktemp --directory)
export KREW_ROOT
trap 'rm -rf "$KREW_ROOT"' EXIT
log="$KREW_ROOT/log"
"$krew" install --manifest "$files/jit.yaml" --archive "$archive" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
"$KREW_ROOT/bin/kubectl-jit" version --client
