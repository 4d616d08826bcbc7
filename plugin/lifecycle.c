// SPDX-License-Identifier: GPL-2.0-or-later
//
// prepare, as decisions first and hardware after: all claims are decided in one go on the main
// thread, then each function is readied in its PF's lane, then the leases are committed and the
// hook is answered. Between these, leases are found again by (uuid, device), never by pointer: a
// failed commit or a changed inventory rebuilds the table.

#include "lifecycle.h"

#include <string.h>

#include "domains.h"
#include "domxml.h"
#include "error.h"
#include "log.h"
#include "release.h"
#include "work.h"

typedef struct {
    char *device;
    char *pool;   // name
    guint wanted; // slot, VF_NO_SLOT = any
    guint pool_number;
    gboolean rendered; // the XML names a function for it
    gboolean granted;  // by this call
    gboolean touched;  // its function was readied, or part of that
    VfSettings settings;
    VfPciAddr address; // that the XML names
} Wish;

typedef struct {
    VfDaemon *daemon;
    VfDomain *domain;
    GArray *wishes; // of Wish
    guint jobs;     // in lanes
    GError *error;  // the first one
    gboolean retry; // a function turned out to be somebody else's: decide again
    VfAnswered answered;
    gpointer data;
} Prepare;

static void wish_clear(gpointer data)
{
    Wish *wish = data;

    g_free(wish->device);
    g_free(wish->pool);
    vf_settings_clear(&wish->settings);
}

static void prepare_free(Prepare *prepare)
{
    g_clear_pointer(&prepare->domain, vf_domain_free);
    g_array_unref(prepare->wishes);
    g_clear_error(&prepare->error);
    g_free(prepare);
}

static const char *who(const VfLease *lease)
{
    return lease->domain != NULL && *lease->domain != '\0' ? lease->domain : lease->uuid;
}

// ---- what a domain wishes

static const VfHostdev *hostdev_of(const VfDomain *domain, const char *claim)
{
    for (guint i = 0; i < domain->hostdevs->len; i++) {
        const VfHostdev *hostdev = &g_array_index(domain->hostdevs, VfHostdev, i);

        if (g_strcmp0(hostdev->claim, claim) == 0)
            return hostdev;
    }
    return NULL;
}

static gboolean wish_of_claim(VfDaemon *daemon, const VfDomain *domain, const VfClaim *claim,
                              Wish *wish, GError **error)
{
    const VfHostdev *hostdev = hostdev_of(domain, claim->name);
    VfInvPool *pool = vf_inventory_pool(daemon->inventory, claim->pool, &wish->pool_number);
    char address[VF_PCIADDR_BUFSIZE];
    guint pool_number;

    if (pool == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%s', device '%s': there is no pool '%s'" VF_REMEDY
                    "'virtfn list pools' names them; pools are described in %s",
                    domain->name, claim->name, claim->pool, daemon->options.config_dir);
        return FALSE;
    }
    wish->device = g_strdup(claim->name);
    wish->pool = g_strdup(claim->pool);
    wish->wanted = VF_NO_SLOT;
    wish->rendered = hostdev != NULL;
    vf_settings_merge(&wish->settings, &pool->config->settings, &claim->settings);
    if (hostdev == NULL)
        return TRUE;
    wish->address = hostdev->address;
    if (vf_inventory_find(daemon->inventory, &hostdev->address, &pool_number, &wish->wanted) &&
        pool_number == wish->pool_number)
        return TRUE;
    vf_domains_queue(daemon->domains, domain->uuid, domain->name);
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "domain '%s', device '%s': its XML names %s, which is no function of pool '%s'%s%s",
                domain->name, claim->name, vf_pciaddr_format(&hostdev->address, address),
                claim->pool, pool->problem != NULL ? ": " : VF_REMEDY,
                pool->problem != NULL ? pool->problem
                                      : "it is being rendered again: start it again");
    return FALSE;
}

// Name under which a plain hostdev's function is leased.
static char *plain_device(const VfPciAddr *address)
{
    char text[VF_PCIADDR_BUFSIZE];

    return g_strdup_printf("pci-%s", vf_pciaddr_format(address, text));
}

static gboolean find_wishes(Prepare *prepare, GError **error)
{
    VfDaemon *daemon = prepare->daemon;
    const VfDomain *domain = prepare->domain;

    if (daemon->config_error != NULL && domain->claims->len > 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s", daemon->config_error);
        return FALSE;
    }
    for (guint i = 0; i < domain->claims->len; i++) {
        Wish wish = {0};
        gboolean ok;

        vf_settings_init(&wish.settings);
        ok = wish_of_claim(daemon, domain, g_ptr_array_index(domain->claims, i), &wish, error);
        g_array_append_val(prepare->wishes, wish);
        if (!ok)
            return FALSE;
    }
    for (guint i = 0; i < domain->hostdevs->len; i++) {
        const VfHostdev *hostdev = &g_array_index(domain->hostdevs, VfHostdev, i);
        Wish wish = {.rendered = TRUE, .address = hostdev->address};

        if (hostdev->claim != NULL || !vf_inventory_find(daemon->inventory, &hostdev->address,
                                                         &wish.pool_number, &wish.wanted))
            continue;
        const VfPoolConfig *config = vf_daemon_pool(daemon, wish.pool_number)->config;
        wish.device = plain_device(&hostdev->address);
        wish.pool = g_strdup(config->name);
        vf_settings_init(&wish.settings);
        vf_settings_merge(&wish.settings, &config->settings, &wish.settings);
        g_array_append_val(prepare->wishes, wish);
    }
    return TRUE;
}

// ---- deciding

typedef enum { DECIDED, WAIT, REFUSED } Decision;

static void set_not_usable(VfDaemon *daemon, const Wish *wish, const char *domain, GError **error)
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

static void set_taken(VfDaemon *daemon, const Wish *wish, const VfLease *holder, const char *domain,
                      GError **error)
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
                    domain, wish->device, name, who(holder), wish->pool);
}

static void set_exhausted(VfDaemon *daemon, const Wish *wish, const char *domain, GError **error)
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

static Decision decide_wish(VfDaemon *daemon, const VfDomain *domain, Wish *wish, GError **error)
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
    vf_settings_merge(&lease->settings, &wish->settings, &wish->settings);
    if (vf_daemon_keep(daemon, lease, VF_LEASE_PREPARING, error))
        return DECIDED;
    return REFUSED;
}

static void undo(Prepare *prepare)
{
    VfDaemon *daemon = prepare->daemon;

    for (guint i = 0; i < prepare->wishes->len; i++) {
        Wish *wish = &g_array_index(prepare->wishes, Wish, i);
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
        const Wish *wish = &g_array_index(prepare->wishes, Wish, i);
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
        Wish *wish = &g_array_index(prepare->wishes, Wish, i);
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
                               &g_array_index(prepare->wishes, Wish, i), &prepare->error);
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
    if (find_wishes(prepare, &prepare->error))
        decide(prepare);
    else
        finish(prepare);
}

static gboolean has_uuid(const VfDomain *domain, GError **error)
{
    if (domain->uuid[0] != '\0')
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "domain '%s': its XML has no <uuid>",
                domain->name);
    return FALSE;
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
    prepare->wishes = g_array_new(FALSE, FALSE, sizeof(Wish));
    g_array_set_clear_func(prepare->wishes, wish_clear);
    prepare->domain = vf_domain_parse(xml, length, &prepare->error);
    refresh_if_troubled(daemon);
    if (prepare->domain == NULL || !has_uuid(prepare->domain, &prepare->error) ||
        !find_wishes(prepare, &prepare->error)) {
        answered(prepare->error, data);
        prepare_free(prepare);
        return;
    }
    decide(prepare);
}

gboolean vf_lifecycle_starting(const VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->state == VF_LEASE_PREPARING || lease->state == VF_LEASE_READY)
            return TRUE;
    }
    return FALSE;
}

// ---- what runs

static gboolean adopt_hostdev(VfDaemon *daemon, const VfDomain *domain, const VfHostdev *hostdev,
                              VfLeaseState state, GError **error)
{
    g_autofree char *device =
        hostdev->claim != NULL ? g_strdup(hostdev->claim) : plain_device(&hostdev->address);
    guint pool, slot;
    VfLease *lease;

    if (!vf_inventory_find(daemon->inventory, &hostdev->address, &pool, &slot))
        return TRUE;
    lease = vf_allocator_at(daemon->allocator, pool, slot);
    if (lease != NULL && strcmp(lease->uuid, domain->uuid) != 0) {
        g_autofree char *name = vf_inventory_name(vf_daemon_slot(daemon, pool, slot));

        g_set_error(error, VF_ERROR, VF_ERROR_BUSY, "domain '%s': %s is leased to domain '%s'",
                    domain->name, name, who(lease));
        return FALSE;
    }
    if (lease == NULL) {
        // Its own old lease, of another function, is of an earlier run.
        VfLease *old = vf_allocator_find(daemon->allocator, domain->uuid, device);

        if (old != NULL)
            vf_daemon_drop(daemon, old);
        vf_allocator_set_usable(daemon->allocator, pool, slot, TRUE);
        if (vf_allocator_lease(daemon->allocator, pool, domain->uuid, device, slot, &lease) !=
            VF_GRANTED)
            return TRUE;
        vf_daemon_quarantine(daemon, pool, slot, NULL);
        lease->domain = g_strdup(domain->name);
        vf_settings_merge(&lease->settings, &vf_daemon_pool(daemon, pool)->config->settings,
                          &vf_daemon_pool(daemon, pool)->config->settings);
    } else if (lease->state == state || lease->state == VF_LEASE_RELEASING) {
        return TRUE;
    }
    return vf_daemon_keep(daemon, lease, state, error);
}

static gboolean adopt(VfDaemon *daemon, const char *xml, gsize length, VfLeaseState state,
                      GError **error)
{
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, length, error);
    gboolean ok = domain != NULL && has_uuid(domain, error);

    for (guint i = 0; ok && i < domain->hostdevs->len; i++)
        ok = adopt_hostdev(daemon, domain, &g_array_index(domain->hostdevs, VfHostdev, i), state,
                           error);
    if (ok && state == VF_LEASE_RUNNING) {
        g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, domain->uuid);

        for (guint i = 0; i < leases->len; i++) {
            VfLease *lease = g_ptr_array_index(leases, i);

            if (lease->state == VF_LEASE_READY)
                vf_daemon_keep(daemon, lease, VF_LEASE_RUNNING, NULL);
        }
        vf_domains_attach(daemon, domain->uuid);
        vf_domains_queue(daemon->domains, domain->uuid, domain->name);
    }
    return ok;
}

gboolean vf_lifecycle_start(VfDaemon *daemon, const char *xml, gsize length, GError **error)
{
    return adopt(daemon, xml, length, VF_LEASE_READY, error);
}

gboolean vf_lifecycle_adopt(VfDaemon *daemon, const char *xml, gsize length, GError **error)
{
    return adopt(daemon, xml, length, VF_LEASE_RUNNING, error);
}
