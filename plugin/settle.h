// SPDX-License-Identifier: GPL-2.0-or-later
//
// The settle step that comes before each start of a libvirt daemon (`virtfn settle`, design.md rule
// 9): it waits for the end of every reconf, and holds up those that would begin until the libvirt
// daemon has found its guests again. A virtfnd that is killed meanwhile is followed by one that
// goes on with it: RUN_DIR/settle says until when, and for whom.

#pragma once

#include <glib.h>

#include "daemon.h"
#include "server.h"

VfSettle *vf_settle_new(VfDaemon *daemon);
void vf_settle_free(VfSettle *settle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfSettle, vf_settle_free)

// A reconf begins; each TRUE is followed by one vf_settle_leave(). VF_ERROR_BUSY: a libvirt daemon
// is starting; the message names the guests that it has yet to find.
gboolean vf_settle_enter(VfDaemon *daemon, GError **error);
void vf_settle_leave(VfDaemon *daemon);

// Calls back, once: when a reconf may begin, or when a start has waited long enough.
typedef void (*VfSettled)(gpointer data);
void vf_settle_wait(VfDaemon *daemon, VfSettled callback, gpointer data);

// libvirt has found a guest again (its `reconnect` hook).
void vf_settle_met(VfDaemon *daemon, const char *uuid);

// What /v1/status says: null, or the guests that are awaited.
void vf_settle_view(GString *out, const VfDaemon *daemon);

void vf_route_settle(VfRequest *request, gpointer daemon);
