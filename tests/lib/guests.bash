# SPDX-License-Identifier: GPL-2.0-or-later
#
# Guests on a fake host: tests/lib/qemu.c in the place of their QEMUs, with their VFIO groups open, so
# that a mistake in the order of a reconf is refused by the fake kernel. After daemon.bash.

QEMUS=()

# boot NAME CLAIM...: prepare, a QEMU, started. A CLAIM is DEVICE=ADDRESS of pool uplink.
boot() {
    local name=$1 claims=() devices=() claim
    for claim in "${@:2}"; do
        claims+=("${claim%%=*}@uplink=${claim#*=}")
        devices+=("ua-virtfn-$claim")
    done
    hook prepare "$name" "${claims[@]}"
    power_on "$name" "${devices[@]}"
    hook started "$name" "${claims[@]}"
}

# three_devices: a card with four functions, virtfnd, and two guests: g1 with the devices a and b, g2 with c.
three_devices() {
    PF=0000:01:00.0
    VF=(0000:01:10.0 0000:01:10.2 0000:01:10.4 0000:01:10.6)
    me=$(id -un)
    make_host igb@$PF,net=eno1
    write_pool uplink pf=$PF count=4
    start_daemon
    boot g1 a="${VF[0]}" b="${VF[2]}"
    boot g2 c="${VF[1]}"
}

# marks: "DOMAIN/DEVICE BY REASON" of each lease that is paused, sorted.
marks() {
    ask /v1/leases '.leases[] | select(.paused != null) | "\(.domain.name)/\(.device) \(.paused.by) \(.paused.reason)"' | sort
}

# power_on NAME ID=ADDRESS...: QEMU alone.
power_on() {
    local directory=$BATS_TEST_TMPDIR/qemu-$1
    mkdir -p "$directory" "$ROOT/run/qmp"
    mkfifo "$directory/in"
    "${ON_HOST[@]}" "$BUILD/tests/qemu" "$ROOT/run/qmp/$(uuid_of "$1").sock" "$ROOT" "${@:2}" \
        <>"$directory/in" >"$directory/out" 2>&1 3>&- &
    QEMUS+=($!)
    echo $! >"$directory/pid"
    await ready "$directory/out"
}

# await WORD FILE...: until one of the files has it.
await() {
    for _ in {1..500}; do
        ! grep -qs "$1" "${@:2}" || return 0
        sleep 0.02
    done
    echo "'$1' did not come:"
    cat "${@:2}"
    return 1
}

# devices NAME: "ID STATE" of each device of a guest. last_resume NAME: the arguments of its last vfio-resume.
devices() {
    ask_qemu "$1" ''
}

last_resume() {
    ask_qemu "$1" vfio-resume
}

last_pause() {
    ask_qemu "$1" vfio-pause
}

# tell_qemu NAME LINE: what happens behind virtfn's back, see tests/lib/qemu.c.
tell_qemu() {
    ask_qemu "$@" || true
}

ask_qemu() {
    local directory=$BATS_TEST_TMPDIR/qemu-$1
    : >"$directory/out"
    echo "$2" >"$directory/in"
    await end "$directory/out"
    tr -d '\0' <"$directory/out" | grep -v end
}

journals() {
    find "$ROOT/run/reconf" -name '*.json' 2>/dev/null | wc -l
}

# power_off_all: ends them all, as pulling the plug does.
power_off_all() {
    local pid
    # Those that a subshell has started, too.
    for pid in "${QEMUS[@]}" $(cat "$BATS_TEST_TMPDIR"/qemu-*/pid 2>/dev/null); do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -f "$BATS_TEST_TMPDIR"/qemu-*/pid
    QEMUS=()
}
