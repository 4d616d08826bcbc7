// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lines over a connected Unix socket, each call bounded by a deadline (g_get_monotonic_time()).
// Knows nothing of what a line means. VF_ERROR_QMP, and the stream is of no use after an error.

#pragma once

#include <glib.h>

typedef struct {
    int fd;             // connected, non-blocking; -1 = closed
    const char *object; // begins each message, borrowed
    GByteArray *in;     // received, not yet taken
    gsize scanned;      // so much of it holds no line break
} VfQmpWire;

void vf_qmp_wire_init(VfQmpWire *wire, const char *object);

// Connects to a Unix socket; retries while its queue of clients is full. VF_ERROR_NOT_FOUND: no
// such socket, or nobody listens.
gboolean vf_qmp_wire_connect(VfQmpWire *wire, const char *path, gint64 deadline, GError **error);

void vf_qmp_wire_close(VfQmpWire *wire);
void vf_qmp_wire_clear(VfQmpWire *wire);

// Sends all of it; a descriptor (-1 = none) goes along with the first byte. SIGPIPE is not raised.
gboolean vf_qmp_wire_send(VfQmpWire *wire, const char *bytes, gsize length, int fd, gint64 deadline,
                          GError **error);

// The next line without its line break, NUL-terminated; *length without that NUL. Caller frees.
// NULL without an error: it was not complete by the deadline; what came of it is kept.
char *vf_qmp_wire_read(VfQmpWire *wire, gsize *length, gint64 deadline, GError **error);
