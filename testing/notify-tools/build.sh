#!/bin/bash
# build.sh DIRECTORY: builds mailpit and Alertmanager into a directory, once for each version of this folder. The tests of notifications use them.
#
# Their modules lack the pages that releases contain. Alertmanager gets an empty one. That of mailpit is built with npm, if npm is installed;
# only the demo and the screenshots show it.
set -eu -o pipefail

cd "$(dirname "$0")"
directory=$1
page=$(if command -v npm >/dev/null; then echo with a page; else echo without a page; fi)
version="$(cat go.mod go.sum build.sh page/* | sha256sum | cut -d ' ' -f 1) $page"
stamp="$directory/notify-tools.version"
if [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && [ -x "$directory/mailpit" ] && [ -x "$directory/alertmanager" ]; then exit 0; fi
echo "Building mailpit and Alertmanager: some minutes, once per machine." >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOWORK=off CGO_ENABLED=0
cp go.mod go.sum "$work"
for module in github.com/axllent/mailpit github.com/prometheus/alertmanager; do
  go mod download "$module"
  copy="$work/$(basename "$module")"
  cp -r "$(go list -m -f '{{.Dir}}' "$module")" "$copy"
  chmod -R u+w "$copy"
  go mod edit -replace "$module=$copy" "$work/go.mod"
done
mkdir -p "$work/alertmanager/ui/app/dist"
echo '<!doctype html><title>Alertmanager</title>' >"$work/alertmanager/ui/app/dist/index.html"
if [ "$page" = "with a page" ]; then
  # Next to the source, so that its imports are found.
  cp page/package.json page/package-lock.json page/build.mjs "$work/mailpit"
  (cd "$work/mailpit" && npm ci --loglevel error --ignore-scripts --no-audit --no-fund && node build.mjs "$PWD") >&2
  rm -rf "$work/mailpit/node_modules"
fi
mkdir -p "$directory" "$work/bin"
go build -modfile "$work/go.mod" -trimpath -ldflags "-s -w" -o "$work/bin/" github.com/axllent/mailpit github.com/prometheus/alertmanager/cmd/alertmanager >&2
mv "$work/bin/mailpit" "$work/bin/alertmanager" "$directory"
echo "$version" >"$stamp"
