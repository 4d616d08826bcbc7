#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The daemon's files when they are damaged, or their file system is full. The daemon runs in a mount
# name space of its own with a tiny tmpfs, which is reached through its /proc entry.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VF0=0000:01:10.0 VF1=0000:01:10.2

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2
}

teardown() {
    stop_daemon
}

# start_on_tmpfs DIRECTORY [FILL]: the daemon with a full or empty tmpfs of 256 KiB there.
start_on_tmpfs() {
    mkdir -p "$1"
    VIRTFN_SOCKET=$BATS_TEST_TMPDIR/sock
    INSIDE=(unshare -m sh -c "mount -t tmpfs -o size=256k tmpfs '$1' && ${2:-:}; exec \"\$@\"" sh)
    ON_HOST=("${INSIDE[@]}" "${ON_HOST[@]}")
    start_daemon --socket "$VIRTFN_SOCKET"
}

# fill DIRECTORY: uses up the daemon's tmpfs.
fill() {
    dd if=/dev/zero of="/proc/$DAEMON/root$1/filler" bs=1k 2>/dev/null || true
}

unfill() {
    rm "/proc/$DAEMON/root$1/filler"
}

@test "leases survive kill -9" {
    start_daemon
    hook prepare g1 net0@uplink=$VF1
    hook started g1 net0@uplink=$VF1
    before=$(api GET /v1/leases)
    restart_daemon
    equal "$(api GET /v1/leases)" "$before"
    hook release g1 net0@uplink=$VF1
    restart_daemon
    equal "$(leases)" ""
}

@test "a damaged ledger is moved aside and told" {
    start_daemon
    hook prepare g1 net0@uplink=$VF1
    stop_daemon
    echo 'this is no database, whatever its name says' >"$ROOT/run/ledger.db"
    start_daemon
    equal "$(problems)" "$ROOT/run/ledger.db: file is not a database; it was moved to $ROOT/run/ledger.db.damaged-1 and a new one begun"
    equal "$(cat "$ROOT/run/ledger.db.damaged-1")" 'this is no database, whatever its name says'
    # The guest runs on: its function is found again when libvirt says so.
    hook reconnect g1 net0@uplink=$VF1
    equal "$(leases)" "g1/net0 uplink#1 running"
}

@test "a ledger that was cut short is moved aside, again and again" {
    for n in 1 2; do
        start_daemon
        hook prepare g1 net0@uplink=$VF1
        stop_daemon
        truncate -s 5000 "$ROOT/run/ledger.db"
    done
    start_daemon
    [[ $(problems) == "$ROOT/run/ledger.db: "*"; it was moved to $ROOT/run/ledger.db.damaged-2 and a new one begun" ]]
    hook prepare g1 net0@uplink=$VF1
    equal "$(leases)" "g1/net0 uplink#1 ready"
}

@test "damaged assignments are moved aside and told" {
    start_daemon
    stop_daemon
    echo garbage >"$ROOT/state/assignments.db"
    start_daemon
    equal "$(problems)" "$ROOT/state/assignments.db: file is not a database; it was moved to $ROOT/state/assignments.db.damaged-1 and a new one begun"
}

@test "rows that make no sense are left out and counted" {
    start_daemon
    hook prepare g1 net0@uplink=$VF0
    hook prepare g2 net0@uplink=$VF1
    stop_daemon
    sqlite3 "$ROOT/run/ledger.db" "UPDATE lease SET pf = 'nowhere' WHERE domain = 'g1'"
    start_daemon
    equal "$(leases)" "g2/net0 uplink#1 ready"
    grep -q "ledger: 1 rows make no sense and were left out" "$DAEMON_LOG"
}

@test "what is told of the files is only for root" {
    start_daemon
    hook prepare g1 net0@uplink=$VF0
    equal "$(stat -c '%a' "$ROOT/run" "$ROOT/run/ledger.db" "$ROOT/state" "$ROOT/state/assignments.db" |
        tr '\n' ' ')" "755 600 700 600 "
}

@test "a run directory that cannot be written keeps the daemon from starting, in one line" {
    touch "$ROOT/run"
    run "${ON_HOST[@]}" "$BUILD/virtfnd" --root "$ROOT" --config "$CONFIG" --run "$ROOT/run" \
        --state "$ROOT/state" --helper "$BUILD/virtfn-numvfs" --no-libvirt
    [[ $status -eq 1 && ${#lines[@]} -eq 1 && $output == *"$ROOT/run: Not a directory" ]]
}

@test "without a state directory the daemon starts and says so" {
    touch "$ROOT/state"
    start_daemon
    equal "$(problems)" "$ROOT/state/assignments.db: unable to open database file -- make the directory writable for virtfnd"
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "a state directory that is full when the daemon starts is told" {
    start_on_tmpfs "$ROOT/state" "dd if=/dev/zero of='$ROOT/state/filler' bs=1k 2>/dev/null"
    [[ $(problems) == "$ROOT/state/assignments.db: "*" -- "* ]]
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "a state directory that fills up is told; starts go on; it heals" {
    start_on_tmpfs "$ROOT/state"
    fill "$ROOT/state"
    api POST /v1/render "$(domain_xml g1 net0@uplink)" >/dev/null
    local told="$ROOT/state/assignments.db: database or disk is full -- free some space on its file system"
    equal "$(problems)" "$told"
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
    equal "$(problems)" "$told"
    unfill "$ROOT/state"
    api POST /v1/render "$(domain_xml g1 net0@uplink)" >/dev/null
    equal "$(problems)" ""
}

@test "a run directory that fills up refuses starts, leaks nothing, and heals" {
    start_on_tmpfs "$ROOT/run"
    hook prepare g1 net0@uplink
    fill "$ROOT/run"
    local told="$ROOT/run/ledger.db: database or disk is full -- free some space on its file system"
    run hook prepare g2 net0@uplink
    [[ $status -eq 1 && $output == *"$told"* ]]
    equal "$(leases)" "g1/net0 uplink#0 ready"
    equal "$(problems)" "$told"
    equal "$(api POST /v1/leases "{\"domain\":\"$(uuid_of g3)\",\"device\":\"a\",\"pool\":\"uplink\"}" |
        jq -r '"\(.status) \(.detail) \(.remedy)"')" \
        "500 $ROOT/run/ledger.db: database or disk is full free some space on its file system"
    run hook started g1 net0@uplink
    expect 0 ""
    unfill "$ROOT/run"
    hook release g2 net0@uplink
    hook prepare g2 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready
g2/net0 uplink#1 ready"
    equal "$(problems)" ""
}

@test "a release that cannot be written is made good when there is space" {
    start_on_tmpfs "$ROOT/run"
    hook prepare g1 net0@uplink
    fill "$ROOT/run"
    run hook release g1 net0@uplink
    expect 0 ""
    unfill "$ROOT/run"
    hook release g1 net0@uplink
    equal "$(leases)" ""
    equal "$(function_state uplink 0)" free
}
