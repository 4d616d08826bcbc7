/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Emulated FPGA card: its accelerators
 *
 * Pure functions of context and input.  The context is bytes as they are
 * saved; a restored one may hold anything, so nothing in it is trusted.
 * Hashing and ciphers are QEMU's.
 */

#include "qemu/osdep.h"
#include "crypto/cipher.h"
#include "crypto/hash.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "virtfn-card.h"

/* Private parts of the contexts, after the header */
#define SHA_STARTED (CARD_CONTEXT_HEADER + 0) /* 32 bits: there is a result */
#define SHA_RESULT (CARD_CONTEXT_HEADER + 4)
#define SHA_BYTES 32

#define AES_KEY_LENGTH (CARD_CONTEXT_HEADER + 0)
#define AES_KEY (CARD_CONTEXT_HEADER + 4)
#define AES_COUNTER (CARD_CONTEXT_HEADER + 36) /* of the next block */
#define AES_USED (CARD_CONTEXT_HEADER + 52)    /* bytes of that block */
#define AES_BLOCK 16
#define AES_KEY_MAX 32

#define CRC_VALUE (CARD_CONTEXT_HEADER + 0)

#define VECTOR_SUMS (CARD_CONTEXT_HEADER + 0)

QEMU_BUILD_BUG_ON(VECTOR_SUMS + CARD_VECTOR_WORDS * 4 > CARD_CONTEXT_BYTES);
QEMU_BUILD_BUG_ON(SHA_BYTES > CARD_RESULT_MIN);

static uint32_t sha256_run(uint8_t *context, const uint8_t *input,
                           uint32_t length, uint8_t *output, uint32_t *result)
{
    bool started = ldl_le_p(context + SHA_STARTED);
    struct iovec iov[] = {
        { context + SHA_RESULT, started ? SHA_BYTES : 0 },
        { (void *)input, length },
    };
    size_t size = SHA_BYTES;

    if (qcrypto_hash_bytesv(QCRYPTO_HASH_ALGO_SHA256, iov, ARRAY_SIZE(iov),
                            &output, &size, NULL) < 0) {
        return CARD_VF_ERROR_CONTEXT;
    }
    memcpy(context + SHA_RESULT, output, SHA_BYTES);
    stl_le_p(context + SHA_STARTED, 1);
    *result = SHA_BYTES;
    return CARD_VF_DONE;
}

static uint32_t aes_init(uint8_t *context, const uint8_t *input,
                         uint32_t length)
{
    uint32_t key_length = length - AES_BLOCK;

    if (length < AES_BLOCK ||
        (key_length != 16 && key_length != 24 && key_length != 32)) {
        return CARD_VF_ERROR_LENGTH;
    }
    memcpy(context + AES_COUNTER, input, AES_BLOCK);
    stl_le_p(context + AES_KEY_LENGTH, key_length);
    memcpy(context + AES_KEY, input + AES_BLOCK, key_length);
    return CARD_VF_DONE;
}

static QCryptoCipher *aes_cipher(const uint8_t *context)
{
    QCryptoCipherAlgo algorithm;
    uint32_t key_length = ldl_le_p(context + AES_KEY_LENGTH);

    switch (key_length) {
    case 16:
        algorithm = QCRYPTO_CIPHER_ALGO_AES_128;
        break;
    case 24:
        algorithm = QCRYPTO_CIPHER_ALGO_AES_192;
        break;
    case 32:
        algorithm = QCRYPTO_CIPHER_ALGO_AES_256;
        break;
    default:
        return NULL;
    }
    /* Not every build of QEMU has counter mode. */
    return qcrypto_cipher_new(algorithm, QCRYPTO_CIPHER_MODE_ECB,
                              context + AES_KEY, key_length, NULL);
}

static void aes_count(uint8_t *counter)
{
    int i = AES_BLOCK;

    while (i-- > 0 && ++counter[i] == 0) {
        continue;
    }
}

static uint32_t aes_run(uint8_t *context, const uint8_t *input,
                        uint32_t length, uint8_t *output, uint32_t *result)
{
    g_autoptr(QCryptoCipher) cipher = aes_cipher(context);
    uint32_t used = ldl_le_p(context + AES_USED);
    uint8_t stream[AES_BLOCK];
    bool fresh = false;

    if (!cipher || used >= AES_BLOCK) {
        return CARD_VF_ERROR_CONTEXT;
    }
    for (uint32_t i = 0; i < length; i++) {
        if (!fresh && qcrypto_cipher_encrypt(cipher, context + AES_COUNTER,
                                             stream, AES_BLOCK, NULL) < 0) {
            return CARD_VF_ERROR_CONTEXT;
        }
        fresh = true;
        output[i] = input[i] ^ stream[used++];
        if (used == AES_BLOCK) {
            used = 0;
            fresh = false;
            aes_count(context + AES_COUNTER);
        }
    }
    stl_le_p(context + AES_USED, used);
    *result = length;
    return CARD_VF_DONE;
}

/* What is in the context is the sum so far: 0 of nothing. */
static uint32_t crc_run(uint8_t *context, const uint8_t *input,
                        uint32_t length, uint8_t *output, uint32_t *result)
{
    uint32_t sum = crc32c(~ldl_le_p(context + CRC_VALUE), input, length);

    stl_le_p(context + CRC_VALUE, sum);
    stl_le_p(output, sum);
    *result = sizeof(sum);
    return CARD_VF_DONE;
}

static uint32_t vector_run(uint8_t *context, const uint8_t *input,
                           uint32_t length, uint8_t *output, uint32_t *result)
{
    uint8_t *sums = context + VECTOR_SUMS;

    if (length % 4 || length > CARD_VECTOR_WORDS * 4) {
        return CARD_VF_ERROR_LENGTH;
    }
    for (uint32_t i = 0; i < length; i += 4) {
        stl_le_p(sums + i, ldl_le_p(sums + i) + ldl_le_p(input + i));
    }
    memcpy(output, sums, length);
    *result = length;
    return CARD_VF_DONE;
}

static uint32_t accelerator_init(uint32_t accelerator, uint8_t *context,
                                 const uint8_t *input, uint32_t length)
{
    memset(context + CARD_CONTEXT_HEADER, 0,
           CARD_CONTEXT_BYTES - CARD_CONTEXT_HEADER);
    if (accelerator == CARD_AES_CTR) {
        return aes_init(context, input, length);
    }
    return length ? CARD_VF_ERROR_LENGTH : CARD_VF_DONE;
}

uint32_t card_accelerator_run(uint32_t accelerator, uint32_t operation,
                              uint8_t *context, const uint8_t *input,
                              uint32_t length, uint8_t *output,
                              uint32_t *result)
{
    *result = 0;
    if (operation == CARD_OPERATION_INIT) {
        return accelerator_init(accelerator, context, input, length);
    }
    switch (accelerator) {
    case CARD_SHA256:
        return sha256_run(context, input, length, output, result);
    case CARD_AES_CTR:
        return aes_run(context, input, length, output, result);
    case CARD_CRC32C:
        return crc_run(context, input, length, output, result);
    case CARD_VECTOR_ADD:
        return vector_run(context, input, length, output, result);
    default:
        g_assert_not_reached();
    }
}
