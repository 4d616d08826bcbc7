// SPDX-License-Identifier: GPL-2.0-or-later
//
// Text from outside inside a message: short, on one line, printable, whatever was sent.

#pragma once

#include <glib.h>

#define VF_QUOTE_MAX 40

// 'TEXT' in single quotes, at most VF_QUOTE_MAX characters and then "...". Control characters and
// bytes that are not UTF-8 become '?'. length -1 = up to the NUL. Never NULL; caller frees.
char *vf_quote(const char *text, gssize length);

// The same without quotes and with a limit of the caller's, for messages of other libraries.
char *vf_quote_excerpt(const char *text, gssize length, guint max);
