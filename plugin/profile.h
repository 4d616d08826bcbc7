// SPDX-License-Identifier: GPL-2.0-or-later
//
// Applies settings to one function, in the order its PF's driver wants. Blocks; called in worker
// threads. A setting that the device cannot have is an error, never silently left out.
//
// Order (facts: users-and-peers, section 4.1): pre = while the VF is not bound: external program
// `pre`, MSI-X count, NVMe resources and online, QDMA qmax, MAC, VLAN, spoof check, trust, link state and
// rates through the PF; then the caller binds; post = external program `post`.

#pragma once

#include <glib.h>

#include "pciaddr.h"
#include "settings.h"

typedef struct {
    const char *root;
    VfPciAddr pf;
    guint index;
    VfPciAddr vf;
    const char *pool;
    const char *domain; // UUID of the domain that gets it, "" for none
    const char *device; // name of the claim, "" for none
    gboolean keep_link; // do not bring the PF's link up
} VfTarget;

// TRUE when a setting of these can only be changed while the VF has no driver (MSI-X count, NVMe
// resources that differ from what the controller has, qmax): the caller unbinds it first.
gboolean vf_profile_needs_unbound(const VfTarget *target, const VfSettings *settings);

gboolean vf_profile_pre(const VfTarget *target, const VfSettings *settings, GError **error);
gboolean vf_profile_post(const VfTarget *target, const VfSettings *settings, GError **error);

// The function goes back to the pool: external program `release`; NIC: vlan 0, trust off, rates off, and a
// MAC of zeros where the driver takes one; failures are logged by the caller and not fatal.
gboolean vf_profile_release(const VfTarget *target, const VfSettings *settings, GError **error);
