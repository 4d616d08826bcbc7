/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A fake VFIO kernel, as a library to preload into QEMU
 *
 * It models what Linux does behind /dev/vfio and /dev/iommu, so that a test
 * can assert on the state of the kernel and not only on a list of calls.
 *
 * Each open of a container, group, device or iommufd is an open of a regular
 * file in the directory of the test, locked by flock().  So descriptors can
 * be passed and duplicated, a mapping of a BAR holds its device open just
 * as in Linux, and the host's kernel tells when the last reference is gone:
 * then the lock is free.
 *
 * Stricter than Linux in one point: a device that is open can't be opened
 * again, so that a descriptor left behind makes the next open fail.
 * No interrupts of its own (a test signals the eventfds), no DMA, and no
 * migration.
 */

/* The functions below replace both variants, and open() has many. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "fakevfio.h"

/* glibc declares some of the functions only with fortification */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))real(#name))
#define REGION(off) ((off) >> 40)
#define OFFSET(off) ((off) & ((1ULL << 40) - 1))

typedef enum { NONE, CONTAINER, GROUP, DEVICE, IOMMU } Kind;

static FvState *st;
static char dir[200];

static void *real(const char *name)
{
    void *func = dlsym(RTLD_NEXT, name);

    if (!func) {
        abort();
    }
    return func;
}

static void __attribute__((constructor)) init(void)
{
    const char *env = getenv(FV_ENV);
    char path[256];
    int fd;

    if (!env) {
        return;
    }
    snprintf(dir, sizeof(dir), "%s", env);
    snprintf(path, sizeof(path), "%s/state", dir);
    fd = REAL(open64)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        abort();
    }
    st = REAL(mmap64)(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED,
                      fd, 0);
    REAL(close)(fd);
    if (st == MAP_FAILED) {
        abort();
    }
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void lock(void)
{
    pthread_mutex_lock(&st->lock);
}

static void unlock(void)
{
    pthread_mutex_unlock(&st->lock);
}

/* Ends a call: unlocks, logs, and returns @ret or -1 with errno set. */
static int done(int kind, int object, unsigned long arg, int ret)
{
    FvLog *log = &st->log[st->calls++ % FV_LOG];

    *log = (FvLog) {
        .ns = now_ns(), .kind = kind, .object = object, .arg = arg,
        .ret = ret < 0 ? -1 : ret, .error = ret < 0 ? -ret : 0,
    };
    unlock();
    if (ret < 0) {
        errno = -ret;
        return -1;
    }
    return ret;
}

/* The error that this call is to fail with, else 0 */
static int failure(int kind, unsigned long cmd)
{
    FvFail *f = &st->fail;

    if (!(f->kinds & kind) || (f->cmd && f->cmd != cmd) ||
        ++f->count != f->nth) {
        return 0;
    }
    f->fired = true;
    f->fired_kind = kind;
    f->fired_cmd = cmd;
    return -f->error;
}

/*
 * Objects
 */
static Kind find(int fd, int *nr)
{
    struct stat64 s;
    int i;

    *nr = -1;
    if (!st || fd < 0 || REAL(fstat64)(fd, &s) || s.st_dev != st->fs) {
        return NONE;
    }
    for (i = 0; i < FV_GROUPS; i++) {
        *nr = i;
        if (s.st_ino == st->group_ino[i]) {
            return GROUP;
        }
        if (i < FV_DEVICES && s.st_ino == st->device_ino[i]) {
            return DEVICE;
        }
        if (i < FV_SPACES && s.st_ino == st->container_ino[i]) {
            return CONTAINER;
        }
        if (i < FV_SPACES && s.st_ino == st->iommu_ino[i]) {
            return IOMMU;
        }
    }
    return NONE;
}

/* A new reference to an object, or -1 with errno EBUSY */
static int take(const char *kind, int nr, bool exclusive)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/%s-%d", dir, kind, nr);
    fd = REAL(open64)(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && exclusive && flock(fd, LOCK_EX | LOCK_NB)) {
        REAL(close)(fd);
        errno = EBUSY;
        return -1;
    }
    return fd;
}

static bool alive(const char *kind, int nr)
{
    int fd = take(kind, nr, true);

    if (fd >= 0) {
        REAL(close)(fd);
    }
    return fd < 0;
}

static void drop_maps(int space)
{
    int i;

    for (i = 0; i < FV_MAPS; i++) {
        if (st->map[i].size && st->map[i].space == space) {
            st->map[i].size = 0;
        }
    }
}

/* vfio_iommu_type1: the last group that leaves takes the mappings along */
static void leave_container(int group)
{
    int i, container = st->group[group].container;

    st->group[group].container = -1;
    for (i = 0; i < FV_GROUPS; i++) {
        if (st->group[i].container == container) {
            return;
        }
    }
    drop_maps(container);
    st->container[container].set = false;
}

/* Let go of what nobody refers to any more; return a device that closed. */
static FvDevice *settle(void)
{
    FvDevice *closed = NULL;
    int i, j;

    for (i = 0; i < FV_DEVICES; i++) {
        FvDevice *d = &st->device[i];

        if (d->open && !alive("device", i)) {
            memset(d->irq, 0xff, sizeof(d->irq));
            memset(d->irq_on, 0, sizeof(d->irq_on));
            if (d->bound) {
                st->object[d->bound - 1].type = FV_FREE;
            }
            d->bound = d->pt = 0;
            d->open = false;
            d->closes++;
            closed = d;
        }
    }
    for (i = 0; i < FV_GROUPS; i++) {
        if (st->group[i].open && !alive("group", i)) {
            st->group[i].open = false;
            if (st->group[i].container >= 0) {
                leave_container(i);
            }
        }
    }
    for (i = 0; i < FV_SPACES; i++) {
        if (st->container[i].open && !alive("container", i)) {
            st->container[i].open = st->container[i].set = false;
            drop_maps(i);
        }
        if (st->iommu_open[i] && !alive("iommu", i)) {
            st->iommu_open[i] = false;
            for (j = 0; j < FV_IOMMU_OBJECTS; j++) {
                if (st->object[j].type && st->object[j].iommu == i) {
                    st->object[j].type = FV_FREE;
                    drop_maps(FV_SPACES + j + 1);
                }
            }
        }
    }
    return closed;
}

/*
 * Devices
 */
static void set_word(uint8_t *p, int off, uint32_t val, int len)
{
    memcpy(p + off, &val, len); /* for hosts that are little-endian */
}

/* State after a function-level reset, as vfio-pci shows it */
static void power_on(FvDevice *d, int fd)
{
    static const struct {
        uint16_t off;
        uint8_t len;
        uint32_t val, writable, w1c;
    } regs[] = {
        { PCI_COMMAND, 2, 0, 0x547, 0 },
        { PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0, 0xf900 },
        { PCI_CLASS_REVISION, 4, 0x12000001, 0, 0 },
        { PCI_CACHE_LINE_SIZE, 2, 0, 0xffff, 0 },
        { PCI_BASE_ADDRESS_2, 4, 0xc, ~(FV_MSIX_BAR_SIZE - 1u), 0 },
        { PCI_BASE_ADDRESS_3, 4, 0, ~0u, 0 },
        { PCI_SUBSYSTEM_VENDOR_ID, 4, 0x000110ee, 0, 0 },
        { PCI_CAPABILITY_LIST, 1, FV_CAP_PM, 0, 0 },
        { PCI_INTERRUPT_LINE, 1, 0, 0xff, 0 },
        { FV_CAP_PM, 4, 0x00030000 | FV_CAP_MSI << 8 | PCI_CAP_ID_PM, 0, 0 },
        { FV_CAP_PM + PCI_PM_CTRL, 2, PCI_PM_CTRL_NO_SOFT_RESET, 0x103,
          PCI_PM_CTRL_PME_STATUS },
        { FV_CAP_MSI, 4, 0x00840000 | FV_CAP_MSIX << 8 | PCI_CAP_ID_MSI,
          0x00710000, 0 },
        { FV_CAP_MSIX, 2, FV_CAP_EXP << 8 | PCI_CAP_ID_MSIX, 0, 0 },
        { FV_CAP_MSIX + PCI_MSIX_TABLE, 4, FV_MSIX_BAR, 0, 0 },
        { FV_CAP_MSIX + PCI_MSIX_PBA, 4, 0x2000 | FV_MSIX_BAR, 0, 0 },
        { FV_CAP_EXP, 4, 0x00020000 | FV_CAP_VENDOR << 8 | PCI_CAP_ID_EXP,
          0, 0 },
        { FV_CAP_EXP + PCI_EXP_DEVCAP, 4,
          PCI_EXP_DEVCAP_FLR | PCI_EXP_DEVCAP_RBER | 1, 0, 0 },
        { FV_CAP_EXP + PCI_EXP_DEVCTL, 2, 0x2810, 0x7fff, 0 },
        { FV_CAP_EXP + PCI_EXP_DEVSTA, 2, 0, 0, 0xf },
        { FV_CAP_EXP + PCI_EXP_LNKCAP, 4, 0x00000011, 0, 0 },
        { FV_CAP_EXP + PCI_EXP_LNKCTL, 2, 0, 0x1cb, 0 },
        { FV_CAP_EXP + PCI_EXP_LNKSTA, 2, 0x11, 0, 0xc000 },
        { FV_CAP_EXP + PCI_EXP_DEVCAP2, 4, 0x1f, 0, 0 },
        { FV_CAP_EXP + PCI_EXP_DEVCTL2, 2, 0, 0x1f, 0 },
        { FV_CAP_VENDOR, 4, 0x00100000 | PCI_CAP_ID_VNDR, 0, 0 },
        { FV_CAP_VENDOR + 4, 4, 0, ~0u, 0 },
        { FV_ECAP_AER, 4, 0x00020000 | PCI_EXT_CAP_ID_ERR, 0, 0 },
        { FV_ECAP_AER + PCI_ERR_UNCOR_STATUS, 4, 0, 0, 0x3ff030 },
        { FV_ECAP_AER + PCI_ERR_UNCOR_MASK, 4, 0, 0x3ff030, 0 },
        { FV_ECAP_AER + PCI_ERR_UNCOR_SEVER, 4, 0x62030, 0x3ff030, 0 },
        { FV_ECAP_AER + PCI_ERR_COR_STATUS, 4, 0, 0, 0xf1c1 },
        { FV_ECAP_AER + PCI_ERR_COR_MASK, 4, 0x2000, 0xf1c1, 0 },
    };
    uint32_t magic = FV_MAGIC + (uint32_t)(d - st->device);
    size_t i;

    memset(d->config, 0, sizeof(d->config));
    memset(d->writable, 0, sizeof(d->writable));
    memset(d->w1c, 0, sizeof(d->w1c));
    for (i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
        set_word(d->config, regs[i].off, regs[i].val, regs[i].len);
        set_word(d->writable, regs[i].off, regs[i].writable, regs[i].len);
        set_word(d->w1c, regs[i].off, regs[i].w1c, regs[i].len);
    }
    set_word(d->config, PCI_VENDOR_ID, d->vendor, 2);
    set_word(d->config, PCI_DEVICE_ID, d->device, 2);
    set_word(d->writable, PCI_BASE_ADDRESS_0, -d->bar0_size, 4);
    set_word(d->config, PCI_INTERRUPT_PIN, d->pin, 1);
    set_word(d->config, FV_CAP_MSIX + PCI_MSIX_FLAGS, d->vectors - 1, 2);
    set_word(d->config, FV_CAP_EXP + PCI_EXP_DEVSTA, d->devsta, 2);

    /* Registers in BARs are back at zero, but for one to know it by. */
    fallocate64(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                d->bar0_size);
    fallocate64(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                (off64_t)FV_MSIX_BAR << 40, FV_MSIX_BAR_SIZE);
    if (REAL(pwrite64)(fd, &magic, 4, 0) != 4 ||
        REAL(pwrite64)(fd, &magic, 4, FV_SLOW_START) != 4) {
        abort();
    }
}

/* Drops the lock for the time of a reset. */
static void reset_takes(uint32_t ms, uint64_t ns[2])
{
    ns[0] = now_ns();
    unlock();
    if (ms) {
        usleep(ms * 1000);
    }
    lock();
    ns[1] = now_ns();
}

/* First open of a device by its fd, which has the lock of the file. */
static void open_device(FvDevice *d, int fd)
{
    while (d->closing) {
        unlock();
        usleep(1000);
        lock();
    }
    d->open = true;
    d->opens++;
    memset(d->irq, 0xff, sizeof(d->irq));
    memset(d->irq_on, 0, sizeof(d->irq_on));
    reset_takes(d->open_ms, d->open_ns);
    power_on(d, fd);
}

static int get_device_fd(int group, const char *name)
{
    int i, fd, container = st->group[group].container;
    size_t len = strcspn(name, " ");    /* a VF token may follow */

    if (container < 0 || !st->container[container].set) {
        return -EINVAL;
    }
    for (i = 0; i < FV_DEVICES; i++) {
        FvDevice *d = &st->device[i];

        if (d->group == group && strlen(d->name) == len && len &&
            !strncmp(d->name, name, len)) {
            fd = take("device", i, true);
            if (fd < 0) {
                return -errno;
            }
            open_device(d, fd);
            return fd;
        }
    }
    return -ENODEV;
}

static int irq_count(FvDevice *d, uint32_t index)
{
    switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
        return !!d->pin;
    case VFIO_PCI_MSI_IRQ_INDEX:
        return 4;
    case VFIO_PCI_MSIX_IRQ_INDEX:
        return d->vectors;
    case VFIO_PCI_ERR_IRQ_INDEX:
    case VFIO_PCI_REQ_IRQ_INDEX:
        return 1;
    default:
        return -1;
    }
}

static int set_irqs(FvDevice *d, struct vfio_irq_set *set)
{
    const int32_t *fds = (void *)set->data;
    int count = irq_count(d, set->index);
    uint32_t i;

    d->set_irqs++;
    if (count < 0 || set->start > (uint32_t)count ||
        set->count > count - set->start) {
        return -EINVAL;
    }
    /* Of INTx, MSI and MSI-X one at a time */
    for (i = 0; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++) {
        if (set->index <= VFIO_PCI_MSIX_IRQ_INDEX && i != set->index &&
            d->irq_on[i]) {
            return -EINVAL;
        }
    }
    if ((set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) !=
        VFIO_IRQ_SET_ACTION_TRIGGER) {
        return d->irq_on[set->index] ? 0 : -EINVAL;
    }
    if (set->flags & VFIO_IRQ_SET_DATA_NONE) {
        if (!set->count) {
            memset(d->irq[set->index], 0xff, sizeof(d->irq[0]));
            d->irq_on[set->index] = false;
        }
        return 0;
    }
    if (!(set->flags & VFIO_IRQ_SET_DATA_EVENTFD) ||
        set->argsz < sizeof(*set) + set->count * sizeof(*fds)) {
        return -EINVAL;
    }
    for (i = 0; i < set->count; i++) {
        if (fds[i] >= 0 && fcntl(fds[i], F_GETFD) < 0) {
            return -EBADF;
        }
    }
    for (i = 0; i < set->count; i++) {
        d->irq[set->index][set->start + i] = fds[i];
    }
    d->irq_on[set->index] = true;
    return 0;
}

/* Regions: BAR 0 with a hole in what can be mapped, BAR 2 with MSI-X */
static int region_info(FvDevice *d, struct vfio_region_info *info)
{
    struct {
        struct vfio_region_info_cap_sparse_mmap sparse;
        struct vfio_region_sparse_mmap_area area[2];
    } cap0 = {
        .sparse = {
            .header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0 },
            .nr_areas = 2,
        },
        .area = {
            { 0, FV_SLOW_START },
            { FV_SLOW_END, d->bar0_size - FV_SLOW_END },
        },
    };
    struct vfio_info_cap_header cap2 = {
        VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 0
    };
    void *cap = NULL;
    size_t len = 0;

    if (info->argsz < sizeof(*info)) {
        return -EINVAL;
    }
    info->offset = (uint64_t)info->index << 40;
    info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    info->size = info->cap_offset = 0;
    switch (info->index) {
    case VFIO_PCI_BAR0_REGION_INDEX:
        info->size = d->bar0_size;
        cap = &cap0;
        len = sizeof(cap0);
        break;
    case FV_MSIX_BAR:
        info->size = FV_MSIX_BAR_SIZE;
        cap = &cap2;
        len = sizeof(cap2);
        break;
    case VFIO_PCI_CONFIG_REGION_INDEX:
        info->size = FV_CONFIG;
        return 0;
    case VFIO_PCI_VGA_REGION_INDEX:
        return -EINVAL;
    default:
        if (info->index >= VFIO_PCI_NUM_REGIONS) {
            return -EINVAL;
        }
        info->flags = 0;
        return 0;
    }
    info->flags |= VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
    if (info->argsz < sizeof(*info) + len) {
        info->argsz = sizeof(*info) + len;
    } else {
        info->cap_offset = sizeof(*info);
        memcpy(info + 1, cap, len);
    }
    return 0;
}

static int hot_reset_info(FvDevice *d, struct vfio_pci_hot_reset_info *info)
{
    unsigned bus, slot, function;

    info->count = 1;
    info->flags = d->bound ? VFIO_PCI_HOT_RESET_FLAG_DEV_ID |
                             VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED : 0;
    if (info->argsz < sizeof(*info) + sizeof(info->devices[0])) {
        return -ENOSPC;
    }
    if (sscanf(d->name, "%*x:%x:%x.%x", &bus, &slot, &function) != 3) {
        return -ENODEV;
    }
    info->devices[0].group_id = d->bound ? d->bound : d->group;
    info->devices[0].segment = 0;
    info->devices[0].bus = bus;
    info->devices[0].devfn = slot << 3 | function;
    return 0;
}

static FvIOMMUObject *iommu_object(int iommu, uint32_t id)
{
    if (!id || id > FV_IOMMU_OBJECTS || !st->object[id - 1].type ||
        st->object[id - 1].iommu != iommu) {
        return NULL;
    }
    return &st->object[id - 1];
}

static int new_object(int type, int iommu, int of)
{
    int i;

    for (i = 0; i < FV_IOMMU_OBJECTS; i++) {
        if (!st->object[i].type) {
            st->object[i] = (FvIOMMUObject) { type, iommu, of };
            return i + 1;
        }
    }
    return -ENOSPC;
}

static int bind_device(int nr, int fd, struct vfio_device_bind_iommufd *bind)
{
    FvDevice *d = &st->device[nr];
    int iommu, id;

    if (find(bind->iommufd, &iommu) != IOMMU) {
        return -EBADF;
    }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        return -EBUSY;
    }
    id = new_object(FV_BOUND, iommu, nr);
    if (id < 0) {
        flock(fd, LOCK_UN);
        return id;
    }
    d->bound = bind->out_devid = id;
    d->pt = 0;
    open_device(d, fd);
    return 0;
}

static int device_ioctl(int nr, int fd, unsigned long cmd, void *arg)
{
    FvDevice *d = &st->device[nr];

    if (cmd == VFIO_DEVICE_BIND_IOMMUFD) {
        return d->open ? -EINVAL : bind_device(nr, fd, arg);
    }
    if (!d->open || flock(fd, LOCK_EX | LOCK_NB)) {
        return -EINVAL;     /* a second file of it, not bound */
    }

    switch (cmd) {
    case VFIO_DEVICE_ATTACH_IOMMUFD_PT: {
        struct vfio_device_attach_iommufd_pt *pt = arg;
        FvIOMMUObject *o;

        if (!d->bound) {
            return -EINVAL;
        }
        o = iommu_object(st->object[d->bound - 1].iommu, pt->pt_id);
        if (!o || o->type == FV_BOUND) {
            return -ENOENT;
        }
        d->pt = pt->pt_id;
        return 0;
    }
    case VFIO_DEVICE_DETACH_IOMMUFD_PT:
        d->pt = 0;
        return d->bound ? 0 : -EINVAL;
    case VFIO_DEVICE_GET_INFO: {
        struct vfio_device_info *info = arg;

        info->flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
        info->num_regions = VFIO_PCI_NUM_REGIONS;
        info->num_irqs = VFIO_PCI_NUM_IRQS;
        return 0;
    }
    case VFIO_DEVICE_GET_REGION_INFO:
        return region_info(d, arg);
    case VFIO_DEVICE_GET_IRQ_INFO: {
        struct vfio_irq_info *info = arg;
        int count = irq_count(d, info->index);

        info->flags = VFIO_IRQ_INFO_EVENTFD;
        if (info->index == VFIO_PCI_INTX_IRQ_INDEX) {
            info->flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
        } else if (info->index != VFIO_PCI_MSIX_IRQ_INDEX) {
            info->flags |= VFIO_IRQ_INFO_NORESIZE;
        }
        info->count = count < 0 ? 0 : count;
        return count < 0 ? -EINVAL : 0;
    }
    case VFIO_DEVICE_SET_IRQS:
        return set_irqs(d, arg);
    case VFIO_DEVICE_RESET:
        d->resets++;
        power_on(d, fd);
        return 0;
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return hot_reset_info(d, arg);
    case VFIO_DEVICE_PCI_HOT_RESET:
        d->resets++;
        power_on(d, fd);
        return 0;
    default:
        return -ENOTTY;     /* and so VFIO_DEVICE_FEATURE */
    }
}

/*
 * Groups, containers, iommufd
 */
static int group_ioctl(int nr, unsigned long cmd, void *arg)
{
    int i;

    switch (cmd) {
    case VFIO_GROUP_GET_STATUS: {
        struct vfio_group_status *status = arg;

        status->flags = VFIO_GROUP_FLAGS_VIABLE |
            (st->group[nr].container < 0 ? 0 : VFIO_GROUP_FLAGS_CONTAINER_SET);
        return 0;
    }
    case VFIO_GROUP_SET_CONTAINER:
        if (st->group[nr].container >= 0) {
            return -EINVAL;
        }
        if (find(*(int *)arg, &i) != CONTAINER) {
            return -EBADF;
        }
        st->group[nr].container = i;
        return 0;
    case VFIO_GROUP_UNSET_CONTAINER:
        if (st->group[nr].container < 0) {
            return -EINVAL;
        }
        for (i = 0; i < FV_DEVICES; i++) {
            if (st->device[i].open && st->device[i].group == nr) {
                return -EBUSY;
            }
        }
        leave_container(nr);
        return 0;
    case VFIO_GROUP_GET_DEVICE_FD:
        return get_device_fd(nr, arg);
    default:
        return -ENOTTY;
    }
}

static int map_dma(int space, uint64_t iova, uint64_t size, uint64_t vaddr)
{
    FvMap *free_map = NULL;
    int i;

    if (!size || (iova | size | vaddr) & 0xfff) {
        return -EINVAL;
    }
    for (i = 0; i < FV_MAPS; i++) {
        FvMap *m = &st->map[i];

        if (!m->size) {
            free_map = m;
        } else if (m->space == space && iova < m->iova + m->size &&
                   m->iova < iova + size) {
            return -EEXIST;
        }
    }
    if (!free_map) {
        return -ENOSPC;
    }
    *free_map = (FvMap) { space, iova, size, vaddr };
    return 0;
}

/* Bytes unmapped.  No mapping may be split. */
static int64_t unmap_dma(int space, uint64_t iova, uint64_t last)
{
    int64_t bytes = 0;
    int pass, i;

    for (pass = 0; pass < 2; pass++) {
        for (i = 0; i < FV_MAPS; i++) {
            FvMap *m = &st->map[i];
            uint64_t end = m->iova + m->size - 1;

            if (!m->size || m->space != space || m->iova > last ||
                end < iova) {
                continue;
            }
            if (m->iova < iova || end > last) {
                return -EINVAL;
            }
            if (pass) {
                bytes += m->size;
                m->size = 0;
            }
        }
    }
    return bytes;
}

static int container_ioctl(int nr, unsigned long cmd, void *arg)
{
    int i;

    switch (cmd) {
    case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
        return (uintptr_t)arg == VFIO_TYPE1v2_IOMMU ||
               (uintptr_t)arg == VFIO_UNMAP_ALL;
    case VFIO_SET_IOMMU:
        for (i = 0; i < FV_GROUPS; i++) {
            if (st->group[i].container == nr &&
                (uintptr_t)arg == VFIO_TYPE1v2_IOMMU) {
                st->container[nr].set = true;
                return 0;
            }
        }
        return -EINVAL;
    default:
        if (!st->container[nr].set) {
            return -EINVAL;
        }
    }

    switch (cmd) {
    case VFIO_IOMMU_GET_INFO: {
        struct vfio_iommu_type1_info *info = arg;

        info->flags = VFIO_IOMMU_INFO_PGSIZES;
        info->iova_pgsizes = 0x40201000;
        info->argsz = sizeof(*info);
        return 0;
    }
    case VFIO_IOMMU_MAP_DMA: {
        struct vfio_iommu_type1_dma_map *map = arg;

        return map_dma(nr, map->iova, map->size, map->vaddr);
    }
    case VFIO_IOMMU_UNMAP_DMA: {
        struct vfio_iommu_type1_dma_unmap *unmap = arg;
        bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
        int64_t bytes;

        if (all ? unmap->iova || unmap->size : !unmap->size) {
            return -EINVAL;
        }
        bytes = unmap_dma(nr, unmap->iova,
                          all ? UINT64_MAX : unmap->iova + unmap->size - 1);
        unmap->size = bytes < 0 ? unmap->size : (uint64_t)bytes;
        return bytes < 0 ? bytes : 0;
    }
    default:
        return -ENOTTY;
    }
}

static int iommu_destroy(int nr, uint32_t id)
{
    FvIOMMUObject *o = iommu_object(nr, id);
    int i;

    if (!o || o->type == FV_BOUND) {
        return -ENOENT;
    }
    for (i = 0; i < FV_DEVICES; i++) {
        if (st->device[i].pt == (int)id) {
            return -EBUSY;
        }
    }
    for (i = 0; i < FV_IOMMU_OBJECTS; i++) {
        if (st->object[i].type == FV_HWPT && st->object[i].of == (int)id) {
            return -EBUSY;
        }
    }
    o->type = FV_FREE;
    drop_maps(FV_SPACES + id);
    return 0;
}

static int iommu_ioctl(int nr, unsigned long cmd, void *arg)
{
    FvIOMMUObject *o;
    int id;

    switch (cmd) {
    case IOMMU_DESTROY:
        return iommu_destroy(nr, ((struct iommu_destroy *)arg)->id);
    case IOMMU_IOAS_ALLOC:
        id = new_object(FV_IOAS, nr, 0);
        ((struct iommu_ioas_alloc *)arg)->out_ioas_id = id;
        return id < 0 ? id : 0;
    case IOMMU_HWPT_ALLOC: {
        struct iommu_hwpt_alloc *hwpt = arg;

        o = iommu_object(nr, hwpt->dev_id);
        if (!o || o->type != FV_BOUND) {
            return -ENOENT;
        }
        o = iommu_object(nr, hwpt->pt_id);
        if (!o || o->type != FV_IOAS) {
            return -ENOENT;
        }
        id = new_object(FV_HWPT, nr, hwpt->pt_id);
        hwpt->out_hwpt_id = id;
        return id < 0 ? id : 0;
    }
    case IOMMU_GET_HW_INFO: {
        struct iommu_hw_info *info = arg;

        o = iommu_object(nr, info->dev_id);
        if (!o || o->type != FV_BOUND) {
            return -ENOENT;
        }
        info->out_data_type = IOMMU_HW_INFO_TYPE_NONE;
        info->out_capabilities = 0;
        info->data_len = 0;
        return 0;
    }
    case IOMMU_IOAS_IOVA_RANGES: {
        struct iommu_ioas_iova_ranges *info = arg;
        bool fits = info->num_iovas >= 1;

        info->num_iovas = 1;
        info->out_iova_alignment = 0x1000;
        if (!fits) {
            return -EMSGSIZE;
        }
        *(struct iommu_iova_range *)(uintptr_t)info->allowed_iovas =
            (struct iommu_iova_range) { 0, (1ULL << 57) - 1 };
        return 0;
    }
    case IOMMU_IOAS_MAP: {
        struct iommu_ioas_map *map = arg;

        o = iommu_object(nr, map->ioas_id);
        if (!o || o->type != FV_IOAS) {
            return -ENOENT;
        }
        return map_dma(FV_SPACES + map->ioas_id, map->iova, map->length,
                       map->user_va);
    }
    case IOMMU_IOAS_UNMAP: {
        struct iommu_ioas_unmap *unmap = arg;
        int64_t bytes;

        o = iommu_object(nr, unmap->ioas_id);
        if (!o || o->type != FV_IOAS) {
            return -ENOENT;
        }
        bytes = unmap_dma(FV_SPACES + unmap->ioas_id, unmap->iova,
                          unmap->iova + unmap->length - 1);
        unmap->length = bytes < 0 ? 0 : bytes;
        return bytes < 0 ? bytes : bytes ? 0 : -ENOENT;
    }
    default:
        return -ENOTTY;
    }
}

/*
 * System calls
 */
EXPORT int ioctl(int fd, unsigned long cmd, ...)
{
    va_list ap;
    void *arg;
    Kind kind;
    int nr, ret;

    va_start(ap, cmd);
    arg = va_arg(ap, void *);
    va_end(ap);
    kind = find(fd, &nr);
    if (kind == NONE) {
        return REAL(ioctl)(fd, cmd, arg);
    }

    fv_dma_call(st, cmd, arg);
    lock();
    settle();
    ret = failure(FV_IOCTL, cmd);
    if (!ret) {
        ret = kind == DEVICE ? device_ioctl(nr, fd, cmd, arg) :
              kind == GROUP ? group_ioctl(nr, cmd, arg) :
              kind == CONTAINER ? container_ioctl(nr, cmd, arg) :
              iommu_ioctl(nr, cmd, arg);
    }
    return done(FV_IOCTL, nr, cmd, ret);
}

/* True with the result in @fd if @path is one of ours. */
static bool open_fake(const char *path, int *fd)
{
    int i = -1, n = -1, len = 0, ret;

    if (!st) {
        return false;
    }
    if (!strcmp(path, "/dev/iommu") || !strcmp(path, "/dev/vfio/vfio")) {
        n = 0;
    } else if ((sscanf(path, "/dev/vfio/%d%n", &n, &len) != 1 &&
                sscanf(path, "/dev/vfio/devices/vfio%d%n", &n, &len) != 1) ||
               path[len]) {
        return false;
    }

    lock();
    settle();
    ret = failure(FV_OPEN, 0);
    if (ret) {
        goto out;
    }
    ret = -ENOENT;
    if (!strcmp(path, "/dev/vfio/vfio")) {
        for (i = 0; i < FV_SPACES && ret < 0; i++) {
            ret = take("container", i, true);
        }
        if (ret >= 0) {
            st->container[--i].open = true;
        }
    } else if (!strcmp(path, "/dev/iommu")) {
        for (i = 0; i < FV_SPACES && ret < 0; i++) {
            ret = take("iommu", i, true);
        }
        if (ret >= 0) {
            st->iommu_open[--i] = true;
        }
    } else if (!strncmp(path, "/dev/vfio/d", 11)) {
        for (i = 0; i < FV_DEVICES; i++) {
            if (st->device[i].name[0] && st->device[i].minor == n) {
                ret = take("device", i, false);
                break;
            }
        }
    } else if (n >= 0 && n < FV_GROUPS) {
        for (i = 0; i < FV_DEVICES; i++) {
            if (st->device[i].name[0] && st->device[i].group == n) {
                i = n;
                ret = take("group", n, true);
                st->group[n].open |= ret >= 0;
                break;
            }
        }
    }
    if (ret < 0) {
        ret = ret == -1 ? -errno : ret;
    }
out:
    *fd = done(FV_OPEN, i, 0, ret);
    return true;
}

EXPORT int open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;
    int fd;

    va_start(ap, flags);
    mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_fake(path, &fd) ? fd : REAL(open64)(path, flags, mode);
}

EXPORT int open(const char *path, int flags, ...)
    __attribute__((alias("open64")));

EXPORT int __open64_2(const char *path, int flags)
{
    return open64(path, flags);
}

EXPORT int __open_2(const char *path, int flags)
    __attribute__((alias("__open64_2")));

EXPORT int openat64(int at, const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;
    int fd;

    va_start(ap, flags);
    mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_fake(path, &fd) ? fd : REAL(openat64)(at, path, flags, mode);
}

EXPORT int openat(int at, const char *path, int flags, ...)
    __attribute__((alias("openat64")));

EXPORT int close(int fd)
{
    FvDevice *closed;
    int nr, ret;

    if (find(fd, &nr) == NONE) {
        return REAL(close)(fd);
    }
    lock();
    ret = REAL(close)(fd);
    closed = settle();
    if (closed) {
        /* The last reference: Linux resets the function here, too. */
        closed->closing = true;
        reset_takes(closed->close_ms, closed->close_ns);
        closed->closing = false;
        if (st->trim) {
            malloc_trim(0);
        }
    }
    return done(FV_CLOSE, nr, 0, ret);
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off64_t off)
{
    int nr, ret;

    if (find(fd, &nr) != DEVICE) {
        return REAL(mmap64)(addr, len, prot, flags, fd, off);
    }
    lock();
    ret = st->device[nr].open ? failure(FV_MMAP, 0) : -EINVAL;
    if (done(FV_MMAP, nr, off, ret)) {
        return MAP_FAILED;
    }
    return REAL(mmap64)(addr, len, prot, flags, fd, off);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t off) __attribute__((alias("mmap64")));

/* How much of @len at @off is in a region, or an error */
static int clip(FvDevice *d, off64_t off, size_t len)
{
    uint64_t size = REGION(off) == VFIO_PCI_CONFIG_REGION_INDEX ? FV_CONFIG :
                    REGION(off) == VFIO_PCI_BAR0_REGION_INDEX ? d->bar0_size :
                    REGION(off) == FV_MSIX_BAR ? FV_MSIX_BAR_SIZE : 0;

    if (!d->open || OFFSET(off) >= size) {
        return -EINVAL;
    }
    return len < size - OFFSET(off) ? len : size - OFFSET(off);
}

EXPORT ssize_t pread64(int fd, void *buf, size_t len, off64_t off)
{
    FvDevice *d;
    int nr, ret;

    if (find(fd, &nr) != DEVICE) {
        return REAL(pread64)(fd, buf, len, off);
    }
    d = &st->device[nr];
    lock();
    ret = failure(FV_PREAD, 0);
    if (!ret) {
        ret = clip(d, off, len);
    }
    if (ret > 0 && REGION(off) == VFIO_PCI_CONFIG_REGION_INDEX) {
        memcpy(buf, d->config + OFFSET(off), ret);
    } else if (ret > 0) {
        ret = REAL(pread64)(fd, buf, ret, off);
    }
    return done(FV_PREAD, nr, off, ret);
}

EXPORT ssize_t pread(int fd, void *buf, size_t len, off_t off)
    __attribute__((alias("pread64")));

EXPORT ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t off,
                             size_t max)
{
    if (len > max) {
        abort();
    }
    return pread64(fd, buf, len, off);
}

static void write_config(FvDevice *d, int fd, const uint8_t *buf, int off,
                         int len)
{
    const int flr = FV_CAP_EXP + PCI_EXP_DEVCTL + 1;
    bool reset = off <= flr && off + len > flr && buf[flr - off] & 0x80;
    int i;

    for (i = 0; i < len; i++, off++) {
        if (!i || !(off & 3)) {
            d->config_writes[off / 4]++;
        }
        d->w1c_ones += !!(buf[i] & d->w1c[off]);
        d->config[off] = (d->config[off] & ~d->writable[off] &
                          ~(buf[i] & d->w1c[off])) |
                         (buf[i] & d->writable[off]);
    }
    if (reset) {
        d->resets++;
        power_on(d, fd);
    }
}

EXPORT ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
    FvDevice *d;
    int nr, ret;

    if (find(fd, &nr) != DEVICE) {
        return REAL(pwrite64)(fd, buf, len, off);
    }
    d = &st->device[nr];
    if (REGION(off) == VFIO_PCI_CONFIG_REGION_INDEX) {
        fv_held_call(&st->config_write);
    }
    lock();
    ret = failure(FV_PWRITE, 0);
    if (!ret) {
        ret = clip(d, off, len);
    }
    if (ret > 0 && REGION(off) == VFIO_PCI_CONFIG_REGION_INDEX) {
        write_config(d, fd, buf, OFFSET(off), ret);
    } else if (ret > 0) {
        ret = REAL(pwrite64)(fd, buf, ret, off);
    }
    return done(FV_PWRITE, nr, off, ret);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
    __attribute__((alias("pwrite64")));

EXPORT int fstat64(int fd, struct stat64 *buf)
{
    int nr, ret = REAL(fstat64)(fd, buf);

    if (!ret) {
        Kind kind = find(fd, &nr);

        if (kind != NONE) {
            buf->st_mode = S_IFCHR | 0600;
            buf->st_rdev = makedev(kind == DEVICE ? FV_MAJOR : FV_MAJOR - kind,
                                   kind == DEVICE ? st->device[nr].minor : nr);
        }
    }
    return ret;
}
