// SPDX-License-Identifier: GPL-2.0-or-later
//
// QMP over libvirt's own monitor of a guest (libvirt-qemu.c, virDomainQemuMonitorCommandWithFiles:
// one descriptor in, no events). The call itself has no time limit and runs in libvirt's worker, so
// a caller that gives up leaves it behind: the exchange belongs to both, and carries a duplicate of
// the descriptor. What has not begun by then is not begun any more.

#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "qmp-transport.h"

#define POLL_US 10000

typedef struct {
    VfQmp base;
    VfVirconn *virconn;
    char *uuid;
} Libvirt;

typedef struct {
    gint references; // the caller's, and the worker's until its `done`
    char *uuid, *object, *command;
    int fd;
    gint64 deadline;
    GMutex lock;
    GCond ended_cond;
    // under the lock
    gboolean ended;
    char *answer;
    GError *error;
} Exchange;

static void exchange_unref(Exchange *exchange)
{
    if (!g_atomic_int_dec_and_test(&exchange->references))
        return;
    if (exchange->fd >= 0)
        close(exchange->fd);
    g_mutex_clear(&exchange->lock);
    g_cond_clear(&exchange->ended_cond);
    g_clear_error(&exchange->error);
    g_free(exchange->uuid);
    g_free(exchange->object);
    free(exchange->command);
    free(exchange->answer);
    g_free(exchange);
}

static void set_late(const Exchange *exchange, GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_LIBVIRT,
                "%s: libvirt did not answer in time" VF_REMEDY
                "see what the domain is doing: virsh domjobinfo, virsh domcontrol",
                exchange->object);
}

// The first to tell counts: run() when the command ran, done() when it did not.
static void end(Exchange *exchange, char *answer, const GError *error)
{
    g_mutex_lock(&exchange->lock);
    if (!exchange->ended) {
        exchange->ended = TRUE;
        exchange->answer = answer;
        exchange->error = error != NULL ? g_error_copy(error) : NULL;
        g_cond_signal(&exchange->ended_cond);
    }
    g_mutex_unlock(&exchange->lock);
}

// Libvirt's worker.
static void run(virConnectPtr connection, gpointer data, GError **error)
{
    Exchange *exchange = data;
    char *answer = NULL;

    if (g_get_monotonic_time() >= exchange->deadline) {
        set_late(exchange, error);
        return;
    }
    virDomainPtr domain = virDomainLookupByUUIDString(connection, exchange->uuid);
    if (domain == NULL ||
        virDomainQemuMonitorCommandWithFiles(domain, exchange->command, exchange->fd >= 0 ? 1 : 0,
                                             exchange->fd >= 0 ? &exchange->fd : NULL, NULL, NULL,
                                             &answer, 0) != 0)
        vf_virconn_error(error, exchange->object);
    if (domain != NULL)
        virDomainFree(domain);
    // At once: a VFIO group that is open here could not be opened by anybody else.
    if (exchange->fd >= 0)
        close(exchange->fd);
    exchange->fd = -1;
    end(exchange, answer, *error);
}

// Main loop.
static void done(gpointer data, const GError *error)
{
    Exchange *exchange = data;

    end(exchange, NULL, error);
    exchange_unref(exchange);
}

static json_t *parse_answer(const Exchange *exchange, GError **error)
{
    json_t *answer = NULL;

    if (exchange->answer != NULL && strlen(exchange->answer) <= VF_QMP_MAX_LINE)
        answer = json_loads(exchange->answer, JSON_REJECT_DUPLICATES, NULL);
    if (json_object_get(answer, "return") != NULL ||
        json_is_object(json_object_get(answer, "error")))
        return answer;
    json_decref(answer);
    g_set_error(error, VF_ERROR, VF_ERROR_QMP,
                "%s: what came back is not an answer of QEMU" VF_REMEDY
                "see the guest's log: /var/log/libvirt/qemu",
                exchange->object);
    return NULL;
}

static json_t *await(Exchange *exchange, GError **error)
{
    json_t *answer = NULL;

    g_mutex_lock(&exchange->lock);
    while (!exchange->ended &&
           g_cond_wait_until(&exchange->ended_cond, &exchange->lock, exchange->deadline)) {
        // woken without an end
    }
    if (!exchange->ended)
        set_late(exchange, error);
    else if (exchange->error != NULL)
        g_propagate_error(error, g_error_copy(exchange->error));
    else
        answer = parse_answer(exchange, error);
    g_mutex_unlock(&exchange->lock);
    return answer;
}

static json_t *exchange(VfQmp *qmp, json_t *request, int fd, gint64 deadline, GError **error)
{
    Libvirt *libvirt = (Libvirt *)qmp;
    int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

    if (fd >= 0 && copy < 0) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "domain '%s': descriptor %d",
                           qmp->guest, fd);
        return NULL;
    }
    Exchange *shared = g_new0(Exchange, 1);
    shared->references = 2;
    shared->uuid = g_strdup(libvirt->uuid);
    shared->object = g_strdup_printf("domain '%s'", qmp->guest);
    // libvirt gives each command an id of its own.
    json_object_del(request, "id");
    shared->command = json_dumps(request, JSON_COMPACT);
    shared->fd = copy;
    shared->deadline = deadline;
    g_mutex_init(&shared->lock);
    g_cond_init(&shared->ended_cond);
    vf_virconn_submit(libvirt->virconn, run, done, shared);
    json_t *answer = await(shared, error);
    exchange_unref(shared);
    return answer;
}

static json_t *wait_event(VfQmp *qmp, const char *name, VfQmpMatch match, gpointer data,
                          gint64 deadline, GError **error)
{
    vf_qmp_sleep(POLL_US, deadline);
    return NULL;
}

static void libvirt_free(VfQmp *qmp)
{
    Libvirt *libvirt = (Libvirt *)qmp;

    g_free(libvirt->uuid);
    g_free(libvirt);
}

VfQmp *vf_qmp_libvirt_new(VfVirconn *virconn, const char *uuid, const char *guest)
{
    static const VfQmpTransport transport = {exchange, wait_event, libvirt_free};
    Libvirt *libvirt = g_new0(Libvirt, 1);

    libvirt->base.transport = &transport;
    libvirt->base.guest = g_strdup(guest);
    libvirt->virconn = virconn;
    libvirt->uuid = g_strdup(uuid);
    return &libvirt->base;
}
