// SPDX-License-Identifier: GPL-2.0-or-later
//
// prepare, as decisions first and hardware after: all claims are decided in one go on the main
// thread, then each function is readied in its PF's lane, then the leases are committed and the
// hook is answered. Between these, leases are found again by (uuid, device), never by pointer: a
// failed commit or a changed inventory rebuilds the table.

#include "lifecycle.h"

#include <string.h>

#include "broker.h"
#include "domains.h"
#include "domxml.h"
#include "error.h"
#include "log.h"
#include "release.h"
#include "wishes.h"
#include "work.h"

typedef struct {
    VfDaemon *daemon;
    VfDomain *domain;
    GArray *wishes; // of VfWish
    guint jobs;     // in lanes
    GError *error;  // the first one
    gboolean retry; // a function turned out to be somebody else's: decide again
    VfAnswered answered;
    gpointer data;
} Prepare;

static void prepare_free(Prepare *prepare)
{
    g_clear_pointer(&prepare->domain, vf_domain_free);
    g_array_unref(prepare->wishes);
    g_clear_error(&prepare->error);
    g_free(prepare);
}

// ---- deciding

typedef enum { DECIDED, WAIT, REFUSED } Decision;

static void set_not_usable(VfDaemon *daemon, const VfWish *wish, const char *domain, GError **error)
{
    const VfSlot *slot = vf_daemon_slot(daemon, wish->pool_number, wish->wanted);
    const char *aside = vf_daemon_quarantined(daemon, wish->pool_number, wish->wanted);
    g_autofree char *name = vf_inventory_name(slot);
    const char *reason = aside != NULL ? aside : slot->pf->problem;

    if (reason == NULL)
        reason = vf_daemon_pool(daemon, wish->pool_number)->problem;
    g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                "domain '%s', device '%s': %s cannot be given out: %s", domain, wish->device, name,
                reason);
}

static void set_taken(VfDaemon *daemon, const VfWish *wish, const VfLease *holder,
                      const char *domain, GError **error)
{
    g_autofree char *name = vf_inventory_name(vf_daemon_slot(daemon, holder->pool, holder->slot));
    g_autofree char *others = vf_daemon_holders(daemon, wish->pool_number);
    guint left = vf_allocator_free_slots(daemon->allocator, wish->pool_number);

    if (left == 0)
        g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                    "domain '%s', device '%s': pool '%s' has no free function (%s)" VF_REMEDY
                    "stop one of these domains, or raise the pool's count",
                    domain, wish->device, wish->pool, others);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "domain '%s', device '%s': %s is held by domain '%s'" VF_REMEDY
                    "another function of pool '%s' is free and the XML is being pointed at it: "
                    "start it again",
                    domain, wish->device, name, vf_lease_holder(holder), wish->pool);
}

static void set_exhausted(VfDaemon *daemon, const VfWish *wish, const char *domain, GError **error)
{
    const VfInvPool *pool = vf_daemon_pool(daemon, wish->pool_number);
    g_autofree char *others = vf_daemon_holders(daemon, wish->pool_number);
    const char *problem = pool->problem;

    for (guint i = 0; problem == NULL && *others == '\0' && i < pool->pfs->len; i++)
        problem = ((VfInvPf *)g_ptr_array_index(pool->pfs, i))->problem;
    if (problem != NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "domain '%s', device '%s': %s", domain,
                    wish->device, problem);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                    "domain '%s', device '%s': pool '%s' has no free function (%s)" VF_REMEDY
                    "stop one of these domains, or raise the pool's count",
                    domain, wish->device, wish->pool,
                    *others != '\0' ? others : "all are set aside, see 'virtfn status'");
}

// TRUE when a lease of the pool is being released: its function is free in a moment.
static gboolean release_under_way(VfDaemon *daemon, guint pool)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->pool == pool && lease->state == VF_LEASE_RELEASING)
            return TRUE;
    }
    return FALSE;
}

static Decision decide_wish(VfDaemon *daemon, const VfDomain *domain, VfWish *wish, GError **error)
{
    VfLease *lease;
    VfAnswer answer = vf_allocator_lease(daemon->allocator, wish->pool_number, domain->uuid,
                                         wish->device, wish->wanted, &lease);

    if (answer == VF_HELD_ELSEWHERE && !lease->reserved && lease->state != VF_LEASE_RELEASING) {
        // Of an earlier run whose release never came: the domain is starting, so that run is over.
        vf_daemon_drop(daemon, lease);
        answer = vf_allocator_lease(daemon->allocator, wish->pool_number, domain->uuid,
                                    wish->device, wish->wanted, &lease);
    }
    switch (answer) {
    case VF_GRANTED:
        wish->granted = TRUE;
        break;
    case VF_HELD_ALREADY:
        if (lease->state == VF_LEASE_RELEASING)
            return WAIT;
        break;
    case VF_HELD_ELSEWHERE:
        if (lease->state == VF_LEASE_RELEASING)
            return WAIT;
        vf_domains_queue(daemon->domains, domain->uuid, domain->name);
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s', device '%s': another function is reserved for it" VF_REMEDY
                    "its XML is being pointed there: start it again",
                    domain->name, wish->device);
        return REFUSED;
    case VF_TAKEN:
        if (lease->state == VF_LEASE_RELEASING)
            return WAIT;
        vf_domains_queue(daemon->domains, domain->uuid, domain->name);
        set_taken(daemon, wish, lease, domain->name, error);
        return REFUSED;
    case VF_NOT_USABLE:
        vf_domains_queue(daemon->domains, domain->uuid, domain->name);
        set_not_usable(daemon, wish, domain->name, error);
        return REFUSED;
    case VF_NONE_FREE:
        if (release_under_way(daemon, wish->pool_number))
            return WAIT;
        set_exhausted(daemon, wish, domain->name, error);
        return REFUSED;
    }
    g_free(lease->domain);
    lease->domain = g_strdup(domain->name);
    lease->attach = !wish->rendered;
    vf_daemon_set_claim(daemon, lease, &wish->claim);
    if (!vf_daemon_keep(daemon, lease, VF_LEASE_PREPARING, error) ||
        (wish->ask.accelerator != NULL && !vf_broker_plan(daemon, lease, &wish->ask, error)))
        return REFUSED;
    return DECIDED;
}

static void undo(Prepare *prepare)
{
    VfDaemon *daemon = prepare->daemon;

    for (guint i = 0; i < prepare->wishes->len; i++) {
        VfWish *wish = &g_array_index(prepare->wishes, VfWish, i);
        VfLease *lease =
            wish->device != NULL
                ? vf_allocator_find(daemon->allocator, prepare->domain->uuid, wish->device)
                : NULL;

        if (lease != NULL && lease->state == VF_LEASE_PREPARING) {
            if (wish->touched)
                vf_release_begin(daemon, lease);
            else if (wish->granted || !lease->reserved)
                vf_daemon_drop(daemon, lease);
            else
                vf_daemon_keep(daemon, lease, VF_LEASE_RESERVED, NULL);
        }
    }
}

// Leases of earlier runs that this run does not ask for any more.
static void drop_stale(Prepare *prepare)
{
    g_autoptr(GPtrArray) leases =
        vf_allocator_leases(prepare->daemon->allocator, prepare->domain->uuid);

    for (guint i = 0; i < leases->len; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);

        if (!lease->reserved && lease->state != VF_LEASE_PREPARING &&
            lease->state != VF_LEASE_RELEASING)
            vf_release_begin(prepare->daemon, lease);
    }
}

// ---- answering

static void prepare_committed(const GError *error, gpointer data)
{
    Prepare *prepare = data;

    prepare->answered(prepare->error != NULL ? prepare->error : error, prepare->data);
    prepare_free(prepare);
}

static void finish(Prepare *prepare)
{
    VfDaemon *daemon = prepare->daemon;

    if (prepare->error != NULL)
        undo(prepare);
    for (guint i = 0; prepare->error == NULL && i < prepare->wishes->len; i++) {
        const VfWish *wish = &g_array_index(prepare->wishes, VfWish, i);
        VfLease *lease = vf_allocator_find(daemon->allocator, prepare->domain->uuid, wish->device);

        if (lease == NULL)
            g_set_error(&prepare->error, VF_ERROR, VF_ERROR_INTERNAL,
                        "domain '%s', device '%s': its lease was lost: %s" VF_REMEDY
                        "start it again",
                        prepare->domain->name, wish->device,
                        daemon->storage_error ? daemon->storage_error : "the pools changed");
        else if (lease->state != VF_LEASE_PREPARING && lease->state != VF_LEASE_READY)
            g_set_error(&prepare->error, VF_ERROR, VF_ERROR_STATE,
                        "domain '%s', device '%s': it was released while it started" VF_REMEDY
                        "start it again",
                        prepare->domain->name, wish->device);
        else if (vf_daemon_keep(daemon, lease, VF_LEASE_READY, &prepare->error))
            vf_domains_queue_pointing(daemon->domains, lease->pool, lease->slot, lease->uuid);
    }
    vf_daemon_after_commit(daemon, prepare_committed, prepare);
}

// ---- readying

static void decide_again(gpointer data);

static void readied(VfWork *work, const GError *error, gpointer data)
{
    Prepare *prepare = data;
    VfDaemon *daemon = prepare->daemon;
    VfLease *lease =
        vf_allocator_find(daemon->allocator, prepare->domain->uuid, work->provision->device);

    prepare->jobs--;
    if (error != NULL && prepare->error == NULL) {
        prepare->error = g_error_copy(error);
        g_prefix_error(&prepare->error, "domain '%s', device '%s': ", prepare->domain->name,
                       work->provision->device);
    }
    if (error != NULL && work->held && lease != NULL) {
        vf_daemon_quarantine(daemon, lease->pool, lease->slot, error->message);
        if (lease->attach)
            prepare->retry = TRUE; // any other function will do
        else
            vf_domains_queue(daemon->domains, prepare->domain->uuid, prepare->domain->name);
    }
    if (prepare->jobs > 0)
        return;
    if (!prepare->retry) {
        finish(prepare);
        return;
    }
    prepare->retry = FALSE;
    g_clear_error(&prepare->error);
    undo(prepare);
    decide_again(prepare);
}

static void ready_all(Prepare *prepare)
{
    VfDaemon *daemon = prepare->daemon;

    prepare->jobs = prepare->wishes->len;
    for (guint i = 0; i < prepare->wishes->len; i++) {
        VfWish *wish = &g_array_index(prepare->wishes, VfWish, i);
        VfLease *lease = vf_allocator_find(daemon->allocator, prepare->domain->uuid, wish->device);

        wish->touched = TRUE;
        vf_work_prepare(daemon, lease, wish->rendered ? &wish->address : NULL, readied, prepare);
    }
    if (prepare->wishes->len == 0)
        finish(prepare);
}

static void decide(Prepare *prepare)
{
    Decision decision = DECIDED;

    for (guint i = 0; decision == DECIDED && i < prepare->wishes->len; i++)
        decision = decide_wish(prepare->daemon, prepare->domain,
                               &g_array_index(prepare->wishes, VfWish, i), &prepare->error);
    switch (decision) {
    case DECIDED:
        drop_stale(prepare);
        ready_all(prepare);
        break;
    case WAIT:
        undo(prepare);
        vf_release_wait(prepare->daemon, decide_again, prepare);
        break;
    case REFUSED:
        finish(prepare);
        break;
    }
}

// The pools may be others since: wishes name pools and slots by number.
static void decide_again(gpointer data)
{
    Prepare *prepare = data;

    g_array_set_size(prepare->wishes, 0);
    if (vf_wishes_find(prepare->daemon, prepare->domain, prepare->wishes, &prepare->error))
        decide(prepare);
    else
        finish(prepare);
}

// A PF without a driver when the daemon started may have one by now; no event told.
static void refresh_if_troubled(VfDaemon *daemon)
{
    gboolean trouble = FALSE;

    for (guint i = 0; i < daemon->inventory->pools->len; i++)
        trouble |= vf_daemon_pool(daemon, i)->problem != NULL;
    for (guint i = 0; i < daemon->inventory->pfs->len; i++)
        trouble |= ((VfInvPf *)g_ptr_array_index(daemon->inventory->pfs, i))->problem != NULL;
    if (trouble && vf_daemon_refresh(daemon))
        vf_domains_resync(daemon);
}

void vf_lifecycle_prepare(VfDaemon *daemon, const char *xml, gsize length, VfAnswered answered,
                          gpointer data)
{
    Prepare *prepare = g_new0(Prepare, 1);

    prepare->daemon = daemon;
    prepare->answered = answered;
    prepare->data = data;
    prepare->wishes = vf_wishes_new();
    prepare->domain = vf_domain_parse(xml, length, &prepare->error);
    refresh_if_troubled(daemon);
    if (prepare->domain == NULL || !vf_wishes_has_uuid(prepare->domain, &prepare->error) ||
        !vf_wishes_find(daemon, prepare->domain, prepare->wishes, &prepare->error)) {
        answered(prepare->error, data);
        prepare_free(prepare);
        return;
    }
    decide(prepare);
}
