// SPDX-License-Identifier: GPL-2.0-or-later
//
// /etc/virtfn/*.conf to VfConfig: walks the groups of all files, then resolves what crosses groups
// and files: profiles by name, names used twice, PFs in two pools. Every failure carries the
// file and the line to mend. Looks at no hardware.

#include "config.h"

#include <string.h>

#include "config-accel.h"
#include "config-dir.h"
#include "config-pool.h"
#include "config-refuse.h"
#include "config-scan.h"
#include "error.h"
#include "quote.h"
#include "selector.h"

#define DEFAULT_URI "qemu:///system"
#define DEFAULT_GROUP "libvirt"

typedef struct {
    VfSettings settings;
    char *file;
    guint line;
} Profile;

// What has been read so far. Pools stay drafts until every file was read, because the profile of
// one may be defined in the last.
typedef struct {
    GPtrArray *drafts;    // of VfPoolDraft
    GHashTable *profiles; // name -> Profile
    char *uri, *use_group, *read_group;
    char *daemon_file; // where [virtfnd] stands, NULL = not seen yet
    guint daemon_line;
    VfAccelDraft accel;
    // Of the group being read: exactly one of them, or none in [virtfnd].
    VfPoolDraft *draft;
    Profile *profile;
    gboolean in_accel;
} Reader;

static void profile_free(gpointer data)
{
    Profile *profile = data;

    vf_settings_clear(&profile->settings);
    g_free(profile->file);
    g_free(profile);
}

static void draft_free(gpointer data)
{
    vf_pool_draft_free(data);
}

static void pool_free(gpointer data)
{
    vf_pool_config_free(data);
}

static void reader_init(Reader *reader)
{
    *reader = (Reader){
        .drafts = g_ptr_array_new_with_free_func(draft_free),
        .profiles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, profile_free),
    };
    vf_accel_draft_init(&reader->accel);
}

static void reader_clear(Reader *reader)
{
    g_ptr_array_unref(reader->drafts);
    g_hash_table_unref(reader->profiles);
    g_free(reader->uri);
    g_free(reader->use_group);
    g_free(reader->read_group);
    g_free(reader->daemon_file);
    vf_accel_draft_clear(&reader->accel);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reader, reader_clear)

// "pool NAME" to NAME when `kind` is "pool". Caller frees; NULL when it is another kind.
static char *group_name(const char *group, const char *kind)
{
    gsize length = strlen(kind);

    if (!g_str_has_prefix(group, kind) || (group[length] != ' ' && group[length] != '\0'))
        return NULL;
    return g_strstrip(g_strdup(group + length));
}

// [pool NAME]: the group header repeated is the scan's to refuse; the same name in another file, or
// with other white space, is refused here.
static gboolean open_pool(Reader *reader, const char *name, const VfConfigEntry *entry,
                          const char *file, GError **error)
{
    g_autofree char *what = g_strdup_printf("pool '%s'", name);

    for (guint i = 0; i < reader->drafts->len; i++) {
        const VfPoolDraft *other = g_ptr_array_index(reader->drafts, i);

        if (g_str_equal(other->pool->name, name))
            return vf_config_used_twice(error, file, entry->line, what, other->pool->file,
                                        other->pool->line);
    }
    reader->draft = vf_pool_draft_new(name, file, entry->line);
    g_ptr_array_add(reader->drafts, reader->draft);
    return TRUE;
}

static gboolean open_profile(Reader *reader, const char *name, const VfConfigEntry *entry,
                             const char *file, GError **error)
{
    const Profile *other = g_hash_table_lookup(reader->profiles, name);
    g_autofree char *what = g_strdup_printf("profile '%s'", name);

    if (other != NULL)
        return vf_config_used_twice(error, file, entry->line, what, other->file, other->line);
    reader->profile = g_new0(Profile, 1);
    reader->profile->file = g_strdup(file);
    reader->profile->line = entry->line;
    vf_settings_init(&reader->profile->settings);
    g_hash_table_insert(reader->profiles, g_strdup(name), reader->profile);
    return TRUE;
}

static gboolean open_daemon(Reader *reader, const VfConfigEntry *entry, const char *file,
                            GError **error)
{
    if (reader->daemon_file != NULL)
        return vf_config_used_twice(error, file, entry->line, "[virtfnd]", reader->daemon_file,
                                    reader->daemon_line);
    reader->daemon_file = g_strdup(file);
    reader->daemon_line = entry->line;
    return TRUE;
}

static gboolean open_accel(Reader *reader, VfAccelDraftKind kind, const char *name,
                           const VfConfigEntry *entry, const char *file, GError **error)
{
    reader->in_accel = TRUE;
    return vf_accel_draft_open(&reader->accel, kind, name, entry, file, error);
}

// Makes the group that the keys below go to.
static gboolean open_group(Reader *reader, const VfConfigEntry *entry, const char *file,
                           GError **error)
{
    g_autofree char *pool = group_name(entry->group, "pool");
    g_autofree char *profile = group_name(entry->group, "profile");
    g_autofree char *accelerator = group_name(entry->group, "accelerator");
    g_autofree char *group = group_name(entry->group, "group");
    const char *names[] = {pool, profile, accelerator, group};

    reader->draft = NULL;
    reader->profile = NULL;
    reader->in_accel = FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        if (names[i] != NULL && !vf_config_check_name(error, file, entry, names[i]))
            return FALSE;
    if (pool != NULL)
        return open_pool(reader, pool, entry, file, error);
    if (profile != NULL)
        return open_profile(reader, profile, entry, file, error);
    if (accelerator != NULL)
        return open_accel(reader, VF_ACCEL_DRAFT_ACCELERATOR, accelerator, entry, file, error);
    if (group != NULL)
        return open_accel(reader, VF_ACCEL_DRAFT_GROUP, group, entry, file, error);
    if (g_str_equal(entry->group, "accelerators"))
        return open_accel(reader, VF_ACCEL_DRAFT_POLICY, NULL, entry, file, error);
    if (g_str_equal(entry->group, "virtfnd"))
        return open_daemon(reader, entry, file, error);

    g_autofree char *quoted = vf_quote(entry->group, -1);
    vf_config_error(error, file, entry->line,
                    "%s is not a group" VF_REMEDY
                    "groups are [pool NAME], [profile NAME], [accelerator NAME], [group NAME], "
                    "[accelerators] and [virtfnd]",
                    quoted);
    return FALSE;
}

// The settings module knows the keys and their values; only the place is added here.
static gboolean set_profile_key(Reader *reader, const VfConfigEntry *entry, const char *file,
                                GError **error)
{
    g_autoptr(GError) cause = NULL;

    if (vf_settings_set(&reader->profile->settings, entry->key, entry->value, &cause))
        return TRUE;
    vf_config_error(error, file, entry->line, "%s", cause->message);
    return FALSE;
}

// As in useradd(8): what no group can be called is a typing error.
static gboolean is_unix_group(const char *name)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-";

    return (g_ascii_isalpha(name[0]) || name[0] == '_') && strlen(name) <= 32 &&
           strspn(name, allowed) == strlen(name);
}

static gboolean set_daemon_key(Reader *reader, const VfConfigEntry *entry, const char *file,
                               GError **error)
{
    if (g_str_equal(entry->key, "uri")) {
        if (!g_uri_is_valid(entry->value, G_URI_FLAGS_NONE, NULL))
            return vf_config_bad_value(error, file, entry,
                                       "give a libvirt URI such as " DEFAULT_URI);
        reader->uri = g_strdup(entry->value);
        return TRUE;
    }
    if (g_str_equal(entry->key, "use-group") || g_str_equal(entry->key, "read-group")) {
        char **group = entry->key[0] == 'u' ? &reader->use_group : &reader->read_group;

        if (!is_unix_group(entry->value))
            return vf_config_bad_value(error, file, entry, "give the name of a Unix group");
        *group = g_strdup(entry->value);
        return TRUE;
    }
    return vf_config_unknown_key(error, file, entry, "[virtfnd]", "uri, use-group, read-group");
}

static gboolean read_text(Reader *reader, const char *text, gsize length, const char *file,
                          GError **error)
{
    g_autoptr(GPtrArray) entries = vf_config_scan(text, length, file, error);

    for (guint i = 0; entries != NULL && i < entries->len; i++) {
        const VfConfigEntry *entry = g_ptr_array_index(entries, i);
        gboolean ok;

        if (entry->key == NULL)
            ok = open_group(reader, entry, file, error);
        else if (reader->draft != NULL)
            ok = vf_pool_draft_set(reader->draft, entry, error);
        else if (reader->profile != NULL)
            ok = set_profile_key(reader, entry, file, error);
        else if (reader->in_accel)
            ok = vf_accel_draft_set(&reader->accel, entry, file, error);
        else
            ok = set_daemon_key(reader, entry, file, error);
        if (!ok)
            return FALSE;
    }
    return entries != NULL;
}

// Checked for every profile, used or not: a mistake should not wait for the pool that meets it.
static gboolean check_profiles(const Reader *reader, GError **error)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, reader->profiles);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Profile *profile = value;
        VfSettings settings = profile->settings;
        g_autoptr(GError) cause = NULL;

        // A claim may bring the VLAN that a profile's priority belongs to.
        settings.qos = VF_UNSET;
        if (!vf_settings_check(&settings, &cause)) {
            vf_config_error(error, profile->file, profile->line, "%s", cause->message);
            return FALSE;
        }
    }
    return TRUE;
}

// Each pool has a copy of the settings, so that it can be looked at alone.
static gboolean resolve_profile(const Reader *reader, VfPoolDraft *draft, GError **error)
{
    const Profile *profile;
    VfSettings unset;

    if (draft->profile == NULL)
        return TRUE;
    profile = g_hash_table_lookup(reader->profiles, draft->profile);
    if (profile == NULL) {
        g_autofree char *quoted = vf_quote(draft->profile, -1);

        vf_config_error(error, draft->pool->file, draft->profile_line,
                        "profile: %s is not defined" VF_REMEDY
                        "add a group [profile NAME] of that name to any file",
                        quoted);
        return FALSE;
    }
    vf_settings_init(&unset);
    vf_settings_merge(&draft->pool->settings, &profile->settings, &unset);
    draft->pool->profile = g_strdup(draft->profile);
    return TRUE;
}

// Compares one selector with every earlier one, those of its own pool included.
static gboolean check_overlap(const Reader *reader, guint draft_index, guint selector_index,
                              GError **error)
{
    const VfPoolDraft *draft = g_ptr_array_index(reader->drafts, draft_index);
    const VfSelector *selector = &g_array_index(draft->pool->selectors, VfSelector, selector_index);

    for (guint i = 0; i <= draft_index; i++) {
        const VfPoolDraft *other = g_ptr_array_index(reader->drafts, i);
        guint end = i == draft_index ? selector_index : other->pool->selectors->len;

        for (guint j = 0; j < end; j++) {
            const VfSelector *earlier = &g_array_index(other->pool->selectors, VfSelector, j);

            if (!vf_selector_overlap(selector, earlier))
                continue;
            g_autofree char *text = vf_selector_format(selector);
            g_autofree char *other_text = vf_selector_format(earlier);
            g_autofree char *other_file = g_filename_display_name(other->pool->file);
            vf_config_error(error, draft->pool->file, draft->pf_line,
                            "pf: %s overlaps %s in pool '%s' (%s:%u)" VF_REMEDY
                            "give each pool ranges of its own, such as #0-3 and #4-7",
                            text, other_text, other->pool->name, other_file, other->pf_line);
            return FALSE;
        }
    }
    return TRUE;
}

// What takes more than one group to see; in the order in which pools stand, so that of two pools in
// conflict it is the later one that is refused.
static gboolean resolve(Reader *reader, GError **error)
{
    if (!check_profiles(reader, error))
        return FALSE;
    for (guint i = 0; i < reader->drafts->len; i++) {
        VfPoolDraft *draft = g_ptr_array_index(reader->drafts, i);

        if (!vf_pool_draft_finish(draft, error) || !resolve_profile(reader, draft, error))
            return FALSE;
        for (guint j = 0; j < draft->pool->selectors->len; j++)
            if (!check_overlap(reader, i, j, error))
                return FALSE;
    }
    return TRUE;
}

static char *take_or(char **value, const char *fallback)
{
    return *value != NULL ? g_steal_pointer(value) : g_strdup(fallback);
}

static void settings_free(gpointer data)
{
    vf_settings_clear(data);
    g_free(data);
}

static GHashTable *copy_profiles(const Reader *reader)
{
    GHashTable *profiles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, settings_free);
    GHashTableIter iter;
    gpointer name, value;

    g_hash_table_iter_init(&iter, reader->profiles);
    while (g_hash_table_iter_next(&iter, &name, &value)) {
        const Profile *profile = value;
        VfSettings *settings = g_new(VfSettings, 1);

        vf_settings_merge(settings, &profile->settings, &profile->settings);
        g_hash_table_insert(profiles, g_strdup(name), settings);
    }
    return profiles;
}

static VfConfig *finish(Reader *reader, GError **error)
{
    VfConfig *config;

    if (!resolve(reader, error))
        return NULL;
    config = g_new0(VfConfig, 1);
    if (!vf_accel_draft_finish(&reader->accel, config, error)) {
        g_free(config);
        return NULL;
    }
    config->pools = g_ptr_array_new_with_free_func(pool_free);
    for (guint i = 0; i < reader->drafts->len; i++) {
        VfPoolDraft *draft = g_ptr_array_index(reader->drafts, i);

        g_ptr_array_add(config->pools, g_steal_pointer(&draft->pool));
    }
    config->profiles = copy_profiles(reader);
    config->uri = take_or(&reader->uri, DEFAULT_URI);
    config->use_group = take_or(&reader->use_group, DEFAULT_GROUP);
    config->read_group = take_or(&reader->read_group, DEFAULT_GROUP);
    return config;
}

VfConfig *vf_config_parse(const char *text, gsize length, const char *file, GError **error)
{
    g_auto(Reader) reader;

    reader_init(&reader);
    return read_text(&reader, text, length, file, error) ? finish(&reader, error) : NULL;
}

VfConfig *vf_config_load(const char *directory, GError **error)
{
    g_autoptr(GPtrArray) names = vf_config_list(directory, error);
    g_auto(Reader) reader;

    reader_init(&reader);
    for (guint i = 0; names != NULL && i < names->len; i++) {
        g_autofree char *path =
            g_build_filename(directory, (char *)g_ptr_array_index(names, i), NULL);
        g_autoptr(GByteArray) bytes = vf_config_read(path, error);

        if (bytes == NULL ||
            !read_text(&reader, (const char *)bytes->data, bytes->len, path, error))
            return NULL;
    }
    return names != NULL ? finish(&reader, error) : NULL;
}

void vf_config_free(VfConfig *config)
{
    g_ptr_array_unref(config->pools);
    g_hash_table_unref(config->profiles);
    vf_accel_config_clear(config);
    g_free(config->uri);
    g_free(config->use_group);
    g_free(config->read_group);
    g_free(config);
}
