# SPDX-License-Identifier: GPL-2.0-or-later
#
# The main job on real components: an annotation, virsh define, virsh start, and the guest has its function.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash

# A place for a device that comes while the guest runs: libvirt gives a q35 guest no spare port by itself.
spare_port="<controller type='pci' index='0' model='pcie-root'/><controller type='pci' model='pcie-root-port'/>"

setup_file() {
    pools_write
    wait_until 30 sh -c 'virtfn status | grep -q "connected"'
    pf_up
}

teardown() {
    virtfn_teardown
}

@test "the daemon is ready before libvirt and connects to it" {
    systemctl is-active virtfnd.service virtfnd.socket
    wait_until 30 sh -c '[ "$(virtfn status --json | jq .libvirt.connected)" = true ]'
    [ "$(api /v1/status | jq '.problems | length')" = 0 ]
}

@test "define, start, ping, reboot, shut down, start again" {
    guest_define g1 --metadata "$(claims "$(net_claim 1)")" --append virtfn.ip=eth0,192.0.2.11/24
    wait_until 30 rendered g1
    virsh dumpxml --inactive g1 | grep -q "ua-virtfn-net0"
    start=$(date +%s%N)
    virsh -q start g1
    note "virsh start took $((($(date +%s%N) - start) / 1000000)) ms, with the creation of 7 VFs"
    guest_wait g1
    [ "$(guest_run g1 cat /sys/class/net/eth0/address)" = 52:54:00:00:00:01 ]
    guest_pings g1 192.0.2.1
    ping -c 2 -W 2 192.0.2.11
    [ "$(leases)" = "g1 net0 0 running" ]
    agree

    virsh -q reboot g1
    wait_until 60 sh -c '[ "$(grep -c "guest: ready" /var/lib/virtfn-test/g1.console)" = 2 ]'
    guest_wait g1
    guest_pings g1 192.0.2.1
    agree

    virsh -q shutdown g1
    wait_until 60 is_shut_off g1
    wait_until 10 sh -c '[ -z "$(virtfn list leases)" ]'
    [ "$(free_functions uplink)" = 7 ]

    virsh -q start g1
    guest_wait g1
    guest_pings g1 192.0.2.1
    agree
}

@test "a VLAN of the annotation carries the guest's untagged traffic" {
    device=$(pf_netdev igb 0)
    ip link add link "$device" name "$device.42" type vlan id 42
    ip addr add 198.51.100.1/24 dev "$device.42"
    ip link set "$device.42" up
    guest_define v1 --metadata "$(claims "$(net_claim 2) vlan=\"42\"")" \
        --append virtfn.ip=eth0,198.51.100.2/24
    wait_until 30 rendered v1
    virsh -q start v1
    guest_wait v1
    guest_pings v1 198.51.100.1
    guest_remove v1
    ip link del "$device.42"
}

@test "editing the annotation of a running guest changes its next start" {
    guest_define e1 --metadata "$(claims "$(net_claim 3)")" --append virtfn.ip=eth0,192.0.2.13/24
    wait_until 30 rendered e1
    virsh -q start e1
    guest_wait e1
    virsh dumpxml --inactive e1 >"$BATS_TEST_TMPDIR/e1.xml"
    sed -i 's/52:54:00:00:00:03/52:54:00:00:00:33/' "$BATS_TEST_TMPDIR/e1.xml"
    virsh -q define "$BATS_TEST_TMPDIR/e1.xml"
    wait_until 30 rendered e1
    [ "$(guest_run e1 cat /sys/class/net/eth0/address)" = 52:54:00:00:00:03 ]
    virsh -q destroy e1
    virsh -q start e1
    guest_wait e1
    [ "$(guest_run e1 cat /sys/class/net/eth0/address)" = 52:54:00:00:00:33 ]
    agree
}

@test "a removed annotation takes its device out of the XML" {
    guest_define r1 --metadata "$(claims "$(net_claim 4)")"
    wait_until 30 rendered r1
    virsh metadata r1 urn:virtfn:domain:1.0 --config --remove
    wait_until 30 sh -c '! virsh dumpxml --inactive r1 | grep -qE "ua-virtfn|virtfn-qmp"'
    virsh -q start r1
    guest_wait r1
    [ -z "$(leases)" ]
}

@test "define and start at once, twenty times in a row" {
    for i in $(seq 20); do
        bare_guest d1 --metadata "$(claims "$(net_claim 5)")" --device "$spare_port" >"$BATS_TEST_TMPDIR/d1.xml"
        virsh -q define "$BATS_TEST_TMPDIR/d1.xml" && virsh -q start d1
        wait_until 60 sh -c '[ "$(virsh dumpxml d1 | grep -c ua-virtfn-net0)" = 1 ]'
        guest_remove d1
    done
    guest_xml d1 --metadata "$(claims "$(net_claim 5)")" --device "$spare_port" >"$BATS_TEST_TMPDIR/d1.xml"
    virsh -q define "$BATS_TEST_TMPDIR/d1.xml" && virsh -q start d1
    guest_wait d1
    wait_until 30 guest_run d1 test -e /sys/class/net/eth0
    [ "$(guest_run d1 cat /sys/class/net/eth0/address)" = 52:54:00:00:00:05 ]
    agree
}

@test "virsh create of an annotated transient domain, as it is and rendered" {
    guest_xml t1 --metadata "$(claims "$(net_claim 6)")" --device "$spare_port" >"$BATS_TEST_TMPDIR/t1.xml"
    virsh -q create "$BATS_TEST_TMPDIR/t1.xml"
    guest_wait t1
    wait_until 30 guest_run t1 test -e /sys/class/net/eth0
    [ "$(guest_run t1 cat /sys/class/net/eth0/address)" = 52:54:00:00:00:06 ]
    agree
    virsh -q destroy t1
    wait_until 10 sh -c '[ -z "$(virtfn list leases)" ]'

    virtfn render "$BATS_TEST_TMPDIR/t1.xml" | virsh -q create /dev/stdin
    guest_wait t1
    [ "$(guest_run t1 cat /sys/class/net/eth0/address)" = 52:54:00:00:00:06 ]
    agree
}

@test "a guest without a free port runs without its device, and status says why" {
    guest_xml t2 --metadata "$(claims "$(net_claim 6)")" >"$BATS_TEST_TMPDIR/t2.xml"
    virsh -q create "$BATS_TEST_TMPDIR/t2.xml"
    wait_until 30 sh -c 'virtfn status --json | jq -e ".domains[] | select(.name == \"t2\").attach.remedy | test(\"pcie-root-port\")"'
    [ "$(virsh domstate t2)" = running ]
    wait_until 10 sh -c '[ -z "$(virtfn list leases)" ]'
}

@test "a plain hostdev that points into a pool is leased too" {
    address=$(api /v1/functions?pool=uplink | jq -r '.functions[6].address')
    guest_define p1 --device "$(hostdev_xml "$address")"
    virsh -q start p1
    guest_wait p1
    [ "$(leases)" = "p1 pci-$address 6 running" ]
    guest_define p2 --device "$(hostdev_xml "$address")"
    run virsh -q start p2
    [ "$status" -ne 0 ]
    [[ $output == *"held by domain 'p1'"* ]]
    guest_remove p1
    wait_until 10 sh -c '[ -z "$(virtfn list leases)" ]'
}

@test "a guest with a NIC and an NVMe function uses both" {
    guest_define n1 --append virtfn.ip=eth0,192.0.2.17/24 \
        --metadata "$(claims "$(net_claim 7)" 'name="disk0" pool="disk"')"
    wait_until 30 rendered n1
    virsh -q start n1
    guest_wait n1
    guest_pings n1 192.0.2.1
    wait_until 30 guest_run n1 test -b /dev/nvme0n1
    guest_run n1 'echo virtfn was here | dd of=/dev/nvme0n1 bs=512 conv=sync seek=8 oflag=direct'
    guest_run n1 'dd if=/dev/nvme0n1 bs=512 skip=8 count=1 iflag=direct' | grep -a 'virtfn was here'
    [ "$(leases)" = $'n1 disk0 0 running\nn1 net0 0 running' ]
    agree
}

@test "virt-install and virt-xml on an annotated domain" {
    virt-install --name i1 --memory 192 --vcpus 1 --osinfo linux2022 --machine q35 --graphics none --network none \
        --import --disk none --noautoconsole --memballoon none \
        --boot 'kernel=/usr/share/virtfn-test/guest/vmlinuz,initrd=/usr/share/virtfn-test/guest/initrd,kernel_args=console=ttyS0 quiet' \
        --print-xml >"$BATS_TEST_TMPDIR/i1.xml"
    virsh -q define "$BATS_TEST_TMPDIR/i1.xml"
    virsh metadata i1 urn:virtfn:domain:1.0 --config --key virtfn \
        --set "<devices><device $(net_claim 8)/></devices>"
    wait_until 30 rendered i1
    virt-xml i1 --edit --memory 200
    wait_until 30 rendered i1
    virsh dumpxml --inactive i1 | grep -q ua-virtfn-net0
    virsh -q start i1
    wait_until 10 agree
    [ "$(leases)" = "i1 net0 0 running" ]
}

@test "a guest without annotation starts and stops with virtfnd stopped" {
    systemctl stop virtfnd.socket virtfnd.service
    guest_define u1
    virsh -q start u1
    guest_wait u1
    virsh -q destroy u1
    guest_define u2 --metadata "$(claims "$(net_claim 9)")"
    run virsh -q start u2
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"systemctl start virtfnd"* ]]
    systemctl start virtfnd.socket virtfnd.service
}
