#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfn reconf --allow-detach: a guest that cannot pause has its function unplugged and plugged in
# again. g1 pauses; g3 was started without virtfn's monitor. libvirt is its test driver with hot-plug
# by a script (tests/lib/fakelibvirt.c), g3's QEMU a process that has the VFIO group open.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests

PF=0000:01:00.0
VF=(0000:01:10.0 0000:01:10.2 0000:01:10.4 0000:01:10.6)
DEVICE=pci-${VF[1]}
FAKE=$BATS_TEST_TMPDIR/libvirt
LIBVIRT=(--connect "test://$FAKE/node.xml")
ON_HOST[2]+=" $BUILD/tests/fakelibvirt.so"
ON_HOST+=("VIRTFN_FAKE_LIBVIRT=$FAKE/script")

setup() {
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=4
    fake_libvirt
    start_daemon
    connects
    [[ $BATS_TEST_DESCRIPTION != *killed* ]] || export QEMU_PAUSE_US=2000000
    boot g1 a="${VF[0]}"
    hook prepare g3 "pci=${VF[1]}"
    hook started g3 "pci=${VF[1]}"
    hold_group "${VF[1]}"
    echo "$HOLDER" >"$FAKE/holder"
    domain_xml g1 "a@uplink=${VF[0]}" >"$FAKE/$(uuid_of g1).xml"
    domain_xml g3 "pci=${VF[1]}" | sed "s|</hostdev>|<alias name='hostdev0'/><address type='pci' bus='0x07'/>&|" \
        >"$FAKE/$(uuid_of g3).xml"
}

teardown() {
    power_off_all
    drop_group || true
    stop_daemon
}

# fake_libvirt: both domains run; their XML comes when they are started. g3's has a hostdev at an address of the guest's,
# which it keeps.
fake_libvirt() {
    local name
    mkdir "$FAKE"
    {
        echo '<node>'
        for name in g1 g3; do
            echo "<domain type='test'><name>$name</name><uuid>$(uuid_of $name)</uuid>" \
                "<memory>1024</memory><os><type>hvm</type></os></domain>"
        done
        echo '</node>'
    } >"$FAKE/node.xml"
    cat >"$FAKE/script" <<'END'
#!/bin/bash
cd "$(dirname "$0")" || exit
echo "${@:1:1} ${@:3}" >>calls
case $1 in
xml) cat "$2.xml" ;;
detach)
    [[ ! -e deaf ]] || exit 0
    kill "$(cat holder)" && sed -i 's|<hostdev.*</hostdev>||' "$2.xml"
    ;;
attach)
    [[ ! -e refuse ]] || exit 1
    cat >attached
    xml=$(cat "$2.xml")
    echo "${xml/<devices>/<devices>$(cat attached)}" >"$2.xml"
    ;;
esac
END
    chmod +x "$FAKE/script"
}

calls() {
    grep -v xml "$FAKE/calls" 2>/dev/null || true
}

# settled COUNT: all is over and as it should be.
settled() {
    equal "$(vf_count $PF)" "$1"
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(leases)" "g1/a uplink#0 running
g3/$DEVICE uplink#1 running"
    equal "$(driver_of "${VF[1]}")" vfio-pci
    equal "$(journals)" 0
    equal "$(find "$ROOT/run/detached" -type f 2>/dev/null)" ""
    equal "$(ask /v1/status '.domains[].attach | values')" ""
}

until_attached() {
    for _ in {1..250}; do
        [[ ! -s $FAKE/attached || $(leases) != *running*running* ]] || return 0
        sleep 0.02
    done
    cat "$DAEMON_LOG"
    return 1
}

@test "the one is unplugged and comes back as it was, the other pauses" {
    run --separate-stderr cli reconf --yes --allow-detach --vfs 7 uplink
    [[ $status -eq 0 && -z $stderr ]]
    [[ $output == *"  g3/$DEVICE: cannot pause, is detached and attached again"* ]]
    [[ $output == *"  g3/$DEVICE: detached"*"  g1/a: paused"*"  g1/a: resumed"*"  g3/$DEVICE: attached"* ]]
    equal "$(calls)" "detach hostdev0
attach "
    [[ $(<"$FAKE/attached") == "<hostdev"*"<alias name='hostdev0'/><address type='pci' bus='0x07'/></hostdev>" ]]
    settled 7
}

@test "without --allow-detach it is refused, and nobody is asked for anything" {
    run --separate-stderr cli reconf --yes --vfs 7 uplink
    [[ $status -eq 1 && $stderr == *"domain 'g3', device '$DEVICE': it was started without virtfn's monitor"* ]]
    equal "$(calls)" ""
    settled 4
}

@test "a dry run says who would be detached" {
    run cli reconf --dry-run --allow-detach --vfs 7 uplink
    expect 0 "$PF: 7 VFs, 4 now; 2 functions in use
  VF 0 ${VF[0]}  g1/a
  VF 1 ${VF[1]}  g3/$DEVICE
$PF: how long guests will be without their functions is not known yet
  g3/$DEVICE: cannot pause, is detached and attached again"
    equal "$(calls)" ""
    settled 4
}

@test "as many VFs as there are: nobody is detached for nothing" {
    cli reconf --yes --allow-detach uplink
    equal "$(calls)" ""
    settled 4
}

@test "a reconf that goes back gives the device back" {
    hook prepare g4 "d@uplink=${VF[3]}"
    hook release g4 "d@uplink=${VF[3]}"
    local before=$HOLDER
    hold_group "${VF[3]}"
    run --separate-stderr cli reconf --yes --allow-detach --vfs 7 uplink
    [[ $status -eq 1 && $stderr == *"is open in process $HOLDER "* ]]
    equal "$(calls)" "detach hostdev0
attach "
    HOLDER=$before
    settled 4
}

@test "a daemon killed when the device was out: the next one gives it back" {
    cli reconf --yes --allow-detach --json --vfs 7 uplink >"$BATS_TEST_TMPDIR/events" 2>&1 &
    await '"what":"detached"' "$BATS_TEST_TMPDIR/events"
    [[ $(ask /v1/status '.domains[] | select(.name == "g3") | .attach.detail') == *"was detached for a reconf"* ]]
    restart_daemon
    until_attached
    equal "$(calls)" "detach hostdev0
attach "
    settled 4
}

@test "one that cannot be plugged in again: status says so" {
    touch "$FAKE/refuse"
    run --separate-stderr cli reconf --yes --allow-detach --vfs 7 uplink
    [[ $status -eq 1 && $stderr == *"domain 'g3', device '$DEVICE': "* ]]
    [[ $(ask /v1/status '.domains[] | select(.name == "g3") | .attach.detail') != null ]]
    equal "$(vf_count $PF)" 7
    equal "$(devices g1)" "ua-virtfn-a running"
    equal "$(journals)" 0
}
