#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Accelerators through the daemon: each of Ker-ONE's answers, on a card that is a program and guests that
# are models of QEMU. What is looked at is what the card and the guests were told, and what the API says.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

setup() {
    make_accelerator_host 'backoff = 1s'
    start_daemon
}

teardown() {
    power_off_all
    stop_daemon
}

@test "assign+load: a free region gets the image, the function and the device" {
    start_guest g1 0 "accelerator='sha' priority='5'"
    settles g1 'holding sha 0'
    equal "$(region 0)" '1 0'
    equal "$(cat "$CARD/calls")" "load 0 sha-0.image
connect 0 0 clear"
    device_is g1 running
    equal "$(attachment g1 .answer)" assign+load
}

@test "assign: a region that holds the accelerator is not loaded again" {
    start_guest g1 0 "accelerator='sha'"
    settles g1 'holding sha 0'
    stop_guest g1 0
    equal "$(attachment g1)" ''
    equal "$(region 0)" '1 null'
    start_guest g2 1 "accelerator='sha'"
    settles g2 'holding sha 0'
    equal "$(attachment g2 .answer)" assign
    equal "$(grep -c load "$CARD/calls")" 1
}

@test "preempt: a holder of lower priority is paused, its context saved, its region given away" {
    both_busy
    echo secret >"$CARD/1.context"
    start_guest g3 2 "accelerator='sha' priority='7'"
    settles g3 'holding sha 1'
    equal "$(attachment g3 .answer)" preempt
    settles g2 'waiting sha null'
    equal "$(attachment g2 .preempted)" true
    device_is g2 paused
    device_is g3 running
    equal "$(cat "$CARD/1.context")" ''
    # It gets its place back, with what it had.
    stop_guest g3 2
    settles g2 'holding sha 1'
    device_is g2 running
    equal "$(cat "$CARD/1.context")" secret
}

@test "preempt+load: another accelerator's holder gives way, and gets a load of its own later" {
    both_busy
    echo old >"$CARD/1.context"
    start_guest g3 2 "accelerator='aes' priority='7'"
    settles g3 'holding aes 1'
    equal "$(attachment g3 .answer)" preempt+load
    equal "$(region 1)" '2 2'
    stop_guest g3 2
    settles g2 'holding sha 1'
    equal "$(region 1)" '1 1'
    equal "$(cat "$CARD/1.context")" old
}

@test "wait: the device is paused until a region is free" {
    start_guest g1 0 "accelerator='sha'"
    start_guest g2 1 "accelerator='sha'"
    start_guest g3 2 "accelerator='aes'"
    settles g3 'waiting aes null'
    equal "$(attachment g3 .answer)" wait
    equal "$(attachment g3 .ahead)" 0
    device_is g3 paused
    stop_guest g1 0
    settles g3 'holding aes 0'
    device_is g3 running
}
