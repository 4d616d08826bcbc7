// SPDX-License-Identifier: GPL-2.0-or-later
//
// Images come and go in the daemon. The copy of a file, its digest and the operator's program take
// long, so they have a lane of their own; what may change meanwhile is checked before and after.

#include "image-add.h"

#include <string.h>

#include "broker.h"
#include "error.h"
#include "log.h"

// No PF has this address.
static const VfPciAddr images_lane = {.domain = G_MAXUINT32, .bus = G_MAXUINT8};

typedef struct {
    VfDaemon *daemon;
    VfRequest *request;
    char *name, *accelerator, *path, *sha256, *verify, *directory;
    guint kind;
    gboolean replace;
    void (*reply)(VfRequest *request, VfDaemon *daemon, const VfImage *image);
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

gboolean vf_image_store(const VfDaemon *daemon, GError **error)
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

// The image whose place the new one is to take; NULL = it takes nobody's.
static const VfImage *old_one(const Add *add)
{
    return add->replace ? vf_images_for(add->daemon->images, add->accelerator, add->kind) : NULL;
}

static gboolean check_place(const Add *add, GError **error)
{
    const VfImage *old = old_one(add);

    if (old == NULL)
        return vf_images_check(add->daemon->images, add->name, add->accelerator, add->kind, error);
    if (strcmp(old->name, add->name) != 0 &&
        vf_images_named(add->daemon->images, add->name) != NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "image '%s': there is one already, for something else" VF_REMEDY
                    "choose another name",
                    add->name);
        return FALSE;
    }
    return vf_broker_check_unused(add->daemon, old, error);
}

// Everything that is known before the file is read.
static gboolean check(const Add *add, GError **error)
{
    return vf_image_store(add->daemon, error) &&
           require_accelerator(add->daemon, add->accelerator, error) &&
           vf_broker_check_kind(add->daemon, add->kind, error) && check_place(add, error);
}

// The new bytes are in the store already, and what is replaced is there until the new one is.
static const VfImage *put(Add *add, GError **error)
{
    VfImageDraft *draft = g_steal_pointer(&add->draft);

    return add->replace ? vf_images_replace(add->daemon->images, draft, error)
                        : vf_images_commit(add->daemon->images, draft, error);
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
        image = put(add, &add->error);
    if (image == NULL) {
        // It may be in place all the same, on a disk that fails.
        vf_broker_image_changed(daemon, add->accelerator, add->kind);
        vf_request_reply_error(add->request, add->error);
    } else {
        vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL,
               "image '%s' of accelerator '%s' for kind %u was added, SHA-256 %s", image->name,
               image->accelerator, image->kind, image->sha256);
        vf_broker_image_changed(daemon, add->accelerator, add->kind);
        add->reply(add->request, daemon, image);
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

void vf_image_add(VfDaemon *daemon, VfRequest *request, const VfImageAdd *order)
{
    g_autoptr(GError) error = NULL;
    Add *add;

    if (order->path[0] != '/') {
        g_set_error(&error, VF_ERROR, VF_ERROR_INPUT,
                    "image: path '%.80s' is not absolute" VF_REMEDY
                    "virtfnd has another working directory: give the whole path",
                    order->path);
        vf_request_reply_error(request, error);
        return;
    }
    add = g_new0(Add, 1);
    add->daemon = daemon;
    add->request = request;
    add->name = g_strdup(order->name);
    add->accelerator = g_strdup(order->accelerator);
    add->path = g_strdup(order->path);
    add->sha256 = g_strdup(order->sha256);
    // What is no kind stays none, and is refused by name.
    add->kind = order->kind >= 0 && order->kind < G_MAXINT32 ? (guint)order->kind : G_MAXINT32;
    add->replace = order->replace;
    add->reply = order->reply;
    vf_broker_when_ready(daemon->broker, begin, add);
}

gboolean vf_image_take_away(VfDaemon *daemon, const char *name, GError **error)
{
    const VfImage *image = NULL;

    if (!vf_image_store(daemon, error))
        return FALSE;
    image = vf_images_named(daemon->images, name);
    if (image != NULL && !vf_broker_check_unused(daemon, image, error))
        return FALSE;
    g_autofree char *accelerator = image != NULL ? g_strdup(image->accelerator) : NULL;
    guint kind = image != NULL ? image->kind : 0;
    if (!vf_images_remove(daemon->images, name, error))
        return FALSE;
    vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "image '%s' was removed", name);
    vf_broker_image_changed(daemon, accelerator, kind);
    return TRUE;
}
