// SPDX-License-Identifier: GPL-2.0-or-later
//
// The keys of [pool NAME]: one small reader per key in a table, and the rules between them. A range
// in `pf` fixes the number of functions, so it excludes growth and any other count. Overlap with
// other pools and the profile are config.c's, which sees all files.

#include "config-pool.h"

#include <string.h>

#include "config-refuse.h"
#include "error.h"
#include "selector.h"

// NumVFs is a 16-bit register (PCIe section 9.3.3.7).
#define COUNT_MAX 65535

static gboolean set_pf(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    g_auto(GStrv) items = g_strsplit_set(entry->value, ";,", -1);
    GArray *selectors = draft->pool->selectors;

    draft->pf_line = entry->line;
    for (guint i = 0; items[i] != NULL; i++) {
        g_autoptr(GError) cause = NULL;
        VfSelector selector;

        // "a; b;" is how GKeyFile itself writes a list.
        if (*g_strstrip(items[i]) == '\0' && items[i + 1] == NULL && i > 0)
            break;
        if (!vf_selector_parse(items[i], &selector, &cause)) {
            vf_config_error(error, draft->pool->file, entry->line, "pf: %s", cause->message);
            return FALSE;
        }
        g_array_append_val(selectors, selector);
    }
    return selectors->len > 0 ||
           vf_config_bad_value(error, draft->pool->file, entry,
                               "name at least one PF by address, vendor:device or interface");
}

// 1 to 65535. A pool of nothing is a typing error; to have no pool is to have no group.
static gboolean read_count(VfPoolDraft *draft, const VfConfigEntry *entry, int *value,
                           GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(entry->value, 10, 1, COUNT_MAX, &number, NULL))
        return vf_config_bad_value(error, draft->pool->file, entry,
                                   "give a number of functions from 1 to 65535");
    *value = (int)number;
    return TRUE;
}

static gboolean set_count(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    draft->count_line = entry->line;
    return read_count(draft, entry, &draft->pool->count, error);
}

static gboolean set_max(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    draft->max_line = entry->line;
    return read_count(draft, entry, &draft->pool->max, error);
}

// One of two words; FALSE for any other.
static gboolean read_word(const VfConfigEntry *entry, const char *no, const char *yes,
                          gboolean *value)
{
    *value = g_str_equal(entry->value, yes);
    return *value || g_str_equal(entry->value, no);
}

static gboolean set_growth(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    gboolean grow;

    draft->growth_line = entry->line;
    if (!read_word(entry, "static", "grow", &grow))
        return vf_config_bad_value(error, draft->pool->file, entry, "give static or grow");
    draft->pool->growth = grow ? VF_GROWTH_GROW : VF_GROWTH_STATIC;
    return TRUE;
}

const char *const vf_signal_words[] = {"auto", "none", "nonfatal", "fatal", NULL};

static gboolean set_signal(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    for (guint i = 0; vf_signal_words[i] != NULL; i++)
        if (g_str_equal(entry->value, vf_signal_words[i])) {
            draft->pool->signal = i;
            return TRUE;
        }
    return vf_config_bad_value(error, draft->pool->file, entry,
                               "give auto, none, nonfatal or fatal");
}

static gboolean set_profile(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    // Whether it is defined is known when all files are read.
    draft->profile_line = entry->line;
    draft->profile = g_strdup(entry->value);
    return TRUE;
}

static gboolean set_default_route(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    return read_word(entry, "false", "true", &draft->pool->allow_default_route) ||
           vf_config_bad_value(error, draft->pool->file, entry, "give true or false");
}

static gboolean set_link(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    return read_word(entry, "up", "keep", &draft->pool->keep_link) ||
           vf_config_bad_value(error, draft->pool->file, entry, "give up or keep");
}

static gboolean set_bitstream_program(VfPoolDraft *draft, const VfConfigEntry *entry,
                                      GError **error)
{
    if (!vf_config_is_program(entry->value))
        return vf_config_bad_value(error, draft->pool->file, entry,
                                   "give the absolute path of a program");
    draft->pool->bitstream_program = g_strdup(entry->value);
    return TRUE;
}

static gboolean set_card(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    static const char *const drivers[] = {"virtfn-card", "dfl", NULL};
    static const char program[] = "program:";

    if (!g_strv_contains(drivers, entry->value) &&
        (!g_str_has_prefix(entry->value, program) ||
         !vf_config_is_program(entry->value + strlen(program))))
        return vf_config_bad_value(error, draft->pool->file, entry,
                                   "give virtfn-card, dfl or program:/PATH");
    draft->pool->card = g_strdup(entry->value);
    return TRUE;
}

// A new key of a pool is a line here, a member of VfPoolConfig and a paragraph in virtfn.conf(5).
static const struct {
    const char *key;
    gboolean (*set)(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error);
} keys[] = {
    {"pf", set_pf},           {"count", set_count},
    {"max", set_max},         {"growth", set_growth},
    {"profile", set_profile}, {"allow-default-route", set_default_route},
    {"link", set_link},       {"bitstream-program", set_bitstream_program},
    {"signal", set_signal},   {"card", set_card},
};

gboolean vf_pool_draft_set(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++)
        if (g_str_equal(keys[i].key, entry->key))
            return keys[i].set(draft, entry, error);
    return vf_config_unknown_key(error, draft->pool->file, entry, "a pool",
                                 "pf, count, max, growth, profile, allow-default-route, link, "
                                 "bitstream-program, signal, card");
}

// Every PF of the pool must have a number of functions, from one source only: two that agree today
// would be two places to edit tomorrow.
static gboolean check_ranges(const VfPoolDraft *draft, GError **error)
{
    const VfPoolConfig *pool = draft->pool;

    for (guint i = 0; i < pool->selectors->len; i++) {
        const VfSelector *selector = &g_array_index(pool->selectors, VfSelector, i);
        guint length = vf_selector_length(selector);
        g_autofree char *text = vf_selector_format(selector);

        if (length == 0 && pool->count == VF_UNSET) {
            vf_config_error(error, pool->file, draft->pf_line,
                            "pool '%s' has neither a count nor a range for %s" VF_REMEDY
                            "add count=N or write %s#0-N",
                            pool->name, text, text);
            return FALSE;
        }
        if (length != 0 && pool->count != VF_UNSET && (guint)pool->count != length) {
            vf_config_error(error, pool->file, draft->count_line,
                            "count: %d, but %s is a range of %u" VF_REMEDY
                            "leave count out, the range says it",
                            pool->count, text, length);
            return FALSE;
        }
        if (length != 0 && pool->growth == VF_GROWTH_GROW) {
            vf_config_error(error, pool->file, draft->growth_line,
                            "growth: a pool with the range %s cannot grow" VF_REMEDY
                            "leave out the range or use growth=static",
                            text);
            return FALSE;
        }
    }
    return TRUE;
}

// `max` is what makes growth safe to allow, so it has no default.
static gboolean check_growth(const VfPoolDraft *draft, GError **error)
{
    const VfPoolConfig *pool = draft->pool;

    if (pool->growth == VF_GROWTH_GROW && draft->max_line == 0) {
        vf_config_error(error, pool->file, draft->growth_line,
                        "growth: pool '%s' may grow but has no max" VF_REMEDY "add max=N",
                        pool->name);
        return FALSE;
    }
    if (pool->growth == VF_GROWTH_STATIC && draft->max_line != 0) {
        vf_config_error(error, pool->file, draft->max_line,
                        "max: only a pool that grows has one" VF_REMEDY
                        "add growth=grow or remove max");
        return FALSE;
    }
    if (draft->max_line != 0 && pool->max < pool->count) {
        vf_config_error(error, pool->file, draft->max_line,
                        "max: %d is below count %d" VF_REMEDY "raise max or lower count", pool->max,
                        pool->count);
        return FALSE;
    }
    return TRUE;
}

gboolean vf_pool_draft_finish(VfPoolDraft *draft, GError **error)
{
    VfPoolConfig *pool = draft->pool;

    if (pool->selectors->len == 0) {
        vf_config_error(error, pool->file, pool->line,
                        "pool '%s' has no pf" VF_REMEDY
                        "add pf=ADDRESS, VENDOR:DEVICE or INTERFACE",
                        pool->name);
        return FALSE;
    }
    if (!check_ranges(draft, error) || !check_growth(draft, error))
        return FALSE;
    if (pool->growth == VF_GROWTH_STATIC)
        pool->max = pool->count;
    return TRUE;
}

static void clear_selector(gpointer data)
{
    vf_selector_clear(data);
}

VfPoolDraft *vf_pool_draft_new(const char *name, const char *file, guint line)
{
    VfPoolDraft *draft = g_new0(VfPoolDraft, 1);
    VfPoolConfig *pool = draft->pool = g_new0(VfPoolConfig, 1);

    pool->name = g_strdup(name);
    pool->file = g_strdup(file);
    pool->line = line;
    pool->selectors = g_array_new(FALSE, FALSE, sizeof(VfSelector));
    g_array_set_clear_func(pool->selectors, clear_selector);
    pool->count = pool->max = VF_UNSET;
    vf_settings_init(&pool->settings);
    return draft;
}

void vf_pool_draft_free(VfPoolDraft *draft)
{
    if (draft->pool != NULL)
        vf_pool_config_free(draft->pool);
    g_free(draft->profile);
    g_free(draft);
}

void vf_pool_config_free(VfPoolConfig *pool)
{
    g_free(pool->name);
    g_free(pool->file);
    g_array_unref(pool->selectors);
    g_free(pool->profile);
    vf_settings_clear(&pool->settings);
    g_free(pool->bitstream_program);
    g_free(pool->card);
    g_free(pool);
}
