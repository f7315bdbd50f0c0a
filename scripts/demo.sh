#!/usr/bin/env bash
# `make demo`: walks the whole path on a fresh data folder and a free port, and cleans up behind itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

trap 'end "$OLLAMA_PID"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

check_build_tools
GATEWAY_PROGRAM=$QUICK_PROGRAM
say "building the gateway (about $QUICK_MINUTES minutes on two cores, seconds when it is built)"
cargo build --profile quick --locked --bin lan-gateway
find_ollama "$(free_port)"
python3 scripts/demo.py "$OLLAMA_URL" "$MODEL"
