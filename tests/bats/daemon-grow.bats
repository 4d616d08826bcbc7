#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A start that needs one more function than there is, under the policy `grow`: guests that run are
# paused, the VFs are made anew, the guests go on. Guests are tests/lib/qemu.c: they have their VFIO
# groups open, so that a mistake in the order is refused by the fake kernel.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests

PF=0000:01:00.0
VF=(0000:01:10.0 0000:01:10.2 0000:01:10.4 0000:01:10.6)

teardown() {
    power_off_all
    drop_group
    stop_daemon
}

start_host() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2 growth=grow max=4
    start_daemon
}

@test "a start that does not fit grows the PF under the guests that run" {
    start_host
    boot g1 a="${VF[0]}"
    boot g2 b="${VF[1]}"
    boot g3 c="${VF[2]}"
    equal "$(vf_count $PF)" 3
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(devices g2)" "ua-virtfn-b running"
    equal "$(leases)" "g1/a uplink#0 running
g2/b uplink#1 running
g3/c uplink#2 running"
    equal "$(driver_of "${VF[0]}")" vfio-pci
    equal "$(journals)" 0
}

# The lane is busy with a release until both starts are in the queue.
@test "starts at the same time share one growth" {
    start_host
    boot g1 a="${VF[0]}"
    hook prepare g2 "b@uplink=${VF[1]}"
    echo "*/reset 3000" >>"$ROOT/.delay"
    hook release g2 "b@uplink=${VF[1]}" &
    release=$!
    await_releasing
    hook prepare g3 "c@uplink=${VF[2]}" &
    third=$!
    hook prepare g4 "d@uplink=${VF[3]}"
    wait $release $third
    equal "$(vf_count $PF)" 4
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(grep -c 'sriov_numvfs = 0\|sriov_numvfs 0' "$ROOT/.log")" 1
}

@test "a guest whose QEMU is only coming up is waited for" {
    start_host
    boot g1 a="${VF[0]}"
    hook prepare g2 "b@uplink=${VF[1]}"
    (
        trap power_off_all EXIT # its QEMU is not among those of the test
        sleep 0.5
        power_on g2 "ua-virtfn-b=${VF[1]}"
        wait
    ) 3>&- &
    QEMUS+=($!)
    hook prepare g3 "c@uplink=${VF[2]}"
    equal "$(vf_count $PF)" 3
}

@test "a guest that does not come up stops the growth, by name" {
    start_host
    boot g1 a="${VF[0]}"
    hook prepare g2 "b@uplink=${VF[1]}"
    run hook prepare g3 "c@uplink=${VF[2]}"
    expect 1 "virtfn: domain 'g3', device 'c': pool 'uplink' cannot grow: domain 'g2' is starting -- try again once it runs"
    equal "$(vf_count $PF)" 2
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(journals)" 0
}

@test "a guest that is being saved stops the growth, by name, and is not asked to pause" {
    start_host
    QEMU_MIGRATION=active boot g1 a="${VF[0]}"
    boot g2 b="${VF[1]}"
    run hook prepare g3 "c@uplink=${VF[2]}"
    expect 1 "virtfn: domain 'g3', device 'c': pool 'uplink' cannot grow: domain 'g1': it is being migrated, saved or restored (active) -- try again when that is over, or end it with \`virsh domjobabort\`"
    equal "$(vf_count $PF)" 2
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(journals)" 0
}

@test "a stranger stops the growth, and the guests go on" {
    start_host
    boot g1 a="${VF[0]}"
    hook prepare g2 "b@uplink=${VF[1]}"
    hook release g2 "b@uplink=${VF[1]}"
    hold_group "${VF[1]}"
    run hook prepare g3 "c@uplink=${VF[2]}"
    [[ $status -eq 1 && $output == *"pool 'uplink' cannot grow: ${VF[1]}: VFIO group "*" is open in process $HOLDER "* ]]
    equal "$(vf_count $PF)" 2
    equal "$(devices g1)" "ua-virtfn-a running"
}

@test "a daemon that is killed in a growth ends it when it is back" {
    start_host
    boot g1 a="${VF[0]}"
    boot g2 b="${VF[1]}"
    echo "*/sriov_numvfs 1500" >>"$ROOT/.delay"
    hook prepare g3 "c@uplink=${VF[2]}" &
    victim=$!
    await disruptive "$ROOT"/run/reconf/$PF.json
    equal "$(devices g1)" "ua-virtfn-a paused"
    restart_daemon
    wait $victim || true
    becomes 0 journals
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(devices g2)" "ua-virtfn-b running"
    equal "$(problems)" ""
}
