#!/usr/bin/env bash
# `make release-pgo`: a release build with profile-guided optimisation, in `target/release-pgo/`. A first build runs under load, and the
# compiler lays out the second by that profile. Takes a quarter of an hour on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
profile=$target/pgo
host=$(rustc --print host-tuple)
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata

# With `--target`, build scripts are built without these flags.
build_with() { RUSTFLAGS=$1 cargo build --release --locked --bin lan-gateway --target "$host"; }

# The compiler reads what this `llvm-profdata` writes, so both are of one version.
[ -x "$profdata" ] || rustup component add llvm-tools || fail "the compiler's llvm-profdata is missing; install it with: rustup component add llvm-tools"
rm -rf "$profile"
say "building a gateway that writes a profile"
build_with "-Cprofile-generate=$profile"
cargo build --release --locked --examples
say "running it under load"
GATEWAY_PROGRAM=$target/$host/release/lan-gateway python3 tests/bench/training.py
"$profdata" merge -o "$profile/merged" "$profile"/*.profraw
say "building the gateway (release)"
build_with "-Cprofile-use=$profile/merged"
install -D "$target/$host/release/lan-gateway" "$PGO_PROGRAM"
say "built $PGO_PROGRAM"
