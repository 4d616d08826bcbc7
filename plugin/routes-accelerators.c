// SPDX-License-Identifier: GPL-2.0-or-later
//
// Accelerators as resources, with the verbs and paths of Cyborg's first API, which the vFPGAmanager
// speaks. An accelerator is a group of the configuration; to create, update or delete it is to give
// it an image, another one, or none. The regions that hold it and the devices that have or want it
// are seen here and changed at /v1/attachments. Members that are not known are refused.

#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "image-add.h"
#include "jsontext.h"
#include "routes.h"

static void append_images(GString *out, const VfDaemon *daemon, const char *name)
{
    const GPtrArray *images = daemon->images != NULL ? vf_images_list(daemon->images) : NULL;

    for (guint i = 0; images != NULL && i < images->len; i++) {
        const VfImage *image = g_ptr_array_index(images, i);

        if (strcmp(image->accelerator, name) != 0)
            continue;
        vf_json_next(out);
        vf_json_append(out, "{'name':%s,'kind':%i,'size':%I,'sha256':%s,'since':%t}", image->name,
                       image->kind, (gint64)image->size, image->sha256, image->since);
    }
}

static void append_regions(GString *out, const VfBroker *broker, guint number)
{
    for (guint c = 0; broker->accel != NULL && c < broker->cards->len; c++) {
        const VfBrokerCard *card = g_ptr_array_index(broker->cards, c);

        for (guint i = 0; i < card->count; i++) {
            const VfAccelRegion *region = vf_accel_region(broker->accel, card->first + i);

            if (region->loaded != number)
                continue;
            vf_json_next(out);
            vf_json_append(out, "{'pf':%a,'region':%i,'kind':%i,'free':%b}", &card->pf, i,
                           region->kind, region->holders == NULL && region->taking == NULL);
        }
    }
}

static int by_key(gconstpointer a, gconstpointer b)
{
    return strcmp((*(VfAttachment *const *)a)->key, (*(VfAttachment *const *)b)->key);
}

static void append_devices(GString *out, const VfBroker *broker, const char *name)
{
    g_autoptr(GPtrArray) rows = vf_broker_rows(broker, by_key);

    for (guint i = 0; i < rows->len; i++) {
        const VfAttachment *row = g_ptr_array_index(rows, i);

        if (g_strcmp0(row->ask.accelerator, name) != 0)
            continue;
        vf_json_next(out);
        vf_json_append(out,
                       "{'domain':{'uuid':%s,'name':%s},'device':%s,'pf':%a,'index':%i,'state':%s}",
                       row->uuid, row->domain, row->device, &row->pf, row->index,
                       vf_broker_state_word(row));
    }
}

static void append_accelerator(GString *out, const VfDaemon *daemon,
                               const VfAcceleratorConfig *config)
{
    const VfBroker *broker = daemon->broker;
    guint number = vf_broker_accelerator(broker, config->name);
    guint waiting = broker->accel != NULL && number != VF_ACCEL_NONE
                        ? vf_accel_waiting(broker->accel, number)
                        : 0;

    vf_json_append(out, "{'uuid':%s,'name':%s,'id':%i,'shareable':%b,'waiting':%i,'images':[",
                   config->uuid, config->name, config->id, config->shareable, waiting);
    append_images(out, daemon, config->name);
    vf_json_append(out, "],'regions':[");
    if (number != VF_ACCEL_NONE)
        append_regions(out, broker, number);
    vf_json_append(out, "],'devices':[");
    append_devices(out, broker, config->name);
    vf_json_append(out, "]}");
}

void vf_route_accelerators(VfRequest *request, gpointer data)
{
    const VfDaemon *daemon = data;
    GString *text = g_string_new("{\"accelerators\":[");

    for (guint i = 0; i < daemon->config->accelerators->len; i++) {
        vf_json_next(text);
        append_accelerator(text, daemon, g_ptr_array_index(daemon->config->accelerators, i));
    }
    vf_json_append(text, "]}");
    vf_request_reply_json(request, 200, text);
}

static const VfAcceleratorConfig *named(const VfDaemon *daemon, const char *name)
{
    for (guint i = 0; i < daemon->config->accelerators->len; i++) {
        const VfAcceleratorConfig *config = g_ptr_array_index(daemon->config->accelerators, i);

        if (strcmp(config->name, name) == 0)
            return config;
    }
    return NULL;
}

// That of the path; the request is answered when there is none.
static const VfAcceleratorConfig *require(VfRequest *request, const VfDaemon *daemon)
{
    const char *uuid = vf_request_segment(request, 0);
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < daemon->config->accelerators->len; i++) {
        const VfAcceleratorConfig *config = g_ptr_array_index(daemon->config->accelerators, i);

        if (g_ascii_strcasecmp(config->uuid, uuid) == 0)
            return config;
    }
    g_set_error(&error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "accelerator '%.40s': there is none of this UUID" VF_REMEDY
                "GET /accelerators lists them",
                uuid);
    vf_request_reply_error(request, error);
    return NULL;
}

static void reply(VfRequest *request, unsigned status, const VfDaemon *daemon, const char *name)
{
    const VfAcceleratorConfig *config = named(daemon, name);
    GString *text = g_string_new(NULL);

    append_accelerator(text, daemon, config);
    vf_request_reply_json(request, status, text);
}

void vf_route_accelerator(VfRequest *request, gpointer daemon)
{
    const VfAcceleratorConfig *config = require(request, daemon);

    if (config != NULL)
        reply(request, 200, daemon, config->name);
}

static void created(VfRequest *request, VfDaemon *daemon, const VfImage *image)
{
    reply(request, 201, daemon, image->accelerator);
}

static void updated(VfRequest *request, VfDaemon *daemon, const VfImage *image)
{
    reply(request, 200, daemon, image->accelerator);
}

// What POST and PUT have in common. Without a name for the image it is called after what it is for.
static void give_image(VfDaemon *daemon, VfRequest *request, VfImageAdd *add)
{
    g_autofree char *name = NULL;

    if (add->name == NULL)
        add->name = name =
            g_strdup_printf("%s-%" G_GINT64_FORMAT, add->accelerator, MAX(add->kind, 0));
    vf_image_add(daemon, request, add);
}

void vf_route_accelerator_post(VfRequest *request, gpointer daemon)
{
    g_autoptr(GError) error = NULL;
    json_t *json = vf_request_json(request, &error);
    VfImageAdd add = {.reply = created};
    json_error_t where;
    json_int_t kind = 0;

    if (json != NULL && json_unpack_ex(json, &where, JSON_STRICT, "{s:s, s:I, s:s, s?s, s?s}",
                                       "name", &add.accelerator, "kind", &kind, "path", &add.path,
                                       "sha256", &add.sha256, "image", &add.name) != 0)
        g_set_error(&error, VF_ERROR, VF_ERROR_INPUT,
                    "accelerator: %s" VF_REMEDY
                    "give name, kind and path, and sha256 and image if you like",
                    where.text);
    add.kind = kind;
    if (error == NULL)
        give_image(daemon, request, &add);
    else
        vf_request_reply_error(request, error);
    json_decref(json);
}

void vf_route_accelerator_put(VfRequest *request, gpointer daemon)
{
    const VfAcceleratorConfig *config = require(request, daemon);
    g_autoptr(GError) error = NULL;
    json_t *json = config != NULL ? vf_request_json(request, &error) : NULL;
    VfImageAdd add = {.replace = TRUE, .reply = updated};
    json_error_t where;
    json_int_t kind = 0;

    if (config == NULL)
        return;
    add.accelerator = config->name;
    if (json != NULL &&
        json_unpack_ex(json, &where, JSON_STRICT, "{s:I, s:s, s?s, s?s}", "kind", &kind, "path",
                       &add.path, "sha256", &add.sha256, "image", &add.name) != 0)
        g_set_error(&error, VF_ERROR, VF_ERROR_INPUT,
                    "accelerator: %s" VF_REMEDY
                    "give kind and path, and sha256 and image if you like",
                    where.text);
    add.kind = kind;
    if (error == NULL)
        give_image(daemon, request, &add);
    else
        vf_request_reply_error(request, error);
    json_decref(json);
}

// All of its images or none. Names, since a removal ends what was borrowed.
static gboolean remove_all(VfDaemon *daemon, const char *accelerator, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    if (!vf_image_store(daemon, error))
        return FALSE;
    const GPtrArray *images = vf_images_list(daemon->images);
    for (guint i = 0; i < images->len; i++) {
        const VfImage *image = g_ptr_array_index(images, i);

        if (strcmp(image->accelerator, accelerator) != 0)
            continue;
        if (!vf_broker_check_unused(daemon, image, error))
            return FALSE;
        g_ptr_array_add(names, g_strdup(image->name));
    }
    if (names->len == 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "accelerator '%s': it has no image" VF_REMEDY "POST one first", accelerator);
        return FALSE;
    }
    for (guint i = 0; i < names->len; i++)
        if (!vf_image_take_away(daemon, g_ptr_array_index(names, i), error))
            return FALSE;
    return TRUE;
}

void vf_route_accelerator_delete(VfRequest *request, gpointer daemon)
{
    const VfAcceleratorConfig *config = require(request, daemon);
    g_autoptr(GError) error = NULL;

    if (config == NULL)
        return;
    if (remove_all(daemon, config->name, &error))
        vf_request_reply_empty(request);
    else
        vf_request_reply_error(request, error);
}
