#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Requests for accelerators that cannot be: each ends in an error that says why, and nothing is other than before.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

setup() {
    # Nobody comes in by his age because the machine is busy.
    make_accelerator_host 'waiting = 2' 'age-step = 60min'
    cat >"$CONFIG/groups.conf" <<'END'
[group small]
domains = s*
ceiling = 3
held = 1
[accelerator big]
id = 9
END
    add_image big 9 5
    start_daemon
    start_guest g1 0 "accelerator='sha'"
    settles g1 'holding sha 0'
    start_guest g2 1
    start_guest s1 2
    before=$(state)
}

teardown() {
    power_off_all
    stop_daemon
}

# What there is to be changed by mistake.
state() {
    ask /v1/attachments '.attachments | map(del(.since)) | tojson'
    ask /v1/cards '.cards | tojson' | sed -E 's/"since":"[^"]*"//g'
    region 0
    region 1
    cat "$CARD/calls"
}

# refused ANSWER EXPECTED: and nothing has changed.
refused() {
    equal "$1" "$2"
    equal "$(state)" "$before"
}

@test "an accelerator that there is not" {
    refused "$(attach g2 md5)" "404 accelerator 'md5': there is no such accelerator -- accelerators are described in $CONFIG"
}

@test "an image of the wrong kind: no region can hold it" {
    refused "$(attach g2 big)" "$(
        echo "409 accelerator 'big': no image of it fits a region of $PF -- add one with 'virtfn image add'"
    )"
}

@test "a priority above the ceiling" {
    refused "$(attach s1 sha priority:4)" \
        "403 domain 's1': priority 4 is above the ceiling 3 of group 'small' -- ask with a lower one"
    refused "$(attach g2 sha priority:16)" '400 attachment: priority is 0 to 15'
}

@test "sharing of an accelerator that is not shareable" {
    refused "$(attach g2 sha sharing:true)" \
        "409 accelerator 'sha': it is not shareable -- ask without sharing, or set 'shareable = yes' in its [accelerator]"
    refused "$(attach g2 crc sharing:true weight:0)" '400 attachment: weight is 1 to 10000'
}

@test "a domain that does not run" {
    refused "$(attach nobody sha)" \
        "404 domain 'nobody': it does not run with a function of a pool -- 'virtfn list leases' names those that do"
    guest_hook prepare g9 9
    refused "$(attach g9 sha)" \
        "409 domain 'g9': it does not run (its lease of device 'acc' is ready) -- start it first"
    guest_hook release g9 9
}

@test "a device that has a request already, or that there is not" {
    refused "$(attach g1 aes 'device:"acc"')" \
        "409 domain 'g1', device 'acc': it has a request already -- remap it, or detach it first"
    refused "$(attach g1 aes)" \
        "409 domain 'g1': it has no device left that could ask for an accelerator -- name a pool with a 'card', from which it gets a new one"
    refused "$(attach g2 aes 'device:"x"')" \
        "404 domain 'g2': it has no device 'x' -- 'virtfn show g2' names them"
}

@test "remap to itself, to nothing, of nothing" {
    refused "$(remap g1 sha)" "409 domain 'g1', device 'acc': it is mapped to accelerator 'sha' already"
    refused "$(remap g1 md5)" "404 accelerator 'md5': there is no such accelerator -- accelerators are described in $CONFIG"
    refused "$(remap g2 sha)" "404 attachment 'g2/acc': there is none -- 'virtfn status' names them"
    refused "$(detach g2 | jq -r .detail)" "attachment 'g2/acc': there is none"
}

@test "more in the queue than may wait" {
    start_guest g3 3
    start_guest g4 4
    start_guest g5 5
    equal "$(attach g2 sha)" 'assign+load taking 1'
    settles g2 'holding sha 1'
    equal "$(attach g3 sha)" 'wait waiting null'
    equal "$(attach g4 sha)" 'wait waiting null'
    device_is g4 paused
    before=$(state)
    for _ in {1..20}; do
        refused "$(attach g5 sha)" \
            "409 domain 'g5', device 'acc': as many requests wait as may -- try again later, or raise 'waiting' in [accelerators] or in its [group]"
    done
    # One that preempts is not kept out by a full queue.
    equal "$(attach g5 sha priority:9)" 'preempt taking 1'
}

@test "a quota: what a group may hold is not exceeded, and it waits instead" {
    start_guest s2 6
    equal "$(attach s1 sha)" 'assign+load taking 1'
    settles s1 'holding sha 1'
    stop_guest g1 0
    equal "$(attach s2 sha)" 'wait waiting null'
    settles s2 'waiting sha null'
    stop_guest s1 2
    settles s2 'holding sha 0'
}

@test "what cannot be understood" {
    refused "$(api POST /v1/attachments '{"domain":"g2","accelerator":"sha","colour":1}' | jq -r .status)" 400
    refused "$(api POST /v1/attachments '[]' | jq -r .status)" 400
    refused "$(api PUT /v1/attachments/g1/acc '{"accelerator":1}' | jq -r .status)" 400
}

@test "a claim that can never be: the domain does not start" {
    run guest_hook prepare g9 9 "accelerator='md5'"
    [[ $status -eq 1 ]]
    equal "$output" "virtfn: domain 'g9', device 'acc': accelerator 'md5': there is no such accelerator -- accelerators are described in $CONFIG"
    run guest_hook prepare s9 9 "accelerator='sha' priority='9'"
    [[ $status -eq 1 ]]
    refused "$(leases | grep -c 9/)" 0
}

@test "an image whose bytes are others: it is not loaded, and whoever asked is told" {
    echo '0 2 x' >"$ROOT/state/images/aes-0.image"
    equal "$(attach g2 aes)" 'assign+load taking 1'
    settles g2 1 .failures
    settles g2 'waiting aes null'
    attachment g2 .problem
    [[ $(attachment g2 .problem) == *'aes'* ]]
    equal "$(region 1)" '0 null'
    equal "$(grep -c load "$CARD/calls")" 1
}

@test "a client that goes away: its request counts" {
    python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
body = b"{\"domain\":\"g2\",\"accelerator\":\"sha\"}"
s.sendall(b"POST /v1/attachments HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
time.sleep(0.3)
s.close()' "$VIRTFN_SOCKET"
    settles g2 'holding sha 1'
    # And half a request does not.
    python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"POST /v1/attachments HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"domain\":\"s1\",")
s.close()' "$VIRTFN_SOCKET"
    equal "$(attachment s1)" ''
}
