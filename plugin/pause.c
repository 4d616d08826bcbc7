// SPDX-License-Identifier: GPL-2.0-or-later
//
// The pause commands drive a state machine inside QEMU: a command starts a transition, an event
// tells its end, a query tells where it is. One loop serves both directions: look, start what is at
// the other end, wait, take events as they come. Events may be lost and connections may break at
// any point, so the loop looks again then, and now and then in any case. It never takes anything
// back; that is the caller's plan.

#include "pause.h"

#include <string.h>

#include "error.h"
#include "quote.h"

#define EVENT "VFIO_PAUSE_STATE"
// A lost event costs no more than this.
#define LOOK_AGAIN_US (G_USEC_PER_SEC / 2)
// So often QEMU is asked anew after a failure on the way; with so long before all but the first.
#define MAX_LOSSES 3
#define LOSS_PAUSE_US 20000
#define MAX_REASON 400

static void set_error(VfQmp *qmp, const char *id, VfErrorCode code, const char *cause,
                      const char *remedy, GError **error)
{
    g_autofree char *quoted = vf_quote(id, -1);

    g_set_error(error, VF_ERROR, code, "domain '%s', device %s: %s%s%s", vf_qmp_guest(qmp), quoted,
                cause, remedy != NULL ? VF_REMEDY : "", remedy != NULL ? remedy : "");
}

// ---- the loop

typedef struct Operation Operation;

typedef struct {
    const char *id;
    VfPauseState state;
    char *reason; // QEMU's `error` with that state
    char *host_device;
    gboolean can_signal, started, settled;
    GError *error;
    // of a resume
    const VfResumeTarget *target;
    char *fd_name;
    gboolean fd_sent; // whether or not QEMU said that it has it
} Device;

struct Operation {
    VfQmp *qmp;
    gint64 deadline;
    Device *devices;
    guint n;
    VfPauseState from, to;
    // Sends the command that starts the transition.
    gboolean (*start)(Operation *, Device *, GError **);
    // TRUE when a device that is in `to` without our doing is as the caller wants it.
    gboolean (*accept)(Operation *, Device *, GError **);
    const VfPausePolicy *policy;
    guint losses;  // failures on the way
    GError *cause; // the last of them, NULL once QEMU has answered again
};

static void settle(Device *device, GError *error)
{
    device->settled = TRUE;
    device->error = error;
}

static gboolean is_settled(const Operation *op)
{
    for (guint i = 0; i < op->n; i++)
        if (!op->devices[i].settled)
            return FALSE;
    return TRUE;
}

static void settle_rest(Operation *op, const GError *error)
{
    for (guint i = 0; i < op->n; i++)
        if (!op->devices[i].settled)
            settle(&op->devices[i], g_error_copy(error));
}

static void settle_late(Operation *op)
{
    for (guint i = 0; i < op->n; i++) {
        Device *device = &op->devices[i];
        g_autofree char *cause =
            g_strdup_printf("%s when the time was over, not %s", vf_pause_state_word(device->state),
                            vf_pause_state_word(op->to));
        GError *error = NULL;

        if (device->settled)
            continue;
        set_error(op->qmp, device->id, VF_ERROR_QMP, cause,
                  "see its state again later, and the guest's log: /var/log/libvirt/qemu", &error);
        settle(device, error);
    }
}

// Whether QEMU got the command shows when it is asked for the state.
static void count_loss(Operation *op, GError *error)
{
    g_clear_error(&op->cause);
    op->cause = error;
    op->losses++;
    for (guint i = 0; i < op->n; i++)
        op->devices[i].started = FALSE;
}

static void set_state(Device *device, VfPauseState state, const char *reason)
{
    device->state = state;
    g_free(device->reason);
    device->reason = reason != NULL ? vf_quote_excerpt(reason, -1, MAX_REASON) : NULL;
}

static gboolean is_called(const Device *device, const char *id, const char *qom_path)
{
    return g_strcmp0(id, device->id) == 0 || g_strcmp0(qom_path, device->id) == 0;
}

static void take_info(Operation *op, Device *device, const GPtrArray *infos)
{
    GError *error = NULL;

    for (guint i = 0; i < infos->len; i++) {
        const VfPauseInfo *info = g_ptr_array_index(infos, i);

        if (!is_called(device, info->id, info->qom_path))
            continue;
        set_state(device, info->state, info->error);
        g_free(device->host_device);
        device->host_device = g_strdup(info->host_device);
        device->can_signal = info->can_signal;
        return;
    }
    set_state(device, VF_PAUSE_UNKNOWN, NULL);
    set_error(op->qmp, device->id, VF_ERROR_NOT_FOUND, "the guest has no such VFIO device",
              "see 'virsh dumpxml' for the aliases of its hostdevs", &error);
    settle(device, error);
}

// FALSE when nothing came, or the connection broke: look again.
static gboolean take_event(Operation *op, gint64 until)
{
    GError *error = NULL;
    json_t *event = vf_qmp_wait_event(op->qmp, EVENT, NULL, NULL, until, &error);
    const json_t *data = json_object_get(event, "data");
    VfPauseState state = vf_pause_state_parse(json_object_get(data, "state"));
    const char *id = json_string_value(json_object_get(data, "device-id"));
    const char *qom_path = json_string_value(json_object_get(data, "qom-path"));
    gboolean came = event != NULL;

    if (error != NULL)
        count_loss(op, error);
    for (guint i = 0; state != VF_PAUSE_UNKNOWN && i < op->n; i++)
        if (!op->devices[i].settled && is_called(&op->devices[i], id, qom_path))
            set_state(&op->devices[i], state, json_string_value(json_object_get(data, "error")));
    json_decref(event);
    return came;
}

// FALSE when the connection broke. An event that came before the answer may be of another
// operation, long over; the last of them tells the same as the answer, so they are all taken
// before anything is concluded.
static gboolean look(Operation *op)
{
    GError *error = NULL;
    g_autoptr(GPtrArray) infos = vf_pause_query(op->qmp, op->deadline, &error);

    if (infos == NULL && vf_qmp_refused(op->qmp) != NULL) {
        settle_rest(op, error);
        g_error_free(error);
        return TRUE;
    }
    if (infos == NULL) {
        count_loss(op, error);
        return FALSE;
    }
    g_clear_error(&op->cause);
    for (guint i = 0; i < op->n; i++)
        if (!op->devices[i].settled)
            take_info(op, &op->devices[i], infos);
    for (guint i = 0; i < VF_QMP_MAX_EVENTS && take_event(op, 0); i++) {
        // all that are there
    }
    return op->cause == NULL;
}

static void step(Operation *op, Device *device)
{
    GError *error = NULL;

    if (device->settled)
        return;
    if (device->state == op->to) {
        if (!device->started)
            op->accept(op, device, &error);
        settle(device, error);
    } else if (device->state == op->from && !device->started) {
        set_state(device, op->from, NULL);
        device->started = op->start(op, device, &error);
        if (error != NULL && vf_qmp_refused(op->qmp) != NULL) {
            g_prefix_error(&error, "device '%s': ", device->id);
            settle(device, error);
        } else if (error != NULL) {
            count_loss(op, error);
        }
    } else if (device->state == op->from && device->reason != NULL) {
        g_autofree char *cause =
            g_strdup_printf("stays %s: %s", vf_pause_state_word(op->from), device->reason);
        set_error(op->qmp, device->id, VF_ERROR_QMP, cause, NULL, &error);
        settle(device, error);
    }
}

static void run(Operation *op)
{
    gboolean known = FALSE;

    while (!is_settled(op)) {
        gint64 now = g_get_monotonic_time();

        if (op->cause != NULL && (now >= op->deadline || op->losses > MAX_LOSSES)) {
            settle_rest(op, op->cause);
        } else if (now >= op->deadline) {
            settle_late(op);
        } else if (!known) {
            if (op->losses > 1)
                g_usleep((gulong)MIN(LOSS_PAUSE_US, op->deadline - now));
            known = look(op);
        } else {
            for (guint i = 0; i < op->n && op->cause == NULL; i++)
                step(op, &op->devices[i]);
            if (!is_settled(op))
                known = op->cause == NULL &&
                        take_event(op, MIN(op->deadline, g_get_monotonic_time() + LOOK_AGAIN_US));
        }
    }
    g_clear_error(&op->cause);
}

static void device_clear(Device *device)
{
    g_free(device->reason);
    g_free(device->host_device);
    g_free(device->fd_name);
    g_clear_error(&device->error);
}

// ---- pause

static gboolean accept_paused(Operation *op, Device *device, GError **error)
{
    return TRUE;
}

static gboolean send_command(Operation *op, const Device *device, const char *command,
                             json_t *arguments, GError **error)
{
    json_object_set_new(arguments, "id", json_string(device->id));
    json_t *value = vf_qmp_execute(op->qmp, command, arguments, op->deadline, error);
    json_decref(value);
    return value != NULL;
}

static gboolean start_pause(Operation *op, Device *device, GError **error)
{
    static const char *const access_words[] = {
        [VF_PAUSE_ACCESS_IGNORE] = "ignore",
        [VF_PAUSE_ACCESS_HOLD] = "hold",
    };
    const VfPausePolicy *policy = op->policy;
    json_t *arguments = json_object();

    if (policy != NULL && policy->access != VF_PAUSE_ACCESS_DEFAULT)
        json_object_set_new(arguments, "access", json_string(access_words[policy->access]));
    if (policy != NULL && policy->hold_ms > 0)
        json_object_set_new(arguments, "hold-ms", json_integer(policy->hold_ms));
    return send_command(op, device, "vfio-pause", arguments, error);
}

gboolean vf_pause_devices(VfQmp *qmp, VfPauseTarget *targets, guint n_targets,
                          const VfPausePolicy *policy, gint64 deadline)
{
    g_autofree Device *devices = g_new0(Device, n_targets);
    Operation op = {.qmp = qmp,
                    .deadline = deadline,
                    .devices = devices,
                    .n = n_targets,
                    .from = VF_PAUSE_RUNNING,
                    .to = VF_PAUSE_PAUSED,
                    .start = start_pause,
                    .accept = accept_paused,
                    .policy = policy};
    gboolean all = TRUE;

    for (guint i = 0; i < n_targets; i++)
        devices[i].id = targets[i].id;
    run(&op);
    for (guint i = 0; i < n_targets; i++) {
        all = all && devices[i].error == NULL;
        targets[i].state = devices[i].state;
        targets[i].error = g_steal_pointer(&devices[i].error);
        device_clear(&devices[i]);
    }
    return all;
}

// ---- resume

static gboolean is_on(const char *host_device, const VfPciAddr *host)
{
    const char *slash = host_device != NULL ? strrchr(host_device, '/') : NULL;
    VfPciAddr found;

    return host_device != NULL &&
           vf_pciaddr_parse(slash != NULL ? slash + 1 : host_device, &found) &&
           vf_pciaddr_equal(&found, host);
}

static gboolean accept_running(Operation *op, Device *device, GError **error)
{
    const VfResumeTarget *resume = device->target;
    char wanted[VF_PCIADDR_BUFSIZE];

    if (resume->host == NULL || is_on(device->host_device, resume->host))
        return TRUE;
    g_autofree char *found = vf_quote(device->host_device != NULL ? device->host_device : "?", -1);
    g_autofree char *cause = g_strdup_printf("it runs already, on %s and not on %s", found,
                                             vf_pciaddr_format(resume->host, wanted));
    set_error(op->qmp, device->id, VF_ERROR_STATE, cause, "pause it first", error);
    return FALSE;
}

static gboolean start_resume(Operation *op, Device *device, GError **error)
{
    const VfResumeTarget *resume = device->target;
    char host[VF_PCIADDR_BUFSIZE];

    device->fd_sent = resume->group_fd >= 0;
    if (device->fd_sent &&
        !vf_qmp_getfd(op->qmp, device->fd_name, resume->group_fd, op->deadline, error))
        return FALSE;
    json_t *arguments = json_object();
    if (resume->host != NULL)
        json_object_set_new(arguments, "host-device",
                            json_string(vf_pciaddr_format(resume->host, host)));
    if (device->fd_sent)
        json_object_set_new(arguments, "fd", json_string(device->fd_name));
    if (device->can_signal && resume->signal != VF_RESUME_SIGNAL_NONE)
        json_object_set_new(arguments, "signal",
                            json_string(vf_resume_signal_words[resume->signal]));
    return send_command(op, device, "vfio-resume", arguments, error);
}

// One name for one device: a descriptor whose fate is unknown is replaced by the next.
static char *descriptor_name(const char *id)
{
    return g_strdup_printf("virtfn-%s", id);
}

void vf_resume_forget(VfQmp *qmp, const char *id, gint64 deadline)
{
    g_autofree char *name = descriptor_name(id);

    // That it is not there is what is hoped for.
    vf_qmp_closefd(qmp, name, deadline, NULL);
}

gboolean vf_resume_devices(VfQmp *qmp, VfResumeTarget *targets, guint n_targets, gint64 deadline)
{
    g_autofree Device *devices = g_new0(Device, n_targets);
    Operation op = {.qmp = qmp,
                    .deadline = deadline,
                    .devices = devices,
                    .n = n_targets,
                    .from = VF_PAUSE_PAUSED,
                    .to = VF_PAUSE_RUNNING,
                    .start = start_resume,
                    .accept = accept_running};
    gboolean all = TRUE;

    for (guint i = 0; i < n_targets; i++) {
        devices[i].id = targets[i].id;
        devices[i].target = &targets[i];
        devices[i].fd_name = descriptor_name(targets[i].id);
    }
    run(&op);
    for (guint i = 0; i < n_targets; i++) {
        targets[i].error = g_steal_pointer(&devices[i].error);
        all = all && targets[i].error == NULL;
        if (targets[i].error != NULL && devices[i].fd_sent)
            vf_resume_forget(qmp, targets[i].id, deadline);
        device_clear(&devices[i]);
    }
    return all;
}

gboolean vf_resume_device(VfQmp *qmp, const char *id, const VfPciAddr *host, int group_fd,
                          VfResumeSignal signal, gint64 deadline, GError **error)
{
    VfResumeTarget target = {id, host, group_fd, signal, NULL};

    if (vf_resume_devices(qmp, &target, 1, deadline))
        return TRUE;
    g_propagate_error(error, target.error);
    return FALSE;
}
