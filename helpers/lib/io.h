// SPDX-License-Identifier: GPL-2.0-or-later
//
// One-job wrappers around small kernel files (sysfs, procfs). Each failure names the path and
// errno, code VF_ERROR_SYSFS. Paths are built with vf_path() from a root: "" on a real host, a
// directory in tests, so that the shipped binaries are the ones that are tested.

#pragma once

#include <glib.h>

// printf under a root: vf_path(root, "/sys/bus/pci/devices/%s", bdf). Never NULL; caller frees.
G_GNUC_PRINTF(2, 3)
char *vf_path(const char *root, const char *format, ...);

// First 4 KiB of a text file without trailing white space; NULL on error. Caller frees.
char *vf_io_read(const char *path, GError **error);

// Unsigned number in decimal or 0x-hex.
gboolean vf_io_read_uint(const char *path, guint64 *value, GError **error);

// Writes text with one write(2), as sysfs wants it. An existing file only; never creates one.
gboolean vf_io_write(const char *path, const char *text, GError **error);

// Last component of a symbolic link's target ("vfio-pci" for .../driver); NULL without an error
// when the link does not exist, NULL with *error on any other failure. Caller frees.
char *vf_io_link_name(const char *path, GError **error);
