// SPDX-License-Identifier: GPL-2.0-or-later
//
// JSON text. Strings come from file names, sysfs and users: bytes that are not UTF-8 are replaced,
// so that every answer is valid whatever they hold.

#include "jsontext.h"

#include <string.h>
#include <time.h>

#include "pciaddr.h"
#include "settings.h"

static gboolean is_plain(guchar c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

static void append_string(GString *out, const char *text)
{
    g_autofree char *valid = NULL;

    if (text == NULL) {
        g_string_append(out, "null");
        return;
    }
    if (!g_utf8_validate(text, -1, NULL))
        text = valid = g_utf8_make_valid(text, -1);
    g_string_append_c(out, '"');
    while (*text != '\0') {
        gsize plain = 0;

        while (is_plain((guchar)text[plain]))
            plain++;
        g_string_append_len(out, text, (gssize)plain);
        text += plain;
        if (*text == '"' || *text == '\\')
            g_string_append_printf(out, "\\%c", *text++);
        else if (*text != '\0')
            g_string_append_printf(out, "\\u%04x", (guint)*text++);
    }
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
    g_string_append_len(out, text + at, (gssize)(sizeof(text) - at));
}

static void append_address(GString *out, const VfPciAddr *address)
{
    char text[VF_PCIADDR_BUFSIZE];

    append_string(out, address != NULL ? vf_pciaddr_format(address, text) : NULL);
}

static void append_time(GString *out, gint64 microseconds)
{
    time_t seconds = (time_t)(microseconds / G_USEC_PER_SEC);
    char text[40] = "";
    struct tm utc;

    if (gmtime_r(&seconds, &utc) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
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
            g_string_append(out, "null");
        else
            append_integer(out, number);
        break;
    case 'I':
        append_integer(out, va_arg(*args, gint64));
        break;
    case 'b':
        g_string_append(out, va_arg(*args, gboolean) ? "true" : "false");
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

void vf_json_append(GString *out, const char *template, ...)
{
    va_list args;

    va_start(args, template);
    for (const char *p = template; *p != '\0'; p++) {
        if (*p == '%')
            append_value(out, *++p, &args);
        else
            g_string_append_c(out, *p == '\'' ? '"' : *p);
    }
    va_end(args);
}

void vf_json_next(GString *out)
{
    if (out->len > 0 && out->str[out->len - 1] != '[')
        g_string_append_c(out, ',');
}
