// SPDX-License-Identifier: GPL-2.0-or-later
//
// The HTTP server by itself, with routes of its own and clients on socket pairs in the same thread:
// routing, limits, answers at once and later, streams, and clients that leave at any of these
// points. Which peer may do what is shown with real users in tests/bats/daemon-clients.bats.

#include "server.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define MAX_BODY 100

typedef struct {
    VfServer *server;
    VfRequest *later; // the last GET /later
    VfStream *stream; // the last GET /stream
    guint handled;
} Fixture;

// ---- routes

static void reply_text(VfRequest *request, const char *text)
{
    vf_request_reply(request, 200, "text/plain", g_strdup(text), strlen(text));
}

static void get_pair(VfRequest *request, gpointer data)
{
    const char *query = vf_request_query(request);
    g_autofree char *text =
        g_strdup_printf("%s|%s|%s", vf_request_segment(request, 0), vf_request_segment(request, 1),
                        query != NULL ? query : "-");

    ((Fixture *)data)->handled++;
    reply_text(request, text);
}

static void post_body(VfRequest *request, gpointer data)
{
    gsize length;
    const char *body = vf_request_body(request, &length);
    char *copy = g_strndup(body, length);

    ((Fixture *)data)->handled++;
    vf_request_reply(request, 200, "text/plain", copy, length);
}

static void post_json(VfRequest *request, gpointer data)
{
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);

    if (json == NULL)
        vf_request_reply_error(request, error);
    else
        vf_request_reply_empty(request);
    json_decref(json);
}

static void get_later(VfRequest *request, gpointer data)
{
    ((Fixture *)data)->later = request;
}

static void get_stream(VfRequest *request, gpointer data)
{
    ((Fixture *)data)->stream = vf_request_stream(request, "application/x-ndjson");
}

static void get_error(VfRequest *request, gpointer data)
{
    g_autoptr(GError) error =
        g_error_new(VF_ERROR, VF_ERROR_EXHAUSTED, "pool 'a\nb': it is empty" VF_REMEDY "fill it");

    vf_request_reply_error(request, error);
}

static const VfRoute routes[] = {
    {"GET", "/pair/*/*", "q", VF_ROLE_READ, 0, get_pair},
    {"POST", "/body", NULL, VF_ROLE_USE, MAX_BODY, post_body},
    {"POST", "/json", NULL, VF_ROLE_USE, MAX_BODY, post_json},
    {"GET", "/later", NULL, VF_ROLE_READ, 0, get_later},
    {"GET", "/stream", NULL, VF_ROLE_ADMIN, 0, get_stream},
    {"GET", "/error", NULL, VF_ROLE_READ, 0, get_error},
    {NULL, NULL, NULL, VF_ROLE_NONE, 0, NULL},
};

// ---- clients

static void set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->server = vf_server_new(-1, routes, NULL, NULL, f, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    g_clear_pointer(&f->server, vf_server_free);
}

// The loop until nothing is ready, for a few rounds: MHD spreads a request over several.
static void settle(void)
{
    for (guint i = 0; i < 20; i++)
        g_main_context_iteration(NULL, FALSE);
}

static int client_new(Fixture *f)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_true(vf_server_add(f->server, fds[1]));
    settle();
    return fds[0];
}

// Sends as much as the server takes.
static void say(int client, const char *text, gsize length)
{
    for (guint idle = 0; length > 0 && idle < 50; idle++) {
        ssize_t n = send(client, text, length, MSG_NOSIGNAL);

        settle();
        if (n <= 0)
            continue;
        idle = 0;
        text += n;
        length -= (gsize)n;
    }
}

// Appends what came; FALSE at the end of the connection.
static gboolean hear(int client, GString *text)
{
    char chunk[65536];
    ssize_t n;

    settle();
    while ((n = recv(client, chunk, sizeof(chunk), 0)) > 0) {
        g_string_append_len(text, chunk, n);
        settle();
    }
    return n < 0 && errno == EAGAIN;
}

// What a new client hears after saying this.
static char *talk(Fixture *f, const char *text)
{
    int client = client_new(f);
    GString *heard = g_string_new(NULL);

    say(client, text, strlen(text));
    hear(client, heard);
    close(client);
    settle();
    return g_string_free(heard, FALSE);
}

static void assert_status(const char *answer, guint status)
{
    g_autofree char *expected = g_strdup_printf("HTTP/1.1 %u ", status);

    if (!g_str_has_prefix(answer, expected))
        g_error("expected %s, got: %.300s", expected, answer);
}

static void assert_body(const char *answer, const char *expected)
{
    const char *body = strstr(answer, "\r\n\r\n");

    g_assert_nonnull(body);
    g_assert_cmpstr(body + 4, ==, expected);
}

static void assert_answer(Fixture *f, const char *request, guint status, const char *body)
{
    g_autofree char *answer = talk(f, request);

    assert_status(answer, status);
    assert_body(answer, body);
}

#define PROBLEM(word, status, detail)                                                              \
    "{\"type\":\"urn:virtfn:error:" word "\",\"title\":\"" word "\",\"status\":" status            \
    ",\"detail\":\"" detail "\"}\n"

// ---- routing

static void test_segments(Fixture *f, gconstpointer data)
{
    assert_answer(f, GET("/pair/a/b"), 200, "a|b|-");
    assert_answer(f, GET("/pair/a%20b/%c3%a4?q=x%26y"), 200, "a b|ä|x&y");
    assert_answer(f, GET("/pair/a/b?q="), 200, "a|b|");
}

static void test_no_route(Fixture *f, gconstpointer data)
{
    static const char *const paths[] = {"/",           "/pair",      "/pair/a",
                                        "/pair//b",    "/pair/a/b/", "/PAIR/a/b",
                                        "/pair/a/b/c", "//pair/a/b", "/pair/a/b%2Fc"};

    for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *request = g_strdup_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        g_autofree char *answer = talk(f, request);

        assert_status(answer, 404);
        g_assert_nonnull(strstr(answer, "application/problem+json"));
    }
    g_assert_cmpuint(f->handled, ==, 0);
}

static void test_method(Fixture *f, gconstpointer data)
{
    assert_answer(f, "BREW /body HTTP/1.1\r\nHost: x\r\n\r\n", 400,
                  PROBLEM("input", "400", "/body: method BREW is not known here"));
}

static void test_query(Fixture *f, gconstpointer data)
{
    assert_answer(f, GET("/pair/a/b?p=1"), 400,
                  PROBLEM("input", "400", "/pair/*/*: query member 'p' is not known"));
    assert_answer(f, GET("/pair/a/b?q"), 400,
                  PROBLEM("input", "400", "/pair/*/*: query member 'q' is not known"));
    assert_answer(f, GET("/error?q=1"), 400,
                  PROBLEM("input", "400", "/error: query member 'q' is not known"));
    g_assert_cmpuint(f->handled, ==, 0);
}

// ---- bodies

static char *post(const char *path, const char *headers, const char *body)
{
    return g_strdup_printf("POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s", path, headers, body);
}

static void test_body(Fixture *f, gconstpointer data)
{
    g_autofree char *whole = post("/body", "Content-Length: 5\r\n", "hello");
    g_autofree char *chunked =
        post("/body", "Transfer-Encoding: chunked\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    g_autofree char *none = post("/body", "Content-Length: 0\r\n", "");

    assert_answer(f, whole, 200, "hello");
    assert_answer(f, chunked, 200, "hello");
    assert_answer(f, none, 200, "");
}

static void test_body_at_limit(Fixture *f, gconstpointer data)
{
    g_autofree char *text = g_strnfill(MAX_BODY, 'x');
    g_autofree char *request = post("/body", "Content-Length: 100\r\n", text);

    assert_answer(f, request, 200, text);
}

static void test_body_too_large(Fixture *f, gconstpointer data)
{
    g_autofree char *text = g_strnfill(MAX_BODY + 1, 'x');
    g_autofree char *told = post("/body", "Content-Length: 101\r\n", text);
    g_autofree char *chunks = g_strdup_printf("65\r\n%s\r\n0\r\n\r\n", text);
    g_autofree char *untold = post("/body", "Transfer-Encoding: chunked\r\n", chunks);

    assert_answer(f, told, 400,
                  PROBLEM("input", "400",
                          "/body: a body of 101 bytes is above the 100 it may have"));
    assert_answer(f, untold, 400, PROBLEM("input", "400", "/body: the body is too large"));
    g_assert_cmpuint(f->handled, ==, 0);
}

static void test_absurd_length(Fixture *f, gconstpointer data)
{
    g_autofree char *huge = post("/body", "Content-Length: 18446744073709551615\r\n", "");
    g_autofree char *beyond = post("/body", "Content-Length: 99999999999999999999999\r\n", "");
    g_autofree char *negative = post("/body", "Content-Length: -1\r\n", "");
    const char *const requests[] = {huge, beyond, negative};

    for (guint i = 0; i < G_N_ELEMENTS(requests); i++) {
        g_autofree char *answer = talk(f, requests[i]);

        g_assert_true(*answer == '\0' || strstr(answer, "HTTP/1.1 4") == answer);
    }
    g_assert_cmpuint(f->handled, ==, 0);
}

static void test_json(Fixture *f, gconstpointer data)
{
    g_autofree char *good = post("/json", "Content-Length: 7\r\n", "{\"a\":1}");
    g_autofree char *twice = post("/json", "Content-Length: 13\r\n", "{\"a\":1,\"a\":2}");
    g_autofree char *half = post("/json", "Content-Length: 3\r\n", "\n[1");
    g_autofree char *zeros = post("/json", "Content-Length: 0\r\n", "");
    g_autofree char *good_answer = talk(f, good);

    assert_status(good_answer, 204);
    assert_answer(
        f, twice, 400,
        PROBLEM("input", "400",
                "request body: line 1, column 10: duplicate object key near '\\\"a\\\"'"));
    assert_answer(f, half, 400,
                  PROBLEM("input", "400",
                          "request body: line 2, column 2: ']' expected near end of file"));
    assert_answer(f, zeros, 400,
                  PROBLEM("input", "400",
                          "request body: line 1, column 0: '[' or '{' expected near end of file"));
}

// ---- errors

static void test_problem(Fixture *f, gconstpointer data)
{
    assert_answer(f, GET("/error"), 409,
                  "{\"type\":\"urn:virtfn:error:exhausted\",\"title\":\"exhausted\",\"status\":409,"
                  "\"detail\":\"pool 'a\\u000ab': it is empty\",\"remedy\":\"fill it\"}\n");
}

static void test_text(Fixture *f, gconstpointer data)
{
    assert_answer(f, "GET /error HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n", 409,
                  "pool 'a b': it is empty -- fill it\n");
}

static void test_large_header(Fixture *f, gconstpointer data)
{
    g_autofree char *value = g_strnfill(20000, 'h');
    g_autofree char *request =
        g_strdup_printf("GET /pair/a/b HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", value);
    g_autofree char *answer = talk(f, request);

    assert_status(answer, 431);
    g_assert_cmpuint(f->handled, ==, 0);
}

static void test_no_http(Fixture *f, gconstpointer data)
{
    static const char *const texts[] = {"\r\n\r\n", "hello\r\n\r\n", "GET /error\r\n\r\n",
                                        "\x16\x03\x01\x02\x05\x01\r\n\r\n"};

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *answer = talk(f, texts[i]);

        g_assert_null(strstr(answer, "HTTP/1.1 2"));
    }
    assert_answer(f, GET("/pair/a/b"), 200, "a|b|-");
}

// ---- many requests

static void test_pipelined(Fixture *f, gconstpointer data)
{
    g_autofree char *answer = talk(f, GET("/pair/1/2") GET("/pair/3/4") GET("/pair/5/6"));
    const char *first = strstr(answer, "1|2|-"), *second = strstr(answer, "3|4|-");

    g_assert_true(first != NULL && second != NULL && first < second);
    g_assert_nonnull(strstr(second, "5|6|-"));
}

static void test_keep_alive(Fixture *f, gconstpointer data)
{
    enum { CLIENTS = 2000 };
    struct rlimit limit = {2 * CLIENTS + 100, 2 * CLIENTS + 100};
    g_autofree int *clients = g_new(int, CLIENTS);

    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    for (guint i = 0; i < CLIENTS; i++)
        clients[i] = client_new(f);
    for (guint round = 0; round < 3; round++) {
        for (guint i = 0; i < CLIENTS; i++)
            g_assert_cmpint(send(clients[i], GET("/pair/a/b"), strlen(GET("/pair/a/b")), 0), >, 0);
        for (guint i = 0; i < CLIENTS; i++) {
            g_autoptr(GString) heard = g_string_new(NULL);

            for (guint tries = 0; heard->len == 0 && tries < 1000; tries++)
                g_assert_true(hear(clients[i], heard));
            assert_status(heard->str, 200);
        }
    }
    g_assert_cmpuint(f->handled, ==, 3 * CLIENTS);
    for (guint i = 0; i < CLIENTS; i++)
        close(clients[i]);
}

// ---- answers that come later

static int ask_later(Fixture *f)
{
    int client = client_new(f);

    f->later = NULL;
    say(client, GET("/later"), strlen(GET("/later")));
    g_assert_nonnull(f->later);
    return client;
}

static void test_later(Fixture *f, gconstpointer data)
{
    int client = ask_later(f);
    g_autoptr(GString) heard = g_string_new(NULL);

    g_assert_true(hear(client, heard));
    g_assert_cmpstr(heard->str, ==, "");
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 1);
    // Others are served meanwhile.
    assert_answer(f, GET("/pair/a/b"), 200, "a|b|-");
    reply_text(f->later, "at last");
    g_assert_true(hear(client, heard));
    assert_body(heard->str, "at last");
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 0);
    // The connection goes on.
    g_string_truncate(heard, 0);
    say(client, GET("/pair/a/b"), strlen(GET("/pair/a/b")));
    g_assert_true(hear(client, heard));
    assert_body(heard->str, "a|b|-");
    close(client);
}

// Answers to clients that left: at once after the request, and after a while.
static void test_left_while_waiting(Fixture *f, gconstpointer data)
{
    for (guint rounds = 0; rounds < 2; rounds++) {
        int client = client_new(f);

        f->later = NULL;
        g_assert_cmpint(send(client, GET("/later"), strlen(GET("/later")), 0), >, 0);
        while (f->later == NULL)
            g_main_context_iteration(NULL, TRUE);
        if (rounds == 1)
            settle();
        close(client);
        settle();
        reply_text(f->later, "to nobody");
        settle();
        g_assert_cmpuint(vf_server_waiting(f->server), ==, 0);
    }
    assert_answer(f, GET("/pair/a/b"), 200, "a|b|-");
}

static void test_left_in_body(Fixture *f, gconstpointer data)
{
    int client = client_new(f);
    const char *half = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nxxxx";

    say(client, half, strlen(half));
    close(client);
    settle();
    assert_answer(f, GET("/pair/a/b"), 200, "a|b|-");
    g_assert_cmpuint(f->handled, ==, 1);
}

static void test_freed_while_waiting(Fixture *f, gconstpointer data)
{
    int client = ask_later(f), gone = ask_later(f);
    g_autoptr(GString) heard = g_string_new(NULL);

    close(gone);
    settle();
    g_clear_pointer(&f->server, vf_server_free);
    // No answer, so that a hook asks the next daemon.
    g_assert_false(hear(client, heard));
    g_assert_cmpstr(heard->str, ==, "");
    close(client);
}

static void test_quiesce(Fixture *f, gconstpointer data)
{
    int client = ask_later(f);
    g_autoptr(GString) heard = g_string_new(NULL);

    vf_server_quiesce(f->server);
    vf_server_quiesce(f->server);
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 1);
    reply_text(f->later, "still");
    g_assert_true(hear(client, heard));
    assert_body(heard->str, "still");
    close(client);
}

// ---- streams

static int ask_stream(Fixture *f)
{
    int client = client_new(f);

    f->stream = NULL;
    say(client, GET("/stream"), strlen(GET("/stream")));
    g_assert_nonnull(f->stream);
    return client;
}

static void test_stream(Fixture *f, gconstpointer data)
{
    int client = ask_stream(f);
    g_autoptr(GString) heard = g_string_new(NULL);

    g_assert_true(hear(client, heard));
    assert_status(heard->str, 200);
    g_assert_nonnull(strstr(heard->str, "application/x-ndjson"));
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 1);
    g_string_truncate(heard, 0);
    vf_stream_write(f->stream, "one\n");
    vf_stream_write(f->stream, "two\n");
    g_assert_true(hear(client, heard));
    g_assert_cmpstr(heard->str, ==, "8\r\none\ntwo\n\r\n");
    vf_stream_write(f->stream, "three\n");
    vf_stream_end(f->stream);
    g_assert_true(hear(client, heard));
    g_assert_cmpstr(heard->str, ==, "8\r\none\ntwo\n\r\n6\r\nthree\n\r\n0\r\n\r\n");
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 0);
    close(client);
}

static void test_large_stream(Fixture *f, gconstpointer data)
{
    int client = ask_stream(f);
    g_autofree char *line = g_strnfill(1000, 'l');
    g_autoptr(GString) heard = g_string_new(NULL);
    guint letters = 0;

    // The client reads nothing until all is written.
    for (guint i = 0; i < 2000; i++)
        vf_stream_write(f->stream, line);
    settle();
    vf_stream_end(f->stream);
    while (strstr(heard->str, "\r\n0\r\n\r\n") == NULL)
        g_assert_true(hear(client, heard));
    for (const char *p = strstr(heard->str, "\r\n\r\n"); *p != '\0'; p++)
        letters += *p == 'l';
    g_assert_cmpuint(letters, ==, 2000 * 1000);
    close(client);
}

static void test_left_stream(Fixture *f, gconstpointer data)
{
    int client = ask_stream(f);

    vf_stream_write(f->stream, "one\n");
    settle();
    close(client);
    for (guint i = 0; i < 5; i++) {
        vf_stream_write(f->stream, "two\n");
        settle();
    }
    vf_stream_end(f->stream);
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 0);
    assert_answer(f, GET("/pair/a/b"), 200, "a|b|-");
}

static void test_left_stream_then_end(Fixture *f, gconstpointer data)
{
    int client = ask_stream(f);

    close(client);
    settle();
    vf_stream_end(f->stream);
    settle();
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 0);
}

static void test_left_before_stream_begins(Fixture *f, gconstpointer data)
{
    int client = ask_later(f);

    close(client);
    settle();
    f->stream = vf_request_stream(f->later, "text/plain");
    vf_stream_write(f->stream, "one\n");
    settle();
    vf_stream_end(f->stream);
    settle();
    g_assert_cmpuint(vf_server_waiting(f->server), ==, 0);
}

static void test_freed_while_streaming(Fixture *f, gconstpointer data)
{
    int client = ask_stream(f);
    g_autoptr(GString) heard = g_string_new(NULL);

    vf_stream_write(f->stream, "one\n");
    settle();
    g_clear_pointer(&f->server, vf_server_free);
    g_assert_false(hear(client, heard));
    // It did not end as a whole answer does.
    g_assert_null(strstr(heard->str, "\r\n0\r\n\r\n"));
    vf_stream_end(f->stream);
    close(client);
}

#define ADD(name, function) g_test_add("/server/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("segments", test_segments);
    ADD("no-route", test_no_route);
    ADD("method", test_method);
    ADD("query", test_query);
    ADD("body", test_body);
    ADD("body-at-limit", test_body_at_limit);
    ADD("body-too-large", test_body_too_large);
    ADD("absurd-length", test_absurd_length);
    ADD("json", test_json);
    ADD("problem", test_problem);
    ADD("text", test_text);
    ADD("large-header", test_large_header);
    ADD("no-http", test_no_http);
    ADD("pipelined", test_pipelined);
    ADD("keep-alive", test_keep_alive);
    ADD("later", test_later);
    ADD("left-while-waiting", test_left_while_waiting);
    ADD("left-in-body", test_left_in_body);
    ADD("freed-while-waiting", test_freed_while_waiting);
    ADD("quiesce", test_quiesce);
    ADD("stream", test_stream);
    ADD("large-stream", test_large_stream);
    ADD("left-stream", test_left_stream);
    ADD("left-stream-then-end", test_left_stream_then_end);
    ADD("left-before-stream-begins", test_left_before_stream_begins);
    ADD("freed-while-streaming", test_freed_while_streaming);
    return g_test_run();
}
