#!/usr/bin/env bash
# `make test`: installs what the tests need, runs them all, and ends with `N passed, N failed`.
# Leaves an Ollama or a gateway that runs on this machine alone: everything here is on free ports.
# shellcheck disable=SC2317  # what `stage` is given is called from there
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
source scripts/common.sh
# The tests know one model and take it from one place.
unset OLLAMA_MODELS

readonly LOGS=.tools/log
passed=0 failed=0 skipped=0 times=() beside=

main() {
    mkdir -p "$LOGS" && rm -f "$LOGS"/*.log
    # Without these nothing that follows can be judged.
    stage tools install_tools || finish
    stage check scripts/check.sh
    build_release_beside
    # Many of the tests wait more than they work, so more of them than cores run at once.
    # The inputs of property tests are the same in each run; `cargo test` alone takes new ones.
    stage tests env RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}" PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-1}" \
        cargo test --locked --no-fail-fast
    stage ollama scripts/ollama.sh ensure small &&
        stage release build_gateway &&
        stage sealed no_test_override &&
        stage clients .tools/venv/bin/python tests/sdk/run.py
    [ -x "$GATEWAY_PROGRAM" ] && stage readme .tools/venv/bin/python tests/readme/run.py
    [ -x "$GATEWAY_PROGRAM" ] && stage openapi .tools/openapi/bin/python tests/openapi/run.py
    [ -x "$GATEWAY_PROGRAM" ] && stage browser browser_tests
    [ -x "$GATEWAY_PROGRAM" ] && stage schema .tools/schemathesis/bin/python tests/schemathesis/run.py
    finish
}

# Begins the release build with what processor time the tests leave. `stage release` waits for it, and shows it if it failed.
build_release_beside() {
    nice -n 19 cargo build --release --locked --quiet >/dev/null 2>&1 </dev/null &
    trap 'kill "$beside" 2>/dev/null' EXIT
    beside=$!
}

# Runs one part, its output shown and kept, and adds up what it counted; a part that counts nothing is one test.
stage() {
    local name=$1 log=$LOGS/$1.log started=$SECONDS status=0 counted
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    "$@" 2>&1 </dev/null | tee -i "$log" || status=$?
    read -r -a counted < <(count "$log")
    if [ "${counted[*]}" = "0 0 0" ]; then counted=(1 0 0); [ "$status" -eq 0 ] || counted=(0 1 0)
    elif [ "$status" -ne 0 ] && [ "${counted[1]}" -eq 0 ]; then counted[1]=1; fi
    passed=$((passed + counted[0])) failed=$((failed + counted[1])) skipped=$((skipped + counted[2]))
    times+=("$(printf '%-8s %5d s  %s passed, %s failed' "$name" $((SECONDS - started)) "${counted[0]}" "${counted[1]}")")
    printf '=== %s took %d s\n' "$name" $((SECONDS - started))
    return "$status"
}

# Adds up the closing lines of cargo test, pytest, node's test runner and of our own scripts, which end as pytest does: passed, failed, skipped.
count() {
    python3 - "$1" <<'PYTHON'
import pathlib, re, sys
text = re.sub(r"\x1b\[[0-9;]*m", "", pathlib.Path(sys.argv[1]).read_text(errors="replace"))
sums = {"passed": 0, "failed": 0, "skipped": 0}
same = {"pass": "passed", "fail": "failed", "cancelled": "failed", "error": "failed", "errors": "failed", "ignored": "skipped"}
def add(word, number):
    sums[same.get(word, word)] += int(number)
for line in text.splitlines():
    if line.startswith("test result: "):
        for number, word in re.findall(r"(\d+) (passed|failed|ignored)", line): add(word, number)
    elif re.match(r"=* ?\d+ \w+.* in [\d.]+s", line):
        for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", line): add(word, number)
    elif found := re.match(r"\S (pass|fail|cancelled|skipped) (\d+)$", line):
        add(*found.groups())
print(*sums.values())
PYTHON
}

# Debug builds can turn the sync off, so that the test of it can fail. A release can't.
no_test_override() {
    for name in LGW_DEBUG_SYNCHRONOUS_OFF LGW_DEBUG_PANIC; do
        ! grep -q "$name" "$GATEWAY_PROGRAM" && grep -q "$name" "${CARGO_TARGET_DIR:-target}/debug/lan-gateway" || return 1
    done
}

install_tools() {
    for tool in cargo cc c++ make python3 node npm; do
        command -v "$tool" >/dev/null || { say "\`$tool\` is missing; install it first"; return 1; }
    done
    install_packages && install_node tests/sdk && install_node tests/openapi &&
        install_python tests/sdk/requirements.txt .tools/venv &&
        install_python tests/schemathesis/requirements.txt .tools/schemathesis &&
        install_python tests/openapi/requirements.txt .tools/openapi
}

install_packages() {
    local missing=()
    for tool in curl jq strace shellcheck; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    # Debian has it in /usr/sbin, which a user's PATH may lack.
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx-light)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -gt 0 ] || return 0
    install_debian "${missing[@]}"
}

browser_tests() {
    find_chromium && install_node tests/browser && python3 tests/browser/run.py
}

# The failed tests of all parts, by name: their own output may be far above, or cut off.
name_failures() {
    [ "$failed" -gt 0 ] || return 0
    printf '\nfailed:\n'
    grep -hE '^test .* \.\.\. FAILED$|^(FAILED|ERROR) |^✖ |^error(\[|:)' "$LOGS"/*.log | sort -u | head -n 50
}

finish() {
    name_failures
    printf '\n'
    printf '%s\n' "${times[@]}"
    printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

main
