// SPDX-License-Identifier: GPL-2.0-or-later
//
// The emulated card of the tests (tests/host/card): commands through the registers of its PF,
// images and contexts through its window, both mapped from sysfs for one call only, so that a PF
// that was reset or bound anew between calls is as good as any. The card is believed nothing:
// commands have a deadline, and a card that is gone (reads all-ones, unplugged in the middle of a
// call or before) or was reset during a command is an error.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "card-test.h"
#include "error.h"
#include "io.h"

#define GONE 0xffffffffu
#define COMMAND_BIT_MEMORY 0x2

typedef struct {
    VfCard base;
    char *directory; // of the PF in sysfs
    gsize window_size;
} TestCard;

// A PF without a driver that enables it may have its memory turned off.
static gboolean enable_memory(const TestCard *card, GError **error)
{
    g_autofree char *path = g_strconcat(card->directory, "/config", NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    guint16 bits = 0;
    gboolean ok;

    // What a read that is too short leaves.
    errno = fd >= 0 ? EIO : errno;
    ok = fd >= 0 && pread(fd, &bits, 2, 4) == 2;
    bits = GUINT16_FROM_LE(bits);
    if (ok && (bits & COMMAND_BIT_MEMORY) == 0) {
        bits = GUINT16_TO_LE(bits | COMMAND_BIT_MEMORY);
        ok = pwrite(fd, &bits, 2, 4) == 2;
    }
    if (!ok)
        vf_error_set_errno(error, VF_ERROR_SYSFS, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

static gboolean check_identity(const TestCard *card, GError **error)
{
    g_autofree char *vendor_path = g_strconcat(card->directory, "/vendor", NULL);
    g_autofree char *device_path = g_strconcat(card->directory, "/device", NULL);
    guint64 vendor, device;

    if (!vf_io_read_uint(vendor_path, &vendor, error) ||
        !vf_io_read_uint(device_path, &device, error))
        return FALSE;
    if (vendor == CARD_VENDOR_ID && device == CARD_PF_DEVICE_ID)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "%04x:%04x is not the emulated card" VF_REMEDY "name another card in the pool",
                (guint)vendor, (guint)device);
    return FALSE;
}

// What the card says about itself, once: none of it changes.
static gboolean read_identity(TestCard *card, GError **error)
{
    g_auto(VfCardMap) registers = {.bytes = NULL};
    guint32 regions, kinds, context, window;

    if (!enable_memory(card, error) || !vf_card_map_registers(card->directory, &registers, error))
        return FALSE;
    regions = vf_card_get(&registers, CARD_PF_REGIONS);
    kinds = vf_card_get(&registers, CARD_PF_KINDS);
    context = vf_card_get(&registers, CARD_PF_CONTEXT_SIZE);
    window = vf_card_get(&registers, CARD_PF_WINDOW_SIZE);
    if (regions == 0 || regions > CARD_MAX_REGIONS || kinds == 0 || kinds > VF_CARD_KINDS_MAX ||
        context != CARD_CONTEXT_BYTES || window < context || window == GONE) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "the card says it has %u regions of %u kinds, contexts of %u bytes and a "
                    "window of %u, which cannot be",
                    regions, kinds, context, window);
        return FALSE;
    }
    card->base.regions = regions;
    card->base.can_save = TRUE;
    card->window_size = window;
    return TRUE;
}

static void test_close(VfCard *base)
{
    TestCard *card = (TestCard *)base;

    g_free(card->directory);
    g_free(card);
}

static VfCard *test_open(const char *argument, const char *root, const VfPciAddr *pf,
                         GError **error)
{
    TestCard *card = g_new0(TestCard, 1);
    char address[VF_PCIADDR_BUFSIZE];

    card->directory = vf_path(root, "/sys/bus/pci/devices/%s", vf_pciaddr_format(pf, address));
    if (check_identity(card, error) && read_identity(card, error))
        return &card->base;
    test_close(&card->base);
    return NULL;
}

// A row as the card has it. FALSE when it makes no sense.
static gboolean read_row(const VfCardMap *registers, guint number, VfCardRegion *region)
{
    static const VfRegionState states[] = {
        [CARD_REGION_EMPTY] = VF_REGION_EMPTY,
        [CARD_REGION_LOADING] = VF_REGION_LOADING,
        [CARD_REGION_READY] = VF_REGION_READY,
        [CARD_REGION_BROKEN] = VF_REGION_BROKEN,
    };
    guint row = CARD_PF_REGION_ROW(number);
    guint32 state = vf_card_get(registers, row + CARD_REGION_STATE);
    guint32 vf = vf_card_get(registers, row + CARD_REGION_VF);

    *region = (VfCardRegion){
        .kind = vf_card_get(registers, row + CARD_REGION_KIND),
        .accelerator = vf_card_get(registers, row + CARD_REGION_ACCELERATOR),
        .vf = vf == CARD_NONE ? VF_CARD_NONE : vf,
        .running = vf_card_get(registers, row + CARD_REGION_RUNNING) == 1,
    };
    if (state >= G_N_ELEMENTS(states) || region->kind >= VF_CARD_KINDS_MAX ||
        (vf >= CARD_MAX_VFS && vf != CARD_NONE) || region->accelerator == GONE)
        return FALSE;
    region->state = states[state];
    return TRUE;
}

static gboolean test_query(VfCard *base, GArray *regions, GError **error)
{
    g_auto(VfCardMap) registers = {.bytes = NULL};
    guint32 count;

    if (!vf_card_map_registers(((TestCard *)base)->directory, &registers, error))
        return FALSE;
    count = vf_card_get(&registers, CARD_PF_REGIONS);
    for (guint i = 0; i < MIN(count, base->regions + 1); i++) {
        VfCardRegion region;

        if (i < base->regions && !read_row(&registers, i, &region)) {
            if (vf_card_get(&registers, CARD_PF_MAGIC) == GONE)
                return vf_card_gone(error);
            g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "region %u: its row makes no sense", i);
            return FALSE;
        }
        g_array_append_val(regions, region);
    }
    return !registers.lost || vf_card_gone(error);
}

// The image goes into the window as a whole.
static gboolean read_image(const TestCard *card, const char *path, const VfCardMap *window,
                           guint32 *length, GError **error)
{
    gsize room = MIN(window->size, CARD_MAX_IMAGE);
    g_autofree guint8 *bytes = g_malloc(room + 1);
    gsize done = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && done <= room && (got = read(fd, bytes + done, room + 1 - done)) > 0)
        done += (gsize)got;
    if (fd < 0 || got < 0) {
        vf_error_set_errno(error, VF_ERROR_SYSFS, errno, "%s", path);
    } else if (done > room) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: larger than the %" G_GSIZE_FORMAT " bytes that the card takes", path,
                    room);
        got = -1;
    }
    if (fd >= 0)
        close(fd);
    if (fd < 0 || got < 0)
        return FALSE;
    memcpy((void *)window->bytes, bytes, done);
    *length = (guint32)done;
    return !window->lost || vf_card_gone(error);
}

static gboolean test_load(VfCard *base, guint region, const char *path, gint64 deadline,
                          GError **error)
{
    const TestCard *card = (TestCard *)base;
    g_auto(VfCardMap) registers = {.bytes = NULL};
    g_auto(VfCardMap) window = {.bytes = NULL};
    g_autofree char *what = g_strdup_printf("load into region %u", region);
    VfCardCommand command = {.what = what,
                             .command = CARD_COMMAND_LOAD,
                             .region = region,
                             .flags = CARD_FLAG_WINDOW,
                             .deadline = deadline};
    guint32 status;

    // Not while an earlier command may read the window.
    return vf_card_map_registers(card->directory, &registers, error) &&
           vf_card_map_bar(card->directory, CARD_BAR_WINDOW, card->window_size, &window, error) &&
           vf_card_wait_idle(&registers, what, deadline, &status, error) &&
           read_image(card, path, &window, &command.length, error) &&
           vf_card_run_when_done(&registers, &command, error);
}

static gboolean test_connect(VfCard *base, guint region, guint vf, gboolean keep, gint64 deadline,
                             GError **error)
{
    g_auto(VfCardMap) registers = {.bytes = NULL};
    g_autofree char *what = g_strdup_printf("connect function %u with region %u", vf, region);
    VfCardCommand command = {.what = what,
                             .command = CARD_COMMAND_CONNECT,
                             .region = region,
                             .vf = vf,
                             .flags = keep ? CARD_FLAG_KEEP : 0,
                             .deadline = deadline};

    return vf_card_map_registers(((TestCard *)base)->directory, &registers, error) &&
           vf_card_run(&registers, &command, error);
}

// A function that is not enabled is connected to nothing either: the card sees to that.
static gboolean test_disconnect(VfCard *base, guint vf, gint64 deadline, GError **error)
{
    g_auto(VfCardMap) registers = {.bytes = NULL};
    g_autofree char *what = g_strdup_printf("disconnect function %u", vf);
    VfCardCommand command = {
        .what = what, .command = CARD_COMMAND_DISCONNECT, .vf = vf, .deadline = deadline};
    guint32 status;

    return vf_card_map_registers(((TestCard *)base)->directory, &registers, error) &&
           vf_card_issue(&registers, &command, &status, error) &&
           (status == CARD_IDLE || status == CARD_ERROR_DISCONNECTED || status == CARD_ERROR_VF ||
            vf_card_failed(&command, status, error));
}

static gboolean test_save(VfCard *base, guint region, GBytes **context, gint64 deadline,
                          GError **error)
{
    const TestCard *card = (TestCard *)base;
    g_auto(VfCardMap) registers = {.bytes = NULL};
    g_auto(VfCardMap) window = {.bytes = NULL};
    g_autofree char *what = g_strdup_printf("save region %u", region);
    VfCardCommand command = {.what = what,
                             .command = CARD_COMMAND_SAVE,
                             .region = region,
                             .length = CARD_CONTEXT_BYTES,
                             .flags = CARD_FLAG_WINDOW,
                             .deadline = deadline};

    if (!vf_card_map_registers(card->directory, &registers, error) ||
        !vf_card_map_bar(card->directory, CARD_BAR_WINDOW, card->window_size, &window, error) ||
        !vf_card_run_when_done(&registers, &command, error))
        return FALSE;
    *context = g_bytes_new((const void *)window.bytes, CARD_CONTEXT_BYTES);
    // Keys of a guest stay no longer where the next one might look for them.
    memset((void *)window.bytes, 0, CARD_CONTEXT_BYTES);
    if (!window.lost)
        return TRUE;
    g_clear_pointer(context, g_bytes_unref);
    return vf_card_gone(error);
}

static gboolean test_restore(VfCard *base, guint region, GBytes *context, gint64 deadline,
                             GError **error)
{
    const TestCard *card = (TestCard *)base;
    g_auto(VfCardMap) registers = {.bytes = NULL};
    g_auto(VfCardMap) window = {.bytes = NULL};
    g_autofree char *what = g_strdup_printf("restore region %u", region);
    VfCardCommand command = {.what = what,
                             .command = CARD_COMMAND_RESTORE,
                             .region = region,
                             .length = (guint32)MIN(g_bytes_get_size(context), G_MAXUINT32),
                             .flags = CARD_FLAG_WINDOW,
                             .deadline = deadline};
    gboolean ok;
    guint32 status;

    if (!vf_card_map_registers(card->directory, &registers, error) ||
        !vf_card_map_bar(card->directory, CARD_BAR_WINDOW, card->window_size, &window, error) ||
        !vf_card_wait_idle(&registers, what, deadline, &status, error))
        return FALSE;
    if (command.length == 0 || command.length > window.size)
        return vf_card_failed(&command, CARD_ERROR_LENGTH, error);
    memcpy((void *)window.bytes, g_bytes_get_data(context, NULL), command.length);
    ok =
        (!window.lost || vf_card_gone(error)) && vf_card_run_when_done(&registers, &command, error);
    memset((void *)window.bytes, 0, command.length);
    return ok;
}

const VfCardDriver vf_card_test = {
    .name = "virtfn-card",
    .open = test_open,
    .close = test_close,
    .query = test_query,
    .load = test_load,
    .connect = test_connect,
    .disconnect = test_disconnect,
    .save = test_save,
    .restore = test_restore,
};
