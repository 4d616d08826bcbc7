# SPDX-License-Identifier: GPL-2.0-or-later
#
# Times a preemption and a turn of two sharers on the emulated FPGA card with two regions: KVM guests whose program
# checks each result. Leaves lines "NAME MILLISECONDS" in $VIRTFN_RESULTS/figures; tests/bench/switch makes figures of them.
#
# Guest `keep` has the second region for good, `low` computes in the first one, `high` asks for that and gives it back.

source /usr/share/virtfn-test/lib.bash
source /usr/share/virtfn-test/virtfn.bash
source /usr/share/virtfn-test/pause.bash
source /usr/share/virtfn-test/card.bash
source /usr/share/virtfn-test/accelerators.bash

setup_file() {
    accelerators_ready 'age-step = 60s' 'slice-period = 3s' 'slice-minimum = 1s'
    accel_guest low 'accelerator="sha256" priority="1"'
    guest_define high --metadata "$(claims 'name="acc" pool="fpga"')"
    bare_guest keep --metadata "$(claims 'name="acc" pool="fpga" accelerator="crc32c" priority="7"')" >/run/keep.xml
    virsh -q define /run/keep.xml
    for name in high keep; do
        wait_until 30 rendered "$name"
    done
    for name in low high keep; do
        virsh -q start "$name"
    done
    for name in low high; do
        guest_wait "$name" 200
    done
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || accelerators_evidence
}

teardown_file() {
    guests_remove
}

# measure WHAT COUNT: append figures of so many preemptions or turns. The parts are virtfnd's own; the clock of a preemption
# is here: from the request until virtfnd says that the device has its region, asked every 20 ms.
measure() {
    python3 -IS - "$@" >>"$VIRTFN_RESULTS/figures" <<'PY'
import http.client, json, socket, sys, time

class Daemon(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/virtfn/virtfn.sock")

daemon = Daemon("localhost", timeout=30)

def api(method, path, body=None):
    daemon.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    reply = daemon.getresponse()
    text = reply.read()
    if reply.status >= 300:
        sys.exit(f"{method} {path}: {text.decode()}")
    return json.loads(text) if text else None

def rows():
    return {row["domain"]["name"]: row for row in api("GET", "/v1/attachments")["attachments"]}

def until(true, pause):
    deadline = time.monotonic() + 60
    while not true(now := rows()):
        if time.monotonic() > deadline:
            sys.exit(f"gave up: {now}")
        time.sleep(pause)
    return now

def active(name):
    return lambda now: name in now and now[name]["state"] == "holding" and now[name]["active"]

def figures(what, times):
    ms = {part: value / 1000 for part, value in times.items()}
    print(f"{what}-pause", ms["pause"])
    print(f"{what}-save", ms["save"])
    print(f"{what}-load", ms["load"])
    print(f"{what}-card", ms["disconnect"] + ms["restore"] + ms["connect"])
    print(f"{what}-resume", ms["resume"])
    print(f"{what}-parts", sum(ms.values()), flush=True)

def preempt(what, accelerator, answer):
    begin = time.monotonic()
    said = api("POST", "/v1/attachments", {"domain": "high", "accelerator": accelerator, "priority": 6})
    now = until(active("high"), 0.02)
    print(f"{what}-end", (time.monotonic() - begin) * 1000)
    if said["answer"] != answer or now["low"]["state"] != "waiting":
        sys.exit(f"not a {answer}: {said}, {now['low']}")
    figures(what, now["high"]["times"])
    api("DELETE", "/v1/attachments/high/acc")
    until(lambda now: "high" not in now and active("low")(now), 0.2)
    time.sleep(1)

what, count = sys.argv[1], int(sys.argv[2])
if what == "preempt":
    for _ in range(count):
        preempt("preempt", "sha256", "preempt")
        preempt("preempt-load", "vector-add", "preempt+load")
else:
    turn = None
    for i in range(count + 2):  # the first is another's turn already, the second begins without a context
        now = until(lambda now: any(active(name)(now) and name != turn for name in ("low", "high")), 0.1)
        turn = next(name for name in ("low", "high") if active(name)(now))
        if i > 1:
            figures("switch", now[turn]["times"])
PY
}

@test "a higher priority takes a region" {
    for name in low keep; do
        settles "$name" true '.active' 100
    done
    cardjob_goes_on low
    measure preempt "${ROUNDS:-8}"
    cardjob_goes_on low
    [ "$(attachment low .failures)" = 0 ]
}

@test "two sharers take turns" {
    cardjob_stop low
    virtfn detach low
    settles low ''
    for name in low high; do
        virtfn attach --sharing 100 "$name" vector-add
        cardjob_start "$name" -p 20 -e 5
    done
    for name in low high; do
        settles "$name" holding .state
        cardjob_goes_on "$name"
    done
    measure switch "${ROUNDS:-8}"
    for name in low high; do
        cardjob_goes_on "$name"
    done
    note "the region: $(api /v1/cards | jq -c '.cards[].regions[0] | {fairness, switching, switches}')"
}
