# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfn doctor on trees of files below --root: one tree of a healthy host, and in each test one thing
# that is not as it should be. Findings are compared as "LEVEL CHECK OBJECT".

bats_require_minimum_version 1.5.0

setup() {
    load ../lib/cli.bash
    root=$BATS_TEST_TMPDIR/host
    device=$root/sys/bus/pci/devices/0000:01:00.0
    "$BATS_TEST_DIRNAME/../lib/fakehost" "$root" igb@0000:01:00.0,net=eno1
    make_healthy
}

teardown() {
    stop_peer
}

# put FILE TEXT: a file below the root.
put() {
    mkdir -p "$(dirname "$root/$1")"
    printf '%s\n' "$2" >"$root/$1"
}

# VF number $1 of the PF, in IOMMU group $2.
add_function() {
    local address
    address=$(printf '0000:01:10.%x' "$(($1 * 2))")
    mkdir -p "$root/sys/bus/pci/devices/$address" "$root/sys/kernel/iommu_groups/$2/devices/$address"
    ln -s "../$address" "$device/virtfn$1"
    ln -s "../../../../kernel/iommu_groups/$2" "$root/sys/bus/pci/devices/$address/iommu_group"
}

make_healthy() {
    put etc/virtfn/uplink.conf $'[pool uplink]\npf=eno1\ncount=2'
    put proc/version 'Linux version 6.1.0-40-amd64 (…) #1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)'
    put proc/sys/kernel/osrelease 6.1.0-40-amd64
    put proc/cmdline 'BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro intel_iommu=on'
    put proc/cpuinfo 'vendor_id	: GenuineIntel'
    put etc/libvirt/hooks/qemu.d/50-virtfn '#!/bin/true'
    chmod 0755 "$root/etc/libvirt/hooks/qemu.d/50-virtfn"
    mkdir -p "$root/run/virtfn/qmp"
    put lib/systemd/system/libvirtd.service '[Service]'
    put lib/systemd/system/libvirtd.service.d/50-virtfn.conf $'[Service]\nExecStartPre=/usr/sbin/virtfn settle'
    put sys/class/net/eno1/flags 0x1003
    put sys/class/net/eno1/carrier 1
    printf '1\n' >"$device/ari_enabled"
    add_function 0 20
    add_function 1 21
    answer 'GET /v1/status' '200 OK' application/json '{"version":"0.1.0"}'
    start_peer
}

doctor() {
    "$BUILD/virtfn" --socket "$SOCKET" doctor --root "$root" "$@"
}

# What is not ok, as "LEVEL CHECK OBJECT" lines.
complaints() {
    doctor | grep -v '^ok' | cut -f 1-3 | tr '\t' ' '
}

# expect_only "LEVEL CHECK OBJECT" [TEXT]: this finding and no other, its text or remedy with TEXT.
expect_only() {
    local lines
    lines=$(complaints || true)
    if [[ $lines != "$1" ]]; then
        printf 'expected: %s\ngot:\n%s\n' "$1" "$lines"
        return 1
    fi
    if [[ -n ${2-} ]] && ! doctor | grep -v '^ok' | grep -qF -- "$2"; then
        printf 'nothing says: %s\n' "$2"
        doctor | grep -v '^ok'
        return 1
    fi
}

@test "a healthy host: all is ok and the exit code is 0" {
    run -0 doctor
    [[ $(cut -f 1 <<<"$output" | sort -u) == ok ]]
    [[ $(cut -f 2 <<<"$output" | sort | paste -sd ' ') == \
        'apparmor buses daemon groups hook iommu kernel limit link owners pf qmp settle vfio' ]]
}

@test "a warning alone leaves the exit code 0" {
    put sys/class/net/eno1/carrier 0
    run -0 doctor
    expect_only 'warning link 0000:01:00.0' 'eno1 has no carrier'
}

@test "each finding that is not ok has a remedy" {
    rm -r "${root:?}/etc" "${root:?}/run" "${root:?}/proc" "${root:?}/sys/kernel"
    stop_peer
    PEER_PID=
    run -1 doctor
    [[ $(grep -v '^ok' <<<"$output" | cut -f 5 | grep -cx -- -) -eq 0 ]]
}

# The host

@test "iommu: off for want of an argument" {
    rm -r "${root:?}/sys/kernel/iommu_groups"
    put proc/cmdline 'root=/dev/vda1'
    run -1 doctor
    [[ $output == *'add intel_iommu=on to the kernel command line'* ]]
}

@test "iommu: off in the firmware" {
    rm -r "${root:?}/sys/kernel/iommu_groups"
    expect_only 'problem iommu host' 'switch on VT-d in the firmware setup and reboot'
    put proc/cpuinfo 'vendor_id	: AuthenticAMD'
    expect_only 'problem iommu host' 'AMD-Vi'
}

@test "iommu: switched off" {
    rm -r "${root:?}/sys/kernel/iommu_groups"
    put proc/cmdline 'root=/dev/vda1 amd_iommu=off'
    expect_only 'problem iommu host' 'remove amd_iommu=off from the kernel command line'
}

@test "iommu: vfio does without it" {
    put sys/module/vfio/parameters/enable_unsafe_noiommu_mode Y
    expect_only 'warning iommu host' enable_unsafe_noiommu_mode
}

@test "vfio: loaded, loadable, built in, missing" {
    rm -r "${root:?}/sys/bus/pci/drivers/vfio-pci"
    expect_only 'problem vfio host' 'kernel 6.1.0-40-amd64 has no vfio-pci'
    put lib/modules/6.1.0-40-amd64/modules.dep 'kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/vfio.ko'
    expect_only ''
    rm "${root:?}/lib/modules/6.1.0-40-amd64/modules.dep"
    put lib/modules/6.1.0-40-amd64/modules.builtin 'kernel/drivers/vfio/pci/vfio-pci.ko'
    expect_only ''
}

@test "kernel: Debian's release hides the version, /proc/version has it" {
    put proc/version 'Linux version 6.1.0-37-amd64 (…) #1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)'
    expect_only 'warning kernel host' 'kernel 6.1.140-1 may open'
}

@test "kernel: Ubuntu's version, an upstream one, none" {
    put proc/version_signature 'Ubuntu 6.17.0-5.5-generic 6.17.0'
    put proc/version 'Linux version 6.17.0-5-generic'
    expect_only ''
    rm "${root:?}/proc/version_signature"
    put proc/sys/kernel/osrelease 6.16.0
    expect_only 'warning kernel host' 'kernel 6.16.0 may open'
    rm "${root:?}/proc/version" "${root:?}/proc/sys/kernel/osrelease"
    expect_only 'warning kernel host' 'of unknown version'
}

# libvirt

@test "hook: missing, not executable" {
    chmod 0644 "$root/etc/libvirt/hooks/qemu.d/50-virtfn"
    expect_only 'problem hook host' 'chmod 0755'
    rm "${root:?}/etc/libvirt/hooks/qemu.d/50-virtfn"
    expect_only 'problem hook host' 'guests start without virtfn'
}

@test "qmp: no directory" {
    rmdir "$root/run/virtfn/qmp"
    expect_only 'warning qmp host' /run/virtfn/qmp
}

@test "settle: each libvirt daemon that there is" {
    rm "$root/lib/systemd/system/libvirtd.service.d/50-virtfn.conf"
    expect_only 'warning settle host' 'libvirtd.service may start in the middle of a reconf'
    put etc/systemd/system/libvirtd.service.d/local.conf 'ExecStartPre=/usr/local/sbin/virtfn settle'
    expect_only ''
    put usr/lib/systemd/system/virtqemud.service '[Service]'
    put usr/lib/systemd/system/virtqemud.service.d/other.conf '[Service]'
    expect_only 'warning settle host' 'virtqemud.service may start'
}

@test "apparmor: a rule counts where the abstraction includes it" {
    put sys/module/apparmor/parameters/enabled Y
    expect_only 'problem apparmor host' /etc/apparmor.d/local/abstractions/libvirt-qemu
    cp "$BATS_TEST_DIRNAME/../../plugin/systemd/apparmor-libvirt-qemu" "$BATS_TEST_TMPDIR/rule"
    put etc/apparmor.d/abstractions/libvirt-qemu.d/virtfn "$(<"$BATS_TEST_TMPDIR/rule")"
    put etc/apparmor.d/abstractions/libvirt-qemu '  #include <local/abstractions/libvirt-qemu>'
    expect_only 'problem apparmor host'
    put etc/apparmor.d/local/abstractions/libvirt-qemu "$(<"$BATS_TEST_TMPDIR/rule")"
    expect_only ''
    rm "${root:?}/etc/apparmor.d/local/abstractions/libvirt-qemu"
    put etc/apparmor.d/abstractions/libvirt-qemu '  include if exists <abstractions/libvirt-qemu.d>'
    expect_only ''
}

@test "daemon: nobody answers" {
    stop_peer
    PEER_PID=
    expect_only 'problem daemon host' 'systemctl start virtfnd'
}

# Configuration

@test "config: a mistake is a finding, and the host is examined anyway" {
    put etc/virtfn/uplink.conf $'[pool uplink]\npfs=eno1'
    expect_only 'problem config host' 'uplink.conf:2:'
}

@test "config: none" {
    rm -r "${root:?}/etc/virtfn"
    expect_only 'warning pool host' virtfn.conf
}

@test "config: a PF in no pool is left alone" {
    rm -r "${root:?}/etc/virtfn"
    run -0 doctor
    [[ $output == *$'ok\tpf\t0000:01:00.0\teno1, 8086:10c9 with up to 7 functions, in no pool: left alone'* ]]
}

@test "pool: no PF" {
    put etc/virtfn/more.conf $'[pool more]\npf=eno9\ncount=1'
    expect_only 'problem pool more' "no physical function with SR-IOV matches 'eno9'"
}

@test "--config reads another directory" {
    mkdir "$BATS_TEST_TMPDIR/conf"
    run doctor --config "$BATS_TEST_TMPDIR/conf"
    [[ $status -eq 0 && $output == *'no pool is configured'* ]]
}

@test "a name picks one pool or one PF" {
    put etc/virtfn/more.conf $'[pool more]\npf=eno9\ncount=1'
    for name in uplink eno1 0000:01:00.0 01:00.0; do
        run -0 doctor "$name"
        [[ $output == *$'ok\tgroups\t0000:01:00.0\t'* ]]
    done
    run -1 doctor more
    [[ $output == *$'problem\tpool\tmore\t'* && $output != *0000:01:00.0* ]]
    run doctor nothing
    expect 1 "virtfn: nothing: neither a pool nor a physical function with SR-IOV -- 'virtfn doctor' without a name shows those there are"
}

# PFs

@test "pf: no driver, vfio-pci, the default route" {
    rm "$device/driver"
    expect_only 'problem pf 0000:01:00.0' 'has no driver'
    ln -s ../../../bus/pci/drivers/vfio-pci "$device/driver"
    expect_only 'problem pf 0000:01:00.0' 'bound to vfio-pci'
    rm "$device/driver"
    ln -s ../../../bus/pci/drivers/igb "$device/driver"
    mkdir -p "$root/sys/class/net/eno1/upper_br0"
    printf 'br0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n' >>"$root/proc/net/route"
    expect_only 'problem pf 0000:01:00.0' "carries this host's default route"
    put etc/virtfn/uplink.conf $'[pool uplink]\npf=eno1\ncount=2\nallow-default-route=true'
    expect_only ''
}

@test "pf: more functions than there can be" {
    put etc/virtfn/uplink.conf $'[pool uplink]\npf=eno1\ncount=8'
    run -1 doctor
    [[ $(complaints) == $'problem pf 0000:01:00.0\nproblem limit 0000:01:00.0' ]]
}

@test "limit: sriov_numvfs cannot be written" {
    rm "$device/sriov_numvfs"
    expect_only 'problem limit 0000:01:00.0' 'sriov_numvfs cannot be written'
}

@test "buses: the slot has too few" {
    mkdir -p "$root/sys/devices/bridge"
    mv "$root/sys/devices/pci0000:00/0000:01:00.0" "$root/sys/devices/bridge/"
    ln -sfn ../../../devices/bridge/0000:01:00.0 "$device"
    put sys/devices/bridge/subordinate_bus_number 1
    expect_only ''
    printf '384\n' >"$device/sriov_offset.new"
    mv "$device/sriov_offset.new" "$device/sriov_offset"
    expect_only 'problem buses 0000:01:00.0' 'would be on bus 02, the slot has buses up to 01'
}

@test "buses: behind the last one" {
    printf '65535\n' >"$device/sriov_offset.new"
    mv "$device/sriov_offset.new" "$device/sriov_offset"
    expect_only 'problem buses 0000:01:00.0' 'would lie behind the last bus number'
}

@test "ari: off" {
    printf '0\n' >"$device/ari_enabled"
    expect_only 'problem ari 0000:01:00.0' 'functions beyond device 00'
}

@test "groups: functions share one" {
    rm "${device:?}"/virtfn*
    rm -r "${root:?}"/sys/bus/pci/devices/0000:01:10.*
    add_function 0 30
    add_function 1 30
    expect_only 'problem groups 0000:01:00.0' '0000:01:10.0 shares its IOMMU group with 0000:01:10.2'
}

@test "groups: unknown without functions" {
    rm "${device:?}"/virtfn*
    run -0 doctor
    [[ $output == *'IOMMU groups are known when functions exist'* ]]
}

@test "link: down, and the pool leaves it down" {
    put sys/class/net/eno1/flags 0x1002
    expect_only ''
    put etc/virtfn/uplink.conf $'[pool uplink]\npf=eno1\ncount=2\nlink=keep'
    expect_only 'warning link 0000:01:00.0' 'ip link set eno1 up'
}

# Other owners

@test "netplan" {
    put etc/netplan/01.yaml $'network:\n  ethernets:\n    eno1:\n      virtual-function-count: 4'
    expect_only 'problem netplan 0000:01:00.0' /etc/netplan/01.yaml
    put etc/netplan/01.yaml $'network:\n  ethernets:\n    eno2:\n      virtual-function-count: 4'
    expect_only ''
}

@test "NetworkManager: by interface or by MAC address" {
    put etc/NetworkManager/system-connections/a.nmconnection \
        $'[connection]\ninterface-name=eno1\n[sriov]\ntotal-vfs=4'
    expect_only 'problem networkmanager 0000:01:00.0' a.nmconnection
    put etc/NetworkManager/system-connections/a.nmconnection \
        $'[connection]\nid=x\n[ethernet]\nmac-address=52:54:00:FF:00:01\n[sriov]\ntotal-vfs=4'
    expect_only 'problem networkmanager 0000:01:00.0'
    put etc/NetworkManager/system-connections/a.nmconnection \
        $'[connection]\ninterface-name=eno1'
    expect_only ''
}

@test "systemd.link: what its [Match] means" {
    for match in OriginalName=en* Path=pci-0000:01:00.0 Driver=igb MACAddress=52:54:00:ff:00:01; do
        put usr/lib/systemd/network/10.link $'[Match]\n'"$match"$'\n[Link]\nSR-IOVVirtualFunctions=4'
        expect_only 'warning systemd-link 0000:01:00.0' /usr/lib/systemd/network/10.link
    done
    put usr/lib/systemd/network/10.link $'[Match]\nOriginalName=en*\nDriver=ixgbe\n[SR-IOV]\nVirtualFunction=0'
    expect_only ''
    put etc/systemd/network/10.link $'[Match]\nOriginalName=eth0 eno1\n[SR-IOV]\nVirtualFunction=0'
    expect_only 'warning systemd-link 0000:01:00.0' /etc/systemd/network/10.link
}

@test "driverctl: the PF, and a function" {
    put etc/driverctl.d/pci-0000:01:00.0 vfio-pci
    expect_only 'problem driverctl 0000:01:00.0' 'driverctl unset-override 0000:01:00.0'
    mv "$root/etc/driverctl.d/pci-0000:01:00.0" "$root/etc/driverctl.d/pci-0000:01:10.2"
    expect_only 'warning driverctl 0000:01:00.0' 'driverctl unset-override 0000:01:10.2'
}

@test "sysfsutils: by address or by interface" {
    put etc/sysfs.conf 'bus/pci/devices/0000:01:00.0/sriov_numvfs = 4'
    expect_only 'warning sysfsutils 0000:01:00.0' /etc/sysfs.conf
    rm "${root:?}/etc/sysfs.conf"
    put etc/sysfs.d/vfs.conf 'class/net/eno1/device/sriov_numvfs=4'
    expect_only 'warning sysfsutils 0000:01:00.0' /etc/sysfs.d/vfs.conf
}

@test "modprobe: max_vfs of the PF's driver" {
    put etc/modprobe.d/a.conf 'options igb max_vfs=7'
    expect_only 'warning modprobe 0000:01:00.0' /etc/modprobe.d/a.conf
    put etc/modprobe.d/a.conf 'options ixgbe max_vfs=7'
    expect_only ''
}

@test "libvirt networks: by PF or by address" {
    put etc/libvirt/qemu/networks/vfs.xml \
        "<network><name>vfs</name><forward mode='hostdev'><pf dev='eno1'/></forward></network>"
    expect_only 'problem libvirt-network 0000:01:00.0' 'virsh net-destroy vfs'
    put etc/libvirt/qemu/networks/vfs.xml "<network><forward mode='hostdev'>
        <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/></forward></network>"
    expect_only 'problem libvirt-network 0000:01:00.0'
    put etc/libvirt/qemu/networks/vfs.xml "<network><forward mode='nat'/></network>"
    expect_only ''
}

@test "hostile files neither block nor break it" {
    mkdir -p "$root"/etc/{netplan,sysfs.d,modprobe.d,libvirt/qemu/networks,NetworkManager/system-connections}
    mkfifo "$root/etc/netplan/pipe.yaml"
    mkdir "$root/etc/sysfs.d/dir.conf"
    ln -s loop.conf "$root/etc/modprobe.d/loop.conf"
    head -c 2000000 /dev/urandom >"$root/etc/NetworkManager/system-connections/noise"
    head -c 2000000 /dev/urandom >"$root/etc/netplan/noise.yaml"
    printf '<!DOCTYPE n [<!ENTITY e SYSTEM "/etc/passwd">]><network><forward mode="hostdev">&e;' \
        >"$root/etc/libvirt/qemu/networks/x.xml"
    run -0 timeout 10 "$BUILD/virtfn" --socket "$SOCKET" doctor --root "$root"
}

# Output

@test "--json: findings and their numbers" {
    put sys/class/net/eno1/carrier 0
    rm "${root:?}/etc/libvirt/hooks/qemu.d/50-virtfn"
    doctor --json >"$BATS_TEST_TMPDIR/out" || [[ $? -eq 1 ]]
    jq -e '.problems == 1 and .warnings == 1 and
        (.findings | length == 14 and all(has("level") and has("check") and has("object") and
            has("what") and has("remedy"))) and
        (.findings | map(select(.level != "ok")) | map([.level, .check, .object]) ==
            [["problem", "hook", "host"], ["warning", "link", "0000:01:00.0"]])' "$BATS_TEST_TMPDIR/out"
}

@test "on a terminal: by object, in 80 columns, with the remedies" {
    put sys/class/net/eno1/carrier 0
    run -0 virtfn_on_terminal --no-color doctor --root "$root"
    [[ ${lines[0]} == host && $output == *$'\n0000:01:00.0\n'* ]]
    [[ $output == *$'  warning  eno1 has no carrier\n             remedy: check the cable and the switch port\n'* ]]
    [[ ${lines[-1]} == '0 problems, 1 warning' ]]
    [[ $(wc -L <<<"$output") -le 80 ]]
}
