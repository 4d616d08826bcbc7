# SPDX-License-Identifier: GPL-2.0-or-later
#
# A card reconfigured under guests that use it, by virtfn: a start that does not fit, and `virtfn reconf` of the number,
# the profile and the bitstream. In the guests nothing is unplugged, and pings go on by themselves.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    configure
    net_guests_up
}

teardown_file() {
    guests_remove
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || scenario_diagnose "failed-$BATS_TEST_NUMBER"
}

# configure LINE...: pool uplink as it is in these tests, with these lines behind it.
configure() {
    {
        printf '[pool uplink]\npf = %s\ncount = 2\ngrowth = grow\nmax = 4\n' "$(pf_netdev igb 0)"
        [[ $# -eq 0 ]] || printf '%s\n' "$@"
    } >/etc/virtfn/host.conf
    systemctl reload-or-restart virtfnd
    wait_until 30 connected
}

# go_on TIME: both guests answer pings that were sent after it, have their own function, and saw nothing unplugged.
go_on() {
    local i
    for i in 1 2; do
        wait_until 90 pings_since "g$i" "$1"
        note "g$i: pings go on $(pings_delay "g$i" "$1") ms after it; the gap was $(pings_gap "g$i") ms"
        has_groups "g$i" "$(vf igb 0 $((i - 1)))"
        [ "$(guest_run "g$i" cat /sys/class/net/eth0/address)" = "52:54:00:00:00:0$i" ]
        no_unplug "g$i"
    done
    agree
}

pings_both() {
    pings_start g1 192.0.2.11
    pings_start g2 192.0.2.12
}

pings_end() {
    pings_stop g1
    pings_stop g2
}

@test "virsh start of a guest that does not fit: the PF grows under the others" {
    [ "$(vfs)" = 2 ]
    net_guest g3 3
    pings_both
    begin=$(clock)
    virsh -q start g3
    note "virsh start took $(elapsed "$begin") ms, with the growth from 2 to 3 VFs"
    [ "$(vfs)" = 3 ]
    go_on "$(clock)"
    guest_wait g3
    wait_until 60 ping -c 1 -W 1 192.0.2.13
    pings_end
    guest_remove g3
}

@test "virtfn reconf: 3 to 7, and to 2 again" {
    for count in 7 2; do
        pings_both
        virtfn reconf --yes --vfs "$count" uplink >"$BATS_TEST_TMPDIR/out"
        tail -n 1 "$BATS_TEST_TMPDIR/out" | sed 's/^/# /' >&3
        [ "$(vfs)" = "$count" ]
        go_on "$(clock)"
        pings_end
    done
}

@test "a stranger who holds a function is named, and all is as it was" {
    pings_both
    virtfn reconf --yes --vfs 3 uplink >/dev/null
    address=$(vf igb 0 2)
    vfio_bind "$address"
    group=$(basename "$(readlink "/sys/bus/pci/devices/$address/iommu_group")")
    sleep 300 3>&- 9<>"/dev/vfio/$group" &
    stranger=$!
    run virtfn reconf --yes --vfs 4 uplink
    kill "$stranger"
    [ "$status" = 1 ]
    grep -q "VFIO group $group is open in process $stranger (sleep)" <<<"$output"
    [ "$(vfs)" = 3 ]
    go_on "$(clock)"
    pings_end
}

# in_vlan WORD: what the PF says of the VLAN of both guests' functions.
in_vlan() {
    local number
    for number in 0 1; do
        ip link show "$(pf_netdev igb 0)" | grep "vf $number .*52:54:00:00:00:0$((number + 1))" | grep -q "vlan $1" || return 1
    done
}

@test "as many VFs as before with another profile: the guests go on in its VLAN, and back" {
    device=$(pf_netdev igb 0)
    configure '[profile tagged]' 'vlan = 7'
    virtfn reconf --yes uplink >/dev/null
    [ "$(vfs)" = 2 ]
    ip link add link "$device" name "$device.7" type vlan id 7
    ip link set "$device.7" up
    pings_both
    reconf_by_command uplink --profile tagged
    for i in 1 2; do ip route replace "192.0.2.1$i/32" dev "$device.7" src 192.0.2.1; done
    go_on "$(clock)"
    in_vlan 7
    [ "$(vfs)" = 2 ]
    virtfn reconf --yes --profile tagged uplink | grep -q 'nothing to change, nobody is paused'
    reconf_by_api '{"target":"uplink"}'
    ip link del "$device.7"
    go_on "$(clock)"
    run in_vlan 7
    [ "$status" != 0 ]
    pings_end
}

@test "a bitstream that takes 500 ms to load, by the command and by the API" {
    printf '#!/bin/sh\nsleep 0.5\necho "$@" >>/run/flashed\n' >/usr/local/sbin/flash-card
    chmod 755 /usr/local/sbin/flash-card
    echo image >/run/image.bit
    configure 'bitstream-program = /usr/local/sbin/flash-card'
    pings_both
    reconf_by_command uplink --bitstream /run/image.bit
    go_on "$(clock)"
    reconf_by_api '{"target":"uplink","bitstream":"/run/image.bit"}'
    go_on "$(clock)"
    pings_end
    [ "$(sort -u /run/flashed)" = "flash $(pf igb 0) /run/image.bit" ]
    [ "$(wc -l </run/flashed)" = 2 ]
    [ "$(vfs)" = 2 ]
}
