/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Emulated FPGA card: the commands of the physical function
 *
 * A command is checked when it is written; one that takes time is carried
 * out when that time is over, and what may have changed meanwhile is checked
 * again.  A command that fails changes nothing, but for a load that fails
 * after it has begun: the region is then BROKEN, as a real one would be.
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "hw/pci/pcie_sriov.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "virtfn-card.h"

static void command_finish(CardPF *pf, uint32_t status)
{
    pf->status = status;
    pf->sequence++;
    pf->commands++;
    card_raise(pf, status == CARD_IDLE ? CARD_IRQ_DONE : CARD_IRQ_FAILED);
}

static CardRegion *current_region(CardPF *pf)
{
    return &pf->region[pf->current.region];
}

/* Memory of the machine, or the window.  Returns false if it is neither. */
static bool card_memory(CardPF *pf, void *data, uint32_t length, bool write)
{
    const CardArguments *args = &pf->current;
    uint8_t *window;

    if (!(args->flags & CARD_FLAG_WINDOW)) {
        return pci_dma_rw(PCI_DEVICE(pf), args->address, data, length,
                          write ? DMA_DIRECTION_FROM_DEVICE :
                                  DMA_DIRECTION_TO_DEVICE,
                          MEMTXATTRS_UNSPECIFIED) == MEMTX_OK;
    }
    if (args->address > pf->window_size ||
        length > pf->window_size - args->address) {
        return false;
    }
    window = memory_region_get_ram_ptr(&pf->window);
    if (write) {
        memcpy(window + args->address, data, length);
        memory_region_set_dirty(&pf->window, args->address, length);
    } else {
        memcpy(data, window + args->address, length);
    }
    return true;
}

static uint32_t crc_after(const uint8_t *data, uint32_t field, uint32_t length)
{
    return crc32(0, data + field + 4, length - field - 4);
}

/*
 * LOAD
 */
static uint32_t image_check(CardPF *pf, const uint8_t *header)
{
    const CardArguments *args = &pf->current;
    uint32_t accelerator = ldl_le_p(header + CARD_IMAGE_ACCELERATOR);

    if (ldl_le_p(header + CARD_IMAGE_MAGIC) != CARD_IMAGE_MAGIC_VALUE ||
        ldl_le_p(header + CARD_IMAGE_VERSION) != CARD_VERSION) {
        return CARD_ERROR_FORMAT;
    }
    if (ldl_le_p(header + CARD_IMAGE_LENGTH) !=
        args->length - CARD_IMAGE_HEADER) {
        return CARD_ERROR_LENGTH;
    }
    if (ldl_le_p(header + CARD_IMAGE_KIND) !=
        card_region_kind(pf, args->region)) {
        return CARD_ERROR_KIND;
    }
    if (accelerator < 1 || accelerator > CARD_ACCELERATORS) {
        return CARD_ERROR_ACCELERATOR;
    }
    return CARD_IDLE;
}

static uint32_t load_start(CardPF *pf, uint64_t *time)
{
    const CardArguments *args = &pf->current;
    CardRegion *region = current_region(pf);
    uint8_t header[CARD_IMAGE_HEADER];
    uint32_t status;

    if (args->length <= CARD_IMAGE_HEADER || args->length > CARD_MAX_IMAGE) {
        return CARD_ERROR_LENGTH;
    }
    if (!card_memory(pf, header, sizeof(header), false)) {
        return CARD_ERROR_DMA;
    }
    status = image_check(pf, header);
    if (status != CARD_IDLE) {
        return status;
    }
    if (card_region_runs(pf, region)) {
        return CARD_ERROR_RUNNING;
    }
    region->state = CARD_REGION_LOADING;
    region->accelerator = 0;
    memset(region->context, 0, CARD_CONTEXT_BYTES);
    *time = (uint64_t)pf->load_ns_per_kib * args->length / KiB;
    if (pf->faults & CARD_FAULT_LOAD) {
        *time /= 2;
    }
    return CARD_BUSY;
}

static uint32_t load_image(CardPF *pf, uint8_t *image)
{
    const CardArguments *args = &pf->current;
    uint32_t status;

    if (pf->faults & CARD_FAULT_LOAD) {
        pf->faults &= ~CARD_FAULT_LOAD;
        return CARD_ERROR_LOAD;
    }
    if (!card_memory(pf, image, args->length, false)) {
        return CARD_ERROR_DMA;
    }
    if (pf->faults & CARD_FAULT_CRC) {
        pf->faults &= ~CARD_FAULT_CRC;
        image[args->length - 1] ^= 1;
    }
    status = image_check(pf, image);
    if (status != CARD_IDLE) {
        return status; /* somebody wrote to it during the load */
    }
    return crc_after(image, CARD_IMAGE_CRC, args->length) ==
           ldl_le_p(image + CARD_IMAGE_CRC) ? CARD_IDLE : CARD_ERROR_CRC;
}

static uint32_t load_end(CardPF *pf)
{
    CardRegion *region = current_region(pf);
    g_autofree uint8_t *image = g_malloc(pf->current.length);
    uint32_t status = load_image(pf, image);

    if (status != CARD_IDLE) {
        region->state = CARD_REGION_BROKEN;
        return status;
    }
    region->state = CARD_REGION_READY;
    region->accelerator = ldl_le_p(image + CARD_IMAGE_ACCELERATOR);
    region->loads++;
    return CARD_IDLE;
}

/*
 * SAVE, RESTORE
 */
static uint32_t context_check(CardPF *pf)
{
    CardRegion *region = current_region(pf);

    if (region->state != CARD_REGION_READY) {
        return CARD_ERROR_EMPTY;
    }
    return card_region_runs(pf, region) ? CARD_ERROR_RUNNING : CARD_IDLE;
}

static uint32_t context_start(CardPF *pf, uint64_t *time)
{
    uint32_t status = context_check(pf);

    if (status != CARD_IDLE) {
        return status;
    }
    if (pf->current.length != CARD_CONTEXT_BYTES) {
        return CARD_ERROR_LENGTH;
    }
    *time = pf->context_ns;
    return CARD_BUSY;
}

static uint32_t save_end(CardPF *pf)
{
    CardRegion *region = current_region(pf);
    uint8_t context[CARD_CONTEXT_BYTES];
    uint32_t status = context_check(pf);

    if (status != CARD_IDLE) {
        return status;
    }
    if (pf->faults & CARD_FAULT_SAVE) {
        pf->faults &= ~CARD_FAULT_SAVE;
        return CARD_ERROR_SAVE;
    }
    memcpy(context, region->context, sizeof(context));
    stl_le_p(context + CARD_CONTEXT_MAGIC, CARD_CONTEXT_MAGIC_VALUE);
    stl_le_p(context + CARD_CONTEXT_VERSION, CARD_VERSION);
    stl_le_p(context + CARD_CONTEXT_ACCELERATOR, region->accelerator);
    stl_le_p(context + CARD_CONTEXT_CRC,
             crc_after(context, CARD_CONTEXT_CRC, sizeof(context)));
    return card_memory(pf, context, sizeof(context), true) ? CARD_IDLE :
                                                             CARD_ERROR_DMA;
}

static uint32_t restore_end(CardPF *pf)
{
    CardRegion *region = current_region(pf);
    uint8_t context[CARD_CONTEXT_BYTES];
    uint32_t sequence = pf->sequence;
    uint32_t status;

    if (!card_memory(pf, context, sizeof(context), false)) {
        return CARD_ERROR_DMA;
    }
    status = context_check(pf);
    if (status != CARD_IDLE) {
        return status;
    }
    if (pf->sequence != sequence) {
        return CARD_ERROR_RESTORE; /* reset meanwhile; nobody will see this */
    }
    if (ldl_le_p(context + CARD_CONTEXT_MAGIC) != CARD_CONTEXT_MAGIC_VALUE ||
        ldl_le_p(context + CARD_CONTEXT_VERSION) != CARD_VERSION) {
        return CARD_ERROR_FORMAT;
    }
    if (ldl_le_p(context + CARD_CONTEXT_CRC) !=
        crc_after(context, CARD_CONTEXT_CRC, sizeof(context))) {
        return CARD_ERROR_CRC;
    }
    if (ldl_le_p(context + CARD_CONTEXT_ACCELERATOR) != region->accelerator) {
        return CARD_ERROR_ACCELERATOR;
    }
    if (pf->faults & CARD_FAULT_RESTORE) {
        pf->faults &= ~CARD_FAULT_RESTORE;
        memset(region->context, 0, CARD_CONTEXT_BYTES);
        return CARD_ERROR_RESTORE;
    }
    memcpy(region->context, context, sizeof(context));
    return CARD_IDLE;
}

/*
 * CONNECT, DISCONNECT, UNLOAD
 */
static uint32_t do_connect(CardPF *pf)
{
    const CardArguments *args = &pf->current;
    CardRegion *region = current_region(pf);

    if (region->vf != CARD_NONE || pf->region_of[args->vf] != CARD_NONE) {
        return CARD_ERROR_CONNECTED;
    }
    if (region->state != CARD_REGION_READY) {
        return CARD_ERROR_EMPTY;
    }
    if (!(args->flags & CARD_FLAG_KEEP)) {
        memset(region->context, 0, CARD_CONTEXT_BYTES);
    }
    region->vf = args->vf;
    pf->region_of[args->vf] = args->region;
    return CARD_IDLE;
}

void card_disconnect(CardPF *pf, uint32_t vf)
{
    uint32_t region = pf->region_of[vf];

    if (region == CARD_NONE) {
        return;
    }
    card_vf_abort(card_vf(pf, vf));
    pf->region[region].vf = CARD_NONE;
    pf->region_of[vf] = CARD_NONE;
}

static uint32_t do_disconnect(CardPF *pf)
{
    const CardArguments *args = &pf->current;
    uint32_t region = pf->region_of[args->vf];

    if (region == CARD_NONE) {
        return CARD_ERROR_DISCONNECTED;
    }
    if ((args->flags & CARD_FLAG_DRAINED) &&
        card_region_runs(pf, &pf->region[region])) {
        return CARD_ERROR_RUNNING;
    }
    card_disconnect(pf, args->vf);
    return CARD_IDLE;
}

static uint32_t do_unload(CardPF *pf)
{
    CardRegion *region = current_region(pf);

    if (region->vf != CARD_NONE) {
        return CARD_ERROR_CONNECTED;
    }
    region->state = CARD_REGION_EMPTY;
    region->accelerator = 0;
    memset(region->context, 0, CARD_CONTEXT_BYTES);
    return CARD_IDLE;
}

/*
 * What each command needs
 */
typedef struct CardCommandInfo {
    uint32_t flags; /* that it knows */
    bool region;
    bool vf;
    uint32_t (*start)(CardPF *pf, uint64_t *time); /* CARD_BUSY, or failed */
    uint32_t (*end)(CardPF *pf);
} CardCommandInfo;

static const CardCommandInfo commands[] = {
    [CARD_COMMAND_LOAD] = {
        CARD_FLAG_WINDOW, true, false, load_start, load_end
    },
    [CARD_COMMAND_CONNECT] = {
        CARD_FLAG_KEEP, true, true, NULL, do_connect
    },
    [CARD_COMMAND_DISCONNECT] = {
        CARD_FLAG_DRAINED, false, true, NULL, do_disconnect
    },
    [CARD_COMMAND_SAVE] = {
        CARD_FLAG_WINDOW, true, false, context_start, save_end
    },
    [CARD_COMMAND_RESTORE] = {
        CARD_FLAG_WINDOW, true, false, context_start, restore_end
    },
    [CARD_COMMAND_UNLOAD] = { 0, true, false, NULL, do_unload },
};

static uint32_t command_check(CardPF *pf)
{
    const CardArguments *args = &pf->current;
    const CardCommandInfo *info = &commands[args->command];

    if (args->flags & ~info->flags) {
        return CARD_ERROR_COMMAND;
    }
    if (info->region && args->region >= pf->regions) {
        return CARD_ERROR_REGION;
    }
    if (info->vf && args->vf >= pcie_sriov_num_vfs(PCI_DEVICE(pf))) {
        return CARD_ERROR_VF;
    }
    return CARD_BUSY;
}

void card_command_start(CardPF *pf, uint32_t command)
{
    const CardCommandInfo *info;
    uint64_t time = 0;
    uint32_t sequence;
    uint32_t status;

    if (pf->status == CARD_BUSY) {
        card_raise(pf, CARD_IRQ_OVERRUN);
        return;
    }
    if (command >= ARRAY_SIZE(commands) || !commands[command].end) {
        command_finish(pf, CARD_ERROR_COMMAND);
        return;
    }
    pf->current = pf->next;
    pf->current.command = command;
    pf->status = CARD_BUSY;
    sequence = ++pf->sequence;
    info = &commands[command];
    status = command_check(pf);
    if (status == CARD_BUSY && info->start) {
        status = info->start(pf, &time);
        if (pf->sequence != sequence) {
            return; /* reset by its own DMA */
        }
    } else if (status == CARD_BUSY) {
        status = info->end(pf);
    }
    if (status == CARD_BUSY) {
        timer_mod(pf->timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + time);
    } else {
        command_finish(pf, status);
    }
}

void card_command_end(void *opaque)
{
    CardPF *pf = opaque;
    uint32_t sequence = pf->sequence;
    uint32_t status = commands[pf->current.command].end(pf);

    if (pf->sequence == sequence) {
        command_finish(pf, status);
    }
}
