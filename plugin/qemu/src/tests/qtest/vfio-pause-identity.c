/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Devices that start paused, with an identity or with a host device
 */

#include "qemu/osdep.h"
#include <sys/file.h>
#include "standard-headers/linux/pci_regs.h"
#include "qobject/qjson.h"
#include "vfio-pause-lib.h"

#define CONFIG_DWORDS 1024

/* Number the bus below each port, which leaves the devices alone. */
static void number_buses(PauseTest *t)
{
    int i;

    for (i = 0; i < t->devices + t->free_ports; i++) {
        port_write(t, i, PCI_PRIMARY_BUS, (i + 1) << 16 | (i + 1) << 8, 4);
    }
}

static void read_all(PauseTest *t, int n, uint32_t *config)
{
    int i;

    for (i = 0; i < CONFIG_DWORDS; i++) {
        config[i] = ecfg_read(t, n, i * 4);
    }
}

static void assert_same(const uint32_t *a, const uint32_t *b)
{
    int i;

    for (i = 0; i < CONFIG_DWORDS; i++) {
        if (a[i] != b[i]) {
            g_error("config register 0x%x is 0x%08x, not 0x%08x", i * 4, b[i],
                    a[i]);
        }
    }
}

static QDict *query_identity(PauseTest *t, int n)
{
    g_autofree char *id = g_strdup_printf("d%d", n);

    return qtest_qmp_assert_success_ref(t->qts,
        "{ 'execute': 'query-vfio-identity', 'arguments': { 'id': %s } }", id);
}

static void assert_identity(PauseTest *t, int n, const QDict *expected)
{
    QDict *now = query_identity(t, n);

    g_assert_true(qobject_is_equal(QOBJECT(now), QOBJECT(expected)));
    qobject_unref(now);
}

static char *identity_path(PauseTest *t)
{
    return g_strdup_printf("%s/identity", t->dir);
}

static void write_identity(PauseTest *t, QDict *identity)
{
    g_autofree char *path = identity_path(t);
    GString *text = qobject_to_json(QOBJECT(identity));

    g_assert(g_file_set_contents(path, text->str, text->len, NULL));
    g_string_free(text, true);
}

/* The kernel closes what QEMU had open; the fake one notes it here. */
static void quit(PauseTest *t)
{
    FvState *fv = t->fv;
    QDict *event;
    int i;

    qtest_quit(t->qts);
    t->qts = NULL;
    memset(fv->container, 0, sizeof(fv->container));
    memset(fv->iommu_open, 0, sizeof(fv->iommu_open));
    memset(fv->object, 0, sizeof(fv->object));
    memset(fv->map, 0, sizeof(fv->map));
    for (i = 0; i < FV_GROUPS; i++) {
        fv->group[i].open = false;
        fv->group[i].container = -1;
    }
    for (i = 0; i < FV_DEVICES; i++) {
        fv->device[i].open = false;
        fv->device[i].bound = fv->device[i].pt = 0;
    }
    while ((event = g_queue_pop_head(&t->events))) {
        qobject_unref(event);
    }
}

/* A file with the identity of d0, from a QEMU that ran with it */
static QDict *take_identity(PauseTest *t)
{
    QDict *identity;

    pause_start(t, NULL);
    identity = query_identity(t, 0);
    write_identity(t, identity);
    quit(t);
    t->fv->device[0].opens = t->fv->device[0].closes = 0;
    return identity;
}

static void start_with_identity(PauseTest *t)
{
    g_autofree char *path = identity_path(t);
    g_autofree char *options = g_strdup_printf(",paused=on,identity=%s", path);

    pause_start(t, options);
}

static void assert_state(PauseTest *t, int n, const char *expected)
{
    g_autofree char *state = query_state(t, n);

    g_assert_cmpstr(state, ==, expected);
}

static char *resume_on(PauseTest *t, int n, int host, const char *end)
{
    g_autofree char *id = g_strdup_printf("d%d", n);
    g_autofree char *path = host_path(t, host);

    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
        "'arguments': { 'id': %s, 'host-device': %s } }", id, path);
    return wait_end(t, n, end);
}

static void assert_region(QDict *identity, int i, int index, int64_t size,
                          int areas, bool msix)
{
    QList *list = qdict_get_qlist(identity, "regions");
    const QListEntry *entry = qlist_first(list);
    QDict *region;

    while (i--) {
        entry = qlist_next(entry);
    }
    region = qobject_to(QDict, qlist_entry_obj(entry));
    g_assert_cmpint(qdict_get_int(region, "index"), ==, index);
    g_assert_cmpint(qdict_get_int(region, "size"), ==, size);
    g_assert_true(qdict_get_bool(region, "readable"));
    g_assert_true(qdict_get_bool(region, "writable"));
    g_assert_true(qdict_get_bool(region, "mappable"));
    g_assert_true(qdict_get_bool(region, "msix-mappable") == msix);
    if (areas < 0) {
        g_assert_false(qdict_haskey(region, "areas"));
    } else {
        g_assert_cmpint(qlist_size(qdict_get_qlist(region, "areas")), ==,
                        areas);
    }
}

static void assert_interrupts(QDict *identity)
{
    static const int expected[][2] = { { 1, 4 }, { 2, 8 }, { 3, 1 }, { 4, 1 } };
    QList *list = qdict_get_qlist(identity, "interrupts");
    const QListEntry *entry;
    int i = 0;

    g_assert_cmpint(qlist_size(list), ==, ARRAY_SIZE(expected));
    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *irq = qobject_to(QDict, qlist_entry_obj(entry));

        g_assert_cmpint(qdict_get_int(irq, "index"), ==, expected[i][0]);
        g_assert_cmpint(qdict_get_int(irq, "count"), ==, expected[i++][1]);
    }
}

/* The same, whatever the guest and the device do */
static void test_query(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];
    QDict *identity;
    uint8_t before[FV_CONFIG];
    g_autofree uint8_t *config = NULL;
    gsize len;

    pause_start(t, NULL);
    memcpy(before, d->config, sizeof(before));
    identity = query_identity(t, 0);
    g_assert_cmpint(qdict_get_int(identity, "config-size"), ==, FV_CONFIG);
    config = g_base64_decode(qdict_get_str(identity, "config"), &len);
    g_assert_cmpmem(config, len, before, FV_CONFIG);
    g_assert_cmpint(qlist_size(qdict_get_qlist(identity, "regions")), ==, 2);
    assert_region(identity, 0, 0, 0x10000, 2, false);
    assert_region(identity, 1, FV_MSIX_BAR, FV_MSIX_BAR_SIZE, -1, true);
    assert_interrupts(identity);

    guest_setup(t, 0);
    cfg_write(t, 0, PCI_INTERRUPT_LINE, 0x0b, 1);
    cfg_write(t, 0, FV_CAP_PM + PCI_PM_CTRL, 0x103, 2);
    cfg_write(t, 0, FV_CAP_MSI + PCI_MSI_ADDRESS_LO, RAM_MSI, 4);
    ecfg_write(t, 0, FV_ECAP_AER + PCI_ERR_UNCOR_MASK, 0x10);
    d->config[PCI_STATUS + 1] |= 0xf9;
    d->config[FV_CAP_EXP + PCI_EXP_DEVSTA] = 0xf;
    d->config[FV_ECAP_AER + PCI_ERR_UNCOR_STATUS] = 0x10;
    d->config[FV_ECAP_AER + PCI_ERR_HEADER_LOG + 13] = 0x77;
    assert_identity(t, 0, identity);
    pause_ok(t, 0);
    assert_identity(t, 0, identity);
    resume_ok(t, 0);
    assert_identity(t, 0, identity);
    assert_error(qmp_error(t, "{ 'execute': 'query-vfio-identity', "
                           "'arguments': { 'id': 'nix' } }"), "'nix'");
    d->config[PCI_CLASS_REVISION] = 2;
    qobject_unref(identity);
    identity = query_identity(t, 0);
    pause_ok(t, 0);
    assert_identity(t, 0, identity);
    qobject_unref(identity);
}

/* Each register as with hardware: when it starts, set up, and resumed */
static void test_round_trip(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];
    uint32_t started[CONFIG_DWORDS], set_up[CONFIG_DWORDS];
    uint32_t now[CONFIG_DWORDS];
    uint64_t calls;
    QDict *identity;

    pause_start(t, NULL);
    identity = query_identity(t, 0);
    write_identity(t, identity);
    number_buses(t);
    read_all(t, 0, started);
    guest_setup(t, 0);
    read_all(t, 0, set_up);
    quit(t);

    calls = t->fv->calls;
    d->opens = 0;
    t->hostless = true;
    start_with_identity(t);
    assert_state(t, 0, "paused");
    number_buses(t);
    read_all(t, 0, now);
    assert_same(started, now);
    guest_setup(t, 0);
    read_all(t, 0, now);
    assert_same(set_up, now);
    assert_identity(t, 0, identity);
    g_assert_cmphex(qtest_readl(t->qts, bar(0, 0)), ==, 0xffffffff);
    g_assert_cmpint(t->fv->calls, ==, calls);
    assert_released(t);

    g_assert_cmpstr(resume_on(t, 0, 0, "running"), ==, NULL);
    g_assert_cmpint(d->opens, ==, 1);
    read_all(t, 0, now);
    assert_same(set_up, now);
    assert_running(t, 0);
    assert_identity(t, 0, identity);
    pause_ok(t, 0);
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
    qobject_unref(identity);
}

/* Several of one type share a file, and differ in their hosts. */
static void test_several(PauseTest *t)
{
    int i;

    host_add(t);
    host_add(t);
    qobject_unref(take_identity(t));
    t->devices = 3;
    t->hostless = true;
    start_with_identity(t);
    for (i = 0; i < 3; i++) {
        guest_setup(t, i);
        g_assert_cmpstr(resume_on(t, i, i, "running"), ==, NULL);
    }
    for (i = 0; i < 3; i++) {
        assert_running(t, i);
    }
}

static void test_no_host(PauseTest *t)
{
    QDict *info;

    qobject_unref(take_identity(t));
    t->hostless = true;
    start_with_identity(t);
    guest_setup(t, 0);
    info = query(t, 0);
    g_assert_cmpstr(qdict_get_str(info, "state"), ==, "paused");
    g_assert_false(qdict_haskey(info, "host-device"));
    g_assert_cmpint(qdict_get_int(info, "pauses"), ==, 1);
    g_assert_cmpint(qdict_get_int(info, "paused-ns"), >, 0);
    qobject_unref(info);
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', 'arguments': "
                           "{ 'id': 'd0' } }"), "pass 'host-device'");
    assert_error(qmp_error(t, "{ 'execute': 'vfio-pause', 'arguments': "
                           "{ 'id': 'd0' } }"), "is paused");
    /* one that fails is not remembered */
    t->fv->device[0].device = 0x1111;
    assert_error(resume_on(t, 0, 0, "paused"), "vendor and device");
    assert_released(t);
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', 'arguments': "
                           "{ 'id': 'd0' } }"), "pass 'host-device'");
    t->fv->device[0].device = 0x9048;
    g_assert_cmpstr(resume_on(t, 0, 0, "running"), ==, NULL);
    assert_running(t, 0);
}

/* A host device given by name need not exist until the resume. */
static void test_host_later(PauseTest *t)
{
    g_autofree char *path = host_path(t, 0);
    g_autofree char *away = g_strdup_printf("%s-away", path);
    QDict *info;
    char *error;

    qobject_unref(take_identity(t));
    g_assert_cmpint(rename(path, away), ==, 0);
    start_with_identity(t);
    guest_setup(t, 0);
    info = query(t, 0);
    g_assert_cmpstr(qdict_get_str(info, "host-device"), ==, path);
    qobject_unref(info);
    resume_begin(t, 0);
    error = wait_end(t, 0, "paused");
    g_assert_nonnull(error);
    g_free(error);
    assert_released(t);
    g_assert_cmpint(rename(away, path), ==, 0);
    resume_ok(t, 0);
    assert_running(t, 0);
    g_assert_cmpint(t->fv->device[0].opens, ==, 1);
}

static void test_passed_fd(PauseTest *t)
{
    g_autofree char *node = t->iommufd ?
        g_strdup_printf("%s/device-0", t->dir) :
        g_strdup_printf("%s/group-1", t->dir);
    g_autofree char *path = host_path(t, 0);
    int fd;

    qobject_unref(take_identity(t));
    t->hostless = true;
    start_with_identity(t);
    guest_setup(t, 0);
    fd = open(node, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    if (!t->iommufd) {
        g_assert_cmpint(flock(fd, LOCK_EX | LOCK_NB), ==, 0);
        t->fv->group[1].open = true;
    }
    qtest_qmp_fds_assert_success(t->qts, &fd, 1, "{ 'execute': 'getfd', "
                                 "'arguments': { 'fdname': 'host' } }");
    close(fd);
    if (t->iommufd) {
        qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
            "'arguments': { 'id': 'd0', 'fd': 'host' } }");
    } else {
        /* a group does not tell which of its devices is meant */
        assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', 'arguments': "
                               "{ 'id': 'd0', 'fd': 'host' } }"),
                     "pass 'host-device'");
        qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
            "'arguments': { 'id': 'd0', 'host-device': %s, 'fd': 'host' } }",
            path);
    }
    g_assert_cmpstr(wait_end(t, 0, "running"), ==, NULL);
    assert_running(t, 0);
}

static void test_other_layout(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    qobject_unref(take_identity(t));
    start_with_identity(t);
    guest_setup(t, 0);
    d->device = 0x1111;
    assert_error(resume_on(t, 0, 0, "paused"), "vendor and device");
    d->device = 0x9048;
    d->bar0_size = 0x20000;
    assert_error(resume_on(t, 0, 0, "paused"), "region 0 has size 0x20000");
    d->bar0_size = 0x10000;
    d->vectors = 4;
    assert_error(resume_on(t, 0, 0, "paused"), "MSI-X table size");
    d->vectors = 8;
    d->pin = 1;
    assert_error(resume_on(t, 0, 0, "paused"), "interrupts of type 0");
    d->pin = 0;
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
}

/* Areas that can be mapped are compared one by one. */
static void test_other_areas(PauseTest *t)
{
    g_autofree char *path = identity_path(t);
    g_autofree char *text = NULL;
    char *at;

    qobject_unref(take_identity(t));
    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    at = strstr(text, "16384"); /* the first area's size */
    g_assert_nonnull(at);
    memcpy(at, " 4096", 5);
    g_assert(g_file_set_contents(path, text, -1, NULL));
    start_with_identity(t);
    assert_error(resume_on(t, 0, 0, "paused"), "areas that can be mapped");
    assert_released(t);
}

/* All that a device that was paused can do */
static void test_life(PauseTest *t)
{
    QDict *event, *identity = take_identity(t);

    t->hostless = true;
    start_with_identity(t);
    guest_setup(t, 0);
    g_assert_null(take_event(t, "VFIO_PAUSED_ACCESS"));
    qtest_writel(t->qts, bar(0, 0) + FV_SLOW_START, 1);
    event = wait_event(t, "VFIO_PAUSED_ACCESS");
    g_assert_true(qdict_get_bool(qdict_get_qdict(event, "data"), "write"));
    qobject_unref(event);
    assert_error(qmp_error(t, "{ 'execute': 'migrate', 'arguments': "
                           "{ 'uri': 'exec:cat>/dev/null' } }"), "is paused");
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'cont' }");
    system_reset(t);
    ecfg_enable(t);
    number_buses(t);
    g_assert_cmphex(cfg_read(t, 0, PCI_COMMAND, 2), ==, 0);
    g_assert_cmphex(cfg_read(t, 0, FV_CAP_EXP + PCI_EXP_DEVCTL, 2), ==,
                    0x2810);
    g_assert_cmphex(ecfg_read(t, 0, FV_ECAP_AER + PCI_ERR_UNCOR_SEVER), ==,
                    0x62030);
    assert_identity(t, 0, identity);
    guest_setup(t, 0);
    g_assert_cmpstr(resume_on(t, 0, 0, "running"), ==, NULL);
    assert_running(t, 0);
    qobject_unref(identity);
}

static void test_del(PauseTest *t)
{
    QDict *response;

    qobject_unref(take_identity(t));
    start_with_identity(t);
    device_del(t);
    g_assert_null(query(t, 0));
    response = qtest_qmp(t->qts, "{ 'execute': 'query-migrate' }");
    g_assert_false(qdict_haskey(qdict_get_qdict(response, "return"),
                                "blocked-reasons"));
    qobject_unref(response);
    g_assert_cmpint(t->fv->device[0].opens, ==, 0);
}

static void test_quit(PauseTest *t)
{
    qobject_unref(take_identity(t));
    t->hostless = true;
    start_with_identity(t);
    quit(t);
    g_assert_cmpint(t->fv->device[0].opens, ==, 0);
}

/* With the host device as the reference: it is opened once. */
static void test_reference(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];
    QDict *info;

    pause_start(t, ",paused=on,paused-access=hold,paused-hold-ms=70");
    info = query(t, 0);
    g_assert_cmpstr(qdict_get_str(info, "state"), ==, "paused");
    g_assert_cmpstr(qdict_get_str(info, "access"), ==, "hold");
    g_assert_cmpint(qdict_get_int(info, "hold-ms"), ==, 70);
    g_assert_cmpint(qdict_get_int(info, "pauses"), ==, 1);
    qobject_unref(info);
    assert_released(t);
    g_assert_cmpint(d->opens, ==, 1);
    g_assert_cmpint(d->closes, ==, 1);
    guest_setup(t, 0);
    resume_ok(t, 0);
    g_assert_cmpint(d->opens, ==, 2);
    assert_running(t, 0);
    pause_ok(t, 0);
    assert_released(t);
}

static void start_without_device(PauseTest *t)
{
    t->devices = 0;
    t->free_ports = 1;
    pause_start(t, NULL);
}

/* The response to device_add of d0, with these options */
static QDict *device_add(PauseTest *t, const char *key, const char *val,
                         bool host)
{
    g_autofree char *path = host_path(t, 0);
    QDict *args = qdict_new();

    qdict_put_str(args, "driver", "vfio-pci");
    qdict_put_str(args, "id", "d0");
    qdict_put_str(args, "bus", "rp0");
    qdict_put_bool(args, "paused", true);
    if (key) {
        qdict_put_str(args, key, val);
    }
    if (host) {
        qdict_put_str(args, "sysfsdev", path);
    }
    if (t->iommufd) {
        qdict_put_str(args, "iommufd", "iommufd0");
    }
    return qtest_qmp(t->qts, "{ 'execute': 'device_add', 'arguments': %p }",
                     args);
}

static void device_add_ok(PauseTest *t, const char *key, const char *val,
                          bool host)
{
    QDict *response = device_add(t, key, val, host);

    g_assert(qdict_haskey(response, "return"));
    qobject_unref(response);
}

static void test_hotplug_identity(PauseTest *t)
{
    g_autofree char *path = identity_path(t);
    uint64_t calls;
    int i;

    qobject_unref(take_identity(t));
    start_without_device(t);
    calls = t->fv->calls;
    for (i = 0; i < 2; i++) {
        device_add_ok(t, "identity", path, false);
        g_assert_cmpstr(wait_end(t, 0, "paused"), ==, NULL);
        assert_state(t, 0, "paused");
        g_assert_cmpint(t->fv->calls, ==, calls);
        guest_plugs(t, 0);
        guest_setup(t, 0);
        g_assert_cmpstr(resume_on(t, 0, 0, "running"), ==, NULL);
        assert_running(t, 0);
        device_del(t);
        calls = t->fv->calls;
        assert_released(t);
    }
}

static void test_hotplug_reference(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    start_without_device(t);
    d->close_ms = 200;
    device_add_ok(t, NULL, NULL, true);
    assert_state(t, 0, "pausing");
    g_assert_cmpstr(wait_end(t, 0, "paused"), ==, NULL);
    assert_released(t);
    g_assert_cmpint(d->opens, ==, 1);
    guest_plugs(t, 0);
    guest_setup(t, 0);
    resume_ok(t, 0);
    assert_running(t, 0);
}

/* Another device of the group is in use: no pause, so no start. */
static void test_shared_group(PauseTest *t)
{
    g_autofree char *path = NULL;
    int n = host_add(t);

    host_place(t, n, 1, n);
    path = host_path(t, n);
    t->free_ports = 1;
    pause_start(t, NULL);
    guest_setup(t, 0);
    if (t->iommufd) {
        /* devices open by themselves there */
        qtest_qmp_assert_success(t->qts, "{ 'execute': 'device_add', "
            "'arguments': { 'driver': 'vfio-pci', 'id': 'd1', 'bus': 'rp1', "
            "'paused': true, 'sysfsdev': %s, 'iommufd': 'iommufd0' } }", path);
        g_assert_cmpstr(wait_end(t, 1, "paused"), ==, NULL);
    } else {
        assert_error(qmp_error(t, "{ 'execute': 'device_add', "
            "'arguments': { 'driver': 'vfio-pci', 'id': 'd1', 'bus': 'rp1', "
            "'paused': true, 'sysfsdev': %s } }", path), "IOMMU group");
    }
    g_assert_false(t->fv->device[n].open);
    assert_running(t, 0);
}

/* Each call fails once until the first resume ever is done. */
static void fail_first_resume(PauseTest *t, int kinds, int error)
{
    bool fired = true, running = false;
    int nth;

    qobject_unref(take_identity(t));
    start_with_identity(t);
    guest_setup(t, 0);
    for (nth = 1; fired; nth++) {
        g_autofree char *why = NULL;
        g_autofree char *state = NULL;

        g_assert_cmpint(nth, <, 500);
        if (running) {
            pause_ok(t, 0);
        }
        fail_nth(t, kinds, nth, error);
        resume_begin(t, 0);
        why = wait_end(t, 0, NULL);
        fired = fail_end(t);
        state = query_state(t, 0);
        running = !strcmp(state, "running");
        if (running) {
            assert_running(t, 0);
        } else {
            g_assert_cmpstr(state, ==, "paused");
            g_assert_nonnull(why);
            assert_released(t);
        }
    }
    g_assert_true(running);
    g_assert_cmpint(nth, >, 2);
}

static void test_resume_ioctl(PauseTest *t)
{
    fail_first_resume(t, FV_IOCTL, EIO);
}

static void test_resume_any(PauseTest *t)
{
    fail_first_resume(t, FV_ANY, ENOMEM);
}

void add_identity_cases(void)
{
    add_case("identity/query", test_query, 0);
    add_case("identity/round-trip", test_round_trip, 0);
    add_case("identity/several", test_several, 0);
    add_case("identity/no-host", test_no_host, 0);
    add_case("identity/host-later", test_host_later, 0);
    add_case("identity/passed-fd", test_passed_fd, 0);
    add_case("identity/other-layout", test_other_layout, 0);
    add_case("identity/other-areas", test_other_areas, 0);
    add_case("identity/life", test_life, 0);
    add_case("identity/del", test_del, 0);
    add_case("identity/quit", test_quit, 0);
    add_case("identity/hotplug", test_hotplug_identity, 0);
    add_case("identity/resume-ioctl", test_resume_ioctl, 0);
    add_case("identity/resume-any", test_resume_any, 0);
    add_case("start-paused/reference", test_reference, 0);
    add_case("start-paused/hotplug", test_hotplug_reference, 0);
    add_case("start-paused/shared-group", test_shared_group, 0);
}
