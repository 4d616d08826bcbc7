// SPDX-License-Identifier: GPL-2.0-or-later
//
// Domain XML: reading an annotation and rendering it. Pure functions of their arguments; XML is
// hostile until parsed. The annotation (man 5 virtfn-domain):
//
//   <metadata><virtfn:devices xmlns:virtfn="urn:virtfn:domain:1.0">
//     <virtfn:device name="net0" pool="uplink" mac="52:54:00:12:34:56" vlan="42"/>
//   </virtfn:devices></metadata>
//
// Order of use: vf_domain_parse() to learn the claims; the allocator places them; then
// vf_domain_render() with one placement per claim.

#pragma once

#include <glib.h>

#include "attachment.h"
#include "pciaddr.h"
#include "settings.h"

#define VF_DOMAIN_NS "urn:virtfn:domain:1.0"
#define VF_DOMAIN_NS_PREFIX "urn:virtfn:domain:" // any version
#define VF_ALIAS_PREFIX "ua-virtfn-"
#define VF_QMP_CHARDEV "virtfn-qmp"
#define VF_DOMAIN_MAX_BYTES (4 * 1024 * 1024)
#define VF_DOMAIN_MAX_CLAIMS 256

// What one <virtfn:device> asks for. name and pool match [A-Za-z0-9][A-Za-z0-9_.-]{0,31}
// (name without '.', because it becomes part of a libvirt alias).
typedef struct {
    char *name;
    char *pool;
    VfSettings settings;
    VfBrokerAsk ask; // of its pool's card
} VfClaim;

// A PCI device that the XML passes through: <hostdev type='pci'> or <interface type='hostdev'>.
typedef struct {
    VfPciAddr address;
    char *claim; // device name when virtfn rendered it (alias ua-virtfn-NAME), else NULL
} VfHostdev;

typedef struct {
    char uuid[37];     // lower case; empty when the XML has none (a file for virsh create)
    char *name;        // 1 to 255 bytes without control characters
    GPtrArray *claims; // of VfClaim, in document order; empty without an annotation
    GArray *hostdevs;  // of VfHostdev, in document order
} VfDomain;

// Parses the XML of a domain (libvirt's live or inactive form, or a user's file; a status or save
// document is searched for its <domain>). VF_ERROR_INPUT, with the line, for: not UTF-8, not
// well-formed, a DOCTYPE (entities are never expanded), more than VF_DOMAIN_MAX_BYTES, no <domain>
// or one without a valid <name>, another version of the namespace, a second <virtfn:devices>, an
// unknown element or attribute, a missing or malformed attribute, a device name used twice, more
// than VF_DOMAIN_MAX_CLAIMS claims, a source address of a PCI device that libvirt would not read
// either. Thread-safe, prints nothing.
VfDomain *vf_domain_parse(const char *xml, gsize length, GError **error);
void vf_domain_free(VfDomain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfDomain, vf_domain_free)

// Where a claim's function is, or will be once its PF has the pool's number of VFs.
typedef struct {
    const char *device; // the claim's name
    VfPciAddr address;
} VfPlacement;

// Renders: one <hostdev managed='no'> with alias ua-virtfn-NAME per placement, and, when there is a
// placement, virtfn's QMP socket QMP_DIR/UUID.sock in <qemu:commandline> (left out when the
// document has no uuid). A claim without a placement gets nothing, and what an earlier rendering
// added for it is removed; so no placements at all undo a rendering. A hostdev that is right
// already is kept as it stands; of one with another source address only that address changes, its
// guest <address> stays. Everything that is not virtfn's comes out byte for byte. Rendering the
// result again with the same placements gives the same bytes.
// Returns the new document, caller frees; *changed tells whether it differs from `xml`. Errors as
// vf_domain_parse(); VF_ERROR_INPUT also for a placement without a claim, one given twice, or a
// result of more than VF_DOMAIN_MAX_BYTES; VF_ERROR_CONFIG for a qmp_dir that cannot hold a socket.
char *vf_domain_render(const char *xml, gsize length, const VfPlacement *placements,
                       guint n_placements, const char *qmp_dir, gboolean *changed, GError **error);

// The element (<hostdev> or <interface>) that passes this function through, byte for byte; *alias
// (may be NULL) is its alias, NULL when it has none. Caller frees both. NULL without an error when
// the domain does not have the function. In domdevice.c.
char *vf_domain_device_xml(const char *xml, gsize length, const VfPciAddr *address, char **alias,
                           GError **error);

// The <hostdev> element alone, as virDomainAttachDeviceFlags() takes it. Caller frees.
char *vf_domain_hostdev_xml(const VfPlacement *placement);
