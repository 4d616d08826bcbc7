// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fake kernel in unit tests: main() calls fake_kernel_start() first, each test makes a host of
// its own with fake_host() and gets rid of it with fake_host_free(). Paths are below the root.

#pragma once

#include <glib.h>

#include "pciaddr.h"

// Starts this program again with the fake kernel preloaded, unless it is. Before g_test_init().
void fake_kernel_start(char **argv);

// A host with these cards (NULL at the end, see tests/lib/fakehost), which becomes the root of the
// fake kernel of this process. Returns the root.
char *fake_host(const char *card, ...) G_GNUC_NULL_TERMINATED;
void fake_host_free(char *root);

// Where a function is of an igb that fakehost made at `pf`.
VfPciAddr fake_igb_vf(const VfPciAddr *pf, guint index);

// Path of virtfn-numvfs. Caller frees.
char *fake_helper(void);

// write(2) of text to an existing attribute: 0 or the errno.
int fake_write(const char *root, const char *path, const char *text);

// Contents of a file without the newline at its end, "" when there is none. Caller frees.
char *fake_read(const char *root, const char *path);

// Adds a line to .fail, .delay or .pf/BDF, or to any other file.
void fake_append(const char *root, const char *path, const char *line);

gboolean fake_exists(const char *root, const char *path);

// Last component of a link, "" when there is none. Caller frees.
char *fake_link(const char *root, const char *path);

// Line of the log that begins with `prefix`, from line `from` on: its number, -1 when there is
// none.
int fake_log_find(const char *root, const char *prefix, int from);
