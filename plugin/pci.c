// SPDX-License-Identifier: GPL-2.0-or-later
//
// PFs and their SR-IOV capability. libpciaccess lists the host's devices once, at its
// initialisation, and is not thread-safe: so one lock is around every use, listing starts it anew,
// and a device that is not in its list is looked for once more with a new list. What the
// configuration space says is checked: a chain of capabilities may loop or lead outside.

#include "pci.h"

#include <errno.h>
#include <pciaccess.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "io.h"
#include "sriov.h"

#define CONFIG_SIZE 4096
#define EXTENDED_START 0x100
#define SRIOV_ID 0x0010
#define SRIOV_LENGTH 0x40
// A capability is at least two dwords long, so a chain that is longer than this loops.
#define CHAIN_MAX ((CONFIG_SIZE - EXTENDED_START) / 8)

static GMutex lock;
static gboolean initialised; // under lock

static guint16 get16(const guint8 *config, gsize at)
{
    return (guint16)(config[at] | config[at + 1] << 8);
}

gboolean vf_pci_parse_sriov(const guint8 *config, gsize length, VfSriovCap *cap)
{
    gsize at = EXTENDED_START;

    for (int steps = 0; steps < CHAIN_MAX && at >= EXTENDED_START && at + 4 <= length; steps++) {
        guint16 id = get16(config, at), next = get16(config, at + 2) >> 4;

        if (id == SRIOV_ID) {
            if (at + SRIOV_LENGTH > length)
                return FALSE;
            *cap = (VfSriovCap){
                .total_vfs = get16(config, at + 0x0e),
                .num_vfs = get16(config, at + 0x10),
                .offset = get16(config, at + 0x14),
                .stride = get16(config, at + 0x16),
                .vf_device = get16(config, at + 0x1a),
                .ari = (get16(config, at + 0x08) & 1 << 4) != 0,
            };
            return TRUE;
        }
        at = next & ~3u;
    }
    return FALSE;
}

static void shut_down(void)
{
    if (initialised)
        pci_system_cleanup();
    initialised = FALSE;
}

// A new list of the host's devices.
static gboolean start_anew(GError **error)
{
    shut_down();
    int number = pci_system_init();
    if (number == 0) {
        initialised = TRUE;
        return TRUE;
    }
    vf_error_set_errno(error, VF_ERROR_SYSFS, number, "listing the PCI devices in /sys/bus/pci");
    return FALSE;
}

void vf_pci_cleanup(void)
{
    g_mutex_lock(&lock);
    shut_down();
    g_mutex_unlock(&lock);
}

static VfPciAddr address_of(const struct pci_device *device)
{
    return (VfPciAddr){device->domain, device->bus, device->dev, device->func};
}

// FALSE when the device has no SR-IOV capability in as much as can be read.
static gboolean read_device(struct pci_device *device, VfPf *pf, gsize *length)
{
    guint8 config[CONFIG_SIZE];
    pciaddr_t got = 0;

    // A short read (ENXIO, EIO) has still put `got` bytes there.
    (void)pci_device_cfg_read(device, config, 0, sizeof(config), &got);
    *length = (gsize)got;
    *pf = (VfPf){
        .address = address_of(device),
        .vendor = device->vendor_id,
        .device = device->device_id,
        .class_code = device->device_class & 0xffffff,
    };
    return vf_pci_parse_sriov(config, *length, &pf->cap);
}

static struct pci_device *find_device(const VfPciAddr *address)
{
    if (!initialised)
        return NULL;
    return pci_device_find_by_slot(address->domain, address->bus, address->device,
                                   address->function);
}

static void set_no_capability(GError **error, const VfPciAddr *address, gsize length)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *total =
        vf_path("", "/sys/bus/pci/devices/%s/sriov_totalvfs", vf_pciaddr_format(address, buf));

    if (length < CONFIG_SIZE && access(total, F_OK) == 0)
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: only %zu bytes of its configuration space can be read" VF_REMEDY
                    "run as root",
                    buf, length);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "%s: has no SR-IOV capability" VF_REMEDY
                    "switch on SR-IOV in the firmware of host and card, or name another device",
                    buf);
}

static gboolean read_host_pf(const VfPciAddr *address, VfPf *pf, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    struct pci_device *device = find_device(address);
    gsize length;

    if (device == NULL) {
        if (!start_anew(error))
            return FALSE;
        device = find_device(address);
    }
    if (device == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND, "%s: no such PCI function",
                    vf_pciaddr_format(address, buf));
        return FALSE;
    }
    if (read_device(device, pf, &length))
        return TRUE;
    set_no_capability(error, address, length);
    return FALSE;
}

static gboolean list_host_pfs(GArray *pfs, GError **error)
{
    struct pci_device_iterator *devices;
    struct pci_device *device;
    gsize length;
    VfPf pf;

    if (!start_anew(error))
        return FALSE;
    devices = pci_slot_match_iterator_create(NULL);
    while ((device = pci_device_next(devices)) != NULL)
        if (read_device(device, &pf, &length))
            g_array_append_val(pfs, pf);
    pci_iterator_destroy(devices);
    return TRUE;
}

static gboolean read_attribute(const char *root, const char *address, const char *name,
                               guint64 *value, GError **error)
{
    g_autofree char *path = vf_path(root, "/sys/bus/pci/devices/%s/%s", address, name);

    return vf_io_read_uint(path, value, error);
}

// sriov_vf_device is hexadecimal without a prefix (Linux drivers/pci/iov.c).
static gboolean read_vf_device(const char *root, const char *address, guint64 *value,
                               GError **error)
{
    g_autofree char *path = vf_path(root, "/sys/bus/pci/devices/%s/sriov_vf_device", address);
    g_autofree char *text = vf_io_read(path, error);

    if (text == NULL)
        return FALSE;
    if (g_ascii_string_to_unsigned(text, 16, 0, G_MAXUINT16, value, NULL))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: '%.40s' is not a device id", path, text);
    return FALSE;
}

// The same facts from attributes, for roots that are not this host's.
static gboolean read_sysfs_pf(const char *root, const VfPciAddr *address, VfPf *pf, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    guint64 vendor, device, class_code, total, offset, stride, vf_device;

    vf_pciaddr_format(address, buf);
    g_autofree char *marker = vf_path(root, "/sys/bus/pci/devices/%s/sriov_totalvfs", buf);
    if (access(marker, F_OK) < 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "%s: no such device, or it has no SR-IOV capability", buf);
        return FALSE;
    }
    if (!read_attribute(root, buf, "vendor", &vendor, error) ||
        !read_attribute(root, buf, "device", &device, error) ||
        !read_attribute(root, buf, "class", &class_code, error) ||
        !read_attribute(root, buf, "sriov_totalvfs", &total, error) ||
        !read_attribute(root, buf, "sriov_offset", &offset, error) ||
        !read_attribute(root, buf, "sriov_stride", &stride, error) ||
        !read_vf_device(root, buf, &vf_device, error))
        return FALSE;
    *pf = (VfPf){
        .address = *address,
        .vendor = (guint16)vendor,
        .device = (guint16)device,
        .class_code = (guint32)class_code & 0xffffff,
        .cap = {.total_vfs = (guint16)total,
                .num_vfs = (guint16)vf_sriov_count(root, address),
                .offset = (guint16)offset,
                .stride = (guint16)stride,
                .vf_device = (guint16)vf_device},
    };
    return TRUE;
}

static gboolean list_sysfs_pfs(const char *root, GArray *pfs, GError **error)
{
    g_autofree char *path = vf_path(root, "/sys/bus/pci/devices");
    g_autoptr(GError) cause = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &cause);
    const char *name;
    VfPciAddr address;
    VfPf pf;

    if (dir == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s", cause->message);
        return FALSE;
    }
    while ((name = g_dir_read_name(dir)) != NULL) {
        if (!vf_pciaddr_parse(name, &address))
            continue;
        if (read_sysfs_pf(root, &address, &pf, &cause))
            g_array_append_val(pfs, pf);
        else if (!g_error_matches(cause, VF_ERROR, VF_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&cause));
            return FALSE;
        }
        g_clear_error(&cause);
    }
    return TRUE;
}

static int compare(gconstpointer a, gconstpointer b)
{
    const VfPciAddr *left = &((const VfPf *)a)->address, *right = &((const VfPf *)b)->address;

    if (left->domain != right->domain)
        return left->domain < right->domain ? -1 : 1;
    return (left->bus << 8 | left->device << 3 | left->function) -
           (right->bus << 8 | right->device << 3 | right->function);
}

GArray *vf_pci_list_pfs(const char *root, GError **error)
{
    g_autoptr(GArray) pfs = g_array_new(FALSE, FALSE, sizeof(VfPf));
    gboolean done;

    if (*root != '\0') {
        done = list_sysfs_pfs(root, pfs, error);
    } else {
        g_mutex_lock(&lock);
        done = list_host_pfs(pfs, error);
        g_mutex_unlock(&lock);
    }
    g_array_sort(pfs, compare);
    return done ? g_steal_pointer(&pfs) : NULL;
}

gboolean vf_pci_read_pf(const char *root, const VfPciAddr *address, VfPf *pf, GError **error)
{
    if (*root != '\0')
        return read_sysfs_pf(root, address, pf, error);
    g_mutex_lock(&lock);
    gboolean done = read_host_pf(address, pf, error);
    g_mutex_unlock(&lock);
    return done;
}
