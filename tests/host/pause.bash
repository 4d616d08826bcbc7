# SPDX-License-Identifier: GPL-2.0-or-later
#
# What scenarios about pausing share: guests with monitors of their own, functions that are destroyed and created
# again, and what can be said of a guest afterwards. Sourced after lib.bash.
#
# Scenarios act by hand here, without virtfnd: they show what the extension of QEMU does. The order of the steps is that
# of a reconfiguration: pause, write numvfs 0, write numvfs N, settings, bind, pass the group's descriptor, resume.

qmp_home=/run/virtfn/qmp
GUEST_RUN_TIMEOUT=${GUEST_RUN_TIMEOUT:-120} # these guests do more than others

# vfio_pause ARGUMENTS...: see /usr/share/virtfn-test/vfio-pause.
vfio_pause() {
    python3 -IS /usr/share/virtfn-test/vfio-pause "$@"
}

# monitors_ready: make the directory that guests put their monitors into. For setup_file().
monitors_ready() {
    install -d -m 711 /run/virtfn
    install -d -m 700 -o libvirt-qemu -g libvirt-qemu "$qmp_home"
}

# monitor_xml NAME: QEMU's arguments for the monitor that vfio-pause uses.
monitor_xml() {
    printf '<qemu:commandline>'
    printf "<qemu:arg value='%s'/>" -chardev "socket,id=pause,path=$qmp_home/$1.sock,server=on,wait=off" \
        -mon chardev=pause,mode=control
    printf '</qemu:commandline>'
}

# pause_guest_define NAME [OPTIONS of guest_xml]: define a guest with that monitor.
pause_guest_define() {
    guest_define "$@" --qemu "$(monitor_xml "$1")"
}

# mac NUMBER: the MAC address of the first igb card's virtual function.
mac() {
    printf '52:54:00:00:01:%02x' "$1"
}

# igb_create COUNT: give the igb card this many functions, with MAC and, if they have one, the VLAN in
# igb_vlan[NUMBER]. Nothing is bound.
declare -A igb_vlan=()
igb_create() {
    local number device
    device=$(pf_netdev igb 0)
    vf_create igb 0 "$1"
    ip link set "$device" up
    for ((number = 0; number < $1; number++)); do
        ip link set "$device" vf "$number" mac "$(mac "$number")"
        [[ -z ${igb_vlan[$number]:-} ]] || ip link set "$device" vf "$number" vlan "${igb_vlan[$number]}"
    done
}

# igb_bind NUMBER...: bind these functions, in this order.
igb_bind() {
    local number
    for number; do
        vfio_bind "$(vf igb 0 "$number")"
    done
}

# igb_functions COUNT: all of it, for a start.
igb_functions() {
    local numbers
    igb_create "$1"
    mapfile -t numbers < <(seq 0 $(($1 - 1)))
    igb_bind "${numbers[@]}"
}

# nvme_functions COUNT: functions of the NVMe card, each online with its own queues, and bound.
nvme_functions() {
    local number
    vf_create nvme 0 "$1"
    for ((number = 0; number < $1; number++)); do
        nvme_vf_online nvme 0 "$number" >/dev/null
        vfio_bind "$(vf nvme 0 "$number")"
    done
}

# functions_remove KIND: take the functions of a card away. Its helper process is ended after 20 seconds, because the
# kernel lets it wait for ever for a function that somebody has open.
functions_remove() {
    local address
    address=$(pf "$1" 0)
    timeout 20 sh -c "echo 0 >/sys/bus/pci/devices/$address/sriov_numvfs"
}

# nic NUMBER, disk NUMBER: the <hostdev> of a function; its id in QEMU is ua-nicNUMBER, ua-diskNUMBER.
nic() {
    hostdev_xml "$(vf igb 0 "$1")" "ua-nic$1"
}

disk() {
    hostdev_xml "$(vf nvme 0 "$1")" "ua-disk$1"
}

# guest_pid NAME: the process of a guest's QEMU.
guest_pid() {
    cat "/run/libvirt/qemu/$1.pid"
}

# vfio_traces NAME: print what a guest's QEMU has of VFIO: descriptors and mappings. (KVM's own bookkeeping, kvm-vfio, holds no
# device by itself.)
vfio_traces() {
    local pid
    pid=$(guest_pid "$1")
    find "/proc/$pid/fd" -lname '*vfio*' ! -lname '*kvm-vfio' -printf '%l\n'
    grep -o '[^ ]*vfio.*' "/proc/$pid/maps" || true
}

# has_no_vfio NAME: the guest's QEMU holds nothing of any VFIO device, group or container.
has_no_vfio() {
    local traces
    traces=$(vfio_traces "$1")
    [[ -z $traces ]] || {
        printf '%s still has:\n%s\n' "$1" "$traces" >&2
        return 1
    }
}

# group_device ADDRESS: the device number (MAJOR:MINOR) of a function's group, as the kernel has it now.
group_device() {
    cat "/sys/class/vfio/$(basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")")/dev"
}

# open_groups NAME: the device numbers of the groups that a guest's QEMU has open.
open_groups() {
    local pid file numbers
    pid=$(guest_pid "$1")
    find "/proc/$pid/fd" -lname '*/vfio/[0-9]*' | while read -r file; do
        numbers=$(stat -L -c '0x%t:0x%T' "$file")
        printf '%d:%d\n' "${numbers%:*}" "${numbers#*:}"
    done | sort
}

# has_groups NAME ADDRESS...: the guest's QEMU has exactly the groups of these functions open, by device number: the
# name of a node proves nothing.
has_groups() {
    local name=$1 address wanted open
    shift
    wanted=$(for address; do group_device "$address"; done | sort)
    open=$(open_groups "$name")
    [[ $open == "$wanted" ]] || {
        printf '%s has open:\n%s\nits own are:\n%s\n' "$name" "$open" "$wanted" >&2
        return 1
    }
}

# device_state NAME DEVICE [FIELD]: what query-vfio-pause says of a guest's device.
device_state() {
    vfio_pause qmp "$1" query-vfio-pause | jq -r --arg id "$2" ".[] | select(.\"device-id\" == \$id) | .\"${3:-state}\""
}

# accessed NAME DEVICE: the guest has touched its paused device.
accessed() {
    [[ $(device_state "$1" "$2" accesses) -gt 0 ]]
}

# disk_started NAME: the guest writes numbered records to a file system on its NVMe function.
disk_started() {
    wait_until 60 guest_run "$1" test -b /dev/nvme0n1
    guest_run "$1" '/bin/steady disk /dev/nvme0n1 >/dev/console 2>&1 &'
    wait_until 60 more_records "$1" 20
}

# more_records NAME COUNT: the guest has written more than that.
more_records() {
    [[ $(guest_run "$1" /bin/steady count disk) -gt $2 ]]
}

# guest_log NAME FILTER: the kernel log of the guest through a command of the guest's: a serial port is slow.
guest_log() {
    guest_run "$1" "dmesg | $2"
}

# log_lacks NAME WORDS: the guest's own log has no line that matches this regular expression.
log_lacks() {
    local found
    found=$(guest_log "$1" "{ grep -iE '$2' || test \$? = 1; }") || return
    [[ -z $found ]] || {
        printf 'the log of %s has:\n%s\n' "$1" "$found" >&2
        return 1
    }
}

# no_unplug NAME: the guest's own log has no hot-unplug of any kind.
no_unplug() {
    log_lacks "$1" 'pciehp|Slot\(.*\): (Link Down|Card not present|Attention button|Button|Powering off)|surprise|: removed'
}

# guest_devices NAME: what tells a device from one that came in its place: network interface numbers, block device sequence
# numbers, and the boot's identifier.
guest_devices() {
    guest_run "$1" 'cat /proc/sys/kernel/random/boot_id /sys/class/net/eth*/ifindex /sys/class/block/nvme*n*/diskseq 2>/dev/null; true'
}

# pings_start NAME ADDRESS: from the host, ping a guest ten times a second until pings_stop.
pings_start() {
    ping -D -O -n -i 0.1 "$2" >"$BATS_TEST_TMPDIR/pings.$1" 2>&1 3>&- &
    echo "$!" >"$BATS_TEST_TMPDIR/pings.$1.pid"
    wait_until 20 grep -q 'bytes from' "$BATS_TEST_TMPDIR/pings.$1"
}

pings_stop() {
    kill -INT "$(cat "$BATS_TEST_TMPDIR/pings.$1.pid")"
}

# pings_since NAME TIME: succeeds once a ping sent after TIME (seconds since 1970) was answered.
pings_since() {
    awk -v since="$2" '/bytes from/ { sub(/^\[/, ""); if ($1 + 0 > since) found = 1 } END { exit !found }' \
        "$BATS_TEST_TMPDIR/pings.$1"
}

# pings_delay NAME TIME: how many ms after TIME the first answer to a ping came.
pings_delay() {
    awk -v since="$2" '/bytes from/ { sub(/^\[/, ""); if ($1 + 0 > since) { printf "%d\n", ($1 - since) * 1000; exit } }' \
        "$BATS_TEST_TMPDIR/pings.$1"
}

# pings_gap NAME: the longest time in ms between two answers.
pings_gap() {
    awk '/bytes from/ { sub(/^\[/, ""); at = $1 + 0; if (last && at - last > gap) gap = at - last; last = at }
        END { printf "%d\n", gap * 1000 }' "$BATS_TEST_TMPDIR/pings.$1"
}

# clock: seconds since 1970, with fractions.
clock() {
    date +%s.%N
}

# elapsed TIME: milliseconds since then.
elapsed() {
    awk -v from="$1" -v to="$(clock)" 'BEGIN { printf "%d\n", (to - from) * 1000 }'
}
