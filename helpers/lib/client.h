// SPDX-License-Identifier: GPL-2.0-or-later
//
// Client of virtfnd's HTTP API over its Unix socket (libcurl). Blocks. Everything that comes back
// is bounded in size and time and hostile until parsed: an answer of the wrong kind, a cut one and
// one that never ends are errors. Problem documents (RFC 9457) become GErrors whose code follows
// from the problem's type and whose message is "DETAIL -- REMEDY".

#pragma once

#include <glib.h>
#include <jansson.h>

#define VF_CLIENT_SOCKET "/run/virtfn/virtfn.sock"
#define VF_CLIENT_MAX_BYTES (64 * 1024 * 1024) // one answer, and one whole stream of work
#define VF_CLIENT_MAX_LINE (1024 * 1024)       // one line of a stream
#define VF_CLIENT_SECONDS 60                   // one answer
#define VF_CLIENT_STREAM_SECONDS 900           // silence between two events of a stream

typedef struct VfClient VfClient;

// Makes no connection: each request does, and tells when the daemon is away. Copies the path.
VfClient *vf_client_new(const char *socket_path);
void vf_client_free(VfClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfClient, vf_client_free)

typedef struct {
    const char *method; // "GET", "POST", "PUT", "DELETE"
    const char *path;   // "/v1/pools/uplink": names in it are escaped by the caller
    const char *type;   // of the body, "application/xml"; NULL = no body
    const char *body;
    gsize length;
    const char *expect; // content type of a good answer
    guint seconds;      // until the answer is there; 0 = VF_CLIENT_SECONDS
} VfClientRequest;

// Body of a 2xx answer, with a NUL after it; *length (may be NULL) does not count that NUL. Caller
// frees. VF_ERROR_STATE: no socket, nobody who serves it, or an answer that broke off;
// VF_ERROR_DENIED: no permission for the socket; VF_ERROR_INTERNAL: not an answer of virtfnd;
// otherwise the API's own error, so VF_ERROR_NOT_FOUND always comes from the API.
char *vf_client_send(VfClient *client, const VfClientRequest *request, gsize *length,
                     GError **error);

// A request that a JSON object answers, with a JSON body (borrowed) unless that is NULL: fills in
// the request's type, body, length and expect. *text (may be NULL) is the answer byte for byte,
// caller frees both.
json_t *vf_client_ask(VfClient *client, VfClientRequest request, const json_t *body, char **text,
                      GError **error);

// The same, for a GET.
json_t *vf_client_get(VfClient *client, const char *path, char **text, GError **error);

// Takes one line of a stream as text (no newline) and as JSON object, both borrowed. FALSE with
// *error set ends the stream.
typedef gboolean (*VfClientEvent)(const char *line, json_t *event, gpointer data, GError **error);

// POST of a JSON body answered by application/x-ndjson: calls `event` for each line as it comes.
// TRUE when the peer ended the stream after a whole line.
gboolean vf_client_stream(VfClient *client, const char *path, json_t *body, VfClientEvent event,
                          gpointer data, GError **error);

// GET of a stream that tells what happens, as long as both sides like: neither its silence nor its
// length is limited, only a line is. TRUE when the peer ended it after a whole line.
gboolean vf_client_follow(VfClient *client, const char *path, VfClientEvent event, gpointer data,
                          GError **error);

// The GError of a problem document; also of one that is embedded in an object. A document without
// a detail gives VF_ERROR_INTERNAL and "`object`: …".
GError *vf_client_problem(const char *object, const json_t *problem);
