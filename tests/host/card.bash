# SPDX-License-Identifier: GPL-2.0-or-later
#
# What scenarios with the emulated FPGA card share: the card by hand, and the guests' program that checks what it
# computes. Sourced after lib.bash.

# The card's numbers of its accelerators (bats reads this file within a function)
declare -gA accelerator_id=([sha256]=1 [aes-ctr]=2 [crc32c]=3 [vector-add]=4)

# fpga VERB ARGUMENTS...: see /usr/share/virtfn-test/fpga-card.
fpga() {
    python3 -IS /usr/share/virtfn-test/fpga-card "$(pf fpga 0)" "$@"
}

# fpga_ready: put the card's physical function under the driver that does nothing but allow virtual ones.
fpga_ready() {
    local address
    address=$(pf fpga 0)
    modprobe pci-pf-stub
    echo pci-pf-stub >"/sys/bus/pci/devices/$address/driver_override"
    [[ -e /sys/bus/pci/devices/$address/driver ]] || echo "$address" >/sys/bus/pci/drivers_probe
    [[ $(basename "$(readlink "/sys/bus/pci/devices/$address/driver")") == pci-pf-stub ]]
}

# fpga_image FILE ACCELERATOR-NAME [BYTES]: write an image for the card's regions, which are of kind 0.
fpga_image() {
    python3 -IS /usr/share/virtfn-test/fpga-card image "$1" "${accelerator_id[$2]}" 0 "${3:-100000}"
}

# fpga_functions COUNT: virtual functions, bound.
fpga_functions() {
    local number
    vf_create fpga 0 "$1"
    for ((number = 0; number < $1; number++)); do
        vfio_bind "$(vf fpga 0 "$number")"
    done
}

# region NUMBER FIELD: what the card says of a region: state, accelerator, vf, loads, running, jobs.
region() {
    fpga query | jq -r ".[$1].$2"
}

# cardjob_start GUEST [OPTIONS]: let the guest give jobs to its function until it is told otherwise.
cardjob_start() {
    local name=$1
    shift
    guest_run "$name" "{ cardjob $* 2>&1; echo \"ended \$?\"; } >/tmp/cardjob &"
}

# cardjob_stop GUEST
cardjob_stop() {
    guest_run "$1" 'killall cardjob; while pidof cardjob >/dev/null; do usleep 10000; done'
}

# cardjob_count GUEST: how many good jobs it has reported.
cardjob_count() {
    guest_run "$1" "{ echo ok 0; grep ^ok /tmp/cardjob; } | tail -n 1 | cut -d ' ' -f 2"
}

# cardjob_fine GUEST: its program has found nothing wrong, and runs.
cardjob_fine() {
    local found
    found=$(guest_run "$1" '{ grep -vE "^(ok|accelerator) " /tmp/cardjob || test $? = 1; }') || return
    [[ -z $found ]] || {
        echo "cardjob in $1: $found" >&2
        return 1
    }
}

# cardjob_more GUEST COUNT: it has reported more good jobs than that; or it never will.
cardjob_more() {
    local count
    count=$(cardjob_count "$1") && [[ $count -gt $2 ]] || ! cardjob_fine "$1"
}

# cardjob_goes_on GUEST [SECONDS]: new good jobs are reported from here on.
cardjob_goes_on() {
    local count
    count=$(cardjob_count "$1")
    wait_until "${2:-60}" cardjob_more "$1" "$count"
    cardjob_fine "$1"
}

# cardjob_stands GUEST: no job is reported for some seconds.
cardjob_stands() {
    local count
    count=$(cardjob_count "$1")
    sleep 3
    [[ $(cardjob_count "$1") == "$count" ]]
}

# cardjob_says GUEST WORDS: its output has a line that begins with this.
cardjob_says() {
    guest_run "$1" "grep -q '^$2' /tmp/cardjob"
}
