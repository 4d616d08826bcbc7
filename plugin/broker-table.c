// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table, made from the configuration, the images, what each card says, and the rows of the
// ledger. What a row says of a change that was under way is settled by the card: whoever's function
// is connected to the region holds it. So a daemon that was killed in the middle ends the change or
// undoes it, and asks nobody twice.

#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "log.h"
#include "release.h"

#define LOADING_MS 30000 // what a daemon that was killed has begun
#define LOOK_AGAIN_US (20 * 1000)

// ---- asking the cards

typedef struct {
    VfBroker *broker;
    VfBrokerCard *card;
    VfCard *opened; // in: as it was
    GArray *regions;
    GError *error;
} Look;

static gboolean is_loading(const GArray *regions)
{
    for (guint i = 0; i < regions->len; i++)
        if (g_array_index(regions, VfCardRegion, i).state == VF_REGION_LOADING)
            return TRUE;
    return FALSE;
}

static gboolean query(Look *look, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + LOADING_MS * G_TIME_SPAN_MILLISECOND;

    for (;;) {
        g_array_set_size(look->regions, 0);
        if (!vf_card_query(look->opened, look->regions, error))
            return FALSE;
        if (!is_loading(look->regions) || g_get_monotonic_time() > deadline)
            return TRUE;
        g_usleep(LOOK_AGAIN_US);
    }
}

static void look_run(gpointer data)
{
    Look *look = data;
    const VfDaemonOptions *options = &look->broker->daemon->options;

    // One that was away, and is back, has to be opened again.
    if (look->opened != NULL && query(look, NULL))
        return;
    g_clear_pointer(&look->opened, vf_card_close);
    look->opened = vf_card_open(look->card->spec, options->root, &look->card->pf, &look->error);
    if (look->opened != NULL && !query(look, &look->error))
        g_array_set_size(look->regions, 0);
}

static void build(VfBroker *broker);

static void look_done(gpointer data)
{
    Look *look = data;
    VfBroker *broker = look->broker;
    VfBrokerCard *card = look->card;
    char pf[VF_PCIADDR_BUFSIZE];

    card->card = look->opened;
    g_clear_pointer(&card->regions, g_array_unref);
    card->regions = look->regions;
    if (look->error != NULL && g_strcmp0(card->problem, look->error->message) != 0)
        vf_log(G_LOG_LEVEL_WARNING, NULL, vf_pciaddr_format(&card->pf, pf), "%s",
               look->error->message);
    g_clear_pointer(&card->problem, g_free);
    if (look->error != NULL)
        card->problem = g_strdup(look->error->message);
    g_clear_error(&look->error);
    g_free(look);
    vf_broker_end(broker);
    if (broker->busy > 0)
        return;
    broker->looking = FALSE;
    if (!broker->stale)
        build(broker);
}

static VfBrokerCard *card_for(VfBroker *broker, GPtrArray *old, const VfInvPf *pf, const char *spec)
{
    VfBrokerCard *card;

    for (guint i = 0; i < old->len; i++) {
        card = g_ptr_array_index(old, i);
        if (vf_pciaddr_equal(&card->pf, &pf->pci.address) && strcmp(card->spec, spec) == 0)
            return g_ptr_array_steal_index(old, i);
    }
    card = g_new0(VfBrokerCard, 1);
    card->pf = pf->pci.address;
    card->spec = g_strdup(spec);
    return card;
}

// A PF that is in two pools has the card of the first that names one.
static void list_cards(VfBroker *broker)
{
    const VfInventory *inventory = broker->daemon->inventory;
    g_autoptr(GPtrArray) old = broker->cards;

    broker->cards = g_ptr_array_new();
    for (guint p = 0; p < inventory->pools->len; p++) {
        const VfInvPool *pool = g_ptr_array_index(inventory->pools, p);

        for (guint i = 0; pool->config->card != NULL && i < pool->pfs->len; i++) {
            const VfInvPf *pf = g_ptr_array_index(pool->pfs, i);
            VfBrokerCard *card;

            if (vf_broker_card_of(broker, &pf->pci.address) != NULL ||
                broker->cards->len == VF_ACCEL_CARDS_MAX)
                continue;
            card = card_for(broker, old, pf, pool->config->card);
            card->functions = MAX(pf->pci.cap.total_vfs, 1);
            g_ptr_array_add(broker->cards, card);
        }
    }
    while (old->len > 0)
        g_ptr_array_add(broker->old_cards, g_ptr_array_steal_index(old, 0));
}

void vf_broker_look(VfBroker *broker)
{
    broker->stale = FALSE;
    list_cards(broker);
    if (broker->cards->len == 0) {
        build(broker);
        return;
    }
    broker->looking = TRUE;
    for (guint i = 0; i < broker->cards->len; i++) {
        Look *look = g_new0(Look, 1);
        VfLaneJob job = {NULL, look_run, look_done, look};

        look->broker = broker;
        look->card = g_ptr_array_index(broker->cards, i);
        look->opened = look->card->card;
        look->regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
        vf_broker_begin(broker);
        vf_lanes_submit(broker->daemon->lanes, &look->card->pf, &job);
    }
}

// ---- the table without requests

static guint number_of_id(const VfBroker *broker, guint id)
{
    const GPtrArray *all = broker->daemon->config->accelerators;

    for (guint i = 0; id != 0 && i < all->len && i < VF_ACCEL_ACCELERATORS_MAX; i++)
        if (((const VfAcceleratorConfig *)g_ptr_array_index(all, i))->id == id)
            return i;
    return VF_ACCEL_NONE;
}

static void add_regions(VfBroker *broker, VfBrokerCard *card)
{
    guint number = vf_accel_add_card(broker->accel, card->functions);

    card->first = vf_accel_regions(broker->accel);
    card->count = 0;
    for (guint i = 0; i < card->regions->len; i++) {
        const VfCardRegion *region = &g_array_index(card->regions, VfCardRegion, i);
        guint loaded = number_of_id(broker, region->accelerator);

        if (region->kind >= VF_ACCEL_KINDS_MAX ||
            vf_accel_add_region(broker->accel, number, region->kind) == VF_ACCEL_NONE) {
            char pf[VF_PCIADDR_BUFSIZE];

            vf_pciaddr_format(&card->pf, pf);
            vf_log(G_LOG_LEVEL_WARNING, NULL, pf,
                   "%s: regions from %u on are left alone: %d regions of kinds 0 to %d are what "
                   "virtfn can use",
                   pf, i, VF_ACCEL_REGIONS_MAX, VF_ACCEL_KINDS_MAX - 1);
            break;
        }
        card->count++;
        if (region->state == VF_REGION_READY && loaded != VF_ACCEL_NONE)
            vf_accel_set_loaded(broker->accel, card->first + i, loaded);
    }
}

static void add_all(VfBroker *broker)
{
    const VfConfig *config = broker->daemon->config;
    guint room = 64;

    for (guint i = 0; i < broker->cards->len; i++)
        room += ((VfBrokerCard *)g_ptr_array_index(broker->cards, i))->functions;
    broker->accel = vf_accel_new(&config->accel.policy, room);
    for (guint i = 0; i < config->accelerators->len; i++)
        vf_accel_add_accelerator(
            broker->accel,
            ((VfAcceleratorConfig *)g_ptr_array_index(config->accelerators, i))->shareable);
    for (guint i = 0; i < config->groups->len; i++)
        vf_accel_add_group(broker->accel,
                           &((VfGroupConfig *)g_ptr_array_index(config->groups, i))->limits);
    for (guint i = 0; i < broker->cards->len; i++)
        add_regions(broker, g_ptr_array_index(broker->cards, i));
    vf_broker_add_images(broker);
}

// ---- rows

static void read_row(const VfLedgerAttachment *stored, gpointer data)
{
    VfBroker *broker = data;
    VfAttachment *row = vf_broker_add_row(broker, stored->uuid, stored->device);

    row->domain = g_strdup(stored->domain);
    row->ask = (VfBrokerAsk){g_strdup(stored->accelerator), stored->priority, stored->weight,
                             stored->shared, stored->on_access};
    row->pf = stored->pf;
    row->index = stored->index;
    row->hot = stored->hot;
    row->since = stored->since;
    row->preemptions = stored->preemptions;
    row->failures = stored->failures;
    row->stored_region = stored->region;
    row->stored_preempted = stored->preempted;
    row->state = VF_ATTACH_ASKED;
    row->stored_word = g_intern_string(stored->state);
    for (guint a = VF_ACCEL_ASSIGN; a <= VF_ACCEL_WAIT; a++)
        if (strcmp(stored->answer, vf_accel_answer_name(a)) == 0)
            row->answer = a;
    if (strcmp(stored->state, "planned") == 0)
        row->state = VF_ATTACH_PLANNED;
    else if (strcmp(stored->state, "asleep") == 0)
        row->state = VF_ATTACH_ASLEEP;
    else if (strcmp(stored->state, "leaving") == 0)
        row->state = VF_ATTACH_LEAVING;
    row->due = row->suspect = row->state != VF_ATTACH_PLANNED;
}

// What the card says of the region that a row names; NULL: it has no such region any more.
static const VfCardRegion *region_of(const VfBroker *broker, const VfAttachment *row)
{
    const VfBrokerCard *card = vf_broker_card_of(broker, &row->pf);

    return card != NULL && row->stored_region < card->count
               ? &g_array_index(card->regions, VfCardRegion, row->stored_region)
               : NULL;
}

static gboolean is_word(const VfAttachment *row, const char *word)
{
    return row->stored_word == g_intern_string(word);
}

// TRUE when some row in this state has its function connected to the region of `row`.
static gboolean region_is_with(VfBroker *broker, const VfAttachment *row, const char *word)
{
    const VfCardRegion *region = region_of(broker, row);
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, broker->rows);
    while (region != NULL && g_hash_table_iter_next(&iter, NULL, &value)) {
        const VfAttachment *other = value;

        if (is_word(other, word) && other->index == region->vf &&
            other->stored_region == row->stored_region && vf_pciaddr_equal(&other->pf, &row->pf))
            return TRUE;
    }
    return FALSE;
}

// Whether the row has its region: by the ledger, and by the card where a change was under way.
static gboolean holds(VfBroker *broker, const VfAttachment *row)
{
    const VfCardRegion *region = region_of(broker, row);
    guint wanted = vf_broker_accelerator(broker, row->ask.accelerator);
    guint loaded = region != NULL ? number_of_id(broker, region->accelerator) : VF_ACCEL_NONE;

    if (region == NULL || region->state != VF_REGION_READY || wanted == VF_ACCEL_NONE)
        return FALSE;
    if (region->accelerator != 0 && loaded != wanted)
        return FALSE;
    if (is_word(row, "taking"))
        return region->vf == row->index;
    if (is_word(row, "yielding"))
        return region_is_with(broker, row, "yielding");
    return is_word(row, "holding");
}

// A row that the table cannot have keeps what it has, and nobody else is let in there.
static void keep_connected(VfBroker *broker, VfAttachment *row)
{
    const VfCardRegion *region = region_of(broker, row);

    if (region == NULL || region->vf != row->index)
        return;
    row->active = TRUE;
    row->due = FALSE;
    vf_accel_set_usable(broker->accel,
                        vf_broker_card_of(broker, &row->pf)->first + row->stored_region, FALSE,
                        vf_broker_now(), broker->out);
}

static void adopt(VfBroker *broker, VfAttachment *row)
{
    const VfBrokerCard *card = vf_broker_card_of(broker, &row->pf);
    gboolean holding = holds(broker, row);
    gboolean held = holding || is_word(row, "holding") || is_word(row, "yielding");
    guint region = holding ? card->first + row->stored_region : VF_ACCEL_NONE;
    g_autoptr(GError) error = NULL;
    VfAccelVerdict verdict;
    VfAccelAsk ask;

    vf_broker_fill_ask(broker, row, &ask);
    // A card that does not number its accelerators is believed when there is something loaded.
    if (holding && region_of(broker, row)->accelerator == 0 &&
        vf_accel_region(broker->accel, region)->holders == NULL)
        vf_accel_set_loaded(broker->accel, region, ask.accelerator);
    verdict = vf_accel_adopt(broker->accel, &ask, region, row->since,
                             row->stored_preempted || (held && !holding), &row->request);
    if (!vf_broker_verdict(broker, row, verdict, &error)) {
        row->request = NULL;
        vf_broker_set_problem(row, "%s", error->message);
        vf_log(G_LOG_LEVEL_WARNING, row->domain, NULL, "%s", error->message);
        keep_connected(broker, row);
        return;
    }
    row->active = holding && region_of(broker, row)->vf == row->index;
    vf_broker_store(broker, row);
}

static int by_since(gconstpointer a, gconstpointer b)
{
    const VfAttachment *x = *(VfAttachment *const *)a, *y = *(VfAttachment *const *)b;

    return x->since != y->since ? (x->since < y->since ? -1 : 1) : strcmp(x->key, y->key);
}

static void read_rows(VfBroker *broker)
{
    g_autoptr(GError) error = NULL;
    guint skipped;

    g_hash_table_remove_all(broker->rows);
    if (!vf_ledger_each_attachment(broker->daemon->ledger, read_row, broker, &skipped, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
    else if (skipped > 0)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL,
               "ledger: %u requests for accelerators make no sense and were left out", skipped);
}

static void run_parked(VfBroker *broker)
{
    for (guint n = g_queue_get_length(&broker->parked); n > 0; n--) {
        g_autofree VfParked *parked = g_queue_pop_head(&broker->parked);

        vf_broker_when_ready(broker, parked->run, parked->data);
    }
}

// A lease may have ended, or begun to run, while nobody looked.
static void settle_rows(VfBroker *broker, gboolean first)
{
    g_autoptr(GPtrArray) rows = vf_broker_rows(broker, by_since);

    for (guint i = 0; i < rows->len; i++) {
        VfAttachment *row = g_ptr_array_index(rows, i);
        VfLease *lease = vf_broker_lease(broker, row);

        if (lease == NULL || lease->state == VF_LEASE_RESERVED)
            vf_broker_forget(broker, row);
        else if (row->hot && lease->state == VF_LEASE_PREPARING && first)
            vf_release_begin(broker->daemon, lease); // nobody goes on with it
        else if (row->state == VF_ATTACH_LEAVING && lease->state == VF_LEASE_RUNNING)
            vf_broker_let_go(broker, row);
        else
            vf_broker_lease_changed(broker->daemon, lease);
    }
}

static void build(VfBroker *broker)
{
    gboolean first = broker->accel == NULL; // of this daemon
    g_autoptr(GPtrArray) rows = NULL;

    vf_broker_turns_clear(broker);
    read_rows(broker);
    g_clear_pointer(&broker->accel, vf_accel_free);
    add_all(broker);
    rows = vf_broker_rows(broker, by_since);
    for (guint i = 0; i < rows->len; i++) {
        VfAttachment *row = g_ptr_array_index(rows, i);

        if (row->state == VF_ATTACH_ASKED || row->state == VF_ATTACH_LEAVING)
            adopt(broker, row);
        if (row->state == VF_ATTACH_LEAVING && row->request != NULL)
            vf_accel_leave(broker->accel, row->request);
    }
    settle_rows(broker, first);
    vf_broker_carry_out(broker, vf_accel_tick(broker->accel, vf_broker_now(), broker->out));
    vf_broker_turns(broker, VF_ACCEL_NONE);
    vf_broker_idle_arm(broker);
    run_parked(broker);
}
