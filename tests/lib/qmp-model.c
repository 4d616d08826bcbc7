// SPDX-License-Identifier: GPL-2.0-or-later
//
// Devices with the four states of qapi/vfio-pause.json. Strict where QEMU is: arguments that the
// schema does not have are refused, and so is a transition from the wrong state.

#include "qmp-model.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PERIPHERAL "/machine/peripheral/"

typedef struct {
    char *id, *host, *next_host;
    const char *state; // literal
    char *error;
    gint64 end; // of the transition
    QmpFault fault;
    ino_t inode;
    guint accesses; // by the guest
    int group;      // held while it runs; -1 = none
} Device;

struct QmpModel {
    QmpModelEvent event;
    gpointer data;
    GPtrArray *devices;
    GHashTable *named; // name -> descriptor
    gint64 duration;
    gboolean stock, unsignalled;
    const char *status, *migration; // of the guest; migration NULL = there was none
};

static void drop_group(Device *device)
{
    if (device->group >= 0)
        close(device->group);
    device->group = -1;
}

static void device_free(gpointer data)
{
    Device *device = data;

    drop_group(device);
    g_free(device->id);
    g_free(device->host);
    g_free(device->next_host);
    g_free(device->error);
    g_free(device);
}

static void close_named(gpointer fd)
{
    close(GPOINTER_TO_INT(fd));
}

QmpModel *qmp_model_new(QmpModelEvent event, gpointer data)
{
    QmpModel *model = g_new0(QmpModel, 1);

    model->event = event;
    model->data = data;
    model->devices = g_ptr_array_new_with_free_func(device_free);
    model->named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_named);
    model->duration = 2000;
    model->status = "running";
    return model;
}

void qmp_model_free(QmpModel *model)
{
    g_ptr_array_unref(model->devices);
    g_hash_table_unref(model->named);
    g_free(model);
}

void qmp_model_add(QmpModel *model, const char *id, const char *host)
{
    Device *device = g_new0(Device, 1);

    device->id = g_strdup(id);
    device->host = g_strdup(host);
    device->state = "running";
    device->accesses = 5;
    device->group = -1;
    g_ptr_array_add(model->devices, device);
}

static Device *find(QmpModel *model, const char *id)
{
    for (guint i = 0; i < model->devices->len; i++) {
        Device *device = g_ptr_array_index(model->devices, i);

        if (g_strcmp0(device->id, id) == 0 || (id != NULL && g_str_has_prefix(id, PERIPHERAL) &&
                                               strcmp(device->id, id + strlen(PERIPHERAL)) == 0))
            return device;
    }
    return NULL;
}

static json_t *describe(const Device *device)
{
    g_autofree char *path = g_strconcat(PERIPHERAL, device->id, NULL);
    json_t *json = json_pack("{s:s, s:s, s:s}", "device-id", device->id, "qom-path", path, "state",
                             device->state);

    if (device->error != NULL)
        json_object_set_new(json, "error", json_string(device->error));
    return json;
}

static void tell(QmpModel *model, const Device *device)
{
    json_t *event = json_pack("{s:s, s:{s:i, s:i}, s:o}", "event", "VFIO_PAUSE_STATE", "timestamp",
                              "seconds", 1, "microseconds", 2, "data", describe(device));

    model->event(event, model->data);
    json_decref(event);
}

void qmp_model_set(QmpModel *model, const char *id, const char *state, const char *error)
{
    Device *device = find(model, id);

    device->state = g_intern_string(state);
    if (strcmp(state, "paused") == 0)
        drop_group(device);
    g_free(device->error);
    device->error = g_strdup(error);
    device->end = 0;
}

void qmp_model_hold(QmpModel *model, const char *id, int group)
{
    find(model, id)->group = group;
}

void qmp_model_begin(QmpModel *model, const char *id, const char *state, QmpFault fault)
{
    Device *device = find(model, id);

    qmp_model_set(model, id, state, NULL);
    if (strcmp(state, "pausing") == 0)
        device->accesses = 0;
    device->fault = fault;
    device->end = g_get_monotonic_time() + model->duration;
    tell(model, device);
}

void qmp_model_touch(QmpModel *model, const char *id)
{
    Device *device = find(model, id);
    g_autofree char *path = g_strconcat(PERIPHERAL, id, NULL);
    json_t *event;

    device->accesses++;
    if (strcmp(device->state, "paused") != 0)
        return;
    event = json_pack("{s:s, s:{s:i, s:i}, s:{s:s, s:s, s:i, s:b}}", "event", "VFIO_PAUSED_ACCESS",
                      "timestamp", "seconds", 1, "microseconds", 2, "data", "device-id", id,
                      "qom-path", path, "region", 0, "write", 1);
    model->event(event, model->data);
    json_decref(event);
}

static void finish(QmpModel *model, Device *device)
{
    gboolean pausing = strcmp(device->state, "pausing") == 0;
    gboolean failed = device->fault == QMP_FAIL_LATER;

    qmp_model_set(model, device->id, pausing != failed ? "paused" : "running",
                  !failed   ? NULL
                  : pausing ? "cannot close\nthe group"
                            : "region 0 has another size");
    if (!failed && !pausing && device->next_host != NULL) {
        g_free(device->host);
        device->host = g_steal_pointer(&device->next_host);
    }
    if (device->fault != QMP_LOSE_EVENT)
        tell(model, device);
}

int qmp_model_tick(QmpModel *model)
{
    gint64 now = g_get_monotonic_time(), next = -1;

    for (guint i = 0; i < model->devices->len; i++) {
        Device *device = g_ptr_array_index(model->devices, i);

        if (device->end == 0 || device->fault == QMP_HANG)
            continue;
        if (device->end <= now)
            finish(model, device);
        else if (next < 0 || device->end < next)
            next = device->end;
    }
    return next < 0 ? -1 : (int)((next - now) / 1000 + 1);
}

const char *qmp_model_state(QmpModel *model, const char *id)
{
    return find(model, id)->state;
}

ino_t qmp_model_inode(QmpModel *model, const char *id)
{
    return find(model, id)->inode;
}

guint qmp_model_named(QmpModel *model)
{
    return g_hash_table_size(model->named);
}

void qmp_model_set_duration(QmpModel *model, guint microseconds)
{
    model->duration = microseconds;
}

void qmp_model_make_stock(QmpModel *model)
{
    model->stock = TRUE;
}

void qmp_model_make_unsignalled(QmpModel *model)
{
    model->unsignalled = TRUE;
}

void qmp_model_set_status(QmpModel *model, const char *state, const char *migration)
{
    model->status = state;
    model->migration = migration;
}

json_t *qmp_model_error(const char *class, const char *description)
{
    return json_pack("{s:{s:s, s:s}}", "error", "class", class, "desc", description);
}

static json_t *fail(const char *format, const char *text)
{
    g_autofree char *description = g_strdup_printf("%s '%s'", format, text);

    return qmp_model_error("GenericError", description);
}

static json_t *ok(void)
{
    return json_pack("{s:{}}", "return");
}

// NULL when each argument is one of `names` (NULL-terminated).
static json_t *check_arguments(json_t *arguments, const char *const *names)
{
    const char *key;
    json_t *value;

    json_object_foreach(arguments, key, value)
    {
        if (!g_strv_contains(names, key))
            return fail("Unexpected parameter", key);
    }
    return NULL;
}

static json_t *start(QmpModel *model, json_t *arguments, const char *from, const char *state,
                     QmpFault fault)
{
    const char *id = json_string_value(json_object_get(arguments, "id"));
    Device *device = find(model, id);

    if (device == NULL)
        return qmp_model_error("DeviceNotFound", "Device not found");
    if (strcmp(device->state, from) != 0)
        return fail("Device is", device->state);
    qmp_model_begin(model, device->id, state, fault);
    return ok();
}

static json_t *run_pause(QmpModel *model, json_t *arguments, QmpFault fault)
{
    static const char *const names[] = {"id", "access", "hold-ms", NULL};
    json_t *refusal = check_arguments(arguments, names);

    return refusal != NULL ? refusal : start(model, arguments, "running", "pausing", fault);
}

static json_t *run_resume(QmpModel *model, json_t *arguments, QmpFault fault)
{
    static const char *const names[] = {"id", "host-device", "fd", "signal", NULL};
    json_t *reply = check_arguments(arguments, names);
    const char *name = json_string_value(json_object_get(arguments, "fd"));
    struct stat status = {.st_ino = 0};

    if (reply != NULL)
        return reply;
    if (name != NULL && !g_hash_table_contains(model->named, name))
        return fail("File descriptor has not been found:", name);
    if (model->unsignalled && json_object_get(arguments, "signal") != NULL)
        return fail("A signal needs a device alone below", "a root port that reports errors");
    reply = start(model, arguments, "paused", "resuming", fault);
    if (json_object_get(reply, "error") != NULL)
        return reply;
    Device *device = find(model, json_string_value(json_object_get(arguments, "id")));
    if (name != NULL) {
        gpointer key, group;

        g_hash_table_steal_extended(model->named, name, &key, &group);
        g_free(key);
        device->group = GPOINTER_TO_INT(group);
        fstat(device->group, &status);
    }
    device->inode = status.st_ino;
    g_free(device->next_host);
    device->next_host = g_strdup(json_string_value(json_object_get(arguments, "host-device")));
    return reply;
}

static json_t *run_query(QmpModel *model)
{
    json_t *list = json_array();

    for (guint i = 0; i < model->devices->len; i++) {
        const Device *device = g_ptr_array_index(model->devices, i);
        json_t *info = describe(device);

        json_object_set_new(info, "access", json_string("ignore"));
        json_object_set_new(info, "hold-ms", json_integer(5000));
        json_object_set_new(info, "can-signal", json_boolean(!model->unsignalled));
        json_object_set_new(info, "paused-ns", json_integer(1234));
        json_object_set_new(info, "accesses", json_integer(device->accesses));
        json_object_set_new(info, "pauses", json_integer(1));
        if (device->host != NULL)
            json_object_set_new(info, "host-device", json_string(device->host));
        json_array_append_new(list, info);
    }
    return json_pack("{s:o}", "return", list);
}

static json_t *run_commands(const QmpModel *model)
{
    json_t *list = json_pack("[{s:s}, {s:s}]", "name", "qmp_capabilities", "name", "getfd");

    if (!model->stock)
        json_array_append_new(list, json_pack("{s:s}", "name", "vfio-pause"));
    return json_pack("{s:o}", "return", list);
}

static json_t *run_status(const QmpModel *model)
{
    return json_pack("{s:{s:b, s:s}}", "return", "running", strcmp(model->status, "running") == 0,
                     "status", model->status);
}

// As QEMU: an empty object before the first migration.
static json_t *run_migrate_status(const QmpModel *model)
{
    return json_pack("{s:{s:s*}}", "return", "status", model->migration);
}

static json_t *run_getfd(QmpModel *model, json_t *arguments, int *fd)
{
    const char *name = json_string_value(json_object_get(arguments, "fdname"));

    if (*fd < 0)
        return qmp_model_error("GenericError", "No file descriptor supplied via SCM_RIGHTS");
    g_hash_table_insert(model->named, g_strdup(name), GINT_TO_POINTER(*fd));
    *fd = -1;
    return ok();
}

static json_t *run_closefd(QmpModel *model, json_t *arguments)
{
    const char *name = json_string_value(json_object_get(arguments, "fdname"));

    return g_hash_table_remove(model->named, name) ? ok() : fail("No such descriptor:", name);
}

json_t *qmp_model_execute(QmpModel *model, const char *command, json_t *arguments, int *fd,
                          QmpFault fault)
{
    if (strcmp(command, "getfd") == 0)
        return run_getfd(model, arguments, fd);
    if (strcmp(command, "closefd") == 0)
        return run_closefd(model, arguments);
    if (strcmp(command, "query-commands") == 0)
        return run_commands(model);
    if (strcmp(command, "query-status") == 0)
        return run_status(model);
    if (strcmp(command, "query-migrate") == 0)
        return run_migrate_status(model);
    if (model->stock)
        return qmp_model_error("CommandNotFound", "The command has not been found");
    if (strcmp(command, "vfio-pause") == 0)
        return run_pause(model, arguments, fault);
    if (strcmp(command, "vfio-resume") == 0)
        return run_resume(model, arguments, fault);
    if (strcmp(command, "query-vfio-pause") == 0)
        return run_query(model);
    return qmp_model_error("CommandNotFound", "The command has not been found");
}
