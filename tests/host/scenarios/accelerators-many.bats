# SPDX-License-Identifier: GPL-2.0-or-later
#
# Eight KVM guests on one FPGA card with two regions and three accelerators, for five minutes, through everything that can
# happen to them. Each one's program checks each result; a context that was lost or another one's would end it.
#
# Not in the gate's list, since it takes twenty minutes:
#     tests/host/run --timeout 1800 --env BATS_TEST_TIMEOUT=1500 --cards fpga:1 accelerators-many
# VIRTFN_SECONDS is how long guests compute at least (--env, default 300).

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash
source /usr/share/virtfn-test/card.bash
source /usr/share/virtfn-test/accelerators.bash

GUEST_RUN_TIMEOUT=120
guests=(sha1 sha2 crc1 crc2 share1 share2 share3 plain)

setup_file() {
    local name
    accelerators_ready 'age-step = 4s' 'tenure = 4s' 'backoff = 2s' 'slice-period = 3s' 'slice-minimum = 1s'
    accel_guest sha1 'accelerator="sha256" priority="2"'
    accel_guest sha2 'accelerator="sha256" priority="1" start="paused"'
    accel_guest crc1 'accelerator="crc32c" priority="2"'
    accel_guest crc2 'accelerator="crc32c" priority="1"'
    accel_guest share1 'accelerator="vector-add" priority="1" sharing="yes"'
    accel_guest share2 'accelerator="vector-add" priority="1" sharing="yes"'
    accel_guest share3 'accelerator="vector-add" priority="1" sharing="300"'
    accel_guest plain ''
    for name in "${guests[@]}"; do
        virsh -q start "$name"
    done
    for name in "${guests[@]}"; do
        guest_wait "$name" 600
    done
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || accelerators_evidence
}

teardown_file() {
    guests_remove
}

# tell WORDS...: an event, with the seconds since the five minutes began.
tell() {
    note "$((SECONDS - began)) s: $*"
}

# counts: good jobs of each guest, "NAME=COUNT"; fails, and says why, if one of them has found anything wrong.
counts() {
    local name
    for name in "${guests[@]}"; do
        echo -n "$name=$(cardjob_count "$name") "
        cardjob_fine "$name" || return
    done
}

# all_go_on WORDS...: each guest that asks for an accelerator gets to it from here on, and computes. They do so in turns, so
# the counts of all are taken first.
all_go_on() {
    local name
    local -A before=()
    for name in "${guests[@]}"; do
        [[ $name == plain && -z $(attachment plain) ]] || before[$name]=$(cardjob_count "$name")
    done
    for name in "${!before[@]}"; do
        wait_until 120 cardjob_more "$name" "${before[$name]}" && cardjob_fine "$name" || {
            echo "$name does not go on; it says: $(attachment "$name" .)"
            return 1
        }
    done
    tell "$*: all compute: $(counts)"
}

failures() {
    api /v1/attachments | jq '[.attachments[].failures] | add'
}

more_failures() {
    [[ $(failures) -gt $1 ]]
}

# start_again NAME: once libvirt has noticed that it ended.
start_again() {
    wait_until 30 is_shut_off "$1"
    virsh -q start "$1"
    guest_wait "$1" 600
}

virtfnd_is_another() {
    [[ $(systemctl show -P MainPID virtfnd) != @(0|"$1") ]] && connected
}

@test "8 guests, 2 regions, 3 accelerators: five minutes without a wrong result, whatever happens" {
    began=$SECONDS
    all_go_on 'assign, load, preempt, wait, first access, sharing'

    tell "attach: $(virtfn attach --priority 6 plain crc32c)"
    wait_until 120 cardjob_says plain 'accelerator 3 '

    wait_until 60 virtfn remap crc2 sha256 # it has to wait for a change of it that is under way
    tell 'remap: crc2 has asked for sha256 instead'
    wait_until 120 cardjob_says crc2 'accelerator 1 '

    kill -KILL "$(guest_pid crc1)"
    start_again crc1
    tell 'guest crash: crc1 was killed, and started again'
    virsh -q destroy share2
    start_again share2
    tell 'guest destroy: share2 was destroyed, and started again'

    pid=$(systemctl show -P MainPID virtfnd)
    kill -KILL "$pid"
    wait_until 60 virtfnd_is_another "$pid"
    tell "virtfnd killed: $pid was, $(systemctl show -P MainPID virtfnd) is there"
    all_go_on 'after that'

    before=$(failures)
    fpga fault load
    wait_until 60 more_failures "$before"
    tell "one failed load: $(api /v1/attachments | jq -r '[.attachments[].problem // empty][0]')"

    tell "reconf of the PF: $(virtfn reconf --yes --vfs 10 fpga | tail -n 1)"
    [ "$(find "/sys/bus/pci/devices/$(pf fpga 0)/" -name 'virtfn*' | wc -l)" = 10 ]
    all_go_on 'after that'

    cardjob_stop plain # it would miss its context
    tell "detach: $(virtfn detach plain)"
    settles plain ''
    virtfn attach plain crc32c >/dev/null
    cardjob_start plain -p 20 -e 5
    all_go_on 'after that, and plain attached again'

    while ((SECONDS - began < ${VIRTFN_SECONDS:-300})); do
        sleep 20
        tell "$(counts)"
    done
    tell "turns: $(api /v1/cards | jq -c '[.cards[].regions[] | {accelerator, fairness, switches, holders: (.holders | length)}]')"
    note "requests: $(api /v1/attachments | jq -c '[.attachments[] | {(.domain.name): [.accelerator, .state, .preemptions, .failures]}] | add')"
    all_go_on 'at the end'
    [ "$(leases | grep -c running)" = "${#guests[@]}" ]
}
