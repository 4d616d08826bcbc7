// SPDX-License-Identifier: GPL-2.0-or-later
//
// Time slices of one region: turns by weight, the minimum slice, absence, and the fairness figures.

#include "slices.h"

#define PERIOD 10000
#define MINIMUM 1000

// Turns until `total` has run, each of its whole slice.
static void run(VfSlices *slices, gint64 total)
{
    while (total > 0) {
        gint64 length;
        guint next = vf_slices_next(slices, &length);

        g_assert_cmpuint(next, !=, VF_SLICES_NONE);
        length = MIN(length, PERIOD);
        vf_slices_ran(slices, next, length, 0);
        total -= length;
    }
}

static void assert_near(double value, double wanted, double by)
{
    g_assert_cmpfloat_with_epsilon(value, wanted, by);
}

static void test_nobody(void)
{
    VfSlices slices;
    gint64 length;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    g_assert_cmpuint(vf_slices_next(&slices, &length), ==, VF_SLICES_NONE);
    vf_slices_set_ready(&slices, vf_slices_join(&slices, 1), FALSE);
    g_assert_cmpuint(vf_slices_next(&slices, &length), ==, VF_SLICES_NONE);
    assert_near(vf_slices_fairness(&slices), 1, 1e-9);
    assert_near(vf_slices_overhead(&slices), 0, 1e-9);
}

static void test_alone(void)
{
    VfSlices slices;
    gint64 length;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    guint a = vf_slices_join(&slices, 3), b = vf_slices_join(&slices, 1);
    vf_slices_set_ready(&slices, b, FALSE);
    g_assert_cmpuint(vf_slices_next(&slices, &length), ==, a);
    g_assert_cmpint(length, ==, G_MAXINT64);
}

static void test_by_weight(void)
{
    VfSlices slices;
    gint64 length;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    guint a = vf_slices_join(&slices, 3), b = vf_slices_join(&slices, 1);
    g_assert_cmpuint(vf_slices_next(&slices, &length), ==, a);
    g_assert_cmpint(length, ==, PERIOD * 3 / 4);
    vf_slices_ran(&slices, a, length, 0);
    g_assert_cmpuint(vf_slices_next(&slices, &length), ==, b);
    g_assert_cmpint(length, ==, PERIOD / 4);
    vf_slices_ran(&slices, b, length, 0);
    run(&slices, 100 * PERIOD);
    assert_near((double)slices.sharers[a].ran / (double)slices.sharers[b].ran, 3, 0.1);
    assert_near(vf_slices_share(&slices, a), 1, 0.02);
    assert_near(vf_slices_fairness(&slices), 1, 0.001);
    // What counts is what they had, not what was given: one that overran is second for longer.
    vf_slices_ran(&slices, a, 100 * PERIOD, 0);
    for (guint i = 0; i < 10; i++) {
        g_assert_cmpuint(vf_slices_next(&slices, &length), ==, b);
        vf_slices_ran(&slices, b, length, 0);
    }
    g_assert_cmpfloat(vf_slices_fairness(&slices), <, 0.95);
}

static void test_weight_changes(void)
{
    VfSlices slices;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    guint a = vf_slices_join(&slices, 1), b = vf_slices_join(&slices, 1);
    run(&slices, 10 * PERIOD);
    gint64 before_a = slices.sharers[a].ran, before_b = slices.sharers[b].ran;
    vf_slices_set_weight(&slices, b, 4);
    run(&slices, 100 * PERIOD);
    assert_near((double)(slices.sharers[b].ran - before_b) /
                    (double)(slices.sharers[a].ran - before_a),
                4, 0.2);
}

static void test_minimum(void)
{
    VfSlices slices;
    gint64 length;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    guint light = vf_slices_join(&slices, 1), heavy = vf_slices_join(&slices, 99);
    g_assert_cmpuint(vf_slices_next(&slices, &length), ==, light);
    g_assert_cmpint(length, ==, MINIMUM);
    vf_slices_ran(&slices, light, length, 0);
    // It got ten times its part and waits so much longer.
    run(&slices, 100 * PERIOD);
    assert_near((double)slices.sharers[heavy].ran / (double)slices.sharers[light].ran, 99, 10);
}

static void test_absence_earns_nothing(void)
{
    VfSlices slices;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    guint a = vf_slices_join(&slices, 1), b = vf_slices_join(&slices, 1);
    vf_slices_set_ready(&slices, b, FALSE);
    run(&slices, 50 * PERIOD);
    vf_slices_set_ready(&slices, b, TRUE);
    guint late = vf_slices_join(&slices, 1);
    gint64 before = slices.sharers[a].ran;
    run(&slices, 30 * PERIOD);
    assert_near((double)(slices.sharers[a].ran - before), 10 * PERIOD, PERIOD);
    assert_near((double)slices.sharers[b].ran, 10 * PERIOD, PERIOD);
    assert_near((double)slices.sharers[late].ran, 10 * PERIOD, PERIOD);
    // Time without work is not held against anybody's fairness.
    assert_near(vf_slices_share(&slices, b), 1, 0.1);
    // Nor does leaving for a moment wash off what one has had.
    vf_slices_ran(&slices, a, 20 * PERIOD, 0);
    vf_slices_set_ready(&slices, a, FALSE);
    vf_slices_set_ready(&slices, a, TRUE);
    before = slices.sharers[a].ran;
    run(&slices, 10 * PERIOD);
    g_assert_cmpint(slices.sharers[a].ran, ==, before);
}

static void test_full(void)
{
    VfSlices slices;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    for (guint i = 0; i < VF_SLICES_MAX; i++)
        g_assert_cmpuint(vf_slices_join(&slices, 1), ==, i);
    g_assert_cmpuint(vf_slices_join(&slices, 1), ==, VF_SLICES_NONE);
    vf_slices_leave(&slices, 3);
    g_assert_cmpuint(vf_slices_join(&slices, 1), ==, 3);
}

static void test_overhead(void)
{
    VfSlices slices;

    vf_slices_init(&slices, PERIOD, MINIMUM);
    guint a = vf_slices_join(&slices, 1);
    vf_slices_ran(&slices, a, 900, 100);
    assert_near(vf_slices_overhead(&slices), 0.1, 1e-9);
    g_assert_cmpuint(slices.switches, ==, 1);
    g_assert_cmpuint(slices.sharers[a].turns, ==, 1);
}

// However they come, go, idle and overrun: all who always have work get turns by their weight.
static void test_random(void)
{
    VfSlices slices;
    g_autoptr(GRand) random = g_rand_new_with_seed((guint32)g_test_rand_int());

    vf_slices_init(&slices, PERIOD, MINIMUM);
    guint steady[] = {vf_slices_join(&slices, 1), vf_slices_join(&slices, 2),
                      vf_slices_join(&slices, 5)};
    guint guest = VF_SLICES_NONE;
    for (guint i = 0; i < 20000; i++) {
        gint64 length;
        guint next = vf_slices_next(&slices, &length);

        if (guest == VF_SLICES_NONE && g_rand_int_range(random, 0, 10) == 0)
            guest = vf_slices_join(&slices, (guint)g_rand_int_range(random, 1, 20));
        else if (guest != VF_SLICES_NONE && g_rand_boolean(random))
            vf_slices_set_ready(&slices, guest, g_rand_boolean(random));
        else if (guest != VF_SLICES_NONE && next != guest && g_rand_int_range(random, 0, 20) == 0) {
            vf_slices_leave(&slices, guest);
            guest = VF_SLICES_NONE;
        }
        g_assert_cmpint(length, >=, MINIMUM);
        vf_slices_ran(&slices, next, length + g_rand_int_range(random, 0, 500), 50);
    }
    gint64 unit = slices.sharers[steady[0]].ran;
    assert_near((double)slices.sharers[steady[1]].ran / (double)unit, 2, 0.02);
    assert_near((double)slices.sharers[steady[2]].ran / (double)unit, 5, 0.05);
    for (guint i = 0; i < G_N_ELEMENTS(steady); i++)
        assert_near(vf_slices_share(&slices, steady[i]), 1, 0.1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/slices/nobody", test_nobody);
    g_test_add_func("/slices/alone", test_alone);
    g_test_add_func("/slices/by-weight", test_by_weight);
    g_test_add_func("/slices/weight-changes", test_weight_changes);
    g_test_add_func("/slices/minimum", test_minimum);
    g_test_add_func("/slices/absence-earns-nothing", test_absence_earns_nothing);
    g_test_add_func("/slices/full", test_full);
    g_test_add_func("/slices/overhead", test_overhead);
    g_test_add_func("/slices/random", test_random);
    return g_test_run();
}
