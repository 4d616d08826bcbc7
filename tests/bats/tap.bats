# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the gate makes of its parts: a run is worth what its last try says, a run without a verdict is a failure, and
# the closing lines say why. Needs nothing of virtfn.

bats_require_minimum_version 1.5.0

TAP=$BATS_TEST_DIRNAME/../tap

# part NAME STATUS LINE...: a part of the gate that prints these lines and ends with this status.
part() {
    "$TAP" "$BATS_TEST_TMPDIR" "$1" bash -c 'printf "%s\n" "${@:2}"; exit "$1"' part "${@:2}"
}

sum() {
    run "$TAP" --sum "$BATS_TEST_TMPDIR"
    echo "$output"
}

@test "what passed is counted, and nothing is explained" {
    part a 0 1..2 'ok 1 one' 'ok 2 two'
    sum
    [ "$status" -eq 0 ]
    [ "$output" = '2 passed, 0 failed' ]
}

@test "only the last try counts when the emulator failed" {
    part a 0 1..2 'ok 1 one' 'not ok 2 two' 'tests/host/run: the emulator failed (test 2 was running: two); once more' \
        1..2 'ok 1 one' 'ok 2 two'
    sum
    [ "$status" -eq 0 ]
    [ "$output" = '2 passed, 0 failed' ]
}

@test "a run without a verdict is a failure, and its last lines are repeated" {
    run ! part a 125 1..2 'ok 1 one' '# who waits' 'tests/host/run: no verdict; test 2 was running: two'
    part b 0 'ok 1 other'
    sum
    [ "$status" -ne 0 ]
    [[ $output == *'# who waits'* ]]
    [[ $output == *'no verdict; test 2 was running: two'* ]]
    [[ $output != *'ok 1 other'* ]]
    [ "${lines[-1]}" = '2 passed, 1 failed' ]
}

@test "a failed test is repeated with its reason, however much follows" {
    mapfile -t much < <(seq -f 'ok %g more' 3 100)
    run ! part a 1 'ok 1 one' 'not ok 2 two' '# in line 7' "${much[@]}"
    sum
    [ "$status" -ne 0 ]
    [[ $output == *'not ok 2 two'*'# in line 7'* ]]
    [ "${#lines[@]}" -lt 45 ]
    [ "${lines[-1]}" = '99 passed, 1 failed' ]
}

@test "a skipped test and a run without a test are failures" {
    run ! part a 0 'ok 1 one # skip not today'
    run ! part b 0 1..0
    sum
    [ "$status" -ne 0 ]
    [ "${lines[-1]}" = '0 passed, 2 failed' ]
}
