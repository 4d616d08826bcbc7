/*
 * Whether a device that only a file describes can be shown to a guest
 *
 * What realizes a vfio-pci device relies on the kernel, which has vetted
 * config space and BARs: it follows capability chains to their end, and
 * asserts sizes.  So each of these properties is checked here first; what
 * QEMU checks itself, as overlaps of capabilities, is left to it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include <linux/vfio.h>
#include "qapi/error.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_ids.h"
#include "pause-identity.h"

/* Capabilities that QEMU handles and that a function has once, if at all */
static const struct {
    uint8_t id, len;
} known_caps[] = {
    { PCI_CAP_ID_PM, PCI_PM_SIZEOF },
    { PCI_CAP_ID_MSI, 0x18 /* at most, see vfio_check_msi() */ },
    { PCI_CAP_ID_MSIX, MSIX_CAP_LENGTH },
    { PCI_CAP_ID_EXP, 0x14 },
    { PCI_CAP_ID_AF, PCI_CAP_AF_SIZEOF },
};

static bool vfio_check_header(const uint8_t *config, Error **errp)
{
    if (lduw_le_p(config + PCI_VENDOR_ID) == 0xffff) {
        error_setg(errp, "config: vendor 0xffff: none has this number");
        return false;
    }
    if ((config[PCI_HEADER_TYPE] & ~PCI_HEADER_TYPE_MULTI_FUNCTION) !=
        PCI_HEADER_TYPE_NORMAL) {
        error_setg(errp, "config: header type 0x%x: 0 expected, of an endpoint",
                   config[PCI_HEADER_TYPE]);
        return false;
    }
    if (config[PCI_CLASS_DEVICE + 1] == PCI_BASE_CLASS_DISPLAY) {
        error_setg(errp, "config: class 0x%02x%02x: a display cannot be paused",
                   config[PCI_CLASS_DEVICE + 1], config[PCI_CLASS_DEVICE]);
        return false;
    }
    return true;
}

/* A MSI capability is as long as its flags say. */
static bool vfio_check_msi(const uint8_t *cap, unsigned pos, Error **errp)
{
    uint16_t flags = lduw_le_p(cap + PCI_MSI_FLAGS);
    unsigned len = 0xa + (flags & PCI_MSI_FLAGS_64BIT ? 4 : 0) +
                   (flags & PCI_MSI_FLAGS_MASKBIT ? 0xa : 0);

    if (pos + len > PCI_CONFIG_SPACE_SIZE) {
        error_setg(errp, "config: MSI capability at 0x%x: room for 0x%x bytes "
                   "expected", pos, len);
        return false;
    }
    if ((flags & PCI_MSI_FLAGS_QMASK) >> 1 > 5) {
        error_setg(errp, "config: MSI capability at 0x%x: at most 32 vectors "
                   "expected", pos);
        return false;
    }
    return true;
}

static bool vfio_check_caps(const uint8_t *config, Error **errp)
{
    uint64_t seen = 0;
    uint8_t once = 0;
    unsigned pos, i;

    if (!(lduw_le_p(config + PCI_STATUS) & PCI_STATUS_CAP_LIST)) {
        return true;
    }
    for (pos = config[PCI_CAPABILITY_LIST]; pos;
         pos = config[pos + PCI_CAP_LIST_NEXT]) {
        if (pos < PCI_STD_HEADER_SIZEOF || pos & 3 || seen & 1ULL << pos / 4) {
            error_setg(errp, "config: capability at 0x%x: a chain of multiples "
                       "of 4 from 0x40 on expected, each once", pos);
            return false;
        }
        seen |= 1ULL << pos / 4;
        for (i = 0; i < ARRAY_SIZE(known_caps); i++) {
            if (config[pos] != known_caps[i].id) {
                continue;
            }
            if (once & 1 << i) {
                error_setg(errp, "config: capability 0x%02x at 0x%x: expected "
                           "once", config[pos], pos);
                return false;
            }
            once |= 1 << i;
            if (config[pos] == PCI_CAP_ID_MSI) {
                if (!vfio_check_msi(config + pos, pos, errp)) {
                    return false;
                }
            } else if (pos + known_caps[i].len > PCI_CONFIG_SPACE_SIZE) {
                error_setg(errp, "config: capability 0x%02x at 0x%x: room for "
                           "0x%x bytes expected", config[pos], pos,
                           known_caps[i].len);
                return false;
            }
        }
    }
    return true;
}

/* Resizable BARs: QEMU rewrites as many registers as the first one says. */
static bool vfio_check_rebar(const uint8_t *config, unsigned pos, Error **errp)
{
    unsigned bars = 1;

    if (pos + PCI_REBAR_CTRL + 4 <= PCIE_CONFIG_SPACE_SIZE) {
        bars = (ldl_le_p(config + pos + PCI_REBAR_CTRL) &
                PCI_REBAR_CTRL_NBAR_MASK) >> PCI_REBAR_CTRL_NBAR_SHIFT;
    }
    if (pos + PCI_REBAR_CTRL + 4 + 8 * MAX(bars, 1) - 8 >
        PCIE_CONFIG_SPACE_SIZE) {
        error_setg(errp, "config: resizable BARs at 0x%x: room for %u expected",
                   pos, bars);
        return false;
    }
    return true;
}

static bool vfio_check_ext_caps(const uint8_t *config, Error **errp)
{
    g_autofree uint8_t *seen = g_malloc0(PCIE_CONFIG_SPACE_SIZE / 4 + 1);
    unsigned pos;

    if (!ldl_le_p(config + PCI_CONFIG_SPACE_SIZE)) {
        return true;
    }
    for (pos = PCI_CONFIG_SPACE_SIZE; pos;
         pos = PCI_EXT_CAP_NEXT(ldl_le_p(config + pos))) {
        /* two of them have 8 bytes between them, or more */
        if (pos < PCI_CONFIG_SPACE_SIZE || pos > PCIE_CONFIG_SPACE_SIZE - 8 ||
            seen[pos / 4] || seen[pos / 4 - 1] || seen[pos / 4 + 1]) {
            error_setg(errp, "config: extended capability at 0x%x: a chain "
                       "from 0x100 to 0xff8 expected, each once, with 8 bytes "
                       "or more", pos);
            return false;
        }
        seen[pos / 4] = 1;
        if (PCI_EXT_CAP_ID(ldl_le_p(config + pos)) == PCI_EXT_CAP_ID_REBAR &&
            !vfio_check_rebar(config, pos, errp)) {
            return false;
        }
    }
    return true;
}

static bool vfio_check_areas(const VFIOLayoutRegion *region, unsigned nr,
                             Error **errp)
{
    uint64_t page = qemu_real_host_page_size(), end = 0;
    unsigned i;

    for (i = 0; i < region->nr_areas; i++) {
        uint64_t offset = region->areas[i].offset;
        uint64_t size = region->areas[i].size;

        if ((offset | size) % page || offset < end || offset > region->size ||
            size > region->size - offset) {
            error_setg(errp, "regions: index %u: area at 0x%" PRIx64 " of size "
                       "0x%" PRIx64 ": pages in the region expected, in order "
                       "and without overlap", nr, offset, size);
            return false;
        }
        end = offset + size;
    }
    return true;
}

/* The limits that the type of a BAR sets to its size */
static bool vfio_check_bar(const VFIOIdentity *identity, unsigned nr,
                           Error **errp)
{
    const VFIOLayoutRegion *regions = identity->layout.region;
    uint64_t size = regions[nr].size, min = 16, max = 2 * GiB;
    uint32_t type = ldl_le_p(identity->config + PCI_BASE_ADDRESS_0 + 4 * nr);

    if (type & PCI_BASE_ADDRESS_SPACE_IO) {
        min = 4;
        max = 64 * KiB;
    } else if (type & PCI_BASE_ADDRESS_MEM_TYPE_64) {
        max = VFIO_IDENTITY_REGION_MAX;
        if (nr + 1 == PCI_ROM_SLOT || regions[nr + 1].size) {
            error_setg(errp, "regions: index %u: no region expected after it, "
                       "as config has a 64-bit BAR", nr);
            return false;
        }
    }
    if (!is_power_of_2(size) || size < min || size > max) {
        error_setg(errp, "regions: index %u: size 0x%" PRIx64 ": a power of 2 "
                   "from 0x%" PRIx64 " to 0x%" PRIx64 " expected, by the type "
                   "of the BAR in config", nr, size, min, max);
        return false;
    }
    return true;
}

static bool vfio_check_rom(uint64_t size, Error **errp)
{
    if (!is_power_of_2(size) || size < 2 * KiB ||
        size > VFIO_IDENTITY_ROM_MAX) {
        error_setg(errp, "regions: index %u: size 0x%" PRIx64 ": a power of 2 "
                   "from 0x%" PRIx64 " to 0x%" PRIx64 " expected, for a ROM",
                   VFIO_PCI_ROM_REGION_INDEX, size, (uint64_t)(2 * KiB),
                   (uint64_t)VFIO_IDENTITY_ROM_MAX);
        return false;
    }
    return true;
}

/*
 * @reg of the MSI-X capability tells a BAR and an offset there.  The pending
 * bits of some devices are beyond their BAR: QEMU knows these.
 */
static bool vfio_check_msix(const VFIOIdentity *identity, unsigned cap,
                            unsigned reg, uint64_t len, bool may_be_beyond,
                            Error **errp)
{
    uint32_t val = ldl_le_p(identity->config + cap + reg);
    uint64_t offset = val & ~PCI_MSIX_FLAGS_BIRMASK, size = 0;
    unsigned nr = val & PCI_MSIX_FLAGS_BIRMASK;
    bool io = false;

    if (nr < PCI_ROM_SLOT) {
        size = identity->layout.region[nr].size;
        io = identity->config[PCI_BASE_ADDRESS_0 + 4 * nr] &
             PCI_BASE_ADDRESS_SPACE_IO;
    }
    if (!size || io || (offset + len > size &&
                        !(may_be_beyond && offset >= size))) {
        error_setg(errp, "config: MSI-X %s of 0x%" PRIx64 " bytes at 0x%" PRIx64
                   " of BAR %u: a memory BAR with this room expected",
                   reg == PCI_MSIX_TABLE ? "table" : "pending bits", len,
                   offset, nr);
        return false;
    }
    return true;
}

bool vfio_identity_check(const VFIOIdentity *identity, Error **errp)
{
    const VFIOLayout *layout = &identity->layout;
    const uint8_t *config = identity->config;
    unsigned i, cap, vectors;

    if (!vfio_check_header(config, errp) || !vfio_check_caps(config, errp)) {
        return false;
    }
    if (layout->config_size == PCIE_CONFIG_SPACE_SIZE &&
        !vfio_check_ext_caps(config, errp)) {
        return false;
    }
    for (i = 0; i < ARRAY_SIZE(layout->region); i++) {
        const VFIOLayoutRegion *region = &layout->region[i];

        if (!region->size) {
            continue;
        }
        if (i == VFIO_PCI_ROM_REGION_INDEX
            ? !vfio_check_rom(region->size, errp)
            : !vfio_check_bar(identity, i, errp)) {
            return false;
        }
        if (!vfio_check_areas(region, i, errp)) {
            return false;
        }
    }
    cap = vfio_find_cap(config, layout->config_size, PCI_CAP_ID_MSIX, false);
    if (!cap) {
        return true;
    }
    vectors = (lduw_le_p(config + cap + PCI_MSIX_FLAGS) &
               PCI_MSIX_FLAGS_QSIZE) + 1;
    if (layout->irq_count[VFIO_PCI_MSIX_IRQ_INDEX] != vectors) {
        error_setg(errp, "interrupts: index %u: a count of %u expected, as "
                   "config says", VFIO_PCI_MSIX_IRQ_INDEX, vectors);
        return false;
    }
    return vfio_check_msix(identity, cap, PCI_MSIX_TABLE,
                           vectors * PCI_MSIX_ENTRY_SIZE, false, errp) &&
           vfio_check_msix(identity, cap, PCI_MSIX_PBA,
                           QEMU_ALIGN_UP(vectors, 64) / 8, true, errp);
}
