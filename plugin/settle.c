// SPDX-License-Identifier: GPL-2.0-or-later
//
// The door (door.h) in the daemon: its clock, its file, who waits at it, and the request that
// closes it. Whether libvirt has found a guest is told by the `reconnect` hook alone: a list of
// domains may be an answer of the daemon before.

#include "settle.h"

#include <glib/gstdio.h>
#include <string.h>

#include "door.h"
#include "error.h"
#include "jsontext.h"
#include "log.h"
#include "reconf.h"

#define TICK_MS 50
// A start waits for less than the hook does, and what follows takes a while, too.
#define START_US (4 * G_TIME_SPAN_SECOND)
#define DEFAULT_SECONDS 60
#define MAX_SECONDS 3600

typedef struct {
    VfSettled callback;
    gpointer data;
    gint64 deadline;
} Waiter;

struct VfSettle {
    VfDaemon *daemon;
    VfDoor *door;
    char *path;     // of the file
    GQueue waiters; // of Waiter, the oldest first
    guint seconds;  // for which it was closed
    guint source;   // ticks while it is closed
};

static gboolean runs(const VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len; i++)
        if (((const VfLease *)g_ptr_array_index(leases, i))->state == VF_LEASE_RUNNING)
            return TRUE;
    return FALSE;
}

static const char *name_of(const VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    return leases->len > 0 ? vf_lease_holder(g_ptr_array_index(leases, 0)) : uuid;
}

// "'g1', 'g2'". Caller frees.
static char *awaited_text(const VfDaemon *daemon)
{
    g_autoptr(GList) awaited = vf_door_awaited(daemon->settle->door);
    GString *text = g_string_new(NULL);

    for (const GList *i = awaited; i != NULL; i = i->next)
        g_string_append_printf(text, "%s'%s'", text->len > 0 ? ", " : "", name_of(daemon, i->data));
    return g_string_free(text, FALSE);
}

// ---- the file: the deadline (monotonic, so of this boot), then UUIDs

static void save(const VfSettle *settle)
{
    g_autoptr(GList) awaited = vf_door_awaited(settle->door);
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    if (!vf_door_is_closed(settle->door)) {
        g_unlink(settle->path);
        return;
    }
    g_string_printf(text, "%" G_GINT64_FORMAT "\n", vf_door_deadline(settle->door));
    for (const GList *i = awaited; i != NULL; i = i->next)
        g_string_append_printf(text, "%s\n", (const char *)i->data);
    if (!g_file_set_contents_full(settle->path, text->str, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600,
                                  &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "settle: %s", error->message);
}

// ---- opening

static void wake(VfSettle *settle, gint64 now)
{
    const Waiter *first;

    while ((first = g_queue_peek_head(&settle->waiters)) != NULL &&
           (!vf_door_is_closed(settle->door) || now >= first->deadline)) {
        g_autofree Waiter *waiter = g_queue_pop_head(&settle->waiters);

        waiter->callback(waiter->data);
    }
}

// Guests that ended are not awaited any more.
static void forget_ended(VfSettle *settle)
{
    g_autoptr(GList) awaited = vf_door_awaited(settle->door);
    gboolean changed = FALSE;

    for (const GList *i = awaited; i != NULL; i = i->next)
        if (!runs(settle->daemon, i->data))
            changed |= vf_door_met(settle->door, i->data);
    if (changed)
        save(settle);
}

static gboolean tick(gpointer data)
{
    VfSettle *settle = data;
    gint64 now = g_get_monotonic_time();

    forget_ended(settle);
    if (vf_door_open(settle->door, now)) {
        g_autofree char *awaited = awaited_text(settle->daemon);

        if (!vf_door_is_settled(settle->door))
            vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL,
                   "the libvirt daemon that was to start does not ask any more");
        else if (*awaited != '\0')
            vf_log(G_LOG_LEVEL_WARNING, NULL, NULL,
                   "libvirt's daemon has not found again within %u s: %s; reconfs may begin",
                   settle->seconds, awaited);
        else
            vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL,
                   "libvirt's daemon has started: reconfs may begin");
        save(settle);
    }
    wake(settle, now);
    if (vf_door_is_closed(settle->door) || !g_queue_is_empty(&settle->waiters))
        return G_SOURCE_CONTINUE;
    settle->source = 0;
    return G_SOURCE_REMOVE;
}

static void start_ticking(VfSettle *settle)
{
    if (settle->source == 0)
        settle->source = g_timeout_add(TICK_MS, tick, settle);
}

// ---- closing

// Those whose functions a libvirt daemon looks for. One that was only starting when the daemon
// before ended is ended by the next in any case.
static void await_all(VfSettle *settle)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(settle->daemon->allocator, NULL);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->state == VF_LEASE_RUNNING)
            vf_door_await(settle->door, lease->uuid);
    }
}

// What the libvirt daemon has to wait for, NULL = nothing. Caller frees.
static char *obstacle(const VfDaemon *daemon)
{
    g_autofree char *journals = g_build_filename(daemon->options.run_dir, "reconf", NULL);
    g_autoptr(GArray) open = vf_reconf_open(journals);
    char pf[VF_PCIADDR_BUFSIZE];
    const char *why;

    if (open->len == 0)
        return vf_door_inside(daemon->settle->door) > 0 ? g_strdup("a reconf begins or ends")
                                                        : NULL;
    vf_pciaddr_format(&g_array_index(open, VfPciAddr, 0), pf);
    why = g_hash_table_lookup(daemon->stuck, pf);
    return g_strdup_printf("%s: %s", pf, why != NULL ? why : "its reconf is under way");
}

static void append_guests(GString *out, const VfDaemon *daemon)
{
    g_autoptr(GList) awaited = vf_door_awaited(daemon->settle->door);

    vf_json_append(out, "[");
    for (const GList *i = awaited; i != NULL; i = i->next) {
        vf_json_next(out);
        vf_json_append(out, "{'uuid':%s,'name':%s}", i->data, name_of(daemon, i->data));
    }
    vf_json_append(out, "]");
}

// Asked again until it is settled: so it survives a restart of virtfnd, and a client that went away
// leaves nothing but a door that opens in time.
static void ask(VfSettle *settle, guint seconds, GString *answer)
{
    VfDaemon *daemon = settle->daemon;
    gboolean was_closed = vf_door_is_closed(settle->door);

    settle->seconds = seconds;
    vf_door_close(settle->door, g_get_monotonic_time() + seconds * G_TIME_SPAN_SECOND);
    g_autofree char *waits_for = obstacle(daemon);
    if (waits_for == NULL) {
        await_all(settle);
        vf_door_settle(settle->door);
        vf_door_open(settle->door, 0); // when there is nobody
    }
    vf_json_append(answer, "{'settled':%b,'waits_for':%s,'guests':", waits_for == NULL, waits_for);
    append_guests(answer, daemon);
    vf_json_append(answer, "}");
    g_autofree char *awaited = awaited_text(daemon);
    if (*awaited != '\0')
        vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL,
               "a libvirt daemon starts: no reconf begins until it has found again %s", awaited);
    else if (waits_for != NULL && !was_closed)
        vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "a libvirt daemon that starts has to wait: %s",
               waits_for);
    save(settle);
    start_ticking(settle);
}

void vf_route_settle(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);
    int seconds = DEFAULT_SECONDS;
    json_error_t where;

    if (json != NULL &&
        json_unpack_ex(json, &where, JSON_STRICT, "{s?i}", "seconds", &seconds) != 0)
        g_set_error(&error, VF_ERROR, VF_ERROR_INPUT, "settle: %s", where.text);
    else if (json != NULL && (seconds < 1 || seconds > MAX_SECONDS))
        g_set_error(&error, VF_ERROR, VF_ERROR_INPUT, "settle: seconds is a number from 1 to %d",
                    MAX_SECONDS);
    json_decref(json);
    if (error != NULL) {
        vf_request_reply_error(request, error);
        return;
    }
    GString *answer = g_string_new(NULL);
    ask(daemon->settle, seconds, answer);
    vf_request_reply_json(request, 200, answer);
}

// ---- those who pass it

gboolean vf_settle_enter(VfDaemon *daemon, GError **error)
{
    if (vf_door_enter(daemon->settle->door))
        return TRUE;
    g_autofree char *awaited = awaited_text(daemon);
    g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                "libvirt's daemon is starting%s%s" VF_REMEDY "try again in a moment",
                *awaited != '\0' ? " and has yet to find " : "", awaited);
    return FALSE;
}

void vf_settle_leave(VfDaemon *daemon)
{
    vf_door_leave(daemon->settle->door);
}

void vf_settle_wait(VfDaemon *daemon, VfSettled callback, gpointer data)
{
    VfSettle *settle = daemon->settle;
    Waiter *waiter = g_new(Waiter, 1);

    *waiter = (Waiter){callback, data, g_get_monotonic_time() + START_US};
    g_queue_push_tail(&settle->waiters, waiter);
    start_ticking(settle);
}

void vf_settle_met(VfDaemon *daemon, const char *uuid)
{
    if (vf_door_met(daemon->settle->door, uuid))
        save(daemon->settle);
}

void vf_settle_view(GString *out, const VfDaemon *daemon)
{
    if (vf_door_is_closed(daemon->settle->door))
        append_guests(out, daemon);
    else
        vf_json_append(out, "null");
}

// ---- a life

// Where the virtfnd before left off.
static void load(VfSettle *settle)
{
    g_autofree char *text = NULL;
    gint64 now = g_get_monotonic_time(), deadline;

    if (!g_file_get_contents(settle->path, &text, NULL, NULL))
        return;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    deadline = g_ascii_strtoll(lines[0], NULL, 10);
    settle->seconds = DEFAULT_SECONDS;
    if (deadline <= now || deadline > now + MAX_SECONDS * G_TIME_SPAN_SECOND) {
        g_unlink(settle->path);
        return;
    }
    vf_door_close(settle->door, deadline);
    for (guint i = 1; lines[i] != NULL; i++)
        if (runs(settle->daemon, lines[i]))
            vf_door_await(settle->door, lines[i]);
    vf_door_settle(settle->door);
    start_ticking(settle);
}

VfSettle *vf_settle_new(VfDaemon *daemon)
{
    VfSettle *settle = g_new0(VfSettle, 1);

    settle->daemon = daemon;
    settle->door = vf_door_new();
    settle->path = g_build_filename(daemon->options.run_dir, "settle", NULL);
    g_queue_init(&settle->waiters);
    load(settle);
    return settle;
}

void vf_settle_free(VfSettle *settle)
{
    if (settle->source != 0)
        g_source_remove(settle->source);
    g_queue_clear_full(&settle->waiters, g_free);
    vf_door_free(settle->door);
    g_free(settle->path);
    g_free(settle);
}
