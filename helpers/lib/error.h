// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one error domain of virtfn. A code says what the caller does next, not where the failure
// happened. A message is one line: "OBJECT: CAUSE", and, where the user can do something about
// it, VF_REMEDY and the remedy. Functions return an error or report it, never both.

#pragma once

#include <glib.h>

typedef enum {
    VF_ERROR_INPUT,     // what the caller sent cannot be understood; sending it again is no use
    VF_ERROR_CONFIG,    // a file under /etc/virtfn has to be mended
    VF_ERROR_NOT_FOUND, // no such pool, function, domain or lease
    VF_ERROR_EXHAUSTED, // the pool has no free function; try again after a release
    VF_ERROR_BUSY,      // somebody else holds the object now
    VF_ERROR_DENIED,    // the peer may not do this
    VF_ERROR_STATE,     // the object is not in a state that allows this
    VF_ERROR_LIBVIRT,   // libvirt refused or is away
    VF_ERROR_QMP,       // a guest's QEMU refused or is away
    VF_ERROR_SYSFS,     // the kernel refused: sysfs, netlink, vfio, ioctl
    VF_ERROR_INTERNAL,  // the ledger or the daemon itself failed
    VF_ERROR_LAST,
} VfErrorCode;

#define VF_ERROR (vf_error_quark())
GQuark vf_error_quark(void);

// Parts cause and remedy in a message.
#define VF_REMEDY " -- "

// Lower-case word for a code ("busy"): the tail of a problem document's "type".
const char *vf_error_word(VfErrorCode code);

// HTTP status that a problem document with this code carries.
unsigned vf_error_http_status(VfErrorCode code);

// The code of any GError; errors of other domains count as VF_ERROR_INTERNAL.
VfErrorCode vf_error_code(const GError *error);

// Sets *error to "FORMATTED: strerror(saved_errno)". FORMATTED names the object.
G_GNUC_PRINTF(4, 5)
void vf_error_set_errno(GError **error, VfErrorCode code, int saved_errno, const char *format, ...);
