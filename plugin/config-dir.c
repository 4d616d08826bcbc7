// SPDX-License-Identifier: GPL-2.0-or-later
//
// Listing and reading of configuration files. Opens what is named *.conf without ever hanging on
// it, and takes nothing but regular files of a sane size; what is in them is config.c's.

#include "config-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config-scan.h"
#include "error.h"

static GByteArray *read_fd(int fd, const char *path, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint8 chunk[8192];
    ssize_t got;

    while ((got = read(fd, chunk, sizeof(chunk))) > 0 && bytes->len <= VF_CONFIG_MAX_BYTES)
        g_byte_array_append(bytes, chunk, (guint)got);
    if (got < 0) {
        vf_error_set_errno(error, VF_ERROR_CONFIG, errno, "%s", path);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

GByteArray *vf_config_read(const char *path, GError **error)
{
    GByteArray *bytes = NULL;
    // O_NONBLOCK: not to wait for the writer of a FIFO.
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat status;

    if (fd < 0) {
        vf_error_set_errno(error, VF_ERROR_CONFIG, errno, "%s", path);
        return NULL;
    }
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        vf_config_error(error, path, 0,
                        "not a regular file" VF_REMEDY
                        "remove it or rename it so that it does not end in .conf");
    else
        bytes = read_fd(fd, path, error);
    close(fd);
    return bytes;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *vf_config_list(const char *directory, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) cause = NULL;
    g_autoptr(GDir) dir = g_dir_open(directory, 0, &cause);
    const char *name;

    if (dir == NULL && !g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_set_error_literal(error, VF_ERROR, VF_ERROR_CONFIG, cause->message);
        return NULL;
    }
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        // Editors keep their locks and backups in hidden files.
        if (g_str_has_suffix(name, ".conf") && name[0] != '.')
            g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    return g_steal_pointer(&names);
}
