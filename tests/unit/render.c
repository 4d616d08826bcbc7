// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rendering: golden documents tests/data/domxml/NAME-in.xml and NAME-out.xml with the placements
// ("device address" lines) in NAME.place. Rendering splices text, so the outputs differ from the
// inputs in virtfn's own elements only. VIRTFN_REGENERATE=1 writes the outputs instead of
// comparing them. Each document is also rendered twice, undone, read back and held against
// libvirt's schema.

#include <libxml/relaxng.h>
#include <string.h>

#include "domxml.h"
#include "error.h"

#define DATA "tests/data/domxml"
#define EXAMPLES "xml-templates/examples"
#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"
#define QMP_DIR "/run/virtfn/qmp"

typedef struct {
    char *xml;
    GArray *placements; // of VfPlacement
    GPtrArray *names;
} Case;

static char *read_file(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

static void place(Case *c, const char *device, const char *address)
{
    VfPlacement placement = {g_strdup(device), {0}};

    g_assert_true(vf_pciaddr_parse(address, &placement.address));
    g_ptr_array_add(c->names, (char *)placement.device);
    g_array_append_val(c->placements, placement);
}

static void case_init(Case *c, char *xml)
{
    c->xml = xml;
    c->placements = g_array_new(FALSE, FALSE, sizeof(VfPlacement));
    c->names = g_ptr_array_new_with_free_func(g_free);
}

static void case_clear(Case *c)
{
    g_free(c->xml);
    g_array_unref(c->placements);
    g_ptr_array_unref(c->names);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Case, case_clear)

static void case_load(Case *c, const char *name)
{
    g_autofree char *in = g_strdup_printf(DATA "/%s-in.xml", name);
    g_autofree char *place_path = g_strdup_printf(DATA "/%s.place", name);
    g_autofree char *text = read_file(place_path);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    case_init(c, read_file(in));
    for (char **line = lines; *line != NULL && **line != '\0'; line++) {
        g_auto(GStrv) words = g_strsplit(*line, " ", 2);

        place(c, words[0], words[1]);
    }
}

static char *render(const char *xml, const GArray *placements, guint n, gboolean *changed)
{
    g_autoptr(GError) error = NULL;
    char *out = vf_domain_render(xml, strlen(xml), (const VfPlacement *)placements->data, n,
                                 QMP_DIR, changed, &error);

    g_assert_no_error(error);
    return out;
}

static char *render_case(const Case *c)
{
    gboolean changed;
    char *out = render(c->xml, c->placements, c->placements->len, &changed);

    g_assert_cmpint(changed, ==, strcmp(out, c->xml) != 0);
    return out;
}

// The claims as text, to compare them.
static char *dump_claims(const char *xml)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, strlen(xml), &error);
    GString *out = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < domain->claims->len; i++) {
        const VfClaim *claim = g_ptr_array_index(domain->claims, i);

        g_string_append_printf(out, "%s %s", claim->name, claim->pool);
        for (const char *const *key = vf_settings_keys; *key != NULL; key++) {
            g_autofree char *value = vf_settings_get(&claim->settings, *key);

            g_string_append_printf(out, " %s", value != NULL ? value : "-");
        }
        g_string_append_c(out, '\n');
    }
    return g_string_free(out, FALSE);
}

static void test_golden(gconstpointer data)
{
    g_autofree char *path = g_strdup_printf(DATA "/%s-out.xml", (const char *)data);
    g_auto(Case) c;

    case_load(&c, data);
    g_autofree char *out = render_case(&c);
    if (g_getenv("VIRTFN_REGENERATE") != NULL)
        g_assert_true(g_file_set_contents(path, out, -1, NULL));
    g_autofree char *expected = read_file(path);
    g_assert_cmpstr(out, ==, expected);
}

static void test_twice(gconstpointer data)
{
    gboolean changed;
    g_auto(Case) c;

    case_load(&c, data);
    g_autofree char *once = render_case(&c);
    g_autofree char *twice = render(once, c.placements, c.placements->len, &changed);
    g_assert_cmpstr(twice, ==, once);
    g_assert_false(changed);
}

// The claims are the same, and each placement has exactly one hostdev.
static void assert_placed(const Case *c, const char *out)
{
    g_autofree char *before = dump_claims(c->xml), *after = dump_claims(out);
    g_autoptr(VfDomain) domain = vf_domain_parse(out, strlen(out), NULL);
    guint rendered = 0;

    g_assert_cmpstr(after, ==, before);
    for (guint i = 0; i < domain->hostdevs->len; i++) {
        const VfHostdev *hostdev = &g_array_index(domain->hostdevs, VfHostdev, i);

        rendered += hostdev->claim != NULL;
        for (guint j = 0; hostdev->claim != NULL && j < c->placements->len; j++) {
            const VfPlacement *placement = &g_array_index(c->placements, VfPlacement, j);

            if (g_str_equal(placement->device, hostdev->claim))
                g_assert_true(vf_pciaddr_equal(&placement->address, &hostdev->address));
        }
    }
    g_assert_cmpuint(rendered, ==, c->placements->len);
}

static void test_read_back(gconstpointer data)
{
    g_auto(Case) c;

    case_load(&c, data);
    g_autofree char *out = render_case(&c);
    assert_placed(&c, out);
}

// Without placements nothing of virtfn's is left.
static void test_undo(gconstpointer data)
{
    gboolean changed;
    g_auto(Case) c;

    case_load(&c, data);
    g_autofree char *out = render_case(&c);
    g_autofree char *undone = render(out, c.placements, 0, &changed);
    g_autoptr(VfDomain) domain = vf_domain_parse(undone, strlen(undone), NULL);
    for (guint i = 0; i < domain->hostdevs->len; i++)
        g_assert_null(g_array_index(domain->hostdevs, VfHostdev, i).claim);
    g_assert_null(strstr(undone, "id=" VF_QMP_CHARDEV));
    g_assert_null(strstr(undone, "chardev=" VF_QMP_CHARDEV));
}

// libxml2 prints what is wrong with the document.
static void assert_valid(const char *xml)
{
    xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
    xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewParserCtxt(SCHEMA);
    xmlRelaxNG *schema = xmlRelaxNGParse(parser);
    int result = 0;

    g_assert_nonnull(schema);
    // A status or snapshot document has a schema of its own.
    if (g_str_equal((const char *)xmlDocGetRootElement(doc)->name, "domain")) {
        xmlRelaxNGValidCtxt *valid = xmlRelaxNGNewValidCtxt(schema);

        result = xmlRelaxNGValidateDoc(valid, doc);
        xmlRelaxNGFreeValidCtxt(valid);
    }
    xmlRelaxNGFree(schema);
    xmlRelaxNGFreeParserCtxt(parser);
    xmlFreeDoc(doc);
    g_assert_cmpint(result, ==, 0);
}

static void test_schema(gconstpointer data)
{
    g_auto(Case) c;

    case_load(&c, data);
    g_autofree char *out = render_case(&c);
    assert_valid(out);
}

// An example is placed on made-up functions, one after the other.
static void test_example(gconstpointer data)
{
    g_autofree char *path = g_strdup_printf(EXAMPLES "/%s.xml", (const char *)data);
    g_autoptr(GError) error = NULL;
    g_auto(Case) c;

    case_init(&c, read_file(path));
    g_autoptr(VfDomain) domain = vf_domain_parse(c.xml, strlen(c.xml), &error);
    g_assert_no_error(error);
    g_assert_cmpuint(domain->claims->len, >, 0);
    for (guint i = 0; i < domain->claims->len; i++) {
        g_autofree char *address = g_strdup_printf("0000:01:%02x.0", i + 16);

        place(&c, ((VfClaim *)g_ptr_array_index(domain->claims, i))->name, address);
    }
    g_autofree char *out = render_case(&c);
    assert_placed(&c, out);
    assert_valid(out);
}

// Bytes before and after a rendering and its undoing are the same where libvirt printed them.
static void test_undo_restores(void)
{
    static const char *const names[] = {
        "first", "two-devices",      "other-hostdevs", "markup",     "crlf", "tabs",
        "wide",  "user-commandline", "one-line",       "no-newline", "bom",  "commandline-prefix"};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        gboolean changed;
        g_auto(Case) c;

        case_load(&c, names[i]);
        g_autofree char *out = render_case(&c);
        g_autofree char *undone = render(out, c.placements, 0, &changed);
        if (!g_str_equal(undone, c.xml))
            g_error("%s: undoing a rendering gives\n%s", names[i], undone);
    }
}

static void test_hostdev_alone(void)
{
    const VfPlacement placement = {"net0", {0x10000, 0xe1, 31, 7}};
    g_autofree char *xml = vf_domain_hostdev_xml(&placement);

    g_assert_cmpstr(xml, ==,
                    "<hostdev mode='subsystem' type='pci' managed='no'>\n"
                    "  <source>\n"
                    "    <address domain='0x10000' bus='0xe1' slot='0x1f' function='0x7'/>\n"
                    "  </source>\n"
                    "  <alias name='ua-virtfn-net0'/>\n"
                    "</hostdev>\n");
}

static void test_qmp_dir(void)
{
    static const struct {
        const char *dir, *expected; // what the XML has, NULL = refused
    } cases[] = {
        {"/run/virtfn/qmp/", "path=/run/virtfn/qmp/6f1c"},
        {"/run/a,b/c,,d", "path=/run/a,,b/c,,,,d/6f1c"},
        {"/run/'a' <b>&@QEMU@", "path=/run/&apos;a&apos; &lt;b&gt;&amp;@QEMU@/6f1c"},
        {"run", NULL},
        {"", NULL},
        {"/run/a\nb", NULL},
        {"/run/0123456789012345678901234567890123456789012345678901234567890", NULL},
    };
    g_auto(Case) c;

    case_load(&c, "first");
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        gboolean changed;
        g_autofree char *out =
            vf_domain_render(c.xml, strlen(c.xml), (const VfPlacement *)c.placements->data, 1,
                             cases[i].dir, &changed, &error);

        if (cases[i].expected == NULL) {
            g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
            continue;
        }
        g_assert_no_error(error);
        if (strstr(out, cases[i].expected) == NULL)
            g_error("no '%s' in %s", cases[i].expected, out);
        g_autofree char *again =
            vf_domain_render(out, strlen(out), (const VfPlacement *)c.placements->data, 1,
                             cases[i].dir, &changed, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(again, ==, out);
    }
}

static void test_placement_errors(void)
{
    static const struct {
        VfPlacement placements[2];
        const char *message;
    } cases[] = {
        {{{"net0", {0}}, {"net1", {0}}},
         "placement of device 'net1': the domain has no such device"},
        {{{"net0", {0}}, {"net0", {0}}}, "placement of device 'net0': given twice"},
    };
    g_auto(Case) c;

    case_load(&c, "first");
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        gboolean changed;

        g_assert_null(vf_domain_render(c.xml, strlen(c.xml), cases[i].placements, 2, QMP_DIR,
                                       &changed, &error));
        g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
        g_assert_cmpstr(error->message, ==, cases[i].message);
    }
}

// A document that only fits without the hostdev is refused: the result could not be read again.
static void test_too_big(void)
{
    const VfPlacement placement = {"n", {0}};
    g_autofree char *spaces = g_strnfill(VF_DOMAIN_MAX_BYTES - 300, ' ');
    g_autofree char *xml =
        g_strconcat("<domain><name>n</name><metadata><devices xmlns='" VF_DOMAIN_NS
                    "'><device name='n' pool='p'/></devices></metadata>",
                    spaces, "</domain>", NULL);
    g_autoptr(GError) error = NULL;
    gboolean changed;

    g_assert_cmpuint(strlen(xml), <, VF_DOMAIN_MAX_BYTES);
    g_assert_null(vf_domain_render(xml, strlen(xml), &placement, 1, QMP_DIR, &changed, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
}

// Adds one test per file of a directory whose name ends so, named by the part before.
static void add_files(const char *directory, const char *suffix, const char *group,
                      GTestDataFunc function)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *file;
    int found = 0;

    g_assert_nonnull(dir);
    while ((file = g_dir_read_name(dir)) != NULL) {
        if (!g_str_has_suffix(file, suffix))
            continue;
        char *name = g_strndup(file, strlen(file) - strlen(suffix));
        g_autofree char *path = g_strdup_printf("/render/%s/%s", group, name);

        g_test_add_data_func_full(path, name, function, g_free);
        found++;
    }
    g_assert_cmpint(found, >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_files(DATA, "-in.xml", "golden", test_golden);
    add_files(DATA, "-in.xml", "twice", test_twice);
    add_files(DATA, "-in.xml", "read-back", test_read_back);
    add_files(DATA, "-in.xml", "undo", test_undo);
    add_files(DATA, "-in.xml", "schema", test_schema);
    add_files(EXAMPLES, ".xml", "example", test_example);
    g_test_add_func("/render/undo-restores", test_undo_restores);
    g_test_add_func("/render/hostdev-alone", test_hostdev_alone);
    g_test_add_func("/render/qmp-dir", test_qmp_dir);
    g_test_add_func("/render/placement-errors", test_placement_errors);
    g_test_add_func("/render/too-big", test_too_big);
    return g_test_run();
}
