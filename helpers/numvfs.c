// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn-numvfs [--root DIRECTORY] PF COUNT: writes COUNT to the PF's sriov_numvfs, once, and does
// nothing else. It is a process of its own because the write sleeps in the kernel for a second or
// more, cannot be interrupted, and never returns when a VF is open (Linux drivers/pci/iov.c,
// drivers/vfio/vfio_main.c): the daemon must survive that. The caller holds the fence.
//
// Exit status 0 written, 1 refused ("errno=NAME ..." on stderr), 2 bad call. libc only.

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices/"

static int usage(const char *cause)
{
    dprintf(STDERR_FILENO, "virtfn-numvfs: %s; usage: virtfn-numvfs [--root DIRECTORY] PF COUNT\n",
            cause);
    return 2;
}

static int refused(int number, const char *action, const char *path)
{
    const char *name = strerrorname_np(number);

    dprintf(STDERR_FILENO, "errno=%s %s %s\n", name != NULL ? name : "EIO", action, path);
    return 1;
}

// Lower-case hexadecimal digits; the text after them and `end`, NULL when it is anything else.
static const char *skip_hex(const char *text, int min, int max, char end)
{
    int digits = 0;

    while (digits < max && isxdigit((unsigned char)*text) && !isupper((unsigned char)*text)) {
        text++;
        digits++;
    }
    return digits >= min && *text == end ? text + 1 : NULL;
}

// DDDD:BB:DD.F as sysfs writes it, so that the name cannot lead to another directory.
static bool is_address(const char *text)
{
    const char *slot = skip_hex(text, 4, 8, ':');

    slot = slot != NULL ? skip_hex(slot, 2, 2, ':') : NULL;
    const char *function = slot != NULL ? skip_hex(slot, 2, 2, '.') : NULL;
    return function != NULL && *slot <= '1' && *function >= '0' && *function <= '7' &&
           function[1] == '\0';
}

static bool is_count(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits >= 1 && digits <= 5 && text[digits] == '\0' && atoi(text) <= 65535;
}

static int write_count(const char *root, const char *pf, const char *count)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s" DEVICES "%s/sriov_totalvfs", root, pf) >=
        (int)sizeof(path))
        return usage("the root's name is too long");
    if (access(path, F_OK) < 0)
        return refused(errno == ENOENT ? ENODEV : errno, "looking for", path);
    snprintf(path, sizeof(path), "%s" DEVICES "%s/sriov_numvfs", root, pf);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return refused(errno, "opening", path);
    ssize_t length = (ssize_t)strlen(count), written = write(fd, count, (size_t)length);
    int number = written == length ? 0 : written < 0 ? errno : EIO;
    close(fd);
    return number == 0 ? 0 : refused(number, "writing", path);
}

int main(int argc, char **argv)
{
    const char *root = "";

    // A signal to the daemon's process group is not for us: the write must not be cut in two.
    setsid();
    if (argc > 2 && strcmp(argv[1], "--root") == 0) {
        root = argv[2];
        argv += 2;
        argc -= 2;
        if (*root != '/')
            return usage("the root must be an absolute path");
    }
    if (argc != 3)
        return usage("two arguments are needed");
    if (!is_address(argv[1]))
        return usage("PF must be an address like 0000:3b:00.0");
    if (!is_count(argv[2]))
        return usage("COUNT must be 0 to 65535");
    return write_count(root, argv[1], argv[2]);
}
