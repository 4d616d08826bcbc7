// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading domains: what an annotation means, which devices count as passed through, and what
// hostile or mistaken documents are told: tests/data/domxml/bad/NAME.xml with the message in
// NAME.error, where a final "..." stands for words of libxml2's. Rendering is in render.c.

#include "domxml.h"

#include <string.h>
#include <unistd.h>

#include "error.h"

#define BAD "tests/data/domxml/bad"
#define UUID "6f1c2f5e-8a3b-4c59-9a61-2d8f5b7c0e11"

static VfDomain *parse_text(const char *xml)
{
    g_autoptr(GError) error = NULL;
    VfDomain *domain = vf_domain_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return domain;
}

// A whole document around the inside of virtfn's <devices>.
static char *annotated(const char *inside)
{
    return g_strdup_printf("<domain><name>guest</name><metadata>"
                           "<v:devices xmlns:v='" VF_DOMAIN_NS "'>%s</v:devices>"
                           "</metadata></domain>",
                           inside);
}

static void test_claims(void)
{
    g_autofree char *xml =
        annotated("<!-- c --><v:device name='net0' pool='up.link-1' vlan='42' trust='on'/>\n"
                  "<?pi?><v:device pool='p' qmax='8' name='a_-Z'></v:device>");
    g_autoptr(VfDomain) domain = parse_text(xml);

    g_assert_cmpuint(domain->claims->len, ==, 2);
    const VfClaim *net = g_ptr_array_index(domain->claims, 0);
    const VfClaim *other = g_ptr_array_index(domain->claims, 1);
    g_assert_cmpstr(net->name, ==, "net0");
    g_assert_cmpstr(net->pool, ==, "up.link-1");
    g_assert_cmpint(net->settings.vlan, ==, 42);
    g_assert_cmpint(net->settings.trust, ==, 1);
    g_assert_cmpint(net->settings.qmax, ==, VF_UNSET);
    g_assert_cmpstr(other->name, ==, "a_-Z");
    g_assert_cmpint(other->settings.qmax, ==, 8);
}

// The program is the operator's; everything else a profile may say, a claim may say.
static void test_every_setting(void)
{
    static const char *const values[] = {
        "52:54:00:12:34:56", "7", "3", "on", "off", "enable", "10", "20", "8", "4", "2", "16"};
    g_autoptr(GString) attributes = g_string_new("<v:device name='n' pool='p'");

    g_assert_cmpuint(g_strv_length((char **)vf_settings_keys), ==, G_N_ELEMENTS(values) + 1);
    for (gsize i = 0; i < G_N_ELEMENTS(values); i++)
        g_string_append_printf(attributes, " %s='%s'", vf_settings_keys[i], values[i]);
    g_string_append(attributes, "/>");

    g_autofree char *xml = annotated(attributes->str);
    g_autoptr(VfDomain) domain = parse_text(xml);
    const VfClaim *claim = g_ptr_array_index(domain->claims, 0);
    for (gsize i = 0; i < G_N_ELEMENTS(values); i++) {
        g_autofree char *text = vf_settings_get(&claim->settings, vf_settings_keys[i]);

        g_assert_cmpstr(text, ==, values[i]);
    }
}

static void test_identity(void)
{
    static const char *const forms[] = {
        UUID,
        "6F1C2F5E-8A3B-4C59-9A61-2D8F5B7C0E11",
        "6f1c2f5e8a3b4c599a612d8f5b7c0e11",
        "\n  6f1c2f5e-8a3b4c59-9a61-2d8f5b7c0e11 ",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autofree char *xml =
            g_strdup_printf("<domain><name>a &amp; b</name><uuid>%s</uuid></domain>", forms[i]);
        g_autoptr(VfDomain) domain = parse_text(xml);

        g_assert_cmpstr(domain->uuid, ==, UUID);
        g_assert_cmpstr(domain->name, ==, "a & b");
        g_assert_cmpuint(domain->claims->len, ==, 0);
    }
    g_autoptr(VfDomain) nameless = parse_text("<domain><name>n</name></domain>");
    g_assert_cmpstr(nameless->uuid, ==, "");
}

static void test_hostdevs(void)
{
    static const struct {
        const char *address, *claim;
    } expected[] = {
        {"0000:01:10.2", "net0"},
        {"0000:07:10.1", NULL},
        {"10000:08:1f.7", NULL},
        {"0000:02:00.0", NULL},
    };
    g_autoptr(VfDomain) domain = parse_text(
        "<domain><name>n</name><devices>"
        "<hostdev type='pci'><source><address bus='0x01' slot='0x10' function='0x2'/></source>"
        "<alias name='ua-virtfn-net0'/></hostdev>"
        "<interface type='hostdev'><source><address type='pci' bus='7' slot='020' function='1'/>"
        "</source><alias name='ua-virtfn-eth'/></interface>"
        "<interface type='network'><source network='default'/></interface>"
        "<hostdev type='usb'><source><address bus='1' device='99'/></source></hostdev>"
        "<hostdev type='pci'><source/></hostdev>"
        "<x:hostdev xmlns:x='urn:x' type='pci'><source><address bus='9'/></source></x:hostdev>"
        "</devices><devices>"
        "<hostdev type='pci'><source><address domain='0x10000' bus='8' slot='31' function='7'/>"
        "</source><alias name='ua-virtfn-'/></hostdev>"
        "<hostdev type='pci'><source><address bus='2'/></source><alias name='hostdev3'/></hostdev>"
        "</devices></domain>");

    g_assert_cmpuint(domain->hostdevs->len, ==, G_N_ELEMENTS(expected));
    for (guint i = 0; i < domain->hostdevs->len; i++) {
        const VfHostdev *hostdev = &g_array_index(domain->hostdevs, VfHostdev, i);
        char buf[VF_PCIADDR_BUFSIZE];

        g_assert_cmpstr(vf_pciaddr_format(&hostdev->address, buf), ==, expected[i].address);
        g_assert_cmpstr(hostdev->claim, ==, expected[i].claim);
    }
}

// What other programs put into <metadata> is theirs, whatever it looks like.
static void test_foreign_metadata(void)
{
    g_autoptr(VfDomain) domain =
        parse_text("<domain><name>n</name><metadata>"
                   "<app xmlns='urn:app'><devices xmlns='" VF_DOMAIN_NS "'>"
                   "<device name='a' pool='p' what='ever'/></devices></app>"
                   "<undeclared:thing/><plain/>"
                   "</metadata></domain>");

    g_assert_cmpuint(domain->claims->len, ==, 0);
}

static void test_bad(gconstpointer data)
{
    const char *name = data;
    g_autofree char *xml_path = g_strdup_printf("%s/%s.xml", BAD, name);
    g_autofree char *error_path = g_strdup_printf("%s/%s.error", BAD, name);
    g_autofree char *xml = NULL, *expected = NULL;
    g_autoptr(GError) error = NULL;
    gsize length;

    g_file_get_contents(xml_path, &xml, &length, &error);
    g_assert_no_error(error);
    g_file_get_contents(error_path, &expected, NULL, &error);
    g_assert_no_error(error);
    g_strchomp(expected);

    g_autoptr(VfDomain) domain = vf_domain_parse(xml, length, &error);
    g_assert_null(domain);
    g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
    if (g_str_has_suffix(expected, "...")) {
        expected[strlen(expected) - 3] = '\0';
        error->message[MIN(strlen(error->message), strlen(expected))] = '\0';
    }
    g_assert_cmpstr(error->message, ==, expected);
}

static void assert_refused(const char *xml, gsize length, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, length, &error);

    g_assert_null(domain);
    g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
    g_assert_cmpuint(strlen(error->message), <, 300);
    if (strstr(error->message, expected) == NULL)
        g_error("'%s' lacks '%s'", error->message, expected);
}

// A value of 1 MiB, wherever it stands, ends in a message of one short line.
static void test_junk(void)
{
    static const char *const places[][2] = {
        {"<v:device name='n' pool='p' vlan='%s'/>", "vlan: 'jjjj"},
        {"<v:device name='%s' pool='p'/>", "name 'jjjj"},
        {"<v:device name='n' pool='%s'/>", "pool 'jjjj"},
        {"<v:device name='n' pool='p'>%s</v:device>", "text in <device>"},
        {"<v:device name='n' pool='p' %s='1'/>", "line 1: "},
        {"<v:%s/>", "line 1: "},
        {"<w:devices xmlns:w='%s", "line 1: "},
    };
    g_autofree char *junk = g_strnfill(1024 * 1024, 'j');

    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        g_auto(GStrv) halves = g_strsplit(places[i][0], "%s", 2);
        g_autofree char *inside = g_strjoinv(junk, halves);
        g_autofree char *xml = annotated(inside);

        assert_refused(xml, strlen(xml), places[i][1]);
    }
}

static void test_limits(void)
{
    g_autoptr(GString) deep = g_string_new("<domain><name>n</name>");
    g_autoptr(GString) many = g_string_new(NULL);
    g_autofree char *spaces = g_strnfill(VF_DOMAIN_MAX_BYTES + 1, ' ');

    assert_refused(spaces, VF_DOMAIN_MAX_BYTES + 1, "the limit is 4194304");
    for (int i = 0; i < 100000; i++)
        g_string_append(deep, "<a>");
    assert_refused(deep->str, deep->len, "not well-formed: ");
    for (int i = 0; i <= VF_DOMAIN_MAX_CLAIMS; i++)
        g_string_append_printf(many, "<v:device name='d%d' pool='p'/>", i);
    g_autofree char *xml = annotated(many->str);
    assert_refused(xml, strlen(xml), "more than 256 <device> elements");
}

static gpointer parse_often(gpointer data)
{
    g_autofree char *good = annotated("<v:device name='n' pool='p'/>");

    for (int i = 0; i < 200; i++) {
        g_autoptr(VfDomain) domain = parse_text(good);

        g_assert_cmpuint(domain->claims->len, ==, 1);
        assert_refused(data, strlen(data), "line 3: not well-formed: ");
    }
    return NULL;
}

// Threads do not see each other's errors, and nothing reaches stderr.
static void test_threads(void)
{
    static char broken[] = "<domain>\n\n<name></domain>";
    GThread *threads[4];
    int saved = dup(STDERR_FILENO);
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("virtfn-stderr-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    dup2(fd, STDERR_FILENO);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("parse", parse_often, broken);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    dup2(saved, STDERR_FILENO);
    close(saved);
    off_t printed = lseek(fd, 0, SEEK_END);
    close(fd);
    unlink(path);
    g_assert_cmpint(printed, ==, 0);
}

static void add_bad_files(void)
{
    g_autoptr(GDir) dir = g_dir_open(BAD, 0, NULL);
    const char *file;
    int found = 0;

    g_assert_nonnull(dir);
    while ((file = g_dir_read_name(dir)) != NULL) {
        if (!g_str_has_suffix(file, ".xml"))
            continue;
        char *name = g_strndup(file, strlen(file) - strlen(".xml"));
        g_autofree char *path = g_strdup_printf("/domxml/bad/%s", name);

        g_test_add_data_func_full(path, name, test_bad, g_free);
        found++;
    }
    g_assert_cmpint(found, >, 0);
}

// The element as it stands, from any <devices>, and no other's.
static void test_device_xml(void)
{
    static const char xml[] =
        "<domain><name>g</name><devices>"
        "<hostdev type='pci'><source><address bus='1' slot='0x10'/></source></hostdev>"
        "</devices><devices>"
        "<interface type='hostdev'><source><address type='pci' bus='1' slot='16' function='2'/>"
        "</source><alias name='net0'/></interface></devices></domain>";
    VfPciAddr first = {0, 1, 0x10, 0}, second = {0, 1, 0x10, 2}, none = {0, 1, 0x10, 4};
    g_autoptr(GError) error = NULL;
    g_autofree char *alias = NULL, *no_alias = NULL;
    g_autofree char *a = vf_domain_device_xml(xml, strlen(xml), &first, &no_alias, &error);
    g_autofree char *b = vf_domain_device_xml(xml, strlen(xml), &second, &alias, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(
        a, ==, "<hostdev type='pci'><source><address bus='1' slot='0x10'/></source></hostdev>");
    g_assert_null(no_alias);
    g_assert_true(g_str_has_prefix(b, "<interface ") && g_str_has_suffix(b, "</interface>"));
    g_assert_cmpstr(alias, ==, "net0");
    g_assert_null(vf_domain_device_xml(xml, strlen(xml), &none, NULL, &error));
    g_assert_no_error(error);
    g_assert_null(vf_domain_device_xml("<domain", 7, &none, NULL, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/domxml/claims", test_claims);
    g_test_add_func("/domxml/every-setting", test_every_setting);
    g_test_add_func("/domxml/identity", test_identity);
    g_test_add_func("/domxml/hostdevs", test_hostdevs);
    g_test_add_func("/domxml/device-xml", test_device_xml);
    g_test_add_func("/domxml/foreign-metadata", test_foreign_metadata);
    g_test_add_func("/domxml/junk", test_junk);
    g_test_add_func("/domxml/limits", test_limits);
    g_test_add_func("/domxml/threads", test_threads);
    add_bad_files();
    return g_test_run();
}
