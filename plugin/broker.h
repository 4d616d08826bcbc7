// SPDX-License-Identifier: GPL-2.0-or-later
//
// Accelerators as the daemon's: who asked for what, which card does it, and the carrying out of
// what accel.h decides. A request (an "attachment") belongs to a lease of a function in a pool with
// a `card` and lives no longer than that.
//
// Invariants. The ledger has each request and each decision about it before anything is done. What
// a card and the guests' QEMUs say is the truth about how far it got: a daemon that finds a request
// TAKING or its victims YIELDING asks the card whose function is connected, and ends or undoes the
// change accordingly. A device runs only while its function is connected to a region that its
// request holds, so that a guest never meets another one's accelerator.
//
// Main thread, but for its jobs in the lanes of PFs (broker-change.c, broker-settle.c). While a
// hook waits nothing here calls libvirt.

#pragma once

#include <glib.h>

#include "attachment.h"
#include "card.h"
#include "daemon.h"
#include "reconf.h"
#include "server.h"

VfBroker *vf_broker_new(VfDaemon *daemon);
void vf_broker_free(VfBroker *broker);

// The configuration, the inventory, the ledger or the images are others than they were, or a card
// was away: the table is made anew, once the changes that are under way have ended.
void vf_broker_reload(VfDaemon *daemon);
// Begins nothing more; what has begun is finished.
void vf_broker_quiesce(VfDaemon *daemon);
// Tries again what failed; called now and then.
void vf_broker_recheck(VfDaemon *daemon);

// A domain that is being prepared will ask for an accelerator with the function of this lease.
// VF_ERROR_NOT_FOUND, _CONFIG or _STATE when it could never get it.
gboolean vf_broker_plan(VfDaemon *daemon, const VfLease *lease, const VfBrokerAsk *ask,
                        GError **error);

// An accelerator has another image for regions of this kind, or none any more.
void vf_broker_image_changed(VfDaemon *daemon, const char *accelerator, guint kind);
// Runs when cards have been asked what they have: at once, or later.
void vf_broker_when_ready(VfBroker *broker, void (*run)(gpointer data), gpointer data);
// FALSE when no region of a card is of this kind, VF_ERROR_STATE.
gboolean vf_broker_check_kind(const VfDaemon *daemon, guint kind, GError **error);
// FALSE when a device has, or is about to get, a region with this image, VF_ERROR_BUSY.
gboolean vf_broker_check_unused(const VfDaemon *daemon, const VfImage *image, GError **error);

// The lease's state is another one, written down but not yet durable: a device that runs asks, or
// is looked after; one that is being released asks for nothing any more.
void vf_broker_lease_changed(VfDaemon *daemon, const VfLease *lease);
// The lease ends; its function was disconnected.
void vf_broker_lease_gone(VfDaemon *daemon, const VfLease *lease);

// TRUE when the lease's device has a request: whether it runs is looked after here.
gboolean vf_broker_has(const VfDaemon *daemon, const VfLease *lease);

// TRUE when it is the broker that has the lease's device paused: only an accelerator ends that.
gboolean vf_broker_keeps_paused(const VfDaemon *daemon, const VfLease *lease);

// For the release of a function of this PF, in its lane: disconnects the function from whatever
// region it has. card NULL = the PF has none.
VfCard *vf_broker_card(const VfDaemon *daemon, const VfPciAddr *pf);
gboolean vf_broker_scrub(VfCard *card, guint index, GError **error);

// A PF's functions will be destroyed and made again: adds to the plan how they are connected.
void vf_broker_plan_reconf(const VfDaemon *daemon, VfReconf *reconf);

// A running domain has given a device back (broker-hot.c).
void vf_broker_unplugged(VfDaemon *daemon, const char *uuid);

// broker-view.c: as openapi.json describes it.
void vf_broker_view(GString *out, const VfDaemon *daemon);          // array of attachments
void vf_broker_view_cards(GString *out, const VfDaemon *daemon);    // array of cards, with regions
void vf_broker_view_problems(GString *out, const VfDaemon *daemon); // elements of an array

// broker-api.c
void vf_route_attachments(VfRequest *request, gpointer daemon);
void vf_route_attachment_post(VfRequest *request, gpointer daemon);
void vf_route_attachment_put(VfRequest *request, gpointer daemon);
void vf_route_attachment_delete(VfRequest *request, gpointer daemon);
void vf_route_cards(VfRequest *request, gpointer daemon);
