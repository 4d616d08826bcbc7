// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the images*.c files share: the store, its files, and an image that is in the store's
// directory but not in the store.

#pragma once

#include "images.h"

// Name of a copy that is not an image yet, random characters behind it.
#define VF_IMAGE_STAGED ".staged-"

#define VF_IMAGE_VERSION 1
#define VF_IMAGE_RECORD ".json"
#define VF_IMAGE_RECORD_FRESH ".json.new"
#define VF_IMAGE_BYTES ".image"

struct VfImages {
    char *directory;
    GPtrArray *list; // of VfImage, by name
    guint next;      // number
};

struct VfImageDraft {
    VfImage *image; // its path is that of the staged copy; NULL when it was committed
};

gboolean vf_image_name_ok(const char *name);

// DIRECTORY/NAMESUFFIX. Caller frees.
char *vf_image_file(const char *directory, const char *name, const char *suffix);
// Takes the image.
void vf_images_insert(VfImages *images, VfImage *image);

// images-read.c: what the directory has, into an empty list; see vf_images_open().
gboolean vf_images_read(VfImages *images, GPtrArray *notes, GError **error);
