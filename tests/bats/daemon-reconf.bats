#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfn reconf: a card changed under its guests, by the command and by the API.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests

PF=0000:01:00.0
VF=(0000:01:10.0 0000:01:10.2 0000:01:10.4 0000:01:10.6)

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=4
    start_daemon
    boot g1 a="${VF[0]}" b="${VF[2]}"
    boot g2 c="${VF[1]}"
}

teardown() {
    power_off_all
    drop_group
    stop_daemon
}

all_run() {
    equal "$(devices g1)" "ua-virtfn-a running
ua-virtfn-b running"
    equal "$(devices g2)" "ua-virtfn-c running"
    equal "$(journals)" 0
    equal "$(problems)" ""
}

@test "more, fewer, and what the configuration says" {
    for count in 7 3; do
        run cli reconf --yes --vfs $count uplink
        [[ $status -eq 0 ]]
        equal "$(vf_count $PF)" $count
        all_run
    done
    cli reconf --yes eno1
    equal "$(vf_count $PF)" 4
    all_run
}

@test "it shows the plan, each step, and how long it took" {
    run --separate-stderr cli reconf --yes --vfs 7 $PF
    [[ $status -eq 0 && -z $stderr ]]
    [[ ${lines[0]} == "$PF: 7 VFs, 4 now; 3 functions in use" ]]
    [[ ${lines[1]} == "  VF 0 ${VF[0]}  g1/a" ]]
    for step in look pause fence remove card create ready resume; do
        [[ $'\n'$output$'\n' == *$'\n'"$PF: $step"$'\n'* ]]
    done
    [[ $output == *"  g2/c: resumed"* ]]
    [[ ${lines[-1]} == "$PF: no function was away for longer than "*" ms (look "* ]]
}

@test "guests are told by the signal that suits the card, or as the pool says" {
    cli reconf --yes --vfs 7 uplink
    equal "$(last_resume g2 | jq -r .signal)" nonfatal
    write_pool uplink pf=$PF count=4 signal=none
    reload
    cli reconf --yes uplink
    equal "$(last_resume g2 | jq -r .signal)" null
    equal "$(api GET /v1/pools | jq -r '.. | .signal? // empty')" none
}

@test "a dry run changes nothing" {
    run cli reconf --dry-run --vfs 7 uplink
    expect 0 "$PF: 7 VFs, 4 now; 3 functions in use
  VF 0 ${VF[0]}  g1/a
  VF 1 ${VF[1]}  g2/c
  VF 2 ${VF[2]}  g1/b"
    equal "$(vf_count $PF)" 4
    run ! grep 'vfio-pause' "$DAEMON_LOG"
    all_run
}

@test "without a terminal and without --yes nobody is paused" {
    run --separate-stderr cli reconf --vfs 7 uplink </dev/null
    [[ $status -eq 1 ]]
    equal "$stderr" "virtfn: reconf: guests would be paused and nobody can be asked -- give --yes, or --dry-run to see the plan"
    equal "$(vf_count $PF)" 4
}

@test "the plan is shown once, and a refusal is shown with --json too" {
    run cli reconf --yes --vfs 7 uplink
    equal "$(grep -c 'functions in use' <<<"$output")" 1
    run cli reconf --json --vfs 9 uplink
    [[ $status -eq 1 && $output == *'cannot have 9 VFs'* ]]
    run cli reconf --yes --vfs 0 uplink
    [[ $status -eq 2 && $output == *'--vfs is a number from 1 to 65535'* ]]
}

@test "as many as there are is nothing to do" {
    cli reconf --yes uplink
    run grep -c 'sriov_numvfs 0' "$ROOT/.log"
    expect 1 0
}

@test "what is refused, with nothing changed" {
    refuse() { # ERROR WORD...
        run --separate-stderr cli reconf --yes "${@:2}"
        [[ $status -eq 1 ]]
        equal "$stderr" "virtfn: $1"
    }
    refuse "eno1#2: domain 'g1' has it, and it would be gone with 2 VFs -- stop that domain first, or keep 3 VFs" --vfs 2 uplink
    refuse "$PF: cannot have 9 VFs -- ask for 1 to 7" --vfs 9 uplink
    refuse "'nosuch': neither a pool nor a PF of one -- 'virtfn list pools' names them" nosuch
    refuse "pool 'uplink': it has no bitstream-program -- name the program that flashes this card in the pool's file" \
        --bitstream /dev/null uplink
    equal "$(vf_count $PF)" 4
    all_run
}

@test "a guest that was started without virtfn's monitor is named" {
    hook prepare g3 "pci=${VF[3]}"
    hook started g3 "pci=${VF[3]}"
    hold_group "${VF[3]}"
    run --separate-stderr cli reconf --yes --vfs 7 uplink
    [[ $status -eq 1 ]]
    [[ $stderr == "virtfn: domain 'g3', device '"*"': it was started without virtfn's monitor, so its device cannot be paused ("* ]]
    equal "$(vf_count $PF)" 4
    all_run
}

@test "a stranger is named, and the guests go on" {
    hook prepare g3 "d@uplink=${VF[3]}"
    hook release g3 "d@uplink=${VF[3]}"
    hold_group "${VF[3]}"
    run --separate-stderr cli reconf --yes --vfs 7 uplink
    [[ $status -eq 1 && $stderr == *"is open in process $HOLDER "* ]]
    [[ $output == *"fence failed, going back"* ]]
    equal "$(vf_count $PF)" 4
    all_run
}

@test "a reconf is cancelled in time" {
    local order code=0
    QEMU_PAUSE_US=2000000 boot g3 d="${VF[3]}"
    cli reconf --yes --json --vfs 7 uplink >"$BATS_TEST_TMPDIR/events" &
    order=$!
    await '"what":"paused"' "$BATS_TEST_TMPDIR/events"
    cli reconf --cancel $PF
    wait $order || code=$?
    equal $code 1
    grep -q 'the reconf was cancelled' "$BATS_TEST_TMPDIR/events"
    run cli reconf --cancel $PF
    equal "$status $output" "1 virtfn: $PF: no reconf is under way"
    equal "$(vf_count $PF)" 4
    all_run
}

@test "each event is as the API describes it" {
    cli reconf --yes --json --vfs 7 uplink >"$BATS_TEST_TMPDIR/events"
    jq -es 'all(.[]; .event | IN("plan", "step", "times", "done")) and (last == {event: "done", ok: true}) and
        (map(select(.event == "times")) | length == 1 and .[0].outage_us > 0)' "$BATS_TEST_TMPDIR/events"
}

# with_program: pool uplink has the bitstream-program of flasher.
with_program() {
    write_pool uplink pf=$PF count=4 bitstream-program="$BATS_TEST_TMPDIR/flash"
    reload
}

@test "a bitstream is loaded while the card has no VFs, and its time is told" {
    flasher 0 '' 0.5
    with_program
    cli reconf --yes --json --bitstream "$BATS_TEST_TMPDIR/image.bit" uplink >"$BATS_TEST_TMPDIR/events"
    equal "$(cat "$BATS_TEST_TMPDIR/flashed")" "flash $PF $BATS_TEST_TMPDIR/image.bit"
    jq -es 'map(select(.event == "times"))[0] | .steps_us.card >= 500000 and .outage_us >= 500000' \
        "$BATS_TEST_TMPDIR/events"
    all_run
}

@test "a bitstream that cannot be loaded: the old number of VFs, and everybody goes on" {
    local order="$BATS_TEST_TMPDIR/flash flash $PF $BATS_TEST_TMPDIR/image.bit"
    with_program
    fails() { # MESSAGE CODE [TEXT]
        flasher "${@:2}"
        run --separate-stderr cli reconf --yes --vfs 7 --bitstream "$BATS_TEST_TMPDIR/image.bit" $PF
        [[ $status -eq 1 ]]
        equal "$stderr" "virtfn: pool 'uplink': $1"
        equal "$(vf_count $PF)" 4
        all_run
    }
    fails "$order: exit status 1: CRC error in frame 7" 1 'CRC error in frame 7'
    fails "$PF: $BATS_TEST_TMPDIR/flash says that this card is not its business -- name another bitstream-program in the pool" 2
    fails "$order: killed by signal 9" KILL
}
