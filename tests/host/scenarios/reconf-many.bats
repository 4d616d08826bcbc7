# SPDX-License-Identifier: GPL-2.0-or-later
#
# A card reconfigured again and again under guests that use it: nothing grows, nothing is left, and a guest's file
# system on its NVMe function goes on. Real components only: what would grow is virtfnd's, QEMU's or the kernel's.
#
# Not in the gate's list, since it takes a quarter of an hour: `make check-host HOST_SCENARIOS=reconf-many`.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

teardown() {
    virtfn_teardown
}

# reconf_to COUNT: the NVMe card has that many functions afterwards.
reconf_to() {
    virtfn reconf --yes --vfs "$1" disk >"$BATS_TEST_TMPDIR/reconf"
    [ "$(find "/sys/bus/pci/devices/$(pf nvme 0)/" -name 'virtfn*' | wc -l)" = "$1" ]
}

# footprint NAME PID: "NAME KIB DESCRIPTORS", the resident memory and the open descriptors of a process.
footprint() {
    echo "$1 $(awk '/^VmRSS/ { print $2 }' "/proc/$2/status") $(find "/proc/$2/fd" -mindepth 1 | wc -l)"
}

# all_footprints: of virtfnd and of each guest's QEMU.
all_footprints() {
    footprint virtfnd "$(pidof virtfnd)"
    for name in store bare; do
        footprint "$name" "$(guest_pid "$name")"
    done
}

@test "a hundred reconfs in a row: memory, descriptors and journals stay, every guest lives" {
    pools_write
    wait_until 30 connected
    guest_define store --metadata "$(claims 'name="disk0" pool="disk"')"
    bare_guest bare --metadata "$(claims 'name="disk0" pool="disk"')" >"$BATS_TEST_TMPDIR/bare.xml"
    virsh -q define "$BATS_TEST_TMPDIR/bare.xml"
    for name in store bare; do
        wait_until 30 rendered "$name"
        virsh -q start "$name"
    done
    guest_wait store
    disk_started store
    devices=$(guest_devices store)
    pids="$(guest_pid store) $(guest_pid bare) $(pidof virtfnd)"

    begin=$(clock)
    for ((round = 1; round <= 100; round++)); do
        reconf_to $((3 + round % 2))
        if ((round % 10 == 0)); then
            records=$(GUEST_RUN_TIMEOUT=120 guest_run store /bin/steady count disk)
            GUEST_RUN_TIMEOUT=120 wait_until 120 more_records store $((records + 3))
            all_footprints >"$BATS_TEST_TMPDIR/footprint.$round"
            note "after $round: $(tr '\n' ';' <"$BATS_TEST_TMPDIR/footprint.$round") $(tail -n 1 "$BATS_TEST_TMPDIR/reconf")"
        fi
    done
    note "100 reconfs took $(elapsed "$begin") ms"

    [ "$(guest_pid store) $(guest_pid bare) $(pidof virtfnd)" = "$pids" ]
    # After fifty rounds everything has been allocated that stays, also by threads that seldom run at the same time: a
    # QEMU took 4.7 MiB more between the twentieth and the thirtieth, once. A MiB is what an allocator may keep more or less.
    paste "$BATS_TEST_TMPDIR/footprint.50" "$BATS_TEST_TMPDIR/footprint.100" |
        awk '$5 > $2 + 1024 || $6 > $3 { print "grew: " $0; bad = 1 } END { exit bad }'
    [ "$(find /run/virtfn/reconf -type f | wc -l)" = 0 ]
    agree
    [ "$(guest_run store /bin/steady failed disk)" = 0 ]
    GUEST_RUN_TIMEOUT=120 guest_run store /bin/steady verify
    [ "$(guest_devices store)" = "$devices" ]
    [ "$(virsh domstate bare | head -n 1)" = running ]
    no_unplug store
}
