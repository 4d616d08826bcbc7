#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The daemon's start, stop and SIGHUP: what it makes of the host and of /etc/virtfn, and that what
# has begun is finished when it ends.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VF0=0000:01:10.0 VF1=0000:01:10.2

teardown() {
    stop_daemon
}

@test "a bad option or argument is refused with exit code 2" {
    run "$BUILD/virtfnd" --bogus
    expect 2 "virtfnd: Unknown option --bogus"
    run "$BUILD/virtfnd" now
    expect 2 "virtfnd: 'now': virtfnd takes options only"
}

@test "it starts without pools, and hooks of domains that want none are done" {
    make_host igb@$PF
    start_daemon
    equal "$(ask /v1/status '.pools | length')" 0
    hook prepare g1 pci=$VF0
    equal "$(problems)" ""
}

@test "it starts without a configuration directory" {
    make_host igb@$PF
    rmdir "$CONFIG"
    start_daemon
    equal "$(problems)" ""
}

@test "a broken pool file is in the status, refuses starts, and is mended by SIGHUP" {
    make_host igb@$PF
    write_pool uplink pf=$PF count=none
    start_daemon
    cause="$CONFIG/uplink.conf:3: count: 'none' is not valid -- give a number of functions from 1 to 65535"
    equal "$(problems)" "$cause"
    run hook prepare g1 net0@uplink
    expect 1 "virtfn: $cause"
    write_pool uplink pf=$PF count=2
    reload
    equal "$(problems)" ""
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "a pool file that breaks leaves the pools as they were but gives nothing out" {
    make_host igb@$PF
    write_pool uplink pf=$PF count=2
    start_daemon
    hook prepare g1 net0@uplink=$VF0
    write_pool uplink pf=$PF count=2 bogus=1
    reload
    cause="$CONFIG/uplink.conf:4: 'bogus' is not a key of a pool -- keys are pf, count, max, growth, profile, allow-default-route, link, bitstream-program, signal, card"
    equal "$(problems)" "$cause"
    equal "$(ask /v1/status '.pools[] | "\(.name) \(.count)"')" "uplink 2"
    equal "$(leases)" "g1/net0 uplink#0 ready"
    run hook prepare g2 net0@uplink
    expect 1 "virtfn: $cause"
    # Ends need no configuration.
    hook release g1 net0@uplink=$VF0
    equal "$(leases)" ""
}

@test "an absent PF is in the status and in the refusal" {
    make_host igb@$PF
    write_pool uplink pf=0000:05:00.0 count=2
    start_daemon
    cause="$CONFIG/uplink.conf:1: pool 'uplink': no physical function with SR-IOV matches '0000:05:00.0' on this host -- 'virtfn doctor' lists those there are"
    equal "$(problems)" "$cause"
    run hook prepare g1 net0@uplink
    expect 1 "virtfn: domain 'g1', device 'net0': $cause"
}

@test "a PF with the default route is refused unless the pool says otherwise" {
    make_host igb@$PF,net=eno1,route
    write_pool uplink pf=$PF count=2
    start_daemon
    cause="$CONFIG/uplink.conf:1: pool 'uplink': eno1 ($PF) carries this host's default route -- choose another card, or say allow-default-route=true in the pool"
    equal "$(problems)" "$cause"
    run hook prepare g1 net0@uplink
    expect 1 "virtfn: domain 'g1', device 'net0': $cause"
    run hook prepare g1 net0@uplink=$VF0
    expect 1 "virtfn: domain 'g1', device 'net0': eno1#0 cannot be given out: $cause"
    equal "$(vf_count $PF)" 0
    write_pool uplink pf=$PF count=2 allow-default-route=true
    reload
    equal "$(problems)" ""
    hook prepare g1 net0@uplink=$VF0
}

@test "a PF that had no driver yet when the daemon started is used when it has one" {
    make_host igb@$PF,nodriver
    write_pool uplink pf=$PF count=2
    start_daemon
    cause="$CONFIG/uplink.conf:1: pool 'uplink': $PF has no driver -- load the driver of the physical function, or bind it to pci-pf-stub"
    run hook prepare g1 net0@uplink
    expect 1 "virtfn: domain 'g1', device 'net0': $cause"
    mkdir -p "$ROOT/sys/bus/pci/drivers/igb"
    ln -s ../../../bus/pci/drivers/igb "$ROOT/sys/devices/pci0000:00/$PF/driver"
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "a pool that may grow does so while its PF is idle" {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2 growth=grow max=4
    start_daemon
    hook prepare g1 net0@uplink=$VF0
    equal "$(vf_count $PF)" 2
    hook release g1 net0@uplink=$VF0
    hook prepare g1 a@uplink b@uplink c@uplink
    equal "$(vf_count $PF)" 3
    equal "$(leases)" "g1/a uplink#0 ready
g1/b uplink#1 ready
g1/c uplink#2 ready"
}

@test "a lease stays when its function moves to another pool, and ends there" {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2
    start_daemon
    hook prepare g1 net0@uplink=$VF0
    hook started g1 net0@uplink=$VF0
    rm "$CONFIG/uplink.conf"
    write_pool renamed pf=$PF count=2
    reload
    equal "$(problems)" ""
    equal "$(leases)" "g1/net0 renamed#0 running"
    hook prepare g2 net0@renamed
    equal "$(leases | grep g2)" "g2/net0 renamed#1 ready"
    hook release g1 net0@uplink=$VF0
    equal "$(leases)" "g2/net0 renamed#1 ready"
}

@test "a lease whose function is in no pool any more is told and ended by its domain" {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2
    start_daemon
    hook prepare g1 net0@uplink=$VF0
    hook started g1 net0@uplink=$VF0
    rm "$CONFIG/uplink.conf"
    reload
    equal "$(problems)" "lease of domain 'g1', device 'net0': pool 'uplink' no longer has VF 0 of $PF -- stop the domain, or put the function back into the pool"
    write_pool uplink pf=$PF count=2
    reload
    equal "$(leases)" "g1/net0 uplink#0 running"
    rm "$CONFIG/uplink.conf"
    reload
    hook release g1 net0@uplink=$VF0
    equal "$(problems)" ""
    # What is in no pool is not touched.
    run grep -c /reset "$ROOT/.log"
    expect 1 0
    write_pool uplink pf=$PF count=2
    reload
    equal "$(leases)" ""
    hook prepare g2 net0@uplink=$VF0
}

@test "a waiting start survives that its pool goes meanwhile" {
    make_host igb@$PF,net=eno1 igb@0000:02:00.0,net=eno2
    write_pool aside pf=0000:02:00.0 count=1
    write_pool uplink pf=$PF count=1
    start_daemon
    hook prepare g1 net0@uplink
    echo "*/reset 3000" >"$ROOT/.delay"
    hook release g1 net0@uplink &
    local release=$!
    await_releasing
    hook prepare g2 net0@uplink 2>"$BATS_TEST_TMPDIR/refusal" &
    local waiting=$! code=0
    sleep 0.2
    rm "$CONFIG"/*.conf
    reload
    wait $release
    wait $waiting || code=$?
    equal "$code $(cat "$BATS_TEST_TMPDIR/refusal")" "1 virtfn: domain 'g2', device 'net0': there is no pool 'uplink' -- 'virtfn list pools' names them; pools are described in $CONFIG"
    equal "$(leases)$(problems)" ""
}

@test "a second daemon on the same state is refused" {
    make_host igb@$PF
    write_pool uplink pf=$PF count=2
    start_daemon
    run "${ON_HOST[@]}" "$BUILD/virtfnd" --root "$ROOT" --config "$CONFIG" --run "$ROOT/run" \
        --state "$ROOT/state" --helper "$BUILD/virtfn-numvfs" --no-libvirt
    [[ $status -eq 1 ]]
    [[ $output == *"$ROOT/run/ledger.db: database is locked -- end the other virtfnd, or the program that has it open" ]]
    hook prepare g1 net0@uplink
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "another boot empties the leases" {
    make_host igb@$PF
    write_pool uplink pf=$PF count=2
    start_daemon
    hook prepare g1 net0@uplink
    stop_daemon
    start_daemon
    equal "$(leases)" "g1/net0 uplink#0 ready"
    stop_daemon
    echo 7a1d7f0e-0000-4000-8000-000000000002 >"$ROOT/proc/sys/kernel/random/boot_id"
    start_daemon
    equal "$(leases)" ""
}

@test "what has begun is finished and answered before the daemon ends" {
    make_host igb@$PF
    write_pool uplink pf=$PF count=2
    start_daemon
    echo "*/sriov_numvfs 700" >"$ROOT/.delay"
    hook prepare g1 net0@uplink=$VF0 &
    local waiting=$!
    until [[ $(leases) == *preparing* ]]; do sleep 0.01; done
    stop_daemon
    wait $waiting
    start_daemon
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "a second SIGTERM ends it at once; the hook asks the next daemon" {
    make_host igb@$PF
    write_pool uplink pf=$PF count=2
    start_daemon
    echo "*/sriov_numvfs 1000" >"$ROOT/.delay"
    hook prepare g1 net0@uplink=$VF0 &
    local waiting=$!
    until [[ $(leases) == *preparing* ]]; do sleep 0.01; done
    kill "$DAEMON"
    sleep 0.1
    kill "$DAEMON"
    wait "$DAEMON"
    rm "$ROOT/.delay"
    start_daemon
    wait $waiting
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "a stop during init ends the daemon when init is done" {
    make_host igb@$PF
    write_pool uplink pf=$PF count=2
    start_daemon
    echo "*/sriov_numvfs 700" >"$ROOT/.delay"
    cli init >"$BATS_TEST_TMPDIR/init" &
    local init=$!
    until grep -q "sriov_drivers_autoprobe" "$ROOT/.log"; do sleep 0.01; done
    stop_daemon
    wait $init
    equal "$(driver_of $VF1)" vfio-pci
}
