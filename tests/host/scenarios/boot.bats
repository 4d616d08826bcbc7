# SPDX-License-Identifier: GPL-2.0-or-later
#
# Guests that start with the host: boot.tree/ holds two domains with autostart, one whose XML names its function already
# and one that was never rendered. libvirt starts them before it accepts clients, so the daemon serves their hooks without it.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash

setup_file() {
    virsh -q list >/dev/null # libvirtd may start on demand
    wait_until 60 sh -c '[ "$(virtfn status --json | jq .libvirt.connected)" = true ]'
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || scenario_diagnose "failed-$BATS_TEST_NUMBER"
}

@test "a rendered guest that starts with the host has its function" {
    guest_wait rendered
    wait_until 30 guest_run rendered test -e /sys/class/net/eth0
    [ "$(guest_run rendered cat /sys/class/net/eth0/address)" = 52:54:00:00:00:b1 ]
    leases | grep -qx 'rendered net0 1 running'
}

@test "a guest that was never rendered starts with the host and gets its function attached" {
    guest_wait fresh
    wait_until 60 guest_run fresh test -e /sys/class/net/eth0
    [ "$(guest_run fresh cat /sys/class/net/eth0/address)" = 52:54:00:00:00:b2 ]
    wait_until 30 rendered fresh
    agree
}

@test "no hook waited for libvirt" {
    run journalctl -q -b -u libvirtd --grep 'virtfn.*(did not answer|10 s)'
    echo "$output"
    [ -z "$output" ]
}
