// SPDX-License-Identifier: GPL-2.0-or-later
//
// Out: describe (live XML of each device), owe (XML kept, ledger), request, then look again and
// again until all are gone: libvirt reports success of a detach although the guest has not
// answered. In: what attach.c does for every lease that its guest's XML lacks.

#include "replug.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "domains.h"
#include "domxml.h"
#include "error.h"
#include "reconf-jobs.h"
#include "virconn.h"

#define GONE_US (30 * G_USEC_PER_SEC) // a guest takes a second; a busy one some more
#define LOOK_AGAIN_MS 100
#define LATE_SECONDS 600 // a guest that boots may answer as late as that

typedef struct {
    char uuid[37];
    char *domain, *device;
    VfPciAddr address;
    char *xml, *alias; // of the live device
    gboolean gone;     // the guest does not have it (any more)
    gboolean asked;    // for it; from then on it may go at any time
} Plug;

struct VfReplug {
    VfDaemon *daemon;
    GPtrArray *plugs; // of Plug; libvirt's thread has them while a job runs
    gint64 since, deadline;
    guint attaching;
    GError *error; // the first
    VfReplugTold told;
    VfReplugDone done;
    gpointer data;
};

static void plug_free(gpointer data)
{
    Plug *plug = data;

    g_free(plug->domain);
    g_free(plug->device);
    g_free(plug->xml);
    g_free(plug->alias);
    g_free(plug);
}

VfReplug *vf_replug_new(VfDaemon *daemon)
{
    VfReplug *replug = g_new0(VfReplug, 1);

    replug->daemon = daemon;
    replug->plugs = g_ptr_array_new_with_free_func(plug_free);
    return replug;
}

void vf_replug_free(VfReplug *replug)
{
    g_ptr_array_unref(replug->plugs);
    g_clear_error(&replug->error);
    g_free(replug);
}

void vf_replug_add(VfReplug *replug, const VfReconfOwner *owner)
{
    Plug *plug = g_new0(Plug, 1);

    g_strlcpy(plug->uuid, owner->uuid, sizeof(plug->uuid));
    plug->domain = g_strdup(owner->domain);
    plug->device = g_strdup(owner->device);
    plug->address = owner->address;
    g_ptr_array_add(replug->plugs, plug);
}

gint64 vf_replug_outage(const VfReplug *replug)
{
    return replug->since > 0 ? g_get_monotonic_time() - replug->since : 0;
}

static void tell(const VfReplug *replug, const char *event, const Plug *plug)
{
    g_autofree char *name = g_strdup_printf("%s/%s", plug->domain, plug->device);

    replug->told(event, name, replug->data);
}

static void end(VfReplug *replug)
{
    g_autoptr(GError) error = g_steal_pointer(&replug->error);

    replug->done(error, replug->data);
}

// Takes `error`; the first one counts.
static void fail(VfReplug *replug, const Plug *plug, GError *error)
{
    if (plug != NULL)
        g_prefix_error(&error, "domain '%s', device '%s': ", plug->domain, plug->device);
    if (replug->error == NULL)
        replug->error = error;
    else
        g_error_free(error);
}

// ---- what is kept

static char *kept_path(const VfDaemon *daemon, const char *uuid, const char *device,
                       const VfPciAddr *address)
{
    char text[VF_PCIADDR_BUFSIZE];
    g_autofree char *name =
        g_strdup_printf("%s.%s.%s.xml", uuid, device, vf_pciaddr_format(address, text));

    return g_build_filename(daemon->options.run_dir, "detached", name, NULL);
}

char *vf_replug_kept(const VfDaemon *daemon, const char *uuid, const char *device,
                     const VfPciAddr *address)
{
    g_autofree char *path = kept_path(daemon, uuid, device, address);
    const VfLease *lease = vf_allocator_find(daemon->allocator, uuid, device);
    gboolean owed = lease != NULL && lease->attach;
    char *xml = NULL;
    GStatBuf status;

    if (g_stat(path, &status) != 0 ||
        (!owed && status.st_mtime + LATE_SECONDS < g_get_real_time() / G_USEC_PER_SEC))
        return NULL;
    return g_file_get_contents(path, &xml, NULL, NULL) ? xml : NULL;
}

void vf_replug_forget(const VfDaemon *daemon, const char *uuid, const char *device,
                      const VfPciAddr *address)
{
    g_autofree char *path = kept_path(daemon, uuid, device, address);

    g_unlink(path);
}

static gboolean keep(const VfDaemon *daemon, const Plug *plug, GError **error)
{
    g_autofree char *path = kept_path(daemon, plug->uuid, plug->device, &plug->address);
    g_autofree char *directory = g_path_get_dirname(path);
    g_autoptr(GError) cause = NULL;

    if (g_mkdir_with_parents(directory, 0700) != 0) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", directory);
        return FALSE;
    }
    if (g_file_set_contents_full(path, plug->xml, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &cause))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "%s", cause->message);
    return FALSE;
}

// ---- libvirt's thread

// The live XML of a device; NULL without an error when the guest does not have it, or has ended.
static char *live_device(virConnectPtr connection, const Plug *plug, char **alias, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUIDString(connection, plug->uuid);
    char *xml = domain != NULL ? virDomainGetXMLDesc(domain, 0) : NULL;
    g_autoptr(GError) cause = NULL;
    char *device = NULL;

    if (xml == NULL)
        vf_virconn_error(&cause, plug->domain);
    else if (virDomainIsActive(domain) == 1)
        device = vf_domain_device_xml(xml, strlen(xml), &plug->address, alias, &cause);
    if (cause != NULL && !g_error_matches(cause, VF_ERROR, VF_ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&cause));
    free(xml);
    if (domain != NULL)
        virDomainFree(domain);
    return device;
}

static void describe(virConnectPtr connection, gpointer data, GError **error)
{
    VfReplug *replug = data;

    for (guint i = 0; *error == NULL && i < replug->plugs->len; i++) {
        Plug *plug = g_ptr_array_index(replug->plugs, i);

        plug->xml = live_device(connection, plug, &plug->alias, error);
        plug->gone = plug->xml == NULL;
    }
}

static gboolean request_one(virConnectPtr connection, const Plug *plug, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUIDString(connection, plug->uuid);
    gboolean ok = domain != NULL &&
                  virDomainDetachDeviceAlias(domain, plug->alias, VIR_DOMAIN_AFFECT_LIVE) == 0;

    if (!ok)
        vf_virconn_error(error, plug->device);
    if (domain != NULL)
        virDomainFree(domain);
    return ok;
}

static void request(virConnectPtr connection, gpointer data, GError **error)
{
    VfReplug *replug = data;

    for (guint i = 0; *error == NULL && i < replug->plugs->len; i++) {
        Plug *plug = g_ptr_array_index(replug->plugs, i);

        plug->asked = !plug->gone && request_one(connection, plug, error);
        if (*error != NULL)
            g_prefix_error(error, "domain '%s': ", plug->domain);
    }
}

// A moment without a connection is no answer.
static void look(virConnectPtr connection, gpointer data, GError **error)
{
    VfReplug *replug = data;

    for (guint i = 0; *error == NULL && i < replug->plugs->len; i++) {
        Plug *plug = g_ptr_array_index(replug->plugs, i);
        g_autofree char *xml = plug->gone ? NULL : live_device(connection, plug, NULL, error);

        plug->gone = *error == NULL && xml == NULL;
    }
}

// ---- out

static gboolean look_again(gpointer data);

static void looked(gpointer data, const GError *error)
{
    VfReplug *replug = data;
    const Plug *left = NULL;

    for (guint i = 0; i < replug->plugs->len; i++) {
        const Plug *plug = g_ptr_array_index(replug->plugs, i);

        if (plug->asked && !plug->gone)
            left = plug;
    }
    if (left != NULL && g_get_monotonic_time() < replug->deadline) {
        g_timeout_add(LOOK_AGAIN_MS, look_again, replug);
        return;
    }
    for (guint i = 0; i < replug->plugs->len; i++) {
        const Plug *plug = g_ptr_array_index(replug->plugs, i);

        if (plug->asked && plug->gone)
            tell(replug, "detached", plug);
    }
    if (error != NULL && left != NULL)
        fail(replug, left, g_error_copy(error));
    else if (left != NULL)
        fail(replug, left,
             g_error_new(VF_ERROR, VF_ERROR_STATE,
                         "its guest has not given it back within %d s, and may yet do so" VF_REMEDY
                         "see whether the guest is up and handles hot-unplug, or shut it down",
                         (int)(GONE_US / G_USEC_PER_SEC)));
    end(replug);
}

static gboolean look_again(gpointer data)
{
    VfReplug *replug = data;

    vf_virconn_submit(replug->daemon->virconn, look, looked, replug);
    return G_SOURCE_REMOVE;
}

static void requested(gpointer data, const GError *error)
{
    VfReplug *replug = data;

    replug->deadline = g_get_monotonic_time() + GONE_US;
    if (error != NULL)
        fail(replug, NULL, g_error_copy(error));
    look_again(replug);
}

static void owed(const GError *error, gpointer data)
{
    VfReplug *replug = data;

    if (error != NULL) {
        fail(replug, NULL, g_error_copy(error));
        end(replug);
        return;
    }
    replug->since = g_get_monotonic_time();
    vf_virconn_submit(replug->daemon->virconn, request, requested, replug);
}

static VfLease *lease_of(const VfReplug *replug, const Plug *plug)
{
    return vf_allocator_find(replug->daemon->allocator, plug->uuid, plug->device);
}

static gboolean owe(VfReplug *replug, const Plug *plug, GError **error)
{
    VfLease *lease = lease_of(replug, plug);

    if (lease == NULL || lease->state != VF_LEASE_RUNNING)
        return TRUE; // it ends by itself
    if (!keep(replug->daemon, plug, error))
        return FALSE;
    lease->attach = TRUE;
    vf_domains_attach_note(replug->daemon, lease);
    return vf_daemon_keep(replug->daemon, lease, VF_LEASE_RUNNING, error);
}

static void described(gpointer data, const GError *error)
{
    VfReplug *replug = data;
    GError *cause = NULL;

    if (error != NULL)
        fail(replug, NULL, g_error_copy(error));
    for (guint i = 0; replug->error == NULL && i < replug->plugs->len; i++) {
        const Plug *plug = g_ptr_array_index(replug->plugs, i);

        if (!plug->gone && !owe(replug, plug, &cause))
            fail(replug, plug, g_steal_pointer(&cause));
    }
    if (replug->error != NULL)
        end(replug);
    else
        vf_daemon_after_commit(replug->daemon, owed, replug);
}

void vf_replug_out(VfReplug *replug, VfReplugTold told, VfReplugDone done, gpointer data)
{
    replug->told = told;
    replug->done = done;
    replug->data = data;
    if (replug->daemon->virconn != NULL) {
        vf_virconn_submit(replug->daemon->virconn, describe, described, replug);
        return;
    }
    fail(replug, g_ptr_array_index(replug->plugs, 0),
         g_error_new(VF_ERROR, VF_ERROR_LIBVIRT,
                     "it can only be detached through libvirt, which this daemon does not use"));
    end(replug);
}

// ---- in

typedef struct {
    VfReplug *replug;
    const Plug *plug;
} Attaching;

static void one_less(VfReplug *replug)
{
    if (--replug->attaching == 0)
        end(replug);
}

static void attached(const GError *error, gpointer data)
{
    g_autofree Attaching *attaching = data;

    if (error != NULL)
        fail(attaching->replug, attaching->plug, g_error_copy(error));
    else
        tell(attaching->replug, "attached", attaching->plug);
    one_less(attaching->replug);
}

// It still has it, and may give it back any time: vf_domains_unplugged() is for that.
static void leave_to_guest(VfReplug *replug, VfLease *lease)
{
    lease->attach = FALSE;
    vf_daemon_keep(replug->daemon, lease, VF_LEASE_RUNNING, NULL);
    vf_domains_attach_clear(replug->daemon, lease);
}

void vf_replug_in(VfReplug *replug, VfReplugTold told, VfReplugDone done, gpointer data)
{
    replug->told = told;
    replug->done = done;
    replug->data = data;
    replug->attaching = 1; // this call
    for (guint i = 0; i < replug->plugs->len; i++) {
        const Plug *plug = g_ptr_array_index(replug->plugs, i);
        VfLease *lease = lease_of(replug, plug);
        Attaching *attaching;

        if (lease == NULL || !lease->attach || lease->state != VF_LEASE_RUNNING) {
            vf_replug_forget(replug->daemon, plug->uuid, plug->device, &plug->address);
            continue;
        }
        if (plug->asked && !plug->gone) {
            leave_to_guest(replug, lease);
            continue;
        }
        attaching = g_new(Attaching, 1);
        *attaching = (Attaching){replug, plug};
        replug->attaching++;
        vf_domains_attach_lease(replug->daemon, lease, attached, attaching);
    }
    one_less(replug);
}
