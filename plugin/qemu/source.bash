# SPDX-License-Identifier: GPL-2.0-or-later
#
# Where QEMU's source comes from, and how ours gets into it. Sourced by build, test and deb of this folder, after
# tests/host/cache.bash.
#
# Invariant: a source package is downloaded once and then comes from the cache; ours is the patches of patches/, in
# name order and without fuzz, and the files of src/, laid over the tree at the same paths.

qemu_suite=trixie
# Firmware that QEMU's source package has no binaries of, and a meson that is new enough for QEMU 10.
qemu_packages=(meson seabios qemu-system-data ipxe-qemu)

# qemu_source: print the cached directory with Debian's source package in package/ (its .dsc and what that names), the
# unpacked packages in debs/, and the version of the source package in version.
qemu_source() {
    cache_get qemu-source "$(cache_key -- "$qemu_suite" "${qemu_packages[@]}" "$(declare -f qemu_source_fetch)")" \
        qemu_source_fetch
}

qemu_source_fetch() {
    local apt=$1.apt package
    private_apt "$apt" "$qemu_suite"
    mkdir "$1/package" "$apt/download"
    (cd "$1/package" && APT_CONFIG=$apt/apt.conf apt-get -q source --download-only qemu)
    (cd "$apt/download" && APT_CONFIG=$apt/apt.conf apt-get -q download "${qemu_packages[@]}")
    for package in "$apt"/download/*.deb; do
        dpkg-deb -x "$package" "$1/debs"
    done
    awk '/^Version:/ { print $2; exit }' "$1"/package/*.dsc >"$1/version"
}

# qemu_source_update: forget the cached source package if the mirror has another version.
qemu_source_update() {
    local source dir newest
    source=$(qemu_source)
    dir=$(mktemp -d)
    private_apt "$dir" "$qemu_suite" >&2
    newest=$(APT_CONFIG=$dir/apt.conf apt-cache showsrc --only-source qemu |
        awk '/^Version:/ { print $2; exit }')
    rm -rf "$dir"
    [[ $newest == "$(<"$source/version")" ]] || rm -rf "$source"
}

# qemu_add_ours SOURCE [FOLDER]: apply the patches and lay the files, if any, of FOLDER, or of this one, over QEMU's
# source.
qemu_add_ours() {
    local patch folder=${2:-$qemu_folder}
    for patch in "$folder"/patches/*.patch; do
        patch -d "$1" -p1 --forward --fuzz=0 <"$patch"
    done
    [[ ! -d $folder/src ]] || cp -rT "$folder/src" "$1"
}

# What the emulated host needs of its emulator, mends and the FPGA card: plugin/qemu/build adds both, plugin/qemu/deb
# neither.
# shellcheck disable=SC2034 # for those who source this
qemu_mends=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../tests/host/qemu" && pwd -P)
# shellcheck disable=SC2034
qemu_card=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../tests/host/card" && pwd -P)
qemu_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
