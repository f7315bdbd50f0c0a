#!/usr/bin/env bash
# `make audit`: the dependencies (licences, bans, sources, security advisories, none that is unused) and the oldest compiler.
# Builds its tools once, into `.tools/cargo`, which takes minutes. Runs every part, also after one that failed, and ends with
# the names of those.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
source scripts/common.sh

tools=$PWD/.tools/cargo
PATH=$tools/bin:$PATH
failed=()

# Builds a cargo command unless this version is there.
install_command() {
    CARGO_TARGET_DIR=$tools/target cargo install --locked --quiet --root "$tools" "$1@$2" || fail "$1 can't be installed"
}

check() {
    local name=$1
    shift
    say "=== $name"
    "$@" || failed+=("$name")
}

say "installing cargo-deny and cargo-machete into .tools/cargo"
install_command cargo-deny 0.20.2
install_command cargo-machete 0.9.2

check "licences, bans, sources" cargo deny --locked check --hide-inclusion-graph licenses bans sources
unchecked=""
if cargo deny fetch db; then
    check "security advisories" cargo deny --locked check --hide-inclusion-graph advisories
else
    unchecked="security advisories were NOT checked: their database can't be fetched"
    say "$unchecked"
    # A developer may be offline. A CI run must not pass for a check that it left out.
    [[ ! ${CI:-} ]] || failed+=("security advisories")
fi
check "unused dependencies" cargo machete --skip-target-dir
oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rustup toolchain install "$oldest" --profile minimal
check "the oldest compiler: $oldest" env "CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/oldest" \
    cargo "+$oldest" check --locked --all-targets

[[ ! $unchecked ]] || say "$unchecked"
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
