// SPDX-License-Identifier: GPL-2.0-or-later
//
// What QEMU says about its VFIO devices: parsed, and refused when it is something else. Asks only.

#include "pause.h"

#include <string.h>

#include "error.h"

static const char *const state_words[] = {
    [VF_PAUSE_UNKNOWN] = "unknown",   [VF_PAUSE_RUNNING] = "running",
    [VF_PAUSE_PAUSING] = "pausing",   [VF_PAUSE_PAUSED] = "paused",
    [VF_PAUSE_RESUMING] = "resuming",
};

const char *vf_pause_state_word(VfPauseState state)
{
    return state_words[state];
}

const char *const vf_resume_signal_words[] = {
    [VF_RESUME_SIGNAL_NONE] = "none",
    [VF_RESUME_SIGNAL_NONFATAL] = "nonfatal",
    [VF_RESUME_SIGNAL_FATAL] = "fatal",
    NULL,
};

VfPauseState vf_pause_state_parse(const json_t *word)
{
    for (guint i = VF_PAUSE_RUNNING; json_is_string(word) && i < G_N_ELEMENTS(state_words); i++)
        if (strcmp(json_string_value(word), state_words[i]) == 0)
            return i;
    return VF_PAUSE_UNKNOWN;
}

static void info_free(gpointer data)
{
    VfPauseInfo *info = data;

    g_free(info->id);
    g_free(info->qom_path);
    g_free(info->host_device);
    g_free(info->error);
    g_free(info);
}

static char *dup_member(const json_t *object, const char *name)
{
    return g_strdup(json_string_value(json_object_get(object, name)));
}

static guint64 count_member(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));

    return value > 0 ? (guint64)value : 0;
}

static VfPauseInfo *parse_info(const json_t *object)
{
    VfPauseState state = vf_pause_state_parse(json_object_get(object, "state"));
    VfPauseInfo *info;

    if (state == VF_PAUSE_UNKNOWN || !json_is_string(json_object_get(object, "qom-path")))
        return NULL;
    info = g_new0(VfPauseInfo, 1);
    info->id = dup_member(object, "device-id");
    info->qom_path = dup_member(object, "qom-path");
    info->state = state;
    info->host_device = dup_member(object, "host-device");
    info->can_signal = json_is_true(json_object_get(object, "can-signal"));
    info->paused_ns = count_member(object, "paused-ns");
    info->accesses = count_member(object, "accesses");
    info->error = dup_member(object, "error");
    return info;
}

GPtrArray *vf_pause_query(VfQmp *qmp, gint64 deadline, GError **error)
{
    json_t *answer = vf_qmp_execute(qmp, "query-vfio-pause", NULL, deadline, error);
    GPtrArray *infos = g_ptr_array_new_with_free_func(info_free);
    gboolean valid = json_is_array(answer);
    const json_t *object;
    size_t i;

    json_array_foreach(answer, i, object)
    {
        VfPauseInfo *info = parse_info(object);

        if (info != NULL)
            g_ptr_array_add(infos, info);
        else
            valid = FALSE;
    }
    if (answer != NULL && !valid)
        g_set_error(error, VF_ERROR, VF_ERROR_QMP,
                    "domain '%s': QEMU answers query-vfio-pause with something else" VF_REMEDY
                    "restart the guest with the QEMU that came with this virtfn",
                    vf_qmp_guest(qmp));
    json_decref(answer);
    if (!valid)
        g_clear_pointer(&infos, g_ptr_array_unref);
    return infos;
}

gboolean vf_pause_supported(VfQmp *qmp, gint64 deadline, GError **error)
{
    json_t *commands = vf_qmp_execute(qmp, "query-commands", NULL, deadline, error);
    gboolean found = FALSE;
    const json_t *command;
    size_t i;

    if (commands == NULL)
        return FALSE;
    json_array_foreach(commands, i, command)
    {
        const char *name = json_string_value(json_object_get(command, "name"));
        found = found || g_strcmp0(name, "vfio-pause") == 0;
    }
    json_decref(commands);
    if (!found)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s': its QEMU cannot pause devices" VF_REMEDY
                    "install virtfn's QEMU, then shut the guest down and start it",
                    vf_qmp_guest(qmp));
    return found;
}

// The member `status` of what a query command returns, "" when it has none. Caller frees; NULL: an
// error.
static char *query_status(VfQmp *qmp, const char *command, gint64 deadline, GError **error)
{
    json_t *answer = vf_qmp_execute(qmp, command, NULL, deadline, error);
    const char *status = json_string_value(json_object_get(answer, "status"));
    char *copy = answer != NULL ? g_strdup(status != NULL ? status : "") : NULL;

    json_decref(answer);
    return copy;
}

// RunState and MigrationStatus of QEMU's qapi/run-state.json and qapi/migration.json. virsh save,
// managedsave and snapshots with memory are migrations into a file.
gboolean vf_pause_possible(VfQmp *qmp, gint64 deadline, GError **error)
{
    static const char *const busy_states[] = {"inmigrate",  "finish-migrate", "postmigrate",
                                              "restore-vm", "save-vm",        NULL};
    static const char *const over[] = {"", "none", "completed", "failed", "cancelled", NULL};
    g_autofree char *state = query_status(qmp, "query-status", deadline, error);
    g_autofree char *migration =
        state != NULL ? query_status(qmp, "query-migrate", deadline, error) : NULL;

    if (migration == NULL)
        return FALSE;
    if (!g_strv_contains(busy_states, state) && g_strv_contains(over, migration))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                "domain '%s': it is being migrated, saved or restored (%s)" VF_REMEDY
                "try again when that is over, or end it with `virsh domjobabort`",
                vf_qmp_guest(qmp), g_strv_contains(busy_states, state) ? state : migration);
    return FALSE;
}
