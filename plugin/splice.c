// SPDX-License-Identifier: GPL-2.0-or-later
//
// Edits of XML text and the look of what they insert. Knows elements, lines and indentation, and
// nothing of what the elements mean. An element is "first on its line" when only blanks stand
// between it and the line break before it; that break with the blanks is its prefix, and a prefix
// copied from a neighbour is all it takes to keep tabs, widths and Windows line ends.

#include "splice.h"

#include <string.h>

typedef struct {
    gsize start, end;
    char *with;
} Edit;

struct VfSplice {
    const VfXmlText *text;
    GArray *edits;
};

static void edit_clear(gpointer data)
{
    g_free(((Edit *)data)->with);
}

VfSplice *vf_splice_new(const VfXmlText *text)
{
    VfSplice *splice = g_new0(VfSplice, 1);

    splice->text = text;
    splice->edits = g_array_new(FALSE, FALSE, sizeof(Edit));
    g_array_set_clear_func(splice->edits, edit_clear);
    return splice;
}

void vf_splice_free(VfSplice *splice)
{
    if (splice == NULL)
        return;
    g_array_unref(splice->edits);
    g_free(splice);
}

// The prefix of an element that is first on its line, else NULL.
static char *line_prefix(const VfXmlText *text, const xmlNode *element)
{
    gsize end = vf_xmltext_span(text, element)->start, start = end;

    while (start > 0 && (text->xml[start - 1] == ' ' || text->xml[start - 1] == '\t'))
        start--;
    if (start == 0 || text->xml[start - 1] != '\n')
        return NULL;
    start--;
    if (start > 0 && text->xml[start - 1] == '\r')
        start--;
    return g_strndup(text->xml + start, end - start);
}

// The blanks behind the line break of a prefix; none for the first line of a text.
static const char *blanks(const char *prefix)
{
    return prefix != NULL ? strchr(prefix, '\n') + 1 : "";
}

// What one level of indentation adds between two prefixes.
static char *level_unit(const char *outer, const char *inner)
{
    const char *more = blanks(inner);
    gsize shared = strlen(blanks(outer));

    if (g_str_has_prefix(more, blanks(outer)) && more[shared] != '\0')
        return g_strdup(more + shared);
    return g_strdup("  ");
}

// The prefix for a new child and the unit for what is inside it. FALSE: all on one line.
static gboolean child_layout(const VfXmlText *text, const xmlNode *parent, const xmlNode *after,
                             char **prefix, char **unit)
{
    g_autofree char *own = line_prefix(text, parent);
    const xmlNode *child = after != NULL ? after : parent->last;
    gboolean empty = TRUE;

    for (*prefix = NULL; child != NULL && *prefix == NULL; child = child->prev)
        if (child->type == XML_ELEMENT_NODE) {
            empty = FALSE;
            *prefix = line_prefix(text, child);
        }
    if (*prefix != NULL) {
        *unit = level_unit(own, *prefix);
        return TRUE;
    }
    if (!empty || own == NULL)
        return FALSE;
    g_autofree char *outer = line_prefix(text, parent->parent);
    *unit = level_unit(outer, own);
    *prefix = g_strconcat(own, *unit, NULL);
    return TRUE;
}

// The lines of a block as they will stand; prefix NULL = all on one line.
static void lay_out(GString *out, const char *block, const char *prefix, const char *unit)
{
    g_auto(GStrv) lines = g_strsplit(block, "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        gsize indent = strspn(*line, " ");

        if ((*line)[0] == '\0')
            continue;
        if (prefix != NULL) {
            g_string_append(out, prefix);
            for (gsize level = 0; level < indent / 2; level++)
                g_string_append(out, unit);
        }
        g_string_append(out, *line + indent);
    }
}

void vf_splice_replace(VfSplice *splice, gsize start, gsize end, const char *with)
{
    g_array_append_val(splice->edits, ((Edit){start, end, g_strdup(with)}));
}

void vf_splice_remove(VfSplice *splice, const xmlNode *element)
{
    const VfXmlSpan *span = vf_xmltext_span(splice->text, element);
    g_autofree char *prefix = line_prefix(splice->text, element);

    vf_splice_replace(splice, span->start - (prefix != NULL ? strlen(prefix) : 0), span->end, "");
}

// <parent/> becomes <parent>INSERT</parent>.
static void open_empty(VfSplice *splice, const VfXmlSpan *span, const char *insert, const char *own)
{
    const char *tag = splice->text->xml + span->start + 1;
    g_autofree char *name = g_strndup(tag, strcspn(tag, " \t\r\n/>"));
    g_autofree char *with = g_strconcat(">", insert, own != NULL ? own : "", "</", name, ">", NULL);
    gsize start = span->end - strlen("/>");

    while (g_ascii_isspace(splice->text->xml[start - 1]))
        start--;
    vf_splice_replace(splice, start, span->end, with);
}

void vf_splice_append(VfSplice *splice, const xmlNode *parent, const xmlNode *after,
                      const char *block)
{
    const VfXmlSpan *span = vf_xmltext_span(splice->text, parent);
    const char *xml = splice->text->xml;
    g_autofree char *prefix = NULL, *unit = NULL, *own = NULL;
    g_autoptr(GString) insert = g_string_new(NULL);
    gsize at = span->close_start;

    if (child_layout(splice->text, parent, after, &prefix, &unit))
        own = line_prefix(splice->text, parent);
    lay_out(insert, block, prefix, unit);
    if (span->open_end == span->end) {
        open_empty(splice, span, insert->str, own);
        return;
    }
    if (after != NULL)
        at = vf_xmltext_span(splice->text, after)->end;
    else
        while (at > span->open_end && g_ascii_isspace(xml[at - 1]))
            at--;
    // In <parent></parent> the end tag moves to a line of its own.
    if (own != NULL && span->open_end == span->close_start)
        g_string_append(insert, own);
    vf_splice_replace(splice, at, at, insert->str);
}

// An insertion comes before the removal of what begins in the same place.
static int compare_edits(gconstpointer a, gconstpointer b)
{
    const Edit *left = a, *right = b;

    if (left->start != right->start)
        return left->start < right->start ? -1 : 1;
    return left->end < right->end ? -1 : left->end > right->end;
}

GString *vf_splice_apply(VfSplice *splice)
{
    GString *out = g_string_sized_new(splice->text->length + 1024);
    gsize at = 0;

    g_array_sort(splice->edits, compare_edits); // stable: two insertions in one place keep order
    for (guint i = 0; i < splice->edits->len; i++) {
        const Edit *edit = &g_array_index(splice->edits, Edit, i);

        g_assert(edit->start >= at && edit->end >= edit->start);
        g_string_append_len(out, splice->text->xml + at, (gssize)(edit->start - at));
        g_string_append(out, edit->with);
        at = edit->end;
    }
    return g_string_append_len(out, splice->text->xml + at, (gssize)(splice->text->length - at));
}
