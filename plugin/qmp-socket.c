// SPDX-License-Identifier: GPL-2.0-or-later
//
// QMP over virtfn's own socket of a guest: greeting and negotiation, one request at a time, events
// kept in the order in which they came. Whatever goes wrong on the way closes the connection, since
// a late answer, or a descriptor that was sent with half a command, would be taken for another
// one's; the next request connects again. Decides nothing about retries.

#include <fcntl.h>
#include <string.h>

#include "error.h"
#include "qmp-transport.h"
#include "qmp-wire.h"
#include "quote.h"
#include "watch.h"

typedef struct {
    VfQmp base;
    char *path, *object;
    gboolean entered; // watches of this monitor have let go for it
    VfQmpWire wire;
    GQueue events;       // of Event
    gsize events_length; // bytes that they had on the wire
} Socket;

typedef struct {
    json_t *json;
    gsize length;
} Event;

static void event_free(Event *event)
{
    json_decref(event->json);
    g_free(event);
}

static void drop_event(Socket *socket, GList *link)
{
    Event *event = link->data;

    socket->events_length -= event->length;
    g_queue_delete_link(&socket->events, link);
    event_free(event);
}

static void keep_event(Socket *socket, json_t *json, gsize length)
{
    Event *event = g_new(Event, 1);

    *event = (Event){json, length};
    g_queue_push_tail(&socket->events, event);
    socket->events_length += length;
    // A guest can cause some kinds of events at will: they must not fill the daemon.
    while (socket->events.length > VF_QMP_MAX_EVENTS || socket->events_length > VF_QMP_MAX_LINE)
        drop_event(socket, socket->events.head);
}

static void hang_up(Socket *socket)
{
    vf_qmp_wire_close(&socket->wire);
    while (socket->events.head != NULL)
        drop_event(socket, socket->events.head);
}

static void set_error(Socket *socket, const char *cause, const char *remedy, GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_QMP, "%s: %s" VF_REMEDY "%s", socket->object, cause,
                remedy);
}

static void set_malformed(Socket *socket, const char *cause, GError **error)
{
    set_error(socket, cause, "check that QEMU, and nothing else, serves this socket", error);
}

// NULL without an error at the deadline.
static json_t *read_object(Socket *socket, gsize *length, gint64 deadline, GError **error)
{
    g_autofree char *line = vf_qmp_wire_read(&socket->wire, length, deadline, error);

    if (line == NULL)
        return NULL;
    json_t *object = json_loadb(line, *length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(object))
        return object;
    json_decref(object);
    g_autofree char *quoted = vf_quote(line, (gssize)*length);
    g_autofree char *cause =
        g_strdup_printf("QEMU sent a line that is not a JSON object: %s", quoted);
    set_malformed(socket, cause, error);
    return NULL;
}

// Takes an event into the queue; FALSE when it is none.
static gboolean take_event(Socket *socket, json_t *object, gsize length)
{
    const json_t *data = json_object_get(object, "data");

    if (!json_is_string(json_object_get(object, "event")) ||
        (data != NULL && !json_is_object(data)))
        return FALSE;
    keep_event(socket, json_incref(object), length);
    return TRUE;
}

static gboolean is_answer(const json_t *object, const json_t *request)
{
    return json_equal(json_object_get(object, "id"), json_object_get(request, "id")) &&
           (json_object_get(object, "return") != NULL ||
            json_is_object(json_object_get(object, "error")));
}

static json_t *read_answer(Socket *socket, const json_t *request, gint64 deadline, GError **error)
{
    do {
        GError *cause = NULL;
        gsize length = 0;
        json_t *object = read_object(socket, &length, deadline, &cause);

        if (cause != NULL) {
            g_propagate_error(error, cause);
            return NULL;
        }
        if (object == NULL)
            break;
        if (is_answer(object, request))
            return object;
        gboolean taken = take_event(socket, object, length);
        json_decref(object);
        if (!taken) {
            set_malformed(socket, "QEMU sent neither an event nor an answer to what was asked",
                          error);
            return NULL;
        }
    } while (g_get_monotonic_time() < deadline);

    g_autofree char *text = g_strdup_printf("QEMU did not answer %s in time",
                                            json_string_value(json_object_get(request, "execute")));
    set_error(socket, text, "see whether the guest still answers: virsh domstate", error);
    return NULL;
}

static json_t *exchange_once(Socket *socket, const json_t *request, int fd, gint64 deadline,
                             GError **error)
{
    char *text = json_dumps(request, JSON_COMPACT);
    gboolean sent = vf_qmp_wire_send(&socket->wire, text, strlen(text), fd, deadline, error);
    json_t *answer = sent ? read_answer(socket, request, deadline, error) : NULL;

    free(text);
    return answer;
}

static gboolean greet(Socket *socket, gint64 deadline, GError **error)
{
    GError *cause = NULL;
    gsize length = 0;
    json_t *greeting = read_object(socket, &length, deadline, &cause);
    gboolean is_greeting = json_is_object(json_object_get(greeting, "QMP"));

    json_decref(greeting);
    if (cause != NULL)
        g_propagate_error(error, cause);
    else if (greeting == NULL)
        set_error(socket, "no greeting in time: QEMU is stuck, or has another client here",
                  "end what is connected to the socket: see 'ss -xp'", error);
    else if (!is_greeting)
        set_malformed(socket, "what serves it did not greet as QEMU does", error);
    return is_greeting;
}

static gboolean negotiate(Socket *socket, gint64 deadline, GError **error)
{
    json_t *request = json_pack("{s:s, s:s}", "execute", "qmp_capabilities", "id", "hello");
    json_t *answer = exchange_once(socket, request, -1, deadline, error);
    gboolean agreed = json_object_get(answer, "return") != NULL;

    if (answer != NULL && !agreed)
        set_malformed(socket, "QEMU refuses to negotiate", error);
    json_decref(request);
    json_decref(answer);
    return agreed;
}

static gboolean ensure_connected(Socket *socket, gint64 deadline, GError **error)
{
    if (socket->wire.fd >= 0)
        return TRUE;
    if (vf_qmp_wire_connect(&socket->wire, socket->path, deadline, error) &&
        greet(socket, deadline, error) && negotiate(socket, deadline, error))
        return TRUE;
    hang_up(socket);
    return FALSE;
}

static json_t *exchange(VfQmp *qmp, json_t *request, int fd, gint64 deadline, GError **error)
{
    Socket *socket = (Socket *)qmp;

    if (!ensure_connected(socket, deadline, error))
        return NULL;
    json_t *answer = exchange_once(socket, request, fd, deadline, error);
    if (answer == NULL)
        hang_up(socket);
    return answer;
}

// ---- events

static json_t *find_event(Socket *socket, const char *name, VfQmpMatch match, gpointer data)
{
    for (GList *link = socket->events.head; link != NULL; link = link->next) {
        Event *event = link->data;

        if (strcmp(json_string_value(json_object_get(event->json, "event")), name) != 0 ||
            (match != NULL && !match(event->json, data)))
            continue;
        json_t *found = json_incref(event->json);
        drop_event(socket, link);
        return found;
    }
    return NULL;
}

// FALSE with an error, or without one at the deadline.
static gboolean read_event(Socket *socket, gint64 deadline, GError **error)
{
    gsize length = 0;
    json_t *object = read_object(socket, &length, deadline, error);
    gboolean taken = object != NULL && take_event(socket, object, length);

    if (object != NULL && !taken)
        set_malformed(socket, "QEMU answered although nothing was asked", error);
    json_decref(object);
    return taken;
}

static json_t *wait_event(VfQmp *qmp, const char *name, VfQmpMatch match, gpointer data,
                          gint64 deadline, GError **error)
{
    Socket *socket = (Socket *)qmp;
    GError *cause = NULL;
    json_t *found;

    if (socket->wire.fd < 0) {
        set_error(socket, "the connection was lost", "ask again", error);
        return NULL;
    }
    while ((found = find_event(socket, name, match, data)) == NULL &&
           read_event(socket, deadline, &cause))
        if (g_get_monotonic_time() >= deadline)
            return find_event(socket, name, match, data);
    if (cause != NULL) {
        hang_up(socket);
        g_propagate_error(error, cause);
    }
    return found;
}

static void socket_free(VfQmp *qmp)
{
    Socket *socket = (Socket *)qmp;

    hang_up(socket);
    vf_qmp_wire_clear(&socket->wire);
    if (socket->entered)
        vf_watch_leave(socket->path);
    g_free(socket->path);
    g_free(socket->object);
    g_free(socket);
}

static VfQmp *connect_to(const char *path, const char *guest, gboolean enter, gint64 deadline,
                         GError **error)
{
    static const VfQmpTransport transport = {exchange, wait_event, socket_free};
    Socket *socket = g_new0(Socket, 1);

    socket->base.transport = &transport;
    socket->base.guest = g_strdup(guest);
    socket->path = g_strdup(path);
    socket->object = g_strdup_printf("domain '%s', monitor %s", guest, path);
    socket->entered = enter;
    if (enter)
        vf_watch_enter(path, deadline);
    vf_qmp_wire_init(&socket->wire, socket->object);
    if (ensure_connected(socket, deadline, error))
        return &socket->base;
    vf_qmp_free(&socket->base);
    return NULL;
}

VfQmp *vf_qmp_connect(const char *path, const char *guest, gint64 deadline, GError **error)
{
    return connect_to(path, guest, TRUE, deadline, error);
}

VfQmp *vf_qmp_connect_watch(const char *path, const char *guest, gint64 deadline, GError **error)
{
    return connect_to(path, guest, FALSE, deadline, error);
}

int vf_qmp_dup_fd(const VfQmp *qmp)
{
    return fcntl(((const Socket *)qmp)->wire.fd, F_DUPFD_CLOEXEC, 0);
}
