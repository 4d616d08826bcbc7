# SPDX-License-Identifier: GPL-2.0-or-later
#
# What stock drivers of a guest do about a pause, for each policy of access and signal: how long until pings and a file
# system under I/O go on after the resume, and whether any write failed. Its notes are the table in man/virtfn-qemu.7.
#
# Asserted are the signals that virtfn chooses by itself: nonfatal for a network card, fatal for an NVMe drive. Of the
# others some never go on, or after the drivers' own time limits (nvme: 30 s, more than once): they are told.
#
# Not in the gate's list, since that takes a quarter of an hour: `make check-host HOST_SCENARIOS=pause-policies`.

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

# nic_policy ACCESS SIGNAL FATE: pause the guest's NIC, make its functions anew or keep them, resume it with this signal.
# Sets goes_on to yes or no.
nic_policy() {
    local resumed
    pings_start both 192.0.2.10
    vfio_pause --access "$1" --hold-ms 300000 pause both/ua-nic0
    wait_until 60 accessed both ua-nic0
    if [ "$3" = anew ]; then
        functions_remove igb
        igb_functions 1
    fi
    vfio_pause --signal "$2" resume "both/ua-nic0=$(vf igb 0 0)"
    resumed=$(clock)
    goes_on=no
    if wait_until 60 pings_since both "$resumed"; then
        goes_on=yes
        note "igbvf, function $3: access $1, signal $2: pings go on $(pings_delay both "$resumed") ms after the resume"
    else
        note "igbvf, function $3: access $1, signal $2: no ping within 60 s of the resume"
        [ "$2" != nonfatal ]
    fi
    pings_stop both
}

# disk_policy ACCESS SIGNAL: the same for its NVMe function, made anew.
disk_policy() {
    local count resumed
    disk_started both
    vfio_pause --access "$1" --hold-ms 300000 pause both/ua-disk0
    wait_until 60 accessed both ua-disk0
    functions_remove nvme
    nvme_functions 1
    vfio_pause --signal "$2" resume "both/ua-disk0=$(vf nvme 0 0)"
    resumed=$(clock)
    count=$(GUEST_RUN_TIMEOUT=200 guest_run both /bin/steady count disk)
    wait_until 200 more_records both "$((count + 1))"
    note "nvme: access $1, signal $2: a record at the latest $(elapsed "$resumed") ms after the resume"
    wait_until 100 more_records both "$((count + 20))"
    note "nvme: longest time without one: $(guest_run both /bin/steady gap disk) ms; failed writes: $(
        guest_run both /bin/steady failed disk)"
    [ "$2" != fatal ] || [ "$(guest_run both /bin/steady failed disk)" = 0 ]
    GUEST_RUN_TIMEOUT=120 guest_run both /bin/steady verify
}

# policy ACCESS SIGNAL
policy() {
    igb_functions 1
    nvme_functions 1
    pause_guest_define both --vcpus 2 --device "$(nic 0)" --device "$(disk 0)" --append virtfn.ip=eth0,192.0.2.10/24
    virsh -q start both
    guest_wait both
    wait_until 60 ping -c 1 -W 1 192.0.2.10
    disk_policy "$@"
    nic_policy "$@" anew
    [ "$goes_on" = no ] || nic_policy "$@" kept # what does not go on does not touch its device again
    guest_log both "grep -iE 'nvme|igbvf|AER|pcieport' | tail -n 20" | sed 's/^/#   /' >&3
    no_unplug both
}

@test "ignore, no signal" {
    policy ignore none
}

@test "ignore, nonfatal" {
    policy ignore nonfatal
}

@test "ignore, fatal" {
    policy ignore fatal
}

@test "hold, no signal" {
    policy hold none
}

@test "hold, nonfatal" {
    policy hold nonfatal
}

@test "hold, fatal" {
    policy hold fatal
}
