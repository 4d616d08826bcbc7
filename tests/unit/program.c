// SPDX-License-Identifier: GPL-2.0-or-later
//
// External programs: real scripts, one for each way a program can end, and each way a file can be
// unfit to be run as root. The test's own user stands for root.

#include "program.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/scratch.h"
#include "error.h"

typedef struct {
    char *directory;
    char *path; // of the script
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->directory = g_dir_make_tmp("virtfn-program-XXXXXX", NULL);
    g_assert_nonnull(fixture->directory);
    fixture->path = g_build_filename(fixture->directory, "tool", NULL);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    scratch_remove(fixture->directory);
    g_free(fixture->directory);
    g_free(fixture->path);
}

static void write_script(const Fixture *fixture, const char *body)
{
    g_autofree char *text = g_strconcat("#!/bin/sh\n", body, "\n", NULL);

    g_assert_true(g_file_set_contents(fixture->path, text, -1, NULL));
    g_assert_cmpint(g_chmod(fixture->path, 0700), ==, 0);
}

static gboolean run_for(const Fixture *fixture, const char *input, guint timeout_ms,
                        gboolean *not_mine, GError **error)
{
    const char *const argv[] = {fixture->path, "pre", "0000:01:00.0", "3", NULL};
    const VfProgram program = {
        .argv = argv, .input = input, .timeout_ms = timeout_ms, .owner = geteuid()};

    return vf_program_run(&program, not_mine, error);
}

static gboolean run(const Fixture *fixture, const char *input, gboolean *not_mine, GError **error)
{
    return run_for(fixture, input, 10000, not_mine, error);
}

// Runs a script that leaves its findings in the file `out`.
static char *run_for_output(const Fixture *fixture, const char *body, const char *input)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *out = g_build_filename(fixture->directory, "out", NULL);
    g_autofree char *script = g_strdup_printf("exec 1>'%s'\n%s", out, body);
    gboolean not_mine;
    char *text = NULL;

    write_script(fixture, script);
    g_assert_true(run(fixture, input, &not_mine, &error));
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(out, &text, NULL, &error));
    return text;
}

static void test_arguments(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = run_for_output(fixture, "echo \"$@\"; cat", "{\"pool\":\"a\"}");

    g_assert_cmpstr(text, ==, "pre 0000:01:00.0 3\n{\"pool\":\"a\"}");
}

static void test_surroundings(Fixture *fixture, gconstpointer data)
{
    // A descriptor that is inheritable by mistake somewhere in the daemon.
    g_autofree char *path = g_build_filename(fixture->directory, "leaked", NULL);
    int leak = open(path, O_RDWR | O_CREAT, 0600);

    g_assert_cmpint(leak, >, 2);
    g_setenv("VIRTFN_TEST_SECRET", "x", TRUE);
    g_autofree char *text = run_for_output(
        fixture, "pwd; env | grep -c SECRET; ls -l /proc/$$/fd | grep -c leaked; tty; true", "");
    close(leak);
    g_assert_cmpstr(text, ==, "/\n0\n0\nnot a tty\n");
}

static void test_not_mine(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gboolean not_mine = FALSE;

    write_script(fixture, "exit 2");
    g_assert_true(run(fixture, "", &not_mine, &error));
    g_assert_no_error(error);
    g_assert_true(not_mine);
}

static void test_failure(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gboolean not_mine;

    write_script(fixture, "printf 'no clock\\tat \\033slot 3\\nmore\\n' >&2; exit 1");
    g_assert_false(run(fixture, "", &not_mine, &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "tool pre 0000:01:00.0 3: exit status 1: no clock at  slot 3");
}

static void test_silent_failure(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gboolean not_mine;

    write_script(fixture, "exit 77");
    g_assert_false(run(fixture, "", &not_mine, &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "tool pre 0000:01:00.0 3: exit status 77");
}

static void test_signal(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gboolean not_mine;

    write_script(fixture, "kill -9 $$");
    g_assert_false(run(fixture, "", &not_mine, &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "tool pre 0000:01:00.0 3: killed by signal 9");
}

// The process group: a child of the program must not survive it either.
static void test_hang(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *out = g_build_filename(fixture->directory, "pid", NULL);
    g_autofree char *body = g_strdup_printf("sleep 60 &\necho $! >'%s'\necho stuck >&2\nwait", out);
    g_autofree char *pid = NULL;
    gint64 before = g_get_monotonic_time();
    gboolean not_mine;

    write_script(fixture, body);
    g_assert_false(run_for(fixture, "", 500, &not_mine, &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "tool pre 0000:01:00.0 3: not done after 0.5 s, killed: stuck");
    g_assert_cmpint(g_get_monotonic_time() - before, <, 10 * G_USEC_PER_SEC);
    g_assert_true(g_file_get_contents(out, &pid, NULL, NULL));
    g_autofree char *state = g_strdup_printf("/proc/%s/stat", g_strchomp(pid));
    // Its new parent may take a moment to reap it: a zombie counts as gone.
    for (int i = 0; i < 100; i++) {
        g_autofree char *stat = NULL;

        if (!g_file_get_contents(state, &stat, NULL, NULL) || strstr(stat, ") Z ") != NULL)
            return;
        g_usleep(20000);
    }
    g_error("the child of a killed program still runs");
}

static void test_noise(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gboolean not_mine;

    write_script(fixture, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero | tr '\\0' x >&2; "
                          "exit 1");
    g_assert_false(run(fixture, "", &not_mine, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_cmpuint(strlen(error->message), <, 500);
}

// Something the program started keeps standard error open: its end is what counts.
static void test_daemon_left(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gint64 before = g_get_monotonic_time();
    gboolean not_mine;

    write_script(fixture, "sleep 5 & exit 0");
    g_assert_true(run(fixture, "", &not_mine, &error));
    g_assert_no_error(error);
    g_assert_cmpint(g_get_monotonic_time() - before, <, 4 * G_USEC_PER_SEC);
}

static void assert_unfit(const Fixture *fixture, const char *path, uid_t owner, const char *cause)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *program = vf_program_check(path, owner, &error);

    g_assert_null(program);
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
    if (strstr(error->message, cause) == NULL)
        g_error("'%s' does not say '%s'", error->message, cause);
}

static void test_unfit(Fixture *fixture, gconstpointer data)
{
    uid_t self = geteuid();

    assert_unfit(fixture, "bin/tool", self, "bin/tool: is not an absolute path");
    assert_unfit(fixture, fixture->path, self, "/tool: No such file or directory");
    write_script(fixture, "exit 0");
    assert_unfit(fixture, fixture->path, self + 1, "/tool: does not belong to root");
    g_assert_cmpint(g_chmod(fixture->path, 0720), ==, 0);
    assert_unfit(fixture, fixture->path, self, "/tool: is writable for others");
    g_assert_cmpint(g_chmod(fixture->path, 0702), ==, 0);
    assert_unfit(fixture, fixture->path, self, "/tool: is writable for others");
    g_assert_cmpint(g_chmod(fixture->path, 0600), ==, 0);
    assert_unfit(fixture, fixture->path, self, "/tool: is not an executable file");
    assert_unfit(fixture, fixture->directory, self, ": is not an executable file");
    g_assert_cmpint(g_chmod(fixture->path, 0700), ==, 0);
    g_assert_cmpint(g_chmod(fixture->directory, 0777), ==, 0);
    assert_unfit(fixture, fixture->path, self, ": is writable for others");
}

// A link is followed first: what counts is the file that runs and where that one stands.
static void test_link(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *link = g_build_filename(fixture->directory, "link", NULL);
    g_autofree char *program = NULL;

    write_script(fixture, "exit 0");
    g_assert_cmpint(symlink("tool", link), ==, 0);
    program = vf_program_check(link, geteuid(), &error);
    g_assert_no_error(error);
    g_assert_cmpstr(program, ==, fixture->path);
}

static void test_json(void)
{
    VfTarget target = {.root = "",
                       .pf = {0, 1, 0, 0},
                       .index = 3,
                       .vf = {0, 1, 0x10, 6},
                       .pool = "uplink",
                       .domain = "",
                       .device = "net0"};
    g_autoptr(GError) error = NULL;
    g_autofree char *json = NULL;
    VfSettings settings;

    vf_settings_init(&settings);
    g_assert_true(vf_settings_set(&settings, "mac", "52:54:00:12:34:56", &error));
    g_assert_true(vf_settings_set(&settings, "vlan", "42", &error));
    g_assert_true(vf_settings_set(&settings, "program", "/bin/true", &error));
    json = vf_program_json(&target, &settings);
    vf_settings_clear(&settings);
    g_assert_cmpstr(json, ==,
                    "{\"pool\":\"uplink\",\"pf\":\"0000:01:00.0\",\"index\":3,"
                    "\"vf\":\"0000:01:10.6\",\"domain\":\"\",\"device\":\"net0\","
                    "\"settings\":{\"mac\":\"52:54:00:12:34:56\",\"vlan\":\"42\"}}");
}

static void add(const char *name, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(name, Fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/program/arguments", test_arguments);
    add("/program/surroundings", test_surroundings);
    add("/program/not-mine", test_not_mine);
    add("/program/failure", test_failure);
    add("/program/silent-failure", test_silent_failure);
    add("/program/signal", test_signal);
    add("/program/hang", test_hang);
    add("/program/noise", test_noise);
    add("/program/daemon-left", test_daemon_left);
    add("/program/unfit", test_unfit);
    add("/program/link", test_link);
    g_test_add_func("/program/json", test_json);
    return g_test_run();
}
