# SPDX-License-Identifier: GPL-2.0-or-later
#
# The comparison that SVFF publishes: VFs under running KVM guests made anew by `virtfn reconf`, by detach and attach
# through libvirt, and by nobody (the kernel's own time). Cards of RECONF_KIND, one for each number in RECONF_COUNTS, each
# with that many VFs and a guest for each VF. RECONF_ROUNDS rounds, in which all ways and all cards take turns.
#
# Leaves lines "WAY COUNT STEP MILLISECONDS" in $VIRTFN_RESULTS/figures; tests/bench/reconf makes figures of them.
# The guests have an operating system: one without would not answer an unplug.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

teardown() {
    scenario_teardown
}

# pools: a pool for each card, with as many VFs as guests.
pools() {
    local index=0 count
    for count in $RECONF_COUNTS; do
        printf '[pool p%s]\npf = %s\ncount = %s\nbitstream-program = /bin/true\n' "$count" "$(pf "$RECONF_KIND" "$index")" "$count"
        [[ $RECONF_KIND != nvme ]] || printf 'profile = disk\n'
        index=$((index + 1))
    done >/etc/virtfn/host.conf
    printf '[profile disk]\nqueues = 2\ninterrupts = 1\n' >>/etc/virtfn/host.conf
    systemctl reload-or-restart virtfnd
    wait_until 30 connected
    timeout 120 virtfn init
}

@test "$RECONF_KIND: reconf, detach and attach, floor" {
    local index=0 count i guests=() cards=()
    pools
    for count in $RECONF_COUNTS; do
        [[ $RECONF_KIND != igb ]] || ip link set "$(pf_netdev igb "$index")" up
        cards+=("$(pf "$RECONF_KIND" "$index")=$count")
        index=$((index + 1))
        for ((i = 0; i < count; i++)); do
            guests+=("$RECONF_KIND-$count-$i")
            guest_define "${guests[-1]}" --memory 128 --metadata "$(claims "name=\"dev\" pool=\"p$count\"")"
            wait_until 30 rendered "${guests[-1]}"
            virsh -q start "${guests[-1]}"
            guest_wait "${guests[-1]}" 400
            # One boots, the others stand: the emulated KVM does not bear more than some six at work.
            virsh -q suspend "${guests[-1]}"
        done
    done
    for i in "${guests[@]}"; do
        virsh -q resume "$i"
    done
    note "${#guests[@]} guests run"
    (
        set -o pipefail
        /usr/share/virtfn-test/reconf-ways "$VIRTFN_RESULTS/figures" "$RECONF_ROUNDS" "$RECONF_KIND" "${cards[@]}" |
            sed -u 's/^/# /' >&3
    )
    agree
}
