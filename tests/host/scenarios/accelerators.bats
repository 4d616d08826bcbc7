# SPDX-License-Identifier: GPL-2.0-or-later
#
# Accelerators for guests by virtfn: guests under KVM on one FPGA card with two regions, whose program checks each result
# and would notice a context that was lost or another one's. Nothing is done inside the guests.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash
source /usr/share/virtfn-test/card.bash
source /usr/share/virtfn-test/accelerators.bash

setup_file() {
    accelerators_ready 'age-step = 60s'
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || accelerators_evidence
    virtfn_teardown
}

@test "a guest that starts paused, with no region free: first results after a lower priority is preempted" {
    accel_guest low 'accelerator="sha256" priority="1"'
    accel_guest high 'accelerator="crc32c" priority="7"'
    accel_guest late 'accelerator="vector-add" priority="5" start="paused"'
    for name in low high; do
        virsh -q start "$name"
    done
    for name in low high; do
        guest_wait "$name"
        cardjob_goes_on "$name"
    done
    virsh -q start late
    begin=$(clock)
    wait_until 120 attachment_is late 'asleep vector-add null'
    settles late 'holding vector-add 0' '' 120
    settles low 'waiting sha256 null'
    [ "$(attachment late .answer)" = preempt+load ]
    note "late: asked and answered within $(elapsed "$begin") ms of its start; of it $(attachment late '.times | tojson')"
    cardjob_goes_on late
    cardjob_goes_on high
    cardjob_stands low
    same_as_card

    virsh -q destroy late
    settles low 'holding sha256 0'
    cardjob_goes_on low
    [ "$(attachment low .preemptions)" = 1 ]
    same_as_card
    agree
}
