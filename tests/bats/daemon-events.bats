#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# GET /v1/events and virtfn events: what is told of requests for accelerators, to whom, and how it ends.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

setup() {
    make_host fpga@$PF:12
    make_card 0
    write_accelerators
    add_image sha 1 0
    add_image aes 2 0
    start_daemon
    EVENTS=$BATS_TEST_TMPDIR/events
}

teardown() {
    [[ -z ${LISTENER-} ]] || kill "$LISTENER" 2>/dev/null || true
    power_off_all
    stop_daemon
}

# listen: in the background, until the daemon ends; returns when all that there is was told.
listen() {
    curl -sSN --unix-socket "$VIRTFN_SOCKET" http://localhost/v1/events >"$EVENTS" 3>&- &
    LISTENER=$!
    heard '.event == "ready"'
}

# heard JQ-CONDITION: until an event is like this.
heard() {
    for _ in {1..200}; do
        if [[ -n $(jq -c "select($1)" "$EVENTS" 2>/dev/null) ]]; then return 0; fi
        sleep 0.02
    done
    echo "no event is like $1:"
    cat "$EVENTS"
    return 1
}

@test "a request is told from its beginning to its end" {
    start_guest g1 0
    listen
    cli attach g1 sha
    heard '.attachment.state == "holding" and .attachment.region == 0'
    cli detach g1
    heard '.event == "gone" and .device == "acc"'
    equal "$(jq -r 'select(.event == "gone").uuid' "$EVENTS")" "$(uuid_of g1)"
    # In order, and nothing is told twice.
    equal "$(jq -r '"\(.event) \(.attachment.state // "-")"' "$EVENTS" | uniq | head -n 1)" 'ready -'
    equal "$(jq -r 'select(.attachment.state == "holding") | 1' "$EVENTS" | wc -l)" 1
}

@test "who comes later is told what there is first" {
    start_guest g1 0
    start_guest g2 1
    cli attach g1 sha
    settles g1 'holding sha 0'
    cli attach g2 sha
    listen
    equal "$(jq -r 'if .event == "ready" then "ready" else "\(.attachment.domain.name) \(.attachment.state)" end' "$EVENTS" | sort)" \
        'g1 holding
g2 waiting
ready'
    equal "$(tail -n 1 "$EVENTS")" '{"event":"ready"}'
}

@test "a waiter's turn, a preemption and a failure are told" {
    start_guest g1 0
    start_guest g2 1
    listen
    cli attach g1 sha
    heard '.attachment.domain.name == "g1" and .attachment.state == "holding"'
    cli attach --priority 3 g2 sha
    heard '.attachment.domain.name == "g1" and .attachment.state == "waiting" and .attachment.preempted'
    heard '.attachment.domain.name == "g2" and .attachment.state == "holding"'
    echo 'no clock' >"$CARD/fail-load"
    cli remap g2 aes
    heard '.attachment.domain.name == "g2" and (.attachment.problem // "" | contains("no clock"))'
}

@test "the daemon ends while somebody listens" {
    listen
    before=$EPOCHSECONDS
    stop_daemon
    wait "$LISTENER"
    LISTENER=
    ((EPOCHSECONDS - before < 5))
}

@test "listeners come and go" {
    start_guest g1 0
    for _ in {1..20}; do
        timeout 0.1 curl -sN --unix-socket "$VIRTFN_SOCKET" http://localhost/v1/events >/dev/null || true
    done
    cli attach g1 sha
    settles g1 'holding sha 0'
    listen
    cli detach g1
    heard '.event == "gone"'
}

# follow [OPTION]: virtfn events in the background, until it is killed or the daemon ends.
follow() {
    # What the last one left would look like its first lines.
    : >"$EVENTS"
    "$BUILD/virtfn" --socket "$VIRTFN_SOCKET" "$@" events >"$EVENTS" 2>"$BATS_TEST_TMPDIR/error" 3>&- &
    LISTENER=$!
}

@test "virtfn events: a line for what there is, and for each change" {
    start_guest g1 0
    start_guest g2 1
    cli attach g1 sha
    settles g1 'holding sha 0'
    follow
    await "g1/acc: sha, holding, region 0 of $PF, priority 0" "$EVENTS"
    equal "$(wc -l <"$EVENTS")" 1
    cli attach g2 sha
    await 'g2/acc: sha, waiting, 0 ahead, priority 0' "$EVENTS"
    echo 'no clock' >"$CARD/fail-load"
    cli remap g1 aes
    await 'exit status 1: no' "$EVENTS"
    cli detach g2
    await 'g2/acc: asks for nothing any more' "$EVENTS"
    equal "$(cat "$BATS_TEST_TMPDIR/error")" ''
    # As ^C does. A shell has its jobs in the background ignore that.
    kill -TERM "$LISTENER"
    wait "$LISTENER" || equal $? 143
    LISTENER=
    equal "$(problems)" ''
}

@test "virtfn events --json: as the daemon says it" {
    start_guest g1 0
    follow --json
    heard '.event == "ready"'
    cli attach g1 sha
    heard '.attachment.state == "holding"'
    cli detach g1
    heard '.event == "gone"'
}

@test "virtfn events: the daemon ends, or is killed" {
    local code=0
    follow
    start_guest g1 0
    cli attach g1 sha
    await 'g1/acc: sha, holding' "$EVENTS"
    stop_daemon
    wait "$LISTENER" || code=$?
    LISTENER=
    equal "$code $(cat "$BATS_TEST_TMPDIR/error")" \
        "1 virtfn: events: virtfnd has ended them -- once it runs again, 'virtfn events' begins with what there is"
    start_daemon
    follow
    await 'g1/acc: sha, holding' "$EVENTS"
    kill -9 "$DAEMON"
    wait "$DAEMON" || true
    code=0
    wait "$LISTENER" || code=$?
    LISTENER=
    equal "$code $(cat "$BATS_TEST_TMPDIR/error")" \
        "1 virtfn: $VIRTFN_SOCKET: the answer broke off -- see why virtfnd stopped: journalctl -u virtfnd"
    run cli events
    [[ $status -eq 1 && $output == *'nobody serves this socket'* ]]
    start_daemon
}

@test "virtfn events: a full disk ends it" {
    start_guest g1 0
    cli attach g1 sha
    settles g1 'holding sha 0'
    run bash -c '"$0" --socket "$1" events >/dev/full' "$BUILD/virtfn" "$VIRTFN_SOCKET"
    expect 1 'virtfn: standard output: No space left on device'
}
