#!/usr/bin/env bash
# Prints the version of the sources, such as 0.1.0.
set -euo pipefail
cd "$(dirname "$0")/.."
id=$(cargo pkgid --package jit-rbac)
echo "${id##*[@#]}"
