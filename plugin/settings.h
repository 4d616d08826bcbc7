// SPDX-License-Identifier: GPL-2.0-or-later
//
// Settings of one function: what it gets again after every creation. A pool's [profile] gives them
// for all functions, attributes of a claim override them one by one. A plain value: unset members
// are VF_UNSET, strings NULL.

#pragma once

#include <glib.h>

#define VF_UNSET (-1)

typedef enum { VF_LINK_AUTO, VF_LINK_ENABLE, VF_LINK_DISABLE } VfLinkState;

typedef struct {
    gboolean has_mac;
    guint8 mac[6];
    int vlan;       // 0..4094, 0 = untagged
    int qos;        // 802.1p priority 0..7, with a vlan only
    int trust;      // 0, 1
    int spoofchk;   // 0, 1
    int link_state; // VfLinkState
    int min_rate;   // Mbit/s, 0 = none
    int max_rate;   // Mbit/s, 0 = unlimited
    int msix;       // MSI-X vectors of the VF (sriov_vf_msix_count), 0 = the driver's default
    int queues;     // NVMe: VQ flexible resources of the secondary controller
    int interrupts; // NVMe: VI flexible resources of the secondary controller
    int qmax;       // QDMA: queues of the VF
    char *program;  // absolute path of an external program, or NULL
} VfSettings;

// All members unset; the value need not be initialised.
void vf_settings_init(VfSettings *settings);

// Frees the strings and unsets all members.
void vf_settings_clear(VfSettings *settings);

// Sets one setting by its name as it stands in a [profile] group and as an attribute of a claim:
// mac vlan qos trust spoofchk link-state min-rate max-rate msix queues interrupts qmax program.
// Switches (trust, spoofchk) take on/off, yes/no, true/false, 1/0. `program` is for profiles only:
// the reader of claims refuses it. On failure nothing changed. VF_ERROR_INPUT names the key, the
// value and what is allowed; VF_ERROR_NOT_FOUND for a key that is none of these.
gboolean vf_settings_set(VfSettings *settings, const char *key, const char *value, GError **error);

// Every key of vf_settings_set() in order, NULL-terminated.
extern const char *const vf_settings_keys[];

// Text form of one setting, NULL when it is unset; the inverse of vf_settings_set(). Caller frees.
char *vf_settings_get(const VfSettings *settings, const char *key);
// That of vf_settings_keys[n], for who looks at all of them.
char *vf_settings_nth(const VfSettings *settings, guint n);

// *out = base with every member that is set in `over` replaced. Owns its strings; what
// *out held before is overwritten, not freed.
void vf_settings_merge(VfSettings *out, const VfSettings *base, const VfSettings *over);

gboolean vf_settings_equal(const VfSettings *a, const VfSettings *b);

// Checks what only makes sense together, so after the merge: qos needs a vlan, min-rate must not
// exceed max-rate. VF_ERROR_INPUT.
gboolean vf_settings_check(const VfSettings *settings, GError **error);
