// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest's QEMU monitor (QMP), for worker threads: every function blocks until its deadline at
// most, none needs a main loop, and a VfQmp is used by one thread at a time. Two transports stand
// behind it: virtfn's own socket of the guest, which works while a hook waits and while libvirt is
// away, and libvirt's monitor, which does not (facts F-B3, F-B6).
//
// What QEMU says is hostile until parsed: bounded, and checked for its kind. Deadlines are
// g_get_monotonic_time() values. Every error names the guest; its code is VF_ERROR_QMP unless said
// otherwise.

#pragma once

#include <glib.h>
#include <jansson.h>

#include "virconn.h"

#define VF_QMP_MAX_LINE (1024 * 1024) // one answer or event; query-qmp-schema has 250 KiB
#define VF_QMP_MAX_EVENTS 256         // kept for vf_qmp_wait_event(); the oldest goes first

typedef struct VfQmp VfQmp;

// Connects to QEMU's server-mode socket and negotiates. QEMU serves one client at a time: while
// there is another, there is no greeting. VF_ERROR_NOT_FOUND: there is no socket or nobody listens,
// so the guest does not run or was started without it. `guest` is the name that messages use.
VfQmp *vf_qmp_connect(const char *path, const char *guest, gint64 deadline, GError **error);

// For watch.c, which lets go of a monitor when vf_qmp_connect() comes: connects without that, and
// gives a duplicate of the connection (-1: it is closed), whose shutdown() ends any wait.
VfQmp *vf_qmp_connect_watch(const char *path, const char *guest, gint64 deadline, GError **error);
int vf_qmp_dup_fd(const VfQmp *qmp);

// The domain's own monitor, through libvirt's worker. Never for what a hook waits for. `virconn`
// must outlive it; a connection is needed only when a command runs. VF_ERROR_LIBVIRT: libvirt
// refused, or is away.
VfQmp *vf_qmp_libvirt_new(VfVirconn *virconn, const char *uuid, const char *guest);

void vf_qmp_free(VfQmp *qmp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfQmp, vf_qmp_free)

const char *vf_qmp_guest(const VfQmp *qmp);

// Runs a command; consumes `arguments` (NULL = none). Returns what it returned, which the caller
// owns. After a failure on the way (no answer by the deadline, a closed connection, an answer that
// is none) it is not known whether QEMU ran the command. The connection is closed then, and the
// next command makes a new one.
json_t *vf_qmp_execute(VfQmp *qmp, const char *command, json_t *arguments, gint64 deadline,
                       GError **error);

// Class of QEMU's answer ("GenericError", "DeviceNotFound") when QEMU itself refused the last
// command; NULL when that succeeded or failed on the way.
const char *vf_qmp_refused(const VfQmp *qmp);

// getfd: gives QEMU a duplicate of `fd`, called `name` in this monitor (QEMU monitor/fds.c: not
// beginning with a digit; replaces one of that name; stays open until a command takes it, even when
// the connection ends). The caller keeps its own.
gboolean vf_qmp_getfd(VfQmp *qmp, const char *name, int fd, gint64 deadline, GError **error);
gboolean vf_qmp_closefd(VfQmp *qmp, const char *name, gint64 deadline, GError **error);

// Takes the oldest event of that name which `match` (NULL = any) accepts, and waits for one; the
// caller owns it. NULL without an error: none came before the deadline or, on libvirt's monitor,
// which brings no events, a moment has passed. Either way: look at the state itself, since events
// are lost with a connection. NULL with an error: the connection is gone.
typedef gboolean (*VfQmpMatch)(json_t *event, gpointer data);
json_t *vf_qmp_wait_event(VfQmp *qmp, const char *name, VfQmpMatch match, gpointer data,
                          gint64 deadline, GError **error);
