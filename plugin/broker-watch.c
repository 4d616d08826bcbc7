// SPDX-License-Identifier: GPL-2.0-or-later
//
// What guests do with their devices: the first access to one that is asleep, which asks for its
// accelerator; and regions that have not run for [accelerators] idle, which anybody may take.

#include "broker-parts.h"

#include "domxml.h"
#include "log.h"

// ---- first access

static void touched(const char *key, gpointer data)
{
    VfBroker *broker = data;
    VfAttachment *row = g_hash_table_lookup(broker->rows, key);

    if (row == NULL || row->state != VF_ATTACH_ASLEEP)
        return;
    // Where it cannot ask at the moment, the next watch finds the access in the device's count.
    if (!vf_broker_ready(broker) || row->settling) {
        row->due = TRUE;
        return;
    }
    vf_log(G_LOG_LEVEL_INFO, row->domain, NULL, "domain '%s', device '%s': touched", row->domain,
           row->device);
    vf_broker_wake(broker, row);
}

void vf_broker_watch(VfBroker *broker, VfAttachment *row)
{
    g_autofree char *name = g_strconcat(row->uuid, ".sock", NULL);
    g_autofree char *socket = g_build_filename(broker->daemon->qmp_dir, name, NULL);
    g_autofree char *id = g_strconcat(VF_ALIAS_PREFIX, row->device, NULL);

    if (row->state != VF_ATTACH_ASLEEP) {
        g_clear_pointer(&row->watch, vf_watch_free);
        return;
    }
    g_clear_pointer(&row->watch, vf_watch_free);
    row->watch = vf_watch_new(socket, row->domain, id, row->key, touched, broker);
}

// ---- idle regions

typedef struct {
    VfBroker *broker;
    VfPciAddr pf;
    VfCard *card;
    GArray *regions;
    GError *error;
} Sample;

static void sample_begin(gpointer data)
{
    Sample *sample = data;

    sample->card = vf_broker_card(sample->broker->daemon, &sample->pf);
}

static void sample_run(gpointer data)
{
    Sample *sample = data;

    if (sample->card != NULL && !vf_card_query(sample->card, sample->regions, &sample->error))
        g_array_set_size(sample->regions, 0);
}

// A region that several share is used by turns: whether any of them works is not to be seen there.
static void judge(VfBroker *broker, guint region, gboolean running)
{
    const VfAccelRegion *table = vf_accel_region(broker->accel, region);
    VfAccelRequest *holder = table->holders;
    gint64 now = vf_broker_now();
    VfAttachment *row;
    gboolean idle;

    if (table->n_holders != 1 || table->taking != NULL || holder->state != VF_ACCEL_HOLDING ||
        holder->leaving)
        return;
    row = vf_broker_row_of(broker, holder);
    if (running || row->idle_since == 0 || row->idle_since < holder->since)
        row->idle_since = now;
    idle = !running && now - row->idle_since >= broker->daemon->config->accel.idle;
    if (idle == holder->idle)
        return;
    vf_broker_carry_out(broker, vf_accel_set_idle(broker->accel, holder, idle, now, broker->out));
}

static void sample_done(gpointer data)
{
    Sample *sample = data;
    VfBroker *broker = sample->broker;
    const VfBrokerCard *card = vf_broker_card_of(broker, &sample->pf);

    for (guint i = 0;
         vf_broker_ready(broker) && card != NULL && i < card->count && i < sample->regions->len;
         i++)
        judge(broker, card->first + i, g_array_index(sample->regions, VfCardRegion, i).running);
    g_clear_error(&sample->error);
    g_array_unref(sample->regions);
    g_free(sample);
    vf_broker_end(broker);
}

static gboolean has_holders(const VfBroker *broker, const VfBrokerCard *card)
{
    for (guint i = 0; i < card->count; i++)
        if (vf_accel_region(broker->accel, card->first + i)->holders != NULL)
            return TRUE;
    return FALSE;
}

static gboolean take_samples(gpointer data)
{
    VfBroker *broker = data;

    for (guint i = 0; vf_broker_ready(broker) && i < broker->cards->len; i++) {
        const VfBrokerCard *card = g_ptr_array_index(broker->cards, i);
        Sample *sample;

        if (card->card == NULL || !has_holders(broker, card))
            continue;
        sample = g_new0(Sample, 1);
        sample->broker = broker;
        sample->pf = card->pf;
        sample->regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
        VfLaneJob job = {sample_begin, sample_run, sample_done, sample};
        vf_broker_begin(broker);
        vf_lanes_submit(broker->daemon->lanes, &sample->pf, &job);
    }
    return G_SOURCE_CONTINUE;
}

void vf_broker_idle_arm(VfBroker *broker)
{
    gint64 idle = broker->daemon->config->accel.idle;

    g_clear_handle_id(&broker->idle_timer, g_source_remove);
    // Eight looks before it counts as idle.
    if (idle > 0 && !broker->quiet)
        broker->idle_timer =
            g_timeout_add((guint)CLAMP(idle / 8000, 20, 10000), take_samples, broker);
}
