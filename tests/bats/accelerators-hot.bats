#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# An accelerator for a guest that runs without a device for it: it is plugged in, and unplugged by a detach. libvirt
# is its test driver with hot-plug by a script (tests/lib/fakelibvirt.c).

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

FAKE=$BATS_TEST_TMPDIR/libvirt
LIBVIRT=(--connect "test://$FAKE/node.xml")
ON_HOST[2]+=" $BUILD/tests/fakelibvirt.so"
ON_HOST+=("VIRTFN_FAKE_LIBVIRT=$FAKE/script")

setup() {
    make_host fpga@$PF:12
    make_card 0
    write_accelerators
    add_image sha 1 0
    mkdir "$FAKE"
    {
        echo "<node><domain type='test'><name>g1</name><uuid>$(uuid_of g1)</uuid>" \
            "<memory>1024</memory><os><type>hvm</type></os></domain></node>"
    } >"$FAKE/node.xml"
    domain_xml g1 >"$FAKE/xml"
    cat >"$FAKE/script" <<'END'
#!/bin/bash
cd "$(dirname "$0")" || exit
echo "$1 ${*:3}" >>calls
case $1 in
xml) cat xml ;;
attach)
    [[ ! -e fail ]] || exit 1
    cat >attached
    ;;
esac
END
    chmod 755 "$FAKE/script"
    start_daemon
    connects
}

teardown() {
    power_off_all
    stop_daemon
}

post() {
    api POST /v1/attachments "{\"domain\":\"g1\",\"accelerator\":\"sha\",\"pool\":\"$1\"}" |
        jq -r 'if .title then "\(.status) \(.detail)" else "\(.device) \(.state)" end'
}

@test "attach with a pool: the guest gets a device, and the device its accelerator" {
    equal "$(post fpga)" 'acc0 planned'
    settles g1 'holding sha 0'
    equal "$(region 0)" '1 0'
    grep -q 'ua-virtfn-acc0' "$FAKE/attached"
    equal "$(leases)" 'g1/acc0 fpga#0 running'
}

@test "attach that libvirt refuses: nothing stays" {
    touch "$FAKE/fail"
    equal "$(post fpga)" 'acc0 planned'
    settles g1 ''
    becomes '' leases
    equal "$(region 0)" '0 null'
}

@test "attach to a domain that is not there, from a pool that is not there" {
    equal "$(post none)" "404 pool 'none': there is no such pool"
    equal "$(api POST /v1/attachments '{"domain":"g7","accelerator":"sha","pool":"fpga"}' | jq .status)" 404
    equal "$(leases)" ''
}

@test "detach of such a device asks the guest to give it back" {
    post fpga
    settles g1 'holding sha 0'
    api DELETE /v1/attachments/g1/acc0
    settles g1 ''
    equal "$(cat "$CARD/0.vf")" null
    await '^detach ua-virtfn-acc0' "$FAKE/calls"
}
