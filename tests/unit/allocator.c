// SPDX-License-Identifier: GPL-2.0-or-later
//
// The policy of the allocator: each answer, how choices spread, and its invariants under 100,000
// random operations, held against a model that is as simple as can be.

#include "allocator.h"

#include <string.h>

static const char *const uuids[] = {
    "00000000-0000-4000-8000-000000000000", "11111111-0000-4000-8000-000000000000",
    "22222222-0000-4000-8000-000000000000", "33333333-0000-4000-8000-000000000000",
    "44444444-0000-4000-8000-000000000000",
};

static VfLease *assert_lease(VfAllocator *allocator, guint pool, guint domain, const char *device,
                             guint wanted, VfAnswer expected)
{
    VfLease *lease = NULL;
    VfAnswer answer = vf_allocator_lease(allocator, pool, uuids[domain], device, wanted, &lease);

    g_assert_cmpint(answer, ==, expected);
    return lease;
}

static void test_grant(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 2);
    VfLease *lease = assert_lease(allocator, pool, 0, "net0", VF_NO_SLOT, VF_GRANTED);

    g_assert_cmpuint(lease->slot, ==, 0);
    g_assert_cmpstr(lease->uuid, ==, uuids[0]);
    g_assert_cmpstr(lease->device, ==, "net0");
    g_assert_cmpstr(lease->key, ==, "00000000-0000-4000-8000-000000000000/net0");
    g_assert_cmpint(lease->settings.vlan, ==, VF_UNSET);
    g_assert_true(vf_allocator_find(allocator, uuids[0], "net0") == lease);
    g_assert_true(vf_allocator_at(allocator, pool, 0) == lease);
    g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, 1);
    lease = assert_lease(allocator, pool, 1, "net0", 1, VF_GRANTED);
    g_assert_cmpuint(lease->slot, ==, 1);
    g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, 0);
}

static void test_held_already(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 2);
    VfLease *lease = assert_lease(allocator, pool, 0, "net0", 1, VF_GRANTED);

    g_assert_true(assert_lease(allocator, pool, 0, "net0", VF_NO_SLOT, VF_HELD_ALREADY) == lease);
    g_assert_true(assert_lease(allocator, pool, 0, "net0", 1, VF_HELD_ALREADY) == lease);
    g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, 1);
}

static void test_held_elsewhere(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 2), other = vf_allocator_add_pool(allocator, 2);
    VfLease *lease = assert_lease(allocator, pool, 0, "net0", 1, VF_GRANTED);

    g_assert_true(assert_lease(allocator, pool, 0, "net0", 0, VF_HELD_ELSEWHERE) == lease);
    g_assert_true(assert_lease(allocator, other, 0, "net0", 1, VF_HELD_ELSEWHERE) == lease);
    g_assert_true(assert_lease(allocator, other, 0, "net0", VF_NO_SLOT, VF_HELD_ELSEWHERE) ==
                  lease);
}

static void test_taken(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 2);
    VfLease *lease = assert_lease(allocator, pool, 0, "net0", 1, VF_GRANTED);

    g_assert_true(assert_lease(allocator, pool, 1, "net0", 1, VF_TAKEN) == lease);
    g_assert_null(vf_allocator_find(allocator, uuids[1], "net0"));
    // Also when the slot would not be given out otherwise: who has it is the better answer.
    vf_allocator_set_usable(allocator, pool, 1, FALSE);
    g_assert_true(assert_lease(allocator, pool, 1, "net0", 1, VF_TAKEN) == lease);
}

static void test_not_usable(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 2);

    vf_allocator_set_usable(allocator, pool, 0, FALSE);
    g_assert_false(vf_allocator_usable(allocator, pool, 0));
    g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, 1);
    assert_lease(allocator, pool, 0, "net0", 0, VF_NOT_USABLE);
    g_assert_cmpuint(assert_lease(allocator, pool, 0, "net0", VF_NO_SLOT, VF_GRANTED)->slot, ==, 1);
    assert_lease(allocator, pool, 1, "net0", VF_NO_SLOT, VF_NONE_FREE);
    vf_allocator_set_usable(allocator, pool, 0, TRUE);
    assert_lease(allocator, pool, 1, "net0", VF_NO_SLOT, VF_GRANTED);
}

static void test_lease_outlives_usable(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 1);
    VfLease *lease = assert_lease(allocator, pool, 0, "net0", 0, VF_GRANTED);

    vf_allocator_set_usable(allocator, pool, 0, FALSE);
    g_assert_true(vf_allocator_at(allocator, pool, 0) == lease);
    vf_allocator_release(allocator, lease);
    g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, 0);
    assert_lease(allocator, pool, 0, "net0", VF_NO_SLOT, VF_NONE_FREE);
}

static void test_empty_pool(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 0);

    assert_lease(allocator, pool, 0, "net0", VF_NO_SLOT, VF_NONE_FREE);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[0], "net0", NULL, 0), ==,
                     VF_NO_SLOT);
}

static void test_lease_where_it_points(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 3);

    vf_allocator_point_at(allocator, pool, uuids[0], "net0", 2);
    g_assert_cmpuint(assert_lease(allocator, pool, 0, "net0", VF_NO_SLOT, VF_GRANTED)->slot, ==, 2);
    // Somebody else's pointer is only a reason to stay away.
    vf_allocator_point_at(allocator, pool, uuids[1], "net0", 0);
    g_assert_cmpuint(assert_lease(allocator, pool, 2, "net0", VF_NO_SLOT, VF_GRANTED)->slot, ==, 1);
    g_assert_cmpuint(assert_lease(allocator, pool, 3, "net0", VF_NO_SLOT, VF_GRANTED)->slot, ==, 0);
}

static void test_spreads(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 2);

    for (guint i = 0; i < G_N_ELEMENTS(uuids); i++)
        g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[i], "net0", NULL, 0), ==, i % 2);
    g_assert_cmpuint(vf_allocator_pointers(allocator, pool, 0), ==, 3);
    g_assert_cmpuint(vf_allocator_pointers(allocator, pool, 1), ==, 2);
    vf_allocator_unpoint(allocator, uuids[0], "net0");
    vf_allocator_unpoint(allocator, uuids[2], "net0");
    g_assert_cmpuint(vf_allocator_pointers(allocator, pool, 0), ==, 1);
    // Where it points already is where it stays.
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[3], "net0", NULL, 0), ==, 1);
}

static void test_distinct_in_a_domain(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 3);
    static const char *const devices[] = {"a", "b", "c"};
    guint avoid[4];

    for (guint i = 0; i < 3; i++) {
        avoid[i] = vf_allocator_point(allocator, pool, uuids[0], devices[i], avoid, i);
        g_assert_cmpuint(avoid[i], ==, i);
    }
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[0], "d", avoid, 3), ==, VF_NO_SLOT);
    // A slot named twice, and one that was unusable before, are as they were.
    vf_allocator_set_usable(allocator, pool, 2, FALSE);
    avoid[3] = avoid[0];
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[1], "a", avoid, 4), ==, VF_NO_SLOT);
    g_assert_true(vf_allocator_usable(allocator, pool, 0));
    g_assert_false(vf_allocator_usable(allocator, pool, 2));
    g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, 2);
}

static void test_no_slot_takes_the_pointer(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 1), avoid = 0;

    vf_allocator_point(allocator, pool, uuids[0], "a", NULL, 0);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[0], "a", &avoid, 1), ==, VF_NO_SLOT);
    g_assert_cmpuint(vf_allocator_pointers(allocator, pool, 0), ==, 0);
}

static void test_point_at_leased(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 2);

    assert_lease(allocator, pool, 0, "net0", 0, VF_GRANTED);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[1], "net0", NULL, 0), ==, 1);
    assert_lease(allocator, pool, 1, "net0", 1, VF_GRANTED);
    // Every slot is leased: the fewest pointers decide, and a pointer stays where it is.
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[2], "net0", NULL, 0), ==, 0);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[3], "net0", NULL, 0), ==, 0);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[2], "net0", NULL, 0), ==, 0);
    vf_allocator_set_usable(allocator, pool, 0, FALSE);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[2], "net0", NULL, 0), ==, 1);
}

static void test_point_at_own_lease(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 3), avoid = 2;

    vf_allocator_point_at(allocator, pool, uuids[0], "net0", 0);
    assert_lease(allocator, pool, 0, "net0", 2, VF_GRANTED);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[0], "net0", NULL, 0), ==, 2);
    // Set aside or not: no other function would be given to it.
    vf_allocator_set_usable(allocator, pool, 2, FALSE);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[0], "net0", NULL, 0), ==, 2);
    g_assert_cmpuint(vf_allocator_point(allocator, pool, uuids[0], "net0", &avoid, 1), ==, 0);
}

static void test_pointer_moves_between_pools(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint a = vf_allocator_add_pool(allocator, 1), b = vf_allocator_add_pool(allocator, 1);

    vf_allocator_point(allocator, a, uuids[0], "net0", NULL, 0);
    vf_allocator_point(allocator, b, uuids[0], "net0", NULL, 0);
    g_assert_cmpuint(vf_allocator_pointers(allocator, a, 0), ==, 0);
    g_assert_cmpuint(vf_allocator_pointers(allocator, b, 0), ==, 1);
}

static void test_many_pointers(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint pool = vf_allocator_add_pool(allocator, 1);

    for (guint i = 0; i < 70000; i++) {
        g_autofree char *uuid = g_strdup_printf("%08x-0000-4000-8000-000000000000", i);

        vf_allocator_point_at(allocator, pool, uuid, "net0", 0);
    }
    g_assert_cmpuint(vf_allocator_pointers(allocator, pool, 0), ==, 70000);
    g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, 1);
    assert_lease(allocator, pool, 0, "net0", VF_NO_SLOT, VF_GRANTED);
}

static void test_leases_in_order(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    guint a = vf_allocator_add_pool(allocator, 2), b = vf_allocator_add_pool(allocator, 2);
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(GPtrArray) own = NULL;
    GString *order = g_string_new(NULL);

    assert_lease(allocator, b, 0, "x", 0, VF_GRANTED);
    assert_lease(allocator, a, 1, "y", 1, VF_GRANTED);
    assert_lease(allocator, a, 0, "z", 0, VF_GRANTED);
    all = vf_allocator_leases(allocator, NULL);
    for (guint i = 0; i < all->len; i++)
        g_string_append(order, ((VfLease *)g_ptr_array_index(all, i))->device);
    g_assert_cmpstr(order->str, ==, "zyx");
    own = vf_allocator_leases(allocator, uuids[0]);
    g_assert_cmpuint(own->len, ==, 2);
    g_string_free(order, TRUE);
}

static void test_state_names(void)
{
    VfLeaseState state;

    for (guint i = VF_LEASE_RESERVED; i <= VF_LEASE_RELEASING; i++) {
        g_assert_true(vf_lease_state_parse(vf_lease_state_name(i), &state));
        g_assert_cmpuint(state, ==, i);
    }
    g_assert_false(vf_lease_state_parse("Ready", &state));
    g_assert_false(vf_lease_state_parse("", &state));
}

// ---- the model: what each slot and each claim is, in plain arrays

#define POOLS 2
#define SLOTS 5
#define DEVICES 2
#define CLAIMS (G_N_ELEMENTS(uuids) * DEVICES)

typedef struct {
    gboolean usable[POOLS][SLOTS];
    int lease[CLAIMS], pointer[CLAIMS]; // pool * SLOTS + slot, or -1
} Model;

static const char *const device_names[DEVICES] = {"net0", "net1"};

static int model_holder(const Model *model, int place)
{
    for (guint c = 0; c < CLAIMS; c++)
        if (model->lease[c] == place)
            return (int)c;
    return -1;
}

static guint model_pressure(const Model *model, int place)
{
    guint count = 0;

    for (guint c = 0; c < CLAIMS; c++)
        count += model->pointer[c] == place;
    return count;
}

static gboolean model_free(const Model *model, guint pool, guint slot)
{
    return model->usable[pool][slot] && model_holder(model, (int)(pool * SLOTS + slot)) < 0;
}

// The free slot with the fewest pointers, lowest first.
static guint model_best(const Model *model, guint pool)
{
    guint best = VF_NO_SLOT, fewest = G_MAXUINT;

    for (guint slot = 0; slot < SLOTS; slot++) {
        guint pressure = model_pressure(model, (int)(pool * SLOTS + slot));

        if (model_free(model, pool, slot) && pressure < fewest) {
            fewest = pressure;
            best = slot;
        }
    }
    return best;
}

static VfAnswer model_lease(Model *model, guint pool, guint claim, guint wanted)
{
    int held = model->lease[claim], points = model->pointer[claim];

    if (held >= 0)
        return (guint)held / SLOTS == pool &&
                       (wanted == VF_NO_SLOT || (guint)held % SLOTS == wanted)
                   ? VF_HELD_ALREADY
                   : VF_HELD_ELSEWHERE;
    if (wanted == VF_NO_SLOT) {
        gboolean there = points >= 0 && (guint)points / SLOTS == pool &&
                         model_free(model, pool, (guint)points % SLOTS);

        wanted = there ? (guint)points % SLOTS : model_best(model, pool);
        if (wanted == VF_NO_SLOT)
            return VF_NONE_FREE;
    }
    if (model_holder(model, (int)(pool * SLOTS + wanted)) >= 0)
        return VF_TAKEN;
    if (!model->usable[pool][wanted])
        return VF_NOT_USABLE;
    model->lease[claim] = (int)(pool * SLOTS + wanted);
    return VF_GRANTED;
}

static void compare_slot(const VfAllocator *allocator, const Model *model, guint pool, guint slot)
{
    int place = (int)(pool * SLOTS + slot), holder = model_holder(model, place);
    VfLease *lease = vf_allocator_at(allocator, pool, slot);

    g_assert_cmpuint(vf_allocator_pointers(allocator, pool, slot), ==,
                     model_pressure(model, place));
    g_assert_cmpint(vf_allocator_usable(allocator, pool, slot), ==, model->usable[pool][slot]);
    if (holder < 0) {
        g_assert_null(lease);
        return;
    }
    g_assert_cmpstr(lease->uuid, ==, uuids[holder / DEVICES]);
    g_assert_cmpstr(lease->device, ==, device_names[holder % DEVICES]);
    g_assert_true(vf_allocator_find(allocator, lease->uuid, lease->device) == lease);
}

static void compare(const VfAllocator *allocator, const Model *model)
{
    for (guint pool = 0; pool < POOLS; pool++) {
        guint available = 0;

        for (guint slot = 0; slot < SLOTS; slot++) {
            compare_slot(allocator, model, pool, slot);
            available += model_free(model, pool, slot);
        }
        g_assert_cmpuint(vf_allocator_free_slots(allocator, pool), ==, available);
    }
}

static void operate(VfAllocator *allocator, Model *model, GRand *rand)
{
    guint claim = (guint)g_rand_int_range(rand, 0, CLAIMS);
    guint pool = (guint)g_rand_int_range(rand, 0, POOLS);
    guint slot = (guint)g_rand_int_range(rand, 0, SLOTS);
    const char *uuid = uuids[claim / DEVICES], *device = device_names[claim % DEVICES];
    VfLease *lease;

    switch (g_rand_int_range(rand, 0, 7)) {
    case 0:
        slot = VF_NO_SLOT; // fall through
    case 1:
        g_assert_cmpint(vf_allocator_lease(allocator, pool, uuid, device, slot, &lease), ==,
                        model_lease(model, pool, claim, slot));
        break;
    case 2:
    case 3:
        lease = vf_allocator_find(allocator, uuid, device);
        g_assert_cmpint(lease != NULL, ==, model->lease[claim] >= 0);
        if (lease != NULL)
            vf_allocator_release(allocator, lease);
        model->lease[claim] = -1;
        break;
    case 4:
        model->usable[pool][slot] = !model->usable[pool][slot];
        vf_allocator_set_usable(allocator, pool, slot, model->usable[pool][slot]);
        break;
    case 5:
        vf_allocator_unpoint(allocator, uuid, device);
        model->pointer[claim] = -1;
        break;
    default: {
        guint got = vf_allocator_point(allocator, pool, uuid, device, &slot, 1);

        g_assert_true(got == VF_NO_SLOT || (got < SLOTS && got != slot));
        model->pointer[claim] = got == VF_NO_SLOT ? -1 : (int)(pool * SLOTS + got);
        break;
    }
    }
}

static void test_random(void)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    g_autoptr(GRand) rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    Model model;

    memset(&model.lease, -1, sizeof(model.lease));
    memset(&model.pointer, -1, sizeof(model.pointer));
    for (guint pool = 0; pool < POOLS; pool++) {
        vf_allocator_add_pool(allocator, SLOTS);
        for (guint slot = 0; slot < SLOTS; slot++)
            model.usable[pool][slot] = TRUE;
    }
    for (guint i = 0; i < 100000; i++) {
        operate(allocator, &model, rand);
        compare(allocator, &model);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/allocator/grant", test_grant);
    g_test_add_func("/allocator/held-already", test_held_already);
    g_test_add_func("/allocator/held-elsewhere", test_held_elsewhere);
    g_test_add_func("/allocator/taken", test_taken);
    g_test_add_func("/allocator/not-usable", test_not_usable);
    g_test_add_func("/allocator/lease-outlives-usable", test_lease_outlives_usable);
    g_test_add_func("/allocator/empty-pool", test_empty_pool);
    g_test_add_func("/allocator/lease-where-it-points", test_lease_where_it_points);
    g_test_add_func("/allocator/spreads", test_spreads);
    g_test_add_func("/allocator/distinct-in-a-domain", test_distinct_in_a_domain);
    g_test_add_func("/allocator/no-slot-takes-the-pointer", test_no_slot_takes_the_pointer);
    g_test_add_func("/allocator/point-at-leased", test_point_at_leased);
    g_test_add_func("/allocator/point-at-own-lease", test_point_at_own_lease);
    g_test_add_func("/allocator/pointer-moves-between-pools", test_pointer_moves_between_pools);
    g_test_add_func("/allocator/many-pointers", test_many_pointers);
    g_test_add_func("/allocator/leases-in-order", test_leases_in_order);
    g_test_add_func("/allocator/state-names", test_state_names);
    g_test_add_func("/allocator/random-operations", test_random);
    return g_test_run();
}
