/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Emulated FPGA card: what its files share
 *
 * The physical function owns the regions and says which virtual function is
 * connected with which; a virtual function has its registers and its job.
 * Every DMA can come back as an access to the card's own registers.  So a
 * job and a command work on copies, and what they change is changed after
 * their last DMA, if their sequence number is still the one they began with.
 */

#ifndef HW_MISC_VIRTFN_CARD_H
#define HW_MISC_VIRTFN_CARD_H

#include "hw/misc/virtfn-card-regs.h"
#include "hw/pci/pci_device.h"
#include "qemu/timer.h"
#include "qom/object.h"

#define TYPE_CARD_PF "virtfn-card"
#define TYPE_CARD_VF "virtfn-card-vf"
OBJECT_DECLARE_SIMPLE_TYPE(CardPF, CARD_PF)
OBJECT_DECLARE_SIMPLE_TYPE(CardVF, CARD_VF)

typedef struct CardRegion {
    uint32_t state;       /* enum CardRegionState */
    uint32_t accelerator; /* 0 unless READY */
    uint32_t vf;          /* or CARD_NONE */
    uint32_t loads;
    uint8_t context[CARD_CONTEXT_BYTES]; /* as it is saved; header unset */
} CardRegion;

typedef struct CardArguments {
    uint32_t command;
    uint32_t region;
    uint32_t vf;
    uint64_t address;
    uint32_t length;
    uint32_t flags;
} CardArguments;

struct CardPF {
    PCIDevice parent_obj;

    uint16_t vfs;
    uint32_t regions;
    uint32_t kinds;
    uint8_t functions;
    uint64_t window_size;
    uint32_t load_ns_per_kib;
    uint32_t context_ns;
    uint32_t job_ns;
    uint32_t job_ns_per_kib;

    MemoryRegion registers;
    MemoryRegion window;
    QEMUTimer *timer;
    CardRegion *region;
    uint32_t *region_of; /* for each VF: its region, or CARD_NONE */

    CardArguments next;    /* as the registers say */
    CardArguments current; /* of the command that runs */
    uint32_t sequence;
    uint32_t status;
    uint32_t commands;
    uint32_t irq_status;
    uint32_t irq_enable;
    uint32_t faults;
    uint32_t fault_vf;
    uint32_t error_vf;
};

typedef struct CardJob {
    uint32_t operation;
    uint64_t source;
    uint64_t destination;
    uint32_t length;
} CardJob;

/* A bit for each register word of a job, from SOURCE to LENGTH */
#define CARD_WRITTEN(offset) (1u << ((offset) - CARD_VF_SOURCE) / 4)
#define CARD_WRITTEN_ALL (CARD_WRITTEN(CARD_VF_LENGTH + 4) - 1)

struct CardVF {
    PCIDevice parent_obj;

    MemoryRegion registers;
    MemoryRegion msix;
    QEMUTimer *timer;

    CardJob next;
    CardJob current;
    uint32_t written; /* CARD_WRITTEN(), since the last reset */
    uint32_t sequence;
    uint32_t status;
    uint32_t result;
    uint32_t irq_status;
    uint32_t irq_enable;
    uint32_t overruns;
};

/* virtfn-card.c */
CardVF *card_vf(CardPF *pf, uint32_t number);
/* The region that a VF is connected with, or NULL. */
CardRegion *card_region_of(CardVF *vf);
CardPF *card_pf_of(CardVF *vf);
uint32_t card_region_kind(CardPF *pf, uint32_t region);
bool card_region_runs(CardPF *pf, const CardRegion *region);
void card_raise(CardPF *pf, uint32_t irqs);

/* virtfn-card-control.c: the commands of the PF */
void card_command_start(CardPF *pf, uint32_t command);
void card_command_end(void *pf);
void card_disconnect(CardPF *pf, uint32_t vf);

/* virtfn-card-vf.c */
/* End the job that runs, if any, with an error. */
void card_vf_abort(CardVF *vf);

/* virtfn-card-accel.c */
/*
 * Run an operation on a context.  Returns CARD_VF_DONE or an error; the
 * context is then undefined.  @output has room for @length bytes, at least
 * for CARD_RESULT_MIN.
 */
#define CARD_RESULT_MIN 32
uint32_t card_accelerator_run(uint32_t accelerator, uint32_t operation,
                              uint8_t *context, const uint8_t *input,
                              uint32_t length, uint8_t *output,
                              uint32_t *result);

#endif
