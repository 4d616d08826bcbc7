#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The command and the real daemon: every command once on a fake host, and the daemon's answers held
# against plugin/openapi.json.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VF0=0000:01:10.0 VF1=0000:01:10.2

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=2
    start_daemon
}

teardown() {
    stop_daemon
}

# POST /v1/leases for domain $1, device $2; the lease.
reserve() {
    api POST /v1/leases "{\"domain\":\"$(uuid_of "$1")\",\"name\":\"$1\",\"device\":\"$2\",\"pool\":\"uplink\"}" \
        -H 'Content-Type: application/json'
}

@test "status and list before anything exists" {
    run -0 cli status
    [[ $output == *'pool uplink: 2 functions on each PF; 2 free, 0 leased'* ]]
    [[ $output == *'  0000:01:00.0 eno1, driver igb, 0 of 7 functions'* ]]
    [[ $output == *'    #0-1                    free         not made yet'* ]]
    run cli list
    expect 0 "$PF#0	uplink	$VF0	no	free	-
$PF#1	uplink	$VF1	no	free	-"
    run cli list pools
    expect 0 "uplink	static	2	2	2	0	$PF"
    run cli list leases
    expect 0 ''
}

@test "a lease is seen by every command" {
    reserve web net0
    run cli list leases
    expect 0 "web	$(uuid_of web)	net0	uplink	$PF#0	reserved	api	-"
    run -0 cli status
    [[ $output == *"    #0        $VF0  leased       web/net0, reserved"* ]]
    for name in $PF#0 eno1#0 $VF0; do
        run -0 cli show "$name"
        [[ $output == *'state: leased'* && $output == *"id: $(uuid_of web)/net0"* ]]
    done
    run -0 cli show uplink
    [[ $output == *'growth: static'* && $output == *"$PF#0"* ]]
    run -0 cli show eno1
    [[ $output == *"address: $PF"* ]]
}

@test "show: the settings of a pool" {
    stop_daemon
    write_pool uplink pf=$PF count=2 profile=web '[profile web]' vlan=42
    start_daemon
    run -0 cli show uplink
    [[ $output == *'  settings:'$'\n''    vlan: 42'* ]]
}

@test "listed leases are a request for the same leases" {
    reserve web net0
    reserve web net1
    before=$(cli list leases)
    requests=$(cli list leases --json |
        jq -c '[.leases[] | {domain: .domain.uuid, name: .domain.name, device, pool}]')
    api DELETE "/v1/leases/$(uuid_of web)/net0"
    api DELETE "/v1/leases/$(uuid_of web)/net1"
    equal "$(cli list leases)" ''
    api POST /v1/leases "$requests" -H 'Content-Type: application/json'
    equal "$(cli list leases)" "$before"
}

@test "show: what is not there" {
    for name in nothing 'my vm' "$(uuid_of nobody)" $PF#7; do
        run cli show "$name"
        expect 1 "virtfn: $name: no such pool, PF, function or domain -- see: virtfn list pools; virtfn list; virtfn list domains"
    done
}

@test "render gives each claim a function, and refuses with a remedy" {
    domain_xml web net0@uplink >"$BATS_TEST_TMPDIR/web.xml"
    run -0 cli render "$BATS_TEST_TMPDIR/web.xml"
    [[ $output == *"<alias name='ua-virtfn-net0'/>"* || $output == *'<alias name="ua-virtfn-net0"/>'* ]]
    cp "$BATS_TEST_TMPDIR/web.xml" "$BATS_TEST_TMPDIR/again.xml"
    run -0 cli render --in-place "$BATS_TEST_TMPDIR/again.xml"
    grep -q ua-virtfn-net0 "$BATS_TEST_TMPDIR/again.xml"
    domain_xml web net0@nix >"$BATS_TEST_TMPDIR/bad.xml"
    run --separate-stderr cli render "$BATS_TEST_TMPDIR/bad.xml"
    [[ $status -eq 1 && -z $output && ${#stderr_lines[@]} -eq 1 && $stderr == *nix* ]]
}

@test "render: hostile input is refused in one line" {
    mkdir "$BATS_TEST_TMPDIR/bad"
    printf '' >"$BATS_TEST_TMPDIR/bad/empty"
    printf '\0\0\0' >"$BATS_TEST_TMPDIR/bad/nul"
    printf '<domain>' >"$BATS_TEST_TMPDIR/bad/open"
    printf '<!DOCTYPE d [<!ENTITY a "b">]><domain>&a;</domain>' >"$BATS_TEST_TMPDIR/bad/doctype"
    head -c 100000 /dev/urandom >"$BATS_TEST_TMPDIR/bad/noise"
    for file in "$BATS_TEST_TMPDIR"/bad/*; do
        run --separate-stderr cli render "$file"
        [[ $status -eq 1 && -z $output && ${#stderr_lines[@]} -eq 1 && $stderr == 'virtfn: '* ]]
    done
    run -0 cli status
}

@test "init makes the functions and tells each step" {
    run -0 cli init
    [[ $output == *"uplink $PF: "* ]]
    equal "$(vf_count $PF)" 2
    run -0 cli list
    equal "$(cut -f 4 <<<"$output" | sort -u)" yes
    run -0 cli init --json uplink
    equal "$(tail -n 1 <<<"$output")" '{"event":"done","ok":true}'
}

@test "init: a problem is told, and the exit code tells it, too" {
    run cli init nix
    [[ $status -eq 1 && $output == "virtfn: pool 'nix': "* ]]
    printf '%s\n' "/sys/bus/pci/devices/$PF/sriov_numvfs ENOSPC" >>"$ROOT/.fail"
    run --separate-stderr cli init
    [[ $status -eq 1 && $stderr == *' -- '* ]]
}

@test "doctor finds the daemon and the functions" {
    cli init
    run cli doctor --root "$ROOT" --config "$CONFIG"
    grep -q $'^ok\tdaemon\thost\tvirtfnd ' <<<"$output"
    grep -q $'^ok\tgroups\t0000:01:00.0\teach of 2 functions' <<<"$output"
}

@test "--json is what the API answers" {
    for name in pools functions leases domains; do
        equal "$(cli list "$name" --json)" "$(api GET "/v1/$name")"
    done
}

# conforms PATH SCHEMA: the members of an answer are those that openapi.json describes.
conforms() {
    api GET "$1" | jq -e --slurpfile api "$TREE/plugin/openapi.json" --arg schema "$2" '
        def resolve: if has("$ref") then
            .["$ref"] as $r | $api[0] | getpath($r | ltrimstr("#/") | split("/")) else . end;
        def check($s; $where):
            ($s | resolve) as $t | . as $v |
            if $t.oneOf then
                ([$t.oneOf[] | . as $o | [$v | check($o; $where)]] |
                    if any(.[]; length == 0) then empty else .[0][] end)
            elif $t.const then (if $v == $t.const then empty else "\($where): not \($t.const)" end)
            elif $t.enum then
                (if any($t.enum[]; . == $v) then empty else "\($where): \($v) is not listed" end)
            else
                ($v | type | if . == "number" then "integer" else . end) as $type |
                ([$t.type] | flatten) as $types |
                if any($types[]; . == $type) | not then "\($where): is \($type), not \($types)"
                elif $type == "object" and ($t.properties or $t.additionalProperties) then
                    (if $t.properties then
                        (($v | keys) - ($t.properties | keys))[] | "\($where).\(.): not described"
                     else empty end),
                    ((($t.required // []) - ($v | keys))[] | "\($where).\(.): missing"),
                    ($v | to_entries[] | . as $e |
                        ($t.properties[$e.key]? // $t.additionalProperties // empty) as $next |
                        $e.value | check($next; "\($where).\($e.key)"))
                elif $type == "array" then
                    ($v | to_entries[] | . as $e | $e.value | check($t.items; "\($where)[\($e.key)]"))
                elif $type == "string" and $t.pattern then
                    (if test($t.pattern) then empty else "\($where): \(.) is malformed" end)
                else empty end
            end;
        [check({"$ref": "#/components/schemas/\($schema)"}; $schema)] |
        if . == [] then true else halt_error end'
}

@test "answers have the members and types that openapi.json describes" {
    reserve web net0
    cli init
    conforms /v1/status Status
    conforms /v1/pools/uplink Pool
    api GET /openapi.json | cmp - "$TREE/plugin/openapi.json"
}
