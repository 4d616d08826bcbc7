// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn render: domain XML in, domain XML with the placed functions out. Nothing is printed or
// written before the whole answer is there, so a pipe into virsh gets a document or nothing.

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "domxml.h"
#include "error.h"
#include "virtfn.h"

static gboolean in_place;

// The whole of a file or a pipe, as much as a domain may have.
static GByteArray *read_all(int fd, const char *name, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint8 part[65536];
    ssize_t length;

    while ((length = read(fd, part, sizeof(part))) != 0) {
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            vf_error_set_errno(error, VF_ERROR_INPUT, errno, "%s", name);
            return NULL;
        }
        g_byte_array_append(bytes, part, (guint)length);
        if (bytes->len > VF_DOMAIN_MAX_BYTES) {
            g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "%s: more than %d bytes, not a domain",
                        name, VF_DOMAIN_MAX_BYTES);
            return NULL;
        }
    }
    return g_steal_pointer(&bytes);
}

static GByteArray *read_input(const char *path, GError **error)
{
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;

    if (fd < 0) {
        vf_error_set_errno(error, VF_ERROR_INPUT, errno, "%s", path);
        return NULL;
    }
    GByteArray *bytes = read_all(fd, path != NULL ? path : "standard input", error);
    if (path != NULL)
        close(fd);
    return bytes;
}

// Fills the open temporary file and gives it the owner and the mode of the original.
static gboolean fill(int fd, const struct stat *original, const char *bytes, gsize length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);

        if (written < 0 && errno != EINTR)
            return FALSE;
        if (written > 0) {
            bytes += written;
            length -= (gsize)written;
        }
    }
    return fchown(fd, original->st_uid, original->st_gid) == 0 &&
           fchmod(fd, original->st_mode & 07777) == 0 && fsync(fd) == 0;
}

// Writes a new file next to the old one and renames it: readers see the old or the new document.
static gboolean replace(const char *path, const char *bytes, gsize length, GError **error)
{
    g_autofree char *target = realpath(path, NULL);
    g_autofree char *temporary = g_strconcat(target != NULL ? target : path, ".XXXXXX", NULL);
    struct stat original;
    int fd = -1;

    if (target != NULL && stat(target, &original) == 0)
        fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        vf_error_set_errno(error, VF_ERROR_INPUT, errno, "%s: cannot write next to it", path);
        return FALSE;
    }
    gboolean ok = fill(fd, &original, bytes, length);
    int saved_errno = errno;
    close(fd);
    if (ok && g_rename(temporary, target) == 0)
        return TRUE;
    saved_errno = ok ? errno : saved_errno;
    g_unlink(temporary);
    vf_error_set_errno(error, VF_ERROR_INPUT, saved_errno, "%s", path);
    return FALSE;
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    const char *path = g_strcmp0(args[0], "-") == 0 ? NULL : args[0];

    if (in_place && path == NULL)
        return vf_cli_bad_call(error, "--in-place needs a FILE");
    g_autoptr(GByteArray) input = read_input(path, error);
    if (input == NULL)
        return FALSE;
    g_autoptr(VfClient) client = vf_cli_connect(cli);
    VfClientRequest request = {.method = "POST",
                               .path = "/v1/render",
                               .type = "application/xml",
                               .body = (const char *)input->data,
                               .length = input->len,
                               .expect = "application/xml"};
    gsize length;
    g_autofree char *output = vf_client_send(client, &request, &length, error);
    if (output == NULL)
        return FALSE;
    if (!in_place) {
        fwrite(output, 1, length, stdout);
        return TRUE;
    }
    if (length == input->len && memcmp(output, input->data, length) == 0)
        return TRUE;
    return replace(path, output, length, error);
}

static const GOptionEntry options[] = {
    {"in-place", 'i', 0, G_OPTION_ARG_NONE, &in_place, "Replace FILE by the result", NULL},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_render = {
    .name = "render",
    .arguments = "[FILE]",
    .summary = "put the functions that a domain asks for into its XML",
    .details = "Reads standard input without FILE and writes standard output:\n"
               "  virtfn render vm.xml | virsh create /dev/stdin",
    .options = options,
    .max_args = 1,
    .run = run,
};
