#!/usr/bin/env bash
# `make demo`: walks the whole path on a fresh data folder and a free port, and cleans up behind itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

trap 'end "$OLLAMA_PID"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

find_ollama "$(free_port)"
build_gateway
python3 scripts/demo.py "$OLLAMA_URL" "$MODEL"
