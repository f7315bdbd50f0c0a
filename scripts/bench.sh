#!/usr/bin/env bash
# `make bench`: installs what it needs, builds a release, and measures it. Takes up to ten minutes; QUICK=1 takes two.
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
build_gateway
cargo build --release --locked --examples
exec python3 tests/bench/run.py
