// SPDX-License-Identifier: GPL-2.0-or-later
//
// Events by comparison: nobody who changes a request has to say how. After a change each request is
// compared with what was last told of it. Whose turn it is on a shared region is no event, it would
// be one for each time slice. Costs nothing while nobody listens.

#include "events.h"

#include <string.h>

#include "broker-parts.h"
#include "jsontext.h"

// Bytes that may wait for a listener.
#define PENDING_MAX (16 * 1024 * 1024)

struct VfEvents {
    VfDaemon *daemon;
    GPtrArray *listeners; // of VfStream
    GHashTable *told;     // key -> signature, of what the listeners were told
    guint source;
};

VfEvents *vf_events_new(VfDaemon *daemon)
{
    VfEvents *events = g_new0(VfEvents, 1);

    events->daemon = daemon;
    events->listeners = g_ptr_array_new();
    events->told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return events;
}

static void end_all(VfEvents *events)
{
    for (guint i = 0; i < events->listeners->len; i++)
        vf_stream_end(g_ptr_array_index(events->listeners, i));
    g_ptr_array_set_size(events->listeners, 0);
}

void vf_events_free(VfEvents *events)
{
    end_all(events);
    if (events->source != 0)
        g_source_remove(events->source);
    g_ptr_array_unref(events->listeners);
    g_hash_table_unref(events->told);
    g_free(events);
}

void vf_events_close(VfDaemon *daemon)
{
    end_all(daemon->events);
}

// What makes two looks at a request differ. Caller frees.
static char *signature(const VfAttachment *row)
{
    const VfAccelRequest *request = row->request;

    return g_strdup_printf("%s/%s/%u/%u/%u/%d/%d/%s", vf_broker_state_word(row),
                           row->ask.accelerator, row->index,
                           request != NULL ? request->region : VF_ACCEL_NONE, row->ask.priority,
                           row->answer, request != NULL && request->preempted,
                           row->problem != NULL ? row->problem : "");
}

static void write_row(GString *out, const VfEvents *events, const VfAttachment *row)
{
    vf_json_append(out, "{'event':'attachment','attachment':");
    vf_broker_view_row(out, events->daemon->broker, row);
    vf_json_append(out, "}");
    g_string_append_c(out, '\n');
}

static void send(VfEvents *events, const char *text)
{
    for (guint i = events->listeners->len; i-- > 0;) {
        VfStream *stream = g_ptr_array_index(events->listeners, i);
        gsize pending;

        if (vf_stream_is_open(stream, &pending) && pending + strlen(text) <= PENDING_MAX) {
            vf_stream_write(stream, text);
            continue;
        }
        vf_stream_end(stream);
        g_ptr_array_remove_index_fast(events->listeners, i);
    }
}

// Those that were told and are no more.
static void tell_gone(VfEvents *events, GString *out)
{
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, events->told);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const char *device = strchr(key, '/');

        if (g_hash_table_contains(events->daemon->broker->rows, key) || device == NULL)
            continue;
        g_autofree char *uuid = g_strndup(key, (gsize)(device - (char *)key));
        vf_json_append(out, "{'event':'gone','uuid':%s,'device':%s}", uuid, device + 1);
        g_string_append_c(out, '\n');
        g_hash_table_iter_remove(&iter);
    }
}

static gboolean look(gpointer data)
{
    VfEvents *events = data;
    g_autoptr(GString) out = g_string_new(NULL);
    GHashTableIter iter;
    gpointer value;

    events->source = 0;
    tell_gone(events, out);
    g_hash_table_iter_init(&iter, events->daemon->broker->rows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const VfAttachment *row = value;
        g_autofree char *is = signature(row);

        if (g_strcmp0(g_hash_table_lookup(events->told, row->key), is) == 0)
            continue;
        write_row(out, events, row);
        g_hash_table_replace(events->told, g_strdup(row->key), g_steal_pointer(&is));
    }
    if (out->len > 0)
        send(events, out->str);
    if (events->listeners->len == 0)
        g_hash_table_remove_all(events->told);
    return G_SOURCE_REMOVE;
}

void vf_events_touch(VfDaemon *daemon)
{
    VfEvents *events = daemon->events;

    if (events != NULL && events->listeners->len > 0 && events->source == 0)
        events->source = g_idle_add_full(G_PRIORITY_DEFAULT, look, events, NULL);
}

void vf_route_events(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    VfEvents *events = daemon->events;
    VfStream *stream = vf_request_stream(request, "application/x-ndjson");
    g_autoptr(GString) out = g_string_new(NULL);
    GHashTableIter iter;
    gpointer value;

    if (events->listeners->len == 0)
        g_hash_table_remove_all(events->told);
    // What is due for the others is told before, so that all have been told the same.
    if (events->source != 0) {
        g_source_remove(events->source);
        look(events);
    }
    g_hash_table_iter_init(&iter, daemon->broker->rows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const VfAttachment *row = value;

        write_row(out, events, row);
        g_hash_table_replace(events->told, g_strdup(row->key), signature(row));
    }
    vf_json_append(out, "{'event':'ready'}");
    g_string_append_c(out, '\n');
    vf_stream_write(stream, out->str);
    g_ptr_array_add(events->listeners, stream);
}
