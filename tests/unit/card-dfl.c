// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cards with a Device Feature List on a fixture of their sysfs tree: what is read from it, which
// ioctls are made, and what is refused. The ioctls end here (--wrap=ioctl); that a kernel takes
// them can only be seen with such a card.

#include <errno.h>
#include <glib/gstdio.h>
#include <linux/fpga-dfl.h>
#include <stdarg.h>
#include <string.h>

#include "../lib/scratch.h"
#include "card.h"
#include "error.h"

#define PF "0000:3b:00.0"
#define REGION "/sys/bus/pci/devices/" PF "/fpga_region/region3"
#define FME REGION "/dfl-fme.1"
#define STATE FME "/dfl-fme-mgr.1/fpga_manager/fpga2/state"

static const VfPciAddr address = {.bus = 0x3b};
static GString *calls;   // of ioctl, one a line
static int ioctl_result; // 0, or an errno

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;

    va_start(args, request);
    const void *argument = va_arg(args, const void *);
    va_end(args);
    if (request == DFL_FPGA_FME_PORT_RELEASE) {
        g_string_append_printf(calls, "release %d\n", *(const int *)argument);
    } else if (request == DFL_FPGA_FME_PORT_PR) {
        const struct dfl_fpga_fme_port_pr *order = argument;

        g_assert_cmpuint(order->argsz, ==, sizeof(*order));
        g_assert_cmpuint(order->flags, ==, 0);
        g_string_append_printf(calls, "load %u %.*s\n", order->port_id, (int)order->buffer_size,
                               (const char *)(guintptr)order->buffer_address);
    } else {
        g_string_append_printf(calls, "unknown %lx\n", request);
    }
    errno = ioctl_result;
    return ioctl_result == 0 ? 0 : -1;
}

typedef struct {
    char *root;
    VfCard *card;
} Fixture;

static char *path_of(const Fixture *fixture, const char *path)
{
    return g_strconcat(fixture->root, path, NULL);
}

static void put(const Fixture *fixture, const char *path, const char *text)
{
    g_autofree char *full = path_of(fixture, path);
    g_autofree char *directory = g_path_get_dirname(full);

    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    g_assert_true(g_file_set_contents(full, text, -1, NULL));
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    calls = g_string_new(NULL);
    ioctl_result = 0;
    fixture->root = g_dir_make_tmp("virtfn-dfl-XXXXXX", NULL);
    put(fixture, FME "/ports_num", "1\n");
    put(fixture, STATE, "operating\n");
    put(fixture, "/dev/dfl-fme.1", "");
    put(fixture, "/image", "bits");
    fixture->card = vf_card_open("dfl", fixture->root, &address, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(calls->str, ==, "");
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vf_card_close(fixture->card);
    scratch_remove(fixture->root);
    g_free(fixture->root);
    g_string_free(calls, TRUE);
}

static void assert_message(const Fixture *fixture, GError **error, int code, const char *expected)
{
    g_auto(GStrv) parts = NULL;
    g_autofree char *shown = NULL;

    g_assert_error(*error, VF_ERROR, code);
    parts = g_strsplit((*error)->message, fixture->root, -1);
    shown = g_strjoinv("", parts);
    g_assert_cmpstr(shown, ==, expected);
    g_clear_error(error);
}

static void refuse_open(const Fixture *fixture, int code, const char *expected)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_card_open("dfl", fixture->root, &address, &error));
    assert_message(fixture, &error, code, expected);
}

// While the PF has the port there can be no VF.
static void test_release(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    put(fixture, REGION "/dfl-port.4/id", "0\n");
    vf_card_close(fixture->card);
    fixture->card = vf_card_open("dfl", fixture->root, &address, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(calls->str, ==, "release 0\n");
    ioctl_result = EBUSY;
    refuse_open(fixture, VF_ERROR_SYSFS,
                PF ": /dev/dfl-fme.1: releasing the port: Device or resource busy");
}

static void test_open_refused(Fixture *fixture, gconstpointer data)
{
    g_autofree char *fme = path_of(fixture, FME);

    put(fixture, FME "/ports_num", "2\n");
    refuse_open(fixture, VF_ERROR_STATE,
                PF ": the card has 2 ports, each wired to a function of its own, and only cards "
                   "with one are driven -- write a program for it, see virtfn.conf(5), CARD "
                   "PROGRAM");
    scratch_remove(fme);
    refuse_open(fixture, VF_ERROR_NOT_FOUND,
                PF ": no DFL management engine -- load dfl-pci and dfl-fme, or name another card "
                   "in the pool");
}

static void test_states(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *word;
        VfRegionState state;
    } cases[] = {
        {"operating", VF_REGION_READY},
        {"unknown", VF_REGION_EMPTY},
        {"power off", VF_REGION_EMPTY},
        {"write init", VF_REGION_LOADING},
        {"write", VF_REGION_LOADING},
        {"write error", VF_REGION_BROKEN},
        {"write complete error", VF_REGION_BROKEN},
    };
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    g_autofree char *manager = path_of(fixture, FME "/dfl-fme-mgr.1");
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        put(fixture, STATE, cases[i].word);
        g_assert_true(vf_card_query(fixture->card, regions, &error));
        g_assert_cmpuint(regions->len, ==, 1);
        g_assert_cmpint(g_array_index(regions, VfCardRegion, 0).state, ==, cases[i].state);
        g_assert_cmpuint(g_array_index(regions, VfCardRegion, 0).accelerator, ==, 0);
        g_assert_cmpuint(g_array_index(regions, VfCardRegion, 0).vf, ==, VF_CARD_NONE);
    }
    g_assert_false(vf_card_can_save(fixture->card));
    scratch_remove(manager);
    g_assert_false(vf_card_query(fixture->card, regions, &error));
    assert_message(fixture, &error, VF_ERROR_SYSFS,
                   PF ": " FME ": no FPGA manager -- load dfl-fme-mgr");
}

static void test_load(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = path_of(fixture, "/image");
    g_autofree char *node = path_of(fixture, "/dev/dfl-fme.1");
    g_autoptr(GError) error = NULL;

    g_assert_true(vf_card_load(fixture->card, 0, image, G_MAXINT64, &error));
    g_assert_cmpstr(calls->str, ==, "load 0 bits\n");
    ioctl_result = EINVAL;
    g_assert_false(vf_card_load(fixture->card, 0, image, G_MAXINT64, &error));
    assert_message(fixture, &error, VF_ERROR_SYSFS,
                   PF ": /dev/dfl-fme.1: loading the image: Invalid argument");
    g_remove(node);
    g_assert_false(vf_card_load(fixture->card, 0, image, G_MAXINT64, &error));
    assert_message(fixture, &error, VF_ERROR_SYSFS,
                   PF ": /dev/dfl-fme.1: loading the image: No such file or directory");
    g_assert_false(vf_card_load(fixture->card, 0, "/nonexistent/image", G_MAXINT64, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
}

static void test_connect(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    g_autoptr(GError) error = NULL;

    g_assert_true(vf_card_connect(fixture->card, 0, 0, FALSE, G_MAXINT64, &error));
    g_assert_true(vf_card_query(fixture->card, regions, &error));
    g_assert_cmpuint(g_array_index(regions, VfCardRegion, 0).vf, ==, 0);
    g_assert_true(vf_card_disconnect(fixture->card, 1, G_MAXINT64, &error));
    g_assert_true(vf_card_query(fixture->card, regions, &error));
    g_assert_cmpuint(g_array_index(regions, VfCardRegion, 0).vf, ==, 0);
    g_assert_true(vf_card_disconnect(fixture->card, 0, G_MAXINT64, &error));
    g_assert_true(vf_card_query(fixture->card, regions, &error));
    g_assert_cmpuint(g_array_index(regions, VfCardRegion, 0).vf, ==, VF_CARD_NONE);
    g_assert_false(vf_card_connect(fixture->card, 0, 1, FALSE, G_MAXINT64, &error));
    assert_message(fixture, &error, VF_ERROR_STATE,
                   PF ": function 1 has no port, the card's only one is wired to function 0 -- "
                      "give the pool one function: count=1");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/card-dfl/release", Fixture, NULL, set_up, test_release, tear_down);
    g_test_add("/card-dfl/open-refused", Fixture, NULL, set_up, test_open_refused, tear_down);
    g_test_add("/card-dfl/states", Fixture, NULL, set_up, test_states, tear_down);
    g_test_add("/card-dfl/load", Fixture, NULL, set_up, test_load, tear_down);
    g_test_add("/card-dfl/connect", Fixture, NULL, set_up, test_connect, tear_down);
    return g_test_run();
}
