// SPDX-License-Identifier: GPL-2.0-or-later
//
// The directory that a unit test makes for itself (g_dir_make_tmp()) and what messages say about
// files in it. Knows nothing of fake hosts: fake.h has those.

#pragma once

#include <glib.h>

// The directory with everything in it; links are removed, not followed.
void scratch_remove(const char *directory);

// That an error of virtfn has this code and this message, in which files of the directory are named
// without it: "tool: exit status 1".
void scratch_assert_error(const char *directory, const GError *error, int code,
                          const char *expected);
