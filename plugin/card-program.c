// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cards by an external program (man 5 virtfn.conf, "CARD PROGRAM"): one run for each call, nothing
// kept between runs. Exit status 2 means that the PF is not the program's; that is for the first
// query to say, afterwards it is a failure like any other. What the program says is checked as if
// it came from anywhere.

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "card-driver.h"
#include "error.h"
#include "program.h"
#include "quote.h"

#define QUERY_MAX (1024 * 1024)
#define QUERY_TIMEOUT_MS 10000

typedef struct {
    VfCard base;
    char *path;
    char pf[VF_PCIADDR_BUFSIZE];
} ProgramCard;

// Milliseconds that a deadline leaves, rounded up; 0 when it is over.
static guint time_left(gint64 deadline)
{
    gint64 left = deadline - g_get_monotonic_time();

    return left <= 0 ? 0 : (guint)MIN((left + 999) / 1000, G_MAXINT / 1000);
}

// Runs PROGRAM VERB PF ARGUMENTS…; `arguments` is NULL-terminated. *not_mine may be NULL.
static gboolean run(ProgramCard *card, const char *verb, const char *const *arguments,
                    VfProgram *program, gboolean *not_mine, GError **error)
{
    const char *argv[8] = {card->path, verb, card->pf};
    gboolean ignored = FALSE;

    for (guint i = 0; arguments[i] != NULL; i++)
        argv[3 + i] = arguments[i];
    program->argv = argv;
    // Whose programs may be run as root: root's.
    program->owner = geteuid();
    if (program->timeout_ms == 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: no time left for it", verb);
        return FALSE;
    }
    if (!vf_program_run(program, not_mine != NULL ? not_mine : &ignored, error))
        return FALSE;
    if (!ignored)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s %s: the program says that the card is not its business any more", card->path,
                verb);
    return FALSE;
}

static gboolean bad_answer(ProgramCard *card, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static gboolean bad_answer(ProgramCard *card, GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *cause = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s query: %s" VF_REMEDY "mend the program, see virtfn.conf(5), CARD PROGRAM",
                card->path, cause);
    return FALSE;
}

// A number from 0 to `max`; FALSE for anything else. A member that is missing leaves *value alone
// and is TRUE.
static gboolean get_number(const json_t *object, const char *key, guint max, guint *value)
{
    const json_t *member = json_object_get(object, key);

    if (member == NULL)
        return TRUE;
    if (!json_is_integer(member) || json_integer_value(member) < 0 ||
        json_integer_value(member) > max)
        return FALSE;
    *value = (guint)json_integer_value(member);
    return TRUE;
}

static gboolean get_state(const json_t *object, VfRegionState *state)
{
    const char *word = json_string_value(json_object_get(object, "state"));

    for (guint i = 0; word != NULL && vf_region_state_words[i] != NULL; i++)
        if (g_str_equal(word, vf_region_state_words[i])) {
            *state = i;
            return TRUE;
        }
    return FALSE;
}

static gboolean get_flag(const json_t *object, const char *key, gboolean *value)
{
    const json_t *member = json_object_get(object, key);

    *value = json_is_true(member);
    return member == NULL || json_is_boolean(member);
}

// Returns the name of the member that is wrong, NULL when all is well.
static const char *read_region(const json_t *object, VfCardRegion *region)
{
    *region = (VfCardRegion){.kind = VF_CARD_NONE, .vf = VF_CARD_NONE};
    if (!get_number(object, "kind", VF_CARD_KINDS_MAX - 1, &region->kind) ||
        region->kind == VF_CARD_NONE)
        return "kind";
    if (!get_state(object, &region->state))
        return "state";
    if (!get_number(object, "accelerator", VF_CARD_NONE - 1, &region->accelerator))
        return "accelerator";
    if (!get_number(object, "vf", G_MAXUINT16, &region->vf))
        return "vf";
    return get_flag(object, "running", &region->running) ? NULL : "running";
}

static gboolean read_answer(ProgramCard *card, const json_t *root, GArray *regions,
                            gboolean *can_save, GError **error)
{
    const json_t *list = json_object_get(root, "regions");
    gsize count = json_array_size(list);

    if (!get_flag(root, "save", can_save))
        return bad_answer(card, error, "save is neither true nor false");
    if (!json_is_array(list) || count == 0 || count > VF_CARD_REGIONS_MAX)
        return bad_answer(card, error, "regions is not a list of 1 to %d", VF_CARD_REGIONS_MAX);
    for (guint i = 0; i < count; i++) {
        VfCardRegion region;
        const char *wrong = read_region(json_array_get(list, i), &region);

        if (wrong != NULL)
            return bad_answer(card, error, "region %u: %s is missing or not valid", i, wrong);
        g_array_append_val(regions, region);
    }
    return TRUE;
}

static gboolean ask(ProgramCard *card, GArray *regions, gboolean *can_save, gboolean *not_mine,
                    GError **error)
{
    static const char *const none[] = {NULL};
    g_autoptr(GByteArray) output = g_byte_array_new();
    VfProgram program = {
        .input = "", .timeout_ms = QUERY_TIMEOUT_MS, .output = output, .output_max = QUERY_MAX};
    json_error_t where;

    if (!run(card, "query", none, &program, not_mine, error))
        return FALSE;
    if (not_mine != NULL && *not_mine)
        return TRUE;
    json_t *root =
        json_loadb((const char *)output->data, output->len, JSON_REJECT_DUPLICATES, &where);
    gboolean ok;
    if (root != NULL) {
        ok = read_answer(card, root, regions, can_save, error);
        json_decref(root);
    } else {
        g_autofree char *cause = vf_quote_excerpt(where.text, -1, 80);

        ok = bad_answer(card, error, "not JSON: %s", cause);
    }
    return ok;
}

static void program_close(VfCard *base)
{
    ProgramCard *card = (ProgramCard *)base;

    g_free(card->path);
    g_free(card);
}

static VfCard *program_open(const char *argument, const char *root, const VfPciAddr *pf,
                            GError **error)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    ProgramCard *card = g_new0(ProgramCard, 1);
    gboolean not_mine = FALSE;

    card->path = g_strdup(argument != NULL ? argument : "");
    vf_pciaddr_format(pf, card->pf);
    if (ask(card, regions, &card->base.can_save, &not_mine, error) && !not_mine) {
        card->base.regions = regions->len;
        return &card->base;
    }
    if (not_mine)
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "%s says that this card is not its business" VF_REMEDY
                    "name another card in the pool",
                    card->path);
    program_close(&card->base);
    return NULL;
}

static gboolean program_query(VfCard *base, GArray *regions, GError **error)
{
    return ask((ProgramCard *)base, regions, &base->can_save, NULL, error);
}

// One verb with up to four arguments, nothing to read and nothing to say.
static gboolean tell(VfCard *base, const char *verb, const char *const *arguments, gint64 deadline,
                     GError **error)
{
    VfProgram program = {.input = "", .timeout_ms = time_left(deadline)};

    return run((ProgramCard *)base, verb, arguments, &program, NULL, error);
}

static gboolean program_load(VfCard *base, guint region, const char *path, gint64 deadline,
                             GError **error)
{
    g_autofree char *number = g_strdup_printf("%u", region);
    const char *const arguments[] = {number, path, NULL};

    return tell(base, "load", arguments, deadline, error);
}

static gboolean program_connect(VfCard *base, guint region, guint vf, gboolean keep,
                                gint64 deadline, GError **error)
{
    g_autofree char *number = g_strdup_printf("%u", region);
    g_autofree char *function = g_strdup_printf("%u", vf);
    const char *const arguments[] = {number, function, keep ? "keep" : "clear", NULL};

    return tell(base, "connect", arguments, deadline, error);
}

static gboolean program_disconnect(VfCard *base, guint vf, gint64 deadline, GError **error)
{
    g_autofree char *function = g_strdup_printf("%u", vf);
    const char *const arguments[] = {function, NULL};

    return tell(base, "disconnect", arguments, deadline, error);
}

static gboolean program_save(VfCard *base, guint region, GBytes **context, gint64 deadline,
                             GError **error)
{
    g_autofree char *number = g_strdup_printf("%u", region);
    const char *const arguments[] = {number, NULL};
    g_autoptr(GByteArray) output = g_byte_array_new();
    VfProgram program = {.input = "",
                         .timeout_ms = time_left(deadline),
                         .output = output,
                         .output_max = VF_CARD_CONTEXT_MAX};

    if (!run((ProgramCard *)base, "save", arguments, &program, NULL, error))
        return FALSE;
    *context = g_byte_array_free_to_bytes(g_steal_pointer(&output));
    return TRUE;
}

static gboolean program_restore(VfCard *base, guint region, GBytes *context, gint64 deadline,
                                GError **error)
{
    g_autofree char *number = g_strdup_printf("%u", region);
    const char *const arguments[] = {number, NULL};
    VfProgram program = {.timeout_ms = time_left(deadline)};

    // No bytes would be taken for text.
    program.input =
        g_bytes_get_size(context) == 0 ? "" : g_bytes_get_data(context, &program.input_length);
    return run((ProgramCard *)base, "restore", arguments, &program, NULL, error);
}

const VfCardDriver vf_card_program = {
    .name = "program",
    .open = program_open,
    .close = program_close,
    .query = program_query,
    .load = program_load,
    .connect = program_connect,
    .disconnect = program_disconnect,
    .save = program_save,
    .restore = program_restore,
};
