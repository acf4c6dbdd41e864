#!/usr/bin/env bash
# The one way in which demo and tests run a private PostgreSQL server.
#
#   server.sh new          make a fresh data directory, print the name of its folder
#   server.sh start DIR    start the server of that folder; its socket is in the folder too
#   server.sh restart DIR
#   server.sh stop DIR
#   server.sh kill DIR     end it as a crash would
#   server.sh remove DIR   stop it and remove the folder
#   server.sh guard [DIR]  new and start; print the folder; remove when standard input closes;
#                          with DIR it is a standby of that folder's server
#
# PostgreSQL refuses to run as root, so root hands the server to the user postgres; anyone else
# runs it himself. It listens on its socket alone, in a folder that nobody else can enter.
set -euo pipefail

bin=$("${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}" --bindir)
# The server must not depend on a folder that its user cannot enter.
cd /

as_owner() {
    if ((EUID == 0)); then
        setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
    else
        "$@"
    fi
}

# Short, because the path of a socket holds 107 bytes.
new_folder() {
    dir=$(as_owner mktemp -d "/tmp/teller.XXXXXX")
}

new() {
    new_folder
    as_owner "$bin/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 \
        --locale=C.UTF-8 --pgdata="$dir/data" >/dev/null
    as_owner tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$dir'
unix_socket_permissions = 0700
fsync = off
full_page_writes = off
synchronous_commit = off
CONF
}

new_standby() {
    new_folder
    as_owner "$bin/pg_basebackup" --host="$1" --username=postgres --pgdata="$dir/data" \
        --checkpoint=fast --no-sync --write-recovery-conf
    as_owner tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
unix_socket_directories = '$dir'
CONF
}

pg_ctl() {
    as_owner "$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/log" --wait --silent "$@"
}

start() {
    if ! pg_ctl start; then
        tail -n 20 "$dir/log" >&2
        exit 1
    fi
}

running() {
    pg_ctl status >/dev/null 2>&1
}

stop() {
    ! running || pg_ctl --mode=fast stop || pg_ctl --mode=immediate stop
}

remove() {
    stop
    rm -rf "$dir"
}

guard() {
    # Ctrl-C ends the caller, which closes our standard input: that is the one sign to stop.
    trap '' INT TERM HUP
    dir=
    trap '[[ -z $dir ]] || remove >/dev/null 2>&1' EXIT
    if [[ -n ${1:-} ]]; then
        new_standby "$1"
    else
        new
    fi
    start
    echo "$dir"
    cat >/dev/null
}

verb=${1:?verb}
case $verb in
new)
    trap 'rm -rf "${dir:-}"' EXIT
    new
    trap - EXIT
    echo "$dir"
    ;;
guard) guard "${2:-}" ;;
start | stop | remove)
    dir=${2:?folder of the server}
    "$verb"
    ;;
restart)
    dir=${2:?folder of the server}
    pg_ctl --mode=fast restart
    ;;
kill)
    dir=${2:?folder of the server}
    kill -KILL "$(head -n 1 "$dir/data/postmaster.pid")"
    ;;
*)
    echo "server.sh: unknown verb $verb" >&2
    exit 2
    ;;
esac
