#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the vFPGAmanager offers, a test for each: its commands (attach, detach, remap, the table) by
# virtfn, and its REST API (Cyborg's first) on the daemon's socket. The card is a program, the
# guests are models of QEMU.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

setup() {
    make_host fpga@$PF:12
    make_card 0 1
    write_accelerators
    add_image sha 1 0
    add_image aes 2 0
    add_image aes 2 1
    add_image crc 3 0
    start_daemon
    SHA=$(ask /accelerators '.accelerators[] | select(.name == "sha").uuid')
    AES=$(ask /accelerators '.accelerators[] | select(.name == "aes").uuid')
    echo '0 1' >"$BATS_TEST_TMPDIR/sha"
    echo '1 1' >"$BATS_TEST_TMPDIR/sha1"
}

teardown() {
    power_off_all
    stop_daemon
}

# rest METHOD PATH [BODY]: "STATUS", then the body.
rest() {
    api "$1" "$2" "${3-}" -w '%{stderr}%{http_code}\n' 2>"$BATS_TEST_TMPDIR/status" \
        >"$BATS_TEST_TMPDIR/body"
    cat "$BATS_TEST_TMPDIR/status" "$BATS_TEST_TMPDIR/body"
}

# refused STATUS DETAIL METHOD PATH [BODY]: and no image came or went.
refused() {
    local answer before
    before=$(api GET /v1/images)
    answer=$(rest "${@:3}")
    equal "$(head -n 1 <<<"$answer") $(tail -n +2 <<<"$answer" | jq -r .detail)" "$1 $2"
    equal "$(api GET /v1/images)" "$before"
}

image_body() { # JQ-MEMBERS
    jq -nc --arg path "$BATS_TEST_TMPDIR/sha1" "{kind: 1, path: \$path} + {$1}"
}

@test "attach: a domain gets a function, a region and the accelerator" {
    start_guest g1 3
    run cli attach g1 sha
    expect 0 "g1/acc: sha: assign+load, region 0 of $PF"
    settles g1 'holding sha 0'
    equal "$(region 0)" '1 3'
    run cli attach --device acc g1 sha
    [[ $status -eq 1 && $output == *'acc'* ]]
}

@test "attach: with a priority, and with a share" {
    start_guest g1 3
    start_guest g2 4
    cli attach g1 sha
    settles g1 'holding sha 0'
    run cli attach --priority 3 g2 sha
    expect 0 "g2/acc: sha: preempt, region 0 of $PF"
    settles g2 'holding sha 0'
    settles g1 'waiting sha null'
    cli detach g2
    settles g1 'holding sha 0'
    cli detach g1
    cli attach --sharing 300 g2 crc
    settles g2 'holding crc 0'
    equal "$(attachment g2 '"\(.sharing) \(.weight)"')" 'true 300'
}

@test "detach: the region is given back, the domain keeps its device" {
    start_guest g1 3
    cli attach g1 sha
    settles g1 'holding sha 0'
    run cli detach g1 acc
    expect 0 'g1/acc: detached'
    settles g1 ''
    becomes '1 null' region 0
    equal "$(leases)" 'g1/acc fpga#3 running'
    run cli detach g1
    expect 1 "virtfn: domain 'g1': none of its devices has asked for an accelerator -- see \`virtfn list attachments\`"
}

@test "remap: the same device gets another accelerator" {
    start_guest g1 3
    cli attach g1 sha
    settles g1 'holding sha 0'
    run -0 cli remap g1 aes
    [[ $output == 'g1/acc: aes: assign'* ]]
    settles g1 'holding aes' '"\(.state) \(.accelerator)"'
    run cli remap g1 aes
    [[ $status -eq 1 ]]
    run cli remap g1 md5
    [[ $status -eq 1 && $output == *"accelerator 'md5': there is no such accelerator"* ]]
}

@test "the table: VM, VF, region, accelerator and image, and who waits" {
    start_guest g1 3
    start_guest g2 4
    cli attach g1 sha
    settles g1 'holding sha 0'
    cli attach g2 sha
    settles g2 'waiting sha null'
    equal "$(cli list attachments | cut -f 1,3-8,10,11)" \
        "g1	acc	$PF#3	0	sha	sha-0	holding	0	-
g2	acc	$PF#4	-	sha	-	waiting	0	0"
    run -0 cli status
    [[ $output == *"card $PF: program:"* ]]
    [[ $output == *'  region 0, kind 0: sha (image sha-0)
    #3        g1/acc, holding, priority 0'* ]]
    [[ $output == *'  region 1, kind 1: no accelerator that is known'* ]]
    [[ $output == *'    #4        g2/acc for sha, waiting, 0 ahead, priority 0'* ]]
}

@test "GET /accelerators: all of the configuration" {
    equal "$(ask /accelerators '[.accelerators[].name] | join(" ")')" 'sha aes crc'
    equal "$(ask /accelerators '.accelerators[] | select(.name == "aes") | [.images[].name] | join(" ")')" \
        'aes-0 aes-1'
}

@test "GET /accelerators/{uuid}: images, regions and devices of one" {
    start_guest g1 3
    start_guest g2 4
    cli attach g1 sha
    settles g1 'holding sha 0'
    cli attach g2 sha
    settles g2 'waiting sha null'
    equal "$(ask "/accelerators/${SHA^^}" '"\(.name) \(.id) \(.shareable) \(.waiting)"')" 'sha 1 false 1'
    equal "$(ask "/accelerators/$SHA" '.images[] | "\(.name) \(.kind) \(.size)"')" 'sha-0 0 4'
    equal "$(ask "/accelerators/$SHA" '.regions[] | "\(.pf) \(.region) \(.kind) \(.free)"')" "$PF 0 0 false"
    equal "$(ask "/accelerators/$SHA" '.devices[] | "\(.domain.name) \(.device) \(.index) \(.state)"' | sort)" \
        'g1 acc 3 holding
g2 acc 4 waiting'
    refused 404 "accelerator 'x': there is none of this UUID" GET /accelerators/x
}

@test "POST /accelerators: an image for another kind of region" {
    answer=$(rest POST /accelerators "$(image_body 'name: "sha"')")
    equal "$(head -n 1 <<<"$answer")" 201
    equal "$(tail -n +2 <<<"$answer" | jq -r '[.images[].name] | join(" ")')" 'sha-0 sha-1'
    cmp "$ROOT/state/images/sha-1.image" "$BATS_TEST_TMPDIR/sha1"
}

@test "POST /accelerators: refusals" {
    refused 404 "accelerator 'md5': there is no such accelerator" \
        POST /accelerators "$(image_body 'name: "md5"')"
    refused 409 "image 'sha-0': there is one already" \
        POST /accelerators "$(image_body 'name: "sha", kind: 0')"
    refused 409 'kind 7: no card has a region of this kind' \
        POST /accelerators "$(image_body 'name: "sha", kind: 7')"
    refused 409 'kind 2147483647: no card has a region of this kind' \
        POST /accelerators "$(image_body 'name: "sha", kind: -1')"
    refused 400 'accelerator: 1 object item(s) left unpacked: vendor' \
        POST /accelerators "$(image_body 'name: "sha", vendor: 1')"
    refused 400 'accelerator: Object item not found: name' POST /accelerators "$(image_body '')"
    refused 400 "image: path 'sha1' is not absolute" \
        POST /accelerators "$(image_body 'name: "sha", path: "sha1"')"
}

@test "PUT /accelerators/{uuid}: another image for a kind takes the place of the old one" {
    answer=$(rest PUT "/accelerators/$AES" "$(image_body '')")
    equal "$(head -n 1 <<<"$answer")" 200
    equal "$(tail -n +2 <<<"$answer" | jq -r '[.images[].name] | join(" ")')" 'aes-0 aes-1'
    cmp "$ROOT"/state/images/aes-1-*.image "$BATS_TEST_TMPDIR/sha1"
    [[ ! -e $ROOT/state/images/aes-1.image ]]
    answer=$(rest PUT "/accelerators/$AES" "$(image_body 'image: "new"')")
    equal "$(tail -n +2 <<<"$answer" | jq -r '[.images[].name] | join(" ")')" 'aes-0 new'
    # One that it did not have.
    rest PUT "/accelerators/$SHA" "$(image_body '')" >/dev/null
    equal "$(ask "/accelerators/$SHA" '[.images[].name] | join(" ")')" 'sha-0 sha-1'
}

@test "PUT /accelerators/{uuid}: refusals" {
    start_guest g1 3
    cli attach g1 sha
    settles g1 'holding sha 0'
    refused 409 "image 'sha-0': device 'acc' of domain 'g1' has it" \
        PUT "/accelerators/$SHA" "$(image_body 'kind: 0')"
    refused 409 "image 'crc-0': there is one already, for something else" \
        PUT "/accelerators/$AES" "$(image_body 'image: "crc-0"')"
    refused 400 'accelerator: 1 object item(s) left unpacked: name' \
        PUT "/accelerators/$AES" "$(image_body 'name: "aes"')"
    refused 400 "$BATS_TEST_TMPDIR/none: No such file or directory" \
        PUT "/accelerators/$AES" "$(image_body "path: \"$BATS_TEST_TMPDIR/none\"")"
    refused 404 "accelerator 'x': there is none of this UUID" PUT /accelerators/x '{}'
}

# has_image SHA256...: AES has one image for kind 1, it is one of these, and its bytes are.
has_image() {
    local found bytes
    found=$(ask "/accelerators/$AES" '[.images[] | select(.kind == 1).sha256] | join(" ")')
    [[ " $* " == *" $found "* && -n $found ]] || equal "$found" "$*"
    bytes=$(sha256sum "$ROOT"/state/images/*.image | grep -c "^$found")
    [[ $bytes -ge 1 ]] || equal "no bytes of $found" ''
}

@test "PUT /accelerators/{uuid} that fails: the old image stays, and can be loaded" {
    local old new
    old=$(sha256sum <"$ROOT/state/images/aes-1.image" | cut -d' ' -f1)
    new=$(sha256sum <"$BATS_TEST_TMPDIR/sha1" | cut -d' ' -f1)
    equal "$(rest PUT "/accelerators/$AES" "$(image_body "sha256: \"$old\"")" | head -n 1)" 400
    has_image "$old"
    # Each call that can fail, and each point at which virtfnd can be killed.
    local store=state/images bytes=aes-1-$new.image point action
    for action in 28 kill; do
        for point in "before sync $store/aes-1.json.new" "before rename $store/$bytes" "before sync $store" \
            "before rename $store/aes-1.json"; do
            replaced_at "$action" "$point"
            has_image "$old"
            equal "$(cd "$ROOT/$store" && echo aes-1*)" 'aes-1.image aes-1.json'
        done
    done
    for point in "after rename $store/aes-1.json" "before unlink $store/aes-1.image" "after unlink $store/aes-1.image"; do
        replaced_at kill "$point"
        has_image "$new"
        equal "$(cd "$ROOT/$store" && echo aes-1*)" "$bytes aes-1.json"
    done
}

# replaced_at ACTION POINT: AES gets another image for kind 1, and that happens there; then virtfnd starts anew.
replaced_at() {
    stop_daemon
    rm -f "$ROOT"/state/images/aes-1*
    add_image aes 2 1
    start_daemon
    rm -f "$ROOT/.trace"
    echo "$1 1 $2" >"$ROOT/.points"
    rest PUT "/accelerators/$AES" "$(image_body '')" >"$BATS_TEST_TMPDIR/answer" 2>&1 || true
    grep -qxF "$2" "$ROOT/.trace"
    rm "$ROOT/.points"
    if [[ $1 != kill ]]; then
        equal "$(head -n 1 "$BATS_TEST_TMPDIR/answer")" 500
        has_image "$old"
        kill -9 "$DAEMON"
    fi
    wait "$DAEMON" || true
    start_daemon
}

@test "DELETE /accelerators/{uuid}: its images go, all or none" {
    start_guest g1 3
    cli attach g1 aes
    settles g1 'holding aes 0'
    refused 409 "image 'aes-0': device 'acc' of domain 'g1' has it" DELETE "/accelerators/$AES"
    run cli image remove aes-0
    expect 1 "virtfn: image 'aes-0': device 'acc' of domain 'g1' has it -- virtfn detach g1 acc, or wait"
    cli detach g1
    settles g1 ''
    becomes 204 rest DELETE "/accelerators/$AES"
    equal "$(ask "/accelerators/$AES" '.images | length')" 0
    equal "$(find "$ROOT/state/images" -name 'aes*')" ''
    refused 404 "accelerator 'aes': it has no image" DELETE "/accelerators/$AES"
    # What a region holds can still be given away, until something else is loaded there.
    run cli attach g1 aes
    expect 0 "g1/acc: aes: assign, region 0 of $PF"
    settles g1 'holding aes 0'
    cli remap g1 sha
    settles g1 'holding sha 0'
    run cli remap g1 aes
    [[ $status -eq 1 && $output == *image* ]]
}

# members PATH-FILTER SCHEMA: of a status, in order of their names, are those of the schema.
members() {
    equal "$(ask /v1/status "$1 | keys | tojson")" \
        "$(jq -c ".components.schemas.$2.properties | keys" "$TREE/plugin/openapi.json")"
}

@test "the accelerators' members are those that openapi.json describes" {
    start_guest g1 3
    cli attach g1 sha
    settles g1 'holding sha 0'
    members '.attachments[0]' Attachment
    members '.cards[0]' Card
    members '.cards[0].regions[0]' Region
    described=$(jq -c '.components.schemas.Accelerator.properties | keys' "$TREE/plugin/openapi.json")
    equal "$(ask "/accelerators/$SHA" keys_unsorted\ \|\ sort\ \|\ tojson)" "$described"
    for member in images regions devices; do
        equal "$(ask "/accelerators/$SHA" ".$member[0] | keys | tojson")" \
            "$(jq -c ".components.schemas.Accelerator.properties.$member.items.properties | keys" "$TREE/plugin/openapi.json")"
    done
}
