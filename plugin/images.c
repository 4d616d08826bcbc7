// SPDX-License-Identifier: GPL-2.0-or-later
//
// The store of images: a directory and a list of it in memory. NAME.json is the image: it is
// written last and removed first, each time beside and renamed, so that whatever a killed daemon
// leaves is an image or a file that the next one removes. Bytes are images-stage.c's.

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

#define VERSION 1
#define RECORD ".json"
#define RECORD_FRESH ".json.new"
#define BYTES ".image"

struct VfImages {
    char *directory;
    GPtrArray *list; // of VfImage, by name
    guint next;      // number
};

static void image_free(gpointer data)
{
    vf_image_free(data);
}

static int compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp((*(VfImage *const *)a)->name, (*(VfImage *const *)b)->name);
}

static char *file_of(const char *directory, const char *name, const char *suffix)
{
    g_autofree char *file = g_strconcat(name, suffix, NULL);

    return g_build_filename(directory, file, NULL);
}

static void insert(VfImages *images, VfImage *image)
{
    image->number = images->next++;
    g_ptr_array_add(images->list, image);
    g_ptr_array_sort(images->list, compare_names);
}

// The record's image; NULL when it makes no sense. It is ours, so it says why in one word only.
static VfImage *read_record(const char *directory, const char *name, GError **error)
{
    g_autofree char *path = file_of(directory, name, RECORD);
    json_error_t where;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    const char *accelerator, *sha256;
    json_int_t kind, size, since;
    int version;
    VfImage *image = NULL;

    if (json_unpack_ex(root, &where, JSON_STRICT, "{s:i, s:s, s:I, s:s, s:I, s:I}", "version",
                       &version, "accelerator", &accelerator, "kind", &kind, "sha256", &sha256,
                       "size", &size, "since", &since) == 0 &&
        version == VERSION && kind >= 0 && kind < VF_CARD_KINDS_MAX && size > 0 &&
        strlen(sha256) == 64) {
        image = g_new0(VfImage, 1);
        image->name = g_strdup(name);
        image->accelerator = g_strdup(accelerator);
        image->kind = (guint)kind;
        image->path = file_of(directory, name, BYTES);
        g_strlcpy(image->sha256, sha256, sizeof(image->sha256));
        image->size = (guint64)size;
        image->since = since;
    } else {
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: not the record of an image, left out" VF_REMEDY
                    "remove it, and add the image again",
                    path);
    }
    json_decref(root);
    return image;
}

static char *stem(const char *file, const char *suffix)
{
    return g_str_has_suffix(file, suffix) ? g_strndup(file, strlen(file) - strlen(suffix)) : NULL;
}

static void add_record(VfImages *images, const char *name, GPtrArray *notes)
{
    g_autoptr(GError) error = NULL;
    VfImage *image = read_record(images->directory, name, &error);

    if (image == NULL) {
        g_ptr_array_add(notes, g_strdup(error->message));
        return;
    }
    if (vf_images_for(images, image->accelerator, image->kind) == NULL) {
        insert(images, image);
        return;
    }
    g_ptr_array_add(notes, g_strdup_printf("image '%s': left out, accelerator '%s' has another for "
                                           "kind %u" VF_REMEDY "remove %s/%s" RECORD,
                                           name, image->accelerator, image->kind, images->directory,
                                           name));
    vf_image_free(image);
}

// Copies without a record, and what was not finished.
static gboolean is_left_over(const char *directory, const char *file)
{
    g_autofree char *name = stem(file, BYTES);

    if (name != NULL) {
        g_autofree char *record = file_of(directory, name, RECORD);

        return g_access(record, F_OK) != 0 && errno == ENOENT;
    }
    return g_str_has_prefix(file, VF_IMAGE_STAGED) || g_str_has_suffix(file, RECORD_FRESH);
}

static gboolean read_directory(VfImages *images, GPtrArray *notes, GError **error)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) cause = NULL;
    g_autoptr(GDir) dir = g_dir_open(images->directory, 0, &cause);
    const char *file;

    if (dir == NULL) {
        g_set_error_literal(error, VF_ERROR, VF_ERROR_INTERNAL, cause->message);
        return FALSE;
    }
    while ((file = g_dir_read_name(dir)) != NULL)
        g_ptr_array_add(files, g_strdup(file));
    // Numbers, and which of two is left out, do not depend on the directory's order.
    g_ptr_array_sort(files, compare_texts);
    for (guint i = 0; i < files->len; i++) {
        const char *found = g_ptr_array_index(files, i);
        g_autofree char *path = g_build_filename(images->directory, found, NULL);
        g_autofree char *name = stem(found, RECORD);

        if (is_left_over(images->directory, found))
            unlink(path);
        else if (name != NULL && vf_image_name_ok(name))
            add_record(images, name, notes);
    }
    return TRUE;
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
    return read_directory(images, notes, error) ? g_steal_pointer(&images) : NULL;
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

// Both renames, in order: bytes first. Returns FALSE with errno set.
static gboolean put(const VfImages *images, const VfImage *image, const char *staged)
{
    g_autofree char *fresh = file_of(images->directory, image->name, RECORD_FRESH);
    g_autofree char *record = file_of(images->directory, image->name, RECORD);
    json_t *root =
        json_pack("{s:i, s:s, s:I, s:s, s:I, s:I}", "version", VERSION, "accelerator",
                  image->accelerator, "kind", (json_int_t)image->kind, "sha256", image->sha256,
                  "size", (json_int_t)image->size, "since", (json_int_t)image->since);
    gboolean ok = json_dump_file(root, fresh, JSON_INDENT(2)) == 0;

    json_decref(root);
    return ok && sync_file(fresh, O_RDONLY) && rename(staged, image->path) == 0 &&
           rename(fresh, record) == 0 && sync_file(images->directory, O_RDONLY | O_DIRECTORY);
}

const VfImage *vf_images_commit(VfImages *images, VfImageDraft *draft, GError **error)
{
    g_autoptr(VfImageDraft) owned = draft;
    VfImage *image = owned->image;

    if (!vf_images_check(images, image->name, image->accelerator, image->kind, error))
        return NULL;
    g_autofree char *staged = image->path;
    image->path = file_of(images->directory, image->name, BYTES);
    if (!put(images, image, staged)) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s: image '%s'", images->directory,
                           image->name);
        // The bytes go with the draft.
        g_autofree char *record = file_of(images->directory, image->name, RECORD);
        unlink(record);
        unlink(staged);
        return NULL;
    }
    owned->image = NULL;
    insert(images, image);
    return image;
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
    g_autofree char *record = file_of(images->directory, name, RECORD);

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
