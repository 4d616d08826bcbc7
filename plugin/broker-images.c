// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the store of images (images.h) means for the table. Looks at no file.

#include <string.h>

#include "broker-parts.h"

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
