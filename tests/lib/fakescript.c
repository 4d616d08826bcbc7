// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a test tells the fake kernel and hears from it: .fail and .delay are read at every store, so
// a test may change them at any time; .log is appended with one write for each line, so that lines
// of several processes never mix. The NTH of .fail counts the lines of .log that match.

#include "fakekernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void fk_log(const char *root, const char *format, ...)
{
    char path[FK_PATH], line[FK_TEXT];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (length > (int)sizeof(line) - 2)
        length = (int)sizeof(line) - 2;
    line[length++] = '\n';
    fk_path(path, root, "/.log");
    int fd = fk_open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (fd < 0)
        return;
    // A disk that is full shows as a missing line, which is what the test will complain of.
    if (syscall(SYS_write, fd, line, length) != length)
        abort();
    close(fd);
}

const char *fk_result(int result)
{
    return result < 0 ? strerrorname_np(-result) : "0";
}

int fk_errno_named(const char *name)
{
    for (int number = 1; number < 256; number++) {
        const char *known = strerrorname_np(number);

        if (known != NULL && strcmp(known, name) == 0)
            return number;
    }
    return EINVAL;
}

// '*' matches slashes too. `length` of the text, which need not end there.
static bool matches(const char *glob, const char *text, size_t length)
{
    if (*glob == '*')
        return matches(glob + 1, text, length) ||
               (length > 0 && matches(glob, text + 1, length - 1));
    if (*glob == '\0' || length == 0)
        return *glob == '\0' && length == 0;
    return (*glob == '?' || *glob == *text) && matches(glob + 1, text + 1, length - 1);
}

// Stores and opens in the log whose path matches.
static unsigned count_logged(const char *root, const char *glob)
{
    char path[FK_PATH];
    struct stat status;
    unsigned count = 0;

    fk_path(path, root, "/.log");
    int fd = fk_open(path, O_RDONLY, 0);
    if (fd < 0 || fstat(fd, &status) < 0 || status.st_size == 0) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    size_t size = (size_t)status.st_size;
    char *log = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (log == MAP_FAILED)
        return 0;
    for (const char *line = log, *end = log + size; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        const char *word = memchr(line, ' ', (size_t)(end - line));
        const char *tail = word != NULL ? memchr(word + 1, ' ', (size_t)(end - word - 1)) : NULL;

        if (next != NULL && tail != NULL && tail < next && (*line == 'w' || *line == 'o'))
            count += matches(glob, word + 1, (size_t)(tail - word - 1));
        line = next != NULL ? next + 1 : end;
    }
    munmap(log, size);
    return count;
}

int fk_scripted_failure(const char *root, const char *path)
{
    char text[FK_TEXT], glob[256], name[32];
    unsigned nth;

    if (fk_get(text, sizeof(text), root, "/.fail") < 0)
        return 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        int words = sscanf(line, "%255s %31s %u", glob, name, &nth);

        if (words < 2 || !matches(glob, path, strlen(path)))
            continue;
        if (words == 2 || count_logged(root, glob) + 1 == nth)
            return -fk_errno_named(name);
    }
    return 0;
}

void fk_scripted_delay(const char *root, const char *path)
{
    char text[FK_TEXT], glob[256];
    unsigned milliseconds;

    if (fk_get(text, sizeof(text), root, "/.delay") < 0)
        return;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (sscanf(line, "%255s %u", glob, &milliseconds) != 2 ||
            !matches(glob, path, strlen(path)))
            continue;
        struct timespec length = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
        nanosleep(&length, NULL);
        return;
    }
}
