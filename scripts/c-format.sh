#!/usr/bin/env bash
# Runs clang-format over every C and C++ file of ours: -i to write, --dry-run -Werror to check.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
find bpf bench test -path bpf/build -prune -o -type f \( -name '*.[ch]' -o -name '*.cc' \) -print0 |
	xargs -0 clang-format "$@"
