// SPDX-License-Identifier: GPL-2.0-or-later
//
// Configuration files: what the good ones mean (tests/data/config/good/NAME.conf, NAME.dump), what
// the bad ones are told (tests/data/config/bad/NAME.conf, NAME.error), and reading a directory.
// VIRTFN_REGENERATE=1 writes the .dump and .error files anew; read the diff before committing.

#include "config.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/scratch.h"
#include "config-scan.h"
#include "error.h"
#include "selector.h"

#define DATA "tests/data/config"

static void dump_pool(GString *out, const VfPoolConfig *pool)
{
    g_string_append_printf(out, "pool %s at %u count %d max %d %s\n", pool->name, pool->line,
                           pool->count, pool->max,
                           pool->growth == VF_GROWTH_GROW ? "grow" : "static");
    for (guint i = 0; i < pool->selectors->len; i++) {
        const VfSelector *selector = &g_array_index(pool->selectors, VfSelector, i);
        g_autofree char *text = vf_selector_format(selector);
        static const char *const kinds[] = {"address", "id", "netdev"};

        g_string_append_printf(out, "  %s %s\n", kinds[selector->kind], text);
    }
    for (guint i = 0; vf_settings_keys[i] != NULL; i++) {
        g_autofree char *value = vf_settings_get(&pool->settings, vf_settings_keys[i]);

        if (value != NULL)
            g_string_append_printf(out, "  %s = %s\n", vf_settings_keys[i], value);
    }
    if (pool->allow_default_route)
        g_string_append(out, "  allow-default-route\n");
    if (pool->signal != VF_SIGNAL_AUTO)
        g_string_append_printf(out, "  signal %s\n", vf_signal_words[pool->signal]);
    if (pool->keep_link)
        g_string_append(out, "  keep-link\n");
    if (pool->bitstream_program != NULL)
        g_string_append_printf(out, "  bitstream-program %s\n", pool->bitstream_program);
    if (pool->card != NULL)
        g_string_append_printf(out, "  card %s\n", pool->card);
}

// " KEY NUMBER", or nothing when there is no limit.
static void dump_limit(GString *out, const char *key, guint value)
{
    if (value != VF_ACCEL_NONE)
        g_string_append_printf(out, " %s %u", key, value);
}

static void dump_accel(GString *out, const VfConfig *config)
{
    const VfAccelConfig *accel = &config->accel;

    for (guint i = 0; i < config->accelerators->len; i++) {
        const VfAcceleratorConfig *one = g_ptr_array_index(config->accelerators, i);

        g_string_append_printf(out, "accelerator %s at %u uuid %s id %u%s\n", one->name, one->line,
                               one->uuid, one->id, one->shareable ? " shareable" : "");
    }
    for (guint i = 0; i < config->groups->len; i++) {
        const VfGroupConfig *group = g_ptr_array_index(config->groups, i);
        g_autofree char *globs = g_strjoinv(" | ", group->domains);

        g_string_append_printf(out, "group %s at %u ceiling %u", group->name, group->line,
                               group->limits.ceiling);
        dump_limit(out, "held", group->limits.held);
        dump_limit(out, "held-per-domain", group->limits.held_per_domain);
        dump_limit(out, "waiting", group->limits.waiting);
        g_string_append_printf(out, " domains [%s]\n", globs);
    }
    g_string_append_printf(
        out,
        "accelerators age-step %" G_GINT64_FORMAT " tenure %" G_GINT64_FORMAT
        " backoff %" G_GINT64_FORMAT " waiting %u sharers %u slice-period %" G_GINT64_FORMAT
        " slice-minimum %" G_GINT64_FORMAT " idle %" G_GINT64_FORMAT " verify %s\n",
        accel->policy.age_step, accel->policy.tenure, accel->policy.backoff, accel->policy.waiting,
        accel->policy.sharers, accel->slice_period, accel->slice_minimum, accel->idle,
        accel->verify != NULL ? accel->verify : "-");
}

static char *dump(const VfConfig *config)
{
    GString *out = g_string_new(NULL);

    g_string_append_printf(out, "uri %s\nuse-group %s\nread-group %s\n", config->uri,
                           config->use_group, config->read_group);
    for (guint i = 0; i < config->pools->len; i++)
        dump_pool(out, g_ptr_array_index(config->pools, i));
    dump_accel(out, config);
    return g_string_free(out, FALSE);
}

static char *read_text(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, &error))
        g_error("%s", error->message);
    return text;
}

// The golden file beside PATH.conf with another suffix.
static void compare_golden(const char *path, const char *suffix, const char *actual)
{
    g_autofree char *stem = g_strndup(path, strlen(path) - strlen(".conf"));
    g_autofree char *golden = g_strconcat(stem, suffix, NULL);
    g_autofree char *expected = NULL;

    if (g_getenv("VIRTFN_REGENERATE") != NULL)
        g_assert_true(g_file_set_contents(golden, actual, -1, NULL));
    expected = read_text(golden);
    if (!g_str_equal(expected, actual))
        g_error("%s says\n%s, the parser says\n%s", golden, expected, actual);
}

static void test_good(gconstpointer data)
{
    const char *path = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = read_text(path);
    g_autofree char *name = g_path_get_basename(path);
    g_autoptr(VfConfig) config = vf_config_parse(text, strlen(text), name, &error);
    g_autofree char *actual = NULL;

    g_assert_no_error(error);
    actual = dump(config);
    compare_golden(path, ".dump", actual);
}

static void test_bad(gconstpointer data)
{
    const char *path = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = read_text(path);
    g_autofree char *name = g_path_get_basename(path);
    g_autoptr(VfConfig) config = vf_config_parse(text, strlen(text), name, &error);
    g_autofree char *line = NULL;

    if (config != NULL)
        g_error("%s was accepted", path);
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
    g_assert_null(strchr(error->message, '\n'));
    line = g_strconcat(error->message, "\n", NULL);
    compare_golden(path, ".error", line);
}

static void refuse_bytes(const char *text, gsize length, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = vf_config_parse(text, length, "x.conf", &error);

    g_assert_null(config);
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_bytes(void)
{
    g_autofree char *large = g_strnfill(VF_CONFIG_MAX_BYTES + 1, '#');

    refuse_bytes("# a\n# \xff\n", 8, "x.conf:2: not valid UTF-8 text -- save the file as UTF-8");
    refuse_bytes("#\0#", 3, "x.conf:1: not valid UTF-8 text -- save the file as UTF-8");
    refuse_bytes("#\n#\033[2J\n", 8, "x.conf:2: control character 0x1b -- remove it");
    refuse_bytes("#\r\n[pool\ra]", 10, "x.conf:2: control character 0x0d -- remove it");
    refuse_bytes(large, VF_CONFIG_MAX_BYTES + 1,
                 "x.conf: larger than 1048576 bytes -- split it into several files");
}

typedef struct {
    char *directory;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->directory = g_dir_make_tmp("virtfn-config-XXXXXX", NULL);
    g_assert_nonnull(fixture->directory);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    scratch_remove(fixture->directory);
    g_free(fixture->directory);
}

static void add_file(const Fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->directory, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

// `message` begins behind the directory's name.
static void assert_refused(const Fixture *fixture, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = vf_config_load(fixture->directory, &error);
    g_auto(GStrv) parts = NULL;
    g_autofree char *shown = NULL;
    g_autofree char *prefix = g_strconcat(fixture->directory, "/", NULL);

    g_assert_null(config);
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
    parts = g_strsplit(error->message, prefix, -1);
    shown = g_strjoinv("", parts);
    g_assert_cmpstr(shown, ==, message);
}

static void test_directory(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = NULL;
    const VfPoolConfig *pool;

    add_file(fixture, "20-a.conf", "[pool a]\npf=eno1\ncount=2\nprofile=p\n");
    add_file(fixture, "10-b.conf", "[pool b]\npf=eno2\ncount=1\n");
    add_file(fixture, "30-p.conf", "[profile p]\nvlan=7\n[virtfnd]\nuri=test:///default\n");
    add_file(fixture, "40.conf~", "not read\n");
    add_file(fixture, ".50.conf", "not read\n");
    add_file(fixture, "60-empty.conf", "");
    config = vf_config_load(fixture->directory, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(config->pools->len, ==, 2);
    pool = g_ptr_array_index(config->pools, 0);
    g_assert_cmpstr(pool->name, ==, "b");
    pool = g_ptr_array_index(config->pools, 1);
    g_assert_cmpstr(pool->name, ==, "a");
    g_assert_true(g_str_has_suffix(pool->file, "/20-a.conf"));
    g_assert_cmpint(pool->settings.vlan, ==, 7);
    g_assert_cmpstr(config->uri, ==, "test:///default");
}

static void test_no_directory(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = vf_config_load("/nonexistent/virtfn", &error);

    g_assert_no_error(error);
    g_assert_cmpuint(config->pools->len, ==, 0);
    g_assert_cmpstr(config->uri, ==, "qemu:///system");
}

static void test_across_files(Fixture *fixture, gconstpointer data)
{
    add_file(fixture, "a.conf", "[pool a]\npf=eno1#0-3\n[profile p]\n[virtfnd]\n");
    add_file(fixture, "b.conf", "\n[pool a]\npf=eno2\ncount=1\n");
    assert_refused(fixture,
                   "b.conf:2: pool 'a' is defined already at a.conf:1 -- rename or remove one");
    add_file(fixture, "b.conf", "[profile p]\n");
    assert_refused(fixture,
                   "b.conf:1: profile 'p' is defined already at a.conf:3 -- rename or remove one");
    add_file(fixture, "b.conf", "[virtfnd]\n");
    assert_refused(fixture,
                   "b.conf:1: [virtfnd] is defined already at a.conf:4 -- rename or remove one");
    add_file(fixture, "b.conf", "[pool b]\n\npf=eno1#3-4\n");
    assert_refused(fixture, "b.conf:3: pf: eno1#3-4 overlaps eno1#0-3 in pool 'a' (a.conf:2) -- "
                            "give each pool ranges of its own, such as #0-3 and #4-7");
}

static void test_accel_across_files(Fixture *fixture, gconstpointer data)
{
    add_file(fixture, "a.conf",
             "[accelerator sha]\nid=3\n[group lab]\ndomains=lab-*\n"
             "[accelerators]\nidle=1min\n");
    add_file(fixture, "b.conf", "[accelerator sha]\n");
    assert_refused(fixture, "b.conf:1: accelerator 'sha' is defined already at a.conf:1 -- rename "
                            "or remove one");
    add_file(fixture, "b.conf", "[group lab]\n");
    assert_refused(fixture, "b.conf:1: group 'lab' is defined already at a.conf:3 -- rename or "
                            "remove one");
    add_file(fixture, "b.conf", "[accelerators]\n");
    assert_refused(fixture, "b.conf:1: [accelerators] is defined already at a.conf:5 -- rename or "
                            "remove one");
    add_file(fixture, "b.conf", "\n[accelerator aes]\nid=3\n");
    assert_refused(fixture, "b.conf:2: accelerator 'aes' has the id 3 of accelerator 'sha' -- give "
                            "each the number that the card has for it");
}

static void test_group_of_domain(void)
{
    static const char text[] = "[group default]\nheld=2\n[group lab]\ndomains=lab-*, one\n"
                               "[group all-lab]\ndomains=lab*\n";
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = vf_config_parse(text, strlen(text), "x.conf", &error);
    const VfGroupConfig *last;

    g_assert_no_error(error);
    g_assert_cmpuint(config->groups->len, ==, 3);
    last = g_ptr_array_index(config->groups, 2);
    g_assert_cmpstr(last->name, ==, VF_GROUP_DEFAULT);
    g_assert_cmpuint(last->limits.held, ==, 2);
    g_assert_cmpuint(vf_config_group(config, "lab-1"), ==, 0);
    g_assert_cmpuint(vf_config_group(config, "one"), ==, 0);
    g_assert_cmpuint(vf_config_group(config, "lab2"), ==, 1);
    g_assert_cmpuint(vf_config_group(config, "two"), ==, 2);
}

// As many as accel.h's tables hold, and one more.
static void test_too_many(void)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    VfConfig *config;

    for (guint i = 0; i < VF_ACCEL_ACCELERATORS_MAX; i++)
        g_string_append_printf(text, "[accelerator a%u]\n", i);
    for (guint i = 0; i < VF_ACCEL_GROUPS_MAX - 1; i++)
        g_string_append_printf(text, "[group g%u]\ndomains=*\n", i);
    config = vf_config_parse(text->str, text->len, "x.conf", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(config->groups->len, ==, VF_ACCEL_GROUPS_MAX);
    vf_config_free(config);
    g_string_append(text, "[group more]\n");
    refuse_bytes(text->str, text->len, "x.conf:191: more than 63 groups -- remove some");
    g_string_truncate(text, text->len - strlen("[group more]\n"));
    g_string_append(text, "[accelerator more]\n");
    refuse_bytes(text->str, text->len, "x.conf:191: more than 64 accelerators -- remove some");
    g_string_free(text, TRUE);
}

static void test_not_a_file(Fixture *fixture, gconstpointer data)
{
    g_autofree char *fifo = g_build_filename(fixture->directory, "fifo.conf", NULL);
    g_autofree char *link = g_build_filename(fixture->directory, "link.conf", NULL);

    g_assert_cmpint(symlink("nowhere", link), ==, 0);
    assert_refused(fixture, "link.conf: No such file or directory");
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    assert_refused(fixture, "fifo.conf: not a regular file -- remove it or rename it so that it "
                            "does not end in .conf");
}

static void test_large_file(Fixture *fixture, gconstpointer data)
{
    g_autofree char *large = g_strnfill(2 * VF_CONFIG_MAX_BYTES, '#');

    add_file(fixture, "large.conf", large);
    assert_refused(fixture, "large.conf: larger than 1048576 bytes -- split it into several files");
}

// One test for each *.conf of a directory of the test data.
static void add_each(const char *kind, GTestDataFunc function)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *directory = g_build_filename(DATA, kind, NULL);
    g_autoptr(GDir) dir = g_dir_open(directory, 0, &error);
    const char *name;
    guint found = 0;

    g_assert_no_error(error);
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *test = NULL;

        if (!g_str_has_suffix(name, ".conf"))
            continue;
        test =
            g_strdup_printf("/config/%s/%.*s", kind, (int)(strlen(name) - strlen(".conf")), name);
        g_test_add_data_func_full(test, g_build_filename(directory, name, NULL), function, g_free);
        found++;
    }
    g_assert_cmpuint(found, >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_each("good", test_good);
    add_each("bad", test_bad);
    g_test_add_func("/config/bytes", test_bytes);
    g_test_add_func("/config/no-directory", test_no_directory);
    g_test_add("/config/directory", Fixture, NULL, set_up, test_directory, tear_down);
    g_test_add("/config/across-files", Fixture, NULL, set_up, test_across_files, tear_down);
    g_test_add("/config/accel-across-files", Fixture, NULL, set_up, test_accel_across_files,
               tear_down);
    g_test_add_func("/config/group-of-domain", test_group_of_domain);
    g_test_add_func("/config/too-many", test_too_many);
    g_test_add("/config/not-a-file", Fixture, NULL, set_up, test_not_a_file, tear_down);
    g_test_add("/config/large-file", Fixture, NULL, set_up, test_large_file, tear_down);
    return g_test_run();
}
