#!/usr/bin/env bash
# `make audit`: the dependencies (licences, bans, sources, security advisories, none that is unused) and the oldest compiler.
# Builds its tools once, into `.tools/cargo`, which takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

tools=$PWD/.tools/cargo
PATH=$tools/bin:$PATH

# Builds a cargo command unless this version is there.
install_command() {
    CARGO_TARGET_DIR=$tools/target cargo install --locked --quiet --root "$tools" "$1@$2"
}

say "installing cargo-deny and cargo-machete into .tools/cargo"
install_command cargo-deny 0.20.2
install_command cargo-machete 0.9.2

say "=== licences, bans, sources, advisories"
cargo deny --locked check
say "=== unused dependencies"
cargo machete --skip-target-dir
oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
say "=== the oldest compiler: $oldest"
rustup toolchain install "$oldest" --profile minimal
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/oldest cargo "+$oldest" check --locked --all-targets
