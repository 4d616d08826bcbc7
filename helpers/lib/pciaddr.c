// SPDX-License-Identifier: GPL-2.0-or-later
//
// PCI addresses: text form and routing-id arithmetic. Pure; knows nothing of sysfs.

#include "pciaddr.h"

#include <string.h>

// Reads min..max hex digits followed by `end`; returns the text after `end`, or NULL.
static const char *parse_hex(const char *text, int min, int max, char end, guint32 *value)
{
    int digits = 0;

    for (*value = 0; digits < max && g_ascii_isxdigit(*text); digits++)
        *value = *value << 4 | (guint32)g_ascii_xdigit_value(*text++);
    return digits >= min && *text == end ? text + 1 : NULL;
}

gboolean vf_pciaddr_parse(const char *text, VfPciAddr *addr)
{
    guint32 domain = 0, bus, device, function;
    const char *rest = parse_hex(text, 4, 8, ':', &domain);

    if (rest == NULL) {
        domain = 0;
        rest = text;
    }
    if (!(rest = parse_hex(rest, 2, 2, ':', &bus)) || !(rest = parse_hex(rest, 2, 2, '.', &device)))
        return FALSE;
    if (!parse_hex(rest, 1, 1, '\0', &function) || device > 31 || function > 7)
        return FALSE;
    *addr = (VfPciAddr){domain, (guint8)bus, (guint8)device, (guint8)function};
    return TRUE;
}

static char *put_hex(char *at, guint32 value, int digits)
{
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[value >> shift & 15];
    return at;
}

// By hand: every answer of the daemon has addresses by the hundred.
const char *vf_pciaddr_format(const VfPciAddr *addr, char *buf)
{
    int domain_digits = 4;
    char *at;

    while (domain_digits < 8 && addr->domain >> 4 * domain_digits != 0)
        domain_digits++;
    at = put_hex(buf, addr->domain, domain_digits);
    *at++ = ':';
    at = put_hex(at, addr->bus, 2);
    *at++ = ':';
    at = put_hex(at, addr->device, 2);
    *at++ = '.';
    at = put_hex(at, addr->function, 1);
    *at = '\0';
    return buf;
}

gboolean vf_pciaddr_equal(const VfPciAddr *a, const VfPciAddr *b)
{
    return a->domain == b->domain && a->bus == b->bus && a->device == b->device &&
           a->function == b->function;
}

gboolean vf_pciaddr_vf(const VfPciAddr *pf, guint16 offset, guint16 stride, guint index,
                       VfPciAddr *vf)
{
    guint64 rid =
        (guint64)(pf->bus << 8 | pf->device << 3 | pf->function) + offset + (guint64)stride * index;

    if (rid > G_MAXUINT16)
        return FALSE;
    *vf = (VfPciAddr){pf->domain, (guint8)(rid >> 8), (guint8)(rid >> 3 & 31), (guint8)(rid & 7)};
    return TRUE;
}
