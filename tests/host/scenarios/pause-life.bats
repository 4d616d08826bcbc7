# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a guest and libvirt may do to a guest whose function is paused: suspend, reset, reboot, destroy; and what is
# refused, with a reason. Real components only: it is libvirt that has to get on with it.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    monitors_ready
    ip addr replace 192.0.2.1/24 dev "$(pf_netdev igb 0)"
    igb_functions 1
}

teardown_file() {
    functions_remove igb
}

teardown() {
    scenario_teardown
    rm -f "$qmp_home"/*
}

# guest_up NAME: a guest with the function, which answers pings.
guest_up() {
    pause_guest_define "$1" --device "$(nic 0)" --append virtfn.ip=eth0,192.0.2.10/24
    virsh -q start "$1"
    guest_wait "$1"
    wait_until 60 ping -c 1 -W 1 192.0.2.10
}

# Nothing has reset the card meanwhile, so igbvf has to be told that its function was.
back() {
    vfio_pause --signal nonfatal resume "$1/ua-nic0=$(vf igb 0 0)"
    wait_until 60 ping -c 1 -W 1 192.0.2.10
}

# refuses WORDS COMMAND...: the command fails, and says that.
refuses() {
    local words=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "not refused: $*" >&2
        return 1
    fi
    note "$(tail -n 1 <<<"$output")"
    grep -qi "$words" <<<"$output"
}

@test "libvirt suspends and resumes the guest, and sees its device all along; saving and migrating it is refused" {
    guest_up life
    refuses 'is running, not paused' vfio_pause --open path resume "life/ua-nic0=$(vf igb 0 0)"
    virsh dumpxml life >"$BATS_TEST_TMPDIR/before.xml"
    vfio_pause pause life/ua-nic0
    refuses 'is paused, not running' vfio_pause pause life/ua-nic0

    virsh -q suspend life
    [ "$(virsh domstate life)" = paused ]
    virsh -q resume life
    [ "$(virsh domstate life)" = running ]
    virsh dumpxml life | diff "$BATS_TEST_TMPDIR/before.xml" -
    grep -q ua-nic0 "$BATS_TEST_TMPDIR/before.xml"

    refuses 'is paused' virsh managedsave life
    refuses 'is paused' virsh save life "$BATS_TEST_TMPDIR/life.save"
    refuses 'is paused' vfio_pause qmp life migrate '{"uri": "exec:cat >/dev/null"}'
    [ "$(virsh domstate life)" = running ]
    back life
    no_unplug life
}

@test "a guest that is reset or reboots while its function is paused has it again after the resume" {
    pause_guest_define boot --vcpus 2 --device "$(nic 0)"
    virsh -q start boot
    guest_wait boot
    vfio_pause pause boot/ua-nic0
    for way in reset reboot; do
        before=$(guest_run boot cat /proc/sys/kernel/random/boot_id)
        if [ "$way" = reset ]; then virsh -q reset boot; else guest_run boot '(sleep 1; reboot -f) >/dev/null 2>&1 &'; fi
        wait_until 300 booted_again boot "$before"
        [ "$(device_state boot ua-nic0)" = paused ]
        has_no_vfio boot
        note "after $way, still paused: $(guest_log boot 'grep -i igbvf | tail -n 1')"
    done
    vfio_pause resume "boot/ua-nic0=$(vf igb 0 0)"
    # igbvf met all-ones when it looked for its card; a guest's administrator has it look again
    guest_run boot 'cd /sys/bus/pci/drivers/igbvf; for d in 0000:*; do echo $d; echo $d >unbind; echo $d >bind; done
        ip addr add 192.0.2.10/24 dev eth0; ip link set eth0 up'
    wait_until 60 ping -c 1 -W 1 192.0.2.10
    [ "$(guest_run boot cat /sys/class/net/eth0/address)" = "$(mac 0)" ]
    no_unplug boot
}

# booted_again NAME BOOT: the guest answers, from another boot than that.
booted_again() {
    local now
    now=$(GUEST_RUN_TIMEOUT=30 guest_run "$1" cat /proc/sys/kernel/random/boot_id) && [[ $now != "$2" ]]
}

@test "a guest is destroyed while its function is paused, also while an access waits" {
    for access in ignore hold; do
        guest_up gone
        pid=$(guest_pid gone)
        vfio_pause --access "$access" --hold-ms 300000 pause gone/ua-nic0
        wait_until 60 accessed gone ua-nic0
        begin=$(clock)
        VIRSH_TIMEOUT=60 virsh -q destroy gone
        note "$access: destroyed in $(elapsed "$begin") ms"
        wait_until 10 sh -c "! kill -0 $pid 2>/dev/null"
        guest_remove gone
    done
    guest_up gone # the function is as good as before
}
