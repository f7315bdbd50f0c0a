#!/usr/bin/env bash
# `make test-n8n` and `make test-openwebui`: lets a tool that people have work with the gateway, in front of a real Ollama. The argument
# names the tool's folder in `tests/`, which installs the tool, once. GATEWAY_PROGRAM names a gateway that is built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
built=${GATEWAY_PROGRAM:-}
source scripts/common.sh
# The tests know one model and take it from one place.
unset OLLAMA_MODELS
if [ -n "$built" ]; then export GATEWAY_PROGRAM=$built; else build_gateway; fi
scripts/ollama.sh ensure small
# Open WebUI is also looked at in a browser.
[ "$1" != openwebui ] || { find_chromium && install_node tests/browser; }
exec python3 "tests/$1/run.py"
