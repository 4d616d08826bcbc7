// SPDX-License-Identifier: GPL-2.0-or-later
//
// `virtfn reconf`: an operator's change of a card under its guests, PF by PF, one after the other,
// told step by step (NDJSON). A dry run tells the plan and asks the guests whether they could be
// paused. What the ledger and the configuration say is looked at last in the lane's `begin`, so
// nothing can come between.
//
// With allow_detach the guests that cannot pause have their devices detached before, and attached
// again after the reconf, which then has nothing to do with them: two visits to the lane, and no
// call of libvirt in it.

#include <string.h>

#include "choices.h"
#include "domains.h"
#include "error.h"
#include "jsontext.h"
#include "program.h"
#include "reconf-jobs.h"
#include "replug.h"
#include "routes.h"
#include "settle.h"
#include "sriov.h"

typedef struct {
    VfDaemon *daemon;
    VfStream *stream;
    GArray *pfs;   // of VfPciAddr, in order
    guint next;    // of them
    int count;     // VFs wanted, VF_UNSET = as configured
    char *pool;    // whose functions get another profile; NULL = those of all pools on the PFs
    char *profile; // its name, NULL = as configured
    char *bitstream;
    gboolean dry_run, allow_detach, failed;
    gboolean entered; // see settle.h
    // the PF at work
    VfPciAddr pf;
    VfReconf *reconf;
    VfReplug *replug; // of guests that cannot pause; NULL = there are none, or not looked yet
    VfReconfTimes times;
    gint cancelled;
    GError *error;
} Order;

// ---- events

static void emit(Order *order, GString *event)
{
    g_string_append_c(event, '\n');
    vf_stream_write(order->stream, event->str);
    g_string_free(event, TRUE);
}

typedef struct {
    Order *order;
    VfReconfStep step;
    char *what, *owner;
} Told;

static void emit_step(Order *order, VfReconfStep step, const char *what, const char *owner)
{
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'step','pf':%a,'step':%s,'what':%s,'owner':%s}", &order->pf,
                   vf_reconf_step_word(step), what, owner);
    emit(order, event);
}

static gboolean emit_told(gpointer data)
{
    Told *told = data;

    emit_step(told->order, told->step, told->what, told->owner);
    g_free(told->what);
    g_free(told->owner);
    g_free(told);
    return G_SOURCE_REMOVE;
}

// Of the priority that the end of a job has, so that it comes before that.
static void tell(VfReconfStep step, const char *what, const char *owner, gpointer data)
{
    Told *told = g_new(Told, 1);
    GSource *source = g_idle_source_new();

    *told = (Told){data, step, g_strdup(what), g_strdup(owner)};
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, emit_told, told, NULL);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

// TRUE when a pool has functions on the PF at work.
static gboolean is_on_pf(const Order *order, const VfInvPool *pool)
{
    return g_ptr_array_find(pool->pfs, vf_inventory_pf(order->daemon->inventory, &order->pf), NULL);
}

static void append_profiles(GString *event, const Order *order)
{
    const VfDaemon *daemon = order->daemon;

    for (guint number = 0; number < daemon->inventory->pools->len; number++) {
        const VfInvPool *pool = vf_daemon_pool(daemon, number);
        const char *before = vf_choice_name(daemon, number, &order->pf), *after = before;

        if (!is_on_pf(order, pool))
            continue;
        if (order->pool == NULL || strcmp(order->pool, pool->config->name) == 0)
            after = order->profile != NULL ? order->profile : pool->config->profile;
        vf_json_next(event);
        vf_json_append(event, "{'pool':%s,'before':%s,'after':%s}", pool->config->name, before,
                       after);
    }
}

static void append_changes(GString *event, const VfReconfOwner *owner)
{
    for (guint i = 0; vf_settings_keys[i] != NULL; i++) {
        g_autofree char *before = vf_settings_get(&owner->before, vf_settings_keys[i]);
        g_autofree char *after = vf_settings_get(&owner->after, vf_settings_keys[i]);

        if (g_strcmp0(before, after) == 0)
            continue;
        vf_json_next(event);
        vf_json_append(event, "{'setting':%s,'before':%s,'after':%s}", vf_settings_keys[i], before,
                       after);
    }
}

static void emit_plan(Order *order)
{
    const VfReconf *reconf = order->reconf;
    gint64 outage = vf_reconf_last_outage(order->daemon, &order->pf);
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'plan','pf':%a,'from':%i,'to':%i,'needed':%b,", &order->pf,
                   reconf->from, reconf->to, vf_reconf_is_needed(reconf));
    if (outage > 0)
        vf_json_append(event, "'last_outage_us':%I,'profiles':[", outage);
    else
        vf_json_append(event, "'last_outage_us':null,'profiles':[");
    append_profiles(event, order);
    vf_json_append(event, "],'owners':[");
    for (guint i = 0; i < reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);

        vf_json_next(event);
        vf_json_append(event,
                       "{'domain':{'uuid':%s,'name':%s},'device':%s,'index':%i,'address':%a,"
                       "'stays_paused':%b,'changes':[",
                       owner->uuid, owner->domain, owner->device, owner->index, &owner->address,
                       owner->stays_paused);
        append_changes(event, owner);
        vf_json_append(event, "]}");
    }
    vf_json_append(event, "]}");
    emit(order, event);
}

static void emit_problem(Order *order)
{
    GString *event = g_string_new(NULL);

    order->failed = TRUE;
    vf_json_append(event, "{'event':'problem','pf':%a,'problem':", &order->pf);
    vf_problem_json(event, order->error);
    vf_json_append(event, "}");
    emit(order, event);
}

static void emit_times(Order *order)
{
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'times','pf':%a,'outage_us':%I,'steps_us':{", &order->pf,
                   order->times.outage);
    for (guint step = 0; step < VF_RECONF_STEPS; step++) {
        g_string_append(event, step > 0 ? "," : "");
        vf_json_append(event, "%s:%I", vf_reconf_step_word(step), order->times.steps[step]);
    }
    vf_json_append(event, "}}");
    emit(order, event);
}

// ---- one PF

static gboolean check_leases(const Order *order, guint count, GError **error)
{
    const VfDaemon *daemon = order->daemon;
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);
        const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);
        g_autofree char *name = vf_inventory_name(slot);

        if (!vf_pciaddr_equal(&slot->pf->pci.address, &order->pf) || slot->index < count)
            continue;
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "%s: domain '%s' has it, and it would be gone with %u VFs" VF_REMEDY
                    "stop that domain first, or keep %u VFs",
                    name, vf_lease_holder(lease), count, slot->index + 1);
        return FALSE;
    }
    return TRUE;
}

// The pool that was named, or else the first on the PF; NULL: it is gone.
static const VfInvPool *pool_of(const Order *order)
{
    const VfPoolConfig *first = vf_reconf_pool(order->daemon, &order->pf);
    const char *name = order->pool != NULL ? order->pool : first != NULL ? first->name : "";
    guint number;
    const VfInvPool *pool = vf_inventory_pool(order->daemon->inventory, name, &number);

    return pool != NULL && is_on_pf(order, pool) ? pool : NULL;
}

// A profile is chosen for a pool; a PF says which one only when it has one.
static gboolean check_profile(const Order *order, GError **error)
{
    const VfDaemon *daemon = order->daemon;
    char address[VF_PCIADDR_BUFSIZE];
    guint pools = 0;

    if (order->profile == NULL)
        return TRUE;
    if (!g_hash_table_contains(daemon->config->profiles, order->profile)) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "profile '%.40s': there is no such profile" VF_REMEDY
                    "describe it as a group [profile NAME] in %s, then reload virtfnd",
                    order->profile, daemon->options.config_dir);
        return FALSE;
    }
    for (guint i = 0; i < daemon->inventory->pools->len; i++)
        pools += is_on_pf(order, vf_daemon_pool(daemon, i));
    if (pools == 1 || order->pool != NULL)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "%s: %u pools have functions on it" VF_REMEDY
                "name the pool that is to have profile '%s'",
                vf_pciaddr_format(&order->pf, address), pools, order->profile);
    return FALSE;
}

static gboolean check(const Order *order, guint count, GError **error)
{
    const VfInvPf *pf = vf_inventory_pf(order->daemon->inventory, &order->pf);
    const VfInvPool *pool = pool_of(order);
    char address[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(&order->pf, address);
    if (pool == NULL || pf->problem != NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s: %s", address,
                    pool != NULL ? pf->problem : "it is in no pool any more");
        return FALSE;
    }
    if (count < 1 || count > pf->pci.cap.total_vfs) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "%s: cannot have %u VFs" VF_REMEDY "ask for 1 to %u", address, count,
                    pf->pci.cap.total_vfs);
        return FALSE;
    }
    if (order->bitstream != NULL &&
        !vf_program_can_flash(pool->config->bitstream_program, pool->config->name, error))
        return FALSE;
    return check_profile(order, error) && check_leases(order, count, error);
}

// What does not go together is found before anybody is paused; what the card cannot do is not.
static gboolean check_settings(const VfReconf *reconf, GError **error)
{
    for (guint i = 0; i < reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);

        if (vf_settings_check(&owner->after, error))
            continue;
        g_prefix_error(error, "domain '%s', device '%s': ", owner->domain, owner->device);
        return FALSE;
    }
    return TRUE;
}

static void order_begin(gpointer data)
{
    Order *order = data;
    VfDaemon *daemon = order->daemon;
    const VfInvPf *pf = vf_inventory_pf(daemon->inventory, &order->pf);
    guint count = order->count != VF_UNSET ? (guint)order->count : pf != NULL ? pf->count : 0;

    if (!check(order, count, &order->error))
        return;
    if (!order->dry_run && !(order->entered = vf_settle_enter(daemon, &order->error)))
        return;
    const VfInvPool *pool = pool_of(order);
    order->reconf = vf_reconf_plan(daemon, &order->pf, count, NULL);
    vf_reconf_plan_profile(daemon, order->reconf, order->pool != NULL ? pool : NULL,
                           order->profile);
    if (!check_settings(order->reconf, &order->error))
        return;
    if (order->bitstream != NULL) {
        order->reconf->pool = g_strdup(pool->config->name);
        order->reconf->program = g_strdup(pool->config->bitstream_program);
        order->reconf->bitstream = g_strdup(order->bitstream);
    }
    order->reconf->allow_detach = order->allow_detach && order->replug == NULL;
    if (order->replug == NULL)
        emit_plan(order);
}

// The owners whose guests cannot pause; NULL when there are none.
static VfReplug *find_unpausable(Order *order)
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
        tell(VF_RECONF_STEP_LOOK, "detach", name, order);
    }
    return replug;
}

static void order_run(gpointer data)
{
    Order *order = data;
    VfReconf *reconf = order->reconf;
    gboolean first = order->replug == NULL;
    g_autofree char *journals = NULL;
    VfReconfHost host = vf_reconf_host(&order->daemon->options, &journals);

    if (order->error != NULL ||
        !vf_reconf_is_over(order->daemon->options.run_dir, &order->pf, &order->error) ||
        !vf_reconf_is_needed(reconf))
        return;
    host.tell = tell;
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

static void next_pf(Order *order);

// Between two visits to the lane no VF is away; and a libvirt daemon that starts is what attaching
// waits for.
static void leave(Order *order)
{
    if (order->entered)
        vf_settle_leave(order->daemon);
    order->entered = FALSE;
}

// In the lane still, so that who comes next finds it written down.
static void write_down(Order *order)
{
    if (order->error == NULL && !order->dry_run)
        vf_reconf_end(order->daemon, order->reconf, &order->error);
}

static void end_pf(Order *order)
{
    char pf[VF_PCIADDR_BUFSIZE];

    if (order->error != NULL)
        emit_problem(order);
    else if (order->times.outage > 0 || order->times.steps[VF_RECONF_STEP_CREATE] > 0)
        emit_times(order);
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

    emit_step(data, out ? VF_RECONF_STEP_PAUSE : VF_RECONF_STEP_RESUME, event, owner);
}

static void all_in(const GError *error, gpointer data)
{
    Order *order = data;

    if (error != NULL && order->error == NULL)
        order->error = g_error_copy(error);
    order->times.outage = MAX(order->times.outage, vf_replug_outage(order->replug));
    end_pf(order);
}

static void second_done(gpointer data)
{
    Order *order = data;

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
    Order *order = data;
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
    Order *order = data;

    if (order->replug == NULL)
        write_down(order);
    leave(order);
    if (order->replug != NULL && !order->dry_run && order->error == NULL)
        vf_replug_out(order->replug, told_replug, all_out, order);
    else
        end_pf(order);
}

static void order_free(Order *order)
{
    g_array_unref(order->pfs);
    g_free(order->pool);
    g_free(order->profile);
    g_free(order->bitstream);
    g_free(order);
}

static void finish(Order *order)
{
    GString *event = g_string_new(NULL);

    if (vf_daemon_refresh(order->daemon))
        vf_domains_resync(order->daemon);
    vf_json_append(event, "{'event':'done','ok':%b}", !order->failed);
    emit(order, event);
    vf_stream_end(order->stream);
    order_free(order);
}

// A PF that failed ends the order: the others are as they were.
static void next_pf(Order *order)
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
static gboolean find_pfs(Order *order, const char *target, GError **error)
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

static gboolean check_idle(const Order *order, GError **error)
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

static gboolean read_request(Order *order, json_t *json, GError **error)
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
    Order *order = g_new0(Order, 1);

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
