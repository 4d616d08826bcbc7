/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * With which host device a paused device goes on
 */

#include "qemu/osdep.h"
#include <sys/file.h>
#include "vfio-pause-lib.h"

/* A resume that ends paused, for a reason with this part */
static void resume_fails(PauseTest *t, int n, const char *part)
{
    QDict *info;
    char *error;

    resume_begin(t, n);
    error = wait_end(t, n, "paused");
    info = query(t, n);
    g_assert_cmpstr(qdict_get_try_str(info, "error"), ==, error);
    qobject_unref(info);
    assert_error(error, part);
    assert_released(t);
}

static void test_other_identity(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    pause_ok(t, 0);
    d->device = 0x1111;
    resume_fails(t, 0, "vendor and device is 0x111110ee");
    d->device = 0x9048;
    d->bar0_size = 0x20000;
    resume_fails(t, 0, "region 0 has size 0x20000");
    d->bar0_size = 0x10000;
    d->vectors = 4;
    resume_fails(t, 0, "MSI-X table size");
    d->vectors = 8;
    resume_ok(t, 0);
    assert_running(t, 0);
}

static void test_absent(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];
    g_autofree char *path = host_path(t, 0);
    g_autofree char *away = g_strdup_printf("%s-away", path);

    pause_ok(t, 0);
    g_assert_cmpint(rename(path, away), ==, 0);
    resume_fails(t, 0, "");
    resume_fails(t, 0, "");
    g_assert_cmpint(rename(away, path), ==, 0);
    resume_ok(t, 0);
    assert_running(t, 0);
    g_assert_cmpint(d->opens, ==, 2);
}

/* On another function of the card, and back */
static void test_other_device(PauseTest *t)
{
    int n = host_add(t);
    g_autofree char *path = host_path(t, n);
    g_autofree char *home = host_path(t, 0);
    QDict *info;

    pause_ok(t, 0);
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
        "'arguments': { 'id': 'd0', 'host-device': %s } }", path);
    g_free(wait_end(t, 0, "running"));
    g_assert_true(t->fv->device[n].open);
    g_assert_false(t->fv->device[0].open);
    g_assert_cmphex(qtest_readl(t->qts, bar(0, 0)), ==, FV_MAGIC + n);
    info = query(t, 0);
    g_assert_cmpstr(qdict_get_str(info, "host-device"), ==, path);
    qobject_unref(info);

    /* the one used last is the default */
    pause_ok(t, 0);
    assert_released(t);
    resume_ok(t, 0);
    g_assert_true(t->fv->device[n].open);
    pause_ok(t, 0);
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
        "'arguments': { 'id': 'd0', 'host-device': %s } }", home);
    g_free(wait_end(t, 0, "running"));
    assert_running(t, 0);
}

/* One that fails is not the default for the next resume. */
static void test_other_device_fails(PauseTest *t)
{
    int n = host_add(t);
    g_autofree char *path = host_path(t, n);
    char *error;

    t->fv->device[n].device = 0x1111;
    pause_ok(t, 0);
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
        "'arguments': { 'id': 'd0', 'host-device': %s } }", path);
    error = wait_end(t, 0, "paused");
    assert_error(error, "vendor and device");
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
}

static void test_host_device_syntax(PauseTest *t)
{
    pause_ok(t, 0);
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', 'arguments': "
                           "{ 'id': 'd0', 'host-device': 'eth0' } }"),
                 "'eth0' is neither");
    resume_ok(t, 0);
}

/* Another numbering of groups and minors, as after a reboot of the card */
static void test_swapped(PauseTest *t)
{
    pause_ok(t, 0);
    pause_ok(t, 1);
    host_place(t, 0, 2, 1);
    host_place(t, 1, 1, 0);
    resume_ok(t, 0);
    resume_ok(t, 1);
    assert_running(t, 0);
    assert_running(t, 1);
}

/* An open file of a group or of a device, as a privileged process has it */
static int open_host(PauseTest *t, int n)
{
    g_autofree char *path = t->iommufd ?
        g_strdup_printf("%s/device-%d", t->dir, n) :
        g_strdup_printf("%s/group-%d", t->dir, t->fv->device[n].group);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    if (!t->iommufd) {
        g_assert_cmpint(flock(fd, LOCK_EX | LOCK_NB), ==, 0);
        t->fv->group[t->fv->device[n].group].open = true;
    }
    return fd;
}

static void pass(PauseTest *t, int fd)
{
    qtest_qmp_fds_assert_success(t->qts, &fd, 1, "{ 'execute': 'getfd', "
                                 "'arguments': { 'fdname': 'host' } }");
    close(fd);
}

static void test_passed_fd(PauseTest *t)
{
    int fds[3], maps[3];

    count_refs(t, &fds[0], &maps[0]);
    pause_ok(t, 0);
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', 'arguments': "
                           "{ 'id': 'd0', 'fd': 'host' } }"), "host");
    pass(t, open_host(t, 0));
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
                             "'arguments': { 'id': 'd0', 'fd': 'host' } }");
    g_free(wait_end(t, 0, "running"));
    assert_running(t, 0);
    count_refs(t, &fds[1], &maps[1]);
    g_assert_cmpint(fds[1], ==, fds[0]);
    g_assert_cmpint(maps[1], ==, maps[0]);

    /* the name is used up; the next resume opens by path */
    pause_ok(t, 0);
    assert_released(t);
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', 'arguments': "
                           "{ 'id': 'd0', 'fd': 'host' } }"), "host");
    resume_ok(t, 0);
    assert_running(t, 0);
}

/* Of another device: refused, and not kept open */
static void test_passed_wrong_fd(PauseTest *t)
{
    int n = host_add(t);

    t->fv->device[n].device = 0x1111;
    pause_ok(t, 0);
    pass(t, open_host(t, n));
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
                             "'arguments': { 'id': 'd0', 'fd': 'host' } }");
    g_free(wait_end(t, 0, "paused"));
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
}

static void test_passed_no_vfio(PauseTest *t)
{
    pause_ok(t, 0);
    pass(t, open("/dev/null", O_RDWR));
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
                             "'arguments': { 'id': 'd0', 'fd': 'host' } }");
    g_free(wait_end(t, 0, "paused"));
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
}

static bool overlap(const uint64_t a[2], const uint64_t b[2])
{
    return a[0] < b[1] && b[0] < a[1];
}

static void wait_all(PauseTest *t, int devices, const char *state)
{
    int ended;

    for (ended = 0; ended < devices; ) {
        QDict *event = wait_event(t, "VFIO_PAUSE_STATE");

        ended += !strcmp(qdict_get_str(qdict_get_qdict(event, "data"),
                                       "state"), state);
        qobject_unref(event);
    }
}

/*
 * The kernel resets several devices of a VM at the same time, also after
 * fewer were paused and resumed: no thread that this left waits for two.
 */
static void test_parallel(PauseTest *t)
{
    FvDevice *d = t->fv->device;
    int i;

    pause_ok(t, 0);
    resume_ok(t, 0);
    for (i = 0; i < 4; i++) {
        /* far more than a busy host needs to start four threads */
        d[i].open_ms = d[i].close_ms = 1000;
    }
    for (i = 0; i < 4; i++) {
        pause_begin(t, i);
    }
    wait_all(t, 4, "paused");
    assert_released(t);
    for (i = 0; i < 4; i++) {
        resume_begin(t, i);
    }
    wait_all(t, 4, "running");
    for (i = 0; i < 4; i++) {
        assert_running(t, i);
        g_assert_true(overlap(d[i].close_ns, d[(i + 1) % 4].close_ns));
        g_assert_true(overlap(d[i].open_ns, d[(i + 1) % 4].open_ns));
    }
}

/* While one is paused, another goes on. */
static void test_one_of_two(PauseTest *t)
{
    pause_ok(t, 0);
    assert_running(t, 1);
    g_assert_false(t->fv->device[0].open);
    pause_ok(t, 1);
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
    g_assert_false(t->fv->device[1].open);
    resume_ok(t, 1);
    assert_running(t, 1);
}

/* Devices that share a group can't be paused one by one. */
static void test_shared_group(PauseTest *t)
{
    int n = host_add(t);

    host_place(t, n, 1, n);
    t->devices = 2;
    pause_start(t, NULL);
    if (t->iommufd) {
        /* devices open by themselves there */
        pause_ok(t, 0);
        resume_ok(t, 0);
        return;
    }
    assert_error(qmp_error(t, "{ 'execute': 'vfio-pause', "
                           "'arguments': { 'id': 'd0' } }"), "group");
    assert_error(qmp_error(t, "{ 'execute': 'vfio-pause', "
                           "'arguments': { 'id': 'd1' } }"), "group");
}

void add_resume_cases(void)
{
    add_case("resume/other-identity", test_other_identity, 1);
    add_case("resume/absent", test_absent, 1);
    add_case("resume/other-device", test_other_device, 1);
    add_case("resume/other-device-fails", test_other_device_fails, 1);
    add_case("resume/host-device-syntax", test_host_device_syntax, 1);
    add_case("resume/swapped", test_swapped, 2);
    add_case("resume/passed-fd", test_passed_fd, 1);
    add_case("resume/passed-wrong-fd", test_passed_wrong_fd, 1);
    add_case("resume/passed-no-vfio", test_passed_no_vfio, 1);
    add_case("resume/parallel", test_parallel, 4);
    add_case("resume/one-of-two", test_one_of_two, 2);
    add_case("resume/shared-group", test_shared_group, 0);
}
