// SPDX-License-Identifier: GPL-2.0-or-later
//
// Finding one's way in libvirt's domain XML: the domain, its groups of devices, PCI addresses and
// the aliases that mark what virtfn rendered. Only elements without a namespace are libvirt's own;
// anything else that happens to bear the same name is not looked at.

#include "domtree.h"

#include <string.h>

#include "error.h"
#include "quote.h"

// <domstatus> and <domainsnapshot> have it one level down; nothing of libvirt's has it deeper.
#define DOMAIN_DEPTH 3

static xmlNode *find_domain(xmlNode *parent, int depth)
{
    xmlNode *found = vf_xmltext_find(parent->children, NULL, "domain");

    for (xmlNode *node = parent->children; node != NULL && found == NULL && depth > 1;
         node = node->next)
        if (node->type == XML_ELEMENT_NODE)
            found = find_domain(node, depth - 1);
    return found;
}

xmlNode *vf_domtree_find(const VfXmlText *text, GError **error)
{
    xmlNode *domain = find_domain((xmlNode *)text->doc, DOMAIN_DEPTH);

    if (domain == NULL)
        vf_xmltext_error(error, xmlDocGetRootElement(text->doc),
                         "there is no <domain> element" VF_REMEDY "give the XML of a domain");
    return domain;
}

xmlNode *vf_domtree_next(xmlNode *domain, const char *ns, const char *group, const char *name,
                         xmlNode *previous)
{
    xmlNode *parent = previous != NULL ? previous->parent : NULL;
    xmlNode *found = previous != NULL ? vf_xmltext_find(previous->next, ns, name) : NULL;

    while (found == NULL) {
        parent = vf_xmltext_find(parent != NULL ? parent->next : domain->children, ns, group);
        if (parent == NULL)
            return NULL;
        found = vf_xmltext_find(parent->children, ns, name);
    }
    return found;
}

xmlNode *vf_domtree_source_address(const xmlNode *device)
{
    xmlNode *source = vf_xmltext_find(device->children, NULL, "source");

    return source != NULL ? vf_xmltext_find(source->children, NULL, "address") : NULL;
}

gboolean vf_domtree_valid_name(const char *name, gboolean dots)
{
    gsize length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789_-.");

    return g_ascii_isalnum(name[0]) && name[length] == '\0' && length <= VF_DOMTREE_NAME_MAX &&
           (dots || strchr(name, '.') == NULL);
}

char *vf_domtree_claim(const xmlNode *hostdev)
{
    g_autofree char *type = vf_xmltext_attribute(hostdev, "type");
    xmlNode *alias = vf_xmltext_find(hostdev->children, NULL, "alias");
    g_autofree char *name = alias != NULL ? vf_xmltext_attribute(alias, "name") : NULL;

    if (g_strcmp0(type, "pci") != 0 || name == NULL || !g_str_has_prefix(name, VF_ALIAS_PREFIX) ||
        !vf_domtree_valid_name(name + strlen(VF_ALIAS_PREFIX), FALSE))
        return NULL;
    return g_strdup(name + strlen(VF_ALIAS_PREFIX));
}

// One number of an address: decimal, 0x-hex or octal, 0 when the attribute is left out.
static gboolean read_number(const xmlNode *address, const char *name, guint64 max, guint64 *value,
                            GError **error)
{
    g_autofree char *text = vf_xmltext_attribute(address, name);
    char *end = NULL;

    *value = 0;
    if (text == NULL)
        return TRUE;
    if (g_ascii_isdigit(text[0]))
        *value = g_ascii_strtoull(text, &end, 0);
    if (end != NULL && *end == '\0' && *value <= max)
        return TRUE;
    g_autofree char *quoted = vf_quote(text, -1);
    vf_xmltext_error(error, address,
                     "<address>: %s %s is not valid" VF_REMEDY
                     "give a number from 0 to 0x%" G_GINT64_MODIFIER "x",
                     name, quoted, max);
    return FALSE;
}

gboolean vf_domtree_read_address(const xmlNode *address, VfPciAddr *out, GError **error)
{
    guint64 domain, bus, slot, function;

    if (!read_number(address, "domain", G_MAXUINT32, &domain, error) ||
        !read_number(address, "bus", 0xff, &bus, error) ||
        !read_number(address, "slot", 0x1f, &slot, error) ||
        !read_number(address, "function", 7, &function, error))
        return FALSE;
    *out = (VfPciAddr){(guint32)domain, (guint8)bus, (guint8)slot, (guint8)function};
    return TRUE;
}
