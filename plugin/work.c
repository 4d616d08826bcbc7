// SPDX-License-Identifier: GPL-2.0-or-later
//
// Jobs for the lanes. What a job may destroy is decided in `begin`, on the main thread and at the
// last moment before it runs: whether any VF of the PF has an owner.

#include "work.h"

#include "broker.h"
#include "error.h"
#include "reconf-jobs.h"
#include "settle.h"
#include "sriov.h"

// TRUE when the lease's function is, or may be, in use by another domain than `uuid`. Of that
// domain itself, what is being prepared has no owner yet: the first of its jobs makes the VFs for
// all.
static gboolean is_owner(const VfLease *lease, const char *uuid)
{
    if (lease->state == VF_LEASE_RESERVED)
        return FALSE;
    return lease->state != VF_LEASE_PREPARING || g_strcmp0(lease->uuid, uuid) != 0;
}

// Under its pool's policy `grow`, a PF whose VFs have owners gets more by a reconf, for a domain
// that starts and for nothing else.
static void plan_growth(VfWork *work)
{
    const VfProvision *p = work->provision;
    gboolean starts = work->run == vf_provision_prepare && *p->domain != '\0';
    guint pool, vfs;
    const VfInvPool *known = vf_inventory_pool(work->daemon->inventory, p->pool, &pool);

    if (!starts || p->may_recreate || known == NULL || known->config->growth != VF_GROWTH_GROW)
        return;
    vfs = vf_sriov_count(p->root, &p->pf);
    if (vfs == 0 || vfs >= p->count)
        return;
    if (vf_settle_enter(work->daemon, work->waited ? &work->error : NULL))
        work->reconf = vf_reconf_plan(work->daemon, &p->pf, p->count, p->domain);
    else
        work->at_door = !work->waited;
}

// What the function gets, or has, may be another since the job was queued: behind a reconf.
static void refresh_settings(VfWork *work)
{
    VfProvision *p = work->provision;
    VfDaemon *daemon = work->daemon;
    VfLease *lease =
        *p->domain != '\0' ? vf_allocator_find(daemon->allocator, p->domain, p->device) : NULL;

    if (lease == NULL)
        return;
    if (work->run == vf_provision_prepare && lease->state == VF_LEASE_PREPARING) {
        VfSettings claim;

        vf_settings_merge(&claim, &lease->claim, &lease->claim);
        vf_daemon_set_claim(daemon, lease, &claim);
        vf_settings_clear(&claim);
        if (!vf_settings_equal(&lease->settings, &p->settings))
            vf_daemon_store(daemon, lease, NULL);
    }
    vf_settings_clear(&p->settings);
    vf_settings_merge(&p->settings, &lease->settings, &lease->settings);
}

static void begin(gpointer data)
{
    VfWork *work = data;
    VfProvision *p = work->provision;
    g_autoptr(GPtrArray) leases = vf_allocator_leases(work->daemon->allocator, NULL);

    refresh_settings(work);
    work->card = vf_broker_card(work->daemon, &p->pf);
    p->may_recreate = TRUE;
    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);
        const VfSlot *slot = vf_daemon_slot(work->daemon, lease->pool, lease->slot);

        if (!vf_pciaddr_equal(&slot->pf->pci.address, &p->pf))
            continue;
        p->count = MAX(p->count, slot->index + 1);
        if (is_owner(lease, p->domain))
            p->may_recreate = FALSE;
    }
    plan_growth(work);
}

// Nobody gets a function that has somebody else's region.
static gboolean scrub(VfWork *work)
{
    if ((work->run != vf_provision_release && *work->provision->domain != '\0') ||
        vf_broker_scrub(work->card, work->provision->index, &work->error))
        return TRUE;
    work->held = TRUE;
    return FALSE;
}

static gboolean grow(VfWork *work)
{
    g_autofree char *journals = NULL;
    VfReconfHost host = vf_reconf_host(&work->daemon->options, &journals);
    VfReconfTimes times = {.outage = 0};
    gboolean ok = vf_reconf_do(work->reconf, &host, &times, &work->error);

    work->outage = times.outage;
    return ok;
}

static void run(gpointer data)
{
    VfWork *work = data;
    VfProvision *p = work->provision;
    char expected[VF_PCIADDR_BUFSIZE], found[VF_PCIADDR_BUFSIZE];

    if (work->at_door || work->error != NULL ||
        !vf_reconf_is_over(work->daemon->options.run_dir, &p->pf, &work->error))
        return;
    if (work->reconf != NULL && !grow(work)) {
        g_prefix_error(&work->error, "pool '%s' cannot grow: ", p->pool);
        return;
    }
    if (!scrub(work))
        return;
    if (!work->run(p, &work->error)) {
        work->held = g_error_matches(work->error, VF_ERROR, VF_ERROR_BUSY) &&
                     vf_sriov_address(p->root, &p->pf, p->index, &p->address) &&
                     !vf_sriov_check_unused(p->root, &p->address, NULL);
        return;
    }
    if (work->has_expected && !vf_pciaddr_equal(&work->expected, &p->address))
        g_set_error(&work->error, VF_ERROR, VF_ERROR_STATE,
                    "VF %u is at %s, but the domain's XML names %s" VF_REMEDY
                    "its XML is being rendered again: start it again",
                    p->index, vf_pciaddr_format(&p->address, found),
                    vf_pciaddr_format(&work->expected, expected));
}

static void submit(VfWork *work);

static void wait_is_over(gpointer data)
{
    VfWork *work = data;

    work->at_door = FALSE;
    work->waited = TRUE;
    submit(work);
}

static void done(gpointer data)
{
    VfWork *work = data;

    if (work->at_door) {
        vf_settle_wait(work->daemon, wait_is_over, work);
        return;
    }
    if (work->reconf != NULL)
        vf_settle_leave(work->daemon);
    vf_reconf_note_resume(work->daemon, &work->provision->pf, work->outage);
    if (work->error == NULL)
        vf_reconf_note_outage(work->daemon, &work->provision->pf, work->outage);
    work->done(work, work->error, work->data);
    g_clear_error(&work->error);
    g_clear_pointer(&work->reconf, vf_reconf_free);
    vf_provision_free(work->provision);
    g_free(work);
}

static VfWork *work_new(VfDaemon *daemon, guint pool, guint slot, const VfSettings *settings,
                        VfWorkDone callback, gpointer data)
{
    const VfSlot *s = vf_daemon_slot(daemon, pool, slot);
    VfWork *work = g_new0(VfWork, 1);
    VfProvision *p = work->provision = g_new0(VfProvision, 1);

    work->daemon = daemon;
    work->done = callback;
    work->data = data;
    p->root = daemon->options.root;
    p->helper = daemon->options.helper;
    p->pf = s->pf->pci.address;
    p->index = s->index;
    p->count = s->pf->count;
    p->keep_link = s->pf->keep_link;
    p->pool = g_strdup(vf_daemon_pool(daemon, pool)->config->name);
    vf_settings_merge(&p->settings, settings, settings);
    return work;
}

static void submit(VfWork *work)
{
    VfLaneJob job = {begin, run, done, work};

    vf_lanes_submit(work->daemon->lanes, &work->provision->pf, &job);
}

void vf_work_prepare(VfDaemon *daemon, const VfLease *lease, const VfPciAddr *expected,
                     VfWorkDone callback, gpointer data)
{
    VfWork *work = work_new(daemon, lease->pool, lease->slot, &lease->settings, callback, data);

    work->run = vf_provision_prepare;
    work->provision->domain = g_strdup(lease->uuid);
    work->provision->device = g_strdup(lease->device);
    work->has_expected = expected != NULL;
    if (expected != NULL)
        work->expected = *expected;
    submit(work);
}

void vf_work_release(VfDaemon *daemon, const VfLease *lease, VfWorkDone callback, gpointer data)
{
    VfWork *work = work_new(daemon, lease->pool, lease->slot, &lease->settings, callback, data);

    work->run = vf_provision_release;
    work->provision->domain = g_strdup(lease->uuid);
    work->provision->device = g_strdup(lease->device);
    submit(work);
}

void vf_work_ready_slot(VfDaemon *daemon, guint pool, guint slot, VfWorkDone callback,
                        gpointer data)
{
    const VfPciAddr *pf = &vf_daemon_slot(daemon, pool, slot)->pf->pci.address;
    VfWork *work =
        work_new(daemon, pool, slot, vf_daemon_profile(daemon, pool, pf), callback, data);

    work->run = vf_provision_prepare;
    work->provision->domain = g_strdup("");
    work->provision->device = g_strdup("");
    submit(work);
}
