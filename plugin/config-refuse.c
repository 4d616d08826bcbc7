// SPDX-License-Identifier: GPL-2.0-or-later
//
// Messages about bad groups, keys and values that the readers of all groups share, so that the same
// mistake reads the same wherever it stands. Knows no key of its own.

#include "config-refuse.h"

#include <string.h>

#include "error.h"
#include "quote.h"

gboolean vf_config_bad_value(GError **error, const char *file, const VfConfigEntry *entry,
                             const char *remedy)
{
    g_autofree char *quoted = vf_quote(entry->value, -1);

    vf_config_error(error, file, entry->line, "%s: %s is not valid" VF_REMEDY "%s", entry->key,
                    quoted, remedy);
    return FALSE;
}

gboolean vf_config_unknown_key(GError **error, const char *file, const VfConfigEntry *entry,
                               const char *owner, const char *keys)
{
    g_autofree char *quoted = vf_quote(entry->key, -1);

    vf_config_error(error, file, entry->line, "%s is not a key of %s" VF_REMEDY "keys are %s",
                    quoted, owner, keys);
    return FALSE;
}

gboolean vf_config_used_twice(GError **error, const char *file, guint line, const char *what,
                              const char *first_file, guint first_line)
{
    g_autofree char *first = g_filename_display_name(first_file);

    vf_config_error(error, file, line,
                    "%s is defined already at %s:%u" VF_REMEDY "rename or remove one", what, first,
                    first_line);
    return FALSE;
}

gboolean vf_config_check_name(GError **error, const char *file, const VfConfigEntry *entry,
                              const char *name)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-";

    if (g_ascii_isalnum(name[0]) && strlen(name) <= 32 && strspn(name, allowed) == strlen(name))
        return TRUE;

    g_autofree char *quoted = vf_quote(name, -1);
    vf_config_error(error, file, entry->line,
                    "%s is not a name" VF_REMEDY "use 1 to 32 letters, digits, '_', '.' or '-', a "
                    "letter or digit first",
                    quoted);
    return FALSE;
}

gboolean vf_config_is_program(const char *path)
{
    if (path[0] != '/' || path[1] == '\0')
        return FALSE;
    for (const char *p = path; *p != '\0'; p++)
        if (g_ascii_iscntrl(*p))
            return FALSE;
    return TRUE;
}
