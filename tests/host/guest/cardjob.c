// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /bin/cardjob of the guest: drives a virtual function of the emulated FPGA card from user space,
 * through sysfs, and checks every result against its own computation:
 *
 *   cardjob 0000:00:05.0 JOBS [SEED]
 *
 * It starts the accelerator of the function (SHA-256, CRC-32C, vector add) anew and gives it JOBS
 * pieces of made-up data. It prints "ok JOBS", or "wrong JOB" with status 2, or what else went
 * wrong with status 1.
 *
 * Invariant: nothing that the card says is taken as input of the next computation. A job without
 * effect (after a reset, a disconnect, or while the device is paused) is given again; one that
 * happened before the reset is not, since the card counts jobs together with their effect.
 * It polls, since interrupts need a driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hw/misc/virtfn-card-regs.h"

enum { page = 4096, data_max = 4 * CARD_VECTOR_WORDS, command = 4, memory_and_master = 6 };

static volatile uint32_t *registers;
static uint8_t *source, *destination;
static uint64_t source_address, destination_address;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "cardjob: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_file(const char *function, const char *name)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", function, name);
    fd = open(path, O_RDWR | O_SYNC);
    if (fd == -1)
        die(path);
    return fd;
}

/* A page that stays where it is, and where that is. */
static uint8_t *dma_page(uint64_t *address)
{
    const int map = open("/proc/self/pagemap", O_RDONLY);
    uint64_t entry;
    uint8_t *memory = mmap(NULL, page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        die("mmap");
    memory[0] = 1;
    if (map == -1 || pread(map, &entry, 8, (off_t)((uintptr_t)memory / page * 8)) != 8)
        die("/proc/self/pagemap");
    *address = (entry & ((UINT64_C(1) << 55) - 1)) * page;
    if (*address == 0) {
        errno = EPERM;
        die("/proc/self/pagemap");
    }
    close(map);
    return memory;
}

static uint32_t get(unsigned offset)
{
    return registers[offset / 4];
}

static void set(unsigned offset, uint32_t value)
{
    registers[offset / 4] = value;
}

static void set64(unsigned offset, uint64_t value)
{
    set(offset, (uint32_t)value);
    set(offset + 4, (uint32_t)(value >> 32));
}

static void enable(int config)
{
    const uint16_t value = memory_and_master;

    if (pwrite(config, &value, 2, command) != 2)
        die("config");
}

/* Reset, without a region, or (all ones) not there. */
static bool may_repeat(uint32_t status)
{
    return status == CARD_VF_IDLE || status == CARD_VF_ERROR_REGION ||
           status == CARD_VF_ERROR_ABORTED || status == UINT32_MAX;
}

/* Give one job until it has happened; returns the status it ended with. */
static uint32_t run(int config, uint32_t operation, uint32_t length)
{
    const struct timespec pause = {.tv_nsec = 100000};
    const uint32_t jobs = get(CARD_VF_JOBS);
    uint32_t status;

    for (;;) {
        set64(CARD_VF_SOURCE, source_address);
        set64(CARD_VF_DESTINATION, destination_address);
        set(CARD_VF_LENGTH, length);
        set(CARD_VF_DOORBELL, operation);
        while ((status = get(CARD_VF_STATUS)) == CARD_VF_BUSY)
            nanosleep(&pause, NULL);
        if (!may_repeat(status))
            return status;
        do {
            nanosleep(&pause, NULL);
            enable(config);
        } while (get(CARD_VF_MAGIC) != CARD_VF_MAGIC_VALUE || get(CARD_VF_ACCELERATOR) == 0);
        if (get(CARD_VF_JOBS) == jobs + 1)
            return CARD_VF_DONE;
    }
}

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

/* First 32 bits of the fractional part of a root of the primes, as FIPS 180-4 defines its
 * constants. */
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

/* SHA-256 of the 32 bytes at `before` (unless it is NULL) and of the data, into `digest`. */
static void sha256(const uint8_t *before, const uint8_t *data, uint32_t length, uint8_t *digest)
{
    static uint8_t message[32 + data_max + 72];
    uint32_t constants[64], hash[8], size = 0, padded;

    sha256_constants(constants, hash);
    memset(message, 0, sizeof(message));
    if (before) {
        memcpy(message, before, 32);
        size = 32;
    }
    memcpy(message + size, data, length);
    size += length;
    message[size] = 0x80;
    padded = (size + 9 + 63) / 64 * 64;
    for (int i = 0; i < 4; i++)
        message[padded - 1 - (uint32_t)i] = (uint8_t)(size * 8 >> (8 * i));
    for (uint32_t i = 0; i < padded; i += 64)
        sha256_block(hash, constants, message + i);
    for (int i = 0; i < 32; i++)
        digest[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
}

/* What the accelerator should have written; the number of bytes. */
static uint32_t compute(uint32_t accelerator, uint32_t *state, uint32_t length)
{
    const uint32_t words = length / 4;

    if (accelerator == CARD_CRC32C) {
        state[0] = crc32c(state[0], source, length);
        return 4;
    }
    if (accelerator == CARD_SHA256) {
        static bool started;
        uint8_t digest[32];

        sha256(started ? (const uint8_t *)state : NULL, source, length, digest);
        memcpy(state, digest, sizeof(digest));
        started = true;
        return sizeof(digest);
    }
    for (uint32_t i = 0; i < words; i++) {
        uint32_t word;

        memcpy(&word, source + (size_t)i * 4, 4);
        state[i] += word;
    }
    return length;
}

int main(int argc, char **argv)
{
    static uint32_t state[CARD_VECTOR_WORDS];
    uint32_t accelerator, status;
    long jobs;
    int config;

    if (argc < 3 || (jobs = strtol(argv[2], NULL, 10)) < 1) {
        fprintf(stderr, "usage: cardjob FUNCTION JOBS [SEED]\n");
        return 1;
    }
    srandom(argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1);
    config = open_file(argv[1], "config");
    enable(config);
    registers = mmap(NULL, CARD_VF_BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                     open_file(argv[1], "resource0"), 0);
    if (registers == MAP_FAILED)
        die("resource0");
    source = dma_page(&source_address);
    destination = dma_page(&destination_address);
    accelerator = get(CARD_VF_ACCELERATOR);
    if (get(CARD_VF_MAGIC) != CARD_VF_MAGIC_VALUE ||
        (accelerator != CARD_CRC32C && accelerator != CARD_VECTOR_ADD &&
         accelerator != CARD_SHA256)) {
        fprintf(stderr, "cardjob: %s: accelerator %u is none that can be checked\n", argv[1],
                accelerator);
        return 1;
    }
    status = run(config, CARD_OPERATION_INIT, 0);
    for (long job = 0; job < jobs && status == CARD_VF_DONE; job++) {
        const uint32_t length = ((uint32_t)random() % (data_max / 4) + 1) * 4;
        uint32_t size;

        for (uint32_t i = 0; i < length; i++)
            source[i] = (uint8_t)random();
        memset(destination, 0, page);
        status = run(config, CARD_OPERATION_RUN, length);
        size = compute(accelerator, state, length);
        if (status == CARD_VF_DONE && memcmp(destination, state, size) != 0) {
            printf("wrong %ld\n", job);
            return 2;
        }
    }
    if (status != CARD_VF_DONE) {
        fprintf(stderr, "cardjob: %s: a job ended with status %u\n", argv[1], status);
        return 1;
    }
    printf("ok %ld\n", jobs);
    return 0;
}
