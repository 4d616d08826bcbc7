// SPDX-License-Identifier: GPL-2.0-or-later
//
// The broker's life and its clock: when the table is made anew, who waits for that, when the queue
// is looked at again, and what is tried again now and then.

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "log.h"
#include "reconf-card.h"

// ---- what rows speak of

guint vf_broker_card_number(const VfBroker *broker, const VfPciAddr *pf)
{
    for (guint i = 0; i < broker->cards->len; i++) {
        const VfBrokerCard *card = g_ptr_array_index(broker->cards, i);

        if (vf_pciaddr_equal(&card->pf, pf))
            return i;
    }
    return VF_ACCEL_NONE;
}

VfBrokerCard *vf_broker_card_of(const VfBroker *broker, const VfPciAddr *pf)
{
    guint number = vf_broker_card_number(broker, pf);

    return number != VF_ACCEL_NONE ? g_ptr_array_index(broker->cards, number) : NULL;
}

guint vf_broker_accelerator(const VfBroker *broker, const char *name)
{
    const GPtrArray *all = broker->daemon->config->accelerators;

    for (guint i = 0; i < all->len && i < VF_ACCEL_ACCELERATORS_MAX; i++)
        if (strcmp(((const VfAcceleratorConfig *)g_ptr_array_index(all, i))->name, name) == 0)
            return i;
    return VF_ACCEL_NONE;
}

const VfAcceleratorConfig *vf_broker_accelerator_config(const VfBroker *broker, guint number)
{
    const GPtrArray *all = broker->daemon->config->accelerators;

    return number < all->len ? g_ptr_array_index(all, number) : NULL;
}

VfLease *vf_broker_lease(const VfBroker *broker, const VfAttachment *row)
{
    return vf_allocator_find(broker->daemon->allocator, row->uuid, row->device);
}

gboolean vf_broker_has(const VfDaemon *daemon, const VfLease *lease)
{
    return vf_broker_find(daemon->broker, lease->uuid, lease->device) != NULL;
}

gboolean vf_broker_keeps_paused(const VfDaemon *daemon, const VfLease *lease)
{
    const VfAttachment *row = vf_broker_find(daemon->broker, lease->uuid, lease->device);

    return row != NULL && !row->active && (row->state != VF_ATTACH_PLANNED || row->problem != NULL);
}

VfCard *vf_broker_card(const VfDaemon *daemon, const VfPciAddr *pf)
{
    const VfBrokerCard *card =
        daemon->broker != NULL ? vf_broker_card_of(daemon->broker, pf) : NULL;

    return card != NULL ? card->card : NULL;
}

// ---- now, or once the table is there

gboolean vf_broker_ready(const VfBroker *broker)
{
    return broker->accel != NULL && !broker->stale && !broker->looking;
}

void vf_broker_when_ready(VfBroker *broker, void (*run)(gpointer data), gpointer data)
{
    VfParked *parked;

    if (vf_broker_ready(broker)) {
        run(data);
        return;
    }
    parked = g_new(VfParked, 1);
    *parked = (VfParked){run, data};
    g_queue_push_tail(&broker->parked, parked);
}

static gboolean look_now(gpointer data)
{
    VfBroker *broker = data;

    broker->look_source = 0;
    if (broker->stale && broker->busy == 0 && !broker->looking && !broker->quiet)
        vf_broker_look(broker);
    return G_SOURCE_REMOVE;
}

// Not at once: whoever noticed may hold rows.
static void look_soon(VfBroker *broker)
{
    if (broker->look_source == 0)
        broker->look_source = g_idle_add_full(G_PRIORITY_DEFAULT, look_now, broker, NULL);
}

void vf_broker_reload(VfDaemon *daemon)
{
    if (daemon->broker == NULL)
        return;
    daemon->broker->stale = TRUE;
    look_soon(daemon->broker);
}

void vf_broker_begin(VfBroker *broker)
{
    broker->busy++;
}

void vf_broker_end(VfBroker *broker)
{
    broker->busy--;
    if (broker->busy == 0 && broker->stale)
        look_soon(broker);
}

// ---- the clock

static gboolean tick(gpointer data)
{
    VfBroker *broker = data;

    broker->tick = 0;
    if (vf_broker_ready(broker))
        vf_broker_carry_out(broker, vf_accel_tick(broker->accel, vf_broker_now(), broker->out));
    return G_SOURCE_REMOVE;
}

static gboolean set_clock(gpointer data)
{
    VfBroker *broker = data;
    gint64 now = vf_broker_now(), due;

    broker->clock_source = 0;
    g_clear_handle_id(&broker->tick, g_source_remove);
    if (!vf_broker_ready(broker) || broker->quiet)
        return G_SOURCE_REMOVE;
    due = vf_accel_due(broker->accel, now);
    if (due != VF_ACCEL_NEVER)
        broker->tick =
            g_timeout_add((guint)CLAMP((due - now) / 1000 + 1, 1, G_MAXINT), tick, broker);
    return G_SOURCE_REMOVE;
}

// Once for all that a moment brings: finding out takes a walk along the queue.
static void arm_tick(VfBroker *broker)
{
    if (broker->clock_source == 0 && !broker->quiet)
        broker->clock_source = g_idle_add(set_clock, broker);
}

void vf_broker_carry_out(VfBroker *broker, guint n)
{
    g_autofree VfAccelDecision *decisions = g_memdup2(broker->out, n * sizeof(*broker->out));

    // A table that is to be made anew is not obeyed: what it decided is not in the ledger.
    for (guint i = 0; i < n && vf_broker_ready(broker) && !broker->quiet; i++)
        vf_broker_change(broker, &decisions[i]);
    arm_tick(broker);
}

// ---- life

VfBroker *vf_broker_new(VfDaemon *daemon)
{
    VfBroker *broker = g_new0(VfBroker, 1);

    broker->daemon = daemon;
    broker->cards = g_ptr_array_new();
    broker->old_cards = g_ptr_array_new();
    broker->rows = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, vf_broker_row_free);
    broker->contexts = g_build_filename(daemon->options.run_dir, "contexts", NULL);
    if (g_mkdir_with_parents(broker->contexts, 0700) != 0)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s: %s", broker->contexts, g_strerror(errno));
    broker->unplugging = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_queue_init(&broker->parked);
    vf_broker_look(broker);
    return broker;
}

static void quiesce(VfBroker *broker)
{
    broker->quiet = TRUE;
    vf_broker_changes_drop(broker);
    g_clear_handle_id(&broker->tick, g_source_remove);
    g_clear_handle_id(&broker->clock_source, g_source_remove);
    g_clear_handle_id(&broker->idle_timer, g_source_remove);
    g_clear_handle_id(&broker->look_source, g_source_remove);
    g_clear_handle_id(&broker->settle_source, g_source_remove);
    vf_broker_turns_clear(broker);
}

void vf_broker_quiesce(VfDaemon *daemon)
{
    quiesce(daemon->broker);
}

static void close_cards(GPtrArray *cards)
{
    for (guint i = 0; i < cards->len; i++) {
        VfBrokerCard *card = g_ptr_array_index(cards, i);

        if (card->card != NULL)
            vf_card_close(card->card);
        if (card->regions != NULL)
            g_array_unref(card->regions);
        g_free(card->spec);
        g_free(card->problem);
        g_free(card);
    }
    g_ptr_array_unref(cards);
}

void vf_broker_free(VfBroker *broker)
{
    quiesce(broker);
    g_queue_clear_full(&broker->unsettled, g_free);
    g_hash_table_unref(broker->rows);
    g_hash_table_unref(broker->unplugging);
    close_cards(broker->cards);
    close_cards(broker->old_cards);
    g_queue_clear_full(&broker->parked, g_free);
    g_clear_pointer(&broker->accel, vf_accel_free);
    g_free(broker->contexts);
    g_free(broker);
}

// What a row is due: a device that is not as it should, a guest that could not be let in, one that
// could not be let go.
static void recheck_row(VfBroker *broker, VfAttachment *row)
{
    const VfLease *lease = vf_broker_lease(broker, row);

    if (lease == NULL || lease->state != VF_LEASE_RUNNING)
        return;
    if (row->state == VF_ATTACH_PLANNED)
        vf_broker_lease_changed(broker->daemon, lease);
    else if (row->state == VF_ATTACH_LEAVING)
        vf_broker_let_go(broker, row);
    else if (row->due)
        vf_broker_settle(broker, row);
}

static int by_key(gconstpointer a, gconstpointer b)
{
    return strcmp((*(VfAttachment *const *)a)->key, (*(VfAttachment *const *)b)->key);
}

void vf_broker_recheck(VfDaemon *daemon)
{
    VfBroker *broker = daemon->broker;
    g_autoptr(GPtrArray) rows = vf_broker_rows(broker, by_key);
    gboolean troubled = FALSE;

    for (guint i = 0; i < broker->cards->len; i++)
        troubled |= ((VfBrokerCard *)g_ptr_array_index(broker->cards, i))->problem != NULL;
    if (troubled)
        vf_broker_reload(daemon);
    for (guint i = 0; vf_broker_ready(broker) && i < rows->len; i++)
        recheck_row(broker, g_ptr_array_index(rows, i));
    vf_broker_turns(broker, VF_ACCEL_NONE);
}

// ---- reconfs

void vf_broker_plan_reconf(const VfDaemon *daemon, VfReconf *reconf)
{
    const VfBroker *broker = daemon->broker;
    const VfBrokerCard *card = vf_broker_card_of(broker, &reconf->pf);
    GHashTableIter iter;
    gpointer value;

    if (card == NULL || broker->accel == NULL)
        return;
    g_hash_table_iter_init(&iter, broker->rows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const VfAttachment *row = value;

        if (!row->active || !vf_pciaddr_equal(&row->pf, &reconf->pf))
            continue;
        if (row->request == NULL)
            vf_reconf_add_connection(reconf, card->spec, row->stored_region, row->index);
        else if (row->request->region != VF_ACCEL_NONE)
            vf_reconf_add_connection(reconf, card->spec, row->request->region - card->first,
                                     row->index);
    }
}
