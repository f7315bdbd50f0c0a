#!/usr/bin/env bash
# `make bench`: installs what it needs, and measures what `make release` builds, in a quarter of an hour. QUICK=1 measures a plain
# release, in two minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

install_packages() {
    local missing=()
    command -v wrk >/dev/null || missing+=(wrk)
    command -v nginx >/dev/null || missing+=(nginx-light)
    [ ${#missing[@]} -gt 0 ] || return 0
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    say "installing ${missing[*]}"
    { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } ||
        fail "please install: ${missing[*]}"
}

# nginx stands where only root looks.
PATH=$PATH:/usr/sbin
install_packages
if [[ ${QUICK:-0} == 0 ]]; then
    scripts/release.sh
    GATEWAY_PROGRAM=$RELEASED_PROGRAM
else
    build_gateway
    cargo build --release --locked --examples
fi
exec python3 tests/bench/run.py
