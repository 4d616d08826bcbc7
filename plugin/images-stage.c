// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is slow about images: a file is copied into the store while its digest is made, and read
// back before it goes to a card. Touches no VfImages, so any thread may. The source is hostile: it
// may be a FIFO, grow, shrink or change while it is read; what counts is what was copied.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card.h"
#include "error.h"
#include "images-draft.h"
#include "program.h"
#include "quote.h"

#define CHUNK (256 * 1024)

gboolean vf_image_name_ok(const char *name)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-";

    return g_ascii_isalnum(name[0]) && strlen(name) <= VF_IMAGE_NAME_MAX &&
           strspn(name, allowed) == strlen(name);
}

VfImage *vf_image_copy(const VfImage *image)
{
    VfImage *copy = g_memdup2(image, sizeof(*image));

    copy->name = g_strdup(image->name);
    copy->accelerator = g_strdup(image->accelerator);
    copy->path = g_strdup(image->path);
    return copy;
}

void vf_image_free(VfImage *image)
{
    g_free(image->name);
    g_free(image->accelerator);
    g_free(image->path);
    g_free(image);
}

// Without O_NONBLOCK a FIFO would keep us here.
static int open_file(const char *path, VfErrorCode code, GError **error)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat status;

    if (fd < 0) {
        vf_error_set_errno(error, code, errno, "%s", path);
        return -1;
    }
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        return fd;
    g_set_error(error, VF_ERROR, code, "%s: not a regular file" VF_REMEDY "name the image's file",
                path);
    close(fd);
    return -1;
}

// virtfnd.service hides some directories from the daemon, so a file may be there for its owner
// only.
static int open_source(const char *path, GError **error)
{
    g_autoptr(GError) cause = NULL;
    int fd = open_file(path, VF_ERROR_INPUT, &cause);

    if (fd < 0 && strstr(cause->message, VF_REMEDY) == NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "%s" VF_REMEDY
                    "put the file where virtfnd sees it, such as /srv: neither into a "
                    "home directory nor into /tmp or /var/tmp",
                    cause->message);
    else if (fd < 0)
        g_propagate_error(error, g_steal_pointer(&cause));
    return fd;
}

static gboolean write_all(int fd, const guint8 *bytes, gsize length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return FALSE;
        bytes += written;
        length -= (gsize)written;
    }
    return TRUE;
}

static gboolean check_size(const char *path, guint64 size, GError **error)
{
    if (size <= VF_IMAGE_MAX_BYTES)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "%s: larger than %" G_GUINT64_FORMAT " MiB, which no image may be", path,
                VF_IMAGE_MAX_BYTES / (1024 * 1024));
    return FALSE;
}

// Digest and size of what is read from `from`, which goes to `to` as well unless that is -1.
static gboolean digest(int from, const char *from_path, int to, const char *to_path, VfImage *image,
                       GError **error)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree guint8 *chunk = g_malloc(CHUNK);
    ssize_t got;

    image->size = 0;
    while ((got = read(from, chunk, CHUNK)) > 0) {
        image->size += (guint64)got;
        if (!check_size(from_path, image->size, error))
            return FALSE;
        g_checksum_update(sum, chunk, got);
        if (to >= 0 && !write_all(to, chunk, (gsize)got)) {
            vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", to_path);
            return FALSE;
        }
    }
    if (got < 0) {
        vf_error_set_errno(error, VF_ERROR_INPUT, errno, "%s", from_path);
        return FALSE;
    }
    g_strlcpy(image->sha256, g_checksum_get_string(sum), sizeof(image->sha256));
    return TRUE;
}

// The operator's program, for signatures and whatever else.
static gboolean ask_program(const VfImage *image, const char *program, GError **error)
{
    g_autofree char *kind = g_strdup_printf("%u", image->kind);
    const char *const argv[] = {program, image->path, image->accelerator, kind, NULL};
    const VfProgram run = {
        .argv = argv, .input = "", .timeout_ms = VF_PROGRAM_TIMEOUT_MS, .owner = geteuid()};
    g_autoptr(GError) cause = NULL;
    gboolean not_mine = FALSE;

    if (program == NULL || (vf_program_run(&run, &not_mine, &cause) && !not_mine))
        return TRUE;
    if (cause != NULL && vf_error_code(cause) == VF_ERROR_CONFIG) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return FALSE;
    }
    g_set_error(error, VF_ERROR, VF_ERROR_DENIED, "image '%s': refused by the program verify: %s",
                image->name, cause != NULL ? cause->message : "exit status 2");
    return FALSE;
}

gboolean vf_image_verify(const VfImage *image, const char *program, GError **error)
{
    VfImage found = *image;
    g_autoptr(GError) cause = NULL;
    int fd = open_file(image->path, VF_ERROR_STATE, &cause);
    gboolean ok = fd >= 0 && digest(fd, image->path, -1, NULL, &found, &cause);

    if (fd >= 0)
        close(fd);
    if (!ok) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "image '%s': %s" VF_REMEDY "remove it and add it again", image->name,
                    cause->message);
        return FALSE;
    }
    if (found.size != image->size || !g_str_equal(found.sha256, image->sha256)) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "image '%s': %s is not the file that was added, its SHA-256 is %s instead of "
                    "%s" VF_REMEDY "remove it and add it again",
                    image->name, image->path, found.sha256, image->sha256);
        return FALSE;
    }
    return ask_program(image, program, error);
}

static gboolean is_digest(const char *text)
{
    return strlen(text) == 64 && strspn(text, G_CSET_DIGITS "abcdefABCDEF") == 64;
}

static gboolean check_spec(const VfImageSpec *spec, GError **error)
{
    g_autofree char *name = vf_quote(spec->name, -1);
    g_autofree char *sum = vf_quote(spec->sha256 != NULL ? spec->sha256 : "", -1);

    if (!vf_image_name_ok(spec->name))
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "%s is not a name" VF_REMEDY "use 1 to %d letters, digits, '_', '.' or '-', a "
                    "letter or digit first",
                    name, VF_IMAGE_NAME_MAX);
    else if (spec->kind >= VF_CARD_KINDS_MAX)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "image %s: %u is not a kind of region" VF_REMEDY "kinds are 0 to %d", name,
                    spec->kind, VF_CARD_KINDS_MAX - 1);
    else if (spec->sha256 != NULL && !is_digest(spec->sha256))
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "image %s: %s is not a SHA-256 digest" VF_REMEDY "give 64 hexadecimal digits",
                    name, sum);
    else
        return TRUE;
    return FALSE;
}

static gboolean check_copy(const VfImageSpec *spec, const VfImage *image, GError **error)
{
    if (image->size == 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "%s: empty" VF_REMEDY "name the image's file",
                    spec->source);
        return FALSE;
    }
    if (spec->sha256 == NULL || g_ascii_strcasecmp(spec->sha256, image->sha256) == 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "%s: its SHA-256 is %s instead of %s" VF_REMEDY
                "get the file again, or mend the digest",
                spec->source, image->sha256, spec->sha256);
    return FALSE;
}

static gboolean copy(const VfImageSpec *spec, int source, VfImageDraft *draft, GError **error)
{
    int fd = g_mkstemp_full(draft->image->path, O_WRONLY | O_CLOEXEC, 0600);
    struct stat status;
    gboolean ok;

    if (fd < 0) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", draft->image->path);
        // There is none to remove.
        g_clear_pointer(&draft->image->path, g_free);
        return FALSE;
    }
    // Told before the store is filled with it; a file that grows is told while it is.
    ok = fstat(source, &status) != 0 || check_size(spec->source, (guint64)status.st_size, error);
    ok = ok && digest(source, spec->source, fd, draft->image->path, draft->image, error);
    if (ok && fsync(fd) != 0) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", draft->image->path);
        ok = FALSE;
    }
    close(fd);
    return ok && check_copy(spec, draft->image, error);
}

VfImageDraft *vf_image_stage(const VfImageSpec *spec, GError **error)
{
    g_autoptr(VfImageDraft) draft = NULL;
    gboolean ok;
    int source;

    if (!check_spec(spec, error))
        return NULL;
    source = open_source(spec->source, error);
    if (source < 0)
        return NULL;
    draft = g_new0(VfImageDraft, 1);
    draft->image = g_new0(VfImage, 1);
    draft->image->name = g_strdup(spec->name);
    draft->image->accelerator = g_strdup(spec->accelerator);
    draft->image->kind = spec->kind;
    draft->image->since = g_get_real_time();
    draft->image->path = g_build_filename(spec->directory, VF_IMAGE_STAGED "XXXXXX", NULL);
    ok = copy(spec, source, draft, error) && ask_program(draft->image, spec->verify, error);
    close(source);
    return ok ? g_steal_pointer(&draft) : NULL;
}

void vf_image_draft_free(VfImageDraft *draft)
{
    if (draft->image != NULL) {
        if (draft->image->path != NULL)
            unlink(draft->image->path);
        vf_image_free(draft->image);
    }
    g_free(draft);
}
