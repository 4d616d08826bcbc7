/*
 * What a paused device was: its layout, and its config space
 *
 * A resume compares the new host device with the old one before the guest
 * can touch it, and restores config registers by an allow-list.  Everything
 * else in config space is either emulated by QEMU, read-only, status that
 * must not be written, or of unknown effect.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/vfio.h>
#include "qapi/error.h"
#include "hw/pci/pci_regs.h"
#include "qemu/bswap.h"
#include "pause.h"
#include "pause-config.h"

/* A register: where, and which of its bits. */
typedef struct VFIOReplay {
    uint8_t cap;      /* capability id, 0 for the header */
    bool extended;
    uint16_t offset;  /* in the capability or header */
    uint8_t len;
    uint32_t mask;
} VFIOReplay;

/*
 * In the order of restoring.  BARs and COMMAND are emulated by QEMU and come
 * from there.  Left out of PCI_EXP_DEVCTL is the bit that starts a reset, of
 * PCI_PM_CTRL the status that a write of one clears.
 */
static const VFIOReplay replays[] = {
    { 0, false, PCI_CACHE_LINE_SIZE, 1, 0xff },
    { 0, false, PCI_LATENCY_TIMER, 1, 0xff },
    { 0, false, PCI_INTERRUPT_LINE, 1, 0xff },
    { PCI_CAP_ID_EXP, false, PCI_EXP_DEVCTL, 2, 0x7fff },
    { PCI_CAP_ID_EXP, false, PCI_EXP_DEVCTL2, 2, 0xffff },
    { PCI_CAP_ID_EXP, false, PCI_EXP_LNKCTL, 2,
      PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC |
      PCI_EXP_LNKCTL_ES | PCI_EXP_LNKCTL_CLKREQ_EN },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_UNCOR_MASK, 4, 0xffffffff },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_UNCOR_SEVER, 4, 0xffffffff },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_COR_MASK, 4, 0xffffffff },
    { PCI_CAP_ID_PM, false, PCI_PM_CTRL, 2,
      PCI_PM_CTRL_STATE_MASK | PCI_PM_CTRL_PME_ENABLE },
};

static uint32_t vfio_get_bits(const uint8_t *bits, int len)
{
    return len == 1 ? bits[0] : len == 2 ? lduw_le_p(bits) : ldl_le_p(bits);
}

static void vfio_put_bits(uint8_t *bits, uint32_t val, int len)
{
    val = cpu_to_le32(val);
    memcpy(bits, &val, len);
}

uint32_t vfio_find_cap(const uint8_t *config, uint32_t size, uint16_t id,
                       bool extended)
{
    uint32_t pos;
    int ttl;

    if (extended) {
        pos = size > PCI_CONFIG_SPACE_SIZE ? PCI_CONFIG_SPACE_SIZE : 0;
        for (ttl = 480; pos >= PCI_CONFIG_SPACE_SIZE && pos + 4 <= size &&
                        ttl; ttl--) {
            uint32_t header = ldl_le_p(config + pos);

            if (header && PCI_EXT_CAP_ID(header) == id) {
                return pos;
            }
            pos = PCI_EXT_CAP_NEXT(header);
        }
        return 0;
    }
    if (!(config[PCI_STATUS] & PCI_STATUS_CAP_LIST)) {
        return 0;
    }
    pos = config[PCI_CAPABILITY_LIST] & ~3;
    for (ttl = 48; pos >= PCI_STD_HEADER_SIZEOF && ttl; ttl--) {
        if (config[pos + PCI_CAP_LIST_ID] == id) {
            return pos;
        }
        pos = config[pos + PCI_CAP_LIST_NEXT] & ~3;
    }
    return 0;
}

/* Offset of a register in config space, 0 if this device has none. */
static uint32_t vfio_replay_pos(const VFIOReplay *replay,
                                const uint8_t *config, uint32_t size)
{
    uint32_t pos;

    if (!replay->cap) {
        return replay->offset;
    }
    pos = vfio_find_cap(config, size, replay->cap, replay->extended);
    return pos && pos + replay->offset + replay->len <= size
        ? pos + replay->offset : 0;
}

bool vfio_read_config_space(VFIOPCIDevice *vdev, uint8_t *to, uint32_t size,
                            Error **errp)
{
    ssize_t ret = vfio_pci_config_pread(vdev, to, size, 0);

    if (ret != size) {
        error_setg_errno(errp, ret < 0 ? errno : EIO,
                         "reading config space of %s failed",
                         vdev->vbasedev.name);
        return false;
    }
    return true;
}

static void vfio_layout_read_region(VFIOLayoutRegion *region,
                                    struct vfio_region_info *info)
{
    struct vfio_info_cap_header *hdr;
    struct vfio_region_info_cap_sparse_mmap *sparse;

    region->size = info->size;
    if (!info->size) {
        return;
    }
    region->flags = info->flags & (VFIO_REGION_INFO_FLAG_READ |
                                   VFIO_REGION_INFO_FLAG_WRITE |
                                   VFIO_REGION_INFO_FLAG_MMAP);
    region->msix_mappable =
        vfio_get_region_info_cap(info, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
    hdr = vfio_get_region_info_cap(info, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
    if (hdr) {
        sparse = container_of(hdr, struct vfio_region_info_cap_sparse_mmap,
                              header);
        region->sparse = true;
        region->nr_areas = sparse->nr_areas;
        region->areas = g_memdup2(sparse->areas, sparse->nr_areas *
                                                 sizeof(sparse->areas[0]));
    }
}

void vfio_layout_clear(VFIOLayout *layout)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(layout->region); i++) {
        g_free(layout->region[i].areas);
    }
    memset(layout, 0, sizeof(*layout));
}

bool vfio_layout_read(VFIOPCIDevice *vdev, VFIOLayout *layout, Error **errp)
{
    VFIODevice *vbasedev = &vdev->vbasedev;
    unsigned i;

    memset(layout, 0, sizeof(*layout));
    if (!(vbasedev->flags & VFIO_DEVICE_FLAGS_PCI) ||
        vbasedev->num_regions < VFIO_PCI_CONFIG_REGION_INDEX + 1) {
        error_setg(errp, "%s isn't a PCI device", vbasedev->name);
        return false;
    }
    for (i = 0; i <= VFIO_PCI_CONFIG_REGION_INDEX; i++) {
        g_autofree struct vfio_region_info *info = NULL;
        int ret = vfio_get_region_info(vbasedev, i, &info);

        if (ret) {
            error_setg_errno(errp, -ret, "getting info of region %u of %s "
                             "failed", i, vbasedev->name);
            vfio_layout_clear(layout);
            return false;
        }
        layout->region_offset[i] = info->offset;
        if (i == VFIO_PCI_CONFIG_REGION_INDEX) {
            layout->config_size = info->size;
        } else {
            vfio_layout_read_region(&layout->region[i], info);
        }
    }
    for (i = 0; i < MIN(vbasedev->num_irqs, VFIO_PCI_NUM_IRQS); i++) {
        struct vfio_irq_info info = { .argsz = sizeof(info), .index = i };
        int ret = vfio_get_irq_info(vbasedev, &info);

        /* an index that a device lacks is an error: its count is 0 */
        if (!ret) {
            layout->irq_count[i] = info.count;
        } else if (ret != -EINVAL) {
            error_setg_errno(errp, -ret, "getting info of interrupt %u of %s "
                             "failed", i, vbasedev->name);
            vfio_layout_clear(layout);
            return false;
        }
        if (i == VFIO_PCI_MSIX_IRQ_INDEX) {
            layout->msix_noresize = info.flags & VFIO_IRQ_INFO_NORESIZE;
        }
    }
    return true;
}

/* The registers that never change, compared under a mask. */
static const struct {
    const char *name;
    uint8_t cap;
    uint16_t offset;
    uint32_t mask;
} constants[] = {
    { "vendor and device", 0, PCI_VENDOR_ID, 0xffffffff },
    { "class and revision", 0, PCI_CLASS_REVISION, 0xffffffff },
    { "subsystem", 0, PCI_SUBSYSTEM_VENDOR_ID, 0xffffffff },
    { "MSI control", PCI_CAP_ID_MSI, 0, 0x018eff00 },
    { "MSI-X table size", PCI_CAP_ID_MSIX, 0, 0x07ffff00 },
    { "MSI-X table", PCI_CAP_ID_MSIX, PCI_MSIX_TABLE, 0xffffffff },
    { "MSI-X pending bits", PCI_CAP_ID_MSIX, PCI_MSIX_PBA, 0xffffffff },
    { "PCI Express capabilities", PCI_CAP_ID_EXP, 0, 0xffffffff },
};

static bool vfio_same_areas(const VFIOLayoutRegion *a,
                            const VFIOLayoutRegion *b)
{
    return a->sparse == b->sparse && a->nr_areas == b->nr_areas &&
           (!a->nr_areas ||
            !memcmp(a->areas, b->areas, a->nr_areas * sizeof(a->areas[0])));
}

bool vfio_layout_check(const VFIOLayout *was, const uint8_t *was_config,
                       const VFIOLayout *now, const uint8_t *now_config,
                       Error **errp)
{
    unsigned i;

    if (was->config_size != now->config_size) {
        error_setg(errp, "its config space has %u bytes, not %u",
                   now->config_size, was->config_size);
        return false;
    }
    for (i = 0; i < ARRAY_SIZE(constants); i++) {
        uint32_t pos = 0, pos_now = 0, a, b;

        if (constants[i].cap) {
            pos = vfio_find_cap(was_config, was->config_size,
                                constants[i].cap, false);
            pos_now = vfio_find_cap(now_config, now->config_size,
                                    constants[i].cap, false);
            if (pos != pos_now) {
                error_setg(errp, "its capability 0x%02x is at 0x%x, not 0x%x",
                           constants[i].cap, pos_now, pos);
                return false;
            }
            if (!pos) {
                continue;
            }
        }
        pos += constants[i].offset;
        a = ldl_le_p(was_config + pos) & constants[i].mask;
        b = ldl_le_p(now_config + pos) & constants[i].mask;
        if (a != b) {
            error_setg(errp, "its %s is 0x%08x, not 0x%08x", constants[i].name,
                       b, a);
            return false;
        }
    }
    for (i = 0; i < ARRAY_SIZE(was->region); i++) {
        if (was->region[i].size != now->region[i].size ||
            was->region[i].flags != now->region[i].flags ||
            !vfio_same_areas(&was->region[i], &now->region[i])) {
            error_setg(errp, "its region %u has size 0x%" PRIx64 " and flags "
                       "0x%x, not size 0x%" PRIx64 " and flags 0x%x, or other "
                       "areas that can be mapped", i, now->region[i].size,
                       now->region[i].flags, was->region[i].size,
                       was->region[i].flags);
            return false;
        }
    }
    for (i = 0; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++) {
        if (was->irq_count[i] != now->irq_count[i]) {
            error_setg(errp, "it has %u interrupts of type %u, not %u",
                       now->irq_count[i], i, was->irq_count[i]);
            return false;
        }
    }
    return true;
}

bool vfio_shadow_read(VFIOPCIDevice *vdev, VFIOShadow *shadow, Error **errp)
{
    unsigned i;

    /* room for an access of 4 bytes at the last one */
    shadow->size = vdev->config_size;
    shadow->bits = g_malloc0(shadow->size + 4);
    shadow->wmask = g_malloc0(shadow->size + 4);
    shadow->written = g_malloc0(shadow->size + 4);
    if (!vfio_read_config_space(vdev, shadow->bits, shadow->size, errp)) {
        vfio_shadow_free(shadow);
        return false;
    }
    for (i = 0; i < ARRAY_SIZE(replays); i++) {
        uint32_t pos = vfio_replay_pos(&replays[i], shadow->bits, shadow->size);

        if (pos) {
            vfio_put_bits(shadow->wmask + pos, replays[i].mask,
                          replays[i].len);
        }
    }
    memcpy(shadow->written, shadow->wmask, shadow->size);
    return true;
}

void vfio_shadow_copy(VFIOShadow *to, const VFIOShadow *from)
{
    *to = *from;
    to->bits = g_memdup2(from->bits, from->size + 4);
    to->wmask = g_memdup2(from->wmask, from->size + 4);
    to->written = g_memdup2(from->written, from->size + 4);
}

void vfio_shadow_free(VFIOShadow *shadow)
{
    g_free(shadow->bits);
    g_free(shadow->wmask);
    g_free(shadow->written);
    memset(shadow, 0, sizeof(*shadow));
}

void vfio_shadow_write(VFIOShadow *shadow, uint32_t addr, uint32_t val, int len)
{
    int i;

    shadow->writes++;
    for (i = 0; i < len && addr + i < shadow->size; i++, val >>= 8) {
        uint8_t mask = shadow->wmask[addr + i];

        shadow->bits[addr + i] = (shadow->bits[addr + i] & ~mask) |
                                 (val & mask);
        shadow->written[addr + i] |= mask;
    }
}

/* Capabilities have defaults of their own, the header has zeros. */
static void vfio_registers_reset(uint8_t *config, uint32_t size,
                                 const uint8_t *initial)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(replays); i++) {
        const VFIOReplay *replay = &replays[i];
        uint32_t pos = vfio_replay_pos(replay, config, size);
        uint32_t val = 0;

        if (!pos) {
            continue;
        }
        if (replay->extended || replay->cap == PCI_CAP_ID_EXP) {
            val = vfio_get_bits(initial + pos, replay->len) & replay->mask;
        }
        val |= vfio_get_bits(config + pos, replay->len) & ~replay->mask;
        vfio_put_bits(config + pos, val, replay->len);
    }
}

void vfio_shadow_reset(VFIOShadow *shadow, const uint8_t *initial)
{
    shadow->writes++;
    vfio_registers_reset(shadow->bits, shadow->size, initial);
    memset(shadow->written, 0, shadow->size);
}

/* Status, and what addresses the guest's memory: not part of any type. */
static const VFIOReplay volatiles[] = {
    { 0, false, PCI_COMMAND, 2, 0xffff },
    { 0, false, PCI_STATUS, 2, 0xf900 },
    { 0, false, PCI_ROM_ADDRESS, 4, 0xffffffff },
    { PCI_CAP_ID_PM, false, PCI_PM_CTRL, 2, PCI_PM_CTRL_PME_STATUS },
    { PCI_CAP_ID_MSI, false, PCI_MSI_FLAGS, 2,
      PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE },
    { PCI_CAP_ID_MSI, false, PCI_MSI_ADDRESS_LO, 4, 0xffffffff },
    { PCI_CAP_ID_MSIX, false, PCI_MSIX_FLAGS, 2,
      PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL },
    { PCI_CAP_ID_EXP, false, PCI_EXP_DEVSTA, 2, 0x000f },
    { PCI_CAP_ID_EXP, false, PCI_EXP_LNKSTA, 2,
      PCI_EXP_LNKSTA_LBMS | PCI_EXP_LNKSTA_LABS },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_UNCOR_STATUS, 4, 0xffffffff },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_COR_STATUS, 4, 0xffffffff },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_HEADER_LOG, 4, 0xffffffff },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_HEADER_LOG + 4, 4, 0xffffffff },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_HEADER_LOG + 8, 4, 0xffffffff },
    { PCI_EXT_CAP_ID_ERR, true, PCI_ERR_HEADER_LOG + 12, 4, 0xffffffff },
};

/* Addresses go, types stay. */
static void vfio_bars_clean(uint8_t *config)
{
    bool upper = false;
    int i;

    for (i = 0; i < 6; i++) {
        uint8_t *bar = config + PCI_BASE_ADDRESS_0 + 4 * i;
        uint32_t val = ldl_le_p(bar);
        bool io = val & PCI_BASE_ADDRESS_SPACE_IO;

        val &= upper ? 0 :
               io ? ~PCI_BASE_ADDRESS_IO_MASK : ~PCI_BASE_ADDRESS_MEM_MASK;
        stl_le_p(bar, val);
        upper = !upper && !io && val & PCI_BASE_ADDRESS_MEM_TYPE_64;
    }
}

/* The rest of the MSI capability depends on its flags. */
static void vfio_msi_clean(uint8_t *config, uint32_t size)
{
    uint32_t pos = vfio_find_cap(config, size, PCI_CAP_ID_MSI, false);
    uint16_t flags;
    uint32_t len;

    if (!pos || pos + PCI_MSI_ADDRESS_HI >= PCI_CONFIG_SPACE_SIZE) {
        return;
    }
    flags = lduw_le_p(config + pos + PCI_MSI_FLAGS);
    len = 2 + (flags & PCI_MSI_FLAGS_64BIT ? 4 : 0) +
          (flags & PCI_MSI_FLAGS_MASKBIT ? 10 : 0);
    pos += PCI_MSI_ADDRESS_HI;
    memset(config + pos, 0, MIN(len, PCI_CONFIG_SPACE_SIZE - pos));
}

void vfio_config_clean(uint8_t *config, uint32_t size, const uint8_t *initial)
{
    unsigned i;

    vfio_registers_reset(config, size, initial);
    vfio_bars_clean(config);
    vfio_msi_clean(config, size);
    for (i = 0; i < ARRAY_SIZE(volatiles); i++) {
        uint32_t pos = vfio_replay_pos(&volatiles[i], config, size);

        if (pos) {
            vfio_put_bits(config + pos,
                          vfio_get_bits(config + pos, volatiles[i].len) &
                          ~volatiles[i].mask, volatiles[i].len);
        }
    }
}

void vfio_shadow_replayed(VFIOShadow *shadow, const VFIOShadow *copy)
{
    unsigned i;

    for (i = 0; i < shadow->size; i++) {
        shadow->written[i] |= copy->written[i];
    }
}

static bool vfio_replay_write(VFIOPCIDevice *vdev, uint32_t pos, uint32_t val,
                              int len, Error **errp)
{
    uint32_t val_le = cpu_to_le32(val);

    if (pwrite(vdev->vbasedev.fd, &val_le, len, vdev->config_offset + pos)
        != len) {
        error_setg_errno(errp, errno, "restoring config register 0x%x of %s "
                         "failed", pos, vdev->vbasedev.name);
        return false;
    }
    return true;
}

bool vfio_shadow_replay(VFIOPCIDevice *vdev, const VFIOShadow *shadow,
                        const uint8_t *emulated, Error **errp)
{
    g_autofree uint8_t *now = g_malloc0(shadow->size + 4);
    unsigned i;

    if (!vfio_read_config_space(vdev, now, shadow->size, errp)) {
        return false;
    }
    for (i = 0; i < 6; i++) {
        uint32_t pos = PCI_BASE_ADDRESS_0 + 4 * i;

        if (!vfio_replay_write(vdev, pos, ldl_le_p(emulated + pos), 4, errp)) {
            return false;
        }
    }
    for (i = 0; i < ARRAY_SIZE(replays); i++) {
        const VFIOReplay *replay = &replays[i];
        uint32_t pos = vfio_replay_pos(replay, shadow->bits, shadow->size);
        uint32_t mask, val;

        if (!pos) {
            continue;
        }
        mask = vfio_get_bits(shadow->written + pos, replay->len);
        val = (vfio_get_bits(now + pos, replay->len) & replay->mask & ~mask) |
              (vfio_get_bits(shadow->bits + pos, replay->len) & mask);
        if (mask && !vfio_replay_write(vdev, pos, val, replay->len, errp)) {
            return false;
        }
    }
    return vfio_replay_write(vdev, PCI_COMMAND,
                             lduw_le_p(emulated + PCI_COMMAND), 2, errp);
}
