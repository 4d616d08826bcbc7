// SPDX-License-Identifier: GPL-2.0-or-later
//
// Waits for a guest's first access to a paused device (QEMU's event VFIO_PAUSED_ACCESS). QEMU
// serves one client of a monitor at a time, so a watch lets go of it whenever anybody else of this
// process connects there (vf_qmp_connect()), and comes back after; what happened meanwhile it reads
// from the device's count of accesses, so no access is missed.

#pragma once

#include <glib.h>

typedef struct VfWatch VfWatch;

// On the main thread, once. The watch still has to be freed.
typedef void (*VfWatchTold)(const char *key, gpointer data);

// Device `id` of the guest behind this monitor socket. Never fails: it tries again as long as it
// lives.
VfWatch *vf_watch_new(const char *socket, const char *guest, const char *id, const char *key,
                      VfWatchTold told, gpointer data);
// Waits for its thread, a moment. It does not tell afterwards.
void vf_watch_free(VfWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfWatch, vf_watch_free)

// For qmp-socket.c: somebody is about to connect, which waits until the watches of that socket have
// let go, at most until the deadline; and does not want it any more. Any thread.
void vf_watch_enter(const char *socket, gint64 deadline);
void vf_watch_leave(const char *socket);
