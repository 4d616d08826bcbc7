// SPDX-License-Identifier: GPL-2.0-or-later
//
// The driver of the emulated card against a model of its registers: every command, every way the
// card can refuse one, a card that does not end a command, that resets, that is gone, and one that
// says what cannot be. That the real device model understands the same is for the emulated host.

#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lib/card-model.h"
#include "card.h"
#include "error.h"

#define PF "0000:3b:00.0: "

static const VfPciAddr pf_address = {.bus = 0x3b};

typedef struct {
    CardModel *model;
    VfCard *card;
    char *image; // file with some bytes
} Fixture;

static gint64 soon(void)
{
    return g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture->model = card_model_new();
    fixture->card = vf_card_open("virtfn-card", fixture->model->root, &pf_address, &error);
    g_assert_no_error(error);
    fixture->image = card_model_path(fixture->model, "image");
    g_assert_true(g_file_set_contents(fixture->image, "\003image", -1, NULL));
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vf_card_close(fixture->card);
    g_remove(fixture->image);
    g_free(fixture->image);
    card_model_free(fixture->model);
}

static void assert_log(const Fixture *fixture, const char *expected)
{
    g_assert_cmpstr(fixture->model->log->str, ==, expected);
    g_string_truncate(fixture->model->log, 0);
}

static void assert_failed(gboolean ok, GError **error, const char *expected)
{
    g_assert_false(ok);
    g_assert_error(*error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_cmpstr((*error)->message, ==, expected);
    g_clear_error(error);
}

static void test_open_other(void)
{
    CardModel *model = card_model_new();
    g_autofree char *device = card_model_path(model, "device");
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(device, "0x1000\n", -1, NULL));
    g_assert_null(vf_card_open("virtfn-card", model->root, &pf_address, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_NOT_FOUND);
    g_assert_cmpstr(error->message, ==,
                    PF "1234:1000 is not the emulated card -- name another card in the pool");
    card_model_free(model);
}

// Each register that opening believes, with a value that it must not.
static void test_open_nonsense(void)
{
    static const struct {
        guint offset;
        guint32 value;
        const char *message;
    } cases[] = {
        {CARD_PF_MAGIC, 1, "not registers of this card: magic number 0x00000001, version 1"},
        {CARD_PF_VERSION, 2, "not registers of this card: magic number 0x50465456, version 2"},
        {CARD_PF_REGIONS, 0, "regions"},
        {CARD_PF_REGIONS, 65, "regions"},
        {CARD_PF_KINDS, 0, "kinds"},
        {CARD_PF_KINDS, 33, "kinds"},
        {CARD_PF_CONTEXT_SIZE, 8192, "contexts of 8192 bytes"},
        {CARD_PF_WINDOW_SIZE, 4095, "window of 4095"},
        {CARD_PF_WINDOW_SIZE, 0xffffffff, "window of 4294967295"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        CardModel *model = card_model_new();
        g_autoptr(GError) error = NULL;

        card_model_set(model, cases[i].offset, cases[i].value);
        g_assert_null(vf_card_open("virtfn-card", model->root, &pf_address, &error));
        g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
        g_assert_nonnull(strstr(error->message, cases[i].message));
        card_model_free(model);
    }
}

// Firmware may have left the PF's memory off.
static void test_open_enables_memory(void)
{
    CardModel *model = card_model_new();
    g_autofree char *config = card_model_path(model, "config");
    g_autofree char *bytes = NULL;
    g_autoptr(GError) error = NULL;
    VfCard *card;

    g_assert_true(g_file_set_contents(config, "\x34\x12\x46\x56\x04\x01\x10\x01", 8, NULL));
    card = vf_card_open("virtfn-card", model->root, &pf_address, &error);
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(config, &bytes, NULL, NULL));
    g_assert_cmpmem(bytes, 8, "\x34\x12\x46\x56\x06\x01\x10\x01", 8);
    vf_card_close(card);
    card_model_free(model);
}

static void test_query(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    CardModelRegion *second = &fixture->model->region[1];
    g_autoptr(GError) error = NULL;
    const VfCardRegion *region;

    second->state = CARD_REGION_READY;
    second->accelerator = 4;
    second->vf = 251;
    second->running = TRUE;
    card_model_show_regions(fixture->model);
    g_assert_true(vf_card_query(fixture->card, regions, &error));
    g_assert_cmpuint(regions->len, ==, 2);
    region = &g_array_index(regions, VfCardRegion, 0);
    g_assert_cmpuint(region->kind, ==, 0);
    g_assert_cmpint(region->state, ==, VF_REGION_EMPTY);
    g_assert_cmpuint(region->vf, ==, VF_CARD_NONE);
    g_assert_false(region->running);
    region = &g_array_index(regions, VfCardRegion, 1);
    g_assert_cmpuint(region->kind, ==, 1);
    g_assert_cmpint(region->state, ==, VF_REGION_READY);
    g_assert_cmpuint(region->accelerator, ==, 4);
    g_assert_cmpuint(region->vf, ==, 251);
    g_assert_true(region->running);
    second->state = CARD_REGION_BROKEN;
    fixture->model->region[0].state = CARD_REGION_LOADING;
    card_model_show_regions(fixture->model);
    g_assert_true(vf_card_query(fixture->card, regions, &error));
    g_assert_cmpint(g_array_index(regions, VfCardRegion, 0).state, ==, VF_REGION_LOADING);
    g_assert_cmpint(g_array_index(regions, VfCardRegion, 1).state, ==, VF_REGION_BROKEN);
    assert_log(fixture, "");
}

static void test_query_nonsense(Fixture *fixture, gconstpointer data)
{
    static const struct {
        guint offset;
        guint32 value;
    } cases[] = {{CARD_REGION_KIND, 32}, {CARD_REGION_STATE, 4}, {CARD_REGION_VF, 252}};
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        card_model_show_regions(fixture->model);
        card_model_set(fixture->model, CARD_PF_REGION_ROW(1) + cases[i].offset, cases[i].value);
        assert_failed(vf_card_query(fixture->card, regions, &error), &error,
                      PF "region 1: its row makes no sense");
    }
    card_model_show_regions(fixture->model);
    card_model_set(fixture->model, CARD_PF_REGIONS, 3);
    assert_failed(vf_card_query(fixture->card, regions, &error), &error,
                  PF "the card had 2 regions and says 3");
}

static void test_load(Fixture *fixture, gconstpointer data)
{
    const CardModelRegion *region = &fixture->model->region[1];
    g_autoptr(GError) error = NULL;

    fixture->model->busy = 30;
    g_assert_true(vf_card_load(fixture->card, 1, fixture->image, soon(), &error));
    g_assert_no_error(error);
    assert_log(fixture, "load 1 0 6 1\n");
    g_assert_cmpmem(region->image->data, region->image->len, "\003image", 6);
}

static void test_load_size(Fixture *fixture, gconstpointer data)
{
    g_autofree char *full = g_strnfill(CARD_MODEL_WINDOW + 1, 'x');
    g_autofree char *path = card_model_path(fixture->model, "image");
    g_autofree char *expected = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(path, full, CARD_MODEL_WINDOW, NULL));
    g_assert_true(vf_card_load(fixture->card, 0, path, soon(), &error));
    assert_log(fixture, "load 0 0 65536 1\n");
    g_assert_true(g_file_set_contents(path, full, CARD_MODEL_WINDOW + 1, NULL));
    expected = g_strdup_printf(PF "%s: larger than the 65536 bytes that the card takes", path);
    assert_failed(vf_card_load(fixture->card, 0, path, soon(), &error), &error, expected);
    assert_log(fixture, "");
    g_free(expected);
    g_remove(path);
    expected = g_strdup_printf(PF "%s: No such file or directory", path);
    assert_failed(vf_card_load(fixture->card, 0, path, soon(), &error), &error, expected);
}

static void test_connect(Fixture *fixture, gconstpointer data)
{
    CardModelRegion *region = &fixture->model->region[1];
    g_autoptr(GError) error = NULL;

    region->context[7] = 9;
    g_assert_true(vf_card_connect(fixture->card, 1, 3, TRUE, soon(), &error));
    g_assert_cmpuint(region->vf, ==, 3);
    g_assert_cmpuint(region->context[7], ==, 9);
    g_assert_true(vf_card_disconnect(fixture->card, 3, soon(), &error));
    g_assert_cmpuint(region->vf, ==, CARD_NONE);
    g_assert_true(vf_card_connect(fixture->card, 1, 3, FALSE, soon(), &error));
    g_assert_cmpuint(region->context[7], ==, 0);
    g_assert_no_error(error);
    assert_log(fixture, "connect 1 3 0 2\ndisconnect 0 3 0 0\nconnect 1 3 0 0\n");
    assert_failed(vf_card_connect(fixture->card, 0, 3, FALSE, soon(), &error), &error,
                  PF "connect function 3 with region 0: the function or the region is connected "
                     "already (status 12)");
}

// Done is done, also by the card itself.
static void test_disconnect_none(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(vf_card_disconnect(fixture->card, 2, soon(), &error));
    fixture->model->fail = CARD_ERROR_VF;
    g_assert_true(vf_card_disconnect(fixture->card, 2, soon(), &error));
    fixture->model->fail = CARD_ERROR_RUNNING;
    assert_failed(vf_card_disconnect(fixture->card, 2, soon(), &error), &error,
                  PF "disconnect function 2: the region works (status 15)");
}

static void test_context(Fixture *fixture, gconstpointer data)
{
    CardModelRegion *region = &fixture->model->region[0];
    g_autoptr(GBytes) context = NULL;
    g_autoptr(GError) error = NULL;
    guint8 before[CARD_CONTEXT_BYTES];
    const guint8 *window = card_model_window(fixture->model);

    for (guint i = 0; i < CARD_CONTEXT_BYTES; i++)
        before[i] = region->context[i] = (guint8)(i * 7);
    g_assert_true(vf_card_save(fixture->card, 0, &context, soon(), &error));
    g_assert_cmpmem(g_bytes_get_data(context, NULL), g_bytes_get_size(context), before,
                    sizeof(before));
    memset(region->context, 0, CARD_CONTEXT_BYTES);
    g_assert_true(vf_card_restore(fixture->card, 0, context, soon(), &error));
    g_assert_no_error(error);
    g_assert_cmpmem(region->context, CARD_CONTEXT_BYTES, before, sizeof(before));
    assert_log(fixture, "save 0 0 4096 1\nrestore 0 0 4096 1\n");
    // Nothing of it stays in the window.
    for (guint i = 0; i < CARD_CONTEXT_BYTES; i++)
        g_assert_cmpuint(window[i], ==, 0);
}

static void test_context_size(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) empty = g_bytes_new(NULL, 0);
    g_autoptr(GBytes) short_one = g_bytes_new_static("abc", 3);
    g_autoptr(GBytes) large =
        g_bytes_new_take(g_malloc0(CARD_MODEL_WINDOW + 1), CARD_MODEL_WINDOW + 1);
    static const char expected[] =
        PF "restore region 0: the card does not take so many bytes (status 5)";
    g_autoptr(GError) error = NULL;

    assert_failed(vf_card_restore(fixture->card, 0, empty, soon(), &error), &error, expected);
    assert_failed(vf_card_restore(fixture->card, 0, large, soon(), &error), &error, expected);
    assert_log(fixture, "");
    assert_failed(vf_card_restore(fixture->card, 0, short_one, soon(), &error), &error, expected);
    assert_log(fixture, "restore 0 0 3 1\n");
}

// A job that ends in time does no harm; one that hangs is told.
static void test_running(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) context = NULL;
    g_autoptr(GError) error = NULL;

    fixture->model->region[0].running = TRUE;
    fixture->model->running_looks = 2;
    g_assert_true(vf_card_save(fixture->card, 0, &context, soon(), &error));
    assert_log(fixture, "save 0 0 4096 1\nsave 0 0 4096 1\nsave 0 0 4096 1\n");
    g_clear_pointer(&context, g_bytes_unref);
    fixture->model->region[0].running = TRUE;
    fixture->model->running_looks = G_MAXUINT;
    assert_failed(vf_card_save(fixture->card, 0, &context,
                               g_get_monotonic_time() + 50 * G_TIME_SPAN_MILLISECOND, &error),
                  &error, PF "save region 0: the region works (status 15)");
    g_assert_null(context);
}

// Every status of a command, and one that is none.
static void test_statuses(Fixture *fixture, gconstpointer data)
{
    static const struct {
        guint32 status;
        const char *cause;
    } cases[] = {
        {CARD_ERROR_COMMAND, "the card does not know the command"},
        {CARD_ERROR_REGION, "the card has no such region"},
        {CARD_ERROR_VF, "the card has no such function, or it is not enabled"},
        {CARD_ERROR_LENGTH, "the card does not take so many bytes"},
        {CARD_ERROR_DMA, "the card cannot reach its memory"},
        {CARD_ERROR_FORMAT, "the card does not know the format"},
        {CARD_ERROR_KIND, "the image is for another kind of region"},
        {CARD_ERROR_ACCELERATOR, "the accelerator is unknown, or another one"},
        {CARD_ERROR_CRC, "the checksum is wrong"},
        {CARD_ERROR_LOAD, "the region did not start"},
        {CARD_ERROR_CONNECTED, "the function or the region is connected already"},
        {CARD_ERROR_DISCONNECTED, "the function is not connected"},
        {CARD_ERROR_EMPTY, "the region holds no accelerator"},
        {CARD_ERROR_SAVE, "the context could not be read out"},
        {CARD_ERROR_RESTORE, "the context could not be restored"},
        {99, "of an unknown cause"},
    };
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *load = g_strdup_printf(PF "load into region 1: %s (status %u)",
                                                cases[i].cause, cases[i].status);
        g_autofree char *connect =
            g_strdup_printf(PF "connect function 2 with region 1: %s (status %u)", cases[i].cause,
                            cases[i].status);

        fixture->model->fail = cases[i].status;
        assert_failed(vf_card_load(fixture->card, 1, fixture->image, soon(), &error), &error, load);
        fixture->model->fail = cases[i].status;
        assert_failed(vf_card_connect(fixture->card, 1, 2, FALSE, soon(), &error), &error, connect);
    }
}

// A command that does not end in time is told, and keeps later ones away until it does.
static void test_stuck(Fixture *fixture, gconstpointer data)
{
    gint64 begin = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;

    fixture->model->stuck = TRUE;
    assert_failed(vf_card_load(fixture->card, 1, fixture->image,
                               begin + 100 * G_TIME_SPAN_MILLISECOND, &error),
                  &error, PF "load into region 1: the card is still busy when its time is over");
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, 100 * G_TIME_SPAN_MILLISECOND);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 10 * G_TIME_SPAN_SECOND);
    assert_failed(vf_card_connect(fixture->card, 0, 1, FALSE, g_get_monotonic_time(), &error),
                  &error,
                  PF "connect function 1 with region 0: the card is still busy when its time is "
                     "over");
    assert_log(fixture, "load 1 0 6 1\n");
    // It comes round.
    fixture->model->stuck = FALSE;
    g_assert_true(vf_card_connect(fixture->card, 0, 1, FALSE, soon(), &error));
    assert_log(fixture, "connect 0 1 0 0\n");
}

static void test_reset(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture->model->resets = TRUE;
    assert_failed(vf_card_connect(fixture->card, 0, 1, FALSE, soon(), &error), &error,
                  PF "connect function 1 with region 0: the card was reset meanwhile");
    g_assert_true(vf_card_disconnect(fixture->card, 1, soon(), &error));
    g_assert_no_error(error);
}

#define GONE                                                                                       \
    PF "the card does not answer, all it says is 0xffffffff -- see whether it is still there: "    \
       "lspci, dmesg"

static void test_gone(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    g_autoptr(GBytes) context = g_bytes_new_static("abc", 3);
    g_autoptr(GBytes) saved = NULL;
    VfCard *card = fixture->card;
    g_autoptr(GError) error = NULL;

    fixture->model->gone = TRUE;
    assert_failed(vf_card_query(card, regions, &error), &error, GONE);
    assert_failed(vf_card_load(card, 0, fixture->image, soon(), &error), &error, GONE);
    assert_failed(vf_card_connect(card, 0, 1, FALSE, soon(), &error), &error, GONE);
    assert_failed(vf_card_disconnect(card, 1, soon(), &error), &error, GONE);
    assert_failed(vf_card_save(card, 0, &saved, soon(), &error), &error, GONE);
    assert_failed(vf_card_restore(card, 0, context, soon(), &error), &error, GONE);
    assert_log(fixture, "");
}

// The PF's directory is empty: it was unplugged between two calls.
static void test_unplugged(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = card_model_path(fixture->model, "resource0");
    g_autofree char *expected = g_strdup_printf(PF "%s: No such file or directory", path);
    g_autoptr(GError) error = NULL;

    g_remove(path);
    assert_failed(vf_card_disconnect(fixture->card, 1, soon(), &error), &error, expected);
}

static gboolean do_query(Fixture *fixture, GError **error)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));

    return vf_card_query(fixture->card, regions, error);
}

static gboolean do_load(Fixture *fixture, GError **error)
{
    return vf_card_load(fixture->card, 1, fixture->image, soon(), error);
}

static gboolean do_connect(Fixture *fixture, GError **error)
{
    return vf_card_connect(fixture->card, 1, 3, FALSE, soon(), error);
}

static gboolean do_disconnect(Fixture *fixture, GError **error)
{
    return vf_card_disconnect(fixture->card, 3, soon(), error);
}

static gboolean do_save(Fixture *fixture, GError **error)
{
    g_autoptr(GBytes) context = NULL;
    gboolean ok = vf_card_save(fixture->card, 0, &context, soon(), error);

    g_assert_true(ok == (context != NULL));
    return ok;
}

static gboolean do_restore(Fixture *fixture, GError **error)
{
    g_autoptr(GBytes) context = g_bytes_new_take(g_malloc0(CARD_CONTEXT_BYTES), CARD_CONTEXT_BYTES);

    return vf_card_restore(fixture->card, 0, context, soon(), error);
}

// The PF is unplugged at each access of each call, one after the other, until none is left: an
// error each time, of this card, and the next card is as good as any.
static void test_unplugged_within(void)
{
    static const struct {
        gboolean (*call)(Fixture *fixture, GError **error);
        guint accesses; // that it has at least
    } calls[] = {{do_query, 3},       {do_load, 12}, {do_connect, 12},
                 {do_disconnect, 12}, {do_save, 12}, {do_restore, 13}};

    for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
        gboolean done = FALSE;
        guint at;

        for (at = 1; !done; at++) {
            g_autoptr(GError) error = NULL;
            Fixture fixture;

            set_up(&fixture, NULL);
            fixture.model->unplug = at;
            done = calls[i].call(&fixture, &error);
            if (!done) {
                g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
                g_assert_true(g_str_has_prefix(error->message, PF));
                g_assert_cmpuint(fixture.model->unplug, ==, 0);
            }
            tear_down(&fixture, NULL);
        }
        g_assert_cmpuint(at - 2, >=, calls[i].accesses);
    }
}

static void touch_a_truncated_file(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("virtfn-bus-XXXXXX", &path, NULL);
    volatile char *bytes;

    g_assert_cmpint(ftruncate(fd, 1), ==, 0);
    bytes = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    g_remove(path);
    *bytes = 1;
}

// A SIGBUS of anything else kills, a fault and one that was sent.
static void test_other_bus_errors(Fixture *fixture, gconstpointer data)
{
    if (g_test_subprocess()) {
        g_assert_true(do_query(fixture, NULL));
        g_printerr("so far\n");
        touch_a_truncated_file();
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*so far*");
}

static void test_sent_bus_error(Fixture *fixture, gconstpointer data)
{
    if (g_test_subprocess()) {
        g_assert_true(do_query(fixture, NULL));
        g_printerr("so far\n");
        raise(SIGBUS);
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*so far*");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *fixture, gconstpointer data);
    } tests[] = {
        {"/card-test/query", test_query},
        {"/card-test/query-nonsense", test_query_nonsense},
        {"/card-test/load", test_load},
        {"/card-test/load-size", test_load_size},
        {"/card-test/connect", test_connect},
        {"/card-test/disconnect-none", test_disconnect_none},
        {"/card-test/context", test_context},
        {"/card-test/context-size", test_context_size},
        {"/card-test/running", test_running},
        {"/card-test/statuses", test_statuses},
        {"/card-test/stuck", test_stuck},
        {"/card-test/reset", test_reset},
        {"/card-test/gone", test_gone},
        {"/card-test/unplugged", test_unplugged},
        {"/card-test/other-bus-errors", test_other_bus_errors},
        {"/card-test/sent-bus-error", test_sent_bus_error},
    };

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/card-test/open-other", test_open_other);
    g_test_add_func("/card-test/unplugged-within", test_unplugged_within);
    g_test_add_func("/card-test/open-nonsense", test_open_nonsense);
    g_test_add_func("/card-test/open-enables-memory", test_open_enables_memory);
    for (guint i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].test, tear_down);
    return g_test_run();
}
