// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cards by an external program: that each call becomes the documented run of it, what of its
// answers is believed, and how it may fail. The program is a shell script that plays a card with
// its state in files.

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib/scratch.h"
#include "card.h"
#include "error.h"

typedef struct {
    char *directory;
    char *program;
    VfCard *card;
    GArray *regions;
} Fixture;

static gint64 soon(void)
{
    return g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;
}

static void write_script(const Fixture *fixture, const char *body)
{
    g_autofree char *text = g_strdup_printf("#!/bin/sh\ncd '%s'\n%s\n", fixture->directory, body);

    g_assert_true(g_file_set_contents(fixture->program, text, -1, NULL));
    g_assert_cmpint(g_chmod(fixture->program, 0700), ==, 0);
}

static VfCard *try_open(const Fixture *fixture, GError **error)
{
    static const VfPciAddr pf = {.bus = 0x3b};
    g_autofree char *spec = g_strconcat("program:", fixture->program, NULL);

    return vf_card_open(spec, "", &pf, error);
}

// Writes each call to `calls`; answers a query with the file `answer`.
static const char card_script[] = "echo \"$@\" >>calls\n"
                                  "case $1 in\n"
                                  "query) cat answer;;\n"
                                  "save) printf 'a\\0b';;\n"
                                  "restore) cat >restored;;\n"
                                  "esac\n";

static void put(const Fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->directory, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static char *get(const Fixture *fixture, const char *name, gsize *length)
{
    g_autofree char *path = g_build_filename(fixture->directory, name, NULL);
    char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, length, NULL));
    return text;
}

// The calls since the last look.
static void assert_calls(const Fixture *fixture, const char *expected)
{
    g_autofree char *calls = get(fixture, "calls", NULL);

    g_assert_cmpstr(calls, ==, expected);
    put(fixture, "calls", "");
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture->directory = g_dir_make_tmp("virtfn-card-XXXXXX", NULL);
    g_assert_nonnull(fixture->directory);
    fixture->program = g_build_filename(fixture->directory, "tool", NULL);
    fixture->regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    put(fixture, "answer",
        "{\"save\": true, \"maker\": \"x\", \"regions\": [{\"kind\": 1, \"state\": \"empty\"},"
        " {\"kind\": 0, \"state\": \"ready\", \"accelerator\": 7, \"vf\": 3, \"running\": true}]}");
    write_script(fixture, card_script);
    fixture->card = try_open(fixture, &error);
    g_assert_no_error(error);
    assert_calls(fixture, "query 0000:3b:00.0\n");
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vf_card_close(fixture->card);
    g_array_unref(fixture->regions);
    scratch_remove(fixture->directory);
    g_free(fixture->program);
    g_free(fixture->directory);
}

static void test_query(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    const VfCardRegion *region;

    g_assert_true(vf_card_query(fixture->card, fixture->regions, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(fixture->regions->len, ==, 2);
    region = &g_array_index(fixture->regions, VfCardRegion, 0);
    g_assert_cmpuint(region->kind, ==, 1);
    g_assert_cmpint(region->state, ==, VF_REGION_EMPTY);
    g_assert_cmpuint(region->accelerator, ==, 0);
    g_assert_cmpuint(region->vf, ==, VF_CARD_NONE);
    g_assert_false(region->running);
    region = &g_array_index(fixture->regions, VfCardRegion, 1);
    g_assert_cmpint(region->state, ==, VF_REGION_READY);
    g_assert_cmpuint(region->accelerator, ==, 7);
    g_assert_cmpuint(region->vf, ==, 3);
    g_assert_true(region->running);
    g_assert_true(vf_card_can_save(fixture->card));
}

static void test_verbs(Fixture *fixture, gconstpointer data)
{
    VfCard *card = fixture->card;
    g_autoptr(GError) error = NULL;

    g_assert_true(vf_card_load(card, 1, "/x y.image", soon(), &error));
    assert_calls(fixture, "load 0000:3b:00.0 1 /x y.image\n");
    g_assert_true(vf_card_connect(card, 0, 12, FALSE, soon(), &error));
    assert_calls(fixture, "connect 0000:3b:00.0 0 12 clear\n");
    g_assert_true(vf_card_connect(card, 0, 12, TRUE, soon(), &error));
    assert_calls(fixture, "connect 0000:3b:00.0 0 12 keep\n");
    g_assert_true(vf_card_disconnect(card, 12, soon(), &error));
    assert_calls(fixture, "disconnect 0000:3b:00.0 12\n");
    g_assert_no_error(error);
}

static void test_context(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) context = NULL;
    g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
    g_autoptr(GError) error = NULL;
    g_autofree char *restored = NULL;
    gsize length;

    g_assert_true(vf_card_save(fixture->card, 1, &context, soon(), &error));
    g_assert_no_error(error);
    g_assert_cmpmem(g_bytes_get_data(context, NULL), g_bytes_get_size(context), "a\0b", 3);
    g_assert_true(vf_card_restore(fixture->card, 0, context, soon(), &error));
    assert_calls(fixture, "save 0000:3b:00.0 1\nrestore 0000:3b:00.0 0\n");
    restored = get(fixture, "restored", &length);
    g_assert_cmpmem(restored, length, "a\0b", 3);
    g_assert_true(vf_card_restore(fixture->card, 0, nothing, soon(), &error));
    g_free(restored);
    restored = get(fixture, "restored", &length);
    g_assert_cmpuint(length, ==, 0);
}

// More than a pipe holds, in both directions.
static void test_large_context(Fixture *fixture, gconstpointer data)
{
    gsize size = 8 * 1024 * 1024;
    g_autoptr(GBytes) context = g_bytes_new_take(g_strnfill(size, 'x'), size);
    g_autoptr(GBytes) back = NULL;
    g_autoptr(GError) error = NULL;

    write_script(fixture, "case $1 in restore) cat >restored;; save) cat restored;; esac");
    g_assert_true(vf_card_restore(fixture->card, 0, context, soon(), &error));
    g_assert_true(vf_card_save(fixture->card, 0, &back, soon(), &error));
    g_assert_no_error(error);
    g_assert_true(g_bytes_equal(context, back));
}

static void test_endless_context(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) context = NULL;
    g_autoptr(GError) error = NULL;

    write_script(fixture, "exec cat /dev/zero");
    g_assert_false(vf_card_save(fixture->card, 0, &context, soon(), &error));
    scratch_assert_error(
        fixture->directory, error, VF_ERROR_SYSFS,
        "0000:3b:00.0: tool save 0000:3b:00.0 0: more than 67108864 bytes of output");
    g_assert_null(context);
}

static void test_fails(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    write_script(fixture, "echo clock lost >&2; exit 1");
    g_assert_false(vf_card_load(fixture->card, 1, "/x", soon(), &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "0000:3b:00.0: tool load 0000:3b:00.0 1 /x: exit status 1: clock lost");
    g_clear_error(&error);
    write_script(fixture, "exit 2");
    g_assert_false(vf_card_disconnect(fixture->card, 1, soon(), &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "0000:3b:00.0: tool disconnect: the program says that the card is not its "
                         "business any more");
}

static void test_deadline(Fixture *fixture, gconstpointer data)
{
    gint64 begin = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;

    write_script(fixture, "sleep 60");
    g_assert_false(
        vf_card_load(fixture->card, 1, "/x", begin + 300 * G_TIME_SPAN_MILLISECOND, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_nonnull(strstr(error->message, "killed"));
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_TIME_SPAN_SECOND);
    g_clear_error(&error);
    write_script(fixture, "touch ran");
    g_assert_false(vf_card_load(fixture->card, 1, "/x", begin, &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "0000:3b:00.0: load: no time left for it");
    g_autofree char *ran = g_build_filename(fixture->directory, "ran", NULL);
    g_assert_false(g_file_test(ran, G_FILE_TEST_EXISTS));
}

static void test_no_such_region(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_card_load(fixture->card, 2, "/x", soon(), &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_STATE,
                         "0000:3b:00.0: there is no region 2, the card has 2");
    assert_calls(fixture, "");
}

static void test_cannot_save(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) context = NULL;
    g_autoptr(GError) error = NULL;

    put(fixture, "answer", "{\"regions\": [{\"kind\": 1, \"state\": \"broken\"}]}");
    vf_card_close(fixture->card);
    fixture->card = try_open(fixture, &error);
    g_assert_no_error(error);
    g_assert_false(vf_card_can_save(fixture->card));
    put(fixture, "calls", "");
    g_assert_false(vf_card_save(fixture->card, 0, &context, soon(), &error));
    scratch_assert_error(
        fixture->directory, error, VF_ERROR_STATE,
        "0000:3b:00.0: the card cannot save what an accelerator has in mind -- do not "
        "make its accelerators shareable");
    assert_calls(fixture, "");
}

static void test_not_mine(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    write_script(fixture, "exit 2");
    g_assert_null(try_open(fixture, &error));
    scratch_assert_error(
        fixture->directory, error, VF_ERROR_NOT_FOUND,
        "0000:3b:00.0: tool says that this card is not its business -- name another "
        "card in the pool");
}

static void test_no_driver(void)
{
    static const VfPciAddr pf = {.bus = 0x3b};
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_card_open("programs:/x", "", &pf, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
    g_assert_cmpstr(error->message, ==,
                    "0000:3b:00.0: no card driver is called 'programs:/x' -- mend the pool's key "
                    "card");
}

// The number of regions is what all numbers were checked against.
static void test_other_regions(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    put(fixture, "answer", "{\"regions\": [{\"kind\": 1, \"state\": \"empty\"}]}");
    g_assert_false(vf_card_query(fixture->card, fixture->regions, &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS,
                         "0000:3b:00.0: the card had 2 regions and says 1");
}

#define REMEDY " -- mend the program, see virtfn.conf(5), CARD PROGRAM"

static void test_bad_answers(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *answer, *cause;
    } cases[] = {
        {"[]", "regions is not a list of 1 to 64"},
        {"{}", "regions is not a list of 1 to 64"},
        {"{\"regions\": []}", "regions is not a list of 1 to 64"},
        {"{\"regions\": {}}", "regions is not a list of 1 to 64"},
        {"{\"save\": 1, \"regions\": [{}]}", "save is neither true nor false"},
        {"{\"regions\": [3]}", "region 0: kind is missing or not valid"},
        {"{\"regions\": [{\"state\": \"empty\"}]}", "region 0: kind is missing or not valid"},
        {"{\"regions\": [{\"kind\": 32}]}", "region 0: kind is missing or not valid"},
        {"{\"regions\": [{\"kind\": -1}]}", "region 0: kind is missing or not valid"},
        {"{\"regions\": [{\"kind\": 1}]}", "region 0: state is missing or not valid"},
        {"{\"regions\": [{\"kind\": 1, \"state\": \"full\"}]}",
         "region 0: state is missing or not valid"},
        {"{\"regions\": [{\"kind\": 1, \"state\": \"empty\", \"accelerator\": \"x\"}]}",
         "region 0: accelerator is missing or not valid"},
        {"{\"regions\": [{\"kind\": 1, \"state\": \"empty\", \"vf\": 65536}]}",
         "region 0: vf is missing or not valid"},
        {"{\"regions\": [{\"kind\": 1, \"state\": \"empty\", \"running\": null}]}",
         "region 0: running is missing or not valid"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *expected =
            g_strconcat("0000:3b:00.0: tool query: ", cases[i].cause, REMEDY, NULL);
        g_autoptr(GError) error = NULL;

        put(fixture, "answer", cases[i].answer);
        g_assert_false(vf_card_query(fixture->card, fixture->regions, &error));
        scratch_assert_error(fixture->directory, error, VF_ERROR_SYSFS, expected);
    }
}

static void test_not_json(Fixture *fixture, gconstpointer data)
{
    static const char *const answers[] = {"", "ok", "{\"regions\": [", "{\"save\":true} x",
                                          "{\"save\": true, \"save\": false}"};

    for (guint i = 0; i < G_N_ELEMENTS(answers); i++) {
        g_autoptr(GError) error = NULL;

        put(fixture, "answer", answers[i]);
        g_assert_false(vf_card_query(fixture->card, fixture->regions, &error));
        g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
        g_assert_nonnull(strstr(error->message, "tool query: not JSON: "));
        g_assert_true(g_str_has_suffix(error->message, REMEDY));
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *fixture, gconstpointer data);
    } tests[] = {
        {"/card-program/query", test_query},
        {"/card-program/verbs", test_verbs},
        {"/card-program/context", test_context},
        {"/card-program/large-context", test_large_context},
        {"/card-program/endless-context", test_endless_context},
        {"/card-program/fails", test_fails},
        {"/card-program/deadline", test_deadline},
        {"/card-program/no-such-region", test_no_such_region},
        {"/card-program/cannot-save", test_cannot_save},
        {"/card-program/not-mine", test_not_mine},
        {"/card-program/other-regions", test_other_regions},
        {"/card-program/bad-answers", test_bad_answers},
        {"/card-program/not-json", test_not_json},
    };

    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].test, tear_down);
    g_test_add_func("/card-program/no-driver", test_no_driver);
    return g_test_run();
}
