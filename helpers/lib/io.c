// SPDX-License-Identifier: GPL-2.0-or-later
//
// Small kernel files: read, write, follow a link. No retries and no policy.

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

char *vf_path(const char *root, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *tail = g_strdup_vprintf(format, args);
    va_end(args);
    return g_strconcat(root, tail, NULL);
}

char *vf_io_read(const char *path, GError **error)
{
    char text[4097];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    int saved_errno = errno;

    if (fd >= 0)
        close(fd);
    if (length < 0) {
        vf_error_set_errno(error, VF_ERROR_SYSFS, saved_errno, "%s", path);
        return NULL;
    }
    text[length] = '\0';
    return g_strdup(g_strchomp(text));
}

gboolean vf_io_read_uint(const char *path, guint64 *value, GError **error)
{
    g_autofree char *text = vf_io_read(path, error);

    if (text == NULL)
        return FALSE;
    guint base = g_str_has_prefix(text, "0x") ? 16 : 10;
    if (g_ascii_string_to_unsigned(text + (base == 16 ? 2 : 0), base, 0, G_MAXUINT64, value, NULL))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: '%.40s' is not a number", path, text);
    return FALSE;
}

gboolean vf_io_write(const char *path, const char *text, GError **error)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t length = strlen(text);
    ssize_t written = fd < 0 ? -1 : write(fd, text, length);
    int saved_errno = errno;

    if (fd >= 0)
        close(fd);
    if (written == (ssize_t)length)
        return TRUE;
    vf_error_set_errno(error, VF_ERROR_SYSFS, written < 0 ? saved_errno : EIO, "writing '%s' to %s",
                       text, path);
    return FALSE;
}

char *vf_io_link_name(const char *path, GError **error)
{
    char target[4096];
    ssize_t length = readlink(path, target, sizeof(target) - 1);

    if (length < 0) {
        if (errno != ENOENT)
            vf_error_set_errno(error, VF_ERROR_SYSFS, errno, "%s", path);
        return NULL;
    }
    target[length] = '\0';
    return g_path_get_basename(target);
}
