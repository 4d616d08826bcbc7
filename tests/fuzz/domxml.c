// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fuzzes the reading and rendering of domain XML. What parses is rendered on made-up functions, and
// more than "does not crash" is asked: the result says the same claims, every claim is at its
// function, rendering it again changes nothing, and without placements nothing of it is left.

#include "domxml.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QMP_DIR "/run/virtfn/q,mp"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(gboolean holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not true: %s\n", what);
        abort(); // g_error() raises SIGTRAP, which libFuzzer does not turn into a finding
    }
}

static VfPciAddr made_up(guint i)
{
    return (VfPciAddr){0x10000 * (i % 2), (guint8)(1 + i / 256), (guint8)(i / 8 % 32),
                       (guint8)(i % 8)};
}

static void demand_same_claims(const VfDomain *before, const VfDomain *after)
{
    demand(g_str_equal(after->uuid, before->uuid), "the UUID is the same");
    demand(g_str_equal(after->name, before->name), "the name is the same");
    demand(after->claims->len == before->claims->len, "there are as many claims");
    for (guint i = 0; i < before->claims->len; i++) {
        const VfClaim *a = g_ptr_array_index(before->claims, i);
        const VfClaim *b = g_ptr_array_index(after->claims, i);

        demand(g_str_equal(a->name, b->name), "a claim keeps its name");
        demand(g_str_equal(a->pool, b->pool), "a claim keeps its pool");
        for (const char *const *key = vf_settings_keys; *key != NULL; key++) {
            g_autofree char *left = vf_settings_get(&a->settings, *key);
            g_autofree char *right = vf_settings_get(&b->settings, *key);

            demand(g_strcmp0(left, right) == 0, "a claim keeps its settings");
        }
    }
}

static void demand_placed(const VfDomain *after, const GArray *placements, guint n)
{
    guint rendered = 0;

    for (guint i = 0; i < after->hostdevs->len; i++) {
        const VfHostdev *hostdev = &g_array_index(after->hostdevs, VfHostdev, i);
        gboolean right = hostdev->claim == NULL;

        rendered += hostdev->claim != NULL;
        for (guint j = 0; j < n && !right; j++) {
            const VfPlacement *placement = &g_array_index(placements, VfPlacement, j);

            right = g_str_equal(placement->device, hostdev->claim) &&
                    vf_pciaddr_equal(&placement->address, &hostdev->address);
        }
        demand(right, "a hostdev of virtfn's is at its placement");
    }
    demand(rendered == n, "each placement has one hostdev");
}

// Renders the first n placements and returns the result, NULL when it would be too big.
static char *render(const VfDomain *domain, const char *xml, gsize length, GArray *placements,
                    guint n)
{
    g_autoptr(GError) error = NULL;
    gboolean changed;
    char *out = vf_domain_render(xml, length, (const VfPlacement *)(void *)placements->data, n,
                                 QMP_DIR, &changed, &error);

    demand(out != NULL || strstr(error->message, "exceeds") != NULL, "what parses can be rendered");
    if (out == NULL)
        return NULL;
    g_autoptr(VfDomain) after = vf_domain_parse(out, strlen(out), &error);
    demand(after != NULL, "the result parses");
    demand_same_claims(domain, after);
    demand_placed(after, placements, n);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *xml = (const char *)data;
    g_autoptr(GError) error = NULL;
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, size, &error);

    if (domain == NULL) {
        demand(!g_str_has_prefix(error->message, "domain XML: markup"),
               "libxml2 and the scanner see the same elements");
        return 0;
    }
    g_autoptr(GArray) placements = g_array_new(FALSE, FALSE, sizeof(VfPlacement));
    for (guint i = 0; i < domain->claims->len; i++) {
        const VfClaim *claim = g_ptr_array_index(domain->claims, i);

        g_array_append_val(placements, ((VfPlacement){claim->name, made_up(i)}));
    }
    guint n = (guint)(size % (placements->len + 1)); // a claim may be left without a function
    g_autofree char *once = render(domain, xml, size, placements, n);
    if (once == NULL)
        return 0;
    g_autofree char *twice = render(domain, once, strlen(once), placements, n);
    demand(twice != NULL && g_str_equal(twice, once), "rendering again changes nothing");
    g_autofree char *undone = render(domain, once, strlen(once), placements, 0);
    demand(undone != NULL, "a rendering can be undone");
    return 0;
}
