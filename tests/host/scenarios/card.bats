# SPDX-License-Identifier: GPL-2.0-or-later
#
# The emulated FPGA card under a guest, by hand and without virtfnd: what a pause, a change of contexts and the card's
# faults do to a program that checks every result. That it would notice a lost context is shown, too: other scenarios
# rely on it.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/pause.bash
source /usr/share/virtfn-test/card.bash

setup_file() {
    local name
    monitors_ready
    fpga_ready
    fpga_functions 2
    for name in sha256 aes-ctr crc32c vector-add; do
        fpga_image "/run/$name.image" "$name"
    done
    pause_guest_define comp --device "$(hostdev_xml "$(vf fpga 0 0)" ua-fpga0)"
    virsh -q start comp
    guest_wait comp
}

teardown_file() {
    guests_remove
    rm -f "$qmp_home"/*
    functions_remove fpga
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || {
        guest_run comp 'tail -n 5 /tmp/cardjob' || true
        fpga query || true
        scenario_diagnose "failed-$BATS_TEST_NUMBER"
    }
    cardjob_stop comp
    fpga disconnect 0 2>/dev/null || true
}

pause() {
    vfio_pause pause comp/ua-fpga0 >/dev/null
}

resume() {
    vfio_pause resume "comp/ua-fpga0=$(vf fpga 0 0)" >/dev/null
}

@test "each accelerator computes for the guest what the guest computes itself" {
    for name in sha256 aes-ctr crc32c vector-add; do
        fpga load 0 "/run/$name.image"
        [ "$(region 0 state)" = ready ]
        fpga connect 0 0
        run guest_run comp "cardjob -n 40 -s ${accelerator_id[$name]}"
        [ "$status" = 0 ]
        note "$name: ${lines[-1]}"
        [[ ${lines[0]} == "accelerator ${accelerator_id[$name]} "* ]]
        [[ ${lines[-1]} == 'ok 40 '* ]]
        [ "$(region 0 jobs)" = 41 ] # with the one that began it
        fpga disconnect 0
    done
}

@test "paused and resumed with its function connected: the stream of results goes on" {
    fpga load 0 /run/sha256.image
    fpga connect 0 0
    cardjob_start comp -e 1
    for _ in 1 2 3; do
        cardjob_goes_on comp
        pause
        has_no_vfio comp
        cardjob_stands comp
        resume
    done
    cardjob_goes_on comp
    note "$(guest_run comp 'tail -n 1 /tmp/cardjob')"
}

@test "preempted: saved, another one's work in its region, restored to the other region" {
    fpga load 0 /run/crc32c.image
    fpga connect 0 0
    cardjob_start comp -e 1
    for _ in 1 2; do
        cardjob_goes_on comp
        pause
        fpga disconnect 0
        fpga save 0 "$BATS_TEST_TMPDIR/context"
        fpga load 0 /run/vector-add.image
        fpga connect 0 1
        fpga disconnect 1
        fpga load 1 /run/crc32c.image
        fpga restore 1 "$BATS_TEST_TMPDIR/context"
        fpga connect 1 0 keep
        resume
        cardjob_goes_on comp
        pause
        fpga disconnect 0
        fpga save 1 "$BATS_TEST_TMPDIR/context"
        fpga load 0 /run/crc32c.image
        fpga restore 0 "$BATS_TEST_TMPDIR/context"
        fpga connect 0 0 keep
        resume
    done
    cardjob_goes_on comp
    note "$(guest_run comp 'tail -n 1 /tmp/cardjob')"
}

@test "another accelerator comes instead: the program starts anew" {
    fpga load 0 /run/crc32c.image
    fpga connect 0 0
    cardjob_start comp -e 1
    cardjob_goes_on comp
    pause
    fpga disconnect 0
    fpga load 0 /run/aes-ctr.image
    fpga connect 0 0
    resume
    cardjob_goes_on comp
    cardjob_says comp 'accelerator 2 '
}

@test "disconnected under a running job, a hanging job, functions created anew: it goes on" {
    fpga load 0 /run/vector-add.image
    fpga connect 0 0
    cardjob_start comp -e 1
    cardjob_goes_on comp
    fpga disconnect 0
    cardjob_stands comp
    fpga connect 0 0 keep
    cardjob_goes_on comp

    fpga hang 0
    wait_until 30 cardjob_stands comp
    pause
    resume
    cardjob_goes_on comp

    pause
    functions_remove fpga
    fpga_functions 2
    [ "$(region 0 vf)" = null ]
    fpga connect 0 0 keep
    resume
    cardjob_goes_on comp
}

@test "a load that fails half way leaves a region that can be loaded again" {
    for fault in load crc; do
        fpga fault "$fault"
        run fpga load 0 /run/sha256.image
        [ "$status" = 1 ]
        [ "$(region 0 state)" = broken ]
        run fpga connect 0 0
        [ "$status" = 1 ]
    done
    fpga load 0 /run/sha256.image
    fpga connect 0 0
    guest_run comp 'cardjob -n 5' | grep -q '^ok 5 '
}

@test "a context that is lost, old, or another one's: the program says so" {
    fpga load 0 /run/sha256.image
    for how in lost old other; do
        fpga connect 0 0
        guest_run comp 'cardjob -n 12 -s 7' | grep -q '^ok 12 '
        fpga save 0 "$BATS_TEST_TMPDIR/other"
        cardjob_start comp -e 1
        cardjob_goes_on comp
        pause
        fpga save 0 "$BATS_TEST_TMPDIR/old"
        resume
        cardjob_goes_on comp
        pause
        fpga disconnect 0
        case $how in
        lost) fpga connect 0 0 ;;
        *) fpga restore 0 "$BATS_TEST_TMPDIR/$how" && fpga connect 0 0 keep ;;
        esac
        resume
        wait_until 30 cardjob_says comp 'ended 2'
        note "$how: $(guest_run comp 'grep wrong /tmp/cardjob')"
        run cardjob_fine comp
        [ "$status" = 1 ]
        fpga disconnect 0
    done
}
