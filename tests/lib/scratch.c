// SPDX-License-Identifier: GPL-2.0-or-later
//
// Directories of unit tests. Reports nothing of what it cannot remove: the test is over then.

#include "scratch.h"

#include <glib/gstdio.h>

#include "error.h"

void scratch_remove(const char *directory)
{
    gboolean link = g_file_test(directory, G_FILE_TEST_IS_SYMLINK);
    g_autoptr(GDir) dir = link ? NULL : g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *inside = g_build_filename(directory, name, NULL);

        scratch_remove(inside);
    }
    g_remove(directory);
}

void scratch_assert_error(const char *directory, const GError *error, int code,
                          const char *expected)
{
    g_autofree char *prefix = g_strconcat(directory, "/", NULL);
    g_auto(GStrv) parts = NULL;
    g_autofree char *shown = NULL;

    g_assert_error(error, VF_ERROR, code);
    parts = g_strsplit(error->message, prefix, -1);
    shown = g_strjoinv("", parts);
    g_assert_cmpstr(shown, ==, expected);
}
