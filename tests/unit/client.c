// SPDX-License-Identifier: GPL-2.0-or-later
//
// The API client against a peer that answers with prepared bytes: right ones, wrong ones, half ones
// and too many. Each test runs its own peer thread on its own socket.

#include "client.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"

typedef struct {
    char *directory, *socket;
    int listener;
    const char *answer; // sent as it is
    gsize padding;      // bytes 'x' sent after it
    GString *request;   // what came in, up to the end of the head
    GThread *thread;
    VfClient *client;
} Fixture;

static void send_padding(int fd, gsize left)
{
    g_autofree char *block = g_strnfill(1 << 20, 'x');

    while (left > 0) {
        ssize_t sent = send(fd, block, MIN(left, 1 << 20), MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        left -= (gsize)sent;
    }
}

static gpointer serve(gpointer data)
{
    Fixture *fixture = data;
    int fd = accept(fixture->listener, NULL, NULL);
    char part[4096];
    ssize_t length;

    while (strstr(fixture->request->str, "\r\n\r\n") == NULL &&
           (length = read(fd, part, sizeof(part))) > 0)
        g_string_append_len(fixture->request, part, length);
    g_assert_cmpint(send(fd, fixture->answer, strlen(fixture->answer), MSG_NOSIGNAL), >=, 0);
    send_padding(fd, fixture->padding);
    close(fd);
    return NULL;
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autoptr(GError) error = NULL;

    fixture->directory = g_dir_make_tmp("virtfn-client-XXXXXX", &error);
    g_assert_no_error(error);
    fixture->socket = g_build_filename(fixture->directory, "sock", NULL);
    fixture->request = g_string_new(NULL);
    g_strlcpy(address.sun_path, fixture->socket, sizeof(address.sun_path));
    fixture->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fixture->listener, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fixture->listener, 1), ==, 0);
    fixture->client = vf_client_new(fixture->socket);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    if (fixture->thread != NULL)
        g_thread_join(fixture->thread);
    vf_client_free(fixture->client);
    close(fixture->listener);
    g_unlink(fixture->socket);
    g_rmdir(fixture->directory);
    g_string_free(fixture->request, TRUE);
    g_free(fixture->socket);
    g_free(fixture->directory);
}

static void start(Fixture *fixture, const char *answer)
{
    fixture->answer = answer;
    fixture->thread = g_thread_new("peer", serve, fixture);
}

#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define OK_STREAM "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"

static void test_get(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    start(fixture, OK_JSON "Content-Length: 9\r\n\r\n{\"a\" : 1}");
    json_t *answer = vf_client_get(fixture->client, "/v1/pools", &text, &error);
    g_assert_no_error(error);
    g_assert_cmpint(json_integer_value(json_object_get(answer, "a")), ==, 1);
    g_assert_cmpstr(text, ==, "{\"a\" : 1}");
    g_assert_true(g_str_has_prefix(fixture->request->str, "GET /v1/pools HTTP/1.1\r\n"));
    json_decref(answer);
}

// What a GET makes of an answer: code and whole message, %s standing for the socket.
typedef struct {
    const char *name, *answer;
    VfErrorCode code;
    const char *message;
} BadAnswer;

static const BadAnswer bad_answers[] = {
    {"problem",
     "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\n\r\n"
     "{\"type\":\"urn:virtfn:error:exhausted\",\"title\":\"t\",\"status\":409,"
     "\"detail\":\"pool 'a': no free function\",\"remedy\":\"wait\"}",
     VF_ERROR_EXHAUSTED, "pool 'a': no free function -- wait"},
    {"problem-without-remedy",
     "HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json; charset=utf-8\r\n\r\n"
     "{\"type\":\"urn:virtfn:error:not-found\",\"detail\":\"x: no such pool\"}",
     VF_ERROR_NOT_FOUND, "x: no such pool"},
    {"problem-of-unknown-type",
     "HTTP/1.1 418 Teapot\r\nContent-Type: application/problem+json\r\n\r\n"
     "{\"type\":\"about:blank\",\"detail\":\"x: y\"}",
     VF_ERROR_INTERNAL, "x: y"},
    {"problem-without-detail",
     "HTTP/1.1 500 Oops\r\nContent-Type: application/problem+json\r\n\r\n{\"detail\":7}",
     VF_ERROR_INTERNAL, "%s: failed without saying why -- see the journal: journalctl -u virtfnd"},
    {"status-without-problem", "HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\n\r\n<html>",
     VF_ERROR_INTERNAL,
     "%s: status 500 without a problem document -- check that virtfnd, and nothing else, serves "
     "this socket"},
    {"redirect", "HTTP/1.1 302 Found\r\nLocation: http://localhost/x\r\n\r\n", VF_ERROR_INTERNAL,
     "%s: status 302 without a problem document -- check that virtfnd, and nothing else, serves "
     "this socket"},
    {"other-type", "HTTP/1.1 200 OK\r\nContent-Type: application/jsonx\r\n\r\n{}",
     VF_ERROR_INTERNAL,
     "%s: the answer is not application/json -- check that virtfnd, and nothing else, serves this "
     "socket"},
    {"array", OK_JSON "\r\n[]", VF_ERROR_INTERNAL,
     "%s: the answer is no JSON object -- check that virtfnd, and nothing else, serves this "
     "socket"},
    {"cut", OK_JSON "Content-Length: 100\r\n\r\n{\"a\":", VF_ERROR_STATE,
     "%s: the answer broke off -- see why virtfnd stopped: journalctl -u virtfnd"},
    {"nothing", "", VF_ERROR_STATE,
     "%s: the answer broke off -- see why virtfnd stopped: journalctl -u virtfnd"},
};

static void test_bad_answer(Fixture *fixture, gconstpointer data)
{
    const BadAnswer *bad = data;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) parts = g_strsplit(bad->message, "%s", 2);
    g_autofree char *message = g_strjoinv(fixture->socket, parts);

    start(fixture, bad->answer);
    g_assert_null(vf_client_get(fixture->client, "/v1/pools", NULL, &error));
    g_assert_error(error, VF_ERROR, (int)bad->code);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_not_http(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    start(fixture, "220 mail ESMTP\r\n");
    g_assert_null(vf_client_get(fixture->client, "/v1/pools", NULL, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_nonnull(strstr(error->message, "check that virtfnd"));
}

static void test_not_json(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    start(fixture, OK_JSON "\r\n{\"a\":1,\"a\":2}");
    g_assert_null(vf_client_get(fixture->client, "/v1/pools", NULL, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
}

static void test_too_large(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture->padding = VF_CLIENT_MAX_BYTES + 1;
    start(fixture, OK_JSON "\r\n");
    g_assert_null(vf_client_get(fixture->client, "/v1/pools", NULL, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_nonnull(strstr(error->message, "sent more than"));
}

static void test_no_content(Fixture *fixture, gconstpointer data)
{
    VfClientRequest request = {.method = "DELETE",
                               .path = "/v1/leases/x/net0",
                               .expect = "application/json"};
    g_autoptr(GError) error = NULL;

    start(fixture, "HTTP/1.1 204 No Content\r\n\r\n");
    g_autofree char *answer = vf_client_send(fixture->client, &request, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(answer, ==, "");
    g_assert_true(g_str_has_prefix(fixture->request->str, "DELETE /v1/leases/x/net0 HTTP/1.1\r\n"));
}

// A body makes the request one of JSON; the answer comes parsed and as it was sent.
static void test_ask(Fixture *fixture, gconstpointer data)
{
    VfClientRequest request = {.method = "PUT", .path = "/v1/x"};
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    json_t *body = json_pack("{s:i}", "seconds", 60);

    start(fixture, OK_JSON "\r\n{ \"a\": 1 }\n");
    json_t *answer = vf_client_ask(fixture->client, request, body, &text, &error);
    g_assert_no_error(error);
    g_assert_cmpint(json_integer_value(json_object_get(answer, "a")), ==, 1);
    g_assert_cmpstr(text, ==, "{ \"a\": 1 }\n");
    g_assert_true(g_str_has_prefix(fixture->request->str, "PUT /v1/x HTTP/1.1\r\n"));
    g_assert_nonnull(strstr(fixture->request->str, "\r\nContent-Type: application/json\r\n"));
    g_assert_nonnull(strstr(fixture->request->str, "\r\nContent-Length: 14\r\n"));
    json_decref(answer);
    json_decref(body);
}

// Keeps lines; refuses one that is {"stop":…}.
static gboolean on_event(const char *line, json_t *event, gpointer data, GError **error)
{
    g_string_append_printf(data, "%s;", line);
    if (json_object_get(event, "stop") == NULL)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_BUSY, "stopped");
    return FALSE;
}

static gboolean stream(Fixture *fixture, const char *answer, GString *lines, GError **error)
{
    json_t *body = json_object();

    start(fixture, answer);
    gboolean ok = vf_client_stream(fixture->client, "/v1/init", body, on_event, lines, error);
    json_decref(body);
    return ok;
}

static void test_stream(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(stream(fixture, OK_STREAM "{\"a\":1}\n{\"b\":2}\n", lines, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(lines->str, ==, "{\"a\":1};{\"b\":2};");
}

static void test_stream_cut(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(stream(fixture, OK_STREAM "{\"a\":1}\n{\"b\":", lines, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_STATE);
    g_assert_cmpstr(lines->str, ==, "{\"a\":1};");
}

static void test_stream_bad_line(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(stream(fixture, OK_STREAM "{\"a\":1}\n\n{\"b\":2}\n", lines, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_cmpstr(lines->str, ==, "{\"a\":1};");
}

static void test_stream_long_line(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    fixture->padding = VF_CLIENT_MAX_LINE + 1;
    g_assert_false(stream(fixture, OK_STREAM, lines, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_nonnull(strstr(error->message, "sent a line of more than"));
}

static void test_stream_stopped(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(stream(fixture, OK_STREAM "{\"stop\":1}\n{\"b\":2}\n", lines, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_BUSY);
    g_assert_cmpstr(lines->str, ==, "{\"stop\":1};");
}

static void test_stream_problem(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(stream(fixture,
                          "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\n\r\n"
                          "{\"type\":\"urn:virtfn:error:denied\",\"detail\":\"you: not root\"}",
                          lines, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_DENIED);
    g_assert_cmpstr(error->message, ==, "you: not root");
    g_assert_cmpstr(lines->str, ==, "");
}

static void test_no_socket(void)
{
    g_autoptr(VfClient) client = vf_client_new("/nonexistent/virtfn.sock");
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_client_get(client, "/v1/pools", NULL, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_STATE);
    g_assert_cmpstr(error->message, ==,
                    "/nonexistent/virtfn.sock: no such socket -- start the daemon: systemctl "
                    "start virtfnd; or name its socket with --socket");
}

static void test_socket_path(void)
{
    g_autofree char *path = g_strnfill(108, 'a');
    const char *const paths[] = {"", path};

    for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(VfClient) client = vf_client_new(paths[i]);
        g_autoptr(GError) error = NULL;

        g_assert_null(vf_client_get(client, "/v1/pools", NULL, &error));
        g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
    }
}

static void add(const char *path, gconstpointer data,
                void (*test)(Fixture *fixture, gconstpointer data))
{
    g_test_add(path, Fixture, data, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/client/get", NULL, test_get);
    for (guint i = 0; i < G_N_ELEMENTS(bad_answers); i++) {
        g_autofree char *path = g_strconcat("/client/bad-answer/", bad_answers[i].name, NULL);
        add(path, &bad_answers[i], test_bad_answer);
    }
    add("/client/not-http", NULL, test_not_http);
    add("/client/not-json", NULL, test_not_json);
    add("/client/too-large", NULL, test_too_large);
    add("/client/no-content", NULL, test_no_content);
    add("/client/ask", NULL, test_ask);
    add("/client/stream", NULL, test_stream);
    add("/client/stream-cut", NULL, test_stream_cut);
    add("/client/stream-bad-line", NULL, test_stream_bad_line);
    add("/client/stream-long-line", NULL, test_stream_long_line);
    add("/client/stream-stopped", NULL, test_stream_stopped);
    add("/client/stream-problem", NULL, test_stream_problem);
    g_test_add_func("/client/no-socket", test_no_socket);
    g_test_add_func("/client/socket-path", test_socket_path);
    return g_test_run();
}
