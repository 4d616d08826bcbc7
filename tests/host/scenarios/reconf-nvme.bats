# SPDX-License-Identifier: GPL-2.0-or-later
#
# As reconf.bats with an NVMe card: a guest's file system on its function goes on over each reconf of the card, nothing
# that was written is lost, and nobody repairs anything in the guest. Two guests without an operating system have a
# function as well.
#
# Not in the gate's list, since it takes four minutes: `make check-host HOST_SCENARIOS=reconf-nvme`.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    printf '#!/bin/sh\nsleep 0.5\n' >/usr/local/sbin/flash-card
    chmod 755 /usr/local/sbin/flash-card
    echo image >/run/image.bit
    cat >/etc/virtfn/host.conf <<END
[pool disk]
pf = $(pf nvme 0)
count = 2
growth = grow
max = 4
profile = disk
bitstream-program = /usr/local/sbin/flash-card
[profile disk]
queues = 2
interrupts = 1
[profile wide]
queues = 3
interrupts = 2
END
    systemctl reload-or-restart virtfnd
    wait_until 30 connected
    guest_define store --metadata "$(disk_claim)"
    wait_until 30 rendered store
    virsh -q start store
    guest_wait store
    disk_started store
    guest_devices store >"$BATS_FILE_TMPDIR/devices"
    bare_started one
}

teardown_file() {
    guests_remove
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || scenario_diagnose "failed-$BATS_TEST_NUMBER"
}

disk_claim() {
    claims 'name="disk0" pool="disk"'
}

# bare_started NAME: a guest without an operating system runs with a function.
bare_started() {
    bare_guest "$1" --metadata "$(disk_claim)" >"$BATS_FILE_TMPDIR/$1.xml"
    virsh -q define "$BATS_FILE_TMPDIR/$1.xml"
    wait_until 30 rendered "$1"
    virsh -q start "$1"
}

disks() {
    find "/sys/bus/pci/devices/$(pf nvme 0)/" -name 'virtfn*' | wc -l
}

# writing: from here on a gap counts.
writing() {
    since=$(guest_run store 'read -r now rest </proc/uptime; echo "${now%.*}${now#*.}0"')
}

# goes_on: the guest has written more since, without an error, on its own function, and saw nothing unplugged.
goes_on() {
    local records
    records=$(guest_run store /bin/steady count disk)
    GUEST_RUN_TIMEOUT=120 wait_until 120 more_records store $((records + 10))
    note "the longest time without a record was $(guest_run store /bin/steady gap disk "$since") ms"
    [ "$(guest_run store /bin/steady failed disk)" = 0 ]
    has_groups store "$(vf nvme 0 "$(leases | awk '$1 == "store" { print $3 }')")"
    [ "$(guest_devices store)" = "$(<"$BATS_FILE_TMPDIR/devices")" ]
    no_unplug store
    agree
}

@test "virsh start of a guest that does not fit: the PF grows under a file system" {
    [ "$(disks)" = 2 ]
    writing
    begin=$(clock)
    bare_started two
    note "until it ran it took $(elapsed "$begin") ms, with the growth from 2 to 3 VFs"
    [ "$(disks)" = 3 ]
    goes_on
    guest_remove two
}

@test "virtfn reconf: to 2, 4, 7 and 3" {
    for count in 2 4 7 3; do
        writing
        reconf_by_command disk --vfs "$count"
        [ "$(disks)" = "$count" ]
        goes_on
    done
}

@test "the same by the API" {
    for count in 4 7 3; do
        writing
        reconf_by_api "{\"target\":\"disk\",\"vfs\":$count}"
        [ "$(disks)" = "$count" ]
        goes_on
    done
}

@test "a profile that the card cannot give is refused before anything is touched" {
    made=$(stat -L -c %i "/sys/bus/pci/devices/$(vf nvme 0 0)")
    writing
    run virtfn reconf --yes --profile wide disk
    [ "$status" = 1 ]
    grep -q 'queues: 3 wanted, a function of this controller can have 2' <<<"$output"
    [ "$(disks)" = 3 ]
    [ "$(stat -L -c %i "/sys/bus/pci/devices/$(vf nvme 0 0)")" = "$made" ]
    goes_on
}

@test "a bitstream that takes 500 ms to load, by the command and by the API" {
    writing
    reconf_by_command disk --bitstream /run/image.bit
    goes_on
    writing
    reconf_by_api '{"target":"disk","bitstream":"/run/image.bit"}'
    goes_on
}

@test "all that was written is on the medium" {
    GUEST_RUN_TIMEOUT=120 guest_run store /bin/steady verify
    log_lacks store 'I/O error|EXT4-fs error|Remounting filesystem read-only|Buffer I/O'
    guest_remove store
    e2fsck -fn "/dev/$(pf_controller nvme 0)n1"
}
