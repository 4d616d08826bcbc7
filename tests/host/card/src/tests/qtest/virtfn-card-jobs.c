/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The emulated FPGA card: jobs with published results, and their contexts
 *
 * AES vectors are those of NIST SP 800-38A, F.5; that of CRC-32C is the
 * usual check value; SHA-256 of "abc" is that of FIPS 180-4.
 */

#include "qemu/osdep.h"
#include "virtfn-card-lib.h"

#define SHA_ABC \
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA_ABC_DEF \
    "d9c44b16b77fde757bccb3df456dc7f44e3e067a88080f8d6c9434e8d4ffa071"
#define SHA_ABC_DEF_GHI \
    "3f937185e1d5974f8e5305179e668b2e63885944a55c860a8c716c29e68d2ae0"

static const uint8_t aes_plain[64] = {
    0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
    0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
    0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c,
    0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51,
    0x30, 0xc8, 0x1c, 0x46, 0xa3, 0x5c, 0xe4, 0x11,
    0xe5, 0xfb, 0xc1, 0x19, 0x1a, 0x0a, 0x52, 0xef,
    0xf6, 0x9f, 0x24, 0x45, 0xdf, 0x4f, 0x9b, 0x17,
    0xad, 0x2b, 0x41, 0x7b, 0xe6, 0x6c, 0x37, 0x10,
};

/* Counter block, then the key */
static const uint8_t aes128[32] = {
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
    0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
    0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
    0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
};

static const uint8_t aes256[48] = {
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
    0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
    0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe,
    0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81,
    0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7,
    0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4,
};

#define AES128_RESULT \
    "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff" \
    "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"
#define AES256_RESULT \
    "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5" \
    "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"

/* A card with @vfs VFs, the first of them with an accelerator */
static void start(CardTest *t, int vfs, uint32_t accelerator)
{
    card_start(t, 1, NULL);
    set_vfs(t, vfs);
    give(t, 0, accelerator, 0);
}

/* For AES: counter block and key; for others nothing. */
static void init(CardTest *t, int vf, const void *data, uint32_t length)
{
    g_assert_cmpint(job(t, vf, CARD_OPERATION_INIT, data, length), ==,
                    CARD_VF_DONE);
}

static void test_sha256(void)
{
    CardTest t;

    start(&t, 1, CARD_SHA256);
    expect(&t, 0, "abc", SHA_ABC);
    expect(&t, 0, "def", SHA_ABC_DEF);
    expect(&t, 0, "ghi", SHA_ABC_DEF_GHI);
    g_assert_cmpint(vf_get(&t, 0, CARD_VF_JOBS), ==, 3);
    init(&t, 0, "", 0);
    expect(&t, 0, "abc", SHA_ABC);
    card_stop(&t);
}

static void test_aes_ctr(void)
{
    g_autofree char *head = g_strndup(AES128_RESULT, 2 * 21);
    CardTest t;

    start(&t, 1, CARD_AES_CTR);
    g_assert_cmpint(job(&t, 0, CARD_OPERATION_RUN, "abc", 3), ==,
                    CARD_VF_ERROR_CONTEXT);
    for (int size = 0; size < 48; size++) {
        if (size != 32 && size != 40) {
            g_assert_cmpint(job(&t, 0, CARD_OPERATION_INIT, aes256, size), ==,
                            CARD_VF_ERROR_LENGTH);
        }
    }
    init(&t, 0, aes256, 48);
    expect_bytes(&t, 0, aes_plain, 64, AES256_RESULT);
    init(&t, 0, aes128, 32);
    expect_bytes(&t, 0, aes_plain, 64, AES128_RESULT);

    /* The stream goes on in the middle of a block. */
    init(&t, 0, aes128, 32);
    expect_bytes(&t, 0, aes_plain, 21, head);
    expect_bytes(&t, 0, aes_plain + 21, 43, AES128_RESULT + 2 * 21);
    card_stop(&t);
}

static void test_crc32c(void)
{
    CardTest t;

    start(&t, 1, CARD_CRC32C);
    expect(&t, 0, "123456789", CRC_123456789);
    init(&t, 0, "", 0);
    expect(&t, 0, "", "00000000");
    expect(&t, 0, "12345", CRC_12345);
    expect(&t, 0, "6789", CRC_123456789);
    card_stop(&t);
}

static void test_vector_add(void)
{
    const uint8_t words[8] = { 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
    const int most = 4 * CARD_VECTOR_WORDS;
    g_autofree uint8_t *many = g_malloc0(most + 4);
    CardTest t;

    start(&t, 1, CARD_VECTOR_ADD);
    expect_bytes(&t, 0, words, 8, "01000000ffffffff");
    expect_bytes(&t, 0, words, 8, "02000000feffffff");
    expect_bytes(&t, 0, words, 4, "03000000");
    g_assert_cmpint(job(&t, 0, CARD_OPERATION_RUN, words, 7), ==,
                    CARD_VF_ERROR_LENGTH);
    g_assert_cmpint(job(&t, 0, CARD_OPERATION_RUN, many, most + 4), ==,
                    CARD_VF_ERROR_LENGTH);
    g_assert_cmpint(job(&t, 0, CARD_OPERATION_RUN, many, most), ==,
                    CARD_VF_DONE);
    g_assert_cmpint(vf_get(&t, 0, CARD_VF_RESULT), ==, most);
    expect_bytes(&t, 0, words, 8, "04000000fdffffff");
    card_stop(&t);
}

/* Two tenants take turns on region 0; one of them moves to region 2. */
static void test_context(void)
{
    CardTest t;

    start(&t, 4, CARD_SHA256);
    expect(&t, 0, "abc", SHA_ABC);
    g_assert_cmpint(save(&t, 0, SAVED), ==, CARD_IDLE);
    g_assert_cmpint(command(&t, CARD_COMMAND_DISCONNECT, 0, 0), ==, CARD_IDLE);

    /* The next tenant sees nothing of it. */
    g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 1), ==, CARD_IDLE);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_JOBS), ==, 0);
    expect(&t, 1, "abc", SHA_ABC);
    expect(&t, 1, "def", SHA_ABC_DEF);

    g_assert_cmpint(load(&t, 2, 0, CARD_SHA256), ==, CARD_IDLE);
    g_assert_cmpint(restore(&t, 2, SAVED), ==, CARD_IDLE);
    reconnect(&t, 2, 0);
    g_assert_cmpint(vf_get(&t, 0, CARD_VF_JOBS), ==, 1);
    expect(&t, 0, "def", SHA_ABC_DEF);
    expect(&t, 1, "ghi", SHA_ABC_DEF_GHI);
    expect(&t, 0, "ghi", SHA_ABC_DEF_GHI);
    card_stop(&t);
}

/* Each accelerator goes on in another region as if nothing had been. */
static void move(CardTest *t)
{
    g_assert_cmpint(save(t, 0, SAVED), ==, CARD_IDLE);
    g_assert_cmpint(command(t, CARD_COMMAND_DISCONNECT, 0, 0), ==, CARD_IDLE);
    g_assert_cmpint(command(t, CARD_COMMAND_UNLOAD, 0, 0), ==, CARD_IDLE);
    g_assert_cmpint(restore(t, 2, SAVED), ==, CARD_IDLE);
    reconnect(t, 2, 0);
}

static void test_context_move(void)
{
    const uint8_t words[4] = { 7 };
    g_autofree char *head = g_strndup(AES128_RESULT, 2 * 21);
    CardTest t;

    for (int accelerator = 1; accelerator <= CARD_ACCELERATORS;
         accelerator++) {
        start(&t, 1, accelerator);
        g_assert_cmpint(load(&t, 2, 0, accelerator), ==, CARD_IDLE);
        switch (accelerator) {
        case CARD_SHA256:
            expect(&t, 0, "abc", SHA_ABC);
            move(&t);
            expect(&t, 0, "def", SHA_ABC_DEF);
            break;
        case CARD_AES_CTR:
            init(&t, 0, aes128, 32);
            expect_bytes(&t, 0, aes_plain, 21, head);
            move(&t);
            expect_bytes(&t, 0, aes_plain + 21, 43, AES128_RESULT + 2 * 21);
            break;
        case CARD_CRC32C:
            expect(&t, 0, "12345", CRC_12345);
            move(&t);
            expect(&t, 0, "6789", CRC_123456789);
            break;
        case CARD_VECTOR_ADD:
            expect_bytes(&t, 0, words, 4, "07000000");
            move(&t);
            expect_bytes(&t, 0, words, 4, "0e000000");
            break;
        }
        card_stop(&t);
    }
}

static void test_context_window(void)
{
    CardTest t;

    start_stream(&t);
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_SAVE, 0, 0, 0x4000,
                               CARD_CONTEXT_BYTES, CARD_FLAG_WINDOW), ==,
                    CARD_IDLE);
    g_assert_cmphex(qtest_readl(t.qts, window_address(0) + 0x4000), ==,
                    CARD_CONTEXT_MAGIC_VALUE);
    expect(&t, 1, "a", "becfdac4");
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_RESTORE, 0, 0, 0x4000,
                               CARD_CONTEXT_BYTES, CARD_FLAG_WINDOW), ==,
                    CARD_IDLE);
    end_stream(&t);
}

static void test_context_faults(void)
{
    CardTest t;

    start_stream(&t);
    pf_set(&t, CARD_PF_FAULTS, CARD_FAULT_SAVE);
    g_assert_cmpint(save(&t, 0, SAVED), ==, CARD_ERROR_SAVE);
    g_assert_cmphex(qtest_readl(t.qts, SAVED), ==, 0);
    g_assert_cmpint(save(&t, 0, SAVED), ==, CARD_IDLE);
    pf_set(&t, CARD_PF_FAULTS, CARD_FAULT_RESTORE);
    g_assert_cmpint(restore(&t, 0, SAVED), ==, CARD_ERROR_RESTORE);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_JOBS), ==, 0);
    g_assert_cmpint(restore(&t, 0, SAVED), ==, CARD_IDLE);
    end_stream(&t);
}

/* A disconnect ends a job without effect; a gentle one is refused. */
static void test_disconnect_job(void)
{
    CardTest t;

    start_stream(&t);
    qtest_memwrite(t.qts, SOURCE, "6789", 4);
    ring(&t, 1, CARD_OPERATION_RUN, 4);
    g_assert_cmpint(region_get(&t, 0, CARD_REGION_RUNNING), ==, 1);
    g_assert_cmpint(save(&t, 0, SAVED), ==, CARD_ERROR_RUNNING);
    g_assert_cmpint(restore(&t, 0, SAVED), ==, CARD_ERROR_RUNNING);
    g_assert_cmpint(load(&t, 0, 0, CARD_SHA256), ==, CARD_ERROR_RUNNING);
    g_assert_cmpint(command_on(&t, 0, CARD_COMMAND_DISCONNECT, 0, 1, 0, 0,
                               CARD_FLAG_DRAINED), ==, CARD_ERROR_RUNNING);
    g_assert_cmpint(command(&t, CARD_COMMAND_DISCONNECT, 0, 1), ==, CARD_IDLE);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_STATUS), ==, CARD_VF_ERROR_ABORTED);
    step_ms(&t, 10);
    g_assert_cmpint(region_get(&t, 0, CARD_REGION_JOBS), ==, 1);
    reconnect(&t, 0, 1);
    end_stream(&t);
}

static void test_hang(void)
{
    CardTest t;

    start(&t, 2, CARD_CRC32C);
    give(&t, 2, CARD_CRC32C, 1);
    for (int end = 0; end < 2; end++) {
        pf_set(&t, CARD_PF_FAULT_VF, 0);
        g_assert_cmpint(job(&t, 0, CARD_OPERATION_INIT, "", 0), ==,
                        CARD_VF_BUSY);
        step_ms(&t, 60000);
        g_assert_cmpint(vf_get(&t, 0, CARD_VF_STATUS), ==, CARD_VF_BUSY);
        init(&t, 1, "", 0);
        if (end) {
            flr_vf(&t, 0);
            expect(&t, 0, "6789", CRC_123456789);
        } else {
            g_assert_cmpint(command(&t, CARD_COMMAND_DISCONNECT, 0, 0), ==,
                            CARD_IDLE);
            g_assert_cmpint(command(&t, CARD_COMMAND_CONNECT, 0, 0), ==,
                            CARD_IDLE);
            expect(&t, 0, "12345", CRC_12345);
        }
    }
    card_stop(&t);
}

/* Registers and job are gone; connection, image and context are not. */
static void test_flr(void)
{
    CardTest t;

    start_stream(&t);
    qtest_memwrite(t.qts, SOURCE, "6789", 4);
    ring(&t, 1, CARD_OPERATION_RUN, 4);
    flr_vf(&t, 1);
    step_ms(&t, 10);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_STATUS), ==, CARD_VF_IDLE);
    g_assert_cmphex(vf_get(&t, 1, CARD_VF_SOURCE), ==, 0);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_LENGTH), ==, 0);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_IRQ_STATUS), ==, 0);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_ACCELERATOR), ==, CARD_CRC32C);
    g_assert_cmpint(vf_get(&t, 1, CARD_VF_JOBS), ==, 1);
    end_stream(&t);
}

/* A reset at any point between the first register and the doorbell */
static void test_flr_between(void)
{
    const int words[] = {
        CARD_VF_SOURCE, CARD_VF_SOURCE + 4, CARD_VF_DESTINATION,
        CARD_VF_DESTINATION + 4, CARD_VF_LENGTH,
    };
    const uint32_t values[] = { SOURCE, 0, DESTINATION, 0, 4 };
    CardTest t;

    start_stream(&t);
    qtest_memwrite(t.qts, SOURCE, "6789", 4);
    for (int after = 0; after < ARRAY_SIZE(words); after++) {
        for (int i = 0; i < ARRAY_SIZE(words); i++) {
            vf_set(&t, 1, words[i], values[i]);
            if (i == after) {
                flr_vf(&t, 1);
            }
        }
        vf_set(&t, 1, CARD_VF_DOORBELL, CARD_OPERATION_RUN);
        step_ms(&t, 10);
        g_assert_cmpint(vf_get(&t, 1, CARD_VF_STATUS), ==,
                        CARD_VF_ERROR_RESET);
        g_assert_cmpint(vf_get(&t, 1, CARD_VF_JOBS), ==, 1);
    }
    end_stream(&t);
}

/* A reset of the PF takes VFs and connections; regions stay. */
static void test_flr_pf(void)
{
    CardTest t;

    start_stream(&t);
    begin_load(&t, 2, make_image(&t, 0, CARD_CRC32C, 10000));
    g_assert_cmpint(pf_get(&t, CARD_PF_STATUS), ==, CARD_BUSY);
    flr(&t, 0);
    card_set_up(&t);
    step_ms(&t, 100);
    g_assert_cmpint(pf_get(&t, CARD_PF_STATUS), ==, CARD_IDLE);
    g_assert_cmpint(pf_get(&t, CARD_PF_IRQ_STATUS), ==, 0);
    expect_state(&t, 2, CARD_REGION_BROKEN);
    expect_state(&t, 0, CARD_REGION_READY);
    g_assert_cmphex(region_get(&t, 0, CARD_REGION_VF), ==, CARD_NONE);
    g_assert_cmphex(vf_get(&t, 1, CARD_VF_MAGIC), !=, CARD_VF_MAGIC_VALUE);
    set_vfs(&t, 2);
    reconnect(&t, 0, 1);
    end_stream(&t);
}

void card_add_jobs(void)
{
    qtest_add_func("/virtfn-card/job/sha256", test_sha256);
    qtest_add_func("/virtfn-card/job/aes-ctr", test_aes_ctr);
    qtest_add_func("/virtfn-card/job/crc32c", test_crc32c);
    qtest_add_func("/virtfn-card/job/vector-add", test_vector_add);
    qtest_add_func("/virtfn-card/context/tenants", test_context);
    qtest_add_func("/virtfn-card/context/move", test_context_move);
    qtest_add_func("/virtfn-card/context/window", test_context_window);
    qtest_add_func("/virtfn-card/context/faults", test_context_faults);
    qtest_add_func("/virtfn-card/disconnect/job", test_disconnect_job);
    qtest_add_func("/virtfn-card/hang", test_hang);
    qtest_add_func("/virtfn-card/flr", test_flr);
    qtest_add_func("/virtfn-card/flr/between", test_flr_between);
    qtest_add_func("/virtfn-card/flr/pf", test_flr_pf);
}
