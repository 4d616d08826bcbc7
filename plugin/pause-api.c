// SPDX-License-Identifier: GPL-2.0-or-later
//
// `virtfn pause` and `virtfn resume`: an operator takes the function away from a device that its
// guest keeps, and gives it back. One PF after the other, each in its lane. That it was done, why
// and by whom is in the lease before the guest is asked, so that nothing is ever paused that nobody
// knows of; what the guest's QEMU says in the end is what stays there.

#include <string.h>

#include "broker.h"
#include "doubts.h"
#include "error.h"
#include "jsontext.h"
#include "reconf-guests.h"
#include "reconf-jobs.h"
#include "routes.h"
#include "view.h"

#define MAX_REASON 200
// QEMU bounds a pause itself; a resume takes the function's reset, 100 ms as a rule.
#define PAUSE_MS 10000
#define RESUME_MS 20000

typedef struct {
    VfRequest *request;
    VfDaemon *daemon;
    gboolean resume;
    gboolean named; // one device
    char uuid[37];
    char *domain; // for messages
    char *reason, *by;
    GPtrArray *devices; // names; neighbours of one PF go together
    GPtrArray *marked;  // names of those whose lease was marked for this
    GPtrArray *done;    // names of those that it paused or resumed
    guint told;         // of these, those whose lease says so
    GPtrArray *running; // names of those that were not paused, whatever their leases say
    GError *error;
    // the PF at work
    guint from, next; // of its devices
    VfReconf *reconf; // holds its owners
} Order;

static VfLease *lease_of(const Order *order, const char *device)
{
    return vf_allocator_find(order->daemon->allocator, order->uuid, device);
}

// ---- in the lane

G_GNUC_PRINTF(4, 5)
static void set_state_error(GError **error, const Order *order, const char *device,
                            const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VF_ERROR, VF_ERROR_STATE, "domain '%s', device '%s': %s", order->domain,
                device, text);
}

// Whether there is anything to do for a device. FALSE without an error: there is not, and nobody
// asked for this very one.
static gboolean is_due(const Order *order, const VfMember *member, GError **error)
{
    const char *device = member->owner->device;

    if (member->state == VF_PAUSE_UNKNOWN) {
        set_state_error(error, order, device,
                        "its QEMU has no such device" VF_REMEDY
                        "see 'virsh domstate' whether the domain runs");
        return FALSE;
    }
    if ((member->state == VF_PAUSE_PAUSED) == order->resume)
        return TRUE;
    if (order->resume)
        g_ptr_array_add(order->running, g_strdup(device));
    if (order->named && order->resume)
        set_state_error(error, order, device, "it is not paused");
    else if (order->named)
        set_state_error(error, order, device,
                        "it is paused already" VF_REMEDY "'virtfn resume' lets it go on");
    return FALSE;
}

static gboolean pause_all(Order *order, VfGuests *guests, GError **error)
{
    gboolean ok = vf_guests_pause(guests, vf_pause_within(PAUSE_MS), error);

    for (guint i = 0; i < vf_guests_count(guests); i++) {
        const VfMember *member = vf_guests_member(guests, i);

        if (member->state == VF_PAUSE_PAUSED && !member->owner->stays_paused)
            g_ptr_array_add(order->done, g_strdup(member->owner->device));
    }
    return ok;
}

static gboolean resume_all(Order *order, VfGuests *guests, GError **error)
{
    gboolean ok;

    for (guint i = 0; i < vf_guests_count(guests); i++) {
        VfMember *member = vf_guests_member(guests, i);

        if (member->state == VF_PAUSE_PAUSED &&
            !vf_guests_ready(guests, member, &order->reconf->pf, order->daemon->options.helper,
                             &member->owner->after, error)) {
            g_prefix_error(error, "domain '%s', device '%s': ", order->domain,
                           member->owner->device);
            return FALSE;
        }
    }
    ok = vf_guests_resume(guests, order->reconf->signal, vf_pause_within(RESUME_MS), error);
    for (guint i = 0; i < vf_guests_count(guests); i++) {
        const VfMember *member = vf_guests_member(guests, i);

        if (member->resumed_at > 0)
            g_ptr_array_add(order->done, g_strdup(member->owner->device));
    }
    return ok;
}

static void order_run(gpointer data)
{
    Order *order = data;
    const VfDaemonOptions *options = &order->daemon->options;
    gboolean due = FALSE;

    if (order->error != NULL || order->reconf->owners->len == 0 ||
        !vf_reconf_is_over(options->run_dir, &order->reconf->pf, &order->error))
        return;
    g_autoptr(VfGuests) guests = vf_guests_new(order->reconf, options->root, NULL, NULL);
    if (!vf_guests_look(guests, vf_pause_within(PAUSE_MS), &order->error))
        return;
    for (guint i = 0; i < vf_guests_count(guests) && order->error == NULL; i++) {
        VfMember *member = vf_guests_member(guests, i);

        due |= is_due(order, member, &order->error);
        // What is paused already is none of those that this pauses.
        member->owner->stays_paused = !order->resume && member->state == VF_PAUSE_PAUSED;
    }
    if (order->error != NULL || !due ||
        !vf_guests_check(guests, vf_pause_within(PAUSE_MS), &order->error))
        return;
    if (order->resume)
        resume_all(order, guests, &order->error);
    else
        pause_all(order, guests, &order->error);
}

// ---- marks

static gboolean mark(Order *order, VfLease *lease, GError **error)
{
    vf_lease_set_pause(lease, g_get_real_time(), order->by, order->reason);
    return vf_daemon_store(order->daemon, lease, error);
}

static void unmark(Order *order, VfLease *lease)
{
    vf_lease_set_pause(lease, 0, NULL, NULL);
    vf_daemon_store(order->daemon, lease, NULL); // a failure is the commit's
}

static gboolean mark_all(Order *order, GError **error)
{
    for (guint i = 0; i < order->devices->len; i++) {
        const char *device = g_ptr_array_index(order->devices, i);
        VfLease *lease = lease_of(order, device);

        if (lease->pause != NULL)
            continue;
        g_ptr_array_add(order->marked, g_strdup(device));
        if (!mark(order, lease, error))
            return FALSE;
    }
    return TRUE;
}

static void forget_mark(Order *order, const char *device)
{
    guint i;

    if (g_ptr_array_find_with_equal_func(order->marked, device, g_str_equal, &i))
        g_ptr_array_remove_index(order->marked, i);
}

// ---- the answer

static void order_free(Order *order)
{
    g_free(order->domain);
    g_free(order->reason);
    g_free(order->by);
    g_ptr_array_unref(order->devices);
    g_ptr_array_unref(order->marked);
    g_ptr_array_unref(order->done);
    g_ptr_array_unref(order->running);
    g_clear_error(&order->error);
    g_free(order);
}

static void reply(const GError *error, gpointer data)
{
    Order *order = data;
    GString *answer;

    if (order->error != NULL || error != NULL) {
        vf_request_reply_error(order->request, order->error != NULL ? order->error : error);
        order_free(order);
        return;
    }
    answer = g_string_new("{\"leases\":[");
    for (guint i = 0; i < order->done->len; i++) {
        const VfLease *lease = lease_of(order, g_ptr_array_index(order->done, i));

        if (lease == NULL)
            continue; // it has ended meanwhile
        vf_json_next(answer);
        vf_view_lease(answer, order->daemon, lease);
    }
    vf_json_append(answer, "]}");
    vf_request_reply_json(order->request, 200, answer);
    order_free(order);
}

static void finish(Order *order)
{
    for (guint i = 0; i < order->marked->len; i++) {
        VfLease *lease = lease_of(order, g_ptr_array_index(order->marked, i));

        if (lease != NULL)
            unmark(order, lease);
    }
    if (order->error == NULL && order->done->len == 0)
        g_set_error(&order->error, VF_ERROR, VF_ERROR_STATE, "domain '%s': %s", order->domain,
                    order->resume ? "no device of it is paused"
                                  : "all its devices are paused already");
    vf_daemon_after_commit(order->daemon, reply, order);
}

// ---- one PF after the other

// It has no accelerator at the moment: the operator's mark goes, and the device runs once it has.
static void leave_paused(Order *order, const char *device)
{
    g_ptr_array_add(order->running, g_strdup(device));
    if (order->named)
        set_state_error(&order->error, order, device,
                        "it waits for an accelerator, and goes on by itself when it gets one");
}

static void order_begin(gpointer data)
{
    Order *order = data;

    for (guint i = order->from; i < order->next && order->error == NULL; i++) {
        const char *device = g_ptr_array_index(order->devices, i);
        const VfLease *lease = lease_of(order, device);

        if (lease == NULL || lease->state != VF_LEASE_RUNNING ||
            !vf_pciaddr_equal(vf_daemon_lease_pf(order->daemon, lease), &order->reconf->pf))
            set_state_error(&order->error, order, device, "its domain has ended meanwhile");
        else if (order->resume && vf_broker_keeps_paused(order->daemon, lease))
            leave_paused(order, device);
        else
            vf_reconf_add_lease(order->daemon, order->reconf, lease);
    }
}

static void next_pf(Order *order);

static void order_done(gpointer data)
{
    Order *order = data;

    for (guint i = order->told; i < order->done->len; i++) {
        const char *device = g_ptr_array_index(order->done, i);
        VfLease *lease = lease_of(order, device);

        forget_mark(order, device);
        if (lease == NULL || lease->state != VF_LEASE_RUNNING)
            continue;
        vf_doubts_settle(order->daemon, lease);
        if (order->resume)
            unmark(order, lease);
        else
            mark(order, lease, NULL);
    }
    order->told = order->done->len;
    for (guint i = 0; i < order->running->len; i++) {
        VfLease *lease = lease_of(order, g_ptr_array_index(order->running, i));

        if (lease != NULL && lease->pause != NULL)
            unmark(order, lease);
    }
    g_clear_pointer(&order->reconf, vf_reconf_free);
    next_pf(order);
}

static void next_pf(Order *order)
{
    VfLaneJob job = {order_begin, order_run, order_done, order};
    const VfLease *lease = NULL;

    order->from = order->next;
    for (; order->error == NULL && order->next < order->devices->len; order->next++) {
        lease = lease_of(order, g_ptr_array_index(order->devices, order->next));
        if (lease == NULL) {
            set_state_error(&order->error, order, g_ptr_array_index(order->devices, order->next),
                            "its domain has ended meanwhile");
        } else if (order->reconf == NULL) {
            order->reconf = vf_reconf_new(vf_daemon_lease_pf(order->daemon, lease), 0, 0);
            order->reconf->signal = vf_reconf_signal(order->daemon, &order->reconf->pf);
        } else if (!vf_pciaddr_equal(vf_daemon_lease_pf(order->daemon, lease),
                                     &order->reconf->pf)) {
            break;
        }
    }
    if (order->error != NULL || order->reconf == NULL) {
        g_clear_pointer(&order->reconf, vf_reconf_free);
        finish(order);
        return;
    }
    vf_lanes_submit(order->daemon->lanes, &order->reconf->pf, &job);
}

static void marked(const GError *error, gpointer data)
{
    Order *order = data;

    if (error == NULL) {
        next_pf(order);
        return;
    }
    order->error = g_error_copy(error);
    reply(NULL, order); // memory is what the ledger has again
}

// ---- the request

static gboolean is_meant(const VfLease *lease, const char *domain)
{
    return g_ascii_strcasecmp(lease->uuid, domain) == 0 || g_strcmp0(lease->domain, domain) == 0;
}

// The devices, and whose they are. A lease that does not run counts for messages only.
static gboolean find_devices(Order *order, const char *domain, const char *device, GError **error)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(order->daemon->allocator, NULL);
    const VfLease *other = NULL;

    order->domain = g_strdup(domain);
    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (!is_meant(lease, domain))
            continue;
        if (lease->state != VF_LEASE_RUNNING) {
            other = other != NULL ? other : lease;
            continue;
        }
        g_strlcpy(order->uuid, lease->uuid, sizeof(order->uuid));
        g_free(order->domain);
        order->domain = g_strdup(vf_lease_holder(lease));
        if (device == NULL || strcmp(device, lease->device) == 0)
            g_ptr_array_add(order->devices, g_strdup(lease->device));
    }
    if (order->devices->len > 0)
        return TRUE;
    if (*order->uuid != '\0')
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%s': it has no device '%.40s'" VF_REMEDY "'virtfn show %s' names them",
                    order->domain, device, order->domain);
    else if (other != NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s': it does not run (its lease of device '%s' is %s)" VF_REMEDY
                    "wait until it has started",
                    vf_lease_holder(other), other->device, vf_lease_state_name(other->state));
    else
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%.40s': it does not run with a function of a pool" VF_REMEDY
                    "'virtfn list leases' names those that do",
                    domain);
    return FALSE;
}

static gboolean valid_reason(const char *reason, GError **error)
{
    gboolean valid = strlen(reason) <= MAX_REASON;

    for (const char *p = reason; valid && *p != '\0'; p++)
        valid = !g_ascii_iscntrl(*p);
    if (!valid)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "reason: it is not one line of up to %d bytes" VF_REMEDY "shorten it",
                    MAX_REASON);
    return valid;
}

static gboolean read_request(Order *order, json_t *json, GError **error)
{
    const char *domain, *device = NULL, *reason = "";
    json_error_t where;

    if (json_unpack_ex(json, &where, JSON_STRICT, order->resume ? "{s:s, s?s}" : "{s:s, s?s, s?s}",
                       "domain", &domain, "device", &device, "reason", &reason) != 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "%s: %s", order->resume ? "resume" : "pause",
                    where.text);
        return FALSE;
    }
    order->named = device != NULL;
    order->reason = g_strdup(reason);
    return valid_reason(reason, error) && find_devices(order, domain, device, error);
}

static void begin_order(VfRequest *request, VfDaemon *daemon, gboolean resume)
{
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);
    Order *order = g_new0(Order, 1);

    order->request = request;
    order->daemon = daemon;
    order->resume = resume;
    order->by = vf_request_user(request);
    order->devices = g_ptr_array_new_with_free_func(g_free);
    order->marked = g_ptr_array_new_with_free_func(g_free);
    order->done = g_ptr_array_new_with_free_func(g_free);
    order->running = g_ptr_array_new_with_free_func(g_free);
    if (json == NULL || !read_request(order, json, &error) ||
        (!resume && !mark_all(order, &error))) {
        vf_request_reply_error(request, error);
        order_free(order);
    } else {
        vf_daemon_after_commit(daemon, marked, order);
    }
    json_decref(json);
}

void vf_route_pause(VfRequest *request, gpointer daemon)
{
    begin_order(request, daemon, FALSE);
}

void vf_route_resume(VfRequest *request, gpointer daemon)
{
    begin_order(request, daemon, TRUE);
}
