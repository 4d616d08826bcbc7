# SPDX-License-Identifier: GPL-2.0-or-later
#
# The real daemon, the real hook and the real command on a fake host (tests/lib/fakehost). Order of
# use: make_host, write_pool, start_daemon; then `hook`, `api` and `cli`; teardown calls
# stop_daemon. Everything lives below $BATS_TEST_TMPDIR.

# shellcheck source=tests/lib/expect.bash
source "${BASH_SOURCE[0]%/*}/expect.bash"

ROOT=$BATS_TEST_TMPDIR/root
CONFIG=$BATS_TEST_TMPDIR/config
DAEMON_LOG=$BATS_TEST_TMPDIR/virtfnd.log
TREE=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BUILD:-$TREE/build}
export VIRTFN_SOCKET=$ROOT/run/virtfn.sock

# make_host CARD...: a fake host with these cards, without pools.
make_host() {
    "$TREE/tests/lib/fakehost" "$ROOT" "$@"
    mkdir "$CONFIG"
}

# write_pool NAME LINE...: one pool in a file of its own.
write_pool() {
    {
        echo "[pool $1]"
        printf '%s\n' "${@:2}"
    } >"$CONFIG/$1.conf"
}

# Runs a command under the fake kernel.
ON_HOST=(env "VIRTFN_FAKE_ROOT=$ROOT" "LD_PRELOAD=$BUILD/tests/fakekernel.so"
    "ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS-}")

# Which libvirt the daemon uses.
LIBVIRT=(--no-libvirt)

# launch [OPTION...]: starts the daemon in the background, DAEMON is its pid.
launch() {
    "${ON_HOST[@]}" "$BUILD/virtfnd" --root "$ROOT" --config "$CONFIG" --run "$ROOT/run" \
        --state "$ROOT/state" --helper "$BUILD/virtfn-numvfs" "${LIBVIRT[@]}" "$@" \
        </dev/null >>"$DAEMON_LOG" 2>&1 3>&- &
    DAEMON=$!
}

# start_daemon [OPTION...]: the same, and waits until it answers.
start_daemon() {
    launch "$@"
    for _ in {1..400}; do
        if [[ -S $VIRTFN_SOCKET ]] && api GET /openapi.json >/dev/null 2>&1; then return; fi
        kill -0 "$DAEMON" 2>/dev/null || break
        sleep 0.02
    done
    echo "virtfnd did not start:"
    cat "$DAEMON_LOG"
    return 1
}

# stop_daemon: asks it to end, which it must do with exit code 0.
stop_daemon() {
    [[ -n ${DAEMON-} ]] || return 0
    local pid=$DAEMON code=0
    DAEMON=
    kill "$pid" || true
    wait "$pid" || code=$?
    if [[ $code -ne 0 ]]; then
        echo "virtfnd ended with $code:"
        cat "$DAEMON_LOG"
        return 1
    fi
}

# restart_daemon: kill -9, then a new one.
restart_daemon() {
    kill -9 "$DAEMON"
    wait "$DAEMON" || true
    start_daemon
}

# reload: SIGHUP, and waits until it is done.
reload() {
    local before
    before=$(grep -c 'was read again' "$DAEMON_LOG" || true)
    kill -HUP "$DAEMON"
    for _ in {1..500}; do
        [[ $(grep -c 'was read again' "$DAEMON_LOG" || true) -eq $before ]] || return 0
        sleep 0.01
    done
    echo "virtfnd was not reloaded"
    return 1
}

uuid_of() { # DOMAIN
    local sum
    sum=$(md5sum <<<"$1")
    echo "${sum:0:8}-${sum:8:4}-4${sum:13:3}-8${sum:17:3}-${sum:20:12}"
}

hostdev_xml() { # ADDRESS [DEVICE]
    local address=$1 alias=''
    [[ -z ${2-} ]] || alias="<alias name='ua-virtfn-$2'/>"
    echo "<hostdev mode='subsystem' type='pci' managed='no'><source>" \
        "<address domain='0x${address:0:4}' bus='0x${address:5:2}' slot='0x${address:8:2}'" \
        "function='0x${address:11:1}'/></source>$alias</hostdev>"
}

# domain_xml NAME CLAIM...: the XML of a domain. A CLAIM is
#   DEVICE@POOL           not rendered yet
#   DEVICE@POOL=ADDRESS   rendered
#   pci=ADDRESS           a plain <hostdev>, no claim
#   <...>                 an element as it is, into virtfn's annotation
domain_xml() {
    local name=$1 claim devices='' hostdevs='' pool
    for claim in "${@:2}"; do
        case $claim in
        '<'*) devices+=$claim ;;
        pci=*) hostdevs+=$(hostdev_xml "${claim#pci=}") ;;
        *)
            pool=${claim#*@}
            devices+="<virtfn:device name='${claim%%@*}' pool='${pool%%=*}'/>"
            [[ $pool != *=* ]] || hostdevs+=$(hostdev_xml "${pool#*=}" "${claim%%@*}")
            ;;
        esac
    done
    echo "<domain type='kvm'><name>$name</name><uuid>$(uuid_of "$name")</uuid>"
    [[ -z $devices ]] || echo "<metadata><virtfn:devices" \
        "xmlns:virtfn='urn:virtfn:domain:1.0'>$devices</virtfn:devices></metadata>"
    echo "<devices>$hostdevs</devices></domain>"
}

# hook OPERATION NAME CLAIM...: the hook as libvirt runs it for this domain.
hook() {
    local phase=begin
    case $1 in stopped | release) phase=end ;; esac
    domain_xml "${@:2}" | "$BUILD/50-virtfn" "$2" "$1" "$phase" -
}

# api METHOD PATH [BODY [CURL-OPTION...]]: the body of the answer; HTTP errors are no errors.
api() {
    local body=()
    [[ -z ${3-} ]] || body=(--data-binary "$3")
    curl -sS --max-time 20 --unix-socket "$VIRTFN_SOCKET" -X "$1" "${body[@]}" "${@:4}" \
        "http://localhost$2"
}

# api_status METHOD PATH [BODY [CURL-OPTION...]]: "STATUS CONTENT-TYPE", then the body.
api_status() {
    api "$1" "$2" "${3-}" -w '%{stderr}%{http_code} %{content_type}\n' "${@:4}" \
        2>"$BATS_TEST_TMPDIR/status" >"$BATS_TEST_TMPDIR/body"
    cat "$BATS_TEST_TMPDIR/status" "$BATS_TEST_TMPDIR/body"
}

cli() {
    "$BUILD/virtfn" --socket "$VIRTFN_SOCKET" "$@"
}

# ask PATH JQ-FILTER: what the filter makes of a GET, one value a line.
ask() {
    api GET "$1" | jq -r "$2"
}

# leases: "DOMAIN/DEVICE POOL#INDEX STATE", sorted.
leases() {
    ask /v1/leases '.leases[] | "\(.domain.name)/\(.device) \(.pool)#\(.index) \(.state)"' | sort
}

# await_releasing: until a lease is being released. The test has to delay the reset (.delay) for
# longer than a busy machine takes to look.
await_releasing() {
    for _ in {1..200}; do
        [[ $(leases) != *releasing* ]] || return 0
        sleep 0.01
    done
    echo "nothing is being released:"
    leases
    return 1
}

# connects: until libvirt is there, for tests that have one.
connects() {
    becomes true ask /v1/status .libvirt.connected
}

# function_state POOL INDEX
function_state() {
    ask "/v1/functions?pool=$1" ".functions[] | select(.index == $2) | .state"
}

problems() {
    ask /v1/status '.problems[]'
}

# driver_of ADDRESS: what the function is bound to, "-" for nothing, "absent" when it is not there.
driver_of() {
    local device=$ROOT/sys/bus/pci/devices/$1
    if [[ ! -e $device ]]; then
        echo absent
    elif [[ -L $device/driver ]]; then
        basename "$(readlink "$device/driver")"
    else
        echo -
    fi
}

vf_count() { # PF
    find "$ROOT/sys/bus/pci/devices/$1/" -name 'virtfn*' | wc -l
}

vfio_group() { # ADDRESS
    basename "$(readlink "$ROOT/sys/bus/pci/devices/$1/iommu_group")"
}

# set_numvfs PF COUNT: behind the daemon's back, as an operator's echo.
set_numvfs() {
    printf '%s' "$2" | "${ON_HOST[@]}" dd of="$ROOT/sys/bus/pci/devices/$1/sriov_numvfs" conv=notrunc \
        status=none
}

# flasher CODE [MESSAGE [SECONDS]]: a bitstream-program that takes so long and ends so, and an image for it.
# KILL as CODE: it is killed.
flasher() {
    local end="exit $1"
    [[ $1 != KILL ]] || end='kill -9 $$'
    printf '#!/bin/sh\necho "$@" >>%q\ncat >/dev/null\nsleep %s\n[ -z %q ] || echo %q >&2\n%s\n' \
        "$BATS_TEST_TMPDIR/flashed" "${3-0}" "${2-}" "${2-}" "$end" >"$BATS_TEST_TMPDIR/flash"
    chmod 755 "$BATS_TEST_TMPDIR/flash"
    echo image >"$BATS_TEST_TMPDIR/image.bit"
}

# hold_group ADDRESS: a stranger that has the function's VFIO group open; HOLDER is its pid.
hold_group() {
    local node
    node=$ROOT/dev/vfio/$(vfio_group "$1")
    "${ON_HOST[@]}" python3 -c '
import os, sys, time
os.open(sys.argv[1], os.O_RDWR)
open(sys.argv[2], "w").close()
time.sleep(60)' "$node" "$BATS_TEST_TMPDIR/held" 3>&- &
    HOLDER=$!
    for _ in {1..200}; do
        [[ ! -e $BATS_TEST_TMPDIR/held ]] || break
        sleep 0.02
    done
    rm "$BATS_TEST_TMPDIR/held"
}

drop_group() {
    [[ -n ${HOLDER-} ]] || return 0
    kill "$HOLDER" || true
    wait "$HOLDER" || true
    HOLDER=
}
