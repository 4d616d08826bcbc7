/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What else happens to QEMU or the device while it is pausing, paused or
 * resuming
 *
 * Slow resets of the fake device keep an operation going for long enough.
 */

#include "qemu/osdep.h"
#include "vfio-pause-lib.h"

void device_del(PauseTest *t)
{
    QDict *event;

    qtest_qmp_device_del_send(t->qts, "d0");
    guest_unplugs(t, 0);
    do {
        event = wait_event(t, "DEVICE_DELETED");
        if (qdict_haskey(qdict_get_qdict(event, "data"), "device")) {
            break;
        }
        qobject_unref(event);
    } while (true);
    qobject_unref(event);
}

/* The worker threads may be a little behind. */
static void assert_released_soon(PauseTest *t)
{
    int i, fds, maps;

    for (i = 0; i < 200; i++) {
        count_refs(t, &fds, &maps);
        if (!fds && !maps) {
            break;
        }
        g_usleep(10 * 1000);
    }
    assert_released(t);
}

static void quit(PauseTest *t)
{
    qtest_quit(t->qts); /* asserts that QEMU ends well */
    t->qts = NULL;
}

static void assert_gone(PauseTest *t)
{
    assert_released_soon(t);
    g_assert_null(query(t, 0));
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', "
                           "'arguments': { 'id': 'd0' } }"), "'d0'");
}

static void test_del_running(PauseTest *t)
{
    pause_ok(t, 0);
    resume_ok(t, 0);
    device_del(t);
    assert_gone(t);
}

static void test_del_paused(PauseTest *t)
{
    pause_ok(t, 0);
    device_del(t);
    assert_gone(t);
}

static void test_del_pausing(PauseTest *t)
{
    t->fv->device[0].close_ms = 300;
    pause_begin(t, 0);
    device_del(t);
    assert_gone(t);
}

static void test_del_resuming(PauseTest *t)
{
    pause_ok(t, 0);
    t->fv->device[0].open_ms = 300;
    resume_begin(t, 0);
    device_del(t);
    assert_gone(t);
}

/*
 * At one moment after the other, a quarter of a millisecond apart: also while
 * an operation rests to let the guest's processors have the lock.
 */
static void del_at_moments(PauseTest *t, bool resuming)
{
    int i;

    for (i = 0; i < 16; i++) {
        pause_start(t, NULL);
        guest_setup(t, 0);
        if (resuming) {
            pause_ok(t, 0);
            resume_begin(t, 0);
        } else {
            pause_begin(t, 0);
        }
        g_usleep(i * 250);
        device_del(t);
        assert_gone(t);
        quit(t);
        forget_events(t);
    }
}

static void test_del_pausing_moments(PauseTest *t)
{
    del_at_moments(t, false);
}

static void test_del_resuming_moments(PauseTest *t)
{
    del_at_moments(t, true);
}

/* A removed device leaves nothing behind that would block a migration. */
static void test_del_unblocks(PauseTest *t)
{
    QDict *response;

    pause_ok(t, 0);
    device_del(t);
    response = qtest_qmp(t->qts, "{ 'execute': 'query-migrate' }");
    g_assert_false(qdict_haskey(qdict_get_qdict(response, "return"),
                                "blocked-reasons"));
    qobject_unref(response);
}

static void test_stop_cont(PauseTest *t)
{
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'stop' }");
    pause_ok(t, 0);
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'cont' }");
    g_assert_cmphex(qtest_readl(t->qts, bar(0, 0)), ==, 0xffffffff);
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'stop' }");
    resume_ok(t, 0);
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'cont' }");
    assert_running(t, 0);
}

/* A reset in the midst of an operation, which must not touch the device */
static void test_reset_during(PauseTest *t)
{
    t->fv->device[0].close_ms = t->fv->device[0].open_ms = 300;
    pause_begin(t, 0);
    system_reset(t);
    g_free(wait_end(t, 0, "paused"));
    assert_released(t);
    resume_begin(t, 0);
    system_reset(t);
    g_free(wait_end(t, 0, "running"));
    guest_setup(t, 0);
    assert_running(t, 0);
}

static void start_to_quit(PauseTest *t)
{
    t->quits_early = true;
    pause_start(t, NULL);
    guest_setup(t, 0);
}

static void test_quit_paused(PauseTest *t)
{
    pause_ok(t, 0);
    quit(t);
}

static void test_quit_pausing(PauseTest *t)
{
    start_to_quit(t);
    t->fv->device[0].close_ms = 300;
    pause_begin(t, 0);
    quit(t);
}

static void test_quit_resuming(PauseTest *t)
{
    start_to_quit(t);
    pause_ok(t, 0);
    t->fv->device[0].open_ms = 300;
    resume_begin(t, 0);
    quit(t);
}

static bool sanitized(void)
{
    g_autofree char *text = NULL;
    gsize len;

    g_assert(g_file_get_contents(g_getenv("QTEST_QEMU_BINARY"), &text, &len,
                                 NULL));
    return memmem(text, len, "__asan_init", 11);
}

/*
 * What the memory API replaces is freed by RCU, in a thread that falls behind
 * when the machine is busy.  QEMU waits for it when a device cannot be added.
 */
static void drain_rcu(PauseTest *t)
{
    QDict *response = qtest_qmp(t->qts, "{ 'execute': 'device_add',"
                                "  'arguments': { 'driver': 'none' } }");

    g_assert(qdict_haskey(response, "error"));
    qobject_unref(response);
}

/* RSS without what is free: the least of some tries, unless one is enough */
static int settled_rss_kib(PauseTest *t, int enough)
{
    int i, least = INT_MAX;

    for (i = 0; i < 20 && least > enough; i++) {
        drain_rcu(t);
        t->fv->trim = true;
        pause_ok(t, 0);
        t->fv->trim = false;
        resume_ok(t, 0);
        least = MIN(least, rss_kib(t));
    }
    return least;
}

static void test_cycles(PauseTest *t)
{
    int i, fds = 0, maps = 0, limit = 0, rss;

    for (i = 0; i < 10000; i++) {
        if (i == 1000) {
            rss = settled_rss_kib(t, 0);
            limit = rss + rss / 100 + 256;
            fds = all_fds(t);
            maps = all_maps(t);
        }
        if (i % 100 == 0) {
            drain_rcu(t);
        }
        pause_ok(t, 0);
        resume_ok(t, 0);
    }
    rss = settled_rss_kib(t, limit);
    g_test_message("%d fds, %d -> %d mappings, %d KiB, at most %d", fds, maps,
                   all_maps(t), rss, limit);
    g_assert_cmpint(all_fds(t), ==, fds);
    /*
     * Worker threads come and go, with a stack and its guard each; a
     * sanitizer keeps freed memory, in maps of its own, up to a limit.
     */
    g_assert_cmpint(all_maps(t), <=, maps + (sanitized() ? 100 : 8));
    if (!sanitized()) {
        g_assert_cmpint(rss, <=, limit);
    }
    assert_running(t, 0);
}

void add_life_cases(void)
{
    add_case("del/running", test_del_running, 1);
    add_case("del/paused", test_del_paused, 1);
    add_case("del/pausing", test_del_pausing, 1);
    add_case("del/resuming", test_del_resuming, 1);
    add_case("del/pausing-moments", test_del_pausing_moments, 0);
    add_case("del/resuming-moments", test_del_resuming_moments, 0);
    add_case("del/unblocks", test_del_unblocks, 1);
    add_case("stop-cont", test_stop_cont, 1);
    add_case("reset-during", test_reset_during, 1);
    add_case("quit/paused", test_quit_paused, 1);
    add_case("quit/pausing", test_quit_pausing, 0);
    add_case("quit/resuming", test_quit_resuming, 0);
    add_case("cycles", test_cycles, 1);
}
