// SPDX-License-Identifier: GPL-2.0-or-later
//
// One device brought to what its request says: connected and running, or neither. For a guest that
// has just started, for whatever a daemon that was killed left, after a step that could not be
// undone. Nothing is decided here; a device that is as it should be is not touched.

#include <glib/gstdio.h>
#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "log.h"
#include "reconf-jobs.h"

// A burst of requests is answered before its devices are looked after.
#define SETTLE_AFTER_MS 50

// What the access that asks for an accelerator waits for its function.
#define FIRST_ACCESS_MS 10000

typedef struct {
    VfBroker *broker;
    char *key;
    VfPciAddr pf;
    // from begin on
    gboolean skip;       // a change has it, or it has gone
    gboolean connect;    // else it is to be disconnected and paused
    gboolean disconnect; // it may be connected
    gboolean keep;       // the region has its context
    gboolean detach;     // somebody waits for that
    gboolean resume;     // then it goes on without an accelerator
    VfCard *card;
    guint region, index;
    char *context;
    VfReconf *owner;
    GError *error;
    VfDetached done; // of a detach
    gpointer data;
} Settle;

static void settle_free(Settle *settle)
{
    g_clear_pointer(&settle->owner, vf_reconf_free);
    g_clear_error(&settle->error);
    g_free(settle->context);
    g_free(settle->key);
    g_free(settle);
}

// TRUE when the region is this one's at the moment: it holds alone, or it has the turn.
static gboolean has_turn(const VfBroker *broker, const VfAttachment *row)
{
    const VfAccelRegion *region = vf_accel_region(broker->accel, row->request->region);

    return region->n_holders == 1 || row->active;
}

static gboolean is_changing(const VfAttachment *row)
{
    return row->request != NULL &&
           (row->request->state == VF_ACCEL_TAKING || row->request->state == VF_ACCEL_YIELDING);
}

// It has a region although the table does not know what for, see broker-table.c.
static gboolean is_kept(const VfAttachment *row)
{
    return row->state == VF_ATTACH_ASKED && row->request == NULL && row->active;
}

static void settle_begin(gpointer data)
{
    Settle *settle = data;
    VfBroker *broker = settle->broker;
    VfAttachment *row = g_hash_table_lookup(broker->rows, settle->key);
    const VfBrokerCard *card = vf_broker_card_of(broker, &settle->pf);
    const VfLease *lease = row != NULL ? vf_broker_lease(broker, row) : NULL;

    settle->owner = vf_reconf_new(&settle->pf, 0, 0);
    settle->owner->signal = vf_reconf_signal(broker->daemon, &settle->pf);
    if (row != NULL && row->state == VF_ATTACH_ASLEEP)
        settle->owner->policy = (VfPausePolicy){VF_PAUSE_ACCESS_HOLD, FIRST_ACCESS_MS};
    settle->skip = row == NULL || lease == NULL || lease->state != VF_LEASE_RUNNING ||
                   is_changing(row) ||
                   (!settle->detach && (row->state == VF_ATTACH_LEAVING || is_kept(row)));
    settle->card = card != NULL ? card->card : NULL;
    if (settle->skip)
        return;
    settle->index = row->index;
    settle->disconnect = row->suspect || row->active;
    settle->context = vf_broker_context_path(broker, row);
    settle->connect = !settle->detach && row->state == VF_ATTACH_ASKED && row->request != NULL &&
                      row->request->state == VF_ACCEL_HOLDING && has_turn(broker, row);
    if (settle->connect) {
        settle->region = row->request->region - card->first;
        settle->keep = !row->request->shared;
    }
    vf_reconf_add_lease(broker->daemon, settle->owner, lease);
}

static gboolean bring(Settle *settle, const VfBrokerWork *work, GError **error)
{
    if (!vf_reconf_is_over(work->options->run_dir, &settle->pf, error))
        return FALSE;
    if (settle->connect)
        return vf_broker_connect(work, settle->region, settle->index, settle->context, settle->keep,
                                 error) &&
               vf_broker_resume(work, settle->owner, error);
    return vf_broker_pause(work, settle->owner, error) &&
           (work->card == NULL || !settle->disconnect ||
            vf_broker_disconnect(work, settle->index, error)) &&
           (!settle->resume || vf_broker_resume(work, settle->owner, error));
}

static void settle_run(gpointer data)
{
    Settle *settle = data;
    VfBrokerWork work = {&settle->broker->daemon->options, settle->card, settle->pf, NULL};

    if (settle->skip)
        return;
    if (settle->connect && settle->card == NULL)
        g_set_error(&settle->error, VF_ERROR, VF_ERROR_STATE, "its card cannot be used");
    else
        bring(settle, &work, &settle->error);
}

static void settled(Settle *settle, VfAttachment *row)
{
    row->settling = FALSE;
    if (settle->skip)
        return;
    if (settle->error != NULL) {
        if (g_strcmp0(row->problem, settle->error->message) != 0)
            vf_log(G_LOG_LEVEL_WARNING, row->domain, NULL, "domain '%s', device '%s': %s",
                   row->domain, row->device, settle->error->message);
        vf_broker_set_problem(row, "%s", settle->error->message);
        row->unsettled = TRUE;
        return; // tried again by vf_broker_recheck()
    }
    row->due = row->suspect = FALSE;
    row->active = settle->connect;
    if (settle->connect)
        g_unlink(settle->context);
    // Why its last change failed is still to be told.
    if (row->unsettled || settle->connect)
        g_clear_pointer(&row->problem, g_free);
    row->unsettled = FALSE;
    vf_broker_watch(settle->broker, row);
}

static void settle_done(gpointer data)
{
    Settle *settle = data;
    VfBroker *broker = settle->broker;
    VfAttachment *row = g_hash_table_lookup(broker->rows, settle->key);

    if (settle->detach) {
        if (row != NULL) {
            row->detaching = FALSE;
            row->active = row->active && settle->error != NULL;
        }
        if (settle->done != NULL)
            settle->done(row, settle->error, settle->data);
    } else if (row != NULL) {
        settled(settle, row);
        if (row->request != NULL && row->request->region != VF_ACCEL_NONE)
            vf_broker_turns(broker, row->request->region);
    }
    settle_free(settle);
    vf_broker_end(broker);
}

static void submit(Settle *settle)
{
    VfLaneJob job = {settle_begin, settle_run, settle_done, settle};

    vf_broker_begin(settle->broker);
    vf_lanes_submit(settle->broker->daemon->lanes, &settle->pf, &job);
}

static Settle *settle_new(VfBroker *broker, const VfAttachment *row)
{
    Settle *settle = g_new0(Settle, 1);

    settle->broker = broker;
    settle->key = g_strdup(row->key);
    settle->pf = row->pf;
    return settle;
}

// In a quiet moment: whoever asks is answered first.
static gboolean settle_queued(gpointer data)
{
    VfBroker *broker = data;
    g_autofree char *key = g_queue_pop_head(&broker->unsettled);
    VfAttachment *row = key != NULL ? g_hash_table_lookup(broker->rows, key) : NULL;

    if (row != NULL && row->settling && !broker->quiet && vf_broker_ready(broker))
        submit(settle_new(broker, row));
    else if (row != NULL)
        row->settling = FALSE;
    if (!g_queue_is_empty(&broker->unsettled))
        return G_SOURCE_CONTINUE;
    broker->settle_source = 0;
    return G_SOURCE_REMOVE;
}

static gboolean begin_settling(gpointer data)
{
    VfBroker *broker = data;

    broker->settle_source = g_idle_add(settle_queued, broker);
    return G_SOURCE_REMOVE;
}

void vf_broker_settle(VfBroker *broker, VfAttachment *row)
{
    if (row->settling)
        return;
    row->settling = TRUE;
    g_queue_push_tail(&broker->unsettled, g_strdup(row->key));
    if (broker->settle_source == 0)
        broker->settle_source = g_timeout_add(SETTLE_AFTER_MS, begin_settling, broker);
}

void vf_broker_detach(VfBroker *broker, VfAttachment *row, gboolean resume, VfDetached done,
                      gpointer data)
{
    Settle *settle = settle_new(broker, row);

    row->detaching = TRUE;
    settle->detach = TRUE;
    settle->resume = resume;
    settle->done = done;
    settle->data = data;
    submit(settle);
}
