#!/usr/bin/env bash
# Packs the charts into target/release-files: release/charts.sh HELM [IMAGE], for example ghcr.io/example/jit-rbac. With an image, the chart
# installs exactly the one that `make image` built, by its digest.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=$1 image=${2:-}

copy=$(mktemp --directory)
trap 'rm -rf "$copy"' EXIT
cp -r charts/jit-rbac charts/jit-access "$copy"
if [ -n "$image" ]; then
  version=$(release/version.sh) digest=$(cat target/image/digest)
  registry=${image%%/*} repository=${image#*/}
  # Each line once: another form of the file must not pass unnoticed.
  replace() {
    [ "$(grep --count --fixed-strings --line-regexp -- "$2" "$copy/$1")" = 1 ] || { echo "$1 does not have the line '$2' once" >&2; exit 1; }
    sed --in-place "s|^$2\$|$3|" "$copy/$1"
  }
  replace jit-rbac/values.yaml '  registry: ""' "  registry: \"$registry\""
  replace jit-rbac/values.yaml '  repository: jit-rbac' "  repository: $repository"
  replace jit-rbac/values.yaml '  digest: ""' "  digest: \"$digest\""
  replace jit-rbac/Chart.yaml "      image: jit-rbac:$version" "      image: $image:$version@$digest"
fi
mkdir -p target/release-files
for chart in jit-rbac jit-access; do "$helm" package "$copy/$chart" --destination target/release-files >/dev/null; done
