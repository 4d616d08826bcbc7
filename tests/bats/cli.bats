# SPDX-License-Identifier: GPL-2.0-or-later
#
# The command without a daemon: bad calls, sockets that are missing, unserved or served by something
# else, hostile answers. What good answers look like is in cli-output.bats.

bats_require_minimum_version 1.5.0

setup() {
    load ../lib/cli.bash
}

teardown() {
    stop_peer
}

@test "help lists every command" {
    run -0 virtfn help
    for command in init status list show render doctor events help; do
        grep -q "^  $command " <<<"$output"
    done
    run -0 virtfn --help
    [[ $output == *"Commands:"* ]]
}

@test "help of each command shows its usage and its options" {
    for command in init status list show render doctor events; do
        run -0 virtfn help "$command"
        [[ ${lines[0]} == "Usage: virtfn $command [OPTION…]"* ]]
        [[ $output == *"--socket"* ]]
        first=$output
        run -0 virtfn "$command" --help
        [[ $output == "$first" ]]
    done
}

@test "hidden options stay hidden" {
    run -0 virtfn help doctor
    [[ $output != *"--root"* ]]
}

@test "--version" {
    run -0 virtfn --version
    [[ $output =~ ^virtfn\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "bad calls: one line with a remedy and exit 2" {
    while IFS='|' read -r arguments message; do
        read -ra words <<<"$arguments"
        run virtfn "${words[@]}"
        expect 2 "virtfn: $message"
    done <<'CASES'
|no command given -- see: virtfn help
frob|frob: no such command -- see: virtfn help
help frob|frob: no such command -- see: virtfn help
help list x|help: too many arguments -- see: virtfn help
--frob|unknown option --frob -- see: virtfn help
-x|unknown option -x -- see: virtfn help
list --frob|list: unknown option --frob -- see: virtfn help list
list --in-place|list: unknown option --in-place -- see: virtfn help list
list frob|list: frob: not one of pools, functions, leases, domains, images, attachments -- see: virtfn help list
list pools leases|list: too many arguments -- see: virtfn help list
status x|status: too many arguments -- see: virtfn help status
show|show: too few arguments -- see: virtfn help show
show a b|show: too many arguments -- see: virtfn help show
render a b|render: too many arguments -- see: virtfn help render
render --in-place|render: --in-place needs a FILE -- see: virtfn help render
render -i -|render: --in-place needs a FILE -- see: virtfn help render
init --bitstream|init: missing argument for --bitstream -- see: virtfn help init
image|image: too few arguments -- see: virtfn help image
image frob|image: frob: not one of add, list, remove -- see: virtfn help image
image add a b|image: add needs NAME ACCELERATOR KIND FILE -- see: virtfn help image
image add a b x /dev/null|image: x: not a number of a kind -- see: virtfn help image
image add a b -1 /dev/null|image: unknown option -1 -- see: virtfn help image
image list x|image: list has no arguments -- see: virtfn help image
image remove|image: remove needs one NAME -- see: virtfn help image
image remove a b|image: remove needs one NAME -- see: virtfn help image
image list --sha256 x|image: --sha256 belongs to image add -- see: virtfn help image
image add a b 0 c d|image: too many arguments -- see: virtfn help image
attach a|attach: too few arguments -- see: virtfn help attach
attach a b c|attach: too many arguments -- see: virtfn help attach
attach --priority x a b|attach: --priority: x is not valid -- see: virtfn help attach
attach --sharing 0 a b|attach: --sharing: 0 is not valid -- see: virtfn help attach
detach|detach: too few arguments -- see: virtfn help detach
detach a b c|detach: too many arguments -- see: virtfn help detach
remap a|remap: too few arguments -- see: virtfn help remap
remap --priority 3 a b|remap: unknown option --priority -- see: virtfn help remap
settle x|settle: too many arguments -- see: virtfn help settle
doctor a b|doctor: too many arguments -- see: virtfn help doctor
CASES
}

@test "an empty name is a bad call" {
    run virtfn show ''
    expect 2 "virtfn: show: the name is empty -- see: virtfn help show"
}

@test "a word behind -- is an argument" {
    run virtfn list -- --json
    expect 2 "virtfn: list: --json: not one of pools, functions, leases, domains, images, attachments -- see: virtfn help list"
}

@test "options of virtfn may follow the command" {
    run "$BUILD/virtfn" status --socket "$BATS_TEST_TMPDIR/other"
    expect 1 "virtfn: $BATS_TEST_TMPDIR/other: no such socket -- start the daemon: systemctl start virtfnd; or name its socket with --socket"
}

@test "a missing socket" {
    for call in status list 'show x' init render; do
        read -ra words <<<"$call"
        run virtfn "${words[@]}" </dev/null
        expect 1 "virtfn: $SOCKET: no such socket -- start the daemon: systemctl start virtfnd; or name its socket with --socket"
    done
}

@test "a socket that nobody serves" {
    start_peer
    kill -9 "$PEER_PID"
    wait "$PEER_PID" || true
    PEER_PID=
    run virtfn status
    expect 1 "virtfn: $SOCKET: nobody serves this socket (Connection refused) -- start the daemon: systemctl start virtfnd"
}

@test "a file that is no socket" {
    touch "$SOCKET"
    run virtfn status
    [[ $status -eq 1 && $output == "virtfn: $SOCKET: nobody serves this socket"* ]]
}

@test "a socket without permission" {
    [[ $EUID -eq 0 ]] || skip "needs to drop privileges"
    start_peer
    chmod 0600 "$SOCKET"
    chmod 0711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR"
    cp "$BUILD/virtfn" "$BATS_TEST_TMPDIR/virtfn"
    chmod 0755 "$BATS_TEST_TMPDIR/virtfn"
    run setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$BATS_TEST_TMPDIR/virtfn" --socket "$SOCKET" status
    expect 1 "virtfn: $SOCKET: permission denied -- run as root, or become a member of the group that virtfn.conf names"
}

@test "a path that is too long for a socket" {
    run "$BUILD/virtfn" --socket "$(printf '%0200d' 0)" status
    [[ $status -eq 1 && $output == *"give --socket a shorter path" ]]
}

@test "a peer that talks garbage" {
    mkdir -p "$PEER"
    head -c 4096 /dev/urandom >"$PEER/default"
    start_peer
    run virtfn status
    [[ $status -eq 1 && $output == "virtfn: $SOCKET: "*" -- check that virtfnd, and nothing else, serves this socket" ]]
}

@test "a peer that sends half an answer" {
    answer 'GET /v1/status' '200 OK' application/json '{"version":"1","pools":[]}'
    truncate -s -5 "$(answer_file 'GET /v1/status')"
    start_peer
    run virtfn status
    expect 1 "virtfn: $SOCKET: the answer broke off -- see why virtfnd stopped: journalctl -u virtfnd"
}

@test "a peer that hangs up" {
    start_peer
    run virtfn list
    expect 1 "virtfn: $SOCKET: the answer broke off -- see why virtfnd stopped: journalctl -u virtfnd"
}

@test "half an answer prints nothing on standard output" {
    answer 'POST /v1/render' '200 OK' application/xml '<domain/>'
    truncate -s -2 "$(answer_file 'POST /v1/render')"
    start_peer
    run --separate-stderr virtfn render <<<'<domain/>'
    [[ $status -eq 1 && -z $output ]]
}

@test "an answer of the wrong shape is shown as empty, not trusted" {
    for body in '{}' '{"functions":7}' '{"functions":[7,null,[]]}' \
        '{"functions":[{"pf":[],"index":"x","lease":{"domain":7}}]}'; do
        answer 'GET /v1/functions' '200 OK' application/json "$body"
        [[ -n ${PEER_PID-} ]] || start_peer
        run virtfn list
        [[ $status -eq 0 ]]
    done
    run virtfn list
    expect 0 $'-\t-\t-\t-\t-\t-/-'
}

@test "control characters of an answer do not reach the terminal" {
    answer_problem 'GET /v1/status' '500 Oops' internal $'x\e[2J: bad\nline'
    answer 'GET /v1/functions' '200 OK' application/json \
        '{"functions":[{"pf":"0000:01:00.0\t","index":0,"pool":"a\u001b[31m\nb"}]}'
    start_peer
    run virtfn status
    expect 1 'virtfn: x?[2J: bad?line'
    run virtfn list
    expect 0 $'0000:01:00.0?#0\ta?[31m?b\t-\t-\t-\t-'
}

@test "a name is escaped in the path" {
    start_peer
    run virtfn show '../leases?x=1'
    [[ $(head -n 1 "$PEER/log") == 'GET /v1/pools/..%2Fleases%3Fx%3D1 HTTP/1.1' ]]
}

@test "render: a document that is too large is refused before it is sent" {
    start_peer
    run virtfn render < <(head -c $((4 * 1024 * 1024 + 1)) /dev/zero)
    expect 1 "virtfn: standard input: more than 4194304 bytes, not a domain"
    [[ ! -s $PEER/log ]]
}

@test "render: files that cannot be read" {
    run virtfn render "$BATS_TEST_TMPDIR/none.xml"
    expect 1 "virtfn: $BATS_TEST_TMPDIR/none.xml: No such file or directory"
    run virtfn render "$BATS_TEST_TMPDIR"
    expect 1 "virtfn: $BATS_TEST_TMPDIR: Is a directory"
}

@test "render: hostile input is the daemon's to refuse, and comes back as one line" {
    answer_problem 'POST /v1/render' '400 Bad Request' input 'line 1: not XML' 'send a domain'
    start_peer
    run --separate-stderr virtfn render < <(printf '\0\377<!DOCTYPE x>')
    [[ $status -eq 1 && -z $output ]]
    [[ $stderr == "virtfn: line 1: not XML -- send a domain" ]]
}

@test "render --in-place: a failure leaves the file and nothing else" {
    answer_problem 'POST /v1/render' '409 Conflict' exhausted 'pool a: empty'
    start_peer
    mkdir "$BATS_TEST_TMPDIR/d"
    echo '<domain/>' >"$BATS_TEST_TMPDIR/d/vm.xml"
    run virtfn render --in-place "$BATS_TEST_TMPDIR/d/vm.xml"
    [[ $status -eq 1 ]]
    [[ $(<"$BATS_TEST_TMPDIR/d/vm.xml") == '<domain/>' ]]
    [[ $(ls "$BATS_TEST_TMPDIR/d") == vm.xml ]]
}

@test "init: a bitstream that is not there, a pool that is no text" {
    run virtfn init --bitstream "$BATS_TEST_TMPDIR/none.bit"
    expect 1 "virtfn: $BATS_TEST_TMPDIR/none.bit: No such file or directory"
    run virtfn init $'a\xff'
    expect 1 "virtfn: a?: no such pool"
}

@test "a name that is no text" {
    run virtfn attach $'a\xff' sha256
    expect 1 "virtfn: domain 'a?': it is not UTF-8"
    run virtfn pause web $'\xff'
    expect 1 "virtfn: device '?': it is not UTF-8"
    run virtfn reconf --yes $'\xff'
    expect 1 "virtfn: target '?': it is not UTF-8"
    touch "$BATS_TEST_TMPDIR/file"
    run virtfn image add a $'\xff' 1 "$BATS_TEST_TMPDIR/file"
    expect 1 "virtfn: accelerator '?': it is not UTF-8"
}

@test "a full disk is not success" {
    answer 'GET /v1/functions' '200 OK' application/json '{"functions":[]}'
    start_peer
    run bash -c '"$0" --socket "$1" list --json >/dev/full' "$BUILD/virtfn" "$SOCKET"
    expect 1 "virtfn: standard output: No space left on device"
}

@test "proxies of the environment are not asked" {
    answer 'GET /v1/functions' '200 OK' application/json '{"functions":[]}'
    start_peer
    http_proxy=http://127.0.0.1:1 ALL_PROXY=http://127.0.0.1:1 run -0 virtfn list
}
