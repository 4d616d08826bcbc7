#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kill -9 of the daemon at random moments while domains start and stop. A hook whose daemon dies
# asks the next one, so no start fails and nothing is given out twice or lost.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VFS=(0000:01:10.0 0000:01:10.2 0000:01:10.4)
SECONDS_OF_KILLING=${CRASH_SECONDS:-15}

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=3
    notes=$BATS_TEST_TMPDIR/notes
    held=$BATS_TEST_TMPDIR/held
    mkdir "$held"
    : >"$notes"
}

teardown() {
    touch "$BATS_TEST_TMPDIR/enough" "$BATS_TEST_TMPDIR/over"
    if [[ -n ${KEEPER-} ]]; then
        kill_daemon
        wait "$KEEPER" || true
    fi
    stop_daemon
}

# keep_daemon: starts it again whenever it is gone, as systemd would.
keep_daemon() {
    while [[ ! -e $BATS_TEST_TMPDIR/over ]]; do
        launch
        echo "$DAEMON" >"$BATS_TEST_TMPDIR/pid"
        wait "$DAEMON" || true
    done
}

kill_daemon() {
    kill -9 "$(cat "$BATS_TEST_TMPDIR/pid")" 2>/dev/null || true
    echo kill >>"$notes"
}

# live DOMAIN VF: starts and stops the domain until it is enough. Between a prepare that succeeded
# and its release nobody else may be given the function; a directory stands for having it.
live() {
    local said
    while [[ ! -e $BATS_TEST_TMPDIR/enough ]]; do
        if said=$(hook prepare "$1" "net0@uplink=$2" 2>&1); then
            mkdir "$held/$2" 2>/dev/null || echo "double $1 $2" >>"$notes"
            said=$(hook started "$1" "net0@uplink=$2" 2>&1) || echo "started failed: $said" >>"$notes"
            sleep "0.0$((RANDOM % 10))"
            rmdir "$held/$2"
            echo cycle >>"$notes"
        elif [[ $said != *"has no free function (eno1#0 by 'g"* && $said != *" is held by domain 'g"* ]]; then
            echo "refused: $said" >>"$notes"
        fi
        said=$(hook release "$1" "net0@uplink=$2" 2>&1) || echo "release failed: $said" >>"$notes"
        [[ -z $said ]] || echo "release said: $said" >>"$notes"
    done
}

@test "no lease is lost or given twice, and no start fails, while the daemon is killed" {
    # Releases and creations take a moment, so that kills fall into them.
    printf '%s\n' "*/reset 30" "*/drivers_probe 20" "*/sriov_numvfs 50" >"$ROOT/.delay"
    keep_daemon 2>/dev/null 3>&- &
    KEEPER=$!
    until [[ -S $VIRTFN_SOCKET ]]; do sleep 0.05; done
    local guests=() end=$((SECONDS + SECONDS_OF_KILLING))
    live g0 "${VFS[0]}" 3>&- & guests+=($!)
    live g1 "${VFS[1]}" 3>&- & guests+=($!)
    live g2 "${VFS[2]}" 3>&- & guests+=($!)
    live g3 "${VFS[0]}" 3>&- & guests+=($!)
    while ((SECONDS < end)); do
        sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
        kill_daemon
    done
    touch "$BATS_TEST_TMPDIR/enough"
    # The daemon that is there answers the last hooks.
    wait "${guests[@]}"
    echo "kills: $(grep -c kill "$notes"), runs of domains: $(grep -c cycle "$notes")"
    equal "$(grep -v -e '^kill$' -e '^cycle$' "$notes")" ""
    [[ $(grep -c kill "$notes") -ge $((SECONDS_OF_KILLING / 2)) ]]
    [[ $(grep -c cycle "$notes") -ge $((SECONDS_OF_KILLING / 2)) ]]

    equal "$(leases)" ""
    equal "$(ask /v1/pools/uplink '"\(.free) \(.leased) \(.problem)"')" "3 0 null"
    equal "$(ask /v1/status '.quarantined | length')" 0
    equal "$(problems)" ""
    equal "$(vf_count $PF)" 3
    local vf
    for vf in "${VFS[@]}"; do
        equal "$(driver_of "$vf")" vfio-pci
    done
    # Functions that were in use were never removed.
    equal "$(grep -c '^remove' "$ROOT/.log")" 0
}

@test "a start whose daemon is killed while it makes the VFs is answered by the next one" {
    start_daemon
    echo "*/sriov_numvfs 1000" >"$ROOT/.delay"
    hook prepare g1 "net0@uplink=${VFS[0]}" &
    local waiting=$!
    until [[ $(leases) == *preparing* ]]; do sleep 0.01; done
    restart_daemon
    wait $waiting
    equal "$(leases)" "g1/net0 uplink#0 ready"
    equal "$(vf_count $PF)" 3
}

@test "a release whose daemon is killed during the reset is finished by the next one" {
    start_daemon
    hook prepare g1 "net0@uplink=${VFS[0]}"
    echo "*/reset 700" >"$ROOT/.delay"
    hook release g1 "net0@uplink=${VFS[0]}" &
    local waiting=$!
    await_releasing
    restart_daemon
    wait $waiting
    equal "$(leases)" ""
    equal "$(grep -c "/reset 1 = 0" "$ROOT/.log")" 2
}

@test "a reset that a killed daemon owed is done without being asked" {
    start_daemon
    hook prepare g1 "net0@uplink=${VFS[0]}"
    echo "*/reset 300" >"$ROOT/.delay"
    hook release g1 "net0@uplink=${VFS[0]}" &
    local waiting=$!
    await_releasing
    kill -9 "$DAEMON" $waiting
    wait "$DAEMON" $waiting || true
    start_daemon
    becomes '' leases
}
