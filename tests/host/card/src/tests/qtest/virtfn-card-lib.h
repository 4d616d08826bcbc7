/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A QEMU with an emulated FPGA card behind a root port, for its tests
 */

#ifndef VIRTFN_CARD_LIB_H
#define VIRTFN_CARD_LIB_H

#include "hw/misc/virtfn-card-regs.h"
#include "libqtest.h"

typedef struct CardTest {
    QTestState *qts;
    int functions;
} CardTest;

/* Addresses in the machine's memory that tests use */
#define SOURCE 0x100000
#define DESTINATION 0x200000
#define MESSAGE 0x300000
#define SAVED 0x400000
#define IMAGE 0x800000
#define NOWHERE 0x8000000000ULL /* no memory and no device */

#define SRIOV_CAP 0x120

/* CRC-32C of "12345" and "123456789", as the card writes it */
#define CRC_12345 "3523d118"
#define CRC_123456789 "839206e3"

/*
 * PF 0 has three regions, the second of kind 1, the others of kind 0, and
 * eight VFs, unless @options says otherwise.  With @functions more there are
 * so many PFs, each the same.
 */
void card_start(CardTest *t, int functions, const char *options);
/* Addresses and bus mastering, once more after a reset */
void card_set_up(CardTest *t);
void card_stop(CardTest *t);

uint32_t config_get(CardTest *t, int devfn, int offset);
void config_set(CardTest *t, int devfn, int offset, uint32_t value);
int vf_devfn(CardTest *t, int pf, int vf);
void flr(CardTest *t, int devfn);
/* The same, and what it undoes once more */
void flr_vf(CardTest *t, int vf);

uint32_t pf_get_of(CardTest *t, int pf, int offset);
void pf_set_of(CardTest *t, int pf, int offset, uint32_t value);
uint32_t pf_get(CardTest *t, int offset);
void pf_set(CardTest *t, int offset, uint32_t value);
uint32_t vf_get(CardTest *t, int vf, int offset);
void vf_set(CardTest *t, int vf, int offset, uint32_t value);
uint32_t region_get(CardTest *t, int region, int field);
void expect_state(CardTest *t, int region, uint32_t state);

uint64_t pf_address(int pf);
uint64_t window_address(int pf);
uint64_t vf_address(int pf, int vf);

/* Memory and bus mastering; set_vfs() does it, a reset undoes it. */
void enable(CardTest *t, int devfn);
void set_vfs_of(CardTest *t, int pf, int vfs);
void set_vfs(CardTest *t, int vfs);

/* Messages of a function's vector go to @address, with @data. */
void catch_msix(CardTest *t, int devfn, uint64_t table, uint64_t address,
                uint32_t data);

void step_ms(CardTest *t, int ms);
/* Give the command and wait for its end: the status. */
uint32_t command_on(CardTest *t, int pf, uint32_t command, uint32_t region,
                    uint32_t vf, uint64_t address, uint32_t length,
                    uint32_t flags);
uint32_t command(CardTest *t, uint32_t command, uint32_t region, uint32_t vf);
uint32_t save(CardTest *t, uint32_t region, uint64_t address);
uint32_t restore(CardTest *t, uint32_t region, uint64_t address);

/* Write an image to IMAGE; its size. */
uint32_t make_image(CardTest *t, uint32_t kind, uint32_t accelerator,
                    uint32_t length);
void seal(CardTest *t, uint64_t address, uint32_t length);
/* Give the command with the image at IMAGE, and do not wait. */
void begin_load(CardTest *t, uint32_t region, uint32_t length);
uint32_t load(CardTest *t, uint32_t region, uint32_t kind,
              uint32_t accelerator);
/* Load, then connect with a VF; all must work. */
void give(CardTest *t, uint32_t region, uint32_t accelerator, uint32_t vf);

/* Connect without clearing the context; it must work. */
void reconnect(CardTest *t, uint32_t region, uint32_t vf);

/* Ring, with @length bytes at SOURCE. */
void ring(CardTest *t, int vf, uint32_t operation, uint32_t length);
/* The same, and wait for the end: the status. */
uint32_t job(CardTest *t, int vf, uint32_t operation, const void *data,
             uint32_t length);
/* Run it; the result, which must be @expected, is in hexadecimal. */
void expect(CardTest *t, int vf, const char *data, const char *expected);
void expect_bytes(CardTest *t, int vf, const void *data, uint32_t length,
                  const char *expected);

/*
 * VF 1 of four sums up "12345" in region 0; end_stream() says if the sum
 * goes on from there, and stops the card.
 */
void start_stream(CardTest *t);
void end_stream(CardTest *t);

void card_add_jobs(void);
void card_add_hostile(void);

#endif
