// SPDX-License-Identifier: GPL-2.0-or-later
//
// Files below the fake root, for the rest of the fake kernel: read, replace, link, remove, number
// maps and locks. No malloc and no stdio streams: the task that calls this may be all that is left
// of a killed process whose other threads held those locks.

#include "fakekernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NUMBERS 4096

// Builds `path` from the arguments after `format`.
#define FORMAT_PATH(path, root, format)                                                            \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        join(path, root, format, args);                                                            \
        va_end(args);                                                                              \
    } while (0)

__attribute__((format(printf, 3, 0))) static void join(char *path, const char *root,
                                                       const char *format, va_list args)
{
    size_t length = strlen(root);

    memcpy(path, root, length);
    vsnprintf(path + length, FK_PATH - length, format, args);
}

static int result_of(int returned)
{
    return returned < 0 ? -errno : returned;
}

// open() itself is interposed by this library.
int fk_open(const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

int fk_sys_unlink(const char *path)
{
    return (int)syscall(SYS_unlink, path);
}

ssize_t fk_sys_readlink(const char *path, char *target, size_t size)
{
    return syscall(SYS_readlink, path, target, size);
}

void fk_path(char *path, const char *root, const char *format, ...)
{
    FORMAT_PATH(path, root, format);
}

int fk_get(char *text, size_t size, const char *root, const char *format, ...)
{
    char path[FK_PATH];

    FORMAT_PATH(path, root, format);
    int fd = fk_open(path, O_RDONLY, 0);
    ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
    int result = length < 0 ? -errno : (int)length;
    if (fd >= 0)
        close(fd);
    if (result > 0 && text[result - 1] == '\n')
        result--;
    text[result < 0 ? 0 : result] = '\0';
    return result;
}

int fk_put(const char *text, mode_t mode, const char *root, const char *format, ...)
{
    char path[FK_PATH], line[FK_TEXT + 1];

    FORMAT_PATH(path, root, format);
    int length = snprintf(line, sizeof(line), "%s\n", text);
    int fd = fk_open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0)
        return -errno;
    int result = syscall(SYS_write, fd, line, length) == length ? 0 : -EIO;
    close(fd);
    return result;
}

int fk_link(const char *target, const char *root, const char *format, ...)
{
    char path[FK_PATH];

    FORMAT_PATH(path, root, format);
    return result_of(symlink(target, path));
}

int fk_link_name(char *name, size_t size, const char *root, const char *format, ...)
{
    char path[FK_PATH], target[FK_PATH];

    FORMAT_PATH(path, root, format);
    ssize_t length = fk_sys_readlink(path, target, sizeof(target) - 1);
    if (length < 0)
        return -errno;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    return snprintf(name, size, "%s", slash != NULL ? slash + 1 : target);
}

int fk_mkdir(const char *root, const char *format, ...)
{
    char path[FK_PATH];

    FORMAT_PATH(path, root, format);
    return result_of(mkdir(path, 0755));
}

int fk_rmdir(const char *root, const char *format, ...)
{
    char path[FK_PATH];

    FORMAT_PATH(path, root, format);
    return result_of(rmdir(path));
}

int fk_unlink(const char *root, const char *format, ...)
{
    char path[FK_PATH];

    FORMAT_PATH(path, root, format);
    return result_of(fk_sys_unlink(path));
}

bool fk_exists(const char *root, const char *format, ...)
{
    char path[FK_PATH];

    FORMAT_PATH(path, root, format);
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

// Reads the directory with the system call, because opendir() allocates.
void fk_remove_tree(const char *path)
{
    char entries[FK_TEXT] __attribute__((aligned(8))), child[FK_PATH];
    int fd = fk_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    long length;

    while (fd >= 0 && (length = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
        for (long at = 0; at < length; at += ((struct entry *)(entries + at))->length) {
            const char *name = ((struct entry *)(entries + at))->name;

            if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                continue;
            fk_path(child, path, "/%s", name);
            if (fk_sys_unlink(child) < 0)
                fk_remove_tree(child);
        }
    }
    if (fd >= 0)
        close(fd);
    rmdir(path);
}

int fk_number_take(const char *root, const char *map)
{
    char path[FK_PATH], marks[NUMBERS];
    int number = -ENOSPC;

    fk_path(path, root, "/.state/%s", map);
    int fd = fk_open(path, O_RDWR, 0);
    if (fd < 0)
        return -errno;
    ssize_t length = read(fd, marks, sizeof(marks));
    const char *unused = length > 0 ? memchr(marks, '.', (size_t)length) : NULL;
    if (unused != NULL && pwrite(fd, "#", 1, unused - marks) == 1)
        number = (int)(unused - marks);
    close(fd);
    return number;
}

void fk_number_mark(const char *root, const char *map, int number, char mark)
{
    char path[FK_PATH];

    fk_path(path, root, "/.state/%s", map);
    int fd = fk_open(path, O_WRONLY, 0);
    if (fd < 0)
        return;
    if (pwrite(fd, &mark, 1, number) != 1)
        fk_log(root, "broken %s", path);
    close(fd);
}

int fk_lock(const char *root, const char *name)
{
    char path[FK_PATH];

    fk_path(path, root, "/.state/%s.lock", name);
    int fd = fk_open(path, O_RDWR | O_CREAT, 0600);
    if (fd >= 0)
        flock(fd, LOCK_EX);
    return fd;
}
