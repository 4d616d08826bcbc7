#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The libvirt hook as libvirt runs it: arguments, XML on stdin, exit code, one line on stderr;
# against a scripted peer in virtfnd's place. The tests that wait for the deadline use a twin of
# the hook that was built with 0.6 s instead of 10 s.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    hook=${BUILD:-build}/50-virtfn
    quick=${BUILD:-build}/tests/50-virtfn-quick
    dir=$BATS_TEST_TMPDIR
    export VIRTFN_SOCKET=$dir/virtfn.sock
    peer=
    mkdir "$dir/seen"
    cat >"$dir/annotated.xml" <<-'XML'
	<domain type='kvm'><name>web1</name><metadata>
	  <virtfn:devices xmlns:virtfn="urn:virtfn:domain:1.0">
	    <virtfn:device name="net0" pool="uplink"/>
	  </virtfn:devices></metadata></domain>
	XML
    cat >"$dir/passed.xml" <<-'XML'
	<domain type='kvm'><name>gpu1</name><devices>
	  <hostdev mode='subsystem' type='pci' managed='yes'>
	    <source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x0'/></source>
	  </hostdev></devices></domain>
	XML
}

teardown() {
    [[ -z $peer ]] || kill "$peer" 2>/dev/null || true
}

# peer STEP...: starts the scripted peer and waits until it listens.
peer() {
    tests/lib/http-peer "$VIRTFN_SOCKET" "$dir/seen" "$@" 3>&- &
    peer=$!
    local i
    for ((i = 0; i < 200; i++)); do
        if [[ -S $VIRTFN_SOCKET ]]; then return; fi
        sleep 0.05
    done
    echo "the peer did not start" >&2
    return 1
}

# reply STATUS [BODY]: makes a reply, prints its path.
reply() {
    local file
    file=$(mktemp "$dir/reply.XXXXXX")
    printf 'HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s' "$1" "${#2}" "${2-}" >"$file"
    echo "$file"
}

# raw FORMAT: makes a file of these bytes, prints its path.
raw() {
    local file
    file=$(mktemp "$dir/raw.XXXXXX")
    # shellcheck disable=SC2059 # the escapes are the point
    printf "$1" >"$file"
    echo "$file"
}

# stale_socket: leaves a socket that nobody listens on, as a killed virtfnd does.
stale_socket() {
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$VIRTFN_SOCKET"
}

# call XML OPERATION PHASE [EXTRA]: runs the hook for the domain of dir/XML. That it ends is for
# the hook to see to; the timeout makes a hang a failure.
call() {
    run --separate-stderr timeout 20 "$hook" web1 "$2" "$3" "${4--}" <"$dir/$1.xml"
}

# expect STATUS [STDERR-PATTERN]: the exit code, and nothing but one such line on stderr.
# shellcheck disable=SC2154 # run sets stderr and stderr_lines
expect() {
    if [[ $status -ne $1 ]]; then
        echo "exit code $status instead of $1; stderr: $stderr"
        return 1
    fi
    # shellcheck disable=SC2053 # a pattern
    if [[ $stderr != ${2-} || ${#stderr_lines[@]} -gt 1 ]]; then
        echo "stderr: $stderr"
        echo "instead of: ${2-nothing}"
        return 1
    fi
}

# unseen: nobody has connected. A connection that was made would be recorded before the one that
# this makes.
unseen() {
    "$hook" probe prepare begin - <"$dir/annotated.xml"
    if [[ $(head -n 1 "$dir/seen/1") != *"/v1/hooks/prepare HTTP/1.1"* || -e $dir/seen/2 ]]; then
        echo "connections: $(head -qn 1 "$dir"/seen/*)"
        return 1
    fi
}

milliseconds() {
    local now=${EPOCHREALTIME/[.,]/}
    echo $((now / 1000))
}

@test "links no library but libc" {
    run readelf -d "$hook"
    [[ $status -eq 0 ]]
    # The sanitizers' own runtimes are there only in the flavour that is made with them.
    refused=$(grep NEEDED <<<"$output" | grep -vE '\[lib(c|asan|ubsan)\.so' || true)
    [[ -z $refused ]]
}

@test "too few arguments are a bad call" {
    run --separate-stderr "$hook" web1 prepare <"$dir/annotated.xml"
    expect 2 "virtfn: usage: 50-virtfn DOMAIN OPERATION SUB-OPERATION EXTRA*"
    run --separate-stderr "$hook" </dev/null
    expect 2 "virtfn: usage: *"
}

@test "an operation of a newer libvirt is none of its business" {
    call annotated hibernate begin
    expect 0
}

@test "operations that virtfnd need not know are not passed on" {
    peer "reply:$(reply '204 No Content')"
    for operation in "prepare end" "stopped begin" "release begin" "attach begin" "reconnect end"; do
        read -r name phase <<<"$operation"
        call annotated "$name" "$phase"
        expect 0
    done
    unseen
}

@test "a domain of no concern opens no socket" {
    peer "reply:$(reply '204 No Content')"
    for xml in "<domain/>" \
        "<hostdev type='usb'><address type='pci'/></hostdev>" \
        "<interface type='bridge'/><source dev='hostdev'/>" \
        "<name>urn:virtfn</name><x>&lt;hostdev type='pci'</x>"; do
        echo "$xml" >"$dir/other.xml"
        call other prepare begin
        expect 0
    done
    run --separate-stderr "$hook" plain prepare begin - <tests/bench/plain-guest.xml
    expect 0
    unseen
}

@test "no XML at all is of no concern" {
    run --separate-stderr "$hook" web1 prepare begin - </dev/null
    expect 0
}

@test "a closed stdin is a bad call, but never for an operation that must not fail" {
    # shellcheck disable=SC2016 # the inner shell's arguments
    run --separate-stderr bash -c '"$1" web1 prepare begin - <&-' - "$hook"
    expect 2 "virtfn: domain 'web1': no XML on standard input: Bad file descriptor"
    # shellcheck disable=SC2016
    run --separate-stderr bash -c '"$1" web1 reconnect begin - <&-' - "$hook"
    expect 0 "virtfn: domain 'web1': no XML on standard input: Bad file descriptor"
}

@test "the request is as the API has it" {
    peer "reply:$(reply '204 No Content')"
    call annotated prepare begin
    expect 0
    [[ -z $output ]]
    {
        printf '%s\r\n' "POST /v1/hooks/prepare HTTP/1.1" "Host: localhost" "Accept: text/plain" \
            "Content-Type: application/xml" \
            "Content-Length: $(stat -c %s "$dir/annotated.xml")" "Connection: close" ""
        cat "$dir/annotated.xml"
    } >"$dir/expected"
    cmp "$dir/expected" "$dir/seen/1"
}

@test "each operation of virtfnd is passed on" {
    peer "reply:$(reply '204 No Content')"
    n=0
    for operation in "prepare begin" "start begin" "started begin" "stopped end" "release end" \
        "reconnect begin" "migrate begin" "restore begin"; do
        read -r name phase <<<"$operation"
        call annotated "$name" "$phase"
        expect 0
        n=$((n + 1))
        [[ $(head -n 1 "$dir/seen/$n") == "POST /v1/hooks/$name HTTP/1.1"$'\r' ]]
    done
}

@test "stopped and release say why, if the reason is a word" {
    peer "reply:$(reply '204 No Content')"
    call annotated release end shutdown
    call annotated stopped end from-snapshot
    call annotated release end -
    call annotated release end 'x HTTP/1.1'
    call annotated prepare begin migrated
    expect 0
    run head -qn 1 "$dir"/seen/{1,2,3,4,5}
    [[ ${lines[0]} == "POST /v1/hooks/release?reason=shutdown HTTP/1.1"* ]]
    [[ ${lines[1]} == "POST /v1/hooks/stopped?reason=from-snapshot HTTP/1.1"* ]]
    [[ ${lines[2]} == "POST /v1/hooks/release HTTP/1.1"* ]]
    [[ ${lines[3]} == "POST /v1/hooks/release HTTP/1.1"* ]]
    [[ ${lines[4]} == "POST /v1/hooks/prepare HTTP/1.1"* ]]
}

@test "a passed-through PCI device is passed on, however it is written" {
    peer "reply:$(reply '204 No Content')"
    n=0
    for xml in "$(cat "$dir/passed.xml")" '<hostdev mode="subsystem" type="pci"/>' \
        $'<hostdev\n\ttype = \'pci\'>' "<hostdev x='a>b' type='pci'>" \
        "<interface type='hostdev'/>" '<interface type="hostdev" managed="yes">'; do
        echo "$xml" >"$dir/other.xml"
        call other prepare begin
        expect 0
        n=$((n + 1))
        [[ -e $dir/seen/$n ]]
    done
}

@test "a refusal is one line and exit code 1" {
    peer "reply:$(reply '409 Conflict' $'pool \'uplink\': no function is free -- grow it\nmore\n')"
    call annotated prepare begin
    expect 1 "virtfn: pool 'uplink': no function is free -- grow it"
}

@test "a refusal without a reason still says something" {
    peer "reply:$(reply '503 Service Unavailable')"
    call annotated start begin
    expect 1 "virtfn: domain 'web1': virtfnd refused 'start' without a reason (status 503) -- *"
}

@test "what a refusal says cannot command a terminal" {
    peer "reply:$(reply '409 Conflict' $'a\x1b[2Jb\tc\x7f')"
    call annotated prepare begin
    expect 1 "virtfn: a\?\[2Jb\?c\?"
}

@test "started, stopped, release and reconnect never fail" {
    peer "reply:$(reply '500 Internal Server Error' 'the ledger is broken')"
    for operation in "started begin" "stopped end" "release end" "reconnect begin"; do
        read -r name phase <<<"$operation"
        call annotated "$name" "$phase"
        expect 0 "virtfn: the ledger is broken"
    done
}

@test "migrate and restore print the new XML" {
    peer "reply:$(reply '200 OK' '<domain>new</domain>')"
    for name in migrate restore; do
        call annotated "$name" begin
        expect 0
        [[ $output == '<domain>new</domain>' ]]
    done
}

@test "new XML of 3 MiB comes out whole" {
    {
        printf 'HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n'
        head -c 3145728 /dev/zero | tr '\0' x
    } >"$dir/big"
    peer "reply:$dir/big"
    [[ $("$hook" web1 migrate begin - <"$dir/annotated.xml" | wc -c) -eq 3145728 ]]
}

@test "migrate prints nothing when nothing changes" {
    peer "reply:$(reply '200 OK')" "reply:$(reply '204 No Content')"
    for _ in 1 2; do
        call annotated migrate begin
        expect 0
        [[ -z $output ]]
    done
    [[ -e $dir/seen/2 ]]
}

@test "new XML that cannot be written fails the migration" {
    peer "reply:$(reply '200 OK' '<domain/>')"
    # shellcheck disable=SC2016 # the inner shell's arguments
    run bash -c '"$1" web1 migrate begin - <"$2" >/dev/full' - "$hook" "$dir/annotated.xml"
    [[ $status -eq 1 ]]
    [[ $output == "virtfn: domain 'web1': the new XML cannot be written to libvirt"* ]]
}

@test "an answer in many pieces is an answer" {
    peer "drip:$(reply '200 OK' '<domain>new</domain>')"
    call annotated restore begin
    expect 0
    [[ $output == '<domain>new</domain>' ]]
}

@test "an answer on a connection that stays open is an answer" {
    peer "hold:$(reply '204 No Content')"
    call annotated prepare begin
    expect 0
}

@test "an answer before the request is read ends the request" {
    {
        cat "$dir/annotated.xml"
        head -c 4000000 /dev/zero | tr '\0' ' '
    } >"$dir/large.xml"
    peer "early:$(reply '413 Content Too Large' 'domain web1: too large')"
    call large prepare begin
    expect 1 "virtfn: domain web1: too large"
}

@test "an answer that makes no sense is a refusal, at once" {
    local length='HTTP/1.1 204 No Content\r\nContent-Length:'
    local -a nonsense=(
        'SSH-2.0-OpenSSH\r\n' 'HTTP/1.0 204 No Content\r\n\r\n' 'HTTP/1.1 2040 x\r\n\r\n'
        'HTTP/1.1 20\r\n\r\n' 'HTTP/1.1 -04 x\r\n\r\n' 'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n'
        'HTTP/1.1 200 OK\r\n\r\n' 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
        'HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n'
        "$length 0\r\nContent-Length: 0\r\n\r\n" "$length -1\r\n\r\n" "$length 0x0\r\n\r\n"
        "$length \r\n\r\n" "$length 99999999999999999999\r\n\r\n" "$length 0\r\n\r\nmore"
        "$length 4\r\n\r\nbody"
    )
    local -a steps=()
    for text in "${nonsense[@]}"; do steps+=("hold:$(raw "$text")"); done
    peer "${steps[@]}"
    for text in "${nonsense[@]}"; do
        call annotated prepare begin
        expect 1 "virtfn: domain 'web1': virtfnd gave an answer that makes no sense *" || {
            echo "the answer was: $text"
            return 1
        }
    done
    [[ -e $dir/seen/${#nonsense[@]} ]]
}

@test "a header without end is refused" {
    {
        printf 'HTTP/1.1 204 No Content\r\nX: '
        head -c 100000 /dev/zero | tr '\0' x
    } >"$dir/huge"
    peer "hold:$dir/huge"
    call annotated prepare begin
    expect 1 "virtfn: domain 'web1': virtfnd gave an answer that makes no sense *"
}

@test "a body of 10 MiB is refused" {
    {
        printf 'HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n'
        head -c 10485760 /dev/zero
    } >"$dir/huge"
    peer "reply:$dir/huge"
    call annotated migrate begin
    expect 1 "virtfn: domain 'web1': virtfnd gave an answer that makes no sense *"
    [[ -z $output ]]
}

@test "a virtfnd that is killed in the middle is asked again" {
    peer drop close "reply:$(raw 'HTTP/1.1 204 No Con')" \
        "reply:$(raw 'HTTP/1.1 409 Conflict\r\nContent-Length: 10\r\n\r\nhalf')" \
        "reply:$(reply '204 No Content')"
    call annotated prepare begin
    expect 0
    [[ -e $dir/seen/5 && ! -e $dir/seen/6 ]]
    cmp "$dir/seen/2" "$dir/seen/5"
}

@test "a virtfnd that comes back is waited for" {
    stale_socket
    "$hook" web1 prepare begin - <"$dir/annotated.xml" 3>&- &
    local pid=$!
    sleep 0.3
    # The gap between the old socket and the new one must not end the wait either.
    rm "$VIRTFN_SOCKET"
    sleep 0.3
    peer "reply:$(reply '204 No Content')"
    wait "$pid"
    [[ -e $dir/seen/1 ]]
}

@test "without a socket an annotated domain is refused, at once" {
    local start
    start=$(milliseconds)
    for name in prepare start migrate restore; do
        call annotated "$name" begin
        expect 1 "virtfn: domain 'web1': virtfnd is not running ($VIRTFN_SOCKET: *) -- start it with 'systemctl start virtfnd'"
    done
    (($(milliseconds) - start < 5000))
}

@test "without a socket started, stopped, release and reconnect do not fail" {
    for operation in "started begin" "stopped end" "release end" "reconnect begin"; do
        read -r name phase <<<"$operation"
        call annotated "$name" "$phase"
        expect 0 "virtfn: domain 'web1': virtfnd is not running *"
    done
}

@test "without virtfnd a merely passed-through device starts" {
    call passed prepare begin
    expect 0 "virtfn: domain 'web1': virtfnd is not running *"
    hook=$quick
    stale_socket
    call passed prepare begin
    expect 0 "virtfn: domain 'web1': virtfnd is not running *"
}

@test "a virtfnd that is there and does not answer refuses a passed-through device too" {
    hook=$quick
    peer mute
    call passed prepare begin
    expect 1 "virtfn: domain 'web1': virtfnd did not answer in time *"
}

@test "a socket that may not be used is explained" {
    touch "$dir/not-a-socket"
    VIRTFN_SOCKET=$dir/not-a-socket/virtfn.sock
    call annotated prepare begin
    expect 1 "virtfn: domain 'web1': virtfnd is not running (*: Not a directory) -- *"
    VIRTFN_SOCKET=$dir/$(printf '%0200d' 0)
    call annotated prepare begin
    expect 1 "virtfn: domain 'web1': virtfnd is not running (*) -- *"
}

@test "the deadline bounds every wait" {
    {
        cat "$dir/annotated.xml"
        head -c 4000000 /dev/zero | tr '\0' ' '
    } >"$dir/large.xml"
    hook=$quick
    peer mute deaf "hold:$(raw 'HTTP/1.1 204 No Content\r\n')" \
        "trickle:$(raw 'HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n')" close
    local start elapsed
    for case in "annotated:did not answer in time" "large:did not answer in time" \
        "annotated:did not answer in time" "annotated:did not answer in time" \
        "annotated:ended the connection without an answer"; do
        start=$(milliseconds)
        call "${case%%:*}" prepare begin
        elapsed=$(($(milliseconds) - start))
        expect 1 "virtfn: domain 'web1': virtfnd ${case#*:} *"
        ((elapsed >= 450 && elapsed < 3000)) || {
            echo "$elapsed ms"
            return 1
        }
    done
}

@test "the deadline bounds a refused connection" {
    hook=$quick
    stale_socket
    local start
    start=$(milliseconds)
    call annotated prepare begin
    expect 1 "virtfn: domain 'web1': virtfnd is not running (*: Connection refused) -- *"
    (($(milliseconds) - start >= 450))
}

@test "the deadline bounds an operation that must not fail" {
    hook=$quick
    peer mute
    call annotated release end shutdown
    expect 0 "virtfn: domain 'web1': virtfnd did not answer in time *"
}

@test "the deadline bounds a stdin that never ends" {
    hook=$quick
    mkfifo "$dir/never.xml"
    exec 4<>"$dir/never.xml"
    call never prepare begin
    exec 4>&-
    expect 2 "virtfn: domain 'web1': no XML on standard input: *timed out"
}

@test "the deadline bounds a stdin that comes byte by byte" {
    hook=$quick
    mkfifo "$dir/trickle.xml"
    timeout 20 bash -c 'while printf "<x/>"; do sleep 0.01; done' >"$dir/trickle.xml" 2>/dev/null 3>&- &
    call trickle prepare begin
    expect 2 "virtfn: domain 'web1': no XML on standard input: *timed out"
}

@test "the deadline bounds a stdout that nobody reads" {
    {
        printf 'HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n'
        head -c 1048576 /dev/zero | tr '\0' x
    } >"$dir/big"
    peer "reply:$dir/big"
    mkfifo "$dir/full"
    exec 4<>"$dir/full"
    # shellcheck disable=SC2016 # the inner shell's arguments
    run timeout 20 bash -c 'exec "$1" web1 migrate begin - <"$2" >&4' - "$quick" "$dir/annotated.xml"
    exec 4>&-
    [[ $status -eq 1 ]]
    [[ $output == "virtfn: domain 'web1': the new XML cannot be written to libvirt"* ]]
}

@test "XML of 5 MiB: refused when annotated, of no concern otherwise" {
    peer "reply:$(reply '204 No Content')"
    for name in annotated passed; do
        {
            cat "$dir/$name.xml"
            head -c 5242880 /dev/zero | tr '\0' ' '
        } >"$dir/$name-large.xml"
    done
    head -c 5242880 /dev/zero | tr '\0' ' ' >"$dir/plain-large.xml"
    call annotated-large prepare begin
    expect 1 "virtfn: domain 'web1': its XML is larger than 4 MiB -- *"
    call annotated-large release end
    expect 0 "virtfn: domain 'web1': its XML is larger than 4 MiB -- *"
    call passed-large prepare begin
    expect 0 "virtfn: domain 'web1': its XML is larger than 4 MiB -- *"
    call plain-large prepare begin
    expect 0
    unseen
}

@test "XML of exactly 4 MiB is passed on" {
    peer "reply:$(reply '204 No Content')"
    {
        cat "$dir/annotated.xml"
        head -c $((4194304 - $(stat -c %s "$dir/annotated.xml"))) /dev/zero | tr '\0' ' '
    } >"$dir/limit.xml"
    call limit prepare begin
    expect 0
    [[ $(tail -c 4194304 "$dir/seen/1" | cksum) == $(cksum <"$dir/limit.xml") ]]
}
