// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The accelerators of the emulated FPGA card, computed by a processor: what cardjob holds the
 * card's results against. virtfn-card-regs.h says what each one computes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    compute_parameters_max = 48, /* bytes of INIT */
    compute_input_max = 2048,    /* bytes of a RUN, a multiple of 4 */
};

/* What one accelerator has computed so far. */
struct compute {
    uint32_t accelerator;
    bool started;                    /* SHA-256: there is a digest */
    uint32_t words[512];             /* digest, checksum or sums */
    uint8_t keys[15][16], rounds;    /* AES */
    uint8_t counter[16], stream[16]; /* its next block, and what is left of the last one */
    uint32_t left;
};

/* Start anew. Writes parameters that random() made up for INIT and returns their length, or -1 if
 * there is no such accelerator. */
int compute_start(struct compute *compute, uint32_t accelerator, uint8_t *parameters);

/* One RUN; `output` has room for compute_input_max bytes. Returns the length of the result. */
uint32_t compute_run(struct compute *compute, const uint8_t *input, uint32_t length,
                     uint8_t *output);
