// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who owns what of a PF, for a reconf; and the lane jobs that end open ones. A prepare that grows
// its PF runs its reconf in its own lane job (work.c), so that whoever comes next finds it done.

#include "reconf-jobs.h"

#include <string.h>

#include "broker.h"
#include "choices.h"
#include "domains.h"
#include "error.h"
#include "log.h"
#include "sriov.h"

// Nobody waits for these.
#define RECOVER_MS 30000

// PCI Code and ID Assignment Specification, 1.3 and 1.9: base class; base class and subclass.
#define PCI_CLASS_NETWORK 0x02
#define PCI_CLASS_NVM 0x0108
// How long a guest's processor that touches its paused NVMe function waits: longer than a reconf.
#define HOLD_MS 10000

// Linux' nvme driver gives a controller up that goes away while it resets it, after its command's
// time of 60 s. On the emulated host, a slow one, a reset took it 1 to 2 s.
#define REST_MS 5000

static char *journals_of(const char *run_dir)
{
    return g_build_filename(run_dir, "reconf", NULL);
}

// ---- planning

void vf_reconf_add_lease(const VfDaemon *daemon, VfReconf *reconf, const VfLease *lease)
{
    const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);
    VfReconfOwner *owner = vf_reconf_add(reconf, lease->uuid, lease->device, slot->index);
    g_autofree char *name = g_strconcat(lease->uuid, ".sock", NULL);

    owner->domain = g_strdup(vf_lease_holder(lease));
    owner->pool = g_strdup(vf_daemon_pool(daemon, lease->pool)->config->name);
    owner->keep_link = slot->pf->keep_link;
    owner->stays_paused = lease->pause != NULL; // as far as is known before QEMU is asked
    // Of a domain that is only being prepared, the function may be ready and nobody has it yet; so
    // with one that is to be attached, again or at all.
    if (lease->state == VF_LEASE_PREPARING || lease->attach)
        owner->presence = VF_PRESENCE_NONE;
    else
        owner->presence =
            lease->state == VF_LEASE_READY ? VF_PRESENCE_STARTING : VF_PRESENCE_RUNNING;
    owner->socket = g_build_filename(daemon->qmp_dir, name, NULL);
    vf_inventory_address(slot, &owner->address);
    vf_settings_merge(&owner->before, &lease->settings, &lease->settings);
    vf_settings_merge(&owner->after, &lease->settings, &lease->settings);
}

const VfPoolConfig *vf_reconf_pool(const VfDaemon *daemon, const VfPciAddr *address)
{
    const VfInvPf *pf = vf_inventory_pf(daemon->inventory, address);

    for (guint i = 0; pf != NULL && i < daemon->inventory->pools->len; i++) {
        const VfInvPool *pool = vf_daemon_pool(daemon, i);

        if (g_ptr_array_find(pool->pfs, pf, NULL))
            return pool->config;
    }
    return NULL;
}

static gboolean is_nvme(const VfDaemon *daemon, const VfPciAddr *address)
{
    const VfInvPf *pf = vf_inventory_pf(daemon->inventory, address);

    return pf != NULL && pf->pci.class_code >> 8 == PCI_CLASS_NVM;
}

VfResumeSignal vf_reconf_signal(const VfDaemon *daemon, const VfPciAddr *address)
{
    static const VfResumeSignal chosen[] = {
        [VF_SIGNAL_NONE] = VF_RESUME_SIGNAL_NONE,
        [VF_SIGNAL_NONFATAL] = VF_RESUME_SIGNAL_NONFATAL,
        [VF_SIGNAL_FATAL] = VF_RESUME_SIGNAL_FATAL,
    };
    const VfPoolConfig *pool = vf_reconf_pool(daemon, address);
    const VfInvPf *pf = vf_inventory_pf(daemon->inventory, address);
    guint32 class_code = pf != NULL ? pf->pci.class_code : 0;

    if (pool != NULL && pool->signal != VF_SIGNAL_AUTO)
        return chosen[pool->signal];
    if (class_code >> 16 == PCI_CLASS_NETWORK)
        return VF_RESUME_SIGNAL_NONFATAL;
    return is_nvme(daemon, address) ? VF_RESUME_SIGNAL_FATAL : VF_RESUME_SIGNAL_NONE;
}

static gint64 rest_of(const VfDaemon *daemon, const VfPciAddr *pf)
{
    char address[VF_PCIADDR_BUFSIZE];
    const gint64 *until = g_hash_table_lookup(daemon->rests, vf_pciaddr_format(pf, address));

    return until != NULL ? *until : 0;
}

VfReconf *vf_reconf_plan(const VfDaemon *daemon, const VfPciAddr *pf, guint count,
                         const char *starting)
{
    VfReconf *reconf = vf_reconf_new(pf, vf_sriov_count(daemon->options.root, pf), count);
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);
    const VfPoolConfig *pool = vf_reconf_pool(daemon, pf);
    guint number;

    reconf->signal = vf_reconf_signal(daemon, pf);
    // The others take less than a second (man/virtfn-qemu.7, SIGNALS).
    if (reconf->signal == VF_RESUME_SIGNAL_FATAL)
        reconf->not_before = rest_of(daemon, pf);
    // A controller that is being reset would be given up by its driver if it read all-ones.
    if (is_nvme(daemon, pf))
        reconf->policy = (VfPausePolicy){VF_PAUSE_ACCESS_HOLD, HOLD_MS};
    if (pool != NULL && vf_inventory_pool(daemon->inventory, pool->name, &number) != NULL) {
        const VfSettings *profile = vf_daemon_profile(daemon, number, pf);

        vf_settings_merge(&reconf->before, profile, profile);
        vf_settings_merge(&reconf->after, profile, profile);
    }
    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);
        const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);

        if (!vf_pciaddr_equal(&slot->pf->pci.address, pf) || lease->state == VF_LEASE_RESERVED ||
            lease->state == VF_LEASE_RELEASING ||
            strcmp(lease->uuid, starting != NULL ? starting : "") == 0)
            continue;
        vf_reconf_add_lease(daemon, reconf, lease);
    }
    vf_broker_plan_reconf(daemon, reconf);
    return reconf;
}

// ---- another profile

static void replace(VfSettings *settings, const VfSettings *profile, const VfSettings *claim)
{
    VfSettings merged;

    vf_settings_merge(&merged, profile, claim);
    vf_settings_clear(settings);
    *settings = merged;
}

static VfReconfOwner *find_owner(const VfReconf *reconf, const VfLease *lease)
{
    for (guint i = 0; i < reconf->owners->len; i++) {
        VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);

        if (strcmp(owner->uuid, lease->uuid) == 0 && strcmp(owner->device, lease->device) == 0)
            return owner;
    }
    return NULL;
}

// The note: a line "POOL=PROFILE" for each pool, without PROFILE when it is as configured.
void vf_reconf_plan_profile(const VfDaemon *daemon, VfReconf *reconf, const VfInvPool *only,
                            const char *profile)
{
    const VfInvPf *pf = vf_inventory_pf(daemon->inventory, &reconf->pf);
    const VfPoolConfig *first = vf_reconf_pool(daemon, &reconf->pf);
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);
    GString *note = g_string_new(NULL);

    for (guint number = 0; number < daemon->inventory->pools->len; number++) {
        const VfInvPool *pool = vf_daemon_pool(daemon, number);
        const VfSettings *settings = profile != NULL
                                         ? g_hash_table_lookup(daemon->config->profiles, profile)
                                         : &pool->config->settings;

        if (!g_ptr_array_find(pool->pfs, pf, NULL) || (only != NULL && only != pool))
            continue;
        g_string_append_printf(note, "%s=%s\n", pool->config->name, profile != NULL ? profile : "");
        if (pool->config == first)
            replace(&reconf->after, settings, settings);
        for (guint i = 0; i < leases->len; i++) {
            const VfLease *lease = g_ptr_array_index(leases, i);
            VfReconfOwner *owner = lease->pool == number ? find_owner(reconf, lease) : NULL;

            if (owner != NULL)
                replace(&owner->after, settings, &lease->claim);
        }
    }
    g_free(reconf->note);
    reconf->note = g_string_free(note, FALSE);
}

gboolean vf_reconf_is_needed(const VfReconf *reconf)
{
    gboolean same = reconf->from == reconf->to && reconf->bitstream == NULL &&
                    vf_settings_equal(&reconf->before, &reconf->after);

    for (guint i = 0; same && i < reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);

        same = vf_settings_equal(&owner->before, &owner->after);
    }
    return !same;
}

static void settle_choices(VfDaemon *daemon, const VfReconf *reconf)
{
    g_auto(GStrv) lines = g_strsplit(reconf->note != NULL ? reconf->note : "", "\n", -1);
    guint number;

    for (guint i = 0; lines[i] != NULL && *lines[i] != '\0'; i++) {
        char *profile = strchr(lines[i], '=');

        if (profile == NULL)
            continue;
        *profile++ = '\0';
        // Neither need be there any more when the journal is that of a daemon that was killed.
        if (vf_inventory_pool(daemon->inventory, lines[i], &number) == NULL)
            continue;
        if (*profile == '\0')
            vf_choice_set(daemon, number, &reconf->pf, NULL);
        else if (g_hash_table_contains(daemon->config->profiles, profile))
            vf_choice_set(daemon, number, &reconf->pf, profile);
    }
}

static gboolean settle(VfDaemon *daemon, const VfReconf *reconf)
{
    for (guint i = 0; i < reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);
        VfLease *lease = vf_allocator_find(daemon->allocator, owner->uuid, owner->device);

        if (lease == NULL || vf_settings_equal(&lease->settings, &owner->after))
            continue;
        replace(&lease->settings, &owner->after, &owner->after);
        vf_daemon_store(daemon, lease, NULL);
    }
    settle_choices(daemon, reconf);
    return vf_daemon_flush(daemon);
}

gint64 vf_reconf_last_outage(const VfDaemon *daemon, const VfPciAddr *pf)
{
    char address[VF_PCIADDR_BUFSIZE];
    const gint64 *outage = g_hash_table_lookup(daemon->outages, vf_pciaddr_format(pf, address));

    return outage != NULL ? *outage : 0;
}

static void remember_outage(const VfPciAddr *pf, gint64 outage, gpointer data)
{
    VfDaemon *daemon = data;
    char address[VF_PCIADDR_BUFSIZE];

    g_hash_table_replace(daemon->outages, g_strdup(vf_pciaddr_format(pf, address)),
                         g_memdup2(&outage, sizeof(outage)));
}

void vf_reconf_note_outage(VfDaemon *daemon, const VfPciAddr *pf, gint64 outage)
{
    g_autoptr(GError) error = NULL;

    if (outage <= 0)
        return;
    remember_outage(pf, outage, daemon);
    vf_daemon_changed(daemon);
    if (!vf_ledger_put_outage(daemon->ledger, pf, outage, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
    // Regions and connections may be others than they were.
    vf_broker_reload(daemon);
}

void vf_reconf_note_resume(VfDaemon *daemon, const VfPciAddr *pf, gint64 outage)
{
    gint64 until = g_get_monotonic_time() + REST_MS * G_TIME_SPAN_MILLISECOND;
    char address[VF_PCIADDR_BUFSIZE];

    if (outage > 0)
        g_hash_table_replace(daemon->rests, g_strdup(vf_pciaddr_format(pf, address)),
                             g_memdup2(&until, sizeof(until)));
}

void vf_reconf_restore_outages(VfDaemon *daemon)
{
    g_autoptr(GError) error = NULL;

    if (!vf_ledger_each_outage(daemon->ledger, remember_outage, daemon, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
}

// ---- running

static void log_outcome(const VfReconf *reconf, VfReconfOutcome outcome, const VfReconfTimes *times,
                        const GError *error)
{
    char pf[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(&reconf->pf, pf);
    if (outcome == VF_RECONF_DONE)
        vf_log(G_LOG_LEVEL_MESSAGE, NULL, pf,
               "%s: %u VFs instead of %u, under %u functions in use; the longest was away for "
               "%" G_GINT64_FORMAT " ms",
               pf, reconf->to, reconf->from, reconf->owners->len,
               times->outage / G_TIME_SPAN_MILLISECOND);
    else
        vf_log(G_LOG_LEVEL_WARNING, NULL, pf, "%s: its reconf %s: %s", pf,
               outcome == VF_RECONF_UNDONE ? "was undone" : "is stuck", error->message);
}

VfReconfHost vf_reconf_host(const VfDaemonOptions *options, char **journals)
{
    *journals = journals_of(options->run_dir);
    return (VfReconfHost){.root = options->root,
                          .helper = options->helper,
                          .journals = *journals,
                          .pause_ms = VF_RECONF_PAUSE_MS,
                          .resume_ms = VF_RECONF_RESUME_MS};
}

gboolean vf_reconf_do(VfReconf *reconf, const VfReconfHost *host, VfReconfTimes *times,
                      GError **error)
{
    GError *cause = NULL;
    VfReconfOutcome outcome = vf_reconf_run(reconf, host, times, &cause);

    log_outcome(reconf, outcome, times, cause);
    if (outcome == VF_RECONF_DONE)
        return TRUE;
    g_propagate_error(error, cause);
    return FALSE;
}

gboolean vf_reconf_is_over(const char *run_dir, const VfPciAddr *pf, GError **error)
{
    g_autofree char *journals = journals_of(run_dir);
    char address[VF_PCIADDR_BUFSIZE];

    if (!vf_reconf_has_journal(journals, pf))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "%s: its last reconf has not ended" VF_REMEDY
                "'virtfn status' says why; it is tried again by itself",
                vf_pciaddr_format(pf, address));
    return FALSE;
}

// ---- open journals

typedef struct {
    VfDaemon *daemon;
    VfPciAddr pf;
    VfReconf *done; // in the new configuration
    VfReconfTimes times;
    gint64 took; // microseconds
    GError *error;
} Recovery;

static void recovery_run(gpointer data)
{
    Recovery *recovery = data;
    g_autofree char *journals = NULL;
    VfReconfHost host = vf_reconf_host(&recovery->daemon->options, &journals);
    g_autoptr(VfReconf) reconf = vf_reconf_load(journals, &recovery->pf, &recovery->error);
    g_autoptr(GError) cause = NULL;
    gint64 begin = g_get_monotonic_time();

    if (reconf == NULL)
        return;
    host.pause_ms = host.resume_ms = RECOVER_MS;
    host.keep_done = TRUE;
    VfReconfOutcome outcome = vf_reconf_recover(reconf, &host, &recovery->times, &cause);
    recovery->took = g_get_monotonic_time() - begin;
    switch (outcome) {
    case VF_RECONF_DONE:
        recovery->done = g_steal_pointer(&reconf);
        break;
    case VF_RECONF_UNDONE:
        break;
    case VF_RECONF_STUCK:
        recovery->error = g_steal_pointer(&cause);
        break;
    }
}

gboolean vf_reconf_end(VfDaemon *daemon, const VfReconf *reconf, GError **error)
{
    g_autofree char *journals = journals_of(daemon->options.run_dir);
    char address[VF_PCIADDR_BUFSIZE];

    if (settle(daemon, reconf))
        return !vf_reconf_has_journal(journals, &reconf->pf) ||
               vf_reconf_forget(reconf, journals, error);
    g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                "%s: it is done, but cannot be written down: %s",
                vf_pciaddr_format(&reconf->pf, address), daemon->storage_error);
    return FALSE;
}

static void log_recovery(const Recovery *recovery, const char *pf)
{
    const VfReconfTimes *times = &recovery->times;
    gint64 kernel =
        times->write + times->steps[VF_RECONF_STEP_REMOVE] + times->steps[VF_RECONF_STEP_CREATE];

    vf_log(G_LOG_LEVEL_MESSAGE, NULL, pf,
           "%s: a reconf that was cut short has ended, %" G_GINT64_FORMAT
           " ms after virtfnd looked at it; the kernel removed and created VFs in %" G_GINT64_FORMAT
           " of them",
           pf, recovery->took / G_TIME_SPAN_MILLISECOND, kernel / G_TIME_SPAN_MILLISECOND);
}

static void recovery_done(gpointer data)
{
    Recovery *recovery = data;
    VfDaemon *daemon = recovery->daemon;
    char pf[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(&recovery->pf, pf);
    if (recovery->done != NULL)
        vf_reconf_end(daemon, recovery->done, &recovery->error);
    if (recovery->error != NULL) {
        vf_log(G_LOG_LEVEL_WARNING, NULL, pf, "%s: %s", pf, recovery->error->message);
        g_hash_table_replace(daemon->stuck, g_strdup(pf), g_strdup(recovery->error->message));
    } else {
        log_recovery(recovery, pf);
        g_hash_table_remove(daemon->stuck, pf);
    }
    vf_daemon_refresh(daemon);
    vf_broker_reload(daemon);
    vf_domains_resync(daemon); // attaches again what was detached for it
    g_clear_error(&recovery->error);
    g_clear_pointer(&recovery->done, vf_reconf_free);
    g_free(recovery);
}

void vf_reconf_recover_all(VfDaemon *daemon)
{
    g_autofree char *journals = journals_of(daemon->options.run_dir);
    g_autoptr(GArray) open = vf_reconf_open(journals);

    // A lane that works on a reconf has its journal open: look again when all is quiet.
    if (vf_lanes_busy(daemon->lanes) > 0)
        return;
    for (guint i = 0; i < open->len; i++) {
        Recovery *recovery = g_new0(Recovery, 1);
        VfLaneJob job = {NULL, recovery_run, recovery_done, recovery};

        recovery->daemon = daemon;
        recovery->pf = g_array_index(open, VfPciAddr, i);
        vf_lanes_submit(daemon->lanes, &recovery->pf, &job);
    }
}
