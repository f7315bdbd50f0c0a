#!/bin/sh
# Removes lan-gateway from this host, and nothing else: sudo sh rollback.sh [OPTIONS]
#
#   --keep-data     keeps accounts, record and backups (/opt/lan-gateway/data and backups) and the user that owns them
#   --remove-data   removes them, too, after a backup into /var/backups/lan-gateway
#   --no-backup     makes no backup
#   --dry-run       prints what it would do and changes nothing
#   --help          prints this
#
# Without --keep-data or --remove-data it asks; where it can't ask, it keeps the data. Ollama, its models and other programs are
# not touched; the drop-in by which install.sh pinned Ollama to loopback is removed. It can be run again at any time.
#
# Exit codes: 0 done, 1 failed, 2 wrong use or refused before any change.
set -eu
umask 077

readonly NAME=lan-gateway
readonly HOME_DIR=/opt/$NAME
readonly PROGRAM=$HOME_DIR/bin/$NAME CONFIG=$HOME_DIR/$NAME.toml DATA=$HOME_DIR/data BACKUPS=$HOME_DIR/backups
readonly DATABASE=$DATA/$NAME.db LAST_BACKUPS=/var/backups/$NAME
readonly UNIT=/etc/systemd/system/$NAME.service LINK=/usr/local/bin/$NAME
readonly PIN=/etc/systemd/system/ollama.service.d/$NAME.conf MARK='Written by install.sh of lan-gateway'
readonly STOP_SECONDS_MAX=3700

script=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/$(basename -- "$0")
# The folder of this script may be one of those that go.
cd /
data=ask backup=yes dry=no kept=''

main() {
    read_options "$@"
    check_host
    choose
    stop_service
    [ "$backup" = no ] || back_up
    remove_files
    remove_pin
    [ "$data" = keep ] || remove_data
    tell
}

say() { printf '%s\n' "$*"; }
refuse() { printf 'rollback.sh: %s\n' "$*" >&2; exit 2; }
fail() { printf 'rollback.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Does it, or prints it in a dry run.
act() {
    if [ "$dry" = yes ]; then say "+ $*"; else "$@"; fi
}

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --keep-data) data=keep ;;
            --remove-data) data=remove ;;
            --no-backup) backup=no ;;
            --dry-run) dry=yes ;;
            --help | -h) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p;}' "$script"; exit 0 ;;
            *) refuse "unknown option \`$1\`; see --help" ;;
        esac
        shift
    done
}

check_host() {
    [ "$(id -u)" -eq 0 ] || [ "$dry" = yes ] || refuse "this needs root: sudo sh $script"
    have systemctl || refuse "this host does not run systemd, so install.sh has put nothing here"
    if have dpkg-query && dpkg-query -S "$PROGRAM" >/dev/null 2>&1; then
        refuse "lan-gateway was installed as a Debian package here; remove it with: apt remove lan-gateway (or apt purge, with its data)"
    fi
    [ "$dry" = no ] || { say "dry run: nothing is changed"; return 0; }
    if have flock; then
        exec 9</etc/systemd/system
        flock -n 9 || refuse "another install.sh or rollback.sh runs"
    fi
}

choose() {
    [ "$data" = ask ] || return 0
    data=keep
    if [ ! -t 0 ] || { [ ! -d "$DATA" ] && [ ! -d "$BACKUPS" ]; }; then return 0; fi
    printf 'Remove the accounts and the whole record with all prompts and answers, too (%s)? [y/N] ' "$DATA"
    read -r answer || answer=
    case $answer in [yY]*) data=remove ;; esac
}

stop_service() {
    if [ "$(systemctl show -p LoadState --value "$NAME" 2>/dev/null)" = loaded ]; then
        say "stopping lan-gateway; answers that run may end"
        act timeout "$STOP_SECONDS_MAX" systemctl stop "$NAME" || fail "it does not stop: systemctl status $NAME"
        act systemctl disable --quiet "$NAME"
    fi
    # A gateway that was started by hand would go on with files that are gone.
    if [ -S "$DATA/control.sock" ] && have fuser && fuser -s "$DATABASE" 2>/dev/null; then
        [ "$dry" = yes ] || fail "a gateway that is no service still uses $DATABASE; end it first"
    fi
}

# A copy of the stopped database, with the configuration; the keys in `secrets` are not in it.
back_up() {
    [ -f "$DATABASE" ] || return 0
    stamp=$(date +%Y%m%d-%H%M%S)
    if [ "$data" = keep ]; then folder=$BACKUPS; else folder=$LAST_BACKUPS; fi
    kept=$folder/before-removal-$stamp
    [ "$data" = keep ] || act install -d -m 700 "$folder"
    make_backup "$kept.db" || fail "no backup could be made, so nothing was removed; see above, or use --no-backup"
    [ ! -f "$CONFIG" ] || act cp "$CONFIG" "$kept.toml"
    for file in "$kept.db" "$kept.toml"; do
        [ "$data" != keep ] || [ ! -f "$file" ] || act chown "$NAME:$NAME" "$file"
    done
}

make_backup() {
    if [ -x "$PROGRAM" ] && env -i PATH="$PATH" "$PROGRAM" backup --help >/dev/null 2>&1; then
        act env -i PATH="$PATH" timeout 3600 "$PROGRAM" backup --config "$CONFIG" "$1"
    else
        act cp --reflink=auto "$DATABASE" "$1" || return 1
        [ ! -s "$DATABASE-wal" ] || act cp "$DATABASE-wal" "$1-wal"
    fi
}

remove_files() {
    act rm -f "$UNIT"
    act rm -rf "$UNIT.d"
    [ "$(readlink "$LINK" 2>/dev/null)" != "$PROGRAM" ] || act rm -f "$LINK"
    act rm -rf "$HOME_DIR/bin" "$HOME_DIR/share"
    act rm -f "$CONFIG" "$CONFIG.new"
    act systemctl daemon-reload
    # Fails when it has not failed before.
    act systemctl reset-failed "$NAME" 2>/dev/null || true
}

remove_pin() {
    [ -f "$PIN" ] || return 0
    if ! grep -qF "$MARK" "$PIN"; then
        say "$PIN was not written by install.sh, so it stays"
        return 0
    fi
    act rm -f "$PIN"
    # Only if nothing else is in it.
    act rmdir "$(dirname "$PIN")" 2>/dev/null || true
    act systemctl daemon-reload
    say "Ollama is no longer pinned to loopback: it listens as before when it starts again (systemctl restart ollama)"
}

remove_data() {
    act rm -rf "$DATA" "$BACKUPS"
    # Only if the admin put nothing there.
    [ ! -d "$HOME_DIR" ] || act rmdir "$HOME_DIR" || say "$HOME_DIR has other files and stays"
    if id "$NAME" >/dev/null 2>&1; then act userdel "$NAME"; fi
    if have getent && getent group "$NAME" >/dev/null; then act groupdel "$NAME"; fi
}

tell() {
    [ "$dry" = no ] || return 0
    say "lan-gateway is removed."
    if [ "$data" = keep ] && [ -d "$DATA" ]; then
        say "Its data is kept in $DATA and $BACKUPS, and belongs to the user $NAME; install.sh finds it again."
        say "To remove it, too: sh rollback.sh --remove-data"
    fi
    [ -z "$kept" ] || say "A backup is in $kept.db, its configuration beside it."
    [ "$data" = keep ] || [ -z "$kept" ] || say "It has all prompts and answers; remove it when you no longer need it: rm -r $LAST_BACKUPS"
}

main "$@"
