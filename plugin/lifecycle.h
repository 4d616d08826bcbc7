// SPDX-License-Identifier: GPL-2.0-or-later
//
// A domain's life as the hooks tell it: prepare grants and readies functions, release takes them
// back. Nothing here calls libvirt (design.md, rule 1). Everything may happen twice, late or not
// at all: operations are idempotent, and vf_lifecycle_sweep() ends what nobody ended.

#pragma once

#include <glib.h>

#include "daemon.h"

// Called once, when all is durable; error NULL = done.
typedef void (*VfAnswered)(const GError *error, gpointer data);

// `prepare`: every claim of the domain, and every plain hostdev that names a function of a pool,
// gets a lease and a ready function, or none does. Errors name the domain, who holds what, and
// the remedy.
void vf_lifecycle_prepare(VfDaemon *daemon, const char *xml, gsize length, VfAnswered answered,
                          gpointer data);

// `start`: what libvirt itself picked after `prepare` (a network's function) is checked and leased.
gboolean vf_lifecycle_start(VfDaemon *daemon, const char *xml, gsize length, GError **error);

// `started`, `reconnect` and what libvirt lists as running: its functions are leased, running.
// Never takes a function from somebody else; says so in *error.
gboolean vf_lifecycle_adopt(VfDaemon *daemon, const char *xml, gsize length, GError **error);

// `release`: leases end, functions are reset; answered when that is done.
void vf_lifecycle_release(VfDaemon *daemon, const char *uuid, VfAnswered answered, gpointer data);

// Ends one lease.
void vf_lifecycle_release_lease(VfDaemon *daemon, VfLease *lease);

// libvirt says that the domain does not run: ends its leases that were not touched after
// `generation`, which its release hook should have ended.
void vf_lifecycle_inactive(VfDaemon *daemon, const char *uuid, guint64 generation);

// Ends leases of domains that are not among `active` (a set of UUIDs), but for those touched
// after `generation`, reserved, or young enough to be starting.
void vf_lifecycle_sweep(VfDaemon *daemon, GHashTable *active, guint64 generation);

// Goes on with resets of released functions that nobody does: a daemon was killed meanwhile, or
// their end could not be written. Called at start and now and then.
void vf_lifecycle_recover(VfDaemon *daemon);

// TRUE between a domain's prepare and its started or release.
gboolean vf_lifecycle_starting(const VfDaemon *daemon, const char *uuid);

// Looks again whether functions that were set aside are free; called now and then.
void vf_lifecycle_recheck_quarantine(VfDaemon *daemon);
