// SPDX-License-Identifier: GPL-2.0-or-later
//
// The rows of the accelerator table and the sets that are kept over them: accelerators, images,
// cards, functions, regions. Decides nothing.

#include "accel-table.h"

static const char *const answer_names[] = {"assign", "assign+load", "preempt", "preempt+load",
                                           "wait"};
static const char *const state_names[] = {"waiting", "taking", "holding", "yielding", "outside"};

const char *vf_accel_answer_name(VfAccelAnswer answer)
{
    return answer_names[answer];
}

const char *vf_accel_state_name(VfAccelState state)
{
    return state_names[state];
}

VfAccel *vf_accel_new(const VfAccelPolicy *policy, guint requests)
{
    VfAccel *accel = g_new0(VfAccel, 1);
    guint buckets = 16;

    g_assert(policy->age_step > 0 && policy->tenure >= 0 && policy->backoff >= 0);
    g_assert(policy->sharers >= 1 && policy->sharers <= VF_ACCEL_SHARERS_MAX);
    while (buckets < 2 * requests)
        buckets *= 2;
    accel->tickets = 1; // 0: a record that has not been asked yet
    accel->policy = *policy;
    accel->requests = g_new0(VfAccelRequest, requests);
    accel->domains = g_new0(VfAccelDomain, requests);
    accel->n_requests_max = requests;
    accel->buckets = g_new0(guint32, buckets);
    accel->buckets_mask = buckets - 1;
    for (guint a = 0; a < VF_ACCEL_ACCELERATORS_MAX; a++)
        for (guint k = 0; k < VF_ACCEL_KINDS_MAX; k++)
            accel->images[a][k] = VF_ACCEL_NONE;
    return accel;
}

void vf_accel_free(VfAccel *accel)
{
    for (guint c = 0; c < accel->n_cards; c++) {
        g_free(accel->cards[c].free);
        g_free(accel->cards[c].usable);
        g_free(accel->cards[c].owned);
    }
    g_free(accel->requests);
    g_free(accel->domains);
    g_free(accel->buckets);
    g_free(accel);
}

guint vf_accel_add_accelerator(VfAccel *accel, gboolean shareable)
{
    if (accel->n_accelerators == VF_ACCEL_ACCELERATORS_MAX)
        return VF_ACCEL_NONE;
    if (shareable)
        accel->shareable |= VF_ACCEL_BIT(accel->n_accelerators);
    return accel->n_accelerators++;
}

guint vf_accel_add_group(VfAccel *accel, const VfAccelGroup *group)
{
    if (accel->n_groups == VF_ACCEL_GROUPS_MAX)
        return VF_ACCEL_NONE;
    accel->groups[accel->n_groups].limits = *group;
    return accel->n_groups++;
}

static guint words(guint n)
{
    return (n + 63) / 64;
}

guint vf_accel_add_card(VfAccel *accel, guint functions)
{
    VfAccelCard *card = &accel->cards[accel->n_cards];

    if (accel->n_cards == VF_ACCEL_CARDS_MAX)
        return VF_ACCEL_NONE;
    card->n = card->n_free = functions;
    card->free = g_new0(guint64, words(functions));
    card->usable = g_new0(guint64, words(functions));
    card->owned = g_new0(guint64, words(functions));
    for (guint f = 0; f < functions; f++) {
        card->free[f / 64] |= VF_ACCEL_BIT(f % 64);
        card->usable[f / 64] |= VF_ACCEL_BIT(f % 64);
    }
    return accel->n_cards++;
}

guint vf_accel_add_region(VfAccel *accel, guint card, guint kind)
{
    guint r = accel->n_regions;

    g_assert(card < accel->n_cards && kind < VF_ACCEL_KINDS_MAX);
    if (r == VF_ACCEL_REGIONS_MAX)
        return VF_ACCEL_NONE;
    accel->n_regions++;
    accel->regions[r] = (VfAccelRegion){.card = card,
                                        .kind = kind,
                                        .loaded = VF_ACCEL_NONE,
                                        .usable = TRUE,
                                        .before = VF_ACCEL_NONE,
                                        .grip = VF_ACCEL_NONE};
    accel->of_kind[kind] |= VF_ACCEL_BIT(r);
    accel->on_card[card] |= VF_ACCEL_BIT(r);
    accel->blank |= VF_ACCEL_BIT(r);
    if (accel->cards[card].n_free > 0)
        accel->with_function |= VF_ACCEL_BIT(r);
    for (guint a = 0; a < accel->n_accelerators; a++)
        if (accel->images[a][kind] != VF_ACCEL_NONE)
            accel->reach[a] |= VF_ACCEL_BIT(r);
    vf_accel_refresh_region(accel, r);
    return r;
}

guint vf_accel_set_image(VfAccel *accel, guint accelerator, guint kind, guint image, gint64 now,
                         VfAccelDecision *out)
{
    g_assert(accelerator < accel->n_accelerators && kind < VF_ACCEL_KINDS_MAX);
    accel->images[accelerator][kind] = image;
    accel->reach[accelerator] &= ~accel->of_kind[kind];
    accel->failed[accelerator] &= ~accel->of_kind[kind];
    if (image != VF_ACCEL_NONE)
        accel->reach[accelerator] |= accel->of_kind[kind];
    return vf_accel_answer(accel, now, out, 0);
}

void vf_accel_put_loaded(VfAccel *accel, guint region, guint accelerator)
{
    VfAccelRegion *row = &accel->regions[region];
    VfAccelSet bit = VF_ACCEL_BIT(region);

    if (row->loaded == VF_ACCEL_NONE)
        accel->blank &= ~bit;
    else
        accel->loaded[row->loaded] &= ~bit;
    row->loaded = accelerator;
    if (accelerator == VF_ACCEL_NONE)
        accel->blank |= bit;
    else
        accel->loaded[accelerator] |= bit;
}

void vf_accel_set_loaded(VfAccel *accel, guint region, guint accelerator)
{
    VfAccelRegion *row = &accel->regions[region];

    g_assert(row->holders == NULL && row->taking == NULL);
    g_assert(accelerator == VF_ACCEL_NONE || accelerator < accel->n_accelerators);
    vf_accel_put_loaded(accel, region, accelerator);
}

// ---- functions

static void settle_function(VfAccel *accel, guint card_number, guint function)
{
    VfAccelCard *card = &accel->cards[card_number];
    guint word = function / 64;
    guint64 bit = VF_ACCEL_BIT(function % 64);
    gboolean was = (card->free[word] & bit) != 0;
    gboolean is = (card->usable[word] & ~card->owned[word] & bit) != 0;

    if (was == is)
        return;
    card->free[word] ^= bit;
    card->n_free += is ? 1 : G_MAXUINT; // minus one
    if (card->n_free == 0)
        accel->with_function &= ~accel->on_card[card_number];
    else
        accel->with_function |= accel->on_card[card_number];
}

gboolean vf_accel_function_free(const VfAccel *accel, guint card, guint function)
{
    return (accel->cards[card].free[function / 64] & VF_ACCEL_BIT(function % 64)) != 0;
}

// The first free function from `from` on, then from the start.
static guint next_free(const VfAccelCard *card, guint from)
{
    guint n = words(card->n), first = from / 64;

    for (guint i = 0; i <= n; i++) {
        guint word = (first + i) % n;
        guint64 bits = card->free[word];

        if (i == 0)
            bits &= ~(guint64)0 << (from % 64);
        if (bits != 0)
            return word * 64 + (guint)__builtin_ctzll(bits);
    }
    return VF_ACCEL_NONE;
}

void vf_accel_take_function(VfAccel *accel, VfAccelRequest *request, guint card_number,
                            guint wanted)
{
    VfAccelCard *card = &accel->cards[card_number];
    guint function = wanted;

    if (wanted == VF_ACCEL_NONE || wanted >= card->n ||
        !vf_accel_function_free(accel, card_number, wanted)) {
        function = next_free(card, card->from);
        g_assert(function != VF_ACCEL_NONE);
        card->from = (function + 1) % card->n;
    }
    request->card = card_number;
    request->function = function;
    card->owned[function / 64] |= VF_ACCEL_BIT(function % 64);
    settle_function(accel, card_number, function);
}

void vf_accel_give_function(VfAccel *accel, VfAccelRequest *request)
{
    guint function = request->function;

    if (function == VF_ACCEL_NONE)
        return;
    accel->cards[request->card].owned[function / 64] &= ~VF_ACCEL_BIT(function % 64);
    settle_function(accel, request->card, function);
    request->last_card = request->card;
    request->last_function = function;
    request->function = VF_ACCEL_NONE;
    if (!request->fixed)
        request->card = VF_ACCEL_NONE;
}

guint vf_accel_set_function(VfAccel *accel, guint card, guint function, gboolean usable, gint64 now,
                            VfAccelDecision *out)
{
    guint64 bit = VF_ACCEL_BIT(function % 64);

    g_assert(card < accel->n_cards && function < accel->cards[card].n);
    if (usable)
        accel->cards[card].usable[function / 64] |= bit;
    else
        accel->cards[card].usable[function / 64] &= ~bit;
    settle_function(accel, card, function);
    return vf_accel_answer(accel, now, out, 0);
}

guint vf_accel_functions_free(const VfAccel *accel, guint card)
{
    return accel->cards[card].n_free;
}

// ---- regions and who holds them

void vf_accel_refresh_region(VfAccel *accel, guint region)
{
    VfAccelRegion *row = &accel->regions[region];
    VfAccelSet bit = VF_ACCEL_BIT(region);
    gboolean shared = TRUE, leaving = FALSE, lends = FALSE;
    guint grip = 0;

    if (row->grip != VF_ACCEL_NONE)
        accel->grip[row->grip] &= ~bit;
    row->grip = VF_ACCEL_NONE;
    accel->free &= ~bit;
    accel->joinable &= ~bit;
    accel->lendable &= ~bit;
    if (!row->usable || row->taking != NULL)
        return;
    if (row->holders == NULL) {
        accel->free |= bit;
        return;
    }
    for (VfAccelRequest *holder = row->holders; holder != NULL; holder = holder->neighbour) {
        grip = MAX(grip, holder->idle ? 0 : holder->priority + 1);
        shared = shared && holder->shared;
        leaving = leaving || holder->leaving;
        lends = lends || holder->movable;
    }
    if (shared && row->n_holders < accel->policy.sharers)
        accel->joinable |= bit;
    if (leaving)
        return;
    row->grip = grip;
    accel->grip[grip] |= bit;
    if (lends)
        accel->lendable |= bit;
}

void vf_accel_enter(VfAccel *accel, VfAccelRequest *request, guint region)
{
    VfAccelRegion *row = &accel->regions[region];

    request->state = VF_ACCEL_HOLDING;
    request->region = region;
    request->neighbour = row->holders;
    row->holders = request;
    row->n_holders++;
}

void vf_accel_exit(VfAccel *accel, VfAccelRequest *request)
{
    VfAccelRegion *row = &accel->regions[request->region];
    VfAccelRequest **link = &row->holders;

    while (*link != request)
        link = &(*link)->neighbour;
    *link = request->neighbour;
    request->neighbour = NULL;
    row->n_holders--;
    request->last_region = request->region;
    request->region = VF_ACCEL_NONE;
}

void vf_accel_count(VfAccel *accel, VfAccelRequest *request, int by)
{
    accel->groups[request->group].held += (guint)by;
    request->domain->held += (guint)by;
}

void vf_accel_expire(VfAccel *accel, gint64 now)
{
    VfAccelSet timed = accel->guarded | accel->avoided | accel->failing;

    for (; timed != 0; timed &= timed - 1) {
        guint r = (guint)__builtin_ctzll(timed);
        VfAccelSet bit = VF_ACCEL_BIT(r);

        if (accel->regions[r].guarded_until <= now)
            accel->guarded &= ~bit;
        if (accel->regions[r].avoided_until <= now)
            accel->avoided &= ~bit;
        if ((accel->failing & bit) != 0 && accel->regions[r].failed_until <= now) {
            accel->failing &= ~bit;
            for (guint a = 0; a < accel->n_accelerators; a++)
                accel->failed[a] &= ~bit;
        }
    }
}

const VfAccelRegion *vf_accel_region(const VfAccel *accel, guint region)
{
    return &accel->regions[region];
}

guint vf_accel_regions(const VfAccel *accel)
{
    return accel->n_regions;
}
