#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfn settle: what a libvirt daemon waits for before it starts, and what waits for it then. Here
# the test is the libvirt daemon: it runs the command, and its `reconnect` hooks.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests

PF=0000:01:00.0
VF=(0000:01:10.0 0000:01:10.2 0000:01:10.4 0000:01:10.6)

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2 growth=grow max=4
    start_daemon
}

teardown() {
    power_off_all
    stop_daemon
}

two_guests() {
    boot g1 a="${VF[0]}"
    boot g2 b="${VF[1]}"
}

# slow_reconf: a reconf whose first write of numvfs takes 3 s; returns while VFs are away. RECONF is its pid.
slow_reconf() {
    echo "*/sriov_numvfs 1500" >>"$ROOT/.delay"
    cli reconf --yes --vfs 4 uplink >"$BATS_TEST_TMPDIR/reconf" 2>&1 &
    RECONF=$!
    await disruptive "$ROOT/run/reconf/$PF.json"
}

# settling: the guests that libvirt has yet to find, by name; "null" when reconfs may begin.
settling() {
    ask /v1/status '.settling | if . == null then "null" else map(.name) | sort | join(" ") end'
}

reconf_is_refused() { # WORDS
    run --separate-stderr cli reconf --yes --vfs 4 uplink
    [[ $status -eq 1 && -z $output ]]
    equal "$stderr" "virtfn: libvirt's daemon is starting$1 -- try again in a moment"
    equal "$(vf_count $PF)" 2
}

@test "without guests there is nothing to wait for, nor to hold up" {
    run cli settle
    expect 0 ""
    equal "$(settling)" null
    cli reconf --yes --vfs 4 uplink
}

@test "it waits for the end of a reconf" {
    two_guests
    slow_reconf
    run cli settle
    expect 0 "waiting: $PF: its reconf is under way"
    equal "$(journals)" 0
    equal "$(vf_count $PF)" 4
    equal "$(devices g1)" "ua-virtfn-a running"
    wait $RECONF
}

@test "no reconf begins until libvirt has found each guest" {
    two_guests
    run -0 cli settle --json
    equal "$(jq -r '.settled, ([.guests[].name] | sort | join(" "))' <<<"$output")" "true
g1 g2"
    equal "$(settling)" "g1 g2"
    hook reconnect g1 "a@uplink=${VF[0]}"
    equal "$(settling)" g2
    reconf_is_refused " and has yet to find 'g2'"
    run -0 cli status
    [[ $output == *"libvirt's daemon is starting: no reconf begins until it has found g2"* ]]
    cli reconf --dry-run --vfs 4 uplink
    hook reconnect g2 "b@uplink=${VF[1]}"
    becomes null settling
    cli reconf --yes --vfs 4 uplink
}

@test "the hook of a guest that merely starts opens nothing" {
    boot g1 a="${VF[0]}"
    cli settle
    hook started g1 "a@uplink=${VF[0]}"
    equal "$(settling)" g1
}

@test "a guest that ended is not awaited" {
    two_guests
    cli settle
    hook reconnect g1 "a@uplink=${VF[0]}"
    kill "${QEMUS[1]}"
    wait "${QEMUS[1]}" || true
    hook release g2 "b@uplink=${VF[1]}"
    becomes null settling
}

@test "a guest that libvirt does not find holds reconfs up for a time only" {
    boot g1 a="${VF[0]}"
    cli settle --timeout 1
    reconf_is_refused " and has yet to find 'g1'"
    becomes null settling
    grep -q "libvirt's daemon has not found again within 1 s: 'g1'; reconfs may begin" "$DAEMON_LOG"
    cli reconf --yes --vfs 4 uplink
}

@test "a start that grows waits, and goes on when libvirt is there" {
    two_guests
    cli settle
    hook prepare g3 "c@uplink=${VF[2]}" &
    start=$!
    sleep 0.5
    equal "$(vf_count $PF)" 2
    hook reconnect g1 "a@uplink=${VF[0]}"
    hook reconnect g2 "b@uplink=${VF[1]}"
    wait $start
    equal "$(vf_count $PF)" 3
    equal "$(devices g1)" "ua-virtfn-a running"
}

@test "a start that grows is refused when libvirt takes too long" {
    two_guests
    cli settle
    hook reconnect g1 "a@uplink=${VF[0]}"
    run hook prepare g3 "c@uplink=${VF[2]}"
    expect 1 "virtfn: domain 'g3', device 'c': libvirt's daemon is starting and has yet to find 'g2' -- try again in a moment"
    equal "$(vf_count $PF)" 2
    hook reconnect g2 "b@uplink=${VF[1]}"
    becomes null settling
    hook prepare g3 "c@uplink=${VF[2]}"
}

@test "a virtfnd that is killed in a reconf is waited for" {
    two_guests
    slow_reconf
    kill -9 "$DAEMON"
    wait "$DAEMON" || true
    cli settle >"$BATS_TEST_TMPDIR/settle" &
    settle=$!
    sleep 0.5
    kill -0 $settle
    start_daemon
    wait $settle
    grep -q "^waiting: " "$BATS_TEST_TMPDIR/settle"
    equal "$(journals)" 0
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(devices g2)" "ua-virtfn-b running"
    wait $RECONF || true
}

@test "a virtfnd that is killed later still holds reconfs up" {
    two_guests
    cli settle
    hook reconnect g1 "a@uplink=${VF[0]}"
    restart_daemon
    equal "$(settling)" g2
    reconf_is_refused " and has yet to find 'g2'"
    hook reconnect g2 "b@uplink=${VF[1]}"
    becomes null settling
    restart_daemon
    equal "$(settling)" null
}

@test "it fails rather than let libvirt start too early" {
    two_guests
    slow_reconf
    run --separate-stderr cli settle --timeout 1
    [[ $status -eq 1 ]]
    equal "$stderr" "virtfn: settle: gave up after 1 s: $PF: its reconf is under way -- see 'virtfn status' and 'journalctl -u virtfnd'; a libvirt daemon that starts now would end the guests that are paused"
    wait $RECONF
}

@test "without virtfnd: an open journal stops libvirt, nothing else does" {
    stop_daemon
    rm -f "$VIRTFN_SOCKET"
    run -0 --separate-stderr cli settle
    [[ -z $output && $stderr == "virtfn: no reconf is open, so libvirt may start: $VIRTFN_SOCKET: no such socket -- "* ]]
    mkdir -p "$ROOT/run/reconf"
    echo '{}' >"$ROOT/run/reconf/$PF.json"
    run --separate-stderr cli settle --timeout 1
    [[ $status -eq 1 && $stderr == "virtfn: settle: gave up after 1 s: $VIRTFN_SOCKET: no such socket -- see "* ]]
    rm "$ROOT/run/reconf/$PF.json"
}

@test "bad requests" {
    run cli settle --timeout 0
    expect 2 "virtfn: settle: --timeout is a number from 1 to 3600 -- see: virtfn help settle"
    [[ $(api POST /v1/settle '{"seconds":0}') == *'settle: seconds is a number from 1 to 3600'* ]]
    [[ $(api POST /v1/settle '{"minutes":1}') == *'"status":400'* ]]
    equal "$(settling)" null
}
