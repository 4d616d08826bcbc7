// SPDX-License-Identifier: GPL-2.0-or-later
//
// A job for each PF with doubts, in its lane, so after the reconf that may have to be ended first.
// It asks all guests at the same time, resumes what nobody wants paused, and takes nothing else on
// itself: a device that its guest runs is left running, one that is gone is no doubt, and what
// cannot be done is a problem that is shown and tried again.

#include "doubts.h"

#include <string.h>

#include "broker.h"
#include "error.h"
#include "jsontext.h"
#include "log.h"
#include "reconf-guests.h"
#include "reconf-jobs.h"

// A prepare of the same PF waits meanwhile.
#define LOOK_MS 3000
#define RESUME_MS 8000
#define REMEDY VF_REMEDY "virtfnd tries again by itself, 'virtfn resume' at once"

typedef struct {
    char uuid[37];
    char *device;
    gint64 marked;   // since when the ledger has it paused, 0 = it has not
    gboolean asking; // a job does
    char *problem;
} Doubt;

struct VfDoubts {
    VfDaemon *daemon;
    GHashTable *all; // "UUID/DEVICE" -> Doubt
};

// What a job found out about one device.
typedef struct {
    const VfReconfOwner *owner;
    VfPauseState state;
    gboolean resumed;
    GError *error;
} Answer;

typedef struct {
    VfDaemon *daemon;
    VfPciAddr pf;
    VfReconf *reconf; // holds the owners in doubt
    VfCard *card;     // of the PF, NULL = it has none
    gboolean later;   // a reconf has not ended
    GArray *answers;
} Job;

static void doubt_free(gpointer data)
{
    Doubt *doubt = data;

    g_free(doubt->device);
    g_free(doubt->problem);
    g_free(doubt);
}

VfDoubts *vf_doubts_new(VfDaemon *daemon)
{
    VfDoubts *doubts = g_new0(VfDoubts, 1);

    doubts->daemon = daemon;
    doubts->all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, doubt_free);
    return doubts;
}

void vf_doubts_free(VfDoubts *doubts)
{
    g_hash_table_unref(doubts->all);
    g_free(doubts);
}

static char *key_of(const char *uuid, const char *device)
{
    return g_strconcat(uuid, "/", device, NULL);
}

static Doubt *find(const VfDaemon *daemon, const char *uuid, const char *device)
{
    g_autofree char *key = key_of(uuid, device);

    return g_hash_table_lookup(daemon->doubts->all, key);
}

static VfLease *lease_of(const VfDaemon *daemon, const Doubt *doubt)
{
    VfLease *lease = vf_allocator_find(daemon->allocator, doubt->uuid, doubt->device);

    // One that is still to be plugged in is in no QEMU.
    return lease != NULL && lease->state == VF_LEASE_RUNNING && !lease->attach ? lease : NULL;
}

// ---- in the lane

static gboolean is_unwanted(const VfMember *member)
{
    return member->state == VF_PAUSE_PAUSED && !member->owner->stays_paused;
}

// Of the last thing that was asked of the guests; that of some concerns no other.
static void note_errors(const VfGuests *guests, GArray *answers, gboolean all)
{
    for (guint i = 0; i < answers->len; i++) {
        Answer *answer = &g_array_index(answers, Answer, i);
        const VfMember *member = vf_guests_member(guests, i);
        const GError *error = vf_guests_error(guests, member);

        if (answer->error == NULL && error != NULL && (all || is_unwanted(member)))
            answer->error = g_error_copy(error);
    }
}

// Its function, as it was; nobody connects it with a region without a request.
static gboolean make_ready(const Job *job, VfGuests *guests, VfMember *member, GError **error)
{
    return vf_broker_scrub(job->card, member->owner->index, error) &&
           vf_guests_ready(guests, member, &job->pf, job->daemon->options.helper,
                           &member->owner->after, error);
}

static void resume(const Job *job, VfGuests *guests)
{
    vf_guests_check(guests, vf_pause_within(LOOK_MS), NULL);
    note_errors(guests, job->answers, FALSE);
    for (guint i = 0; i < job->answers->len; i++) {
        Answer *answer = &g_array_index(job->answers, Answer, i);
        VfMember *member = vf_guests_member(guests, i);

        if (is_unwanted(member) && answer->error == NULL)
            make_ready(job, guests, member, &answer->error);
    }
    vf_guests_resume(guests, job->reconf->signal, vf_pause_within(RESUME_MS), NULL);
    note_errors(guests, job->answers, FALSE);
}

static void job_run(gpointer data)
{
    Job *job = data;
    const VfDaemonOptions *options = &job->daemon->options;
    gboolean unwanted = FALSE;

    job->later = !vf_reconf_is_over(options->run_dir, &job->pf, NULL);
    if (job->later || job->reconf->owners->len == 0)
        return;
    g_autoptr(VfGuests) guests = vf_guests_new(job->reconf, options->root, NULL, NULL);
    g_array_set_size(job->answers, vf_guests_count(guests));
    vf_guests_look(guests, vf_pause_within(LOOK_MS), NULL);
    note_errors(guests, job->answers, TRUE);
    for (guint i = 0; i < job->answers->len; i++)
        unwanted |= is_unwanted(vf_guests_member(guests, i));
    if (unwanted)
        resume(job, guests);
    for (guint i = 0; i < job->answers->len; i++) {
        const VfMember *member = vf_guests_member(guests, i);
        Answer *answer = &g_array_index(job->answers, Answer, i);

        answer->owner = member->owner;
        answer->state = member->state;
        answer->resumed = member->resumed_at > 0;
    }
}

// ---- what follows

static void set_problem(Doubt *doubt, const VfReconfOwner *owner, VfPauseState state,
                        const GError *error)
{
    g_autofree char *own = g_strdup_printf("domain '%s': ", owner->domain);
    const char *cause = error->message;
    char *text;

    if (g_str_has_prefix(cause, own))
        cause += strlen(own);
    text = g_strdup_printf("domain '%s', device '%s': %s: %s%s", owner->domain, owner->device,
                           state == VF_PAUSE_PAUSED
                               ? "it is paused, nobody asked for that, and it cannot be resumed"
                               : "whether it is paused cannot be found out",
                           cause, strstr(cause, VF_REMEDY) == NULL ? REMEDY : "");
    if (g_strcmp0(doubt->problem, text) != 0)
        vf_log(G_LOG_LEVEL_WARNING, owner->domain, NULL, "%s", text);
    g_free(doubt->problem);
    doubt->problem = text;
}

static void tell(const VfReconfOwner *owner, const char *what)
{
    vf_log(G_LOG_LEVEL_MESSAGE, owner->domain, NULL, "domain '%s', device '%s': %s", owner->domain,
           owner->device, what);
}

static void take_answer(VfDaemon *daemon, Doubt *doubt, const Answer *answer)
{
    const VfReconfOwner *owner = answer->owner;
    VfLease *lease = lease_of(daemon, doubt);
    gboolean runs = answer->state == VF_PAUSE_RUNNING || owner->cannot_pause;

    doubt->asking = FALSE;
    if (answer->error != NULL) {
        set_problem(doubt, owner, answer->state, answer->error);
        return;
    }
    if (answer->resumed)
        tell(owner, "it was paused, and nobody had asked for that: it was resumed");
    // A mark that is younger is of somebody who asked meanwhile.
    if (runs && doubt->marked != 0 && lease != NULL && lease->pause != NULL &&
        lease->pause->since == doubt->marked) {
        tell(owner, "it runs although it was to be paused: the mark of that is taken back");
        vf_lease_set_pause(lease, 0, NULL, NULL);
        vf_daemon_store(daemon, lease, NULL); // a failure is the commit's
    }
    g_autofree char *key = key_of(doubt->uuid, doubt->device);
    g_hash_table_remove(daemon->doubts->all, key);
}

static void job_done(gpointer data)
{
    Job *job = data;

    for (guint i = 0; i < job->answers->len; i++) {
        Answer *answer = &g_array_index(job->answers, Answer, i);
        Doubt *doubt = find(job->daemon, answer->owner->uuid, answer->owner->device);

        if (doubt != NULL)
            take_answer(job->daemon, doubt, answer);
        g_clear_error(&answer->error);
    }
    for (guint i = 0; job->later && i < job->reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(job->reconf->owners, i);
        Doubt *doubt = find(job->daemon, owner->uuid, owner->device);

        if (doubt != NULL)
            doubt->asking = FALSE;
    }
    g_array_unref(job->answers);
    vf_reconf_free(job->reconf);
    g_free(job);
}

// ---- asking

static void add_owner(const Job *job, const VfLease *lease)
{
    vf_reconf_add_lease(job->daemon, job->reconf, lease);
    for (guint i = 0; i < job->reconf->owners->len; i++) {
        VfReconfOwner *owner = g_ptr_array_index(job->reconf->owners, i);

        if (strcmp(owner->uuid, lease->uuid) == 0 && strcmp(owner->device, lease->device) == 0)
            owner->stays_paused |= vf_broker_has(job->daemon, lease);
    }
}

static void job_begin(gpointer data)
{
    Job *job = data;
    GHashTableIter iter;
    gpointer value;

    job->reconf->signal = vf_reconf_signal(job->daemon, &job->pf);
    job->card = vf_broker_card(job->daemon, &job->pf);
    g_hash_table_iter_init(&iter, job->daemon->doubts->all);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Doubt *doubt = value;
        const VfLease *lease = lease_of(job->daemon, doubt);

        if (doubt->asking || lease == NULL ||
            !vf_pciaddr_equal(vf_daemon_lease_pf(job->daemon, lease), &job->pf))
            continue;
        doubt->asking = TRUE;
        add_owner(job, lease);
    }
}

static void ask_about(VfDaemon *daemon, const VfPciAddr *pf)
{
    Job *job = g_new0(Job, 1);
    VfLaneJob lane = {job_begin, job_run, job_done, job};

    job->daemon = daemon;
    job->pf = *pf;
    job->reconf = vf_reconf_new(pf, 0, 0);
    // A guest that cannot pause is no error here.
    job->reconf->allow_detach = TRUE;
    job->answers = g_array_new(FALSE, TRUE, sizeof(Answer));
    vf_lanes_submit(daemon->lanes, pf, &lane);
}

static gboolean has(const GArray *pfs, const VfPciAddr *pf)
{
    for (guint i = 0; i < pfs->len; i++)
        if (vf_pciaddr_equal(&g_array_index(pfs, VfPciAddr, i), pf))
            return TRUE;
    return FALSE;
}

static void ask(gpointer data)
{
    VfDaemon *daemon = data;
    g_autoptr(GArray) pfs = g_array_new(FALSE, FALSE, sizeof(VfPciAddr));
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, daemon->doubts->all);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Doubt *doubt = value;
        const VfLease *lease = lease_of(daemon, doubt);

        if (doubt->asking)
            continue;
        if (lease == NULL)
            g_hash_table_iter_remove(&iter);
        else if (!has(pfs, vf_daemon_lease_pf(daemon, lease)))
            g_array_append_val(pfs, *vf_daemon_lease_pf(daemon, lease));
    }
    for (guint i = 0; i < pfs->len; i++)
        ask_about(daemon, &g_array_index(pfs, VfPciAddr, i));
}

static void add(VfDaemon *daemon, const VfLease *lease)
{
    Doubt *doubt = g_new0(Doubt, 1);

    g_strlcpy(doubt->uuid, lease->uuid, sizeof(doubt->uuid));
    doubt->device = g_strdup(lease->device);
    doubt->marked = lease->pause != NULL ? lease->pause->since : 0;
    g_hash_table_replace(daemon->doubts->all, key_of(lease->uuid, lease->device), doubt);
}

void vf_doubts_begin(VfDaemon *daemon)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->state == VF_LEASE_RUNNING && !lease->attach)
            add(daemon, lease);
    }
    vf_broker_when_ready(daemon->broker, ask, daemon);
}

void vf_doubts_add(VfDaemon *daemon, const VfLease *lease)
{
    add(daemon, lease);
    vf_broker_when_ready(daemon->broker, ask, daemon);
}

void vf_doubts_settle(VfDaemon *daemon, const VfLease *lease)
{
    g_autofree char *key = key_of(lease->uuid, lease->device);

    g_hash_table_remove(daemon->doubts->all, key);
}

void vf_doubts_recheck(VfDaemon *daemon)
{
    if (g_hash_table_size(daemon->doubts->all) > 0)
        vf_broker_when_ready(daemon->broker, ask, daemon);
}

void vf_doubts_view_problems(GString *out, const VfDaemon *daemon)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, daemon->doubts->all);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Doubt *doubt = value;

        if (doubt->problem == NULL || lease_of(daemon, doubt) == NULL)
            continue;
        vf_json_next(out);
        vf_json_append(out, "%s", doubt->problem);
    }
}
