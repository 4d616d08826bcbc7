/*
 * What a guest is shown of a device that is not there
 *
 * With the property identity=FILE a vfio-pci device is realized without a
 * host device: the description in the file, which query-vfio-identity
 * returned, answers where the kernel does otherwise.  vbasedev->fd is -1
 * all the time, so that no call can reach a descriptor by mistake.
 *
 * The file is hostile until vfio_identity_check() has passed it.  Not kept
 * in it: what the guest set up, and what belongs to the host (the numbers of
 * device, group and minor; whether it can be reset; how its kernel handles
 * interrupts).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include <linux/vfio.h>
#include "qapi/error.h"
#include "qapi/qapi-visit-vfio-pause.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/base64.h"
#include "qemu/cutils.h"
#include "qobject/qjson.h"
#include "qobject/qobject.h"
#include "pause.h"
#include "pause-identity.h"

/* More than one with all areas that the checks let pass */
#define FILE_MAX (256 * KiB)
#define AREAS_MAX 256

/*
 * To and from QAPI
 */

static VfioIdentityRegion *vfio_describe_region(const VFIOLayoutRegion *region,
                                                unsigned index)
{
    VfioIdentityRegion *info = g_new0(VfioIdentityRegion, 1);
    VfioIdentityAreaList **tail = &info->areas;
    unsigned i;

    info->index = index;
    info->size = region->size;
    info->readable = region->flags & VFIO_REGION_INFO_FLAG_READ;
    info->writable = region->flags & VFIO_REGION_INFO_FLAG_WRITE;
    info->mappable = region->flags & VFIO_REGION_INFO_FLAG_MMAP;
    info->msix_mappable = region->msix_mappable;
    info->has_areas = region->sparse;
    for (i = 0; i < region->nr_areas; i++) {
        VfioIdentityArea *area = g_new0(VfioIdentityArea, 1);

        area->offset = region->areas[i].offset;
        area->size = region->areas[i].size;
        QAPI_LIST_APPEND(tail, area);
    }
    return info;
}

VfioIdentity *vfio_identity_describe(const VFIOLayout *layout,
                                     const uint8_t *config)
{
    VfioIdentity *info = g_new0(VfioIdentity, 1);
    VfioIdentityRegionList **region = &info->regions;
    VfioIdentityInterruptList **interrupt = &info->interrupts;
    unsigned i;

    info->config_size = layout->config_size;
    info->config = g_base64_encode(config, layout->config_size);
    for (i = 0; i < ARRAY_SIZE(layout->region); i++) {
        if (layout->region[i].size) {
            QAPI_LIST_APPEND(region,
                             vfio_describe_region(&layout->region[i], i));
        }
    }
    for (i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
        VfioIdentityInterrupt *irq;

        if (layout->irq_count[i]) {
            irq = g_new0(VfioIdentityInterrupt, 1);
            irq->index = i;
            irq->count = layout->irq_count[i];
            QAPI_LIST_APPEND(interrupt, irq);
        }
    }
    return info;
}

static bool vfio_take_region(VFIOIdentity *identity,
                             const VfioIdentityRegion *info, Error **errp)
{
    VFIOLayoutRegion *region;
    const VfioIdentityAreaList *l;

    if (info->index >= ARRAY_SIZE(identity->layout.region)) {
        error_setg(errp, "regions: index %u: 0 to %zu expected", info->index,
                   ARRAY_SIZE(identity->layout.region) - 1);
        return false;
    }
    region = &identity->layout.region[info->index];
    if (region->size || !info->size) {
        error_setg(errp, "regions: index %u: %s", info->index,
                   info->size ? "expected once" : "a size is expected");
        return false;
    }
    region->size = info->size;
    region->flags = (info->readable ? VFIO_REGION_INFO_FLAG_READ : 0) |
                    (info->writable ? VFIO_REGION_INFO_FLAG_WRITE : 0) |
                    (info->mappable ? VFIO_REGION_INFO_FLAG_MMAP : 0);
    region->msix_mappable = info->msix_mappable;
    region->sparse = info->has_areas;
    for (l = info->areas; l && region->nr_areas <= AREAS_MAX; l = l->next) {
        region->nr_areas++;
    }
    if (region->nr_areas > AREAS_MAX) {
        error_setg(errp, "regions: index %u: areas: at most %u expected",
                   info->index, AREAS_MAX);
        return false;
    }
    region->areas = g_new0(struct vfio_region_sparse_mmap_area,
                           region->nr_areas);
    region->nr_areas = 0;
    for (l = info->areas; l; l = l->next) {
        region->areas[region->nr_areas].offset = l->value->offset;
        region->areas[region->nr_areas++].size = l->value->size;
    }
    return true;
}

static bool vfio_take_interrupt(VFIOIdentity *identity,
                                const VfioIdentityInterrupt *info,
                                Error **errp)
{
    uint32_t *count;

    if (info->index >= VFIO_PCI_NUM_IRQS) {
        error_setg(errp, "interrupts: index %u: 0 to %u expected", info->index,
                   VFIO_PCI_NUM_IRQS - 1);
        return false;
    }
    count = &identity->layout.irq_count[info->index];
    if (*count || !info->count || info->count > VFIO_IDENTITY_IRQS_MAX) {
        error_setg(errp, "interrupts: index %u: expected once, with a count "
                   "of 1 to %u", info->index, VFIO_IDENTITY_IRQS_MAX);
        return false;
    }
    *count = info->count;
    return true;
}

static bool vfio_take_config(VFIOIdentity *identity, const VfioIdentity *info,
                             Error **errp)
{
    ERRP_GUARD();
    size_t len;

    if (info->config_size != PCI_CONFIG_SPACE_SIZE &&
        info->config_size != PCIE_CONFIG_SPACE_SIZE) {
        error_setg(errp, "config-size: %u: %u or %u expected",
                   info->config_size, PCI_CONFIG_SPACE_SIZE,
                   PCIE_CONFIG_SPACE_SIZE);
        return false;
    }
    identity->layout.config_size = info->config_size;
    identity->config = qbase64_decode(info->config, -1, &len, errp);
    if (*errp) {
        error_prepend(errp, "config: ");
        return false;
    }
    if (len != info->config_size) {
        error_setg(errp, "config: %zu bytes: %u expected, as config-size says",
                   len, info->config_size);
        return false;
    }
    return true;
}

static bool vfio_identity_take(VFIOIdentity *identity, const VfioIdentity *info,
                               Error **errp)
{
    const VfioIdentityRegionList *region;
    const VfioIdentityInterruptList *interrupt;

    if (!vfio_take_config(identity, info, errp)) {
        return false;
    }
    for (region = info->regions; region; region = region->next) {
        if (!vfio_take_region(identity, region->value, errp)) {
            return false;
        }
    }
    for (interrupt = info->interrupts; interrupt; interrupt = interrupt->next) {
        if (!vfio_take_interrupt(identity, interrupt->value, errp)) {
            return false;
        }
    }
    return vfio_identity_check(identity, errp);
}

/*
 * The file
 */

static char *vfio_identity_read(const char *file, Error **errp)
{
    g_autofree char *text = NULL;
    struct stat st;
    ssize_t len = -1;
    int fd = qemu_open(file, O_RDONLY | O_NONBLOCK, errp);

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        error_setg(errp, "a regular file of at most %" PRIu64 " bytes is "
                   "expected", (uint64_t)FILE_MAX);
    } else {
        text = g_malloc0(st.st_size + 1);
        len = pread(fd, text, st.st_size, 0);
        if (len < 0) {
            error_setg_errno(errp, errno, "reading failed");
        } else if (memchr(text, '\0', len)) {
            error_setg(errp, "JSON text is expected");
            len = -1;
        }
    }
    qemu_close(fd);
    return len < 0 ? NULL : g_steal_pointer(&text);
}

static VfioIdentity *vfio_identity_parse(const char *file, Error **errp)
{
    g_autofree char *text = vfio_identity_read(file, errp);
    VfioIdentity *info = NULL;
    QObject *obj;
    Visitor *v;

    obj = text ? qobject_from_json(text, errp) : NULL;
    if (!obj) {
        return NULL;
    }
    v = qobject_input_visitor_new(obj);
    visit_type_VfioIdentity(v, NULL, &info, errp);
    visit_free(v);
    qobject_unref(obj);
    return info;
}

static void vfio_identity_free(VFIOIdentity *identity)
{
    if (identity) {
        vfio_layout_clear(&identity->layout);
        g_free(identity->config);
        g_free(identity);
    }
}

static VFIOIdentity *vfio_identity_load(const char *file, Error **errp)
{
    ERRP_GUARD();
    VfioIdentity *info = vfio_identity_parse(file, errp);
    VFIOIdentity *identity = g_new0(VFIOIdentity, 1);

    if (!info || !vfio_identity_take(identity, info, errp)) {
        error_prepend(errp, "identity file '%s': ", file);
        vfio_identity_free(identity);
        identity = NULL;
    }
    qapi_free_VfioIdentity(info);
    return identity;
}

/*
 * In place of the kernel
 */

static VFIOIdentity *vfio_identity_of(VFIODevice *vbasedev)
{
    return container_of(vbasedev, VFIOPCIDevice, vbasedev)->presented;
}

static int vfio_identity_region_info(VFIODevice *vbasedev,
                                     struct vfio_region_info *info)
{
    const VFIOLayout *layout = &vfio_identity_of(vbasedev)->layout;
    const VFIOLayoutRegion *region;
    struct vfio_region_info_cap_sparse_mmap *sparse;
    struct vfio_info_cap_header *msix;
    uint32_t sparse_len, len;

    info->offset = info->cap_offset = info->flags = info->size = 0;
    if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
        info->size = layout->config_size;
        return 0;
    }
    if (info->index >= ARRAY_SIZE(layout->region)) {
        return -EINVAL;
    }
    region = &layout->region[info->index];
    info->size = region->size;
    info->flags = region->flags;
    sparse_len = region->sparse
        ? sizeof(*sparse) + region->nr_areas * sizeof(sparse->areas[0]) : 0;
    len = sizeof(*info) + sparse_len +
          (region->msix_mappable ? sizeof(*msix) : 0);
    if (len == sizeof(*info)) {
        return 0;
    }
    info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
    if (info->argsz < len) {
        info->argsz = len;
        return 0;
    }
    info->cap_offset = sizeof(*info);
    if (region->sparse) {
        sparse = (void *)(info + 1);
        sparse->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
        sparse->header.version = 1;
        sparse->header.next = region->msix_mappable
            ? sizeof(*info) + sparse_len : 0;
        sparse->nr_areas = region->nr_areas;
        memcpy(sparse->areas, region->areas,
               region->nr_areas * sizeof(sparse->areas[0]));
    }
    if (region->msix_mappable) {
        msix = (void *)(info + 1) + sparse_len;
        msix->id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE;
        msix->version = 1;
        msix->next = 0;
    }
    return 0;
}

/* Until a resume asks the kernel, vectors are set up all at once. */
static int vfio_identity_irq_info(VFIODevice *vbasedev,
                                  struct vfio_irq_info *info)
{
    const VFIOLayout *layout = &vfio_identity_of(vbasedev)->layout;

    if (info->index >= VFIO_PCI_NUM_IRQS || !layout->irq_count[info->index]) {
        return -EINVAL;
    }
    info->flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
    info->count = layout->irq_count[info->index];
    return 0;
}

static const VFIODeviceIOOps vfio_identity_io_ops = {
    .get_region_info = vfio_identity_region_info,
    .get_irq_info = vfio_identity_irq_info,
};

ssize_t vfio_pci_config_pread(VFIOPCIDevice *vdev, void *to, size_t len,
                              off_t offset)
{
    const VFIOIdentity *identity = vdev->presented;

    if (!identity) {
        return pread(vdev->vbasedev.fd, to, len, vdev->config_offset + offset);
    }
    if (offset > identity->layout.config_size) {
        return 0;
    }
    len = MIN(len, identity->layout.config_size - offset);
    memcpy(to, identity->config + offset, len);
    return len;
}

bool vfio_identity_open(VFIOPCIDevice *vdev, Error **errp)
{
    ERRP_GUARD();
    VFIODevice *vbasedev = &vdev->vbasedev;
    VFIOIdentity *identity = NULL;

    if (!vbasedev->name) {
        vbasedev->name = vbasedev->sysfsdev
            ? g_path_get_basename(vbasedev->sysfsdev)
            : g_strdup(DEVICE(vdev)->id ?: TYPE_VFIO_PCI);
    }
    if (!vdev->start_paused) {
        error_setg(errp, "identity= is for a device that starts paused: "
                   "add paused=on");
    } else if (vbasedev->fd >= 0) {
        error_setg(errp, "fd= opens a device, identity= does without: "
                   "leave one of them out, and pass 'fd' to vfio-resume");
    } else if (vdev->features & VFIO_FEATURE_ENABLE_VGA || vdev->enable_ramfb ||
               vdev->display != ON_OFF_AUTO_OFF) {
        error_setg(errp, "Device cannot be paused: it has a display");
    } else {
        identity = vfio_identity_load(vdev->identity, errp);
    }
    if (!identity) {
        error_prepend(errp, VFIO_MSG_PREFIX, vbasedev->name);
        return false;
    }
    vdev->presented = identity;
    vbasedev->io_ops = &vfio_identity_io_ops;
    vbasedev->flags = VFIO_DEVICE_FLAGS_PCI;
    vbasedev->num_regions = VFIO_PCI_NUM_REGIONS;
    vbasedev->num_irqs = VFIO_PCI_NUM_IRQS;
    return true;
}

void vfio_identity_close(VFIOPCIDevice *vdev)
{
    vdev->vbasedev.io_ops = NULL;
    vfio_identity_free(vdev->presented);
    vdev->presented = NULL;
}

uint64_t vfio_identity_rom_size(VFIOPCIDevice *vdev)
{
    return vdev->presented->layout.region[VFIO_PCI_ROM_REGION_INDEX].size;
}
