// SPDX-License-Identifier: GPL-2.0-or-later
//
// Collecting findings, and the reading that the checks share: bounded, never blocking on a FIFO,
// silent about what is not there.

#include "doctor.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "io.h"

#define MAX_BYTES (1024 * 1024)

static void finding_free(gpointer data)
{
    VfFinding *finding = data;

    g_free(finding->object);
    g_free(finding->what);
    g_free(finding->remedy);
    g_free(finding);
}

void vf_doctor_init(VfDoctor *doctor, const char *root)
{
    doctor->root = root;
    doctor->findings = g_ptr_array_new_with_free_func(finding_free);
}

void vf_doctor_clear(VfDoctor *doctor)
{
    g_ptr_array_unref(doctor->findings);
}

guint vf_doctor_count(const VfDoctor *doctor, VfFindingLevel level)
{
    guint count = 0;

    for (guint i = 0; i < doctor->findings->len; i++)
        count += ((const VfFinding *)doctor->findings->pdata[i])->level == level;
    return count;
}

void vf_doctor_add(VfDoctor *doctor, VfFindingLevel level, const char *check, const char *object,
                   const char *format, ...)
{
    VfFinding *finding = g_new0(VfFinding, 1);
    va_list args;

    va_start(args, format);
    finding->what = g_strdup_vprintf(format, args);
    va_end(args);
    char *remedy = strstr(finding->what, VF_REMEDY);
    if (remedy != NULL) {
        *remedy = '\0';
        finding->remedy = g_strdup(remedy + strlen(VF_REMEDY));
    }
    finding->level = level;
    finding->check = check;
    finding->object = g_strdup(object);
    g_ptr_array_add(doctor->findings, finding);
}

char *vf_doctor_read(const VfDoctor *doctor, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *tail = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *path = vf_path(doctor->root, "%s", tail);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;

    if (fd < 0)
        return NULL;
    g_autofree char *text = g_malloc0(MAX_BYTES + 1);
    gsize length = 0;
    ssize_t part = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? 1 : -1;
    while (part > 0 && length < MAX_BYTES) {
        part = read(fd, text + length, MAX_BYTES - length);
        length += part > 0 ? (gsize)part : 0;
    }
    close(fd);
    return part >= 0 ? g_strndup(text, length) : NULL;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *vf_doctor_list(const VfDoctor *doctor, const char *directory, const char *suffix)
{
    g_autofree char *path = vf_path(doctor->root, "%s", directory);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (g_str_has_suffix(name, suffix))
            g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    return names;
}
