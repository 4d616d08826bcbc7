// SPDX-License-Identifier: GPL-2.0-or-later
//
// `virtfn reconf`: an operator's change of a card under its guests, PF by PF, one after the other,
// told step by step (NDJSON). A dry run tells the plan and asks the guests whether they could be
// paused. What the ledger and the configuration say is looked at last in the lane's `begin`, so
// nothing can come between. What may not be asked is in reconf-check.c, the events in
// reconf-events.c.
//
// With allow_detach the guests that cannot pause have their devices detached before, and attached
// again after the reconf, which then has nothing to do with them: two visits to the lane, and no
// call of libvirt in it.

#include <string.h>

#include "domains.h"
#include "error.h"
#include "reconf-order.h"
#include "routes.h"
#include "settle.h"

// ---- one PF

static void order_begin(gpointer data)
{
    VfReconfOrder *order = data;
    VfDaemon *daemon = order->daemon;
    const VfInvPf *pf = vf_inventory_pf(daemon->inventory, &order->pf);
    guint count = order->count != VF_UNSET ? (guint)order->count : pf != NULL ? pf->count : 0;

    if (!vf_order_check(order, count, &order->error))
        return;
    if (!order->dry_run && !(order->entered = vf_settle_enter(daemon, &order->error)))
        return;
    const VfInvPool *pool = vf_order_pool(order);
    order->reconf = vf_reconf_plan(daemon, &order->pf, count, NULL);
    vf_reconf_plan_profile(daemon, order->reconf, order->pool != NULL ? pool : NULL,
                           order->profile);
    if (!vf_order_check_settings(order->reconf, &order->error))
        return;
    if (order->bitstream != NULL) {
        order->reconf->pool = g_strdup(pool->config->name);
        order->reconf->program = g_strdup(pool->config->bitstream_program);
        order->reconf->bitstream = g_strdup(order->bitstream);
    }
    order->reconf->allow_detach = order->allow_detach && order->replug == NULL;
    if (order->replug == NULL)
        vf_order_tell_plan(order);
}

// The owners whose guests cannot pause; NULL when there are none.
static VfReplug *find_unpausable(VfReconfOrder *order)
{
    VfReplug *replug = NULL;

    for (guint i = 0; i < order->reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(order->reconf->owners, i);
        g_autofree char *name = g_strdup_printf("%s/%s", owner->domain, owner->device);

        if (!owner->cannot_pause)
            continue;
        if (replug == NULL)
            replug = vf_replug_new(order->daemon);
        vf_replug_add(replug, owner);
        vf_order_tell_later(VF_RECONF_STEP_LOOK, "detach", name, order);
    }
    return replug;
}

static void order_run(gpointer data)
{
    VfReconfOrder *order = data;
    VfReconf *reconf = order->reconf;
    gboolean first = order->replug == NULL;
    g_autofree char *journals = NULL;
    VfReconfHost host = vf_reconf_host(&order->daemon->options, &journals);

    if (order->error != NULL ||
        !vf_reconf_is_over(order->daemon->options.run_dir, &order->pf, &order->error) ||
        !vf_reconf_is_needed(reconf))
        return;
    host.tell = vf_order_tell_later;
    host.data = order;
    host.cancelled = &order->cancelled;
    host.keep_done = TRUE;
    if (first && (order->dry_run || order->allow_detach)) {
        if (!vf_reconf_look(reconf, &host, &order->error))
            return;
        order->replug = find_unpausable(order);
    }
    if (!order->dry_run && (!first || order->replug == NULL))
        vf_reconf_do(reconf, &host, &order->times, &order->error);
}

static void next_pf(VfReconfOrder *order);

// Between two visits to the lane no VF is away; and a libvirt daemon that starts is what attaching
// waits for.
static void leave(VfReconfOrder *order)
{
    if (order->entered)
        vf_settle_leave(order->daemon);
    order->entered = FALSE;
}

// In the lane still, so that who comes next finds it written down.
static void write_down(VfReconfOrder *order)
{
    if (order->error == NULL && !order->dry_run)
        vf_reconf_end(order->daemon, order->reconf, &order->error);
}

static void end_pf(VfReconfOrder *order)
{
    char pf[VF_PCIADDR_BUFSIZE];

    if (order->error != NULL)
        vf_order_tell_problem(order);
    else if (order->times.outage > 0 || order->times.steps[VF_RECONF_STEP_CREATE] > 0)
        vf_order_tell_times(order);
    vf_reconf_note_resume(order->daemon, &order->pf, order->times.outage);
    if (order->error == NULL)
        vf_reconf_note_outage(order->daemon, &order->pf, order->times.outage);
    g_hash_table_remove(order->daemon->reconfs, vf_pciaddr_format(&order->pf, pf));
    g_clear_error(&order->error);
    g_clear_pointer(&order->reconf, vf_reconf_free);
    g_clear_pointer(&order->replug, vf_replug_free);
    memset(&order->times, 0, sizeof(order->times));
    next_pf(order);
}

// ---- guests that cannot pause

static void told_replug(const char *event, const char *owner, gpointer data)
{
    gboolean out = strcmp(event, "detached") == 0;

    vf_order_tell_step(data, out ? VF_RECONF_STEP_PAUSE : VF_RECONF_STEP_RESUME, event, owner);
}

static void all_in(const GError *error, gpointer data)
{
    VfReconfOrder *order = data;

    if (error != NULL && order->error == NULL)
        order->error = g_error_copy(error);
    order->times.outage = MAX(order->times.outage, vf_replug_outage(order->replug));
    end_pf(order);
}

static void second_done(gpointer data)
{
    VfReconfOrder *order = data;

    write_down(order);
    leave(order);
    // A reconf that got stuck has not made their functions ready: they follow when it has ended.
    if (vf_reconf_is_over(order->daemon->options.run_dir, &order->pf, NULL))
        vf_replug_in(order->replug, told_replug, all_in, order);
    else
        end_pf(order);
}

static void all_out(const GError *error, gpointer data)
{
    VfReconfOrder *order = data;
    VfLaneJob job = {order_begin, order_run, second_done, order};

    g_clear_pointer(&order->reconf, vf_reconf_free);
    if (error != NULL) {
        order->error = g_error_copy(error);
        vf_replug_in(order->replug, told_replug, all_in, order);
    } else {
        vf_lanes_submit(order->daemon->lanes, &order->pf, &job);
    }
}

static void order_done(gpointer data)
{
    VfReconfOrder *order = data;

    if (order->replug == NULL)
        write_down(order);
    leave(order);
    if (order->replug != NULL && !order->dry_run && order->error == NULL)
        vf_replug_out(order->replug, told_replug, all_out, order);
    else
        end_pf(order);
}

static void order_free(VfReconfOrder *order)
{
    g_array_unref(order->pfs);
    g_free(order->pool);
    g_free(order->profile);
    g_free(order->bitstream);
    g_free(order);
}

static void finish(VfReconfOrder *order)
{
    if (vf_daemon_refresh(order->daemon))
        vf_domains_resync(order->daemon);
    vf_order_tell_end(order);
    order_free(order);
}

// A PF that failed ends the order: the others are as they were.
static void next_pf(VfReconfOrder *order)
{
    VfLaneJob job = {order_begin, order_run, order_done, order};
    char pf[VF_PCIADDR_BUFSIZE];

    if (order->next == order->pfs->len || order->failed) {
        finish(order);
        return;
    }
    order->pf = g_array_index(order->pfs, VfPciAddr, order->next++);
    g_hash_table_replace(order->daemon->reconfs, g_strdup(vf_pciaddr_format(&order->pf, pf)),
                         &order->cancelled);
    vf_lanes_submit(order->daemon->lanes, &order->pf, &job);
}

// ---- the request

// A pool's name, or a PF's address or network interface.
static gboolean find_pfs(VfReconfOrder *order, const char *target, GError **error)
{
    const VfDaemon *daemon = order->daemon;
    GArray *pfs = order->pfs;
    guint number;
    const VfInvPool *pool = vf_inventory_pool(daemon->inventory, target, &number);
    VfPciAddr address = {0};
    gboolean is_address = vf_pciaddr_parse(target, &address);

    for (guint i = 0; i < daemon->inventory->pfs->len; i++) {
        const VfInvPf *pf = g_ptr_array_index(daemon->inventory->pfs, i);

        if (pool != NULL ? g_ptr_array_find(pool->pfs, pf, NULL)
                         : (is_address && vf_pciaddr_equal(&address, &pf->pci.address)) ||
                               g_strcmp0(target, pf->netdev) == 0)
            g_array_append_val(pfs, pf->pci.address);
    }
    if (pool != NULL)
        order->pool = g_strdup(pool->config->name);
    if (pfs->len > 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "'%.40s': neither a pool nor a PF of one" VF_REMEDY
                "'virtfn list pools' names them",
                target);
    return FALSE;
}

static gboolean check_idle(const VfReconfOrder *order, GError **error)
{
    char pf[VF_PCIADDR_BUFSIZE];

    for (guint i = 0; i < order->pfs->len; i++) {
        vf_pciaddr_format(&g_array_index(order->pfs, VfPciAddr, i), pf);
        if (!g_hash_table_contains(order->daemon->reconfs, pf))
            continue;
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "%s: another reconf is under way" VF_REMEDY "wait for its end", pf);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_request(VfReconfOrder *order, json_t *json, GError **error)
{
    const char *target, *profile = NULL, *bitstream = NULL;
    int dry_run = FALSE, allow_detach = FALSE;
    json_error_t where;

    order->count = VF_UNSET;
    if (json_unpack_ex(json, &where, JSON_STRICT, "{s:s, s?i, s?s, s?s, s?b, s?b}", "target",
                       &target, "vfs", &order->count, "profile", &profile, "bitstream", &bitstream,
                       "dry_run", &dry_run, "allow_detach", &allow_detach) != 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "reconf: %s", where.text);
        return FALSE;
    }
    if (order->count != VF_UNSET && (order->count < 1 || order->count > G_MAXUINT16)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "reconf: vfs is a number from 1 to 65535");
        return FALSE;
    }
    if (bitstream != NULL && !g_path_is_absolute(bitstream)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "reconf: bitstream '%.40s' is no absolute path", bitstream);
        return FALSE;
    }
    if (order->daemon->config_error != NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s", order->daemon->config_error);
        return FALSE;
    }
    order->dry_run = dry_run;
    order->allow_detach = allow_detach;
    order->profile = g_strdup(profile);
    order->bitstream = g_strdup(bitstream);
    return find_pfs(order, target, error) && check_idle(order, error);
}

void vf_route_reconf(VfRequest *request, gpointer data)
{
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);
    VfReconfOrder *order = g_new0(VfReconfOrder, 1);

    order->daemon = data;
    order->pfs = g_array_new(FALSE, FALSE, sizeof(VfPciAddr));
    if (vf_daemon_refresh(data))
        vf_domains_resync(data);
    if (json == NULL || !read_request(order, json, &error)) {
        vf_request_reply_error(request, error);
        order_free(order);
    } else {
        order->stream = vf_request_stream(request, "application/x-ndjson");
        next_pf(order);
    }
    json_decref(json);
}

// Takes effect when nothing irreversible has begun; the stream of the order tells.
void vf_route_reconf_cancel(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    const char *pf = vf_request_segment(request, 0);
    gint *cancelled = g_hash_table_lookup(daemon->reconfs, pf);
    g_autoptr(GError) error = NULL;

    if (cancelled != NULL) {
        g_atomic_int_set(cancelled, 1);
        vf_request_reply_empty(request);
        return;
    }
    g_set_error(&error, VF_ERROR, VF_ERROR_NOT_FOUND, "%.40s: no reconf is under way", pf);
    vf_request_reply_error(request, error);
}
