// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fake kernel: build/tests/fakekernel.so, preloaded into the programs under test, gives the
// files below $VIRTFN_FAKE_ROOT (absolute, without symbolic links; tests/lib/fakehost makes the
// tree) the side effects that sysfs and /dev/vfio have. Linux 6.12 is the model: drivers/pci/iov.c,
// drivers/base/bus.c, drivers/vfio/group.c.
//
// All state is in the tree, so any number of processes share it and a kill -9 loses none. Each
// store runs in a task of its own that outlives its caller, as a system call that cannot be
// interrupted.
//
//   .log     one line for each store, group open, numvfs read and VF removal, in order
//   .fail    lines "PATH-GLOB ERRNO [NTH]": the store or open fails, all times or the NTH time only
//   .delay   lines "PATH-GLOB MILLISECONDS": the store takes that long before it has its effect
//   .pf/BDF  what a PF can do: driver, vfdriver, short, geometry, group, attr (see fakepci.c)
//   .state   numbers and locks that a real kernel keeps in memory
//   .points  while it is there, each call is a point that is written to .trace; lines "ACTION NTH
//            NAME" order what happens the NTH time that one is reached: kill = the process gets
//            SIGKILL, orphan = its parent does and it goes on, or an errno (before a call only).
//            NAME * is any point.
//            A process with VIRTFN_FAKE_BLIND in its environment has no points
//
// Paths in .log, .fail and .delay are those below the root, devices as /sys/bus/pci/devices/BDF.
//
// Only open, openat, write and ioctl are interposed to have effects, some others to be points
// (fakecalls.c). What writes through stdio (echo in a shell)
// calls none of them: use dd, or fake_write of tests/lib/fake.bash. Never built with a sanitizer; a
// program that is needs ASAN_OPTIONS=verify_asan_link_order=0, because the preloaded library comes
// before libasan. That is harmless: nothing here allocates and every call goes to the kernel
// directly.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define FK_PATH 1024
#define FK_TEXT 4096
#define FK_POINT 512

// One write to an attribute.
typedef struct {
    const char *root;
    const char *path;  // below the root, /sys/bus/pci/devices/BDF/NAME for devices
    const char *value; // without the newline at its end
    int fd;
} FkStore;

// fakekernel.c: what is under the fake kernel, NULL = nothing; the part of an absolute path below
// it; the file of a descriptor, devices as /sys/bus/pci/devices/BDF.
const char *fk_root(void);
const char *fk_below(const char *root, const char *path);
bool fk_identify(const char *root, int fd, char *path);

// fakefs.c: files below the root without malloc, because a store may outlive its caller at any
// point. A path is a printf format under the root. Results: 0 or more, or -errno.
int fk_open(const char *path, int flags, mode_t mode);
void fk_path(char *path, const char *root, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int fk_get(char *text, size_t size, const char *root, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int fk_put(const char *text, mode_t mode, const char *root, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int fk_link(const char *target, const char *root, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int fk_link_name(char *name, size_t size, const char *root, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int fk_mkdir(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fk_rmdir(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fk_unlink(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fk_exists(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fk_remove_tree(const char *path);
// Not the calls of that name, which are points.
int fk_sys_unlink(const char *path);
ssize_t fk_sys_readlink(const char *path, char *target, size_t size);

// Lowest free number of a map in .state ('.' free, '#' taken, '~' gone but still open).
int fk_number_take(const char *root, const char *map);
void fk_number_mark(const char *root, const char *map, int number, char mark);

// Waits for a lock of .state; closing the descriptor gives it back.
int fk_lock(const char *root, const char *name);

// fakescript.c: what a test wrote into .fail and .delay, and what it reads from .log.
void fk_log(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fk_scripted_failure(const char *root, const char *path);
void fk_scripted_delay(const char *root, const char *path);
const char *fk_result(int result);
int fk_errno_named(const char *name);

// fakepoint.c: a point is reached. 0, or -errno when the call is to fail. The caller may die in it.
bool fk_points_on(const char *root);
int fk_point(const char *phase, const char *call, const char *object);
// The one that the kernel reaches while its caller waits: who is to be killed, 0 = nobody.
pid_t fk_point_during(const char *call, const char *object);
void fk_victim_dies(pid_t victim);

// fakepci.c: the attributes of devices; true when there is a rule for this one.
bool fk_pci_store(const FkStore *store, int *result);

// fakevfio.c: drivers and VFIO groups.
int fk_bind(const char *root, const char *bdf, const char *driver);
int fk_unbind(const char *root, const char *bdf);
int fk_group_claim(int fd);
int fk_group_device(const char *root, const char *group, const char *bdf);
void fk_show_holders(const char *root, const char *path);
