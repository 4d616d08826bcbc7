/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Calls into the fake kernel that wait for as long as a test wants
 *
 * So a test can do something in the middle of a pause or a resume, and show
 * that QEMU's lock is free there.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "vfio-pause-lib.h"

void hold(FvHeld *calls)
{
    g_assert_false(calls->overdue);
    qatomic_set(&calls->hold, true);
}

void wait_for(const int *value)
{
    int ms;

    for (ms = 0; !qatomic_read(value); ms++) {
        g_assert_cmpint(ms, <, FV_HOLD_MS);
        g_usleep(1000);
    }
}

void let_go(FvHeld *calls)
{
    g_assert_cmpint(calls->held, ==, 1);
    g_assert_false(calls->overdue);
    qatomic_set(&calls->hold, false);
}

/* QEMU answers, and so its lock is free, while the call goes on. */
void assert_answers(PauseTest *t, FvHeld *calls, const char *state)
{
    uint32_t before = calls->calls;
    g_autofree char *now = query_state(t, 0);
    int i;

    g_assert_cmpstr(now, ==, state);
    for (i = 0; i < 10; i++) {
        qtest_qmp_assert_success(t->qts, "{ 'execute': 'query-status' }");
        qtest_writel(t->qts, RAM_MSI + 0x1000, i);
        g_assert_cmpint(qtest_readl(t->qts, RAM_MSI + 0x1000), ==, i);
        g_assert_cmphex(qtest_readl(t->qts, bar(0, 0)), ==, 0xffffffff);
    }
    g_assert_cmpint(calls->held, ==, 1);
    g_assert_cmpint(calls->calls, ==, before);
    g_assert_false(calls->overdue);
}

/* The guest's device is unplugged while the call waits. */
void del_while_held(PauseTest *t, FvHeld *calls)
{
    bool deleted = false;
    int i, fds, maps;

    wait_for(&calls->held);
    qtest_qmp_device_del_send(t->qts, "d0");
    guest_unplugs(t, 0);
    g_assert_null(query(t, 0));
    let_go(calls);
    /* which tells that the operation has ended, too */
    while (!deleted) {
        QDict *event = wait_event(t, "DEVICE_DELETED");

        deleted = qdict_haskey(qdict_get_qdict(event, "data"), "device");
        qobject_unref(event);
    }
    for (i = 0; i < 1000; i++) {
        count_refs(t, &fds, &maps);
        if (!fds && !maps) {
            break;
        }
        g_usleep(10 * 1000);
    }
    assert_released(t);
    g_assert_cmpint(t->fv->device[0].opens, ==, t->fv->device[0].closes);
}
