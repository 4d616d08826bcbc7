# SPDX-License-Identifier: GPL-2.0-or-later
#
# An operator takes the function away from a guest's device and gives it back: with the real QEMU and the guest's own driver,
# and with a libvirt that restarts in between and has to know nothing of it.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    pools_write 2
    wait_until 30 connected
    pf_up
    guest_define o1 --metadata "$(claims "$(net_claim 1)")" --append virtfn.ip=eth0,192.0.2.11/24
    wait_until 30 rendered o1
    virsh -q start o1
    guest_wait o1
    wait_until 60 ping -c 1 -W 1 192.0.2.11
}

teardown_file() {
    guests_remove
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || scenario_diagnose "failed-$BATS_TEST_NUMBER"
}

no_guest_is_awaited() {
    [[ $(api /v1/status | jq -c .settling) == null ]]
}

@test "a paused device lets go of its function, and status says who did it and why" {
    before=$(guest_devices o1)
    virtfn pause --reason 'cable swap' o1 net0
    has_no_vfio o1
    run ping -c 2 -W 1 192.0.2.11
    [ "$status" = 1 ]
    virtfn status | grep 'paused by root, since 20.*: cable swap'
    virtfn show o1 | grep 'by root, since 20.*: cable swap'
    [ "$(guest_devices o1)" = "$before" ]
}

@test "libvirt's daemon and virtfnd restart meanwhile, and neither minds" {
    timeout 120 systemctl restart libvirtd
    systemctl restart virtfnd
    wait_until 90 connected
    wait_until 90 no_guest_is_awaited
    [ "$(virsh domstate o1 | head -1)" = running ]
    [ "$(leases)" = "o1 net0 0 running" ]
    virtfn status | grep 'paused by root, since 20.*: cable swap'
    has_no_vfio o1
}

@test "a reconf leaves it paused, and a resume gives it its own function" {
    virtfn reconf --yes --vfs 3 uplink >"$BATS_TEST_TMPDIR/out"
    grep 'o1/net0, paused by an operator and stays so' "$BATS_TEST_TMPDIR/out"
    has_no_vfio o1
    virtfn resume o1
    has_groups o1 "$(vf igb 0 0)"
    wait_until 90 ping -c 1 -W 1 192.0.2.11
    [ "$(guest_run o1 cat /sys/class/net/eth0/address)" = 52:54:00:00:00:01 ]
    no_unplug o1
    [ "$(api /v1/leases | jq -c '.leases[0].paused')" = null ]
    agree
}
