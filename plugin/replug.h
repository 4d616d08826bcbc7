// SPDX-License-Identifier: GPL-2.0-or-later
//
// Functions of guests that cannot pause, taken from them through libvirt and given back: what
// `virtfn reconf --allow-detach` does before and after the reconf itself. Main thread; libvirt is
// called in its own thread and nobody waits for it, least of all a lane that a hook may wait for
// (design.md, rule 1).
//
// What is taken is owed: before the first device goes, its lease says so in the ledger and its XML
// is kept in RUN/detached. Whatever happens then, vf_domains_attach() gives it back once the reconf
// of its PF is over.

#pragma once

#include <glib.h>

#include "daemon.h"
#include "reconf.h"

typedef struct VfReplug VfReplug;

VfReplug *vf_replug_new(VfDaemon *daemon);
void vf_replug_free(VfReplug *replug);

// One device. What is needed of the owner is copied.
void vf_replug_add(VfReplug *replug, const VfReconfOwner *owner);

// "domain/device" of each device that has come out, or gone in again.
typedef void (*VfReplugTold)(const char *event, const char *owner, gpointer data);
typedef void (*VfReplugDone)(const GError *error, gpointer data);

// Takes all devices from their guests, and waits until each is really gone. With an error, which
// names domain and device, some may be: vf_replug_in() is due either way.
void vf_replug_out(VfReplug *replug, VfReplugTold told, VfReplugDone done, gpointer data);

// Gives back what is still owed. `done` has the first error; the domain's record has each.
void vf_replug_in(VfReplug *replug, VfReplugTold told, VfReplugDone done, gpointer data);

// How long the devices were away so far, in microseconds; 0 = they have not been.
gint64 vf_replug_outage(const VfReplug *replug);

// The XML that was kept of a device, as it was; NULL when none was, or when its guest has not given
// it back for so long that it will not. Caller frees.
char *vf_replug_kept(const VfDaemon *daemon, const char *uuid, const char *device,
                     const VfPciAddr *address);
void vf_replug_forget(const VfDaemon *daemon, const char *uuid, const char *device,
                      const VfPciAddr *address);
