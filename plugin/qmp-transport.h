// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a transport of QMP provides to plugin/qmp.c, and what it finds there. For the qmp-*.c files
// only.

#pragma once

#include "qmp.h"

typedef struct {
    // Sends a whole request, and returns QEMU's answer to it: an object with "return" or "error".
    // fd -1 = none; it stays the caller's. NULL with *error: failed on the way.
    json_t *(*exchange)(VfQmp *qmp, json_t *request, int fd, gint64 deadline, GError **error);
    // As vf_qmp_wait_event().
    json_t *(*wait)(VfQmp *qmp, const char *name, VfQmpMatch match, gpointer data, gint64 deadline,
                    GError **error);
    void (*free)(VfQmp *qmp);
} VfQmpTransport;

// The beginning of each transport's own structure.
struct VfQmp {
    const VfQmpTransport *transport;
    char *guest;
    char *refused;
    guint last_id;
};

// Waits a little less than `microseconds` when the deadline comes first.
void vf_qmp_sleep(gint64 microseconds, gint64 deadline);
