#!/usr/bin/env bash
# `make release`: the gateway as it is best installed, in `target/dist/`. A first build is watched under load, and the compiler
# lays out a second after what was seen (profile-guided optimisation). Takes a quarter of an hour on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
seen=$target/seen
host=$(rustc --print host-tuple)
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata

# With `--target`, programs that only help to build are not watched.
build_with() { RUSTFLAGS=$1 cargo build --release --locked --bin lan-gateway --target "$host"; }

# Of the compiler's own version, since that will read what it writes.
[ -x "$profdata" ] || rustup component add llvm-tools || fail "the compiler's llvm-profdata is missing; install it with: rustup component add llvm-tools"
rm -rf "$seen"
say "building a gateway that is watched"
build_with "-Cprofile-generate=$seen"
cargo build --release --locked --examples
say "watching it"
GATEWAY_PROGRAM=$target/$host/release/lan-gateway python3 tests/bench/training.py
"$profdata" merge -o "$seen/profile" "$seen"/*.profraw
say "building the gateway (release)"
build_with "-Cprofile-use=$seen/profile"
install -D "$target/$host/release/lan-gateway" "$RELEASED_PROGRAM"
say "built $RELEASED_PROGRAM"
