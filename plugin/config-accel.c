// SPDX-License-Identifier: GPL-2.0-or-later
//
// Accelerators, groups of domains and the policy between them: headers, defaults, and what must
// hold between groups; keys are config-accel-keys.c's. accel.h's tables bound the number of each.
// Whether a card really has an accelerator is the card's business.

#include "config-accel.h"

#include <string.h>

#include "config-refuse.h"
#include "error.h"

#define SECOND G_TIME_SPAN_SECOND

static const VfAccelConfig defaults = {
    .policy =
        {
            .age_step = 10 * SECOND,
            .tenure = 30 * SECOND,
            .backoff = 5 * SECOND,
            .waiting = 1000,
            .sharers = VF_ACCEL_SHARERS_MAX,
        },
    .slice_period = SECOND,
    .slice_minimum = 200 * G_TIME_SPAN_MILLISECOND,
};

static const VfAccelGroup no_limits = {
    .held = VF_ACCEL_NONE,
    .held_per_domain = VF_ACCEL_NONE,
    .waiting = VF_ACCEL_NONE,
    .ceiling = VF_ACCEL_PRIORITY_MAX,
};

// RFC 9562 section 5.5, in the name space of URLs, of urn:virtfn:accelerator:NAME.
static void derive_uuid(const char *name, char *uuid)
{
    static const guint8 name_space[16] = {0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1,
                                          0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA1);
    g_autofree char *urn = g_strconcat("urn:virtfn:accelerator:", name, NULL);
    guint8 bytes[20];
    gsize length = sizeof(bytes);

    g_checksum_update(sum, name_space, sizeof(name_space));
    g_checksum_update(sum, (const guchar *)urn, (gssize)strlen(urn));
    g_checksum_get_digest(sum, bytes, &length);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    for (guint i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *uuid++ = '-';
        g_snprintf(uuid, 3, "%02x", bytes[i]);
        uuid += 2;
    }
}

static gboolean too_many(GError **error, const char *file, guint line, const char *what, guint max)
{
    vf_config_error(error, file, line, "more than %u %s" VF_REMEDY "remove some", max, what);
    return FALSE;
}

static gboolean open_accelerator(VfAccelDraft *draft, const char *name, guint line,
                                 const char *file, GError **error)
{
    for (guint i = 0; i < draft->accelerators->len; i++) {
        const VfAcceleratorConfig *other = g_ptr_array_index(draft->accelerators, i);
        g_autofree char *what = g_strdup_printf("accelerator '%s'", name);

        if (g_str_equal(other->name, name))
            return vf_config_used_twice(error, file, line, what, other->file, other->line);
    }
    if (draft->accelerators->len == VF_ACCEL_ACCELERATORS_MAX)
        return too_many(error, file, line, "accelerators", VF_ACCEL_ACCELERATORS_MAX);
    draft->accelerator = g_new0(VfAcceleratorConfig, 1);
    draft->accelerator->name = g_strdup(name);
    draft->accelerator->file = g_strdup(file);
    draft->accelerator->line = line;
    derive_uuid(name, draft->accelerator->uuid);
    g_ptr_array_add(draft->accelerators, draft->accelerator);
    return TRUE;
}

static VfGroupConfig *new_group(const char *name, guint line, const char *file)
{
    VfGroupConfig *group = g_new0(VfGroupConfig, 1);

    group->name = g_strdup(name);
    group->file = g_strdup(file);
    group->line = line;
    group->limits = no_limits;
    return group;
}

static gboolean open_domains(VfAccelDraft *draft, const char *name, guint line, const char *file,
                             GError **error)
{
    for (guint i = 0; i < draft->groups->len; i++) {
        const VfGroupConfig *other = g_ptr_array_index(draft->groups, i);
        g_autofree char *what = g_strdup_printf("group '%s'", name);

        if (g_str_equal(other->name, name))
            return vf_config_used_twice(error, file, line, what, other->file, other->line);
    }
    // One place is for a default group that no file has.
    if (draft->groups->len == VF_ACCEL_GROUPS_MAX - 1)
        return too_many(error, file, line, "groups", VF_ACCEL_GROUPS_MAX - 1);
    draft->group = new_group(name, line, file);
    g_ptr_array_add(draft->groups, draft->group);
    return TRUE;
}

gboolean vf_accel_draft_open(VfAccelDraft *draft, VfAccelDraftKind kind, const char *name,
                             const VfConfigEntry *entry, const char *file, GError **error)
{
    draft->accelerator = NULL;
    draft->group = NULL;
    if (kind == VF_ACCEL_DRAFT_ACCELERATOR)
        return open_accelerator(draft, name, entry->line, file, error);
    if (kind == VF_ACCEL_DRAFT_GROUP)
        return open_domains(draft, name, entry->line, file, error);
    if (draft->file != NULL)
        return vf_config_used_twice(error, file, entry->line, "[accelerators]", draft->file,
                                    draft->line);
    draft->file = g_strdup(file);
    draft->line = entry->line;
    return TRUE;
}

// A card that says "accelerator 3" must mean one of them.
static gboolean check_ids(const VfAccelDraft *draft, GError **error)
{
    for (guint i = 1; i < draft->accelerators->len; i++)
        for (guint j = 0; j < i; j++) {
            const VfAcceleratorConfig *one = g_ptr_array_index(draft->accelerators, i);
            const VfAcceleratorConfig *other = g_ptr_array_index(draft->accelerators, j);

            if (one->id == 0 || one->id != other->id)
                continue;
            vf_config_error(error, one->file, one->line,
                            "accelerator '%s' has the id %u of accelerator '%s'" VF_REMEDY
                            "give each the number that the card has for it",
                            one->name, one->id, other->name);
            return FALSE;
        }
    return TRUE;
}

// Every group but the default needs domains, and the default is the last.
static gboolean finish_groups(VfAccelDraft *draft, GError **error)
{
    VfGroupConfig *fallback = NULL;

    for (guint i = draft->groups->len; i-- > 0;) {
        VfGroupConfig *group = g_ptr_array_index(draft->groups, i);

        if (g_str_equal(group->name, VF_GROUP_DEFAULT)) {
            fallback = g_ptr_array_steal_index(draft->groups, i);
            continue;
        }
        if (group->domains != NULL)
            continue;
        vf_config_error(error, group->file, group->line,
                        "group '%s' has no domains" VF_REMEDY "add domains=NAME or a glob",
                        group->name);
        return FALSE;
    }
    if (fallback == NULL)
        fallback = new_group(VF_GROUP_DEFAULT, 0, NULL);
    fallback->domains = g_new0(char *, 1);
    g_ptr_array_add(draft->groups, fallback);
    return TRUE;
}

gboolean vf_accel_draft_finish(VfAccelDraft *draft, VfConfig *config, GError **error)
{
    if (!check_ids(draft, error) || !finish_groups(draft, error))
        return FALSE;
    if (draft->accel.slice_minimum > draft->accel.slice_period) {
        vf_config_error(error, draft->file,
                        draft->minimum_line != 0 ? draft->minimum_line : draft->line,
                        "slice-minimum is longer than slice-period" VF_REMEDY
                        "lower the one or raise the other");
        return FALSE;
    }
    config->accelerators = g_steal_pointer(&draft->accelerators);
    config->groups = g_steal_pointer(&draft->groups);
    config->accel = draft->accel;
    draft->accel.verify = NULL;
    return TRUE;
}

guint vf_config_group(const VfConfig *config, const char *domain)
{
    for (guint i = 0; i < config->groups->len; i++) {
        const VfGroupConfig *group = g_ptr_array_index(config->groups, i);

        for (char **glob = group->domains; *glob != NULL; glob++)
            if (g_pattern_match_simple(*glob, domain))
                return i;
    }
    return config->groups->len - 1;
}

static void accelerator_free(gpointer data)
{
    VfAcceleratorConfig *accelerator = data;

    g_free(accelerator->name);
    g_free(accelerator->file);
    g_free(accelerator);
}

static void group_free(gpointer data)
{
    VfGroupConfig *group = data;

    g_free(group->name);
    g_strfreev(group->domains);
    g_free(group->file);
    g_free(group);
}

void vf_accel_draft_init(VfAccelDraft *draft)
{
    *draft = (VfAccelDraft){
        .accelerators = g_ptr_array_new_with_free_func(accelerator_free),
        .groups = g_ptr_array_new_with_free_func(group_free),
        .accel = defaults,
    };
}

void vf_accel_draft_clear(VfAccelDraft *draft)
{
    g_clear_pointer(&draft->accelerators, g_ptr_array_unref);
    g_clear_pointer(&draft->groups, g_ptr_array_unref);
    g_free(draft->accel.verify);
    g_free(draft->file);
}

void vf_accel_config_clear(VfConfig *config)
{
    g_ptr_array_unref(config->accelerators);
    g_ptr_array_unref(config->groups);
    g_free(config->accel.verify);
}
