#!/usr/bin/env bash
# `make test-host`: installs, upgrades, breaks and removes the gateway on a fresh Debian with a systemd of its own, in a
# container, with a real Ollama and the small model in it. Needs root; see tests/host/container.sh for the hosts it works on.
# GATEWAY_PROGRAM names another program than the release build, or the debug build where there is no release.
# Names of checks as arguments run only these; the first install is always needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted=${GATEWAY_PROGRAM:-}
# shellcheck source=scripts/common.sh
source scripts/common.sh

readonly SUITE=bookworm ROOT=$PWD/.tools/host-root
readonly PACKAGES=systemd-sysv,dbus,ca-certificates,iproute2,curl,procps,sudo,libstdc++6

# Two runs would take each other's root away.
mkdir -p .tools
exec 8>.tools/host.lock
flock -n 8 || fail "another make test-host runs here"

[ "$(id -u)" -eq 0 ] || fail "this needs root, to start a container: sudo make test-host"

missing=()
for tool in mmdebstrap:mmdebstrap systemd-nspawn:systemd-container nsenter:util-linux; do
    command -v "${tool%:*}" >/dev/null || missing+=("${tool#*:}")
done
[ ${#missing[@]} -eq 0 ] || install_debian "${missing[@]}"

# Made once; a run works on a copy of it.
if [ ! -e "$ROOT.packages" ] || [ "$(cat "$ROOT.packages")" != "$SUITE $PACKAGES" ]; then
    say "making a Debian ($SUITE, 250 MB) in .tools/host-root, once, about a minute"
    rm -rf "$ROOT"
    timeout 600 mmdebstrap --quiet --variant=minbase --include="$PACKAGES" "$SUITE" "$ROOT"
    echo "$SUITE $PACKAGES" >"$ROOT.packages"
fi

scripts/ollama.sh ensure small
debug=${CARGO_TARGET_DIR:-target}/debug/lan-gateway
if [ -n "$wanted" ]; then GATEWAY_PROGRAM=$wanted
elif [ ! -x "$GATEWAY_PROGRAM" ]; then GATEWAY_PROGRAM=$debug; fi
[ -x "$GATEWAY_PROGRAM" ] || fail "there is no gateway to install; build one first (make release), or name one: GATEWAY_PROGRAM=FILE"
exec timeout 1200 python3 tests/host/run.py "$@"
