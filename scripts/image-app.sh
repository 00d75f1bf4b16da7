#!/usr/bin/env bash
# Lays out the application as the image has it: the files of the package, as `npm pack` chooses
# them, and the packages it needs to run, as package-lock.json names them. Build first.
#
#   scripts/image-app.sh DIRECTORY
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(realpath -m "$1")

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
npm pack --silent --ignore-scripts --pack-destination "$made" >/dev/null
mkdir -p "$target"
tar -xzf "$made"/nity-*.tgz -C "$target" --strip-components=1 --no-same-owner
# The lock is no file of the package, and without it versions would be chosen anew.
cp package-lock.json "$target/"
cd "$target"
npm ci --silent --omit=dev --ignore-scripts --no-audit --no-fund
# They are for building only.
rm package-lock.json node_modules/.package-lock.json
