// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn settle: what systemd runs before a libvirt daemon. It ends when no reconf is under way, so
// that the libvirt daemon finds the function of every guest; those it does not find cost their
// guests' lives. Fails rather than let that happen, and lets a libvirt daemon start that virtfn has
// nothing to say to: where no reconf is open, nobody serves the socket and nobody is about to.

#include <stdio.h>

#include "error.h"
#include "reconf.h"
#include "virtfn.h"

#define AGAIN_US (100 * 1000)
#define REQUEST_SECONDS 5
// A virtfnd that ended just now is back by then.
#define GRACE_US (2 * G_TIME_SPAN_SECOND)

static int timeout = 60;

typedef struct {
    const VfCli *cli;
    const char *socket;
    char *journals; // of reconfs, beside the socket
    char *told;     // what it waits for, as it was last said
    gint64 begin, deadline;
} Settle;

// The journal of the libvirt daemon's unit has these lines.
static void tell(Settle *settle, const char *text)
{
    if (g_strcmp0(settle->told, text) == 0)
        return;
    g_free(settle->told);
    settle->told = g_strdup(text);
    if (!settle->cli->json)
        vf_cli_say("waiting: %s", text);
    fflush(stdout);
}

static json_t *ask(const Settle *settle, char **text, GError **error)
{
    g_autoptr(VfClient) client = vf_client_new(settle->socket);
    gint64 left = (settle->deadline - g_get_monotonic_time()) / G_TIME_SPAN_SECOND;
    VfClientRequest request = {.method = "POST",
                               .path = "/v1/settle",
                               .seconds = (guint)CLAMP(left, 1, REQUEST_SECONDS)};
    json_t *body = json_pack("{s:i}", "seconds", timeout);
    json_t *answer = vf_client_ask(client, request, body, text, error);

    json_decref(body);
    if (answer != NULL && !json_is_boolean(json_object_get(answer, "settled"))) {
        json_decref(answer);
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: the answer makes no sense" VF_REMEDY
                    "check that virtfnd, and nothing else, serves this socket",
                    settle->socket);
        return NULL;
    }
    return answer;
}

// TRUE when virtfnd does not answer and nothing is at risk.
static gboolean nothing_to_settle(const Settle *settle)
{
    g_autoptr(GArray) open = vf_reconf_open(settle->journals);

    return open->len == 0 && (!g_file_test(settle->socket, G_FILE_TEST_EXISTS) ||
                              g_get_monotonic_time() > settle->begin + GRACE_US);
}

static gboolean give_up(const Settle *settle, GError **error)
{
    const char *why = settle->told != NULL ? settle->told : "virtfnd does not answer";
    g_auto(GStrv) parts = g_strsplit(why, VF_REMEDY, 2); // the remedy here is another one

    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "settle: gave up after %d s: %s" VF_REMEDY
                "see 'virtfn status' and 'journalctl -u virtfnd'; a libvirt daemon that starts now "
                "would end the guests that are paused",
                timeout, parts[0]);
    return FALSE;
}

// One try. TRUE when it is over; *ok says how.
static gboolean try(Settle *settle, gboolean *ok, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autofree char *text = NULL;
    json_t *answer = ask(settle, &text, &cause);
    gboolean settled = json_is_true(json_object_get(answer, "settled"));

    *ok = TRUE;
    if (settled && settle->cli->json)
        fputs(text, stdout);
    if (answer != NULL && !settled)
        tell(settle, vf_cell_text(answer, "waits_for"));
    json_decref(answer);
    if (settled)
        return TRUE;
    if (cause != NULL && g_error_matches(cause, VF_ERROR, VF_ERROR_DENIED)) {
        g_propagate_error(error, g_steal_pointer(&cause));
        *ok = FALSE;
        return TRUE;
    }
    if (cause != NULL && nothing_to_settle(settle)) {
        g_prefix_error(&cause, "no reconf is open, so libvirt may start: ");
        vf_cli_report(cause);
        return TRUE;
    }
    if (cause != NULL)
        tell(settle, cause->message);
    if (g_get_monotonic_time() < settle->deadline)
        return FALSE;
    *ok = give_up(settle, error);
    return TRUE;
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    Settle settle = {.cli = cli, .begin = g_get_monotonic_time()};
    gboolean ok;

    if (timeout < 1 || timeout > 3600)
        return vf_cli_bad_call(error, "--timeout is a number from 1 to 3600");
    settle.socket = cli->socket != NULL ? cli->socket : VF_CLIENT_SOCKET;
    g_autofree char *directory = g_path_get_dirname(settle.socket);
    settle.journals = g_build_filename(directory, "reconf", NULL);
    settle.deadline = settle.begin + timeout * G_TIME_SPAN_SECOND;
    while (!try(&settle, &ok, error))
        g_usleep(AGAIN_US);
    g_free(settle.journals);
    g_free(settle.told);
    return ok;
}

static const GOptionEntry options[] = {
    {"timeout", 't', 0, G_OPTION_ARG_INT, &timeout,
     "How long to wait, and libvirt's daemon may take to find its guests (default 60)", "SECONDS"},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_settle = {
    .name = "settle",
    .arguments = "",
    .summary = "wait for the end of every reconf, before libvirt's daemon starts",
    .details = "For systemd, which runs it before libvirtd and virtqemud. From then on no reconf\n"
               "begins until libvirt's daemon has found again the guests that have functions.",
    .options = options,
    .run = run,
};
