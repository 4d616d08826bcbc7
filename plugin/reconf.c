// SPDX-License-Identifier: GPL-2.0-or-later
//
// The schedule of a reconf (facts F-A6). One procedure, converge(), makes the PF and all its owners
// what either the old or the new configuration says, from wherever they are; run and recover only
// choose the direction. So a step that is done already is no step, and nothing needs undoing in
// reverse: back is forward to `from`.
//
// Order that matters: journal before what it tells; every guest paused and the fence held before
// numvfs is written; the fence given back before VFs are created; every function ready before the
// first resume, so that whatever the new configuration lacks is found while all can still go back.

#include "reconf.h"

#include <string.h>

#include "error.h"
#include "io.h"
#include "profile.h"
#include "program.h"
#include "reconf-card.h"
#include "reconf-guests.h"
#include "sriov.h"

// How often a rest looks whether the reconf was cancelled meanwhile.
#define REST_STEP_US 20000

typedef struct {
    VfReconf *reconf;
    const VfReconfHost *host;
    VfGuests *guests;
    VfReconfTimes *times;
    VfFence *fence;     // while VFs are being removed
    gboolean forward;   // to `to`, else back to `from`
    gboolean destroyed; // VFs were, or may have been
} Run;

static const char *const step_words[] = {"look", "pause",  "fence", "remove",
                                         "card", "create", "ready", "resume"};

const char *vf_reconf_step_word(VfReconfStep step)
{
    return step_words[step];
}

// ---- telling and timing

static char *owner_name(const VfReconfOwner *owner)
{
    return g_strdup_printf("%s/%s", owner->domain != NULL ? owner->domain : owner->uuid,
                           owner->device);
}

static void tell(const Run *run, VfReconfStep step, const char *event, const VfReconfOwner *owner)
{
    g_autofree char *name = owner != NULL ? owner_name(owner) : NULL;

    if (run->host->tell != NULL)
        run->host->tell(step, event, name, run->host->data);
}

static void told_member(VfReconfStep step, const char *event, const VfMember *member, gpointer data)
{
    tell(data, step, event, member->owner);
}

typedef gboolean (*Step)(Run *run, GError **error);

static gboolean do_step(Run *run, VfReconfStep step, Step task, GError **error)
{
    gint64 begin = g_get_monotonic_time();
    gboolean ok;

    tell(run, step, "begin", NULL);
    ok = task(run, error);
    run->times->steps[step] += g_get_monotonic_time() - begin;
    tell(run, step, ok ? "end" : "failed", NULL);
    return ok;
}

static gboolean save(Run *run, VfReconfPhase phase, GError **error)
{
    run->reconf->phase = phase;
    return vf_reconf_save(run->reconf, run->host->journals, error);
}

static char *pf_path(const Run *run, const char *attribute)
{
    char address[VF_PCIADDR_BUFSIZE];

    return vf_path(run->host->root, "/sys/bus/pci/devices/%s/%s",
                   vf_pciaddr_format(&run->reconf->pf, address), attribute);
}

// ---- steps

static gboolean look(Run *run, GError **error)
{
    return vf_guests_look(run->guests, vf_pause_within(run->host->pause_ms), error);
}

static gboolean check_settings(const Run *run, GError **error)
{
    const VfReconf *reconf = run->reconf;
    const char *root = run->host->root;

    if (!vf_profile_check_pf(root, &reconf->pf, reconf->to, &reconf->after, error))
        return FALSE;
    for (guint i = 0; i < reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);

        if (!vf_profile_check_pf(root, &reconf->pf, 1, &owner->after, error)) {
            g_prefix_error(error, "domain '%s', device '%s': ", owner->domain, owner->device);
            return FALSE;
        }
    }
    return TRUE;
}

// A look before anything is touched: it finds what would break in the middle.
static gboolean look_first(Run *run, GError **error)
{
    return check_settings(run, error) && look(run, error) &&
           vf_guests_check(run->guests, vf_pause_within(run->host->pause_ms), error);
}

static gboolean pause_all(Run *run, GError **error)
{
    return vf_guests_pause(run->guests, vf_pause_within(run->host->pause_ms), error);
}

static guint wanted(const Run *run)
{
    return run->forward ? run->reconf->to : run->reconf->from;
}

static const VfSettings *settings_of(const Run *run, const VfReconfOwner *owner)
{
    return run->forward ? &owner->after : &owner->before;
}

static gboolean is_cancelled(const Run *run, GError **error)
{
    char address[VF_PCIADDR_BUFSIZE];

    if (!run->forward || run->host->cancelled == NULL || !g_atomic_int_get(run->host->cancelled))
        return FALSE;
    g_set_error(error, VF_ERROR, VF_ERROR_STATE, "%s: the reconf was cancelled",
                vf_pciaddr_format(&run->reconf->pf, address));
    return TRUE;
}

// On the way back the card keeps what it was flashed with: what it had before is not known.
static gboolean set_up_card(Run *run, GError **error)
{
    const VfReconf *reconf = run->reconf;

    if (run->forward && reconf->bitstream != NULL &&
        !vf_program_flash(reconf->program, reconf->pool, &reconf->pf, reconf->bitstream, error))
        return FALSE;
    return vf_profile_prepare_pf(run->host->root, &reconf->pf, wanted(run),
                                 run->forward ? &reconf->after : &reconf->before, error);
}

static gboolean create(Run *run, GError **error)
{
    return vf_sriov_set_count(run->host->root, &run->reconf->pf, wanted(run), run->host->helper,
                              error);
}

static gboolean raise_fence(Run *run, GError **error)
{
    run->fence = vf_fence_acquire(run->host->root, &run->reconf->pf, error);
    return run->fence != NULL;
}

static gboolean remove_all(Run *run, GError **error)
{
    return vf_sriov_clear(run->host->root, &run->reconf->pf, run->fence, run->host->helper, error);
}

// Whether or not it succeeds, the fence is given back: before VFs are created, as F-A4 has it.
static gboolean destroy(Run *run, GError **error)
{
    gboolean ok = do_step(run, VF_RECONF_STEP_FENCE, raise_fence, error) &&
                  !is_cancelled(run, error) &&
                  save(run, run->forward ? VF_RECONF_DISRUPTIVE : VF_RECONF_UNDOING, error);

    run->destroyed |= ok;
    ok = ok && do_step(run, VF_RECONF_STEP_REMOVE, remove_all, error);
    g_clear_pointer(&run->fence, vf_fence_release);
    return ok;
}

static gboolean ready_member(Run *run, VfMember *member, GError **error)
{
    if (!vf_guests_ready(run->guests, member, &run->reconf->pf, run->host->helper,
                         settings_of(run, member->owner), error))
        return FALSE;
    tell(run, VF_RECONF_STEP_READY, "ready", member->owner);
    return TRUE;
}

// A function that has to be made ready: its guest is paused, or has yet to start.
static gboolean is_ours(const Run *run, const VfMember *member)
{
    const VfReconfOwner *owner = member->owner;

    return owner->presence == VF_PRESENCE_NONE ? owner->index < wanted(run)
                                               : member->state == VF_PAUSE_PAUSED;
}

// Before any function is opened again: the open resets it. VFs that were made anew have theirs.
static gboolean restore_resets(const Run *run, GError **error)
{
    const char *root = run->host->root;

    for (guint i = 0; i < vf_guests_count(run->guests); i++) {
        const VfReconfOwner *owner = vf_guests_member(run->guests, i)->owner;
        g_autofree char *now = vf_sriov_reset_methods(root, &owner->address);

        if (owner->reset_methods != NULL && g_strcmp0(now, "") == 0 &&
            !vf_sriov_set_reset_methods(root, &owner->address, owner->reset_methods, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean ready_all(Run *run, GError **error)
{
    if (!restore_resets(run, error))
        return FALSE;
    for (guint i = 0; i < vf_guests_count(run->guests); i++) {
        VfMember *member = vf_guests_member(run->guests, i);

        if (is_ours(run, member) && !ready_member(run, member, error)) {
            g_prefix_error(error, "domain '%s', device '%s': ", member->owner->domain,
                           member->owner->device);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean resume_all(Run *run, GError **error)
{
    vf_reconf_connect(run->reconf, run->host->root);
    return vf_guests_resume(run->guests, run->reconf->signal, vf_pause_within(run->host->resume_ms),
                            error);
}

// ---- either direction

// The PF and its owners as the wanted configuration says. afresh: the VFs are made anew, although
// there may be the right number. Begins with what the last look saw.
static gboolean converge(Run *run, gboolean afresh, GError **error)
{
    const VfReconf *reconf = run->reconf;

    guint count;

    if (!vf_sriov_read_count(run->host->root, &reconf->pf, &count, error))
        return FALSE;
    if (afresh || count != wanted(run)) {
        if (is_cancelled(run, error) || !do_step(run, VF_RECONF_STEP_PAUSE, pause_all, error) ||
            !destroy(run, error) || !do_step(run, VF_RECONF_STEP_CARD, set_up_card, error) ||
            (run->forward && !save(run, VF_RECONF_CREATING, error)) ||
            !do_step(run, VF_RECONF_STEP_CREATE, create, error))
            return FALSE;
    }
    return do_step(run, VF_RECONF_STEP_READY, ready_all, error) &&
           (!run->forward || save(run, VF_RECONF_RESUMING, error)) &&
           do_step(run, VF_RECONF_STEP_RESUME, resume_all, error);
}

static gboolean restore_autoprobe(const Run *run, GError **error)
{
    g_autofree char *path = pf_path(run, "sriov_drivers_autoprobe");

    return run->reconf->autoprobe == NULL || vf_io_write(path, run->reconf->autoprobe, error);
}

static VfReconfOutcome finish(Run *run, VfReconfOutcome outcome, GError **error)
{
    for (guint i = 0; i < vf_guests_count(run->guests); i++) {
        const VfMember *member = vf_guests_member(run->guests, i);

        if (member->resumed_at > 0 && member->paused_at > 0)
            run->times->outage = MAX(run->times->outage, member->resumed_at - member->paused_at);
    }
    // All is as it should be for the guests; the next recovery does what is left.
    if (outcome != VF_RECONF_DONE)
        error = NULL; // says why already
    if (!restore_autoprobe(run, error))
        return VF_RECONF_STUCK;
    if (outcome == VF_RECONF_DONE && run->host->keep_done)
        return outcome;
    if (!vf_reconf_forget(run->reconf, run->host->journals, error))
        return VF_RECONF_STUCK;
    return outcome;
}

// What a killed daemon's helper does cannot be stopped.
static gboolean await_helper(Run *run, GError **error)
{
    gint64 begin = g_get_monotonic_time();
    gboolean ok = vf_sriov_await_helper(run->host->root, &run->reconf->pf, error);

    run->times->write += g_get_monotonic_time() - begin;
    return ok;
}

// *error is set and becomes the story of both ways.
static VfReconfOutcome go_back(Run *run, GError **error)
{
    g_autoptr(GError) cause = NULL;

    run->forward = FALSE;
    vf_guests_drop_groups(run->guests);
    if (await_helper(run, &cause) && do_step(run, VF_RECONF_STEP_LOOK, look, &cause) &&
        converge(run, run->destroyed, &cause))
        return finish(run, VF_RECONF_UNDONE, error);
    if (error != NULL)
        g_prefix_error(error,
                       "neither the new nor the old configuration could be reached, guests "
                       "may be paused (%s): ",
                       cause->message);
    return VF_RECONF_STUCK;
}

static void begin(Run *run, VfReconf *reconf, const VfReconfHost *host, VfReconfTimes *times)
{
    memset(times, 0, sizeof(*times));
    *run = (Run){.reconf = reconf, .host = host, .times = times, .forward = TRUE};
    run->guests = vf_guests_new(reconf, host->root, told_member, run);
}

// A driver that was told of a reset by the last resume works on it for a while.
static gboolean rest(const Run *run, GError **error)
{
    while (g_get_monotonic_time() < run->reconf->not_before) {
        if (is_cancelled(run, error))
            return FALSE;
        g_usleep(REST_STEP_US);
    }
    return TRUE;
}

// A function that somebody has taken them from is left alone.
static void note_reset_methods(const Run *run, VfMember *member)
{
    VfReconfOwner *owner = member->owner;

    g_clear_pointer(&owner->reset_methods, g_free);
    if (member->state == VF_PAUSE_RUNNING)
        owner->reset_methods = vf_sriov_reset_methods(run->host->root, &owner->address);
    if (g_strcmp0(owner->reset_methods, "") == 0)
        g_clear_pointer(&owner->reset_methods, g_free);
}

// Who is paused before anything is done stays so.
static gboolean note_owners(Run *run, GError **error)
{
    if (!do_step(run, VF_RECONF_STEP_LOOK, look_first, error))
        return FALSE;
    for (guint i = 0; i < vf_guests_count(run->guests); i++) {
        VfMember *member = vf_guests_member(run->guests, i);

        member->owner->stays_paused = member->state == VF_PAUSE_PAUSED;
        note_reset_methods(run, member);
    }
    return TRUE;
}

// What it starts from, in the journal because it is what is gone back to.
static gboolean note_host(Run *run, GError **error)
{
    VfReconf *reconf = run->reconf;
    g_autofree char *autoprobe = pf_path(run, "sriov_drivers_autoprobe");
    char address[VF_PCIADDR_BUFSIZE];
    guint count;

    g_free(reconf->autoprobe);
    reconf->autoprobe = vf_io_read(autoprobe, error);
    if (reconf->autoprobe == NULL ||
        !vf_sriov_read_count(run->host->root, &reconf->pf, &count, error))
        return FALSE;
    if (count == reconf->from)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                "%s: it has %u VFs and had %u a moment ago" VF_REMEDY
                "stop what else writes sriov_numvfs, and try again",
                vf_pciaddr_format(&reconf->pf, address), count, reconf->from);
    return FALSE;
}

// What is in the directory may say that it began, although saving failed.
static gboolean begin_journal(Run *run, GError **error)
{
    if (save(run, VF_RECONF_PAUSING, error))
        return TRUE;
    vf_reconf_forget(run->reconf, run->host->journals, NULL);
    return FALSE;
}

VfReconfOutcome vf_reconf_run(VfReconf *reconf, const VfReconfHost *host, VfReconfTimes *times,
                              GError **error)
{
    VfReconfTimes mine;
    VfReconfOutcome outcome = VF_RECONF_UNDONE;
    Run run;

    begin(&run, reconf, host, times != NULL ? times : &mine);
    if (rest(&run, error) && note_host(&run, error) && note_owners(&run, error) &&
        begin_journal(&run, error))
        outcome = converge(&run, TRUE, error) ? finish(&run, VF_RECONF_DONE, error)
                                              : go_back(&run, error);
    vf_guests_free(run.guests);
    return outcome;
}

gboolean vf_reconf_look(VfReconf *reconf, const VfReconfHost *host, GError **error)
{
    VfReconfTimes times;
    Run run;
    gboolean ok;

    begin(&run, reconf, host, &times);
    ok = look_first(&run, error);
    vf_guests_free(run.guests);
    return ok;
}

VfReconfOutcome vf_reconf_recover(VfReconf *reconf, const VfReconfHost *host, VfReconfTimes *times,
                                  GError **error)
{
    VfReconfTimes mine;
    VfReconfOutcome outcome;
    VfReconfPhase phase = reconf->phase;
    g_autoptr(GError) cause = NULL;
    Run run;

    begin(&run, reconf, host, times != NULL ? times : &mine);
    if (phase != VF_RECONF_PAUSING && phase != VF_RECONF_UNDOING) {
        run.destroyed = TRUE;
        outcome = await_helper(&run, &cause) && do_step(&run, VF_RECONF_STEP_LOOK, look, &cause) &&
                          converge(&run, phase == VF_RECONF_DISRUPTIVE, &cause)
                      ? finish(&run, VF_RECONF_DONE, &cause)
                      : go_back(&run, &cause);
    } else {
        run.destroyed = phase == VF_RECONF_UNDOING;
        outcome = go_back(&run, NULL);
        if (outcome == VF_RECONF_STUCK)
            g_set_error(&cause, VF_ERROR, VF_ERROR_STATE,
                        "the configuration before could not be reached, guests may be paused");
    }
    if (cause != NULL)
        g_propagate_error(error, g_steal_pointer(&cause));
    vf_guests_free(run.guests);
    return outcome;
}
