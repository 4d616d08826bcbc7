// SPDX-License-Identifier: GPL-2.0-or-later
//
// Images through the API: list, add, remove. An image comes as the path of a file on this host:
// only root may add one, and root reads what it likes anyway, while gigabytes in request bodies
// would have to be kept somewhere.

#include <string.h>

#include "broker.h"
#include "error.h"
#include "image-add.h"
#include "jsontext.h"
#include "log.h"
#include "routes.h"

static void append_image(GString *out, const VfImage *image)
{
    vf_json_append(out, "{'name':%s,'accelerator':%s,'kind':%i,'size':%I,'sha256':%s,'since':%t}",
                   image->name, image->accelerator, image->kind, (gint64)image->size, image->sha256,
                   image->since);
}

static void reply_image(VfRequest *request, VfDaemon *daemon, const VfImage *image)
{
    GString *text = g_string_new(NULL);

    append_image(text, image);
    vf_request_reply_json(request, 201, text);
}

// Strings belong to `json`.
static gboolean read_add(VfImageAdd *add, json_t *json, GError **error)
{
    const char *name, *accelerator, *path, *sha256 = NULL;
    json_error_t where;
    json_int_t kind;

    if (json_unpack_ex(json, &where, JSON_STRICT, "{s:s, s:s, s:I, s:s, s?s}", "name", &name,
                       "accelerator", &accelerator, "kind", &kind, "path", &path, "sha256",
                       &sha256) != 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "image: %s" VF_REMEDY
                    "give name, accelerator, kind and path, and sha256 if you like",
                    where.text);
        return FALSE;
    }
    *add = (VfImageAdd){name, accelerator, path, sha256, kind, FALSE, reply_image};
    return TRUE;
}

void vf_route_image_post(VfRequest *request, gpointer daemon)
{
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);
    VfImageAdd add;

    if (json != NULL && read_add(&add, json, &error))
        vf_image_add(daemon, request, &add);
    else
        vf_request_reply_error(request, error);
    json_decref(json);
}

void vf_route_images(VfRequest *request, gpointer data)
{
    const VfDaemon *daemon = data;
    g_autoptr(GError) error = NULL;
    GString *text;

    if (!vf_image_store(daemon, &error)) {
        vf_request_reply_error(request, error);
        return;
    }
    const GPtrArray *images = vf_images_list(daemon->images);
    text = g_string_new("{\"images\":[");
    for (guint i = 0; i < images->len; i++) {
        vf_json_next(text);
        append_image(text, g_ptr_array_index(images, i));
    }
    vf_json_append(text, "]}");
    vf_request_reply_json(request, 200, text);
}

void vf_route_image_delete(VfRequest *request, gpointer data)
{
    g_autoptr(GError) error = NULL;

    if (vf_image_take_away(data, vf_request_segment(request, 0), &error))
        vf_request_reply_empty(request);
    else
        vf_request_reply_error(request, error);
}
