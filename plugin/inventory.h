// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the pools of the configuration come to on this host: PFs, and the slots (PF + index) that
// a pool consists of. Read from PCI configuration space and sysfs, so it is right without udev
// events; read again as a whole when something changed. A PF that cannot be used keeps its place
// with the reason in `problem`; nothing of that is an error of the inventory.

#pragma once

#include <glib.h>

#include "config.h"
#include "pci.h"

typedef struct {
    VfPf pci;
    char *netdev, *driver; // NULL: none
    guint vfs;             // virtfnN links there are
    guint count;           // VFs it should have: the highest function of its pools, plus one
    guint limit;           // … when all of them have grown
    gboolean keep_link;
    char *problem; // one line with a remedy: why none of its functions can be given out
} VfInvPf;

typedef struct {
    VfInvPf *pf; // not owned
    guint index; // of the VF, from 0
} VfSlot;

typedef struct {
    const VfPoolConfig *config; // not owned
    GPtrArray *pfs;             // of VfInvPf, not owned
    GArray *slots;              // of VfSlot: index by index over all PFs, so that guests spread
    char *problem;              // nothing at all of the pool can be used
} VfInvPool;

typedef struct {
    GPtrArray *pfs;   // of VfInvPf
    GPtrArray *pools; // of VfInvPool, in the configuration's order
} VfInventory;

// Never NULL. Blocks for some file reads. `config` must outlive it.
VfInventory *vf_inventory_read(const char *root, const VfConfig *config);
void vf_inventory_free(VfInventory *inventory);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfInventory, vf_inventory_free)

// TRUE when both have the same pools with the same slots, so that slot numbers keep their meaning.
gboolean vf_inventory_same_slots(const VfInventory *a, const VfInventory *b);

VfInvPool *vf_inventory_pool(const VfInventory *inventory, const char *name, guint *number);
VfInvPf *vf_inventory_pf(const VfInventory *inventory, const VfPciAddr *address);

// Number of the slot of PF + index in a pool, VF_NO_SLOT (G_MAXUINT) when it has none.
guint vf_inventory_slot(const VfInvPool *pool, const VfPciAddr *pf, guint index);

// Where a slot's VF is, or will be: PF address + offset + index * stride. FALSE when that is no
// address (a capability without offset).
gboolean vf_inventory_address(const VfSlot *slot, VfPciAddr *address);

// The pool and slot that a VF's address belongs to; FALSE when it is in no pool.
gboolean vf_inventory_find(const VfInventory *inventory, const VfPciAddr *address, guint *pool,
                           guint *slot);

// "eno1#3" or "0000:3b:00.0#3": a function as people name it. Caller frees.
char *vf_inventory_name(const VfSlot *slot);
