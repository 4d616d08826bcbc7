# SPDX-License-Identifier: GPL-2.0-or-later
#
# Proves the emulated host itself, without virtfn: its cards, its IOMMU, its KVM, its libvirt with AppArmor, and
# that a guest's own driver works on a virtual function that was created and configured by hand.

source /usr/share/virtfn-test/lib.bash

teardown() {
    scenario_teardown
}

@test "the IOMMU is on and isolates each card" {
    [ -d /sys/class/iommu/dmar0 ]
    [ -e "/sys/bus/pci/devices/$(pf igb 0)/iommu_group" ]
    [ -e "/sys/bus/pci/devices/$(pf nvme 0)/iommu_group" ]
}

@test "igb offers 7 functions and NVMe 8" {
    [ "$(cat "/sys/bus/pci/devices/$(pf igb 0)/sriov_totalvfs")" = 7 ]
    [ "$(cat "/sys/bus/pci/devices/$(pf nvme 0)/sriov_totalvfs")" = 8 ]
}

@test "KVM with nested paging is there" {
    [ -c /dev/kvm ]
    [ -d /sys/module/kvm_amd ]
    [ "$(cat /sys/module/kvm_amd/parameters/npt)" = Y ]
}

@test "libvirt uses AppArmor" {
    virsh capabilities | xmllint --xpath '//secmodel[model="apparmor"]/model/text()' -
    aa-status --enabled
}

@test "a guest with nothing starts, is confined, answers, reboots and shuts down" {
    guest_define plain
    start=$(date +%s%N)
    virsh -q start plain
    guest_wait plain
    note "a guest is up $((($(date +%s%N) - start) / 1000000)) ms after virsh start"
    guest_console plain | sed 's/^/# /' >&3
    ps -eo label:60,args | grep '[q]emu-system' | sed 's/^/# /' | cut -c 1-160 >&3
    ps -eo label:60,args | grep '[q]emu-system' | grep -q '^libvirt-.*(enforce)'
    run guest_run plain 'echo out; echo err >&2; exit 7'
    [ "$status" -eq 7 ]
    [ "$output" = $'out\nerr' ]
    virsh -q reboot plain
    wait_until 120 sh -c '[ "$(grep -c "guest: ready" /var/lib/virtfn-test/plain.console)" = 2 ]'
    guest_wait plain
    virsh -q shutdown plain
    wait_until 30 sh -c '[ "$(virsh domstate plain | head -1)" = "shut off" ]'
}

# igb_function MAC VLAN: one function of the first igb, configured from the PF and bound to vfio-pci.
igb_function() {
    local device
    device=$(pf_netdev igb 0)
    vf_create igb 0 2
    ip link set "$device" up
    ip link set "$device" vf 0 mac "$1"
    ip link set "$device" vf 0 vlan "$2"
    vfio_bind "$(vf igb 0 0)"
}

@test "a guest pings the host through an igb function" {
    igb_function 52:54:00:12:34:56 0
    ip addr replace 192.0.2.1/24 dev "$(pf_netdev igb 0)"
    guest_define net --device "$(hostdev_xml "$(vf igb 0 0)")" --append virtfn.ip=eth0,192.0.2.2/24
    start=$(date +%s%N)
    virsh -q start net
    guest_wait net
    note "a guest with a function is up $((($(date +%s%N) - start) / 1000000)) ms after virsh start"
    guest_console net | sed 's/^/# /' >&3
    [ "$(guest_run net cat /sys/class/net/eth0/address)" = 52:54:00:12:34:56 ]
    wait_until 30 guest_run net ping -c 1 -W 1 192.0.2.1
    ping -c 3 -W 2 192.0.2.2
    guest_remove net
    vf_remove igb 0
}

@test "a VLAN set from the PF carries the guest's untagged traffic" {
    device=$(pf_netdev igb 0)
    igb_function 52:54:00:12:34:56 42
    ip addr flush dev "$device"
    ip link add link "$device" name "$device.42" type vlan id 42
    ip addr add 192.0.2.1/24 dev "$device.42"
    ip link set "$device.42" up
    guest_define vlan --device "$(hostdev_xml "$(vf igb 0 0)")" --append virtfn.ip=eth0,192.0.2.2/24
    virsh -q start vlan
    guest_wait vlan
    ip -d link show "$device" | sed 's/^/# /' >&3
    wait_until 30 guest_run vlan ping -c 1 -W 1 192.0.2.1
    ping -c 3 -W 2 192.0.2.2
    guest_remove vlan
    ip link del "$device.42"
    vf_remove igb 0
}

@test "a guest reads and writes a namespace through an NVMe function" {
    vf_create nvme 0 2
    nvme_vf_online nvme 0 0
    vfio_bind "$(vf nvme 0 0)"
    guest_define disk --device "$(hostdev_xml "$(vf nvme 0 0)")"
    virsh -q start disk
    guest_wait disk
    wait_until 30 guest_run disk test -b /dev/nvme0n1
    guest_console disk | sed 's/^/# /' >&3
    guest_run disk 'echo virtfn was here | dd of=/dev/nvme0n1 bs=512 conv=sync seek=8 oflag=direct'
    guest_run disk 'dd if=/dev/nvme0n1 bs=512 skip=8 count=1 iflag=direct' | grep -a 'virtfn was here'
    dd "if=/dev/$(pf_controller nvme 0)n1" bs=512 skip=8 count=1 iflag=direct | grep -a 'virtfn was here'
    guest_remove disk
    vf_remove nvme 0
}
