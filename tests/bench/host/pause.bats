# SPDX-License-Identifier: GPL-2.0-or-later
#
# Times pause and resume of igb functions in the emulated host: 1, 4 and 7 in one guest, and one each in as many guests.
# Leaves lines "NAME MILLISECONDS" in $VIRTFN_RESULTS/figures; tests/bench/pause makes figures of them.
#
# The functions are not destroyed in between: what is timed is QEMU and the kernel's opens and closes. Each of those
# resets the function and waits 100 ms; what that takes by itself is timed with no QEMU at all, in the same rounds.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash

setup_file() {
    monitors_ready
    igb_functions 7
}

teardown_file() {
    functions_remove igb
}

teardown() {
    scenario_teardown
    rm -f "$qmp_home"/*
}

# figure NAME MILLISECONDS
figure() {
    echo "$1 $2" >>"$VIRTFN_RESULTS/figures"
}

# bare COUNT: the kernel's own share: a small program opens this many functions at once, as a guest's QEMU does, and
# closes them.
bare() {
    local addresses number
    mapfile -t addresses < <(for ((number = 0; number < $1; number++)); do vf igb 0 "$number"; done)
    python3 -IS - "${addresses[@]}" >>"$VIRTFN_RESULTS/figures" <<'PY'
import ctypes, fcntl, os, sys, threading, time
libc = ctypes.CDLL(None)
groups = []
for address in sys.argv[1:]:
    number = os.path.basename(os.readlink(f"/sys/bus/pci/devices/{address}/iommu_group"))
    container, group = os.open("/dev/vfio/vfio", os.O_RDWR), os.open(f"/dev/vfio/{number}", os.O_RDWR)
    fcntl.ioctl(group, 0x3B68, container.to_bytes(4, "little"))  # VFIO_GROUP_SET_CONTAINER
    fcntl.ioctl(container, 0x3B66, 1)  # VFIO_SET_IOMMU, type 1
    groups.append(group)
devices = [-1] * len(groups)
def opened(i):
    # VFIO_GROUP_GET_DEVICE_FD; Python's own ioctl() hides its result behind the buffer
    devices[i] = libc.ioctl(groups[i], 0x3B6A, sys.argv[1 + i].encode())
def timed(name, function):
    threads = [threading.Thread(target=function, args=(i,)) for i in range(len(groups))]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{name}-{len(groups)} {(time.monotonic() - start) * 1000:.3f}")
timed("open", opened)
if min(devices) < 0:
    sys.exit("a function could not be opened")
timed("close", lambda i: os.close(devices[i]))
PY
}

# round NAME TARGET...: pause and resume these, and note how long each took.
round() {
    local name=$1
    shift
    figure "pause-$name" "$(vfio_pause pause "${@%%=*}" | jq .ms)"
    figure "resume-$name" "$(vfio_pause resume "$@" | jq .ms)"
}

@test "1, 4 and 7 functions of one guest" {
    for _ in {1..5}; do
        for count in 1 4 7; do
            bare "$count"
        done
    done
    devices=() targets=()
    for i in {0..6}; do
        devices+=(--device "$(nic "$i")")
        targets+=("one/ua-nic$i=$(vf igb 0 "$i")")
    done
    pause_guest_define one --vcpus 2 "${devices[@]}"
    virsh -q start one
    guest_wait one 400
    for _ in {1..5}; do
        round 1 "${targets[0]}"
        round 4 "${targets[@]:0:4}"
        round 7 "${targets[@]}"
    done
}

# QEMU's threads go before all others, as those of a guest that must not stall would: what the emulated host does besides
# would be measured otherwise. (With real-time priority nothing else would run on two emulated processors.) Looked at are
# the time of each command, from before it until the event that ends it, and a time in which nothing is done.
@test "the longest stall of a guest's processor" {
    mark=$BATS_TEST_TMPDIR/mark
    pause_guest_define stall --vcpus 2 --memory 512 --append 'isolcpus=1 irqaffinity=0' --device "$(nic 0)" --device \
        "<serial type='unix'><source mode='bind' path='$mark'/><target port='2'/></serial>"
    virsh -q start stall
    guest_wait stall 300
    renice -n -20 -p $(ls "/proc/$(guest_pid stall)/task")
    target=stall/ua-nic0=$(vf igb 0 0)
    for what in lock kernel; do
        guest_run stall "taskset 2 /bin/stall $what >/tmp/stall 2>&1 &"
        for _ in {1..15}; do
            vfio_pause --mark "$mark" pause "${target%%=*}"
            vfio_pause --mark "$mark" calm 0.25
            vfio_pause --mark "$mark" resume "$target"
            vfio_pause --mark "$mark" calm 0.25
        done
        sleep 1
        # A line for each mark: every second one is of the time between two commands.
        guest_run stall 'killall stall; cat /tmp/stall' >"$BATS_TEST_TMPDIR/stall"
        [[ $(wc -l <"$BATS_TEST_TMPDIR/stall") == 121 ]]
        awk -v what="$what" 'NR > 1 && NR % 2 {
                print what "-stall-" (NR % 4 == 1 ? "calm" : NR % 8 == 3 ? "pause" : "resume"), $1 / 1000
            }' "$BATS_TEST_TMPDIR/stall" >>"$VIRTFN_RESULTS/figures"
    done
}

# Without an operating system: seven guests that run one end the kernel of the emulated host, in a guest's processor.
@test "4 and 7 guests with one function each" {
    targets=()
    for i in {0..6}; do
        bare_guest "many$i" --device "$(nic "$i")" --qemu "$(monitor_xml "many$i")" >"$BATS_TEST_TMPDIR/many$i.xml"
        virsh -q define "$BATS_TEST_TMPDIR/many$i.xml"
        virsh -q start "many$i"
        targets+=("many$i/ua-nic$i=$(vf igb 0 "$i")")
    done
    for _ in {1..5}; do
        round 4-guests "${targets[@]:0:4}"
        round 7-guests "${targets[@]}"
    done
}
