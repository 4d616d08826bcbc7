// SPDX-License-Identifier: GPL-2.0-or-later
//
// The keys of [accelerator NAME], [group NAME] and [accelerators]: a reader for each and a table
// for each kind of group. The limits of accel.h's tables are checked here, so that the daemon never
// meets more than it has room for. What must hold between keys is config-accel.c's.

#include "config-accel.h"

#include <string.h>

#include "config-refuse.h"
#include "error.h"

// No card numbers accelerators like that (0xffffffff is "none" in many registers).
#define ID_MAX (G_MAXUINT32 - 1)
#define HELD_MAX (VF_ACCEL_REGIONS_MAX * VF_ACCEL_SHARERS_MAX)
#define WAITING_MAX 100000
#define MILLISECOND G_TIME_SPAN_MILLISECOND
#define DAY G_TIME_SPAN_DAY

static gboolean read_number(const char *file, const VfConfigEntry *entry, guint64 min, guint64 max,
                            guint *value, GError **error)
{
    g_autofree char *remedy =
        g_strdup_printf("give a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, min, max);
    guint64 number;

    if (!g_ascii_string_to_unsigned(entry->value, 10, min, max, &number, NULL))
        return vf_config_bad_value(error, file, entry, remedy);
    *value = (guint)number;
    return TRUE;
}

// "500ms", "10s", "2min"; a number alone is seconds.
static gboolean parse_time(const char *text, gint64 *time)
{
    static const struct {
        const char *unit;
        gint64 factor;
    } units[] = {{"ms", MILLISECOND},
                 {"min", G_TIME_SPAN_MINUTE},
                 {"s", G_TIME_SPAN_SECOND},
                 {"", G_TIME_SPAN_SECOND}};
    gsize digits = strspn(text, G_CSET_DIGITS);
    g_autofree char *number = g_strndup(text, digits);
    guint64 value;

    if (!g_ascii_string_to_unsigned(number, 10, 0, DAY / MILLISECOND, &value, NULL))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(units); i++)
        if (g_str_equal(text + digits, units[i].unit)) {
            *time = (gint64)value * units[i].factor;
            return TRUE;
        }
    return FALSE;
}

static gboolean read_time(const char *file, const VfConfigEntry *entry, gint64 min, gint64 *value,
                          GError **error)
{
    g_autofree char *remedy = g_strdup_printf("give a time from %" G_GINT64_FORMAT "ms to 1440min, "
                                              "such as 500ms, 10s or 2min",
                                              min / MILLISECOND);

    return (parse_time(entry->value, value) && *value >= min && *value <= DAY) ||
           vf_config_bad_value(error, file, entry, remedy);
}

static gboolean set_shareable(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                              GError **error)
{
    draft->accelerator->shareable = g_str_equal(entry->value, "yes");
    return draft->accelerator->shareable || g_str_equal(entry->value, "no") ||
           vf_config_bad_value(error, file, entry, "give yes or no");
}

static gboolean set_id(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                       GError **error)
{
    return read_number(file, entry, 0, ID_MAX, &draft->accelerator->id, error);
}

static gboolean set_domains(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                            GError **error)
{
    g_auto(GStrv) items = g_strsplit_set(entry->value, ";,", -1);
    g_autoptr(GStrvBuilder) globs = g_strv_builder_new();

    if (g_str_equal(draft->group->name, VF_GROUP_DEFAULT))
        return vf_config_bad_value(error, file, entry,
                                   "leave it out: the group 'default' has the domains that are in "
                                   "no other group");
    for (guint i = 0; items[i] != NULL; i++) {
        // "a; b;" is how GKeyFile itself writes a list.
        if (*g_strstrip(items[i]) == '\0' && items[i + 1] == NULL && i > 0)
            break;
        if (items[i][0] == '\0')
            return vf_config_bad_value(error, file, entry,
                                       "give names of domains, or globs such as build-*");
        g_strv_builder_add(globs, items[i]);
    }
    draft->group->domains = g_strv_builder_end(globs);
    return TRUE;
}

static gboolean set_held(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                         GError **error)
{
    return read_number(file, entry, 1, HELD_MAX, &draft->group->limits.held, error);
}

static gboolean set_held_per_domain(VfAccelDraft *draft, const VfConfigEntry *entry,
                                    const char *file, GError **error)
{
    return read_number(file, entry, 1, HELD_MAX, &draft->group->limits.held_per_domain, error);
}

static gboolean set_group_waiting(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                                  GError **error)
{
    return read_number(file, entry, 0, WAITING_MAX, &draft->group->limits.waiting, error);
}

static gboolean set_ceiling(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                            GError **error)
{
    return read_number(file, entry, 0, VF_ACCEL_PRIORITY_MAX, &draft->group->limits.ceiling, error);
}

static gboolean set_age_step(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                             GError **error)
{
    return read_time(file, entry, 100 * MILLISECOND, &draft->accel.policy.age_step, error);
}

static gboolean set_tenure(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                           GError **error)
{
    return read_time(file, entry, 0, &draft->accel.policy.tenure, error);
}

static gboolean set_backoff(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                            GError **error)
{
    return read_time(file, entry, 100 * MILLISECOND, &draft->accel.policy.backoff, error);
}

static gboolean set_waiting(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                            GError **error)
{
    return read_number(file, entry, 0, WAITING_MAX, &draft->accel.policy.waiting, error);
}

static gboolean set_sharers(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                            GError **error)
{
    return read_number(file, entry, 1, VF_ACCEL_SHARERS_MAX, &draft->accel.policy.sharers, error);
}

static gboolean set_slice_period(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                                 GError **error)
{
    return read_time(file, entry, 10 * MILLISECOND, &draft->accel.slice_period, error);
}

static gboolean set_slice_minimum(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                                  GError **error)
{
    draft->minimum_line = entry->line;
    return read_time(file, entry, 10 * MILLISECOND, &draft->accel.slice_minimum, error);
}

static gboolean set_idle(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                         GError **error)
{
    if (g_str_equal(entry->value, "off")) {
        draft->accel.idle = 0;
        return TRUE;
    }
    return read_time(file, entry, 100 * MILLISECOND, &draft->accel.idle, error);
}

static gboolean set_verify(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                           GError **error)
{
    if (!vf_config_is_program(entry->value))
        return vf_config_bad_value(error, file, entry, "give the absolute path of a program");
    draft->accel.verify = g_strdup(entry->value);
    return TRUE;
}

typedef struct {
    const char *key; // NULL ends a table
    gboolean (*set)(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                    GError **error);
} Key;

// A new key is a line here, a member in config.h and a paragraph in virtfn.conf(5).
static const Key accelerator_keys[] = {{"shareable", set_shareable}, {"id", set_id}, {NULL, NULL}};
static const Key group_keys[] = {
    {"domains", set_domains},
    {"held", set_held},
    {"held-per-domain", set_held_per_domain},
    {"waiting", set_group_waiting},
    {"ceiling", set_ceiling},
    {NULL, NULL},
};
static const Key policy_keys[] = {
    {"age-step", set_age_step},
    {"tenure", set_tenure},
    {"backoff", set_backoff},
    {"waiting", set_waiting},
    {"sharers", set_sharers},
    {"slice-period", set_slice_period},
    {"slice-minimum", set_slice_minimum},
    {"idle", set_idle},
    {"verify", set_verify},
    {NULL, NULL},
};

gboolean vf_accel_draft_set(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                            GError **error)
{
    const Key *keys = draft->accelerator != NULL ? accelerator_keys
                      : draft->group != NULL     ? group_keys
                                                 : policy_keys;
    const char *owner = draft->accelerator != NULL ? "an accelerator"
                        : draft->group != NULL     ? "a group"
                                                   : "[accelerators]";
    g_autoptr(GString) names = g_string_new(NULL);

    for (const Key *key = keys; key->key != NULL; key++) {
        if (g_str_equal(key->key, entry->key))
            return key->set(draft, entry, file, error);
        g_string_append_printf(names, "%s%s", key == keys ? "" : ", ", key->key);
    }
    return vf_config_unknown_key(error, file, entry, owner, names->str);
}
