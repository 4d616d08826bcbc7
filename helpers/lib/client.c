// SPDX-License-Identifier: GPL-2.0-or-later
//
// One easy handle per request on a Unix socket, no redirects, no proxies, HTTP only. The answer is
// collected up to a limit, or cut into lines for a stream. Whether a body is an answer or a problem
// document is decided by status and content type before anything is parsed. Prints nothing.

#include "client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "error.h"

#define NOT_VIRTFND VF_REMEDY "check that virtfnd, and nothing else, serves this socket"

struct VfClient {
    char *socket_path;
};

// One exchange. Lines go to `event` only when the head of the answer announced a stream.
typedef struct {
    const VfClient *client;
    CURL *curl;
    GByteArray *answer; // the body, or the unfinished line of a stream
    gsize received;
    gboolean follow; // it has no end of its own
    VfClientEvent event;
    gpointer data;
    GError *error; // raised inside a callback of libcurl
} Exchange;

VfClient *vf_client_new(const char *socket_path)
{
    static gsize ready;

    if (g_once_init_enter(&ready)) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        g_once_init_leave(&ready, 1);
    }
    VfClient *client = g_new0(VfClient, 1);
    client->socket_path = g_strdup(socket_path);
    return client;
}

void vf_client_free(VfClient *client)
{
    if (client == NULL)
        return;
    g_free(client->socket_path);
    g_free(client);
}

static VfErrorCode code_of_type(const char *type)
{
    for (int code = 0; type != NULL && code < VF_ERROR_LAST; code++) {
        const char *word = vf_error_word((VfErrorCode)code);
        if (g_str_has_prefix(type, "urn:virtfn:error:") &&
            strcmp(type + strlen("urn:virtfn:error:"), word) == 0)
            return (VfErrorCode)code;
    }
    return VF_ERROR_INTERNAL;
}

GError *vf_client_problem(const char *object, const json_t *problem)
{
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *remedy = json_string_value(json_object_get(problem, "remedy"));
    VfErrorCode code = code_of_type(json_string_value(json_object_get(problem, "type")));

    if (detail == NULL)
        return g_error_new(VF_ERROR, VF_ERROR_INTERNAL,
                           "%s: failed without saying why" VF_REMEDY
                           "see the journal: journalctl -u virtfnd",
                           object);
    return g_error_new(VF_ERROR, code, "%s%s%s", detail, remedy != NULL ? VF_REMEDY : "",
                       remedy != NULL ? remedy : "");
}

static gboolean has_type(Exchange *exchange, const char *type)
{
    char *given = NULL;
    gsize length = strlen(type);

    curl_easy_getinfo(exchange->curl, CURLINFO_CONTENT_TYPE, &given);
    return given != NULL && g_ascii_strncasecmp(given, type, length) == 0 &&
           (given[length] == '\0' || given[length] == ';' || given[length] == ' ');
}

static long status_of(Exchange *exchange)
{
    long status = 0;

    curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

// Hands a finished line (NUL-terminated) to the caller.
static gboolean take_line(Exchange *exchange, const char *line)
{
    json_error_t cause;
    json_t *event = json_loads(line, JSON_REJECT_DUPLICATES, &cause);
    gboolean more = FALSE;

    if (json_is_object(event))
        more = exchange->event(line, event, exchange->data, &exchange->error);
    else
        g_set_error(&exchange->error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: sent a line that is not a JSON object" NOT_VIRTFND,
                    exchange->client->socket_path);
    json_decref(event);
    return more;
}

static gboolean take_lines(Exchange *exchange, const char *bytes, gsize length)
{
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        gsize part = end != NULL ? (gsize)(end - bytes) : length;

        if (exchange->answer->len + part > VF_CLIENT_MAX_LINE) {
            g_set_error(&exchange->error, VF_ERROR, VF_ERROR_INTERNAL,
                        "%s: sent a line of more than %d bytes" NOT_VIRTFND,
                        exchange->client->socket_path, VF_CLIENT_MAX_LINE);
            return FALSE;
        }
        g_byte_array_append(exchange->answer, (const guint8 *)bytes, (guint)part);
        if (end == NULL)
            return TRUE;
        g_byte_array_append(exchange->answer, (const guint8 *)"", 1);
        if (!take_line(exchange, (const char *)exchange->answer->data))
            return FALSE;
        g_byte_array_set_size(exchange->answer, 0);
        bytes = end + 1;
        length -= part + 1;
    }
    return TRUE;
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *data)
{
    Exchange *exchange = data;
    size_t length = size * count;

    exchange->received += length;
    if (!exchange->follow && exchange->received > VF_CLIENT_MAX_BYTES) {
        g_set_error(&exchange->error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: sent more than %d bytes" NOT_VIRTFND, exchange->client->socket_path,
                    VF_CLIENT_MAX_BYTES);
        return 0;
    }
    if (exchange->event != NULL && status_of(exchange) == 200 &&
        has_type(exchange, "application/x-ndjson"))
        return take_lines(exchange, bytes, length) ? length : 0;
    g_byte_array_append(exchange->answer, (const guint8 *)bytes, (guint)length);
    return length;
}

static void set_connect_error(Exchange *exchange, GError **error)
{
    const char *path = exchange->client->socket_path;
    long saved_errno = 0;

    curl_easy_getinfo(exchange->curl, CURLINFO_OS_ERRNO, &saved_errno);
    if (saved_errno == ENOENT || saved_errno == ENOTDIR)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: no such socket" VF_REMEDY
                    "start the daemon: systemctl start virtfnd; or name its socket with --socket",
                    path);
    else if (saved_errno == EACCES || saved_errno == EPERM)
        g_set_error(error, VF_ERROR, VF_ERROR_DENIED,
                    "%s: permission denied" VF_REMEDY
                    "run as root, or become a member of the group that virtfn.conf names",
                    path);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: nobody serves this socket (%s)" VF_REMEDY
                    "start the daemon: systemctl start virtfnd",
                    path, saved_errno != 0 ? g_strerror((int)saved_errno) : "cannot connect");
}

static void set_transfer_error(Exchange *exchange, CURLcode result, GError **error)
{
    const char *path = exchange->client->socket_path;

    if (exchange->error != NULL)
        g_propagate_error(error, g_steal_pointer(&exchange->error));
    else if (result == CURLE_COULDNT_CONNECT)
        set_connect_error(exchange, error);
    else if (result == CURLE_OPERATION_TIMEDOUT)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: no answer in time" VF_REMEDY "see the journal: journalctl -u virtfnd",
                    path);
    else if (result == CURLE_PARTIAL_FILE || result == CURLE_GOT_NOTHING ||
             result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: the answer broke off" VF_REMEDY
                    "see why virtfnd stopped: journalctl -u virtfnd",
                    path);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "%s: %s" NOT_VIRTFND, path,
                    curl_easy_strerror(result));
}

// Turns an answer that is not 2xx into an error.
static void set_status_error(Exchange *exchange, GError **error)
{
    const char *path = exchange->client->socket_path;
    json_t *problem = NULL;

    if (has_type(exchange, "application/problem+json"))
        problem = json_loadb((const char *)exchange->answer->data, exchange->answer->len,
                             JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(problem))
        g_propagate_error(error, vf_client_problem(path, problem));
    else
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: status %ld without a problem document" NOT_VIRTFND, path,
                    status_of(exchange));
    json_decref(problem);
}

static void set_options(Exchange *exchange, const VfClientRequest *request,
                        struct curl_slist *headers, const char *url)
{
    CURL *curl = exchange->curl;

    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, exchange->client->socket_path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "virtfn/" VF_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    // A stream lasts as long as the work does, so only its silence is limited.
    if (exchange->follow) {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, 0L);
    } else if (exchange->event != NULL) {
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)VF_CLIENT_STREAM_SECONDS);
    } else {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT,
                         (long)(request->seconds > 0 ? request->seconds : VF_CLIENT_SECONDS));
    }
    if (request->type != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->length);
    }
    if (strcmp(request->method, "GET") != 0)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static gboolean check_answer(Exchange *exchange, const VfClientRequest *request, GError **error)
{
    long status = status_of(exchange);

    if (status < 200 || status > 299) {
        set_status_error(exchange, error);
        return FALSE;
    }
    if (status == 204 || has_type(exchange, request->expect))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "%s: the answer is not %s" NOT_VIRTFND,
                exchange->client->socket_path, request->expect);
    return FALSE;
}

static gboolean perform(Exchange *exchange, const VfClientRequest *request, GError **error)
{
    g_autofree char *url = g_strconcat("http://localhost", request->path, NULL);
    // Without this libcurl waits a second for "100 Continue" before it sends a large body.
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    gboolean ok = FALSE;

    if (request->type != NULL) {
        g_autofree char *type = g_strconcat("Content-Type: ", request->type, NULL);
        headers = curl_slist_append(headers, type);
    }
    exchange->curl = curl_easy_init();
    set_options(exchange, request, headers, url);
    CURLcode result = curl_easy_perform(exchange->curl);
    if (result == CURLE_OK)
        ok = check_answer(exchange, request, error);
    else
        set_transfer_error(exchange, result, error);
    curl_slist_free_all(headers);
    return ok;
}

static gboolean check_path(const VfClient *client, GError **error)
{
    struct sockaddr_un address;

    if (client->socket_path[0] != '\0' && strlen(client->socket_path) < sizeof(address.sun_path))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "'%s': not a path of 1 to %zu bytes" VF_REMEDY "give --socket a shorter path",
                client->socket_path, sizeof(address.sun_path) - 1);
    return FALSE;
}

static gboolean exchange_run(Exchange *exchange, const VfClientRequest *request, GError **error)
{
    if (!check_path(exchange->client, error))
        return FALSE;
    exchange->answer = g_byte_array_new();
    return perform(exchange, request, error);
}

static void exchange_clear(Exchange *exchange)
{
    curl_easy_cleanup(exchange->curl);
    if (exchange->answer != NULL)
        g_byte_array_unref(exchange->answer);
    g_clear_error(&exchange->error);
}

char *vf_client_send(VfClient *client, const VfClientRequest *request, gsize *length,
                     GError **error)
{
    Exchange exchange = {.client = client};
    char *text = NULL;

    if (exchange_run(&exchange, request, error)) {
        if (length != NULL)
            *length = exchange.answer->len;
        g_byte_array_append(exchange.answer, (const guint8 *)"", 1);
        text = (char *)g_byte_array_free(g_steal_pointer(&exchange.answer), FALSE);
    }
    exchange_clear(&exchange);
    return text;
}

// The text is the caller's, to be freed after the request.
static char *set_json(VfClientRequest *request, const json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);

    request->type = "application/json";
    request->body = text;
    request->length = strlen(text);
    return text;
}

json_t *vf_client_ask(VfClient *client, VfClientRequest request, const json_t *body, char **text,
                      GError **error)
{
    char *sent = body != NULL ? set_json(&request, body) : NULL;
    json_error_t cause;
    gsize length;

    request.expect = "application/json";
    g_autofree char *received = vf_client_send(client, &request, &length, error);
    free(sent);
    if (received == NULL)
        return NULL;
    json_t *answer = json_loadb(received, length, JSON_REJECT_DUPLICATES, &cause);
    if (!json_is_object(answer)) {
        json_decref(answer);
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: the answer is no JSON object%s%s" NOT_VIRTFND, client->socket_path,
                    answer == NULL ? ": " : "", answer == NULL ? cause.text : "");
        return NULL;
    }
    if (text != NULL)
        *text = g_steal_pointer(&received);
    return answer;
}

json_t *vf_client_get(VfClient *client, const char *path, char **text, GError **error)
{
    VfClientRequest request = {.method = "GET", .path = path};

    return vf_client_ask(client, request, NULL, text, error);
}

static gboolean stream(Exchange *exchange, const VfClientRequest *request, GError **error)
{
    gboolean ok = exchange_run(exchange, request, error);

    if (ok && exchange->answer->len > 0) {
        ok = FALSE;
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "%s: the answer broke off" VF_REMEDY
                    "see why virtfnd stopped: journalctl -u virtfnd",
                    exchange->client->socket_path);
    }
    exchange_clear(exchange);
    return ok;
}

gboolean vf_client_stream(VfClient *client, const char *path, json_t *body, VfClientEvent event,
                          gpointer data, GError **error)
{
    Exchange exchange = {.client = client, .event = event, .data = data};
    VfClientRequest request = {.method = "POST", .path = path, .expect = "application/x-ndjson"};
    char *text = set_json(&request, body);
    gboolean ok = stream(&exchange, &request, error);

    free(text);
    return ok;
}

gboolean vf_client_follow(VfClient *client, const char *path, VfClientEvent event, gpointer data,
                          GError **error)
{
    Exchange exchange = {.client = client, .follow = TRUE, .event = event, .data = data};
    VfClientRequest request = {.method = "GET", .path = path, .expect = "application/x-ndjson"};

    return stream(&exchange, &request, error);
}
