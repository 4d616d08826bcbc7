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
    make_host "igb@$PF,net=eno1,pf=attr sriov_vf_msix_count -"
    echo 64 >"$ROOT/sys/bus/pci/devices/$PF/sriov_vf_total_msix"
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

@test "accesses of a guest to an NVMe function wait for it, those to others read all-ones" {
    cli reconf --yes --vfs 7 uplink
    equal "$(last_pause g2 | jq -c '[.access, ."hold-ms"]')" '[null,null]'
    power_off_all
    stop_daemon
    rm -rf "$ROOT" "$CONFIG"
    make_host nvme@0000:02:00.0
    write_pool uplink pf=0000:02:00.0 count=2
    start_daemon
    boot g3 d=0000:02:00.1
    cli reconf --yes --vfs 3 uplink
    equal "$(last_pause g3 | jq -c '[.access, ."hold-ms"]')" '["hold",10000]'
    equal "$(last_resume g3 | jq -r .signal)" fatal
    equal "$(vf_count 0000:02:00.0)" 3
}

@test "a dry run changes nothing" {
    run cli reconf --dry-run --vfs 7 uplink
    expect 0 "$PF: 7 VFs, 4 now; 3 functions in use
  VF 0 ${VF[0]}  g1/a
  VF 1 ${VF[1]}  g2/c
  VF 2 ${VF[2]}  g1/b
$PF: how long guests will be without their functions is not known yet"
    equal "$(vf_count $PF)" 4
    run ! grep 'vfio-pause' "$DAEMON_LOG"
    all_run
}

@test "how long it took is known to the next virtfnd, not after a boot" {
    last_outage() {
        cli reconf --dry-run --json uplink | jq 'select(.event == "plan") | .last_outage_us'
    }
    equal "$(last_outage)" null
    cli reconf --yes --json --vfs 7 uplink >"$BATS_TEST_TMPDIR/events"
    local took
    took=$(jq 'select(.event == "times") | .outage_us' "$BATS_TEST_TMPDIR/events")
    [[ $took -gt 0 ]]
    equal "$(last_outage)" "$took"
    restart_daemon
    equal "$(last_outage)" "$took"
    run -0 cli reconf --dry-run --vfs 5 uplink
    equal "${lines[-1]}" "$PF: guests will be without their functions for about $((took / 1000)) ms, as last time"
    stop_daemon
    echo 7a1d7f0e-0000-4000-8000-000000000002 >"$ROOT/proc/sys/kernel/random/boot_id"
    start_daemon
    equal "$(last_outage)" null
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

# Profiles that a fake card shows: each names a program, which notes "EVENT PF INDEX" and what it is told.
noter() { # NAME
    printf '#!/bin/sh\n{ printf "%%s " %s "$@"; cat; echo; } >>%q\n' "$1" "$BATS_TEST_TMPDIR/noted" >"$BATS_TEST_TMPDIR/$1"
    chmod 755 "$BATS_TEST_TMPDIR/$1"
}

# profiles [LINE...]: profiles silver and gold, gold with these lines besides; pool uplink names none.
profiles() {
    noter silver
    noter gold
    {
        printf '[profile silver]\nprogram=%s\n' "$BATS_TEST_TMPDIR/silver"
        printf '[profile gold]\nprogram=%s\n' "$BATS_TEST_TMPDIR/gold"
        [[ $# -eq 0 ]] || printf '%s\n' "$@"
    } >"$CONFIG/profiles.conf"
}

# pool_profile [NAME]: what uplink's file says.
pool_profile() {
    write_pool uplink pf=$PF count=4 ${1:+profile=$1}
    reload
}

# noted EVENT: which profile's program was told so for which function since the last call, sorted.
noted() {
    awk -v event="$1" '$2 == event { print $1 "#" $4 }' "$BATS_TEST_TMPDIR/noted" 2>/dev/null | sort | paste -sd ' '
    : >"$BATS_TEST_TMPDIR/noted"
}

chosen() {
    ask /v1/pools/uplink '"\(.profile) \(.chosen | to_entries | map("\(.key)=\(.value)") | join(" "))"'
}

removals() {
    grep -c 'sriov_numvfs 0' "$ROOT/.log" || true
}

@test "an edited and reloaded profile is given to the functions in use, with as many VFs as there are" {
    profiles
    pool_profile silver
    run cli status
    [[ $output == *"  3 functions in use have the settings of a profile of before
    remedy: give them the present ones: virtfn reconf uplink"* ]]
    run cli reconf --dry-run uplink
    expect 0 "$PF: 4 VFs, 4 now; 3 functions in use
  VF 0 ${VF[0]}  g1/a: program - -> $BATS_TEST_TMPDIR/silver
  VF 1 ${VF[1]}  g2/c: program - -> $BATS_TEST_TMPDIR/silver
  VF 2 ${VF[2]}  g1/b: program - -> $BATS_TEST_TMPDIR/silver
$PF: how long guests will be without their functions is not known yet"
    equal "$(removals)" 0
    cli reconf --yes uplink
    equal "$(removals)" 1
    equal "$(noted pre)" "silver#0 silver#1 silver#2"
    equal "$(ask /v1/pools/uplink .outdated)" 0
    all_run
    run cli reconf --yes uplink
    expect 0 "$PF: 4 VFs, 4 now; 3 functions in use
  VF 0 ${VF[0]}  g1/a
  VF 1 ${VF[1]}  g2/c
  VF 2 ${VF[2]}  g1/b
$PF: nothing to change, nobody is paused"
    equal "$(removals)" 1
    pool_profile gold
    run cli reconf --dry-run uplink
    [[ ${lines[-1]} == "$PF: guests will be without their functions for about "*" ms, as last time" ]]
}

@test "a profile that is chosen counts for later starts, for a new daemon, and in the status" {
    profiles
    pool_profile silver
    run cli reconf --yes --profile gold uplink
    [[ $status -eq 0 && ${lines[1]} == "  profile of pool uplink silver -> gold" ]]
    equal "$(noted pre)" "gold#0 gold#1 gold#2"
    boot g3 d="${VF[3]}"
    equal "$(noted pre)" "gold#3"
    equal "$(chosen)" "silver $PF=gold"
    run cli status
    [[ $output == *"    profile gold, as \`virtfn reconf\` was told; the configuration has silver"* ]]
    restart_daemon
    equal "$(chosen)" "silver $PF=gold"
    # A reload for something else leaves it alone.
    write_pool uplink pf=$PF count=5 profile=silver
    reload
    equal "$(chosen)" "silver $PF=gold"
    cli reconf --yes --profile gold uplink
    equal "$(vf_count $PF)" 5
    cli reconf --yes uplink
    equal "$(chosen)" "silver "
    equal "$(noted pre)" "gold#0 gold#1 gold#2 gold#3 silver#0 silver#1 silver#2 silver#3"
    # What a function has is what is taken back, not what another one would get.
    cli reconf --yes --profile gold uplink
    noted pre >/dev/null
    pool_profile
    power_off_all
    hook release g3 "d@uplink=${VF[3]}"
    equal "$(noted release)" "gold#3"
}

@test "a start that waits for a reconf gets the profile that it brought" {
    local order
    profiles
    write_pool uplink pf=$PF count=5 profile=silver
    reload
    cli reconf --yes uplink
    QEMU_PAUSE_US=700000 boot g3 d="${VF[3]}"
    cli reconf --yes --json --profile gold uplink >"$BATS_TEST_TMPDIR/events" &
    order=$!
    await '"step":"pause","what":"begin"' "$BATS_TEST_TMPDIR/events"
    noted pre >/dev/null
    hook prepare g4 e@uplink=0000:01:11.0
    wait $order
    equal "$(noted pre)" "gold#0 gold#1 gold#2 gold#3 gold#4"
    hook release g4 e@uplink=0000:01:11.0
    equal "$(noted release)" "gold#4"
}

@test "a daemon killed while the guests are resumed: the next one knows what they were given" {
    profiles
    pool_profile silver
    power_off_all
    hook release g1 "a@uplink=${VF[0]}" "b@uplink=${VF[2]}"
    hook release g2 "c@uplink=${VF[1]}"
    QEMU_PAUSE_US=700000 boot g3 d="${VF[3]}"
    cli reconf --yes --json --profile gold uplink >"$BATS_TEST_TMPDIR/events" 2>&1 &
    await '"step":"resume","what":"begin"' "$BATS_TEST_TMPDIR/events"
    restart_daemon
    becomes 0 journals
    equal "$(devices g3)" "ua-virtfn-d running"
    equal "$(chosen)" "silver $PF=gold"
    noted pre >/dev/null
    power_off_all
    hook release g3 "d@uplink=${VF[3]}"
    equal "$(noted release)" "gold#3"
}

@test "the pool's file wins over a choice when its profile is edited, or the chosen one is gone" {
    profiles
    pool_profile silver
    cli reconf --yes --profile gold uplink
    pool_profile
    equal "$(chosen)" "null "
    grep -q "profile 'gold' counts for $PF no longer, as .virtfn reconf. had it: the pool's file names another one since" "$DAEMON_LOG"
    pool_profile silver
    equal "$(chosen)" "silver "
    cli reconf --yes --profile gold uplink
    sed -i '/gold/d' "$CONFIG/profiles.conf"
    reload
    equal "$(chosen)" "silver "
    # A configuration that cannot be read says nothing.
    profiles
    reload
    cli reconf --yes --profile gold uplink
    echo bogus >"$CONFIG/broken.conf"
    reload
    restart_daemon
    rm "$CONFIG/broken.conf"
    reload
    equal "$(chosen)" "silver $PF=gold"
}

@test "a choice without a function in use is recorded, and made true" {
    profiles
    pool_profile silver
    power_off_all
    hook release g1 "a@uplink=${VF[0]}" "b@uplink=${VF[2]}"
    hook release g2 "c@uplink=${VF[1]}"
    cli reconf --profile gold uplink </dev/null
    equal "$(removals)" 1
    equal "$(chosen)" "silver $PF=gold"
    hook prepare g3 "d@uplink=${VF[3]}"
    equal "$(noted pre)" "gold#3"
}

asking() { # OPERATION, of a guest that wants 9 vectors
    domain_xml g4 "e@uplink=${VF[3]}" | sed "s/<virtfn:device /&msix='9' /" | "$BUILD/50-virtfn" g4 "$1" begin -
}

msix() { # INDEX
    cat "$ROOT/sys/bus/pci/devices/${VF[$1]}/sriov_vf_msix_count"
}

@test "what a guest asks for itself stays over any profile" {
    profiles msix=6
    pool_profile silver
    asking prepare
    power_on g4 "ua-virtfn-e=${VF[3]}"
    asking started
    cli reconf --yes --profile gold uplink
    equal "$(msix 0) $(msix 3)" "6 9"
    cli reconf --yes uplink
    equal "$(msix 0) $(msix 3)" "- 9"
}

@test "a profile that the card cannot have: each function with its old settings, and no choice" {
    profiles queues=4
    pool_profile silver
    cli reconf --yes uplink
    noted pre >/dev/null
    run --separate-stderr cli reconf --yes --vfs 6 --profile gold uplink
    [[ $status -eq 1 ]]
    [[ $stderr == "virtfn: domain 'g1', device 'a': $PF VF 0: queues and interrupts are for NVMe, and the nvme driver does not have the PF"* ]]
    equal "$(vf_count $PF)" 4
    equal "$(noted pre)" "gold#0 silver#0 silver#1 silver#2"
    equal "$(chosen)" "silver "
    all_run
    run cli reconf --yes uplink
    [[ ${lines[-1]} == "$PF: nothing to change, nobody is paused" ]]
}

@test "a profile that makes no sense with what a guest asks for is refused before anybody is paused" {
    profiles qos=3
    reload
    run --separate-stderr cli reconf --yes --profile gold uplink
    [[ $status -eq 1 ]]
    equal "$stderr" "virtfn: domain 'g1', device 'a': qos: 3 is given without a vlan -- add a vlan or leave qos out"
    run --separate-stderr cli reconf --yes --profile copper uplink
    [[ $status -eq 1 ]]
    equal "$stderr" "virtfn: profile 'copper': there is no such profile -- describe it as a group [profile NAME] in $CONFIG, then reload virtfnd"
    equal "$(removals)" 0
    all_run
}

@test "of two pools on a PF the one that is named gets another profile" {
    profiles
    write_pool uplink pf=$PF#0-1 profile=silver
    write_pool lab pf=$PF#2-3 profile=silver
    reload
    run --separate-stderr cli reconf --yes --profile gold $PF
    [[ $status -eq 1 ]]
    equal "$stderr" "virtfn: $PF: 2 pools have functions on it -- name the pool that is to have profile 'gold'"
    cli reconf --yes --profile gold uplink
    # Those of the other pool get again what they had.
    equal "$(noted pre)" "gold#0 gold#1"
    cli reconf --yes $PF
    equal "$(noted pre)" "silver#0 silver#1 silver#2"
    all_run
}

@test "a guest that is being saved is named, and nobody is asked to pause" {
    QEMU_MIGRATION=active boot g3 d="${VF[3]}"
    for option in --dry-run --yes; do
        run --separate-stderr cli reconf $option --vfs 7 uplink
        [[ $status -eq 1 ]]
        equal "$stderr" "virtfn: domain 'g3': it is being migrated, saved or restored (active) -- try again when that is over, or end it with \`virsh domjobabort\`"
    done
    equal "$(removals)" 0
    all_run
}

@test "a guest that its user has suspended gets its function back as the others" {
    QEMU_STATUS=paused boot g3 d="${VF[3]}"
    cli reconf --yes --vfs 7 uplink
    equal "$(devices g3)" "ua-virtfn-d running"
    all_run
}

@test "a guest that is starting is waited for" {
    local order
    hook prepare g3 "d@uplink=${VF[3]}"
    cli reconf --yes --vfs 7 uplink >"$BATS_TEST_TMPDIR/out" 2>&1 &
    order=$!
    sleep 0.5
    power_on g3 "ua-virtfn-d=${VF[3]}"
    hook started g3 "d@uplink=${VF[3]}"
    wait $order
    grep -q 'g3/d: resumed' "$BATS_TEST_TMPDIR/out"
    equal "$(devices g3)" "ua-virtfn-d running"
    all_run
}

@test "of two PFs the first is done, the second refused: each stands where it is said" {
    local other=0000:02:00.0
    stop_daemon
    power_off_all
    rm -r "$ROOT" "$CONFIG"
    make_host igb@$PF,net=eno1 igb@$other,net=eno2
    profiles
    write_pool uplink "pf=$PF;$other" count=2 profile=silver
    start_daemon
    boot g9 a=0000:01:10.0 b=0000:02:10.0
    hook prepare g3 pci=0000:02:10.2
    hook started g3 pci=0000:02:10.2
    noted pre >/dev/null
    hold_group 0000:02:10.2
    run --separate-stderr cli reconf --yes --profile gold uplink
    [[ $status -eq 1 ]]
    [[ $output == *"$PF: no function was away for longer than"* ]]
    [[ $stderr == "virtfn: domain 'g3', device 'pci-0000:02:10.2': it was started without virtfn's monitor"* ]]
    equal "$(noted pre)" "gold#0"
    equal "$(chosen)" "silver $PF=gold"
    equal "$(devices g9)" "ua-virtfn-a running
ua-virtfn-b running"
    drop_group
    hook release g3 pci=0000:02:10.2
    cli reconf --yes --profile gold uplink
    equal "$(noted pre)" "gold#0"
    equal "$(chosen)" "silver $PF=gold $other=gold"
}
