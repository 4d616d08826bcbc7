/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The emulated FPGA card: images, connections, functions, faults
 *
 * What is computed is the topic of virtfn-card-jobs.c, what must not work
 * that of virtfn-card-hostile.c.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "virtfn-card-lib.h"

static void test_identity(void)
{
    CardTest t;

    card_start(&t, 1, NULL);
    g_assert_cmphex(config_get(&t, 0, 0), ==,
                    CARD_PF_DEVICE_ID << 16 | CARD_VENDOR_ID);
    g_assert_cmphex(config_get(&t, 0, PCI_CLASS_REVISION), ==,
                    (uint32_t)CARD_PCI_CLASS << 16 | CARD_VERSION);
    g_assert_cmphex(pf_get(&t, CARD_PF_MAGIC), ==, CARD_PF_MAGIC_VALUE);
    g_assert_cmpint(pf_get(&t, CARD_PF_VERSION), ==, CARD_VERSION);
    g_assert_cmpint(pf_get(&t, CARD_PF_VFS), ==, 8);
    g_assert_cmpint(pf_get(&t, CARD_PF_REGIONS), ==, 3);
    g_assert_cmpint(pf_get(&t, CARD_PF_KINDS), ==, 2);
    g_assert_cmpint(pf_get(&t, CARD_PF_CONTEXT_SIZE), ==, CARD_CONTEXT_BYTES);
    g_assert_cmpint(pf_get(&t, CARD_PF_WINDOW_SIZE), ==, 1 << 20);
    g_assert_cmpint(region_get(&t, 0, CARD_REGION_KIND), ==, 0);
    g_assert_cmpint(region_get(&t, 1, CARD_REGION_KIND), ==, 1);
    g_assert_cmpint(region_get(&t, 2, CARD_REGION_KIND), ==, 0);
    expect_state(&t, 0, CARD_REGION_EMPTY);
    set_vfs(&t, 8);
    for (int i = 0; i < 8; i++) {
        g_assert_cmphex(vf_get(&t, i, CARD_VF_MAGIC), ==,
                        CARD_VF_MAGIC_VALUE);
        g_assert_cmpint(vf_get(&t, i, CARD_VF_NUMBER), ==, i);
        g_assert_cmpint(vf_get(&t, i, CARD_VF_ACCELERATOR), ==, 0);
    }
    card_stop(&t);
}

static void test_load(void)
{
    CardTest t;
    uint32_t size;

    card_start(&t, 1, NULL);
    g_assert_cmpint(load(&t, 1, 1, CARD_CRC32C), ==, CARD_IDLE);
    expect_state(&t, 1, CARD_REGION_READY);
    g_assert_cmpint(region_get(&t, 1, CARD_REGION_ACCELERATOR), ==,
                    CARD_CRC32C);
    g_assert_cmpint(region_get(&t, 1, CARD_REGION_LOADS), ==, 1);
    expect_state(&t, 0, CARD_REGION_EMPTY);
    g_assert_cmpint(pf_get(&t, CARD_PF_COMMANDS), ==, 1);

    /* Another accelerator replaces it; then none. */
    g_assert_cmpint(load(&t, 1, 1, CARD_SHA256), ==, CARD_IDLE);
    g_assert_cmpint(region_get(&t, 1, CARD_REGION_ACCELERATOR), ==,
                    CARD_SHA256);
    g_assert_cmpint(command(&t, CARD_COMMAND_UNLOAD, 1, 0), ==, CARD_IDLE);
    expect_state(&t, 1, CARD_REGION_EMPTY);
    g_assert_cmpint(region_get(&t, 1, CARD_REGION_ACCELERATOR), ==, 0);

    /* The window instead of DMA */
    size = make_image(&t, 0, CARD_AES_CTR, 1000);
    for (uint32_t i = 0; i < size; i++) {
        qtest_writeb(t.qts, window_address(0) + 0x500 + i,
                     qtest_readb(t.qts, IMAGE + i));
    }
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_LOAD, 2, 0, 0x500, size,
                               CARD_FLAG_WINDOW), ==, CARD_IDLE);
    g_assert_cmpint(region_get(&t, 2, CARD_REGION_ACCELERATOR), ==,
                    CARD_AES_CTR);
    card_stop(&t);
}

/* Twice the size takes twice the time; the region is unusable meanwhile. */
static void test_load_time(void)
{
    CardTest t;

    card_start(&t, 1, "regions=2,load-ns-per-kib=1000000");
    for (int kib = 4; kib <= 8; kib += 4) {
        uint32_t size = make_image(&t, 0, CARD_SHA256,
                                   kib * 1024 - CARD_IMAGE_HEADER);

        begin_load(&t, 0, size);
        step_ms(&t, kib - 1);
        g_assert_cmpint(pf_get(&t, CARD_PF_STATUS), ==, CARD_BUSY);
        expect_state(&t, 0, CARD_REGION_LOADING);
        step_ms(&t, 1);
        g_assert_cmpint(pf_get(&t, CARD_PF_STATUS), ==, CARD_IDLE);
        expect_state(&t, 0, CARD_REGION_READY);
    }
    card_stop(&t);
}

/* A region with an accelerator keeps it when @status refuses an image. */
static void refuse_image(CardTest *t, int field, uint32_t value, int cut,
                         uint32_t status)
{
    uint32_t size = make_image(t, 0, CARD_AES_CTR, 1000);

    qtest_writel(t->qts, IMAGE + field, value);
    seal(t, IMAGE, size);
    g_assert_cmpint(command_on(t, 0, CARD_COMMAND_LOAD, 0, 0, IMAGE,
                               size - cut, 0), ==, status);
    expect_state(t, 0, CARD_REGION_READY);
    g_assert_cmpint(region_get(t, 0, CARD_REGION_ACCELERATOR), ==,
                    CARD_SHA256);
}

static void test_load_refused(void)
{
    const int length = CARD_IMAGE_LENGTH;
    CardTest t;

    card_start(&t, 1, NULL);
    g_assert_cmpint(load(&t, 0, 0, CARD_SHA256), ==, CARD_IDLE);
    refuse_image(&t, CARD_IMAGE_KIND, 1, 0, CARD_ERROR_KIND);
    refuse_image(&t, CARD_IMAGE_MAGIC, 7, 0, CARD_ERROR_FORMAT);
    refuse_image(&t, CARD_IMAGE_VERSION, 2, 0, CARD_ERROR_FORMAT);
    refuse_image(&t, CARD_IMAGE_ACCELERATOR, 0, 0, CARD_ERROR_ACCELERATOR);
    refuse_image(&t, CARD_IMAGE_ACCELERATOR, 5, 0, CARD_ERROR_ACCELERATOR);
    refuse_image(&t, length, 999, 0, CARD_ERROR_LENGTH);
    refuse_image(&t, length, ~0u, 0, CARD_ERROR_LENGTH);
    refuse_image(&t, length, 1000, 1, CARD_ERROR_LENGTH);
    refuse_image(&t, length, 1000, 1000, CARD_ERROR_LENGTH);
    card_stop(&t);
}

static void test_load_crc(void)
{
    CardTest t;
    uint32_t size;

    card_start(&t, 1, NULL);
    size = make_image(&t, 0, CARD_SHA256, 1000);
    qtest_writeb(t.qts, IMAGE + 500, 0);
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_LOAD, 0, 0, IMAGE, size,
                               0), ==, CARD_ERROR_CRC);
    expect_state(&t, 0, CARD_REGION_BROKEN);
    set_vfs(&t, 1);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 0), ==,
                    CARD_ERROR_EMPTY);
    g_assert_cmpint(load(&t, 0, 0, CARD_SHA256), ==, CARD_IDLE);
    card_stop(&t);
}

static void test_load_faults(void)
{
    CardTest t;

    card_start(&t, 1, NULL);
    pf_set(&t, CARD_PF_FAULTS, CARD_FAULT_LOAD);
    g_assert_cmpint(load(&t, 0, 0, CARD_SHA256), ==, CARD_ERROR_LOAD);
    expect_state(&t, 0, CARD_REGION_BROKEN);
    g_assert_cmpint(load(&t, 0, 0, CARD_SHA256), ==, CARD_IDLE);
    pf_set(&t, CARD_PF_FAULTS, CARD_FAULT_CRC);
    g_assert_cmpint(load(&t, 0, 0, CARD_SHA256), ==, CARD_ERROR_CRC);
    g_assert_cmpint(pf_get(&t, CARD_PF_FAULTS), ==, 0);
    g_assert_cmpint(load(&t, 0, 0, CARD_SHA256), ==, CARD_IDLE);
    card_stop(&t);
}

static void test_connect(void)
{
    CardTest t;

    card_start(&t, 1, NULL);
    set_vfs(&t, 4);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 0), ==,
                    CARD_ERROR_EMPTY);
    give(&t, 0, CARD_SHA256, 3);
    g_assert_cmpint(vf_get(&t, 3, CARD_VF_ACCELERATOR), ==, CARD_SHA256);
    g_assert_cmpint(region_get(&t, 0, CARD_REGION_VF), ==, 3);
    g_assert_cmpint(pf_get(&t, CARD_PF_VF_ROW(3) + CARD_ROW_REGION), ==, 0);
    g_assert_cmphex(pf_get(&t, CARD_PF_VF_ROW(2) + CARD_ROW_REGION), ==,
                    CARD_NONE);

    g_assert_cmpint(load(&t, 2, 0, CARD_SHA256), ==, CARD_IDLE);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 1), ==,
                    CARD_ERROR_CONNECTED);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 2, 3), ==,
                    CARD_ERROR_CONNECTED);
    g_assert_cmpint(command(&t, CARD_COMMAND_UNLOAD, 0, 0), ==,
                    CARD_ERROR_CONNECTED);
    g_assert_cmpint(command(&t, CARD_COMMAND_DISCONNECT, 0, 1), ==,
                    CARD_ERROR_DISCONNECTED);
    g_assert_cmpint(command(&t, CARD_COMMAND_DISCONNECT, 0, 3), ==,
                    CARD_IDLE);
    g_assert_cmphex(region_get(&t, 0, CARD_REGION_VF), ==, CARD_NONE);
    g_assert_cmpint(vf_get(&t, 3, CARD_VF_ACCELERATOR), ==, 0);
    card_stop(&t);
}

/* 0 -> N -> M: a connection ends with its function, and only then. */
static void test_vf_count(void)
{
    CardTest t;

    card_start(&t, 1, NULL);
    g_assert_cmpint(load(&t, 0, 0, CARD_CRC32C), ==, CARD_IDLE);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 0), ==,
                    CARD_ERROR_VF);
    g_assert_cmphex(vf_get(&t, 0, CARD_VF_MAGIC), !=, CARD_VF_MAGIC_VALUE);

    set_vfs(&t, 4);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 3), ==, CARD_IDLE);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 4), ==,
                    CARD_ERROR_VF);
    expect(&t, 3, "12345", CRC_12345);
    g_assert_cmpint(pf_get(&t, CARD_PF_VF_ROW(3) + CARD_ROW_ENABLED), ==, 1);
    g_assert_cmpint(pf_get(&t, CARD_PF_VF_ROW(4) + CARD_ROW_ENABLED), ==, 0);

    /* All go, even if some of the same number come back. */
    set_vfs(&t, 8);
    g_assert_cmphex(region_get(&t, 0, CARD_REGION_VF), ==, CARD_NONE);
    g_assert_cmphex(pf_get(&t, CARD_PF_VF_ROW(3) + CARD_ROW_REGION), ==,
                    CARD_NONE);
    g_assert_cmpint(vf_get(&t, 3, CARD_VF_STATUS), ==, CARD_VF_IDLE);
    g_assert_cmpint(vf_get(&t, 3, CARD_VF_ACCELERATOR), ==, 0);

    /* The image and the context are still there. */
    reconnect(&t, 0, 7);
    expect(&t, 7, "6789", CRC_123456789);
    set_vfs(&t, 2);
    g_assert_cmphex(region_get(&t, 0, CARD_REGION_VF), ==, CARD_NONE);
    g_assert_cmphex(vf_get(&t, 1, CARD_VF_MAGIC), ==, CARD_VF_MAGIC_VALUE);
    card_stop(&t);
}

/* A function that is taken away in the middle of a job */
static void test_vf_count_job(void)
{
    CardTest t;

    card_start(&t, 1, NULL);
    set_vfs(&t, 4);
    give(&t, 0, CARD_CRC32C, 2);
    qtest_memwrite(t.qts, SOURCE, "12345", 5);
    ring(&t, 2, CARD_OPERATION_RUN, 5);
    g_assert_cmpint(region_get(&t, 0, CARD_REGION_RUNNING), ==, 1);
    set_vfs(&t, 0);
    step_ms(&t, 10);
    g_assert_cmpint(region_get(&t, 0, CARD_REGION_JOBS), ==, 0);
    set_vfs(&t, 4);
    g_assert_cmpint(vf_get(&t, 2, CARD_VF_STATUS), ==, CARD_VF_IDLE);
    card_stop(&t);
}

/* As many as there can be: each VF is where SR-IOV says, with its PF. */
static void test_four_functions(void)
{
    CardTest t;

    card_start(&t, 4, "vfs=63,regions=4");
    for (int pf = 0; pf < 4; pf++) {
        uint32_t place = config_get(&t, pf, SRIOV_CAP + PCI_SRIOV_VF_OFFSET);

        g_assert_cmphex(place, ==, 0x00040004);
        set_vfs_of(&t, pf, 63);
    }
    for (int pf = 0; pf < 4; pf++) {
        g_assert_cmpint(config_get(&t, vf_devfn(&t, pf, 62), PCI_COMMAND) &
                        PCI_COMMAND_MASTER, !=, 0);
        for (int vf = 0; vf < 63; vf++) {
            uint32_t number = qtest_readl(t.qts, vf_address(pf, vf) +
                                          CARD_VF_NUMBER);

            g_assert_cmpint(number, ==, vf);
        }
    }
    /* Regions and connections are each function's own. */
    g_assert_cmpint(command_on(&t, 2, CARD_COMMAND_LOAD, 1, 0, IMAGE,
                               make_image(&t, 0, CARD_SHA256, 1000), 0), ==,
                    CARD_IDLE);
    g_assert_cmpint(command_on(&t, 2, CARD_COMMAND_CONNECT, 1, 62, 0, 0, 0),
                    ==, CARD_IDLE);
    g_assert_cmpint(qtest_readl(t.qts, vf_address(2, 62) +
                                CARD_VF_ACCELERATOR), ==, CARD_SHA256);
    for (int pf = 0; pf < 4; pf++) {
        uint32_t state = pf_get_of(&t, pf, CARD_PF_REGION_ROW(1) +
                                   CARD_REGION_STATE);

        g_assert_cmpint(state, ==,
                        pf == 2 ? CARD_REGION_READY : CARD_REGION_EMPTY);
    }
    card_stop(&t);
}

/* One function with all 252 */
static void test_many_vfs(void)
{
    CardTest t;

    card_start(&t, 1, "vfs=252,regions=64");
    set_vfs(&t, 252);
    for (int i = 0; i < 252; i++) {
        g_assert_cmpint(vf_get(&t, i, CARD_VF_NUMBER), ==, i);
    }
    g_assert_cmpint(load(&t, 63, 0, CARD_CRC32C), ==, CARD_IDLE);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 63, 251), ==, CARD_IDLE);
    expect(&t, 251, "123456789", CRC_123456789);
    card_stop(&t);
}

static void test_interrupts(void)
{
    const uint64_t table = 0xe0080000, vf_table = 0xe3000000;
    CardTest t;

    card_start(&t, 1, NULL);
    set_vfs(&t, 2);
    catch_msix(&t, 0, table, MESSAGE, 0x1111);
    catch_msix(&t, vf_devfn(&t, 0, 1), vf_table + CARD_VF_BAR_SIZE,
               MESSAGE + 4, 0x2222);

    /* Not enabled: noted, not sent */
    g_assert_cmpint(load(&t, 0, 0, CARD_CRC32C), ==, CARD_IDLE);
    g_assert_cmpint(pf_get(&t, CARD_PF_IRQ_STATUS), ==, CARD_IRQ_DONE);
    g_assert_cmphex(qtest_readl(t.qts, MESSAGE), ==, 0);

    pf_set(&t, CARD_PF_IRQ_STATUS, CARD_IRQ_DONE);
    g_assert_cmpint(pf_get(&t, CARD_PF_IRQ_STATUS), ==, 0);
    pf_set(&t, CARD_PF_IRQ_ENABLE, CARD_IRQ_DONE);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 1), ==, CARD_IDLE);
    g_assert_cmphex(qtest_readl(t.qts, MESSAGE), ==, 0x1111);

    vf_set(&t, 1, CARD_VF_IRQ_ENABLE, CARD_VF_IRQ_DONE);
    expect(&t, 1, "12345", CRC_12345);
    g_assert_cmphex(qtest_readl(t.qts, MESSAGE + 4), ==, 0x2222);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_IRQ_STATUS), ==, CARD_VF_IRQ_DONE);
    vf_set(&t, 1, CARD_VF_IRQ_STATUS, CARD_VF_IRQ_DONE);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_IRQ_STATUS), ==, 0);

    /* A job's error reaches the physical function. */
    qtest_writel(t.qts, MESSAGE, 0);
    pf_set(&t, CARD_PF_IRQ_ENABLE, CARD_IRQ_VF);
    g_assert_cmpint(job(&t, 0, CARD_OPERATION_RUN, "", 0), ==,
                    CARD_VF_ERROR_REGION);
    g_assert_cmphex(qtest_readl(t.qts, MESSAGE), ==, 0x1111);
    g_assert_cmpint(pf_get(&t, CARD_PF_ERROR_VF), ==, 0);
    g_assert_cmpint(pf_get(&t, CARD_PF_IRQ_STATUS) & CARD_IRQ_VF, !=, 0);
    g_assert_cmpint(vf_get(&t, 0, CARD_VF_IRQ_STATUS), ==, CARD_VF_IRQ_FAILED);
    card_stop(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/virtfn-card/identity", test_identity);
    qtest_add_func("/virtfn-card/load", test_load);
    qtest_add_func("/virtfn-card/load/time", test_load_time);
    qtest_add_func("/virtfn-card/load/refused", test_load_refused);
    qtest_add_func("/virtfn-card/load/crc", test_load_crc);
    qtest_add_func("/virtfn-card/load/faults", test_load_faults);
    qtest_add_func("/virtfn-card/connect", test_connect);
    qtest_add_func("/virtfn-card/vf-count", test_vf_count);
    qtest_add_func("/virtfn-card/vf-count/job", test_vf_count_job);
    qtest_add_func("/virtfn-card/four-functions", test_four_functions);
    qtest_add_func("/virtfn-card/many-vfs", test_many_vfs);
    qtest_add_func("/virtfn-card/interrupts", test_interrupts);
    card_add_jobs();
    card_add_hostile();
    return g_test_run();
}
