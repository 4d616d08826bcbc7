// SPDX-License-Identifier: GPL-2.0-or-later
//
// The allocator's table. Invariant: pressure[slot] is the number of pointers (TAKEN - 1 when there
// are more) while the slot is usable and unleased, else TAKEN, and lowest[] has the least of each
// block of them; so a choice looks at the blocks, then into one.

#include "allocator.h"

#include <string.h>

#define TAKEN G_MAXUINT16
#define BLOCK 32 // near the square root of a large pool

typedef struct {
    guint n_slots, n_blocks;
    guint n_free;
    guint16 *pressure; // of whole blocks; what is behind the last slot is TAKEN
    guint16 *lowest;   // of each block
    guint *pointers;
    gboolean *unusable;
    VfLease **leases;
} Pool;

struct VfAllocator {
    GPtrArray *pools;     // of Pool
    GHashTable *leases;   // key -> VfLease, owns both
    GHashTable *pointers; // key -> VfPointer, owns both
};

static const char *const state_names[] = {"reserved", "preparing", "ready", "running", "releasing"};

const char *vf_lease_state_name(VfLeaseState state)
{
    return state_names[state];
}

gboolean vf_lease_state_parse(const char *name, VfLeaseState *state)
{
    for (guint i = 0; i < G_N_ELEMENTS(state_names); i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *state = (VfLeaseState)i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *vf_lease_holder(const VfLease *lease)
{
    return lease->domain != NULL && *lease->domain != '\0' ? lease->domain : lease->uuid;
}

void vf_lease_set_pause(VfLease *lease, gint64 since, const char *by, const char *reason)
{
    VfLeasePause *pause = by != NULL ? g_new0(VfLeasePause, 1) : NULL;

    if (pause != NULL)
        *pause = (VfLeasePause){since, g_strdup(by), g_strdup(reason)};
    if (lease->pause != NULL) {
        g_free(lease->pause->by);
        g_free(lease->pause->reason);
        g_free(lease->pause);
    }
    lease->pause = pause;
}

static void pool_free(gpointer data)
{
    Pool *pool = data;

    g_free(pool->pressure);
    g_free(pool->lowest);
    g_free(pool->pointers);
    g_free(pool->unusable);
    g_free(pool->leases);
    g_free(pool);
}

static void lease_free(gpointer data)
{
    VfLease *lease = data;

    vf_settings_clear(&lease->claim);
    vf_settings_clear(&lease->settings);
    vf_lease_set_pause(lease, 0, NULL, NULL);
    g_free(lease->device);
    g_free(lease->domain);
    g_free(lease); // the key belongs to the table
}

VfAllocator *vf_allocator_new(void)
{
    VfAllocator *allocator = g_new0(VfAllocator, 1);

    allocator->pools = g_ptr_array_new_with_free_func(pool_free);
    allocator->leases = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, lease_free);
    allocator->pointers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return allocator;
}

void vf_allocator_free(VfAllocator *allocator)
{
    g_hash_table_unref(allocator->leases);
    g_hash_table_unref(allocator->pointers);
    g_ptr_array_unref(allocator->pools);
    g_free(allocator);
}

static Pool *pool_at(const VfAllocator *allocator, guint pool)
{
    return g_ptr_array_index(allocator->pools, pool);
}

guint vf_allocator_add_pool(VfAllocator *allocator, guint n_slots)
{
    Pool *pool = g_new0(Pool, 1);

    pool->n_slots = pool->n_free = n_slots;
    pool->n_blocks = (n_slots + BLOCK - 1) / BLOCK;
    pool->pressure = g_new(guint16, pool->n_blocks * BLOCK);
    for (guint i = 0; i < pool->n_blocks * BLOCK; i++)
        pool->pressure[i] = i < n_slots ? 0 : TAKEN;
    pool->lowest = g_new0(guint16, pool->n_blocks);
    pool->pointers = g_new0(guint, n_slots);
    pool->unusable = g_new0(gboolean, n_slots);
    pool->leases = g_new0(VfLease *, n_slots);
    g_ptr_array_add(allocator->pools, pool);
    return allocator->pools->len - 1;
}

static guint16 lowest_of(const guint16 *block)
{
    guint16 lowest = TAKEN;

    for (guint i = 0; i < BLOCK; i++)
        lowest = MIN(lowest, block[i]);
    return lowest;
}

// Restores the invariant for one slot after any of its three causes changed.
static void settle(Pool *pool, guint slot)
{
    gboolean was_free = pool->pressure[slot] != TAKEN;
    gboolean is_free = !pool->unusable[slot] && pool->leases[slot] == NULL;

    pool->pressure[slot] = is_free ? (guint16)MIN(pool->pointers[slot], TAKEN - 1) : TAKEN;
    pool->lowest[slot / BLOCK] = lowest_of(pool->pressure + slot / BLOCK * BLOCK);
    if (is_free && !was_free)
        pool->n_free++;
    else if (!is_free && was_free)
        pool->n_free--;
}

void vf_allocator_set_usable(VfAllocator *allocator, guint pool, guint slot, gboolean usable)
{
    pool_at(allocator, pool)->unusable[slot] = !usable;
    settle(pool_at(allocator, pool), slot);
}

gboolean vf_allocator_usable(const VfAllocator *allocator, guint pool, guint slot)
{
    return !pool_at(allocator, pool)->unusable[slot];
}

// "UUID/DEVICE" on the caller's stack where it fits: a look-up allocates nothing.
#define KEY_BUFSIZE 96
static const char *make_key(char *buf, const char *uuid, const char *device)
{
    gsize uuid_length = strlen(uuid), device_length = strlen(device);

    g_assert(uuid_length + device_length + 2 <= KEY_BUFSIZE);
    memcpy(buf, uuid, uuid_length);
    buf[uuid_length] = '/';
    memcpy(buf + uuid_length + 1, device, device_length + 1);
    return buf;
}

// The free slot with the lowest pressure, the first of these; VF_NO_SLOT when none is free.
static guint least_pressed(const Pool *pool)
{
    guint16 lowest = TAKEN;
    guint slot = VF_NO_SLOT;

    for (guint i = 0; i < pool->n_blocks; i++) {
        if (pool->lowest[i] < lowest) {
            lowest = pool->lowest[i];
            slot = i * BLOCK;
        }
    }
    while (slot != VF_NO_SLOT && pool->pressure[slot] != lowest)
        slot++;
    return slot;
}

// The usable slot with the fewest pointers, leased or not.
static guint fewest_pointers(const Pool *pool)
{
    guint slot = VF_NO_SLOT;

    for (guint i = 0; i < pool->n_slots; i++)
        if (!pool->unusable[i] && (slot == VF_NO_SLOT || pool->pointers[i] < pool->pointers[slot]))
            slot = i;
    return slot;
}

static VfPointer *find_pointer(const VfAllocator *allocator, const char *key, guint pool)
{
    VfPointer *pointer = g_hash_table_lookup(allocator->pointers, key);

    return pointer != NULL && pointer->pool == pool ? pointer : NULL;
}

static VfLease *grant(VfAllocator *allocator, guint pool, guint slot, const char *uuid,
                      const char *device, const char *key)
{
    VfLease *lease = g_new0(VfLease, 1);

    lease->key = g_strdup(key);
    g_strlcpy(lease->uuid, uuid, sizeof(lease->uuid));
    lease->device = g_strdup(device);
    lease->pool = pool;
    lease->slot = slot;
    vf_settings_init(&lease->claim);
    vf_settings_init(&lease->settings);
    g_hash_table_insert(allocator->leases, lease->key, lease);
    pool_at(allocator, pool)->leases[slot] = lease;
    settle(pool_at(allocator, pool), slot);
    return lease;
}

VfAnswer vf_allocator_lease(VfAllocator *allocator, guint pool_number, const char *uuid,
                            const char *device, guint wanted, VfLease **lease)
{
    Pool *pool = pool_at(allocator, pool_number);
    char buf[KEY_BUFSIZE];
    const char *key = make_key(buf, uuid, device);

    *lease = g_hash_table_lookup(allocator->leases, key);
    if (*lease != NULL) {
        gboolean same =
            (*lease)->pool == pool_number && (wanted == VF_NO_SLOT || (*lease)->slot == wanted);
        return same ? VF_HELD_ALREADY : VF_HELD_ELSEWHERE;
    }
    if (wanted == VF_NO_SLOT) {
        VfPointer *pointer = find_pointer(allocator, key, pool_number);

        if (pointer != NULL && pool->pressure[pointer->slot] != TAKEN)
            wanted = pointer->slot;
        else
            wanted = least_pressed(pool);
        if (wanted == VF_NO_SLOT)
            return VF_NONE_FREE;
    } else if (pool->leases[wanted] != NULL) {
        *lease = pool->leases[wanted];
        return VF_TAKEN;
    } else if (pool->unusable[wanted]) {
        return VF_NOT_USABLE;
    }
    *lease = grant(allocator, pool_number, wanted, uuid, device, key);
    return VF_GRANTED;
}

VfLease *vf_allocator_find(const VfAllocator *allocator, const char *uuid, const char *device)
{
    char buf[KEY_BUFSIZE];

    return g_hash_table_lookup(allocator->leases, make_key(buf, uuid, device));
}

VfLease *vf_allocator_at(const VfAllocator *allocator, guint pool, guint slot)
{
    return pool_at(allocator, pool)->leases[slot];
}

void vf_allocator_release(VfAllocator *allocator, VfLease *lease)
{
    Pool *pool = pool_at(allocator, lease->pool);
    guint slot = lease->slot;

    pool->leases[slot] = NULL;
    settle(pool, slot);
    g_hash_table_remove(allocator->leases, lease->key);
}

GPtrArray *vf_allocator_leases(const VfAllocator *allocator, const char *uuid)
{
    GPtrArray *found = g_ptr_array_new();

    for (guint p = 0; p < allocator->pools->len; p++) {
        Pool *pool = pool_at(allocator, p);

        for (guint slot = 0; slot < pool->n_slots; slot++) {
            VfLease *lease = pool->leases[slot];

            if (lease != NULL && (uuid == NULL || strcmp(lease->uuid, uuid) == 0))
                g_ptr_array_add(found, lease);
        }
    }
    return found;
}

// The choice of vf_allocator_point() while the slots to avoid are out of the way.
static guint choose_pointer(const Pool *pool, const VfPointer *pointer)
{
    guint slot;

    if (pointer != NULL && pool->pressure[pointer->slot] != TAKEN)
        return pointer->slot;
    slot = least_pressed(pool);
    if (slot != VF_NO_SLOT)
        return slot;
    if (pointer != NULL && !pool->unusable[pointer->slot])
        return pointer->slot;
    return fewest_pointers(pool);
}

guint vf_allocator_point(VfAllocator *allocator, guint pool_number, const char *uuid,
                         const char *device, const guint *avoid, guint n_avoid)
{
    Pool *pool = pool_at(allocator, pool_number);
    char buf[KEY_BUFSIZE];
    const char *key = make_key(buf, uuid, device);
    VfLease *lease = g_hash_table_lookup(allocator->leases, key);
    VfPointer *pointer = find_pointer(allocator, key, pool_number);
    g_autofree gboolean *was_unusable = g_new(gboolean, n_avoid + 1);
    // Its own lease counts even where nothing is given out any more: it could start on no other.
    gboolean own = lease != NULL && lease->pool == pool_number;

    for (guint i = 0; i < n_avoid; i++) {
        own = own && lease->slot != avoid[i];
        was_unusable[i] = pool->unusable[avoid[i]];
        vf_allocator_set_usable(allocator, pool_number, avoid[i], FALSE);
    }
    guint slot = own ? lease->slot : choose_pointer(pool, pointer);
    for (guint i = n_avoid; i-- > 0;)
        vf_allocator_set_usable(allocator, pool_number, avoid[i], !was_unusable[i]);
    if (slot == VF_NO_SLOT)
        vf_allocator_unpoint(allocator, uuid, device);
    else
        vf_allocator_point_at(allocator, pool_number, uuid, device, slot);
    return slot;
}

void vf_allocator_point_at(VfAllocator *allocator, guint pool, const char *uuid, const char *device,
                           guint slot)
{
    char buf[KEY_BUFSIZE];
    const char *key = make_key(buf, uuid, device);
    VfPointer *pointer = find_pointer(allocator, key, pool);

    if (pointer != NULL && pointer->slot == slot)
        return;
    vf_allocator_unpoint(allocator, uuid, device);
    pointer = g_new0(VfPointer, 1);
    g_strlcpy(pointer->uuid, uuid, sizeof(pointer->uuid));
    pointer->pool = pool;
    pointer->slot = slot;
    char *owned_key = g_strdup(key);
    pointer->device = owned_key + strlen(uuid) + 1;
    g_hash_table_insert(allocator->pointers, owned_key, pointer);
    pool_at(allocator, pool)->pointers[slot]++;
    settle(pool_at(allocator, pool), slot);
}

void vf_allocator_unpoint(VfAllocator *allocator, const char *uuid, const char *device)
{
    char buf[KEY_BUFSIZE];
    const char *key = make_key(buf, uuid, device);
    VfPointer *pointer = g_hash_table_lookup(allocator->pointers, key);

    if (pointer == NULL)
        return;
    Pool *pool = pool_at(allocator, pointer->pool);
    guint slot = pointer->slot;
    pool->pointers[slot]--;
    g_hash_table_remove(allocator->pointers, key);
    settle(pool, slot);
}

void vf_allocator_each_pointer(const VfAllocator *allocator, const char *uuid, VfPointerVisit visit,
                               gpointer data)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, allocator->pointers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const VfPointer *pointer = value;

        if (uuid == NULL || strcmp(pointer->uuid, uuid) == 0)
            visit(pointer, data);
    }
}

guint vf_allocator_pointers(const VfAllocator *allocator, guint pool, guint slot)
{
    return pool_at(allocator, pool)->pointers[slot];
}

guint vf_allocator_free_slots(const VfAllocator *allocator, guint pool)
{
    return pool_at(allocator, pool)->n_free;
}
