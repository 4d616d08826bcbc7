// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests for accelerators through the API: their answers, remap, detach, lists; new ones are in
// broker-post.c. A request is answered when it is durable, with what was decided; it is carried out
// afterwards. Nothing is changed by one that is refused.

#include "broker-parts.h"

#include <string.h>

#include "error.h"
#include "jsontext.h"
#include "routes.h"

#define ROW_SIZE 768 // bytes that an attachment's JSON seldom exceeds
#define MAX_REMAP_TRIES 500
#define REMAP_AGAIN_MS 20

typedef struct {
    VfRequest *request;
    unsigned status;
    GString *json; // NULL: 204
} Answer;

static void committed(const GError *error, gpointer data)
{
    g_autofree Answer *answer = data;

    if (error != NULL) {
        if (answer->json != NULL)
            g_string_free(answer->json, TRUE);
        vf_request_reply_error(answer->request, error);
    } else if (answer->json != NULL) {
        vf_request_reply_json(answer->request, answer->status, answer->json);
    } else {
        vf_request_reply_empty(answer->request);
    }
}

void vf_broker_answer(VfBroker *broker, VfRequest *request, unsigned status,
                      const VfAttachment *row)
{
    Answer *answer = g_new(Answer, 1);

    *answer = (Answer){request, status, NULL};
    if (row != NULL) {
        answer->json = g_string_sized_new(ROW_SIZE);
        vf_broker_view_row(answer->json, broker, row);
    }
    vf_daemon_after_commit(broker->daemon, committed, answer);
}

// ---- PUT and DELETE

static VfAttachment *find_row(const VfBroker *broker, const char *domain, const char *device,
                              GError **error)
{
    g_autofree char *uuid = g_ascii_strdown(domain, -1);
    VfAttachment *row = vf_broker_find(broker, uuid, device);
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, broker->rows);
    while (row == NULL && g_hash_table_iter_next(&iter, NULL, &value)) {
        VfAttachment *one = value;

        if (strcmp(one->domain, domain) == 0 && strcmp(one->device, device) == 0)
            row = one;
    }
    if (row == NULL || row->state == VF_ATTACH_LEAVING)
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "attachment '%.40s/%.40s': there is none" VF_REMEDY
                    "'virtfn status' names them",
                    domain, device);
    return row != NULL && row->state != VF_ATTACH_LEAVING ? row : NULL;
}

typedef struct {
    VfRequest *request;
    VfBroker *broker;
    char *domain, *device, *accelerator; // accelerator NULL: it is to be detached
    guint tries;
} Order;

static void order_free(Order *order)
{
    g_free(order->domain);
    g_free(order->device);
    g_free(order->accelerator);
    g_free(order);
}

static void refuse(Order *order, const GError *error)
{
    vf_request_reply_error(order->request, error);
    order_free(order);
}

// Its region may be on its way to somebody else meanwhile: that ends first.
static gboolean remap_disconnected(gpointer data)
{
    Order *order = data;
    g_autoptr(GError) error = NULL;
    VfAttachment *row = find_row(order->broker, order->domain, order->device, &error);
    gboolean ready = vf_broker_ready(order->broker);

    if (row != NULL &&
        (!ready || (row->request != NULL && row->request->state != VF_ACCEL_WAITING &&
                    row->request->state != VF_ACCEL_HOLDING)) &&
        order->tries++ < MAX_REMAP_TRIES)
        return G_SOURCE_CONTINUE;
    if (row != NULL && ready && vf_broker_remap(order->broker, row, order->accelerator, &error)) {
        vf_broker_answer(order->broker, order->request, 200, row);
        order_free(order);
    } else {
        if (row != NULL && error == NULL)
            vf_broker_verdict(order->broker, row, VF_ACCEL_NOT_NOW, &error);
        if (row != NULL && ready) { // whatever it has is given back
            row->due = TRUE;
            vf_broker_settle(order->broker, row);
        }
        refuse(order, error);
    }
    return G_SOURCE_REMOVE;
}

static void disconnected(VfAttachment *row, const GError *error, gpointer data)
{
    Order *order = data;

    if (error != NULL) {
        if (row != NULL) {
            row->due = TRUE;
            vf_broker_settle(order->broker, row);
        }
        refuse(order, error);
    } else if (remap_disconnected(order) == G_SOURCE_CONTINUE) {
        g_timeout_add(REMAP_AGAIN_MS, remap_disconnected, order);
    }
}

static void order_now(gpointer data)
{
    Order *order = data;
    VfBroker *broker = order->broker;
    g_autoptr(GError) error = NULL;
    VfAttachment *row = find_row(broker, order->domain, order->device, &error);

    if (row == NULL || (order->accelerator != NULL &&
                        !vf_broker_remap_check(broker, row, order->accelerator, &error))) {
        refuse(order, error);
    } else if (order->accelerator == NULL) {
        vf_broker_let_go(broker, row);
        vf_broker_answer(broker, order->request, 204, NULL);
        order_free(order);
    } else if (row->active) {
        vf_broker_detach(broker, row, FALSE, disconnected, order);
    } else {
        disconnected(row, NULL, order);
    }
}

static Order *order_new(VfRequest *request, VfDaemon *daemon, const char *accelerator)
{
    Order *order = g_new0(Order, 1);

    order->request = request;
    order->broker = daemon->broker;
    order->domain = g_strdup(vf_request_segment(request, 0));
    order->device = g_strdup(vf_request_segment(request, 1));
    order->accelerator = g_strdup(accelerator);
    return order;
}

void vf_route_attachment_put(VfRequest *request, gpointer data)
{
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);
    const char *accelerator;
    json_error_t where;

    if (json != NULL &&
        json_unpack_ex(json, &where, JSON_STRICT, "{s:s}", "accelerator", &accelerator) != 0)
        g_set_error(&error, VF_ERROR, VF_ERROR_INPUT, "attachment: %s" VF_REMEDY "give accelerator",
                    where.text);
    if (error != NULL)
        vf_request_reply_error(request, error);
    else
        vf_broker_when_ready(((VfDaemon *)data)->broker, order_now,
                             order_new(request, data, accelerator));
    json_decref(json);
}

void vf_route_attachment_delete(VfRequest *request, gpointer data)
{
    vf_broker_when_ready(((VfDaemon *)data)->broker, order_now, order_new(request, data, NULL));
}

// ---- GET

void vf_route_attachments(VfRequest *request, gpointer daemon)
{
    GString *text = g_string_new("{\"attachments\":");

    vf_broker_view(text, daemon);
    vf_json_append(text, "}");
    vf_request_reply_json(request, 200, text);
}

void vf_route_cards(VfRequest *request, gpointer daemon)
{
    GString *text = g_string_new("{\"cards\":");

    vf_broker_view_cards(text, daemon);
    vf_json_append(text, "}");
    vf_request_reply_json(request, 200, text);
}
