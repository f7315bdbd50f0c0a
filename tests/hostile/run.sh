#!/usr/bin/env bash
# `make hostile`: sets up a real Ollama and a gateway if they are not there yet, and sends hostile schemas through both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source scripts/common.sh
scripts/ollama.sh ensure small
build_gateway
exec python3 tests/hostile/run.py "$@"
