#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Accelerators among other things: guests that end in the middle of a change, operators that pause, a configuration
# that changes, regions that nobody uses, cards that are away.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

setup() {
    make_accelerator_host 'backoff = 300ms'
    start_daemon
}

teardown() {
    power_off_all
    stop_daemon
}

@test "whoever preempted ends while its image is loaded: the victim gets its region back" {
    both_busy
    echo mine >"$CARD/1.context"
    : >"$CARD/calls"
    echo 0.7 >"$CARD/slow-load"
    start_guest g3 2 "accelerator='aes' priority='5'"
    await '^load ' "$CARD/calls"
    stop_guest g3 2
    settles g3 ''
    settles g2 'holding sha 1'
    device_is g2 running
    equal "$(region 1) $(cat "$CARD/1.context")" '1 1 mine'
}

@test "a victim ends while its region is taken" {
    both_busy
    : >"$CARD/calls"
    echo 0.7 >"$CARD/slow-load"
    start_guest g3 2 "accelerator='aes' priority='5'"
    await '^load ' "$CARD/calls"
    stop_guest g2 1
    settles g2 ''
    settles g3 'holding aes 1'
    device_is g3 running
}

@test "a waiting guest ends, and is waited for no more" {
    both_busy
    start_guest g3 2 "accelerator='aes'"
    settles g3 'waiting aes null'
    stop_guest g3 2
    settles g3 ''
    stop_guest g1 0
    equal "$(region 0)" '1 null'
}

@test "detach while it is being let in" {
    echo 0.5 >"$CARD/slow-load"
    start_guest g1 0 "accelerator='sha'"
    await '^load ' "$CARD/calls"
    equal "$(attachment g1)" 'taking sha 0'
    detach g1
    settles g1 ''
    equal "$(cat "$CARD/0.vf")" null
    device_is g1 running
}

@test "an operator's pause outlasts a preemption, and his resume does not end a wait" {
    both_busy
    cli pause g2
    start_guest g3 2 "accelerator='aes' priority='5'"
    settles g2 'waiting sha null'
    run cli resume g2 acc
    [[ $status -eq 1 && $output == *'it waits for an accelerator'* ]]
    device_is g2 paused
    stop_guest g3 2
    settles g2 'holding sha 1'
    device_is g2 running
}

@test "an operator's pause is his to end, also when its turn comes" {
    both_busy
    start_guest g3 2 "accelerator='aes' priority='5'"
    settles g3 'holding aes 1'
    stop_guest g3 2
    settles g2 'holding sha 1'
    cli pause g2
    start_guest g3 2 "accelerator='aes' priority='5'"
    settles g3 'holding aes 1'
    stop_guest g3 2
    settles g2 'holding sha 1'
    device_is g2 paused
    equal "$(region 1)" '1 1'
    cli resume g2
    device_is g2 running
}

@test "reload: whoever holds goes on, whoever waits does so" {
    both_busy
    start_guest g3 2 "accelerator='aes'"
    device_is g3 paused
    : >"$CARD/calls"
    reload
    settles g3 'waiting aes null'
    equal "$(attachment g1) $(attachment g2)" 'holding sha 0 holding sha 1'
    sleep 0.3
    equal "$(grep -v disconnect "$CARD/calls")" ''
    device_is g1 running
}

@test "an accelerator that the configuration has no more: its holder is told, nobody else gets its region" {
    both_busy
    sed -i '/accelerator sha/,+1d' "$CONFIG/accelerators.conf"
    reload
    settles g1 "accelerator 'sha': there is no such accelerator -- accelerators are described in $CONFIG" .problem
    start_guest g3 2 "accelerator='aes' priority='9'"
    settles g3 'waiting aes null'
    equal "$(region 0) $(region 1)" '1 0 1 1'
    printf '[accelerator sha]\nid = 1\n' >>"$CONFIG/accelerators.conf"
    reload
    settles g3 'holding aes 1'
    settles g1 'holding sha 0'
}

@test "idle: who does nothing loses its region, and gets one when it touches its device" {
    sed -i 's/^backoff/idle = 400ms\nbackoff/' "$CONFIG/accelerators.conf"
    reload
    both_busy
    echo true >"$CARD/0.running"
    start_guest g3 2 "accelerator='aes'"
    settles g3 'holding aes 1'
    settles g2 'asleep sha null'
    device_is g2 paused
    settles g1 false .idle
    sleep 0.6
    settles g3 true .idle
    touch_device g2
    settles g2 'holding sha 1'
    device_is g2 running
    settles g3 'asleep aes null'
}

@test "a card that cannot be asked: guests start, wait, and are let in when it is back" {
    stop_daemon
    mv "$CARD/0.kind" "$CARD/0.kind-away"
    start_daemon
    start_guest g1 0 "accelerator='sha'"
    device_is g1 paused
    [[ $(problems) == *"$PF"* ]]
    mv "$CARD/0.kind-away" "$CARD/0.kind"
    reload
    settles g1 'holding sha 0'
    device_is g1 running
}

@test "ageing: nobody waits for ever" {
    sed -i 's/^backoff/age-step = 300ms\nbackoff/' "$CONFIG/accelerators.conf"
    reload
    start_guest g1 0 "accelerator='sha' priority='2'"
    start_guest g2 1 "accelerator='sha' priority='2'"
    start_guest g3 2 "accelerator='sha'"
    settles g3 'holding sha 1'
    equal "$(attachment g3 .answer)" preempt
}

@test "a card that cannot save: the victim begins anew" {
    stop_daemon
    echo false >"$CARD/saves"
    start_daemon
    both_busy
    echo old >"$CARD/1.context"
    start_guest g3 2 "accelerator='sha' priority='5'"
    settles g3 'holding sha 1'
    stop_guest g3 2
    settles g2 'holding sha 1'
    equal "$(cat "$CARD/1.context")" ''
    device_is g2 running
}

@test "an image that is not what was added disturbs nobody" {
    both_busy
    : >"$CARD/calls"
    echo '0 2 x' >"$ROOT/state/images/aes-0.image"
    start_guest g3 2 "accelerator='aes' priority='5'"
    for _ in {1..200}; do
        [[ $(attachment g3 .failures) -lt 1 ]] || break
        sleep 0.02
    done
    [[ $(attachment g3 .failures) -ge 1 && $(attachment g3 .problem) == *aes-0* ]]
    equal "$(grep -v '^disconnect 2' "$CARD/calls")" ''
    device_is g1 running
    device_is g2 running
    device_is g3 paused
    # It is tried again, not all the time.
    sleep 1
    attachment g3 .failures
    [[ $(attachment g3 .failures) -le 16 ]]
}
