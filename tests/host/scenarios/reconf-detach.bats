# SPDX-License-Identifier: GPL-2.0-or-later
#
# `virtfn reconf --allow-detach` under a guest that pauses and one that cannot: the latter has a plain hostdev, which virtfn
# leased without ever rendering the domain, so its QEMU has no monitor of virtfn's. A real guest has to answer the unplug.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    printf '[pool uplink]\npf = %s\ncount = 2\n' "$(pf_netdev igb 0)" >/etc/virtfn/host.conf
    systemctl reload-or-restart virtfnd
    wait_until 30 connected
    virtfn init
    pf_up
    guest_define paused --metadata "$(claims "$(net_claim 1)")" --append virtfn.ip=eth0,192.0.2.11/24
    wait_until 30 rendered paused
    virsh -q start paused
    guest_define plain --device "$(hostdev_xml "$(vf igb 0 1)")" --append virtfn.ip=eth0,192.0.2.12/24
    virsh -q start plain
    for name in paused plain; do
        guest_wait "$name"
    done
}

teardown_file() {
    guests_remove
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || scenario_diagnose "failed-$BATS_TEST_NUMBER"
}

both_ping() {
    wait_until 90 ping -c 1 -W 1 192.0.2.11
    wait_until 90 ping -c 1 -W 1 192.0.2.12
}

# guest_place: where the guest sees its function.
guest_place() {
    guest_run plain 'basename $(readlink /sys/class/net/eth0/device)'
}

is_plugged() {
    virsh dumpxml plain | grep -q '<hostdev'
}

@test "without --allow-detach it is refused by name" {
    both_ping
    run virtfn reconf --yes --vfs 4 uplink
    [ "$status" = 1 ]
    grep -q "domain 'plain', device '.*': it was started without virtfn's monitor" <<<"$output"
    [ "$(vfs)" = 2 ]
    is_plugged
}

@test "with it one guest is paused, the other unplugged and plugged in again at its place" {
    place=$(guest_place)
    virtfn reconf --dry-run --allow-detach --vfs 4 uplink | tee /dev/stderr | grep 'plain/.*: cannot pause'
    begin=$(clock)
    virtfn reconf --yes --allow-detach --vfs 4 uplink >"$BATS_TEST_TMPDIR/out"
    note "it took $(elapsed "$begin") ms"
    tail -n 1 "$BATS_TEST_TMPDIR/out" | sed 's/^/# /' >&3
    grep -q 'plain/.*: detached' "$BATS_TEST_TMPDIR/out"
    grep -q 'plain/.*: attached' "$BATS_TEST_TMPDIR/out"
    [ "$(vfs)" = 4 ]
    is_plugged
    wait_until 60 guest_run plain test -e /sys/class/net/eth0
    [ "$(guest_place)" = "$place" ]
    no_unplug paused
    both_ping
}

@test "a guest that does not answer keeps its function; when it answers late it gets the function back" {
    virsh -q suspend plain
    run virtfn reconf --yes --allow-detach --vfs 3 uplink
    [ "$status" = 1 ]
    grep -q "domain 'plain', device '.*': its guest has not given it back within 30 s" <<<"$output"
    [ "$(vfs)" = 4 ]
    is_plugged
    before=$(attached)
    virsh -q resume plain
    wait_until 60 attached_again "$before"
    is_plugged
    no_unplug paused
    both_ping
}

# attached: how often virtfnd has attached the function so far.
attached() {
    journalctl -q -u virtfnd | grep -c "domain 'plain': device '.*' attached" || true
}

attached_again() {
    [[ $(attached) -gt $1 ]]
}

@test "virtfnd killed while the function is out: the next one gives it back" {
    virtfn reconf --yes --allow-detach --json --vfs 7 uplink >"$BATS_TEST_TMPDIR/out" 2>&1 &
    wait_until 60 grep -q '"what":"detached"' "$BATS_TEST_TMPDIR/out"
    systemctl kill -s KILL virtfnd
    wait_until 90 connected
    wait_until 90 is_plugged
    wait_until 30 vfs_settled
    no_unplug paused
    both_ping
}

vfs_settled() {
    [[ $(vfs) == 4 || $(vfs) == 7 ]]
}
