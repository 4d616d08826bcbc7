// SPDX-License-Identifier: GPL-2.0-or-later
//
// New requests for accelerators through the API: the body, the device of a domain that is meant, a
// place in the table. Whether an accelerator fits is for broker-ask.c. Nothing is changed by a
// request that is refused.

#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "routes.h"

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
        vf_broker_answer(post->broker, post->request, 201, row);
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

// The members of a body.
typedef struct {
    const char *domain, *device, *pool, *accelerator;
    json_int_t priority, weight;
    int sharing;
} Body;

static gboolean read_plain(VfRequest *request, Body *body)
{
    const VfPlainMember members[] = {
        {"domain", VF_PLAIN_STRING, TRUE, &body->domain},
        {"device", VF_PLAIN_STRING, FALSE, &body->device},
        {"accelerator", VF_PLAIN_STRING, TRUE, &body->accelerator},
        {"pool", VF_PLAIN_STRING, FALSE, &body->pool},
        {"priority", VF_PLAIN_INTEGER, FALSE, &body->priority},
        {"weight", VF_PLAIN_INTEGER, FALSE, &body->weight},
        {"sharing", VF_PLAIN_BOOLEAN, FALSE, &body->sharing},
    };

    return vf_request_plain(request, members, G_N_ELEMENTS(members));
}

static gboolean read_json(json_t *json, Body *body, GError **error)
{
    json_error_t where;

    if (json == NULL)
        return FALSE;
    if (json_unpack_ex(json, &where, JSON_STRICT, "{s:s, s:s, s?s, s?s, s?I, s?b, s?I}", "domain",
                       &body->domain, "accelerator", &body->accelerator, "device", &body->device,
                       "pool", &body->pool, "priority", &body->priority, "sharing", &body->sharing,
                       "weight", &body->weight) == 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "attachment: %s" VF_REMEDY "give domain and accelerator, and device, pool, "
                "priority, sharing and weight if you like",
                where.text);
    return FALSE;
}

static gboolean check_body(const Body *body, GError **error)
{
    if (body->priority < 0 || body->priority > VF_ASK_PRIORITY_MAX) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "attachment: priority is 0 to %d",
                    VF_ASK_PRIORITY_MAX);
        return FALSE;
    }
    if (body->weight < 1 || body->weight > VF_SLICES_WEIGHT_MAX) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "attachment: weight is 1 to %d",
                    VF_SLICES_WEIGHT_MAX);
        return FALSE;
    }
    return TRUE;
}

static Post *post_new(VfRequest *request, VfBroker *broker, const Body *body)
{
    Post *post = g_new0(Post, 1);

    post->request = request;
    post->broker = broker;
    post->domain = g_strdup(body->domain);
    post->device = g_strdup(body->device);
    post->pool = g_strdup(body->pool);
    post->ask = (VfBrokerAsk){g_strdup(body->accelerator), (guint)body->priority,
                              (guint)body->weight, body->sharing, FALSE};
    return post;
}

void vf_route_attachment_post(VfRequest *request, gpointer data)
{
    VfBroker *broker = ((VfDaemon *)data)->broker;
    Body body = {.weight = VF_ASK_WEIGHT};
    gboolean plain = read_plain(request, &body);
    g_autoptr(GError) error = NULL;
    json_t *json = plain ? NULL : vf_request_json(request, &error);

    if ((plain || read_json(json, &body, &error)) && check_body(&body, &error))
        vf_broker_when_ready(broker, post_now, post_new(request, broker, &body));
    else
        vf_request_reply_error(request, error);
    json_decref(json);
}
