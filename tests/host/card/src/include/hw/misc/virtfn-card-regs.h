/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Registers and formats of the emulated FPGA card
 *
 * The one description that the device model, its qtest, the guest's test
 * program and virtfn's card driver share; it includes nothing but stdint.h.
 * All is little-endian.  Registers are accessed with 4 bytes, aligned;
 * 64-bit values are two of them, low half first.
 *
 * A card has regions.  A region is of a kind and holds one accelerator after
 * an image of that kind was loaded into it.  What the accelerator computes
 * depends on its context, which stays with the region: through a disconnect,
 * and through every reset.  CONNECT clears it unless told to keep it, so that
 * nobody gets another one's keys by mistake.
 */

#ifndef HW_MISC_VIRTFN_CARD_REGS_H
#define HW_MISC_VIRTFN_CARD_REGS_H

#include <stdint.h>

#define CARD_VENDOR_ID 0x1234
#define CARD_PF_DEVICE_ID 0x5646
#define CARD_VF_DEVICE_ID 0x5647
#define CARD_PCI_CLASS 0x1200 /* processing accelerator */

#define CARD_MAX_VFS 252 /* of all physical functions together */
#define CARD_MAX_PFS 4
#define CARD_MAX_REGIONS 64
#define CARD_MAX_IMAGE (16u << 20) /* bytes, with the header */
#define CARD_MAX_JOB (1u << 20)    /* bytes of one job */
#define CARD_NONE 0xffffffffu      /* no region, no function */

/* Base address registers, of both kinds of function */
#define CARD_BAR_REGISTERS 0 /* PF: 64 KiB; VF: 4 KiB */
#define CARD_BAR_WINDOW 2    /* PF only: memory of the card */
#define CARD_BAR_MSIX 4      /* one vector */
#define CARD_PF_BAR_SIZE 0x10000
#define CARD_VF_BAR_SIZE 0x1000

/*
 * Physical function: what it is
 */
#define CARD_PF_MAGIC 0x00        /* CARD_PF_MAGIC_VALUE */
#define CARD_PF_VERSION 0x04      /* CARD_VERSION */
#define CARD_PF_VFS 0x08          /* functions it can have */
#define CARD_PF_REGIONS 0x0c
#define CARD_PF_KINDS 0x10        /* regions are of kinds 0 to this - 1 */
#define CARD_PF_CONTEXT_SIZE 0x14 /* bytes of a saved context */
#define CARD_PF_WINDOW_SIZE 0x18  /* bytes */

#define CARD_PF_MAGIC_VALUE 0x50465456 /* "VTFP" */
#define CARD_VERSION 1

/*
 * Physical function: commands.  Set the arguments, then write COMMAND.
 * STATUS is CARD_BUSY until the command has ended.  A command that is
 * written meanwhile is dropped; CARD_IRQ_OVERRUN says so.
 */
#define CARD_PF_COMMAND 0x20
#define CARD_PF_STATUS 0x24
#define CARD_PF_REGION 0x28
#define CARD_PF_VF 0x2c      /* from 0 */
#define CARD_PF_ADDRESS 0x30 /* 64 bits: bus address, or window offset */
#define CARD_PF_LENGTH 0x38  /* bytes at ADDRESS */
#define CARD_PF_FLAGS 0x3c
#define CARD_PF_IRQ_STATUS 0x40 /* CARD_IRQ_*; write 1 to clear */
#define CARD_PF_IRQ_ENABLE 0x44
#define CARD_PF_FAULTS 0x48     /* CARD_FAULT_*; each goes off once */
#define CARD_PF_FAULT_VF 0x4c   /* its next job hangs; CARD_NONE: nobody's */
#define CARD_PF_ERROR_VF 0x50   /* read-only: whose job failed last */
#define CARD_PF_COMMANDS 0x54   /* read-only: commands that have ended */

enum CardCommand {
    /* Load the image at ADDRESS (LENGTH bytes) into REGION. */
    CARD_COMMAND_LOAD = 1,
    /* Connect VF with REGION; both must be free. */
    CARD_COMMAND_CONNECT,
    /* Disconnect VF; a job that runs is ABORTED, the context is as before. */
    CARD_COMMAND_DISCONNECT,
    /* Write REGION's context to ADDRESS; refused while a job runs. */
    CARD_COMMAND_SAVE,
    /* Read REGION's context from ADDRESS; refused while a job runs. */
    CARD_COMMAND_RESTORE,
    /* Forget REGION's image and context; it must be disconnected. */
    CARD_COMMAND_UNLOAD,
};

/* FLAGS */
#define CARD_FLAG_WINDOW 0x1 /* ADDRESS is an offset in the window */
#define CARD_FLAG_KEEP 0x2   /* CONNECT: leave the context as it is */
#define CARD_FLAG_DRAINED 0x4 /* DISCONNECT: refuse if a job runs */

/* STATUS of a command; 2 and more is how it failed */
enum CardStatus {
    CARD_IDLE = 0, /* after a reset, and after a success */
    CARD_BUSY = 1,
    CARD_ERROR_COMMAND = 2,  /* no such command or flag */
    CARD_ERROR_REGION = 3,   /* no such region */
    CARD_ERROR_VF = 4,       /* no such function, or it is not enabled */
    CARD_ERROR_LENGTH = 5,   /* too short or too long */
    CARD_ERROR_DMA = 6,      /* ADDRESS cannot be read or written */
    CARD_ERROR_FORMAT = 7,   /* not an image, not a context */
    CARD_ERROR_KIND = 8,     /* image for another kind of region */
    CARD_ERROR_ACCELERATOR = 9, /* unknown; or a context of another one */
    CARD_ERROR_CRC = 10,
    CARD_ERROR_LOAD = 11,      /* the region did not start */
    CARD_ERROR_CONNECTED = 12, /* function or region is connected already */
    CARD_ERROR_DISCONNECTED = 13,
    CARD_ERROR_EMPTY = 14,     /* the region holds no accelerator */
    CARD_ERROR_RUNNING = 15,   /* a job runs in the region */
    CARD_ERROR_SAVE = 16,      /* the context could not be read out */
    CARD_ERROR_RESTORE = 17,
};

#define CARD_IRQ_DONE 0x1    /* a command ended well */
#define CARD_IRQ_FAILED 0x2  /* a command failed: STATUS */
#define CARD_IRQ_OVERRUN 0x4 /* a command was dropped */
#define CARD_IRQ_VF 0x8      /* a job failed: ERROR_VF */
#define CARD_IRQ_ALL 0xf

#define CARD_FAULT_LOAD 0x1    /* the next load fails half way */
#define CARD_FAULT_CRC 0x2     /* the next load reads a flipped bit */
#define CARD_FAULT_SAVE 0x4    /* the next save fails */
#define CARD_FAULT_RESTORE 0x8 /* the next restore fails; context is lost */
#define CARD_FAULT_ALL 0xf

/* Physical function: a row for each region, read-only */
#define CARD_PF_REGION_ROW(region) (0x1000 + (region) * 0x20)
#define CARD_REGION_KIND 0x00
#define CARD_REGION_STATE 0x04 /* enum CardRegionState */
#define CARD_REGION_ACCELERATOR 0x08
#define CARD_REGION_VF 0x0c      /* or CARD_NONE */
#define CARD_REGION_LOADS 0x10   /* loads that succeeded */
#define CARD_REGION_RUNNING 0x14 /* 1 while a job runs */
#define CARD_REGION_JOBS 0x18    /* 64 bits: of its context */

enum CardRegionState {
    CARD_REGION_EMPTY = 0,
    CARD_REGION_LOADING = 1,
    CARD_REGION_READY = 2,
    CARD_REGION_BROKEN = 3, /* a load failed half way: load again */
};

/* Physical function: a row for each of its virtual functions, read-only */
#define CARD_PF_VF_ROW(vf) (0x2000 + (vf) * 0x10)
#define CARD_ROW_REGION 0x00 /* or CARD_NONE */
#define CARD_ROW_STATUS 0x04 /* its CARD_VF_STATUS */
#define CARD_ROW_ENABLED 0x08

/*
 * Virtual function.  Set SOURCE, DESTINATION and LENGTH, then write the
 * operation to DOORBELL.  A job changes context, JOBS and STATUS together
 * when its result is in memory: after a reset in between, JOBS says whether
 * it happened.  A doorbell that is rung while a job runs is dropped and
 * counted in OVERRUNS.  A job fails, without effect, if one of the five
 * words before the doorbell was not written since the last reset: who is
 * reset while he sets up a job does not get another job than he wanted.
 */
#define CARD_VF_MAGIC 0x00   /* CARD_VF_MAGIC_VALUE */
#define CARD_VF_VERSION 0x04 /* CARD_VERSION */
#define CARD_VF_NUMBER 0x08  /* on its physical function, from 0 */
#define CARD_VF_ACCELERATOR 0x0c /* of its region, or 0 */
#define CARD_VF_DOORBELL 0x10
#define CARD_VF_STATUS 0x14
#define CARD_VF_SOURCE 0x18      /* 64 bits */
#define CARD_VF_DESTINATION 0x20 /* 64 bits */
#define CARD_VF_LENGTH 0x28      /* bytes at SOURCE */
#define CARD_VF_RESULT 0x2c      /* bytes written to DESTINATION */
#define CARD_VF_JOBS 0x30        /* 64 bits: jobs of the context */
#define CARD_VF_IRQ_STATUS 0x38  /* CARD_VF_IRQ_*; write 1 to clear */
#define CARD_VF_IRQ_ENABLE 0x3c
#define CARD_VF_OVERRUNS 0x40    /* since the last reset */

#define CARD_VF_MAGIC_VALUE 0x56465456 /* "VTFV" */

enum CardOperation {
    CARD_OPERATION_INIT = 1, /* start over, with parameters at SOURCE */
    CARD_OPERATION_RUN = 2,
};

/* STATUS of a job */
enum CardVfStatus {
    CARD_VF_IDLE = 0,
    CARD_VF_BUSY = 1,
    CARD_VF_DONE = 2,
    CARD_VF_ERROR_REGION = 3, /* no region, or it holds no accelerator */
    CARD_VF_ERROR_OPERATION = 4,
    CARD_VF_ERROR_LENGTH = 5,
    CARD_VF_ERROR_DMA = 6,
    CARD_VF_ERROR_ABORTED = 7, /* disconnected, or the region was loaded */
    CARD_VF_ERROR_CONTEXT = 8, /* the accelerator needs INIT first */
    CARD_VF_ERROR_RESET = 9,   /* reset since it was set up: do so again */
};

#define CARD_VF_IRQ_DONE 0x1
#define CARD_VF_IRQ_FAILED 0x2
#define CARD_VF_IRQ_ALL 0x3

/*
 * Accelerators: what RUN makes of its input, and what INIT takes
 */
enum CardAccelerator {
    /*
     * Result: 32 bytes, SHA-256 of the previous result followed by the
     * input; of the input alone after INIT (which takes nothing).
     */
    CARD_SHA256 = 1,
    /*
     * Result: the input, encrypted; the key stream goes on where the last
     * job ended, to the byte.  INIT takes 16 bytes, the first counter block
     * (big-endian, 128 bits, as in NIST SP 800-38A), and a key of 16, 24 or
     * 32 bytes.
     */
    CARD_AES_CTR = 2,
    /* Result: 4 bytes, CRC-32C of all input since INIT (takes nothing). */
    CARD_CRC32C = 3,
    /*
     * Adds 32-bit words of the input to the sums of the context, position
     * by position; result: these sums.  At most CARD_VECTOR_WORDS words.
     * INIT (takes nothing) sets them to 0.
     */
    CARD_VECTOR_ADD = 4,
};
#define CARD_ACCELERATORS 4
#define CARD_VECTOR_WORDS 512

/*
 * An image: a header, then LENGTH bytes of anything.  CRC is CRC-32 (IEEE
 * 802.3, as zlib has it) of all that follows it, payload included.
 */
#define CARD_IMAGE_MAGIC 0x00       /* CARD_IMAGE_MAGIC_VALUE */
#define CARD_IMAGE_CRC 0x04
#define CARD_IMAGE_VERSION 0x08     /* CARD_VERSION */
#define CARD_IMAGE_KIND 0x0c
#define CARD_IMAGE_ACCELERATOR 0x10
#define CARD_IMAGE_LENGTH 0x14      /* of the payload, at least 1 */
#define CARD_IMAGE_HEADER 0x20      /* bytes; the rest is 0 */
#define CARD_IMAGE_MAGIC_VALUE 0x49465456 /* "VTFI" */

/* A saved context; CRC as in an image.  What follows the header is private. */
#define CARD_CONTEXT_MAGIC 0x00 /* CARD_CONTEXT_MAGIC_VALUE */
#define CARD_CONTEXT_CRC 0x04
#define CARD_CONTEXT_VERSION 0x08 /* CARD_VERSION */
#define CARD_CONTEXT_ACCELERATOR 0x0c
#define CARD_CONTEXT_JOBS 0x10    /* 64 bits */
#define CARD_CONTEXT_HEADER 0x18
#define CARD_CONTEXT_BYTES 4096   /* with the header */
#define CARD_CONTEXT_MAGIC_VALUE 0x43465456 /* "VTFC" */

#endif
