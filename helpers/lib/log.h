// SPDX-License-Identifier: GPL-2.0-or-later
//
// Log lines with the domain and the function as journal fields (VIRTFN_DOMAIN, VIRTFN_FUNCTION), so
// that `journalctl VIRTFN_DOMAIN=NAME` tells one guest's story. Only main(), the server and the
// daemon's top-level flows log; everything below returns an error.

#pragma once

#include <glib.h>

// domain and function may be NULL. level: G_LOG_LEVEL_WARNING, _MESSAGE, _INFO, _DEBUG.
G_GNUC_PRINTF(4, 5)
void vf_log(GLogLevelFlags level, const char *domain, const char *function, const char *format,
            ...);
