// SPDX-License-Identifier: GPL-2.0-or-later
//
// A card with accelerators: regions, what they hold, who is connected to them. One interface, one
// file for each way to speak to a card (card-program.c, card-test.c, card-dfl.c; card-driver.h is
// their side of it).
//
// Everything here blocks and belongs on the lane of the PF: one call at a time for each card.
// Regions, kinds and functions (VFs of the PF) are numbers from 0; accelerators are the card's own
// numbers of them, 0 = none or unknown. A `deadline` is in terms of g_get_monotonic_time(); no call
// ends much later, also when the card never answers. A card whose call failed may have done what it
// was told: vf_card_query() says.
//
// Errors: VF_ERROR_SYSFS when the card, its driver or its program refused, failed or took too long;
// VF_ERROR_CONFIG when the program may not be run; VF_ERROR_STATE when the card cannot do that at
// all. Messages begin with the PF's address.

#pragma once

#include <glib.h>

#include "pciaddr.h"

#define VF_CARD_NONE G_MAXUINT
#define VF_CARD_REGIONS_MAX 64
#define VF_CARD_KINDS_MAX 32
#define VF_CARD_CONTEXT_MAX (64 * 1024 * 1024) // bytes

typedef enum {
    VF_REGION_EMPTY,
    VF_REGION_LOADING,
    VF_REGION_READY,
    VF_REGION_BROKEN, // a load failed half way: nothing but another load helps
} VfRegionState;

extern const char *const vf_region_state_words[]; // by value, NULL-terminated

typedef struct {
    guint kind;
    VfRegionState state;
    guint accelerator; // 0 = none or unknown
    guint vf;          // who is connected, VF_CARD_NONE = nobody
    gboolean running;  // works at the moment; FALSE too when the card does not say
} VfCardRegion;

typedef struct VfCard VfCard;

// `spec` is a pool's `card`: the name of a driver, or "program:/PATH". `root` is that of vf_path().
// VF_ERROR_NOT_FOUND when the driver does not know this PF.
VfCard *vf_card_open(const char *spec, const char *root, const VfPciAddr *pf, GError **error);
// Leaves the card as it is.
void vf_card_close(VfCard *card);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfCard, vf_card_close)

// All regions, in order, into `regions` (of VfCardRegion), which is emptied first.
gboolean vf_card_query(VfCard *card, GArray *regions, GError **error);

// Whether contexts can be saved and restored; without that an accelerator cannot be shared, and a
// guest that was preempted begins anew.
gboolean vf_card_can_save(const VfCard *card);

// Puts an image into a region that nobody is connected to. When it fails, what the region held is
// gone.
gboolean vf_card_load(VfCard *card, guint region, const char *image_path, gint64 deadline,
                      GError **error);

// Connects a function with a region; both are free. Without `keep_context` the accelerator starts
// over, so that nobody gets another's keys; with it, it goes on with what was restored.
gboolean vf_card_connect(VfCard *card, guint region, guint vf, gboolean keep_context,
                         gint64 deadline, GError **error);

// Disconnects a function from its region, whatever that does at the moment. TRUE too when it is
// connected to none.
gboolean vf_card_disconnect(VfCard *card, guint vf, gint64 deadline, GError **error);

// What a region has in mind. *context is new. A region that works is waited for, if the card says
// that it does.
gboolean vf_card_save(VfCard *card, guint region, GBytes **context, gint64 deadline,
                      GError **error);
gboolean vf_card_restore(VfCard *card, guint region, GBytes *context, gint64 deadline,
                         GError **error);
