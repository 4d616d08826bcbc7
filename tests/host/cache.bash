# SPDX-License-Identifier: GPL-2.0-or-later
#
# The cache that QEMU, the host's root file system and the guest image live in, and where their packages
# come from. Sourced by plugin/qemu/build and by the scripts of this folder.
#
# Invariant: an entry that exists is complete. It is built under a temporary name and renamed at the end; builders
# of the same entry take turns by flock; an entry is never changed afterwards, only deleted when long unused.
# Packages come from the mirror that the machine's own apt uses; nothing here names a host.

shopt -s inherit_errexit

# cache_root: print the cache directory, made if absent.
cache_root() {
    local root=${VIRTFN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/virtfn}
    mkdir -p "$root"
    (cd "$root" && pwd -P)
}

# cache_key PATH... [-- WORD...]: print a hash of the names and contents of the files (and of all files below
# the directories) and of the words.
cache_key() {
    local path
    {
        while (($#)) && [[ $1 != -- ]]; do
            path=$1
            shift
            [[ -e $path ]] || continue
            (cd "$(dirname "$path")" && find "$(basename "$path")" -type f -print0 |
                sort -z | xargs -0r sha256sum)
        done
        printf '%s\n' "$@"
    } | sha256sum | cut -c 1-16
}

# cache_get NAME KEY FUNCTION: print the path of entry NAME-KEY. If it is absent, FUNCTION is called
# with an empty directory to fill; what it prints goes to stderr.
cache_get() {
    local root entry
    root=$(cache_root)
    entry=$root/$1-$2
    if [[ ! -d $entry ]]; then
        (
            exec 9>"$root/$1.lock"
            flock 9
            [[ ! -d $entry ]] || exit 0
            cache_drop_unused "$root"
            tmp=$(mktemp -d "$root/tmp.XXXXXX")
            trap 'rm -rf "$tmp"' EXIT
            mkdir "$tmp/entry"
            "$3" "$tmp/entry" >&2 9>&-
            chmod 755 "$tmp/entry"
            mv -T "$tmp/entry" "$entry"
        )
    fi
    touch "$entry"
    echo "$entry"
}

# cache_drop_unused ROOT: delete entries that nobody asked for in 14 days, and what dead builders left.
cache_drop_unused() {
    find "$1" -mindepth 1 -maxdepth 1 -type d \( -name '*-????????????????' -mtime +14 \
        -o -name 'tmp.*' -mtime +1 \) -exec rm -rf {} +
}

# debian_mirror: print the URI that the machine's apt takes Debian's main archive from.
debian_mirror() {
    local uri
    # shellcheck disable=SC2016 # apt expands these, not the shell
    uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SITE)' |
        awk '$2 == "main" && $1 ~ /^[a-z]+$/ { print $3; exit }')
    [[ -n $uri ]] || {
        echo "no Debian mirror in this machine's apt sources: add one that has 'main'" >&2
        return 1
    }
    echo "${uri%/}"
}

# debian_sources SUITE...: print apt sources (deb and deb-src) of these suites on the machine's mirror.
debian_sources() {
    local mirror
    mirror=$(debian_mirror)
    printf '%s\n' 'Types: deb deb-src' "URIs: $mirror" "Suites: $*" 'Components: main' \
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg'
}

# private_apt DIRECTORY SUITE...: make an apt configuration of its own in DIRECTORY, with only these suites, and
# fetch its indices. Use it as APT_CONFIG=DIRECTORY/apt.conf; the machine's sources and lists stay as they are.
private_apt() {
    local dir=$1
    shift
    mkdir -p "$dir"/{sources,lists/partial,cache/archives/partial}
    debian_sources "$@" >"$dir/sources/debian.sources"
    cat >"$dir/apt.conf" <<EOF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$dir/sources/";
Dir::State::lists "$dir/lists/";
Dir::Cache "$dir/cache/";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "root";
EOF
    APT_CONFIG=$dir/apt.conf apt-get -q update
}
