// SPDX-License-Identifier: GPL-2.0-or-later
//
// The store of images: what can be added and what is refused, that an image is what it was when it
// is read back, and what is left when the store is opened after an add or a remove that was cut off
// at any point.

#include "images.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/scratch.h"
#include "error.h"

#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

typedef struct {
    char *directory; // STATE_DIR
    char *source;    // a file with "abc"
    GPtrArray *notes;
    VfImages *images;
} Fixture;

static void write_source(const Fixture *fixture, const char *text)
{
    g_assert_true(g_file_set_contents(fixture->source, text, -1, NULL));
}

static void open_store(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&fixture->images, vf_images_free);
    g_ptr_array_set_size(fixture->notes, 0);
    fixture->images = vf_images_open(fixture->directory, fixture->notes, &error);
    g_assert_no_error(error);
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->directory = g_dir_make_tmp("virtfn-images-XXXXXX", NULL);
    g_assert_nonnull(fixture->directory);
    fixture->source = g_build_filename(fixture->directory, "source", NULL);
    fixture->notes = g_ptr_array_new_with_free_func(g_free);
    write_source(fixture, "abc");
    open_store(fixture);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vf_images_free(fixture->images);
    scratch_remove(fixture->directory);
    g_ptr_array_unref(fixture->notes);
    g_free(fixture->source);
    g_free(fixture->directory);
}

static VfImageSpec spec_of(const Fixture *fixture, const char *name, const char *accelerator,
                           guint kind)
{
    return (VfImageSpec){
        .name = name, .accelerator = accelerator, .kind = kind, .source = fixture->source};
}

static const VfImage *add(Fixture *fixture, const char *name, const char *accelerator, guint kind)
{
    g_autoptr(GError) error = NULL;
    VfImageSpec spec = spec_of(fixture, name, accelerator, kind);
    const VfImage *image = vf_images_add(fixture->images, &spec, &error);

    g_assert_no_error(error);
    return image;
}

// Files in the store, sorted, in one line.
static char *store_files(const Fixture *fixture)
{
    g_autofree char *command = g_strdup_printf("ls -A '%s/images'", fixture->directory);
    g_autofree char *output = NULL;

    g_assert_true(g_spawn_command_line_sync(command, &output, NULL, NULL, NULL));
    return g_strdelimit(g_strchomp(g_steal_pointer(&output)), "\n", ' ');
}

static void assert_files(const Fixture *fixture, const char *expected)
{
    g_autofree char *files = store_files(fixture);

    g_assert_cmpstr(files, ==, expected);
}

// That an add is refused, and that nothing of it stays.
static void refuse(Fixture *fixture, const VfImageSpec *spec, int code, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *before = store_files(fixture);
    guint images = vf_images_list(fixture->images)->len;

    g_assert_null(vf_images_add(fixture->images, spec, &error));
    scratch_assert_error(fixture->directory, error, code, message);
    assert_files(fixture, before);
    g_assert_cmpuint(vf_images_list(fixture->images)->len, ==, images);
}

static void test_add(Fixture *fixture, gconstpointer data)
{
    const VfImage *image = add(fixture, "sha-0", "sha256", 3);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    struct stat status;

    g_assert_cmpstr(image->name, ==, "sha-0");
    g_assert_cmpstr(image->accelerator, ==, "sha256");
    g_assert_cmpuint(image->kind, ==, 3);
    g_assert_cmpstr(image->sha256, ==, ABC_SHA256);
    g_assert_cmpuint(image->size, ==, 3);
    g_assert_true(g_file_get_contents(image->path, &text, NULL, &error));
    g_assert_cmpstr(text, ==, "abc");
    g_assert_cmpint(stat(image->path, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0600);
    g_assert_true(vf_image_verify(image, NULL, &error));
    g_assert_no_error(error);
    // Later changes of the source are nobody's business.
    write_source(fixture, "xyz");
    g_assert_true(vf_image_verify(image, NULL, &error));
}

static void test_find(Fixture *fixture, gconstpointer data)
{
    const VfImage *b = add(fixture, "b", "aes", 0);
    const VfImage *a = add(fixture, "a", "sha256", 0);
    const VfImage *c = add(fixture, "c", "sha256", 1);
    const GPtrArray *list = vf_images_list(fixture->images);

    g_assert_cmpuint(list->len, ==, 3);
    g_assert_true(g_ptr_array_index(list, 0) == a);
    g_assert_true(g_ptr_array_index(list, 1) == b);
    g_assert_true(vf_images_find(fixture->images, c->number) == c);
    g_assert_null(vf_images_find(fixture->images, 99));
    g_assert_true(vf_images_for(fixture->images, "sha256", 1) == c);
    g_assert_null(vf_images_for(fixture->images, "aes", 1));
    g_assert_true(vf_images_named(fixture->images, "b") == b);
}

static void test_reopen(Fixture *fixture, gconstpointer data)
{
    gint64 since = add(fixture, "b", "aes", 31)->since;
    const VfImage *image;
    g_autoptr(GError) error = NULL;

    open_store(fixture);
    g_assert_cmpuint(fixture->notes->len, ==, 0);
    image = vf_images_named(fixture->images, "b");
    g_assert_nonnull(image);
    g_assert_cmpstr(image->accelerator, ==, "aes");
    g_assert_cmpuint(image->kind, ==, 31);
    g_assert_cmpint(image->since, ==, since);
    g_assert_true(vf_image_verify(image, NULL, &error));
}

static void test_remove(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    add(fixture, "a", "aes", 0);
    g_assert_true(vf_images_remove(fixture->images, "a", &error));
    assert_files(fixture, "");
    g_assert_false(vf_images_remove(fixture->images, "a", &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_NOT_FOUND,
                         "image 'a': there is none -- see `virtfn image list`");
    add(fixture, "a", "aes", 0);
}

static void test_taken(Fixture *fixture, gconstpointer data)
{
    VfImageSpec spec = spec_of(fixture, "a", "sha256", 0);

    add(fixture, "a", "aes", 0);
    refuse(fixture, &spec, VF_ERROR_STATE,
           "image 'a': there is one already -- choose another name or remove it first");
    spec = spec_of(fixture, "b", "aes", 0);
    refuse(
        fixture, &spec, VF_ERROR_STATE,
        "image 'b': accelerator 'aes' has an image for kind 0 already, 'a' -- remove that first");
}

static void test_bad_spec(Fixture *fixture, gconstpointer data)
{
    VfImageSpec spec = spec_of(fixture, "../a", "aes", 0);

    refuse(
        fixture, &spec, VF_ERROR_INPUT,
        "'../a' is not a name -- use 1 to 32 letters, digits, '_', '.' or '-', a letter or digit "
        "first");
    spec.name = "";
    refuse(fixture, &spec, VF_ERROR_INPUT,
           "'' is not a name -- use 1 to 32 letters, digits, '_', '.' or '-', a letter or digit "
           "first");
    spec = spec_of(fixture, "a", "aes", 32);
    refuse(fixture, &spec, VF_ERROR_INPUT,
           "image 'a': 32 is not a kind of region -- kinds are 0 to 31");
    spec = spec_of(fixture, "a", "aes", 0);
    spec.sha256 = "123";
    refuse(fixture, &spec, VF_ERROR_INPUT,
           "image 'a': '123' is not a SHA-256 digest -- give 64 hexadecimal digits");
}

static void test_digest(Fixture *fixture, gconstpointer data)
{
    g_autofree char *upper = g_ascii_strup(ABC_SHA256, -1);
    VfImageSpec spec = spec_of(fixture, "a", "aes", 0);

    spec.sha256 = "aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    refuse(
        fixture, &spec, VF_ERROR_INPUT,
        "source: its SHA-256 is " ABC_SHA256 " instead of "
        "aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad -- get the file again, "
        "or mend the digest");
    spec.sha256 = upper;
    g_assert_nonnull(vf_images_add(fixture->images, &spec, NULL));
}

static void test_bad_source(Fixture *fixture, gconstpointer data)
{
    g_autofree char *fifo = g_build_filename(fixture->directory, "fifo", NULL);
    VfImageSpec spec = spec_of(fixture, "a", "aes", 0);
    int fd;

    write_source(fixture, "");
    refuse(fixture, &spec, VF_ERROR_INPUT, "source: empty -- name the image's file");
    g_assert_cmpint(g_unlink(fixture->source), ==, 0);
    refuse(fixture, &spec, VF_ERROR_INPUT,
           "source: No such file or directory -- put the file where virtfnd sees it, such as /srv: "
           "neither into a home directory nor into /tmp or /var/tmp");
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    spec.source = fifo;
    refuse(fixture, &spec, VF_ERROR_INPUT, "fifo: not a regular file -- name the image's file");
    // A file with a hole costs no space here, but would in the store.
    fd = open(fixture->source, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(ftruncate(fd, (off_t)VF_IMAGE_MAX_BYTES + 1), ==, 0);
    close(fd);
    spec.source = fixture->source;
    refuse(fixture, &spec, VF_ERROR_INPUT, "source: larger than 512 MiB, which no image may be");
}

// What is read right before a load is what was added, or it is not loaded.
static void test_verify(Fixture *fixture, gconstpointer data)
{
    g_autoptr(VfImage) image = vf_image_copy(add(fixture, "a", "aes", 0));
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(image->path, "abd", -1, NULL));
    g_assert_false(vf_image_verify(image, NULL, &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_STATE,
                         "image 'a': images/a.image is not the file that was added, its SHA-256 is "
                         "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9 instead "
                         "of " ABC_SHA256 " -- remove it and add it again");
    g_clear_error(&error);
    g_assert_cmpint(g_unlink(image->path), ==, 0);
    g_assert_false(vf_image_verify(image, NULL, &error));
    scratch_assert_error(
        fixture->directory, error, VF_ERROR_STATE,
        "image 'a': images/a.image: No such file or directory -- remove it and add it "
        "again");
}

static char *write_program(const Fixture *fixture, const char *body)
{
    char *path = g_build_filename(fixture->directory, "verify", NULL);
    g_autofree char *text = g_strconcat("#!/bin/sh\n", body, "\n", NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(g_chmod(path, 0700), ==, 0);
    return path;
}

static void test_program(Fixture *fixture, gconstpointer data)
{
    g_autofree char *out = g_build_filename(fixture->directory, "out", NULL);
    g_autofree char *body = g_strdup_printf("echo $2 $3 $(cat $1) >'%s'", out);
    g_autofree char *program = write_program(fixture, body);
    g_autofree char *text = NULL;
    VfImageSpec spec = spec_of(fixture, "a", "aes", 7);
    g_autoptr(GError) error = NULL;

    spec.verify = program;
    g_assert_nonnull(vf_images_add(fixture->images, &spec, &error));
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(out, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "aes 7 abc\n");
}

static void test_program_refuses(Fixture *fixture, gconstpointer data)
{
    g_autofree char *program = write_program(fixture, "echo no signature >&2; exit 3");
    g_autoptr(VfImage) image = vf_image_copy(add(fixture, "a", "aes", 0));
    VfImageSpec spec = spec_of(fixture, "b", "sha256", 7);
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_image_verify(image, program, &error));
    scratch_assert_error(
        fixture->directory, error, VF_ERROR_DENIED,
        "image 'a': refused by the program verify: verify images/a.image aes 0: exit "
        "status 3: no signature");
    g_free(write_program(fixture, "exit 2"));
    spec.verify = program;
    refuse(fixture, &spec, VF_ERROR_DENIED,
           "image 'b': refused by the program verify: exit status 2");
    g_assert_cmpint(g_chmod(program, 0722), ==, 0);
    refuse(fixture, &spec, VF_ERROR_CONFIG,
           "verify: is writable for others -- programs must be executable, and they and the "
           "directories above them must belong to root and be writable for root only");
}

static void put_file(const Fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->directory, "images", name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

// Whatever a daemon that was killed at any point of an add or a remove left behind is gone, and
// what was whole is there.
static void test_cut_off(Fixture *fixture, gconstpointer data)
{
    add(fixture, "whole", "aes", 0);
    put_file(fixture, ".staged-123456", "ab");
    put_file(fixture, "renamed.image", "abc");
    put_file(fixture, "fresh.image", "abc");
    put_file(fixture, "fresh.json.new", "{");
    open_store(fixture);
    g_assert_cmpuint(fixture->notes->len, ==, 0);
    assert_files(fixture, "whole.image whole.json");
    g_assert_cmpuint(vf_images_list(fixture->images)->len, ==, 1);
}

static void test_bad_records(Fixture *fixture, gconstpointer data)
{
    static const char *const records[] = {
        "",
        "[]",
        "{\"version\":1}",
        "{\"version\":2,\"accelerator\":\"a\",\"kind\":0,\"sha256\":\"" ABC_SHA256
        "\",\"size\":3,\"since\":1}",
        "{\"version\":1,\"accelerator\":\"a\",\"kind\":32,\"sha256\":\"" ABC_SHA256
        "\",\"size\":3,\"since\":1}",
        "{\"version\":1,\"accelerator\":\"a\",\"kind\":0,\"sha256\":\"12\",\"size\":3,\"since\":1}",
    };

    for (guint i = 0; i < G_N_ELEMENTS(records); i++) {
        put_file(fixture, "x.image", "abc");
        put_file(fixture, "x.json", records[i]);
        open_store(fixture);
        g_assert_cmpuint(vf_images_list(fixture->images)->len, ==, 0);
        g_assert_cmpuint(fixture->notes->len, ==, 1);
        g_assert_nonnull(strstr(g_ptr_array_index(fixture->notes, 0), "/x.json: not the record"));
        // For whoever wants to look.
        assert_files(fixture, "x.image x.json");
    }
}

// Two records for the same place, by hand: the first by name counts.
static void test_two_records(Fixture *fixture, gconstpointer data)
{
    static const char record[] =
        "{\"version\":1,\"accelerator\":\"a\",\"kind\":0,\"sha256\":\"" ABC_SHA256
        "\",\"size\":3,\"since\":1}";

    put_file(fixture, "x.json", record);
    put_file(fixture, "b.json", record);
    open_store(fixture);
    g_assert_cmpuint(vf_images_list(fixture->images)->len, ==, 1);
    g_assert_nonnull(vf_images_named(fixture->images, "b"));
    g_assert_cmpuint(fixture->notes->len, ==, 1);
    g_assert_true(g_str_has_prefix(g_ptr_array_index(fixture->notes, 0),
                                   "image 'x': left out, accelerator 'a' has another for kind 0"));
}

// Two that were staged at the same time: the second to come is refused.
static void test_two_drafts(Fixture *fixture, gconstpointer data)
{
    VfImageSpec spec = spec_of(fixture, "a", "aes", 0);
    g_autoptr(GError) error = NULL;
    VfImageDraft *first, *second;

    spec.directory = vf_images_directory(fixture->images);
    first = vf_image_stage(&spec, &error);
    second = vf_image_stage(&spec, &error);
    g_assert_no_error(error);
    g_assert_nonnull(vf_images_commit(fixture->images, second, &error));
    g_assert_null(vf_images_commit(fixture->images, first, &error));
    scratch_assert_error(
        fixture->directory, error, VF_ERROR_STATE,
        "image 'a': there is one already -- choose another name or remove it first");
    assert_files(fixture, "a.image a.json");
}

// ---- one that takes another's place

static VfImageDraft *stage(const Fixture *fixture, const char *name, const char *text)
{
    VfImageSpec spec = spec_of(fixture, name, "aes", 0);
    g_autoptr(GError) error = NULL;
    VfImageDraft *draft;

    write_source(fixture, text);
    spec.directory = vf_images_directory(fixture->images);
    draft = vf_image_stage(&spec, &error);
    g_assert_no_error(error);
    return draft;
}

static void replace(const Fixture *fixture, const char *name, const char *text)
{
    g_autoptr(GError) error = NULL;
    const VfImage *image = vf_images_replace(fixture->images, stage(fixture, name, text), &error);

    g_assert_no_error(error);
    g_assert_cmpstr(image->name, ==, name);
}

// There is one for the place, it is called so, has these bytes, and could be loaded.
static void assert_place(const Fixture *fixture, const char *name, const char *text)
{
    const VfImage *image = vf_images_for(fixture->images, "aes", 0);
    g_autoptr(GError) error = NULL;
    g_autofree char *bytes = NULL;

    g_assert_nonnull(image);
    g_assert_cmpstr(image->name, ==, name);
    g_assert_true(vf_image_verify(image, NULL, &error));
    g_assert_true(g_file_get_contents(image->path, &bytes, NULL, NULL));
    g_assert_cmpstr(bytes, ==, text);
    g_assert_cmpuint(vf_images_list(fixture->images)->len, ==, 1);
    g_assert_cmpuint(fixture->notes->len, ==, 0);
}

#define FILE_OF_NEW(name, text_sha256) name "-" text_sha256 ".image " name ".json"
#define DEF_SHA256 "cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34"

static void test_replace(Fixture *fixture, gconstpointer data)
{
    replace(fixture, "a", "abc"); // nobody
    assert_files(fixture, "a.image a.json");
    replace(fixture, "a", "def");
    assert_files(fixture, FILE_OF_NEW("a", DEF_SHA256));
    open_store(fixture);
    assert_place(fixture, "a", "def");
    replace(fixture, "a", "def"); // itself
    replace(fixture, "b", "abc");
    assert_files(fixture, FILE_OF_NEW("b", ABC_SHA256));
    open_store(fixture);
    assert_place(fixture, "b", "abc");
    g_assert_true(vf_images_remove(fixture->images, "b", NULL));
    assert_files(fixture, "");
}

static void test_replace_taken(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    add(fixture, "other", "sha256", 0);
    add(fixture, "a", "aes", 0);
    g_assert_null(vf_images_replace(fixture->images, stage(fixture, "other", "def"), &error));
    scratch_assert_error(fixture->directory, error, VF_ERROR_STATE,
                         "image 'other': there is one already, for something else -- choose "
                         "another name");
    assert_files(fixture, "a.image a.json other.image other.json");
}

// The record cannot be written, the bytes cannot be moved, the record cannot be moved: each as on a
// disk that is full or fails.
static void test_replace_fails(Fixture *fixture, gconstpointer data)
{
    static const char *const in_the_way[] = {"a.json.new", "a-" DEF_SHA256 ".image", "b.json"};

    add(fixture, "a", "aes", 0);
    for (guint i = 0; i < G_N_ELEMENTS(in_the_way); i++) {
        g_autofree char *path =
            g_build_filename(fixture->directory, "images", in_the_way[i], "full", NULL);
        VfImageDraft *draft = stage(fixture, i < 2 ? "a" : "b", "def");
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
        g_assert_null(vf_images_replace(fixture->images, draft, &error));
        g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
        assert_place(fixture, "a", "abc");
        g_assert_cmpint(g_rmdir(path), ==, 0);
        *strrchr(path, '/') = '\0';
        g_assert_cmpint(g_rmdir(path), ==, 0);
        assert_files(fixture, "a.image a.json");
        open_store(fixture);
        assert_place(fixture, "a", "abc");
    }
}

static void copy_file(const Fixture *fixture, const char *from, const char *to)
{
    g_autofree char *path = g_build_filename(fixture->directory, "images", from, NULL);
    g_autofree char *bytes = NULL;

    g_assert_true(g_file_get_contents(path, &bytes, NULL, NULL));
    put_file(fixture, to, bytes);
}

// What a daemon leaves that is killed before and after the rename that makes the exchange.
static void test_replace_cut_off(Fixture *fixture, gconstpointer data)
{
    add(fixture, "a", "aes", 0);
    put_file(fixture, "b-" DEF_SHA256 ".image", "def");
    put_file(fixture, "b.json.new", "{");
    open_store(fixture);
    assert_place(fixture, "a", "abc");
    assert_files(fixture, "a.image a.json");

    copy_file(fixture, "a.image", "kept");
    copy_file(fixture, "a.json", "kept-record");
    replace(fixture, "b", "def");
    copy_file(fixture, "kept", "a.image");
    copy_file(fixture, "kept-record", "a.json");
    open_store(fixture);
    assert_place(fixture, "b", "def");
    assert_files(fixture, FILE_OF_NEW("b", DEF_SHA256) " kept kept-record");

    replace(fixture, "b", "abc");
    put_file(fixture, "b-" DEF_SHA256 ".image", "def");
    open_store(fixture);
    assert_place(fixture, "b", "abc");
    assert_files(fixture, FILE_OF_NEW("b", ABC_SHA256) " kept kept-record");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *fixture, gconstpointer data);
    } tests[] = {
        {"/images/add", test_add},
        {"/images/find", test_find},
        {"/images/reopen", test_reopen},
        {"/images/remove", test_remove},
        {"/images/taken", test_taken},
        {"/images/bad-spec", test_bad_spec},
        {"/images/digest", test_digest},
        {"/images/bad-source", test_bad_source},
        {"/images/verify", test_verify},
        {"/images/program", test_program},
        {"/images/program-refuses", test_program_refuses},
        {"/images/cut-off", test_cut_off},
        {"/images/bad-records", test_bad_records},
        {"/images/two-records", test_two_records},
        {"/images/two-drafts", test_two_drafts},
        {"/images/replace", test_replace},
        {"/images/replace-taken", test_replace_taken},
        {"/images/replace-fails", test_replace_fails},
        {"/images/replace-cut-off", test_replace_cut_off},
    };

    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].test, tear_down);
    return g_test_run();
}
