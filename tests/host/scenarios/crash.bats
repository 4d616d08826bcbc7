# SPDX-License-Identifier: GPL-2.0-or-later
#
# Daemons that die while guests come and go: no lease is leaked, none is given twice, no guest is lost.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash

setup_file() {
    pools_write 7
    wait_until 30 connected
    pf_up
}

teardown() {
    touch "$BATS_FILE_TMPDIR/enough"
    virtfn_teardown
}

# come_and_go NAME: starts and destroys a guest until told to stop; counts its starts.
come_and_go() {
    while [[ ! -e $BATS_FILE_TMPDIR/enough ]]; do
        virsh -q start "$1" >>"$BATS_TEST_TMPDIR/$1.log" 2>&1 && echo >>"$BATS_TEST_TMPDIR/$1.starts"
        virsh -q destroy "$1" >>"$BATS_TEST_TMPDIR/$1.log" 2>&1 || true
    done
}

@test "virtfnd is killed again and again for two minutes while four guests start and stop" {
    bare_guest steady --metadata "$(claims "$(net_claim 9)")" >"$BATS_TEST_TMPDIR/guest.xml"
    virsh -q define "$BATS_TEST_TMPDIR/guest.xml"
    for i in 1 2 3 4; do
        bare_guest "busy$i" --metadata "$(claims "$(net_claim "$i")")" >"$BATS_TEST_TMPDIR/guest.xml"
        virsh -q define "$BATS_TEST_TMPDIR/guest.xml"
        wait_until 30 rendered "busy$i"
    done
    wait_until 30 rendered steady
    virsh -q start steady
    lease=$(leases)
    pids=()
    for i in 1 2 3 4; do
        come_and_go "busy$i" 3>&- &
        pids+=($!)
    done
    qemu=$(cat /run/libvirt/qemu/steady.pid)
    end=$((SECONDS + 120)) kills=0
    while ((SECONDS < end)); do
        sleep "$((RANDOM % 3)).$((RANDOM % 9))5"
        pkill -KILL -x virtfnd && kills=$((kills + 1))
    done
    touch "$BATS_FILE_TMPDIR/enough"
    wait "${pids[@]}"
    note "virtfnd was killed $kills times; guests started $(cat "$BATS_TEST_TMPDIR"/*.starts | wc -l) times"
    [ "$kills" -ge 20 ]
    [ "$(cat /run/libvirt/qemu/steady.pid)" = "$qemu" ]
    [ -d "/proc/$qemu" ]
    wait_until 60 connected
    wait_until 90 agree
    [ "$(leases)" = "$lease" ]
    [ "$(free_functions uplink)" = 6 ]
    [ "$(api /v1/status | jq '.quarantined | length')" = 0 ]
    for i in 1 2 3 4; do
        virsh -q start "busy$i"
    done
    agree
}

@test "libvirtd restarts while guests run and while one starts" {
    guest_define k1 --metadata "$(claims "$(net_claim 1)")" --append virtfn.ip=eth0,192.0.2.11/24
    guest_define k2 --metadata "$(claims "$(net_claim 2)")"
    wait_until 30 rendered k1
    wait_until 30 rendered k2
    virsh -q start k1
    guest_wait k1
    virsh -q start k2 3>&- &
    starting=$!
    sleep 0.3
    systemctl restart libvirtd
    wait "$starting" || true
    wait_until 60 connected
    [ "$(virsh domstate k1)" = running ]
    guest_pings k1 192.0.2.1
    wait_until 90 agree
    is_shut_off k2 || virsh -q destroy k2
    virsh -q start k2
    agree
}

@test "a damaged ledger is rebuilt from what runs" {
    guest_define l1 --metadata "$(claims "$(net_claim 1)")"
    wait_until 30 rendered l1
    virsh -q start l1
    lease=$(leases)
    systemctl stop virtfnd.service
    dd if=/dev/urandom of=/run/virtfn/ledger.db bs=512 count=8 conv=notrunc
    systemctl start virtfnd.service
    wait_until 30 sh -c '[ -n "$(timeout 20 virtfn list leases)" ]'
    [ "$(leases)" = "$lease" ]
    api /v1/status | jq -e '.problems[] | select(test("ledger.db.*moved"))'
    agree
}

@test "a function that a stranger has open is not given out, and comes back" {
    guest_define s1 --metadata "$(claims "$(net_claim 1)")"
    wait_until 30 rendered s1
    virtfn init
    address=$(virsh dumpxml --inactive s1 | xmllint --xpath 'string(//hostdev/source/address/@slot)' -)
    group=$(basename "$(readlink "/sys/bus/pci/devices/$(vf igb 0 0)/iommu_group")")
    [ -n "$address" ]
    sleep 600 3>&- 4<>"/dev/vfio/$group" &
    holder=$!
    run virsh -q start s1
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"$holder"* ]]
    [ "$(api /v1/status | jq '.quarantined | length')" = 1 ]
    kill "$holder"
    wait_until 40 sh -c '[ "$(timeout 20 virtfn status --json | jq ".quarantined | length")" = 0 ]'
    virsh -q start s1
    agree
}
