// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the doctor reads in other programs' settings, and which kernels it trusts. The checks
// themselves run on fixture trees in tests/bats/doctor.bats.

#include "../../helpers/doctor.h"
#include <glib/gstdio.h>
#include <string.h>

#include "../../helpers/doctor-text.h"
#include "pciaddr.h"

static void test_ini(void)
{
    static const char text[] = "# [sriov]\n"
                               "total-vfs=1\n"
                               "[connection]\n"
                               "interface-name = eno1 \n"
                               "[sriov]\r\n"
                               "total-vfs-x=2\n"
                               "total-vfs=4\n";
    g_autofree char *name = vf_text_ini(text, "connection", "interface-name");
    g_autofree char *total = vf_text_ini(text, "sriov", "total-vfs");

    g_assert_cmpstr(name, ==, "eno1");
    g_assert_cmpstr(total, ==, "4");
    g_assert_null(vf_text_ini(text, "connection", "total-vfs"));
    g_assert_null(vf_text_ini(NULL, "connection", "total-vfs"));
}

static const char netplan[] = "network:\n"
                              "  version: 2\n"
                              "  ethernets:\n"
                              "    eno1:\n"
                              "      # virtual-function-count: 9\n"
                              "      dhcp4: true\n"
                              "    \"eno2\":\n"
                              "      embedded-switch-mode: legacy\n"
                              "\n"
                              "      virtual-function-count: 4\n"
                              "    uplink:\n"
                              "      match:\n"
                              "        name: enp3s*\n"
                              "      virtual-function-count: 0\n"
                              "    storage:\n"
                              "      virtual-function-count: 2\n"
                              "      match: \n"
                              "        macaddress: 'AA:bb:cc:00:11:22'\n";

static void test_netplan(void)
{
    static const struct {
        const char *netdev, *mac;
        gboolean sets;
    } cases[] = {
        {"eno1", "", FALSE},   // a comment only
        {"eno2", "", TRUE},    // by its id, quoted
        {"enp3s0", "", TRUE},  // by a pattern; 0 destroys functions, too
        {"uplink", "", FALSE}, // with match: the id is just a label
        {"eno9", "aa:bb:cc:00:11:22", TRUE},
        {"eno9", "", FALSE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].netdev);
        g_assert_cmpint(vf_text_netplan_sets_vfs(netplan, cases[i].netdev, cases[i].mac), ==,
                        cases[i].sets);
    }
    g_assert_false(vf_text_netplan_sets_vfs(NULL, "eno1", ""));
    g_assert_false(vf_text_netplan_sets_vfs("virtual-function-count: 1", "eno1", ""));
}

static void test_sysfs_conf(void)
{
    static const char text[] = "mode bus/pci/devices/0000:01:00.0/sriov_numvfs = 600\n"
                               "#class/net/eno1/device/sriov_numvfs = 4\n"
                               "  class/net/eno2/device/sriov_numvfs=4\n";

    g_assert_false(vf_text_sysfs_conf_sets(text, "bus/pci/devices/0000:01:00.0/sriov_numvfs"));
    g_assert_false(vf_text_sysfs_conf_sets(text, "class/net/eno1/device/sriov_numvfs"));
    g_assert_true(vf_text_sysfs_conf_sets(text, "class/net/eno2/device/sriov_numvfs"));
}

static void test_modprobe(void)
{
    static const char text[] = "#options igb max_vfs=7\n"
                               "options\tixgbe max_vfs=4,4\n"
                               "options my_driver debug=1 max_vfs=2\n"
                               "options i40e max_vfsx=1\n"
                               "options\n";

    g_assert_false(vf_text_modprobe_sets(text, "igb", "max_vfs"));
    g_assert_true(vf_text_modprobe_sets(text, "ixgbe", "max_vfs"));
    g_assert_true(vf_text_modprobe_sets(text, "my-driver", "max_vfs"));
    g_assert_false(vf_text_modprobe_sets(text, "i40e", "max_vfs"));
    g_assert_false(vf_text_modprobe_sets(NULL, "igb", "max_vfs"));
}

static void test_network(void)
{
    static const char by_pf[] = "<network><name>vfs</name><forward mode='hostdev' managed='yes'>"
                                "<pf dev='eno1'/></forward></network>";
    static const char by_address[] =
        "<network><forward mode='hostdev'>"
        "<address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>"
        "</forward></network>";
    static const char nat[] = "<network><forward mode='nat'><pf dev='eno1'/></forward></network>";
    static const VfPciAddr wanted = {0, 1, 0x10, 2};
    g_autoptr(GArray) addresses = g_array_new(FALSE, FALSE, sizeof(VfPciAddr));

    g_assert_true(vf_text_network_passes(by_pf, "eno1", addresses));
    g_assert_false(vf_text_network_passes(by_pf, "eno2", addresses));
    g_assert_false(vf_text_network_passes(nat, "eno1", addresses));
    g_assert_false(vf_text_network_passes("<network", "eno1", addresses));
    g_assert_false(vf_text_network_passes(NULL, "eno1", addresses));
    g_assert_cmpuint(addresses->len, ==, 0);
    g_assert_false(vf_text_network_passes(by_address, "eno1", addresses));
    g_assert_cmpuint(addresses->len, ==, 1);
    g_assert_true(vf_pciaddr_equal(&g_array_index(addresses, VfPciAddr, 0), &wanted));
}

// The capability offers more than driver or firmware allow: only the attribute tells.
static void test_firmware_limit(void)
{
    g_autofree char *root = g_dir_make_tmp("virtfn-doctor-XXXXXX", NULL);
    g_autofree char *directory = g_build_filename(root, "sys/bus/pci/devices/0000:01:00.0", NULL);
    g_autofree char *file = g_build_filename(directory, "sriov_totalvfs", NULL);
    char driver[] = "igb";
    VfInvPf pf = {.pci = {.address = {0, 1, 0, 0}, .cap = {.total_vfs = 64}},
                  .limit = 16,
                  .driver = driver};
    VfDoctor doctor;
    gboolean found = FALSE;

    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    g_assert_true(g_file_set_contents(file, "8\n", -1, NULL));
    vf_doctor_init(&doctor, root);
    vf_doctor_check_pf(&doctor, &pf);
    for (guint i = 0; i < doctor.findings->len; i++) {
        const VfFinding *finding = doctor.findings->pdata[i];

        if (g_strcmp0(finding->check, "limit") != 0)
            continue;
        found = TRUE;
        g_assert_cmpint(finding->level, ==, VF_FINDING_PROBLEM);
        g_assert_cmpstr(finding->what, ==,
                        "driver or firmware allow 8 functions, the device could have 64, the pools "
                        "want 16");
        g_assert_true(g_str_has_prefix(finding->remedy, "raise the limit in the card's firmware"));
    }
    g_assert_true(found);
    vf_doctor_clear(&doctor);
    g_unlink(file);
    while (strlen(directory) > strlen(root)) {
        g_rmdir(directory);
        *strrchr(directory, '/') = '\0';
    }
    g_rmdir(root);
}

static void test_kernel(void)
{
    static const struct {
        const char *version;
        gboolean good;
    } cases[] = {
        {"6.17.0", TRUE},    {"6.17", TRUE},     {"7.0.1", TRUE},      {"6.16.1", TRUE},
        {"6.16.0", FALSE},   {"6.12.42", TRUE},  {"6.12.41-1", FALSE}, {"6.12.95+deb", TRUE},
        {"6.1.148-1", TRUE}, {"6.1.147", FALSE}, {"6.8.12", FALSE},    {"5.15.200", FALSE},
        {"6.6.102", TRUE},   {"", FALSE},        {"unknown", FALSE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].version);
        g_assert_cmpint(vf_doctor_has_vf_dev_set(cases[i].version), ==, cases[i].good);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/doctor/ini", test_ini);
    g_test_add_func("/doctor/netplan", test_netplan);
    g_test_add_func("/doctor/sysfs-conf", test_sysfs_conf);
    g_test_add_func("/doctor/modprobe", test_modprobe);
    g_test_add_func("/doctor/network", test_network);
    g_test_add_func("/doctor/firmware-limit", test_firmware_limit);
    g_test_add_func("/doctor/kernel", test_kernel);
    return g_test_run();
}
