// SPDX-License-Identifier: GPL-2.0-or-later
//
// One worker thread with a queue of jobs and the only virConnectPtr. libvirt's event loop is
// GLib's (libvirt-glib), so events and keep-alives come on the main loop while a job waits.

#include "virconn.h"

#include <libvirt-glib/libvirt-glib.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "domxml.h"
#include "error.h"
#include "log.h"
#include "nodedev.h"

#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 10000
#define KEEPALIVE_SECONDS 5
#define KEEPALIVE_COUNT 6

typedef struct {
    VfVirRun run;
    VfVirDone done;
    gpointer data;
    VfVirconn *virconn;
    GError *error;
} Job;

struct VfVirconn {
    char *uri;
    VfVirconnEvents events;
    gpointer data;
    GThread *thread;
    GAsyncQueue *jobs;
    virConnectPtr connection; // worker thread, but for the time it is stopped
    // main thread
    gboolean connected;
    char *problem;
    guint retry_source, retry_ms;
    gboolean closing;
};

void vf_virconn_error(GError **error, const char *object)
{
    virErrorPtr last = virGetLastError();
    gboolean missing = last != NULL && last->code == VIR_ERR_NO_DOMAIN;

    g_set_error(error, VF_ERROR, missing ? VF_ERROR_NOT_FOUND : VF_ERROR_LIBVIRT, "%s: libvirt: %s",
                object, last != NULL && last->message != NULL ? last->message : "unknown error");
}

static gboolean deliver(gpointer data)
{
    Job *job = data;

    if (!job->virconn->closing)
        job->done(job->data, job->error);
    g_clear_error(&job->error);
    g_free(job);
    return G_SOURCE_REMOVE;
}

static gpointer work(gpointer data)
{
    VfVirconn *virconn = data;
    Job *job;

    while ((job = g_async_queue_pop(virconn->jobs))->run != NULL) {
        job->run(virconn->connection, job, &job->error);
        // g_main_context_invoke() would run it here while the main loop is between two turns.
        g_autoptr(GSource) source = g_idle_source_new();
        g_source_set_priority(source, G_PRIORITY_DEFAULT);
        g_source_set_callback(source, deliver, job, NULL);
        g_source_attach(source, NULL);
    }
    g_free(job);
    return NULL;
}

// A caller's job: only with a connection.
typedef struct {
    VfVirRun run;
    VfVirDone done;
    gpointer data;
} Call;

static void run_call(virConnectPtr connection, gpointer data, GError **error)
{
    Job *job = data;
    Call *call = job->data;

    if (connection == NULL || virConnectIsAlive(connection) != 1)
        g_set_error(error, VF_ERROR, VF_ERROR_LIBVIRT,
                    "%s: no connection" VF_REMEDY "see 'systemctl status libvirtd virtqemud'",
                    job->virconn->uri);
    else
        call->run(connection, call->data, error);
}

static void call_done(gpointer data, const GError *error)
{
    g_autofree Call *call = data;

    call->done(call->data, error);
}

static void push(VfVirconn *virconn, VfVirRun run, VfVirDone done, gpointer data)
{
    Job *job = g_new0(Job, 1);

    *job = (Job){run, done, data, virconn, NULL};
    g_async_queue_push(virconn->jobs, job);
}

void vf_virconn_submit(VfVirconn *virconn, VfVirRun run, VfVirDone done, gpointer data)
{
    Call *call = g_new(Call, 1);

    *call = (Call){run, done, data};
    push(virconn, run_call, call_done, call);
}

// ---- events, main thread

static int on_domain(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                     void *data)
{
    VfVirconn *virconn = data;
    char uuid[VIR_UUID_STRING_BUFLEN];

    // Name and UUID are in the event's own object: no call to the daemon.
    if (virDomainGetUUIDString(domain, uuid) == 0)
        virconn->events.domain(uuid, virDomainGetName(domain), event, detail, virconn->data);
    return 0;
}

// virsh metadata and virDomainSetMetadata() change an annotation without defining the domain.
static void on_metadata(virConnectPtr connection, virDomainPtr domain, int type, const char *uri,
                        void *data)
{
    if (type == VIR_DOMAIN_METADATA_ELEMENT && g_str_has_prefix(uri, VF_DOMAIN_NS_PREFIX))
        on_domain(connection, domain, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_UPDATED,
                  data);
}

static void on_removed(virConnectPtr connection, virDomainPtr domain, const char *alias, void *data)
{
    VfVirconn *virconn = data;
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (virDomainGetUUIDString(domain, uuid) == 0)
        virconn->events.unplugged(uuid, virconn->data);
}

static void on_nodedev(gpointer data)
{
    VfVirconn *virconn = data;

    virconn->events.nodedev(virconn->data);
}

static void schedule_connect(VfVirconn *virconn);

static void on_close(virConnectPtr connection, int reason, void *data)
{
    VfVirconn *virconn = data;

    if (virconn->closing)
        return;
    vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "%s: connection closed, connecting again",
           virconn->uri);
    virconn->connected = FALSE;
    g_free(virconn->problem);
    virconn->problem = g_strdup("the connection was closed");
    virconn->retry_ms = RETRY_FIRST_MS;
    schedule_connect(virconn);
}

// ---- connecting, worker thread

static void disconnect(virConnectPtr connection)
{
    virConnectUnregisterCloseCallback(connection, on_close);
    virConnectClose(connection);
}

static gboolean subscribe(virConnectPtr connection, VfVirconn *virconn)
{
    if (virConnectRegisterCloseCallback(connection, on_close, virconn, NULL) < 0 ||
        virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_domain), virconn, NULL) < 0 ||
        virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_metadata), virconn,
                                         NULL) < 0 ||
        virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_removed), virconn, NULL) < 0)
        return FALSE;
    virConnectSetKeepAlive(connection, KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
    // A host without the node-device driver still has its sysfs.
    vf_nodedev_watch(connection, on_nodedev, virconn);
    return TRUE;
}

static void run_connect(virConnectPtr old, gpointer data, GError **error)
{
    Job *job = data;
    VfVirconn *virconn = job->virconn;

    if (old != NULL)
        disconnect(old);
    virconn->connection = virConnectOpen(virconn->uri);
    if (virconn->connection != NULL && !subscribe(virconn->connection, virconn)) {
        vf_virconn_error(error, virconn->uri);
        virConnectClose(virconn->connection);
        virconn->connection = NULL;
    } else if (virconn->connection == NULL) {
        vf_virconn_error(error, virconn->uri);
    }
}

static void connect_done(gpointer data, const GError *error)
{
    VfVirconn *virconn = data;

    g_clear_pointer(&virconn->problem, g_free);
    if (error == NULL) {
        vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "%s: connected", virconn->uri);
        virconn->connected = TRUE;
        virconn->retry_ms = RETRY_FIRST_MS;
        virconn->events.connected(virconn->data);
        return;
    }
    if (virconn->retry_ms == RETRY_FIRST_MS)
        vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "%s, trying again", error->message);
    virconn->problem = g_strdup(error->message);
    schedule_connect(virconn);
}

static gboolean try_connect(gpointer data)
{
    VfVirconn *virconn = data;

    virconn->retry_source = 0;
    push(virconn, run_connect, connect_done, virconn);
    return G_SOURCE_REMOVE;
}

static void schedule_connect(VfVirconn *virconn)
{
    if (virconn->retry_source != 0)
        return;
    virconn->retry_source = g_timeout_add(virconn->retry_ms, try_connect, virconn);
    virconn->retry_ms = MIN(virconn->retry_ms * 2, RETRY_MAX_MS);
}

static void ignore_error(void *data, virErrorPtr error)
{
    // Errors are returned to the caller; libvirt's default prints them as well.
}

VfVirconn *vf_virconn_new(const char *uri, const VfVirconnEvents *events, gpointer data)
{
    static gsize once;
    VfVirconn *virconn = g_new0(VfVirconn, 1);

    if (g_once_init_enter(&once)) {
        gvir_event_register();
        virSetErrorFunc(NULL, ignore_error);
        g_once_init_leave(&once, 1);
    }
    virconn->uri = g_strdup(uri);
    virconn->events = *events;
    virconn->data = data;
    virconn->jobs = g_async_queue_new();
    virconn->retry_ms = RETRY_FIRST_MS;
    virconn->problem = g_strdup("not connected yet");
    virconn->thread = g_thread_new("libvirt", work, virconn);
    push(virconn, run_connect, connect_done, virconn);
    return virconn;
}

void vf_virconn_free(VfVirconn *virconn)
{
    virconn->closing = TRUE;
    if (virconn->retry_source != 0)
        g_source_remove(virconn->retry_source);
    push(virconn, NULL, NULL, NULL);
    // A call that waits for somebody's hook may take as long as that hook.
    g_thread_join(virconn->thread);
    while (g_main_context_iteration(NULL, FALSE)) {
        // lets results that are posted already be dropped
    }
    if (virconn->connection != NULL)
        disconnect(virconn->connection);
    g_async_queue_unref(virconn->jobs);
    g_free(virconn->problem);
    g_free(virconn->uri);
    g_free(virconn);
}

gboolean vf_virconn_connected(const VfVirconn *virconn)
{
    return virconn->connected;
}

const char *vf_virconn_problem(const VfVirconn *virconn)
{
    return virconn->connected ? NULL : virconn->problem;
}
