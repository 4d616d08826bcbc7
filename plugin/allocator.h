// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who gets which function: the policy and its table, in memory. Pure: no I/O, no libvirt, no clock;
// decisions are microseconds (make bench BENCH=decide). Persistence is the ledger's, hardware the
// inventory's business; here a function is a slot number of a pool.
//
// Two relations:
//   pointer  an inactive domain's XML names this slot; any number of domains may point at one
//   lease    the slot is given to one (domain, device) and nobody else
// A claim is keyed "UUID/DEVICE" in both. Main thread only.

#pragma once

#include <glib.h>

#include "settings.h"

#define VF_NO_SLOT G_MAXUINT

typedef enum {
    VF_LEASE_RESERVED,  // granted through the API; the domain has not started yet
    VF_LEASE_PREPARING, // being created, configured and bound
    VF_LEASE_READY,     // prepared; the domain is starting
    VF_LEASE_RUNNING,   // the domain runs
    VF_LEASE_RELEASING, // the domain is gone; the function is being reset
} VfLeaseState;

const char *vf_lease_state_name(VfLeaseState state);
// FALSE for an unknown word.
gboolean vf_lease_state_parse(const char *name, VfLeaseState *state);

// An operator took the function away from the device (virtfn pause).
typedef struct {
    gint64 since; // microseconds since 1970
    char *by;     // user
    char *reason; // "" when none was given
} VfLeasePause;

typedef struct {
    char *key; // "UUID/DEVICE"
    char uuid[37];
    char *device;
    char *domain; // name, for people
    guint pool, slot;
    VfLeaseState state;
    gboolean reserved;   // from the API: it outlives the domain's runs
    gboolean attach;     // its hostdev is not in the XML: attach it once the domain runs
    guint64 generation;  // unique over all leases of this boot
    gint64 since;        // of the last change of state, microseconds since 1970
    VfSettings claim;    // what its domain asks for
    VfSettings settings; // what the function has: its profile of then, and the claim over it
    VfLeasePause *pause; // NULL = it is not paused
} VfLease;

// Name of the domain that holds a lease, its UUID when the name is not known.
const char *vf_lease_holder(const VfLease *lease);

// Copies both strings. by NULL: it is not paused any more.
void vf_lease_set_pause(VfLease *lease, gint64 since, const char *by, const char *reason);

typedef struct VfAllocator VfAllocator;

VfAllocator *vf_allocator_new(void);
void vf_allocator_free(VfAllocator *allocator);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfAllocator, vf_allocator_free)

// Adds a pool and returns its number: 0, 1, …. All its slots are usable.
guint vf_allocator_add_pool(VfAllocator *allocator, guint n_slots);

// A slot that is not usable is never chosen and cannot be leased; leases it has stay.
void vf_allocator_set_usable(VfAllocator *allocator, guint pool, guint slot, gboolean usable);
gboolean vf_allocator_usable(const VfAllocator *allocator, guint pool, guint slot);

typedef enum {
    VF_GRANTED,       // *lease is new
    VF_HELD_ALREADY,  // the same claim has a lease in this pool; *lease is it
    VF_TAKEN,         // the wanted slot is leased to somebody else; *lease is theirs
    VF_NOT_USABLE,    // the wanted slot is not usable
    VF_NONE_FREE,     // no usable slot is free
    VF_HELD_ELSEWHERE // the same claim has a lease in another slot or pool; *lease is it
} VfAnswer;

// Leases a slot of a pool to a claim: the wanted one, or with VF_NO_SLOT the one that the claim
// points at if it is free, else the free one that the fewest others point at.
VfAnswer vf_allocator_lease(VfAllocator *allocator, guint pool, const char *uuid,
                            const char *device, guint wanted, VfLease **lease);

VfLease *vf_allocator_find(const VfAllocator *allocator, const char *uuid, const char *device);
VfLease *vf_allocator_at(const VfAllocator *allocator, guint pool, guint slot);
void vf_allocator_release(VfAllocator *allocator, VfLease *lease);

// Leases of one domain, or all with uuid NULL, in order of pool and slot. The array is the
// caller's, the leases are not.
GPtrArray *vf_allocator_leases(const VfAllocator *allocator, const char *uuid);

// Points a claim at a slot: at its own lease's; else where it points already if that is free; else
// at the free slot with the fewest pointers, or, when every slot is leased, at the usable one with
// the fewest; never at one of `avoid` (slots of the same domain's other claims). VF_NO_SLOT, and no
// pointer, when no slot is left.
guint vf_allocator_point(VfAllocator *allocator, guint pool, const char *uuid, const char *device,
                         const guint *avoid, guint n_avoid);

// Points a claim at a given slot (what its XML or the ledger says).
void vf_allocator_point_at(VfAllocator *allocator, guint pool, const char *uuid, const char *device,
                           guint slot);

void vf_allocator_unpoint(VfAllocator *allocator, const char *uuid, const char *device);

typedef struct {
    char uuid[37];
    const char *device;
    guint pool, slot;
} VfPointer;

// Calls `visit` for every pointer, or those of one domain. `visit` must not change pointers.
typedef void (*VfPointerVisit)(const VfPointer *pointer, gpointer data);
void vf_allocator_each_pointer(const VfAllocator *allocator, const char *uuid, VfPointerVisit visit,
                               gpointer data);

// Number of pointers at a slot.
guint vf_allocator_pointers(const VfAllocator *allocator, guint pool, guint slot);

// Slots of a pool that are usable and not leased.
guint vf_allocator_free_slots(const VfAllocator *allocator, guint pool);
