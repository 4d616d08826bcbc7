// SPDX-License-Identifier: GPL-2.0-or-later
//
// XML text that is hostile until parsed, as a libxml2 tree plus the place of each element in the
// text. libxml2 alone says what the document means; the places let a caller change single
// elements in the original bytes, so that all the rest keeps its quotes, line ends and comments.
// Only the modules about domain XML include this header.

#pragma once

#include <glib.h>
#include <libxml/tree.h>

// Byte offsets: "<" of the start tag, behind its ">", "<" of the end tag, behind its ">". For
// <empty/> the last three are equal.
typedef struct {
    gsize start, open_end, close_start, end;
} VfXmlSpan;

typedef struct {
    const char *xml; // the caller's, must stay
    gsize length;
    xmlDoc *doc;
    GArray *spans; // of VfXmlSpan, one per element in document order
} VfXmlText;

// Parses UTF-8 text of at most `max` bytes, without network, DTD or entities. VF_ERROR_INPUT, with
// the line, for text that is not UTF-8, not well-formed, too deep (libxml2's 256) or has a DOCTYPE.
VfXmlText *vf_xmltext_load(const char *xml, gsize length, gsize max, GError **error);
void vf_xmltext_free(VfXmlText *text);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfXmlText, vf_xmltext_free)

const VfXmlSpan *vf_xmltext_span(const VfXmlText *text, const xmlNode *element);

// Is this node an element with that name in that namespace (NULL = in none)?
gboolean vf_xmltext_is(const xmlNode *node, const char *ns, const char *name);

// The first such element among `node` and its following siblings; NULL when there is none.
xmlNode *vf_xmltext_find(xmlNode *node, const char *ns, const char *name);

// Value of an attribute in no namespace, NULL when it is absent. Caller frees.
char *vf_xmltext_attribute(const xmlNode *element, const char *name);

// Text of an element and its descendants. Never NULL; caller frees.
char *vf_xmltext_content(const xmlNode *element);

// Sets VF_ERROR_INPUT "domain XML, line N: FORMATTED".
G_GNUC_PRINTF(3, 4)
void vf_xmltext_error(GError **error, const xmlNode *node, const char *format, ...);
