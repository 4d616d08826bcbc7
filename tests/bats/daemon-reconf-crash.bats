#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kill -9 of the real daemon at random moments of reconfs and of starts that grow the card, while guests use it. The
# named points are in tests/unit/reconf-crash.c and reconf-growth.c; here are the socket, the hook and the command.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests

PF=0000:01:00.0
VF=(0000:01:10.0 0000:01:10.2 0000:01:10.4 0000:01:10.6)
ROUNDS=${CRASH_ROUNDS:-30}

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=3 growth=grow max=4
    start_daemon
    boot g1 a="${VF[0]}" b="${VF[2]}"
    boot g2 c="${VF[1]}"
}

teardown() {
    power_off_all
    stop_daemon
}

# pause_a_little: up to a tenth of a second.
pause_a_little() {
    sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
}

# all_right: no journal is open, each guest has its functions, ledger and sysfs say the same, nothing went unfenced.
all_right() {
    becomes 0 journals
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
    equal "$(devices g2)" "ua-virtfn-c running"
    equal "$(leases)" "g1/a uplink#0 running
g1/b uplink#2 running
g2/c uplink#1 running"
    local vf
    for vf in "${VF[@]:0:3}"; do equal "$(driver_of "$vf")" vfio-pci; done
    equal "$(grep -c unfenced "$ROOT/.log")" 0
    equal "$(problems)" ""
}

@test "killed in reconfs, again and again" {
    local order count journals=0
    for ((round = 0; round < ROUNDS; round++)); do
        count=$((round % 2 ? 3 : 7))
        cli reconf --yes --vfs $count uplink >>"$BATS_TEST_TMPDIR/orders" 2>&1 3>&- &
        order=$!
        pause_a_little
        kill -9 "$DAEMON"
        wait "$DAEMON" || true
        journals=$((journals + $(journals)))
        start_daemon
        wait $order || true
        all_right
        [[ $(vf_count $PF) == [37] ]]
    done
    echo "$journals of $ROUNDS kills left a journal"
    [[ $journals -gt 0 ]]
}

@test "killed in starts that grow the card: the hook asks the next daemon, and the start goes on" {
    local start
    for ((round = 0; round < ROUNDS / 3; round++)); do
        hook prepare g3 "d@uplink=${VF[3]}" 3>&- &
        start=$!
        pause_a_little
        restart_daemon
        wait $start
        [[ $(leases) == *"g3/d uplink#3 ready"* ]]
        equal "$(vf_count $PF)" 4
        hook release g3 "d@uplink=${VF[3]}"
        cli reconf --yes --vfs 3 uplink >/dev/null
        all_right
    done
}
