# SPDX-License-Identifier: GPL-2.0-or-later
#
# plugin/openapi.json is JSON, complete and sound in itself. Whether the daemon answers as it says is
# in daemon-cli.bats.

TREE=$BATS_TEST_DIRNAME/../..
API=$TREE/plugin/openapi.json

@test "it is JSON without duplicate members" {
    jq -e '.openapi == "3.1.0"' "$API"
    # jq keeps the last of two equal members, so a duplicate shows as a path that is lost.
    [[ $(grep -c '^    "/' "$API") -eq $(jq '.paths | length' "$API") ]]
}

@test "its version is the program's" {
    [[ "virtfn $(jq -r .info.version "$API")" == "$("$BUILD/virtfn" --version)" ]]
}

@test "it names each route of the daemon, and no other" {
    described=$(jq -r '.paths | to_entries[] | .key as $path | .value | keys[] |
        ascii_upcase + " " + ($path | gsub("\\{[a-z]+\\}"; "*"))' "$API" | sort)
    routes=$(sed -nE 's|^    \{"([A-Z]+)", "(/[^"]*)", .*|\1 \2|p' "$TREE/plugin/routes.c" | sort)
    diff <(echo "$routes") <(echo "$described")
}

@test "it names the role of each route as the daemon checks it" {
    described=$(jq -r '.paths | to_entries[] | .key as $path | .value | to_entries[] |
        (.key | ascii_upcase) + " " + ($path | gsub("\\{[a-z]+\\}"; "*")) + " " +
        (.value["x-role"] | ascii_upcase)' "$API" | sort)
    routes=$(sed -nE 's|^    \{"([A-Z]+)", "(/[^"]*)", .*VF_ROLE_([A-Z]+).*|\1 \2 \3|p' \
        "$TREE/plugin/routes.c" | sort)
    diff <(echo "$routes") <(echo "$described")
}

@test "every reference leads somewhere, and every schema is used" {
    jq -e '. as $api | [.. | objects | select(has("$ref")) | .["$ref"]] | unique |
        map((ltrimstr("#/") | split("/")) as $path | select($api | getpath($path) == null)) == []' "$API"
    jq -e '([.components.schemas | keys[] | "#/components/schemas/" + .] -
        [.. | objects | select(has("$ref")) | .["$ref"]]) == []' "$API"
}

@test "each parameter in a path is described" {
    jq -e '[.paths | to_entries[] | (.key | [scan("\\{([a-z]+)\\}")] | flatten) as $names |
        .value[] | ([.parameters[]? | select(.in == "path").name] | sort) == ($names | sort)] | all' \
        "$API"
}

@test "a required member is described" {
    jq -e '[.. | objects | select(has("required") and has("properties")) |
        (.required - (.properties | keys)) == []] | all' "$API"
}
