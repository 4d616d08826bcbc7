// SPDX-License-Identifier: GPL-2.0-or-later
//
// The helper that writes numvfs: how it is called, and what its caller makes of one that is killed,
// hangs, is missing or talks nonsense; then many cycles with random kills, after which the kernel
// must always be brought to the count that is asked for.

#include "sriov.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../lib/fake.h"
#include "error.h"

#define NUMVFS "/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs"

static const VfPciAddr pf = {0, 1, 0, 0};
static char *helper;

static void assert_error(GError **error, VfErrorCode code, const char *words)
{
    g_assert_error(*error, VF_ERROR, (int)code);
    if (strstr((*error)->message, words) == NULL)
        g_error("'%s' is not in: %s", words, (*error)->message);
    g_clear_error(error);
}

// A program in the place of the helper. Caller frees its path.
static char *make_helper(const char *root, const char *commands)
{
    char *path = g_build_filename(root, "helper", NULL);
    g_autofree char *script = g_strdup_printf("#!/bin/bash\n%s\n", commands);

    g_assert_true(g_file_set_contents(path, script, -1, NULL));
    g_assert_cmpint(g_chmod(path, 0755), ==, 0);
    return path;
}

// The helper, killed after a time; timeout(1) kills itself with it.
static char *make_killed_helper(const char *root, guint milliseconds)
{
    g_autofree char *commands = g_strdup_printf("exec timeout -s KILL %u.%03u '%s' \"$@\"",
                                                milliseconds / 1000, milliseconds % 1000, helper);

    return make_helper(root, commands);
}

static int call_helper(char *const *arguments, char **message)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    int status;

    g_ptr_array_add(argv, helper);
    for (; *arguments != NULL; arguments++)
        g_ptr_array_add(argv, *arguments);
    g_ptr_array_add(argv, NULL);
    g_spawn_sync(NULL, (char **)argv->pdata, NULL, 0, NULL, NULL, NULL, message, &status, &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_bad_calls(void)
{
    static const char *const bad[][5] = {
        {NULL},
        {"0000:01:00.0"},
        {"0000:01:00.0", "1", "2"},
        {"--root", "tmp", "0000:01:00.0", "1"},
        {"01:00.0", "1"},
        {"0000:01:00.8", "1"},
        {"0000:01:20.0", "1"},
        {"0000:01:00.0/../0000:02:00.0", "1"},
        {"../0000:01:00.0", "1"},
        {"0000:0A:00.0", "1"},
        {"0000:01:00.0", ""},
        {"0000:01:00.0", "-1"},
        {"0000:01:00.0", "+1"},
        {"0000:01:00.0", "65536"},
        {"0000:01:00.0", "000001"},
        {"0000:01:00.0", "1 "},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *message = NULL;

        if (call_helper((char *const *)bad[i], &message) != 2 ||
            strstr(message, "usage: virtfn-numvfs") == NULL)
            g_error("call %zu was not refused as a bad call: %s", i, message);
    }
}

static void test_call(void)
{
    char *root = fake_host("igb@0000:01:00.0", "plain@0000:02:00.0", NULL);
    char *const good[] = {"--root", root, "0000:01:00.0", "3", NULL};
    char *const again[] = {"--root", root, "0000:01:00.0", "2", NULL};
    char *const plain[] = {"--root", root, "0000:02:00.0", "1", NULL};
    g_autofree char *silence = NULL, *busy = NULL, *no_pf = NULL;

    g_assert_cmpint(call_helper(good, &silence), ==, 0);
    g_assert_cmpstr(silence, ==, "");
    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, 3);
    g_assert_cmpint(call_helper(again, &busy), ==, 1);
    g_assert_true(g_str_has_prefix(busy, "errno=EBUSY writing /"));
    g_assert_cmpint(call_helper(plain, &no_pf), ==, 1);
    g_assert_true(g_str_has_prefix(no_pf, "errno=ENODEV "));
    fake_host_free(root);
}

static void test_missing(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_sriov_set_count(root, &pf, 1, "/nonexistent/virtfn-numvfs", &error));
    assert_error(&error, VF_ERROR_INTERNAL, "install virtfn completely");
    fake_host_free(root);
}

static void test_nonsense(void)
{
    static const struct {
        const char *commands, *words;
    } cases[] = {
        {"exit 0", "made 0"},
        {"exit 1", "virtfn-numvfs failed (no message)"},
        {"echo broken >&2; exit 2", "virtfn-numvfs failed (broken)"},
        {"echo errno=EFOO x >&2; exit 1", "(EFOO)"},
        {"head -c 100000 /dev/zero | tr '\\0' x >&2; exit 3", "failed (xxx"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *root = fake_host("igb@0000:01:00.0", NULL);
        g_autofree char *path = make_helper(root, cases[i].commands);
        g_autoptr(GError) error = NULL;

        g_assert_false(vf_sriov_set_count(root, &pf, 2, path, &error));
        assert_error(&error, VF_ERROR_SYSFS, cases[i].words);
        fake_host_free(root);
    }
}

// stdin is empty, no descriptor of ours but pipe and lock is open, and it is its own process group.
static void test_surroundings(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autofree char *commands =
        g_strdup_printf("readlink /proc/$$/fd/0 >'%s/stdin'; ls /proc/$$/fd "
                        ">'%s/fds'; exec '%s' \"$@\"",
                        root, root, helper);
    g_autofree char *path = make_helper(root, commands);
    g_autoptr(GError) error = NULL;

    vf_sriov_set_count(root, &pf, 1, path, &error);
    g_assert_no_error(error);
    g_autofree char *standard_input = fake_read(root, "/stdin");
    g_autofree char *fds = fake_read(root, "/fds");
    g_assert_cmpstr(standard_input, ==, "/dev/null");
    g_assert_cmpstr(fds, ==, "0\n1\n2\n255\n3"); // 255 is bash's script, 3 the lock on the PF
    fake_host_free(root);
}

static void test_killed(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    // Killed when it has the attribute open, which is in the middle of a write of 300 ms.
    g_autofree char *commands = g_strdup_printf(
        "'%s' \"$@\" & until ls -l /proc/$!/fd | grep -q sriov_numvfs; do :; done; sleep 0.05\n"
        "kill -9 $!; kill -9 $$",
        helper);
    g_autofree char *killed = make_helper(root, commands);
    g_autoptr(GError) error = NULL;

    vf_sriov_set_count(root, &pf, 2, helper, &error);
    g_assert_no_error(error);
    fake_append(root, "/.delay", "*/sriov_numvfs 300");
    g_assert_false(vf_sriov_set_count(root, &pf, 0, killed, &error));
    // As from a real kernel, the answer comes when the write is through.
    assert_error(&error, VF_ERROR_SYSFS,
                 "0000:01:00.0: cannot have 0 VFs, it has 0: virtfn-numvfs was killed by signal 9");
    fake_host_free(root);
}

static void test_killed_early(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autofree char *path = make_helper(root, "kill -9 $$");
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_sriov_set_count(root, &pf, 2, path, &error));
    assert_error(&error, VF_ERROR_SYSFS, "it has 0: virtfn-numvfs was killed by signal 9");
    fake_host_free(root);
}

// A helper that outlives who started it keeps the fence, and whoever comes next waits for it.
static void test_outlives(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    VfPciAddr vf = {0, 1, 0x10, 0};
    g_autoptr(GError) error = NULL;

    vf_sriov_set_count(root, &pf, 2, helper, &error);
    g_assert_no_error(error);
    vf_sriov_bind(root, &vf, "vfio-pci", &error);
    g_assert_no_error(error);
    fake_append(root, "/.delay", "*/sriov_numvfs 500");
    vf_sriov_set_helper_timeout(100);
    g_assert_false(vf_sriov_set_count(root, &pf, 0, helper, &error));
    g_clear_error(&error);
    g_assert_false(vf_sriov_await_helper(root, &pf, &error));
    assert_error(&error, VF_ERROR_SYSFS, "has not finished an earlier change of its VFs");
    g_assert_false(vf_sriov_check_unused(root, &vf, &error));
    assert_error(&error, VF_ERROR_BUSY, "VFIO group");
    vf_sriov_set_helper_timeout(120000);
    g_assert_true(vf_sriov_await_helper(root, &pf, &error));
    g_assert_no_error(error);
    g_assert_cmpint(fake_log_find(root, "write " NUMVFS " 0 = 0", 0), >=, 0);
    fake_host_free(root);
}

static void test_hangs(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autoptr(GError) error = NULL;

    fake_append(root, "/.delay", "*/sriov_numvfs 1000");
    vf_sriov_set_helper_timeout(100);
    gint64 before = g_get_monotonic_time();
    g_assert_false(vf_sriov_set_count(root, &pf, 2, helper, &error));
    g_assert_cmpint(g_get_monotonic_time() - before, <, 900 * 1000);
    assert_error(&error, VF_ERROR_SYSFS, "has not finished setting 2 VFs after 100 ms");
    vf_sriov_set_helper_timeout(120000);
    // What the kernel had begun it finishes, and the next call finds it.
    while (fake_log_find(root, "write " NUMVFS " 2 = 0", 0) < 0)
        g_usleep(10000);
    g_assert_true(vf_sriov_set_count(root, &pf, 2, helper, &error));
    while (g_main_context_iteration(NULL, FALSE))
        ;
    fake_host_free(root);
}

static void test_stress(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    guint killed = 0;

    fake_append(root, "/.delay", "*/sriov_numvfs 10");
    for (int cycle = 0; cycle < 30; cycle++) {
        guint count = (guint)g_test_rand_int_range(0, 8);
        guint existing = vf_sriov_count(root, &pf);
        g_autofree char *path = make_killed_helper(root, (guint)g_test_rand_int_range(1, 25));
        g_autoptr(GError) error = NULL;

        if (vf_sriov_set_count(root, &pf, count, path, &error)) {
            g_assert_cmpuint(vf_sriov_count(root, &pf), ==, count);
            continue;
        }
        killed++;
        guint found = vf_sriov_count(root, &pf);
        g_autofree char *words = g_strdup_printf("it has %u: virtfn-numvfs was killed", found);
        g_assert_true(found == existing || found == 0 || found == count);
        assert_error(&error, VF_ERROR_SYSFS, words);
        vf_sriov_set_count(root, &pf, count, helper, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(vf_sriov_count(root, &pf), ==, count);
    }
    g_assert_cmpuint(killed, >, 0);
    g_test_message("%u of 30 cycles lost their helper", killed);
    g_assert_cmpint(fake_log_find(root, "read", 0), ==, -1);
    fake_host_free(root);
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    helper = fake_helper();
    g_test_add_func("/numvfs/bad-calls", test_bad_calls);
    g_test_add_func("/numvfs/call", test_call);
    g_test_add_func("/numvfs/missing", test_missing);
    g_test_add_func("/numvfs/nonsense", test_nonsense);
    g_test_add_func("/numvfs/surroundings", test_surroundings);
    g_test_add_func("/numvfs/killed", test_killed);
    g_test_add_func("/numvfs/killed-early", test_killed_early);
    g_test_add_func("/numvfs/hangs", test_hangs);
    g_test_add_func("/numvfs/outlives", test_outlives);
    g_test_add_func("/numvfs/stress", test_stress);
    int result = g_test_run();
    g_free(helper);
    return result;
}
