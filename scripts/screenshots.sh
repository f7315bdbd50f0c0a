#!/usr/bin/env bash
# `make screenshots`: pictures of the main pages into docs/screens/, from a real gateway with the data of a made-up team.
# They are PNG with a palette (pngquant): pages have few colours, and edges of letters stay sharp. Name some to make only those.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

missing=()
command -v pngquant >/dev/null || missing+=(pngquant)
for font in fonts-inter fonts-jetbrains-mono; do dpkg -s "$font" >/dev/null 2>&1 || missing+=("$font"); done
[ ${#missing[@]} -eq 0 ] || install_debian "${missing[@]}"
find_chromium
install_node tests/browser
[ -n "${BUILT:-}" ] || build_gateway
exec python3 tests/browser/screens.py "$@"
