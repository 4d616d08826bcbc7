// SPDX-License-Identifier: GPL-2.0-or-later
//
// Carrying out a decision, in the lane of its PF: victims are paused, saved and disconnected; the
// image is loaded; the context restored, the function connected, the device resumed. The ledger
// has the decision before the first of these; accel.h says what is undone after which failure. A
// turn on a shared region is the same change without a decision.
//
// Invariant: a saved context is in its file before its function is disconnected, and stays there
// until a region has it again.

#include <glib/gstdio.h>
#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "log.h"
#include "reconf-jobs.h"

#define LOAD_MS 60000

typedef struct {
    char *key, *context;
    guint index;
    gboolean active;       // its function is connected
    gboolean disconnected; // by this change
} Victim;

typedef struct {
    VfBroker *broker;
    VfTurns *turns; // of a turn; NULL: a decision is carried out
    char *key;      // who gets the region; NULL: nobody does
    GPtrArray *victims;
    VfAccelAnswer answer;
    VfPciAddr pf;
    guint region, local; // in the table, on the card
    gboolean loads;
    VfImage *image; // NULL, when it loads: it has been removed
    // from begin on
    VfCard *card;
    char *context;
    guint index;
    VfReconf *owner, *owners, *actives; // of the taker, of all victims, of those that ran
    gint64 began;
    // out
    VfAccelStep step;
    GError *error;
    gboolean lost; // a victim could not be put back
    gint64 parts[VF_PARTS];
} Change;

static void victim_free(gpointer data)
{
    Victim *victim = data;

    g_free(victim->key);
    g_free(victim->context);
    g_free(victim);
}

static void change_free(Change *change)
{
    g_free(change->key);
    g_free(change->context);
    g_ptr_array_unref(change->victims);
    g_clear_pointer(&change->image, vf_image_free);
    g_clear_pointer(&change->owner, vf_reconf_free);
    g_clear_pointer(&change->owners, vf_reconf_free);
    g_clear_pointer(&change->actives, vf_reconf_free);
    g_clear_error(&change->error);
    g_free(change);
}

static VfAttachment *row_at(const Change *change, const char *key)
{
    return key != NULL ? g_hash_table_lookup(change->broker->rows, key) : NULL;
}

// ---- last look, on the main thread

static VfReconf *plan_of(Change *change)
{
    VfReconf *plan = vf_reconf_new(&change->pf, 0, 0);

    plan->signal = vf_reconf_signal(change->broker->daemon, &change->pf);
    return plan;
}

static void add_guest(Change *change, VfReconf *plan, const VfAttachment *row)
{
    const VfLease *lease = vf_broker_lease(change->broker, row);

    if (lease != NULL && lease->state == VF_LEASE_RUNNING)
        vf_reconf_add_lease(change->broker->daemon, plan, lease);
}

static void change_begin(gpointer data)
{
    Change *change = data;
    VfBrokerCard *card = vf_broker_card_of(change->broker, &change->pf);
    VfAttachment *row = row_at(change, change->key);

    change->began = vf_broker_now();
    change->owner = plan_of(change);
    change->owners = plan_of(change);
    change->actives = plan_of(change);
    change->card = card != NULL ? card->card : NULL;
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
        Victim *victim = g_ptr_array_index(change->victims, i);
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

// ---- in the lane

static gboolean take_away(Change *change, const VfBrokerWork *work, GError **error)
{
    if (!vf_reconf_is_over(change->broker->daemon->options.run_dir, &change->pf, error) ||
        !vf_broker_pause(work, change->owners, error))
        return FALSE;
    for (guint i = 0; i < change->victims->len; i++) {
        Victim *victim = g_ptr_array_index(change->victims, i);

        if (!victim->active)
            continue;
        if (!vf_broker_save(work, change->local, victim->context, error) ||
            !vf_broker_disconnect(work, victim->index, error))
            return FALSE;
        victim->disconnected = TRUE;
    }
    return TRUE;
}

static void give_back(Change *change, const VfBrokerWork *work)
{
    g_autoptr(GError) cause = NULL;
    gboolean ok = TRUE;

    for (guint i = 0; i < change->victims->len; i++) {
        Victim *victim = g_ptr_array_index(change->victims, i);

        // One whose disconnect failed half way is looked at, too.
        if (victim->active)
            ok = ok && vf_broker_connect(work, change->local, victim->index, victim->context, TRUE,
                                         &cause);
        if (victim->active && ok)
            g_unlink(victim->context);
    }
    ok = ok && vf_broker_resume(work, change->actives, &cause);
    if (!ok)
        g_prefix_error(&change->error,
                       "the devices paused for it stay so for now (%s): ", cause->message);
    change->lost = !ok;
}

static gboolean load(Change *change, const VfBrokerWork *work, GError **error)
{
    gint64 began = g_get_monotonic_time();
    gboolean ok = TRUE;

    if (change->loads && change->image == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE, "its image was removed meanwhile");
        return FALSE;
    }
    if (change->loads)
        ok = (vf_image_verify(change->image, change->broker->daemon->config->accel.verify, error) &&
              vf_card_load(work->card, change->local, change->image->path,
                           began + LOAD_MS * G_TIME_SPAN_MILLISECOND, error));

    change->parts[VF_PART_LOAD] += g_get_monotonic_time() - began;
    return ok;
}

static void change_run(gpointer data)
{
    Change *change = data;
    VfBrokerWork work = {&change->broker->daemon->options, change->card, change->pf, change->parts};

    change->step = VF_ACCEL_STEP_PAUSE;
    if (change->error != NULL)
        return;
    if (!take_away(change, &work, &change->error)) {
        give_back(change, &work);
        return;
    }
    change->step = VF_ACCEL_STEP_LOAD;
    if (!load(change, &work, &change->error) || change->key == NULL)
        return;
    change->step = VF_ACCEL_STEP_CONNECT;
    // Without a context of its own that was saved, it begins with a clear one.
    if (vf_broker_connect(&work, change->local, change->index, change->context, FALSE,
                          &change->error) &&
        vf_broker_resume(&work, change->owner, &change->error))
        return;
    vf_broker_pause(&work, change->owner, NULL);
    vf_card_disconnect(work.card, change->index, g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND,
                       NULL);
}

// ---- the end, on the main thread

static gint64 sum(const Change *change)
{
    gint64 total = 0;

    for (guint i = 0; i < VF_PARTS; i++)
        total += change->parts[i];
    return total;
}

static void tell(const Change *change, const VfAttachment *row)
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
static void settle_victim(Change *change, VfAttachment *row, gboolean kept)
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

static void let_go_if_leaving(Change *change, const char *key)
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

static void settle_if_due(Change *change, const char *key)
{
    VfAttachment *row = row_at(change, key);

    if (row != NULL && row->due)
        vf_broker_settle(change->broker, row);
}

static void decision_done(Change *change)
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
            row_at(change, ((Victim *)g_ptr_array_index(change->victims, i))->key);

        if (victim != NULL)
            settle_victim(change, victim, kept);
    }
    vf_broker_carry_out(broker, n);
}

static void turn_done(Change *change)
{
    VfAttachment *to = row_at(change, change->key);
    gboolean kept = change->error != NULL && change->step == VF_ACCEL_STEP_PAUSE;

    for (guint i = 0; i < change->victims->len; i++) {
        VfAttachment *from = row_at(change, ((Victim *)g_ptr_array_index(change->victims, i))->key);

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
    Change *change = data;
    VfBroker *broker = change->broker;

    if (change->turns != NULL)
        turn_done(change);
    else
        decision_done(change);
    let_go_if_leaving(change, change->key);
    settle_if_due(change, change->key);
    for (guint i = 0; i < change->victims->len; i++) {
        const char *key = ((Victim *)g_ptr_array_index(change->victims, i))->key;

        let_go_if_leaving(change, key);
        settle_if_due(change, key);
    }
    vf_broker_turns(broker, change->region);
    change_free(change);
    vf_broker_end(broker);
}

// ---- the beginning

static Change *change_new(VfBroker *broker, guint region)
{
    const VfAccelRegion *row = vf_accel_region(broker->accel, region);
    const VfBrokerCard *card = g_ptr_array_index(broker->cards, row->card);
    Change *change = g_new0(Change, 1);

    change->broker = broker;
    change->pf = card->pf;
    change->region = region;
    change->local = region - card->first;
    change->victims = g_ptr_array_new_with_free_func(victim_free);
    return change;
}

static void add_victim(Change *change, const VfAttachment *row)
{
    Victim *victim = g_new0(Victim, 1);

    victim->key = g_strdup(row->key);
    g_ptr_array_add(change->victims, victim);
}

static void submit(Change *change)
{
    VfLaneJob job = {change_begin, change_run, change_done, change};

    vf_lanes_submit(change->broker->daemon->lanes, &change->pf, &job);
}

static void durable(const GError *error, gpointer data)
{
    Change *change = data;
    VfBroker *broker = change->broker;

    if (error == NULL && !broker->stale && !broker->quiet) {
        submit(change);
        return;
    }
    // The ledger has another story, or somebody else will go on with this one.
    change_free(change);
    vf_broker_end(broker);
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
    Change *change;

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
    Change *change = change_new(broker, turns->region);

    change->turns = turns;
    change->answer = VF_ACCEL_ASSIGN;
    change->key = to != NULL ? g_strdup(to->key) : NULL;
    if (from != NULL)
        add_victim(change, from);
    vf_broker_begin(broker);
    submit(change);
}
