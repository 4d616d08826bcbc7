# SPDX-License-Identifier: GPL-2.0-or-later
#
# The real daemon for benchmarks: 4 PFs with 252 functions each in the pool "accel" of a fake host
# (tests/lib/fakehost). Source it, then make_work, make_host, start_daemon; what was begun ends with
# the script. Everything lives in $work, on tmpfs where there is one, as /run in production.
#
# Sets $work, $socket, $root and, by start_daemon, $daemon (its process).

build=$(realpath "${BUILD:-build}")
work=''
daemon=''

finish() {
    stop_daemon
    [[ -z $work ]] || rm -rf "$work"
}

make_work() {
    local where=${TMPDIR:-/tmp}
    if [[ $(stat -fc %T /dev/shm 2>/dev/null) == tmpfs ]]; then where=/dev/shm; fi
    work=$(mktemp -d -p "$where" virtfn-bench.XXXXXX)
    trap finish EXIT
    root=$work/root
    socket=$work/run/virtfn.sock
    echo "$(basename "$0"): the ledger is on $(stat -fc %T "$work")" >&2
}

make_host() {
    tests/lib/fakehost "$root" fpga@0000:0{3,4,5,6}:00.0:252
    mkdir "$work/conf"
    printf '[pool accel]\npf = 10ee:903f\ncount = 252\n' >"$work/conf/accel.conf"
}

# start_daemon [OPTION...]: waits until it listens. The first processor is left to a client (burst.c takes it): where the
# scheduler puts two processes that wake each other would be measured otherwise.
start_daemon() {
    local last=$(($(nproc) - 1))
    taskset -c "$((last > 0))-$last" "$build/virtfnd" --root "$root" --config "$work/conf" --run "$work/run" \
        --state "$work/state" --helper "$build/virtfn-numvfs" "$@" 2>"$work/log" &
    daemon=$!
    for _ in {1..200}; do
        if [[ -S $socket ]]; then return; fi
        sleep 0.05
    done
    cat "$work/log" >&2
    return 1
}

stop_daemon() {
    [[ -n $daemon ]] || return 0
    kill "$daemon" && wait "$daemon" || cat "$work/log" >&2
    daemon=''
}

# api METHOD PATH [CURL-OPTION...]: what it answers; an error of HTTP is an error.
api() {
    curl -sS --fail-with-body --max-time 60 --unix-socket "$socket" -X "$1" "http://localhost$2" \
        "${@:3}"
}
