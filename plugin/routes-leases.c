// SPDX-License-Identifier: GPL-2.0-or-later
//
// Leases through the API: an orchestrator reserves functions for domains that have not started
// yet. One request or an array; each is answered when it is durable, all of one turn of the loop
// by one commit. A reserved lease outlives the domain's runs until it is deleted.

#include <string.h>

#include "domains.h"
#include "error.h"
#include "jsontext.h"
#include "lifecycle.h"
#include "routes.h"
#include "view.h"

#define MAX_BATCH 4096
#define LEASE_SIZE 512 // bytes that a lease's JSON seldom exceeds

typedef struct {
    VfRequest *request;
    unsigned status;
    GString *json; // NULL: 204
} Answer;

static void committed(const GError *error, gpointer data)
{
    g_autofree Answer *answer = data;

    if (error == NULL && answer->json == NULL) {
        vf_request_reply_empty(answer->request);
    } else if (error == NULL) {
        vf_request_reply_json(answer->request, answer->status, answer->json);
    } else {
        if (answer->json != NULL)
            g_string_free(answer->json, TRUE);
        vf_request_reply_error(answer->request, error);
    }
}

static void answer_after_commit(VfDaemon *daemon, VfRequest *request, unsigned status,
                                GString *json)
{
    Answer *answer = g_new(Answer, 1);

    *answer = (Answer){request, status, json};
    vf_daemon_after_commit(daemon, committed, answer);
}

static gboolean valid_device(const char *name)
{
    gsize length = strlen(name);

    return length >= 1 && length <= 32 && g_ascii_isalnum(*name) &&
           strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-") == length;
}

// As libvirt has them, and as they go into lines of logs and answers.
static gboolean valid_domain_name(const char *name)
{
    gboolean valid = strlen(name) <= 255;

    for (const char *p = name; valid && *p != '\0'; p++)
        valid = !g_ascii_iscntrl(*p);
    return valid;
}

// What is asked for. The strings belong to the request's body or its JSON.
typedef struct {
    const char *uuid, *device, *pool, *name;
} Wish;

static gboolean read_plain(VfRequest *request, Wish *wish)
{
    const VfPlainMember members[] = {
        {"domain", VF_PLAIN_STRING, TRUE, &wish->uuid},
        {"device", VF_PLAIN_STRING, TRUE, &wish->device},
        {"pool", VF_PLAIN_STRING, TRUE, &wish->pool},
        {"name", VF_PLAIN_STRING, FALSE, &wish->name},
    };

    return vf_request_plain(request, members, G_N_ELEMENTS(members));
}

static gboolean read_json(json_t *json, Wish *wish, GError **error)
{
    json_error_t where;

    if (json_unpack_ex(json, &where, JSON_STRICT, "{s:s, s:s, s:s, s?s}", "domain", &wish->uuid,
                       "device", &wish->device, "pool", &wish->pool, "name", &wish->name) == 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "lease: %s" VF_REMEDY "give domain (UUID), device and pool, and name if you like",
                where.text);
    return FALSE;
}

static gboolean check_wish(const Wish *wish, GError **error)
{
    if (!g_uuid_string_is_valid(wish->uuid)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "lease: '%.40s' is no UUID", wish->uuid);
        return FALSE;
    }
    if (!valid_device(wish->device)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "lease: '%.40s' is no device name" VF_REMEDY
                    "1 to 32 letters, digits, '_' and '-', a letter or digit first",
                    wish->device);
        return FALSE;
    }
    if (!valid_domain_name(wish->name)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "lease: name is no domain's name" VF_REMEDY
                    "give up to 255 bytes without control characters");
        return FALSE;
    }
    return TRUE;
}

static VfLease *reserve(VfDaemon *daemon, const Wish *wish, gboolean *created, GError **error)
{
    guint pool;
    VfLease *lease;

    if (!check_wish(wish, error))
        return NULL;
    g_autofree char *uuid = g_ascii_strdown(wish->uuid, -1);
    VfInvPool *p = vf_inventory_pool(daemon->inventory, wish->pool, &pool);
    if (p == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "pool '%.40s': there is no such pool" VF_REMEDY
                    "'virtfn list pools' names them",
                    wish->pool);
        return NULL;
    }
    switch (vf_allocator_lease(daemon->allocator, pool, uuid, wish->device, VF_NO_SLOT, &lease)) {
    case VF_GRANTED:
        *created = TRUE;
        break;
    case VF_HELD_ALREADY:
        *created = FALSE;
        if (lease->reserved)
            return lease;
        break;
    case VF_HELD_ELSEWHERE:
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain %s, device '%s': it holds a function of pool '%s'" VF_REMEDY
                    "delete that lease first",
                    uuid, wish->device, vf_daemon_pool(daemon, lease->pool)->config->name);
        return NULL;
    default: {
        g_autofree char *holders = vf_daemon_holders(daemon, pool);

        g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                    "pool '%s': no free function (%s)" VF_REMEDY
                    "stop one of these domains, or raise the pool's count",
                    wish->pool,
                    *holders != '\0' ? holders
                    : p->problem     ? p->problem
                                     : "none usable");
        return NULL;
    }
    }
    lease->reserved = TRUE;
    if (lease->domain == NULL) {
        lease->domain = g_strdup(wish->name);
        vf_daemon_set_claim(daemon, lease, NULL);
    }
    if (!vf_daemon_keep(daemon, lease, *created ? VF_LEASE_RESERVED : lease->state, error))
        return NULL;
    if (*created) {
        vf_domains_queue_pointing(daemon->domains, lease->pool, lease->slot, uuid);
        if (g_hash_table_contains(vf_domains_records(daemon->domains), uuid))
            vf_domains_queue(daemon->domains, uuid, NULL);
    }
    return lease;
}

static GString *reserve_all(VfDaemon *daemon, json_t *requests)
{
    GString *answers = g_string_new("[");
    json_t *one;
    size_t i;

    json_array_foreach(requests, i, one)
    {
        g_autoptr(GError) error = NULL;
        Wish wish = {.name = ""};
        gboolean created;
        VfLease *lease =
            read_json(one, &wish, &error) ? reserve(daemon, &wish, &created, &error) : NULL;

        vf_json_next(answers);
        if (lease != NULL)
            vf_view_lease(answers, daemon, lease);
        else
            vf_problem_json(answers, error);
    }
    vf_json_append(answers, "]");
    return answers;
}

static void reserve_one(VfRequest *request, VfDaemon *daemon, const Wish *wish, GError **error)
{
    gboolean created = FALSE;
    VfLease *lease = reserve(daemon, wish, &created, error);
    GString *answer;

    if (lease == NULL)
        return;
    answer = g_string_sized_new(LEASE_SIZE);
    vf_view_lease(answer, daemon, lease);
    answer_after_commit(daemon, request, created ? 201 : 200, answer);
}

static void reserve_json(VfRequest *request, VfDaemon *daemon, json_t *json, GError **error)
{
    Wish wish = {.name = ""};

    if (!json_is_array(json)) {
        if (read_json(json, &wish, error))
            reserve_one(request, daemon, &wish, error);
    } else if (json_array_size(json) <= MAX_BATCH) {
        answer_after_commit(daemon, request, 200, reserve_all(daemon, json));
    } else {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "leases: %zu in one request, %d are allowed",
                    json_array_size(json), MAX_BATCH);
    }
}

void vf_route_lease_post(VfRequest *request, gpointer data)
{
    Wish wish = {.name = ""};
    g_autoptr(GError) error = NULL;

    if (read_plain(request, &wish)) {
        reserve_one(request, data, &wish, &error);
    } else {
        json_t *json = vf_request_json(request, &error);

        if (json != NULL)
            reserve_json(request, data, json, &error);
        json_decref(json);
    }
    if (error != NULL)
        vf_request_reply_error(request, error);
}

void vf_route_lease_delete(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    g_autofree char *uuid = g_ascii_strdown(vf_request_segment(request, 0), -1);
    const char *device = vf_request_segment(request, 1);
    g_autoptr(GError) error = NULL;
    VfLease *lease = g_uuid_string_is_valid(uuid) && strlen(device) <= 32
                         ? vf_allocator_find(daemon->allocator, uuid, device)
                         : NULL;

    if (lease == NULL)
        g_set_error(&error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "lease '%.40s/%.40s': there is none" VF_REMEDY
                    "'virtfn list leases' names them",
                    uuid, device);
    else if (lease->state != VF_LEASE_RESERVED)
        g_set_error(&error, VF_ERROR, VF_ERROR_BUSY,
                    "lease '%s': domain '%s' uses it (%s)" VF_REMEDY "shut the domain down first",
                    lease->key, lease->domain, vf_lease_state_name(lease->state));
    if (error != NULL) {
        vf_request_reply_error(request, error);
        return;
    }
    vf_daemon_drop(daemon, lease);
    answer_after_commit(daemon, request, 204, NULL);
}
