# SPDX-License-Identifier: GPL-2.0-or-later
#
# The story that `make demo` tells. Each step is a command that a user would type, its output, and a check
# that what the story says is true.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash

teardown() {
    virtfn_teardown
}

# say WORDS...: a line of the story.
say() {
    note ""
    note "$*"
}

# show COMMAND: type a command line, let its output be seen.
show() {
    note "  \$ $1"
    bash -c "$1" 2>&1 | sed 's/^/# |   /' >&3
    return "${PIPESTATUS[0]}"
}

@test "demo" {
    device=$(pf_netdev igb 0)
    say "1. The host has a network card, $device, that can have 7 virtual functions. It has none yet:"
    show "cat /sys/class/net/$device/device/sriov_totalvfs /sys/class/net/$device/device/sriov_numvfs"

    say "2. The operator makes a pool of 4 of them. That is all of the configuration:"
    printf '[pool uplink]\npf = %s\ncount = 4\n' "$device" >/etc/virtfn/uplink.conf
    show "cat /etc/virtfn/uplink.conf"
    show "systemctl reload-or-restart virtfnd"
    wait_until 30 sh -c '[ "$(virtfn status --json | jq .libvirt.connected)" = true ]'

    say "3. VLAN 42 is what our guest shall be in. The host's side of it, so that there is somebody to ping:"
    show "ip link add link $device name $device.42 type vlan id 42"
    show "ip addr add 198.51.100.1/24 dev $device.42; ip link set $device up; ip link set $device.42 up"

    say "4. The owner of a guest adds one element to its XML, and defines it with plain virsh:"
    guest_xml web1 --metadata '
    <virtfn:devices xmlns:virtfn="urn:virtfn:domain:1.0">
      <virtfn:device name="net0" pool="uplink" mac="52:54:00:12:34:56" vlan="42"/>
    </virtfn:devices>
  ' --append virtfn.ip=eth0,198.51.100.2/24 >/root/web1.xml
    show "grep -B1 -A3 '<virtfn:devices' /root/web1.xml"
    show "virsh define /root/web1.xml"

    say "5. virtfn sees that, and names a function in the XML, one that does not exist so far:"
    wait_until 30 rendered web1
    show "virsh dumpxml --inactive web1 | grep -B6 -A1 ua-virtfn"
    show "lspci | grep -c 'Virtual Function' || true"

    say "6. virsh start: the libvirt hook asks virtfn, which creates the functions, sets MAC and VLAN, binds the
# function to vfio-pci, and records who has it:"
    show "virsh start web1"
    show "virtfn status"
    show "ip link show $device | grep 'vf 0'"

    say "7. The guest, a Debian kernel under KVM with its own stock igbvf driver, has its device:"
    guest_wait web1
    note "  (in the guest) \$ cat /sys/class/net/eth0/address"
    guest_run web1 cat /sys/class/net/eth0/address | sed 's/^/# |   /' >&3
    [ "$(guest_run web1 cat /sys/class/net/eth0/address)" = 52:54:00:12:34:56 ]

    say "8. It pings the host through its function, in VLAN 42:"
    guest_pings web1 198.51.100.1
    note "  (in the guest) \$ ping -c 3 198.51.100.1"
    guest_run web1 ping -c 3 198.51.100.1 | sed 's/^/# |   /' >&3

    say "9. The operator wants 6 functions. A card cannot add some: all are destroyed and made anew. The guest's QEMU lets go
# of its function meanwhile, and the guest keeps its device:"
    before=$(guest_run web1 cat /sys/class/net/eth0/ifindex)
    show "virtfn reconf --yes --vfs 6 uplink"
    show "lspci | grep -c 'Virtual Function'"
    note "  (in the guest) \$ ping -c 3 198.51.100.1"
    guest_pings web1 198.51.100.1
    guest_run web1 ping -c 3 198.51.100.1 | sed 's/^/# |   /' >&3
    [ "$(guest_run web1 cat /sys/class/net/eth0/ifindex)" = "$before" ] # the very same device
    show "ip link show $device | grep 'vf 0'"

    say "10. When it is shut down, its function is reset and free for the next guest:"
    show "virsh shutdown web1"
    wait_until 60 is_shut_off web1
    wait_until 10 sh -c '[ -z "$(virtfn list leases)" ]'
    show "virtfn list functions"

    say "That is it. 'make host' opens a shell in this host to try it yourself; README.md goes on from here."
    note ""
}
