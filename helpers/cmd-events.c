// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn events: what becomes of requests for accelerators, a line for each that there is and then
// one for each change, until the reader or the daemon goes. The daemon going is an error, since
// what happens from then on is not seen here. Decides nothing and keeps only the names of domains,
// which the event of their end lacks.

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "virtfn.h"

typedef struct {
    const VfCli *cli;
    GHashTable *names; // UUID -> name of the domain
} Listener;

static void show_attachment(const Listener *listener, const json_t *row)
{
    const json_t *domain = json_object_get(row, "domain");
    const char *problem = json_string_value(json_object_get(row, "problem"));
    g_autofree char *device = vf_cell_device(row);
    g_autoptr(GString) line = g_string_new(device);

    g_hash_table_replace(listener->names, g_strdup(vf_cell_text(domain, "uuid")),
                         g_strdup(vf_cell_text(domain, "name")));
    g_string_append_printf(line, ": %s, %s", vf_cell_text(row, "accelerator"),
                           vf_cell_text(row, "state"));
    if (json_is_integer(json_object_get(row, "region")))
        g_string_append_printf(line, ", region %" G_GINT64_FORMAT " of %s",
                               vf_cell_number(row, "region"), vf_cell_text(row, "pf"));
    if (json_is_integer(json_object_get(row, "ahead")))
        g_string_append_printf(line, ", %" G_GINT64_FORMAT " ahead", vf_cell_number(row, "ahead"));
    if (json_is_true(json_object_get(row, "preempted")))
        g_string_append(line, ", preempted");
    g_string_append_printf(line, ", priority %" G_GINT64_FORMAT, vf_cell_number(row, "priority"));
    vf_cli_say("%s", line->str);
    if (problem != NULL)
        vf_cli_say_wrapped(listener->cli, VF_RED, "  ", "    ", problem);
}

static void show_gone(const Listener *listener, const json_t *event)
{
    const char *uuid = vf_cell_text(event, "uuid");
    const char *name = g_hash_table_lookup(listener->names, uuid);

    vf_cli_say("%s/%s: asks for nothing any more", name != NULL ? name : uuid,
               vf_cell_text(event, "device"));
}

static gboolean on_event(const char *line, json_t *event, gpointer data, GError **error)
{
    const Listener *listener = data;
    const char *kind = vf_cell_text(event, "event");

    if (listener->cli->json)
        printf("%s\n", line);
    else if (strcmp(kind, "attachment") == 0)
        show_attachment(listener, json_object_get(event, "attachment"));
    else if (strcmp(kind, "gone") == 0)
        show_gone(listener, event);
    // Whoever reads it wants each as it comes; and nobody stays to fill a full disk.
    if (fflush(stdout) == 0)
        return TRUE;
    vf_error_set_errno(error, VF_ERROR_STATE, errno, "standard output");
    return FALSE;
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    g_autoptr(VfClient) client = vf_cli_connect(cli);
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    Listener listener = {cli, names};

    if (vf_client_follow(client, "/v1/events", on_event, &listener, error))
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "events: virtfnd has ended them" VF_REMEDY
                    "once it runs again, 'virtfn events' begins with what there is");
    return FALSE;
}

const VfCommand vf_command_events = {
    .name = "events",
    .arguments = "",
    .summary = "follow what becomes of requests for accelerators",
    .details =
        "It begins with the requests that there are, and ends with ^C. When virtfnd ends it, that\n"
        "is said, and the exit code is 1.",
    .run = run,
};
