#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who may call what, and that no client keeps a hook from its answer: silent ones, slow ones, large
# ones, and five hundred at once.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VF0=0000:01:10.0
NOBODY=65534

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2
    printf '[virtfnd]\nuse-group=daemon\nread-group=bin\n' >"$CONFIG/virtfnd.conf"
    start_daemon
}

teardown() {
    [[ -z ${CROWD-} ]] || crowd_leaves
    stop_daemon
}

# crowd KIND COUNT [UID]: such clients, until crowd_leaves; CROWD_SAYS is what they saw.
crowd() {
    mkfifo "$BATS_TEST_TMPDIR/stay"
    "$TREE/tests/lib/crowd" "$VIRTFN_SOCKET" "$@" <"$BATS_TEST_TMPDIR/stay" \
        >"$BATS_TEST_TMPDIR/crowd" 3>&- &
    CROWD=$!
    exec 9>"$BATS_TEST_TMPDIR/stay"
    until [[ -s $BATS_TEST_TMPDIR/crowd ]]; do
        kill -0 $CROWD
        sleep 0.02
    done
    CROWD_SAYS=$(cat "$BATS_TEST_TMPDIR/crowd")
}

crowd_leaves() {
    exec 9>&-
    wait "$CROWD"
    CROWD=
    rm "$BATS_TEST_TMPDIR/stay" "$BATS_TEST_TMPDIR/crowd"
}

# as GROUPS METHOD PATH [BODY]: the HTTP status that a user of these groups gets ("-" for none).
as() {
    local groups=(--groups "$1")
    [[ $1 != - ]] || groups=(--clear-groups)
    (cd "$ROOT/run" && setpriv --reuid $NOBODY --regid $NOBODY "${groups[@]}" \
        curl -sS -o /dev/null -w '%{http_code}' --unix-socket virtfn.sock -X "$2" \
        ${4:+--data-binary "$4"} "http://localhost$3")
}

@test "a user without the groups may do nothing" {
    equal "$(as - GET /v1/status) $(as - GET /openapi.json) $(as - POST /v1/leases '{}')" "403 403 403"
    equal "$(as - POST /v1/hooks/prepare x) $(as - POST /v1/init '{}')" "403 403"
}

@test "a member of the read group may look, no more" {
    equal "$(as bin GET /v1/status) $(as bin GET /openapi.json) $(as bin GET /v1/leases)" "200 200 200"
    equal "$(as bin POST /v1/leases '{}') $(as bin POST /v1/render x)" "403 403"
    equal "$(as bin DELETE /v1/leases/a/b)" 403
}

@test "a member of the use group may lease and render, not administer" {
    local request='{"domain":"11111111-2222-4333-8444-555555555555","device":"net0","pool":"uplink"}'
    equal "$(as daemon GET /v1/status) $(as daemon POST /v1/leases "$request")" "200 201"
    equal "$(as daemon DELETE /v1/leases/11111111-2222-4333-8444-555555555555/net0)" 204
    equal "$(as daemon POST /v1/render "$(domain_xml g1 net0@uplink)")" 200
    equal "$(as daemon POST /v1/init '{}') $(as daemon POST /v1/hooks/prepare x)" "403 403"
}

@test "a refusal names the right that is missing" {
    cd "$ROOT/run"
    run setpriv --reuid $NOBODY --regid $NOBODY --clear-groups curl -sS -H 'Accept: text/plain' \
        --unix-socket virtfn.sock http://localhost/v1/status
    expect 0 "/v1/status: it needs the right to read -- call it as root or as a member of the group that virtfn.conf(5) names"
}

@test "clients that say nothing, or half of something, hold up no hook" {
    for kind in idle half body; do
        crowd $kind 200
        equal "$CROWD_SAYS" "0 0 0"
        hook prepare g1 net0@uplink
        equal "$(leases)" "g1/net0 uplink#0 ready"
        hook release g1 net0@uplink
        crowd_leaves
    done
}

@test "a client that floods is answered or cut off, and holds up no hook" {
    crowd flood 3
    [[ $CROWD_SAYS == "3 0 0" || $CROWD_SAYS == "0 3 0" ]]
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "five hundred clients at once are all answered" {
    "$TREE/tests/lib/crowd" "$VIRTFN_SOCKET" get 500 >"$BATS_TEST_TMPDIR/got" &
    local crowd=$!
    hook prepare g1 net0@uplink
    wait $crowd
    equal "$(cat "$BATS_TEST_TMPDIR/got")" "500 0 0"
}

@test "a user without rights cannot take the connections that hooks need" {
    crowd idle 900 $NOBODY
    # 64 may stay; the others are ended at once.
    read -r answered ended refused <<<"$CROWD_SAYS"
    echo "crowd: $CROWD_SAYS"
    [[ $answered -eq 0 && $((ended + refused)) -ge 836 ]]
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
    crowd_leaves
    equal "$(as - GET /v1/status)" 403
}

@test "descriptors are given back" {
    "$TREE/tests/lib/crowd" "$VIRTFN_SOCKET" get 50 >/dev/null
    local before
    before=$(find "/proc/$DAEMON/fd" -type l | wc -l)
    "$TREE/tests/lib/crowd" "$VIRTFN_SOCKET" get 300 >/dev/null
    hook prepare g1 net0@uplink
    hook release g1 net0@uplink
    equal "$(find "/proc/$DAEMON/fd" -type l | wc -l)" "$before"
}
