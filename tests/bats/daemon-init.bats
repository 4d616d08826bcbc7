#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# `virtfn init` against the daemon: bringing pools up, again and again, beside guests, and with a
# bitstream.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VF0=0000:01:10.0 VF1=0000:01:10.2
CARD=0000:03:00.0

setup() {
    make_host igb@$PF,net=eno1 fpga@$CARD:4
    write_pool uplink pf=$PF count=2
    write_pool fpga0 pf=$CARD count=2 bitstream-program="$BATS_TEST_TMPDIR/flash"
    start_daemon
}

teardown() {
    drop_group
    stop_daemon
}

# events [BODY]: what init says, "EVENT POOL PF TEXT" a line.
events() {
    api POST /v1/init "${1-{\}}" |
        jq -r '"\(.event) \(.pool) \(.pf) \(.text // .problem.detail // .ok)"'
}

@test "init makes every function of every pool ready, and again is no different" {
    local told="step fpga0 $CARD VF 0 is ready at 0000:03:00.4
step fpga0 $CARD VF 1 is ready at 0000:03:00.5
step uplink $PF VF 0 is ready at $VF0
step uplink $PF VF 1 is ready at $VF1
done null null true"
    equal "$(events | sort)" "$(sort <<<"$told")"
    equal "$(driver_of $VF0) $(driver_of $VF1) $(driver_of 0000:03:00.5)" "vfio-pci vfio-pci vfio-pci"
    equal "$(events | tail -n 1)" "done null null true"
    equal "$(events | sort)" "$(sort <<<"$told")"
    equal "$(grep -c "/sriov_numvfs 2 = 0" "$ROOT/.log")" 2
    equal "$(grep -c " 1 = 0" "$ROOT/.log")" 0
}

@test "init of one pool leaves the others alone" {
    equal "$(events '{"pools":["uplink"]}' | tail -n 1)" "done null null true"
    equal "$(vf_count $PF) $(vf_count $CARD)" "2 0"
}

@test "init leaves functions that belong to domains as they are" {
    hook prepare g1 net0@uplink=$VF0
    : >"$ROOT/.log"
    equal "$(events '{"pools":["uplink"]}')" "step uplink $PF VF 0 belongs to domain 'g1'
step uplink $PF VF 1 is ready at $VF1
done null null true"
    equal "$(grep -c $VF0 "$ROOT/.log")" 0
    equal "$(leases)" "g1/net0 uplink#0 ready"
}

@test "init reads the pools anew" {
    write_pool uplink pf=$PF count=1
    equal "$(events '{"pools":["uplink"]}')" "step uplink $PF VF 0 is ready at $VF0
done null null true"
    write_pool uplink pf=$PF count=none
    equal "$(api POST /v1/init '{}' | jq -r .detail)" "$CONFIG/uplink.conf:3: count: 'none' is not valid"
}

@test "init tells what it cannot do and does the rest" {
    write_pool gone pf=0000:09:00.0 count=1
    equal "$(events | sort)" "$(sort <<<"problem gone null $CONFIG/gone.conf:1: pool 'gone': no physical function with SR-IOV matches '0000:09:00.0' on this host
step fpga0 $CARD VF 0 is ready at 0000:03:00.4
step fpga0 $CARD VF 1 is ready at 0000:03:00.5
step uplink $PF VF 0 is ready at $VF0
step uplink $PF VF 1 is ready at $VF1
done null null false")"
    run cli init
    [[ $status -ne 0 && $output == *"no physical function with SR-IOV matches '0000:09:00.0'"* ]]
}

@test "init sets aside what a stranger has open" {
    cli init >/dev/null
    hold_group $VF1
    equal "$(events '{"pools":["uplink"]}')" "step uplink $PF VF 0 is ready at $VF0
problem uplink $PF $VF1: VFIO group $(vfio_group $VF1) is open in process $HOLDER (python3)
done null null false"
    equal "$(function_state uplink 1)" quarantined
}

@test "init answers a request that makes no sense" {
    equal "$(api POST /v1/init '{"pools":"uplink"}' | jq -r .detail)" "init: pools is no array of names"
    equal "$(api POST /v1/init '{"pools":["lab"]}' | jq -r .detail)" "pool 'lab': there is no such pool"
    equal "$(api POST /v1/init '{"pools":[7]}' | jq -r .detail)" \
        "pool '(no string)': there is no such pool"
    equal "$(api POST /v1/init '{"force":true}' | jq -r .detail)" \
        "init: 1 object item(s) left unpacked: force"
    equal "$(api POST /v1/init '{"bitstream":"image.bit"}' | jq -r .detail)" \
        "init: bitstream 'image.bit' is no absolute path"
    equal "$(vf_count $PF)" 0
}

@test "init --bitstream flashes the card without VFs, then makes them" {
    flasher 0
    cli init fpga0 >/dev/null
    equal "$(vf_count $CARD)" 2
    run cli init --bitstream "$BATS_TEST_TMPDIR/image.bit" fpga0
    [[ $status -eq 0 && $output == *"bitstream loaded"* ]]
    equal "$(cat "$BATS_TEST_TMPDIR/flashed")" "flash $CARD $BATS_TEST_TMPDIR/image.bit"
    equal "$(grep -o '/sriov_numvfs . = 0' "$ROOT/.log" | tr '\n' ' ')" \
        "/sriov_numvfs 2 = 0 /sriov_numvfs 0 = 0 /sriov_numvfs 2 = 0 "
}

@test "a program that fails to flash is quoted" {
    flasher 1 'CRC error in frame 7'
    equal "$(events "{\"pools\":[\"fpga0\"],\"bitstream\":\"$BATS_TEST_TMPDIR/image.bit\"}" | head -n 1)" \
        "problem fpga0 $CARD pool 'fpga0': $BATS_TEST_TMPDIR/flash flash $CARD $BATS_TEST_TMPDIR/image.bit: exit status 1: CRC error in frame 7"
}

@test "a program that says that the card is not its business is a problem" {
    flasher 2
    equal "$(events "{\"pools\":[\"fpga0\"],\"bitstream\":\"$BATS_TEST_TMPDIR/image.bit\"}" | head -n 1)" \
        "problem fpga0 $CARD pool 'fpga0': $CARD: $BATS_TEST_TMPDIR/flash says that this card is not its business"
}

@test "a program that is missing, or none at all, is a problem" {
    equal "$(events "{\"bitstream\":\"/image.bit\"}" | grep problem | sort)" \
        "problem fpga0 $CARD pool 'fpga0': $BATS_TEST_TMPDIR/flash: No such file or directory
problem uplink $PF pool 'uplink': it has no bitstream-program"
}

@test "a card that a guest uses is not flashed" {
    flasher 0
    hook prepare g1 crypt0@fpga0
    equal "$(events "{\"pools\":[\"fpga0\"],\"bitstream\":\"$BATS_TEST_TMPDIR/image.bit\"}" | head -n 2)" \
        "step fpga0 $CARD VF 0 belongs to domain 'g1'
problem fpga0 $CARD $CARD: guests use its functions"
    [[ ! -e $BATS_TEST_TMPDIR/flashed ]]
    equal "$(vf_count $CARD)" 2
}

@test "a client of init that goes away does not stop it" {
    echo "*/sriov_numvfs 400" >"$ROOT/.delay"
    run curl -sS --max-time 0.2 --unix-socket "$VIRTFN_SOCKET" -d '{}' http://localhost/v1/init
    becomes vfio-pci driver_of $VF1
    becomes vfio-pci driver_of 0000:03:00.5
    equal "$(problems)" ""
}
