# SPDX-License-Identifier: GPL-2.0-or-later
#
# attach, detach, remap, and what status and list make of cards and their regions: what the command
# asks for, and what it prints. The answers are tests/data/cli/accelerators.json.

bats_require_minimum_version 1.5.0

DATA=$BATS_TEST_DIRNAME/../data/cli
UUID=6fd0a6dc-7a55-4ba4-a4cf-6fb8b5f1a003

setup() {
    load ../lib/cli.bash
}

teardown() {
    stop_peer
}

# row DOMAIN: its first attachment.
row() {
    jq -c --arg d "$1" '[.attachments[] | select(.domain.name == $d)][0]' "$DATA/accelerators.json"
}

serve() {
    answer 'GET /v1/attachments' '200 OK' application/json \
        "$(jq -c '{attachments}' "$DATA/accelerators.json")"
    answer 'POST /v1/attachments' '201 Created' application/json "$(row "${1-web}")"
    answer 'PUT /v1/attachments/web/crypt0' '200 OK' application/json "$(row web)"
    printf 'HTTP/1.1 204 No Content\r\n\r\n' >"$(answer_file 'DELETE /v1/attachments/web/crypt0')"
    answer_problem default '404 Not Found' not-found 'x: no such thing'
    start_peer
}

# expect_file NAME: as in cli-output.bats.
expect_file() {
    if [[ -n ${VIRTFN_REGENERATE-} ]]; then
        printf '%s\n' "$output" >"$DATA/$1"
    fi
    diff -u "$DATA/$1" - <<<"$output"
}

# asked LINE JQ-FILTER: the last request's line and what its body is.
asked() {
    grep -q "^$1 HTTP/1.1\$" "$PEER/log"
    tail -n 1 "$PEER/log" | jq -e "$2"
}

@test "attach: what it asks for and what it tells" {
    serve
    run virtfn attach web sha256
    expect 0 'web/crypt0: sha256: preempt+load, region 0 of 0000:3b:00.0'
    asked 'POST /v1/attachments' '. == {domain: "web", accelerator: "sha256"}'
    run -0 virtfn attach --priority 5 --sharing 300 --device crypt0 web sha256
    asked 'POST /v1/attachments' '. == {domain: "web", accelerator: "sha256", device: "crypt0",
        priority: 5, sharing: true, weight: 300}'
    run -0 virtfn attach --pool fpga web sha256
    asked 'POST /v1/attachments' '. == {domain: "web", accelerator: "sha256", pool: "fpga"}'
    virtfn attach --json web sha256 | jq -e '.state == "holding"'
}

@test "attach: waiting" {
    serve lab
    run virtfn attach lab sha256
    expect 0 'lab/acc: sha256: wait, 2 ahead'
}

@test "attach: a refusal" {
    answer_problem default '403 Forbidden' denied "domain 'lab': priority 9 is above 3" 'ask for less'
    start_peer
    run virtfn attach --priority 9 lab sha256
    expect 1 "virtfn: domain 'lab': priority 9 is above 3 -- ask for less"
}

@test "detach: a device by name, or the only one" {
    serve
    run virtfn detach web crypt0
    expect 0 'web/crypt0: detached'
    run virtfn detach web
    expect 0 'web/crypt0: detached'
    [[ $(grep -c '^DELETE /v1/attachments/web/crypt0 HTTP/1.1$' "$PEER/log") -eq 2 ]]
    run virtfn detach web --json
    expect 0 ''
}

@test "detach: none, or more than one" {
    serve
    run virtfn detach nobody
    expect 1 "virtfn: domain 'nobody': none of its devices has asked for an accelerator -- see \`virtfn list attachments\`"
    run virtfn detach lab
    [[ $status -eq 1 ]]
    [[ $output == "virtfn: domain 'lab': more than one device has asked for an accelerator -- name one of acc, acc"* ]]
    run virtfn detach "${UUID^^}"
    [[ $status -eq 1 && $output == *'more than one device'* ]]
    ! grep -q '^DELETE' "$PEER/log"
}

@test "names cannot leave their place in the path" {
    serve
    run virtfn detach ../../status x/y
    [[ $status -eq 1 ]]
    grep -q '^DELETE /v1/attachments/..%2F..%2Fstatus/x%2Fy HTTP/1.1$' "$PEER/log"
    run virtfn detach '' x
    expect 2 'virtfn: detach: a name is empty -- see: virtfn help detach'
    run virtfn remap --device '' web aes
    expect 2 'virtfn: remap: a name is empty -- see: virtfn help remap'
}

@test "remap: what it asks for and what it tells" {
    serve
    run virtfn remap web sha256
    expect 0 'web/crypt0: sha256: preempt+load, region 0 of 0000:3b:00.0'
    asked 'PUT /v1/attachments/web/crypt0' '. == {accelerator: "sha256"}'
    run -0 virtfn remap --device crypt0 web sha256
    [[ $(grep -c '^PUT /v1/attachments/web/crypt0 HTTP/1.1$' "$PEER/log") -eq 2 ]]
}

@test "list attachments: VM, VF, region, accelerator and image" {
    serve
    run -0 virtfn list attachments
    expect_file list-attachments.txt
}

@test "status: cards, their regions, who has them and who waits" {
    answer 'GET /v1/status' '200 OK' application/json \
        "$(jq -c --slurpfile a "$DATA/accelerators.json" '. + $a[0]' "$DATA/status.json")"
    start_peer
    run -0 virtfn status
    output=$(sed -n '/^card 0000:3b/,/^domains/p' <<<"$output")
    expect_file status-accelerators.txt
    [[ $(wc -L <"$DATA/status-accelerators.txt") -le 80 ]]
}
