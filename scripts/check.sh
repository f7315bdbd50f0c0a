#!/usr/bin/env bash
# `make check`: what can be said of a change without running it. Under a minute when the dependencies are built.
# Runs every part, also after one that failed, and ends with the names of those.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
source scripts/common.sh

failed=()

check() {
    local name=$1
    shift
    say "=== $name"
    "$@" || failed+=("$name")
}

install_python scripts/requirements.txt .tools/check || fail "no \`typos\`; see above"
check format cargo fmt --check
check words .tools/check/bin/typos --format brief
if command -v shellcheck >/dev/null; then
    check scripts shellcheck -x scripts/*.sh tests/*/*.sh deploy/*.sh
else
    say "no shellcheck here, so the scripts are not checked: apt-get install shellcheck"
fi
check lints cargo clippy --locked --all-targets -- -D warnings
check docs env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
