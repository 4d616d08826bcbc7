#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The HTTP API of the running daemon: each route's answer and each refusal.

bats_require_minimum_version 1.5.0
load ../lib/daemon

PF=0000:01:00.0
VF0=0000:01:10.0
U1=11111111-2222-4333-8444-555555555555
U2=22222222-2222-4333-8444-555555555555

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=4 profile=plain
    printf '[profile plain]\nprogram=/usr/bin/true\n' >"$CONFIG/plain.conf"
    start_daemon
}

teardown() {
    stop_daemon
}

lease_request() { # UUID DEVICE [POOL]
    echo "{\"domain\":\"$1\",\"device\":\"$2\",\"pool\":\"${3-uplink}\"}"
}

# refused METHOD PATH BODY STATUS WORD DETAIL [REMEDY]: the answer is this problem document.
refused() {
    local answer
    answer=$(api_status "$1" "$2" "$3")
    equal "$(head -n 1 <<<"$answer")" "$4 application/problem+json"
    equal "$(tail -n +2 <<<"$answer" | jq -r '"\(.type) \(.title) \(.status) \(.detail) \(.remedy)"')" \
        "urn:virtfn:error:$5 $5 $4 $6 ${7-null}"
}

@test "status has every member that the description requires" {
    hook prepare g1 net0@uplink
    answer=$(api GET /v1/status)
    equal "$(jq -c 'keys' <<<"$answer")" \
        '["attachments","boot_id","cards","domains","leases","libvirt","pools","problems","quarantined","settling","since","version"]'
    equal "$(jq -c .libvirt <<<"$answer")" \
        '{"uri":"qemu:///system","connected":false,"error":"not asked to connect"}'
    equal "$(jq -r .boot_id <<<"$answer")" 7a1d7f0e-0000-4000-8000-000000000001
    jq -e '.since | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$")' <<<"$answer"
}

@test "a pool, its PF and a free function" {
    api GET /v1/pools/uplink >"$BATS_TEST_TMPDIR/pool"
    equal "$(jq -c 'del(.functions)' "$BATS_TEST_TMPDIR/pool")" \
        "{\"name\":\"uplink\",\"file\":\"$CONFIG/uplink.conf\",\"growth\":\"static\",\"count\":4,\"max\":4,\"signal\":\"auto\",\"profile\":\"plain\",\"settings\":{\"program\":\"/usr/bin/true\"},\"chosen\":{},\"pfs\":[{\"address\":\"$PF\",\"netdev\":\"eno1\",\"vendor\":\"8086\",\"device\":\"10c9\",\"vendor_name\":null,\"product_name\":null,\"numa_node\":null,\"driver\":\"igb\",\"total\":7,\"vfs\":0,\"problem\":null}],\"free\":4,\"leased\":0,\"outdated\":0,\"problem\":null}"
    equal "$(jq -c '.functions[0]' "$BATS_TEST_TMPDIR/pool")" \
        "{\"pool\":\"uplink\",\"pf\":\"$PF\",\"netdev\":\"eno1\",\"index\":0,\"address\":\"$VF0\",\"exists\":false,\"state\":\"free\",\"pointed\":0,\"lease\":null,\"problem\":null}"
    equal "$(ask /v1/pools '.pools | length')" 1
}

@test "a lease shows in status, leases and its function" {
    hook prepare g1 net0@uplink=$VF0
    lease=$(api GET /v1/leases | jq -c '.leases[0]')
    equal "$(jq -c 'del(.since)' <<<"$lease")" \
        "{\"id\":\"$(uuid_of g1)/net0\",\"domain\":{\"uuid\":\"$(uuid_of g1)\",\"name\":\"g1\"},\"device\":\"net0\",\"pool\":\"uplink\",\"pf\":\"$PF\",\"index\":0,\"address\":\"$VF0\",\"origin\":\"hook\",\"state\":\"ready\",\"generation\":2,\"paused\":null}"
    equal "$(api GET /v1/status | jq -c '.leases[0]')" "$lease"
    equal "$(api GET '/v1/functions?pool=uplink' | jq -c '.functions[0].lease')" "$lease"
    equal "$(ask /v1/pools/uplink '"\(.free) \(.leased)"')" "3 1"
    equal "$(ask /v1/functions '.functions[0] | "\(.exists) \(.state)"')" "true leased"
}

@test "what does not exist is told by name" {
    refused GET /v1/pools/lab '' 404 not-found "pool 'lab': there is no such pool" \
        "'virtfn list pools' names them"
    refused GET '/v1/functions?pool=lab' '' 404 not-found "pool 'lab': there is no such pool" \
        "'virtfn list pools' names them"
    refused GET /v1/domains/g1 '' 404 not-found "domain 'g1': virtfn knows no such domain" \
        "see 'virsh list --all'"
    refused DELETE /v1/leases/$U1/net0 '' 404 not-found "lease '$U1/net0': there is none" \
        "'virtfn list leases' names them"
    refused DELETE /v1/leases/x/y '' 404 not-found "lease 'x/y': there is none" \
        "'virtfn list leases' names them"
    refused GET /v2/status '' 404 not-found "/v2/status: no such resource" \
        "GET /openapi.json lists them"
    refused GET / '' 404 not-found "/: no such resource" "GET /openapi.json lists them"
}

@test "a method that a path does not know is refused" {
    refused DELETE /v1/status '' 400 input "/v1/status: method DELETE is not known here"
    refused PUT /v1/leases '{}' 400 input "/v1/leases: method PUT is not known here"
}

@test "unknown and repeated query members are refused" {
    refused GET '/v1/status?verbose=1' '' 400 input "/v1/status: query member 'verbose' is not known"
    refused GET '/v1/functions?pool=uplink&pf=x' '' 400 input \
        "/v1/functions: query member 'pf' is not known"
    refused GET '/v1/functions?pool' '' 400 input "/v1/functions: query member 'pool' is not known"
}

@test "a client that wants text gets one line with cause and remedy" {
    equal "$(api_status GET /v1/pools/lab '' -H 'Accept: text/plain')" \
        "404 text/plain; charset=utf-8
pool 'lab': there is no such pool -- 'virtfn list pools' names them"
}

@test "a lease is granted once, found again, and deleted" {
    answer=$(api_status POST /v1/leases "$(lease_request $U1 net0)")
    equal "$(head -n 1 <<<"$answer")" "201 application/json"
    equal "$(tail -n 1 <<<"$answer" | jq -r '"\(.id) \(.origin) \(.state) \(.index)"')" \
        "$U1/net0 api reserved 0"
    lease=$(tail -n 1 <<<"$answer")
    equal "$(api_status POST /v1/leases "$(lease_request $U1 net0)")" "200 application/json
$lease"
    equal "$(api_status DELETE /v1/leases/$U1/net0 | tr -d '\n')" "204 "
    equal "$(leases)" ""
    refused DELETE /v1/leases/$U1/net0 '' 404 not-found "lease '$U1/net0': there is none" \
        "'virtfn list leases' names them"
}

@test "a UUID in capitals is the same domain" {
    upper=ABCDEFAB-2222-4333-8444-555555555555
    api POST /v1/leases "$(lease_request $upper net0)" >/dev/null
    equal "$(ask /v1/leases '.leases[].domain.uuid')" "${upper,,}"
    equal "$(api_status DELETE /v1/leases/$upper/net0 | tr -d '\n')" "204 "
}

@test "a reserved lease is used by its domain's start and outlives its end" {
    api POST /v1/leases "$(lease_request "$(uuid_of g1)" net0)" >/dev/null
    hook prepare g1 net0@uplink=$VF0
    equal "$(leases)" "g1/net0 uplink#0 ready"
    refused DELETE "/v1/leases/$(uuid_of g1)/net0" '' 409 busy \
        "lease '$(uuid_of g1)/net0': domain 'g1' uses it (ready)" "shut the domain down first"
    hook started g1 net0@uplink=$VF0
    hook release g1 net0@uplink=$VF0
    equal "$(leases)" "g1/net0 uplink#0 reserved"
    equal "$(api_status DELETE "/v1/leases/$(uuid_of g1)/net0" | tr -d '\n')" "204 "
}

@test "a start that fails keeps its reserved lease" {
    api POST /v1/leases "$(lease_request "$(uuid_of g1)" net0)" >/dev/null
    echo "*/drivers_probe EIO" >"$ROOT/.fail"
    run hook prepare g1 net0@uplink=$VF0
    [[ $status -eq 1 ]]
    hook release g1 net0@uplink=$VF0
    equal "$(leases)" "g1/net0 uplink#0 reserved"
}

@test "a start elsewhere than at the reserved function is refused" {
    api POST /v1/leases "$(lease_request "$(uuid_of g1)" net0)" >/dev/null
    run hook prepare g1 net0@uplink=0000:01:10.2
    expect 1 "virtfn: domain 'g1', device 'net0': another function is reserved for it -- its XML is being pointed there: start it again"
    equal "$(leases)" "/net0 uplink#0 reserved"
}

@test "a lease request that makes no sense is refused" {
    refused POST /v1/leases '{' 400 input \
        "request body: line 1, column 1: string or '}' expected near end of file"
    refused POST /v1/leases '{"domain":"x"}' 400 input "lease: Object item not found: device" \
        "give domain (UUID), device and pool, and name if you like"
    refused POST /v1/leases "$(lease_request x net0)" 400 input "lease: 'x' is no UUID"
    refused POST /v1/leases "$(lease_request $U1 ../net0)" 400 input \
        "lease: '../net0' is no device name" \
        "1 to 32 letters, digits, '_' and '-', a letter or digit first"
    refused POST /v1/leases "$(lease_request $U1 net0 lab)" 404 not-found \
        "pool 'lab': there is no such pool" "'virtfn list pools' names them"
    refused POST /v1/leases "$(lease_request $U1 net0 | jq -c '.name = "a\nb"')" 400 input \
        "lease: name is no domain's name" "give up to 255 bytes without control characters"
    refused POST /v1/leases "$(lease_request $U1 net0 | jq -c '.colour = "red"')" 400 input \
        "lease: 1 object item(s) left unpacked: colour" \
        "give domain (UUID), device and pool, and name if you like"
    refused POST /v1/leases "$(lease_request $U1 net0 | jq -c '.device = 7')" 400 input \
        "lease: Expected string, got integer" \
        "give domain (UUID), device and pool, and name if you like"
    equal "$(leases)" ""
}

@test "a lease of another pool has to be deleted first" {
    write_pool other pf=$PF#4-5
    write_pool uplink pf=$PF#0-3
    reload
    api POST /v1/leases "$(lease_request $U1 net0)" >/dev/null
    refused POST /v1/leases "$(lease_request $U1 net0 other)" 409 state \
        "domain $U1, device 'net0': it holds a function of pool 'uplink'" "delete that lease first"
}

@test "an array of requests is answered in order, each with a lease or a problem" {
    requests=$(jq -cs . <<<"$(lease_request $U1 a) $(lease_request $U1 b lab) 7
        $(lease_request $U1 c) $(lease_request $U1 d) $(lease_request $U2 a) $(lease_request $U2 b)")
    answer=$(api_status POST /v1/leases "$requests")
    equal "$(head -n 1 <<<"$answer")" "200 application/json"
    equal "$(tail -n 1 <<<"$answer" | jq -r '.[] | .id // .type')" "$U1/a
urn:virtfn:error:not-found
urn:virtfn:error:input
$U1/c
$U1/d
$U2/a
urn:virtfn:error:exhausted"
    equal "$(leases | wc -l)" 4
}

@test "an array of more than 4096 requests is refused" {
    refused POST /v1/leases "$(jq -nc '[range(4097)]')" 400 input \
        "leases: 4097 in one request, 4096 are allowed"
}

@test "render puts the function into the XML and leaves nothing behind" {
    domain_xml g1 net0@uplink >"$BATS_TEST_TMPDIR/g1.xml"
    answer=$(api_status POST /v1/render @"$BATS_TEST_TMPDIR/g1.xml")
    equal "$(head -n 1 <<<"$answer")" "200 application/xml"
    [[ $answer == *"<address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>"* ]]
    [[ $answer == *"path=$ROOT/run/qmp/$(uuid_of g1).sock"* ]]
    equal "$(ask /v1/functions '.functions[].pointed' | tr -d '\n')" 0000
    refused POST /v1/render "$(domain_xml g1 net0@lab)" 404 not-found \
        "domain 'g1', device 'net0': there is no pool 'lab'" \
        "'virtfn list pools' names them; pools are described in $CONFIG"
    refused POST /v1/render '<domain' 400 input \
        "domain XML, line 1: not well-formed: Couldn't find end of Start Tag domain line 1"
}

@test "render refuses more claims than the pool has functions" {
    refused POST /v1/render "$(domain_xml g1 a@uplink b@uplink c@uplink d@uplink e@uplink)" \
        409 exhausted "domain 'g1', device 'e': pool 'uplink' has 4 functions, none of them left for this device" \
        "ask for fewer devices, or raise the pool's count"
    equal "$(ask /v1/functions '.functions[].pointed' | tr -d '\n')" 0000
}

@test "a body where none belongs, or that is too large, is refused" {
    refused GET /v1/status '{}' 400 input "/v1/status: a body of 2 bytes is above the 0 it may have"
    head -c 1048577 /dev/zero >"$BATS_TEST_TMPDIR/large"
    refused POST /v1/leases @"$BATS_TEST_TMPDIR/large" 400 input \
        "/v1/leases: a body of 1048577 bytes is above the 1048576 it may have"
    refused POST /v1/hooks/prepare "@$(head -c 5000000 /dev/zero >"$BATS_TEST_TMPDIR/larger" &&
        echo "$BATS_TEST_TMPDIR/larger")" 400 input \
        "/v1/hooks/*: a body of 5000000 bytes is above the 4194304 it may have"
}

@test "a chunked body that is too large is refused" {
    head -c 2000000 /dev/zero >"$BATS_TEST_TMPDIR/large"
    answer=$(api POST /v1/leases @"$BATS_TEST_TMPDIR/large" -H 'Transfer-Encoding: chunked')
    equal "$(jq -r .detail <<<"$answer")" "/v1/leases: the body is too large"
}

@test "hook answers of the API: done, refused, rewritten" {
    equal "$(api_status POST /v1/hooks/prepare "$(domain_xml g1 net0@uplink)" | tr -d '\n')" "204 "
    refused POST /v1/hooks/prepare 'no xml' 400 input \
        "domain XML, line 1: not well-formed: Start tag expected, '<' not found"
    equal "$(api_status POST /v1/hooks/started 'no xml' | tr -d '\n')" "204 "
    equal "$(api_status POST /v1/hooks/release 'no xml' | tr -d '\n')" "204 "
    equal "$(api_status POST '/v1/hooks/stopped?reason=shutdown' 'no xml' | tr -d '\n')" "204 "
    answer=$(api_status POST /v1/hooks/migrate "$(domain_xml g2 net0@uplink)")
    equal "$(head -n 1 <<<"$answer")" "200 application/xml"
    [[ $answer == *ua-virtfn-net0* ]]
}

@test "the description is JSON and lists every route" {
    equal "$(ask /openapi.json '.openapi[:4]')" 3.1.
    equal "$(ask /openapi.json '.paths | keys[]')" "/accelerators
/accelerators/{uuid}
/openapi.json
/v1/attachments
/v1/attachments/{domain}/{device}
/v1/cards
/v1/domains
/v1/domains/{domain}
/v1/events
/v1/functions
/v1/hooks/{operation}
/v1/images
/v1/images/{name}
/v1/init
/v1/leases
/v1/leases/{uuid}/{device}
/v1/pause
/v1/pools
/v1/pools/{name}
/v1/reconf
/v1/reconf/{pf}
/v1/render
/v1/resume
/v1/settle
/v1/status"
}

@test "the commands show what the daemon says" {
    hook prepare g1 net0@uplink=$VF0
    [[ $(cli status) == *uplink* ]]
    [[ $(cli list leases) == *g1*net0* ]]
    run cli render <(domain_xml g1 net0@lab)
    [[ $status -ne 0 && $output == *"there is no pool 'lab'"* ]]
}
