// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fake kernel in unit tests: preloads it by running the program once more, and makes hosts in
// temporary directories. Reads and writes go through the same system calls as the code under test.

#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The directory of this program: the libraries and helpers of the same flavour are around it.
static char *own_directory(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);

    return g_path_get_dirname(self);
}

void fake_kernel_start(char **argv)
{
    g_autofree char *directory = own_directory();
    g_autofree char *library = g_build_filename(directory, "fakekernel.so", NULL);
    const char *options = g_getenv("ASAN_OPTIONS");

    if (g_strcmp0(g_getenv("LD_PRELOAD"), library) == 0)
        return;
    g_autofree char *asan = g_strconcat(options != NULL ? options : "", options != NULL ? ":" : "",
                                        "verify_asan_link_order=0", NULL);
    g_setenv("LD_PRELOAD", library, TRUE);
    g_setenv("ASAN_OPTIONS", asan, TRUE);
    // Not /proc/self/exe itself: the process would be called "exe".
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    execv(self, argv);
    g_error("%s: %s", library, g_strerror(errno));
}

// tests/lib/fakehost of the tree that this program was built in.
static char *find_fakehost(void)
{
    g_autofree char *directory = own_directory();

    while (strcmp(directory, "/") != 0) {
        g_autofree char *script = g_build_filename(directory, "tests/lib/fakehost", NULL);

        if (g_file_test(script, G_FILE_TEST_IS_EXECUTABLE))
            return g_steal_pointer(&script);
        char *parent = g_path_get_dirname(directory);
        g_free(directory);
        directory = parent;
    }
    g_error("tests/lib/fakehost is not above this program");
}

// In memory where possible: a thousand functions are twenty thousand files, each with a journal
// entry on a disk.
static char *make_directory(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *directory = g_strdup("/dev/shm/virtfn-XXXXXX");

    if (g_mkdtemp(directory) != NULL)
        return g_steal_pointer(&directory);
    char *other = g_dir_make_tmp("virtfn-XXXXXX", &error);
    g_assert_no_error(error);
    return other;
}

char *fake_host(const char *card, ...)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *top = make_directory();
    g_autofree char *script = find_fakehost();
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    va_list cards;
    int status;

    g_autofree char *real = realpath(top, NULL);
    char *root = g_build_filename(real, "root", NULL);
    g_ptr_array_add(argv, script);
    g_ptr_array_add(argv, root);
    va_start(cards, card);
    for (; card != NULL; card = va_arg(cards, const char *))
        g_ptr_array_add(argv, (gpointer)card);
    va_end(cards);
    g_ptr_array_add(argv, NULL);
    g_spawn_sync(NULL, (char **)argv->pdata, NULL, 0, NULL, NULL, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    g_setenv("VIRTFN_FAKE_ROOT", root, TRUE);
    return root;
}

void fake_host_free(char *root)
{
    g_autofree char *top = g_path_get_dirname(root);
    const char *argv[] = {"rm", "-rf", top, NULL};

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
    g_free(root);
}

VfPciAddr fake_igb_vf(const VfPciAddr *pf, guint index)
{
    VfPciAddr address;

    g_assert_true(vf_pciaddr_vf(pf, 128, 2, index, &address));
    return address;
}

char *fake_helper(void)
{
    g_autofree char *directory = own_directory();
    g_autofree char *build = g_path_get_dirname(directory);

    return g_build_filename(build, "virtfn-numvfs", NULL);
}

int fake_write(const char *root, const char *path, const char *text)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    int fd = open(full, O_WRONLY | O_CLOEXEC);
    int result = fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    return result;
}

char *fake_read(const char *root, const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    char *text = NULL;

    return g_file_get_contents(full, &text, NULL, NULL) ? g_strchomp(text) : g_strdup("");
}

void fake_append(const char *root, const char *path, const char *line)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    FILE *file = g_fopen(full, "ae");

    if (file == NULL || fprintf(file, "%s\n", line) < 0 || fclose(file) != 0)
        g_error("%s: %s", full, g_strerror(errno));
}

gboolean fake_exists(const char *root, const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);

    return access(full, F_OK) == 0;
}

char *fake_link(const char *root, const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    g_autofree char *target = g_file_read_link(full, NULL);

    return target != NULL ? g_path_get_basename(target) : g_strdup("");
}

int fake_log_find(const char *root, const char *prefix, int from)
{
    g_autofree char *text = fake_read(root, "/.log");
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);

    for (int i = 0; lines[i] != NULL; i++)
        if (i >= from && g_str_has_prefix(lines[i], prefix))
            return i;
    return -1;
}
