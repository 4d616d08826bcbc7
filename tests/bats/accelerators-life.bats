#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What happens to guests with accelerators: first access, turns on one region, remap, detach, failed steps, a
# virtfnd that is killed, a reconf of their PF, their own end.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

setup() {
    make_accelerator_host 'backoff = 300ms' 'slice-period = 400ms' 'slice-minimum = 100ms'
    start_daemon
}

teardown() {
    power_off_all
    stop_daemon
}

@test "first access: a guest that starts paused gets its accelerator when it touches the device" {
    start_guest g1 0 "accelerator='sha' start='paused'"
    settles g1 'asleep sha null'
    device_is g1 paused
    equal "$(last_pause g1 | jq -c '[.access, ."hold-ms"]')" '["hold",10000]'
    sleep 0.3
    equal "$(attachment g1)" 'asleep sha null'
    touch_device g1
    settles g1 'holding sha 0'
    device_is g1 running
}

@test "first access: one that virtfnd did not see, because it was away, counts as well" {
    start_guest g1 0 "accelerator='sha' start='paused'"
    device_is g1 paused
    kill -9 "$DAEMON"
    wait "$DAEMON" || true
    touch_device g1
    start_daemon
    settles g1 'holding sha 0'
    device_is g1 running
}

@test "first access: a sleeping guest preempts whoever has a lower priority" {
    both_busy
    start_guest g3 2 "accelerator='aes' priority='3' start='paused'"
    device_is g3 paused
    touch_device g3
    settles g3 'holding aes 1'
    settles g2 'waiting sha null'
    device_is g3 running
    device_is g2 paused
}

@test "sharing: two guests take turns on one region, each with its own context" {
    rm "$CARD/1.kind"
    reload
    start_guest g1 0 "accelerator='crc' sharing='yes'"
    settles g1 'holding crc 0'
    echo one >"$CARD/0.context"
    start_guest g2 1 "accelerator='crc' sharing='300'"
    settles g2 'holding crc 0'
    becomes 1 cat "$CARD/0.vf"
    # A context is written whole only while its owner has the region.
    [[ $(cat "$CARD/0.context") != one ]]
    becomes 0 cat "$CARD/0.vf"
    equal "$(cat "$CARD/0.context")" one
    sleep 2
    # Nobody is far from what its weight gives it.
    equal "$(ask /v1/cards '.cards[0].regions[0] | "\(.switches > 3) \(.fairness > 800)"')" 'true true'
    # Who is left has it for itself.
    stop_guest g1 0
    settles g2 true .active
    device_is g2 running
    equal "$(cat "$CARD/0.vf")" 1
}

@test "remap: another accelerator for the same device" {
    start_guest g1 0 "accelerator='sha'"
    settles g1 'holding sha 0'
    equal "$(remap g1 aes)" 'assign+load taking 0'
    settles g1 'holding aes 0'
    equal "$(region 0)" '2 0'
    device_is g1 running
}

@test "detach: the region is free, the device goes on without" {
    both_busy
    start_guest g3 2 "accelerator='aes'"
    settles g3 'waiting aes null'
    equal "$(detach g1)" ''
    settles g3 'holding aes 0'
    settles g1 ''
    device_is g1 running
    equal "$(attach g1 sha)" 'wait waiting null'
    settles g1 'waiting sha null'
    device_is g1 paused
}

@test "attach: a device that runs without an accelerator gets one" {
    guest_hook() { # no accelerator in its claim
        local phase=begin
        case $1 in stopped | release) phase=end ;; esac
        guest_xml "$2" "$3" | "$BUILD/50-virtfn" "$2" "$1" "$phase" -
    }
    start_guest g1 0
    equal "$(attachment g1)" ''
    equal "$(attach g1 sha priority:2)" 'assign+load taking 0'
    settles g1 'holding sha 0'
    device_is g1 running
}

@test "a failed load: the region is left alone for a while, the request goes elsewhere" {
    echo 'CRC wrong' >"$CARD/fail-load"
    start_guest g1 0 "accelerator='sha'"
    settles g1 'holding sha 1'
    equal "$(attachment g1 .failures)" 1
    device_is g1 running
}

@test "a failed save: the victim keeps its region and runs on" {
    both_busy
    echo 'save broke' >"$CARD/fail-save"
    start_guest g3 2 "accelerator='aes' priority='5'"
    settles g3 'holding aes 0'
    [[ $(attachment g3 .failures) -ge 1 ]]
    device_is g2 running
    equal "$(region 1)" '1 1'
    settles g1 'waiting sha null'
}

@test "a failed connect: nothing stays connected, and it is tried again" {
    echo 'connect broke' >"$CARD/fail-connect"
    start_guest g1 0 "accelerator='sha'"
    settles g1 'holding sha 1'
    device_is g1 running
    equal "$(region 0)" '1 null'
}

@test "guest crash: its region goes to who waits" {
    both_busy
    start_guest g3 2 "accelerator='sha'"
    device_is g3 paused
    stop_guest g2 1
    settles g3 'holding sha 1'
    settles g2 ''
    equal "$(region 1)" '1 2'
}

@test "virtfnd killed: nothing is disturbed" {
    both_busy
    start_guest g3 2 "accelerator='aes'"
    settles g3 'waiting aes null'
    device_is g3 paused
    : >"$CARD/calls"
    restart_daemon
    settles g1 'holding sha 0'
    settles g2 'holding sha 1'
    settles g3 'waiting aes null'
    sleep 0.5
    equal "$(cat "$CARD/calls")" 'disconnect 2'
    equal "$(devices g1)$(devices g2)$(devices g3)" \
        'ua-virtfn-acc runningua-virtfn-acc runningua-virtfn-acc paused'
}

# killed_in VERB: a preemption with virtfnd killed while the card does that.
killed_in() {
    both_busy
    echo mine >"$CARD/1.context"
    echo 1 >"$CARD/slow-$1"
    start_guest g3 2 "accelerator='aes' priority='5'"
    for _ in {1..100}; do
        ! grep -q "^$1 .*" <(tail -n +5 "$CARD/calls") || break
        sleep 0.02
    done
    kill -9 "$DAEMON"
    wait "$DAEMON" || true
    rm "$CARD/slow-$1"
    sleep 1.2
    start_daemon
    settles g3 'holding aes 1'
    settles g2 'waiting sha null'
    device_is g3 running
    device_is g2 paused
    stop_guest g3 2
    settles g2 'holding sha 1'
    equal "$(cat "$CARD/1.context")" mine
    device_is g2 running
}

@test "virtfnd killed while a context is saved" { killed_in save; }
@test "virtfnd killed while a victim is disconnected" { killed_in disconnect; }
@test "virtfnd killed while an image is loaded" { killed_in load; }
@test "virtfnd killed while a function is connected" { killed_in connect; }

@test "a reconf in the middle: connections are made again before guests are resumed" {
    both_busy
    start_guest g3 2 "accelerator='aes'"
    device_is g3 paused
    echo kept >"$CARD/0.context"
    # Without VFs the card forgets who was connected.
    flasher 0
    sed -i "2i for n in 0 1; do echo null >$CARD/\$n.vf; done" "$BATS_TEST_TMPDIR/flash"
    echo "bitstream-program = $BATS_TEST_TMPDIR/flash" >>"$CONFIG/fpga.conf"
    reload
    : >"$CARD/calls"
    cli reconf -y --bitstream "$BATS_TEST_TMPDIR/image.bit" fpga
    equal "$(grep ^connect "$CARD/calls" | sort)" 'connect 0 0 keep
connect 1 1 keep'
    settles g1 'holding sha 0'
    settles g2 'holding sha 1'
    device_is g1 running
    device_is g2 running
    equal "$(region 0) $(region 1) $(cat "$CARD/0.context")" '1 0 1 1 kept'
}
