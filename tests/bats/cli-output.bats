# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the command makes of good answers: for scripts, for people on a terminal, as JSON; and what
# it asks for. The answers are tests/data/cli/*.json, in the shape of plugin/openapi.json.

bats_require_minimum_version 1.5.0

DATA=$BATS_TEST_DIRNAME/../data/cli
UUID=6fd0a6dc-7a55-4ba4-a4cf-6fb8b5f1a001

setup() {
    load ../lib/cli.bash
}

teardown() {
    stop_peer
}

# Serves the prepared documents at their paths.
serve() {
    answer 'GET /v1/status' '200 OK' application/json "$(<"$DATA/status.json")"
    for name in pools domains leases; do
        answer "GET /v1/$name" '200 OK' application/json \
            "$(jq -c "{$name: .$name}" "$DATA/status.json")"
    done
    answer 'GET /v1/functions' '200 OK' application/json \
        "$(jq -c '{functions: [.pools[].functions[]]}' "$DATA/status.json")"
    answer 'GET /v1/pools/uplink' '200 OK' application/json "$(jq -c '.pools[0]' "$DATA/status.json")"
    answer "GET /v1/domains/$UUID" '200 OK' application/json \
        "$(jq -c '.domains[0]' "$DATA/status.json")"
    answer 'GET /v1/domains/web' '200 OK' application/json \
        "$(jq -c '.domains[0]' "$DATA/status.json")"
    answer_problem default '404 Not Found' not-found 'x: no such thing'
    start_peer
}

# The saved output is right when it was looked at; VIRTFN_REGENERATE=1 writes it anew.
expect_file() {
    if [[ -n ${VIRTFN_REGENERATE-} ]]; then
        printf '%s\n' "$output" >"$DATA/$1"
    fi
    diff -u "$DATA/$1" - <<<"$output"
}

@test "status for people fits 80 columns" {
    serve
    run -0 virtfn status
    expect_file status.txt
    [[ $(wc -L <"$DATA/status.txt") -le 80 ]]
}

@test "status --json is the answer, byte for byte" {
    serve
    virtfn status --json >"$BATS_TEST_TMPDIR/out"
    printf %s "$(<"$DATA/status.json")" | cmp - "$BATS_TEST_TMPDIR/out"
}

@test "list: tabs and no header for scripts" {
    serve
    for name in pools functions leases domains; do
        run -0 virtfn list "$name"
        expect_file "list-$name.txt"
    done
}

@test "list: functions are the default" {
    serve
    run -0 virtfn list
    expect_file list-functions.txt
}

@test "list: a header and columns on a terminal" {
    serve
    run -0 virtfn_on_terminal list pools
    expect 0 "POOL    GROWTH  COUNT  MAX  FREE  LEASED  PFS
uplink  grow    3      7    0     1       0000:01:00.0,0000:01:00.1
crypto  static  4      4    4     0       0000:02:00.0"
}

@test "list leases --json becomes what POST /v1/leases takes, as virtfn(8) shows" {
    serve
    run -0 bash -c '"$0" --socket "$1" list leases --json |
        jq -c "[.leases[] | {domain: .domain.uuid, name: .domain.name, device, pool}]"' \
        "$BUILD/virtfn" "$SOCKET"
    expect 0 "[{\"domain\":\"$UUID\",\"name\":\"web\",\"device\":\"net0\",\"pool\":\"uplink\"}]"
}

@test "colours: on a terminal only, and not against NO_COLOR or --no-color" {
    serve
    run -0 virtfn_on_terminal status
    [[ $output == *$'\e[31m'* ]]
    run -0 virtfn_on_terminal --no-color status
    [[ $output != *$'\e'* ]]
    NO_COLOR=1 run -0 virtfn_on_terminal status
    [[ $output != *$'\e'* ]]
    run -0 virtfn status
    [[ $output != *$'\e'* ]]
}

@test "an error on a terminal has its remedy on a line of its own" {
    start_peer
    answer_problem 'GET /v1/functions' '403 Forbidden' denied 'uid 7: not allowed' 'ask root'
    run virtfn_on_terminal list
    expect 1 "virtfn: uid 7: not allowed
  remedy: ask root"
}

@test "show: pool, PF by address and interface, function by three names, domain by two" {
    serve
    while read -r name file; do
        run -0 virtfn show "$name"
        expect_file "$file"
    done <<CASES
uplink show-pool.txt
0000:01:00.0 show-pf.txt
01:00.0 show-pf.txt
eno1 show-pf.txt
0000:01:00.0#0 show-function.txt
eno1#0 show-function.txt
0000:01:10.0 show-function.txt
$UUID show-domain.txt
web show-domain.txt
CASES
}

@test "show --json" {
    serve
    run -0 bash -c '"$0" --socket "$1" show uplink --json | jq -r .name' "$BUILD/virtfn" "$SOCKET"
    expect 0 uplink
    run -0 bash -c '"$0" --socket "$1" show eno1#0 --json | jq -r .address' "$BUILD/virtfn" "$SOCKET"
    expect 0 0000:01:10.0
    run -0 bash -c '"$0" --socket "$1" show eno1 --json | jq -r ".functions[].index"' \
        "$BUILD/virtfn" "$SOCKET"
    expect 0 $'0\n1\n2'
}

@test "show: what is not there" {
    serve
    for name in nothing 0000:09:00.0 0000:01:00.0#77 00000000-0000-0000-0000-000000000000; do
        run virtfn show "$name"
        expect 1 "virtfn: $name: no such pool, PF, function or domain -- see: virtfn list pools; virtfn list; virtfn list domains"
    done
}

@test "render: file or standard input to standard output, byte for byte" {
    answer 'POST /v1/render' '200 OK' application/xml $'<domain>\n  <x/>\n</domain>'
    start_peer
    echo '<domain/>' >"$BATS_TEST_TMPDIR/vm.xml"
    for argument in "$BATS_TEST_TMPDIR/vm.xml" - ""; do
        run -0 virtfn render ${argument:+"$argument"} <"$BATS_TEST_TMPDIR/vm.xml"
        expect 0 $'<domain>\n  <x/>\n</domain>'
    done
    [[ $(grep -c '^<domain/>$' "$PEER/log") -eq 3 ]]
}

@test "render --in-place keeps owner, mode and a symbolic link" {
    answer 'POST /v1/render' '200 OK' application/xml '<domain>new</domain>'
    start_peer
    cd "$BATS_TEST_TMPDIR"
    mkdir d
    echo '<domain/>' >d/vm.xml
    chmod 0640 d/vm.xml
    [[ $EUID -ne 0 ]] || chown 65534:65534 d/vm.xml
    before=$(stat -c '%a %u %g' d/vm.xml)
    ln -s d/vm.xml link.xml
    run virtfn render --in-place link.xml
    expect 0 ''
    [[ $(<d/vm.xml) == '<domain>new</domain>' ]]
    [[ $(stat -c '%a %u %g' d/vm.xml) == "$before" ]]
    [[ -L link.xml && $(ls d) == vm.xml ]]
}

@test "render --in-place does not touch a file that is right already" {
    answer 'POST /v1/render' '200 OK' application/xml '<domain/>'
    start_peer
    printf '<domain/>' >"$BATS_TEST_TMPDIR/vm.xml"
    before=$(stat -c '%i %y' "$BATS_TEST_TMPDIR/vm.xml")
    run -0 virtfn render -i "$BATS_TEST_TMPDIR/vm.xml"
    [[ $(stat -c '%i %y' "$BATS_TEST_TMPDIR/vm.xml") == "$before" ]]
}

STEPS='{"event":"step","pool":"uplink","pf":"0000:01:00.0","text":"VF 0 is ready at 0000:01:10.0"}
{"event":"step","pool":"uplink","pf":null,"text":"all is well"}'
PROBLEM='{"event":"problem","pool":"crypto","pf":"0000:02:00.0","problem":{"type":"urn:virtfn:error:sysfs","detail":"0000:02:00.0: no driver","remedy":"load it"}}'

# answer_init LINE…
answer_init() {
    answer 'POST /v1/init' '200 OK' application/x-ndjson "$(printf '%s\n' "$@")"$'\n'
}

@test "init: plain lines for scripts" {
    answer_init "$STEPS" '{"event":"done","ok":true}'
    start_peer
    run virtfn init
    expect 0 $'uplink 0000:01:00.0: VF 0 is ready at 0000:01:10.0\nuplink: all is well'
}

@test "init: a tick for each step on a terminal" {
    answer_init "$STEPS" '{"event":"done","ok":true}'
    start_peer
    run virtfn_on_terminal --no-color init
    expect 0 $'✓ uplink 0000:01:00.0: VF 0 is ready at 0000:01:10.0\n✓ uplink: all is well'
}

@test "init: a problem goes to standard error, and the exit code tells" {
    answer_init "$STEPS" "$PROBLEM" '{"event":"done","ok":false}'
    start_peer
    run --separate-stderr virtfn init
    [[ $status -eq 1 ]]
    [[ $stderr == 'virtfn: 0000:02:00.0: no driver -- load it' ]]
    [[ ${#lines[@]} -eq 2 ]]
}

@test "init: an end without a word is a failure" {
    answer_init "$STEPS"
    start_peer
    run --separate-stderr virtfn init
    [[ $status -eq 1 && $stderr == 'virtfn: init: ended without saying whether it is done -- '* ]]
}

@test "init: what it asks for" {
    answer_init '{"event":"done","ok":true}'
    start_peer
    touch "$BATS_TEST_TMPDIR/a.bit"
    cd "$BATS_TEST_TMPDIR"
    run -0 virtfn init
    run -0 virtfn init uplink crypto --bitstream a.bit
    [[ $(grep -c '^POST /v1/init HTTP/1.1$' "$PEER/log") -eq 2 ]]
    [[ $(sed -n 2p "$PEER/log") == '{}' ]]
    jq -e --arg b "$(realpath a.bit)" '. == {pools: ["uplink", "crypto"], bitstream: $b}' \
        <<<"$(sed -n 4p "$PEER/log")"
}

@test "init --json: one event a line, unchanged" {
    answer_init "$STEPS" "$PROBLEM" '{"event":"done","ok":false}'
    start_peer
    run --separate-stderr virtfn init --json
    [[ $status -eq 1 && -z $stderr ]]
    [[ $output == "$STEPS
$PROBLEM
{\"event\":\"done\",\"ok\":false}" ]]
}
