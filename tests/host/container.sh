#!/usr/bin/env bash
# A Debian with a systemd of its own, in a container, for `make test-host`. Needs root.
#
#   container.sh start ROOT STATE [OPTIONS OF systemd-nspawn]   boots the folder ROOT, keeps its notes in the folder STATE
#   container.sh leader STATE                                   prints the process id of its init, for nsenter
#   container.sh up STATE SECONDS                               waits until it is up, also after a reboot
#   container.sh stop STATE                                     ends it and removes what it left
#
# It was tried on hosts without systemd whose cgroups are of version 1, as build machines have them. On a host with systemd it
# leaves cgroups and reboots to systemd-nspawn.
set -u

# The container's systemd enforces MemoryMax= and TasksMax= only with these.
readonly CONTROLLERS="memory pids cpu"

first_child() { cut -d' ' -f1 "/proc/$1/task/$1/children" 2>/dev/null; }

# systemd-nspawn is a child of the shell that keeps it running, and the container's init is a child of that.
leader() {
    local keeper nspawn
    keeper=$(cat "$1/pid" 2>/dev/null) && nspawn=$(first_child "$keeper") && [ -n "$nspawn" ] && first_child "$nspawn"
}

host_has_systemd() { [ -d /run/systemd/system ]; }

start() {
    local root=$1 state=$2 name=lgw$$
    shift 2
    mkdir -p "$state"
    echo "$name" >"$state/name"
    if host_has_systemd; then
        setsid bash -c '"$@"; exit $?' _ systemd-nspawn -M "$name" -D "$root" --private-network --console=pipe "$@" -b \
            </dev/null >"$state/log" 2>&1 &
    else
        setsid unshare --mount bash -c "$(declare -f keep); keep \"\$@\"" _ "$name" "$CONTROLLERS" \
            -D "$root" --register=no --keep-unit --private-network --console=pipe "$@" -b </dev/null >"$state/log" 2>&1 &
    fi
    echo $! >"$state/pid"
}

# Runs the container again after each reboot. The folder in /run is what nspawn otherwise gets from the host's systemd.
keep() {
    local name=$1 controllers=$2
    shift 2
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs tmpfs /run/systemd/nspawn
    for controller in $controllers; do
        mkdir -p "/sys/fs/cgroup/$controller/$name"
        echo $$ >"/sys/fs/cgroup/$controller/$name/cgroup.procs"
    done
    # systemd-nspawn exits with 133 when the container wants to reboot.
    while :; do
        systemd-nspawn -M "$name" "$@"
        [ $? -eq 133 ] || break
    done
}

up() {
    local until=$((SECONDS + $2)) pid state=''
    while [ "$SECONDS" -lt "$until" ]; do
        pid=$(leader "$1")
        if [ -n "$pid" ]; then
            state=$(timeout 20 nsenter -t "$pid" -a systemctl is-system-running --wait 2>/dev/null)
            case $state in running | degraded) break ;; esac
        fi
        sleep 0.2
    done
    case $state in running | degraded) ;; *) echo "the container did not come up: ${state:-no answer}" >&2; return 1 ;; esac
    host_has_systemd || nsenter -t "$pid" -a sh -c "
        for controller in $CONTROLLERS; do mount -o remount,rw,bind /sys/fs/cgroup/\$controller; done
        systemctl daemon-reexec"
}

stop() {
    local keeper name init
    keeper=$(cat "$1/pid" 2>/dev/null) || return 0
    name=$(cat "$1/name")
    init=$(leader "$1")
    [ -z "$init" ] || timeout 20 nsenter -t "$init" -a systemctl poweroff --no-block 2>/dev/null
    for _ in $(seq 100); do
        kill -0 "$keeper" 2>/dev/null || break
        sleep 0.2
    done
    # Its init last, so that nothing starts it again.
    if kill -0 "$keeper" 2>/dev/null; then
        init=$(leader "$1")
        kill -9 "$keeper" "$(first_child "$keeper")" 2>/dev/null
        [ -z "$init" ] || kill -9 "$init" 2>/dev/null
    fi
    host_has_systemd || for controller in $CONTROLLERS; do
        [ ! -d "/sys/fs/cgroup/$controller/$name" ] ||
            find "/sys/fs/cgroup/$controller/$name" -depth -type d -exec rmdir {} + 2>/dev/null
    done
    rm -rf "$1"
}

case ${1:-} in
    start | up | stop | leader) "$@" ;;
    *) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p;}' "$0" >&2; exit 2 ;;
esac
