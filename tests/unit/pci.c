// SPDX-License-Identifier: GPL-2.0-or-later
//
// PFs through libpciaccess, with a tree made here bound over /sys in a mount name space of this
// process (needs root), then the same facts from attributes below another root. Configuration
// spaces are made byte by byte, good and broken.

#include "pci.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "error.h"

#define CONFIG_SIZE 4096

static char *tree; // bound over /sys

static void put16(guint8 *config, gsize at, guint16 value)
{
    config[at] = (guint8)value;
    config[at + 1] = (guint8)(value >> 8);
}

// Header of an extended capability: id, version 1, offset of the next.
static void put_header(guint8 *config, gsize at, guint16 id, guint16 next)
{
    put16(config, at, id);
    put16(config, at + 2, (guint16)(next << 4 | 1));
}

// An igb PF with 7 VFs of which 2 are on, whose SR-IOV capability is at `at`.
static void put_sriov(guint8 *config, gsize at, guint16 next)
{
    put_header(config, at, 0x0010, next);
    put16(config, at + 0x08, 1 << 4 | 1); // VF Enable, ARI Capable Hierarchy
    put16(config, at + 0x0e, 7);
    put16(config, at + 0x10, 2);
    put16(config, at + 0x14, 128);
    put16(config, at + 0x16, 2);
    put16(config, at + 0x1a, 0x10ca);
}

static guint8 *new_config(void)
{
    guint8 *config = g_malloc0(CONFIG_SIZE);

    put16(config, 0x00, 0x8086);
    put16(config, 0x02, 0x10c9);
    config[0x0b] = 0x02; // class 020000
    put16(config, 0x2c, 0x8086);
    return config;
}

// A chain of two others and SR-IOV, as igb has it.
static guint8 *good_config(void)
{
    guint8 *config = new_config();

    put_header(config, 0x100, 0x0001, 0x150);
    put_header(config, 0x150, 0x000e, 0x160);
    put_sriov(config, 0x160, 0);
    return config;
}

static void test_parse_good(void)
{
    g_autofree guint8 *config = good_config();
    VfSriovCap cap;

    g_assert_true(vf_pci_parse_sriov(config, CONFIG_SIZE, &cap));
    g_assert_cmpuint(cap.total_vfs, ==, 7);
    g_assert_cmpuint(cap.num_vfs, ==, 2);
    g_assert_cmpuint(cap.offset, ==, 128);
    g_assert_cmpuint(cap.stride, ==, 2);
    g_assert_cmphex(cap.vf_device, ==, 0x10ca);
    g_assert_true(cap.ari);
    put16(config, 0x168, 1);
    g_assert_true(vf_pci_parse_sriov(config, CONFIG_SIZE, &cap));
    g_assert_false(cap.ari);
}

static void test_parse_last_place(void)
{
    g_autofree guint8 *config = new_config();
    VfSriovCap cap;

    put_header(config, 0x100, 0x0001, 0xfc0);
    put_sriov(config, 0xfc0, 0);
    g_assert_true(vf_pci_parse_sriov(config, CONFIG_SIZE, &cap));
    put_header(config, 0x100, 0x0001, 0xfc4);
    put_sriov(config, 0xfc4, 0);
    g_assert_false(vf_pci_parse_sriov(config, CONFIG_SIZE, &cap));
}

static void test_parse_broken(void)
{
    VfSriovCap cap;

    for (int kind = 0; kind < 6; kind++) {
        g_autofree guint8 *config = new_config();

        switch (kind) {
        case 0: // no extended capability at all
            break;
        case 1: // what a device answers that is gone
            memset(config, 0xff, CONFIG_SIZE);
            break;
        case 2: // to itself
            put_header(config, 0x100, 0x0001, 0x100);
            break;
        case 3: // a ring of two
            put_header(config, 0x100, 0x0001, 0x200);
            put_header(config, 0x200, 0x000e, 0x100);
            break;
        case 4: // back into the 256 bytes that are not extended
            put_header(config, 0x100, 0x0001, 0x40);
            put_sriov(config, 0x40, 0);
            break;
        default: // the last dword
            put_header(config, 0x100, 0x0001, 0xffc);
            put_header(config, 0xffc, 0x0010, 0);
        }
        if (vf_pci_parse_sriov(config, CONFIG_SIZE, &cap))
            g_error("broken chain %d was accepted", kind);
    }
}

// Any length may be all that could be read; nothing beyond it is looked at (the sanitizer watches).
static void test_parse_truncated(void)
{
    g_autofree guint8 *config = good_config();
    VfSriovCap cap;

    for (gsize length = 0; length < 0x160 + 0x40; length++) {
        g_autofree guint8 *part = g_memdup2(config, MAX(length, 1));

        if (vf_pci_parse_sriov(part, length, &cap))
            g_error("%zu bytes were enough", length);
    }
    g_assert_true(vf_pci_parse_sriov(config, 0x160 + 0x40, &cap));
}

static void put_attribute(const char *address, const char *name, const void *data, gsize length)
{
    g_autofree char *path = g_build_filename(tree, "bus/pci/devices", address, name, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, data, (gssize)length, &error);
    g_assert_no_error(error);
}

// A device with the attributes that libpciaccess reads.
static void add_device(const char *address, const guint8 *config, gsize length)
{
    static const char *const attributes[][2] = {
        {"vendor", "0x8086\n"}, {"device", "0x10c9\n"},           {"class", "0x020000\n"},
        {"revision", "0x01\n"}, {"subsystem_vendor", "0x8086\n"}, {"subsystem_device", "0x0000\n"},
        {"irq", "11\n"},
    };
    g_autofree char *directory = g_build_filename(tree, "bus/pci/devices", address, NULL);

    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    put_attribute(address, "config", config, length);
    for (gsize i = 0; i < G_N_ELEMENTS(attributes); i++)
        put_attribute(address, attributes[i][0], attributes[i][1], strlen(attributes[i][1]));
}

static void run(const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    int status;

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                 &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
}

// An empty tree in the place of /sys.
static void mount_tree(void)
{
    g_autoptr(GError) error = NULL;

    tree = g_dir_make_tmp("virtfn-XXXXXX", &error);
    g_assert_no_error(error);
    g_autofree char *devices = g_build_filename(tree, "bus/pci/devices", NULL);
    g_assert_cmpint(g_mkdir_with_parents(devices, 0755), ==, 0);
    if (mount(tree, "/sys", NULL, MS_BIND, NULL) < 0)
        g_error("binding a tree over /sys: %s", g_strerror(errno));
}

static void unmount_tree(void)
{
    const char *const remove[] = {"rm", "-rf", tree, NULL};

    vf_pci_cleanup();
    g_assert_cmpint(umount2("/sys", MNT_DETACH), ==, 0);
    run(remove);
    g_clear_pointer(&tree, g_free);
}

static void test_host_list(void)
{
    g_autofree guint8 *good = good_config(), *plain = new_config(), *loop = new_config();
    g_autoptr(GError) error = NULL;
    char buf[VF_PCIADDR_BUFSIZE];

    mount_tree();
    put_header(loop, 0x100, 0x0001, 0x100);
    add_device("10000:01:00.0", good, CONFIG_SIZE);
    add_device("0000:03:00.1", good, CONFIG_SIZE);
    add_device("0000:03:00.0", good, CONFIG_SIZE);
    add_device("0000:00:1f.0", plain, 256);
    add_device("0000:04:00.0", loop, CONFIG_SIZE);
    g_autoptr(GArray) pfs = vf_pci_list_pfs("", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(pfs->len, ==, 3);
    static const char *const expected[] = {"0000:03:00.0", "0000:03:00.1", "10000:01:00.0"};
    for (guint i = 0; i < pfs->len; i++)
        g_assert_cmpstr(vf_pciaddr_format(&g_array_index(pfs, VfPf, i).address, buf), ==,
                        expected[i]);
    const VfPf *pf = &g_array_index(pfs, VfPf, 0);
    g_assert_cmphex(pf->vendor, ==, 0x8086);
    g_assert_cmphex(pf->device, ==, 0x10c9);
    g_assert_cmphex(pf->class_code, ==, 0x020000);
    g_assert_cmpuint(pf->cap.total_vfs, ==, 7);
    unmount_tree();
}

static void test_host_later_device(void)
{
    g_autofree guint8 *good = good_config();
    const VfPciAddr first = {0, 3, 0, 0}, later = {0, 5, 0, 0};
    g_autoptr(GError) error = NULL;
    VfPf pf;

    mount_tree();
    add_device("0000:03:00.0", good, CONFIG_SIZE);
    g_assert_true(vf_pci_read_pf("", &first, &pf, &error));
    g_assert_no_error(error);
    g_assert_false(vf_pci_read_pf("", &later, &pf, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_NOT_FOUND);
    g_clear_error(&error);
    add_device("0000:05:00.0", good, CONFIG_SIZE);
    g_assert_true(vf_pci_read_pf("", &later, &pf, &error));
    g_assert_no_error(error);
    // What is read is the present configuration space, not one that was kept.
    put16(good, 0x170, 5);
    put_attribute("0000:05:00.0", "config", good, CONFIG_SIZE);
    g_assert_true(vf_pci_read_pf("", &later, &pf, &error));
    g_assert_cmpuint(pf.cap.num_vfs, ==, 5);
    unmount_tree();
}

static void assert_refused(const VfPciAddr *address, VfErrorCode code, const char *words)
{
    g_autoptr(GError) error = NULL;
    VfPf pf;

    g_assert_false(vf_pci_read_pf("", address, &pf, &error));
    g_assert_error(error, VF_ERROR, (int)code);
    if (strstr(error->message, words) == NULL)
        g_error("'%s' is not in: %s", words, error->message);
}

static void test_host_refusals(void)
{
    g_autofree guint8 *good = good_config(), *loop = new_config();

    mount_tree();
    put_header(loop, 0x100, 0x0001, 0x100);
    add_device("0000:03:00.0", good, 256); // what the kernel lets others than root read of a PF
    put_attribute("0000:03:00.0", "sriov_totalvfs", "7\n", 2);
    add_device("0000:04:00.0", good, 256); // not a PCI Express device
    add_device("0000:05:00.0", loop, CONFIG_SIZE);
    assert_refused(&(VfPciAddr){0, 3, 0, 0}, VF_ERROR_SYSFS,
                   "0000:03:00.0: only 256 bytes of its configuration space can be read -- run as");
    assert_refused(&(VfPciAddr){0, 4, 0, 0}, VF_ERROR_NOT_FOUND, "has no SR-IOV capability -- ");
    assert_refused(&(VfPciAddr){0, 5, 0, 0}, VF_ERROR_NOT_FOUND, "0000:05:00.0: has no SR-IOV");
    assert_refused(&(VfPciAddr){0, 6, 0, 0}, VF_ERROR_NOT_FOUND, "no such PCI function");
    unmount_tree();
}

static void test_host_without_pci(void)
{
    g_autoptr(GError) error = NULL;

    mount_tree();
    const char *const remove[] = {"rm", "-r", "/sys/bus", NULL};
    run(remove);
    g_assert_null(vf_pci_list_pfs("", &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_nonnull(strstr(error->message, "/sys/bus/pci"));
    unmount_tree();
}

static gpointer list_often(gpointer data)
{
    const VfPciAddr address = {0, 3, 0, 0};
    VfPf pf;

    for (int i = 0; i < 50; i++) {
        g_autoptr(GArray) pfs = vf_pci_list_pfs("", NULL);

        if (pfs == NULL || pfs->len != 1 || !vf_pci_read_pf("", &address, &pf, NULL))
            return data;
    }
    return NULL;
}

static void test_host_threads(void)
{
    g_autofree guint8 *good = good_config();
    GThread *threads[3];
    gboolean failed = FALSE;

    mount_tree();
    add_device("0000:03:00.0", good, CONFIG_SIZE);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("list", list_often, tree);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        failed |= g_thread_join(threads[i]) != NULL;
    g_assert_false(failed);
    unmount_tree();
}

// A directory with a sys in it that has one PF, by its attributes.
static char *make_root(const char *vf_device)
{
    static const char *const attributes[][2] = {
        {"vendor", "0x10ee\n"},    {"device", "0x903f\n"},   {"class", "0x120000\n"},
        {"sriov_totalvfs", "252"}, {"sriov_offset", "4"},    {"sriov_stride", "1"},
        {"virtfn0", ""},           {"driver_override", "x"},
    };
    g_autoptr(GError) error = NULL;
    char *root = g_dir_make_tmp("virtfn-XXXXXX", &error);

    g_assert_no_error(error);
    tree = g_build_filename(root, "sys", NULL);
    g_autofree char *directory = g_build_filename(tree, "bus/pci/devices/0000:03:00.0", NULL);
    g_autofree char *other = g_build_filename(tree, "bus/pci/devices/0000:04:00.0", NULL);
    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(other, 0755), ==, 0);
    for (gsize i = 0; i < G_N_ELEMENTS(attributes); i++)
        put_attribute("0000:03:00.0", attributes[i][0], attributes[i][1], strlen(attributes[i][1]));
    put_attribute("0000:03:00.0", "sriov_vf_device", vf_device, strlen(vf_device));
    return root;
}

static void remove_root(char *root)
{
    const char *const remove[] = {"rm", "-rf", root, NULL};

    run(remove);
    g_free(root);
    g_clear_pointer(&tree, g_free);
}

static void test_other_root(void)
{
    char *root = make_root("a03f\n");
    const VfPciAddr plain = {0, 4, 0, 0};
    g_autoptr(GError) error = NULL;
    VfPf pf;

    g_autoptr(GArray) pfs = vf_pci_list_pfs(root, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(pfs->len, ==, 1);
    pf = g_array_index(pfs, VfPf, 0);
    g_assert_cmphex(pf.vendor, ==, 0x10ee);
    g_assert_cmphex(pf.class_code, ==, 0x120000);
    g_assert_cmpuint(pf.cap.total_vfs, ==, 252);
    g_assert_cmpuint(pf.cap.num_vfs, ==, 1);
    g_assert_cmpuint(pf.cap.offset, ==, 4);
    g_assert_cmpuint(pf.cap.stride, ==, 1);
    g_assert_cmphex(pf.cap.vf_device, ==, 0xa03f);
    g_assert_false(vf_pci_read_pf(root, &plain, &pf, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_NOT_FOUND);
    remove_root(root);
}

static void test_other_root_garbage(void)
{
    char *root = make_root("0xa03f oops\n");
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_pci_list_pfs(root, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_nonnull(strstr(error->message, "sriov_vf_device: '0xa03f oops' is not a device id"));
    g_clear_error(&error);
    g_assert_null(vf_pci_list_pfs("/nonexistent", &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    remove_root(root);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    // Nothing that is mounted here may be seen outside.
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        g_error("a mount name space of its own: %s; run this test as root", g_strerror(errno));
    g_test_add_func("/pci/parse/good", test_parse_good);
    g_test_add_func("/pci/parse/last-place", test_parse_last_place);
    g_test_add_func("/pci/parse/broken", test_parse_broken);
    g_test_add_func("/pci/parse/truncated", test_parse_truncated);
    g_test_add_func("/pci/host/list", test_host_list);
    g_test_add_func("/pci/host/later-device", test_host_later_device);
    g_test_add_func("/pci/host/refusals", test_host_refusals);
    g_test_add_func("/pci/host/without-pci", test_host_without_pci);
    g_test_add_func("/pci/host/threads", test_host_threads);
    g_test_add_func("/pci/other-root/facts", test_other_root);
    g_test_add_func("/pci/other-root/garbage", test_other_root_garbage);
    return g_test_run();
}
