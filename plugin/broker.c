// SPDX-License-Identifier: GPL-2.0-or-later
//
// The broker's rows and its clock. Each row is one request of one device; it is in the ledger as it
// is here, but for what only the card and the guests know. When the table has to be made anew
// (broker-table.c), rows are read back from the ledger: one way for a start, a reload, a card that
// was away and a commit that failed.

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "events.h"
#include "log.h"
#include "reconf-card.h"

// ---- rows

static char *key_of(const char *uuid, const char *device)
{
    return g_strconcat(uuid, "/", device, NULL);
}

VfAttachment *vf_broker_find(const VfBroker *broker, const char *uuid, const char *device)
{
    char key[128];

    // What does not fit is no device's name.
    return (gsize)g_snprintf(key, sizeof(key), "%s/%s", uuid, device) < sizeof(key)
               ? g_hash_table_lookup(broker->rows, key)
               : NULL;
}

VfAttachment *vf_broker_row_of(const VfBroker *broker, const VfAccelRequest *request)
{
    return vf_broker_find(broker, request->domain->uuid, request->device);
}

static void row_free(gpointer data)
{
    VfAttachment *row = data;

    g_clear_pointer(&row->watch, vf_watch_free);
    vf_broker_ask_clear(&row->ask);
    g_free(row->key);
    g_free(row->device);
    g_free(row->domain);
    g_free(row->problem);
    g_free(row);
}

VfAttachment *vf_broker_add_row(VfBroker *broker, const char *uuid, const char *device)
{
    VfAttachment *row = g_new0(VfAttachment, 1);

    row->key = key_of(uuid, device);
    g_strlcpy(row->uuid, uuid, sizeof(row->uuid));
    row->device = g_strdup(device);
    row->answer = VF_ACCEL_WAIT;
    row->sharer = VF_SLICES_NONE;
    row->since = vf_broker_now();
    g_hash_table_replace(broker->rows, row->key, row);
    return row;
}

char *vf_broker_context_path(const VfBroker *broker, const VfAttachment *row)
{
    g_autofree char *name = g_strdup_printf("%s.%s", row->uuid, row->device);

    return g_build_filename(broker->contexts, name, NULL);
}

void vf_broker_drop_row(VfBroker *broker, VfAttachment *row)
{
    g_autofree char *context = vf_broker_context_path(broker, row);
    g_autoptr(GError) error = NULL;

    g_unlink(context);
    if (!vf_ledger_delete_attachment(broker->daemon->ledger, row->uuid, row->device, &error))
        vf_log(G_LOG_LEVEL_WARNING, row->domain, NULL, "ledger: %s", error->message);
    vf_daemon_changed(broker->daemon);
    vf_events_touch(broker->daemon);
    g_hash_table_remove(broker->rows, row->key);
}

const char *vf_broker_state_word(const VfAttachment *row)
{
    switch (row->state) {
    case VF_ATTACH_PLANNED:
        return "planned";
    case VF_ATTACH_ASLEEP:
        return "asleep";
    case VF_ATTACH_LEAVING:
        return "leaving";
    case VF_ATTACH_ASKED:
        break;
    }
    return row->request != NULL ? vf_accel_state_name(row->request->state) : "waiting";
}

void vf_broker_store(VfBroker *broker, const VfAttachment *row)
{
    const VfAccelRequest *request = row->request;
    guint card = vf_broker_card_number(broker, &row->pf), region = G_MAXUINT;

    if (request != NULL && request->region != VF_ACCEL_NONE && card != VF_ACCEL_NONE)
        region = request->region - ((VfBrokerCard *)g_ptr_array_index(broker->cards, card))->first;
    VfLedgerAttachment stored = {
        .uuid = row->uuid,
        .device = row->device,
        .domain = row->domain,
        .accelerator = row->ask.accelerator,
        .state = vf_broker_state_word(row),
        .answer = vf_accel_answer_name(row->answer),
        .pf = row->pf,
        .index = row->index,
        .region = region,
        .priority = row->ask.priority,
        .weight = row->ask.weight,
        .shared = row->ask.shared,
        .on_access = row->ask.on_access,
        .hot = row->hot,
        .preempted = request != NULL && request->preempted,
        .preemptions = row->preemptions + (request != NULL ? request->preemptions : 0),
        .failures = row->failures + (request != NULL ? request->failures : 0),
        .since = request != NULL ? request->since : row->since,
    };
    vf_ledger_put_attachment(broker->daemon->ledger, &stored, NULL);
    vf_daemon_changed(broker->daemon);
    vf_events_touch(broker->daemon);
}

void vf_broker_set_problem(VfAttachment *row, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_free(row->problem);
    row->problem = g_strdup_vprintf(format, args);
    va_end(args);
}

GPtrArray *vf_broker_rows(const VfBroker *broker, GCompareFunc order)
{
    GPtrArray *rows = g_ptr_array_new();
    GHashTableIter iter;
    gpointer row;

    g_hash_table_iter_init(&iter, broker->rows);
    while (g_hash_table_iter_next(&iter, NULL, &row))
        g_ptr_array_add(rows, row);
    g_ptr_array_sort(rows, order);
    return rows;
}

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
    broker->rows = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, row_free);
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
