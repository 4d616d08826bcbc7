// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the libvirt hook asks, and rendering, which answers with XML in the same way. Operations
// whose failure would kill a guest are always answered with "done"; what went wrong is logged.

#include <string.h>

#include "domains.h"
#include "domxml.h"
#include "error.h"
#include "lifecycle.h"
#include "log.h"
#include "routes.h"
#include "settle.h"

static void hook_answered(const GError *error, gpointer data)
{
    VfRequest *request = data;

    if (error != NULL) {
        vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "refused: %s", error->message);
        vf_request_reply_error(request, error);
    } else {
        vf_request_reply_empty(request);
    }
}

static void release_answered(const GError *error, gpointer data)
{
    if (error != NULL)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "release: %s", error->message);
    vf_request_reply_empty(data);
}

static void release(VfDaemon *daemon, VfRequest *request, const char *xml, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, length, &error);

    if (domain == NULL)
        release_answered(error, request);
    else
        vf_lifecycle_release(daemon, domain->uuid, release_answered, request);
}

// started, reconnect: the guest runs, whatever we find.
static void adopt(VfDaemon *daemon, VfRequest *request, const char *operation, const char *xml,
                  gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfDomain) domain =
        strcmp(operation, "reconnect") == 0 ? vf_domain_parse(xml, length, NULL) : NULL;

    if (!vf_lifecycle_adopt(daemon, xml, length, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", error->message);
    if (domain != NULL)
        vf_settle_met(daemon, domain->uuid);
    vf_request_reply_empty(request);
}

static void start(VfDaemon *daemon, VfRequest *request, const char *xml, gsize length)
{
    g_autoptr(GError) error = NULL;

    if (!vf_lifecycle_start(daemon, xml, length, &error))
        hook_answered(error, request);
    else
        vf_request_reply_empty(request);
}

// A document without <uuid> (a file for virsh create) is placed like a domain of its own, and
// points at nothing afterwards.
static char *render(VfDaemon *daemon, const char *xml, gsize length, GError **error)
{
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, length, error);
    g_autoptr(GPtrArray) claims = g_ptr_array_new_with_free_func(vf_domain_claim_free);
    g_autoptr(GArray) placements = NULL;
    gboolean changed, anonymous = domain != NULL && domain->uuid[0] == '\0';
    char *rendered = NULL;

    if (domain == NULL)
        return NULL;
    if (anonymous) {
        g_autofree char *uuid = g_uuid_string_random();

        g_strlcpy(domain->uuid, uuid, sizeof(domain->uuid));
    }
    if (vf_domains_place(daemon, domain, &placements, claims, error))
        rendered = vf_domain_render(xml, length, (const VfPlacement *)(void *)placements->data,
                                    placements->len, daemon->qmp_dir, &changed, error);
    // Only a defined domain keeps pointing; rendering a file leaves nothing behind.
    if (anonymous || g_hash_table_lookup(vf_domains_records(daemon->domains), domain->uuid) == NULL)
        for (guint i = 0; i < claims->len; i++)
            vf_daemon_unpoint(daemon, domain->uuid,
                              ((VfDomainClaim *)g_ptr_array_index(claims, i))->device);
    return rendered;
}

static void reply_rendered(VfDaemon *daemon, VfRequest *request, const char *xml, gsize length)
{
    g_autoptr(GError) error = NULL;
    char *rendered = render(daemon, xml, length, &error);

    if (rendered == NULL)
        vf_request_reply_error(request, error);
    else
        vf_request_reply(request, 200, "application/xml", rendered, strlen(rendered));
}

void vf_route_render(VfRequest *request, gpointer daemon)
{
    gsize length;
    const char *xml = vf_request_body(request, &length);

    reply_rendered(daemon, request, xml, length);
}

void vf_route_hook(VfRequest *request, gpointer daemon)
{
    const char *operation = vf_request_segment(request, 0);
    gsize length;
    const char *xml = vf_request_body(request, &length);

    if (strcmp(operation, "prepare") == 0) {
        vf_lifecycle_prepare(daemon, xml, length, hook_answered, request);
    } else if (strcmp(operation, "start") == 0) {
        start(daemon, request, xml, length);
    } else if (strcmp(operation, "started") == 0 || strcmp(operation, "reconnect") == 0) {
        adopt(daemon, request, operation, xml, length);
    } else if (strcmp(operation, "release") == 0) {
        release(daemon, request, xml, length);
    } else if (strcmp(operation, "migrate") == 0 || strcmp(operation, "restore") == 0) {
        reply_rendered(daemon, request, xml, length);
    } else {
        vf_request_reply_empty(request); // nothing to do, or an operation of a newer hook
    }
}
