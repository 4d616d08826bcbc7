/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest meets a paused device
 *
 * Accesses by libqtest come from QEMU's main loop, which cannot wait: the
 * policy "hold" answers as "ignore" does here.  That a vCPU waits is for a
 * test with KVM.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "vfio-pause-lib.h"

static void test_bars(PauseTest *t)
{
    uint64_t mapped = bar(0, 0), slow = bar(0, 0) + FV_SLOW_START;
    QDict *event, *data, *info;

    pause_ok(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, mapped), ==, 0xffffffff);
    g_assert_cmphex(qtest_readb(t->qts, mapped + 1), ==, 0xff);
    g_assert_cmphex(qtest_readl(t->qts, slow), ==, 0xffffffff);
    qtest_writel(t->qts, mapped + 8, 0x1234);
    qtest_writel(t->qts, slow + 8, 0x1234);
    g_assert_cmphex(qtest_readl(t->qts, mapped + 8), ==, 0xffffffff);

    info = query(t, 0);
    g_assert_cmpint(qdict_get_int(info, "accesses"), ==, 6);
    qobject_unref(info);
    event = wait_event(t, "VFIO_PAUSED_ACCESS");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "device-id"), ==, "d0");
    g_assert_cmpint(qdict_get_int(data, "region"), ==, 0);
    g_assert_false(qdict_get_bool(data, "write"));
    qobject_unref(event);

    /* one event for a pause */
    qtest_writel(t->qts, slow + 8, 0x1234);
    g_free(query_state(t, 0));
    g_assert_null(take_event(t, "VFIO_PAUSED_ACCESS"));

    resume_ok(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, mapped + 8), ==, 0);
    g_assert_cmphex(qtest_readl(t->qts, slow + 8), ==, 0);
    assert_running(t, 0);
}

/* Pause after pause within a second: the first event, and at most one more. */
static void test_throttled(PauseTest *t)
{
    QDict *event;
    int i, events = 0;

    for (i = 0; i < 10; i++) {
        pause_ok(t, 0);
        qtest_writel(t->qts, bar(0, 0), 0);
        resume_ok(t, 0);
    }
    while ((event = take_event(t, "VFIO_PAUSED_ACCESS"))) {
        g_assert_true(qdict_get_bool(qdict_get_qdict(event, "data"), "write"));
        qobject_unref(event);
        events++;
    }
    g_assert_cmpint(events, >=, 1);
    g_assert_cmpint(events, <, 10);
}

/* The throttle is one for each device. */
static void test_throttled_each(PauseTest *t)
{
    bool seen[2] = { };
    int i;

    for (i = 0; i < 2; i++) {
        pause_ok(t, i);
        qtest_readl(t->qts, bar(i, 0));
    }
    for (i = 0; i < 2; i++) {
        QDict *event = wait_event(t, "VFIO_PAUSED_ACCESS");
        const char *id = qdict_get_str(qdict_get_qdict(event, "data"),
                                       "device-id");

        seen[!strcmp(id, "d1")] = true;
        qobject_unref(event);
    }
    g_assert_true(seen[0] && seen[1]);
}

static void test_hold(PauseTest *t)
{
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-pause', 'arguments':"
        "{ 'id': 'd0', 'access': 'hold', 'hold-ms': 600000 } }");
    g_free(wait_end(t, 0, "paused"));
    g_assert_cmphex(qtest_readl(t->qts, bar(0, 0)), ==, 0xffffffff);
    qtest_writel(t->qts, bar(0, 0), 0);
    resume_ok(t, 0);
    assert_running(t, 0);
}

static void test_config(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    pause_ok(t, 0);
    cfg_write(t, 0, PCI_CACHE_LINE_SIZE, 0x20, 1);
    cfg_write(t, 0, PCI_INTERRUPT_LINE, 0x0b, 1);
    cfg_write(t, 0, FV_CAP_EXP + PCI_EXP_DEVCTL, 0x2850, 2);
    cfg_write(t, 0, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    ecfg_write(t, 0, FV_ECAP_AER + PCI_ERR_UNCOR_MASK, 0x10);
    /* read-only */
    cfg_write(t, 0, PCI_VENDOR_ID, 0x12345678, 4);
    cfg_write(t, 0, PCI_CLASS_REVISION, 0x12345678, 4);

    g_assert_cmphex(cfg_read(t, 0, PCI_VENDOR_ID, 4), ==, 0x904810ee);
    g_assert_cmphex(cfg_read(t, 0, PCI_CLASS_REVISION, 4), ==, 0x12000001);
    g_assert_cmphex(cfg_read(t, 0, PCI_CACHE_LINE_SIZE, 1), ==, 0x20);
    g_assert_cmphex(cfg_read(t, 0, PCI_INTERRUPT_LINE, 1), ==, 0x0b);
    g_assert_cmphex(cfg_read(t, 0, FV_CAP_EXP + PCI_EXP_DEVCTL, 2), ==,
                    0x2850);
    g_assert_cmphex(cfg_read(t, 0, PCI_COMMAND, 2), ==, PCI_COMMAND_MEMORY);
    g_assert_cmphex(ecfg_read(t, 0, FV_ECAP_AER + PCI_ERR_UNCOR_MASK), ==,
                    0x10);

    resume_ok(t, 0);
    g_assert_cmphex(d->config[PCI_CACHE_LINE_SIZE], ==, 0x20);
    g_assert_cmphex(d->config[PCI_INTERRUPT_LINE], ==, 0x0b);
    g_assert_cmphex(d->config[PCI_COMMAND], ==, PCI_COMMAND_MEMORY);
    g_assert_cmphex(d->config[FV_CAP_EXP + PCI_EXP_DEVCTL], ==, 0x50);
    g_assert_cmphex(d->config[FV_ECAP_AER + PCI_ERR_UNCOR_MASK], ==, 0x10);
    g_assert_cmphex(cfg_read(t, 0, FV_CAP_EXP + PCI_EXP_DEVCTL, 2), ==,
                    0x2850);
    cfg_write(t, 0, PCI_COMMAND, COMMAND_ON, 2);
    assert_running(t, 0);
}

/* A BAR that moves while the device is paused is there afterwards. */
static void test_bar_moves(PauseTest *t)
{
    uint64_t to = bar(0, 0) + 0x1000000;

    pause_ok(t, 0);
    cfg_write(t, 0, PCI_BASE_ADDRESS_0, 0xffffffff, 4);
    g_assert_cmphex(cfg_read(t, 0, PCI_BASE_ADDRESS_0, 4), ==, 0xffff0000);
    cfg_write(t, 0, PCI_BASE_ADDRESS_0, to, 4);
    g_assert_cmphex(cfg_read(t, 0, PCI_BASE_ADDRESS_0, 4), ==, to);
    resume_ok(t, 0);
    g_assert_cmphex(qtest_readl(t->qts, to), ==, FV_MAGIC);
    g_assert_cmphex(*(uint32_t *)(t->fv->device[0].config +
                                  PCI_BASE_ADDRESS_0), ==, to);
    cfg_write(t, 0, PCI_BASE_ADDRESS_0, bar(0, 0), 4);
    assert_running(t, 0);
}

static void test_msix_table(PauseTest *t)
{
    uint64_t entry = bar(0, FV_MSIX_BAR) + 5 * PCI_MSIX_ENTRY_SIZE;

    pause_ok(t, 0);
    vector_set(t, 0, 1, true);
    vector_set(t, 0, 5, false);
    g_assert_cmphex(qtest_readl(t->qts, entry + 8), ==, 6);
    resume_ok(t, 0);
    /* a vector in use stays with the host when it is masked */
    g_assert_cmphex(vectors_on(t, 0) & 0x29, ==, 0x29);
    g_assert_cmphex(qtest_readl(t->qts, entry + 8), ==, 6);
    g_assert_true(guest_gets_vector(t, 0, 5));
    g_assert_true(guest_gets_vector(t, 0, 0));
    g_assert_false(guest_gets_vector(t, 0, 1));
}

static void test_msix_enable(PauseTest *t)
{
    const int flags = FV_CAP_MSIX + PCI_MSIX_FLAGS;

    pause_ok(t, 0);
    cfg_write(t, 0, flags, 0, 2);
    resume_ok(t, 0);
    g_assert_false(t->fv->device[0].irq_on[2]);
    pause_ok(t, 0);
    cfg_write(t, 0, flags, PCI_MSIX_FLAGS_ENABLE, 2);
    resume_ok(t, 0);
    assert_running(t, 0);
    pause_ok(t, 0);
    cfg_write(t, 0, flags, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
    resume_ok(t, 0);
    g_assert_false(guest_gets_vector(t, 0, 0));
    cfg_write(t, 0, flags, PCI_MSIX_FLAGS_ENABLE, 2);
    assert_running(t, 0);
}

/* Status bits that are set in the new device are the guest's to clear. */
static void test_status(PauseTest *t)
{
    const int devsta = FV_CAP_EXP + PCI_EXP_DEVSTA;
    FvDevice *d = &t->fv->device[0];

    d->config[devsta] = 0xf;
    d->config[PCI_STATUS + 1] |= 0xf9;
    pause_ok(t, 0);
    d->devsta = 0xf;
    d->w1c_ones = 0;
    cfg_write(t, 0, FV_CAP_EXP + PCI_EXP_DEVCTL, 0x000f283f, 4);
    resume_ok(t, 0);
    g_assert_cmpint(d->w1c_ones, ==, 0);
    g_assert_cmphex(d->config[devsta], ==, 0xf);
    g_assert_cmpint(d->config_writes[(FV_CAP_VENDOR + 4) / 4], ==, 0);
    cfg_write(t, 0, devsta, 0x5, 2);
    g_assert_cmphex(d->config[devsta], ==, 0xa);
}

/* The guest asks for a function-level reset of a device that is not there. */
static void test_flr(PauseTest *t)
{
    const int devctl = FV_CAP_EXP + PCI_EXP_DEVCTL;

    pause_ok(t, 0);
    cfg_write(t, 0, devctl, 0x8000 | 0x283f, 2);
    g_assert_cmphex(cfg_read(t, 0, devctl, 2) & 0x8000, ==, 0);
    resume_ok(t, 0);
    g_assert_cmpint(t->fv->device[0].resets, ==, 1);
}

static void check_reset(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    g_assert_cmphex(cfg_read(t, 0, PCI_COMMAND, 2), ==, 0);
    assert_released(t);
    resume_ok(t, 0);
    g_assert_cmphex(d->config[PCI_COMMAND], ==, 0);
    g_assert_cmphex(*(uint32_t *)(d->config + PCI_BASE_ADDRESS_0), ==, 0);
    g_assert_cmphex(d->config[PCI_CACHE_LINE_SIZE], ==, 0);
    g_assert_false(d->irq_on[2]);
    g_assert_cmphex(cfg_read(t, 0, PCI_BASE_ADDRESS_0, 4), ==, 0);
    guest_setup(t, 0);
    assert_running(t, 0);
}

static void test_system_reset(PauseTest *t)
{
    pause_ok(t, 0);
    system_reset(t);
    /* the root port forgot its numbers, too */
    port_write(t, 0, PCI_PRIMARY_BUS, 0x010100, 4);
    check_reset(t);
}

static void test_bus_reset(PauseTest *t)
{
    pause_ok(t, 0);
    port_write(t, 0, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET, 2);
    port_write(t, 0, PCI_BRIDGE_CONTROL, 0, 2);
    check_reset(t);
}

void add_access_cases(void)
{
    add_case("access/bars", test_bars, 1);
    add_case("access/throttled", test_throttled, 1);
    add_case("access/throttled-each", test_throttled_each, 2);
    add_case("access/hold", test_hold, 1);
    add_case("access/config", test_config, 1);
    add_case("access/bar-moves", test_bar_moves, 1);
    add_case("access/msix-table", test_msix_table, 1);
    add_case("access/msix-enable", test_msix_enable, 1);
    add_case("access/status", test_status, 1);
    add_case("access/flr", test_flr, 1);
    add_case("access/system-reset", test_system_reset, 1);
    add_case("access/bus-reset", test_bus_reset, 1);
}
