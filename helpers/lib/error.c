// SPDX-License-Identifier: GPL-2.0-or-later
//
// Error domain: words and HTTP statuses by code, and the wrapping of errno where a call was made.
// Prints nothing.

#include "error.h"

static const struct {
    const char *word;
    unsigned http_status;
} codes[VF_ERROR_LAST] = {
    [VF_ERROR_INPUT] = {"input", 400},
    [VF_ERROR_CONFIG] = {"config", 409},
    [VF_ERROR_NOT_FOUND] = {"not-found", 404},
    [VF_ERROR_EXHAUSTED] = {"exhausted", 409},
    [VF_ERROR_BUSY] = {"busy", 409},
    [VF_ERROR_DENIED] = {"denied", 403},
    [VF_ERROR_STATE] = {"state", 409},
    [VF_ERROR_LIBVIRT] = {"libvirt", 502},
    [VF_ERROR_QMP] = {"qmp", 502},
    [VF_ERROR_SYSFS] = {"sysfs", 500},
    [VF_ERROR_INTERNAL] = {"internal", 500},
};

G_DEFINE_QUARK(virtfn - error, vf_error)

const char *vf_error_word(VfErrorCode code)
{
    return codes[code].word;
}

unsigned vf_error_http_status(VfErrorCode code)
{
    return codes[code].http_status;
}

VfErrorCode vf_error_code(const GError *error)
{
    if (error->domain != VF_ERROR || error->code < 0 || error->code >= VF_ERROR_LAST)
        return VF_ERROR_INTERNAL;
    return (VfErrorCode)error->code;
}

void vf_error_set_errno(GError **error, VfErrorCode code, int saved_errno, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *object = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VF_ERROR, code, "%s: %s", object, g_strerror(saved_errno));
}
