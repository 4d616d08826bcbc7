// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rows: one for each request of one device, in the ledger as in memory but for what only the card
// and the guests know. When the table has to be made anew (broker-table.c), rows are read back from
// the ledger: one way for a start, a reload, a card that was away and a commit that failed.

#include <glib/gstdio.h>
#include <string.h>

#include "broker-parts.h"
#include "events.h"
#include "log.h"

static char *key_of(const char *uuid, const char *device)
{
    return g_strconcat(uuid, "/", device, NULL);
}

VfAttachment *vf_broker_find(const VfBroker *broker, const char *uuid, const char *device)
{
    char key[128];
    gsize uuid_length = strlen(uuid), device_length = strlen(device);

    if (uuid_length + device_length + 2 > sizeof(key))
        return NULL; // no device's name
    memcpy(key, uuid, uuid_length);
    key[uuid_length] = '/';
    memcpy(key + uuid_length + 1, device, device_length + 1);
    return g_hash_table_lookup(broker->rows, key);
}

VfAttachment *vf_broker_row_of(const VfBroker *broker, const VfAccelRequest *request)
{
    return vf_broker_find(broker, request->domain->uuid, request->device);
}

void vf_broker_row_free(gpointer data)
{
    VfAttachment *row = data;

    g_clear_pointer(&row->watch, vf_watch_free);
    vf_broker_ask_clear(&row->ask);
    g_free(row->key);
    g_free(row->device);
    g_free(row->domain);
    g_free(row->problem);
    g_free(row);
}

VfAttachment *vf_broker_add_row(VfBroker *broker, const char *uuid, const char *device)
{
    VfAttachment *row = g_new0(VfAttachment, 1);

    row->key = key_of(uuid, device);
    g_strlcpy(row->uuid, uuid, sizeof(row->uuid));
    row->device = g_strdup(device);
    row->answer = VF_ACCEL_WAIT;
    row->sharer = VF_SLICES_NONE;
    row->since = vf_broker_now();
    g_hash_table_replace(broker->rows, row->key, row);
    return row;
}

char *vf_broker_context_path(const VfBroker *broker, const VfAttachment *row)
{
    g_autofree char *name = g_strdup_printf("%s.%s", row->uuid, row->device);

    return g_build_filename(broker->contexts, name, NULL);
}

void vf_broker_drop_row(VfBroker *broker, VfAttachment *row)
{
    g_autofree char *context = vf_broker_context_path(broker, row);
    g_autoptr(GError) error = NULL;

    g_unlink(context);
    if (!vf_ledger_delete_attachment(broker->daemon->ledger, row->uuid, row->device, &error))
        vf_log(G_LOG_LEVEL_WARNING, row->domain, NULL, "ledger: %s", error->message);
    vf_daemon_changed(broker->daemon);
    vf_events_touch(broker->daemon);
    g_hash_table_remove(broker->rows, row->key);
}

const char *vf_broker_state_word(const VfAttachment *row)
{
    switch (row->state) {
    case VF_ATTACH_PLANNED:
        return "planned";
    case VF_ATTACH_ASLEEP:
        return "asleep";
    case VF_ATTACH_LEAVING:
        return "leaving";
    case VF_ATTACH_ASKED:
        break;
    }
    return row->request != NULL ? vf_accel_state_name(row->request->state) : "waiting";
}

void vf_broker_store(VfBroker *broker, const VfAttachment *row)
{
    const VfAccelRequest *request = row->request;
    guint card = vf_broker_card_number(broker, &row->pf), region = G_MAXUINT;

    if (request != NULL && request->region != VF_ACCEL_NONE && card != VF_ACCEL_NONE)
        region = request->region - ((VfBrokerCard *)g_ptr_array_index(broker->cards, card))->first;
    VfLedgerAttachment stored = {
        .uuid = row->uuid,
        .device = row->device,
        .domain = row->domain,
        .accelerator = row->ask.accelerator,
        .state = vf_broker_state_word(row),
        .answer = vf_accel_answer_name(row->answer),
        .pf = row->pf,
        .index = row->index,
        .region = region,
        .priority = row->ask.priority,
        .weight = row->ask.weight,
        .shared = row->ask.shared,
        .on_access = row->ask.on_access,
        .hot = row->hot,
        .preempted = request != NULL && request->preempted,
        .preemptions = row->preemptions + (request != NULL ? request->preemptions : 0),
        .failures = row->failures + (request != NULL ? request->failures : 0),
        .since = request != NULL ? request->since : row->since,
    };
    vf_ledger_put_attachment(broker->daemon->ledger, &stored, NULL);
    vf_daemon_changed(broker->daemon);
    vf_events_touch(broker->daemon);
}

void vf_broker_set_problem(VfAttachment *row, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_free(row->problem);
    row->problem = g_strdup_vprintf(format, args);
    va_end(args);
}

GPtrArray *vf_broker_rows(const VfBroker *broker, GCompareFunc order)
{
    GPtrArray *rows = g_ptr_array_new();
    GHashTableIter iter;
    gpointer row;

    g_hash_table_iter_init(&iter, broker->rows);
    while (g_hash_table_iter_next(&iter, NULL, &row))
        g_ptr_array_add(rows, row);
    g_ptr_array_sort(rows, order);
    return rows;
}
