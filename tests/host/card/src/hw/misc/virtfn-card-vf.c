/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Emulated FPGA card: the virtual function
 *
 * Registers and the one job that can run at a time.  A reset of the function
 * forgets both; its region and the context there are not the function's and
 * stay.  A job has an effect when its result is in memory, or none at all.
 */

#include "qemu/osdep.h"
#include "hw/pci/msix.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "virtfn-card.h"

#define MSIX_PBA 0x800

static void vf_raise(CardVF *vf, uint32_t irqs)
{
    PCIDevice *dev = PCI_DEVICE(vf);

    vf->irq_status |= irqs;
    if ((irqs & vf->irq_enable) && msix_enabled(dev)) {
        msix_notify(dev, 0);
    }
}

static void vf_end(CardVF *vf, uint32_t status)
{
    CardPF *pf = card_pf_of(vf);

    vf->status = status;
    vf->sequence++;
    if (status == CARD_VF_DONE) {
        vf_raise(vf, CARD_VF_IRQ_DONE);
        return;
    }
    vf->result = 0;
    vf_raise(vf, CARD_VF_IRQ_FAILED);
    pf->error_vf = pcie_sriov_vf_number(PCI_DEVICE(vf));
    card_raise(pf, CARD_IRQ_VF);
}

void card_vf_abort(CardVF *vf)
{
    timer_del(vf->timer);
    if (vf->status == CARD_VF_BUSY) {
        vf_end(vf, CARD_VF_ERROR_ABORTED);
    }
}

/* The time of the job is over: it happens. */
static void vf_job(void *opaque)
{
    CardVF *vf = opaque;
    PCIDevice *dev = PCI_DEVICE(vf);
    CardRegion *region = card_region_of(vf);
    const CardJob job = vf->current;
    const uint32_t sequence = vf->sequence;
    g_autofree uint8_t *context = g_memdup2(region->context,
                                            CARD_CONTEXT_BYTES);
    g_autofree uint8_t *input = g_malloc(job.length + 1);
    g_autofree uint8_t *output = g_malloc(MAX(job.length, CARD_RESULT_MIN));
    uint32_t result = 0, status = CARD_VF_ERROR_DMA;

    if (pci_dma_read(dev, job.source, input, job.length) == MEMTX_OK) {
        status = card_accelerator_run(region->accelerator, job.operation,
                                      context, input, job.length, output,
                                      &result);
        if (status == CARD_VF_DONE &&
            pci_dma_write(dev, job.destination, output, result) != MEMTX_OK) {
            status = CARD_VF_ERROR_DMA;
        }
    }
    if (vf->sequence != sequence) {
        return; /* its own DMA has reset or disconnected it */
    }
    if (status == CARD_VF_DONE) {
        stq_le_p(context + CARD_CONTEXT_JOBS,
                 ldq_le_p(context + CARD_CONTEXT_JOBS) + 1);
        memcpy(region->context, context, CARD_CONTEXT_BYTES);
        vf->result = result;
    }
    vf_end(vf, status);
}

static uint32_t vf_check(CardVF *vf)
{
    CardRegion *region = card_region_of(vf);

    if (!region || region->state != CARD_REGION_READY) {
        return CARD_VF_ERROR_REGION;
    }
    if (vf->current.operation != CARD_OPERATION_INIT &&
        vf->current.operation != CARD_OPERATION_RUN) {
        return CARD_VF_ERROR_OPERATION;
    }
    if (vf->written != CARD_WRITTEN_ALL) {
        return CARD_VF_ERROR_RESET;
    }
    return vf->current.length > CARD_MAX_JOB ? CARD_VF_ERROR_LENGTH :
                                               CARD_VF_BUSY;
}

static void vf_ring(CardVF *vf, uint32_t operation)
{
    CardPF *pf = card_pf_of(vf);
    uint32_t number = pcie_sriov_vf_number(PCI_DEVICE(vf));
    uint32_t status;

    if (vf->status == CARD_VF_BUSY) {
        vf->overruns++;
        return;
    }
    vf->current = vf->next;
    vf->current.operation = operation;
    vf->result = 0;
    status = vf_check(vf);
    if (status != CARD_VF_BUSY) {
        vf_end(vf, status);
        return;
    }
    vf->status = CARD_VF_BUSY;
    vf->sequence++;
    if (pf->fault_vf == number) {
        pf->fault_vf = CARD_NONE;
        return;
    }
    timer_mod(vf->timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + pf->job_ns +
              (uint64_t)pf->job_ns_per_kib * vf->current.length / KiB);
}

static uint64_t vf_read(void *opaque, hwaddr addr, unsigned size)
{
    CardVF *vf = opaque;
    CardRegion *region = card_region_of(vf);
    uint64_t jobs;

    jobs = region ? ldq_le_p(region->context + CARD_CONTEXT_JOBS) : 0;
    switch (addr) {
    case CARD_VF_MAGIC:
        return CARD_VF_MAGIC_VALUE;
    case CARD_VF_VERSION:
        return CARD_VERSION;
    case CARD_VF_NUMBER:
        return pcie_sriov_vf_number(PCI_DEVICE(vf));
    case CARD_VF_ACCELERATOR:
        return region ? region->accelerator : 0;
    case CARD_VF_STATUS:
        return vf->status;
    case CARD_VF_SOURCE:
        return extract64(vf->next.source, 0, 32);
    case CARD_VF_SOURCE + 4:
        return extract64(vf->next.source, 32, 32);
    case CARD_VF_DESTINATION:
        return extract64(vf->next.destination, 0, 32);
    case CARD_VF_DESTINATION + 4:
        return extract64(vf->next.destination, 32, 32);
    case CARD_VF_LENGTH:
        return vf->next.length;
    case CARD_VF_RESULT:
        return vf->result;
    case CARD_VF_JOBS:
        return extract64(jobs, 0, 32);
    case CARD_VF_JOBS + 4:
        return extract64(jobs, 32, 32);
    case CARD_VF_IRQ_STATUS:
        return vf->irq_status;
    case CARD_VF_IRQ_ENABLE:
        return vf->irq_enable;
    case CARD_VF_OVERRUNS:
        return vf->overruns;
    default:
        return 0;
    }
}

static void vf_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    CardVF *vf = opaque;

    if (addr >= CARD_VF_SOURCE && addr <= CARD_VF_LENGTH) {
        vf->written |= CARD_WRITTEN(addr);
    }
    switch (addr) {
    case CARD_VF_DOORBELL:
        vf_ring(vf, value);
        break;
    case CARD_VF_SOURCE:
        vf->next.source = deposit64(vf->next.source, 0, 32, value);
        break;
    case CARD_VF_SOURCE + 4:
        vf->next.source = deposit64(vf->next.source, 32, 32, value);
        break;
    case CARD_VF_DESTINATION:
        vf->next.destination = deposit64(vf->next.destination, 0, 32, value);
        break;
    case CARD_VF_DESTINATION + 4:
        vf->next.destination = deposit64(vf->next.destination, 32, 32, value);
        break;
    case CARD_VF_LENGTH:
        vf->next.length = value;
        break;
    case CARD_VF_IRQ_STATUS:
        vf->irq_status &= ~value;
        break;
    case CARD_VF_IRQ_ENABLE:
        vf->irq_enable = value & CARD_VF_IRQ_ALL;
        break;
    }
}

static const MemoryRegionOps vf_ops = {
    .read = vf_read,
    .write = vf_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static void vf_reset_hold(Object *obj, ResetType type)
{
    CardVF *vf = CARD_VF(obj);

    timer_del(vf->timer);
    vf->sequence++;
    memset(&vf->next, 0, sizeof(vf->next));
    vf->written = 0;
    vf->status = CARD_VF_IDLE;
    vf->result = 0;
    vf->irq_status = 0;
    vf->irq_enable = 0;
    vf->overruns = 0;
}

static void vf_write_config(PCIDevice *dev, uint32_t addr, uint32_t value,
                            int len)
{
    pci_default_write_config(dev, addr, value, len);
    pcie_cap_flr_write_config(dev, addr, value, len);
}

static void vf_realize(PCIDevice *dev, Error **errp)
{
    CardVF *vf = CARD_VF(dev);
    const uint8_t type = PCI_BASE_ADDRESS_MEM_TYPE_64 |
                         PCI_BASE_ADDRESS_MEM_PREFETCH;

    dev->config_write = vf_write_config;
    memory_region_init_io(&vf->registers, OBJECT(vf), &vf_ops, vf,
                          "virtfn-card-vf", CARD_VF_BAR_SIZE);
    pci_register_bar(dev, CARD_BAR_REGISTERS, type, &vf->registers);
    memory_region_init(&vf->msix, OBJECT(vf), "virtfn-card-vf-msix",
                       CARD_VF_BAR_SIZE);
    pci_register_bar(dev, CARD_BAR_MSIX, type, &vf->msix);
    if (msix_init(dev, 1, &vf->msix, CARD_BAR_MSIX, 0, &vf->msix,
                  CARD_BAR_MSIX, MSIX_PBA, 0, errp) < 0) {
        return;
    }
    msix_vector_use(dev, 0);
    if (pcie_endpoint_cap_init(dev, 0) < 0) {
        error_setg(errp, "virtfn-card-vf: no room for a PCIe capability");
        msix_uninit(dev, &vf->msix, &vf->msix);
        return;
    }
    pcie_cap_flr_init(dev);
    pcie_ari_init(dev, 0x100);
    vf->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, vf_job, vf);
}

static void vf_exit(PCIDevice *dev)
{
    CardVF *vf = CARD_VF(dev);

    timer_free(vf->timer);
    pcie_cap_exit(dev);
    msix_uninit(dev, &vf->msix, &vf->msix);
}

static const VMStateDescription vf_vmstate = {
    .name = TYPE_CARD_VF,
    .unmigratable = 1,
};

static void vf_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(class);
    ResettableClass *rc = RESETTABLE_CLASS(class);

    pc->realize = vf_realize;
    pc->exit = vf_exit;
    pc->vendor_id = CARD_VENDOR_ID;
    pc->device_id = CARD_VF_DEVICE_ID;
    pc->revision = CARD_VERSION;
    pc->class_id = CARD_PCI_CLASS;
    rc->phases.hold = vf_reset_hold;
    dc->desc = "virtfn's FPGA card, virtual function";
    dc->user_creatable = false;
    dc->vmsd = &vf_vmstate;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo vf_info = {
    .name = TYPE_CARD_VF,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(CardVF),
    .class_init = vf_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { }
    },
};

static void vf_register_types(void)
{
    type_register_static(&vf_info);
}

type_init(vf_register_types)
