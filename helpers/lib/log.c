// SPDX-License-Identifier: GPL-2.0-or-later
//
// Structured log lines through GLib's writer: the journal under systemd, stderr elsewhere.

#include "log.h"

#include <string.h>

static const char *priority(GLogLevelFlags level)
{
    switch (level & G_LOG_LEVEL_MASK) {
    case G_LOG_LEVEL_CRITICAL:
    case G_LOG_LEVEL_WARNING:
        return "4";
    case G_LOG_LEVEL_MESSAGE:
        return "5";
    case G_LOG_LEVEL_INFO:
        return "6";
    default:
        return "7";
    }
}

void vf_log(GLogLevelFlags level, const char *domain, const char *function, const char *format, ...)
{
    va_list args;
    GLogField fields[5];
    gsize n = 0;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    fields[n++] = (GLogField){"MESSAGE", message, -1};
    fields[n++] = (GLogField){"PRIORITY", priority(level), -1};
    fields[n++] = (GLogField){"GLIB_DOMAIN", G_LOG_DOMAIN, -1};
    if (domain != NULL)
        fields[n++] = (GLogField){"VIRTFN_DOMAIN", domain, -1};
    if (function != NULL)
        fields[n++] = (GLogField){"VIRTFN_FUNCTION", function, -1};
    g_log_structured_array(level, fields, n);
}
