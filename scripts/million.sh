#!/usr/bin/env bash
# `make million`: measures the gateway on a record of a million rows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

scripts/fixture.sh
build_gateway
cargo build --release --locked --example bench-ollama
exec python3 tests/bench/million.py
