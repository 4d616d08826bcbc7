// SPDX-License-Identifier: GPL-2.0-or-later
//
// The text of a configuration file as a list of entries that know their line. GKeyFile reads the
// values, but it drops line numbers and merges duplicates without a word, so the scan that finds
// the lines refuses what GKeyFile would swallow.

#pragma once

#include <glib.h>

#define VF_CONFIG_MAX_BYTES (1024 * 1024)

typedef struct {
    char *group; // text between the brackets
    char *key;   // NULL for the [group] line itself
    char *value; // unescaped, without white space around it; NULL for the [group] line
    guint line;  // from 1
} VfConfigEntry;

// Every [group] and key=value in order of line. VF_ERROR_CONFIG "FILE:LINE: …" for text over
// VF_CONFIG_MAX_BYTES, invalid UTF-8, control characters, a line that is none of the three kinds, a
// group or a key that occurs twice, a bad escape. Free with g_ptr_array_unref().
GPtrArray *vf_config_scan(const char *text, gsize length, const char *file, GError **error);

// Sets VF_ERROR_CONFIG "FILE:LINE: FORMATTED"; line 0 = the file as a whole.
G_GNUC_PRINTF(4, 5)
void vf_config_error(GError **error, const char *file, guint line, const char *format, ...);
