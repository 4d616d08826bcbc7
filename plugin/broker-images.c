// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the store of images (images.h) means for the table. Looks at no file.

#include <string.h>

#include "broker-parts.h"
#include "error.h"

static gboolean is_of(const VfBroker *broker, const VfImage *image, guint accelerator)
{
    return vf_broker_accelerator(broker, image->accelerator) == accelerator &&
           image->kind < VF_ACCEL_KINDS_MAX;
}

static const GPtrArray *all_images(const VfBroker *broker)
{
    return broker->daemon->images != NULL ? vf_images_list(broker->daemon->images) : NULL;
}

void vf_broker_add_images(VfBroker *broker)
{
    const GPtrArray *images = all_images(broker);

    for (guint i = 0; images != NULL && i < images->len; i++) {
        const VfImage *image = g_ptr_array_index(images, i);
        guint accelerator = vf_broker_accelerator(broker, image->accelerator);

        if (accelerator != VF_ACCEL_NONE && image->kind < VF_ACCEL_KINDS_MAX)
            vf_accel_set_image(broker->accel, accelerator, image->kind, image->number,
                               vf_broker_now(), broker->out);
    }
}

gboolean vf_broker_has_image(const VfBroker *broker, guint accelerator, guint kind)
{
    const GPtrArray *images = all_images(broker);

    for (guint i = 0; images != NULL && i < images->len; i++) {
        const VfImage *image = g_ptr_array_index(images, i);

        if (image->kind == kind && is_of(broker, image, accelerator))
            return TRUE;
    }
    return FALSE;
}

VfImage *vf_broker_image(const VfBroker *broker, guint number)
{
    const VfImage *image =
        broker->daemon->images != NULL ? vf_images_find(broker->daemon->images, number) : NULL;

    return image != NULL ? vf_image_copy(image) : NULL;
}

void vf_broker_image_changed(VfDaemon *daemon, const char *accelerator, guint kind)
{
    VfBroker *broker = daemon->broker;
    guint number = vf_broker_accelerator(broker, accelerator), image = VF_ACCEL_NONE;
    const GPtrArray *images = all_images(broker);

    if (!vf_broker_ready(broker) || number == VF_ACCEL_NONE || kind >= VF_ACCEL_KINDS_MAX)
        return; // the next table finds it
    for (guint i = 0; images != NULL && i < images->len; i++) {
        const VfImage *one = g_ptr_array_index(images, i);

        if (one->kind == kind && strcmp(one->accelerator, accelerator) == 0)
            image = one->number;
    }
    vf_broker_carry_out(broker, vf_accel_set_image(broker->accel, number, kind, image,
                                                   vf_broker_now(), broker->out));
}

// "0, 1": the kinds that regions of cards have. Caller frees.
static char *kinds_of(const VfBroker *broker)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint kind = 0; kind < VF_ACCEL_KINDS_MAX; kind++)
        for (guint i = 0; i < vf_accel_regions(broker->accel); i++)
            if (vf_accel_region(broker->accel, i)->kind == kind) {
                g_string_append_printf(text, "%s%u", text->len > 0 ? ", " : "", kind);
                break;
            }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

gboolean vf_broker_check_kind(const VfDaemon *daemon, guint kind, GError **error)
{
    const VfBroker *broker = daemon->broker;

    for (guint i = 0; broker->accel != NULL && i < vf_accel_regions(broker->accel); i++)
        if (vf_accel_region(broker->accel, i)->kind == kind)
            return TRUE;
    if (broker->accel == NULL || vf_accel_regions(broker->accel) == 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "kind %u: there is no card whose regions are known" VF_REMEDY
                    "give a pool its card, see virtfn.conf(5), and look at `virtfn status`",
                    kind);
        return FALSE;
    }
    g_autofree char *kinds = kinds_of(broker);
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "kind %u: no card has a region of this kind" VF_REMEDY "the kinds are %s", kind,
                kinds);
    return FALSE;
}

gboolean vf_broker_check_unused(const VfDaemon *daemon, const VfImage *image, GError **error)
{
    const VfBroker *broker = daemon->broker;
    guint number = vf_broker_accelerator(broker, image->accelerator);

    for (guint i = 0;
         broker->accel != NULL && number != VF_ACCEL_NONE && i < vf_accel_regions(broker->accel);
         i++) {
        const VfAccelRegion *region = vf_accel_region(broker->accel, i);
        // While it is being loaded a region holds nothing that is known.
        const VfAccelRequest *user = region->taking != NULL ? region->taking : region->holders;
        const VfAttachment *row =
            user != NULL && user->accelerator == number && region->kind == image->kind
                ? vf_broker_row_of(broker, user)
                : NULL;

        if (row == NULL)
            continue;
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "image '%s': device '%s' of domain '%s' has it" VF_REMEDY
                    "virtfn detach %s %s, or wait",
                    image->name, row->device, row->domain, row->domain, row->device);
        return FALSE;
    }
    return TRUE;
}
