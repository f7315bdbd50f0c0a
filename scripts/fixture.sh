#!/usr/bin/env bash
# `make fixture`: a data folder with a record of a million rows, in target/fixture. Made once for each version of what makes it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

folder=${CARGO_TARGET_DIR:-target}/fixture
# What was made of other sources is another fixture.
made_of=$(cat tests/bench/fixture.rs tests/bench/words.rs migrations/sqlite/*/up.sql src/store/words.rs | sha256sum)
if [ "$(cat "$folder/complete" 2>/dev/null)" = "$made_of" ]; then
    say "the fixture is in $folder"
    exit
fi
cargo build --release --locked --example fixture
say "making the fixture, some minutes"
rm -rf "$folder"
"${CARGO_TARGET_DIR:-target}/release/examples/fixture" "$folder"
echo "$made_of" >"$folder/complete"
