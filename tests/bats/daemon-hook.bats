#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A domain's life as libvirt's hooks tell it: what prepare and release do to the host, and what
# they say when they cannot.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VF0=0000:01:10.0 VF1=0000:01:10.2 VF2=0000:01:10.4 VF3=0000:01:10.6

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=4
    start_daemon
}

teardown() {
    drop_group
    stop_daemon
}

@test "prepare creates the VFs, binds the function and leases it" {
    hook prepare g1 net0@uplink=$VF1
    equal "$(vf_count $PF)" 4
    equal "$(driver_of $VF1)" vfio-pci
    equal "$(leases)" "g1/net0 uplink#1 ready"
    hook started g1 net0@uplink=$VF1
    equal "$(leases)" "g1/net0 uplink#1 running"
}

@test "prepare leaves functions that nobody asked for unbound" {
    hook prepare g1 net0@uplink=$VF1
    equal "$(driver_of $VF0)" -
    equal "$(cat "$ROOT/sys/bus/pci/devices/$PF/sriov_drivers_autoprobe")" 0
}

@test "release resets the function and frees it" {
    hook prepare g1 net0@uplink=$VF1
    hook started g1 net0@uplink=$VF1
    hook release g1 net0@uplink=$VF1
    equal "$(leases)" ""
    equal "$(grep -c "^write /sys/bus/pci/devices/$VF1/reset 1 = 0" "$ROOT/.log")" 1
    equal "$(driver_of $VF1)" vfio-pci
    equal "$(function_state uplink 1)" free
}

@test "release is answered when the reset is done" {
    hook prepare g1 net0@uplink=$VF1
    echo "*/reset 300" >"$ROOT/.delay"
    hook release g1 net0@uplink=$VF1
    grep -q "^write /sys/bus/pci/devices/$VF1/reset 1 = 0" "$ROOT/.log"
    equal "$(leases)" ""
}

@test "prepare and release may come twice" {
    hook prepare g1 net0@uplink=$VF1
    hook prepare g1 net0@uplink=$VF1
    equal "$(leases)" "g1/net0 uplink#1 ready"
    equal "$(grep -c "^write /sys/bus/pci/devices/$PF/sriov_numvfs" "$ROOT/.log")" 1
    hook release g1 net0@uplink=$VF1
    hook release g1 net0@uplink=$VF1
    equal "$(leases)" ""
    equal "$(grep -c "/reset 1 = 0" "$ROOT/.log")" 1
}

@test "release without prepare touches nothing" {
    run hook release g1 net0@uplink=$VF1
    expect 0 ""
    run grep write "$ROOT/.log"
    expect 1 ""
}

@test "release after a failed prepare finds nothing left" {
    echo "*/drivers_probe EIO" >"$ROOT/.fail"
    run hook prepare g1 net0@uplink=$VF0 net1@uplink=$VF1
    [[ $status -eq 1 ]]
    rm "$ROOT/.fail"
    hook release g1 net0@uplink=$VF0 net1@uplink=$VF1
    equal "$(leases)" ""
    equal "$(ask /v1/status '.pools[0].free')" 4
}

@test "a domain gets all of its functions or none" {
    echo "/sys/bus/pci/drivers_probe EIO 2" >"$ROOT/.fail"
    run hook prepare g1 net0@uplink=$VF0 net1@uplink=$VF1
    expect 1 "virtfn: domain 'g1', device 'net1': writing '$VF1' to $ROOT/sys/bus/pci/drivers_probe: Input/output error"
    hook release g1 net0@uplink=$VF0 net1@uplink=$VF1
    equal "$(leases)" ""
    # What was set up for the first is taken back.
    grep -q "^write /sys/bus/pci/devices/$VF0/reset 1 = 0" "$ROOT/.log"
}

@test "claims that are not rendered yet get any free function" {
    hook prepare g1 net0@uplink
    hook prepare g2 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready
g2/net0 uplink#1 ready"
}

@test "stopped, an operation of a newer hook, and hooks of other guests change nothing" {
    hook prepare g1 net0@uplink=$VF1
    hook stopped g1 net0@uplink=$VF1
    equal "$(leases)" "g1/net0 uplink#1 ready"
    api POST /v1/hooks/thawed "$(domain_xml g1 net0@uplink=$VF1)"
    equal "$(leases)" "g1/net0 uplink#1 ready"
    hook prepare plain pci=0000:02:00.0
    equal "$(leases)" "g1/net0 uplink#1 ready"
}

@test "an unknown pool is refused by name" {
    run hook prepare g1 net0@lab
    expect 1 "virtfn: domain 'g1', device 'net0': there is no pool 'lab' -- 'virtfn list pools' names them; pools are described in $CONFIG"
}

@test "a device name used twice is refused" {
    run hook prepare g1 net0@uplink net0@uplink
    expect 1 "virtfn: domain XML, line 2: device 'net0': the name is used twice"
}

@test "two annotations are refused" {
    run hook prepare g1 "<virtfn:device name='net0' pool='uplink'/></virtfn:devices><virtfn:devices xmlns:virtfn='urn:virtfn:domain:1.0'>"
    expect 1 "virtfn: domain XML, line 2: a second <devices> of virtfn -- use one"
}

@test "another version of the namespace is refused" {
    domain_xml g1 net0@uplink | sed 's/domain:1.0/domain:2.0/' >"$BATS_TEST_TMPDIR/g1.xml"
    run "$BUILD/50-virtfn" g1 prepare begin - <"$BATS_TEST_TMPDIR/g1.xml"
    expect 1 "virtfn: domain XML, line 2: namespace 'urn:virtfn:domain:2.0' is not supported -- use 'urn:virtfn:domain:1.0'"
}

@test "more claims than the pool has functions are refused" {
    run hook prepare g1 a@uplink b@uplink c@uplink d@uplink e@uplink
    expect 1 "virtfn: domain 'g1', device 'e': pool 'uplink' has no free function (eno1#0 by 'g1', eno1#1 by 'g1', eno1#2 by 'g1', eno1#3 by 'g1') -- stop one of these domains, or raise the pool's count"
    equal "$(leases)" ""
    equal "$(vf_count $PF)" 0
}

@test "an attribute of a mebibyte is refused in one short line" {
    run hook prepare g1 "<virtfn:device name='net0' pool='$(printf '%01048576d' 0)'/>"
    [[ $status -eq 1 && ${#lines[@]} -eq 1 && ${#output} -lt 400 ]]
    [[ $output == "virtfn: domain XML, line 2: <device>: pool '0000"*" is not valid -- "* ]]
    equal "$(leases)" ""
}

@test "an exhausted pool says who holds what" {
    for i in 0 1 2 3; do
        hook prepare "g$i" net0@uplink
    done
    run hook prepare late net0@uplink
    expect 1 "virtfn: domain 'late', device 'net0': pool 'uplink' has no free function (eno1#0 by 'g0', eno1#1 by 'g1', eno1#2 by 'g2', eno1#3 by 'g3') -- stop one of these domains, or raise the pool's count"
    hook release g2 net0@uplink
    hook prepare late net0@uplink
    equal "$(leases | grep late)" "late/net0 uplink#2 ready"
}

@test "a start waits for a function that is being released" {
    for i in 0 1 2 3; do
        hook prepare "g$i" net0@uplink
    done
    echo "*/reset 500" >"$ROOT/.delay"
    hook release g2 net0@uplink &
    for _ in {1..100}; do
        [[ $(leases) != *releasing* ]] || break
        sleep 0.01
    done
    equal "$(leases | grep g2)" "g2/net0 uplink#2 releasing"
    hook prepare late net0@uplink
    wait $!
    equal "$(leases | grep late)" "late/net0 uplink#2 ready"
}

@test "a rendered function that another domain holds is refused with its name" {
    hook prepare g1 net0@uplink=$VF1
    run hook prepare g2 net0@uplink=$VF1
    expect 1 "virtfn: domain 'g2', device 'net0': eno1#1 is held by domain 'g1' -- another function of pool 'uplink' is free and the XML is being pointed at it: start it again"
    equal "$(leases)" "g1/net0 uplink#1 ready"
}

@test "an address outside the pool is refused" {
    run hook prepare g1 net0@uplink=0000:01:11.0
    expect 1 "virtfn: domain 'g1', device 'net0': its XML names 0000:01:11.0, which is no function of pool 'uplink' -- it is being rendered again: start it again"
}

@test "a plain hostdev that points into a pool is leased too" {
    hook prepare g1 pci=$VF2
    equal "$(leases)" "g1/pci-$VF2 uplink#2 ready"
    equal "$(driver_of $VF2)" vfio-pci
    run hook prepare g2 net0@uplink=$VF2
    expect 1 "virtfn: domain 'g2', device 'net0': eno1#2 is held by domain 'g1' -- another function of pool 'uplink' is free and the XML is being pointed at it: start it again"
    hook release g1 pci=$VF2
    equal "$(leases)" ""
}

@test "start leases what libvirt picked itself, started what was missed" {
    set_numvfs $PF 4
    hook start g1 pci=$VF3
    equal "$(leases)" "g1/pci-$VF3 uplink#3 ready"
    hook started g2 net0@uplink=$VF2
    equal "$(leases)" "g1/pci-$VF3 uplink#3 ready
g2/net0 uplink#2 running"
    run hook start g3 pci=$VF3
    expect 1 "virtfn: domain 'g3': eno1#3 is leased to domain 'g1'"
    # These must not fail: libvirt would kill the guest.
    run hook reconnect g3 pci=$VF3
    expect 0 ""
}

@test "VFs that somebody removed are made again" {
    hook prepare g1 net0@uplink=$VF1
    hook release g1 net0@uplink=$VF1
    set_numvfs $PF 0
    equal "$(vf_count $PF)" 0
    hook prepare g1 net0@uplink=$VF1
    equal "$(vf_count $PF)" 4
    equal "$(driver_of $VF1)" vfio-pci
}

@test "too few VFs are replaced while nobody uses them" {
    set_numvfs $PF 2
    hook prepare g1 net0@uplink=$VF1 net1@uplink=$VF3
    equal "$(vf_count $PF)" 4
    equal "$(leases)" "g1/net0 uplink#1 ready
g1/net1 uplink#3 ready"
    equal "$(driver_of $VF1) $(driver_of $VF3)" "vfio-pci vfio-pci"
}

@test "too few VFs stay while a guest uses one" {
    set_numvfs $PF 2
    hook started g1 net0@uplink=$VF0
    run hook prepare g2 net0@uplink=$VF3
    expect 1 "virtfn: domain 'g2', device 'net0': $PF: it has 2 VFs, 4 are needed, and guests use them -- stop the guests on this card and start again: VFs can be added only while none is in use"
    equal "$(vf_count $PF)" 2
    equal "$(leases)" "g1/net0 uplink#0 running"
}

@test "a function that a stranger has open is set aside and comes back" {
    cli init >/dev/null
    hold_group $VF1
    run hook prepare g1 net0@uplink=$VF1
    expect 1 "virtfn: domain 'g1', device 'net0': $VF1: VFIO group $(vfio_group $VF1) is open in process $HOLDER (python3) -- pause or shut down that guest, then try again"
    hook release g1 net0@uplink=$VF1
    equal "$(leases)" ""
    equal "$(function_state uplink 1)" quarantined
    equal "$(ask /v1/status '.quarantined[] | "\(.index) \(.problem)"')" \
        "1 $VF1: VFIO group $(vfio_group $VF1) is open in process $HOLDER (python3) -- pause or shut down that guest, then try again"
    run hook prepare g2 net0@uplink=$VF1
    expect 1 "virtfn: domain 'g2', device 'net0': eno1#1 cannot be given out: $VF1: VFIO group $(vfio_group $VF1) is open in process $HOLDER (python3) -- pause or shut down that guest, then try again"
    drop_group
    cli init >/dev/null
    equal "$(function_state uplink 1)" free
    hook prepare g1 net0@uplink=$VF1
    equal "$(leases)" "g1/net0 uplink#1 ready"
}

@test "a claim that is not rendered takes another function than the one a stranger has open" {
    cli init >/dev/null
    hold_group $VF0
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#1 ready"
    equal "$(function_state uplink 0)" quarantined
}

@test "a function that is open after its guest's end is set aside, not given on" {
    hook prepare g1 net0@uplink=$VF0
    hold_group $VF0
    run hook release g1 net0@uplink=$VF0
    expect 0 ""
    equal "$(leases)" ""
    equal "$(function_state uplink 0)" quarantined
    run grep -c "/reset 1" "$ROOT/.log"
    expect 1 0
}

@test "a release that comes while the function is being readied wins" {
    echo "*/sriov_numvfs 1500" >"$ROOT/.delay"
    # Its hook gives up after 0.6 s, as the real one after 10 s.
    domain_xml g1 net0@uplink=$VF0 >"$BATS_TEST_TMPDIR/g1.xml"
    run "$BUILD/tests/50-virtfn-quick" g1 prepare begin - <"$BATS_TEST_TMPDIR/g1.xml"
    expect 1 "virtfn: domain 'g1': virtfnd did not answer in time ($VIRTFN_SOCKET) -- look at 'journalctl -u virtfnd', then try again"
    hook release g1 net0@uplink=$VF0
    equal "$(leases)" ""
    equal "$(function_state uplink 0)" free
}

@test "XML without a uuid is refused" {
    domain_xml g1 net0@uplink | sed 's/<uuid>.*<.uuid>//' >"$BATS_TEST_TMPDIR/g1.xml"
    run "$BUILD/50-virtfn" g1 prepare begin - <"$BATS_TEST_TMPDIR/g1.xml"
    expect 1 "virtfn: domain 'g1': its XML has no <uuid>"
    run "$BUILD/50-virtfn" g1 started begin - <"$BATS_TEST_TMPDIR/g1.xml"
    expect 0 ""
    equal "$(leases)" ""
}

@test "hooks of many domains at once each get a function of their own" {
    local pids=() i
    for i in 0 1 2 3; do
        hook prepare "g$i" net0@uplink &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i"
    done
    equal "$(leases | cut -d' ' -f2 | sort | tr '\n' ' ')" "uplink#0 uplink#1 uplink#2 uplink#3 "
}
