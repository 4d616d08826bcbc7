#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A virtfnd that starts asks the guests' QEMUs which devices are paused: what they say counts, and nothing stays paused
# that nobody wants so.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests

setup() {
    three_devices
}

teardown() {
    kill -CONT "${QEMUS[@]}" # a stopped one would not end
    power_off_all
    drop_group
    stop_daemon
}

@test "a mark of a pause that is none goes" {
    cli pause --reason one g1 a
    cli pause --reason two g1 b
    tell_qemu g1 'set ua-virtfn-b running'
    restart_daemon
    becomes "g1/a $me one" marks
    grep -q "domain 'g1', device 'b': it runs although it was to be paused: the mark of that is taken back" "$DAEMON_LOG"
    equal "$(devices g1)" "ua-virtfn-a paused
ua-virtfn-b running"
    equal "$(problems)" ""
    restart_daemon
    equal "$(marks)" "g1/a $me one"
}

@test "a virtfnd that is killed before the pause it has noted" {
    echo "*/sriov_numvfs 700" >>"$ROOT/.delay"
    cli reconf --yes --vfs 7 uplink >"$BATS_TEST_TMPDIR/reconf" 2>&1 &
    local reconf=$!
    await disruptive "$ROOT/run/reconf/$PF.json"
    cli pause --reason late g2 >/dev/null 2>&1 &
    local pause=$!
    becomes "g2/c $me late" marks
    restart_daemon
    wait $reconf $pause || true
    becomes "" marks
    becomes "ua-virtfn-c running" devices g2
    equal "$(journals)" 0
}

@test "what nobody wants paused is resumed, and only that" {
    cli pause --reason mine g1 a
    tell_qemu g1 'set ua-virtfn-b paused'
    tell_qemu g2 'set ua-virtfn-c paused'
    restart_daemon
    becomes "ua-virtfn-a paused
ua-virtfn-b running" devices g1
    becomes "ua-virtfn-c running" devices g2
    await "device 'c': it was paused, and nobody had asked for that: it was resumed" "$DAEMON_LOG"
    equal "$(marks)" "g1/a $me mine"
    equal "$(problems)" ""
}

@test "with its function made ready again" {
    tell_qemu g1 'set ua-virtfn-b paused'
    printf '%s' "${VF[2]}" | "${ON_HOST[@]}" dd of="$ROOT/sys/bus/pci/drivers/vfio-pci/unbind" conv=notrunc status=none
    restart_daemon
    becomes "ua-virtfn-a running
ua-virtfn-b running" devices g1
    equal "$(driver_of "${VF[2]}")" vfio-pci
    equal "$(last_resume g1 | jq -r .signal)" nonfatal
}

@test "what cannot be resumed is shown, with who is in the way" {
    tell_qemu g1 'set ua-virtfn-b paused'
    hold_group "${VF[2]}"
    restart_daemon
    await "nobody asked for that" "$DAEMON_LOG"
    [[ $(problems) == "domain 'g1', device 'b': it is paused, nobody asked for that, and it cannot be resumed: ${VF[2]}: VFIO group "*" is open in process $HOLDER "*" -- "* ]]
    run -0 cli status
    [[ $output == *"it is paused, nobody asked for that"* ]]
    equal "$(marks)" ""
    drop_group
    run cli resume g1 b
    expect 0 "g1/b: resumed ($PF#2)"
    equal "$(problems)" ""
}

@test "tried again by itself" {
    tell_qemu g1 'set ua-virtfn-b paused'
    tell_qemu g1 'status save-vm'
    restart_daemon
    await "nobody asked for that" "$DAEMON_LOG"
    equal "$(problems)" "domain 'g1', device 'b': it is paused, nobody asked for that, and it cannot be resumed: it is being migrated, saved or restored (save-vm) -- try again when that is over, or end it with \`virsh domjobabort\`"
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b paused"
    tell_qemu g1 'status running'
    reload
    becomes "ua-virtfn-a running
ua-virtfn-b running" devices g1
    becomes "" problems
}

@test "a guest that does not answer keeps its mark, and is shown" {
    cli pause --reason cable g2
    kill -STOP "${QEMUS[1]}"
    restart_daemon
    await "whether it is paused cannot be found out" "$DAEMON_LOG"
    [[ $(problems) == "domain 'g2', device 'c': whether it is paused cannot be found out: "*" -- "* ]]
    equal "$(marks)" "g2/c $me cable"
    kill -CONT "${QEMUS[1]}"
    reload
    becomes "" problems
    equal "$(marks)" "g2/c $me cable"
    cli resume g2
}

@test "a guest without virtfn's monitor cannot have been paused" {
    cli pause g2
    rm "$ROOT/run/qmp/$(uuid_of g2).sock"
    hold_group "${VF[1]}"
    restart_daemon
    becomes "" marks
    equal "$(problems)" ""
}

@test "a reconf that has not ended comes first" {
    tell_qemu g1 'set ua-virtfn-b paused'
    mkdir -p "$ROOT/run/reconf"
    echo nonsense >"$ROOT/run/reconf/$PF.json"
    restart_daemon
    await "this journal of a reconf cannot be understood" "$DAEMON_LOG"
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b paused"
    rm "$ROOT/run/reconf/$PF.json"
    reload
    becomes "ua-virtfn-a running
ua-virtfn-b running" devices g1
}

@test "a ledger that is lost: what runs is found, and what is paused is resumed" {
    cli pause --reason lost g1 b
    kill -9 "$DAEMON"
    wait "$DAEMON" || true
    rm "$ROOT"/run/ledger.db*
    start_daemon
    equal "$(leases)" ""
    hook reconnect g1 "a@uplink=${VF[0]}" "b@uplink=${VF[2]}"
    becomes "ua-virtfn-a running
ua-virtfn-b running" devices g1
    equal "$(marks)" ""
}
