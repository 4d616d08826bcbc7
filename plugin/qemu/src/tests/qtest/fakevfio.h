/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * State of the fake VFIO kernel
 *
 * A test maps a file with an FvState, the library fakevfio.so maps the same
 * file in QEMU.  The test describes host devices, sets failures and delays,
 * and reads what the kernel saw.  It must not take the lock: what it reads
 * while QEMU runs an operation is a snapshot.
 */

#ifndef TESTS_FAKEVFIO_H
#define TESTS_FAKEVFIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FV_ENV "FAKEVFIO_DIR"   /* directory with "state" and the objects */
#define FV_MAJOR 511            /* of /dev/vfio/devices/vfioN */

#define FV_SPACES 8     /* containers, and likewise iommufds */
#define FV_GROUPS 16
#define FV_DEVICES 8
#define FV_MAPS 256
#define FV_IOMMU_OBJECTS 32
#define FV_IRQS 5       /* INTx, MSI, MSI-X, ERR, REQ */
#define FV_VECTORS 64
#define FV_CONFIG 4096
#define FV_LOG 1024

#define FV_MSIX_BAR 2
#define FV_MSIX_BAR_SIZE 0x4000
#define FV_SLOW_START 0x4000    /* part of BAR 0 that cannot be mapped */
#define FV_SLOW_END 0x8000
#define FV_MAGIC 0x46560000     /* in the first dword of BAR 0, plus index */

/* Offsets of capabilities in the config space of each device */
#define FV_CAP_PM 0x40
#define FV_CAP_MSI 0x50
#define FV_CAP_MSIX 0x70
#define FV_CAP_EXP 0xa0
#define FV_CAP_VENDOR 0xe0
#define FV_ECAP_AER 0x100

/* Kinds of calls, a mask in FvFail */
enum {
    FV_OPEN = 1,
    FV_IOCTL = 2,
    FV_MMAP = 4,
    FV_PREAD = 8,
    FV_PWRITE = 16,
    FV_CLOSE = 32,      /* logged, never fails */
    FV_ANY = 31,
};

/* The nth call that matches fails with the errno given. */
typedef struct FvFail {
    int kinds;          /* 0: none */
    unsigned long cmd;  /* an ioctl's number, 0 for any */
    int nth;
    int error;
    int count;          /* calls that matched */
    bool fired;
    int fired_kind;     /* the call that it was */
    unsigned long fired_cmd;
} FvFail;

/* Calls of one kind that a test can let wait */
typedef struct FvHeld {
    bool hold;          /* set by the test */
    bool overdue;       /* it went on by itself, after FV_HOLD_MS */
    int held;           /* it waits */
    uint32_t calls;
} FvHeld;

#define FV_HOLD_MS 30000

typedef struct FvLog {
    uint64_t ns;        /* CLOCK_MONOTONIC at the call's end */
    int kind;
    int object;         /* number of the device, group, ..., or -1 */
    unsigned long arg;  /* an ioctl's number, an offset */
    int ret, error;
} FvLog;

typedef struct FvMap {
    int space;          /* container, or id of an IOAS plus FV_SPACES */
    uint64_t iova, size, vaddr;
} FvMap;

typedef struct FvIOMMUObject {
    enum { FV_FREE, FV_IOAS, FV_HWPT, FV_BOUND } type;
    int iommu;          /* its iommufd */
    int of;             /* a HWPT's IOAS, a bound device's number */
} FvIOMMUObject;

typedef struct FvDevice {
    /* Set by the test, may change while the device is closed */
    char name[16];      /* PCI address, "" for none */
    int group, minor;
    uint16_t vendor, device;
    uint32_t bar0_size;
    uint16_t vectors;
    uint8_t pin;
    uint32_t open_ms, close_ms;         /* what a reset takes */
    uint16_t devsta;    /* PCI_EXP_DEVSTA after a reset */

    /* The kernel's */
    bool open, closing;
    int bound;          /* id of the FV_BOUND object, 0 for none */
    int pt;             /* id of the HWPT or IOAS attached, 0 for none */
    uint8_t config[FV_CONFIG], writable[FV_CONFIG], w1c[FV_CONFIG];
    int irq[FV_IRQS][FV_VECTORS];       /* QEMU's eventfds, or -1 */
    bool irq_on[FV_IRQS];

    /* What it saw */
    uint32_t opens, closes, resets;     /* resets: by ioctl or DEVCTL */
    uint32_t set_irqs;
    uint64_t open_ns[2], close_ns[2];   /* start and end of the last ones */
    uint32_t config_writes[FV_CONFIG / 4];
    uint32_t w1c_ones;  /* writes of a one to a bit that this clears */
} FvDevice;

typedef struct FvState {
    pthread_mutex_t lock;
    dev_t fs;           /* file system of the objects, and their inodes */
    ino_t container_ino[FV_SPACES], iommu_ino[FV_SPACES];
    ino_t group_ino[FV_GROUPS], device_ino[FV_DEVICES];

    struct {
        bool open, set;
    } container[FV_SPACES];
    bool iommu_open[FV_SPACES];
    struct {
        bool open;
        int container;  /* or -1 */
    } group[FV_GROUPS];
    FvIOMMUObject object[FV_IOMMU_OBJECTS];     /* id is index + 1 */
    FvMap map[FV_MAPS];
    FvDevice device[FV_DEVICES];

    FvHeld map_dma, unmap_dma;  /* it waits for the RAM at 0 */
    FvHeld config_write;        /* of any device */
    FvFail fail;
    bool trim;          /* close gives QEMU's free memory back to Linux */
    uint64_t calls;
    FvLog log[FV_LOG];  /* of call n at n % FV_LOG */
} FvState;

/* In the library: wait here, without the lock, if the call is to be held. */
void fv_held_call(FvHeld *calls);
void fv_dma_call(FvState *st, unsigned long cmd, const void *arg);

#endif
