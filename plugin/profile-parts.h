// SPDX-License-Identifier: GPL-2.0-or-later
//
// What profile.c is made of: one part per kind of device, profile-KIND.c. Each part looks only at
// the settings that are its own and is quiet when none of them is set. A setting for which the
// device has no part is VF_ERROR_CONFIG.

#pragma once

#include <glib.h>

#include "profile.h"

// "0000:01:00.0 VF 3", the object of messages. Caller frees.
char *vf_target_text(const VfTarget *target);

// Path below the sysfs directory of the PF or of the VF. Caller frees.
char *vf_target_pf_path(const VfTarget *target, const char *attribute);
char *vf_target_vf_path(const VfTarget *target, const char *attribute);

// VF_ERROR_STATE when a driver has the VF; `what` cannot be changed then.
gboolean vf_target_check_unbound(const VfTarget *target, const char *what, GError **error);

// Network functions: mac, vlan, qos, spoofchk, trust, link-state, min-rate, max-rate.
gboolean vf_profile_net_pre(const VfTarget *target, const VfSettings *settings, GError **error);
gboolean vf_profile_net_release(const VfTarget *target, const VfSettings *settings, GError **error);

// NVMe: queues, interrupts, and the state online.
gboolean vf_profile_nvme_needs_unbound(const VfTarget *target, const VfSettings *settings);
gboolean vf_profile_nvme_pre(const VfTarget *target, const VfSettings *settings, GError **error);
gboolean vf_profile_nvme_check_pf(const char *root, const VfPciAddr *pf, guint count,
                                  const VfSettings *settings, GError **error);
gboolean vf_profile_nvme_prepare_pf(const char *root, const VfPciAddr *pf, guint count,
                                    const VfSettings *settings, GError **error);

// QDMA: qmax.
gboolean vf_profile_qdma_needs_unbound(const VfTarget *target, const VfSettings *settings);
gboolean vf_profile_qdma_pre(const VfTarget *target, const VfSettings *settings, GError **error);
