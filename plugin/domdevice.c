// SPDX-License-Identifier: GPL-2.0-or-later
//
// One passed-through function in a domain's XML: the text of its element, so that a device which is
// taken from a guest can be given back as it was, guest address and all.

#include "domtree.h"
#include "error.h"

static const char *const elements[] = {"hostdev", "interface"};

static gboolean is_at(const xmlNode *device, const VfPciAddr *address)
{
    xmlNode *source = vf_domtree_source_address(device);
    VfPciAddr found;

    return source != NULL && vf_domtree_read_address(source, &found, NULL) &&
           vf_pciaddr_equal(&found, address);
}

static xmlNode *find(xmlNode *domain, const VfPciAddr *address)
{
    for (gsize i = 0; i < G_N_ELEMENTS(elements); i++) {
        xmlNode *device = NULL;

        do
            device = vf_domtree_next(domain, NULL, "devices", elements[i], device);
        while (device != NULL && !is_at(device, address));
        if (device != NULL)
            return device;
    }
    return NULL;
}

char *vf_domain_device_xml(const char *xml, gsize length, const VfPciAddr *address, char **alias,
                           GError **error)
{
    g_autoptr(VfXmlText) text = vf_xmltext_load(xml, length, VF_DOMAIN_MAX_BYTES, error);
    xmlNode *domain = text != NULL ? vf_domtree_find(text, error) : NULL;
    xmlNode *device = domain != NULL ? find(domain, address) : NULL;

    if (device == NULL)
        return NULL;
    if (alias != NULL) {
        xmlNode *element = vf_xmltext_find(device->children, NULL, "alias");

        *alias = element != NULL ? vf_xmltext_attribute(element, "name") : NULL;
    }
    const VfXmlSpan *span = vf_xmltext_span(text, device);
    return g_strndup(xml + span->start, span->end - span->start);
}
