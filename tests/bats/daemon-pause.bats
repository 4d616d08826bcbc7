#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfn pause and virtfn resume: an operator takes the function away from a guest's device, and gives it back.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests

setup() {
    three_devices
}

teardown() {
    power_off_all
    drop_group
    stop_daemon
}

refuse() { # ERROR ARGUMENT...
    run --separate-stderr cli "${@:2}"
    [[ $status -eq 1 && -z $output ]]
    equal "$stderr" "virtfn: $1"
}

@test "one device: the guest keeps it, nobody has the function" {
    run cli pause --reason 'cable swap' g1 b
    expect 0 "g1/b: paused ($PF#2)"
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b paused"
    equal "$(marks)" "g1/b $me cable swap"
    hold_group "${VF[2]}"
    drop_group
    run cli resume g1 b
    expect 0 "g1/b: resumed ($PF#2)"
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
    equal "$(marks)" ""
    equal "$(last_resume g1 | jq -r .signal)" nonfatal
}

@test "all devices of a domain, by name or by UUID" {
    run cli pause g1
    expect 0 "g1/a: paused ($PF#0)
g1/b: paused ($PF#2)"
    equal "$(devices g1)" "ua-virtfn-a paused
ua-virtfn-b paused"
    equal "$(devices g2)" "ua-virtfn-c running"
    run cli resume "$(uuid_of g1)"
    expect 0 "g1/a: resumed ($PF#0)
g1/b: resumed ($PF#2)"
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
}

@test "devices on two cards" {
    stop_daemon
    power_off_all
    rm -r "$ROOT" "$CONFIG"
    make_host igb@$PF,net=eno1 igb@0000:02:00.0,net=eno2
    write_pool uplink pf=$PF,0000:02:00.0 count=4
    start_daemon
    boot g3 a="${VF[0]}" b=0000:02:10.0 d="${VF[3]}"
    run cli pause g3
    expect 0 "g3/a: paused ($PF#0)
g3/b: paused (0000:02:00.0#0)
g3/d: paused ($PF#3)"
    equal "$(devices g3)" "ua-virtfn-a paused
ua-virtfn-b paused
ua-virtfn-d paused"
    cli resume g3 b
    run cli resume g3
    expect 0 "g3/a: resumed ($PF#0)
g3/d: resumed ($PF#3)"
    equal "$(devices g3)" "ua-virtfn-a running
ua-virtfn-b running
ua-virtfn-d running"
}

@test "those that are as asked are left alone" {
    cli pause --reason first g1 a
    run cli pause --reason second g1
    expect 0 "g1/b: paused ($PF#2)"
    equal "$(marks)" "g1/a $me first
g1/b $me second"
    refuse "domain 'g1': all its devices are paused already" pause g1
    refuse "domain 'g1', device 'a': it is paused already -- 'virtfn resume' lets it go on" pause g1 a
    equal "$(marks)" "g1/a $me first
g1/b $me second"
    cli resume g1 a
    run cli resume g1
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
    refuse "domain 'g1': no device of it is paused" resume g1
    refuse "domain 'g1', device 'a': it is not paused" resume g1 a
}

@test "who, when and why is shown, and survives virtfnd" {
    cli pause --reason 'cable swap' g1 b
    restart_daemon
    equal "$(marks)" "g1/b $me cable swap"
    run -0 cli status
    [[ $output =~ $'\n'"      paused by $me, since 20"[-0-9T:Z.]+": cable swap"$'\n' ]]
    run -0 cli show $PF#2
    [[ $output == *"    paused:"*"by: $me"*"reason: cable swap"* ]]
    run -0 cli list leases
    [[ ${lines[0]} == "g1"*$'\t-' && $output == *$'\thook\tby '"$me, since 20"*": cable swap"* ]]
    cli resume g1
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
}

@test "a reconf leaves it paused, and says so" {
    cli pause g1 b
    run -0 cli reconf --yes --vfs 7 uplink
    [[ $output == *"  VF 2 ${VF[2]}  g1/b, paused by an operator and stays so"$'\n'* ]]
    [[ $output != *"g1/b: resumed"* ]]
    equal "$(vf_count $PF)" 7
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b paused"
    equal "$(driver_of "${VF[2]}")" vfio-pci
    cli resume g1 b
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
}

@test "a resume makes the function ready again" {
    cli pause g1 b
    printf '%s' "${VF[2]}" | "${ON_HOST[@]}" dd of="$ROOT/sys/bus/pci/drivers/vfio-pci/unbind" conv=notrunc status=none
    equal "$(driver_of "${VF[2]}")" -
    cli resume g1 b
    equal "$(driver_of "${VF[2]}")" vfio-pci
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
}

@test "a function in a stranger's hands is not given back" {
    cli pause --reason cable g1 b
    hold_group "${VF[2]}"
    run --separate-stderr cli resume g1 b
    [[ $status -eq 1 && $stderr == "virtfn: domain 'g1', device 'b': ${VF[2]}: VFIO group "*" is open in process $HOLDER "* ]]
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b paused"
    equal "$(marks)" "g1/b $me cable"
    drop_group
    cli resume g1 b
}

@test "what cannot be paused, by name" {
    refuse "domain 'nobody': it does not run with a function of a pool -- 'virtfn list leases' names those that do" pause nobody
    refuse "domain 'g1': it has no device 'x' -- 'virtfn show g1' names them" pause g1 x
    hook prepare g3 "d@uplink=${VF[3]}"
    refuse "domain 'g3': it does not run (its lease of device 'd' is ready) -- wait until it has started" pause g3
    hook started g3 "d@uplink=${VF[3]}"
    refuse "domain 'g3', device 'd': its QEMU has no such device -- see 'virsh domstate' whether the domain runs" pause g3
    hold_group "${VF[3]}"
    run --separate-stderr cli pause g3
    [[ $status -eq 1 && $stderr == "virtfn: domain 'g3', device 'd': it was started without virtfn's monitor, so its device cannot be paused ("* ]]
    equal "$(marks)" ""
}

@test "not while the guest is being migrated, saved or restored" {
    local busy="domain 'g1': it is being migrated, saved or restored (%s) -- try again when that is over, or end it with \`virsh domjobabort\`"
    cli pause --reason cable g1 b
    tell_qemu g1 'status running active'
    # shellcheck disable=SC2059
    refuse "$(printf "$busy" active)" pause g1 a
    tell_qemu g1 'status restore-vm'
    # shellcheck disable=SC2059
    refuse "$(printf "$busy" restore-vm)" resume g1 b
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b paused"
    equal "$(marks)" "g1/b $me cable"
    tell_qemu g1 'status running completed'
    run cli pause g1 a
    expect 0 "g1/a: paused ($PF#0)"
    cli resume g1
    equal "$(marks)" ""
}

@test "the domain's next run is not paused" {
    cli pause g2
    equal "$(marks)" "g2/c $me "
    kill "${QEMUS[1]}"
    wait "${QEMUS[1]}" || true
    hook release g2 "c@uplink=${VF[1]}"
    equal "$(marks)" ""
    rm -r "$BATS_TEST_TMPDIR/qemu-g2"
    boot g2 c="${VF[1]}"
    equal "$(marks)" ""
    equal "$(devices g2)" "ua-virtfn-c running"
}

@test "it waits for the end of a reconf" {
    echo "*/sriov_numvfs 700" >>"$ROOT/.delay"
    cli reconf --yes --vfs 7 uplink >"$BATS_TEST_TMPDIR/reconf" &
    reconf=$!
    await disruptive "$ROOT/run/reconf/$PF.json"
    cli pause g2
    wait $reconf
    equal "$(devices g2)" "ua-virtfn-c paused"
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
}

@test "a virtfnd that is killed in a pause: the next one knows of it" {
    QEMU_PAUSE_US=1000000 boot g3 d="${VF[3]}"
    cli pause --reason cable g3 &
    local pause=$!
    # The mark is written before QEMU is told; a mark of which QEMU knows nothing is taken back.
    for _ in {1..200}; do
        [[ -z $(last_pause g3) ]] || break
        sleep 0.01
    done
    restart_daemon
    wait $pause || true
    equal "$(marks)" "g3/d $me cable"
    run -0 cli resume g3
    equal "$(devices g3)" "ua-virtfn-d running"
    equal "$(marks)" ""
}

@test "bad requests" {
    run cli pause
    expect 2 "virtfn: pause: too few arguments -- see: virtfn help pause"
    refuse "reason: it is not one line of up to 200 bytes -- shorten it" pause --reason $'two\nlines' g1
    [[ $(api POST /v1/resume '{"domain":"g1","reason":"x"}') == *'"status":400'* ]]
    equal "$(marks)" ""
}
