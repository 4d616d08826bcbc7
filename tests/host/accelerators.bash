# SPDX-License-Identifier: GPL-2.0-or-later
#
# virtfn with accelerators on the emulated host: one FPGA card with two regions, three accelerators, and guests whose
# program works from their first second on. Sourced after lib.bash, virtfn.bash, pause.bash and card.bash.

# accelerators_ready LINE...: a pool on the card, accelerators and an image of each; LINEs are of [accelerators].
accelerators_ready() {
    local name
    fpga_ready
    {
        printf '[pool fpga]\npf = %s\ncount = 8\ncard = virtfn-card\n' "$(pf fpga 0)"
        printf '[accelerator sha256]\nid = 1\n[accelerator crc32c]\nid = 3\n'
        printf '[accelerator vector-add]\nid = 4\nshareable = yes\n[accelerators]\n'
        printf '%s\n' "$@"
    } >/etc/virtfn/host.conf
    systemctl reload-or-restart virtfnd
    wait_until 30 connected
    for name in sha256 crc32c vector-add; do
        fpga_image "/run/$name.image" "$name"
        virtfn image add "$name-0" "$name" 0 "/run/$name.image"
    done
}

# accel_guest NAME CLAIM: define a guest with a function of the pool; CLAIM is more of the annotation's attributes, as in
# 'accelerator="sha256" priority="2"'. Its program rests 20 ms after each job, so that many guests get on.
accel_guest() {
    guest_define "$1" --metadata "$(claims "name=\"acc\" pool=\"fpga\" $2")" --append virtfn.cardjob=-p,20,-e,5,-s,$RANDOM
    wait_until 30 rendered "$1"
}

# attachment NAME [JQ-FILTER]: the guest's request: by default "STATE ACCELERATOR REGION".
attachment() {
    api /v1/attachments | jq -r --arg name "$1" ".attachments[] | select(.domain.name == \$name) |
        ${2:-\"\\(.state) \\(.accelerator) \\(.region)\"}"
}

# attachment_is NAME TEXT [JQ-FILTER]
attachment_is() {
    [[ $(attachment "$1" "${3:-}") == "$2" ]]
}

# settles NAME TEXT [JQ-FILTER [SECONDS]]: its request comes to say this.
settles() {
    wait_until "${4:-60}" attachment_is "$1" "$2" "${3:-}" || {
        echo "it says: $(attachment "$1" .)"
        return 1
    }
}

# same_as_card: what virtfn says of who is connected is what the card says: "REGION INDEX".
same_as_card() {
    local said is
    said=$(api /v1/cards | jq -r '.cards[].regions[] | "\(.region) \(.holders | map(select(.active))[0].index)"')
    is=$(fpga query | jq -r 'to_entries[] | "\(.key) \(.value.vf)"')
    [[ $said == "$is" ]] || {
        printf 'virtfn says:\n%s\nthe card says:\n%s\n' "$said" "$is" >&2
        return 1
    }
}

# accelerators_evidence: what virtfn and each guest say, for a test that failed.
accelerators_evidence() {
    local name where=$VIRTFN_RESULTS/failed-$BATS_TEST_NUMBER
    mkdir -p "$where"
    api /v1/attachments >"$where/attachments.json"
    api /v1/cards >"$where/cards.json"
    fpga query >"$where/card"
    virtfn status >"$where/status"
    for name in $(virsh -q list --name); do
        GUEST_RUN_TIMEOUT=10 guest_run "$name" 'tail -n 20 /tmp/cardjob' >"$where/$name.cardjob" 2>&1
    done
}
