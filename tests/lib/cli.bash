# SPDX-License-Identifier: GPL-2.0-or-later
#
# Running virtfn against a peer with prepared answers (tests/lib/peer.c). Everything lives below
# $BATS_TEST_TMPDIR: sock, the answers in peer/, what the peer was asked in peer/log.

# shellcheck source=tests/lib/expect.bash
source "${BASH_SOURCE[0]%/*}/expect.bash"

SOCKET=$BATS_TEST_TMPDIR/sock
PEER=$BATS_TEST_TMPDIR/peer

# The file with the bytes that answer "METHOD PATH".
answer_file() {
    mkdir -p "$PEER"
    local name=${1/ /}
    printf '%s\n' "$PEER/${name//\//_}"
}

# answer 'GET /v1/pools' '200 OK' application/json BODY
answer() {
    printf 'HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s' \
        "$2" "$3" "$(printf %s "$4" | wc -c)" "$4" >"$(answer_file "$1")"
}

# answer_problem 'GET /v1/pools' '404 Not Found' WORD DETAIL [REMEDY]
answer_problem() {
    answer "$1" "$2" application/problem+json \
        "$(jq -nc --arg t "urn:virtfn:error:$3" --arg d "$4" --arg r "${5-}" \
            '{type: $t, title: "t", status: 400, detail: $d} + if $r == "" then {} else {remedy: $r} end')"
}

start_peer() {
    mkdir -p "$PEER"
    "$BUILD/tests/peer" "$SOCKET" "$PEER" 3>&- &
    PEER_PID=$!
    for _ in {1..100}; do
        [[ -S $SOCKET ]] && return
        sleep 0.02
    done
    echo "the peer did not start" >&2
    return 1
}

stop_peer() {
    if [[ -n ${PEER_PID-} ]]; then
        kill "$PEER_PID"
        wait "$PEER_PID" || true
    fi
}

virtfn() {
    "$BUILD/virtfn" --socket "$SOCKET" "$@"
}

# Runs virtfn on a terminal; what it prints on both outputs, without carriage returns.
virtfn_on_terminal() {
    local command
    command=$(printf '%q ' "$BUILD/virtfn" --socket "$SOCKET" "$@")
    LC_ALL=C.UTF-8 script -qefc "$command" /dev/null </dev/null | tr -d '\r'
    return "${PIPESTATUS[0]}"
}
