// SPDX-License-Identifier: GPL-2.0-or-later
//
// HTTP/1.1 on a Unix socket: libmicrohttpd driven by the GLib main loop, no threads. A route names
// who may call it and how large a body it takes; a handler answers at once or later, exactly once.
// Who a peer is comes from the kernel (SO_PEERCRED, SO_PEERGROUPS), never from the request.

#pragma once

#include <glib.h>
#include <jansson.h>

#include "jsonplain.h"

typedef enum { VF_ROLE_NONE, VF_ROLE_READ, VF_ROLE_USE, VF_ROLE_ADMIN } VfRole;

typedef struct VfServer VfServer;
typedef struct VfRequest VfRequest;
typedef void (*VfHandler)(VfRequest *request, gpointer data);

typedef struct {
    const char *method;
    const char *path;  // "/v1/pools/*": a * stands for one segment
    const char *query; // the one query member it knows, or NULL
    VfRole role;       // least role that may call it
    gsize max_body;    // bytes; 0 = no body
    VfHandler handler;
} VfRoute;

// Serves on a listening socket, which it takes over. `routes` ends with a NULL method and must
// stay. Members of use_group get VF_ROLE_USE, of read_group VF_ROLE_READ; root and the daemon's own
// user are VF_ROLE_ADMIN. listen_fd -1: connections come by vf_server_add() only.
VfServer *vf_server_new(int listen_fd, const VfRoute *routes, const char *use_group,
                        const char *read_group, gpointer data, GError **error);
// Ends every connection. Requests that wait for an answer get none: a hook then asks the next
// daemon. Their handlers must not answer any more.
void vf_server_free(VfServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfServer, vf_server_free)

// Hands over a connected socket.
gboolean vf_server_add(VfServer *server, int fd);

// Takes no new connections; those there are go on.
void vf_server_quiesce(VfServer *server);

// Number of requests whose answer is not complete yet.
guint vf_server_waiting(const VfServer *server);

// What a handler may ask; valid until it has answered.
const char *vf_request_segment(const VfRequest *request, guint n); // text of the n-th *
const char *vf_request_query(const VfRequest *request);            // value, or NULL
// Who calls, by name or number; for the handler only, before it returns. Caller frees.
char *vf_request_user(const VfRequest *request);
const char *vf_request_body(const VfRequest *request, gsize *length);
// The body as JSON; VF_ERROR_INPUT with line and column. Caller decrefs.
json_t *vf_request_json(const VfRequest *request, GError **error);
// The members of a body that is a plain object; FALSE: ask vf_request_json() instead. Strings live
// until the answer.
gboolean vf_request_plain(VfRequest *request, const VfPlainMember *members, guint n);

// Answers. Each of these ends the request for the handler.
void vf_request_reply(VfRequest *request, unsigned status, const char *content_type, char *body,
                      gsize length);                                            // takes body
void vf_request_reply_json(VfRequest *request, unsigned status, GString *json); // takes json
void vf_request_reply_empty(VfRequest *request);                                // 204
void vf_request_reply_error(VfRequest *request, const GError *error);

// An answer in pieces: begin, any number of writes, end. After begin the request counts as
// answered.
typedef struct VfStream VfStream;
VfStream *vf_request_stream(VfRequest *request, const char *content_type);
void vf_stream_write(VfStream *stream, const char *text);
void vf_stream_end(VfStream *stream);
// FALSE when the client is gone; *pending is what it has not read yet, in bytes.
gboolean vf_stream_is_open(const VfStream *stream, gsize *pending);

// Appends the RFC 9457 problem document of an error.
void vf_problem_json(GString *out, const GError *error);
