/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Config space while a resume writes it to the new device
 *
 * The resume does so in a thread without QEMU's lock.  What the guest writes
 * or has reset in that time must be in the device when it runs.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "vfio-pause-lib.h"

static const int devctl = FV_CAP_EXP + PCI_EXP_DEVCTL;

/* Begin a resume; it waits in its first write. */
static void resume_held(PauseTest *t)
{
    pause_ok(t, 0);
    cfg_write(t, 0, PCI_CACHE_LINE_SIZE, 0x10, 1);
    cfg_write(t, 0, devctl, 0x2810, 2);
    hold(&t->fv->config_write);
    resume_begin(t, 0);
    wait_for(&t->fv->config_write.held);
}

static void resume_go_on(PauseTest *t)
{
    let_go(&t->fv->config_write);
    g_free(wait_end(t, 0, "running"));
}

static void test_nothing(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];
    uint32_t writes = d->config_writes[devctl / 4];

    resume_held(t);
    assert_answers(t, &t->fv->config_write, "resuming");
    resume_go_on(t);
    assert_running(t, 0);
    g_assert_cmphex(d->config[devctl], ==, 0x10);
    g_assert_cmpint(d->config_writes[devctl / 4], ==, writes + 1);
}

static void test_write(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    resume_held(t);
    cfg_write(t, 0, PCI_CACHE_LINE_SIZE, 0x20, 1);
    cfg_write(t, 0, devctl, 0x2850, 2);
    cfg_write(t, 0, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    g_assert_cmphex(cfg_read(t, 0, devctl, 2), ==, 0x2850);
    resume_go_on(t);
    g_assert_cmphex(d->config[PCI_CACHE_LINE_SIZE], ==, 0x20);
    g_assert_cmphex(d->config[devctl], ==, 0x50);
    g_assert_cmphex(d->config[PCI_COMMAND], ==, PCI_COMMAND_MEMORY);
}

static void test_bar(PauseTest *t)
{
    uint64_t to = bar(0, 0) + 0x1000000;

    resume_held(t);
    cfg_write(t, 0, PCI_BASE_ADDRESS_0, to, 4);
    resume_go_on(t);
    g_assert_cmphex(qtest_readl(t->qts, to), ==, FV_MAGIC);
    g_assert_cmphex(*(uint32_t *)(t->fv->device[0].config +
                                  PCI_BASE_ADDRESS_0), ==, to);
}

static void test_reset(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    resume_held(t);
    system_reset(t);
    resume_go_on(t);
    g_assert_cmphex(d->config[PCI_COMMAND], ==, 0);
    g_assert_cmphex(*(uint32_t *)(d->config + PCI_BASE_ADDRESS_0), ==, 0);
    g_assert_cmphex(d->config[PCI_CACHE_LINE_SIZE], ==, 0);
    g_assert_false(d->irq_on[2]);
}

static void test_del(PauseTest *t)
{
    resume_held(t);
    del_while_held(t, &t->fv->config_write);
}

void add_config_cases(void)
{
    add_case("config/nothing", test_nothing, 1);
    add_case("config/write", test_write, 1);
    add_case("config/bar", test_bar, 1);
    add_case("config/reset", test_reset, 1);
    add_case("config/del", test_del, 1);
}
