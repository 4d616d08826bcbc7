# SPDX-License-Identifier: GPL-2.0-or-later
#
# libvirt's daemon is restarted, and killed, while the functions of its guests are away. It would end these guests; it
# waits instead (virtfn settle, a drop-in of its unit), and the guests live. Only the real libvirt ends guests for that.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

program=/usr/local/sbin/flash-slowly
drop_in=/lib/systemd/system/libvirtd.service.d/50-virtfn.conf

# The card's program takes as long as a restart of libvirt's daemon and then some: functions are away meanwhile.
setup_file() {
    printf '#!/bin/sh\nsleep 12\n' >$program
    chmod 755 $program
    printf '[pool uplink]\npf = %s\ncount = 2\nbitstream-program = %s\n' "$(pf_netdev igb 0)" $program >/etc/virtfn/host.conf
    systemctl reload-or-restart virtfnd
    wait_until 30 connected
    net_guests_up
}

teardown_file() {
    guests_remove
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || scenario_diagnose "failed-$BATS_TEST_NUMBER"
}

away() {
    [[ $(vfs) == 0 ]]
}

# begin_reconf: with the same number of functions; returns when they are away. reconf is its process.
begin_reconf() {
    local i
    for i in 1 2; do pings_start "g$i" "192.0.2.1$i"; done
    before=$(guest_pid g1),$(guest_pid g2)
    since=$(date +%s)
    virtfn reconf --yes --bitstream /dev/null uplink >"$BATS_TEST_TMPDIR/reconf" 2>&1 3>&- &
    reconf=$!
    wait_until 30 away
}

# libvirt_waited: libvirt's daemon is there, it had to wait for the reconf, and no guest was lost.
libvirt_waited() {
    local i now
    wait_until 90 virsh -q list >/dev/null
    [ "$(vfs)" = 2 ]
    wait $reconf
    journalctl -q -u libvirtd --since "@$since" --grep "waiting: $(pf igb 0): its reconf is under way"
    now=$(clock)
    for i in 1 2; do
        [ "$(virsh domstate "g$i" | head -1)" = running ]
        wait_until 90 pings_since "g$i" "$now"
        note "g$i: the gap between two pings was $(pings_gap "g$i") ms"
        has_groups "g$i" "$(vf igb 0 $((i - 1)))"
        [ "$(guest_run "g$i" cat /sys/class/net/eth0/address)" = "52:54:00:00:00:0$i" ]
        no_unplug "g$i"
        pings_stop "g$i"
    done
    [ "$(guest_pid g1),$(guest_pid g2)" = "$before" ]
    wait_until 90 connected
    agree
}

# no_guest_is_awaited: reconfs may begin.
no_guest_is_awaited() {
    [[ $(api /v1/status | jq -c .settling) == null ]]
}

@test "a restart of libvirt's daemon in a reconf waits for its end" {
    begin_reconf
    timeout 120 systemctl restart libvirtd
    libvirt_waited
    wait_until 30 no_guest_is_awaited
}

@test "a libvirt daemon that is killed in a reconf is back after it" {
    begin_reconf
    systemctl kill --signal KILL --kill-who main libvirtd
    libvirt_waited
    wait_until 30 no_guest_is_awaited
}

@test "virtfnd is started by the libvirt daemon that needs it, and neither waits for the other" {
    systemctl stop virtfnd.service
    begin=$(clock)
    timeout 60 systemctl restart libvirtd
    note "with virtfnd down, libvirtd was there after $(elapsed "$begin") ms"
    systemctl is-active virtfnd.service
    wait_until 90 connected
    wait_until 30 no_guest_is_awaited
    agree
}

@test "virtfn doctor knows the drop-in" {
    virtfn doctor | grep $'^ok\tsettle\thost\tlibvirtd.service waits'
}

# What the others are worth: without the drop-in libvirt ends the guests.
@test "without the drop-in the guests are lost, and virtfn doctor warns of it" {
    begin_reconf
    mv $drop_in "$BATS_TEST_TMPDIR"
    systemctl daemon-reload
    timeout 120 systemctl restart libvirtd
    wait_until 60 is_shut_off g1
    wait_until 60 is_shut_off g2
    virtfn doctor | grep $'^warning\tsettle\thost'
    mv "$BATS_TEST_TMPDIR/${drop_in##*/}" $drop_in
    systemctl daemon-reload
    pings_stop g1
    pings_stop g2
    wait $reconf || true
    wait_until 60 eval '[[ -z $(leases) ]]'
}
