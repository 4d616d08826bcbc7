// SPDX-License-Identifier: GPL-2.0-or-later
//
// Applies the settings of a function: the order, the MSI-X count, and what the parts for the kinds
// of device (profile-KIND.c) share. The order is that in which drivers want them: what changes the
// function's size first, what only its traffic sees last.

#include "profile.h"

#include "error.h"
#include "io.h"
#include "profile-parts.h"
#include "program.h"

char *vf_target_text(const VfTarget *target)
{
    char pf[VF_PCIADDR_BUFSIZE];

    return g_strdup_printf("%s VF %u", vf_pciaddr_format(&target->pf, pf), target->index);
}

static char *device_path(const char *root, const VfPciAddr *address, const char *attribute)
{
    char text[VF_PCIADDR_BUFSIZE];

    return vf_path(root, "/sys/bus/pci/devices/%s/%s", vf_pciaddr_format(address, text), attribute);
}

char *vf_target_pf_path(const VfTarget *target, const char *attribute)
{
    return device_path(target->root, &target->pf, attribute);
}

char *vf_target_vf_path(const VfTarget *target, const char *attribute)
{
    return device_path(target->root, &target->vf, attribute);
}

gboolean vf_target_check_unbound(const VfTarget *target, const char *what, GError **error)
{
    g_autofree char *path = vf_target_vf_path(target, "driver");
    g_autofree char *driver = vf_io_link_name(path, NULL);

    if (driver == NULL)
        return TRUE;
    g_autofree char *object = vf_target_text(target);
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "%s: %s cannot change while the driver %s has the function" VF_REMEDY
                "end the guest that uses it, then try again",
                object, what, driver);
    return FALSE;
}

// Size of the VF's MSI-X table, 0 when it cannot be told. Capability list: PCI 3.0 section 6.7;
// Message Control of MSI-X: PCIe section 7.7.2.2.
static guint msix_table_size(const VfTarget *target)
{
    g_autofree char *path = vf_target_vf_path(target, "config");
    g_autofree char *text = NULL;
    gsize length;

    if (!g_file_get_contents(path, &text, &length, NULL))
        return 0;
    const guint8 *config = (const guint8 *)text;
    guint at = length > 0x34 ? config[0x34] & ~3u : 0;
    // Each capability takes at least 4 of 256 bytes, so a longer walk goes in circles.
    for (int i = 0; i < 64 && at >= 0x40 && at + 4 <= length; i++, at = config[at + 1] & ~3u)
        if (config[at] == 0x11)
            return ((config[at + 2] | (guint)config[at + 3] << 8) & 0x7ff) + 1;
    return 0;
}

// 0 asks for the driver's default, which only the driver knows.
static gboolean msix_is_set(const VfTarget *target, const VfSettings *settings)
{
    return settings->msix == VF_UNSET ||
           (settings->msix > 0 && msix_table_size(target) == (guint)settings->msix);
}

static gboolean apply_msix(const VfTarget *target, const VfSettings *settings, GError **error)
{
    g_autofree char *path = vf_target_vf_path(target, "sriov_vf_msix_count");
    g_autofree char *total_path = vf_target_pf_path(target, "sriov_vf_total_msix");
    g_autofree char *object = vf_target_text(target);
    g_autofree char *text = g_strdup_printf("%d", settings->msix);
    g_autofree char *total = NULL;
    g_autoptr(GError) cause = NULL;

    if (msix_is_set(target, settings))
        return TRUE;
    total = vf_io_read(total_path, NULL);
    if (total == NULL || g_str_equal(total, "0") || !g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "%s: msix: the PF's driver cannot change the number of vectors" VF_REMEDY
                    "remove msix from the profile or the claim",
                    object);
        return FALSE;
    }
    // The kernel refuses with EBUSY; this says who is in the way.
    if (!vf_target_check_unbound(target, "msix", error))
        return FALSE;
    if (vf_io_write(path, text, &cause))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: msix: %s" VF_REMEDY "lower msix: all VFs of the PF share %s vectors", object,
                cause->message, total);
    return FALSE;
}

gboolean vf_profile_needs_unbound(const VfTarget *target, const VfSettings *settings)
{
    return !msix_is_set(target, settings) || vf_profile_nvme_needs_unbound(target, settings) ||
           vf_profile_qdma_needs_unbound(target, settings);
}

gboolean vf_profile_check_pf(const char *root, const VfPciAddr *pf, guint count,
                             const VfSettings *settings, GError **error)
{
    return vf_profile_nvme_check_pf(root, pf, count, settings, error);
}

gboolean vf_profile_prepare_pf(const char *root, const VfPciAddr *pf, guint count,
                               const VfSettings *settings, GError **error)
{
    g_autofree char *first_vf = device_path(root, pf, "virtfn0");
    char text[VF_PCIADDR_BUFSIZE];

    if (g_file_test(first_vf, G_FILE_TEST_IS_SYMLINK)) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: the PF has VFs, which its reset would take away" VF_REMEDY
                    "use `virtfn reconf`",
                    vf_pciaddr_format(pf, text));
        return FALSE;
    }
    return vf_profile_nvme_prepare_pf(root, pf, count, settings, error);
}

static gboolean check_settings(const VfTarget *target, const VfSettings *settings, GError **error)
{
    if (vf_settings_check(settings, error))
        return TRUE;
    g_autofree char *object = vf_target_text(target);
    g_prefix_error(error, "%s: ", object);
    return FALSE;
}

gboolean vf_profile_pre(const VfTarget *target, const VfSettings *settings, GError **error)
{
    return check_settings(target, settings, error) &&
           vf_program_event(target, settings, "pre", error) &&
           apply_msix(target, settings, error) && vf_profile_nvme_pre(target, settings, error) &&
           vf_profile_qdma_pre(target, settings, error) &&
           vf_profile_net_pre(target, settings, error);
}

gboolean vf_profile_post(const VfTarget *target, const VfSettings *settings, GError **error)
{
    return vf_program_event(target, settings, "post", error);
}

gboolean vf_profile_release(const VfTarget *target, const VfSettings *settings, GError **error)
{
    // Both, whatever becomes of the first; its error is the one reported.
    gboolean ok = vf_program_event(target, settings, "release", error);

    return vf_profile_net_release(target, settings, ok ? error : NULL) && ok;
}
