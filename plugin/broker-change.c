// SPDX-License-Identifier: GPL-2.0-or-later
//
// Carrying out a decision, in the lane of its PF: victims are paused, saved and disconnected; the
// image is loaded; the context restored, the function connected, the device resumed. The ledger
// has the decision before the first of these; accel.h says what is undone after which failure. A
// turn on a shared region is the same change without a decision.
//
// Changes begin when nobody waits for an answer, or soon after: the programs that they run would
// take the processor from those who ask.
//
// Invariant: a saved context is in its file before its function is disconnected, and stays there
// until a region has it again.

#include <glib/gstdio.h>
#include <string.h>

#include "broker-change.h"
#include "error.h"
#include "log.h"
#include "reconf-jobs.h"

// What a change waits at most for those who ask meanwhile.
#define START_WITHIN_MS 50

static void victim_free(gpointer data)
{
    VfVictim *victim = data;

    g_free(victim->key);
    g_free(victim->context);
    g_free(victim);
}

static void change_free(VfChange *change)
{
    g_free(change->key);
    g_free(change->verify);
    g_free(change->context);
    g_ptr_array_unref(change->victims);
    g_clear_pointer(&change->image, vf_image_free);
    g_clear_pointer(&change->owner, vf_reconf_free);
    g_clear_pointer(&change->owners, vf_reconf_free);
    g_clear_pointer(&change->actives, vf_reconf_free);
    g_clear_error(&change->error);
    g_free(change);
}

static VfAttachment *row_at(const VfChange *change, const char *key)
{
    return key != NULL ? g_hash_table_lookup(change->broker->rows, key) : NULL;
}

// ---- last look, on the main thread

static VfReconf *plan_of(VfChange *change)
{
    VfReconf *plan = vf_reconf_new(&change->pf, 0, 0);

    plan->signal = vf_reconf_signal(change->broker->daemon, &change->pf);
    return plan;
}

static void add_guest(VfChange *change, VfReconf *plan, const VfAttachment *row)
{
    const VfLease *lease = vf_broker_lease(change->broker, row);

    if (lease != NULL && lease->state == VF_LEASE_RUNNING)
        vf_reconf_add_lease(change->broker->daemon, plan, lease);
}

static void change_begin(gpointer data)
{
    VfChange *change = data;
    VfBrokerCard *card = vf_broker_card_of(change->broker, &change->pf);
    VfAttachment *row = row_at(change, change->key);

    change->began = vf_broker_now();
    change->owner = plan_of(change);
    change->owners = plan_of(change);
    change->actives = plan_of(change);
    change->card = card != NULL ? card->card : NULL;
    change->verify = g_strdup(change->broker->daemon->config->accel.verify);
    if (change->card == NULL)
        g_set_error(&change->error, VF_ERROR, VF_ERROR_STATE, "%s",
                    card != NULL && card->problem != NULL ? card->problem : "its card is gone");
    else if (change->key != NULL && (row == NULL || row->state == VF_ATTACH_LEAVING))
        g_set_error(&change->error, VF_ERROR, VF_ERROR_STATE, "the device has gone meanwhile");
    if (row != NULL) {
        change->index = row->index;
        change->context = vf_broker_context_path(change->broker, row);
        add_guest(change, change->owner, row);
    }
    for (guint i = 0; i < change->victims->len; i++) {
        VfVictim *victim = g_ptr_array_index(change->victims, i);
        const VfAttachment *held = row_at(change, victim->key);

        if (held == NULL)
            continue; // released meanwhile, which has disconnected its function
        victim->index = held->index;
        victim->active = held->active;
        victim->context = vf_broker_context_path(change->broker, held);
        add_guest(change, change->owners, held);
        if (held->active)
            add_guest(change, change->actives, held);
    }
}

// ---- the end, on the main thread

static gint64 sum(const VfChange *change)
{
    gint64 total = 0;

    for (guint i = 0; i < VF_PARTS; i++)
        total += change->parts[i];
    return total;
}

static void tell(const VfChange *change, const VfAttachment *row)
{
    char pf[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(&change->pf, pf);
    if (change->error == NULL)
        vf_log(
            G_LOG_LEVEL_MESSAGE, row->domain, pf,
            "domain '%s', device '%s': accelerator '%s' in region %u of %s (%s, %" G_GINT64_FORMAT
            " ms)",
            row->domain, row->device, row->ask.accelerator, change->local, pf,
            vf_accel_answer_name(change->answer), sum(change) / G_TIME_SPAN_MILLISECOND);
    else
        vf_log(G_LOG_LEVEL_WARNING, row->domain, pf,
               "domain '%s', device '%s': accelerator '%s' in region %u of %s: %s", row->domain,
               row->device, row->ask.accelerator, change->local, pf, change->error->message);
}

// A victim as it is now: it holds still, waits, or is not interested before it is touched.
static void settle_victim(VfChange *change, VfAttachment *row, gboolean kept)
{
    row->active = row->active && kept && !change->lost;
    if (row->request != NULL && row->request->state == VF_ACCEL_OUTSIDE &&
        row->state == VF_ATTACH_ASKED) {
        row->state = VF_ATTACH_ASLEEP;
        row->due = TRUE;
    }
    row->due |= change->lost;
    row->suspect |= change->lost;
    vf_broker_store(change->broker, row);
}

static void let_go_if_leaving(VfChange *change, const char *key)
{
    VfAttachment *row = row_at(change, key);
    const VfLease *lease = row != NULL ? vf_broker_lease(change->broker, row) : NULL;

    if (row == NULL || row->state != VF_ATTACH_LEAVING)
        return;
    if (row->gone || lease == NULL)
        vf_broker_forget(change->broker, row);
    else if (lease->state == VF_LEASE_RUNNING)
        vf_broker_let_go(change->broker, row);
}

static void settle_if_due(VfChange *change, const char *key)
{
    VfAttachment *row = row_at(change, key);

    if (row != NULL && row->due)
        vf_broker_settle(change->broker, row);
}

static void decision_done(VfChange *change)
{
    VfBroker *broker = change->broker;
    VfAttachment *row = row_at(change, change->key);
    gboolean kept = change->error != NULL && change->step == VF_ACCEL_STEP_PAUSE;
    gint64 now = vf_broker_now();
    guint n;

    memcpy(row->parts, change->parts, sizeof(row->parts));
    if (change->error == NULL) {
        n = vf_accel_done(broker->accel, row->request, now, broker->out);
        g_unlink(change->context);
        row->active = TRUE;
        row->due = FALSE;
        g_clear_pointer(&row->problem, g_free);
    } else {
        n = vf_accel_failed(broker->accel, row->request, change->step, now, broker->out);
        row->active = FALSE;
        row->due = row->suspect = TRUE;
        vf_broker_set_problem(row, "%s", change->error->message);
    }
    tell(change, row);
    vf_broker_store(broker, row);
    for (guint i = 0; i < change->victims->len; i++) {
        VfAttachment *victim =
            row_at(change, ((VfVictim *)g_ptr_array_index(change->victims, i))->key);

        if (victim != NULL)
            settle_victim(change, victim, kept);
    }
    vf_broker_carry_out(broker, n);
}

static void turn_done(VfChange *change)
{
    VfAttachment *to = row_at(change, change->key);
    gboolean kept = change->error != NULL && change->step == VF_ACCEL_STEP_PAUSE;

    for (guint i = 0; i < change->victims->len; i++) {
        VfAttachment *from =
            row_at(change, ((VfVictim *)g_ptr_array_index(change->victims, i))->key);

        if (from != NULL)
            settle_victim(change, from, kept);
    }
    if (to != NULL) {
        memcpy(to->parts, change->parts, sizeof(to->parts));
        to->active = change->error == NULL;
        if (to->active)
            g_unlink(change->context);
        if (change->error != NULL && change->step != VF_ACCEL_STEP_PAUSE)
            vf_broker_set_problem(to, "%s", change->error->message);
        else
            g_clear_pointer(&to->problem, g_free);
        if (change->error != NULL)
            tell(change, to);
    }
    vf_broker_turn_ended(change->broker, change->turns, sum(change), change->error == NULL);
}

static void change_done(gpointer data)
{
    VfChange *change = data;
    VfBroker *broker = change->broker;

    if (change->turns != NULL)
        turn_done(change);
    else
        decision_done(change);
    let_go_if_leaving(change, change->key);
    settle_if_due(change, change->key);
    for (guint i = 0; i < change->victims->len; i++) {
        const char *key = ((VfVictim *)g_ptr_array_index(change->victims, i))->key;

        let_go_if_leaving(change, key);
        settle_if_due(change, key);
    }
    vf_broker_turns(broker, change->region);
    change_free(change);
    vf_broker_end(broker);
}

// ---- the beginning

static VfChange *change_new(VfBroker *broker, guint region)
{
    const VfAccelRegion *row = vf_accel_region(broker->accel, region);
    const VfBrokerCard *card = g_ptr_array_index(broker->cards, row->card);
    VfChange *change = g_new0(VfChange, 1);

    change->broker = broker;
    change->pf = card->pf;
    change->region = region;
    change->local = region - card->first;
    change->victims = g_ptr_array_new_with_free_func(victim_free);
    return change;
}

static void add_victim(VfChange *change, const VfAttachment *row)
{
    VfVictim *victim = g_new0(VfVictim, 1);

    victim->key = g_strdup(row->key);
    g_ptr_array_add(change->victims, victim);
}

static void submit(VfChange *change)
{
    VfLaneJob job = {change_begin, vf_change_run, change_done, change};

    vf_lanes_submit(change->broker->daemon->lanes, &change->pf, &job);
}

static gboolean start_queued(gpointer data)
{
    VfBroker *broker = data;
    VfChange *change;

    g_clear_handle_id(&broker->start_source, g_source_remove);
    g_clear_handle_id(&broker->start_timer, g_source_remove);
    while ((change = g_queue_pop_head(&broker->unstarted)) != NULL) {
        if (!broker->stale && !broker->quiet) {
            submit(change);
            continue;
        }
        // The ledger has another story, or somebody else will go on with this one.
        change_free(change);
        vf_broker_end(broker);
    }
    return G_SOURCE_REMOVE;
}

static void durable(const GError *error, gpointer data)
{
    VfChange *change = data;
    VfBroker *broker = change->broker;

    // After a commit that failed the table is stale.
    g_queue_push_tail(&broker->unstarted, change);
    if (broker->start_source != 0)
        return;
    broker->start_source = g_idle_add(start_queued, broker);
    broker->start_timer = g_timeout_add(START_WITHIN_MS, start_queued, broker);
}

void vf_broker_changes_drop(VfBroker *broker)
{
    start_queued(broker);
}

// It becomes one more of those who share the region; its turn comes.
static void join(VfBroker *broker, VfAttachment *row)
{
    guint region = row->request->region;
    guint n = vf_accel_done(broker->accel, row->request, vf_broker_now(), broker->out);

    row->active = FALSE;
    row->due = TRUE;
    vf_broker_store(broker, row);
    vf_broker_settle(broker, row);
    vf_broker_carry_out(broker, n);
    vf_broker_turns(broker, region);
}

void vf_broker_change(VfBroker *broker, const VfAccelDecision *decision)
{
    VfAttachment *row = vf_broker_row_of(broker, decision->request);
    VfChange *change;

    row->answer = decision->answer;
    if (decision->answer == VF_ACCEL_WAIT) {
        row->due = TRUE;
        vf_broker_store(broker, row);
        vf_broker_settle(broker, row);
        return;
    }
    if (decision->n_victims == 0 &&
        vf_accel_region(broker->accel, decision->region)->holders != NULL) {
        join(broker, row);
        return;
    }
    change = change_new(broker, decision->region);
    change->key = g_strdup(row->key);
    change->answer = decision->answer;
    change->loads = decision->image != VF_ACCEL_NONE;
    if (change->loads)
        change->image = vf_broker_image(broker, decision->image);
    vf_broker_store(broker, row);
    for (guint i = 0; i < decision->n_victims; i++) {
        const VfAttachment *victim = vf_broker_row_of(broker, decision->victims[i]);

        add_victim(change, victim);
        vf_broker_store(broker, victim);
    }
    vf_broker_begin(broker);
    vf_daemon_after_commit(broker->daemon, durable, change);
}

void vf_broker_switch(VfBroker *broker, VfTurns *turns, VfAttachment *from, VfAttachment *to)
{
    VfChange *change = change_new(broker, turns->region);

    change->turns = turns;
    change->answer = VF_ACCEL_ASSIGN;
    change->key = to != NULL ? g_strdup(to->key) : NULL;
    if (from != NULL)
        add_victim(change, from);
    vf_broker_begin(broker);
    submit(change);
}
