// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cards with Intel's Device Feature List, through Linux's dfl drivers: what there is from sysfs,
// loading and releasing by ioctls of the management engine (include/uapi/linux/fpga-dfl.h,
// Documentation/fpga/dfl.rst). A card's port, with its one region, is wired to a function by the
// hardware, so only cards with a single port are taken: virtfn connects any function with any
// region. What the kernel does not know is not guessed: neither which accelerator a region holds,
// nor whether it works; and nothing can be saved. Who is connected is remembered here, as the card
// has nothing to connect. An accelerator starts over by the reset of the function that ends a
// pause.

#include <errno.h>
#include <fcntl.h>
#include <linux/fpga-dfl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "card-driver.h"
#include "error.h"
#include "io.h"

#define PORT 0

typedef struct {
    VfCard base;
    char *directory; // of the PF in sysfs
    char *fme;       // of its management engine
    char *node;      // device of that
    guint connected; // function, VF_CARD_NONE = none
} DflCard;

// The only entry of a directory that begins like that, as a path. Caller frees; NULL when there is
// none.
static char *child(const char *directory, const char *prefix)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (g_str_has_prefix(name, prefix))
            return g_build_filename(directory, name, NULL);
    return NULL;
}

// DIRECTORY/CLASS/NAMEn: where the kernel puts a device of a class.
static char *class_child(const char *directory, const char *class, const char *prefix)
{
    g_autofree char *path = g_build_filename(directory, class, NULL);

    return child(path, prefix);
}

static gboolean find_engine(DflCard *card, const char *root, GError **error)
{
    g_autofree char *region = class_child(card->directory, "fpga_region", "region");

    card->fme = region != NULL ? child(region, "dfl-fme.") : NULL;
    if (card->fme == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "no DFL management engine" VF_REMEDY
                    "load dfl-pci and dfl-fme, or name another card in the pool");
        return FALSE;
    }
    g_autofree char *name = g_path_get_basename(card->fme);
    card->node = vf_path(root, "/dev/%s", name);
    return TRUE;
}

static gboolean check_ports(const DflCard *card, GError **error)
{
    g_autofree char *path = g_build_filename(card->fme, "ports_num", NULL);
    guint64 ports;

    if (!vf_io_read_uint(path, &ports, error))
        return FALSE;
    if (ports == 1)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "the card has %" G_GUINT64_FORMAT " ports, each wired to a function of its own, "
                "and only cards with one are driven" VF_REMEDY "write a program for it, see "
                "virtfn.conf(5), CARD PROGRAM",
                ports);
    return FALSE;
}

// `argument` is what the ioctl takes.
static gboolean ask_engine(const DflCard *card, const char *what, unsigned long request,
                           void *argument, GError **error)
{
    int fd = open(card->node, O_RDWR | O_CLOEXEC);
    int result = fd >= 0 ? ioctl(fd, request, argument) : -1;
    int saved_errno = errno;

    if (fd >= 0)
        close(fd);
    if (result >= 0)
        return TRUE;
    vf_error_set_errno(error, VF_ERROR_SYSFS, saved_errno, "%s: %s", card->node, what);
    return FALSE;
}

// The PF has its port as long as there is a device for it; VFs cannot be made before it is
// released.
static gboolean release_port(const DflCard *card, GError **error)
{
    g_autofree char *region = g_path_get_dirname(card->fme);
    g_autofree char *port = child(region, "dfl-port.");
    int number = PORT;

    return port == NULL ||
           ask_engine(card, "releasing the port", DFL_FPGA_FME_PORT_RELEASE, &number, error);
}

static void dfl_close(VfCard *base)
{
    DflCard *card = (DflCard *)base;

    g_free(card->directory);
    g_free(card->fme);
    g_free(card->node);
    g_free(card);
}

static VfCard *dfl_open(const char *argument, const char *root, const VfPciAddr *pf, GError **error)
{
    DflCard *card = g_new0(DflCard, 1);
    char address[VF_PCIADDR_BUFSIZE];

    card->directory = vf_path(root, "/sys/bus/pci/devices/%s", vf_pciaddr_format(pf, address));
    card->base.regions = 1;
    card->connected = VF_CARD_NONE;
    if (find_engine(card, root, error) && check_ports(card, error) && release_port(card, error))
        return &card->base;
    dfl_close(&card->base);
    return NULL;
}

// Words of the FPGA manager (Documentation/ABI/testing/sysfs-class-fpga-manager).
static VfRegionState state_of(const char *word)
{
    if (strcmp(word, "operating") == 0)
        return VF_REGION_READY;
    if (g_str_has_suffix(word, "error"))
        return VF_REGION_BROKEN;
    return g_str_has_prefix(word, "write") ? VF_REGION_LOADING : VF_REGION_EMPTY;
}

static gboolean dfl_query(VfCard *base, GArray *regions, GError **error)
{
    const DflCard *card = (DflCard *)base;
    g_autofree char *device = child(card->fme, "dfl-fme-mgr.");
    g_autofree char *manager = device != NULL ? class_child(device, "fpga_manager", "fpga") : NULL;
    VfCardRegion region = {.vf = card->connected};

    if (manager == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: no FPGA manager" VF_REMEDY "load dfl-fme-mgr", card->fme);
        return FALSE;
    }
    g_autofree char *path = g_build_filename(manager, "state", NULL);
    g_autofree char *word = vf_io_read(path, error);
    if (word == NULL)
        return FALSE;
    region.state = state_of(word);
    g_array_append_val(regions, region);
    return TRUE;
}

// The kernel copies the image, so mapping it is enough. It takes no deadline: a load ends by
// itself.
static gboolean dfl_load(VfCard *base, guint region, const char *path, gint64 deadline,
                         GError **error)
{
    const DflCard *card = (DflCard *)base;
    g_autoptr(GError) cause = NULL;
    g_autoptr(GMappedFile) file = g_mapped_file_new(path, FALSE, &cause);
    struct dfl_fpga_fme_port_pr order = {.argsz = sizeof(order), .port_id = PORT};

    if (file == NULL || g_mapped_file_get_length(file) > G_MAXUINT32) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: %s", path,
                    cause != NULL ? cause->message : "too large for the kernel");
        return FALSE;
    }
    order.buffer_size = (__u32)g_mapped_file_get_length(file);
    order.buffer_address = (__u64)(guintptr)g_mapped_file_get_contents(file);
    return ask_engine(card, "loading the image", DFL_FPGA_FME_PORT_PR, &order, error);
}

static gboolean dfl_connect(VfCard *base, guint region, guint vf, gboolean keep, gint64 deadline,
                            GError **error)
{
    DflCard *card = (DflCard *)base;

    if (vf == PORT) {
        card->connected = vf;
        return TRUE;
    }
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "function %u has no port, the card's only one is wired to function %d" VF_REMEDY
                "give the pool one function: count=1",
                vf, PORT);
    return FALSE;
}

static gboolean dfl_disconnect(VfCard *base, guint vf, gint64 deadline, GError **error)
{
    DflCard *card = (DflCard *)base;

    if (card->connected == vf)
        card->connected = VF_CARD_NONE;
    return TRUE;
}

const VfCardDriver vf_card_dfl = {
    .name = "dfl",
    .open = dfl_open,
    .close = dfl_close,
    .query = dfl_query,
    .load = dfl_load,
    .connect = dfl_connect,
    .disconnect = dfl_disconnect,
};
