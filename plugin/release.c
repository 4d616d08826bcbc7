// SPDX-License-Identifier: GPL-2.0-or-later
//
// Releases: by hook, by event, by sweep, after a crash. A function that is still open when its
// owner is gone is set aside, not given on.

#include "release.h"

#include <string.h>

#include "domains.h"
#include "error.h"
#include "lifecycle.h"
#include "log.h"
#include "work.h"

// A start takes seconds; a lease that is being prepared and younger than this is somebody's start.
#define START_SECONDS 60

typedef struct {
    VfReleased callback;
    gpointer data;
} Parked;

void vf_release_wait(VfDaemon *daemon, VfReleased callback, gpointer data)
{
    Parked *parked = g_new(Parked, 1);

    *parked = (Parked){callback, data};
    g_queue_push_tail(&daemon->parked, parked);
}

static void wake_parked(VfDaemon *daemon)
{
    for (guint n = g_queue_get_length(&daemon->parked); n > 0; n--) {
        g_autofree Parked *parked = g_queue_pop_head(&daemon->parked);

        parked->callback(parked->data);
    }
}

static void released(VfWork *work, const GError *error, gpointer data)
{
    VfDaemon *daemon = work->daemon;
    VfLease *lease =
        vf_allocator_find(daemon->allocator, work->provision->domain, work->provision->device);

    if (lease != NULL && lease->state == VF_LEASE_RELEASING) {
        g_autofree char *name = vf_inventory_name(vf_daemon_slot(daemon, lease->pool, lease->slot));
        guint pool = lease->pool, slot = lease->slot;

        if (error != NULL)
            vf_log(G_LOG_LEVEL_WARNING, lease->domain, name, "%s: %s", name, error->message);
        else
            vf_log(G_LOG_LEVEL_INFO, lease->domain, name, "%s: released by domain '%s'", name,
                   lease->domain);
        if (lease->reserved)
            vf_daemon_keep(daemon, lease, VF_LEASE_RESERVED, NULL);
        else
            vf_daemon_drop(daemon, lease);
        if (work->held)
            vf_daemon_quarantine(daemon, pool, slot, error->message);
    }
    vf_daemon_drop_orphans(daemon, work->provision->domain, work->provision->device);
    wake_parked(daemon);
}

void vf_release_begin(VfDaemon *daemon, VfLease *lease)
{
    if (lease->state == VF_LEASE_RELEASING || lease->state == VF_LEASE_RESERVED)
        return;
    lease->attach = FALSE;
    vf_daemon_keep(daemon, lease, VF_LEASE_RELEASING, NULL);
    vf_work_release(daemon, lease, released, NULL);
}

void vf_lifecycle_release_lease(VfDaemon *daemon, VfLease *lease)
{
    vf_release_begin(daemon, lease);
}

// ---- the release hook: answered when the functions are free again

typedef struct {
    VfDaemon *daemon;
    char *uuid;
    guint64 generation; // of the table when it was asked for
    gboolean again;     // for the second time, see release_check()
    VfAnswered answered;
    gpointer data;
} Release;

static void release_committed(const GError *error, gpointer data)
{
    Release *release = data;

    release->answered(error, release->data);
    g_free(release->uuid);
    g_free(release);
}

static void begin_all(VfDaemon *daemon, const char *uuid);

// Leases are as they were before it, when a commit failed on the way: once more, and then it is
// left to the next sweep.
static void release_check(gpointer data)
{
    Release *release = data;
    g_autoptr(GPtrArray) leases = vf_allocator_leases(release->daemon->allocator, release->uuid);
    gboolean back = FALSE;

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->state == VF_LEASE_RELEASING) {
            vf_release_wait(release->daemon, release_check, release);
            return;
        }
        back |= lease->state != VF_LEASE_RESERVED && lease->generation <= release->generation;
    }
    if (back && !release->again) {
        release->again = TRUE;
        begin_all(release->daemon, release->uuid);
        release_check(release);
        return;
    }
    vf_domains_queue(release->daemon->domains, release->uuid, NULL);
    vf_daemon_after_commit(release->daemon, release_committed, release);
}

static void begin_all(VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len; i++)
        vf_release_begin(daemon, g_ptr_array_index(leases, i));
}

void vf_lifecycle_release(VfDaemon *daemon, const char *uuid, VfAnswered answered, gpointer data)
{
    Release *release = g_new(Release, 1);

    *release = (Release){daemon, g_strdup(uuid), daemon->generation, FALSE, answered, data};
    vf_daemon_drop_orphans(daemon, uuid, NULL);
    begin_all(daemon, uuid);
    release_check(release);
}

// ---- releases that no hook asked for

// TRUE when a lease of a domain that does not run is over, and not on its way into a new run.
static gboolean is_over(const VfLease *lease, guint64 generation)
{
    gboolean young = g_get_real_time() - lease->since < START_SECONDS * G_USEC_PER_SEC;
    gboolean starting = lease->state == VF_LEASE_PREPARING || lease->state == VF_LEASE_READY;

    return lease->generation <= generation && lease->state != VF_LEASE_RESERVED &&
           lease->state != VF_LEASE_RELEASING && !(starting && young);
}

static void end_if_over(VfDaemon *daemon, VfLease *lease, guint64 generation)
{
    if (!is_over(lease, generation))
        return;
    vf_log(G_LOG_LEVEL_MESSAGE, lease->domain, NULL,
           "domain '%s' does not run any more: its lease of device '%s' ends", lease->domain,
           lease->device);
    vf_release_begin(daemon, lease);
}

void vf_lifecycle_inactive(VfDaemon *daemon, const char *uuid, guint64 generation)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len; i++)
        end_if_over(daemon, g_ptr_array_index(leases, i), generation);
}

void vf_lifecycle_sweep(VfDaemon *daemon, GHashTable *active, guint64 generation)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    for (guint i = 0; i < leases->len; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);

        if (!g_hash_table_contains(active, lease->uuid))
            end_if_over(daemon, lease, generation);
    }
}

void vf_lifecycle_recover(VfDaemon *daemon)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    gboolean idle = vf_lanes_busy(daemon->lanes) == 0;

    for (guint i = 0; idle && i < leases->len; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->state == VF_LEASE_RELEASING)
            vf_work_release(daemon, lease, released, NULL);
    }
}

// ---- functions that were set aside

static void rechecked(VfWork *work, const GError *error, gpointer data)
{
    guint pool, slot;
    VfInvPool *p = vf_inventory_pool(work->daemon->inventory, work->provision->pool, &pool);

    if (error != NULL || p == NULL)
        return;
    slot = vf_inventory_slot(p, &work->provision->pf, work->provision->index);
    if (slot != VF_NO_SLOT)
        vf_daemon_quarantine(work->daemon, pool, slot, NULL);
    wake_parked(work->daemon);
}

void vf_lifecycle_recheck_quarantine(VfDaemon *daemon)
{
    if (g_hash_table_size(daemon->quarantine) == 0)
        return;
    for (guint p = 0; p < daemon->inventory->pools->len; p++)
        for (guint s = 0; s < vf_daemon_pool(daemon, p)->slots->len; s++)
            if (vf_daemon_quarantined(daemon, p, s) != NULL &&
                vf_allocator_at(daemon->allocator, p, s) == NULL)
                vf_work_ready_slot(daemon, p, s, rechecked, NULL);
}
