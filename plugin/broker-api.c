// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests for accelerators through the API. A request is answered when it is durable, with what
// was decided; it is carried out afterwards. Nothing is changed by one that is refused.

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

static void answer_row(VfBroker *broker, VfRequest *request, unsigned status,
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

// ---- which device

static gboolean is_domain(const VfLease *lease, const char *domain)
{
    return g_ascii_strcasecmp(lease->uuid, domain) == 0 || g_strcmp0(lease->domain, domain) == 0;
}

// A device of the domain by name, or its first one with a card and without a request.
static VfLease *find_device(const VfBroker *broker, const char *domain, const char *device,
                            GError **error)
{
    gboolean is_uuid = g_uuid_string_is_valid(domain);
    g_autofree char *uuid = g_ascii_strdown(domain, -1);
    g_autoptr(GPtrArray) leases = NULL;
    const VfLease *known = NULL, *other = NULL;

    if (is_uuid && device != NULL) {
        VfLease *lease = vf_allocator_find(broker->daemon->allocator, uuid, device);

        if (lease != NULL && lease->state == VF_LEASE_RUNNING)
            return lease;
    }
    leases = vf_allocator_leases(broker->daemon->allocator, is_uuid ? uuid : NULL);
    for (guint i = 0; i < leases->len; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);
        const VfSlot *slot = vf_daemon_slot(broker->daemon, lease->pool, lease->slot);

        if (!is_domain(lease, domain))
            continue;
        known = lease;
        if (lease->state != VF_LEASE_RUNNING)
            other = lease;
        else if (device != NULL ? strcmp(lease->device, device) == 0
                                : vf_broker_card_of(broker, &slot->pf->pci.address) != NULL &&
                                      vf_broker_find(broker, lease->uuid, lease->device) == NULL)
            return lease;
    }
    if (other != NULL && (device == NULL || strcmp(other->device, device) == 0))
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s': it does not run (its lease of device '%s' is %s)" VF_REMEDY
                    "start it first",
                    vf_lease_holder(other), other->device, vf_lease_state_name(other->state));
    else if (known == NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%.40s': it does not run with a function of a pool" VF_REMEDY
                    "'virtfn list leases' names those that do",
                    domain);
    else if (device != NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%s': it has no device '%.40s'" VF_REMEDY "'virtfn show %s' names them",
                    vf_lease_holder(known), device, vf_lease_holder(known));
    else
        g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                    "domain '%s': it has no device left that could ask for an accelerator" VF_REMEDY
                    "name a pool with a 'card', from which it gets a new one",
                    vf_lease_holder(known));
    return NULL;
}

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

// ---- POST

typedef struct {
    VfRequest *request;
    VfBroker *broker;
    char *domain, *device;
    char *pool; // where a new device comes from, NULL = it is one that the domain has
    VfBrokerAsk ask;
} Post;

static void post_free(Post *post)
{
    vf_broker_ask_clear(&post->ask);
    g_free(post->domain);
    g_free(post->device);
    g_free(post->pool);
    g_free(post);
}

static VfAttachment *attach(const Post *post, GError **error)
{
    VfBroker *broker = post->broker;
    const VfLease *lease = find_device(broker, post->domain, post->device, error);
    VfAttachment *row;
    gboolean asleep;

    if (lease == NULL)
        return NULL;
    const VfSlot *slot = vf_daemon_slot(broker->daemon, lease->pool, lease->slot);
    if (!vf_broker_check(broker, vf_lease_holder(lease), &slot->pf->pci.address, &post->ask, error))
        return NULL;
    row = vf_broker_find(broker, lease->uuid, lease->device);
    asleep = row != NULL && row->state == VF_ATTACH_ASLEEP;
    if (row != NULL && !asleep) {
        vf_broker_verdict(broker, row, VF_ACCEL_ALREADY, error);
        return NULL;
    }
    if (row == NULL) {
        row = vf_broker_add_row(broker, lease->uuid, lease->device);
        row->domain = g_strdup(vf_lease_holder(lease));
        row->pf = slot->pf->pci.address;
        row->index = slot->index;
    }
    VfBrokerAsk before = row->ask;
    row->ask = (VfBrokerAsk){0};
    vf_broker_ask_copy(&row->ask, &post->ask);
    row->ask.on_access = before.on_access;
    if (vf_broker_ask(broker, row, error)) {
        vf_broker_ask_clear(&before);
        return row;
    }
    vf_broker_ask_clear(&row->ask);
    row->ask = before;
    if (!asleep)
        g_hash_table_remove(broker->rows, row->key);
    return NULL;
}

static void posted(const VfAttachment *row, const GError *error, gpointer data)
{
    Post *post = data;

    if (row != NULL)
        answer_row(post->broker, post->request, 201, row);
    else
        vf_request_reply_error(post->request, error);
    post_free(post);
}

static void post_now(gpointer data)
{
    Post *post = data;
    g_autoptr(GError) error = NULL;
    const VfAttachment *row;

    if (post->pool != NULL) {
        vf_broker_plug(post->broker, post->domain, post->pool, post->device, &post->ask, posted,
                       post);
        return;
    }
    row = attach(post, &error);
    posted(row, error, post);
}

static gboolean read_post(Post *post, json_t *json, GError **error)
{
    const char *domain, *device = NULL, *pool = NULL, *accelerator;
    int sharing = 0;
    json_int_t priority = 0, weight = VF_ASK_WEIGHT;
    json_error_t where;

    if (json_unpack_ex(json, &where, JSON_STRICT, "{s:s, s:s, s?s, s?s, s?I, s?b, s?I}", "domain",
                       &domain, "accelerator", &accelerator, "device", &device, "pool", &pool,
                       "priority", &priority, "sharing", &sharing, "weight", &weight) != 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "attachment: %s" VF_REMEDY "give domain and accelerator, and device, pool, "
                    "priority, sharing and weight if you like",
                    where.text);
        return FALSE;
    }
    if (priority < 0 || priority > VF_ASK_PRIORITY_MAX) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "attachment: priority is 0 to %d",
                    VF_ASK_PRIORITY_MAX);
        return FALSE;
    }
    if (weight < 1 || weight > VF_SLICES_WEIGHT_MAX) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "attachment: weight is 1 to %d",
                    VF_SLICES_WEIGHT_MAX);
        return FALSE;
    }
    post->domain = g_strdup(domain);
    post->device = g_strdup(device);
    post->pool = g_strdup(pool);
    post->ask =
        (VfBrokerAsk){g_strdup(accelerator), (guint)priority, (guint)weight, sharing, FALSE};
    return TRUE;
}

void vf_route_attachment_post(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);
    Post *post = g_new0(Post, 1);

    post->request = request;
    post->broker = daemon->broker;
    if (json != NULL && read_post(post, json, &error)) {
        vf_broker_when_ready(daemon->broker, post_now, post);
    } else {
        vf_request_reply_error(request, error);
        post_free(post);
    }
    json_decref(json);
}

// ---- PUT and DELETE

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
        answer_row(order->broker, order->request, 200, row);
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
        answer_row(broker, order->request, 204, NULL);
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
