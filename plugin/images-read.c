// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a start finds in the store's directory: records that are images, records that make no sense,
// which are left alone with their bytes and told of, and what a daemon that was killed left
// behind, which goes: copies that no record names, records beside their places, and an image whose
// place another has taken.

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card.h"
#include "error.h"
#include "images-draft.h"

// A record as it is read; image NULL = it makes no sense.
typedef struct {
    char *name;
    VfImage *image;
    char *replaces; // name of the image whose place it took, NULL = nobody's
} Record;

static void record_free(gpointer data)
{
    Record *record = data;

    g_free(record->name);
    g_free(record->replaces);
    if (record->image != NULL)
        vf_image_free(record->image);
    g_free(record);
}

static int compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *stem(const char *file, const char *suffix)
{
    return g_str_has_suffix(file, suffix) ? g_strndup(file, strlen(file) - strlen(suffix)) : NULL;
}

// Bytes of `name` that are in this directory and not elsewhere.
static gboolean is_file_of(const char *file, const char *name)
{
    return g_str_has_prefix(file, name) && strchr(file, '/') == NULL &&
           g_str_has_suffix(file, VF_IMAGE_BYTES);
}

// It is ours, so it says why in one word only.
static Record *read_record(const char *directory, const char *name, GPtrArray *notes)
{
    g_autofree char *path = vf_image_file(directory, name, VF_IMAGE_RECORD);
    g_autofree char *usual = g_strconcat(name, VF_IMAGE_BYTES, NULL);
    json_error_t where;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    const char *accelerator, *sha256, *file = usual, *replaces = NULL;
    json_int_t kind, size, since;
    Record *record = g_new0(Record, 1);
    int version;

    record->name = g_strdup(name);
    if (json_unpack_ex(root, &where, JSON_STRICT, "{s:i, s:s, s:I, s:s, s:I, s:I, s?s, s?s}",
                       "version", &version, "accelerator", &accelerator, "kind", &kind, "sha256",
                       &sha256, "size", &size, "since", &since, "file", &file, "replaces",
                       &replaces) == 0 &&
        version == VF_IMAGE_VERSION && kind >= 0 && kind < VF_CARD_KINDS_MAX && size > 0 &&
        strlen(sha256) == 64 && is_file_of(file, name)) {
        VfImage *image = record->image = g_new0(VfImage, 1);

        image->name = g_strdup(name);
        image->accelerator = g_strdup(accelerator);
        image->kind = (guint)kind;
        image->path = g_build_filename(directory, file, NULL);
        g_strlcpy(image->sha256, sha256, sizeof(image->sha256));
        image->size = (guint64)size;
        image->since = since;
        record->replaces = g_strdup(replaces);
    } else {
        g_ptr_array_add(notes, g_strdup_printf("%s: not the record of an image, left out" VF_REMEDY
                                               "remove it, and add the image again",
                                               path));
    }
    json_decref(root);
    return record;
}

// A daemon was killed between the record of the new one and the end of the old one's.
static void end_replaced(const char *directory, GPtrArray *records)
{
    for (guint i = 0; i < records->len; i++) {
        const Record *by = g_ptr_array_index(records, i);

        for (guint k = records->len; by->replaces != NULL && k-- > 0;) {
            const Record *old = g_ptr_array_index(records, k);

            if (old == by || old->image == NULL || strcmp(old->name, by->replaces) != 0 ||
                old->image->kind != by->image->kind ||
                strcmp(old->image->accelerator, by->image->accelerator) != 0)
                continue;
            g_autofree char *path = vf_image_file(directory, old->name, VF_IMAGE_RECORD);
            unlink(path);
            g_ptr_array_remove_index(records, k);
            i -= k < i;
            break;
        }
    }
}

static gboolean is_named(const char *directory, const char *file, const GPtrArray *records)
{
    g_autofree char *path = g_build_filename(directory, file, NULL);

    for (guint i = 0; i < records->len; i++) {
        const Record *record = g_ptr_array_index(records, i);

        if (record->image != NULL ? strcmp(record->image->path, path) == 0
                                  : is_file_of(file, record->name))
            return TRUE;
    }
    return FALSE;
}

static void remove_left_over(const char *directory, const GPtrArray *files,
                             const GPtrArray *records)
{
    for (guint i = 0; i < files->len; i++) {
        const char *file = g_ptr_array_index(files, i);
        g_autofree char *path = g_build_filename(directory, file, NULL);

        if (g_str_has_prefix(file, VF_IMAGE_STAGED) ||
            g_str_has_suffix(file, VF_IMAGE_RECORD_FRESH) ||
            (g_str_has_suffix(file, VF_IMAGE_BYTES) && !is_named(directory, file, records)))
            unlink(path);
    }
}

static void add_image(VfImages *images, Record *record, GPtrArray *notes)
{
    const VfImage *image = record->image;

    if (image == NULL)
        return;
    if (vf_images_for(images, image->accelerator, image->kind) == NULL)
        vf_images_insert(images, g_steal_pointer(&record->image));
    else
        g_ptr_array_add(notes,
                        g_strdup_printf("image '%s': left out, accelerator '%s' has another "
                                        "for kind %u" VF_REMEDY "remove %s/%s" VF_IMAGE_RECORD,
                                        image->name, image->accelerator, image->kind,
                                        images->directory, image->name));
}

gboolean vf_images_read(VfImages *images, GPtrArray *notes, GError **error)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func(record_free);
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
        g_autofree char *name = stem(g_ptr_array_index(files, i), VF_IMAGE_RECORD);

        if (name != NULL && vf_image_name_ok(name))
            g_ptr_array_add(records, read_record(images->directory, name, notes));
    }
    end_replaced(images->directory, records);
    remove_left_over(images->directory, files, records);
    for (guint i = 0; i < records->len; i++)
        add_image(images, g_ptr_array_index(records, i), notes);
    return TRUE;
}
