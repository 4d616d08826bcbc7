// SPDX-License-Identifier: GPL-2.0-or-later
//
// The store of images: which file puts which accelerator into which kind of region. It is the
// directory STATE_DIR/images, root's alone, with two files for each image: NAME.json says what it
// is and NAME.image (NAME-SHA256.image of one that took another's place) is a copy of the file that
// was added, which nothing changes any more.
//
// A VfImages belongs to the main thread. What takes long is apart from it and may be done in any
// other: vf_image_stage() copies a file into the store, vf_image_verify() reads it back; the latter
// gets a copy of the VfImage. Accelerators are names here; whether the configuration has them, and
// whether any card has such a kind, is for the caller to check.

#pragma once

#include <glib.h>

#define VF_IMAGE_MAX_BYTES (G_GUINT64_CONSTANT(512) * 1024 * 1024)
#define VF_IMAGE_NAME_MAX 32

typedef struct {
    char *name;
    char *accelerator;
    guint kind;
    char *path;      // of the copy, absolute
    char sha256[65]; // of its bytes, lower case
    guint64 size;    // bytes, at least 1
    gint64 since;    // added then, microseconds since 1970
    guint number;    // its own as long as this VfImages is open
} VfImage;

VfImage *vf_image_copy(const VfImage *image);
void vf_image_free(VfImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfImage, vf_image_free)

// Compares the bytes with the digest, then asks `program` (NULL = none) whether it agrees to them,
// as PROGRAM FILE ACCELERATOR KIND. Blocks for as long as reading takes, and 30 s more for the
// program. VF_ERROR_STATE when the file is not what was added, VF_ERROR_DENIED when the program
// says no, VF_ERROR_CONFIG when it may not be run.
gboolean vf_image_verify(const VfImage *image, const char *program, GError **error);

typedef struct VfImages VfImages;

// Makes the directory when it is not there, and removes what an interrupted add left. Records that
// make no sense are left alone and out, with a line in `notes` (of char *). VF_ERROR_INTERNAL.
VfImages *vf_images_open(const char *state_dir, GPtrArray *notes, GError **error);
void vf_images_free(VfImages *images);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfImages, vf_images_free)

const char *vf_images_directory(const VfImages *images);

typedef struct {
    const char *directory; // vf_images_directory()
    const char *name;
    const char *accelerator;
    guint kind;
    const char *source; // path of the file
    const char *sha256; // expected digest, NULL = whatever it is
    const char *verify; // program, NULL = none
} VfImageSpec;

typedef struct VfImageDraft VfImageDraft;

// A checked copy of the file in the store, not yet an image. VF_ERROR_INPUT: bad name, kind or
// digest, a source that cannot be read, is no regular file, is empty or too large, or has another
// digest. VF_ERROR_DENIED and VF_ERROR_CONFIG as vf_image_verify(), VF_ERROR_INTERNAL when the
// store cannot be written.
VfImageDraft *vf_image_stage(const VfImageSpec *spec, GError **error);
// Forgets it and removes the copy.
void vf_image_draft_free(VfImageDraft *draft);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfImageDraft, vf_image_draft_free)

// Whether there may be such an image: VF_ERROR_STATE when the name is taken, or the accelerator has
// an image for this kind.
gboolean vf_images_check(const VfImages *images, const char *name, const char *accelerator,
                         guint kind, GError **error);

// Makes the draft an image, durably, and frees the draft in any case. The image is borrowed.
const VfImage *vf_images_commit(VfImages *images, VfImageDraft *draft, GError **error);

// The same in the place of the accelerator's image for this kind, if it has one: which is there,
// and can be loaded, until the new one is, also when a daemon is killed in between. VF_ERROR_STATE
// when the name is taken by another. VF_ERROR_INTERNAL with the new one in place when it may not
// last.
const VfImage *vf_images_replace(VfImages *images, VfImageDraft *draft, GError **error);

// Check, stage and commit in one: blocks. `directory` of the spec is ignored.
const VfImage *vf_images_add(VfImages *images, const VfImageSpec *spec, GError **error);

// VF_ERROR_NOT_FOUND. Whether it is in use is for the caller to know.
gboolean vf_images_remove(VfImages *images, const char *name, GError **error);

// All of them by name, borrowed until the next commit or remove; of VfImage.
const GPtrArray *vf_images_list(const VfImages *images);

// Borrowed likewise, NULL when there is none.
const VfImage *vf_images_find(const VfImages *images, guint number);
const VfImage *vf_images_named(const VfImages *images, const char *name);
const VfImage *vf_images_for(const VfImages *images, const char *accelerator, guint kind);
