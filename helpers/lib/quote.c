// SPDX-License-Identifier: GPL-2.0-or-later
//
// Quoting of hostile text for messages and logs. A value of 1 MiB costs no more than one of 41
// characters, and a line break in it cannot forge a second line of a log.

#include "quote.h"

#include <string.h>

char *vf_quote_excerpt(const char *text, gssize length, guint max)
{
    const char *end = text + (length < 0 ? strlen(text) : (gsize)length);
    GString *out = g_string_new(NULL);

    for (guint n = 0; text < end; n++) {
        gunichar c = g_utf8_get_char_validated(text, end - text);
        gboolean broken = c == (gunichar)-1 || c == (gunichar)-2;

        if (n == max) {
            g_string_append(out, "...");
            break;
        }
        if (broken || !g_unichar_isprint(c))
            g_string_append_c(out, '?');
        else
            g_string_append_unichar(out, c);
        text = broken || c == 0 ? text + 1 : g_utf8_next_char(text);
    }
    return g_string_free(out, FALSE);
}

char *vf_quote(const char *text, gssize length)
{
    g_autofree char *excerpt = vf_quote_excerpt(text, length, VF_QUOTE_MAX);

    return g_strdup_printf("'%s'", excerpt);
}
