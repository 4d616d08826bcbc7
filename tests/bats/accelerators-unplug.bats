#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A card whose registers are mapped by virtfnd, and which is pulled out while it does so. The card is the emulated one's
# registers as a file: it has two regions, and is busy for ever.

bats_require_minimum_version 1.5.0
load ../lib/daemon
load ../lib/guests
load ../lib/accelerators

setup() {
    make_host fpga@$PF:12
    BAR=$ROOT/sys/bus/pci/devices/$PF
    rm "$BAR"/{vendor,device}
    echo 0x1234 >"$BAR/vendor"
    echo 0x5646 >"$BAR/device"
    # Offsets and values as in tests/host/card/src/include/hw/misc/virtfn-card-regs.h.
    python3 - "$BAR" <<'END'
import struct, sys
registers = bytearray(0x10000)
def put(offset, *values):
    struct.pack_into("<%dI" % len(values), registers, offset, *values)
put(0x00, 0x50465456, 1, 12, 2, 2, 4096, 65536)
put(0x24, 1) # busy
for region in range(2):
    put(0x1000 + region * 0x20, region, 0, 0, 0xffffffff)
open(sys.argv[1] + "/resource0", "wb").write(registers)
open(sys.argv[1] + "/resource2", "wb").write(bytes(65536))
open(sys.argv[1] + "/config", "wb").write(bytes([0x34, 0x12, 0x46, 0x56, 6]) + bytes(59))
END
    write_accelerators
    write_pool fpga "pf = $PF" 'count = 12' 'card = virtfn-card'
    add_image sha 1 0
    start_daemon
}

teardown() {
    power_off_all
    stop_daemon
}

@test "unplugged in the middle of a call: virtfnd lives, and says what is the matter" {
    equal "$(ask /v1/cards '.cards[] | "\(.problem) \(.regions | length)"')" 'null 2'
    start_guest g1 0 "accelerator='sha'"
    # The load waits for the card to be idle.
    for _ in {1..500}; do
        if grep -q resource2 "/proc/$DAEMON/maps"; then break; fi
        sleep 0.01
    done
    grep -q resource0 "/proc/$DAEMON/maps"
    truncate -s 0 "$BAR/resource0" "$BAR/resource2"
    await 'the card does not answer, all it says is 0xffffffff' "$DAEMON_LOG"
    kill -0 "$DAEMON"
    [[ $(attachment g1 .problem) == *'the card does not answer'* ]]
    device_is g1 paused
    equal "$(leases)" 'g1/acc fpga#0 running'
}
