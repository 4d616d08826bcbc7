/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fake VFIO kernel: how long mapping and unmapping for DMA takes
 *
 * Linux pins and unpins the memory in these calls.  A test lets them, and
 * others, take as long as it wants, to show what goes on meanwhile.
 */

#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <unistd.h>
#include "fakevfio.h"

void fv_held_call(FvHeld *calls)
{
    int ms;

    for (ms = 0; __atomic_load_n(&calls->hold, __ATOMIC_SEQ_CST); ms++) {
        __atomic_store_n(&calls->held, 1, __ATOMIC_SEQ_CST);
        if (ms == FV_HOLD_MS) {
            calls->overdue = true;
            break;
        }
        usleep(1000);
    }
    __atomic_store_n(&calls->held, 0, __ATOMIC_SEQ_CST);
}

void fv_dma_call(FvState *st, unsigned long cmd, const void *arg)
{
    FvHeld *dma;
    uint64_t iova;

    switch (cmd) {
    case VFIO_IOMMU_MAP_DMA:
        dma = &st->map_dma;
        iova = ((const struct vfio_iommu_type1_dma_map *)arg)->iova;
        break;
    case IOMMU_IOAS_MAP:
        dma = &st->map_dma;
        iova = ((const struct iommu_ioas_map *)arg)->iova;
        break;
    case VFIO_IOMMU_UNMAP_DMA:
        dma = &st->unmap_dma;
        iova = ((const struct vfio_iommu_type1_dma_unmap *)arg)->iova;
        break;
    case IOMMU_IOAS_UNMAP:
        dma = &st->unmap_dma;
        iova = ((const struct iommu_ioas_unmap *)arg)->iova;
        break;
    default:
        return;
    }

    __atomic_add_fetch(&dma->calls, 1, __ATOMIC_SEQ_CST);
    if (!iova) {
        fv_held_call(dma);
    }
}
