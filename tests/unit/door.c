// SPDX-License-Identifier: GPL-2.0-or-later
//
// The door that reconfs pass: who gets in, and what opens it again.

#include "door.h"

static const char first[] = "00000000-0000-4000-8000-000000000000";
static const char second[] = "11111111-0000-4000-8000-000000000000";

static void test_open(void)
{
    g_autoptr(VfDoor) door = vf_door_new();

    g_assert_true(vf_door_enter(door));
    g_assert_true(vf_door_enter(door));
    g_assert_cmpuint(vf_door_inside(door), ==, 2);
    vf_door_leave(door);
    g_assert_cmpuint(vf_door_inside(door), ==, 1);
    g_assert_false(vf_door_is_closed(door));
    g_assert_false(vf_door_open(door, 1000)); // it is open
}

static void test_closed(void)
{
    g_autoptr(VfDoor) door = vf_door_new();

    g_assert_true(vf_door_enter(door));
    vf_door_close(door, 100);
    g_assert_true(vf_door_is_closed(door));
    g_assert_false(vf_door_enter(door));
    g_assert_cmpuint(vf_door_inside(door), ==, 1); // who was inside still is
    vf_door_leave(door);
    g_assert_false(vf_door_open(door, 99)); // nobody is awaited, but it is not settled
    g_assert_false(vf_door_enter(door));
}

static void test_nobody_is_awaited(void)
{
    g_autoptr(VfDoor) door = vf_door_new();

    vf_door_close(door, 100);
    vf_door_settle(door);
    g_assert_true(vf_door_open(door, 0));
    g_assert_true(vf_door_enter(door));
}

static void test_all_are_met(void)
{
    g_autoptr(VfDoor) door = vf_door_new();

    vf_door_close(door, 100);
    vf_door_await(door, first);
    vf_door_await(door, second);
    vf_door_await(door, first); // it has two functions
    vf_door_settle(door);
    g_assert_false(vf_door_met(door, "22222222-0000-4000-8000-000000000000"));
    g_assert_true(vf_door_met(door, first));
    g_assert_false(vf_door_open(door, 50));
    g_assert_false(vf_door_met(door, first));
    g_assert_true(vf_door_met(door, second));
    g_assert_true(vf_door_open(door, 50));
    g_assert_false(vf_door_open(door, 50));
}

static void test_deadline(void)
{
    g_autoptr(VfDoor) door = vf_door_new();

    vf_door_close(door, 100);
    vf_door_await(door, first);
    vf_door_settle(door);
    g_assert_false(vf_door_open(door, 99));
    g_assert_true(vf_door_open(door, 100));
    g_autoptr(GList) awaited = vf_door_awaited(door);
    g_assert_cmpuint(g_list_length(awaited), ==, 1); // who did not come can be told
    g_assert_cmpstr(awaited->data, ==, first);
}

// The libvirt daemon ended again before it was up.
static void test_closed_again(void)
{
    g_autoptr(VfDoor) door = vf_door_new();

    vf_door_close(door, 100);
    vf_door_await(door, first);
    vf_door_settle(door);
    vf_door_close(door, 200);
    g_assert_false(vf_door_is_settled(door));
    g_assert_cmpint(vf_door_deadline(door), ==, 200);
    g_assert_null(vf_door_awaited(door));
    g_assert_false(vf_door_open(door, 199));
    g_assert_true(vf_door_open(door, 200));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/door/open", test_open);
    g_test_add_func("/door/closed", test_closed);
    g_test_add_func("/door/nobody-is-awaited", test_nobody_is_awaited);
    g_test_add_func("/door/all-are-met", test_all_are_met);
    g_test_add_func("/door/deadline", test_deadline);
    g_test_add_func("/door/closed-again", test_closed_again);
    return g_test_run();
}
