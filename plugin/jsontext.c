// SPDX-License-Identifier: GPL-2.0-or-later
//
// JSON text. Strings come from file names, sysfs and users: bytes that are not UTF-8 are replaced,
// so that every answer is valid whatever they hold.

#include "jsontext.h"

#include <string.h>

#include "pciaddr.h"
#include "settings.h"

// As g_string_append_len(), which takes some time to find that there is room, and that the text is
// no part of the string.
static void append(GString *out, const char *text, gsize length)
{
    if (out->allocated_len - out->len <= length) {
        g_string_append_len(out, text, (gssize)length);
        return;
    }
    memcpy(out->str + out->len, text, length);
    out->len += length;
    out->str[out->len] = '\0';
}

static gboolean is_plain(guchar c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

// Bytes from the first that has to be looked at: most strings are ASCII and have none.
static const char *skip_plain(const char *text)
{
    while (is_plain((guchar)*text) && (guchar)*text < 0x80)
        text++;
    return text;
}

static void append_escaped(GString *out, const char *text)
{
    g_autofree char *valid = NULL;

    if (!g_utf8_validate(text, -1, NULL))
        text = valid = g_utf8_make_valid(text, -1);
    while (*text != '\0') {
        gsize plain = 0;

        while (is_plain((guchar)text[plain]))
            plain++;
        append(out, text, plain);
        text += plain;
        if (*text == '"' || *text == '\\')
            g_string_append_printf(out, "\\%c", *text++);
        else if (*text != '\0')
            g_string_append_printf(out, "\\u%04x", (guint)*text++);
    }
}

static void append_string(GString *out, const char *text)
{
    const char *rest;

    if (text == NULL) {
        append(out, "null", 4);
        return;
    }
    rest = skip_plain(text);
    g_string_append_c(out, '"');
    append(out, text, (gsize)(rest - text));
    if (*rest != '\0')
        append_escaped(out, rest);
    g_string_append_c(out, '"');
}

static void append_integer(GString *out, gint64 value)
{
    guint64 rest = value < 0 ? -(guint64)value : (guint64)value;
    char text[20];
    gsize at = sizeof(text);

    do
        text[--at] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0)
        text[--at] = '-';
    append(out, text + at, sizeof(text) - at);
}

static void append_address(GString *out, const VfPciAddr *address)
{
    char text[VF_PCIADDR_BUFSIZE];

    append_string(out, address != NULL ? vf_pciaddr_format(address, text) : NULL);
}

static void put_digits(char *at, guint n, guint value)
{
    for (; n-- > 0; value /= 10)
        at[n] = (char)('0' + value % 10);
}

// Not by strftime(), which costs as much as all the rest of a row. Years of four digits only.
static void append_time(GString *out, gint64 microseconds)
{
    const gint64 last = G_GINT64_CONSTANT(253402300799); // of 9999
    gint64 seconds = microseconds / G_USEC_PER_SEC;
    char text[] = "YYYY-MM-DDThh:mm:ssZ";
    GDate day;

    if (seconds < 0 || seconds > last) {
        append_string(out, "");
        return;
    }
    g_date_clear(&day, 1);
    g_date_set_julian(&day, (guint32)(seconds / 86400) + 719163); // 1 January 1970
    put_digits(text, 4, g_date_get_year(&day));
    put_digits(text + 5, 2, g_date_get_month(&day));
    put_digits(text + 8, 2, g_date_get_day(&day));
    put_digits(text + 11, 2, (guint)(seconds / 3600 % 24));
    put_digits(text + 14, 2, (guint)(seconds / 60 % 60));
    put_digits(text + 17, 2, (guint)(seconds % 60));
    append_string(out, text);
}

static void append_value(GString *out, char conversion, va_list *args)
{
    int number;

    switch (conversion) {
    case 's':
        append_string(out, va_arg(*args, const char *));
        break;
    case 'i':
        append_integer(out, va_arg(*args, int));
        break;
    case 'n':
        number = va_arg(*args, int);
        if (number == VF_UNSET)
            append(out, "null", 4);
        else
            append_integer(out, number);
        break;
    case 'I':
        append_integer(out, va_arg(*args, gint64));
        break;
    case 'b':
        if (va_arg(*args, gboolean))
            append(out, "true", 4);
        else
            append(out, "false", 5);
        break;
    case 'a':
        append_address(out, va_arg(*args, const VfPciAddr *));
        break;
    case 't':
        append_time(out, va_arg(*args, gint64));
        break;
    default:
        g_assert_not_reached();
    }
}

// Of a template: what stands between two conversions.
static void append_literal(GString *out, const char *text, gsize length)
{
    gsize at = out->len;

    append(out, text, length);
    for (char *c = out->str + at, *end = c + length; c < end; c++)
        if (*c == '\'')
            *c = '"';
}

void vf_json_append(GString *out, const char *template, ...)
{
    const char *conversion;
    va_list args;

    va_start(args, template);
    while (*(conversion = strchrnul(template, '%')) != '\0') {
        append_literal(out, template, (gsize)(conversion - template));
        append_value(out, conversion[1], &args);
        template = conversion + 2;
    }
    append_literal(out, template, (gsize)(conversion - template));
    va_end(args);
}

void vf_json_next(GString *out)
{
    if (out->len > 0 && out->str[out->len - 1] != '[')
        g_string_append_c(out, ',');
}
