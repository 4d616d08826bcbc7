// SPDX-License-Identifier: GPL-2.0-or-later
//
// What images.c and images-stage.c share: an image that is in the store's directory but not in the
// store.

#pragma once

#include "images.h"

// Name of a copy that is not an image yet, random characters behind it.
#define VF_IMAGE_STAGED ".staged-"

struct VfImageDraft {
    VfImage *image; // its path is that of the staged copy; NULL when it was committed
};

gboolean vf_image_name_ok(const char *name);
