# SPDX-License-Identifier: GPL-2.0-or-later
#
# A file system on an NVMe function goes on over a pause: nothing that was written is lost, and nobody repairs anything
# in the guest. Its stock driver resets a controller that the guest's root port reports an error for.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    monitors_ready
}

teardown() {
    scenario_teardown
    rm -f "$qmp_home"/*
    functions_remove nvme
}

@test "a mounted file system goes on when its function was destroyed and created again" {
    nvme_functions 2
    pause_guest_define store --device "$(disk 0)"
    virsh -q start store
    guest_wait store
    disk_started store
    devices=$(guest_devices store)

    note "pause: $(vfio_pause pause store/ua-disk0)"
    has_no_vfio store
    functions_remove nvme
    nvme_functions 4
    count=$(guest_run store /bin/steady count disk)
    note "resume: $(vfio_pause --signal fatal resume "store/ua-disk0=$(vf nvme 0 0)")"

    GUEST_RUN_TIMEOUT=120 wait_until 120 more_records store $((count + 20))
    note "the longest time without a record was $(guest_run store /bin/steady gap disk) ms"
    [ "$(guest_run store /bin/steady failed disk)" = 0 ]
    GUEST_RUN_TIMEOUT=120 guest_run store /bin/steady verify
    guest_log store 'tail -n 25' | sed 's/^/#   /' >&3
    no_unplug store
    log_lacks store 'I/O error|EXT4-fs error|Remounting filesystem read-only|Buffer I/O'
    [ "$(guest_devices store)" = "$devices" ]
    guest_remove store
    e2fsck -fn "/dev/$(pf_controller nvme 0)n1"
}
