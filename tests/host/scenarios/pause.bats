# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest keeps its functions while they are destroyed and created again: QEMU lets go of them, the guest's
# stock driver goes on when they are back. Real components only: the kernel decides what keeps a function alive.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    monitors_ready
    ip addr replace 192.0.2.1/24 dev "$(pf_netdev igb 0)"
}

teardown() {
    scenario_teardown
    rm -f "$qmp_home"/*
    functions_remove igb
    functions_remove nvme
}

# recreate COUNT: the igb card's functions are destroyed and created again, this many.
recreate() {
    functions_remove igb
    [ "$(find /sys/bus/pci/devices/"$(pf igb 0)"/ -name 'virtfn*' | wc -l)" = 0 ]
    igb_functions "$1"
}

# guest_pings NAME COUNT: the guest itself has had more answers to its pings than that.
guest_pings() {
    [[ $(guest_run "$1" 'grep -c "bytes from" /tmp/pings') -gt $2 ]]
}

@test "2 -> 0 -> 4 functions under a running guest: nothing of VFIO is left, pings and a TCP connection go on" {
    igb_functions 2
    pause_guest_define web --device "$(nic 0)" --append virtfn.ip=eth0,192.0.2.10/24
    virsh -q start web
    guest_wait web
    wait_until 60 ping -c 1 -W 1 192.0.2.10
    socat -u TCP-LISTEN:7000,bind=192.0.2.1 "CREATE:$BATS_TEST_TMPDIR/line" 3>&- &
    guest_run web '/bin/steady line 192.0.2.1 7000 >/dev/null 2>&1 &'
    wait_until 20 test -s "$BATS_TEST_TMPDIR/line"
    guest_run web 'ping 192.0.2.1 >/tmp/pings 2>&1 &'
    wait_until 20 guest_pings web 0
    devices=$(guest_devices web)
    has_groups web "$(vf igb 0 0)"
    pings_start web 192.0.2.10

    begin=$(clock)
    note "pause: $(vfio_pause pause web/ua-nic0)"
    [ "$(device_state web ua-nic0)" = paused ]
    has_no_vfio web
    [ "$(virsh domstate web)" = running ]
    virsh dumpxml web | grep -q ua-nic0
    recreate 4
    note "the functions were away for $(elapsed "$begin") ms"
    note "resume: $(vfio_pause resume "web/ua-nic0=$(vf igb 0 0)")"
    resumed=$(clock)
    [ "$(device_state web ua-nic0)" = running ]
    has_groups web "$(vf igb 0 0)"

    wait_until 60 pings_since web "$resumed"
    note "pings go on $(elapsed "$resumed") ms after the resume; the gap was $(pings_gap web) ms"
    wait_until 60 guest_pings web "$(guest_run web 'grep -c "bytes from" /tmp/pings')"
    lines=$(wc -l <"$BATS_TEST_TMPDIR/line")
    wait_until 60 sh -c "[ \$(wc -l <'$BATS_TEST_TMPDIR/line') -gt $((lines + 20)) ]"
    awk '$1 != NR - 1 { exit 1 }' "$BATS_TEST_TMPDIR/line"
    [ "$(guest_run web /bin/steady failed line)" = 0 ]
    pings_stop web
    guest_log web 'tail -n 12' | sed 's/^/#   /' >&3
    no_unplug web
    [ "$(guest_devices web)" = "$devices" ]
}

@test "functions bound in another order: each guest gets its own back, never its neighbour's" {
    device=$(pf_netdev igb 0)
    igb_vlan=([0]=40 [1]=41)
    igb_functions 2
    for i in 0 1; do
        ip link add link "$device" name "$device.4$i" type vlan id "4$i"
        ip addr add "198.51.100.$((i * 64 + 1))/26" dev "$device.4$i"
        ip link set "$device.4$i" up
        pause_guest_define "own$i" --device "$(nic "$i")" --append "virtfn.ip=eth0,198.51.100.$((i * 64 + 2))/26"
        virsh -q start "own$i"
    done
    for i in 0 1; do
        guest_wait "own$i"
        wait_until 60 ping -c 1 -W 1 "198.51.100.$((i * 64 + 2))"
        before[i]=$(group_device "$(vf igb 0 "$i")")
    done
    vfio_pause pause own0/ua-nic0 own1/ua-nic1
    functions_remove igb
    igb_create 2
    igb_bind 1 0
    note "group of function 0: was ${before[0]}, is $(group_device "$(vf igb 0 0)"); of 1: was ${before[1]}, is $(group_device "$(vf igb 0 1)")"
    [ "$(group_device "$(vf igb 0 0)")" = "${before[1]}" ]
    [ "$(group_device "$(vf igb 0 1)")" = "${before[0]}" ]

    # by path the guest would get what its private /dev has: a node with the number that is its neighbour's by now
    run vfio_pause --open path resume "own0/ua-nic0=$(vf igb 0 0)"
    note "by path: $output"
    [ "$status" = 1 ]
    [ "$(device_state own0 ua-nic0)" = paused ]
    has_no_vfio own0

    for i in 0 1; do
        strace -f -qq -e trace=open,openat,openat2 -o "$BATS_TEST_TMPDIR/opens$i" -p "$(guest_pid "own$i")" 3>&- &
        tracer[i]=$!
    done
    wait_until 20 sh -c 'test "$(grep -l "TracerPid:	[1-9]" /proc/[0-9]*/status | wc -l)" -ge 2'
    vfio_pause resume "own0/ua-nic0=$(vf igb 0 0)" "own1/ua-nic1=$(vf igb 0 1)"
    kill "${tracer[@]}"
    wait_until 20 sh -c '! grep -q "TracerPid:	[1-9]" /proc/[0-9]*/status'
    for i in 0 1; do
        sed 's/^/#   opens: /' "$BATS_TEST_TMPDIR/opens$i" | tail -n 20 >&3
        grep -q /dev/vfio/vfio "$BATS_TEST_TMPDIR/opens$i" # the trace does see what is opened
        ! grep -E '/dev/vfio/[0-9]' "$BATS_TEST_TMPDIR/opens$i"
        has_groups "own$i" "$(vf igb 0 "$i")"
        wait_until 60 ping -c 1 -W 1 "198.51.100.$((i * 64 + 2))"
        [ "$(guest_run "own$i" cat /sys/class/net/eth0/address)" = "$(mac "$i")" ]
        no_unplug "own$i"
    done
    ip link del "$device.40"
    ip link del "$device.41"
    igb_vlan=()
}

@test "groups that moved: another card took their numbers meanwhile" {
    igb_functions 1
    pause_guest_define moved --device "$(nic 0)" --append virtfn.ip=eth0,192.0.2.10/24
    virsh -q start moved
    guest_wait moved
    wait_until 60 ping -c 1 -W 1 192.0.2.10
    before=$(readlink "/sys/bus/pci/devices/$(vf igb 0 0)/iommu_group")
    vfio_pause pause moved/ua-nic0
    functions_remove igb
    vf_create nvme 0 1
    vfio_bind "$(vf nvme 0 0)"
    igb_functions 1
    after=$(readlink "/sys/bus/pci/devices/$(vf igb 0 0)/iommu_group")
    note "group: was ${before##*/}, is ${after##*/}"
    [ "$before" != "$after" ]
    vfio_pause resume "moved/ua-nic0=$(vf igb 0 0)"
    has_groups moved "$(vf igb 0 0)"
    wait_until 60 ping -c 1 -W 1 192.0.2.10
    no_unplug moved
}

@test "four functions of two cards in one guest are paused and resumed together" {
    igb_functions 3
    nvme_functions 1
    pause_guest_define four --memory 256 --device "$(nic 0)" --device "$(nic 1)" --device "$(nic 2)" --device "$(disk 0)" \
        --append 'virtfn.ip=eth0,192.0.2.10/24 virtfn.ip=eth1,192.0.3.11/24 virtfn.ip=eth2,192.0.4.12/24'
    virsh -q start four
    guest_wait four
    devices=$(guest_devices four)
    ip addr add 192.0.3.1/24 dev "$(pf_netdev igb 0)"
    ip addr add 192.0.4.1/24 dev "$(pf_netdev igb 0)"
    for address in 192.0.2.10 192.0.3.11 192.0.4.12; do
        wait_until 60 ping -c 1 -W 1 "$address"
    done
    all=(four/ua-nic0 four/ua-nic1 four/ua-nic2 four/ua-disk0)
    result=$(vfio_pause pause "${all[@]}")
    note "pause: $result"
    [ "$(jq .together <<<"$result")" = true ]
    has_no_vfio four
    functions_remove igb
    functions_remove nvme
    igb_functions 3
    nvme_functions 1
    # each driver's own signal: igbvf goes on without one, and did not after fatal
    result=$(vfio_pause resume "${all[0]}=$(vf igb 0 0)" "${all[1]}=$(vf igb 0 1)" "${all[2]}=$(vf igb 0 2)")
    note "resume: $result"
    [ "$(jq .together <<<"$result")" = true ]
    note "resume: $(vfio_pause --signal fatal resume "${all[3]}=$(vf nvme 0 0)")"
    has_groups four "$(vf igb 0 0)" "$(vf igb 0 1)" "$(vf igb 0 2)" "$(vf nvme 0 0)"
    for address in 192.0.2.10 192.0.3.11 192.0.4.12; do
        wait_until 60 ping -c 1 -W 1 "$address"
    done
    guest_run four '(dd if=/dev/nvme0n1 of=/tmp/read bs=4096 count=16 iflag=direct && echo done >/tmp/has-read) >/dev/null 2>&1 &'
    wait_until 120 guest_run four test -e /tmp/has-read
    no_unplug four
    [ "$(guest_devices four)" = "$devices" ]
}
