#!/usr/bin/env bash
# `make run`: a gateway on port 7000 in front of a real Ollama, with all that it needs.
# PORT=7001 chooses another port. A key of `lan-gateway.toml` or an LGW_… variable that is set stays as it is. Ctrl-C ends what this
# started and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

# Written by the first run, so that commands in another terminal find the gateway, and then only read.
readonly CONFIG=${LGW_CONFIG:-lan-gateway.toml}

GATEWAY_PROGRAM=$QUICK_PROGRAM
GATEWAY_PID=

main() {
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    choose_addresses
    stage 1 "checking what is needed"
    check_before_the_build
    stage 2 "building the gateway (about $QUICK_MINUTES minutes on two cores, a minute after a change, seconds without)"
    cargo build --profile quick --locked --bin lan-gateway
    stage 3 "finding Ollama and a model (seconds; without an Ollama here about 15 minutes to build one, once)"
    find_ollama 11434
    MODEL=$(setting LGW_DEFAULT_MODEL "" default_model "$MODEL")
    stage 4 "starting the gateway"
    write_config
    start_gateway
    print_next_steps
    wait "$GATEWAY_PID"
}

# A key's value: of the caller's variable, else of the file, else the given one.
setting() {
    local variable=$1 section=$2 key=$3 otherwise=$4 value
    value=${!variable:-}
    [ -n "$value" ] || value=$(awk -v wanted="$section" -v key="$key" '
        /^\[/ { section = $1 }
        section == wanted && $1 == key { sub(/^[^"]*"/, ""); sub(/".*/, ""); print; exit }' "$CONFIG" 2>/dev/null) || true
    echo "${value:-$otherwise}"
}

choose_addresses() {
    if [ -n "${PORT:-}" ]; then export LGW_LISTEN=${LGW_LISTEN:-0.0.0.0:$PORT}; fi
    LISTEN=$(setting LGW_LISTEN "" listen 0.0.0.0:7000)
    OLLAMA_URL=$(setting LGW_OLLAMA__URL "[ollama]" url http://127.0.0.1:11434)
    DATA=$(setting LGW_DATA_DIR "" data_dir data)
    PORT=${LISTEN##*:}
    case $LISTEN in
        0.0.0.0:* | \[::\]:*) URL=http://127.0.0.1:$PORT ;;
        *) URL=http://$LISTEN ;;
    esac
}

stage() { printf '\n[%s/4] %s\n' "$1" "$2" >&2; }

# The gateway first: its last answers still need Ollama.
finish() {
    trap 'kill "$GATEWAY_PID" 2>/dev/null || true' INT TERM HUP
    if [ -n "$GATEWAY_PID" ]; then
        say "stopping; answers that run may take 30 seconds more, a second Ctrl-C cuts them"
    fi
    end "$GATEWAY_PID"
    end "$OLLAMA_PID"
}

# All that can be known to fail is said before minutes go into a build.
check_before_the_build() {
    check_build_tools
    case $PORT in
        '' | *[!0-9]*) fail "PORT=$PORT is not a port; choose a number from 1 to 65535:  PORT=7001 make run" ;;
    esac
    if [ "${#PORT}" -gt 5 ] || [ "$((10#$PORT))" -lt 1 ] || [ "$((10#$PORT))" -gt 65535 ]; then
        fail "PORT=$PORT is not a port; choose a number from 1 to 65535:  PORT=7001 make run"
    fi
    data_folder_is_free ||
        fail "the data folder $DATA is in use: another gateway runs on it.
End that one, or take another folder and port:  LGW_DATA_DIR=data2 PORT=7001 make run"
    port_is_free "$PORT" || fail "port $PORT is taken by another program (a gateway that runs already?).
End that one, or choose another port:  PORT=7001 make run"
    scripts/ollama.sh answers "$OLLAMA_URL" || scripts/ollama.sh can
    say "all is there: $(cargo --version), $(python3 --version), port $PORT, data folder $DATA"
}

# A gateway that runs holds the lock of its data folder.
data_folder_is_free() {
    python3 - "$DATA/lan-gateway.lock" <<'PYTHON'
import fcntl, sys
try:
    with open(sys.argv[1]) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(1)
except OSError:
    pass  # The gateway itself says what is wrong with it.
PYTHON
}

write_config() {
    [ ! -f "$CONFIG" ] || return 0
    say "writing $CONFIG"
    cat >"$CONFIG" <<END
# Written by the first \`make run\`. Change it, or remove it to have it written again; \`lan-gateway config example\` shows every key.
listen = "$LISTEN"
data_dir = "$DATA"
default_model = "$MODEL"

[ollama]
url = "$OLLAMA_URL"
END
}

start_gateway() {
    set -m
    "$GATEWAY_PROGRAM" serve </dev/null &
    GATEWAY_PID=$!
    set +m
    python3 - "$URL/health/live" "$GATEWAY_PID" <<'PYTHON' || fail "the gateway did not start; its reason is above"
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
}

print_next_steps() {
    cat <<END

  this host     $URL
  your network  $(lan_urls)
  Swagger UI    $URL/docs/
  Ollama        $OLLAMA_URL
  model         $MODEL
  data          $(realpath -m "$DATA")
END
    case $MODEL in
        smollm2:135m | llama3.2:1b)
            printf '\n%s\n%s\n' "  The model is a tiny one, to show that everything works. It is no judge of the quality of answers:" \
                "  pull a larger one into this Ollama, and ask for it by its name." ;;
    esac
    cat <<END

Next, in another terminal:

  cd $(quoted "$PWD")
  export PATH=$(quoted "$(dirname "$(realpath "$GATEWAY_PROGRAM")")"):\$PATH
$(first_answer | sed -e "s|http://127.0.0.1:7000|$URL|" -e 's/^/  /')

Ctrl-C ends the gateway.
END
}

# The README's commands, so that they are written once.
first_answer() { awk '/^## / { here = /First answer/ } /^```/ { code = !code; next } here && code' README.md; }

lan_urls() {
    local urls=
    case $LISTEN in
        127.* | \[::1\]*) ;;
        *) for address in $(hostname -I 2>/dev/null); do
            case $address in *:*) ;; *) urls="${urls:+$urls }http://$address:$PORT" ;; esac
        done ;;
    esac
    echo "${urls:-none: it listens on $LISTEN}"
}

quoted() { printf '%q' "$1"; }

main
