#!/bin/sh
# Installs lan-gateway as a service, or upgrades it: sudo sh install.sh [OPTIONS]
#
#   --binary FILE               the program to install; default: the one beside this script, or target/release/lan-gateway
#   --port N                    the port of a new installation; default 7000
#   --ollama-url URL            the Ollama of a new installation; default http://127.0.0.1:11434
#   --admin-password-file FILE  sets the password of `admin`, so that the first one, admin123, never opens anything
#   --pin-ollama                writes a drop-in by which Ollama listens on loopback alone and stays offline; else it is offered
#   --wait SECONDS              how long the gateway may take to become healthy; default 120
#   --yes                       asks nothing
#   --dry-run                   prints what it would do and changes nothing
#   --help                      prints this
#
# Everything lies in /opt/lan-gateway: bin (the program), lan-gateway.toml (the configuration, never overwritten), data (the
# database and the secrets), backups, share. Beside it there are a unit, lan-gateway.service, a system user, lan-gateway, and a
# link, /usr/local/bin/lan-gateway. Ollama and other programs are left as they are.
#
# Run it again to repair an installation. With a newer program it upgrades: it makes a backup, exchanges the program and waits
# until the new one is healthy; if it is not, the old program and its database come back. `share/rollback.sh` removes all of it.
#
# Exit codes: 0 done, 1 failed (after an upgrade that failed, the old version runs again), 2 wrong use or refused before any
# change, 3 an upgrade failed, and the old version does not run either.
set -eu
umask 022

readonly NAME=lan-gateway
readonly HOME_DIR=/opt/$NAME
readonly PROGRAM=$HOME_DIR/bin/$NAME CONFIG=$HOME_DIR/$NAME.toml DATA=$HOME_DIR/data BACKUPS=$HOME_DIR/backups
readonly SHARE=$HOME_DIR/share DATABASE=$DATA/$NAME.db COPY=$BACKUPS/$NAME.upgrade
readonly UNIT=/etc/systemd/system/$NAME.service LINK=/usr/local/bin/$NAME
readonly PIN=/etc/systemd/system/ollama.service.d/$NAME.conf
readonly FREE_MB_MIN=512 STOP_SECONDS_MAX=3700 STABLE_SECONDS=3

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
binary='' port='' ollama_url='' password_file='' pin=no yes=no dry=no wait_seconds=120
old_version='' unit_source='' made_database=no copied=no swapped=no unit_kept=no

main() {
    read_options "$@"
    check_host
    one_at_a_time
    check_sources
    check_installed
    check_port
    [ "$dry" = no ] || say "dry run: nothing is changed"
    if [ -z "$old_version" ]; then install_new
    elif cmp -s "$binary" "$PROGRAM"; then repair
    else upgrade; fi
    set_password
    offer_pin
    next_steps
}

# --- words ----------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
refuse() { printf 'install.sh: %s\n' "$*" >&2; exit 2; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Does it, or prints it in a dry run.
act() {
    if [ "$dry" = yes ]; then say "+ $*"; else "$@"; fi
}

# Writes a file from standard input as a whole: FILE MODE OWNER:GROUP
write_file() {
    if [ "$dry" = yes ]; then say "+ write $1 ($2, $3)"; cat >/dev/null; return; fi
    cat >"$1.new" && chmod "$2" "$1.new" && chown "$3" "$1.new" && mv -f "$1.new" "$1"
}

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --binary | --port | --ollama-url | --admin-password-file | --wait)
                [ $# -gt 1 ] || refuse "$1 needs a value; see --help"
                case $1 in
                    --binary) binary=$2 ;;
                    --port) port=$2 ;;
                    --ollama-url) ollama_url=$2 ;;
                    --admin-password-file) password_file=$2 ;;
                    --wait) wait_seconds=$2 ;;
                esac
                shift ;;
            --pin-ollama) pin=yes ;;
            --yes) yes=yes ;;
            --dry-run) dry=yes ;;
            --help | -h) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p;}' "$0"; exit 0 ;;
            *) refuse "unknown option \`$1\`; see --help" ;;
        esac
        shift
    done
    case $port in *[!0-9]* | 0*) refuse "--port must be a number from 1 to 65535" ;; esac
    [ -z "$port" ] || [ "$port" -le 65535 ] || refuse "--port must be a number from 1 to 65535"
    case $wait_seconds in '' | *[!0-9]*) refuse "--wait must be a number of seconds" ;; esac
    case $ollama_url in *[!A-Za-z0-9:/._\[\]-]*) refuse "--ollama-url must be a URL, as in http://127.0.0.1:11434" ;; esac
    [ -z "$password_file" ] || [ -s "$password_file" ] || refuse "--admin-password-file: $password_file can't be read, or is empty"
}

# --- checks, before anything is changed -----------------------------------------------------

check_host() {
    [ "$(uname -s)" = Linux ] || refuse "this is for Linux with systemd"
    if [ ! -d /run/systemd/system ] || ! have systemctl; then
        refuse "this host does not run systemd; start \`lan-gateway serve\` in another way (see deploy/Dockerfile)"
    fi
    [ "$(id -u)" -eq 0 ] || [ "$dry" = yes ] || refuse "this needs root: sudo sh $0"
    if have dpkg-query && dpkg-query -S "$PROGRAM" >/dev/null 2>&1; then
        refuse "lan-gateway was installed as a Debian package here; upgrade it with: apt install ./lan-gateway_VERSION_amd64.deb"
    fi
    place=$HOME_DIR
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    case $(stat -f -c %T "$place") in
        nfs* | smb* | cifs | fuseblk | 9p | v9fs | ceph | afs | ocfs2)
            refuse "$place is on a network file system, where the database can lose commits; use a local disk" ;;
    esac
    free=$(df -Pk "$place" | awk 'NR == 2 { print int($4 / 1024) }')
    # An upgrade has a backup, a copy to roll back to and room for the work itself.
    need=$FREE_MB_MIN
    [ ! -f "$DATABASE" ] || need=$((FREE_MB_MIN + 2 * $(du -m "$DATABASE" | cut -f1)))
    [ "$free" -ge "$need" ] || refuse "$free MB are free in $place, and $need are needed"
}

# Two at once would exchange the program under each other.
one_at_a_time() {
    if [ "$dry" = yes ] || ! have flock; then return 0; fi
    exec 9</etc/systemd/system
    flock -n 9 || refuse "another install.sh or rollback.sh runs"
}

check_sources() {
    if [ -z "$binary" ]; then
        for candidate in "$here/$NAME" "$here/../target/release/$NAME"; do
            [ ! -f "$candidate" ] || { binary=$candidate; break; }
        done
        [ -n "$binary" ] || refuse "there is no program to install; build it first (make release), or name one with --binary"
    fi
    [ -f "$binary" ] || refuse "there is no program at $binary"
    binary=$(CDPATH='' cd -- "$(dirname -- "$binary")" && pwd)/$(basename "$binary")
    unit_source=$here/$NAME.service
    [ -f "$unit_source" ] || refuse "$unit_source is missing; unpack the whole archive"
    if [ -f "$here/SHA256SUMS" ]; then
        wrong=$(cd "$here" && sha256sum --check --quiet SHA256SUMS 2>&1) ||
            refuse "the checksums in $here/SHA256SUMS do not fit, so the download is damaged or was changed:
$wrong"
    fi
    new_version=$(version_of "$binary") || refuse "$binary does not run here: $(uname -m), $("$binary" --version 2>&1 | head -n 1)"
}

# The environment of whoever installs must not configure anything.
clean() { env -i PATH="$PATH" LANG=C.UTF-8 timeout 60 "$@"; }

version_of() { clean "$1" --version 2>/dev/null | sed -n "s/^$NAME //p" | grep .; }

check_installed() {
    if [ -e "$LINK" ] && [ "$(readlink "$LINK")" != "$PROGRAM" ]; then refuse "$LINK is another program; move it away first"; fi
    if [ -f "$PROGRAM" ]; then
        old_version=$(version_of "$PROGRAM") || old_version=unknown
        older=$(printf '%s\n%s\n' "$old_version" "$new_version" | sort -V | head -n 1)
        if [ "$old_version" != "$new_version" ] && [ "$older" = "$new_version" ] && [ "$old_version" != unknown ]; then
            refuse "version $old_version is installed, and $new_version is older: it may not be able to read the database. To go back,
restore a backup that $new_version made on a new installation (docs/runbook.md)"
        fi
    fi
    if [ -f "$CONFIG" ]; then
        [ -z "$port$ollama_url" ] || say "note: $CONFIG exists and is kept; --port and --ollama-url have no effect"
        said=$(clean "$binary" config check --config "$CONFIG" 2>&1) || refuse "$new_version does not accept $CONFIG:
$said"
    else
        first=$(mktemp) && first_config >"$first"
        said=$(clean "$binary" config check --config "$first" 2>&1) || { rm -f "$first"; refuse "the configuration is not good: $said"; }
        rm -f "$first"
    fi
}

# The address that the installed gateway listens on, or a new one will.
listen() {
    set_to=
    [ ! -f "$CONFIG" ] || set_to=$(sed -n '/^\[/q; s/^listen *= *"\([^"]*\)".*/\1/p' "$CONFIG" | tail -n 1)
    say "${set_to:-0.0.0.0:${port:-7000}}"
}

check_port() {
    wanted=$(listen) && wanted=${wanted##*:}
    holder=$(who_listens "$wanted")
    [ -z "$holder" ] || [ "${holder#* }" = "$(systemctl show -p MainPID --value "$NAME" 2>/dev/null)" ] ||
        refuse "port $wanted is taken by ${holder% *} (process ${holder#* }); end it, or choose another port with --port"
}

# Prints name and id of the process that listens on a port, from the kernel's tables: `ss` may not be there.
who_listens() {
    hex=$(printf ':%04X' "$1")
    inode=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port && !found { print found = $10 }')
    [ -n "$inode" ] || return 0
    for process in /proc/[0-9]*; do
        for file in "$process"/fd/*; do
            [ "$(readlink "$file" 2>/dev/null)" = "socket:[$inode]" ] || continue
            say "$(tr ' ' '-' <"$process/comm") ${process#/proc/}"
            return
        done
    done
    say "another-program unknown"
}

# --- the three ways -------------------------------------------------------------------------

install_new() {
    step "installing $new_version into $HOME_DIR"
    make_places
    act install -m 755 "$binary" "$PROGRAM.new"
    act mv -f "$PROGRAM.new" "$PROGRAM"
    put_rest
    start_new
    if ! became_healthy; then
        show_log
        fail "the gateway did not become healthy: $why. It is installed; \`sh $SHARE/rollback.sh\` removes it again"
    fi
    made_database=yes
    say "healthy: $(status_text)"
}

repair() {
    step "$old_version is installed already, from the same file; repairing what differs"
    make_places
    before=$(cat "$UNIT" 2>/dev/null || true)
    put_rest
    # A gateway that runs well is not restarted.
    if [ "$before" = "$(cat "$unit_source")" ] && is_healthy; then
        act systemctl enable --quiet "$NAME"
    else
        act systemctl reset-failed "$NAME" 2>/dev/null || true
        act systemctl stop "$NAME"
        start_new
        became_healthy || { show_log; fail "the gateway did not become healthy: $why"; }
    fi
    # Left by an upgrade that a power cut ended.
    act rm -f "$COPY" "$COPY-wal"
    say "healthy: $(status_text)"
}

upgrade() {
    step "upgrading from $old_version to $new_version"
    stamp=$(date +%Y%m%d-%H%M%S)
    make_places
    act install -m 755 "$binary" "$PROGRAM.new"
    backup_first
    say "stopping $old_version; answers that run may end"
    # From here on, whatever goes wrong leads back, a lost terminal too.
    trap 'roll_back "it was interrupted"' EXIT
    trap 'exit 1' INT TERM HUP
    act timeout "$STOP_SECONDS_MAX" systemctl stop "$NAME" || roll_back "the old version did not stop"
    if [ -f "$DATABASE" ]; then
        copy_database "$DATABASE" "$COPY" || roll_back "the database could not be copied"
        copied=yes
    fi
    if [ -f "$UNIT" ]; then act cp -p "$UNIT" "$SHARE/$NAME.service.old" && unit_kept=yes; fi
    act ln -f "$PROGRAM" "$PROGRAM.old"
    act mv -f "$PROGRAM.new" "$PROGRAM" && swapped=yes
    put_rest || roll_back "its files could not be written"
    start_new || roll_back "it could not be started"
    became_healthy || roll_back "$why"
    trap - EXIT INT TERM HUP
    # Without a backup of its own kind, the copy is the backup.
    [ -f "$backup" ] || [ "$copied" = no ] || act mv -f "$COPY" "$backup"
    act rm -f "$COPY" "$COPY-wal"
    say "healthy: $(status_text)"
    say "the old program is kept at $PROGRAM.old, the backup at $backup"
}

# A backup that the program can check and restore, made while the old version still answers. A damaged database ends the upgrade.
backup_first() {
    backup=$BACKUPS/before-$new_version-$stamp.db
    [ -f "$DATABASE" ] || { backup="(there was no database)"; return 0; }
    if clean "$binary" backup --help >/dev/null 2>&1; then
        act clean_long "$PROGRAM.new" backup --config "$CONFIG" "$backup" ||
            { rm -f "$PROGRAM.new"; fail "no backup could be made, so nothing was changed"; }
        act chown "$NAME:$NAME" "$backup"
    fi
}

clean_long() { env -i PATH="$PATH" LANG=C.UTF-8 timeout 3600 "$@"; }

# Copies a database whose gateway is stopped; its write-ahead log belongs to it when the stop could not empty it.
copy_database() {
    [ "$dry" = no ] || { say "+ copy $1 to $2"; return 0; }
    rm -f "$2" "$2-wal"
    cp --reflink=auto --preserve=mode,ownership,timestamps "$1" "$2" || return 1
    [ ! -s "$1-wal" ] || cp --preserve=mode,ownership,timestamps "$1-wal" "$2-wal" || return 1
    sync "$2"
}

# Brings the old program, its unit and its database back. The new version may have changed the database, so that the old one
# could not read it.
roll_back() {
    trap - EXIT
    trap '' INT TERM HUP
    set +e
    reason=$1
    step "the upgrade failed: $reason; going back to $old_version"
    show_log
    timeout "$STOP_SECONDS_MAX" systemctl stop "$NAME" || systemctl kill -s KILL "$NAME" || true
    [ "$swapped" = no ] || mv -f "$PROGRAM.old" "$PROGRAM"
    [ "$unit_kept" = no ] || mv -f "$SHARE/$NAME.service.old" "$UNIT"
    rm -f "$PROGRAM.new"
    if [ "$copied" = yes ]; then
        rm -f "$DATABASE-wal" "$DATABASE-shm"
        [ ! -f "$COPY-wal" ] || mv -f "$COPY-wal" "$DATABASE-wal"
        mv -f "$COPY" "$DATABASE"
    fi
    start_new || true
    if became_healthy; then fail "the upgrade to $new_version failed ($reason); $old_version runs again, with its data"; fi
    show_log
    printf 'install.sh: the upgrade failed (%s), and %s does not run either: %s\n' "$reason" "$old_version" "$why" >&2
    exit 3
}

# --- parts ----------------------------------------------------------------------------------

make_places() {
    if ! id "$NAME" >/dev/null 2>&1; then
        shell=/bin/false
        for candidate in /usr/sbin/nologin /sbin/nologin; do [ ! -x "$candidate" ] || { shell=$candidate; break; }; done
        act useradd --system --user-group --home-dir "$HOME_DIR" --no-create-home --shell "$shell" \
            --comment "lan-gateway service" "$NAME"
    fi
    act install -d -m 755 "$HOME_DIR" "$HOME_DIR/bin" "$SHARE"
    act install -d -m 700 -o "$NAME" -g "$NAME" "$DATA" "$BACKUPS"
    # What somebody restored as root belongs to the service.
    act chown -hR "$NAME:$NAME" "$DATA" "$BACKUPS"
}

# Everything but the program itself.
put_rest() {
    [ -f "$CONFIG" ] || first_config | write_file "$CONFIG" 640 "root:$NAME" || return 1
    [ ! -f "$CONFIG" ] || act chown "root:$NAME" "$CONFIG"
    [ ! -f "$CONFIG" ] || act chmod 640 "$CONFIG"
    clean "$binary" config example | write_file "$SHARE/$NAME.toml.example" 644 root:root || return 1
    for file in rollback.sh LICENSE README.md; do
        for source in "$here/$file" "$here/../$file"; do
            [ -f "$source" ] || continue
            write_file "$SHARE/$file" 644 root:root <"$source" || return 1
            break
        done
    done
    write_file "$UNIT" 644 root:root <"$unit_source" || return 1
    act install -d -m 755 "$(dirname "$LINK")" && act ln -sfn "$PROGRAM" "$LINK" || return 1
    # Where SELinux is on, systemd may only start what is labelled as a program.
    ! have restorecon || act restorecon -R "$HOME_DIR" "$UNIT"
}

# The example of this program's version, with the places of this installation.
first_config() {
    listen_line='#&' url_line='#&' model_line='#&'
    [ -z "$port" ] || listen_line="listen = \"0.0.0.0:$port\""
    [ -z "$ollama_url" ] || url_line="url = \"$ollama_url\""
    model=$(model_there)
    [ -z "$model" ] || model_line="default_model = \"$model\""
    clean "$binary" config example | sed \
        -e "1,/^\[/ s|^#default_model = .*|$model_line|" \
        -e "s|^#data_dir = .*|data_dir = \"$DATA\"|" \
        -e "/^\[backup\]/,/^\[/ s|^#folder = .*|folder = \"$BACKUPS\"|" \
        -e "1,/^\[/ s|^#listen = .*|$listen_line|" \
        -e "/^\[ollama\]/,/^\[/ s|^#url = .*|$url_line|" \
        -e 's|^##|#|'
}

# Prints the model that Ollama has in place of the gateway's own default: the first that chats and stays on this host. Prints nothing if
# the default is there, or if Ollama is away or has none: then `lan-gateway doctor` says what to do.
model_there() {
    have curl || return 0
    from=${ollama_url:-http://127.0.0.1:11434}
    names=$(curl -fsS -m 5 --noproxy '*' "$from/api/tags" 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d '"' -f 4 |
        grep -x '[A-Za-z0-9._:/-]*') || return 0
    ! printf '%s\n' "$names" | grep -qx 'llama3.2:latest' || return 0
    for name in $names; do
        case $name in *:cloud | *-cloud) continue ;; esac
        shown=$(curl -fsS -m 10 --noproxy '*' "$from/api/show" -d "{\"model\":\"$name\"}" 2>/dev/null) || continue
        case $shown in *'"capabilities":['*'"completion"'*) printf '%s\n' "$name"; return 0 ;; esac
    done
}

start_new() {
    act systemctl daemon-reload && act systemctl enable --quiet "$NAME" || return 1
    # Fails when it has not failed before.
    act systemctl reset-failed "$NAME" 2>/dev/null || true
    act systemctl start --no-block "$NAME"
}

# Waits until the gateway is healthy and stays so; sets `why` if it does not.
became_healthy() {
    [ "$dry" = no ] || { say "+ wait until the gateway is healthy"; return 0; }
    waited=0
    while [ "$waited" -lt "$wait_seconds" ]; do
        if is_healthy; then
            process=$(systemctl show -p MainPID --value "$NAME")
            sleep "$STABLE_SECONDS"
            if is_healthy && [ "$(systemctl show -p MainPID --value "$NAME")" = "$process" ]; then return 0; fi
        fi
        if [ "$(systemctl is-active "$NAME")" = failed ]; then
            why="it failed to start ($(systemctl show -p Result --value "$NAME"))"
            return 1
        fi
        sleep 1
        waited=$((waited + 1))
    done
    why="it was not healthy after $wait_seconds seconds ($(systemctl is-active "$NAME"))"
    return 1
}

# systemd says that it serves, and it answers on its port. Whether Ollama answers does not matter here.
is_healthy() {
    [ "$(systemctl is-active "$NAME" 2>/dev/null)" = active ] || return 1
    case $(sed -n '/^\[/q; s/^plain_http *= *"\([^"]*\)".*/\1/p' "$CONFIG") in off) return 0 ;; esac
    address=$(listen)
    case $address in
        0.0.0.0:*) address=127.0.0.1:${address##*:} ;;
        \[::\]:*) address="[::1]:${address##*:}" ;;
    esac
    if have curl; then
        # 403: this host itself is not among `allow_networks`.
        case $(curl -s -o /dev/null -m 5 --noproxy '*' -w '%{http_code}' "http://$address/health/live") in
            200 | 403) return 0 ;;
            *) return 1 ;;
        esac
    elif have wget; then wget -q -T 5 -O /dev/null "http://$address/health/live"; fi
}

status_text() { [ "$dry" = yes ] || systemctl show -p StatusText --value "$NAME"; }

show_log() {
    say "the last lines of its log (journalctl -u $NAME):"
    journalctl -u "$NAME" -n 15 --no-pager -o cat 2>/dev/null | sed 's/^/  | /' || true
}

# --- afterwards -----------------------------------------------------------------------------

set_password() {
    [ -n "$password_file" ] || return 0
    step "setting the password of admin"
    have curl || { say "without curl this can't be done here; choose it on the page instead"; return 0; }
    [ "$dry" = no ] || { say "+ change the password of admin to the one in $password_file"; return 0; }
    address=$(listen)
    case $address in 0.0.0.0:* | \[::\]:*) address=127.0.0.1:${address##*:} ;; esac
    # Over standard input, so that no list of processes shows it.
    answer=$(sed -e 's/\\/\\\\/g; s/"/\\"/g' -e '1!d' "$password_file" |
        { IFS= read -r password || true
          printf '{"username":"admin","current_password":"admin123","new_password":"%s"}' "$password"; } |
        curl -s -m 30 --noproxy '*' -H 'content-type: application/json' --data-binary @- -w '\n%{http_code}' \
            "http://$address/api/v1/password") || true
    case $answer in
        *204) say "done; admin123 opens nothing" ;;
        *401) say "it was changed before, and is left as it is" ;;
        *) fail "the password was not set: $answer" ;;
    esac
}

# Everybody on the network can use an Ollama that listens there, past the gateway. To change it is the admin's choice.
offer_pin() {
    if [ "$pin" = no ] && [ "$yes" = no ] && [ "$dry" = no ] && [ -t 0 ] && [ ! -f "$PIN" ] && ollama_is_a_service; then
        say
        say "Ollama has no accounts: on the network, it can be used past the gateway. Shall it listen on this host alone,"
        printf 'and its cloud models be off, by a drop-in (%s)? [y/N] ' "$PIN"
        read -r answer || answer=
        case $answer in [yY]*) pin=yes ;; esac
    fi
    [ "$pin" = yes ] || return 0
    step "pinning Ollama to loopback"
    ollama_is_a_service || { say "there is no ollama.service here; start Ollama with OLLAMA_HOST=127.0.0.1:11434 yourself"; return 0; }
    ollama_port=$(systemctl show -p Environment --value ollama | tr ' ' '\n' | sed -n 's/^OLLAMA_HOST=.*:\([0-9][0-9]*\)$/\1/p' | tail -n 1)
    pinned=127.0.0.1:${ollama_port:-11434}
    act install -d -m 755 "$(dirname "$PIN")"
    write_file "$PIN" 644 root:root <<END
# Written by install.sh of lan-gateway, and removed by its rollback.sh.
[Service]
Environment=OLLAMA_HOST=$pinned
Environment=OLLAMA_NO_CLOUD=1
END
    act systemctl daemon-reload
    if [ "$dry" = no ] && ! systemctl show -p Environment --value ollama | tr ' ' '\n' | grep OLLAMA_HOST | tail -n 1 | grep -qF "=$pinned"; then
        say "another drop-in of Ollama sets OLLAMA_HOST after this one; see: systemctl cat ollama"
    fi
    say "written; it takes effect when Ollama starts again: systemctl restart ollama"
}

ollama_is_a_service() { [ "$(systemctl show -p LoadState --value ollama 2>/dev/null)" = loaded ]; }

addresses() {
    if have ip; then
        ip -o addr show scope global 2>/dev/null |
            awk '$3 == "inet" && $2 !~ /^(docker|br-|veth|virbr|cni|podman)/ { sub("/.*", "", $4); print $4 }'
    elif have hostname; then hostname -I 2>/dev/null | tr ' ' '\n' | grep -F . || true; fi
}

next_steps() {
    [ "$dry" = no ] || return 0
    on=$(listen) && on=${on##*:}
    step "done"
    say "The gateway is at:"
    for address in $(addresses); do say "  http://$address:$on"; done
    say "  http://127.0.0.1:$on (this host)"
    say
    if [ "$made_database" = yes ] && [ -z "$password_file" ]; then
        say "First, set the admin's password, here:  lan-gateway user password admin"
        say "Or open it and sign in as admin with the password admin123, which only allows setting another one."
    fi
    say "status   systemctl status $NAME; lan-gateway doctor"
    say "log      journalctl -u $NAME -f"
    say "settings $CONFIG, then: systemctl restart $NAME"
    say "data     $DATA, backups in $BACKUPS"
    say "people   they register there; then lan-gateway user list --status pending, lan-gateway user approve NAME"
    say "tools    lan-gateway token create NAME \"n8n\"; all else in $SHARE/README.md"
    say "remove   sh $SHARE/rollback.sh"
    [ "$pin" = yes ] || [ -f "$PIN" ] || ! ollama_is_a_service ||
        say "Ollama   to keep others from using it past the gateway: sh $0 --pin-ollama"
    if have ufw && ufw status 2>/dev/null | grep -q '^Status: active'; then
        say "firewall ufw is on; to let your network in: ufw allow from 192.168.0.0/16 to any port $on proto tcp"
    fi
    if have firewall-cmd && firewall-cmd --state >/dev/null 2>&1; then
        say "firewall firewalld is on; to let your network in: firewall-cmd --permanent --add-port=$on/tcp && firewall-cmd --reload"
    fi
}

main "$@"
