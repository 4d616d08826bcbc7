# SPDX-License-Identifier: GPL-2.0-or-later
#
# What scenarios call inside the emulated host: its cards, its guests, waiting, and evidence of a failure.
#
# Use in a bats file: `source /usr/share/virtfn-test/lib.bash` at the top, and `teardown() { scenario_teardown; }`.
# Guests are transient or persistent domains of the system libvirt, named by the scenario; each one has its console in
# $VIRTFN_RESULTS/NAME.console when the scenario ends, and runs commands for guest_run.

guest_home=/var/lib/virtfn-test

# Start-up work of a guest's kernel that takes seconds under a nested emulated processor and that nobody needs here.
# (Taking the HPET away looks as cheap, but makes a guest's kernel hang for a minute.)
guest_arguments='console=ttyS0 quiet tsc=reliable no_timer_check mitigations=off nowatchdog cryptomgr.notests'
guest_arguments+=' initcall_blacklist=i8042_init,jent_mod_init,load_system_certificate_list,init_evm,init_ima,sed_opal_init'
VIRTFN_RESULTS=${VIRTFN_RESULTS:-/run/virtfn-test/results}

# For `watch` in main, which ends a test that hangs: which one runs.
[[ -z ${BATS_TEST_NAME:-} ]] || echo "$$ $BATS_SUITE_TEST_NUMBER" >/run/virtfn-test/test

# virsh ARGUMENTS...: as ever, but not for ever: 124 is its status after VIRSH_TIMEOUT seconds (default 300). A person at
# the shell has the plain one, which may use the terminal.
if [[ -n ${BATS_TEST_FILENAME:-} ]]; then
    virsh() {
        timeout -k 5 "${VIRSH_TIMEOUT:-300}" virsh "$@"
    }
fi

# note WORDS...: write a line to the outside log at once, also from within a test.
note() {
    if [[ -n ${BATS_TEST_FILENAME:-} ]]; then
        echo "# $*" >&3
    else
        echo "# $*" >&2
    fi
}

# wait_until SECONDS COMMAND...: run the command about 5 times a second until it succeeds; fail after SECONDS.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || {
            echo "gave up after waiting for: $*" >&2
            return 1
        }
        sleep 0.2
    done
}

# pf KIND INDEX: print the PCI address of a card's physical function, as in `pf igb 0`.
pf() {
    local item index bus=0
    for item in ${VIRTFN_CARDS//,/ }; do
        for ((index = 0; index < ${item#*:}; index++)); do
            bus=$((bus + 1))
            if [[ ${item%%:*} == "$1" && $index == "$2" ]]; then
                printf '0000:%02x:00.0\n' "$bus"
                return
            fi
        done
    done
    echo "the host has no card $1 $2: VIRTFN_CARDS is $VIRTFN_CARDS" >&2
    return 1
}

# pf_netdev KIND INDEX: print the name of the network device of a physical function.
pf_netdev() {
    local address
    address=$(pf "$1" "$2") && ls "/sys/bus/pci/devices/$address/net"
}

# pf_controller KIND INDEX: print the NVMe controller of a physical function, as in nvme0.
pf_controller() {
    local address
    address=$(pf "$1" "$2") && ls "/sys/bus/pci/devices/$address/nvme"
}

# vf KIND INDEX NUMBER: print the PCI address of a virtual function that exists, as in `vf igb 0 3`.
vf() {
    local address
    address=$(pf "$1" "$2") && basename "$(readlink -e "/sys/bus/pci/devices/$address/virtfn$3")"
}

# vf_create KIND INDEX COUNT: give a physical function that has none this many virtual functions, unbound.
vf_create() {
    local address
    address=$(pf "$1" "$2")
    echo 0 >"/sys/bus/pci/devices/$address/sriov_drivers_autoprobe"
    echo "$3" >"/sys/bus/pci/devices/$address/sriov_numvfs"
    udevadm settle
}

# vf_remove KIND INDEX: take all virtual functions away again.
vf_remove() {
    local address
    address=$(pf "$1" "$2")
    echo 0 >"/sys/bus/pci/devices/$address/sriov_numvfs"
    echo 1 >"/sys/bus/pci/devices/$address/sriov_drivers_autoprobe"
}

# vfio_bind ADDRESS: bind a function to vfio-pci.
vfio_bind() {
    modprobe vfio-pci
    echo vfio-pci >"/sys/bus/pci/devices/$1/driver_override"
    echo "$1" >/sys/bus/pci/drivers_probe
    [[ $(basename "$(readlink "/sys/bus/pci/devices/$1/driver")") == vfio-pci ]]
}

# nvme_vf_online KIND INDEX NUMBER: give an NVMe virtual function queues and vectors, and set it online, so that
# whoever drives it finds a working controller. Its secondary controller has the identifier NUMBER + 1.
nvme_vf_online() {
    local device id=$(($3 + 1))
    device=/dev/$(pf_controller "$1" "$2")
    nvme virt-mgmt "$device" --cntlid="$id" --act=7 --rt=0 --nr=0
    nvme virt-mgmt "$device" --cntlid="$id" --act=8 --rt=0 --nr=2
    nvme virt-mgmt "$device" --cntlid="$id" --act=8 --rt=1 --nr=1
    nvme virt-mgmt "$device" --cntlid="$id" --act=9 --rt=0 --nr=0
}

# hostdev_xml ADDRESS [ALIAS]: print an unmanaged <hostdev> for a function; ALIAS (ua-…) becomes its id in QEMU.
hostdev_xml() {
    [[ $1 =~ ^(....):(..):(..)\.(.)$ ]] || return
    printf '<hostdev mode="subsystem" type="pci" managed="no"><source><address %s/></source>%s</hostdev>\n' \
        "$(printf 'domain="0x%s" bus="0x%s" slot="0x%s" function="0x%s"' "${BASH_REMATCH[@]:1}")" \
        "${2:+<alias name=\"$2\"/>}"
}

# guest_xml NAME [--metadata XML] [--device XML]... [--append KERNEL-ARGUMENTS] [--memory MIB] [--vcpus N]
# [--qemu XML]...: print the XML of a small KVM guest that starts fast and answers guest_run. See guest/init for the
# kernel arguments; --qemu is for elements of libvirt's qemu: name space. With VIRTFN_VIRT=qemu (--env) guests do without KVM:
# they start in minutes, and nothing depends on the emulation of SVM.
guest_xml() {
    local name=$1 metadata='' devices='' append='' memory=192 vcpus=1 qemu='' namespace='' cpu=host-passthrough
    shift
    while (($#)); do
        case $1 in
        --metadata) metadata="<metadata>$2</metadata>" ;;
        --device) devices+=$2 ;;
        --append) append=$2 ;;
        --memory) memory=$2 ;;
        --vcpus) vcpus=$2 ;;
        --qemu) qemu+=$2 ;;
        *) echo "guest_xml: unknown option $1" >&2 && return 1 ;;
        esac
        shift 2
    done
    [[ -z $qemu ]] || namespace=" xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
    [[ ${VIRTFN_VIRT:-kvm} == kvm ]] || cpu=maximum
    mkdir -p "$guest_home"
    cat <<EOF
<domain type='${VIRTFN_VIRT:-kvm}'$namespace>
  <name>$name</name>
  $metadata
  <memory unit='MiB'>$memory</memory>
  <vcpu>$vcpus</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>/usr/share/virtfn-test/guest/vmlinuz</kernel>
    <initrd>/usr/share/virtfn-test/guest/initrd</initrd>
    <cmdline>$guest_arguments $append</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='$cpu'/>
  <on_reboot>restart</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='file'><source path='$guest_home/$name.console'/><target port='0'/></serial>
    <serial type='unix'>
      <source mode='bind' path='$guest_home/$name.command'/><target port='1'/>
    </serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <video><model type='none'/></video>
    $devices
  </devices>
  $qemu
</domain>
EOF
}

# guest_define NAME [OPTIONS of guest_xml]: define a guest.
guest_define() {
    guest_xml "$@" >"$BATS_TEST_TMPDIR/$1.xml" && virsh -q define "$BATS_TEST_TMPDIR/$1.xml"
}

# guest_run NAME COMMAND...: run a command line in the guest; its output and its exit status are the result. Exit
# status 125: the guest does not answer (within GUEST_RUN_TIMEOUT seconds, default 60).
guest_run() {
    local name=$1
    shift
    python3 -IS /usr/share/virtfn-test/guest-command "$guest_home/$name.command" \
        "${GUEST_RUN_TIMEOUT:-60}" "$*"
}

# guest_wait NAME [SECONDS]: wait until the guest answers commands (default 120 seconds). TCG now and then leaves the
# processor of a nested guest spinning before its kernel has said a word: such a guest is reset once, and the log says so.
guest_wait() {
    local seconds=${2:-120}
    GUEST_RUN_TIMEOUT=$((seconds / 2)) guest_run "$1" true && return
    if [[ ! -s $guest_home/$1.console ]]; then
        note "guest $1 has not said a word in $((seconds / 2)) s: reset"
        virsh -q reset "$1"
    fi
    GUEST_RUN_TIMEOUT=$seconds guest_run "$1" true
}

# guest_console NAME: print what the guest has written to its console.
guest_console() {
    cat "$guest_home/$1.console"
}

# guest_remove NAME: destroy and undefine a guest, if it is there. Fails when libvirt does not answer.
guest_remove() {
    local verb VIRSH_TIMEOUT=60
    for verb in destroy undefine; do
        virsh -q "$verb" "$1" 2>/dev/null || [[ $? != 124 ]] || return
    done
}

# guests_remove: destroy and undefine all guests.
guests_remove() {
    local name names VIRSH_TIMEOUT=60
    names=$(virsh -q list --all --name) || return
    for name in $names; do
        guest_remove "$name" || return
    done
}

# scenario_diagnose NAME: save the state of the host to $VIRTFN_RESULTS/NAME.
scenario_diagnose() {
    /usr/share/virtfn-test/dump "$VIRTFN_RESULTS/$1" || true # whatever can be saved is saved
}

# scenario_teardown: for teardown(): after a failed test save the state of the host, then remove its guests.
scenario_teardown() {
    if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then
        scenario_diagnose "failed-$BATS_TEST_NUMBER"
        note "the state of the host at the failure is in failed-$BATS_TEST_NUMBER/"
    fi
    guests_remove || {
        note "libvirt does not answer: the guests of this test are still there"
        return 1
    }
    cp "$guest_home"/*.console "$VIRTFN_RESULTS" 2>/dev/null || true
}
