# SPDX-License-Identifier: GPL-2.0-or-later
#
# The fake kernel in bats files that need no daemon (tests/lib/daemon.bash has one). Order of use:
# fake_host once a test, then `fake COMMAND...` for what is to see the fake host, and the rest to
# steer the kernel and look at it. A command in the background is "${FAKE[@]}" COMMAND... &, so
# that $! is its own pid. Paths are those below FAKE_ROOT; what a shell writes with echo has no side
# effect (fakekernel.h): fake_write does.

FAKE_TREE=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
FAKE_BUILD=${BUILD:-$FAKE_TREE/build}

# fake_host CARD...: makes the host (tests/lib/fakehost); sets FAKE_ROOT and FAKE.
fake_host() {
    FAKE_ROOT=$(cd "$BATS_TEST_TMPDIR" && pwd -P)/host
    "$FAKE_TREE/tests/lib/fakehost" "$FAKE_ROOT" "$@" || return
    FAKE=(env "VIRTFN_FAKE_ROOT=$FAKE_ROOT" "LD_PRELOAD=$FAKE_BUILD/tests/fakekernel.so"
        "ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS-}")
}

# fake COMMAND...: runs it under the fake kernel.
fake() {
    "${FAKE[@]}" "$@"
}

# fake_write PATH TEXT: one write(2), as root would do on a real host.
fake_write() {
    printf '%s\n' "$2" | fake dd "of=$FAKE_ROOT$1" conv=notrunc status=none
}

# fake_vfs PF COUNT: VFs without a driver.
fake_vfs() {
    fake_write "/sys/bus/pci/devices/$1/sriov_drivers_autoprobe" 0
    fake_write "/sys/bus/pci/devices/$1/sriov_numvfs" "$2"
}

# fake_fail PATH-GLOB ERRNO [NTH]: what matches fails, all times or the NTH time.
fake_fail() {
    printf '%s\n' "$*" >>"$FAKE_ROOT/.fail"
}

# fake_delay PATH-GLOB MILLISECONDS: writes that match take that long.
fake_delay() {
    printf '%s\n' "$*" >>"$FAKE_ROOT/.delay"
}

# fake_logged TEXT: succeeds when a line of the kernel's log contains the text.
fake_logged() {
    grep -qF -- "$1" "$FAKE_ROOT/.log"
}
