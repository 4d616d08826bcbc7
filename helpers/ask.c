// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a command asks of virtfnd: a request with a JSON body, and its answer, which --json shows as
// it came. What people read of it is the command's business. Answers of many events are in
// stream.c.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "virtfn.h"

VfClient *vf_cli_connect(const VfCli *cli)
{
    return vf_client_new(cli->socket != NULL ? cli->socket : VF_CLIENT_SOCKET);
}

json_t *vf_cli_ask(const VfCli *cli, VfClientRequest request, const json_t *body, GError **error)
{
    g_autoptr(VfClient) client = vf_cli_connect(cli);
    g_autofree char *text = NULL;
    json_t *answer = vf_client_ask(client, request, body, &text, error);

    if (answer != NULL && cli->json)
        fputs(text, stdout);
    return answer;
}

gboolean vf_cli_delete(const VfCli *cli, const char *path, GError **error)
{
    VfClientRequest request = {.method = "DELETE", .path = path, .expect = "application/json"};
    g_autoptr(VfClient) client = vf_cli_connect(cli);
    g_autofree char *nothing = vf_client_send(client, &request, NULL, error);

    return nothing != NULL;
}

gboolean vf_cli_list(const VfCli *cli, const VfColumns *columns, GError **error)
{
    g_autofree char *path = g_strconcat("/v1/", columns->name, NULL);
    VfClientRequest request = {.method = "GET", .path = path};
    json_t *answer = vf_cli_ask(cli, request, NULL, error);

    if (answer != NULL && !cli->json) {
        g_autofree char *text =
            vf_columns_format(columns, json_object_get(answer, columns->name), cli->terminal, "");
        fputs(text, stdout);
    }
    json_decref(answer);
    return answer != NULL;
}

gboolean vf_cli_add_text(json_t *body, const char *key, const char *text, GError **error)
{
    if (json_object_set_new(body, key, json_string(text)) == 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "%s '%s': it is not UTF-8", key, text);
    return FALSE;
}

gboolean vf_cli_add_path(json_t *body, const char *key, const char *path, GError **error)
{
    char *absolute = realpath(path, NULL);
    gboolean ok = FALSE;

    if (absolute == NULL)
        vf_error_set_errno(error, VF_ERROR_INPUT, errno, "%s", path);
    else if (json_object_set_new(body, key, json_string(absolute)) != 0)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "%s: the path is not UTF-8" VF_REMEDY "give the file another name", absolute);
    else
        ok = TRUE;
    free(absolute);
    return ok;
}
