#!/usr/bin/env bash
# `make bench`: installs what it needs and measures the release build in a quarter of an hour; QUICK=1 takes two minutes.
# PGO=1 measures what `make release-pgo` builds.
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

# nginx is in a folder that only root's PATH has.
PATH=$PATH:/usr/sbin
install_packages
if [[ ${PGO:-0} == 0 ]]; then
    build_gateway
    cargo build --release --locked --examples
else
    scripts/release_pgo.sh
    GATEWAY_PROGRAM=$PGO_PROGRAM
fi
exec python3 tests/bench/run.py
