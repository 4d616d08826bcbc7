# SPDX-License-Identifier: GPL-2.0-or-later
#
# helpers/virtfn.bash-completion: loads, offers what the program's help says and what the daemon
# has, and stays quiet when nobody answers.

bats_require_minimum_version 1.5.0

setup() {
    load ../lib/cli.bash
    PATH=$BUILD:$PATH
    # shellcheck source=helpers/virtfn.bash-completion
    source "$BATS_TEST_DIRNAME/../../helpers/virtfn.bash-completion"
}

teardown() {
    stop_peer
}

# What is offered for a line with the cursor at its end, sorted, in one line.
complete_line() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
    COMPREPLY=()
    _virtfn
    ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
}

expect_offer() { # LINE OFFER
    local offer
    offer=$(complete_line "$1")
    if [[ $offer != "$2" ]]; then
        printf "for '%s' expected '%s', got '%s'\n" "$1" "$2" "$offer"
        return 1
    fi
}

serve() {
    answer 'GET /v1/pools' '200 OK' application/json \
        '{"pools":[{"name":"uplink","pfs":[{"address":"0000:01:00.0"},{"address":"0000:01:00.1"}]}]}'
    answer 'GET /v1/functions' '200 OK' application/json \
        '{"functions":[{"pf":"0000:01:00.0","index":3}]}'
    answer 'GET /v1/domains' '200 OK' application/json \
        '{"domains":[{"name":"my web"},{"name":"$(reboot)"}]}'
    start_peer
}

@test "it is registered for virtfn" {
    [[ $(complete -p virtfn) == 'complete -F _virtfn virtfn' ]]
}

@test "commands" {
    expect_offer 'virtfn ' 'attach detach doctor events help image init list pause reconf remap render resume settle show status'
    expect_offer 'virtfn s' 'settle show status'
    expect_offer 'virtfn help do' 'doctor'
    expect_offer "virtfn --json --socket $SOCKET st" 'status'
}

@test "options, those of the command too" {
    expect_offer 'virtfn --' '--help --json --no-color --socket --version'
    expect_offer 'virtfn render --i' '--in-place'
    expect_offer 'virtfn doctor --r' ''
}

@test "words of list" {
    expect_offer 'virtfn list ' 'attachments domains functions images leases pools'
    expect_offer 'virtfn list f' 'functions'
}

@test "files" {
    cd "$BATS_TEST_TMPDIR"
    touch vm.xml
    mkdir conf
    expect_offer 'virtfn render v' 'vm.xml'
    expect_offer 'virtfn init --bitstream v' 'vm.xml'
    expect_offer 'virtfn doctor --config c' 'conf'
    expect_offer 'virtfn image add sha-0 sha256 0 v' 'vm.xml'
}

@test "images" {
    answer 'GET /v1/images' '200 OK' application/json '{"images":[{"name":"sha-0"},{"name":"aes-1"}]}'
    start_peer
    expect_offer "virtfn --socket $SOCKET image " 'add list remove'
    expect_offer "virtfn --socket $SOCKET image r" 'remove'
    expect_offer "virtfn --socket $SOCKET image remove " 'aes-1 sha-0'
    expect_offer "virtfn --socket $SOCKET image list " ''
    expect_offer "virtfn --socket $SOCKET image add " ''
}

@test "names from the daemon" {
    serve
    expect_offer "virtfn --socket $SOCKET init " 'uplink'
    expect_offer "virtfn --socket $SOCKET attach --pool " 'uplink'
    expect_offer "virtfn --socket $SOCKET doctor u" 'uplink'
    expect_offer "virtfn --socket $SOCKET show my" 'my\ web'
}

@test "addresses are completed behind their last colon" {
    serve
    expect_offer "virtfn --socket $SOCKET show 0000:01:00" '00.0 00.0#3 00.1'
    expect_offer "virtfn --socket $SOCKET doctor 0000:" '01:00.0 01:00.1'
}

@test "a name that a shell would run is quoted" {
    serve
    expect_offer "virtfn --socket $SOCKET show \$" '\$\(reboot\)'
}

@test "nobody answers: nothing is offered and nothing is printed" {
    run -0 complete_line "virtfn --socket $SOCKET show "
    [[ -z $output ]]
}
