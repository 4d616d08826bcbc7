// SPDX-License-Identifier: GPL-2.0-or-later
//
// JSON as text, appended to a string after a template. What the daemon answers is written once and
// never looked at again, so it is not built as a tree first: a tree of a lease took ten times as
// long (make bench BENCH=lease-1000). What clients send is read with jansson, or by jsonplain.h.

#pragma once

#include <glib.h>

// Appends `template`, in which ' stands for " and these for a value:
//   %s  const char *: a string, whatever bytes it has; NULL is null
//   %i  int or guint
//   %n  int, null when it is VF_UNSET
//   %I  gint64
//   %b  gboolean
//   %a  const VfPciAddr *: its text; NULL is null
//   %t  gint64, microseconds since 1970: ISO 8601, UTC
//
//     vf_json_append(out, "{'pool':%s,'index':%i}", name, index);
void vf_json_append(GString *out, const char *template, ...);

// Begins the next element of an array: a comma, but for the first one.
void vf_json_next(GString *out);
