// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rendering: domain XML in, the same bytes out but for virtfn's own <hostdev> elements and the four
// QEMU arguments of its QMP socket. What is there and right is not touched, which makes rendering
// idempotent; the marks of ownership are the alias ua-virtfn-NAME and the chardev virtfn-qmp. The
// inserted XML comes from xml-templates/. Does not choose functions: placements are arguments.

#include "domtree.h"

#include <string.h>
#include <sys/un.h>

#include "error.h"
#include "quote.h"
#include "splice.h"
#include "templates.h"

#define QEMU_NS "http://libvirt.org/schemas/domain/qemu/1.0"

typedef struct {
    const VfXmlText *text;
    xmlNode *domain;
    VfSplice *splice;
    const VfPlacement *placements;
    guint n_placements;
    const char *uuid;
    const char *qmp_dir;
} Render;

char *vf_template_fill(const char *text, const char *const *values)
{
    GString *out = g_string_new(text);

    for (; *values != NULL; values += 2) {
        g_autofree char *placeholder = g_strdup_printf("@%s@", values[0]);
        g_autofree char *escaped = g_markup_escape_text(values[1], -1);

        g_string_replace(out, placeholder, escaped, 0);
    }
    return g_string_free(out, FALSE);
}

char *vf_domain_hostdev_xml(const VfPlacement *placement)
{
    const VfPciAddr *address = &placement->address;
    g_autofree char *domain = g_strdup_printf("0x%04x", address->domain);
    g_autofree char *bus = g_strdup_printf("0x%02x", address->bus);
    g_autofree char *slot = g_strdup_printf("0x%02x", address->device);
    g_autofree char *function = g_strdup_printf("0x%x", address->function);
    const char *const values[] = {"DOMAIN", domain,     "BUS",    bus,    "SLOT",
                                  slot,     "FUNCTION", function, "NAME", placement->device,
                                  NULL};

    return vf_template_fill(vf_template_hostdev, values);
}

// The part of a filled template from `from` to the end of the next `to`.
static char *cut(const char *xml, const char *from, const char *to)
{
    const char *start = strstr(xml, from);
    const char *end = strstr(start, to) + strlen(to);

    return g_strndup(start, (gsize)(end - start));
}

// Points an existing <hostdev> at its placement; guest address, driver and the like stay. managed
// is virtfn's too: libvirt must not hand the function to a host driver when the guest stops.
static void update_hostdev(Render *render, xmlNode *hostdev, xmlNode *address,
                           const VfPlacement *placement)
{
    g_autofree char *wanted = vf_domain_hostdev_xml(placement);
    g_autofree char *managed = vf_xmltext_attribute(hostdev, "managed");
    VfPciAddr present;

    if (managed != NULL && !g_str_equal(managed, "no")) {
        const VfXmlSpan *span = vf_xmltext_span(render->text, hostdev);
        g_autofree char *tag = cut(wanted, "<hostdev", ">");

        vf_splice_replace(render->splice, span->start, span->open_end, tag);
    }
    if (!vf_domtree_read_address(address, &present, NULL) ||
        !vf_pciaddr_equal(&present, &placement->address)) {
        const VfXmlSpan *span = vf_xmltext_span(render->text, address);
        g_autofree char *element = cut(wanted, "<address", "/>");

        vf_splice_replace(render->splice, span->start, span->end, element);
    }
}

static int find_placement(const Render *render, const char *device)
{
    for (guint i = 0; i < render->n_placements; i++)
        if (g_str_equal(render->placements[i].device, device))
            return (int)i;
    return -1;
}

// Adds the <hostdev> elements in `block` behind the last one of virtfn's, or at the end.
static void add_hostdevs(Render *render, xmlNode *last, const char *block)
{
    xmlNode *devices =
        last != NULL ? last->parent : vf_xmltext_find(render->domain->children, NULL, "devices");

    if (devices != NULL) {
        vf_splice_append(render->splice, devices, last, block);
        return;
    }
    g_autoptr(GString) wrapped = g_string_new(block);
    g_string_set_size(wrapped, wrapped->len - 1);
    g_string_replace(wrapped, "\n", "\n  ", 0);
    g_string_prepend(wrapped, "<devices>\n  ");
    g_string_append(wrapped, "\n</devices>\n");
    vf_splice_append(render->splice, render->domain, NULL, wrapped->str);
}

static void render_hostdevs(Render *render)
{
    g_autofree gboolean *present = g_new0(gboolean, render->n_placements);
    g_autoptr(GString) missing = g_string_new(NULL);
    xmlNode *hostdev = NULL, *last = NULL;

    while ((hostdev = vf_domtree_next(render->domain, NULL, "devices", "hostdev", hostdev))) {
        g_autofree char *claim = vf_domtree_claim(hostdev);
        int i = claim != NULL ? find_placement(render, claim) : -1;
        xmlNode *address = vf_domtree_source_address(hostdev);

        if (claim == NULL)
            continue;
        if (i < 0 || present[i] || address == NULL) {
            vf_splice_remove(render->splice, hostdev);
            continue;
        }
        present[i] = TRUE;
        last = hostdev;
        update_hostdev(render, hostdev, address, &render->placements[i]);
    }
    for (guint i = 0; i < render->n_placements; i++)
        if (!present[i]) {
            g_autofree char *xml = vf_domain_hostdev_xml(&render->placements[i]);

            g_string_append(missing, xml);
        }
    if (missing->len > 0)
        add_hostdevs(render, last, missing->str);
}

// Are these two arguments in a row one of virtfn's pairs?
static gboolean is_own_pair(const xmlNode *first, const xmlNode *second)
{
    g_autofree char *option = vf_xmltext_attribute(first, "value");
    g_autofree char *value = second != NULL ? vf_xmltext_attribute(second, "value") : NULL;

    if (option == NULL || value == NULL)
        return FALSE;
    if (g_str_equal(option, "-chardev"))
        return g_str_has_prefix(value, "socket,id=" VF_QMP_CHARDEV ",");
    return g_str_equal(option, "-mon") && g_str_has_prefix(value, "chardev=" VF_QMP_CHARDEV ",");
}

// virtfn's arguments as they stand, of all <qemu:commandline> elements.
static GPtrArray *find_own_args(const Render *render)
{
    GPtrArray *own = g_ptr_array_new();
    xmlNode *arg = NULL;

    while ((arg = vf_domtree_next(render->domain, QEMU_NS, "commandline", "arg", arg))) {
        xmlNode *second = vf_xmltext_find(arg->next, QEMU_NS, "arg");

        if (is_own_pair(arg, second)) {
            g_ptr_array_add(own, arg);
            g_ptr_array_add(own, second);
            arg = second;
        }
    }
    return own;
}

// Are these the arguments of the filled template, all and in order?
static gboolean args_match(const GPtrArray *own, const char *wanted)
{
    for (guint i = 0; i < own->len; i++) {
        g_autofree char *value = vf_xmltext_attribute(g_ptr_array_index(own, i), "value");
        g_autofree char *escaped = g_markup_escape_text(value, -1);
        g_autofree char *attribute = g_strdup_printf("value='%s'", escaped);

        wanted = strstr(wanted, attribute);
        if (wanted == NULL)
            return FALSE;
        wanted += strlen(attribute);
    }
    return strstr(wanted, "value='") == NULL;
}

// Would the element be empty without virtfn's arguments?
static gboolean has_only(const xmlNode *commandline, const GPtrArray *own)
{
    for (xmlNode *node = commandline->children; node != NULL; node = node->next)
        if (!xmlIsBlankNode(node) && !g_ptr_array_find((GPtrArray *)own, node, NULL))
            return FALSE;
    return TRUE;
}

// An element that had only virtfn's arguments goes with them. One that the user left empty on
// purpose cannot be told from it; it means nothing, and libvirt drops it when it defines a domain.
static void remove_args(Render *render, const GPtrArray *own, gboolean keep_element)
{
    const xmlNode *gone = NULL;

    for (guint i = 0; i < own->len; i++) {
        const xmlNode *arg = g_ptr_array_index(own, i);

        if (arg->parent == gone)
            continue;
        if (!keep_element && has_only(arg->parent, own)) {
            gone = arg->parent;
            vf_splice_remove(render->splice, gone);
        } else {
            vf_splice_remove(render->splice, arg);
        }
    }
}

static char *fill_qmp(const Render *render, const char *prefix)
{
    g_autofree char *name = g_strconcat(render->uuid, ".sock", NULL);
    g_autofree char *path = g_build_filename(render->qmp_dir, name, NULL);
    g_autoptr(GString) value = g_string_new(path);
    const char *const values[] = {"QEMU", prefix, "QMP_SOCKET", value->str, NULL};

    g_string_replace(value, ",", ",,", 0); // QEMU's way to write a comma in an option
    return vf_template_fill(vf_template_qmp, values);
}

// Adds the arguments to an element that is there, under the prefix it uses.
static void add_args(Render *render, const xmlNode *commandline)
{
    const char *name = (const char *)commandline->ns->prefix;
    g_autofree char *prefix = name != NULL ? g_strconcat(name, ":", NULL) : g_strdup("");
    g_autofree char *filled = fill_qmp(render, prefix);
    g_autoptr(GString) lines = g_string_new(strchr(filled, '\n') + 1);

    g_string_truncate(lines, (gsize)(strrchr(lines->str, '<') - lines->str));
    g_string_replace(lines, "\n  ", "\n", 0);
    g_string_erase(lines, 0, 2);
    vf_splice_append(render->splice, commandline, NULL, lines->str);
}

static void render_qmp(Render *render)
{
    gboolean wanted = render->n_placements > 0 && render->uuid[0] != '\0';
    g_autoptr(GPtrArray) own = find_own_args(render);
    g_autofree char *filled = fill_qmp(render, "qemu:");
    xmlNode *commandline = vf_xmltext_find(render->domain->children, QEMU_NS, "commandline");

    if (wanted && args_match(own, filled))
        return;
    remove_args(render, own, wanted);
    if (wanted && commandline != NULL)
        add_args(render, commandline);
    else if (wanted)
        vf_splice_append(render->splice, render->domain, NULL, filled);
}

static gboolean check_placements(const Render *render, const VfDomain *domain, GError **error)
{
    for (guint i = 0; i < render->n_placements; i++) {
        const char *device = render->placements[i].device;
        gboolean claimed = FALSE;

        for (guint j = 0; j < domain->claims->len; j++) {
            const VfClaim *claim = g_ptr_array_index(domain->claims, j);

            claimed = claimed || g_str_equal(claim->name, device);
        }
        if (claimed && find_placement(render, device) == (int)i)
            continue;
        g_autofree char *quoted = vf_quote(device, -1);
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "placement of device %s: %s", quoted,
                    claimed ? "given twice" : "the domain has no such device");
        return FALSE;
    }
    return TRUE;
}

// The directory ends up on QEMU's command line and in a socket address.
static gboolean check_qmp_dir(const char *qmp_dir, GError **error)
{
    const gsize room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1 -
                       strlen("/01234567-89ab-cdef-0123-456789abcdef.sock");
    gboolean valid = qmp_dir[0] == '/' && strlen(qmp_dir) <= room;

    for (const char *p = qmp_dir; valid && *p != '\0'; p++)
        valid = g_ascii_isprint(*p);
    if (valid)
        return TRUE;
    g_autofree char *quoted = vf_quote(qmp_dir, -1);
    g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                "QMP directory %s: is not usable" VF_REMEDY
                "give an absolute path of at most %" G_GSIZE_FORMAT " printable characters",
                quoted, room);
    return FALSE;
}

char *vf_domain_render(const char *xml, gsize length, const VfPlacement *placements,
                       guint n_placements, const char *qmp_dir, gboolean *changed, GError **error)
{
    g_autoptr(VfXmlText) text = vf_xmltext_load(xml, length, VF_DOMAIN_MAX_BYTES, error);
    g_autoptr(VfDomain) domain = text != NULL ? vf_domtree_read(text, error) : NULL;

    if (domain == NULL)
        return NULL;
    g_autoptr(VfSplice) splice = vf_splice_new(text);
    Render render = {
        text, vf_domtree_find(text, NULL), splice, placements, n_placements, domain->uuid, qmp_dir};
    if (!check_placements(&render, domain, error) || !check_qmp_dir(qmp_dir, error))
        return NULL;
    render_hostdevs(&render);
    render_qmp(&render);

    GString *out = vf_splice_apply(splice);
    *changed = out->len != length || memcmp(out->str, xml, length) != 0;
    if (out->len <= VF_DOMAIN_MAX_BYTES)
        return g_string_free(out, FALSE);
    g_string_free(out, TRUE);
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "domain '%s': the rendered XML exceeds %d bytes",
                domain->name, VF_DOMAIN_MAX_BYTES);
    return NULL;
}
