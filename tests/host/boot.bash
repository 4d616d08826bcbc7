# SPDX-License-Identifier: GPL-2.0-or-later
#
# Starts the emulated host: a QEMU that emulates the processor too (TCG), so that SR-IOV, an IOMMU and KVM exist
# wherever the tests run. Sourced by image (which prepares the disk) and run (which runs scenarios on it).
#
# Invariant: everything that one boot writes is in one directory, the boot directory, made by boot_prepare; and
# no network port of the machine is used, so that any number of hosts may run side by side.
# Cards have fixed addresses in the host: the first one on bus 01, the second on bus 02, and so on.
# The caller sets `qemu` (where plugin/qemu/build put it), `cards_spec`, `smp` and `memory`.

# cards_each SPEC FUNCTION: call FUNCTION KIND INDEX BUS for every card of a specification such as igb:2,nvme:1.
cards_each() {
    local item kind index bus=0
    for item in ${1//,/ }; do
        kind=${item%%:*}
        for ((index = 0; index < ${item#*:}; index++)); do
            bus=$((bus + 1))
            "$2" "$kind" "$index" "$bus"
        done
    done
}

# cards_check SPEC: fail with a message unless it is a list of KIND:COUNT with at most 12 cards.
cards_check() {
    local item total=0
    for item in ${1//,/ }; do
        [[ $item =~ ^(igb|nvme|fpga):([0-9]+)$ ]] || {
            echo "cards: '$item' is not igb:COUNT, nvme:COUNT or fpga:COUNT" >&2
            return 1
        }
        total=$((total + BASH_REMATCH[2]))
    done
    ((total <= 12)) || {
        echo "cards: $total are too many, the emulated host has room for 12" >&2
        return 1
    }
}

# card_arguments KIND INDEX BUS: append QEMU's arguments for one card to the array `cards`.
card_arguments() {
    local kind=$1 index=$2 bus=$3 port=port$3
    cards+=(-device "pcie-root-port,id=$port,bus=pcie.0,addr=$(printf '0x%x' $((15 + bus))),chassis=$bus")
    case $kind in
    igb) # all igb cards plug into one switch
        cards+=(-netdev "hubport,id=net$index,hubid=0"
            -device "igb,id=igb$index,bus=$port,netdev=net$index,mac=$(printf '52:54:00:ff:%02x:00' "$index")")
        ;;
    nvme) # with the default of 8 functions 26 queue pairs and 9 vectors, which they and the controller itself can share
        truncate -s 64M "$boot/nvme$index.img"
        cards+=(-device "nvme-subsys,id=subsys$index,nqn=virtfn-subsys$index"
            -device "nvme,id=nvme$index,bus=$port,serial=virtfn-nvme$index,subsys=subsys$index,sriov_max_vfs=$nvme_vfs,sriov_vq_flexible=$((2 * nvme_vfs)),sriov_vi_flexible=$nvme_vfs,max_ioqpairs=$((2 * nvme_vfs + 10)),msix_qsize=$((nvme_vfs + 1))"
            -drive "if=none,id=disk$index,format=raw,cache=unsafe,file=$boot/nvme$index.img"
            -device "nvme-ns,drive=disk$index,bus=nvme$index,nsid=1,shared=on")
        ;;
    fpga) cards+=(-device "virtfn-card,id=fpga$index,bus=$port,vfs=$fpga_vfs,regions=2") ;;
    esac
}

# boot_prepare DISK FORMAT: make the boot directory (its path goes into `boot`) with an overlay over the disk, so
# that a boot never changes what the cache holds.
boot_prepare() {
    boot=$(mktemp -d "${TMPDIR:-/tmp}/virtfn-host.XXXXXX")
    mkdir "$boot/results"
    mkfifo "$boot/log" "$boot/monitor.in" "$boot/monitor.out"
    boot_backing=("$1" "$2")
    boot_disk
}

# boot_disk: a fresh disk on the backing image.
boot_disk() {
    "$qemu/usr/bin/qemu-img" create -q -f qcow2 -F "${boot_backing[1]}" -b "${boot_backing[0]}" "$boot/root.qcow2"
}

# pack_payload TREE...: print an archive that has the trees, merged in this order, as /payload. Their /bin, /sbin
# and /lib go to /usr, as Debian has it.
pack_payload() {
    local stage tree directory
    stage=$(mktemp -d)
    mkdir -p "$stage/payload"/usr/{bin,sbin,lib}
    for directory in bin sbin lib; do
        ln -s "usr/$directory" "$stage/payload/$directory"
    done
    for tree; do
        tar -C "$tree" -c . | tar -C "$stage/payload" --keep-directory-symlink -x
    done
    rm "$stage/payload"/{bin,sbin,lib}
    find "$stage" -type d -exec chmod 755 {} +
    pack_tree "$stage"
    rm -rf "$stage"
}

# boot_start EXTRA...: start the emulated host on what the boot directory holds: root.qcow2, vmlinuz, initrd.
# The pid goes into `qemu_pid`. Console: console.log. Port 'log', QEMU's monitor: fifos. Share: results.
boot_start() {
    boot_extra=("$@")
    exec {boot_input}<&0 # a background command would get /dev/null
    exec {boot_log}<>"$boot/log" # its reader stays through a second try
    boot_launch
}

boot_launch() {
    local cards=()
    boot_clock=0 boot_last=$EPOCHSECONDS beat_last=0 beat_silent=''
    : >"$boot/beats"
    cards_each "$cards_spec" card_arguments
    "$qemu/usr/bin/qemu-system-x86_64" -L "$qemu/usr/share/qemu" -name virtfn-host \
        -machine q35,kernel-irqchip=split -accel tcg,thread=multi,tb-size=1024 -cpu max \
        -smp "$smp" -m "$memory" -nodefaults -display none -no-reboot -rtc base=utc \
        -device intel-iommu,intremap=on,caching-mode=on \
        -kernel "$boot/vmlinuz" -initrd "$boot/initrd" -append "$kernel_arguments" \
        -drive "if=none,id=root,format=qcow2,cache=unsafe,file=$boot/root.qcow2" \
        -device virtio-blk-pci,drive=root,bus=pcie.0,addr=0x2 \
        -device virtio-rng-pci,bus=pcie.0,addr=0x3 \
        -device virtio-serial-pci,bus=pcie.0,addr=0x4 \
        -chardev "file,id=log,path=$boot/log" -device virtserialport,chardev=log,name=org.virtfn.log \
        -fsdev "local,id=results,path=$boot/results,security_model=none" \
        -device virtio-9p-pci,fsdev=results,mount_tag=results,bus=pcie.0,addr=0x5 \
        -serial "file:$boot/console.log" \
        -chardev "pipe,id=monitor,path=$boot/monitor" -mon chardev=monitor,mode=control \
        "${cards[@]}" "${boot_extra[@]}" <&"$boot_input" \
        2> >(grep -v 'is not connected to host network' >&2) &
    qemu_pid=$!
}

# boot_tick: count the seconds of this boot in `boot_clock`. While the machine that all this runs on is suspended, the
# emulated host is too: such a gap counts as little.
boot_tick() {
    local step=$((EPOCHSECONDS - boot_last))
    boot_last=$EPOCHSECONDS
    boot_clock=$((boot_clock + (step < 0 ? 0 : step > 5 ? 5 : step)))
}

# boot_stalled: the host is not up, and will not be: it is late, or its kernel says that an emulated processor gets no
# timer interrupts any more, which TCG does now and then in the first second of a boot.
boot_stalled() {
    [[ ! -e $boot/results/.up ]] || return
    ((boot_clock > boot_limit)) || grep -q 'rcu_preempt kthread starved' "$boot/console.log" 2>/dev/null
}

# boot_dead: the host was up, but a processor of it (beat_silent) has shown no heartbeat for beat_limit: TCG lost it.
boot_dead() {
    local beat
    [[ -e $boot/results/.up ]] || return
    beat_silent=''
    for beat in "$boot/results"/.beat*; do
        [[ $beat -nt $boot/beats ]] || beat_silent+=" ${beat##*.beat}"
    done
    [[ -n $beat_silent ]] || {
        : >"$boot/beats"
        beat_last=$boot_clock
    }
    ((boot_clock - beat_last > beat_limit))
}

# boot_evidence LOG: save what the emulator says of a host that is going to be ended, three times to show what moves, to
# results/LOG; and, if the host can still answer, what the host says of itself, to results/stuck.
boot_evidence() {
    local cpu waited commands=(status 'registers -a')
    for ((cpu = 0; cpu < smp; cpu++)); do
        commands+=("lapic $cpu")
    done
    [[ ! -e $boot/results/.up ]] || : >"$boot/results/.dump"
    timeout 20 cat "$boot/monitor.out" > >(sed 's/\\r\\n/\n/g' >"$boot/results/$1") &
    {
        echo '{"execute": "qmp_capabilities"}'
        for _ in 1 2 3; do
            printf '{"execute": "human-monitor-command", "arguments": {"command-line": "info %s"}}\n' \
                "${commands[@]}"
            sleep 1
        done
    } | timeout 15 tee "$boot/monitor.in" >/dev/null
    for ((waited = 0; waited < 40; waited++)); do
        [[ -e $boot/results/.dump ]] || break
        sleep 1
    done
    wait $! || true
}

# boot_again: end a host that stalled before it did anything, and start it anew.
boot_again() {
    echo "the emulated host stalled after $boot_clock s; starting it again" >&2
    boot_evidence "stall-$EPOCHSECONDS.log"
    kill -KILL "$qemu_pid"
    wait "$qemu_pid" 2>/dev/null || true
    rm -rf "$boot/results"/{.up,.dump,.beat*,stuck}
    boot_disk
    boot_launch
}

# boot_wait SECONDS: wait for the host to power off. It must say within boot_limit that it is up, at the third try at
# the latest. Fails, with a line that says what happened, if it does not start or does not end in time; with status 2
# if it was up and the emulator lost one of its processors.
boot_wait() {
    local tries=1 over=''
    while kill -0 "$qemu_pid" 2>/dev/null; do
        boot_tick
        if ((boot_clock > $1)); then
            echo "the emulated host did not finish within $1 s" >&2
            boot_evidence monitor.log
            return 1
        elif [[ -e $boot/results/status ]]; then # all is said and saved
            over=${over:-$boot_clock}
            ((boot_clock - over < over_limit)) || break
        elif boot_stalled; then
            ((++tries <= 3)) || {
                echo "the emulated host did not boot in $((tries - 1)) tries" >&2
                return 1
            }
            boot_again
        elif boot_dead; then
            echo "the emulated host stalled after $boot_clock s: no sign of processor$beat_silent for $beat_limit s" >&2
            boot_evidence monitor.log
            return 2
        fi
        sleep 0.5
    done
    boot_end "$over"
}

# boot_end OVER: the host has ended, or (OVER) has only to be switched off.
boot_end() {
    if kill -0 "$qemu_pid" 2>/dev/null; then
        echo "the emulated host finished after $1 s but does not power off; switched off" >&2
        kill -KILL "$qemu_pid"
        wait "$qemu_pid" 2>/dev/null || true
    else
        wait "$qemu_pid" || {
            echo "the emulator ended with status $?" >&2
            return 1
        }
    fi
    exec {boot_log}>&-
    boot_log=''
    [[ -e $boot/results/.up ]] || {
        echo "the emulated host ended before it was up" >&2
        return 1
    }
}

# boot_stop: end the emulator, if it still runs, and remove the boot directory.
boot_stop() {
    if [[ -n ${qemu_pid:-} ]] && kill -0 "$qemu_pid" 2>/dev/null; then
        kill -KILL "$qemu_pid"
        wait "$qemu_pid" 2>/dev/null || true
    fi
    [[ -z ${boot_log:-} ]] || exec {boot_log}>&- # or its reader would outlive this process
    [[ -z ${boot:-} ]] || rm -rf "$boot"
}

boot_limit=150 beat_limit=75 over_limit=60
nvme_vfs=8 # the most that an NVMe card can have
fpga_vfs=12
# What makes an emulated processor boot faster, and a crash end the machine instead of leaving it hanging.
kernel_arguments='console=ttyS0 quiet loglevel=4 intel_iommu=on panic=-1 oops=panic tsc=reliable'
kernel_arguments+=' no_timer_check mitigations=off nowatchdog systemd.show_status=0'
# An address that QEMU tells of a stalled host means the same in each boot.
kernel_arguments+=' nokaslr'
# Drivers of what the chipset has and nobody uses; loading them costs seconds.
kernel_arguments+=' module_blacklist=ahci,libahci,iTCO_wdt,iTCO_vendor_support,pcspkr,psmouse,i2c_i801,lpc_ich'
