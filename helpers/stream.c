// SPDX-License-Identifier: GPL-2.0-or-later
//
// Following a request that is answered by events, one a line, until {"event":"done"}. What events
// mean is the command's business; here is what they have in common: --json shows them as they came,
// problems go to standard error, and a stream that ends too early is an error.

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "virtfn.h"

typedef struct {
    const VfCli *cli;
    const VfCliStream *stream;
    gboolean done, ok;
} Progress;

static gboolean on_event(const char *line, json_t *event, gpointer data, GError **error)
{
    Progress *progress = data;
    const VfCliStream *stream = progress->stream;
    gboolean problem = strcmp(vf_cell_text(event, "event"), "problem") == 0;

    if (strcmp(vf_cell_text(event, "event"), "done") == 0) {
        progress->done = TRUE;
        progress->ok = json_is_true(json_object_get(event, "ok"));
    }
    if (progress->cli->json && (problem || !stream->quiet)) {
        printf("%s\n", line);
    } else if (problem) {
        g_autoptr(GError) cause = vf_client_problem(vf_cell_text(event, stream->object),
                                                    json_object_get(event, "problem"));

        vf_cli_report(cause);
    }
    if (!problem)
        stream->show(progress->cli, event, stream->data);
    fflush(stdout);
    return TRUE;
}

gboolean vf_cli_stream(const VfCli *cli, const VfCliStream *stream, json_t *body, GError **error)
{
    Progress progress = {.cli = cli, .stream = stream};
    g_autofree char *path = g_strconcat("/v1/", stream->command, NULL);
    g_autoptr(VfClient) client = vf_cli_connect(cli);

    if (!vf_client_stream(client, path, body, on_event, &progress, error))
        return FALSE;
    if (!progress.done)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: ended without saying whether it is done" VF_REMEDY
                    "see why virtfnd stopped: journalctl -u virtfnd; %s",
                    stream->command, stream->remedy);
    return progress.done && progress.ok;
}
