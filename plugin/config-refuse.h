// SPDX-License-Identifier: GPL-2.0-or-later
//
// What groups of a configuration refuse alike. Each sets VF_ERROR_CONFIG "FILE:LINE: cause --
// remedy" and returns FALSE, so that a reader's line is `return vf_config_…`.

#pragma once

#include <glib.h>

#include "config-scan.h"

// "KEY: 'VALUE' is not valid -- REMEDY".
gboolean vf_config_bad_value(GError **error, const char *file, const VfConfigEntry *entry,
                             const char *remedy);

// "'KEY' is not a key of OWNER -- keys are KEYS".
gboolean vf_config_unknown_key(GError **error, const char *file, const VfConfigEntry *entry,
                               const char *owner, const char *keys);

// "WHAT is defined already at FIRST_FILE:FIRST_LINE -- rename or remove one".
gboolean vf_config_used_twice(GError **error, const char *file, guint line, const char *what,
                              const char *first_file, guint first_line);

// TRUE for 1 to 32 of the characters that need no quoting in messages, JSON, URLs and XML aliases.
gboolean vf_config_check_name(GError **error, const char *file, const VfConfigEntry *entry,
                              const char *name);

// TRUE for the absolute path of a program, without control characters.
gboolean vf_config_is_program(const char *path);
