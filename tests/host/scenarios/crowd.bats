# SPDX-License-Identifier: GPL-2.0-or-later
#
# More guests than functions, all at once, with few libvirt workers: as many run as there are functions, the others
# are told who holds them, and nothing hangs. Two rounds, so that what the first one left behind would show.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash

setup_file() {
    echo 'max_workers = 5' >>/etc/libvirt/libvirtd.conf
    systemctl restart libvirtd
    pools_write 7
    wait_until 30 sh -c '[ "$(virtfn status --json | jq .libvirt.connected)" = true ]'
    pf_up
}

teardown() {
    virtfn_teardown
}

all_rendered() {
    [[ $(api /v1/domains | jq '[.domains[] | select(.state == "rendered")] | length') == 30 ]]
}

start_all() {
    local i pids=()
    for i in $(seq 30); do
        { virsh -q start "crowd$i" && echo started || echo refused; } >"$BATS_TEST_TMPDIR/start$i" 2>&1 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
}

one_round() {
    start_all
    cat "$BATS_TEST_TMPDIR"/start* | sed 's/^/    /'
    [ "$(cat "$BATS_TEST_TMPDIR"/start* | grep -c '^started')" = 7 ]
    [ "$(cat "$BATS_TEST_TMPDIR"/start* | grep -c '^refused')" = 23 ]
    [ "$(grep -l "no free function (.*#[0-6] by 'crowd\|is held by domain 'crowd" "$BATS_TEST_TMPDIR"/start* | wc -l)" = 23 ]
    [ "$(virsh -q list --name | grep -c crowd)" = 7 ]
    [ "$(leases | awk '{print $3}' | sort -n | tr -d '\n')" = 0123456 ]
    agree
    for name in $(virsh -q list --name); do
        virsh -q destroy "$name"
    done
    wait_until 20 sh -c '[ -z "$(virtfn list leases)" ]'
    [ "$(free_functions uplink)" = 7 ]
    agree
}

@test "30 domains start at the same moment on 7 functions, twice" {
    for i in $(seq 30); do
        bare_guest "crowd$i" --metadata "$(claims "$(net_claim "$i")")" >"$BATS_TEST_TMPDIR/guest.xml"
        virsh -q define "$BATS_TEST_TMPDIR/guest.xml"
    done
    wait_until 60 all_rendered
    one_round
    wait_until 60 all_rendered
    one_round
}
