#!/usr/bin/env bash
# `make run`: a gateway on port 7000 in front of a real Ollama, with all that it needs.
# PORT=7001 chooses another port. Ctrl-C ends what this started and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

PORT=${PORT:-7000}
URL=http://127.0.0.1:$PORT
GATEWAY_PID=
export LGW_DATA_DIR=${LGW_DATA_DIR:-data}

# The gateway first: its last answers still need Ollama.
finish() {
    trap 'kill "$GATEWAY_PID" 2>/dev/null || true' INT TERM HUP
    if [ -n "$GATEWAY_PID" ]; then
        say "stopping; answers that run may take 30 seconds more, a second Ctrl-C cuts them"
    fi
    end "$GATEWAY_PID"
    end "$OLLAMA_PID"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

port_is_free "$PORT" || fail "port $PORT is taken by another program (a gateway that runs already?).
End that one, or choose another port:  make run PORT=7001"

find_ollama 11434
build_gateway

set -m
LGW_LISTEN=0.0.0.0:$PORT LGW_OLLAMA__URL=$OLLAMA_URL LGW_DEFAULT_MODEL=$MODEL \
    "$GATEWAY_PROGRAM" serve </dev/null &
GATEWAY_PID=$!
set +m
python3 - "$URL/health/live" "$GATEWAY_PID" <<'PYTHON' || fail "the gateway did not start; its reason stands above"
import os, sys, time, urllib.request
for _ in range(150):
    try:
        urllib.request.urlopen(sys.argv[1], timeout=2).close()
        sys.exit(0)
    except OSError:
        time.sleep(0.2)
    os.kill(int(sys.argv[2]), 0)
sys.exit(1)
PYTHON

cat <<END

  lan-gateway   $URL
  Swagger UI    $URL/docs/
  Ollama        $OLLAMA_URL
  model         $MODEL
  data          $(realpath -m "$LGW_DATA_DIR")

Next, in another terminal:

$(scripts/next_steps.sh "$URL" "$MODEL")

Ctrl-C ends it.
END
wait "$GATEWAY_PID"
