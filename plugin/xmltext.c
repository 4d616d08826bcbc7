// SPDX-License-Identifier: GPL-2.0-or-later
//
// Loading hostile XML and finding its elements in the text. libxml2 judges the document; a scanner
// that knows four kinds of markup then walks the same bytes and notes where each element begins and
// ends. The scanner relies on what libxml2 has proved (well-formed, no DOCTYPE, so no entity adds
// elements), and the two must agree on number and names of the elements, else the text is refused.
// Thread-safe: all state is in the parser context, no global handler is set.

#include "xmltext.h"

#include <libxml/parser.h>
#include <string.h>

#include "error.h"
#include "quote.h"

#define OBJECT "domain XML"

// What the callbacks of one parser context tell vf_xmltext_load().
typedef struct {
    gboolean doctype;
    char *cause; // of the first fatal error; those after it are often its consequences
    int line;
} Verdict;

#if LIBXML_VERSION >= 21200
typedef const xmlError Problem;
#else
typedef xmlError Problem;
#endif

static void on_error(void *context, Problem *problem)
{
    Verdict *verdict = ((xmlParserCtxt *)context)->_private;

    if (problem->level != XML_ERR_FATAL || verdict->cause != NULL)
        return;
    g_autofree char *message = g_strdup(problem->message ? problem->message : "broken markup");
    verdict->cause = vf_quote_excerpt(g_strchomp(message), -1, 120);
    verdict->line = problem->line;
}

// Called before anything of the DTD is read: no entity is ever declared.
static void on_doctype(void *context, const xmlChar *name, const xmlChar *external_id,
                       const xmlChar *system_id)
{
    xmlParserCtxt *parser = context;

    ((Verdict *)parser->_private)->doctype = TRUE;
    xmlStopParser(parser);
}

static gboolean check_bytes(const char *xml, gsize length, gsize max, GError **error)
{
    const char *bad;
    guint line = 1;

    if (length > max) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    OBJECT ": has %" G_GSIZE_FORMAT " bytes, the limit is %" G_GSIZE_FORMAT, length,
                    max);
        return FALSE;
    }
    if (g_utf8_validate_len(xml, length, &bad))
        return TRUE;
    for (const char *p = xml; p < bad; p++)
        line += *p == '\n';
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                OBJECT ", line %u: %s" VF_REMEDY "save the file as UTF-8 text", line,
                *bad == '\0' ? "has a NUL byte" : "is not UTF-8");
    return FALSE;
}

// A declaration of anything else puts a converter between libxml2 and the bytes: it would read
// other text than the scanner, and stop without an error where the conversion fails.
static gboolean check_encoding(const xmlDoc *doc, GError **error)
{
    const char *encoding = (const char *)doc->encoding;

    if (encoding == NULL || g_ascii_strcasecmp(encoding, "UTF-8") == 0)
        return TRUE;
    g_autofree char *quoted = vf_quote(encoding, -1);
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                OBJECT ", line 1: encoding %s is not supported" VF_REMEDY
                       "save the file as UTF-8 text",
                quoted);
    return FALSE;
}

static xmlDoc *parse(const char *xml, gsize length, GError **error)
{
    static gsize once = 0;
    Verdict verdict = {0};

    if (g_once_init_enter(&once)) {
        xmlInitParser();
        g_once_init_leave(&once, 1);
    }

    xmlParserCtxt *parser = xmlNewParserCtxt();
    parser->_private = &verdict;
    parser->sax->serror = on_error;
    parser->sax->internalSubset = on_doctype;
    xmlDoc *doc = xmlCtxtReadMemory(parser, xml, (int)length, NULL, NULL,
                                    XML_PARSE_NONET | XML_PARSE_BIG_LINES | XML_PARSE_COMPACT);
    xmlFreeParserCtxt(parser);

    if (verdict.doctype)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    OBJECT ": has a DOCTYPE" VF_REMEDY "remove it, libvirt does not need one");
    else if (doc == NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, OBJECT ", line %d: not well-formed: %s",
                    verdict.line, verdict.cause ? verdict.cause : "no document");
    else if (check_encoding(doc, error)) {
        g_free(verdict.cause);
        return doc;
    }
    g_free(verdict.cause);
    xmlFreeDoc(doc);
    return NULL;
}

// The byte behind the next `mark`, NULL when there is none.
static const char *skip_past(const char *p, const char *end, const char *mark)
{
    const char *found = memmem(p, (gsize)(end - p), mark, strlen(mark));

    return found != NULL ? found + strlen(mark) : NULL;
}

// Behind the ">" of the start tag at p: a ">" in a quoted attribute value does not end it.
static const char *skip_start_tag(const char *p, const char *end)
{
    for (char quote = 0; p < end; p++) {
        if (quote != 0)
            quote = *p == quote ? 0 : quote;
        else if (*p == '"' || *p == '\'')
            quote = *p;
        else if (*p == '>')
            return p + 1;
    }
    return NULL;
}

static gboolean starts(const char *p, const char *end, const char *mark)
{
    gsize length = strlen(mark);

    return (gsize)(end - p) >= length && memcmp(p, mark, length) == 0;
}

// Handles the start or end tag at p; `open` is the stack of elements not closed yet.
static const char *scan_tag(VfXmlText *text, GArray *open, const char *p, const char *end)
{
    gboolean closes = starts(p, end, "</");
    const char *behind = closes ? skip_past(p, end, ">") : skip_start_tag(p, end);

    if (behind == NULL || (closes && open->len == 0))
        return NULL;
    gsize from = (gsize)(p - text->xml), to = (gsize)(behind - text->xml);
    if (closes) {
        guint index = g_array_index(open, guint, open->len - 1);
        VfXmlSpan *span = &g_array_index(text->spans, VfXmlSpan, index);

        span->close_start = from;
        span->end = to;
        g_array_set_size(open, open->len - 1);
    } else {
        g_array_append_val(text->spans, ((VfXmlSpan){from, to, to, to}));
        if (behind[-2] != '/')
            g_array_append_val(open, ((guint){text->spans->len - 1}));
    }
    return behind;
}

static gboolean scan(VfXmlText *text)
{
    g_autoptr(GArray) open = g_array_new(FALSE, FALSE, sizeof(guint));
    const char *p = text->xml, *end = text->xml + text->length;

    while (p != NULL && (p = memchr(p, '<', (gsize)(end - p))) != NULL) {
        if (starts(p, end, "<!--"))
            p = skip_past(p + 4, end, "-->");
        else if (starts(p, end, "<![CDATA["))
            p = skip_past(p, end, "]]>");
        else if (starts(p, end, "<?"))
            p = skip_past(p, end, "?>");
        else
            p = scan_tag(text, open, p, end);
        if (p == NULL)
            return FALSE;
    }
    return open->len == 0;
}

// Does the text at the span begin with the element's own name?
static gboolean same_name(const VfXmlText *text, const VfXmlSpan *span, const xmlNode *element)
{
    const char *p = text->xml + span->start + 1, *end = text->xml + span->open_end;

    if (element->ns != NULL && element->ns->prefix != NULL) {
        const char *prefix = (const char *)element->ns->prefix;

        if (!starts(p, end, prefix) || p[strlen(prefix)] != ':')
            return FALSE;
        p += strlen(prefix) + 1;
    }
    return starts(p, end, (const char *)element->name) &&
           strchr(" \t\r\n/>", p[strlen((const char *)element->name)]) != NULL;
}

// Gives each element its number in document order, which is its place in spans.
static gboolean number_elements(const VfXmlText *text, xmlNode *parent, guint *next)
{
    for (xmlNode *node = parent->children; node != NULL; node = node->next) {
        if (node->type != XML_ELEMENT_NODE)
            continue;
        if (*next >= text->spans->len ||
            !same_name(text, &g_array_index(text->spans, VfXmlSpan, *next), node))
            return FALSE;
        node->_private = GUINT_TO_POINTER(*next);
        *next += 1;
        if (!number_elements(text, node, next))
            return FALSE;
    }
    return TRUE;
}

VfXmlText *vf_xmltext_load(const char *xml, gsize length, gsize max, GError **error)
{
    guint elements = 0;
    xmlDoc *doc;

    if (!check_bytes(xml, length, max, error) || (doc = parse(xml, length, error)) == NULL)
        return NULL;

    g_autoptr(VfXmlText) text = g_new0(VfXmlText, 1);
    text->xml = xml;
    text->length = length;
    text->doc = doc;
    text->spans = g_array_new(FALSE, FALSE, sizeof(VfXmlSpan));
    if (!scan(text) || !number_elements(text, (xmlNode *)doc, &elements) ||
        elements != text->spans->len) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    OBJECT ": markup cannot be located" VF_REMEDY "let `virsh dumpxml` print it");
        return NULL;
    }
    return g_steal_pointer(&text);
}

void vf_xmltext_free(VfXmlText *text)
{
    if (text == NULL)
        return;
    xmlFreeDoc(text->doc);
    g_array_unref(text->spans);
    g_free(text);
}

const VfXmlSpan *vf_xmltext_span(const VfXmlText *text, const xmlNode *element)
{
    return &g_array_index(text->spans, VfXmlSpan, GPOINTER_TO_UINT(element->_private));
}

gboolean vf_xmltext_is(const xmlNode *node, const char *ns, const char *name)
{
    if (node->type != XML_ELEMENT_NODE || !g_str_equal((const char *)node->name, name))
        return FALSE;
    return g_strcmp0(node->ns ? (const char *)node->ns->href : NULL, ns) == 0;
}

xmlNode *vf_xmltext_find(xmlNode *node, const char *ns, const char *name)
{
    while (node != NULL && !vf_xmltext_is(node, ns, name))
        node = node->next;
    return node;
}

char *vf_xmltext_attribute(const xmlNode *element, const char *name)
{
    xmlChar *value = xmlGetNoNsProp(element, (const xmlChar *)name);
    char *copy = g_strdup((const char *)value);

    xmlFree(value);
    return copy;
}

char *vf_xmltext_content(const xmlNode *element)
{
    xmlChar *content = xmlNodeGetContent(element);
    char *copy = g_strdup(content != NULL ? (const char *)content : "");

    xmlFree(content);
    return copy;
}

void vf_xmltext_error(GError **error, const xmlNode *node, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *cause = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT, OBJECT ", line %ld: %s", xmlGetLineNo(node),
                cause);
}
