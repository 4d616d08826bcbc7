// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rows of text cells for a person or for a script. On a terminal: a header and columns as wide as
// their widest cell; otherwise one line per row, cells parted by a tab, no header, so that `cut`
// and `read` work. Cells come from users and devices: control characters are shown as '?'.

#pragma once

#include <glib.h>

typedef struct VfTable VfTable;

// `titles` is a NULL-terminated list that outlives the table.
VfTable *vf_table_new(const char *const *titles);
void vf_table_free(VfTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfTable, vf_table_free)

// Appends a cell; the row is complete after as many cells as there are titles. NULL and "" are
// shown as "-", so that no column is ever empty.
void vf_table_add(VfTable *table, const char *cell);
G_GNUC_PRINTF(2, 3)
void vf_table_addf(VfTable *table, const char *format, ...);

// The whole table as text; each row starts with `indent`. Caller frees.
char *vf_table_format(const VfTable *table, gboolean terminal, const char *indent);

// A copy of one line of text that cannot drive a terminal: invalid UTF-8 and control characters
// (C0, DEL, C1) become '?'. Caller frees.
char *vf_text_clean(const char *text);

// The text cleaned and broken at blanks into lines of at most 80 columns: the first starts with
// `first`, the others with `rest`. Ends with a newline. Caller frees.
char *vf_text_wrap(const char *first, const char *rest, const char *text);
