// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cells are cleaned when they come in, widths are counted in characters when the table is printed.
// Knows nothing of terminals but the flag it is given.

#include "table.h"

#include <string.h>

#define WRAP_COLUMNS 80

struct VfTable {
    const char *const *titles;
    guint columns;
    GPtrArray *cells; // of char *, row after row
};

VfTable *vf_table_new(const char *const *titles)
{
    VfTable *table = g_new0(VfTable, 1);

    table->titles = titles;
    table->columns = g_strv_length((char **)titles);
    table->cells = g_ptr_array_new_with_free_func(g_free);
    return table;
}

void vf_table_free(VfTable *table)
{
    if (table == NULL)
        return;
    g_ptr_array_unref(table->cells);
    g_free(table);
}

char *vf_text_clean(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_new(NULL);

    for (const char *at = valid; *at != '\0'; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        g_string_append_unichar(clean, g_unichar_iscntrl(c) || c == 0xfffd ? '?' : c);
    }
    return g_string_free(clean, FALSE);
}

void vf_table_add(VfTable *table, const char *cell)
{
    gboolean empty = cell == NULL || cell[0] == '\0';

    g_ptr_array_add(table->cells, empty ? g_strdup("-") : vf_text_clean(cell));
}

void vf_table_addf(VfTable *table, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *cell = g_strdup_vprintf(format, args);
    va_end(args);
    vf_table_add(table, cell);
}

static glong column_width(const VfTable *table, guint column)
{
    glong width = g_utf8_strlen(table->titles[column], -1);

    for (guint i = column; i < table->cells->len; i += table->columns)
        width = MAX(width, g_utf8_strlen(table->cells->pdata[i], -1));
    return width;
}

// The last column is not padded: no line ends in blanks.
static void append_padded(GString *text, const char *cell, glong width, gboolean last)
{
    g_string_append(text, cell);
    for (glong i = g_utf8_strlen(cell, -1); !last && i < width + 2; i++)
        g_string_append_c(text, ' ');
    if (last)
        g_string_append_c(text, '\n');
}

char *vf_table_format(const VfTable *table, gboolean terminal, const char *indent)
{
    GString *text = g_string_new(NULL);
    g_autofree glong *widths = g_new0(glong, table->columns);

    for (guint i = 0; terminal && i < table->columns; i++)
        widths[i] = column_width(table, i);
    for (guint i = 0; terminal && i < table->columns; i++)
        append_padded(i == 0 ? g_string_append(text, indent) : text, table->titles[i], widths[i],
                      i + 1 == table->columns);
    for (guint i = 0; i < table->cells->len; i++) {
        guint column = i % table->columns;
        const char *cell = table->cells->pdata[i];

        if (column == 0)
            g_string_append(text, indent);
        if (terminal)
            append_padded(text, cell, widths[column], column + 1 == table->columns);
        else
            g_string_append_printf(text, "%s%c", cell, column + 1 == table->columns ? '\n' : '\t');
    }
    return g_string_free(text, FALSE);
}

char *vf_text_wrap(const char *first, const char *rest, const char *text)
{
    g_autofree char *clean = vf_text_clean(text);
    g_auto(GStrv) words = g_strsplit(clean, " ", -1);
    GString *lines = g_string_new(first);
    glong column = g_utf8_strlen(first, -1);
    gboolean at_start = TRUE;

    for (guint i = 0; words[i] != NULL; i++) {
        glong width = g_utf8_strlen(words[i], -1);

        if (!at_start && column + 1 + width > WRAP_COLUMNS) {
            g_string_append_printf(lines, "\n%s", rest);
            column = g_utf8_strlen(rest, -1);
        } else if (!at_start) {
            g_string_append_c(lines, ' ');
            column++;
        }
        g_string_append(lines, words[i]);
        column += width;
        at_start = FALSE;
    }
    g_string_append_c(lines, '\n');
    return g_string_free(lines, FALSE);
}
