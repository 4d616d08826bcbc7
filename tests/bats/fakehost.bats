# SPDX-License-Identifier: GPL-2.0-or-later
#
# The fake host as bats files see it: cards and their options, commands that run on it, and the
# binary virtfn-numvfs as the daemon calls it.

bats_require_minimum_version 1.5.0

PF=/sys/bus/pci/devices/0000:01:00.0

setup() {
    load ../lib/fake.bash
}

numvfs() {
    fake "$FAKE_BUILD/virtfn-numvfs" --root "$FAKE_ROOT" "$@"
}

@test "a card has the options that it was given" {
    fake_host igb@0000:01:00.0:5,net=eno1,route,geometry=8/4 nvme@0000:02:00.0,nodriver \
        plain@0000:03:00.0
    [[ $(<"$FAKE_ROOT$PF/sriov_totalvfs") == 5 ]]
    [[ $(<"$FAKE_ROOT$PF/sriov_offset") == 8 && $(<"$FAKE_ROOT$PF/sriov_stride") == 4 ]]
    [[ $(<"$FAKE_ROOT/sys/class/net/eno1/device/vendor") == 0x8086 ]]
    grep -q $'^eno1\t00000000\t' "$FAKE_ROOT/proc/net/route"
    [[ ! -e $FAKE_ROOT/sys/bus/pci/devices/0000:02:00.0/driver ]]
    [[ ! -e $FAKE_ROOT/sys/bus/pci/devices/0000:03:00.0/sriov_totalvfs ]]
}

@test "a card that cannot be is refused" {
    run -2 fake_host abacus@0000:01:00.0
    [[ $output == *"abacus@0000:01:00.0: no such type"* ]]
    rm -r "$BATS_TEST_TMPDIR/host"
    run -2 fake_host igb@01:00.0
    [[ $output == *"igb@01:00.0: bad address"* ]]
    rm -r "$BATS_TEST_TMPDIR/host"
    run -2 fake_host igb@0000:01:00.0,wings
    [[ $output == *"unknown option wings"* ]]
}

@test "virtfn-numvfs writes, and says why it could not" {
    fake_host igb@0000:01:00.0
    run -0 numvfs 0000:01:00.0 4
    [[ -z $output ]]
    [[ -L $FAKE_ROOT$PF/virtfn3 && ! -e $FAKE_ROOT$PF/virtfn4 ]]
    run -1 numvfs 0000:01:00.0 5
    [[ $output == "errno=EBUSY writing $FAKE_ROOT$PF/sriov_numvfs" ]]
    run -1 numvfs 0000:09:00.0 1
    [[ $output == errno=ENODEV* ]]
    run -2 numvfs 0000:01:00.0
    [[ $output == *"usage: virtfn-numvfs"* ]]
    fake_fail '*/sriov_numvfs' ENOSPC
    run -1 numvfs 0000:01:00.0 0
    [[ $output == errno=ENOSPC* ]]
    fake_logged "write $PF/sriov_numvfs 0 = ENOSPC"
}

@test "what virtfn-numvfs began is done although it is killed" {
    fake_host igb@0000:01:00.0
    fake_vfs 0000:01:00.0 3
    fake_delay '*/sriov_numvfs' 300
    "${FAKE[@]}" "$FAKE_BUILD/virtfn-numvfs" --root "$FAKE_ROOT" 0000:01:00.0 0 3>&- &
    until ls -l "/proc/$!/fd" 2>/dev/null | grep -q sriov_numvfs; do :; done
    kill -9 $!
    wait $! || true
    [[ -L $FAKE_ROOT$PF/virtfn0 ]]
    for _ in {1..100}; do
        if fake_logged "sriov_numvfs 0 = 0"; then break; fi
        sleep 0.02
    done
    [[ ! -e $FAKE_ROOT$PF/virtfn0 && ! -e $FAKE_ROOT/sys/bus/pci/devices/0000:01:10.0 ]]
}
