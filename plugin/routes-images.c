// SPDX-License-Identifier: GPL-2.0-or-later
//
// Images through the API. An image comes as the path of a file on this host: only root may add one,
// and root reads what it likes anyway, while gigabytes in request bodies would have to be kept
// somewhere. The copy, its digest and the operator's program take long, so they have a lane of
// their own; what may change meanwhile is checked before and after.

#include <string.h>

#include "broker.h"
#include "error.h"
#include "images.h"
#include "jsontext.h"
#include "log.h"
#include "routes.h"

// No PF has this address.
static const VfPciAddr images_lane = {.domain = G_MAXUINT32, .bus = G_MAXUINT8};

typedef struct {
    VfDaemon *daemon;
    VfRequest *request;
    char *name, *accelerator, *path, *sha256, *verify, *directory;
    guint kind;
    VfImageDraft *draft;
    GError *error;
} Add;

static void add_free(Add *add)
{
    if (add->draft != NULL)
        vf_image_draft_free(add->draft);
    g_free(add->name);
    g_free(add->accelerator);
    g_free(add->path);
    g_free(add->sha256);
    g_free(add->verify);
    g_free(add->directory);
    g_clear_error(&add->error);
    g_free(add);
}

static void append_image(GString *out, const VfImage *image)
{
    vf_json_append(out, "{'name':%s,'accelerator':%s,'kind':%i,'size':%I,'sha256':%s,'since':%t}",
                   image->name, image->accelerator, image->kind, (gint64)image->size, image->sha256,
                   image->since);
}

// The store, when there is one.
static gboolean require_store(const VfDaemon *daemon, GError **error)
{
    if (daemon->images != NULL)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                "images: the store cannot be used: %s" VF_REMEDY "mend that and restart virtfnd",
                daemon->images_error);
    return FALSE;
}

static gboolean require_accelerator(const VfDaemon *daemon, const char *name, GError **error)
{
    for (guint i = 0; i < daemon->config->accelerators->len; i++) {
        const VfAcceleratorConfig *one = g_ptr_array_index(daemon->config->accelerators, i);

        if (strcmp(one->name, name) == 0)
            return TRUE;
    }
    g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "accelerator '%.40s': there is no such accelerator" VF_REMEDY
                "add a group [accelerator NAME] to a file of %s, then reload virtfnd",
                name, daemon->options.config_dir);
    return FALSE;
}

// Everything that is known before the file is read.
static gboolean check(const Add *add, GError **error)
{
    return require_store(add->daemon, error) &&
           require_accelerator(add->daemon, add->accelerator, error) &&
           vf_broker_check_kind(add->daemon, add->kind, error) &&
           vf_images_check(add->daemon->images, add->name, add->accelerator, add->kind, error);
}

static void run(gpointer data)
{
    Add *add = data;
    const VfImageSpec spec = {
        .directory = add->directory,
        .name = add->name,
        .accelerator = add->accelerator,
        .kind = add->kind,
        .source = add->path,
        .sha256 = add->sha256,
        .verify = add->verify,
    };

    add->draft = vf_image_stage(&spec, &add->error);
}

static void done(gpointer data)
{
    Add *add = data;
    VfDaemon *daemon = add->daemon;
    const VfImage *image = NULL;

    // The configuration may have been read again meanwhile.
    if (add->error == NULL && check(add, &add->error))
        image = vf_images_commit(daemon->images, g_steal_pointer(&add->draft), &add->error);
    if (image == NULL) {
        vf_request_reply_error(add->request, add->error);
    } else {
        GString *text = g_string_new(NULL);

        vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL,
               "image '%s' of accelerator '%s' for kind %u was added, SHA-256 %s", image->name,
               image->accelerator, image->kind, image->sha256);
        append_image(text, image);
        vf_broker_image_changed(daemon, add->accelerator, add->kind);
        vf_request_reply_json(add->request, 201, text);
    }
    add_free(add);
}

// What kinds there are is known when the cards have been asked.
static void begin(gpointer data)
{
    Add *add = data;
    const VfLaneJob job = {.run = run, .done = done, .data = add};

    if (check(add, &add->error)) {
        add->directory = g_strdup(vf_images_directory(add->daemon->images));
        add->verify = g_strdup(add->daemon->config->accel.verify);
        vf_lanes_submit(add->daemon->lanes, &images_lane, &job);
    } else {
        vf_request_reply_error(add->request, add->error);
        add_free(add);
    }
}

// Strings belong to `json`.
static gboolean read_add(Add *add, json_t *json, GError **error)
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
    if (path[0] != '/') {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "image: path '%.80s' is not absolute" VF_REMEDY
                    "virtfnd has another working directory: give the whole path",
                    path);
        return FALSE;
    }
    add->name = g_strdup(name);
    add->accelerator = g_strdup(accelerator);
    add->path = g_strdup(path);
    add->sha256 = g_strdup(sha256);
    // What is no kind stays none, and is refused by name.
    add->kind = kind >= 0 && kind < G_MAXINT32 ? (guint)kind : G_MAXINT32;
    return TRUE;
}

void vf_route_image_post(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    Add *add = g_new0(Add, 1);
    json_t *json = vf_request_json(request, &add->error);

    add->daemon = daemon;
    add->request = request;
    if (json != NULL && read_add(add, json, &add->error)) {
        vf_broker_when_ready(daemon->broker, begin, add);
    } else {
        vf_request_reply_error(request, add->error);
        add_free(add);
    }
    json_decref(json);
}

void vf_route_images(VfRequest *request, gpointer data)
{
    const VfDaemon *daemon = data;
    g_autoptr(GError) error = NULL;
    GString *text;

    if (!require_store(daemon, &error)) {
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

static gboolean remove_image(VfDaemon *daemon, const char *name, GError **error)
{
    const VfImage *image =
        require_store(daemon, error) ? vf_images_named(daemon->images, name) : NULL;

    if (daemon->images == NULL || (image != NULL && !vf_broker_check_unused(daemon, image, error)))
        return FALSE;
    g_autofree char *accelerator = image != NULL ? g_strdup(image->accelerator) : NULL;
    guint kind = image != NULL ? image->kind : 0;
    if (!vf_images_remove(daemon->images, name, error))
        return FALSE;
    vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "image '%s' was removed", name);
    vf_broker_image_changed(daemon, accelerator, kind);
    return TRUE;
}

void vf_route_image_delete(VfRequest *request, gpointer data)
{
    g_autoptr(GError) error = NULL;

    if (remove_image(data, vf_request_segment(request, 0), &error))
        vf_request_reply_empty(request);
    else
        vf_request_reply_error(request, error);
}
