#!/usr/bin/env bash
# `make test-agents`: lets a real Claude Code and a real Codex edit a file through the gateway. Installs both, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source scripts/common.sh
build_gateway
python3 tests/agents/claude_code.py
exec python3 tests/agents/codex.py
