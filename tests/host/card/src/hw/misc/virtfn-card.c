/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Emulated FPGA card: the physical function
 *
 * A PCI Express function with SR-IOV, regions that hold accelerators, and
 * registers that say which virtual function is connected with which region
 * (include/hw/misc/virtfn-card-regs.h).  For tests of virtfn; a card has up
 * to four of them, each with regions of its own:
 *
 *   -device virtfn-card,bus=port1,addr=0.0,functions=4,vfs=63,regions=16
 *   -device virtfn-card,bus=port1,addr=0.1,functions=4,vfs=63,regions=16 ...
 *
 * A reset ends the command that runs and all connections; images and
 * contexts stay, as the configuration of an FPGA does.
 */

#include "qemu/osdep.h"
#include "hw/pci/msix.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "virtfn-card.h"

#define ARI_OFFSET 0x100
#define SRIOV_OFFSET 0x120

CardVF *card_vf(CardPF *pf, uint32_t number)
{
    return CARD_VF(PCI_DEVICE(pf)->exp.sriov_pf.vf[number]);
}

CardPF *card_pf_of(CardVF *vf)
{
    return CARD_PF(pcie_sriov_get_pf(PCI_DEVICE(vf)));
}

CardRegion *card_region_of(CardVF *vf)
{
    CardPF *pf = card_pf_of(vf);
    uint32_t region = pf->region_of[pcie_sriov_vf_number(PCI_DEVICE(vf))];

    return region == CARD_NONE ? NULL : &pf->region[region];
}

uint32_t card_region_kind(CardPF *pf, uint32_t region)
{
    return region % pf->kinds;
}

bool card_region_runs(CardPF *pf, const CardRegion *region)
{
    return region->vf != CARD_NONE &&
           card_vf(pf, region->vf)->status == CARD_VF_BUSY;
}

void card_raise(CardPF *pf, uint32_t irqs)
{
    PCIDevice *dev = PCI_DEVICE(pf);

    pf->irq_status |= irqs;
    if ((irqs & pf->irq_enable) && msix_enabled(dev)) {
        msix_notify(dev, 0);
    }
}

static uint32_t read_region_row(CardPF *pf, uint32_t number, hwaddr field)
{
    const CardRegion *region;
    uint64_t jobs;

    if (number >= pf->regions) {
        return 0;
    }
    region = &pf->region[number];
    jobs = ldq_le_p(region->context + CARD_CONTEXT_JOBS);
    switch (field) {
    case CARD_REGION_KIND:
        return card_region_kind(pf, number);
    case CARD_REGION_STATE:
        return region->state;
    case CARD_REGION_ACCELERATOR:
        return region->accelerator;
    case CARD_REGION_VF:
        return region->vf;
    case CARD_REGION_LOADS:
        return region->loads;
    case CARD_REGION_RUNNING:
        return card_region_runs(pf, region);
    case CARD_REGION_JOBS:
        return extract64(jobs, 0, 32);
    case CARD_REGION_JOBS + 4:
        return extract64(jobs, 32, 32);
    default:
        return 0;
    }
}

static uint32_t read_vf_row(CardPF *pf, uint32_t number, hwaddr field)
{
    if (number >= pf->vfs) {
        return 0;
    }
    switch (field) {
    case CARD_ROW_REGION:
        return pf->region_of[number];
    case CARD_ROW_STATUS:
        return card_vf(pf, number)->status;
    case CARD_ROW_ENABLED:
        return number < pcie_sriov_num_vfs(PCI_DEVICE(pf));
    default:
        return 0;
    }
}

static uint64_t pf_read(void *opaque, hwaddr addr, unsigned size)
{
    CardPF *pf = opaque;

    if (addr >= CARD_PF_VF_ROW(0)) {
        addr -= CARD_PF_VF_ROW(0);
        return read_vf_row(pf, addr / 0x10, addr % 0x10);
    }
    if (addr >= CARD_PF_REGION_ROW(0)) {
        addr -= CARD_PF_REGION_ROW(0);
        return read_region_row(pf, addr / 0x20, addr % 0x20);
    }
    switch (addr) {
    case CARD_PF_MAGIC:
        return CARD_PF_MAGIC_VALUE;
    case CARD_PF_VERSION:
        return CARD_VERSION;
    case CARD_PF_VFS:
        return pf->vfs;
    case CARD_PF_REGIONS:
        return pf->regions;
    case CARD_PF_KINDS:
        return pf->kinds;
    case CARD_PF_CONTEXT_SIZE:
        return CARD_CONTEXT_BYTES;
    case CARD_PF_WINDOW_SIZE:
        return pf->window_size;
    case CARD_PF_COMMAND:
        return pf->current.command;
    case CARD_PF_STATUS:
        return pf->status;
    case CARD_PF_REGION:
        return pf->next.region;
    case CARD_PF_VF:
        return pf->next.vf;
    case CARD_PF_ADDRESS:
        return extract64(pf->next.address, 0, 32);
    case CARD_PF_ADDRESS + 4:
        return extract64(pf->next.address, 32, 32);
    case CARD_PF_LENGTH:
        return pf->next.length;
    case CARD_PF_FLAGS:
        return pf->next.flags;
    case CARD_PF_IRQ_STATUS:
        return pf->irq_status;
    case CARD_PF_IRQ_ENABLE:
        return pf->irq_enable;
    case CARD_PF_FAULTS:
        return pf->faults;
    case CARD_PF_FAULT_VF:
        return pf->fault_vf;
    case CARD_PF_ERROR_VF:
        return pf->error_vf;
    case CARD_PF_COMMANDS:
        return pf->commands;
    default:
        return 0;
    }
}

static void pf_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    CardPF *pf = opaque;

    switch (addr) {
    case CARD_PF_COMMAND:
        card_command_start(pf, value);
        break;
    case CARD_PF_REGION:
        pf->next.region = value;
        break;
    case CARD_PF_VF:
        pf->next.vf = value;
        break;
    case CARD_PF_ADDRESS:
        pf->next.address = deposit64(pf->next.address, 0, 32, value);
        break;
    case CARD_PF_ADDRESS + 4:
        pf->next.address = deposit64(pf->next.address, 32, 32, value);
        break;
    case CARD_PF_LENGTH:
        pf->next.length = value;
        break;
    case CARD_PF_FLAGS:
        pf->next.flags = value;
        break;
    case CARD_PF_IRQ_STATUS:
        pf->irq_status &= ~value;
        break;
    case CARD_PF_IRQ_ENABLE:
        pf->irq_enable = value & CARD_IRQ_ALL;
        break;
    case CARD_PF_FAULTS:
        pf->faults = value & CARD_FAULT_ALL;
        break;
    case CARD_PF_FAULT_VF:
        pf->fault_vf = value;
        break;
    }
}

static const MemoryRegionOps pf_ops = {
    .read = pf_read,
    .write = pf_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static void pf_reset_hold(Object *obj, ResetType type)
{
    CardPF *pf = CARD_PF(obj);
    uint32_t i;

    timer_del(pf->timer);
    for (i = 0; i < pf->vfs; i++) {
        card_disconnect(pf, i);
    }
    for (i = 0; i < pf->regions; i++) {
        if (pf->region[i].state == CARD_REGION_LOADING) {
            pf->region[i].state = CARD_REGION_BROKEN;
        }
    }
    memset(&pf->next, 0, sizeof(pf->next));
    pf->sequence++;
    pf->status = CARD_IDLE;
    pf->irq_status = 0;
    pf->irq_enable = 0;
    pf->faults = 0;
    pf->fault_vf = CARD_NONE;
    pf->error_vf = CARD_NONE;
}

/* A function that is not there any more is connected with nothing. */
static void pf_write_config(PCIDevice *dev, uint32_t addr, uint32_t value,
                            int len)
{
    CardPF *pf = CARD_PF(dev);

    pci_default_write_config(dev, addr, value, len);
    pcie_cap_flr_write_config(dev, addr, value, len);
    for (uint32_t i = pcie_sriov_num_vfs(dev); i < pf->vfs; i++) {
        card_disconnect(pf, i);
    }
}

static bool pf_check(CardPF *pf, Error **errp)
{
    if (pf->functions < 1 || pf->functions > CARD_MAX_PFS) {
        error_setg(errp, "virtfn-card: functions is 1 to %d", CARD_MAX_PFS);
        return false;
    }
    if (pf->vfs < 1 || pf->vfs * pf->functions > CARD_MAX_VFS) {
        error_setg(errp, "virtfn-card: vfs is 1 to %d with %d functions",
                   CARD_MAX_VFS / pf->functions, pf->functions);
        return false;
    }
    if (pf->regions < 1 || pf->regions > CARD_MAX_REGIONS || pf->kinds < 1 ||
        pf->kinds > pf->regions) {
        error_setg(errp, "virtfn-card: regions is 1 to %d, kinds 1 to regions",
                   CARD_MAX_REGIONS);
        return false;
    }
    if (!is_power_of_2(pf->window_size) || pf->window_size < 4 * KiB ||
        pf->window_size > 64 * MiB) {
        error_setg(errp, "virtfn-card: window-size is a power of two of "
                   "4 KiB to 64 MiB");
        return false;
    }
    if (PCI_DEVICE(pf)->devfn >= pf->functions) {
        error_setg(errp, "virtfn-card: addr is 0.0 to 0.%d with functions=%d",
                   pf->functions - 1, pf->functions);
        return false;
    }
    return true;
}

static void pf_capabilities(CardPF *pf)
{
    PCIDevice *dev = PCI_DEVICE(pf);
    uint8_t next = dev->devfn + 1;

    pcie_cap_flr_init(dev);
    pcie_ari_init(dev, ARI_OFFSET);
    pci_set_long(dev->config + ARI_OFFSET + PCI_ARI_CAP,
                 (next < pf->functions ? next : 0) << 8);
}

/* The VFs of all functions are interleaved after the physical functions. */
static bool pf_add_vfs(CardPF *pf, Error **errp)
{
    PCIDevice *dev = PCI_DEVICE(pf);
    const uint8_t type = PCI_BASE_ADDRESS_MEM_TYPE_64 |
                         PCI_BASE_ADDRESS_MEM_PREFETCH;

    if (!pcie_sriov_pf_init(dev, SRIOV_OFFSET, TYPE_CARD_VF,
                            CARD_VF_DEVICE_ID, pf->vfs, pf->vfs,
                            pf->functions, pf->functions, errp)) {
        return false;
    }
    dev->config[SRIOV_OFFSET + PCI_SRIOV_FUNC_LINK] = dev->devfn;
    pcie_sriov_pf_init_vf_bar(dev, CARD_BAR_REGISTERS, type,
                              CARD_VF_BAR_SIZE);
    pcie_sriov_pf_init_vf_bar(dev, CARD_BAR_MSIX, type, CARD_VF_BAR_SIZE);
    return true;
}

static void pf_realize(PCIDevice *dev, Error **errp)
{
    CardPF *pf = CARD_PF(dev);

    if (!pf_check(pf, errp)) {
        return;
    }
    dev->config_write = pf_write_config;
    memory_region_init_io(&pf->registers, OBJECT(pf), &pf_ops, pf,
                          "virtfn-card", CARD_PF_BAR_SIZE);
    pci_register_bar(dev, CARD_BAR_REGISTERS, PCI_BASE_ADDRESS_MEM_TYPE_64,
                     &pf->registers);
    if (!memory_region_init_ram(&pf->window, OBJECT(pf), "virtfn-card-window",
                                pf->window_size, errp)) {
        return;
    }
    pci_register_bar(dev, CARD_BAR_WINDOW,
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &pf->window);
    if (msix_init_exclusive_bar(dev, 1, CARD_BAR_MSIX, errp) < 0) {
        return;
    }
    msix_vector_use(dev, 0);
    if (pcie_endpoint_cap_init(dev, 0) < 0) {
        error_setg(errp, "virtfn-card: no room for a PCIe capability");
        msix_uninit_exclusive_bar(dev);
        return;
    }
    pf_capabilities(pf);

    pf->region = g_new0(CardRegion, pf->regions);
    for (uint32_t i = 0; i < pf->regions; i++) {
        pf->region[i].vf = CARD_NONE;
    }
    pf->region_of = g_new(uint32_t, pf->vfs);
    memset(pf->region_of, 0xff, pf->vfs * sizeof(*pf->region_of));
    pf->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, card_command_end, pf);
    if (!pf_add_vfs(pf, errp)) {
        timer_free(pf->timer);
        g_free(pf->region);
        g_free(pf->region_of);
        pcie_cap_exit(dev);
        msix_uninit_exclusive_bar(dev);
    }
}

static void pf_exit(PCIDevice *dev)
{
    CardPF *pf = CARD_PF(dev);

    pcie_sriov_pf_exit(dev);
    timer_free(pf->timer);
    g_free(pf->region);
    g_free(pf->region_of);
    pcie_cap_exit(dev);
    msix_uninit_exclusive_bar(dev);
}

static const Property pf_properties[] = {
    DEFINE_PROP_UINT16("vfs", CardPF, vfs, 8),
    DEFINE_PROP_UINT32("regions", CardPF, regions, 2),
    DEFINE_PROP_UINT32("kinds", CardPF, kinds, 1),
    /* Physical functions of the card: the same for each of them. */
    DEFINE_PROP_UINT8("functions", CardPF, functions, 1),
    DEFINE_PROP_SIZE("window-size", CardPF, window_size, 1 * MiB),
    DEFINE_PROP_UINT32("load-ns-per-kib", CardPF, load_ns_per_kib, 100000),
    DEFINE_PROP_UINT32("context-ns", CardPF, context_ns, 100000),
    DEFINE_PROP_UINT32("job-ns", CardPF, job_ns, 10000),
    DEFINE_PROP_UINT32("job-ns-per-kib", CardPF, job_ns_per_kib, 1000),
};

static const VMStateDescription pf_vmstate = {
    .name = TYPE_CARD_PF,
    .unmigratable = 1,
};

static void pf_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(class);
    ResettableClass *rc = RESETTABLE_CLASS(class);

    pc->realize = pf_realize;
    pc->exit = pf_exit;
    pc->vendor_id = CARD_VENDOR_ID;
    pc->device_id = CARD_PF_DEVICE_ID;
    pc->revision = CARD_VERSION;
    pc->class_id = CARD_PCI_CLASS;
    rc->phases.hold = pf_reset_hold;
    dc->desc = "virtfn's FPGA card";
    dc->vmsd = &pf_vmstate;
    device_class_set_props(dc, pf_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo pf_info = {
    .name = TYPE_CARD_PF,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(CardPF),
    .class_init = pf_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { }
    },
};

static void pf_register_types(void)
{
    type_register_static(&pf_info);
}

type_init(pf_register_types)
