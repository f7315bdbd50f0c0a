# What the scripts share; sourced, from the root of the project.
# shellcheck shell=bash disable=SC2034

GATEWAY_PROGRAM=${CARGO_TARGET_DIR:-target}/release/lan-gateway
export GATEWAY_PROGRAM
# What `make run` and `make demo` build.
QUICK_PROGRAM=${CARGO_TARGET_DIR:-target}/quick/lan-gateway
QUICK_MINUTES=4
# What `release_pgo.sh` builds.
PGO_PROGRAM=${CARGO_TARGET_DIR:-target}/release-pgo/lan-gateway

say() { echo "$*" >&2; }

fail() { say "$*"; exit 1; }

# Sets OLLAMA_URL, MODEL and, when it starts one, OLLAMA_PID. Uses the Ollama that answers on OLLAMA_URL, else starts one on PORT of
# this host.
OLLAMA_PID=
OLLAMA_URL=http://127.0.0.1:11434
find_ollama() {
    local port=$1
    if scripts/ollama.sh answers "$OLLAMA_URL"; then
        say "using the Ollama on $OLLAMA_URL"
        MODEL=$(scripts/ollama.sh model "$OLLAMA_URL") ||
            fail "the Ollama on $OLLAMA_URL has no chat model. Give it one, then try again:  ollama pull llama3.2"
        return
    fi
    case $OLLAMA_URL in
        http://127.0.0.1:11434 | http://localhost:11434) ;;
        *) fail "no Ollama answers on $OLLAMA_URL, which LGW_OLLAMA__URL or lan-gateway.toml names. Start it, or name another" ;;
    esac
    # Whoever has Ollama installed has models too.
    if command -v ollama >/dev/null && [ -d "${HOME:-/nowhere}/.ollama/models/manifests" ]; then
        export OLLAMA_MODELS=${OLLAMA_MODELS:-$HOME/.ollama/models}
    fi
    scripts/ollama.sh ensure
    OLLAMA_URL=http://127.0.0.1:$port
    mkdir -p .ollama
    # A process group of its own: a Ctrl-C must not end it under the answers that the gateway still
    # lets finish.
    set -m
    scripts/ollama.sh serve "$port" >.ollama/serve.log 2>&1 </dev/null &
    OLLAMA_PID=$!
    set +m
    scripts/ollama.sh wait "$OLLAMA_URL" || fail "Ollama did not start; see .ollama/serve.log"
    MODEL=$(scripts/ollama.sh model "$OLLAMA_URL") || fail "no chat model in ${OLLAMA_MODELS:-.ollama/models}"
}

# Ends one process that this script started, and waits for it.
end() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || true
    # A signal that comes in the meantime ends `wait` before the process has ended.
    while kill -0 "$1" 2>/dev/null; do wait "$1" || true; done
}

# Fails and names everything that is missing to build the gateway.
check_build_tools() {
    local missing=() rust
    for tool in cargo cc c++ make python3 curl; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then missing+=("Python 3.9 or later"); fi
    [ ${#missing[@]} -eq 0 ] || fail "missing: ${missing[*]}. Install Rust from https://rustup.rs, and the rest, on Debian or Ubuntu, with
    apt-get install build-essential python3 curl"
    rust=$(rustc --version | cut -d ' ' -f 2)
    printf '%s\n' 1.89 "$rust" | sort -CV || fail "Rust 1.89 or later is needed, and this is $rust. Update it:  rustup update stable"
}

build_gateway() {
    command -v cargo >/dev/null || fail "no cargo here; install Rust from https://rustup.rs"
    say "building the gateway (release)"
    cargo build --release --locked
}

# Installs the packages of one file into a Python environment of its own, unless they are there: two that need different
# versions of a third don't meet.
install_python() {
    local wanted=$1 folder=$2
    cmp -s "$wanted" "$folder/requirements.txt" && return
    say "installing $wanted into $folder"
    python3 -m venv --clear "$folder" &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" && cp "$wanted" "$folder/requirements.txt"
}

# Installs Debian's packages, as root or through sudo.
install_debian() {
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    say "installing $*"
    { "${as_root[@]}" apt-get update -qq -o Acquire::Retries=3 &&
        "${as_root[@]}" apt-get install -y -qq -o Acquire::Retries=3 --no-install-recommends "$@"; } ||
        { say "please install: $*"; return 1; }
}

# Installs what the lock file of a folder of Node scripts names, unless it is there.
install_node() {
    local wanted=$1/package-lock.json there=$1/node_modules/installed.json
    cmp -s "$wanted" "$there" && return
    say "installing what $wanted names into $1/node_modules"
    npm ci --prefix "$1" --no-audit --no-fund && cp "$wanted" "$there"
}

# Sets CHROMIUM to a program that is there or can be installed.
find_chromium() {
    CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
    [ -n "$CHROMIUM" ] || { install_debian chromium && CHROMIUM=$(command -v chromium); } ||
        { say "no Chromium here, and none could be installed; name one: CHROMIUM=/path/to/chromium"; return 1; }
    export CHROMIUM
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# True when a program can listen there. A port that has just been left counts as free.
port_is_free() {
    python3 - "$1" <<'PYTHON'
import socket, sys
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("0.0.0.0", int(sys.argv[1])))
    except OSError:
        sys.exit(1)
PYTHON
}
