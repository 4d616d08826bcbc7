#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Images through the command and the API: what can be added and removed, each refusal, and that
# neither a bad file nor a daemon that is killed leaves anything behind. The card is a program.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
ABC=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad

setup() {
    make_host igb@$PF,net=eno1
    CARD=$BATS_TEST_TMPDIR/card
    cat >"$CARD" <<'SCRIPT'
#!/bin/sh
[ "$1" != query ] || echo '{"regions":[{"kind":0,"state":"empty"},{"kind":1,"state":"empty"}]}'
SCRIPT
    chmod 755 "$CARD"
    write_pool fpga pf=$PF count=4 "card=program:$CARD"
    printf '[accelerator sha256]\nid=1\n[accelerator aes]\nid=2\n' >"$CONFIG/accelerators.conf"
    printf abc >"$BATS_TEST_TMPDIR/file"
    start_daemon
}

teardown() {
    stop_daemon
}

stored() {
    find "$ROOT/state/images" -type f -printf '%f\n' | sort | paste -sd ' '
}

# refused TEXT ARGUMENT...: `image add` fails with this message, and nothing of it stays.
refused() {
    local before
    before=$(stored)
    run cli image add "${@:2}"
    expect 1 "virtfn: $1"
    equal "$(stored)" "$before"
}

@test "an image is added, listed and removed" {
    cd "$BATS_TEST_TMPDIR"
    run cli image list
    expect 0 ''
    run cli image add sha-0 sha256 0 file
    expect 0 "image sha-0: added, SHA-256 $ABC"
    run cli image add --sha256 "${ABC^^}" aes-1 aes 1 file
    expect 0 "image aes-1: added, SHA-256 $ABC"
    run -0 cli image list
    [[ ${lines[0]} == "aes-1	aes	1	3	$ABC	2"* ]]
    [[ ${lines[1]} == "sha-0	sha256	0	3	$ABC	2"* ]]
    equal "$(cli list images)" "$output"
    equal "$(cli image list --json)" "$(api GET /v1/images)"
    run cli image remove sha-0
    expect 0 'image sha-0: removed'
    equal "$(stored)" 'aes-1.image aes-1.json'
}

@test "images outlive the daemon" {
    cli image add sha-0 sha256 0 "$BATS_TEST_TMPDIR/file"
    before=$(api GET /v1/images)
    restart_daemon
    equal "$(api GET /v1/images)" "$before"
}

@test "an accelerator that the configuration does not have" {
    refused "accelerator 'sha1': there is no such accelerator -- add a group [accelerator NAME] to a file of $CONFIG, then reload virtfnd" \
        a sha1 0 "$BATS_TEST_TMPDIR/file"
}

@test "a kind that no card has" {
    refused "kind 2: no card has a region of this kind -- the kinds are 0, 1" \
        a sha256 2 "$BATS_TEST_TMPDIR/file"
    refused "kind 99: no card has a region of this kind -- the kinds are 0, 1" \
        a sha256 99 "$BATS_TEST_TMPDIR/file"
}

@test "a digest that is another one, or none" {
    refused "$BATS_TEST_TMPDIR/file: its SHA-256 is $ABC instead of ${ABC//b/c} -- get the file again, or mend the digest" \
        --sha256 "${ABC//b/c}" a sha256 0 "$BATS_TEST_TMPDIR/file"
    refused "image 'a': '123' is not a SHA-256 digest -- give 64 hexadecimal digits" \
        --sha256 123 a sha256 0 "$BATS_TEST_TMPDIR/file"
}

@test "a file that is none, empty or too large" {
    refused "$BATS_TEST_TMPDIR/none: No such file or directory" a sha256 0 "$BATS_TEST_TMPDIR/none"
    refused "$BATS_TEST_TMPDIR: not a regular file -- name the image's file" \
        a sha256 0 "$BATS_TEST_TMPDIR"
    : >"$BATS_TEST_TMPDIR/empty"
    refused "$BATS_TEST_TMPDIR/empty: empty -- name the image's file" \
        a sha256 0 "$BATS_TEST_TMPDIR/empty"
    truncate -s 513M "$BATS_TEST_TMPDIR/large"
    refused "$BATS_TEST_TMPDIR/large: larger than 512 MiB, which no image may be" \
        a sha256 0 "$BATS_TEST_TMPDIR/large"
}

@test "a FIFO does not hold the daemon up" {
    mkfifo "$BATS_TEST_TMPDIR/fifo"
    refused "$BATS_TEST_TMPDIR/fifo: not a regular file -- name the image's file" \
        a sha256 0 "$BATS_TEST_TMPDIR/fifo"
}

@test "a name or a place that is taken" {
    cli image add a sha256 0 "$BATS_TEST_TMPDIR/file"
    refused "image 'a': there is one already -- choose another name or remove it first" \
        a aes 0 "$BATS_TEST_TMPDIR/file"
    refused "image 'b': accelerator 'sha256' has an image for kind 0 already, 'a' -- remove that first" \
        b sha256 0 "$BATS_TEST_TMPDIR/file"
    refused "'../a' is not a name -- use 1 to 32 letters, digits, '_', '.' or '-', a letter or digit first" \
        ../a aes 0 "$BATS_TEST_TMPDIR/file"
}

@test "removing what there is not" {
    run cli image remove a
    expect 1 "virtfn: image 'a': there is none -- see \`virtfn image list\`"
    run cli image remove ../../etc
    [[ $status -eq 1 ]]
    run cli image remove ''
    expect 2 'virtfn: image: the name is empty -- see: virtfn help image'
}

@test "the operator's program refuses an image" {
    printf '#!/bin/sh\necho "no signature of $2 $3" >&2\nexit 1\n' >"$BATS_TEST_TMPDIR/verify"
    chmod 755 "$BATS_TEST_TMPDIR/verify"
    printf '[accelerators]\nverify=%s\n' "$BATS_TEST_TMPDIR/verify" >"$CONFIG/verify.conf"
    reload
    run cli image add a sha256 0 "$BATS_TEST_TMPDIR/file"
    [[ $status -eq 1 ]]
    [[ $output == "virtfn: image 'a': refused by the program verify: "*": exit status 1: no signature of sha256 0" ]]
    equal "$(stored)" ''
    printf '#!/bin/sh\nexit 0\n' >"$BATS_TEST_TMPDIR/verify"
    cli image add a sha256 0 "$BATS_TEST_TMPDIR/file"
}

@test "requests that are none" {
    body=$(jq -nc --arg p "$BATS_TEST_TMPDIR/file" '{name:"a",accelerator:"aes",kind:0,path:$p}')
    while IFS='|' read -r change detail; do
        answer=$(api_status POST /v1/images "$(jq -c "$change" <<<"$body")")
        [[ $answer == '400 application/problem+json'* ]]
        jq -e --arg d "$detail" '.detail | startswith($d)' <(tail -n +2 <<<"$answer")
    done <<'CASES'
.x = 1|image: 1 object item(s) left unpacked: x
del(.path)|image: Object item not found: path
.kind = "0"|image: Expected integer, got string
.path = "file"|image: path 'file' is not absolute
.path = 3|image: Expected string, got integer
[.]|image: Expected object, got array
CASES
    equal "$(stored)" ''
}

@test "the daemon serves others while an image is read" {
    printf '#!/bin/sh\nsleep 3\n' >"$BATS_TEST_TMPDIR/verify"
    chmod 755 "$BATS_TEST_TMPDIR/verify"
    printf '[accelerators]\nverify=%s\n' "$BATS_TEST_TMPDIR/verify" >"$CONFIG/verify.conf"
    reload
    cli image add a sha256 0 "$BATS_TEST_TMPDIR/file" 3>&- &
    for _ in {1..200}; do
        [[ -z $(stored) ]] || break
        sleep 0.01
    done
    [[ $(stored) == .staged-* ]]
    equal "$(api GET /v1/images)" '{"images":[]}'
    # The client goes away; the image is whole or not there.
    kill $!
    wait $! || true
    restart_daemon
    equal "$(stored)" ''
    equal "$(api GET /v1/images)" '{"images":[]}'
}

@test "an image of an accelerator that waits in the queue of adding is refused when that is gone" {
    printf '#!/bin/sh\nsleep 1\n' >"$BATS_TEST_TMPDIR/verify"
    chmod 755 "$BATS_TEST_TMPDIR/verify"
    printf '[accelerators]\nverify=%s\n' "$BATS_TEST_TMPDIR/verify" >"$CONFIG/verify.conf"
    reload
    cli image add a aes 0 "$BATS_TEST_TMPDIR/file" 2>"$BATS_TEST_TMPDIR/error" 3>&- &
    for _ in {1..200}; do
        [[ -z $(stored) ]] || break
        sleep 0.01
    done
    printf '[accelerator sha256]\nid=1\n' >"$CONFIG/accelerators.conf"
    reload
    code=0
    wait $! || code=$?
    equal $code 1
    grep "^virtfn: accelerator 'aes': there is no such accelerator" "$BATS_TEST_TMPDIR/error"
    equal "$(stored)" ''
}
