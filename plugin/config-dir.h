// SPDX-License-Identifier: GPL-2.0-or-later
//
// The files of a configuration directory, as bytes.

#pragma once

#include <glib.h>

// Names of the *.conf files of the directory in strcmp order, hidden files left out; empty when the
// directory does not exist. VF_ERROR_CONFIG when it cannot be read. Free with g_ptr_array_unref().
GPtrArray *vf_config_list(const char *directory, GError **error);

// A regular file's bytes, cut off just above VF_CONFIG_MAX_BYTES, so that the scan refuses it.
// VF_ERROR_CONFIG for what is not a regular file or cannot be read.
GByteArray *vf_config_read(const char *path, GError **error);
