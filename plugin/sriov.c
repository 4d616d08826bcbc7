// SPDX-License-Identifier: GPL-2.0-or-later
//
// What functions there are, whose they are, and which driver has them: small reads and writes in
// sysfs, nothing cached. A PF's own driver is never changed, and a function leaves a vfio driver
// only while its VFIO group is held here, because the kernel waits for whoever has it open (Linux
// drivers/vfio/vfio_main.c, vfio_unregister_group_dev). Making VFs is numvfs.c, holding them
// fence.c.

#include "sriov.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "io.h"

#define DEVICES "/sys/bus/pci/devices/"
#define DRIVERS "/sys/bus/pci/drivers/"

static char *attribute(const char *root, const VfPciAddr *addr, const char *name)
{
    char buf[VF_PCIADDR_BUFSIZE];

    return vf_path(root, DEVICES "%s/%s", vf_pciaddr_format(addr, buf), name);
}

static gboolean has_attribute(const char *root, const VfPciAddr *addr, const char *name)
{
    g_autofree char *path = attribute(root, addr, name);

    return access(path, F_OK) == 0;
}

gboolean vf_sriov_read_count(const char *root, const VfPciAddr *pf, guint *count, GError **error)
{
    g_autofree char *path = attribute(root, pf, "");
    g_autoptr(GError) cause = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &cause);
    const char *name;

    *count = 0;
    if (dir == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "its VFs cannot be counted: %s",
                    cause->message);
        return FALSE;
    }
    while ((name = g_dir_read_name(dir)) != NULL)
        *count += g_str_has_prefix(name, "virtfn") && g_ascii_isdigit(name[6]);
    return TRUE;
}

guint vf_sriov_count(const char *root, const VfPciAddr *pf)
{
    guint count;

    vf_sriov_read_count(root, pf, &count, NULL);
    return count;
}

gboolean vf_sriov_address(const char *root, const VfPciAddr *pf, guint index, VfPciAddr *vf)
{
    g_autofree char *link = g_strdup_printf("virtfn%u", index);
    g_autofree char *path = attribute(root, pf, link);
    g_autofree char *name = vf_io_link_name(path, NULL);

    return name != NULL && vf_pciaddr_parse(name, vf);
}

static gboolean is_vf_at(const char *root, const VfPciAddr *pf, guint index, const VfPciAddr *vf)
{
    VfPciAddr found;

    return vf_sriov_address(root, pf, index, &found) && vf_pciaddr_equal(&found, vf);
}

// The index that First VF Offset and VF Stride give, which spares reading a link for each VF.
static guint guess_index(const char *root, const VfPciAddr *pf, const VfPciAddr *vf)
{
    g_autofree char *offset_path = attribute(root, pf, "sriov_offset");
    g_autofree char *stride_path = attribute(root, pf, "sriov_stride");
    guint64 offset, stride;

    if (!vf_io_read_uint(offset_path, &offset, NULL) ||
        !vf_io_read_uint(stride_path, &stride, NULL) || stride == 0)
        return 0;
    guint64 first = (guint64)(pf->bus << 8 | pf->device << 3 | pf->function) + offset;
    guint64 rid = (guint64)(vf->bus << 8 | vf->device << 3 | vf->function);
    return rid < first ? 0 : (guint)((rid - first) / stride);
}

gboolean vf_sriov_physfn(const char *root, const VfPciAddr *vf, VfPciAddr *pf, guint *index)
{
    g_autofree char *path = attribute(root, vf, "physfn");
    g_autofree char *name = vf_io_link_name(path, NULL);

    if (name == NULL || !vf_pciaddr_parse(name, pf))
        return FALSE;
    *index = guess_index(root, pf, vf);
    if (is_vf_at(root, pf, *index, vf))
        return TRUE;
    guint count = vf_sriov_count(root, pf);
    for (*index = 0; *index < count; ++*index)
        if (is_vf_at(root, pf, *index, vf))
            return TRUE;
    return FALSE;
}

char *vf_sriov_driver(const char *root, const VfPciAddr *addr)
{
    g_autofree char *path = attribute(root, addr, "driver");

    return vf_io_link_name(path, NULL);
}

gboolean vf_sriov_is_vfio(const char *driver)
{
    return driver != NULL && strstr(driver, "vfio") != NULL;
}

gboolean vf_sriov_group(const char *root, const VfPciAddr *vf, guint *group, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *path = attribute(root, vf, "iommu_group");
    g_autofree char *name = vf_io_link_name(path, NULL);
    guint64 number;

    if (name != NULL && g_ascii_string_to_unsigned(name, 10, 0, G_MAXUINT, &number, NULL)) {
        *group = (guint)number;
        return TRUE;
    }
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: has no IOMMU group" VF_REMEDY
                "switch on VT-d or AMD-Vi in the firmware; on Intel "
                "also boot with intel_iommu=on",
                vf_pciaddr_format(vf, buf));
    return FALSE;
}

// A function whose driver may be changed: it exists and is not a PF.
static gboolean check_bindable(const char *root, const VfPciAddr *addr, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(addr, buf);
    if (!has_attribute(root, addr, "")) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND, "%s: no such PCI function", buf);
        return FALSE;
    }
    if (has_attribute(root, addr, "sriov_totalvfs")) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: is a physical function, whose driver virtfn never changes" VF_REMEDY
                    "name one of its virtual functions",
                    buf);
        return FALSE;
    }
    return TRUE;
}

// Unbinds from `driver`.
static gboolean leave_driver(const char *root, const VfPciAddr *addr, const char *driver,
                             GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *path = vf_path(root, DRIVERS "%s/unbind", driver);
    g_autoptr(VfFence) fence = NULL;

    if (vf_sriov_is_vfio(driver)) {
        fence = vf_fence_acquire_vf(root, addr, error);
        if (fence == NULL)
            return FALSE;
    }
    return vf_io_write(path, vf_pciaddr_format(addr, buf), error);
}

static gboolean check_driver_loaded(const char *root, const char *driver, const char *address,
                                    GError **error)
{
    g_autofree char *path = vf_path(root, DRIVERS "%s", driver);

    if (access(path, F_OK) == 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: driver %s is not loaded" VF_REMEDY
                "run 'modprobe %s' and name it in /etc/modules-load.d/ for the next boot",
                address, driver, driver);
    return FALSE;
}

// drivers_probe succeeds even when the driver refused the function.
static gboolean check_bound(const char *root, const VfPciAddr *addr, const char *driver,
                            GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *got = vf_sriov_driver(root, addr);
    guint group;

    if (g_strcmp0(got, driver) == 0)
        return TRUE;
    if (got == NULL && vf_sriov_is_vfio(driver) && !vf_sriov_group(root, addr, &group, error))
        return FALSE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: the kernel did not bind it to %s, its driver is %s" VF_REMEDY
                "the kernel's log (dmesg) has the reason",
                vf_pciaddr_format(addr, buf), driver, got != NULL ? got : "none");
    return FALSE;
}

gboolean vf_sriov_bind(const char *root, const VfPciAddr *addr, const char *driver, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *override = attribute(root, addr, "driver_override");
    g_autofree char *probe = vf_path(root, "/sys/bus/pci/drivers_probe");
    g_autofree char *current = vf_sriov_driver(root, addr);

    vf_pciaddr_format(addr, buf);
    if (!check_bindable(root, addr, error) || !check_driver_loaded(root, driver, buf, error) ||
        !vf_io_write(override, driver, error))
        return FALSE;
    if (g_strcmp0(current, driver) == 0)
        return TRUE;
    if (current != NULL && !leave_driver(root, addr, current, error))
        return FALSE;
    // Of several VFIO devices closed at once only one is reset (vfio_pci_core.c, trylock of the
    // bridge).
    if (!vf_sriov_is_vfio(driver) && !vf_sriov_reset(root, addr, error))
        return FALSE;
    return vf_io_write(probe, buf, error) && check_bound(root, addr, driver, error);
}

gboolean vf_sriov_unbind(const char *root, const VfPciAddr *addr, GError **error)
{
    g_autofree char *override = attribute(root, addr, "driver_override");
    g_autofree char *current = vf_sriov_driver(root, addr);

    if (!check_bindable(root, addr, error))
        return FALSE;
    if (current != NULL && !leave_driver(root, addr, current, error))
        return FALSE;
    return vf_io_write(override, "\n", error);
}

gboolean vf_sriov_reset(const char *root, const VfPciAddr *vf, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *path = attribute(root, vf, "reset");

    if (has_attribute(root, vf, "reset"))
        return vf_io_write(path, "1", error);
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: there is no such function, or it has no way to be reset" VF_REMEDY
                "see its reset_method attribute",
                vf_pciaddr_format(vf, buf));
    return FALSE;
}

char *vf_sriov_reset_methods(const char *root, const VfPciAddr *vf)
{
    g_autofree char *path = attribute(root, vf, "reset_method");

    return vf_io_read(path, NULL);
}

gboolean vf_sriov_set_reset_methods(const char *root, const VfPciAddr *vf, const char *methods,
                                    GError **error)
{
    g_autofree char *path = attribute(root, vf, "reset_method");

    // A write of nothing would not reach the kernel.
    return vf_io_write(path, *methods != '\0' ? methods : "\n", error);
}
