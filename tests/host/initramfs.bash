# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes initramfs archives from the busybox and the kernel modules of the root file system. Sourced.
#
# Modules are stored uncompressed, numbered in the order in which they must be loaded, so that the /init
# scripts need neither modprobe nor a decompressor. The archives are uncompressed as well: unpacking is what
# an emulated processor is slow at. Archives may be concatenated; the kernel unpacks one after the other.

# module_files ROOTFS MODULE...: print the files of these modules and of what they need, in loading order.
module_files() {
    local rootfs=$1 version
    shift
    version=$(basename "$rootfs"/lib/modules/*)
    modprobe -C /dev/null -d "$rootfs" -S "$version" --show-depends --all "$@" |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# pack_tree DIRECTORY: print a cpio archive of it, owned by root.
pack_tree() {
    (cd "$1" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc -R 0:0)
}

# make_initramfs ROOTFS INIT MODULE...: print an archive with busybox, INIT as /init and the modules.
make_initramfs() {
    local rootfs=$1 init=$2 tree files file number=100
    shift 2
    files=$(module_files "$rootfs" "$@")
    tree=$(mktemp -d)
    mkdir -p "$tree"/{bin,dev,etc,modules,newroot,proc,run,sys,tmp}
    chmod 755 "$tree"
    install "$rootfs/busybox" "$tree/bin/busybox"
    install "$init" "$tree/init"
    for file in $files; do
        xz -dc "$file" >"$tree/modules/$number-$(basename "$file" .xz)"
        number=$((number + 1))
    done
    pack_tree "$tree"
    rm -rf "$tree"
}
