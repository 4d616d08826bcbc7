// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of routes and the handlers that only look.

#include "routes.h"

#include <string.h>

#include "broker.h"
#include "domxml.h"
#include "error.h"
#include "events.h"
#include "jsontext.h"
#include "openapi.h"
#include "settle.h"
#include "view.h"

static void refresh(VfDaemon *daemon)
{
    if (vf_daemon_refresh(daemon))
        vf_domains_resync(daemon);
}

static void get_status(VfRequest *request, gpointer daemon)
{
    GString *text = g_string_new(NULL);

    refresh(daemon);
    vf_view_status(text, daemon);
    vf_request_reply_json(request, 200, text);
}

// {"NAME": what the view shows}
static void reply_listed(VfRequest *request, const VfDaemon *daemon, const char *name,
                         void (*view)(GString *, const VfDaemon *))
{
    GString *text = g_string_new(NULL);

    vf_json_append(text, "{%s:", name);
    view(text, daemon);
    vf_json_append(text, "}");
    vf_request_reply_json(request, 200, text);
}

static void get_pools(VfRequest *request, gpointer daemon)
{
    refresh(daemon);
    reply_listed(request, daemon, "pools", vf_view_pools);
}

static VfInvPool *require_pool(VfRequest *request, VfDaemon *daemon, const char *name,
                               guint *number)
{
    g_autoptr(GError) error = NULL;
    VfInvPool *pool = vf_inventory_pool(daemon->inventory, name, number);

    if (pool != NULL)
        return pool;
    g_set_error(&error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "pool '%.40s': there is no such pool" VF_REMEDY "'virtfn list pools' names them",
                name);
    vf_request_reply_error(request, error);
    return NULL;
}

static void get_pool(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    guint number;

    refresh(daemon);
    if (require_pool(request, daemon, vf_request_segment(request, 0), &number) == NULL)
        return;
    GString *text = g_string_new(NULL);
    vf_view_pool(text, daemon, number);
    vf_request_reply_json(request, 200, text);
}

static void get_functions(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    const char *only = vf_request_query(request);
    guint number = VF_NO_SLOT;

    refresh(daemon);
    if (only != NULL && require_pool(request, daemon, only, &number) == NULL)
        return;
    GString *text = g_string_new("{\"functions\":");
    vf_view_functions(text, daemon, number);
    vf_json_append(text, "}");
    vf_request_reply_json(request, 200, text);
}

static void get_leases(VfRequest *request, gpointer daemon)
{
    reply_listed(request, daemon, "leases", vf_view_leases);
}

static void get_domains(VfRequest *request, gpointer daemon)
{
    reply_listed(request, daemon, "domains", vf_view_domains);
}

static void get_domain(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    const char *wanted = vf_request_segment(request, 0);
    g_autoptr(GError) error = NULL;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, vf_domains_records(daemon->domains));
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const VfDomainRecord *record = value;

        if (strcmp(record->uuid, wanted) == 0 || g_strcmp0(record->name, wanted) == 0) {
            GString *text = g_string_new(NULL);

            vf_view_domain(text, daemon, record);
            vf_request_reply_json(request, 200, text);
            return;
        }
    }
    g_set_error(&error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "domain '%.40s': virtfn knows no such domain" VF_REMEDY "see 'virsh list --all'",
                wanted);
    vf_request_reply_error(request, error);
}

static void get_openapi(VfRequest *request, gpointer daemon)
{
    vf_request_reply(request, 200, "application/json", g_strdup(vf_openapi_json),
                     strlen(vf_openapi_json));
}

#define SMALL_BODY (1024 * 1024)

const VfRoute vf_routes[] = {
    {"POST", "/v1/hooks/*", "reason", VF_ROLE_ADMIN, VF_DOMAIN_MAX_BYTES, vf_route_hook},
    {"GET", "/v1/status", NULL, VF_ROLE_READ, 0, get_status},
    {"GET", "/v1/pools", NULL, VF_ROLE_READ, 0, get_pools},
    {"GET", "/v1/pools/*", NULL, VF_ROLE_READ, 0, get_pool},
    {"GET", "/v1/functions", "pool", VF_ROLE_READ, 0, get_functions},
    {"GET", "/v1/domains", NULL, VF_ROLE_READ, 0, get_domains},
    {"GET", "/v1/domains/*", NULL, VF_ROLE_READ, 0, get_domain},
    {"GET", "/v1/leases", NULL, VF_ROLE_READ, 0, get_leases},
    {"POST", "/v1/leases", NULL, VF_ROLE_USE, SMALL_BODY, vf_route_lease_post},
    {"DELETE", "/v1/leases/*/*", NULL, VF_ROLE_USE, 0, vf_route_lease_delete},
    {"GET", "/v1/attachments", NULL, VF_ROLE_READ, 0, vf_route_attachments},
    {"POST", "/v1/attachments", NULL, VF_ROLE_USE, SMALL_BODY, vf_route_attachment_post},
    {"PUT", "/v1/attachments/*/*", NULL, VF_ROLE_USE, SMALL_BODY, vf_route_attachment_put},
    {"DELETE", "/v1/attachments/*/*", NULL, VF_ROLE_USE, 0, vf_route_attachment_delete},
    {"GET", "/v1/cards", NULL, VF_ROLE_READ, 0, vf_route_cards},
    {"POST", "/v1/render", NULL, VF_ROLE_USE, VF_DOMAIN_MAX_BYTES, vf_route_render},
    {"POST", "/v1/init", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_init},
    {"POST", "/v1/reconf", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_reconf},
    {"DELETE", "/v1/reconf/*", NULL, VF_ROLE_ADMIN, 0, vf_route_reconf_cancel},
    {"POST", "/v1/pause", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_pause},
    {"POST", "/v1/resume", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_resume},
    {"POST", "/v1/settle", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_settle},
    {"GET", "/v1/events", NULL, VF_ROLE_READ, 0, vf_route_events},
    {"GET", "/v1/images", NULL, VF_ROLE_READ, 0, vf_route_images},
    {"POST", "/v1/images", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_image_post},
    {"DELETE", "/v1/images/*", NULL, VF_ROLE_ADMIN, 0, vf_route_image_delete},
    {"GET", "/accelerators", NULL, VF_ROLE_READ, 0, vf_route_accelerators},
    {"GET", "/accelerators/*", NULL, VF_ROLE_READ, 0, vf_route_accelerator},
    {"POST", "/accelerators", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_accelerator_post},
    {"PUT", "/accelerators/*", NULL, VF_ROLE_ADMIN, SMALL_BODY, vf_route_accelerator_put},
    {"DELETE", "/accelerators/*", NULL, VF_ROLE_ADMIN, 0, vf_route_accelerator_delete},
    {"GET", "/openapi.json", NULL, VF_ROLE_READ, 0, get_openapi},
    {NULL, NULL, NULL, VF_ROLE_NONE, 0, NULL},
};
