# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfnd killed with -9 at twelve moments of a reconf, and its helper in the write to sriov_numvfs: systemd starts the
# next one, which ends what was begun. The guests live, nothing is unplugged, and pings go on by themselves. All points
# are in tests/unit/reconf-crash.c; here kernel, QEMU, libvirt and guests are real.
#
# Not in the gate's list, since it takes seven minutes: `make check-host HOST_SCENARIOS=reconf-crash`.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    printf '[pool uplink]\npf = %s\ncount = 2\ngrowth = grow\nmax = 4\n' "$(pf_netdev igb 0)" >/etc/virtfn/host.conf
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

no_journal() {
    [[ -z $(find /run/virtfn/reconf -name '*.json' 2>/dev/null) ]]
}

# other_count: what there is not, of 3 and 4.
other_count() {
    if [[ $(vfs) == 3 ]]; then echo 4; else echo 3; fi
}

# recoveries: what virtfnd has said of each so far.
recoveries() {
    journalctl -u virtfnd -o cat | sed -n 's/.*a reconf that was cut short has ended, //p'
}

# settled BEFORE AFTER WORDS...: one configuration or the other, each guest on its function and answering.
settled() {
    local i begin said
    begin=$(clock)
    wait_until 60 connected
    wait_until 60 no_journal
    note "${*:3}: over after $(elapsed "$begin") ms, with $(vfs) functions instead of $1"
    said=$(recoveries | tail -n "+$((recovered + 1))")
    note "  ${said:-there was nothing to recover}"
    [[ $(vfs) == "$1" || $(vfs) == "$2" ]]
    begin=$(clock)
    for i in 1 2; do
        wait_until 90 pings_since "g$i" "$begin"
        has_groups "g$i" "$(vf igb 0 $((i - 1)))"
        [[ $(guest_run "g$i" cat /sys/class/net/eth0/address) == "52:54:00:00:00:0$i" ]]
        no_unplug "g$i"
    done
    agree
}

# killed_at STEP EVENT: a reconf whose daemon is killed when it tells that.
killed_at() {
    local before after line recovered
    before=$(vfs) after=$(other_count) recovered=$(recoveries | wc -l)
    : >"$BATS_TEST_TMPDIR/killed"
    while read -r line; do
        if [[ $line == *"\"step\":\"$1\",\"what\":\"$2\""* && ! -s $BATS_TEST_TMPDIR/killed ]]; then
            pkill -KILL -x virtfnd
            echo "$line" >"$BATS_TEST_TMPDIR/killed"
        fi
    done < <(virtfn reconf --json --yes --vfs "$after" uplink 2>&1)
    [ -s "$BATS_TEST_TMPDIR/killed" ]
    settled "$before" "$after" "virtfnd killed at '$1 $2'"
}

@test "virtfnd is killed before a function is gone" {
    pings_start g1 192.0.2.11
    pings_start g2 192.0.2.12
    killed_at look end
    killed_at pause begin
    killed_at pause paused
    killed_at pause end
    killed_at fence end
    pings_stop g1
    pings_stop g2
}

@test "virtfnd is killed while there is no function" {
    pings_start g1 192.0.2.11
    pings_start g2 192.0.2.12
    killed_at remove begin
    killed_at remove end
    killed_at create begin
    killed_at create end
    pings_stop g1
    pings_stop g2
}

@test "virtfnd is killed while functions come back" {
    pings_start g1 192.0.2.11
    pings_start g2 192.0.2.12
    killed_at ready ready
    killed_at resume begin
    killed_at resume resumed
    pings_stop g1
    pings_stop g2
}

@test "the helper is killed in its write" {
    pings_start g1 192.0.2.11
    pings_start g2 192.0.2.12
    before=$(vfs) after=$(other_count) recovered=$(recoveries | wc -l)
    virtfn reconf --yes --vfs "$after" uplink >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    order=$!
    wait_until 30 pkill -KILL -x virtfn-numvfs
    wait "$order" || true
    settled "$before" "$after" "virtfn-numvfs killed"
    pings_stop g1
    pings_stop g2
}
