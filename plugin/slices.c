// SPDX-License-Identifier: GPL-2.0-or-later
//
// Weighted fair turns by virtual time. At most VF_SLICES_MAX sharers, so every question walks them
// all.

#include "slices.h"

#define SCALE VF_SLICES_WEIGHT_MAX // virtual time of weight 1 per microsecond

void vf_slices_init(VfSlices *slices, gint64 period, gint64 minimum)
{
    g_assert(period > 0 && minimum > 0);
    *slices = (VfSlices){.period = period, .minimum = minimum};
}

// The least virtual time of those that are ready, `other` aside; FALSE when there is none.
static gboolean least(const VfSlices *slices, guint other, guint *sharer)
{
    gboolean found = FALSE;

    for (guint i = 0; i < VF_SLICES_MAX; i++) {
        const VfSharer *s = &slices->sharers[i];

        if (!s->used || !s->ready || i == other)
            continue;
        if (!found || s->virtual_time < slices->sharers[*sharer].virtual_time)
            *sharer = i;
        found = TRUE;
    }
    return found;
}

guint vf_slices_join(VfSlices *slices, guint weight)
{
    g_assert(weight >= 1 && weight <= VF_SLICES_WEIGHT_MAX);
    for (guint i = 0; i < VF_SLICES_MAX; i++) {
        guint first;

        if (slices->sharers[i].used)
            continue;
        slices->sharers[i] = (VfSharer){.used = TRUE, .ready = TRUE, .weight = weight};
        if (least(slices, i, &first))
            slices->sharers[i].virtual_time = slices->sharers[first].virtual_time;
        return i;
    }
    return VF_SLICES_NONE;
}

void vf_slices_leave(VfSlices *slices, guint sharer)
{
    slices->sharers[sharer] = (VfSharer){.used = FALSE};
}

void vf_slices_set_weight(VfSlices *slices, guint sharer, guint weight)
{
    g_assert(weight >= 1 && weight <= VF_SLICES_WEIGHT_MAX);
    slices->sharers[sharer].weight = weight;
}

void vf_slices_set_ready(VfSlices *slices, guint sharer, gboolean ready)
{
    VfSharer *s = &slices->sharers[sharer];
    guint first;

    if (ready && !s->ready && least(slices, sharer, &first))
        s->virtual_time = MAX(s->virtual_time, slices->sharers[first].virtual_time);
    s->ready = ready;
}

static gint64 ready_weight(const VfSlices *slices)
{
    gint64 sum = 0;

    for (guint i = 0; i < VF_SLICES_MAX; i++)
        if (slices->sharers[i].used && slices->sharers[i].ready)
            sum += slices->sharers[i].weight;
    return sum;
}

guint vf_slices_next(const VfSlices *slices, gint64 *length)
{
    guint first;

    if (!least(slices, VF_SLICES_NONE, &first))
        return VF_SLICES_NONE;
    gint64 sum = ready_weight(slices), weight = slices->sharers[first].weight;
    *length = sum == weight ? G_MAXINT64 : MAX(slices->minimum, slices->period * weight / sum);
    return first;
}

void vf_slices_ran(VfSlices *slices, guint sharer, gint64 took, gint64 switching)
{
    VfSharer *runner = &slices->sharers[sharer];
    // It had work while it ran, whatever it has at the end.
    gint64 sum = ready_weight(slices) + (runner->ready ? 0 : runner->weight);

    for (guint i = 0; i < VF_SLICES_MAX; i++) {
        VfSharer *s = &slices->sharers[i];

        if (s->used && (s->ready || i == sharer))
            s->entitled += took * s->weight / sum;
    }
    runner->ran += took;
    runner->turns++;
    runner->virtual_time += took * SCALE / runner->weight;
    slices->switching += switching;
    slices->switches++;
}

double vf_slices_share(const VfSlices *slices, guint sharer)
{
    const VfSharer *s = &slices->sharers[sharer];

    return s->entitled == 0 ? 1 : (double)s->ran / (double)s->entitled;
}

double vf_slices_fairness(const VfSlices *slices)
{
    double sum = 0, squares = 0;
    guint n = 0;

    for (guint i = 0; i < VF_SLICES_MAX; i++) {
        if (!slices->sharers[i].used || slices->sharers[i].entitled == 0)
            continue;
        double share = vf_slices_share(slices, i);

        sum += share;
        squares += share * share;
        n++;
    }
    return squares > 0 ? sum * sum / (n * squares) : 1;
}

double vf_slices_overhead(const VfSlices *slices)
{
    gint64 ran = 0;

    for (guint i = 0; i < VF_SLICES_MAX; i++)
        ran += slices->sharers[i].ran;
    return ran + slices->switching == 0
               ? 0
               : (double)slices->switching / (double)(ran + slices->switching);
}
