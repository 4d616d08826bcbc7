// SPDX-License-Identifier: GPL-2.0-or-later
//
// libmicrohttpd under a GSource: its epoll descriptor is watched, MHD_run() does the rest. A
// request that is not answered by the next turn of the loop is suspended, and resumed by its
// answer. Limits (connections, header bytes, bodies in flight, idle time) stand here; what a
// request means stands in the routes.

#include "server.h"

#include <grp.h>
#include <microhttpd.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "jsontext.h"

#define MAX_CONNECTIONS 2048
// Of these, peers without any right may hold few and users not all: hooks, which are root's, always
// get through.
#define MAX_STRANGERS 64
#define MAX_USERS 1024
#define CONNECTION_MEMORY 4096 // headers of one request and of its answer
#define IDLE_SECONDS 10        // a client that sends nothing, or half a request
#define BODIES_IN_FLIGHT (64 * 1024 * 1024)
#define MAX_SEGMENTS 4

typedef struct {
    GSource source;
    VfServer *server;
    gpointer tag;
} ServerSource;

struct VfServer {
    struct MHD_Daemon *mhd;
    ServerSource *source;
    const VfRoute *routes;
    gpointer data;
    gboolean has_use, has_read;
    gid_t use_group, read_group;
    gboolean poke; // something was resumed: run once more
    gboolean closing;
    guint turn; // calls of MHD_run()
    gsize body_bytes;
    guint strangers, users; // connections that are not root's
    GQueue waiting;         // of VfRequest without an answer, by their own links
    GHashTable *streams;    // of suspended VfStream
};

struct VfRequest {
    VfServer *server;
    struct MHD_Connection *connection; // NULL once the client is gone
    const VfRoute *route;
    char *segments[MAX_SEGMENTS];
    char *query;
    char *body; // NULL: none has come
    gsize body_length, body_room;
    gboolean plain;  // errors as a line of text
    GError *refusal; // known before the handler runs
    struct MHD_Response *response;
    unsigned status;
    guint turn; // in which the handler was called
    gboolean suspended, handled;
    GList link; // in `waiting` while its data is set
};

struct VfStream {
    GString *pending;
    struct MHD_Connection *connection; // NULL once the client is gone
    VfServer *server;
    gboolean suspended, ended;
};

// ---- who calls

static gboolean in_group(int fd, gid_t own, gid_t wanted)
{
    gid_t groups[256];
    socklen_t length = sizeof(groups);

    if (own == wanted)
        return TRUE;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) != 0)
        return FALSE;
    for (guint i = 0; i < length / sizeof(gid_t); i++)
        if (groups[i] == wanted)
            return TRUE;
    return FALSE;
}

static VfRole role_of(const VfServer *server, int fd)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return VF_ROLE_NONE;
    if (peer.uid == 0 || peer.uid == geteuid())
        return VF_ROLE_ADMIN;
    if (server->has_use && in_group(fd, peer.gid, server->use_group))
        return VF_ROLE_USE;
    if (server->has_read && in_group(fd, peer.gid, server->read_group))
        return VF_ROLE_READ;
    return VF_ROLE_NONE;
}

// Where connections of a role are counted; NULL: nowhere.
static guint *count_of(VfServer *server, VfRole role)
{
    if (role == VF_ROLE_ADMIN)
        return NULL;
    return role == VF_ROLE_NONE ? &server->strangers : &server->users;
}

// A connection came or went; one too many is ended before it has said anything. Who its peer is
// was settled when it connected, and is kept with it.
static void on_connection(void *data, struct MHD_Connection *connection, void **role,
                          enum MHD_ConnectionNotificationCode code)
{
    VfServer *server = data;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    guint *count;

    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *role = GUINT_TO_POINTER(role_of(server, fd));
    count = count_of(server, GPOINTER_TO_UINT(*role));
    if (count == NULL)
        return;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED)
        --*count;
    else if (++*count > (count == &server->strangers ? MAX_STRANGERS : MAX_USERS))
        shutdown(fd, SHUT_RDWR);
}

static VfRole role_on(struct MHD_Connection *connection)
{
    return GPOINTER_TO_UINT(
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
}

// ---- requests

static void stop_waiting(VfRequest *request)
{
    if (request->link.data == NULL)
        return;
    g_queue_unlink(&request->server->waiting, &request->link);
    request->link.data = NULL;
}

static void request_free(VfRequest *request)
{
    stop_waiting(request);
    request->server->body_bytes -= request->body_length;
    for (guint i = 0; i < MAX_SEGMENTS; i++)
        g_free(request->segments[i]);
    g_free(request->query);
    g_free(request->body);
    g_clear_error(&request->refusal);
    if (request->response != NULL)
        MHD_destroy_response(request->response);
    g_free(request);
}

// Matches a path against a route's pattern; the text of each * goes into segments.
static gboolean path_matches(const char *pattern, const char *path, char **segments)
{
    guint n = 0;

    while (*pattern != '\0') {
        if (*pattern != '*') {
            if (*pattern++ != *path++)
                return FALSE;
            continue;
        }
        gsize length = strcspn(path, "/");
        if (length == 0 || n == MAX_SEGMENTS)
            return FALSE;
        g_free(segments[n]);
        segments[n++] = g_strndup(path, length);
        path += length;
        pattern++;
    }
    return *path == '\0';
}

static const VfRoute *find_route(VfServer *server, const char *method, const char *path,
                                 char **segments, GError **error)
{
    gboolean path_known = FALSE;

    for (const VfRoute *route = server->routes; route->method != NULL; route++) {
        if (!path_matches(route->path, path, segments))
            continue;
        path_known = TRUE;
        if (strcmp(route->method, method) == 0)
            return route;
    }
    if (path_known)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "%.40s: method %.10s is not known here", path,
                    method);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "%.40s: no such resource" VF_REMEDY "GET /openapi.json lists them", path);
    return NULL;
}

static enum MHD_Result take_query(void *data, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    VfRequest *request = data;

    if (g_strcmp0(request->route->query, key) != 0 || value == NULL) {
        g_set_error(&request->refusal, VF_ERROR, VF_ERROR_INPUT,
                    "%s: query member '%.40s' is not known", request->route->path, key);
        return MHD_NO;
    }
    if (request->query == NULL)
        request->query = g_strdup(value);
    return MHD_YES;
}

// Sets the refusal when there is a reason for one.
static void admit(VfRequest *request)
{
    static const char *const words[] = {"nobody", "read", "use", "administer"};
    const VfRoute *route = request->route;
    GError **error = &request->refusal;
    const char *length_text =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Content-Length");
    guint64 length = length_text != NULL ? g_ascii_strtoull(length_text, NULL, 10) : 0;

    if (role_on(request->connection) < route->role) {
        g_set_error(error, VF_ERROR, VF_ERROR_DENIED,
                    "%s: it needs the right to %s" VF_REMEDY
                    "call it as root or as a member of the group that virtfn.conf(5) names",
                    route->path, words[route->role]);
        return;
    }
    if (length > route->max_body) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "%s: a body of %" G_GUINT64_FORMAT " bytes is above the %" G_GSIZE_FORMAT
                    " it may have",
                    route->path, length, route->max_body);
        return;
    }
    if (length + request->server->body_bytes > BODIES_IN_FLIGHT) {
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "virtfnd: too many large requests at once" VF_REMEDY "try again");
        return;
    }
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, take_query, request);
}

const char *vf_request_segment(const VfRequest *request, guint n)
{
    return request->segments[n];
}

const char *vf_request_query(const VfRequest *request)
{
    return request->query;
}

char *vf_request_user(const VfRequest *request)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);
    int fd =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return g_strdup("unknown");
    const struct passwd *user = getpwuid(peer.uid);
    return user != NULL ? g_strdup(user->pw_name) : g_strdup_printf("%u", (guint)peer.uid);
}

const char *vf_request_body(const VfRequest *request, gsize *length)
{
    *length = request->body_length;
    return request->body != NULL ? request->body : "";
}

json_t *vf_request_json(const VfRequest *request, GError **error)
{
    json_error_t where;
    gsize length;
    const char *body = vf_request_body(request, &length);
    json_t *json = json_loadb(body, length, JSON_REJECT_DUPLICATES, &where);

    if (json == NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "request body: line %d, column %d: %s",
                    where.line, where.column, where.text);
    return json;
}

gboolean vf_request_plain(VfRequest *request, const VfPlainMember *members, guint n)
{
    return request->body != NULL && vf_json_plain(request->body, request->body_length, members, n);
}

// ---- answers

static void resume(VfRequest *request)
{
    if (!request->suspended)
        return;
    request->suspended = FALSE;
    MHD_resume_connection(request->connection);
    request->server->poke = TRUE;
}

static void answer(VfRequest *request, unsigned status, const char *content_type,
                   struct MHD_Response *response)
{
    g_assert(request->response == NULL);
    if (content_type != NULL)
        MHD_add_response_header(response, "Content-Type", content_type);
    request->response = response;
    request->status = status;
    stop_waiting(request);
    if (request->connection == NULL)
        request_free(request);
    else
        resume(request);
}

static void free_body(void *body)
{
    g_free(body);
}

void vf_request_reply(VfRequest *request, unsigned status, const char *content_type, char *body,
                      gsize length)
{
    answer(request, status, content_type,
           MHD_create_response_from_buffer_with_free_callback(length, body, free_body));
}

void vf_request_reply_empty(VfRequest *request)
{
    answer(request, MHD_HTTP_NO_CONTENT, NULL,
           MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

static void reply_line(VfRequest *request, unsigned status, const char *content_type, GString *line)
{
    gsize length;

    g_string_append_c(line, '\n');
    length = line->len;
    vf_request_reply(request, status, content_type, g_string_free(line, FALSE), length);
}

void vf_request_reply_json(VfRequest *request, unsigned status, GString *json)
{
    reply_line(request, status, "application/json", json);
}

void vf_problem_json(GString *out, const GError *error)
{
    VfErrorCode code = vf_error_code(error);
    const char *word = vf_error_word(code);
    const char *remedy = strstr(error->message, VF_REMEDY);
    g_autofree char *type = g_strconcat("urn:virtfn:error:", word, NULL);
    gsize cause_length = remedy != NULL ? (gsize)(remedy - error->message) : strlen(error->message);
    g_autofree char *cause = g_strndup(error->message, cause_length);

    vf_json_append(out, "{'type':%s,'title':%s,'status':%i,'detail':%s", type, word,
                   vf_error_http_status(code), cause);
    if (remedy != NULL)
        vf_json_append(out, ",'remedy':%s", remedy + strlen(VF_REMEDY));
    vf_json_append(out, "}");
}

void vf_request_reply_error(VfRequest *request, const GError *error)
{
    unsigned status = vf_error_http_status(vf_error_code(error));
    GString *line = g_string_new(NULL);

    if (request->plain) {
        g_string_append(line, error->message);
        g_strdelimit(line->str, "\n\r", ' ');
        reply_line(request, status, "text/plain; charset=utf-8", line);
    } else {
        vf_problem_json(line, error);
        reply_line(request, status, "application/problem+json", line);
    }
}

// ---- streams

static ssize_t stream_read(void *data, uint64_t position, char *buffer, size_t size)
{
    VfStream *stream = data;
    gsize n = MIN(size, stream->pending->len);

    if (n == 0 && stream->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (stream->server->closing)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0) {
        stream->suspended = TRUE;
        g_hash_table_add(stream->server->streams, stream);
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    memcpy(buffer, stream->pending->str, n);
    g_string_erase(stream->pending, 0, (gssize)n);
    return (ssize_t)n;
}

static void stream_wake(VfStream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = FALSE;
    g_hash_table_remove(stream->server->streams, stream);
    MHD_resume_connection(stream->connection);
    stream->server->poke = TRUE;
}

static void stream_free(VfStream *stream)
{
    g_string_free(stream->pending, TRUE);
    g_free(stream);
}

// MHD is done with the response: the client has it all, or went away.
static void stream_gone(void *data)
{
    VfStream *stream = data;

    stream->connection = NULL;
    stream->suspended = FALSE;
    if (stream->ended)
        stream_free(stream);
}

VfStream *vf_request_stream(VfRequest *request, const char *content_type)
{
    VfStream *stream = g_new0(VfStream, 1);

    stream->pending = g_string_new(NULL);
    stream->connection = request->connection;
    stream->server = request->server;
    answer(request, MHD_HTTP_OK, content_type,
           MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, stream_read, stream,
                                             stream_gone));
    return stream;
}

void vf_stream_write(VfStream *stream, const char *text)
{
    if (stream->connection == NULL)
        return;
    g_string_append(stream->pending, text);
    stream_wake(stream);
}

void vf_stream_end(VfStream *stream)
{
    stream->ended = TRUE;
    if (stream->connection == NULL)
        stream_free(stream);
    else
        stream_wake(stream);
}

gboolean vf_stream_is_open(const VfStream *stream, gsize *pending)
{
    *pending = stream->pending->len;
    return stream->connection != NULL;
}

// ---- libmicrohttpd

static VfRequest *request_new(VfServer *server, struct MHD_Connection *connection,
                              const char *method, const char *path)
{
    VfRequest *request = g_new0(VfRequest, 1);
    const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");

    request->server = server;
    request->connection = connection;
    request->plain = accept != NULL && strstr(accept, "text/plain") != NULL;
    request->route = find_route(server, method, path, request->segments, &request->refusal);
    if (request->route != NULL)
        admit(request);
    return request;
}

static void take_body(VfRequest *request, const char *data, gsize length)
{
    gsize needed = request->body_length + length;

    if (request->refusal != NULL)
        return;
    if (needed > request->route->max_body ||
        request->server->body_bytes + length > BODIES_IN_FLIGHT) {
        g_set_error(&request->refusal, VF_ERROR, VF_ERROR_INPUT, "%s: the body is too large",
                    request->route->path);
        return;
    }
    if (needed > request->body_room) {
        request->body_room = MAX(needed, 2 * request->body_room);
        request->body = g_realloc(request->body, request->body_room);
    }
    memcpy(request->body + request->body_length, data, length);
    request->body_length = needed;
    request->server->body_bytes += length;
}

static void handle(VfRequest *request)
{
    VfServer *server = request->server;

    request->handled = TRUE;
    request->turn = server->turn;
    request->link.data = request;
    g_queue_push_tail_link(&server->waiting, &request->link);
    if (request->refusal != NULL)
        vf_request_reply_error(request, request->refusal);
    else
        request->route->handler(request, server->data);
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    VfServer *server = data;
    VfRequest *request = *state;

    if (request == NULL) {
        request = *state = request_new(server, connection, method, url);
        if (request->refusal == NULL)
            return MHD_YES;
    }
    if (*upload_size > 0) {
        take_body(request, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (!request->handled)
        handle(request);
    if (request->response != NULL)
        return MHD_queue_response(connection, request->status, request->response);
    if (server->closing)
        return MHD_NO;
    // libmicrohttpd calls again in the next turn. By then most have been answered, and suspending
    // costs as much as all else of a request.
    if (request->turn == server->turn)
        return MHD_YES;
    request->suspended = TRUE;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

// A client that left before its answer: the answer ends the request.
static void on_completed(void *data, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    VfServer *server = data;
    VfRequest *request = *state;

    *state = NULL;
    if (request == NULL)
        return;
    request->connection = NULL;
    if (server->closing || request->link.data == NULL)
        request_free(request);
}

static gboolean source_prepare(GSource *source, int *timeout)
{
    VfServer *server = ((ServerSource *)source)->server;
    MHD_UNSIGNED_LONG_LONG limit;

    if (server->poke) {
        *timeout = 0;
        return TRUE;
    }
    *timeout = MHD_get_timeout(server->mhd, &limit) == MHD_YES ? (int)MIN(limit, 60000) : -1;
    return *timeout == 0;
}

static gboolean source_check(GSource *source)
{
    ServerSource *self = (ServerSource *)source;
    MHD_UNSIGNED_LONG_LONG limit;

    return self->server->poke || g_source_query_unix_fd(source, self->tag) != 0 ||
           (MHD_get_timeout(self->server->mhd, &limit) == MHD_YES && limit == 0);
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    VfServer *server = ((ServerSource *)source)->server;

    server->poke = FALSE;
    server->turn++;
    MHD_run(server->mhd);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {.prepare = source_prepare,
                                    .check = source_check,
                                    .dispatch = source_dispatch};

static gboolean look_up_group(const char *name, gid_t *gid)
{
    struct group *group = name != NULL ? getgrnam(name) : NULL;

    if (group != NULL)
        *gid = group->gr_gid;
    return group != NULL;
}

static void server_free(VfServer *server)
{
    while (server->waiting.head != NULL)
        request_free(server->waiting.head->data); // of clients that left
    g_hash_table_unref(server->streams);
    g_free(server);
}

VfServer *vf_server_new(int listen_fd, const VfRoute *routes, const char *use_group,
                        const char *read_group, gpointer data, GError **error)
{
    VfServer *server = g_new0(VfServer, 1);
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    struct MHD_OptionItem listen[] = {{listen_fd >= 0 ? MHD_OPTION_LISTEN_SOCKET : MHD_OPTION_END,
                                       listen_fd, NULL},
                                      {MHD_OPTION_END, 0, NULL}};

    server->routes = routes;
    server->data = data;
    g_queue_init(&server->waiting);
    server->streams = g_hash_table_new(NULL, NULL);
    server->has_use = look_up_group(use_group, &server->use_group);
    server->has_read = look_up_group(read_group, &server->read_group);
    server->mhd =
        MHD_start_daemon(flags | (listen_fd < 0 ? MHD_USE_NO_LISTEN_SOCKET : 0), 0, NULL, NULL,
                         on_request, server, MHD_OPTION_ARRAY, listen, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                         MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)1024, MHD_OPTION_END);
    if (server->mhd == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "the HTTP server could not be started");
        server_free(server);
        return NULL;
    }
    server->source = (ServerSource *)g_source_new(&source_funcs, sizeof(ServerSource));
    server->source->server = server;
    server->source->tag =
        g_source_add_unix_fd(&server->source->source,
                             MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
                             G_IO_IN);
    // No handler runs the loop. Against that, GLib would take the descriptor out of its poll and
    // put it back for each turn, and wake itself up both times.
    g_source_set_can_recurse(&server->source->source, TRUE);
    g_source_attach(&server->source->source, NULL);
    return server;
}

gboolean vf_server_add(VfServer *server, int fd)
{
    server->poke = TRUE;
    return MHD_add_connection(server->mhd, fd, NULL, 0) == MHD_YES;
}

void vf_server_quiesce(VfServer *server)
{
    int fd = MHD_quiesce_daemon(server->mhd);

    if (fd >= 0)
        close(fd);
}

guint vf_server_waiting(const VfServer *server)
{
    return server->waiting.length + g_hash_table_size(server->streams);
}

void vf_server_free(VfServer *server)
{
    g_autoptr(GList) streams = g_hash_table_get_keys(server->streams);

    // libmicrohttpd cannot stop with suspended connections; resumed, these find `closing`.
    server->closing = TRUE;
    for (GList *i = server->waiting.head; i != NULL; i = i->next)
        resume(i->data);
    for (GList *i = streams; i != NULL; i = i->next)
        stream_wake(i->data);
    g_source_destroy(&server->source->source);
    g_source_unref(&server->source->source);
    MHD_run(server->mhd);
    MHD_stop_daemon(server->mhd);
    server_free(server);
}
