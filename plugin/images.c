// SPDX-License-Identifier: GPL-2.0-or-later
//
// The store of images: a directory and a list of it in memory. NAME.json is the image: it is
// written last and removed first, each time beside and renamed, so that whatever a killed daemon
// leaves is an image or a file that the next one removes (images-read.c). One that takes another's
// place does so by that one rename. Bytes are images-stage.c's.

#include "images.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card.h"
#include "error.h"
#include "images-draft.h"

static void image_free(gpointer data)
{
    vf_image_free(data);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp((*(VfImage *const *)a)->name, (*(VfImage *const *)b)->name);
}

char *vf_image_file(const char *directory, const char *name, const char *suffix)
{
    g_autofree char *file = g_strconcat(name, suffix, NULL);

    return g_build_filename(directory, file, NULL);
}

void vf_images_insert(VfImages *images, VfImage *image)
{
    image->number = images->next++;
    g_ptr_array_add(images->list, image);
    g_ptr_array_sort(images->list, compare_names);
}

VfImages *vf_images_open(const char *state_dir, GPtrArray *notes, GError **error)
{
    g_autoptr(VfImages) images = g_new0(VfImages, 1);

    images->directory = g_build_filename(state_dir, "images", NULL);
    images->list = g_ptr_array_new_with_free_func(image_free);
    if (g_mkdir_with_parents(images->directory, 0700) != 0) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", images->directory);
        return NULL;
    }
    return vf_images_read(images, notes, error) ? g_steal_pointer(&images) : NULL;
}

void vf_images_free(VfImages *images)
{
    g_ptr_array_unref(images->list);
    g_free(images->directory);
    g_free(images);
}

const char *vf_images_directory(const VfImages *images)
{
    return images->directory;
}

const GPtrArray *vf_images_list(const VfImages *images)
{
    return images->list;
}

const VfImage *vf_images_find(const VfImages *images, guint number)
{
    for (guint i = 0; i < images->list->len; i++) {
        const VfImage *image = g_ptr_array_index(images->list, i);

        if (image->number == number)
            return image;
    }
    return NULL;
}

const VfImage *vf_images_named(const VfImages *images, const char *name)
{
    for (guint i = 0; i < images->list->len; i++) {
        const VfImage *image = g_ptr_array_index(images->list, i);

        if (g_str_equal(image->name, name))
            return image;
    }
    return NULL;
}

const VfImage *vf_images_for(const VfImages *images, const char *accelerator, guint kind)
{
    for (guint i = 0; i < images->list->len; i++) {
        const VfImage *image = g_ptr_array_index(images->list, i);

        if (image->kind == kind && g_str_equal(image->accelerator, accelerator))
            return image;
    }
    return NULL;
}

gboolean vf_images_check(const VfImages *images, const char *name, const char *accelerator,
                         guint kind, GError **error)
{
    const VfImage *other = vf_images_for(images, accelerator, kind);

    if (vf_images_named(images, name) != NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "image '%s': there is one already" VF_REMEDY
                    "choose another name or remove it first",
                    name);
    else if (other != NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "image '%s': accelerator '%s' has an image for kind %u already, '%s'" VF_REMEDY
                    "remove that first",
                    name, accelerator, kind, other->name);
    else
        return TRUE;
    return FALSE;
}

// Whether everything up to here survives a power failure.
static gboolean sync_file(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    gboolean ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

// What says that the draft is an image, beside its place. Returns FALSE with errno set.
static gboolean write_record(const char *path, const VfImage *image, const char *replaces)
{
    g_autofree char *usual = g_strconcat(image->name, VF_IMAGE_BYTES, NULL);
    g_autofree char *file = g_path_get_basename(image->path);
    json_t *root =
        json_pack("{s:i, s:s, s:I, s:s, s:I, s:I, s:s*, s:s*}", "version", VF_IMAGE_VERSION,
                  "accelerator", image->accelerator, "kind", (json_int_t)image->kind, "sha256",
                  image->sha256, "size", (json_int_t)image->size, "since", (json_int_t)image->since,
                  "file", strcmp(file, usual) != 0 ? file : NULL, "replaces", replaces);
    gboolean ok = json_dump_file(root, path, JSON_INDENT(2)) == 0 && sync_file(path, O_RDONLY);

    json_decref(root);
    return ok;
}

// Bytes that nobody names go; `kept` are still somebody's.
static void undo(const char *fresh, const char *bytes, const char *kept)
{
    int saved_errno = errno;

    unlink(fresh);
    if (bytes != NULL && g_strcmp0(bytes, kept) != 0)
        unlink(bytes);
    errno = saved_errno;
}

// Both renames, in order: bytes first; each may only be lost with what comes after it. Returns
// FALSE with errno set and all as it was, unless *placed.
static gboolean put(const VfImages *images, const VfImage *image, const char *staged,
                    const VfImage *old, gboolean *placed)
{
    g_autofree char *fresh = vf_image_file(images->directory, image->name, VF_IMAGE_RECORD_FRESH);
    g_autofree char *record = vf_image_file(images->directory, image->name, VF_IMAGE_RECORD);
    gboolean renamed = old != NULL && strcmp(old->name, image->name) != 0;

    *placed = FALSE;
    if (!write_record(fresh, image, renamed ? old->name : NULL) ||
        rename(staged, image->path) != 0) {
        undo(fresh, NULL, NULL);
        return FALSE;
    }
    if ((old != NULL && !sync_file(images->directory, O_RDONLY | O_DIRECTORY)) ||
        rename(fresh, record) != 0) {
        undo(fresh, image->path, old != NULL ? old->path : NULL);
        return FALSE;
    }
    if (sync_file(images->directory, O_RDONLY | O_DIRECTORY)) {
        *placed = TRUE;
        return TRUE;
    }
    *placed = old != NULL; // what it replaced cannot be had back
    if (!*placed)
        undo(record, image->path, NULL);
    return FALSE;
}

// Its files, and itself. What cannot be removed is removed at the next start.
static void drop(VfImages *images, const VfImage *old, const VfImage *image)
{
    g_autofree char *record = vf_image_file(images->directory, old->name, VF_IMAGE_RECORD);

    if (strcmp(old->name, image->name) != 0)
        unlink(record);
    if (strcmp(old->path, image->path) != 0)
        unlink(old->path);
    g_ptr_array_remove(images->list, (gpointer)old);
}

static const VfImage *install(VfImages *images, VfImageDraft *draft, const VfImage *old,
                              GError **error)
{
    VfImage *image = draft->image;
    g_autofree char *staged = image->path;
    g_autofree char *stem =
        old != NULL ? g_strdup_printf("%s-%s", image->name, image->sha256) : g_strdup(image->name);
    gboolean placed;

    image->path = vf_image_file(images->directory, stem, VF_IMAGE_BYTES);
    gboolean ok = put(images, image, staged, old, &placed);
    if (!ok)
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s: image '%s'%s", images->directory,
                           image->name, placed ? ", which is in place but may not last" : "");
    if (!placed) {
        g_free(image->path);
        image->path = g_steal_pointer(&staged); // goes with the draft
        return NULL;
    }
    draft->image = NULL;
    // After a failure the old bytes may be what is there after all.
    if (old != NULL && ok)
        drop(images, old, image);
    else if (old != NULL)
        g_ptr_array_remove(images->list, (gpointer)old);
    vf_images_insert(images, image);
    return ok ? image : NULL;
}

const VfImage *vf_images_commit(VfImages *images, VfImageDraft *draft, GError **error)
{
    g_autoptr(VfImageDraft) owned = draft;
    const VfImage *image = owned->image;

    return vf_images_check(images, image->name, image->accelerator, image->kind, error)
               ? install(images, owned, NULL, error)
               : NULL;
}

const VfImage *vf_images_replace(VfImages *images, VfImageDraft *draft, GError **error)
{
    g_autoptr(VfImageDraft) owned = draft;
    const VfImage *image = owned->image;
    const VfImage *old = vf_images_for(images, image->accelerator, image->kind);
    const VfImage *named = vf_images_named(images, image->name);

    if (named == NULL || named == old)
        return install(images, owned, old, error);
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "image '%s': there is one already, for something else" VF_REMEDY
                "choose another name",
                image->name);
    return NULL;
}

const VfImage *vf_images_add(VfImages *images, const VfImageSpec *spec, GError **error)
{
    VfImageSpec here = *spec;
    VfImageDraft *draft;

    here.directory = images->directory;
    draft = vf_images_check(images, spec->name, spec->accelerator, spec->kind, error)
                ? vf_image_stage(&here, error)
                : NULL;
    return draft != NULL ? vf_images_commit(images, draft, error) : NULL;
}

gboolean vf_images_remove(VfImages *images, const char *name, GError **error)
{
    const VfImage *image = vf_images_named(images, name);
    g_autofree char *record = vf_image_file(images->directory, name, VF_IMAGE_RECORD);

    if (image == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "image '%s': there is none" VF_REMEDY "see `virtfn image list`", name);
        return FALSE;
    }
    if ((unlink(record) != 0 && errno != ENOENT) ||
        !sync_file(images->directory, O_RDONLY | O_DIRECTORY)) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", record);
        return FALSE;
    }
    // Without its record it is no image; a copy that stays is removed at the next start.
    unlink(image->path);
    g_ptr_array_remove(images->list, (gpointer)image);
    return TRUE;
}
