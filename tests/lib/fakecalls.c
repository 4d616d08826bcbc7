// SPDX-License-Identifier: GPL-2.0-or-later
//
// System calls that the fake kernel only watches, so that they are points (fakepoint.c): files
// below the root being renamed, removed, synced, followed and listed, commands to QEMU and their
// answers, sockets and processes being made. Done by the real kernel, or refused as ordered.

#include "fakekernel.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SOCKETS 256

// The path below the root, NULL for any other, and while nobody asked for points.
static const char *watched(const char *path)
{
    const char *root = fk_root();

    return path != NULL && *path == '/' && fk_points_on(root) ? fk_below(root, path) : NULL;
}

// Runs `call` (an expression that is a system call's result) between its two points.
#define BETWEEN_POINTS(name, object, call)                                                         \
    do {                                                                                           \
        const char *at_point = (object);                                                           \
        int refused = at_point != NULL ? fk_point("before", name, at_point) : 0;                   \
        if (refused < 0) {                                                                         \
            errno = -refused;                                                                      \
            return -1;                                                                             \
        }                                                                                          \
        long result = (call);                                                                      \
        int saved_errno = errno;                                                                   \
        if (at_point != NULL && result >= 0)                                                       \
            fk_point("after", name, at_point);                                                     \
        errno = saved_errno;                                                                       \
        return result;                                                                             \
    } while (0)

int rename(const char *from, const char *to)
{
    BETWEEN_POINTS("rename", watched(to), syscall(SYS_rename, from, to));
}

int unlink(const char *path)
{
    BETWEEN_POINTS("unlink", watched(path), syscall(SYS_unlink, path));
}

static int sync_file(int fd, long number)
{
    const char *root = fk_root();
    char path[FK_PATH];
    bool seen = fk_points_on(root) && fk_identify(root, fd, path);

    BETWEEN_POINTS("sync", seen ? path : NULL, syscall(number, fd));
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

// As SQLite writes.
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    const char *root = fk_root();
    char path[FK_PATH];
    bool seen = fk_points_on(root) && fk_identify(root, fd, path);

    BETWEEN_POINTS("write", seen ? path : NULL, syscall(SYS_pwrite64, fd, data, size, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return pwrite(fd, data, size, offset);
}

ssize_t readlink(const char *path, char *target, size_t size)
{
    const char *seen = watched(path);
    int refused = seen != NULL ? fk_point("before", "follow", seen) : 0;

    if (refused == 0)
        return syscall(SYS_readlink, path, target, size);
    errno = -refused;
    return -1;
}

DIR *opendir(const char *path)
{
    static DIR *(*real)(const char *);
    const char *seen = watched(path);
    int refused = seen != NULL ? fk_point("before", "list", seen) : 0;

    if (real == NULL)
        real = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
    if (refused == 0)
        return real(path);
    errno = -refused;
    return NULL;
}

pid_t fork(void)
{
    static pid_t (*real)(void);
    int refused = fk_points_on(fk_root()) ? fk_point("before", "fork", "a helper") : 0;

    if (real == NULL)
        real = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
    if (refused == 0)
        return real();
    errno = -refused;
    return -1;
}

int socket(int domain, int type, int protocol)
{
    int refused =
        domain == AF_UNIX && fk_points_on(fk_root()) ? fk_point("before", "make", "a socket") : 0;

    if (refused == 0)
        return (int)syscall(SYS_socket, domain, type, protocol);
    errno = -refused;
    return -1;
}

// What the last command on a socket was, until it is answered: "vfio-pause ua-virtfn-net0". Each
// socket has one user at a time.
static char commands[SOCKETS][FK_POINT / 2];
static bool asked[SOCKETS];

// The JSON string after `key` in a line that is not terminated.
static void copy_string(char *out, size_t size, const char *line, size_t length, const char *key)
{
    const char *at = memmem(line, length, key, strlen(key));
    size_t width = 0;

    *out = '\0';
    if (at == NULL)
        return;
    at += strlen(key);
    while (at + width < line + length && at[width] != '"' && width + 1 < size)
        width++;
    memcpy(out, at, width);
    out[width] = '\0';
}

// Whether it is a command to QEMU, and which.
static bool read_command(char *name, const struct msghdr *message)
{
    char command[64], object[64];
    const struct iovec *part = message->msg_iov;

    if (message->msg_iovlen != 1)
        return false;
    copy_string(command, sizeof(command), part->iov_base, part->iov_len, "\"execute\":\"");
    copy_string(object, sizeof(object), part->iov_base, part->iov_len, "\"id\":\"");
    if (*object == '\0')
        copy_string(object, sizeof(object), part->iov_base, part->iov_len, "\"fdname\":\"");
    snprintf(name, FK_POINT / 2, "%s%s%s", command, *object ? " " : "", object);
    return *command != '\0';
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    char name[FK_POINT / 2];
    bool seen = fk_points_on(fk_root()) && fd < SOCKETS && read_command(name, message);

    if (seen) {
        strcpy(commands[fd], name);
        asked[fd] = true;
    }
    BETWEEN_POINTS("send", seen ? name : NULL, syscall(SYS_sendmsg, fd, message, flags));
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    bool seen = fk_points_on(fk_root()) && fd < SOCKETS && *commands[fd] != '\0';
    int refused = seen && asked[fd] ? fk_point("before", "answer", commands[fd]) : 0;

    if (seen)
        asked[fd] = false;
    if (refused < 0) {
        errno = -refused;
        return -1;
    }
    ssize_t length = syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
    int saved_errno = errno;
    if (seen && length > 0 && memmem(data, (size_t)length, "\"return\"", 8) != NULL) {
        fk_point("after", "answer", commands[fd]);
        *commands[fd] = '\0';
    }
    errno = saved_errno;
    return length;
}
