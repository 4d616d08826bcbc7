/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The emulated FPGA card: what a guest or a driver should not do
 *
 * Everything here is refused or without effect; what the card held before
 * it still holds, and QEMU lives.  With sanitizers these cases say more.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "virtfn-card-lib.h"

static void test_commands(void)
{
    const uint32_t numbers[] = { 0, CARD_COMMAND_UNLOAD + 1, 1000, ~0u };
    CardTest t;

    start_stream(&t);
    for (int i = 0; i < ARRAY_SIZE(numbers); i++) {
        g_assert_cmpint(command(&t, numbers[i], 0, 1), ==,
                        CARD_ERROR_COMMAND);
    }
    for (uint32_t i = CARD_COMMAND_LOAD; i <= CARD_COMMAND_UNLOAD; i++) {
        g_assert_cmpint(command_on(&t, 0, i, 0, 1, SAVED, CARD_CONTEXT_BYTES,
                                   0x80), ==, CARD_ERROR_COMMAND);
        if (i != CARD_COMMAND_DISCONNECT) {
            g_assert_cmpint(command(&t, i, 3, 1), ==, CARD_ERROR_REGION);
            g_assert_cmpint(command(&t, i, ~0u, 1), ==, CARD_ERROR_REGION);
        }
    }
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 4), ==,
                    CARD_ERROR_VF);
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, ~0u), ==,
                    CARD_ERROR_VF);
    g_assert_cmpint(command(&t, CARD_COMMAND_DISCONNECT, 0, ~0u), ==,
                    CARD_ERROR_VF);
    g_assert_cmpint(pf_get(&t, CARD_PF_IRQ_STATUS), ==,
                    CARD_IRQ_DONE | CARD_IRQ_FAILED);
    end_stream(&t);
}

static void test_overrun(void)
{
    CardTest t;

    start_stream(&t);
    begin_load(&t, 2, make_image(&t, 0, CARD_SHA256, 100000));
    pf_set(&t, CARD_PF_REGION, 0);
    pf_set(&t, CARD_PF_VF, 1);
    pf_set(&t, CARD_PF_COMMAND, CARD_COMMAND_DISCONNECT);
    g_assert_cmpint(pf_get(&t, CARD_PF_IRQ_STATUS) & CARD_IRQ_OVERRUN, !=, 0);
    step_ms(&t, 20);
    g_assert_cmpint(region_get(&t, 2, CARD_REGION_ACCELERATOR), ==,
                    CARD_SHA256);

    qtest_memwrite(t.qts, SOURCE, "6789", 4);
    ring(&t, 1, CARD_OPERATION_RUN, 4);
    ring(&t, 1, CARD_OPERATION_INIT, 0);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_OVERRUNS), ==, 1);
    step_ms(&t, 10);
    g_assert_cmphex(qtest_readl(t.qts, DESTINATION), ==, 0xe3069283);
    card_stop(&t);
}

static uint32_t job_at(CardTest *t, uint64_t source, uint64_t destination,
                       uint32_t length)
{
    vf_set(t, 1, CARD_VF_SOURCE, source);
    vf_set(t, 1, CARD_VF_SOURCE + 4, source >> 32);
    vf_set(t, 1, CARD_VF_DESTINATION, destination);
    vf_set(t, 1, CARD_VF_DESTINATION + 4, destination >> 32);
    vf_set(t, 1, CARD_VF_LENGTH, length);
    vf_set(t, 1, CARD_VF_DOORBELL, CARD_OPERATION_RUN);
    step_ms(t, 100);
    return vf_get(t, 1, CARD_VF_STATUS);
}

/* A job that fails leaves the stream where it was. */
static void test_job_dma(void)
{
    CardTest t;
    int devfn;

    start_stream(&t);
    devfn = vf_devfn(&t, 0, 1);
    g_assert_cmpint(job_at(&t, NOWHERE, DESTINATION, 4), ==,
                    CARD_VF_ERROR_DMA);
    g_assert_cmpint(job_at(&t, SOURCE, NOWHERE, 4), ==, CARD_VF_ERROR_DMA);
    g_assert_cmpint(job_at(&t, ~0ULL, DESTINATION, 4), ==, CARD_VF_ERROR_DMA);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_RESULT), ==, 0);
    g_assert_cmpint(job_at(&t, SOURCE, DESTINATION, CARD_MAX_JOB + 1), ==,
                    CARD_VF_ERROR_LENGTH);
    g_assert_cmpint(job_at(&t, SOURCE, DESTINATION, ~0u), ==,
                    CARD_VF_ERROR_LENGTH);
    config_set(&t, devfn, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmpint(job_at(&t, SOURCE, DESTINATION, 4), ==,
                    CARD_VF_ERROR_DMA);
    enable(&t, devfn);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_JOBS), ==, 1);
    g_assert_cmpint(job(&t, 1, 0, "", 0), ==, CARD_VF_ERROR_OPERATION);
    g_assert_cmpint(job(&t, 1, ~0u, "", 0), ==, CARD_VF_ERROR_OPERATION);
    end_stream(&t);
}

static void test_no_region(void)
{
    CardTest t;

    start_stream(&t);
    qtest_memset(t.qts, DESTINATION, 0x77, 64);
    g_assert_cmpint(job(&t, 2, CARD_OPERATION_RUN, "12345", 5), ==,
                    CARD_VF_ERROR_REGION);
    g_assert_cmpint(job(&t, 2, CARD_OPERATION_INIT, "", 0), ==,
                    CARD_VF_ERROR_REGION);
    g_assert_cmphex(qtest_readl(t.qts, DESTINATION), ==, 0x77777777);
    end_stream(&t);
}

static void test_command_dma(void)
{
    const uint32_t size = CARD_CONTEXT_BYTES;
    const uint64_t beyond[] = { 1 << 20, (1 << 20) - size + 1, ~0ULL };
    CardTest t;

    start_stream(&t);
    g_assert_cmpint(save(&t, 0, NOWHERE), ==, CARD_ERROR_DMA);
    g_assert_cmpint(restore(&t, 0, NOWHERE), ==, CARD_ERROR_DMA);
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_LOAD, 2, 0, NOWHERE, 1000,
                               0), ==, CARD_ERROR_DMA);
    for (int i = 0; i < ARRAY_SIZE(beyond); i++) {
        g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_SAVE, 0, 0, beyond[i],
                                   size, CARD_FLAG_WINDOW), ==,
                        CARD_ERROR_DMA);
        g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_RESTORE, 0, 0,
                                   beyond[i], size, CARD_FLAG_WINDOW), ==,
                        CARD_ERROR_DMA);
    }
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_LOAD, 2, 0, 1 << 20, 1000,
                               CARD_FLAG_WINDOW), ==, CARD_ERROR_DMA);
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_SAVE, 0, 0, SAVED,
                               size - 1, 0), ==, CARD_ERROR_LENGTH);
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_LOAD, 2, 0, IMAGE,
                               CARD_MAX_IMAGE + 1, 0), ==, CARD_ERROR_LENGTH);
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_LOAD, 2, 0, IMAGE, 0, 0),
                    ==, CARD_ERROR_LENGTH);
    g_assert_cmpint(save(&t, 2, SAVED), ==, CARD_ERROR_EMPTY);
    g_assert_cmpint(restore(&t, 2, SAVED), ==, CARD_ERROR_EMPTY);
    end_stream(&t);
}

/* Contexts that are none, or another's */
static void test_context(void)
{
    CardTest t;

    start_stream(&t);
    qtest_memset(t.qts, SAVED, 0xff, CARD_CONTEXT_BYTES);
    g_assert_cmpint(restore(&t, 0, SAVED), ==, CARD_ERROR_FORMAT);
    g_assert_cmpint(save(&t, 0, SAVED), ==, CARD_IDLE);
    qtest_writeb(t.qts, SAVED + CARD_CONTEXT_HEADER, 1);
    g_assert_cmpint(restore(&t, 0, SAVED), ==, CARD_ERROR_CRC);
    g_assert_cmpint(save(&t, 0, SAVED), ==, CARD_IDLE);
    g_assert_cmpint(load(&t, 2, 0, CARD_SHA256), ==, CARD_IDLE);
    g_assert_cmpint(restore(&t, 2, SAVED), ==, CARD_ERROR_ACCELERATOR);
    end_stream(&t);
}

/* A context that is in order, but for what no accelerator would write */
static void test_context_made_up(void)
{
    const uint8_t fill[] = { 0x10, 0x20, 0x7f, 0xff };
    CardTest t;

    for (int accelerator = 1; accelerator <= CARD_ACCELERATORS;
         accelerator++) {
        card_start(&t, 1, NULL);
        set_vfs(&t, 1);
        give(&t, 0, accelerator, 0);
        for (int i = 0; i < ARRAY_SIZE(fill); i++) {
            g_assert_cmpint(save(&t, 0, SAVED), ==, CARD_IDLE);
            qtest_memset(t.qts, SAVED + CARD_CONTEXT_HEADER, fill[i],
                         CARD_CONTEXT_BYTES - CARD_CONTEXT_HEADER);
            /* For AES: a good key length, a bad place in the block */
            if (i == 0) {
                qtest_writel(t.qts, SAVED + CARD_CONTEXT_HEADER, 16);
            }
            seal(&t, SAVED, CARD_CONTEXT_BYTES);
            g_assert_cmpint(restore(&t, 0, SAVED), ==, CARD_IDLE);
            g_assert_cmpint(job(&t, 0, CARD_OPERATION_RUN, "12345678", 8), ==,
                            accelerator == CARD_AES_CTR ?
                            CARD_VF_ERROR_CONTEXT : CARD_VF_DONE);
        }
        card_stop(&t);
    }
}

/* The image changes between the check of its header and the load. */
static void test_image_changes(void)
{
    CardTest t;
    uint32_t size;

    start_stream(&t);
    size = make_image(&t, 0, CARD_SHA256, 1000);
    begin_load(&t, 2, size);
    qtest_writel(t.qts, IMAGE + CARD_IMAGE_ACCELERATOR, 99);
    seal(&t, IMAGE, size);
    step_ms(&t, 10);
    g_assert_cmpint(pf_get(&t, CARD_PF_STATUS), ==, CARD_ERROR_ACCELERATOR);
    expect_state(&t, 2, CARD_REGION_BROKEN);
    end_stream(&t);
}

/* Results that land in the card's own registers */
static void test_dma_to_self(void)
{
    const uint64_t doorbell = vf_address(0, 1) + CARD_VF_DOORBELL;
    CardTest t;

    start_stream(&t);
    give(&t, 2, CARD_VECTOR_ADD, 2);

    /* Its own doorbell, while it is busy: dropped, and the job is done */
    g_assert_cmpint(job(&t, 1, CARD_OPERATION_INIT, "", 0), ==, CARD_VF_DONE);
    g_assert_cmpint(job_at(&t, SOURCE, doorbell, 0), ==, CARD_VF_DONE);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_OVERRUNS), ==, 1);
    expect(&t, 1, "12345", CRC_12345);

    /* VF 2 writes the PF's command: it disconnects itself. */
    pf_set(&t, CARD_PF_VF, 2);
    pf_set(&t, CARD_PF_FLAGS, 0);
    qtest_writel(t.qts, SOURCE, CARD_COMMAND_DISCONNECT);
    ring(&t, 2, 0, 4);
    vf_set(&t, 2, CARD_VF_DESTINATION, pf_address(0) + CARD_PF_COMMAND);
    vf_set(&t, 2, CARD_VF_DOORBELL, CARD_OPERATION_RUN);
    step_ms(&t, 10);
    g_assert_cmpint(vf_get(&t, 2, CARD_VF_STATUS), ==, CARD_VF_ERROR_ABORTED);
    g_assert_cmphex(region_get(&t, 2, CARD_REGION_VF), ==, CARD_NONE);
    g_assert_cmpint(region_get(&t, 2, CARD_REGION_JOBS), ==, 0);

    /* A save over all registers of VF 0: its doorbell is rung with rubbish. */
    g_assert_cmpint(save(&t, 0, vf_address(0, 0)), ==, CARD_IDLE);
    g_assert_cmpint(vf_get(&t, 0, CARD_VF_STATUS), ==, CARD_VF_ERROR_REGION);
    end_stream(&t);
}

static void test_odd_accesses(void)
{
    CardTest t;

    start_stream(&t);
    for (int i = 0; i < 0x60; i++) {
        qtest_writeb(t.qts, pf_address(0) + i, 0xff);
        qtest_writew(t.qts, pf_address(0) + i, 0xffff);
        qtest_readb(t.qts, pf_address(0) + i);
        qtest_writeb(t.qts, vf_address(0, 1) + i, 0xff);
        qtest_writew(t.qts, vf_address(0, 1) + i, 0xffff);
        qtest_readq(t.qts, vf_address(0, 1) + i);
    }
    for (int i = 0x1000; i < CARD_PF_BAR_SIZE; i += 4) {
        pf_set(&t, i, ~0u);
        pf_get(&t, i);
    }
    end_stream(&t);
}

static uint64_t any_address(GRand *rand)
{
    const uint64_t places[] = {
        SOURCE, DESTINATION, SAVED, IMAGE, NOWHERE, ~0ULL, 0xe0000000,
        0xe0001000, 0xe0002000, 0xe0080000, 0xe1000000, 0xe2000000,
        0xe2001000, 0xe3000000, (64 << 20) - 100,
    };

    return places[g_rand_int_range(rand, 0, ARRAY_SIZE(places))] +
           g_rand_int_range(rand, 0, 0x40) * 4;
}

/* Twenty thousand writes of anything to any register, while time passes */
static void test_random_writes(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    CardTest t;

    start_stream(&t);
    make_image(&t, 0, CARD_VECTOR_ADD, 1000);
    for (int i = 0; i < 20000; i++) {
        const uint64_t address = any_address(rand);
        const int vf = g_rand_int_range(rand, 0, 4);
        const int offset = g_rand_int_range(rand, 0, 0x18) * 4;

        switch (g_rand_int_range(rand, 0, 8)) {
        case 0:
            pf_set(&t, CARD_PF_ADDRESS, address);
            pf_set(&t, CARD_PF_ADDRESS + 4, address >> 32);
            break;
        case 1:
            vf_set(&t, vf, CARD_VF_SOURCE, address);
            vf_set(&t, vf, CARD_VF_DESTINATION, any_address(rand));
            break;
        case 2:
            pf_set(&t, CARD_PF_COMMAND, g_rand_int_range(rand, 0, 8));
            break;
        case 3:
            vf_set(&t, vf, CARD_VF_DOORBELL, g_rand_int_range(rand, 0, 4));
            break;
        case 4:
            pf_set(&t, offset, g_rand_int_range(rand, 0, 8));
            break;
        case 5:
            vf_set(&t, vf, offset, g_rand_int_range(rand, 0, 4096));
            break;
        case 6:
            pf_set(&t, offset, g_rand_int(rand));
            break;
        case 7:
            qtest_clock_step(t.qts, g_rand_int_range(rand, 0, 200000));
            break;
        }
    }

    /* After a reset it is a card again. */
    flr(&t, 0);
    card_set_up(&t);
    step_ms(&t, 10);
    set_vfs(&t, 2);
    give(&t, 0, CARD_CRC32C, 1);
    expect(&t, 1, "12345", CRC_12345);
    end_stream(&t);
}

static void test_properties(void)
{
    static const char *const bad[] = {
        "vfs=0", "vfs=253", "functions=4,vfs=64", "functions=0",
        "functions=5", "regions=0", "regions=65", "kinds=0",
        "regions=2,kinds=3", "window-size=5000", "window-size=128M",
    };

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *line = g_strdup_printf(
            "%s -machine q35 -accel qtest -nodefaults -display none -S "
            "-device pcie-root-port,id=rp0 -device virtfn-card,bus=rp0,%s",
            getenv("QTEST_QEMU_BINARY"), bad[i]);
        g_autofree char *said = NULL;
        int status;

        g_assert_true(g_spawn_command_line_sync(line, NULL, &said, &status,
                                                NULL));
        g_assert_cmpint(status, !=, 0);
        g_assert_nonnull(strstr(said, "virtfn-card: "));
    }
}

void card_add_hostile(void)
{
    qtest_add_func("/virtfn-card/hostile/commands", test_commands);
    qtest_add_func("/virtfn-card/hostile/overrun", test_overrun);
    qtest_add_func("/virtfn-card/hostile/job-dma", test_job_dma);
    qtest_add_func("/virtfn-card/hostile/no-region", test_no_region);
    qtest_add_func("/virtfn-card/hostile/command-dma", test_command_dma);
    qtest_add_func("/virtfn-card/hostile/context", test_context);
    qtest_add_func("/virtfn-card/hostile/context-made-up",
                   test_context_made_up);
    qtest_add_func("/virtfn-card/hostile/image-changes", test_image_changes);
    qtest_add_func("/virtfn-card/hostile/dma-to-self", test_dma_to_self);
    qtest_add_func("/virtfn-card/hostile/odd-accesses", test_odd_accesses);
    qtest_add_func("/virtfn-card/hostile/random-writes", test_random_writes);
    qtest_add_func("/virtfn-card/hostile/properties", test_properties);
}
