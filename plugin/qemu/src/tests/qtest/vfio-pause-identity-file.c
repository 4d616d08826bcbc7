/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Files for identity= that are refused
 *
 * Each is one that QEMU wrote, with something wrong in it: a QEMU takes one
 * after the other, tells what is wrong in which member, and goes on.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "standard-headers/linux/pci_regs.h"
#include "qobject/qjson.h"
#include "vfio-pause-lib.h"

/* Text of the file that is replaced */
typedef struct TextFault {
    const char *from, *to;
    const char *error;
} TextFault;

#define AREA "{\"offset\": 32768, \"size\": 32768}"

static const TextFault text_faults[] = {
    { "\"config-size\": 4096", "\"config-size\": 4095",
      "config-size: 4095: 256 or 4096 expected" },
    { "\"config-size\": 4096", "\"config-size\": 256",
      "config: 4096 bytes: 256 expected" },
    { "\"config-size\": 4096", "\"config-size\": -1", "config-size" },
    { "\"config-size\": 4096", "\"config-size\": \"4096\"", "config-size" },
    { "\"config-size\": 4096", "\"config-sizes\": 4096", "config-size" },
    { "\"config-size\": 4096", "\"config-size\": 4096, \"colour\": 1",
      "colour" },
    { "\"config\": \"", "\"config\": \"!", "config: Base64" },
    { "\"config\": \"", "\"config\": \"AAAA", "config: 4099 bytes" },
    { "\"size\": 65536", "\"size\": 65535", "index 0: size 0xffff: a power" },
    { "\"size\": 65536", "\"size\": 8", "index 0: size 0x8: a power" },
    { "\"size\": 65536", "\"size\": 0", "index 0: a size is expected" },
    { "\"size\": 65536", "\"size\": 4294967296",
      "from 0x10 to 0x80000000 expected" },
    { "\"size\": 65536", "\"size\": 18446744073709551616", "size" },
    { "\"size\": 65536", "\"size\": -65536", "size" },
    { "\"size\": 65536", "\"size\": \"big\"", "size" },
    { "\"size\": 65536", "\"size\": 32768", "area at 0x8000" },
    { "\"index\": 0", "\"index\": 7", "index 7: 0 to 6 expected" },
    { "\"index\": 0", "\"index\": 2", "index 2: expected once" },
    { "\"index\": 0", "\"index\": 256", "index" },
    { "\"index\": 0", "\"index\": 3", "no region expected after it" },
    { AREA, "{\"offset\": 32768, \"size\": 32769}", "size 0x8001: pages" },
    { AREA, "{\"offset\": 36864, \"size\": 32768}", "area at 0x9000" },
    { AREA, "{\"offset\": 18446744073709547520, \"size\": 8192}",
      "area at 0xfffffffffffff000" },
    { AREA, "{\"offset\": 8192, \"size\": 32768}", "without overlap" },
    { AREA, AREA ", {\"offset\": 0, \"size\": 4096}", "in order" },
    { "\"count\": 8", "\"count\": 9", "interrupts: index 2: a count of 8" },
    { "\"count\": 4", "\"count\": 5000", "interrupts: index 1" },
    { "\"count\": 4", "\"count\": 0", "interrupts: index 1" },
    { "\"interrupts\": [", "\"interrupts\": [{\"index\": 2, \"count\": 8}, ",
      "interrupts: index 2: expected once" },
    { "\"interrupts\": [", "\"interrupts\": [{\"index\": 5, \"count\": 8}, ",
      "interrupts: index 5: 0 to 4 expected" },
    { "\"interrupts\": [", "\"interrupts\": [7, ", "interrupts[0]" },
    { "\"interrupts\": [", "\"interrupts\": [[[[[[", "JSON" },
};

/* One or two registers that are wrong */
typedef struct ConfigFault {
    struct {
        int off, len;
        uint32_t val;
    } reg[2];
    const char *error;
} ConfigFault;

#define MSIX_FLAGS (FV_CAP_MSIX + PCI_MSIX_FLAGS)
#define MSIX_TABLE (FV_CAP_MSIX + PCI_MSIX_TABLE)
#define MSIX_PBA (FV_CAP_MSIX + PCI_MSIX_PBA)

static const ConfigFault config_faults[] = {
    { { { PCI_VENDOR_ID, 2, 0xffff } }, "vendor 0xffff" },
    { { { PCI_HEADER_TYPE, 1, 1 } }, "header type 0x1: 0 expected" },
    { { { PCI_CLASS_DEVICE, 2, 0x0300 } }, "class 0x0300: a display" },
    { { { PCI_CAPABILITY_LIST, 1, 0x10 } }, "capability at 0x10" },
    { { { PCI_CAPABILITY_LIST, 1, 0x42 } }, "capability at 0x42" },
    { { { FV_CAP_PM + 1, 1, FV_CAP_PM } }, "capability at 0x40" },
    { { { FV_CAP_VENDOR + 1, 1, FV_CAP_MSI } }, "capability at 0x50" },
    { { { FV_CAP_VENDOR, 1, PCI_CAP_ID_PM } },
      "capability 0x01 at 0xe0: expected once" },
    { { { FV_CAP_VENDOR, 1, PCI_CAP_ID_MSIX } },
      "capability 0x11 at 0xe0: expected once" },
    { { { FV_CAP_VENDOR + 1, 1, 0xfc }, { 0xfc, 2, PCI_CAP_ID_AF } },
      "capability 0x13 at 0xfc: room" },
    { { { FV_CAP_PM + 1, 1, 0xfc }, { 0xfc, 4, PCI_CAP_ID_MSI } },
      "MSI capability at 0xfc: room" },
    { { { FV_CAP_PM + 1, 1, 0xf8 }, { 0xf8, 4, PCI_CAP_ID_EXP } },
      "capability 0x10 at 0xf8: room" },
    { { { FV_CAP_MSI + PCI_MSI_FLAGS, 2, 0x8c } }, "at most 32 vectors" },
    { { { FV_CAP_PM + 1, 1, 0x44 }, { 0x44, 4, FV_CAP_MSI << 8 | 9 } },
      "overlaps" },
    { { { MSIX_FLAGS, 2, 9 } }, "interrupts: index 2: a count of 10" },
    { { { MSIX_TABLE, 4, 1 } }, "MSI-X table of 0x80 bytes at 0x0 of BAR 1" },
    { { { MSIX_TABLE, 4, 7 } }, "MSI-X table of 0x80 bytes at 0x0 of BAR 7" },
    { { { MSIX_TABLE, 4, 0x3fc0 | FV_MSIX_BAR } }, "at 0x3fc0 of BAR 2" },
    { { { MSIX_TABLE, 4, 0xfffffff8 | FV_MSIX_BAR } },
      "at 0xfffffff8 of BAR 2" },
    { { { MSIX_TABLE, 4, 0x2000 | FV_MSIX_BAR } }, "overlap" },
    { { { MSIX_PBA, 4, 6 } },
      "MSI-X pending bits of 0x8 bytes at 0x0 of BAR 6" },
    { { { MSIX_PBA, 4, 0x4000 | FV_MSIX_BAR } }, "PBA outside" },
    { { { PCI_BASE_ADDRESS_2, 4, 1 } }, "of BAR 2: a memory BAR" },
    { { { FV_ECAP_AER, 4, 0x10020001 } }, "extended capability at 0x100" },
    { { { FV_ECAP_AER, 4, 0x10420001 } }, "extended capability at 0x104" },
    { { { FV_ECAP_AER, 4, 0x08020001 } }, "extended capability at 0x80" },
    { { { FV_ECAP_AER, 4, 0xffc20001 } }, "extended capability at 0xffc" },
    { { { FV_ECAP_AER, 4, 0xff820001 }, { 0xff8, 4, 0x00010015 } },
      "resizable BARs at 0xff8" },
};

static char *text_of(QDict *identity)
{
    GString *json = qobject_to_json(QOBJECT(identity));

    return g_string_free(json, false);
}

/* The file with identity=, and what it is to end with */
static void refused(PauseTest *t, const char *text, const char *part)
{
    g_autofree char *path = g_strdup_printf("%s/identity", t->dir);
    char *error;

    g_assert(g_file_set_contents(path, text, -1, NULL));
    error = qmp_error(t, "{ 'execute': 'device_add', 'arguments': { "
                      "'driver': 'vfio-pci', 'id': 'd1', 'bus': 'rp1', "
                      "'paused': true, 'identity': %s } }", path);
    g_assert_nonnull(strstr(error, "vfio d1: "));
    assert_error(error, part);
}

/* A QEMU with a free port, and what it tells of its device */
static char *start(PauseTest *t)
{
    QDict *identity;
    char *text;

    t->free_ports = 1;
    pause_start(t, NULL);
    identity = qtest_qmp_assert_success_ref(t->qts,
        "{ 'execute': 'query-vfio-identity', 'arguments': { 'id': 'd0' } }");
    text = text_of(identity);
    qobject_unref(identity);
    return text;
}

static void test_text(PauseTest *t)
{
    g_autofree char *text = start(t);
    uint64_t calls = t->fv->calls;
    unsigned i, fds = all_fds(t);

    for (i = 0; i < ARRAY_SIZE(text_faults); i++) {
        const TextFault *f = &text_faults[i];
        const char *at = strstr(text, f->from);
        g_autofree char *bad = NULL;

        if (!at) {
            g_error("'%s' is not in the file: %s", f->from, text);
        }
        bad = g_strdup_printf("%.*s%s%s", (int)(at - text), text, f->to,
                              at + strlen(f->from));
        refused(t, bad, f->error);
    }
    g_assert_cmpint(all_fds(t), ==, fds);
    g_assert_cmpint(t->fv->calls, ==, calls);
}

/* Cut anywhere, the file is no identity. */
static void test_cut(PauseTest *t)
{
    g_autofree char *text = start(t);
    size_t len = strlen(text);
    unsigned i;

    for (i = 0; i < 40; i++) {
        g_autofree char *cut = g_strndup(text, len * i / 40);

        refused(t, cut, "identity file '");
    }
}

static void test_config(PauseTest *t)
{
    g_autofree char *text = start(t);
    uint64_t calls = t->fv->calls;
    unsigned i, j;

    for (i = 0; i < ARRAY_SIZE(config_faults); i++) {
        const ConfigFault *f = &config_faults[i];
        QDict *identity = qobject_to(QDict, qobject_from_json(text, NULL));
        g_autofree uint8_t *config = NULL;
        g_autofree char *base64 = NULL;
        g_autofree char *bad = NULL;
        gsize len;

        config = g_base64_decode(qdict_get_str(identity, "config"), &len);
        g_assert_cmpint(len, ==, FV_CONFIG);
        for (j = 0; j < 2; j++) {
            memcpy(config + f->reg[j].off, &f->reg[j].val, f->reg[j].len);
        }
        base64 = g_base64_encode(config, len);
        qdict_put_str(identity, "config", base64);
        bad = text_of(identity);
        qobject_unref(identity);
        refused(t, bad, f->error);
    }
    g_assert_cmpint(t->fv->calls, ==, calls);
}

static void refused_path(PauseTest *t, const char *path, const char *part)
{
    assert_error(qmp_error(t, "{ 'execute': 'device_add', 'arguments': { "
                           "'driver': 'vfio-pci', 'id': 'd1', 'bus': 'rp1', "
                           "'paused': true, 'identity': %s } }", path), part);
}

static void test_no_file(PauseTest *t)
{
    g_autofree char *text = start(t);
    g_autofree char *fifo = g_strdup_printf("%s/fifo", t->dir);
    g_autofree char *big = g_strdup_printf("%s{}", text);
    g_autofree char *spaces = g_strnfill(300 * 1024, ' ');

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    refused_path(t, "/nowhere/at/all", "No such file");
    refused_path(t, t->dir, "a regular file");
    refused_path(t, "/dev/zero", "a regular file");
    refused_path(t, fifo, "a regular file");
    refused(t, spaces, "at most 262144 bytes");
    refused(t, "", "JSON");
    refused(t, "7", "expected: object");
    refused(t, "{}", "config-size");
    refused(t, big, "JSON");
    g_remove(fifo);
}

/* What makes no sense with it */
static void test_options(PauseTest *t)
{
    g_autofree char *text = start(t);
    g_autofree char *path = g_strdup_printf("%s/identity", t->dir);

    g_assert(g_file_set_contents(path, text, -1, NULL));
    assert_error(qmp_error(t, "{ 'execute': 'device_add', 'arguments': { "
                           "'driver': 'vfio-pci', 'bus': 'rp1', "
                           "'identity': %s } }", path), "add paused=on");
    assert_error(qmp_error(t, "{ 'execute': 'device_add', 'arguments': { "
                           "'driver': 'vfio-pci', 'bus': 'rp1', "
                           "'paused': true, 'display': 'on', "
                           "'identity': %s } }", path), "it has a display");
    assert_error(qmp_error(t, "{ 'execute': 'device_add', 'arguments': { "
                           "'driver': 'vfio-pci', 'bus': 'rp1', "
                           "'paused': true, 'x-vga': true, "
                           "'identity': %s } }", path), "it has a display");
    assert_error(qmp_error(t, "{ 'execute': 'device_add', 'arguments': { "
                           "'driver': 'vfio-pci', 'bus': 'rp1', "
                           "'paused': true } }"), "No provided host device");
    if (t->iommufd) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

        qtest_qmp_fds_assert_success(t->qts, &fd, 1, "{ 'execute': 'getfd', "
                                     "'arguments': { 'fdname': 'null' } }");
        close(fd);
        assert_error(qmp_error(t, "{ 'execute': 'device_add', 'arguments': { "
                               "'driver': 'vfio-pci', 'bus': 'rp1', "
                               "'iommufd': 'iommufd0', 'fd': 'null', "
                               "'paused': true, 'identity': %s } }", path),
                     "leave one of them out");
    }
}

void add_identity_file_cases(void)
{
    add_case("identity/file/text", test_text, 0);
    add_case("identity/file/cut", test_cut, 0);
    add_case("identity/file/config", test_config, 0);
    add_case("identity/file/none", test_no_file, 0);
    add_case("identity/file/options", test_options, 0);
}
