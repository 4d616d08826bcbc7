# SPDX-License-Identifier: GPL-2.0-or-later
#
# access=hold: a processor of the guest that touches its paused device waits for the resume, and nothing else does.
# Real components only: what waits is a processor thread of KVM, with QEMU's lock given back meanwhile.
#
# Not in the gate's list; `make check-host HOST_SCENARIOS=pause-hold` runs it.

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

# guest_up NAME: a guest with two processors, whose NIC answered pings and is down: its driver touches nothing now. All
# that goes on in the guest is the first processor's; touching the device is the second's.
guest_up() {
    pause_guest_define "$1" --vcpus 2 --device "$(nic 0)" --append 'isolcpus=1 irqaffinity=0'
    virsh -q start "$1"
    guest_wait "$1"
    guest_run "$1" 'ip addr add 192.0.2.10/24 dev eth0; ip link set eth0 up; /bin/steady tick >/dev/null 2>&1 &'
    wait_until 60 ping -c 1 -W 1 192.0.2.10
    guest_run "$1" ip link set eth0 down
}

# reopened NAME: the guest answers pings after its NIC was set up anew: it had been set up while accesses were ignored.
reopened() {
    guest_run "$1" 'ip link set eth0 down; ip link set eth0 up'
    wait_until 60 ping -c 1 -W 1 192.0.2.10
}

# touch_device NAME: processor 1 of the guest accesses the device, and is not awaited.
touch_device() {
    guest_run "$1" '(taskset 2 ip link set eth0 up; echo done >/tmp/touched) >/dev/null 2>&1 &'
}

# touched NAME: that access, and all that followed it, has ended.
touched() {
    guest_run "$1" test -e /tmp/touched
}

# more_ticks NAME COUNT: the guest's first processor went on.
more_ticks() {
    [[ $(guest_run "$1" /bin/steady count tick) -gt $2 ]]
}

@test "the accessing processor waits, the other one runs, monitors answer, a stop works, and the resume lets it go on" {
    guest_up hold
    vfio_pause --access hold --hold-ms 300000 pause hold/ua-nic0
    touch_device hold
    wait_until 60 accessed hold ua-nic0
    ticks=$(guest_run hold /bin/steady count tick)
    since=$(guest_run hold 'tail -n 1 /tmp/steady.tick' | cut -d ' ' -f 1)
    wait_until 60 more_ticks hold $((ticks + 100))
    note "meanwhile the other processor's longest time without a tick was $(guest_run hold /bin/steady gap tick "$since") ms"
    run touched hold
    [ "$status" -eq 1 ]
    [ "$(device_state hold ua-nic0 accesses)" = 1 ]
    begin=$(clock)
    vfio_pause qmp hold query-status
    note "with a waiting processor a monitor answered within $(elapsed "$begin") ms, python and connection included"
    begin=$(clock)
    vfio_pause resume "hold/ua-nic0=$(vf igb 0 0)"
    note "resumed after $(elapsed "$begin") ms"
    wait_until 60 touched hold
    note "the access that waited, and the command, had ended $(elapsed "$begin") ms after the resume began"
    wait_until 60 ping -c 1 -W 1 192.0.2.10
    guest_run hold 'ip link set eth0 down; rm /tmp/touched'

    # a stop ends the waiting: the processor must come out of its access
    vfio_pause --access hold --hold-ms 300000 pause hold/ua-nic0
    touch_device hold
    wait_until 60 accessed hold ua-nic0
    begin=$(clock)
    VIRSH_TIMEOUT=60 virsh -q suspend hold
    note "virsh suspend took $(elapsed "$begin") ms"
    [ "$(virsh domstate hold)" = paused ]
    [ "$(device_state hold ua-nic0)" = paused ]
    virsh -q resume hold
    vfio_pause resume "hold/ua-nic0=$(vf igb 0 0)"
    wait_until 60 touched hold
    reopened hold
    no_unplug hold
}

@test "after hold-ms the access ends as with ignore" {
    guest_up late
    vfio_pause --access hold --hold-ms 5000 pause late/ua-nic0
    touch_device late
    wait_until 60 accessed late ua-nic0
    begin=$(clock)
    [ "$(device_state late ua-nic0 accesses)" = 1 ]
    wait_until 60 touched late
    note "the command ended $(elapsed "$begin") ms later; accesses: $(device_state late ua-nic0 accesses)"
    [ "$(device_state late ua-nic0)" = paused ]
    [ "$(device_state late ua-nic0 accesses)" -gt 1 ]
    vfio_pause resume "late/ua-nic0=$(vf igb 0 0)"
    reopened late
    no_unplug late
}
