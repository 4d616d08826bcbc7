// SPDX-License-Identifier: GPL-2.0-or-later
//
// Applies settings to one function, in the order its PF's driver wants. Blocks; called in worker
// threads. A setting that the device cannot have is an error, never silently left out.
//
// Order: pre = while the VF is not bound: external program `pre`, MSI-X count, NVMe resources and
// online, QDMA qmax, MAC, VLAN, spoof check, trust, link state and rates through the PF; then the
// caller binds; post = external program `post`.

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

// Whether a PF could serve `count` VFs with these settings, as far as it tells while it has others.
// VF_ERROR_CONFIG: it could not.
gboolean vf_profile_check_pf(const char *root, const VfPciAddr *pf, guint count,
                             const VfSettings *settings, GError **error);

// Makes a PF that has no VFs yet ready for `count` of them with these settings; nothing to do for
// most. An NVMe PF gives up flexible resources that its VFs need, which takes a reset of the PF;
// the nvme driver holds back the host's own I/O meanwhile. Call it before NumVFs is written.
// VF_ERROR_STATE: there are VFs; VF_ERROR_CONFIG: the PF cannot serve so many.
gboolean vf_profile_prepare_pf(const char *root, const VfPciAddr *pf, guint count,
                               const VfSettings *settings, GError **error);

// VF_ERROR_CONFIG: the device cannot have the setting; VF_ERROR_EXHAUSTED: its resources are used
// up; VF_ERROR_STATE: a driver has the function; VF_ERROR_SYSFS: the kernel, the device or the
// program refused. What was set before the failure stays; calling again is harmless.
gboolean vf_profile_pre(const VfTarget *target, const VfSettings *settings, GError **error);
gboolean vf_profile_post(const VfTarget *target, const VfSettings *settings, GError **error);

// The function goes back to the pool: external program `release`; NIC: of what `settings` had set,
// vlan 0, trust off, spoof check on, link state auto, rates off, and a MAC of zeros where the
// driver takes one. Everything is tried; the first failure is returned, logged by the caller and
// not fatal.
gboolean vf_profile_release(const VfTarget *target, const VfSettings *settings, GError **error);
