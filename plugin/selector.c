// SPDX-License-Identifier: GPL-2.0-or-later
//
// Selectors of PFs and ranges of their functions, in the form network operators know from other
// SR-IOV tools (eno1#0-3). Pure text; whether the PF exists is found out by the inventory.

#include "selector.h"

#include <net/if.h>
#include <string.h>

#include "error.h"
#include "quote.h"

static gboolean refuse(GError **error, const char *text, const char *cause, const char *remedy)
{
    g_autofree char *quoted = vf_quote(text, -1);

    g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "%s %s" VF_REMEDY "%s", quoted, cause, remedy);
    return FALSE;
}

static gboolean parse_index(const char *text, int *index)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 10, 0, VF_SELECTOR_LAST_MAX, &value, NULL))
        return FALSE;
    *index = (int)value;
    return TRUE;
}

// "FIRST-LAST" or "INDEX". No sign, no white space, nothing behind it.
static gboolean parse_range(const char *text, VfSelector *selector)
{
    const char *dash = strchr(text, '-');
    g_autofree char *first = dash != NULL ? g_strndup(text, (gsize)(dash - text)) : g_strdup(text);

    return parse_index(first, &selector->first) &&
           parse_index(dash != NULL ? dash + 1 : text, &selector->last) &&
           selector->first <= selector->last;
}

// Exactly as lspci -n prints it: a shorter form could be taken for an address without its end.
static gboolean parse_id(const char *text, guint16 *vendor, guint16 *device)
{
    guint64 value[2];

    if (strlen(text) != 9 || text[4] != ':')
        return FALSE;
    for (int i = 0; i < 2; i++) {
        g_autofree char *digits = g_strndup(text + 5 * i, 4);

        if (!g_ascii_string_to_unsigned(digits, 16, 0, G_MAXUINT16, &value[i], NULL))
            return FALSE;
    }
    *vendor = (guint16)value[0];
    *device = (guint16)value[1];
    return TRUE;
}

// What the kernel takes as the name of an interface (net/core/dev.c, dev_valid_name()).
static gboolean is_netdev(const char *text)
{
    if (text[0] == '\0' || strlen(text) >= IFNAMSIZ || g_str_equal(text, ".") ||
        g_str_equal(text, ".."))
        return FALSE;
    for (const char *p = text; *p != '\0'; p++)
        if (*p == '/' || *p == ':' || g_ascii_isspace(*p) || g_ascii_iscntrl(*p))
            return FALSE;
    return TRUE;
}

gboolean vf_selector_parse(const char *text, VfSelector *selector, GError **error)
{
    const char *hash = strrchr(text, '#');
    g_autofree char *pf = hash != NULL ? g_strndup(text, (gsize)(hash - text)) : g_strdup(text);

    *selector = (VfSelector){.first = VF_UNSET, .last = VF_UNSET};
    if (hash != NULL && !parse_range(hash + 1, selector))
        return refuse(error, text, "has a bad range of functions",
                      "write #FIRST-LAST or #INDEX, counted from 0, with FIRST <= LAST <= 65534");
    if (vf_pciaddr_parse(pf, &selector->address)) {
        selector->kind = VF_SELECT_ADDRESS;
    } else if (parse_id(pf, &selector->vendor, &selector->device)) {
        selector->kind = VF_SELECT_ID;
    } else if (is_netdev(pf)) {
        selector->kind = VF_SELECT_NETDEV;
        selector->netdev = g_steal_pointer(&pf);
    } else {
        return refuse(error, text, "does not name a PF",
                      "write an address (0000:01:00.0), vendor:device (8086:10c9) or an interface "
                      "(eno1)");
    }
    return TRUE;
}

char *vf_selector_format(const VfSelector *selector)
{
    char address[VF_PCIADDR_BUFSIZE];
    g_autofree char *pf = NULL;

    switch (selector->kind) {
    case VF_SELECT_ADDRESS:
        pf = g_strdup(vf_pciaddr_format(&selector->address, address));
        break;
    case VF_SELECT_ID:
        pf = g_strdup_printf("%04x:%04x", selector->vendor, selector->device);
        break;
    case VF_SELECT_NETDEV:
    default:
        pf = g_strdup(selector->netdev);
        break;
    }
    if (selector->first == VF_UNSET)
        return g_steal_pointer(&pf);
    if (selector->first == selector->last)
        return g_strdup_printf("%s#%d", pf, selector->first);
    return g_strdup_printf("%s#%d-%d", pf, selector->first, selector->last);
}

static gboolean same_pf(const VfSelector *a, const VfSelector *b)
{
    if (a->kind != b->kind)
        return FALSE;
    switch (a->kind) {
    case VF_SELECT_ADDRESS:
        return vf_pciaddr_equal(&a->address, &b->address);
    case VF_SELECT_ID:
        return a->vendor == b->vendor && a->device == b->device;
    case VF_SELECT_NETDEV:
    default:
        return g_str_equal(a->netdev, b->netdev);
    }
}

gboolean vf_selector_overlap(const VfSelector *a, const VfSelector *b)
{
    if (!same_pf(a, b))
        return FALSE;
    return a->first == VF_UNSET || b->first == VF_UNSET ||
           (a->first <= b->last && b->first <= a->last);
}

guint vf_selector_length(const VfSelector *selector)
{
    return selector->first == VF_UNSET ? 0 : (guint)(selector->last - selector->first + 1);
}

void vf_selector_clear(VfSelector *selector)
{
    g_clear_pointer(&selector->netdev, g_free);
}
