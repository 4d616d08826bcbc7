# SPDX-License-Identifier: GPL-2.0-or-later
#
# What bats files expect: each of these fails with both texts, the one that should be and the one
# that is. Sourced by cli.bash and daemon.bash.

# expect STATUS TEXT: what `run` left, whole.
# shellcheck disable=SC2154 # bats' run sets status and output
expect() {
    if [[ $status -ne $1 || $output != "$2" ]]; then
        printf 'expected exit %s and:\n%s\ngot exit %s and:\n%s\n' "$1" "$2" "$status" "$output"
        return 1
    fi
}

# becomes TEXT COMMAND...: until that is what the command prints.
becomes() {
    local is
    for _ in {1..1000}; do
        is=$("${@:2}") || true
        [[ $is != "$1" ]] || return 0
        sleep 0.02
    done
    echo "${*:2}:"
    equal "$is" "$1"
}

# equal ACTUAL EXPECTED
equal() {
    if [[ $1 != "$2" ]]; then
        printf 'expected:\n%s\ngot:\n%s\n' "$2" "$1"
        return 1
    fi
}
