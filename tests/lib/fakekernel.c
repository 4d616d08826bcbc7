// SPDX-License-Identifier: GPL-2.0-or-later
//
// The system calls of the fake kernel (see fakekernel.h): open and openat drop O_CREAT and O_TRUNC
// for sysfs, as sysfs ignores them, and make VFIO groups exclusive; write replaces an attribute as
// a whole and runs its rule; ioctl knows VFIO_GROUP_GET_DEVICE_FD. Everything outside the root goes
// straight to the kernel. Which file a descriptor is comes from /proc/self/fd, so descriptors that
// were inherited, passed or opened by somebody else work as well.

#include "fakekernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE (256 * 1024)

// What glibc's fortified headers call instead of open and openat.
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int directory, const char *path, int flags);
int __openat64_2(int directory, const char *path, int flags);

const char *fk_root(void)
{
    const char *root = getenv("VIRTFN_FAKE_ROOT");

    return root != NULL && *root == '/' && strlen(root) < FK_PATH / 2 ? root : NULL;
}

const char *fk_below(const char *root, const char *path)
{
    size_t length = strlen(root);

    return strncmp(path, root, length) == 0 && path[length] == '/' ? path + length : NULL;
}

static bool path_of(int fd, char *path)
{
    char link[64];

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = fk_sys_readlink(link, path, FK_PATH - 1);
    path[length < 0 ? 0 : length] = '\0';
    return length > 0 && *path == '/';
}

bool fk_identify(const char *root, int fd, char *path)
{
    char real[FK_PATH];
    const char *tail = path_of(fd, real) ? fk_below(root, real) : NULL;

    if (tail == NULL)
        return false;
    const char *device = strncmp(tail, "/sys/devices/pci", 16) == 0 ? strchr(tail + 16, '/') : NULL;
    snprintf(path, FK_PATH, "%s%s", device != NULL ? "/sys/bus/pci/devices" : "",
             device != NULL ? device : tail);
    return true;
}

static bool is_sysfs(const char *path)
{
    return strncmp(path, "/sys/", 5) == 0;
}

// The group's number when the path is that of a VFIO group, NULL otherwise.
static const char *group_of(const char *path)
{
    const char *name = strncmp(path, "/dev/vfio/", 10) == 0 ? path + 10 : "";

    return *name != '\0' && name[strspn(name, "0123456789")] == '\0' ? name : NULL;
}

struct task {
    const FkStore *store;
    pid_t victim; // dies while the store is under way
    int result;
};

static int run_store(void *data)
{
    struct task *task = data;
    const FkStore *store = task->store;
    bool numvfs = strstr(store->path, "/sriov_numvfs") != NULL;
    pid_t caller = getppid();

    setsid(); // killing the caller's process group must not reach the kernel
    // pci_rescan_remove_lock: one numvfs at a time on the whole host, sleeps included.
    int lock = numvfs ? fk_lock(store->root, "rescan") : -1;
    // Who has called is not gone before its call is over; anybody else is, and who comes after him
    // meets a store that has had no effect yet.
    if (task->victim > 0 && task->victim != caller) {
        const struct timespec moment = {0, 20 * 1000 * 1000};
        fk_victim_dies(task->victim);
        nanosleep(&moment, NULL);
    }
    task->result = fk_scripted_failure(store->root, store->path);
    if (task->result == 0)
        fk_scripted_delay(store->root, store->path);
    if (task->result == 0 && !fk_pci_store(store, &task->result)) {
        // The descriptor may be positioned anywhere and opened for appending.
        task->result = ftruncate(store->fd, 0) < 0 ? -errno : 0;
        if (task->result == 0 &&
            syscall(SYS_pwrite64, store->fd, store->value, strlen(store->value), 0) < 0)
            task->result = -errno;
    }
    fk_log(store->root, "write %s %s = %s", store->path, *store->value ? store->value : "\"\"",
           fk_result(task->result));
    if (lock >= 0)
        close(lock);
    if (task->victim == caller)
        fk_victim_dies(caller);
    return 0;
}

// Runs the store in a task that shares memory and descriptors with the caller, who waits as if in a
// system call. When the caller is killed the task goes on and its files stay open until it is done.
static int run_as_kernel(const FkStore *store, pid_t victim)
{
    struct task task = {store, victim, -ENOMEM};
    sigset_t all, before;
    char *stack =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (stack == MAP_FAILED)
        return -ENOMEM;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone(run_store, stack + STACK_SIZE, CLONE_VM | CLONE_FILES | CLONE_VFORK, &task);
    if (pid > 0)
        waitpid(pid, NULL, __WCLONE);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, STACK_SIZE);
    return task.result;
}

static bool allows(int fd, int flags)
{
    struct stat status;
    int access = flags & O_ACCMODE;

    if ((flags & O_PATH) || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return true;
    return (access == O_RDONLY || (status.st_mode & 0222)) &&
           (access == O_WRONLY || (status.st_mode & 0444));
}

// Sets errno and closes when the file that was opened refuses this.
static int check_open(const char *root, int fd, int flags)
{
    char path[FK_PATH], real[FK_PATH];
    int result = 0;

    if (fd < 0 || !fk_identify(root, fd, path))
        return fd;
    if (is_sysfs(path) && !allows(fd, flags)) {
        result = -EACCES;
    } else if (is_sysfs(path) && (flags & O_ACCMODE) != O_WRONLY &&
               strstr(path, "/sriov_numvfs") != NULL) {
        fk_log(root, "read %s", path); // blocks on a real host while it is being written
    } else if (group_of(path) != NULL && !(flags & O_PATH)) {
        result = fk_scripted_failure(root, path);
        if (result == 0 && (result = fk_group_claim(fd)) < 0 && path_of(fd, real))
            fk_show_holders(root, real);
        fk_log(root, "open %s = %s", path, fk_result(result));
    }
    if (result == 0)
        return fd;
    close(fd);
    errno = -result;
    return -1;
}

static const char *open_word(const char *path, int flags)
{
    if ((flags & O_ACCMODE) == O_RDONLY)
        return "read";
    return group_of(path) != NULL ? "claim" : (flags & O_CREAT) ? "create" : "open";
}

static int fake_open(int directory, const char *path, int flags, mode_t mode)
{
    const char *root = fk_root(), *tail = NULL;
    char base[FK_PATH], absolute[2 * FK_PATH];

    if (root != NULL && *path == '/') {
        tail = fk_below(root, path);
    } else if (root != NULL && (directory == AT_FDCWD ? getcwd(base, sizeof(base)) != NULL
                                                      : path_of(directory, base))) {
        snprintf(absolute, sizeof(absolute), "%s/%s", base, path);
        tail = fk_below(root, absolute);
    }
    if (tail == NULL)
        return (int)syscall(SYS_openat, directory, path, flags, mode);
    const char *call = open_word(tail, flags);
    int refused = fk_point("before", call, tail);
    if (refused < 0) {
        errno = -refused;
        return -1;
    }
    bool creates = is_sysfs(tail) && (flags & O_CREAT);
    if (is_sysfs(tail))
        flags &= ~(O_CREAT | O_EXCL | O_TRUNC);
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (fd < 0 && creates && errno == ENOENT)
        errno = EACCES;
    fd = check_open(root, fd, flags);
    int saved_errno = errno;
    if (fd >= 0 && (flags & O_ACCMODE) == O_RDWR)
        fk_point("after", call, tail);
    errno = saved_errno;
    return fd;
}

#define OPEN_WITH_MODE(directory)                                                                  \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;                      \
        mode_t mode = creates ? va_arg(args, mode_t) : 0;                                          \
        va_end(args);                                                                              \
        return fake_open(directory, path, flags, mode);                                            \
    } while (0)

int open(const char *path, int flags, ...)
{
    OPEN_WITH_MODE(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN_WITH_MODE(AT_FDCWD);
}

int openat(int directory, const char *path, int flags, ...)
{
    OPEN_WITH_MODE(directory);
}

int openat64(int directory, const char *path, int flags, ...)
{
    OPEN_WITH_MODE(directory);
}

int __open_2(const char *path, int flags)
{
    return fake_open(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return fake_open(AT_FDCWD, path, flags, 0);
}

int __openat_2(int directory, const char *path, int flags)
{
    return fake_open(directory, path, flags, 0);
}

int __openat64_2(int directory, const char *path, int flags)
{
    return fake_open(directory, path, flags, 0);
}

// A store, between its points. 0 or -errno.
static int store_value(const char *root, int fd, const char *path, const char *value)
{
    const FkStore store = {root, path, value, fd};
    char object[FK_PATH + 40];

    snprintf(object, sizeof(object), "%s%s%.32s", path, *value ? " " : "", value);
    int result = fk_point("before", "write", object);
    if (result == 0 && strstr(path, " (deleted)") != NULL)
        result = -ENODEV;
    if (result == 0)
        result = run_as_kernel(&store, fk_point_during("write", object));
    if (result == 0)
        fk_point("after", "write", object);
    return result;
}

static ssize_t write_file(int fd, const char *path, const void *data, size_t size)
{
    int refused = fk_point("before", "write", path);

    if (refused < 0) {
        errno = -refused;
        return -1;
    }
    ssize_t written = syscall(SYS_write, fd, data, size);
    if (written >= 0)
        fk_point("after", "write", path);
    return written;
}

ssize_t write(int fd, const void *data, size_t size)
{
    const char *root = fk_root();
    char path[FK_PATH], value[FK_TEXT];
    int access = root != NULL && size < sizeof(value) ? (int)syscall(SYS_fcntl, fd, F_GETFL) : -1;

    if (access < 0 || (access & O_ACCMODE) == O_RDONLY || !fk_identify(root, fd, path))
        return syscall(SYS_write, fd, data, size);
    if (!is_sysfs(path))
        return write_file(fd, path, data, size);
    memcpy(value, data, size);
    value[size] = '\0';
    if (size > 0 && value[size - 1] == '\n')
        value[size - 1] = '\0';
    int result = store_value(root, fd, path, value);
    if (result == 0)
        return (ssize_t)size;
    errno = -result;
    return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
    const char *root = fk_root();
    char path[FK_PATH];
    va_list args;

    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    if (root == NULL || request != VFIO_GROUP_GET_DEVICE_FD || !fk_identify(root, fd, path) ||
        group_of(path) == NULL)
        return (int)syscall(SYS_ioctl, fd, request, argument);
    int device = fk_group_device(root, group_of(path), argument);
    if (device >= 0)
        return device;
    errno = -device;
    return -1;
}
