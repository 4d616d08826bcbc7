// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a domain that starts wishes for: one function for each claim, and each function of a pool
// that a plain <hostdev> names. Looks at XML and inventory only; grants nothing.

#pragma once

#include <glib.h>

#include "daemon.h"
#include "domxml.h"

typedef struct {
    char *device;
    char *pool;   // name
    guint wanted; // slot, VF_NO_SLOT = any
    guint pool_number;
    gboolean rendered; // the XML names a function for it
    gboolean granted;  // by this call
    gboolean touched;  // its function was readied, or part of that
    VfSettings claim;  // its own settings
    VfBrokerAsk ask;
    VfPciAddr address; // that the XML names
} VfWish;

// An empty array of VfWish that frees what its elements own.
GArray *vf_wishes_new(void);

// Adds a domain's wishes. Errors: NOT_FOUND (pool), CONFIG (the configuration is broken), STATE
// (the XML names a function that is not of the claim's pool: it is being rendered again).
gboolean vf_wishes_find(VfDaemon *daemon, const VfDomain *domain, GArray *wishes, GError **error);

// TRUE when the XML says whose it is, as libvirt's always does; VF_ERROR_INPUT otherwise.
gboolean vf_wishes_has_uuid(const VfDomain *domain, GError **error);

// Name under which the function of a plain hostdev is leased. Caller frees.
char *vf_wish_plain_device(const VfPciAddr *address);
