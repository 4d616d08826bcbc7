// SPDX-License-Identifier: GPL-2.0-or-later
//
// Points: each thing that a program does to its host, by name, before, while and after the kernel
// does it. A test reads the names of one run from .trace, and orders with .points that the program
// is killed, or its call fails, at one of them in another run. The programs know nothing of it.
//
// A name is "[PROGRAM: ]PHASE CALL OBJECT": "before write 0000:01:10.0/driver_override vfio-pci",
// "numvfs: during write 0000:01:00.0/sriov_numvfs 0". PROGRAM is told of programs that were started
// by the one under test. Threads reach points in any order, so it is names that are counted.

#include "fakekernel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool fk_points_on(const char *root)
{
    return root != NULL && getenv("VIRTFN_FAKE_BLIND") == NULL && fk_exists(root, "/.points");
}

// The program under test is a daemon, or a test that runs its parts.
static const char *program(void)
{
    const char *name = program_invocation_short_name;

    if (strcmp(name, "virtfnd") == 0 || strncmp(name, "reconf-", 7) == 0)
        return "";
    return strncmp(name, "virtfn-", 7) == 0 ? name + 7 : name;
}

struct counts {
    unsigned same, all;
};

static struct counts count_lines(const char *root, const char *name)
{
    char path[FK_PATH];
    size_t length = strlen(name);
    struct stat status;
    struct counts counts = {0, 0};

    fk_path(path, root, "/.trace");
    int fd = fk_open(path, O_RDONLY, 0);
    if (fd < 0 || fstat(fd, &status) < 0 || status.st_size == 0) {
        if (fd >= 0)
            close(fd);
        return counts;
    }
    size_t size = (size_t)status.st_size;
    char *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (text == MAP_FAILED)
        return counts;
    for (const char *line = text, *end = text + size; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        size_t width = (size_t)((next != NULL ? next : end) - line);

        counts.same += width == length && memcmp(line, name, length) == 0;
        counts.all++;
        line = next != NULL ? next + 1 : end;
    }
    munmap(text, size);
    return counts;
}

// How often the point was reached, and any, this time included.
static struct counts trace(const char *root, const char *name)
{
    char path[FK_PATH], line[FK_POINT + 1];
    int length = snprintf(line, sizeof(line), "%s\n", name);
    int lock = fk_lock(root, "trace");

    fk_path(path, root, "/.trace");
    int fd = fk_open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (fd >= 0 && syscall(SYS_write, fd, line, length) != length)
        abort();
    if (fd >= 0)
        close(fd);
    struct counts counts = count_lines(root, name);
    close(lock);
    return counts;
}

struct order {
    pid_t victim; // 0 = none
    int error;    // to fail with
};

static struct order find_order(const char *root, const char *name, struct counts reached)
{
    char text[FK_TEXT], action[32];
    struct order order = {0, 0};
    unsigned nth;
    int at;

    fk_get(text, sizeof(text), root, "/.points");
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (sscanf(line, "%31s %u %n", action, &nth, &at) != 2)
            continue;
        bool any = strcmp(line + at, "*") == 0;
        if (nth != (any ? reached.all : reached.same) || (!any && strcmp(line + at, name) != 0))
            continue;
        if (strcmp(action, "kill") == 0)
            order.victim = getpid();
        else if (strcmp(action, "orphan") == 0)
            order.victim = getppid();
        else
            order.error = -fk_errno_named(action);
    }
    return order;
}

static const char *shorten(const char *path)
{
    static const char *const prefixes[] = {"/sys/bus/pci/devices/", "/sys/bus/pci/", "/sys/",
                                           "/dev/", "/"};

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strncmp(path, prefixes[i], strlen(prefixes[i])) == 0)
            return path + strlen(prefixes[i]);
    return path;
}

static struct order reach(const char *root, const char *phase, const char *call, const char *object)
{
    char name[FK_POINT];
    struct order none = {0, 0};

    // What tests and the fake kernel keep in the root is not the host's.
    if (!fk_points_on(root) || strncmp(object, "/.", 2) == 0)
        return none;
    snprintf(name, sizeof(name), "%s%s%s %s %s", program(), *program() ? ": " : "", phase, call,
             shorten(object));
    return find_order(root, name, trace(root, name));
}

void fk_victim_dies(pid_t victim)
{
    if (victim <= 0)
        return;
    kill(victim, SIGKILL);
    while (victim == getpid())
        pause();
}

int fk_point(const char *phase, const char *call, const char *object)
{
    struct order order = reach(fk_root(), phase, call, object);

    fk_victim_dies(order.victim);
    return order.error;
}

pid_t fk_point_during(const char *call, const char *object)
{
    return reach(fk_root(), "during", call, object).victim;
}

__attribute__((constructor)) static void begin(void)
{
    if (*program() != '\0')
        fk_point("before", "run", "it");
}
