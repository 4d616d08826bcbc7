/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each call into the kernel fails once, in a pause and in a resume
 *
 * Whatever fails, the device ends running or paused, holds what belongs to
 * that state and nothing else, and the next try works.
 */

#include "qemu/osdep.h"
#include "vfio-pause-lib.h"

/* Enough for any operation here; reached only by one that never succeeds */
#define MANY 500

/* The state a device is in, checked to be consistent; true if it runs. */
static bool check(PauseTest *t, int nth, int ram)
{
    g_autofree char *state = query_state(t, 0);
    bool running = !strcmp(state, "running");

    g_test_message("call %d (kind %d, ioctl 0x%lx): %s, %d mapped for DMA",
                   nth, t->fv->fail.fired_kind, t->fv->fail.fired_cmd, state,
                   dma_maps(t));
    if (running) {
        assert_running(t, 0);
        /* without its BARs vfio goes on, for accesses among devices */
        g_assert_cmpint(dma_maps_of_ram(t), ==, ram);
    } else {
        g_assert_cmpstr(state, ==, "paused");
        assert_released(t);
    }
    return running;
}

static void fail_pauses(PauseTest *t, int kinds, int error)
{
    bool fired = true;
    int nth, ram = dma_maps_of_ram(t);

    for (nth = 1; fired; nth++) {
        QDict *response;

        g_assert_cmpint(nth, <, MANY);
        fail_nth(t, kinds, nth, error);
        response = qtest_qmp(t->qts, "{ 'execute': 'vfio-pause', "
                             "'arguments': { 'id': 'd0' } }");
        if (qdict_haskey(response, "return")) {
            g_free(wait_end(t, 0, NULL));
        }
        qobject_unref(response);
        fired = fail_end(t);
        if (check(t, nth, ram)) {
            g_assert_true(fired);
            pause_ok(t, 0);
        }
        resume_ok(t, 0);
        assert_running(t, 0);
    }
    g_assert_cmpint(nth, >, 2);
}

static void fail_resumes(PauseTest *t, int kinds, int error)
{
    bool fired = true;
    int nth, ram = dma_maps_of_ram(t);

    for (nth = 1; fired; nth++) {
        QDict *response;

        g_assert_cmpint(nth, <, MANY);
        pause_ok(t, 0);
        fail_nth(t, kinds, nth, error);
        response = qtest_qmp(t->qts, "{ 'execute': 'vfio-resume', "
                             "'arguments': { 'id': 'd0' } }");
        if (qdict_haskey(response, "return")) {
            g_free(wait_end(t, 0, NULL));
        }
        qobject_unref(response);
        fired = fail_end(t);
        if (!check(t, nth, ram)) {
            QDict *info = query(t, 0);

            g_assert_true(fired);
            g_assert(qdict_haskey(info, "error"));
            qobject_unref(info);
            resume_ok(t, 0);
            assert_running(t, 0);
        }
    }
    g_assert_cmpint(nth, >, 2);
}

static void test_pause_ioctl(PauseTest *t)
{
    fail_pauses(t, FV_IOCTL, EIO);
}

static void test_pause_any(PauseTest *t)
{
    fail_pauses(t, FV_ANY, ENOMEM);
}

static void test_resume_ioctl(PauseTest *t)
{
    fail_resumes(t, FV_IOCTL, EIO);
}

static void test_resume_any(PauseTest *t)
{
    fail_resumes(t, FV_ANY, ENOMEM);
}

static void test_resume_denied(PauseTest *t)
{
    fail_resumes(t, FV_OPEN, EACCES);
}

void add_failure_cases(void)
{
    add_case("failure/pause-ioctl", test_pause_ioctl, 1);
    add_case("failure/pause-any", test_pause_any, 1);
    add_case("failure/resume-ioctl", test_resume_ioctl, 1);
    add_case("failure/resume-any", test_resume_any, 1);
    add_case("failure/resume-open", test_resume_denied, 1);
}
