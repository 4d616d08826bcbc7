// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The accelerators of the emulated FPGA card, in plain C.
 *
 * Invariant: nothing is shared with the card's own model, which uses QEMU's hashes and ciphers;
 * constants are computed from their definitions (FIPS 180-4 and 197), so that two programs that
 * agree do not agree on one wrong table.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute.h"
#include "hw/misc/virtfn-card-regs.h"

static uint32_t crc32c(uint32_t sum, const uint8_t *data, uint32_t length)
{
    sum = ~sum;
    while (length--) {
        sum ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            sum = (sum >> 1) ^ (sum & 1 ? 0x82f63b78 : 0);
    }
    return ~sum;
}

static uint32_t rotate(uint32_t word, int bits)
{
    return word >> bits | word << (32 - bits);
}

/* The first 32 bits of the fractional parts of roots of the primes. */
static void sha256_constants(uint32_t *constants, uint32_t *start)
{
    int count = 0;

    for (unsigned prime = 2; count < 64; prime++) {
        unsigned divisor = 2;

        while (divisor * divisor <= prime && prime % divisor != 0)
            divisor++;
        if (divisor * divisor <= prime)
            continue;
        constants[count] = (uint32_t)(int64_t)floorl(fmodl(cbrtl(prime), 1) * 0x1p32L);
        if (count < 8)
            start[count] = (uint32_t)(int64_t)floorl(fmodl(sqrtl(prime), 1) * 0x1p32L);
        count++;
    }
}

static void sha256_block(uint32_t *hash, const uint32_t *constants, const uint8_t *block)
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];

        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, hash, sizeof(v));
    for (int i = 0; i < 64; i++) {
        const uint32_t one = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                             ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + w[i];
        const uint32_t two = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
                             ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

        memmove(v + 1, v, 7 * sizeof(*v));
        v[4] += one;
        v[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        hash[i] += v[i];
}

/* SHA-256 of the digest of before, if there is one, and of the input. */
static void sha256(struct compute *compute, const uint8_t *input, uint32_t length)
{
    static uint32_t constants[64], start[8];
    static uint8_t message[32 + compute_input_max + 72];
    uint32_t hash[8], size = 0, padded;

    if (constants[0] == 0)
        sha256_constants(constants, start);
    memcpy(hash, start, sizeof(hash));
    memset(message, 0, sizeof(message));
    if (compute->started) {
        memcpy(message, compute->words, 32);
        size = 32;
    }
    memcpy(message + size, input, length);
    size += length;
    message[size] = 0x80;
    padded = (size + 9 + 63) / 64 * 64;
    for (int i = 0; i < 4; i++)
        message[padded - 1 - (uint32_t)i] = (uint8_t)(size * 8 >> (8 * i));
    for (uint32_t i = 0; i < padded; i += 64)
        sha256_block(hash, constants, message + i);
    for (int i = 0; i < 32; i++)
        ((uint8_t *)compute->words)[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
    compute->started = true;
}

/* A product in GF(2^8), FIPS 197, 4.2. */
static uint8_t multiply(uint8_t a, uint8_t b)
{
    uint8_t product = 0;

    for (; b; b >>= 1) {
        if (b & 1)
            product ^= a;
        a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
    }
    return product;
}

/* FIPS 197, 5.1.1: the inverse, then an affine map of its bits. */
static const uint8_t *aes_box(void)
{
    static uint8_t box[256];

    if (box[0] != 0)
        return box;
    for (unsigned value = 0; value < 256; value++) {
        unsigned inverse = 0, bits;

        while (value && multiply((uint8_t)value, (uint8_t)inverse) != 1)
            inverse++;
        bits = inverse | inverse << 8;
        box[value] = (uint8_t)((bits ^ bits >> 4 ^ bits >> 5 ^ bits >> 6 ^ bits >> 7) ^ 0x63);
    }
    return box;
}

/* FIPS 197, 5.2, in bytes: word i of the schedule is at 4 * i. */
static void aes_expand(struct compute *compute, const uint8_t *key, uint32_t length)
{
    const uint8_t *box = aes_box();
    uint8_t *schedule = compute->keys[0], power = 1;

    compute->rounds = (uint8_t)(length / 4 + 6);
    memcpy(schedule, key, length);
    for (uint32_t i = length; i < (compute->rounds + 1U) * 16; i += 4) {
        uint8_t word[4];

        memcpy(word, schedule + i - 4, 4);
        if (i % length == 0) {
            const uint8_t first = word[0];

            memmove(word, word + 1, 3);
            word[3] = first;
        }
        if (i % length == 0 || (length == 32 && i % length == 16)) {
            for (int byte = 0; byte < 4; byte++)
                word[byte] = box[word[byte]];
        }
        if (i % length == 0) {
            word[0] ^= power;
            power = multiply(power, 2);
        }
        for (uint32_t byte = 0; byte < 4; byte++)
            schedule[i + byte] = schedule[i + byte - length] ^ word[byte];
    }
}

static void aes_mix(uint8_t *column)
{
    uint8_t mixed[4];

    for (int i = 0; i < 4; i++)
        mixed[i] = (uint8_t)(multiply(column[i], 2) ^ multiply(column[(i + 1) % 4], 3) ^
                             column[(i + 2) % 4] ^ column[(i + 3) % 4]);
    memcpy(column, mixed, 4);
}

static void aes_encrypt(const struct compute *compute, const uint8_t *plain, uint8_t *cipher)
{
    const uint8_t *box = aes_box();
    uint8_t shifted[16];

    for (int i = 0; i < 16; i++)
        cipher[i] = plain[i] ^ compute->keys[0][i];
    for (int round = 1; round <= compute->rounds; round++) {
        for (int i = 0; i < 16; i++)
            shifted[i] = box[cipher[(i + 4 * (i % 4)) % 16]];
        for (int i = 0; i < 16 && round < compute->rounds; i += 4)
            aes_mix(shifted + i);
        for (int i = 0; i < 16; i++)
            cipher[i] = shifted[i] ^ compute->keys[round][i];
    }
}

static void aes_ctr(struct compute *compute, const uint8_t *input, uint32_t length, uint8_t *output)
{
    for (uint32_t i = 0; i < length; i++) {
        if (compute->left == 0) {
            aes_encrypt(compute, compute->counter, compute->stream);
            compute->left = 16;
            for (int byte = 15; byte >= 0 && ++compute->counter[byte] == 0; byte--)
                continue;
        }
        output[i] = input[i] ^ compute->stream[16 - compute->left--];
    }
}

int compute_start(struct compute *compute, uint32_t accelerator, uint8_t *parameters)
{
    const uint32_t key = 16 + 8 * ((uint32_t)random() % 3);

    memset(compute, 0, sizeof(*compute));
    compute->accelerator = accelerator;
    if (accelerator == CARD_SHA256 || accelerator == CARD_CRC32C || accelerator == CARD_VECTOR_ADD)
        return 0;
    if (accelerator != CARD_AES_CTR)
        return -1;
    for (uint32_t i = 0; i < 16 + key; i++)
        parameters[i] = (uint8_t)random();
    memcpy(compute->counter, parameters, 16);
    aes_expand(compute, parameters + 16, key);
    return (int)(16 + key);
}

uint32_t compute_run(struct compute *compute, const uint8_t *input, uint32_t length,
                     uint8_t *output)
{
    uint32_t size = length, word;

    switch (compute->accelerator) {
    case CARD_AES_CTR:
        aes_ctr(compute, input, length, output);
        return length;
    case CARD_SHA256:
        sha256(compute, input, length);
        size = 32;
        break;
    case CARD_CRC32C:
        compute->words[0] = crc32c(compute->words[0], input, length);
        size = 4;
        break;
    case CARD_VECTOR_ADD:
        for (uint32_t i = 0; i < length / 4; i++) {
            memcpy(&word, input + (size_t)i * 4, 4);
            compute->words[i] += word;
        }
        break;
    }
    memcpy(output, compute->words, size);
    return size;
}
