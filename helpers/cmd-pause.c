// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn pause and virtfn resume: take the functions away from a guest that keeps its devices, and
// give them back. Say what was done, a device a line.

#include "virtfn.h"

static char *reason;

static json_t *new_body(char **args, GError **error)
{
    json_t *body = json_object();

    if (vf_cli_add_text(body, "domain", args[0], error) &&
        (args[1] == NULL || vf_cli_add_text(body, "device", args[1], error)) &&
        (reason == NULL || vf_cli_add_text(body, "reason", reason, error)))
        return body;
    json_decref(body);
    return NULL;
}

static void print_leases(const json_t *answer, const char *what)
{
    const json_t *lease;
    size_t i;

    json_array_foreach(json_object_get(answer, "leases"), i, lease)
    {
        g_autofree char *function = vf_cell_function(lease);
        g_autofree char *device = vf_cell_device(lease);

        vf_cli_say("%s: %s (%s)", device, what, function != NULL ? function : "-");
    }
}

static gboolean order(const VfCli *cli, const char *path, const char *what, char **args,
                      GError **error)
{
    VfClientRequest request = {.method = "POST", .path = path};
    json_t *body = new_body(args, error);
    json_t *answer = body != NULL ? vf_cli_ask(cli, request, body, error) : NULL;

    json_decref(body);
    if (answer != NULL && !cli->json)
        print_leases(answer, what);
    json_decref(answer);
    return answer != NULL;
}

static gboolean run_pause(const VfCli *cli, char **args, GError **error)
{
    return order(cli, "/v1/pause", "paused", args, error);
}

static gboolean run_resume(const VfCli *cli, char **args, GError **error)
{
    return order(cli, "/v1/resume", "resumed", args, error);
}

static const GOptionEntry pause_options[] = {
    {"reason", 'r', 0, G_OPTION_ARG_STRING, &reason, "Why, for those who ask 'virtfn status'",
     "TEXT"},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_pause = {
    .name = "pause",
    .arguments = "DOMAIN [DEVICE]",
    .summary = "take the function away from a device that its guest keeps",
    .details =
        "Without DEVICE all of the domain. It stays so, also in a reconf, until virtfn resume.",
    .options = pause_options,
    .min_args = 1,
    .max_args = 2,
    .run = run_pause,
};

const VfCommand vf_command_resume = {
    .name = "resume",
    .arguments = "DOMAIN [DEVICE]",
    .summary = "give a paused device its function back",
    .details =
        "Without DEVICE all of the domain that are paused. The function is made ready first.",
    .min_args = 1,
    .max_args = 2,
    .run = run_resume,
};
