// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading a domain: its identity, what its annotation claims and which PCI devices it passes
// through. Strict about what is virtfn's (every element and attribute is known or refused, since a
// misspelt setting that is silently dropped is a guest on the wrong VLAN), lenient about the rest,
// which is libvirt's to judge. The renderer is in render.c.

#include "domtree.h"

#include <string.h>

#include "error.h"
#include "quote.h"

// libvirt keeps a domain in NAME.xml, so no name is longer than a file name.
#define DOMAIN_NAME_MAX 255

static void claim_free(gpointer data)
{
    VfClaim *claim = data;

    g_free(claim->name);
    g_free(claim->pool);
    vf_settings_clear(&claim->settings);
    vf_broker_ask_clear(&claim->ask);
    g_free(claim);
}

static void hostdev_clear(gpointer data)
{
    g_free(((VfHostdev *)data)->claim);
}

void vf_domain_free(VfDomain *domain)
{
    if (domain == NULL)
        return;
    g_free(domain->name);
    g_ptr_array_unref(domain->claims);
    g_array_unref(domain->hostdevs);
    g_free(domain);
}

// Writes the 8-4-4-4-12 form. libvirt reads dashes and blanks wherever a byte ends, so do we.
static gboolean read_uuid(const char *text, char *uuid)
{
    int digits = 0, out = 0;

    for (const char *p = text; *p != '\0'; p++) {
        if (digits % 2 == 0 && (*p == '-' || g_ascii_isspace(*p)))
            continue;
        if (!g_ascii_isxdigit(*p) || digits == 32)
            return FALSE;
        if (digits == 8 || digits == 12 || digits == 16 || digits == 20)
            uuid[out++] = '-';
        uuid[out++] = g_ascii_tolower(*p);
        digits++;
    }
    uuid[out] = '\0';
    return digits == 32;
}

static gboolean read_identity(xmlNode *node, VfDomain *domain, GError **error)
{
    xmlNode *uuid = vf_xmltext_find(node->children, NULL, "uuid");
    xmlNode *name = vf_xmltext_find(node->children, NULL, "name");

    if (name == NULL) {
        vf_xmltext_error(error, node, "<domain> has no <name>");
        return FALSE;
    }
    domain->name = vf_xmltext_content(name);
    gboolean printable = domain->name[0] != '\0' && strlen(domain->name) <= DOMAIN_NAME_MAX;
    for (const char *p = domain->name; printable && *p != '\0'; p++)
        printable = !g_ascii_iscntrl(*p);
    if (!printable) {
        g_autofree char *quoted = vf_quote(domain->name, -1);
        vf_xmltext_error(error, name,
                         "<name>: %s is not valid" VF_REMEDY
                         "give 1 to %d bytes without control characters",
                         quoted, DOMAIN_NAME_MAX);
        return FALSE;
    }

    g_autofree char *text = uuid != NULL ? vf_xmltext_content(uuid) : NULL;
    if (text == NULL || read_uuid(text, domain->uuid))
        return TRUE;
    g_autofree char *quoted = vf_quote(text, -1);
    vf_xmltext_error(error, uuid, "<uuid>: %s is not a UUID", quoted);
    return FALSE;
}

// One of name= and pool=, which every claim must have.
static char *read_name(const xmlNode *device, const char *attribute, gboolean dots, GError **error)
{
    g_autofree char *value = vf_xmltext_attribute(device, attribute);

    if (value == NULL) {
        vf_xmltext_error(error, device, "<device> has no attribute '%s'", attribute);
        return NULL;
    }
    if (vf_domtree_valid_name(value, dots))
        return g_steal_pointer(&value);
    g_autofree char *quoted = vf_quote(value, -1);
    vf_xmltext_error(error, device,
                     "<device>: %s %s is not valid" VF_REMEDY "give up to %d of A-Z a-z 0-9 _ -%s, "
                     "a letter or digit first",
                     attribute, quoted, VF_DOMTREE_NAME_MAX, dots ? " ." : "");
    return NULL;
}

// The attributes of a claim for an accelerator.
static gboolean is_ask_word(const char *name)
{
    static const char *const words[] = {"accelerator", "priority", "sharing", "start", NULL};

    return g_strv_contains(words, name);
}

static gboolean read_ask(const xmlNode *device, const char *key, const char *value, VfClaim *claim,
                         GError **error)
{
    g_autofree char *quoted = vf_quote(value, -1);
    const char *remedy;

    if (g_str_equal(key, "accelerator")) {
        if (vf_domtree_valid_name(value, TRUE)) {
            claim->ask.accelerator = g_strdup(value);
            return TRUE;
        }
        remedy = "give the name of an [accelerator]";
    } else if (g_str_equal(key, "priority")) {
        if (vf_broker_ask_priority(&claim->ask, value))
            return TRUE;
        remedy = "give a number from 0, the lowest, to 15";
    } else if (g_str_equal(key, "sharing")) {
        if (vf_broker_ask_sharing(&claim->ask, value))
            return TRUE;
        remedy = "give 'yes', 'no' or a weight from 1 to 10000";
    } else {
        claim->ask.on_access = g_str_equal(value, "paused");
        if (claim->ask.on_access || g_str_equal(value, "running"))
            return TRUE;
        remedy = "give 'paused' or 'running'";
    }
    vf_xmltext_error(error, device, "device '%s': %s %s is not valid" VF_REMEDY "%s", claim->name,
                     key, quoted, remedy);
    return FALSE;
}

static gboolean read_setting(const xmlNode *device, const xmlAttr *attr, VfClaim *claim,
                             GError **error)
{
    const char *key = (const char *)attr->name;
    g_autofree char *quoted = vf_quote(key, -1);
    g_autofree char *value = vf_xmltext_attribute(device, key);
    g_autoptr(GError) cause = NULL;

    if (attr->ns != NULL)
        vf_xmltext_error(error, device,
                         "device '%s': attribute %s has a namespace prefix" VF_REMEDY
                         "write it without one",
                         claim->name, quoted);
    else if (is_ask_word(key))
        return read_ask(device, key, value, claim, error);
    else if (g_str_equal(key, "program"))
        vf_xmltext_error(error, device,
                         "device '%s': attribute 'program' is for the operator" VF_REMEDY
                         "put it into a [profile] of the pool's file",
                         claim->name);
    else if (vf_settings_set(&claim->settings, key, value, &cause))
        return TRUE;
    else if (vf_error_code(cause) == VF_ERROR_NOT_FOUND)
        vf_xmltext_error(error, device,
                         "device '%s': unknown attribute %s" VF_REMEDY
                         "see virtfn-domain(5) for those there are",
                         claim->name, quoted);
    else
        vf_xmltext_error(error, device, "device '%s': %s", claim->name, cause->message);
    return FALSE;
}

// Nothing but comments and white space may stand in virtfn's elements, apart from `allowed`.
static gboolean check_content(const xmlNode *parent, const char *allowed, GError **error)
{
    for (xmlNode *node = parent->children; node != NULL; node = node->next) {
        if (node->type == XML_COMMENT_NODE || node->type == XML_PI_NODE || xmlIsBlankNode(node))
            continue;
        if (allowed != NULL && vf_xmltext_is(node, VF_DOMAIN_NS, allowed))
            continue;
        if (node->type != XML_ELEMENT_NODE) {
            vf_xmltext_error(error, node, "text in <%s>", parent->name);
            return FALSE;
        }
        g_autofree char *quoted = vf_quote((const char *)node->name, -1);
        vf_xmltext_error(error, node, "unknown element %s in <%s>", quoted, parent->name);
        return FALSE;
    }
    return TRUE;
}

// What belongs to an accelerator is of no use without one.
static gboolean check_ask(const xmlNode *device, const VfClaim *claim, GError **error)
{
    static const char *const words[] = {"priority", "sharing", "start"};

    for (guint i = 0; claim->ask.accelerator == NULL && i < G_N_ELEMENTS(words); i++) {
        g_autofree char *value = vf_xmltext_attribute(device, words[i]);

        if (value == NULL)
            continue;
        vf_xmltext_error(error, device,
                         "device '%s': attribute '%s' without 'accelerator'" VF_REMEDY
                         "name an accelerator, or leave it out",
                         claim->name, words[i]);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_claim(xmlNode *device, VfDomain *domain, GError **error)
{
    VfClaim *claim = g_new0(VfClaim, 1);

    vf_settings_init(&claim->settings);
    claim->ask.weight = VF_ASK_WEIGHT;
    g_ptr_array_add(domain->claims, claim);
    if (domain->claims->len > VF_DOMAIN_MAX_CLAIMS) {
        vf_xmltext_error(error, device, "more than %d <device> elements", VF_DOMAIN_MAX_CLAIMS);
        return FALSE;
    }
    if ((claim->name = read_name(device, "name", FALSE, error)) == NULL ||
        (claim->pool = read_name(device, "pool", TRUE, error)) == NULL ||
        !check_content(device, NULL, error))
        return FALSE;
    for (guint i = 0; i < domain->claims->len - 1; i++) {
        const VfClaim *other = g_ptr_array_index(domain->claims, i);

        if (g_str_equal(other->name, claim->name)) {
            vf_xmltext_error(error, device, "device '%s': the name is used twice", claim->name);
            return FALSE;
        }
    }
    for (const xmlAttr *attr = device->properties; attr != NULL; attr = attr->next) {
        const char *key = (const char *)attr->name;
        gboolean naming = g_str_equal(key, "name") || g_str_equal(key, "pool");

        if ((attr->ns != NULL || !naming) && !read_setting(device, attr, claim, error))
            return FALSE;
    }
    return check_ask(device, claim, error);
}

static gboolean read_devices(xmlNode *devices, VfDomain *domain, GError **error)
{
    if (devices->properties != NULL) {
        g_autofree char *quoted = vf_quote((const char *)devices->properties->name, -1);
        vf_xmltext_error(error, devices, "unknown attribute %s of <devices>", quoted);
        return FALSE;
    }
    if (!check_content(devices, "device", error))
        return FALSE;
    for (xmlNode *device = vf_xmltext_find(devices->children, VF_DOMAIN_NS, "device");
         device != NULL; device = vf_xmltext_find(device->next, VF_DOMAIN_NS, "device"))
        if (!read_claim(device, domain, error))
            return FALSE;
    return TRUE;
}

// An element directly in <metadata>: ours, ours but wrong, or somebody else's.
static gboolean read_metadata(xmlNode *node, VfDomain *domain, gboolean *seen, GError **error)
{
    const char *ns = node->ns != NULL ? (const char *)node->ns->href : NULL;
    g_autofree char *quoted = vf_quote(ns != NULL ? ns : (const char *)node->name, -1);

    if (ns == NULL) {
        if (!g_str_has_prefix((const char *)node->name, "virtfn:"))
            return TRUE;
        vf_xmltext_error(error, node,
                         "the prefix of %s is not declared" VF_REMEDY "add xmlns:virtfn='%s'",
                         quoted, VF_DOMAIN_NS);
        return FALSE;
    }
    if (!g_str_has_prefix(ns, VF_DOMAIN_NS_PREFIX))
        return TRUE;
    if (!g_str_equal(ns, VF_DOMAIN_NS)) {
        vf_xmltext_error(error, node, "namespace %s is not supported" VF_REMEDY "use '%s'", quoted,
                         VF_DOMAIN_NS);
        return FALSE;
    }
    if (!g_str_equal((const char *)node->name, "devices")) {
        g_autofree char *name = vf_quote((const char *)node->name, -1);
        vf_xmltext_error(error, node, "unknown element %s in <metadata>", name);
        return FALSE;
    }
    if (*seen) {
        vf_xmltext_error(error, node, "a second <devices> of virtfn" VF_REMEDY "use one");
        return FALSE;
    }
    *seen = TRUE;
    return read_devices(node, domain, error);
}

static gboolean read_annotation(xmlNode *node, VfDomain *domain, GError **error)
{
    gboolean seen = FALSE;

    for (xmlNode *metadata = vf_xmltext_find(node->children, NULL, "metadata"); metadata != NULL;
         metadata = vf_xmltext_find(metadata->next, NULL, "metadata"))
        for (xmlNode *child = metadata->children; child != NULL; child = child->next)
            if (child->type == XML_ELEMENT_NODE && !read_metadata(child, domain, &seen, error))
                return FALSE;
    return TRUE;
}

// <hostdev type='pci'> and <interface type='hostdev'>: the elements with one name, in order.
static gboolean read_hostdev(xmlNode *device, VfDomain *domain, GError **error)
{
    gboolean interface = vf_xmltext_is(device, NULL, "interface");
    g_autofree char *type = vf_xmltext_attribute(device, "type");
    xmlNode *address = vf_domtree_source_address(device);
    g_autofree char *kind = address != NULL ? vf_xmltext_attribute(address, "type") : NULL;
    VfHostdev hostdev = {0};

    if (address == NULL || g_strcmp0(type, interface ? "hostdev" : "pci") != 0 ||
        (interface && g_strcmp0(kind, "pci") != 0))
        return TRUE;
    if (!vf_domtree_read_address(address, &hostdev.address, error))
        return FALSE;
    hostdev.claim = interface ? NULL : vf_domtree_claim(device);
    g_array_append_val(domain->hostdevs, hostdev);
    return TRUE;
}

static gboolean read_hostdevs(xmlNode *node, VfDomain *domain, GError **error)
{
    for (xmlNode *devices = vf_xmltext_find(node->children, NULL, "devices"); devices != NULL;
         devices = vf_xmltext_find(devices->next, NULL, "devices"))
        for (xmlNode *child = devices->children; child != NULL; child = child->next)
            if ((vf_xmltext_is(child, NULL, "hostdev") ||
                 vf_xmltext_is(child, NULL, "interface")) &&
                !read_hostdev(child, domain, error))
                return FALSE;
    return TRUE;
}

VfDomain *vf_domtree_read(const VfXmlText *text, GError **error)
{
    xmlNode *node = vf_domtree_find(text, error);

    if (node == NULL)
        return NULL;
    g_autoptr(VfDomain) domain = g_new0(VfDomain, 1);
    domain->claims = g_ptr_array_new_with_free_func(claim_free);
    domain->hostdevs = g_array_new(FALSE, FALSE, sizeof(VfHostdev));
    g_array_set_clear_func(domain->hostdevs, hostdev_clear);
    if (!read_identity(node, domain, error) || !read_annotation(node, domain, error) ||
        !read_hostdevs(node, domain, error))
        return NULL;
    return g_steal_pointer(&domain);
}

VfDomain *vf_domain_parse(const char *xml, gsize length, GError **error)
{
    g_autoptr(VfXmlText) text = vf_xmltext_load(xml, length, VF_DOMAIN_MAX_BYTES, error);

    return text != NULL ? vf_domtree_read(text, error) : NULL;
}
