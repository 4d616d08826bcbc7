// SPDX-License-Identifier: GPL-2.0-or-later
//
// Configuration text to entries with lines. Knows the syntax only: which groups and keys exist, and
// what their values mean, is config.c's. The scan is stricter than GKeyFile (no locale suffixes, no
// repeated groups), so what passes here means the same to GKeyFile, which then gives the values.

#include "config-scan.h"

#include <string.h>

#include "error.h"
#include "quote.h"

typedef struct {
    const char *file;
    GPtrArray *entries;
    GHashTable *seen;  // "GROUP" or "GROUP]KEY" -> VfConfigEntry: ']' cannot be in a group's name
    const char *group; // of the header above the line, NULL before the first
} Scan;

void vf_config_error(GError **error, const char *file, guint line, const char *format, ...)
{
    g_autofree char *name = g_filename_display_name(file);
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    if (line == 0)
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s: %s", name, text);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s:%u: %s", name, line, text);
}

static void entry_free(gpointer data)
{
    VfConfigEntry *entry = data;

    g_free(entry->group);
    g_free(entry->key);
    g_free(entry->value);
    g_free(entry);
}

// Only for messages, so counting from the start again is good enough.
static guint line_of(const char *text, const char *position)
{
    guint line = 1;

    for (const char *p = text; p < position; p++)
        line += *p == '\n';
    return line;
}

// What no line of a configuration can hold. GKeyFile would accept control characters and hand them
// to whoever prints a value.
static gboolean check_text(const char *text, gsize length, const char *file, GError **error)
{
    const char *bad;

    if (length > VF_CONFIG_MAX_BYTES) {
        vf_config_error(error, file, 0,
                        "larger than %d bytes" VF_REMEDY "split it into several files",
                        VF_CONFIG_MAX_BYTES);
        return FALSE;
    }
    if (!g_utf8_validate_len(text, length, &bad)) {
        vf_config_error(error, file, line_of(text, bad),
                        "not valid UTF-8 text" VF_REMEDY "save the file as UTF-8");
        return FALSE;
    }
    for (const char *p = text; p < text + length; p++)
        // A carriage return is white space at the end of a line only.
        if (g_ascii_iscntrl(*p) && *p != '\t' && *p != '\n' &&
            (*p != '\r' || p + 1 == text + length || p[1] != '\n')) {
            vf_config_error(error, file, line_of(text, p),
                            "control character 0x%02x" VF_REMEDY "remove it", (guint)*p);
            return FALSE;
        }
    return TRUE;
}

// Takes `key`. Remembers the entry even when it is refused: it owns the name in the message.
static gboolean add_entry(Scan *scan, char *key, guint line, GError **error)
{
    VfConfigEntry *entry = g_new0(VfConfigEntry, 1);
    char *id = key == NULL ? g_strdup(scan->group) : g_strconcat(scan->group, "]", key, NULL);
    VfConfigEntry *first = g_hash_table_lookup(scan->seen, id);

    entry->group = g_strdup(scan->group);
    entry->key = key;
    entry->line = line;
    g_ptr_array_add(scan->entries, entry);
    if (first == NULL) {
        g_hash_table_insert(scan->seen, id, entry);
        return TRUE;
    }
    g_free(id);
    if (key == NULL)
        vf_config_error(error, scan->file, line,
                        "second group [%s], the first is on line %u" VF_REMEDY "merge the two",
                        entry->group, first->line);
    else
        vf_config_error(error, scan->file, line,
                        "second '%s' in [%s], the first is on line %u" VF_REMEDY "remove one", key,
                        entry->group, first->line);
    return FALSE;
}

// A header "[NAME]"; the caller has stripped the line.
static gboolean scan_header(Scan *scan, const char *text, guint line, GError **error)
{
    gsize length = strlen(text);

    if (length < 3 || text[length - 1] != ']' || strcspn(text + 1, "[]\t") != length - 2) {
        g_autofree char *quoted = vf_quote(text, -1);

        vf_config_error(error, scan->file, line,
                        "%s is not a group header" VF_REMEDY "write [pool NAME], [profile NAME] or "
                        "[virtfnd] on a line of its own",
                        quoted);
        return FALSE;
    }
    g_autofree char *group = g_strndup(text + 1, length - 2);
    scan->group = group;
    gboolean ok = add_entry(scan, NULL, line, error);
    // The entry owns its copy for as long as the scan lasts.
    scan->group =
        ((VfConfigEntry *)g_ptr_array_index(scan->entries, scan->entries->len - 1))->group;
    return ok;
}

// Upper case and brackets are for GKeyFile's own purposes (Encoding=, name[de]=), none of them
// ours.
static gboolean is_key(const char *text)
{
    return g_ascii_islower(text[0]) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static gboolean scan_key(Scan *scan, const char *text, guint line, GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *key = NULL;

    if (equals == NULL) {
        g_autofree char *quoted = vf_quote(text, -1);

        vf_config_error(error, scan->file, line,
                        "%s is neither [group], key=value nor a # comment" VF_REMEDY
                        "a list goes on one line, separated by ';'",
                        quoted);
        return FALSE;
    }
    key = g_strchomp(g_strndup(text, (gsize)(equals - text)));
    if (!is_key(key)) {
        g_autofree char *quoted = vf_quote(key, -1);

        vf_config_error(error, scan->file, line,
                        "%s is not a key" VF_REMEDY
                        "keys are made of lower-case letters, digits and '-'",
                        quoted);
        return FALSE;
    }
    if (scan->group == NULL) {
        vf_config_error(error, scan->file, line,
                        "'%s' stands before the first group" VF_REMEDY
                        "put it below [pool NAME], [profile NAME] or [virtfnd]",
                        key);
        return FALSE;
    }
    return add_entry(scan, g_steal_pointer(&key), line, error);
}

static gboolean scan_line(Scan *scan, char *text, guint line, GError **error)
{
    g_strstrip(text);
    if (text[0] == '\0' || text[0] == '#')
        return TRUE;
    if (text[0] == '[')
        return scan_header(scan, text, line, error);
    return scan_key(scan, text, line, error);
}

static gboolean scan_lines(Scan *scan, const char *text, gsize length, GError **error)
{
    const char *end = text + length;
    guint line = 1;

    for (const char *start = text; start < end; line++) {
        const char *newline = memchr(start, '\n', (gsize)(end - start));
        const char *stop = newline != NULL ? newline : end;
        g_autofree char *copy = g_strndup(start, (gsize)(stop - start));

        if (!scan_line(scan, copy, line, error))
            return FALSE;
        start = stop + 1;
    }
    return TRUE;
}

// Unescaping is GKeyFile's; by now it can find neither a duplicate nor a line it does not know.
static gboolean fill_values(Scan *scan, const char *text, gsize length, GError **error)
{
    g_autoptr(GKeyFile) keys = g_key_file_new();
    g_autoptr(GError) cause = NULL;

    if (!g_key_file_load_from_data(keys, text, length, G_KEY_FILE_NONE, &cause)) {
        vf_config_error(error, scan->file, 0, "%s", cause->message);
        return FALSE;
    }
    for (guint i = 0; i < scan->entries->len; i++) {
        VfConfigEntry *entry = g_ptr_array_index(scan->entries, i);
        g_autoptr(GError) bad = NULL;

        if (entry->key == NULL)
            continue;
        entry->value = g_key_file_get_string(keys, entry->group, entry->key, &bad);
        // With a bad escape GKeyFile returns a value and an error.
        if (bad != NULL) {
            vf_config_error(error, scan->file, entry->line,
                            "%s: the value has a bad escape" VF_REMEDY "write a backslash as \\\\",
                            entry->key);
            return FALSE;
        }
        g_strstrip(entry->value);
    }
    return TRUE;
}

GPtrArray *vf_config_scan(const char *text, gsize length, const char *file, GError **error)
{
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(entry_free);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Scan scan = {.file = file, .entries = entries, .seen = seen};

    if (length == 0)
        return g_steal_pointer(&entries);
    if (!check_text(text, length, file, error) || !scan_lines(&scan, text, length, error) ||
        !fill_values(&scan, text, length, error))
        return NULL;
    return g_steal_pointer(&entries);
}
