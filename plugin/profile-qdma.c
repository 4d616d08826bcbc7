// SPDX-License-Identifier: GPL-2.0-or-later
//
// QDMA functions (Xilinx dma_ip_drivers): the number of queues of a VF is the attribute qdma/qmax,
// which exists while the driver qdma-vf has the function and asks the PF by mailbox. So a function
// that has no driver gets qdma-vf for as long as it takes. The stock driver gives the queues back
// when it leaves; what stays is the proof that the PF can grant them when the guest's driver asks.

#include <errno.h>

#include "error.h"
#include "io.h"
#include "profile-parts.h"
#include "sriov.h"

#define DRIVER "qdma-vf"

// TRUE when the attribute exists and has the value.
static gboolean has_value(const VfTarget *target, int qmax)
{
    g_autofree char *path = vf_target_vf_path(target, "qdma/qmax");
    guint64 value;

    return vf_io_read_uint(path, &value, NULL) && value == (guint64)qmax;
}

static gboolean write_value(const VfTarget *target, int qmax, GError **error)
{
    g_autofree char *path = vf_target_vf_path(target, "qdma/qmax");
    g_autofree char *text = g_strdup_printf("%d", qmax);
    g_autofree char *object = vf_target_text(target);
    g_autoptr(GError) cause = NULL;
    guint64 granted;

    if (!vf_io_write(path, text, &cause)) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: qmax: %s" VF_REMEDY
                    "lower qmax: all functions of the card share its queues, the PF's own included",
                    object, cause->message);
        return FALSE;
    }
    if (!vf_io_read_uint(path, &granted, error))
        return FALSE;
    if (granted == (guint64)qmax)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: qmax: %d asked, %" G_GUINT64_FORMAT " granted" VF_REMEDY
                "lower qmax or that of other functions of the card",
                object, qmax, granted);
    return FALSE;
}

gboolean vf_profile_qdma_needs_unbound(const VfTarget *target, const VfSettings *settings)
{
    return settings->qmax != VF_UNSET && !has_value(target, settings->qmax);
}

static gboolean check_driver(const VfTarget *target, GError **error)
{
    g_autofree char *path = vf_path(target->root, "/sys/bus/pci/drivers/" DRIVER);
    g_autofree char *object = vf_target_text(target);

    if (g_file_test(path, G_FILE_TEST_IS_DIR))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                "%s: qmax: the driver " DRIVER " is not loaded on the host" VF_REMEDY
                "load it, or remove qmax and let the guest's driver ask for its queues",
                object);
    return FALSE;
}

gboolean vf_profile_qdma_pre(const VfTarget *target, const VfSettings *settings, GError **error)
{
    g_autofree char *attribute = vf_target_vf_path(target, "qdma/qmax");

    if (settings->qmax == VF_UNSET || has_value(target, settings->qmax))
        return TRUE;
    if (g_file_test(attribute, G_FILE_TEST_EXISTS))
        return write_value(target, settings->qmax, error);
    if (!vf_target_check_unbound(target, "qmax", error) || !check_driver(target, error) ||
        !vf_sriov_bind(target->root, &target->vf, DRIVER, error))
        return FALSE;
    gboolean ok = write_value(target, settings->qmax, error);
    return vf_sriov_unbind(target->root, &target->vf, ok ? error : NULL) && ok;
}
