// SPDX-License-Identifier: GPL-2.0-or-later
//
// The guests of a reconf: what is asked of their QEMUs, of all of them at the same time and each in
// a thread of its own. A guest that is gone needs nothing; one that is there and cannot be reached,
// or does not do as it is told, is an error with its name.

#pragma once

#include <glib.h>

#include "reconf.h"
#include "sriov.h"

// One function as its guest's QEMU has it.
typedef struct {
    VfReconfOwner *owner;
    VfPauseState state;           // UNKNOWN: the guest, or its device, is gone
    char *id;                     // of the device in QEMU
    VfFence *group;               // held for the resume; NULL until the function is ready
    gint64 paused_at, resumed_at; // monotonic, 0 = not yet
} VfMember;

typedef void (*VfMemberTold)(VfReconfStep step, const char *event, const VfMember *member,
                             gpointer data);

typedef struct VfGuests VfGuests;

// Members in the order of the owners; they live as long as the guests. told may be NULL.
VfGuests *vf_guests_new(VfReconf *reconf, const char *root, VfMemberTold told, gpointer data);
void vf_guests_free(VfGuests *guests);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfGuests, vf_guests_free)

guint vf_guests_count(const VfGuests *guests);
VfMember *vf_guests_member(const VfGuests *guests, guint number);

// Asks each guest for the state of its devices. VF_ERROR_STATE: its QEMU cannot pause, or it was
// started without virtfn's socket and has the function open.
gboolean vf_guests_look(VfGuests *guests, gint64 deadline, GError **error);

// What the last call for all guests failed with for this one's; NULL: it did not.
const GError *vf_guests_error(const VfGuests *guests, const VfMember *member);

// After a look, before anything is touched: VF_ERROR_BUSY when something is under way in a guest
// that a pause would break (a migration, a save).
gboolean vf_guests_check(VfGuests *guests, gint64 deadline, GError **error);

// Pauses every member that runs. On failure some are paused: look again.
gboolean vf_guests_pause(VfGuests *guests, gint64 deadline, GError **error);

// Makes a member's function ready for it again, at the address where it was; if it is to be
// resumed, opens its group. VF_ERROR_BUSY: somebody else has it open; VF_ERROR_STATE: it is
// elsewhere.
gboolean vf_guests_ready(VfGuests *guests, VfMember *member, const VfPciAddr *pf,
                         const char *helper, const VfSettings *settings, GError **error);

// Resumes every paused member whose `group` is held, and gives the groups back. On failure some
// run: look again.
gboolean vf_guests_resume(VfGuests *guests, VfResumeSignal signal, gint64 deadline, GError **error);

// Gives the groups back that are held for a resume.
void vf_guests_drop_groups(VfGuests *guests);
