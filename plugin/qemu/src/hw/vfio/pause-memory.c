/*
 * Pinning and unpinning the guest's memory without the BQL
 *
 * To map memory for DMA the kernel pins it, which takes from 50 ms to seconds
 * for a whole guest.  The first device that is resumed maps it all, the last
 * one that is paused unmaps it.  Meanwhile the container has a VFIOPin: what
 * the memory listener wants to be mapped and unmapped is put into a queue,
 * and a worker thread does it in that order.  So memory that is plugged or
 * unplugged in that time ends as it should, and nothing of the listener's
 * rules is repeated here.
 *
 * Invariants:
 * - No guest relies on DMA through a container while it has a VFIOPin: its
 *   group's device is closed, or (iommufd) out of the guest's reach.
 * - A region with a mapping in the queue stays referenced, so that its memory
 *   is there when the kernel looks for it.
 * - A container gets and loses its VFIOPin with the BQL held, and loses it
 *   only when the queue is empty.
 *
 * Not done here: what a virtual IOMMU maps, and the parts of virtio-mem in
 * use, are mapped at once as ever, because who asks wants the result.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "exec/memory.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/range.h"
#include "qemu/thread.h"
#include "pause.h"
#include "pause-memory.h"

typedef struct VFIOPinOp {
    QSIMPLEQ_ENTRY(VFIOPinOp) next;
    MemoryRegion *mr;   /* of a mapping; NULL: unmap */
    hwaddr iova;
    ram_addr_t size;
    void *vaddr;
    bool readonly;
    int ret;
} VFIOPinOp;

struct VFIOPin {
    VFIOContainerBase *bcontainer;
    bool draining;
    bool joined;        /* another device relies on the container by now */
    bool failed;        /* a mapping has; protected by lock */
    QemuMutex running;  /* held while the queue is worked on */
    QemuMutex lock;     /* of both queues; held for no time */
    QSIMPLEQ_HEAD(, VFIOPinOp) todo, done;
};

typedef struct VFIOWork {
    VFIOWorker *worker;
    void *opaque;
    Coroutine *co;
} VFIOWork;

/* Serializes changes of which containers there are, and what is in them. */
static CoMutex topology;

static void __attribute__((constructor)) vfio_pin_setup(void)
{
    qemu_co_mutex_init(&topology);
}

static void *vfio_work_run(void *opaque)
{
    VFIOWork *work = opaque;

    work->worker(work->opaque);
    aio_co_wake(work->co);
    return NULL;
}

void coroutine_fn vfio_worker_co(VFIOWorker *worker, void *opaque)
{
    VFIOWork work = {
        .worker = worker,
        .opaque = opaque,
        .co = qemu_coroutine_self(),
    };
    QemuThread thread;

    qemu_thread_create(&thread, "vfio-pause", vfio_work_run, &work,
                       QEMU_THREAD_DETACHED);
    qemu_coroutine_yield();
}

/*
 * The queue
 */

static VFIOPin *vfio_pin_new(void)
{
    VFIOPin *pin = g_new0(VFIOPin, 1);

    qemu_mutex_init(&pin->running);
    qemu_mutex_init(&pin->lock);
    QSIMPLEQ_INIT(&pin->todo);
    QSIMPLEQ_INIT(&pin->done);
    return pin;
}

static void vfio_pin_add(VFIOPin *pin, VFIOPinOp *op)
{
    QEMU_LOCK_GUARD(&pin->lock);
    QSIMPLEQ_INSERT_TAIL(&pin->todo, op, next);
}

static VFIOPinOp *vfio_pin_first(VFIOPin *pin)
{
    QEMU_LOCK_GUARD(&pin->lock);
    return QSIMPLEQ_FIRST(&pin->todo);
}

/* Without RAM a resume fails, without another device's BAR it does not. */
static bool vfio_pin_matters(const VFIOPinOp *op)
{
    return op->mr && !memory_region_is_ram_device(op->mr);
}

static void vfio_pin_one(VFIOPin *pin, VFIOPinOp *op)
{
    VFIOContainerBase *bcontainer = pin->bcontainer;
    VFIOIOMMUClass *vioc = VFIO_IOMMU_GET_CLASS(bcontainer);

    if (!op->mr) {
        op->ret = vioc->dma_unmap(bcontainer, op->iova, op->size, NULL);
    } else if (pin->failed) {
        op->ret = -ECANCELED;
    } else {
        op->ret = vioc->dma_map(bcontainer, op->iova, op->size, op->vaddr,
                                op->readonly);
    }

    QEMU_LOCK_GUARD(&pin->lock);
    pin->failed |= op->ret && vfio_pin_matters(op);
    /* not before it is done: vfio_pin_settle() looks for it */
    QSIMPLEQ_REMOVE_HEAD(&pin->todo, next);
    QSIMPLEQ_INSERT_TAIL(&pin->done, op, next);
}

/* Work on the queue until it is empty, in any thread, with or without BQL. */
static void vfio_pin_run(void *opaque)
{
    VFIOPin *pin = opaque;
    VFIOPinOp *op;

    QEMU_LOCK_GUARD(&pin->running);
    while ((op = vfio_pin_first(pin))) {
        vfio_pin_one(pin, op);
    }
}

static void vfio_pin_report(const VFIOPinOp *op, Error **errp)
{
    if (op->ret == -ECANCELED) {
        return; /* another one failed before */
    }
    if (!op->mr) {
        error_report("vfio: unmapping 0x%" HWADDR_PRIx "+0x" RAM_ADDR_FMT
                     " from DMA failed: %s", op->iova, op->size,
                     strerror(-op->ret));
    } else if (!vfio_pin_matters(op)) {
        warn_report_once("vfio: mapping %s for DMA failed: %s: other devices "
                         "cannot reach it", memory_region_name(op->mr),
                         strerror(-op->ret));
    } else {
        error_setg_errno(errp, -op->ret, "pinning 0x" RAM_ADDR_FMT " bytes of "
                         "%s at 0x%" HWADDR_PRIx " failed%s", op->size,
                         memory_region_name(op->mr), op->iova,
                         op->ret == -ENOMEM ?
                         " (is the limit of locked memory too low?)" : "");
    }
}

/* False if memory could not be mapped. */
static bool vfio_pin_free(VFIOPin *pin, Error **errp)
{
    bool ok = !pin->failed;
    VFIOPinOp *op;

    /* what has not been done is of a container that was given up */
    QSIMPLEQ_CONCAT(&pin->done, &pin->todo);
    while ((op = QSIMPLEQ_FIRST(&pin->done))) {
        QSIMPLEQ_REMOVE_HEAD(&pin->done, next);
        if (op->ret) {
            vfio_pin_report(op, errp);
        }
        if (op->mr) {
            memory_region_unref(op->mr);
        }
        g_free(op);
    }
    qemu_mutex_destroy(&pin->running);
    qemu_mutex_destroy(&pin->lock);
    g_free(pin);
    return ok;
}

/* Have the queue worked on, then free @pin. */
static bool coroutine_fn vfio_pin_end_co(VFIOPin *pin, Error **errp)
{
    if (!pin->bcontainer) {
        return vfio_pin_free(pin, errp);
    }
    do {
        vfio_worker_co(vfio_pin_run, pin);
    } while (vfio_pin_first(pin));
    pin->bcontainer->pin = NULL;
    return vfio_pin_free(pin, errp);
}

/*
 * The memory listener
 */

void vfio_pin_attach(VFIOPin *pin, VFIOContainerBase *bcontainer)
{
    pin->bcontainer = bcontainer;
    bcontainer->pin = pin;
}

int vfio_pin_map(VFIOContainerBase *bcontainer, MemoryRegion *mr, hwaddr iova,
                 ram_addr_t size, void *vaddr, bool readonly)
{
    VFIOPin *pin = bcontainer->pin;
    VFIOPinOp *op;

    if (!pin || pin->joined) {
        return vfio_container_dma_map(bcontainer, iova, size, vaddr, readonly);
    }
    op = g_new(VFIOPinOp, 1);
    *op = (VFIOPinOp) { .mr = mr, .iova = iova, .size = size, .vaddr = vaddr,
                        .readonly = readonly };
    memory_region_ref(mr);
    vfio_pin_add(pin, op);
    return 0;
}

bool vfio_pin_unmap(VFIOContainerBase *bcontainer, hwaddr iova,
                    ram_addr_t size)
{
    VFIOPin *pin = bcontainer->pin;
    VFIOPinOp *op;

    if (!pin || pin->joined) {
        return false;
    }
    op = g_new(VFIOPinOp, 1);
    *op = (VFIOPinOp) { .iova = iova, .size = size };
    vfio_pin_add(pin, op);
    return true;
}

static bool vfio_pin_pending(VFIOPin *pin, hwaddr iova, ram_addr_t size)
{
    VFIOPinOp *op;

    QEMU_LOCK_GUARD(&pin->lock);
    QSIMPLEQ_FOREACH(op, &pin->todo, next) {
        if (ranges_overlap(op->iova, op->size, iova, size)) {
            return true;
        }
    }
    return false;
}

void vfio_pin_settle(VFIOContainerBase *bcontainer, hwaddr iova,
                     ram_addr_t size)
{
    VFIOPin *pin = bcontainer->pin;

    if (pin && vfio_pin_pending(pin, iova, size)) {
        vfio_pin_run(pin);
    }
}

bool vfio_pin_join(VFIOContainerBase *bcontainer)
{
    VFIOPin *pin = bcontainer->pin;

    if (!pin) {
        return true;
    }
    /*
     * Memory pinned twice may exceed the limit of locked memory.  The caller
     * would pin it with the BQL held, or reset a device: let it wait.
     */
    vfio_pin_run(pin);
    pin->joined = !pin->draining && !pin->failed;
    return pin->joined;
}

/*
 * Groups and iommufd's devices
 */

/* Call it before the last device or group of the container leaves. */
static void coroutine_fn vfio_unpin_co(VFIOContainerBase *bcontainer)
{
    VFIOPin *pin = vfio_pin_new();

    pin->draining = true;
    vfio_pin_attach(pin, bcontainer);
    memory_listener_unregister(&bcontainer->listener);
    vfio_pin_end_co(pin, NULL);
}

static VFIOGroup *vfio_find_group(int groupid)
{
    VFIOGroup *group;

    QLIST_FOREACH(group, &vfio_group_list, next) {
        if (group->groupid == groupid) {
            return group;
        }
    }
    return NULL;
}

static void coroutine_fn vfio_group_give_locked_co(VFIOGroup *group)
{
    VFIOContainer *container = group->container;

    if (!QLIST_NEXT(QLIST_FIRST(&container->group_list), container_next)) {
        vfio_unpin_co(&container->bcontainer);
    }
    group->in_transit = false;
    vfio_put_group(group);
}

VFIOGroup *coroutine_fn vfio_group_take_co(int groupid, AddressSpace *as,
                                           VFIOHandover *handover,
                                           Error **errp)
{
    VFIOGroup *group;

    QEMU_LOCK_GUARD(&topology);
    if (vfio_find_group(groupid)) {
        error_setg(errp, "IOMMU group %d has another device in use", groupid);
        return NULL;
    }
    handover->pin = vfio_pin_new();
    vfio_handover_begin(handover);
    group = vfio_get_group(groupid, as, errp);
    vfio_handover_end();
    if (!group) {
        vfio_pin_free(handover->pin, NULL);
    } else {
        group->in_transit = true;
        if (!vfio_pin_end_co(handover->pin, errp)) {
            vfio_group_give_locked_co(group);
            group = NULL;
        }
    }
    handover->pin = NULL;
    return group;
}

void coroutine_fn vfio_group_give_co(VFIOGroup *group)
{
    QEMU_LOCK_GUARD(&topology);
    vfio_group_give_locked_co(group);
}

static void vfio_close_worker(void *opaque)
{
    close(*(int *)opaque);
}

void coroutine_fn vfio_close_co(int fd)
{
    vfio_worker_co(vfio_close_worker, &fd);
}

/* Returns the device's descriptor, which is the last one. */
static int coroutine_fn vfio_cdev_detach_locked_co(VFIODevice *vbasedev)
{
    VFIOContainerBase *bcontainer = vbasedev->bcontainer;
    int fd;

    if (QLIST_FIRST(&bcontainer->device_list) == vbasedev &&
        !QLIST_NEXT(vbasedev, container_next)) {
        vfio_unpin_co(bcontainer);
    }
    fd = qemu_dup(vbasedev->fd);
    vfio_detach_device(vbasedev);
    vbasedev->fd = -1;
    vbasedev->hiod = NULL;
    return fd;
}

void coroutine_fn vfio_cdev_release_co(VFIODevice *vbasedev)
{
    int fd;

    WITH_QEMU_LOCK_GUARD(&topology) {
        fd = vfio_cdev_detach_locked_co(vbasedev);
    }
    if (fd >= 0) {
        vfio_close_co(fd);
    }
}

bool coroutine_fn vfio_cdev_attach_co(char *name, VFIODevice *vbasedev,
                                      AddressSpace *as, VFIOHandover *handover,
                                      Error **errp)
{
    bool ok;
    int fd = -1;

    WITH_QEMU_LOCK_GUARD(&topology) {
        handover->pin = vfio_pin_new();
        vfio_handover_begin(handover);
        ok = vfio_attach_device(name, vbasedev, as, errp);
        vfio_handover_end();
        if (!ok) {
            vbasedev->fd = -1; /* attaching has closed it */
            vfio_pin_free(handover->pin, NULL);
        } else if (!vfio_pin_end_co(handover->pin, errp)) {
            ok = false;
            fd = vfio_cdev_detach_locked_co(vbasedev);
        }
        handover->pin = NULL;
    }
    if (fd >= 0) {
        vfio_close_co(fd);
    }
    return ok;
}
