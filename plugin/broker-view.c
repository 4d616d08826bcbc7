// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who has which region of which card, as JSON (openapi.json). Reads memory only.

#include <string.h>

#include "broker-parts.h"
#include "jsontext.h"

static const char *const part_words[] = {"pause",   "save",    "disconnect", "load",
                                         "restore", "connect", "resume"};

// Rows are kept on the clock of the table.
static gint64 real_time(gint64 since)
{
    return g_get_real_time() - (vf_broker_now() - since);
}

static int per_mille(double value)
{
    return (int)(CLAMP(value, 0, 1000000) * 1000 + 0.5);
}

static void append_parts(GString *out, const VfAttachment *row)
{
    vf_json_append(out, ",'times':{");
    for (guint i = 0; i < VF_PARTS; i++) {
        if (i > 0)
            g_string_append_c(out, ',');
        vf_json_append(out, "%s:%I", part_words[i], row->parts[i]);
    }
    vf_json_append(out, "}");
}

static int share_of(const VfBroker *broker, const VfAttachment *row)
{
    const VfAccelRequest *request = row->request;

    if (request == NULL || request->state != VF_ACCEL_HOLDING || row->sharer == VF_SLICES_NONE ||
        !broker->turns[request->region].used)
        return VF_UNSET;
    return per_mille(vf_slices_share(&broker->turns[request->region].slices, row->sharer));
}

// What an accelerator is put into a region with; NULL = the image was removed since.
static const char *image_name(const VfBroker *broker, guint accelerator, guint region)
{
    const VfAcceleratorConfig *config = vf_broker_accelerator_config(broker, accelerator);
    const VfImage *image = config != NULL && broker->daemon->images != NULL
                               ? vf_images_for(broker->daemon->images, config->name,
                                               vf_accel_region(broker->accel, region)->kind)
                               : NULL;

    return image != NULL ? image->name : NULL;
}

void vf_broker_view_row(GString *out, const VfBroker *broker, const VfAttachment *row)
{
    const VfAccelRequest *request = row->request;
    guint number = vf_broker_accelerator(broker, row->ask.accelerator);
    const VfAcceleratorConfig *config = vf_broker_accelerator_config(broker, number);
    const VfBrokerCard *card = vf_broker_card_of(broker, &row->pf);
    const VfLease *lease = vf_broker_lease(broker, row);
    guint region = request != NULL && card != NULL ? request->region : VF_ACCEL_NONE;
    gboolean waits = request != NULL && request->state == VF_ACCEL_WAITING;

    vf_json_append(
        out,
        "{'domain':{'uuid':%s,'name':%s},'device':%s,'accelerator':%s,'accelerator_uuid':%s,"
        "'priority':%i,'sharing':%b,'weight':%i,'start':%s,'answer':%s,'state':%s,'since':%t,",
        row->uuid, row->domain, row->device, row->ask.accelerator,
        config != NULL ? config->uuid : NULL, row->ask.priority, row->ask.shared, row->ask.weight,
        row->ask.on_access ? "paused" : "running",
        row->state == VF_ATTACH_PLANNED || row->state == VF_ATTACH_ASLEEP
            ? NULL
            : vf_accel_answer_name(row->answer),
        vf_broker_state_word(row), real_time(request != NULL ? request->since : row->since));
    vf_json_append(
        out,
        "'pool':%s,'pf':%a,'index':%i,'region':%n,'kind':%n,'image':%s,'active':%b,'idle':%b,"
        "'preempted':%b,'preemptions':%i,'failures':%i,'ahead':%n,'share':%n",
        lease != NULL ? vf_daemon_pool(broker->daemon, lease->pool)->config->name : NULL, &row->pf,
        row->index, region != VF_ACCEL_NONE ? (int)(region - card->first) : VF_UNSET,
        region != VF_ACCEL_NONE ? (int)vf_accel_region(broker->accel, region)->kind : VF_UNSET,
        region != VF_ACCEL_NONE ? image_name(broker, number, region) : NULL, row->active,
        request != NULL && request->idle, request != NULL && request->preempted,
        row->preemptions + (request != NULL ? request->preemptions : 0),
        row->failures + (request != NULL ? request->failures : 0),
        waits ? (int)vf_accel_ahead(broker->accel, request, vf_broker_now()) : VF_UNSET,
        share_of(broker, row));
    append_parts(out, row);
    vf_json_append(out, ",'problem':%s}", row->problem);
}

static int by_name(gconstpointer a, gconstpointer b)
{
    const VfAttachment *x = *(VfAttachment *const *)a, *y = *(VfAttachment *const *)b;
    int order = strcmp(x->domain, y->domain);

    return order != 0 ? order : strcmp(x->key, y->key);
}

void vf_broker_view(GString *out, const VfDaemon *daemon)
{
    g_autoptr(GPtrArray) rows = vf_broker_rows(daemon->broker, by_name);

    vf_json_append(out, "[");
    for (guint i = 0; i < rows->len; i++) {
        vf_json_next(out);
        vf_broker_view_row(out, daemon->broker, g_ptr_array_index(rows, i));
    }
    vf_json_append(out, "]");
}

// ---- cards

static void append_holder(GString *out, const VfBroker *broker, const VfAccelRequest *request)
{
    const VfAttachment *row = vf_broker_row_of(broker, request);

    vf_json_next(out);
    vf_json_append(out,
                   "{'domain':{'uuid':%s,'name':%s},'device':%s,'index':%i,'active':%b,'share':%n}",
                   row->uuid, row->domain, row->device, row->index, row->active,
                   share_of(broker, row));
}

static void append_region(GString *out, const VfBroker *broker, const VfBrokerCard *card, guint i)
{
    const VfAccelRegion *region = vf_accel_region(broker->accel, card->first + i);
    const VfAcceleratorConfig *config = vf_broker_accelerator_config(broker, region->loaded);
    const VfTurns *turns = &broker->turns[card->first + i];

    vf_json_append(out,
                   "{'region':%i,'kind':%i,'accelerator':%s,'image':%s,'usable':%b,'since':%t,"
                   "'changing':%b,'holders':[",
                   i, region->kind, config != NULL ? config->name : NULL,
                   image_name(broker, region->loaded, card->first + i), region->usable,
                   real_time(region->since != 0 ? region->since : vf_broker_now()),
                   region->taking != NULL);
    for (const VfAccelRequest *holder = region->holders; holder != NULL; holder = holder->neighbour)
        append_holder(out, broker, holder);
    vf_json_append(out, "],'fairness':%n,'switching':%n,'switches':%i}",
                   turns->used ? per_mille(vf_slices_fairness(&turns->slices)) : VF_UNSET,
                   turns->used ? per_mille(vf_slices_overhead(&turns->slices)) : VF_UNSET,
                   turns->used ? (int)turns->slices.switches : 0);
}

void vf_broker_view_cards(GString *out, const VfDaemon *daemon)
{
    const VfBroker *broker = daemon->broker;

    vf_json_append(out, "[");
    for (guint c = 0; c < broker->cards->len; c++) {
        const VfBrokerCard *card = g_ptr_array_index(broker->cards, c);

        vf_json_next(out);
        vf_json_append(out,
                       "{'pf':%a,'card':%s,'functions':%i,'problem':%s,'waiting':%i,'regions':[",
                       &card->pf, card->spec, card->functions, card->problem,
                       broker->accel != NULL ? vf_accel_waiting(broker->accel, VF_ACCEL_NONE) : 0);
        for (guint i = 0; broker->accel != NULL && i < card->count; i++) {
            vf_json_next(out);
            append_region(out, broker, card, i);
        }
        vf_json_append(out, "]}");
    }
    vf_json_append(out, "]");
}

void vf_broker_view_problems(GString *out, const VfDaemon *daemon)
{
    const VfBroker *broker = daemon->broker;

    for (guint c = 0; c < broker->cards->len; c++) {
        const VfBrokerCard *card = g_ptr_array_index(broker->cards, c);

        if (card->problem == NULL)
            continue;
        vf_json_next(out);
        vf_json_append(out, "%s", card->problem);
    }
    if (daemon->images_error != NULL && broker->cards->len > 0) {
        vf_json_next(out);
        vf_json_append(out, "%s", daemon->images_error);
    }
}
