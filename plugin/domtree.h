// SPDX-License-Identifier: GPL-2.0-or-later
//
// The parts of libvirt's domain XML that both the reader and the renderer look for, in a loaded
// text. Internal to domxml.c and render.c.

#pragma once

#include "domxml.h"
#include "xmltext.h"

// The <domain> itself: the root, or the first one near it (status, snapshot and save documents
// wrap it). VF_ERROR_INPUT when there is none.
xmlNode *vf_domtree_find(const VfXmlText *text, GError **error);

// The element after `previous` (NULL = the first) among the children named `name` of all children
// named `group` of the domain: libvirt reads them all, not those of the first group only.
xmlNode *vf_domtree_next(xmlNode *domain, const char *ns, const char *group, const char *name,
                         xmlNode *previous);

// <address> of the <source> of a passed-through device; NULL when there is none.
xmlNode *vf_domtree_source_address(const xmlNode *device);

#define VF_DOMTREE_NAME_MAX 32

// Is this a device's name, or (with dots) a pool's?
gboolean vf_domtree_valid_name(const char *name, gboolean dots);

// Device name when virtfn rendered this <hostdev>: a PCI one with alias ua-virtfn-NAME; else NULL.
char *vf_domtree_claim(const xmlNode *hostdev);

// Reads <address domain= bus= slot= function=>, in the number formats libvirt reads.
gboolean vf_domtree_read_address(const xmlNode *address, VfPciAddr *out, GError **error);

// What vf_domain_parse() returns, of a loaded text.
VfDomain *vf_domtree_read(const VfXmlText *text, GError **error);
