/*
 * Pausing vfio-pci devices
 *
 * vfio-pause closes the host device behind a vfio-pci device completely:
 * file descriptors, mappings, group, container, KVM's references.  The guest
 * goes on seeing its PCI device.  vfio-resume opens a host device again, the
 * same or another one like it, and restores what the guest had set up.
 *
 * Invariants:
 * - While vbasedev->paused is set nothing uses vbasedev->fd but a pause or a
 *   resume on its way; a guest reaches the device only by what it has mapped,
 *   for a moment after a pause has begun.
 * - A device is running or paused when an operation has ended, never between.
 *   What can fail in a pause comes before anything is taken from the device.
 * - The kernel calls that reset a device, its last close and its open, those
 *   that pin and unpin the guest's memory (pause-memory.c), and a resume's
 *   reads and writes of config space run in worker threads without the BQL.
 *
 * Not done here: devices with state in QEMU beyond config space, BARs and
 * interrupts (display, IGD, quirks) are refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include CONFIG_DEVICES /* CONFIG_IOMMUFD */
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include "exec/memory.h"
#include "hw/core/cpu.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_aer.h"
#include "migration/blocker.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-vfio-pause.h"
#include "qapi/qapi-events-vfio-pause.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/cpus.h"
#include "system/iommufd.h"
#include "system/kvm.h"
#include "handover.h"
#include "pause.h"
#include "pause-config.h"
#include "pause-identity.h"
#include "pause-memory.h"

/* Tries of an open that finds the device locked by its own reset */
#define VFIO_OPEN_TRIES 50

struct VFIOPause {
    VfioPauseState state;
    VfioPausedAccess access;
    uint32_t hold_ms;
    int64_t since;      /* of the pause, QEMU_CLOCK_REALTIME, ns */
    int64_t hold_until; /* 0 before the first access */
    uint64_t accesses;
    uint64_t pauses;
    char *error;
    VFIOLayout layout;
    VFIOShadow shadow;
    Error *blocker;
    QemuCond ended;     /* the pause has, or holding makes no sense any more */
    bool gone;          /* the guest's device was removed meanwhile */
};

/* One resume on its way. */
typedef struct VFIOResume {
    VFIOPCIDevice *vdev;
    char *sysfsdev; /* NULL: as before */
    int fd;         /* group or device, -1: open by path */
    VfioResumeSignal signal;
} VFIOResume;

static VFIOPause *vfio_pause_get(VFIOPCIDevice *vdev)
{
    if (!vdev->pause) {
        vdev->pause = g_new0(VFIOPause, 1);
        vdev->pause->access = vdev->paused_access;
        vdev->pause->hold_ms = vdev->paused_hold_ms;
        qemu_cond_init(&vdev->pause->ended);
    }
    return vdev->pause;
}

static void vfio_pause_set_state(VFIOPCIDevice *vdev, VfioPauseState state,
                                 Error *err)
{
    VFIOPause *p = vdev->pause;
    g_autofree char *path = object_get_canonical_path(OBJECT(vdev));

    p->state = state;
    g_free(p->error);
    p->error = err ? g_strdup(error_get_pretty(err)) : NULL;
    error_free(err);
    if (!p->gone) {
        qapi_event_send_vfio_pause_state(DEVICE(vdev)->id, path, state,
                                         p->error);
    }
}

/*
 * Guest accesses
 */

uint32_t vfio_paused_read_config(VFIOPCIDevice *vdev, uint32_t addr, int len)
{
    uint32_t emu_bits = 0, emu_val, val = 0;
    int i;

    memcpy(&emu_bits, vdev->emulated_config_bits + addr, len);
    memcpy(&val, vdev->pause->shadow.bits + addr, len);
    emu_bits = le32_to_cpu(emu_bits);
    val = le32_to_cpu(val);
    emu_val = pci_default_read_config(&vdev->pdev, addr, len);

    /* QEMU has a copy of COMMAND, which a resume writes to the device */
    for (i = 0; i < len; i++) {
        if (addr + i == PCI_COMMAND || addr + i == PCI_COMMAND + 1) {
            emu_bits |= 0xffU << (8 * i);
        }
    }
    return (emu_val & emu_bits) | (val & ~emu_bits);
}

void vfio_paused_write_config(VFIOPCIDevice *vdev, uint32_t addr, uint32_t val,
                              int len)
{
    vfio_shadow_write(&vdev->pause->shadow, addr, val, len);
    pci_default_write_config(&vdev->pdev, addr, val, len);
}

/* A vCPU waits for the resume, unless somebody waits for the vCPU. */
static bool vfio_pause_hold(VFIOPCIDevice *vdev)
{
    VFIOPause *p = vdev->pause;
    CPUState *cpu = current_cpu;

    while (vdev->vbasedev.paused && !p->gone) {
        int64_t left = p->hold_until - qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

        if (left <= 0 || cpu->stop || cpu->unplug ||
            !cpu_work_list_empty(cpu)) {
            break;
        }
        /* a stop only kicks the vCPU, so look now and then */
        qemu_cond_timedwait_bql(&p->ended, MIN(left, 10));
    }
    return !vdev->vbasedev.paused;
}

bool vfio_paused_access(VFIODevice *vbasedev, unsigned region, bool write)
{
    VFIOPCIDevice *vdev = container_of(vbasedev, VFIOPCIDevice, vbasedev);
    VFIOPause *p = vdev->pause;
    bool back = false;

    if (!p->accesses++) {
        g_autofree char *path = object_get_canonical_path(OBJECT(vdev));

        p->hold_until = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + p->hold_ms;
        qapi_event_send_vfio_paused_access(DEVICE(vdev)->id, path, region,
                                           write);
    }
    if (p->access == VFIO_PAUSED_ACCESS_HOLD && current_cpu && kvm_enabled()) {
        object_ref(OBJECT(vdev));
        back = vfio_pause_hold(vdev);
        object_unref(OBJECT(vdev));
    }
    return back;
}

void vfio_paused_reset(VFIOPCIDevice *vdev)
{
    vfio_shadow_reset(&vdev->pause->shadow, vdev->pdev.config);
}

/*
 * BARs: while the device is paused their mappings are anonymous memory at
 * the same address that no region shows, so that MemoryRegions stay as they
 * are.
 */

static void vfio_bars_set_mapped(VFIOPCIDevice *vdev, bool mapped)
{
    int i;

    memory_region_transaction_begin();
    for (i = 0; i < PCI_ROM_SLOT; i++) {
        vfio_region_mmaps_set_enabled(&vdev->bars[i].region, mapped);
    }
    memory_region_transaction_commit();
}

/* Call it when no region shows the mappings. */
static void vfio_bars_unmap(VFIOPCIDevice *vdev)
{
    int i, j;

    for (i = 0; i < PCI_ROM_SLOT; i++) {
        VFIORegion *region = &vdev->bars[i].region;

        for (j = 0; j < region->nr_mmaps; j++) {
            VFIOMmap *m = &region->mmaps[j];

            if (m->mmap &&
                mmap(m->mmap, m->size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                     -1, 0) == MAP_FAILED) {
                /* the host device would stay in use: no way to go on */
                error_report("vfio: replacing the mapping of %s failed: %m",
                             memory_region_name(&m->mem));
                abort();
            }
        }
    }
}

static bool vfio_bars_map(VFIOPCIDevice *vdev, Error **errp)
{
    int i, j;

    for (i = 0; i < PCI_ROM_SLOT; i++) {
        VFIORegion *region = &vdev->bars[i].region;
        int prot = 0;

        prot |= region->flags & VFIO_REGION_INFO_FLAG_READ ? PROT_READ : 0;
        prot |= region->flags & VFIO_REGION_INFO_FLAG_WRITE ? PROT_WRITE : 0;
        for (j = 0; j < region->nr_mmaps; j++) {
            VFIOMmap *m = &region->mmaps[j];

            if (m->mmap &&
                mmap(m->mmap, m->size, prot, MAP_SHARED | MAP_FIXED,
                     region->vbasedev->fd, region->fd_offset + m->offset)
                == MAP_FAILED) {
                error_setg_errno(errp, errno, "mapping %s failed",
                                 memory_region_name(&m->mem));
                return false;
            }
        }
    }
    return true;
}

/*
 * Pause
 */

static bool vfio_pause_check(VFIOPCIDevice *vdev, Error **errp)
{
    VFIODevice *vbasedev = &vdev->vbasedev;
    const char *why = NULL;
    int i;

    if (vbasedev->mdev) {
        why = "it is a mediated device";
    } else if (vdev->pdev.failover_pair_id) {
        why = "it is half of a failover pair";
    } else if (vdev->vga || vdev->dpy || vdev->enable_ramfb) {
        why = "it has a display";
    } else if (vdev->igd_opregion || vdev->resetfn) {
        why = "it needs device-specific handling";
    } else if (vbasedev->group &&
               QLIST_NEXT(QLIST_FIRST(&vbasedev->group->device_list), next)) {
        why = "another device of its IOMMU group is in use";
    }
    for (i = 0; !why && i < PCI_ROM_SLOT; i++) {
        if (!QLIST_EMPTY(&vdev->bars[i].quirks)) {
            why = "it needs device-specific handling";
        }
    }
    if (why) {
        error_setg(errp, "Device cannot be paused: %s", why);
    }
    return !why;
}

/*
 * Let go of the host device.  The last close resets it: for a group before
 * the group is left, because a group with an open device cannot leave its
 * container; with iommufd after it.
 */
static void coroutine_fn vfio_release_co(VFIOPCIDevice *vdev)
{
    VFIODevice *vbasedev = &vdev->vbasedev;
    VFIOGroup *group = vbasedev->group;
    int fd;

    if (group) {
        group->in_transit = true;
        fd = vbasedev->fd;
        vbasedev->fd = -1;
        vfio_close_co(fd);
        vfio_detach_device(vbasedev);
        vbasedev->hiod = NULL;
        vfio_group_give_co(group);
    } else {
        vfio_cdev_release_co(vbasedev);
    }
}

/*
 * Changing what memory the guest has is the longest work that needs the BQL.
 * Processors of the guest that wait for the lock get it in between: one that
 * is given back and taken again at once would not wake them.
 */
static void coroutine_fn vfio_rest_co(void)
{
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS);
}

static void coroutine_fn vfio_pause_co(void *opaque)
{
    VFIOPCIDevice *vdev = opaque;
    VFIOPause *p = vdev->pause;

    vfio_rest_co();
    if (!p->gone) {
        vfio_bars_set_mapped(vdev, false);
        vfio_rest_co();
    }
    if (!p->gone) { /* else vfio_exitfn() has done it */
        pci_device_unset_iommu_device(&vdev->pdev);
    }
    vfio_bars_unmap(vdev);
    vfio_release_co(vdev);
    vfio_pause_set_state(vdev, VFIO_PAUSE_STATE_PAUSED, NULL);
    object_unref(OBJECT(vdev));
}

/* Nothing but what is mapped reaches the device any more, nor does it tell. */
static void vfio_pause_quiesce(VFIOPCIDevice *vdev)
{
    VFIODevice *vbasedev = &vdev->vbasedev;

    vfio_unregister_notifiers(vdev);
    vdev->pci_aer = false;
    vfio_migration_exit(vbasedev);
    vfio_disable_interrupts(vdev);
    vbasedev->paused = true;
}

static void vfio_pause_forget(VFIOPause *p)
{
    vfio_layout_clear(&p->layout);
    vfio_shadow_free(&p->shadow);
}

/* What can fail in a pause */
static bool vfio_pause_prepare(VFIOPCIDevice *vdev, Error **errp)
{
    VFIOPause *p = vdev->pause;
    int ret;

    if (!vfio_layout_read(vdev, &p->layout, errp) ||
        !vfio_shadow_read(vdev, &p->shadow, errp)) {
        vfio_pause_forget(p);
        return false;
    }
    error_setg(&p->blocker, "VFIO device %s is paused", vdev->vbasedev.name);
    if (migrate_add_blocker_modes(&p->blocker, errp, MIG_MODE_ALL, -1)) {
        p->blocker = NULL;
        vfio_pause_forget(p);
        return false;
    }
    /* or a balloon could discard memory that the resume must pin again */
    ret = ram_block_uncoordinated_discard_disable(true);
    if (ret) {
        error_setg_errno(errp, -ret, "Cannot set discarding of RAM broken");
        migrate_del_blocker(&p->blocker);
        vfio_pause_forget(p);
        return false;
    }
    return true;
}

static bool vfio_pause_begin(VFIOPCIDevice *vdev, Error **errp)
{
    if (!vfio_pause_check(vdev, errp) || !vfio_pause_prepare(vdev, errp)) {
        return false;
    }
    vfio_pause_quiesce(vdev);
    return true;
}

static void vfio_pause_begun(VFIOPause *p, VfioPausedAccess access,
                             uint32_t hold_ms)
{
    p->access = access;
    p->hold_ms = hold_ms;
    p->since = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    p->accesses = 0;
    p->pauses++;
}

/* Let go of the host device while the VM runs. */
static void vfio_pause_start(VFIOPCIDevice *vdev)
{
    vfio_pause_set_state(vdev, VFIO_PAUSE_STATE_PAUSING, NULL);
    object_ref(OBJECT(vdev));
    qemu_coroutine_enter(qemu_coroutine_create(vfio_pause_co, vdev));
}

/*
 * Starting paused
 */

bool vfio_pause_realize(VFIOPCIDevice *vdev, Error **errp)
{
    VFIOPause *p = vfio_pause_get(vdev);

    if (!vfio_pause_prepare(vdev, errp)) {
        return false;
    }
    vfio_shadow_reset(&p->shadow, vdev->pdev.config);
    vdev->pci_aer = false;
    vdev->vbasedev.paused = true;
    return true;
}

bool vfio_pause_realized(VFIOPCIDevice *vdev, Error **errp)
{
    VFIODevice *vbasedev = &vdev->vbasedev;
    VFIOPause *p = vfio_pause_get(vdev);

    if (vbasedev->paused ? !vfio_pause_check(vdev, errp)
                         : !vfio_pause_begin(vdev, errp)) {
        return false;
    }
    vfio_pause_begun(p, vdev->paused_access, vdev->paused_hold_ms);
    /* at once: the guest is never to reach the device */
    vfio_bars_set_mapped(vdev, false);
    if (vdev->presented) {
        vfio_identity_close(vdev);
    } else if (DEVICE(vdev)->hotplugged) {
        vfio_pause_start(vdev);
        return true;
    } else {
        /* no guest runs that the reset of the device could hold up */
        vfio_bars_unmap(vdev);
        pci_device_unset_iommu_device(&vdev->pdev);
        vfio_detach_device(vbasedev);
        vbasedev->fd = -1;
        vbasedev->hiod = NULL;
    }
    vfio_pause_set_state(vdev, VFIO_PAUSE_STATE_PAUSED, NULL);
    return true;
}

/* The pause is over, by a resume or by the end of the device. */
static void vfio_pause_over(VFIOPCIDevice *vdev)
{
    VFIOPause *p = vdev->pause;

    if (p->blocker) {
        migrate_del_blocker(&p->blocker);
        ram_block_uncoordinated_discard_disable(false);
    }
    vfio_pause_forget(p);
    qemu_cond_broadcast(&p->ended);
}

void vfio_pause_exit(VFIOPCIDevice *vdev)
{
    VFIOPause *p = vdev->pause;

    if (p && p->state != VFIO_PAUSE_STATE_RUNNING) {
        p->gone = true;
        qemu_cond_broadcast(&p->ended);
    }
}

void vfio_pause_finalize(VFIOPCIDevice *vdev)
{
    VFIOPause *p = vdev->pause;

    vfio_identity_close(vdev);
    if (!p) {
        return;
    }
    vfio_pause_over(vdev);
    qemu_cond_destroy(&p->ended);
    g_free(p->error);
    g_free(p);
    vdev->pause = NULL;
}

/*
 * Resume
 */

typedef struct VFIOOpen {
    int fd;           /* of the group, or of the device with iommufd */
    const char *name; /* of the device in its group */
    int iommufd;      /* that the device is bound to */
    int result;       /* device descriptor or iommufd's id, -errno */
} VFIOOpen;

static void vfio_open_worker(void *opaque)
{
    VFIOOpen *o = opaque;
    int tries = VFIO_OPEN_TRIES;

    do {
        o->result = ioctl(o->fd, VFIO_GROUP_GET_DEVICE_FD, o->name);
        if (o->result >= 0) {
            return;
        }
        o->result = -errno;
        if (o->result == -EAGAIN) {
            g_usleep(10 * 1000);
        }
    } while (o->result == -EAGAIN && --tries);
}

static char *vfio_attach_name(VFIOPCIDevice *vdev)
{
    char uuid[UUID_STR_LEN];

    if (qemu_uuid_is_null(&vdev->vf_token)) {
        return g_strdup(vdev->vbasedev.name);
    }
    qemu_uuid_unparse(&vdev->vf_token, uuid);
    return g_strdup_printf("%s vf_token=%s", vdev->vbasedev.name, uuid);
}

/* Owns @group_fd, which may be -1. */
static bool coroutine_fn vfio_open_group_co(VFIOPCIDevice *vdev, int group_fd,
                                            Error **errp)
{
    VFIODevice *vbasedev = &vdev->vbasedev;
    AddressSpace *as = pci_device_iommu_address_space(&vdev->pdev);
    VFIOHandover handover = { .group_fd = group_fd, .device_fd = -1,
                              .devid = -1 };
    g_autofree char *name = vfio_attach_name(vdev);
    VFIOOpen o = { .name = name };
    VFIOGroup *group = NULL;
    int groupid = vfio_device_groupid(vbasedev, errp);
    bool ok = false;

    if (groupid >= 0) {
        group = vfio_group_take_co(groupid, as, &handover, errp);
    }
    if (handover.group_fd >= 0) {
        close(handover.group_fd);
    }
    if (!group) {
        return false;
    }

    o.fd = group->fd;
    vfio_worker_co(vfio_open_worker, &o);
    if (o.result < 0) {
        error_setg_errno(errp, -o.result, "opening %s in group %d failed",
                         vbasedev->name, groupid);
    } else if (vdev->pause->gone) {
        error_setg(errp, "the device was removed");
        vfio_close_co(o.result);
    } else {
        handover.device_fd = o.result;
        vfio_handover_begin(&handover);
        ok = vfio_attach_device(name, vbasedev, as, errp);
        vfio_handover_end();
        if (handover.device_fd >= 0) {
            vfio_close_co(handover.device_fd);
        }
    }
    if (ok) {
        group->in_transit = false;
    } else {
        vfio_group_give_co(group);
    }
    return ok;
}

#ifdef CONFIG_IOMMUFD
static void vfio_bind_worker(void *opaque)
{
    VFIOOpen *o = opaque;
    struct vfio_device_bind_iommufd bind = {
        .argsz = sizeof(bind),
        .iommufd = o->iommufd,
    };

    o->result = ioctl(o->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind)
        ? -errno : (int)bind.out_devid;
}

/* Owns @device_fd, which may be -1. */
static bool coroutine_fn vfio_open_cdev_co(VFIOPCIDevice *vdev, int device_fd,
                                           Error **errp)
{
    VFIODevice *vbasedev = &vdev->vbasedev;
    VFIOHandover handover = { .group_fd = -1, .device_fd = -1, .devid = -1 };
    g_autofree char *name = vfio_attach_name(vdev);
    VFIOOpen o = { };
    bool ok = false;

    if (device_fd < 0) {
        if (!vbasedev->sysfsdev) {
            error_setg(errp, "the device was given as a descriptor: pass 'fd'");
            return false;
        }
        device_fd = iommufd_cdev_getfd(vbasedev->sysfsdev, errp);
        if (device_fd < 0) {
            return false;
        }
    }
    if (!iommufd_backend_connect(vbasedev->iommufd, errp)) {
        close(device_fd);
        return false;
    }
    o.fd = device_fd;
    o.iommufd = vbasedev->iommufd->fd;
    vfio_worker_co(vfio_bind_worker, &o);
    if (o.result < 0) {
        error_setg_errno(errp, -o.result, "binding %s to iommufd failed",
                         vbasedev->name);
    } else if (vdev->pause->gone) {
        error_setg(errp, "the device was removed");
    } else {
        handover.devid = o.result;
        vbasedev->fd = device_fd;
        device_fd = -1;
        ok = vfio_cdev_attach_co(name, vbasedev,
                                 pci_device_iommu_address_space(&vdev->pdev),
                                 &handover, errp);
    }
    if (ok && vdev->pause->gone) {
        error_setg(errp, "the device was removed");
        vfio_cdev_release_co(vbasedev);
        ok = false;
    }
    if (device_fd >= 0) {
        vfio_close_co(device_fd);
    }
    iommufd_backend_disconnect(vbasedev->iommufd);
    return ok;
}
#endif

static bool vfio_resume_interrupts(VFIOPCIDevice *vdev, Error **errp)
{
    PCIDevice *pdev = &vdev->pdev;
    int ret;

    if (msi_enabled(pdev)) {
        ret = vfio_msi_enable(vdev);
    } else if (msix_enabled(pdev)) {
        ret = vfio_msix_enable(vdev);
    } else {
        return vfio_intx_enable(vdev, errp);
    }
    if (ret) {
        error_setg(errp, "setting up the interrupts of %s failed",
                   vdev->vbasedev.name);
        return false;
    }
    return true;
}

/* The host device may lie elsewhere in its descriptor, with another kernel. */
static void vfio_resume_offsets(VFIOPCIDevice *vdev, const VFIOLayout *layout)
{
    int i;

    for (i = 0; i < PCI_ROM_SLOT; i++) {
        vdev->bars[i].region.fd_offset = layout->region_offset[i];
    }
    vdev->rom_offset = layout->region_offset[VFIO_PCI_ROM_REGION_INDEX];
    vdev->config_offset = layout->region_offset[VFIO_PCI_CONFIG_REGION_INDEX];
    if (vdev->msix) {
        vdev->msix->noresize = layout->msix_noresize;
    }
}

/*
 * A resume's work on config space, in a thread without the BQL.  The guest
 * may go on writing to what it sees of it: hence the copy.
 */
typedef struct VFIOResumeConfig {
    VFIOPCIDevice *vdev;
    VFIOShadow shadow;      /* copies: what the guest has written, */
    uint8_t *emulated;      /* and what of it QEMU keeps */
    Error *err;
} VFIOResumeConfig;

static bool vfio_resume_verify(VFIOPCIDevice *vdev, const VFIOShadow *shadow,
                               Error **errp)
{
    VFIOPause *p = vdev->pause;
    VFIOLayout layout;
    VFIOShadow now = { };
    bool same;

    if (!vfio_layout_read(vdev, &layout, errp)) {
        return false;
    }
    vfio_resume_offsets(vdev, &layout);
    if (layout.config_size == p->layout.config_size &&
        !vfio_shadow_read(vdev, &now, errp)) {
        vfio_layout_clear(&layout);
        return false;
    }
    same = vfio_layout_check(&p->layout, shadow->bits, &layout, now.bits, errp);
    if (!same) {
        error_prepend(errp, "%s cannot stand in for the device the guest has: ",
                      vdev->vbasedev.name);
    }
    vfio_shadow_free(&now);
    vfio_layout_clear(&layout);
    return same;
}

static void vfio_resume_config_worker(void *opaque)
{
    VFIOResumeConfig *c = opaque;

    if (vfio_resume_verify(c->vdev, &c->shadow, &c->err)) {
        vfio_shadow_replay(c->vdev, &c->shadow, c->emulated, &c->err);
    }
}

static bool coroutine_fn vfio_resume_config_co(VFIOPCIDevice *vdev,
                                               Error **errp)
{
    VFIOPause *p = vdev->pause;
    VFIOResumeConfig c = { .vdev = vdev };
    bool changed;

    vfio_shadow_copy(&c.shadow, &p->shadow);
    c.emulated = g_memdup2(vdev->pdev.config, PCI_STD_HEADER_SIZEOF);
    vfio_worker_co(vfio_resume_config_worker, &c);
    changed = c.shadow.writes != p->shadow.writes;
    if (changed) {
        vfio_shadow_replayed(&p->shadow, &c.shadow);
    }
    vfio_shadow_free(&c.shadow);
    g_free(c.emulated);
    if (c.err) {
        error_propagate(errp, c.err);
        return false;
    }
    if (p->gone) {
        error_setg(errp, "the device was removed");
        return false;
    }
    return !changed ||
           vfio_shadow_replay(vdev, &p->shadow, vdev->pdev.config, errp);
}

static void vfio_resume_notifiers(VFIOPCIDevice *vdev)
{
    struct vfio_irq_info info = { .argsz = sizeof(info),
                                  .index = VFIO_PCI_ERR_IRQ_INDEX };

    vdev->pci_aer = !ioctl(vdev->vbasedev.fd, VFIO_DEVICE_GET_IRQ_INFO,
                           &info) && info.count == 1;
    vfio_register_notifiers(vdev);
}

/* The device is open: give it what the guest had set up. */
static bool coroutine_fn vfio_resume_restore_co(VFIOPCIDevice *vdev,
                                                Error **errp)
{
    VFIODevice *vbasedev = &vdev->vbasedev;

    if (!vfio_resume_config_co(vdev, errp)) {
        return false;
    }
    if (!pci_device_set_iommu_device(&vdev->pdev, vbasedev->hiod, errp)) {
        return false;
    }
    /* what follows reaches the device as if it were running */
    vbasedev->paused = false;
    if (!vfio_bars_map(vdev, errp) ||
        !vfio_resume_interrupts(vdev, errp) ||
        !vfio_migration_realize(vbasedev, errp)) {
        vfio_migration_exit(vbasedev);
        vfio_disable_interrupts(vdev);
        vfio_bars_unmap(vdev);
        pci_device_unset_iommu_device(&vdev->pdev);
        vbasedev->paused = true;
        return false;
    }
    vfio_resume_notifiers(vdev);
    vfio_rest_co();
    if (vdev->pause->gone) { /* and vfio_exitfn() has taken back the rest */
        error_setg(errp, "the device was removed");
        vfio_bars_unmap(vdev);
        vbasedev->paused = true;
        return false;
    }
    vfio_bars_set_mapped(vdev, true);
    return true;
}

static PCIDevice *vfio_resume_port(VFIOPCIDevice *vdev, Error **errp)
{
    PCIBus *bus = pci_get_bus(&vdev->pdev);
    PCIDevice *port = pci_bus_is_root(bus) ? NULL : pci_bridge_get_device(bus);
    int i, devices = 0;

    for (i = 0; i < ARRAY_SIZE(bus->devices); i++) {
        devices += !!bus->devices[i];
    }
    if (!port || !pci_is_express(port) || !port->exp.aer_cap ||
        pcie_cap_get_type(port) != PCI_EXP_TYPE_ROOT_PORT || devices != 1) {
        error_setg(errp, "A signal needs a device alone below a root port "
                   "that reports errors");
        return NULL;
    }
    return port;
}

/*
 * A guest that answers a fatal error by a reset of the link waits for the
 * link to be active again, on ports that can tell.  QEMU sets that bit only
 * when it plugs a device natively, not with ACPI hotplug; the link is up.
 */
static void vfio_resume_link_up(PCIDevice *port)
{
    uint8_t *cap = port->config + port->exp.exp_cap;

    if (pci_get_long(cap + PCI_EXP_LNKCAP) & PCI_EXP_LNKCAP_DLLLARC) {
        pci_word_test_and_set_mask(cap + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_DLLLA);
    }
}

/* Tell the guest by an error that the root port saw itself. */
static void vfio_resume_signal(VFIOPCIDevice *vdev, VfioResumeSignal signal)
{
    PCIDevice *port = vfio_resume_port(vdev, NULL);
    PCIEAERErr err = {
        .status = signal == VFIO_RESUME_SIGNAL_FATAL
            ? PCI_ERR_UNC_DLP : PCI_ERR_UNC_COMP_TIME,
    };

    if (port) {
        vfio_resume_link_up(port);
        err.source_id = pci_requester_id(port);
        pcie_aer_inject_error(port, &err);
    }
}

static void vfio_resume_bars_moved(VFIOPCIDevice *vdev)
{
    int bar;

    for (bar = 0; bar < PCI_ROM_SLOT; bar++) {
        VFIORegion *region = &vdev->bars[bar].region;

        if (region->size > 0 && region->size < qemu_real_host_page_size()) {
            vfio_sub_page_bar_update_mapping(&vdev->pdev, bar);
        }
    }
}

static void vfio_resume_rename(VFIODevice *vbasedev, char **sysfsdev,
                               char **name)
{
    char *old_sysfsdev = vbasedev->sysfsdev, *old_name = vbasedev->name;

    vbasedev->sysfsdev = *sysfsdev;
    vbasedev->name = *name;
    *sysfsdev = old_sysfsdev;
    *name = old_name;
}

static void coroutine_fn vfio_resume_co(void *opaque)
{
    VFIOResume *r = opaque;
    VFIOPCIDevice *vdev = r->vdev;
    VFIODevice *vbasedev = &vdev->vbasedev;
    char *sysfsdev = r->sysfsdev;
    char *name = sysfsdev ? g_path_get_basename(sysfsdev) : NULL;
    bool renamed = sysfsdev != NULL, ok;
    Error *err = NULL;

    if (renamed) {
        vfio_resume_rename(vbasedev, &sysfsdev, &name);
    }
#ifdef CONFIG_IOMMUFD
    if (vbasedev->iommufd) {
        ok = vfio_open_cdev_co(vdev, r->fd, &err);
    } else
#endif
    {
        ok = vfio_open_group_co(vdev, r->fd, &err);
    }
    if (ok && !vfio_resume_restore_co(vdev, &err)) {
        vfio_release_co(vdev);
        ok = false;
    }
    if (ok) {
        vfio_pause_over(vdev);
        vfio_resume_bars_moved(vdev);
        vfio_pause_set_state(vdev, VFIO_PAUSE_STATE_RUNNING, NULL);
        if (r->signal != VFIO_RESUME_SIGNAL_NONE) {
            vfio_resume_signal(vdev, r->signal);
        }
    } else {
        if (renamed) {
            vfio_resume_rename(vbasedev, &sysfsdev, &name);
        }
        vfio_pause_set_state(vdev, VFIO_PAUSE_STATE_PAUSED, err);
    }
    g_free(sysfsdev);
    g_free(name);
    g_free(r);
    object_unref(OBJECT(vdev));
}

/*
 * QMP
 */

static VFIOPCIDevice *vfio_pause_find(const char *id, Error **errp)
{
    Object *peripheral = object_resolve_path("/machine/peripheral", NULL);
    Object *obj = object_resolve_path_at(peripheral, id);
    VFIOPCIDevice *vdev;

    if (!obj) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                  id);
        return NULL;
    }
    vdev = (VFIOPCIDevice *)object_dynamic_cast(obj, TYPE_VFIO_PCI);
    if (!vdev) {
        error_setg(errp, "Device '%s' is not a vfio-pci device", id);
        return NULL;
    }
    if (!DEVICE(vdev)->realized) {
        error_setg(errp, "Device '%s' is not realized", id);
        return NULL;
    }
    return vdev;
}

static VFIOPCIDevice *vfio_pause_find_in(const char *id,
                                         VfioPauseState expected, Error **errp)
{
    VFIOPCIDevice *vdev = vfio_pause_find(id, errp);
    VfioPauseState state;

    if (!vdev) {
        return NULL;
    }
    state = vdev->pause ? vdev->pause->state : VFIO_PAUSE_STATE_RUNNING;
    if (state != expected) {
        error_setg(errp, "Device '%s' is %s, not %s", id,
                   VfioPauseState_str(state), VfioPauseState_str(expected));
        return NULL;
    }
    return vdev;
}

void qmp_vfio_pause(const char *id, bool has_access, VfioPausedAccess access,
                    bool has_hold_ms, uint32_t hold_ms, Error **errp)
{
    VFIOPCIDevice *vdev = vfio_pause_find_in(id, VFIO_PAUSE_STATE_RUNNING,
                                             errp);
    VFIOPause *p;

    if (!vdev) {
        return;
    }
    p = vfio_pause_get(vdev);
    if (!vfio_pause_begin(vdev, errp)) {
        return;
    }
    vfio_pause_begun(p, has_access ? access : vdev->paused_access,
                     has_hold_ms ? hold_ms : vdev->paused_hold_ms);
    vfio_pause_start(vdev);
}

/* A sysfs path, from a path or a PCI address */
static char *vfio_host_device_path(const char *host_device, Error **errp)
{
    unsigned domain, bus, slot, function;
    int end = 0;

    if (g_path_is_absolute(host_device)) {
        return g_strdup(host_device);
    }
    if (sscanf(host_device, "%4x:%2x:%2x.%1u%n", &domain, &bus, &slot,
               &function, &end) != 4 || host_device[end] || function > 7) {
        error_setg(errp, "'%s' is neither a PCI address as 0000:01:10.2 nor an "
                   "absolute path", host_device);
        return NULL;
    }
    return g_strdup_printf("/sys/bus/pci/devices/%04x:%02x:%02x.%u", domain,
                           bus, slot, function);
}

void qmp_vfio_resume(const char *id, const char *host_device, const char *fd,
                     bool has_signal, VfioResumeSignal signal, Error **errp)
{
    VFIOPCIDevice *vdev = vfio_pause_find_in(id, VFIO_PAUSE_STATE_PAUSED, errp);
    g_autofree char *sysfsdev = NULL;
    VFIOResume *r;
    int host_fd = -1;

    if (!vdev) {
        return;
    }
    if (has_signal && signal != VFIO_RESUME_SIGNAL_NONE &&
        !vfio_resume_port(vdev, errp)) {
        return;
    }
    if (!host_device && !vdev->vbasedev.sysfsdev &&
        !(fd && vdev->vbasedev.iommufd)) {
        error_setg(errp, "Device '%s' has had no host device that is known: "
                   "pass 'host-device'", id);
        return;
    }
    if (host_device) {
        sysfsdev = vfio_host_device_path(host_device, errp);
        if (!sysfsdev) {
            return;
        }
    }
    if (fd) {
        host_fd = monitor_get_fd(monitor_cur(), fd, errp);
        if (host_fd < 0) {
            return;
        }
    }
    r = g_new0(VFIOResume, 1);
    r->vdev = vdev;
    r->sysfsdev = g_steal_pointer(&sysfsdev);
    r->fd = host_fd;
    r->signal = has_signal ? signal : VFIO_RESUME_SIGNAL_NONE;
    vfio_pause_set_state(vdev, VFIO_PAUSE_STATE_RESUMING, NULL);
    object_ref(OBJECT(vdev));
    qemu_coroutine_enter(qemu_coroutine_create(vfio_resume_co, r));
}

static int vfio_pause_query(Object *obj, void *opaque)
{
    VfioPauseInfoList ***tail = opaque;
    VFIOPCIDevice *vdev;
    VFIOPause *p;
    VfioPauseInfo *info;

    vdev = (VFIOPCIDevice *)object_dynamic_cast(obj, TYPE_VFIO_PCI);
    if (!vdev || !DEVICE(vdev)->realized) {
        return 0;
    }
    p = vdev->pause;
    info = g_new0(VfioPauseInfo, 1);
    info->device_id = g_strdup(DEVICE(vdev)->id);
    info->qom_path = object_get_canonical_path(obj);
    info->host_device = g_strdup(vdev->vbasedev.sysfsdev);
    info->state = p ? p->state : VFIO_PAUSE_STATE_RUNNING;
    info->access = p ? p->access : vdev->paused_access;
    info->hold_ms = p ? p->hold_ms : vdev->paused_hold_ms;
    info->can_signal = vfio_resume_port(vdev, NULL);
    if (p) {
        info->accesses = p->accesses;
        info->pauses = p->pauses;
        info->error = g_strdup(p->error);
        if (info->state != VFIO_PAUSE_STATE_RUNNING) {
            info->paused_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - p->since;
        }
    }
    QAPI_LIST_APPEND(*tail, info);
    return 0;
}

VfioPauseInfoList *qmp_query_vfio_pause(Error **errp)
{
    VfioPauseInfoList *list = NULL, **tail = &list;

    object_child_foreach_recursive(qdev_get_machine(), vfio_pause_query, &tail);
    return list;
}

VfioIdentity *qmp_query_vfio_identity(const char *id, Error **errp)
{
    VFIOPCIDevice *vdev = vfio_pause_find(id, errp);
    VFIOLayout layout = { };
    g_autofree uint8_t *config = NULL;
    VfioIdentity *info = NULL;
    bool paused;

    if (!vdev) {
        return NULL;
    }
    paused = vdev->vbasedev.paused;
    config = g_malloc0(vdev->config_size + 4);
    if (paused) {
        memcpy(config, vdev->pause->shadow.bits, vdev->config_size);
    } else if (!vfio_layout_read(vdev, &layout, errp) ||
               !vfio_read_config_space(vdev, config, vdev->config_size, errp)) {
        vfio_layout_clear(&layout);
        return NULL;
    }
    vfio_config_clean(config, vdev->config_size, vdev->pdev.config);
    info = vfio_identity_describe(paused ? &vdev->pause->layout : &layout,
                                  config);
    vfio_layout_clear(&layout);
    return info;
}
