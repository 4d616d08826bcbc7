# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfn on the emulated host: pools, annotations, and what scenarios ask about leases. Sourced after lib.bash.
# The host has one card of each kind; pool `uplink` is on the igb card, pool `disk` on the NVMe card.

# pools_write [COUNT]: describe both pools and make the daemon read them.
pools_write() {
    cat >/etc/virtfn/host.conf <<EOF
[pool uplink]
pf = $(pf_netdev igb 0)
count = ${1:-7}

[pool disk]
pf = $(pf nvme 0)
count = 4
profile = disk

[profile disk]
queues = 2
interrupts = 1
EOF
    systemctl reload-or-restart virtfnd
}

# claims DEVICE-ATTRIBUTES...: print an annotation; one argument for each device, as in 'name="net0" pool="uplink"'.
claims() {
    printf '<virtfn:devices xmlns:virtfn="urn:virtfn:domain:1.0">'
    printf '<virtfn:device %s/>' "$@"
    printf '</virtfn:devices>'
}

# net_claim NUMBER: the attributes of a NIC claim whose MAC ends in NUMBER.
net_claim() {
    printf 'name="net0" pool="uplink" mac="52:54:00:00:00:%02x"' "$1"
}

# bare_guest NAME [OPTIONS of guest_xml]: print the XML of a guest without an operating system, for scenarios where only
# the host's side matters: it starts in a third of the time.
bare_guest() {
    guest_xml "$@" --memory 32 | sed '/<kernel>/d; /<initrd>/d; /<cmdline>/d'
}

# api PATH [CURL-ARGUMENTS]: ask the daemon.
api() {
    local path=$1
    shift
    curl -sS --max-time 20 --unix-socket /run/virtfn/virtfn.sock "$@" "http://localhost$path"
}

# leases: print "DOMAIN DEVICE INDEX STATE" of each lease, sorted.
leases() {
    api /v1/leases | jq -r '.leases[] | "\(.domain.name) \(.device) \(.index) \(.state)"' | sort
}

# domain_state NAME: print how far the rendering of a domain is.
domain_state() {
    api "/v1/domains/$1" | jq -r .state
}

# rendered NAME: succeeds once the domain's XML names a function for each of its claims.
rendered() {
    [[ $(domain_state "$1") == rendered ]]
}

# free_functions POOL: print how many functions of a pool are free.
free_functions() {
    api "/v1/pools/$1" | jq .free
}

# connected: the daemon answers, and has libvirt.
connected() {
    [[ $(timeout -k 5 20 virtfn status --json | jq .libvirt.connected) == true ]]
}

# is_shut_off NAME
is_shut_off() {
    [[ $(virsh domstate "$1" | head -1) == 'shut off' ]]
}

# pf_up [ADDRESS/PREFIX]: give the igb card's own interface an address, so that guests have somebody to ping.
pf_up() {
    ip addr replace "${1:-192.0.2.1/24}" dev "$(pf_netdev igb 0)"
    ip link set "$(pf_netdev igb 0)" up
}

# net_guest NAME NUMBER: define a guest with a NIC of pool uplink, at 192.0.2.1NUMBER.
net_guest() {
    guest_define "$1" --metadata "$(claims "$(net_claim "$2")")" --append "virtfn.ip=eth0,192.0.2.1$2/24"
    wait_until 30 rendered "$1"
}

# net_guests_up: two of them, g1 and g2, that answer pings. For setup_file().
net_guests_up() {
    local i
    pf_up
    for i in 1 2; do
        net_guest "g$i" "$i"
        virsh -q start "g$i"
    done
    for i in 1 2; do
        guest_wait "g$i"
        wait_until 60 ping -c 1 -W 1 "192.0.2.1$i"
    done
}

# vfs: how many functions the igb card has.
vfs() {
    find "/sys/bus/pci/devices/$(pf igb 0)/" -name 'virtfn*' | wc -l
}

# guest_pings NAME ADDRESS [SECONDS]: the guest reaches an address within the time.
guest_pings() {
    wait_until "${3:-40}" guest_run "$1" ping -c 1 -W 1 "$2" >/dev/null
}

# agree: ledger, sysfs and libvirt say the same: each lease belongs to a running domain, each function that QEMU has
# open is leased, nothing else is. A descriptor that a virtfnd passed which has ended since is named without its /dev: the
# mount name space in which it was opened is gone.
agree() {
    local running leased open
    running=$(for name in $(virsh -q list --name); do
        virsh dumpxml "$name" | grep -o "ua-virtfn-[^'\"]*" | sed "s/^ua-virtfn-/$name /"
    done | sort)
    leased=$(leases | awk '{print $1, $2}')
    [[ $running == "$leased" ]] || {
        printf 'libvirt has:\n%s\nthe ledger has:\n%s\n' "$running" "$leased" >&2
        return 1
    }
    open=$(find /proc/[0-9]*/fd -lname '*/vfio/[0-9]*' 2>/dev/null | wc -l)
    [[ $open == "$(printf '%s' "$leased" | grep -c .)" ]] || {
        echo "$open functions are open, leased are: $leased" >&2
        return 1
    }
}

# reconf_by_command POOL OPTION..., reconf_by_api JSON: reconfigures one way or the other; the log says how long it took.
reconf_by_command() {
    virtfn --json reconf --yes "${@:2}" "$1" >"$BATS_TEST_TMPDIR/events"
    reconf_told command
}

reconf_by_api() {
    api /v1/reconf --max-time 120 -H 'Content-Type: application/json' --data "$1" >"$BATS_TEST_TMPDIR/events"
    reconf_told API
}

reconf_told() {
    jq -es 'last == {event: "done", ok: true}' "$BATS_TEST_TMPDIR/events" >/dev/null
    note "by $1: $(jq -rs 'map(select(.event == "times"))[0] |
        "away for \(.outage_us / 1000 | floor) ms: \([.steps_us | to_entries[] | "\(.key) \(.value / 1000 | floor)"] | join(", "))"' \
        "$BATS_TEST_TMPDIR/events")"
}

# virtfn_teardown: for teardown(): the journal of virtfnd for a failure, then no guests, no leases.
virtfn_teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || {
        mkdir -p "$VIRTFN_RESULTS/failed-$BATS_TEST_NUMBER"
        api /v1/status >"$VIRTFN_RESULTS/failed-$BATS_TEST_NUMBER/status.json" 2>&1
    }
    scenario_teardown
}
