// SPDX-License-Identifier: GPL-2.0-or-later
//
// A look at every domain of libvirt: after connecting, when pools changed, and now and then. What
// runs is adopted, leases of what does not run end, pointers of what is gone are dropped, and
// everything else is queued for rendering.

#include <stdlib.h>
#include <string.h>

#include "domains.h"
#include "lifecycle.h"
#include "log.h"
#include "virconn.h"

typedef struct {
    char uuid[37];
    char *name, *live_xml;
    gboolean active;
} Listed;

typedef struct {
    VfDaemon *daemon;
    guint64 generation; // of the table when the list was asked for
    GPtrArray *listed;
} Resync;

static void listed_free(gpointer data)
{
    Listed *listed = data;

    g_free(listed->name);
    g_free(listed->live_xml);
    g_free(listed);
}

static void list_all(virConnectPtr connection, gpointer data, GError **error)
{
    Resync *resync = data;
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, 0);

    if (n < 0)
        vf_virconn_error(error, "list of domains");
    for (int i = 0; i < n; i++) {
        Listed *listed = g_new0(Listed, 1);

        virDomainGetUUIDString(domains[i], listed->uuid);
        listed->name = g_strdup(virDomainGetName(domains[i]));
        listed->active = virDomainIsActive(domains[i]) == 1;
        char *xml = listed->active ? virDomainGetXMLDesc(domains[i], 0) : NULL;
        listed->live_xml = g_strdup(xml);
        free(xml);
        g_ptr_array_add(resync->listed, listed);
        virDomainFree(domains[i]);
    }
    free(domains);
}

static void forget_missing(VfDaemon *daemon, GHashTable *present)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer uuid;

    g_hash_table_iter_init(&iter, vf_domains_records(daemon->domains));
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        if (!g_hash_table_contains(present, uuid))
            g_ptr_array_add(gone, g_strdup(uuid));
    for (guint i = 0; i < gone->len; i++)
        vf_domains_forget(daemon->domains, g_ptr_array_index(gone, i));
}

static void collect_uuid(const VfPointer *pointer, gpointer data)
{
    g_hash_table_add(data, g_strdup(pointer->uuid));
}

// Pointers of domains that were undefined while the daemon was away.
static void unpoint_missing(VfDaemon *daemon, GHashTable *present)
{
    g_autoptr(GHashTable) pointing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GHashTableIter iter;
    gpointer uuid;

    vf_allocator_each_pointer(daemon->allocator, NULL, collect_uuid, pointing);
    g_hash_table_iter_init(&iter, pointing);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        if (!g_hash_table_contains(present, uuid))
            vf_domains_forget(daemon->domains, uuid);
}

static void listed_all(gpointer data, const GError *error)
{
    Resync *resync = data;
    VfDaemon *daemon = resync->daemon;
    g_autoptr(GHashTable) active = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);

    if (error != NULL) {
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", error->message);
    } else {
        for (guint i = 0; i < resync->listed->len; i++) {
            Listed *listed = g_ptr_array_index(resync->listed, i);

            g_hash_table_add(present, listed->uuid);
            if (listed->active)
                g_hash_table_add(active, listed->uuid);
            if (listed->live_xml != NULL)
                vf_lifecycle_adopt(daemon, listed->live_xml, strlen(listed->live_xml), NULL);
        }
        vf_lifecycle_sweep(daemon, active, resync->generation);
        forget_missing(daemon, present);
        unpoint_missing(daemon, present);
        for (guint i = 0; i < resync->listed->len; i++) {
            Listed *listed = g_ptr_array_index(resync->listed, i);

            vf_domains_queue(daemon->domains, listed->uuid, listed->name);
            if (listed->active)
                vf_domains_attach(daemon, listed->uuid);
        }
    }
    g_ptr_array_unref(resync->listed);
    g_free(resync);
}

void vf_domains_resync(VfDaemon *daemon)
{
    Resync *resync;

    if (daemon->virconn == NULL)
        return;
    resync = g_new0(Resync, 1);
    resync->daemon = daemon;
    resync->generation = daemon->generation;
    resync->listed = g_ptr_array_new_with_free_func(listed_free);
    vf_virconn_submit(daemon->virconn, list_all, listed_all, resync);
}
