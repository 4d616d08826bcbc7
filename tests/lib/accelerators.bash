# SPDX-License-Identifier: GPL-2.0-or-later
#
# A card with accelerators on a fake host: a program (`card = program:...`) that keeps its state in
# files, images for it, and guests that claim its accelerators. After daemon.bash and guests.bash.
# Order of use: make_accelerator_host, or make_host fpga@$PF, make_card, write_accelerators and add_image;
# start_daemon; start_guest.

PF=0000:03:00.0
CARD=$BATS_TEST_TMPDIR/card

# vf INDEX: where that function is.
vf() {
    printf '0000:03:%02x.%d\n' $((($1 + 4) / 8)) $((($1 + 4) % 8))
}

# make_card KIND...: a card with a region of each kind. Region N is in $CARD/N.*: kind, state,
# accelerator, vf, running, context. Each call is a line of $CARD/calls; $CARD/fail-VERB makes the
# next one fail with what it says, $CARD/slow-VERB has the seconds that each takes.
make_card() {
    local kind n=0
    mkdir -p "$CARD"
    for kind in "$@"; do
        echo "$kind" >"$CARD/$n.kind"
        echo empty >"$CARD/$n.state"
        echo 0 >"$CARD/$n.accelerator"
        echo null >"$CARD/$n.vf"
        echo false >"$CARD/$n.running"
        : >"$CARD/$n.context"
        n=$((n + 1))
    done
    cat >"$CARD/program" <<END
#!/bin/sh
cd $CARD || exit 1
verb=\$1
[ "\$2" = $PF ] || exit 2
shift 2
END
    cat >>"$CARD/program" <<'END'
[ "$verb" = query ] || echo "$verb $*" | sed 's|/[^ ]*/||' >>calls
[ ! -e "slow-$verb" ] || sleep "$(cat "slow-$verb")"
if [ -e "fail-$verb" ]; then
    cat "fail-$verb" >&2
    rm "fail-$verb"
    [ "$verb" != load ] || { echo broken >"$1.state"; echo 0 >"$1.accelerator"; }
    exit 1
fi
die() { echo "$1" >&2; exit 1; }
case $verb in
query)
    n=0 separator=
    printf '{"save":%s,"regions":[' "$(cat saves 2>/dev/null || echo true)"
    while [ -e $n.kind ]; do
        vf=$(cat $n.vf)
        printf '%s{"kind":%s,"state":"%s","accelerator":%s,"running":%s' "$separator" "$(cat $n.kind)" \
            "$(cat $n.state)" "$(cat $n.accelerator)" "$(cat $n.running)"
        [ "$vf" = null ] || printf ',"vf":%s' "$vf"
        printf '}'
        separator=, n=$((n + 1))
    done
    printf ']}'
    ;;
load)
    [ "$(cat "$1.vf")" = null ] || die "region $1 is connected"
    read -r kind accelerator <"$2"
    [ "$kind" = "$(cat "$1.kind")" ] || die "the image is of another kind"
    echo "$accelerator" >"$1.accelerator"
    echo ready >"$1.state"
    : >"$1.context"
    ;;
connect)
    [ "$(cat "$1.vf")" = null ] || die "region $1 is connected"
    [ "$(cat "$1.state")" = ready ] || die "region $1 is empty"
    ! grep -qx "$2" ./*.vf || die "function $2 is connected"
    echo "$2" >"$1.vf"
    [ "$3" = keep ] || : >"$1.context"
    ;;
disconnect)
    for file in ./*.vf; do
        if [ "$(cat "$file")" = "$1" ]; then echo null >"$file"; fi
    done
    ;;
save) cat "$1.context" ;;
restore) cat >"$1.context" ;;
esac
exit 0
END
    chmod 755 "$CARD/program"
}

# region N: "ACCELERATOR VF" as the card has it.
region() {
    echo "$(cat "$CARD/$1.accelerator") $(cat "$CARD/$1.vf")"
}

# add_image ACCELERATOR ID KIND: before the daemon starts.
add_image() {
    local store=$ROOT/state/images name=$1-$3
    mkdir -p "$store"
    chmod 700 "$ROOT/state" "$store"
    echo "$3 $2" >"$store/$name.image"
    jq -n --arg accelerator "$1" --argjson kind "$3" --argjson size "$(stat -c %s "$store/$name.image")" \
        --arg sha256 "$(sha256sum <"$store/$name.image" | cut -d' ' -f1)" \
        '{version: 1, accelerator: $accelerator, kind: $kind, sha256: $sha256, size: $size, since: 1}' \
        >"$store/$name.json"
    chmod 600 "$store/$name".*
}

# write_accelerators [LINE...]: a pool and three accelerators, 1 to 3, of which crc is shareable;
# lines of [accelerators].
write_accelerators() {
    write_pool fpga "pf = $PF" 'count = 12' "card = program:$CARD/program"
    cat >"$CONFIG/accelerators.conf" <<END
[accelerator sha]
id = 1
[accelerator aes]
id = 2
[accelerator crc]
id = 3
shareable = yes
[accelerators]
$(printf '%s\n' "$@")
END
}

# make_accelerator_host [LINE...]: the host most tests have, with two regions and an image of each
# accelerator for them; lines as for write_accelerators.
make_accelerator_host() {
    make_host fpga@$PF:12
    make_card 0 0
    write_accelerators "$@"
    add_image sha 1 0
    add_image aes 2 0
    add_image crc 3 0
}

# both_busy: g1 and g2 hold its two regions.
both_busy() {
    start_guest g1 0 "accelerator='sha'"
    settles g1 'holding sha 0'
    start_guest g2 1 "accelerator='sha'"
    settles g2 'holding sha 1'
}

# guest_xml NAME INDEX ATTRIBUTES: a domain whose device "acc" is the function INDEX.
guest_xml() {
    local name=$1 index=$2
    echo "<domain type='kvm'><name>$name</name><uuid>$(uuid_of "$name")</uuid>" \
        "<metadata><virtfn:devices xmlns:virtfn='urn:virtfn:domain:1.0'>" \
        "<virtfn:device name='acc' pool='fpga' ${*:3}/></virtfn:devices></metadata>" \
        "<devices>$(hostdev_xml "$(vf "$index")" acc)</devices></domain>"
}

guest_hook() { # OPERATION NAME INDEX ATTRIBUTES...
    local phase=begin
    case $1 in stopped | release) phase=end ;; esac
    guest_xml "${@:2}" | "$BUILD/50-virtfn" "$2" "$1" "$phase" -
}

# start_guest NAME INDEX ATTRIBUTES...
start_guest() {
    guest_hook prepare "$@"
    power_on "$1" "ua-virtfn-acc=$(vf "$2")"
    guest_hook started "$@"
}

# stop_guest NAME INDEX: pulls its plug.
stop_guest() {
    local pid
    pid=$(cat "$BATS_TEST_TMPDIR/qemu-$1/pid")
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    rm -rf "$BATS_TEST_TMPDIR/qemu-$1"
    guest_hook release "$1" "$2"
}

# touch_device NAME: the guest accesses its device.
touch_device() {
    ask_qemu "$1" 'touch ua-virtfn-acc' || true
}

# attach NAME ACCELERATOR [MEMBER...]: the answer to the request, "ANSWER STATE REGION".
attach() {
    local body
    body=$(jq -n --arg domain "$1" --arg accelerator "$2" \
        "{domain: \$domain, accelerator: \$accelerator} + {$(
            IFS=,
            echo "${*:3}"
        )}")
    api POST /v1/attachments "$body" | jq -r 'if .title then "\(.status) \(.detail)" + (if .remedy then " -- " + .remedy else "" end) else "\(.answer) \(.state) \(.region)" end'
}

detach() {
    api DELETE "/v1/attachments/$1/acc"
}

remap() { # NAME ACCELERATOR
    api PUT "/v1/attachments/$1/acc" "{\"accelerator\":\"$2\"}" |
        jq -r 'if .title then "\(.status) \(.detail)" + (if .remedy then " -- " + .remedy else "" end) else "\(.answer) \(.state) \(.region)" end'
}

# attachment NAME [FILTER]: "STATE ACCELERATOR REGION".
attachment() {
    ask /v1/attachments ".attachments[] | select(.domain.name == \"$1\") | ${2-\"\(.state) \(.accelerator) \(.region)\"}"
}

# settles NAME TEXT [FILTER]: waits until `attachment` is that.
settles() {
    local is
    for _ in {1..300}; do
        is=$(attachment "$1" "${@:3}")
        [[ $is != "$2" ]] || return 0
        sleep 0.02
    done
    printf '%s is not "%s" but "%s"\n' "$1" "$2" "$is"
    cat "$DAEMON_LOG" "$CARD/calls"
    return 1
}

# device_is NAME STATE: waits until the guest's device is "running" or "paused".
device_is() {
    for _ in {1..150}; do
        [[ $(devices "$1") != "ua-virtfn-acc $2" ]] || return 0
        sleep 0.02
    done
    printf '%s: %s\n' "$1" "$(devices "$1")"
    cat "$DAEMON_LOG" "$CARD/calls"
    return 1
}
