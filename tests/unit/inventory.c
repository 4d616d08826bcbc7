// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pools against hosts: which slots a pool comes to, in which order, and each reason why a PF or a
// pool cannot be used, word for word with file and line.

#include "inventory.h"

#include <string.h>
#include <sys/stat.h>

#include "../lib/fake.h"
#include "allocator.h"
#include "sriov.h"

#define A "0000:01:00.0"
#define B "0000:02:00.0"

typedef struct {
    char *root;
    VfConfig *config;
    VfInventory *inventory;
} Host;

// `pools` is the text of one file, p.conf.
static void look(Host *host, const char *pools)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&host->inventory, vf_inventory_free);
    g_clear_pointer(&host->config, vf_config_free);
    host->config = vf_config_parse(pools, strlen(pools), "p.conf", &error);
    g_assert_no_error(error);
    host->inventory = vf_inventory_read(host->root, host->config);
}

static void host_clear(Host *host)
{
    g_clear_pointer(&host->inventory, vf_inventory_free);
    g_clear_pointer(&host->config, vf_config_free);
    g_clear_pointer(&host->root, fake_host_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Host, host_clear)

static VfInvPool *pool_at(const Host *host, guint number)
{
    return g_ptr_array_index(host->inventory->pools, number);
}

static VfInvPf *pf_at(const Host *host, const char *address)
{
    VfPciAddr parsed;

    g_assert_true(vf_pciaddr_parse(address, &parsed));
    return vf_inventory_pf(host->inventory, &parsed);
}

// Names of a pool's slots, in order.
static void assert_slots(const Host *host, guint pool, const char *expected)
{
    const GArray *slots = pool_at(host, pool)->slots;
    GString *names = g_string_new(NULL);

    for (guint i = 0; i < slots->len; i++) {
        g_autofree char *name = vf_inventory_name(&g_array_index(slots, VfSlot, i));

        g_string_append_printf(names, "%s%s", i > 0 ? " " : "", name);
    }
    g_assert_cmpstr(names->str, ==, expected);
    g_string_free(names, TRUE);
}

static void assert_no_problem(const Host *host)
{
    for (guint i = 0; i < host->inventory->pools->len; i++)
        g_assert_cmpstr(pool_at(host, i)->problem, ==, NULL);
    for (guint i = 0; i < host->inventory->pfs->len; i++)
        g_assert_cmpstr(((VfInvPf *)g_ptr_array_index(host->inventory->pfs, i))->problem, ==, NULL);
}

// ---- slots

static void test_by_address(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", "igb@" B ",net=eno2", NULL)};

    look(&host, "[pool uplink]\npf=" B "\ncount=3\n");
    assert_slots(&host, 0, "eno2#0 eno2#1 eno2#2");
    assert_no_problem(&host);
    g_assert_cmpuint(pf_at(&host, B)->count, ==, 3);
    g_assert_cmpuint(pf_at(&host, B)->limit, ==, 3);
    g_assert_cmpstr(pf_at(&host, B)->driver, ==, "igb");
    g_assert_cmpuint(pf_at(&host, B)->pci.cap.total_vfs, ==, 7);
    g_assert_cmpuint(pf_at(&host, A)->count, ==, 0);
}

static void test_by_id(void)
{
    g_auto(Host) host = {
        .root = fake_host("igb@" A ",net=eno1", "nvme@0000:05:00.0", "igb@" B ",net=eno2", NULL)};

    look(&host, "[pool uplink]\npf=8086:10c9\ncount=2\n");
    // Index by index, so that guests spread over the cards.
    assert_slots(&host, 0, "eno1#0 eno2#0 eno1#1 eno2#1");
    assert_no_problem(&host);
    g_assert_cmpuint(pool_at(&host, 0)->pfs->len, ==, 2);
}

static void test_by_netdev(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", "igb@" B ",net=eno2", NULL)};

    look(&host, "[pool uplink]\npf=eno2\ncount=1\n");
    assert_slots(&host, 0, "eno2#0");
    assert_no_problem(&host);
}

static void test_without_netdev(void)
{
    g_auto(Host) host = {.root = fake_host("fpga@" A ":252", NULL)};

    look(&host, "[pool fpga0]\npf=" A "\ncount=2\n");
    assert_slots(&host, 0, A "#0 " A "#1");
    g_assert_cmpstr(pf_at(&host, A)->netdev, ==, NULL);
}

static void test_ranges(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    look(&host, "[pool low]\npf=eno1#0-1\n[pool high]\npf=eno1#4-5\n");
    assert_slots(&host, 0, "eno1#0 eno1#1");
    assert_slots(&host, 1, "eno1#4 eno1#5");
    assert_no_problem(&host);
    // The VFs in between have to exist.
    g_assert_cmpuint(pf_at(&host, A)->count, ==, 6);
}

static void test_ranges_of_two_cards(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", "igb@" B ",net=eno2", NULL)};

    look(&host, "[pool uplink]\npf=eno1#2-3, eno2#3-4\n");
    assert_slots(&host, 0, "eno1#2 eno1#3 eno2#3 eno2#4");
}

static void test_growth(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    look(&host, "[pool uplink]\npf=eno1\ncount=2\ngrowth=grow\nmax=4\n");
    assert_slots(&host, 0, "eno1#0 eno1#1 eno1#2 eno1#3");
    g_assert_cmpuint(pf_at(&host, A)->count, ==, 2);
    g_assert_cmpuint(pf_at(&host, A)->limit, ==, 4);
}

static void test_keep_link(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    look(&host, "[pool low]\npf=eno1#0-1\n[pool high]\npf=eno1#4-5\nlink=keep\n");
    g_assert_true(pf_at(&host, A)->keep_link);
}

// The configuration sees one PF by address and one by interface; only the host knows that they are
// the same.
static void test_shared(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    look(&host, "[pool first]\npf=" A "#0-2\n\n[pool second]\npf=eno1#2-4\n");
    assert_slots(&host, 0, "eno1#0 eno1#1 eno1#2");
    assert_slots(&host, 1, "eno1#3 eno1#4");
    g_assert_cmpstr(pool_at(&host, 0)->problem, ==, NULL);
    g_assert_cmpstr(pool_at(&host, 1)->problem, ==,
                    "p.conf:4: pool 'second': eno1#2 belongs to pool 'first' (p.conf:1) already"
                    " -- give each pool a #range of its own");
}

static void test_one_pf_twice_in_a_pool(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    look(&host, "[pool uplink]\npf=" A ", eno1\ncount=2\n");
    assert_slots(&host, 0, "eno1#0 eno1#1");
    g_assert_cmpuint(pool_at(&host, 0)->pfs->len, ==, 1);
}

static void test_no_pools(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A, "plain@0000:00:1f.0", NULL)};

    look(&host, "");
    g_assert_cmpuint(host.inventory->pools->len, ==, 0);
    g_assert_cmpuint(host.inventory->pfs->len, ==, 1);
}

// ---- problems

static void assert_pool_problem(const char *card, const char *pool, const char *expected)
{
    g_auto(Host) host = {.root = fake_host(card, NULL)};

    look(&host, pool);
    g_assert_cmpstr(pool_at(&host, 0)->problem, ==, expected);
    g_assert_cmpuint(pool_at(&host, 0)->slots->len, ==, 0);
}

static void assert_pf_problem(const char *card, const char *pool, const char *expected)
{
    g_auto(Host) host = {.root = fake_host(card, NULL)};

    look(&host, pool);
    g_assert_cmpstr(pool_at(&host, 0)->problem, ==, NULL);
    g_assert_cmpstr(pf_at(&host, A)->problem, ==, expected);
}

static void test_absent(void)
{
    assert_pool_problem("igb@" A, "\n[pool uplink]\npf=" B "\ncount=1\n",
                        "p.conf:2: pool 'uplink': no physical function with SR-IOV matches '" B
                        "' on this host -- 'virtfn doctor' lists those there are");
    assert_pool_problem("igb@" A, "[pool uplink]\npf=10ee:903f\ncount=1\n",
                        "p.conf:1: pool 'uplink': no physical function with SR-IOV matches "
                        "'10ee:903f' on this host -- 'virtfn doctor' lists those there are");
    assert_pool_problem("igb@" A ",net=eno1", "[pool uplink]\npf=eno7\ncount=1\n",
                        "p.conf:1: pool 'uplink': no physical function with SR-IOV matches "
                        "'eno7' on this host -- 'virtfn doctor' lists those there are");
}

static void test_no_sriov(void)
{
    assert_pool_problem("plain@" A, "[pool uplink]\npf=" A "\ncount=1\n",
                        "p.conf:1: pool 'uplink': no physical function with SR-IOV matches '" A
                        "' on this host -- 'virtfn doctor' lists those there are");
}

static void test_above_total(void)
{
    assert_pf_problem("igb@" A ":7", "[pool uplink]\npf=" A "\ncount=8\n",
                      "p.conf:1: pool 'uplink': 8 functions are above the 7 that " A
                      " offers -- lower count, max or the #range, or raise the limit in the "
                      "card's firmware");
    assert_pf_problem("igb@" A ":7", "[pool uplink]\npf=" A "\ncount=7\n", NULL);
    assert_pf_problem("igb@" A ":7", "[pool uplink]\npf=" A "#6-7\n",
                      "p.conf:1: pool 'uplink': 8 functions are above the 7 that " A
                      " offers -- lower count, max or the #range, or raise the limit in the "
                      "card's firmware");
    assert_pf_problem("igb@" A ":7", "[pool uplink]\npf=" A "\ncount=1\ngrowth=grow\nmax=9\n",
                      "p.conf:1: pool 'uplink': 9 functions are above the 7 that " A
                      " offers -- lower count, max or the #range, or raise the limit in the "
                      "card's firmware");
}

// What lies beyond the card is no slot, however large the number.
static void test_slots_end_with_the_card(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ":2,net=eno1", NULL)};

    look(&host, "[pool uplink]\npf=eno1\ncount=65535\n");
    assert_slots(&host, 0, "eno1#0 eno1#1");
}

static void test_no_driver(void)
{
    assert_pf_problem("igb@" A ",nodriver", "[pool uplink]\npf=" A "\ncount=1\n",
                      "p.conf:1: pool 'uplink': " A " has no driver -- load the driver of the "
                      "physical function, or bind it to pci-pf-stub");
}

static void test_vfio_pf(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",driver=vfio-pci", NULL)};
    const char *pool = "[pool uplink]\npf=" A "\ncount=1\n";

    look(&host, pool);
    g_assert_cmpstr(pf_at(&host, A)->problem, ==, NULL);
    g_assert_cmpint(fake_write(host.root, "/sys/bus/pci/devices/" A "/sriov_numvfs", "2"), ==, 0);
    look(&host, pool);
    g_assert_cmpuint(pf_at(&host, A)->vfs, ==, 2);
    g_assert_cmpstr(pf_at(&host, A)->problem, ==,
                    "p.conf:1: pool 'uplink': " A " is bound to vfio-pci and has VFs -- bind the "
                    "physical function to its own driver");
}

#define ROUTE_PROBLEM                                                                              \
    "p.conf:1: pool 'uplink': eno1 (" A ") carries this host's default route -- choose another "   \
    "card, or say allow-default-route=true in the pool"
#define UPLINK "[pool uplink]\npf=eno1\ncount=1\n"

static void test_default_route(void)
{
    assert_pf_problem("igb@" A ",net=eno1,route", UPLINK, ROUTE_PROBLEM);
    assert_pf_problem("igb@" A ",net=eno1,route", UPLINK "allow-default-route=true\n", NULL);
    assert_pf_problem("igb@" A ",net=eno1", UPLINK, NULL);
}

// An interface above another, as /sys/class/net shows it.
static void stack(const char *root, const char *lower, const char *upper)
{
    g_autofree char *directory = g_strdup_printf("%s/sys/class/net/%s", root, upper);
    g_autofree char *link = g_strdup_printf("%s/sys/class/net/%s/upper_%s", root, lower, upper);

    g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(link, 0755), ==, 0);
}

static void test_default_route_above(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", "igb@" B ",net=eno2", NULL)};

    stack(host.root, "eno1", "bond0");
    stack(host.root, "bond0", "bond0.7");
    stack(host.root, "bond0.7", "br7");
    look(&host, UPLINK);
    g_assert_cmpstr(pf_at(&host, A)->problem, ==, NULL);
    fake_append(host.root, "/proc/net/route",
                "br7\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0");
    look(&host, UPLINK "[pool other]\npf=eno2\ncount=1\n");
    g_assert_cmpstr(pf_at(&host, A)->problem, ==, ROUTE_PROBLEM);
    g_assert_cmpstr(pf_at(&host, B)->problem, ==, NULL);
}

static void test_interfaces_in_a_circle(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    stack(host.root, "eno1", "br0");
    stack(host.root, "br0", "eno1");
    fake_append(host.root, "/proc/net/route", "eth9\t00000000\t0\t3\t0\t0\t0\t00000000\t0\t0\t0");
    look(&host, UPLINK);
    g_assert_cmpstr(pf_at(&host, A)->problem, ==, NULL);
}

static void test_other_routes(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    // A network, half of everything, and lines that are no routes.
    fake_append(host.root, "/proc/net/route",
                "eno1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
                "eno1\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\neno1\n\t\n");
    fake_append(host.root, "/proc/net/ipv6_route",
                "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 "
                "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eno1\n"
                "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
                "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo");
    look(&host, UPLINK);
    g_assert_cmpstr(pf_at(&host, A)->problem, ==, NULL);
}

static void test_default_route_v6(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", NULL)};

    fake_append(host.root, "/proc/net/ipv6_route",
                "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
                "fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eno1");
    look(&host, UPLINK);
    g_assert_cmpstr(pf_at(&host, A)->problem, ==, ROUTE_PROBLEM);
}

static void test_first_problem_stays(void)
{
    assert_pf_problem("igb@" A ",nodriver,net=eno1,route", "[pool uplink]\npf=" A "\ncount=99\n",
                      "p.conf:1: pool 'uplink': 99 functions are above the 7 that " A
                      " offers -- lower count, max or the #range, or raise the limit in the "
                      "card's firmware");
}

// ---- addresses

static void test_addresses(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", "igb@" B ",net=eno2", NULL)};
    VfPciAddr address;
    guint pool, slot;
    char text[VF_PCIADDR_BUFSIZE];

    look(&host, "[pool low]\npf=eno1#0-1\n[pool high]\npf=eno1#2-3\n");
    // First VF Offset 128, VF Stride 2; the VF need not exist.
    g_assert_true(
        vf_inventory_address(&g_array_index(pool_at(&host, 1)->slots, VfSlot, 1), &address));
    g_assert_cmpstr(vf_pciaddr_format(&address, text), ==, "0000:01:10.6");
    g_assert_true(vf_inventory_find(host.inventory, &address, &pool, &slot));
    g_assert_cmpuint(pool, ==, 1);
    g_assert_cmpuint(slot, ==, 1);
    g_assert_cmpuint(vf_inventory_slot(pool_at(&host, 1), &pf_at(&host, A)->pci.address, 3), ==, 1);
    g_assert_cmpuint(vf_inventory_slot(pool_at(&host, 1), &pf_at(&host, A)->pci.address, 1), ==,
                     VF_NO_SLOT);
    // The PF itself, a VF of it beyond the pools, a VF of a card in no pool.
    g_assert_false(vf_inventory_find(host.inventory, &pf_at(&host, A)->pci.address, &pool, &slot));
    g_assert_true(vf_pciaddr_parse("0000:01:11.0", &address));
    g_assert_false(vf_inventory_find(host.inventory, &address, &pool, &slot));
    g_assert_true(vf_pciaddr_parse("0000:02:10.0", &address));
    g_assert_false(vf_inventory_find(host.inventory, &address, &pool, &slot));
}

static void test_no_geometry(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",geometry=0/0", NULL)};
    VfPciAddr address;

    look(&host, "[pool uplink]\npf=" A "\ncount=1\n");
    g_assert_false(
        vf_inventory_address(&g_array_index(pool_at(&host, 0)->slots, VfSlot, 0), &address));
}

static void test_same_slots(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A ",net=eno1", "igb@" B ",net=eno2", NULL)};
    static const struct {
        const char *pools;
        gboolean same;
    } others[] = {
        {"[pool uplink]\npf=eno1\ncount=2\n", TRUE},
        {"[pool uplink]\npf=" A "\ncount=2\nallow-default-route=true\n", TRUE},
        {"[pool uplink]\npf=eno1\ncount=3\n", FALSE},
        {"[pool uplink]\npf=eno2\ncount=2\n", FALSE},
        {"[pool uplink]\npf=eno1#1-2\n", FALSE},
        {"[pool renamed]\npf=eno1\ncount=2\n", FALSE},
        {"[pool uplink]\npf=eno1\ncount=2\n[pool lab]\npf=eno2\ncount=1\n", FALSE},
        {"", FALSE},
    };

    look(&host, others[0].pools);
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autoptr(VfConfig) config =
            vf_config_parse(others[i].pools, strlen(others[i].pools), "q.conf", NULL);
        g_autoptr(VfInventory) other = vf_inventory_read(host.root, config);

        g_assert_cmpint(vf_inventory_same_slots(host.inventory, other), ==, others[i].same);
        g_assert_cmpint(vf_inventory_same_slots(other, host.inventory), ==, others[i].same);
    }
}

static void test_no_sysfs(void)
{
    g_auto(Host) host = {.root = fake_host("igb@" A, NULL)};
    fake_host_free(g_steal_pointer(&host.root));
    host.root = g_strdup("/proc/none");
    look(&host, "[pool uplink]\npf=" A "\ncount=1\n");
    g_assert_true(g_str_has_prefix(pool_at(&host, 0)->problem, "p.conf:1: pool 'uplink': "));
    g_assert_nonnull(strstr(pool_at(&host, 0)->problem, "/proc/none/sys/bus/pci/devices"));
    g_clear_pointer(&host.root, g_free);
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inventory/by-address", test_by_address);
    g_test_add_func("/inventory/by-id", test_by_id);
    g_test_add_func("/inventory/by-netdev", test_by_netdev);
    g_test_add_func("/inventory/without-netdev", test_without_netdev);
    g_test_add_func("/inventory/ranges", test_ranges);
    g_test_add_func("/inventory/ranges-of-two-cards", test_ranges_of_two_cards);
    g_test_add_func("/inventory/growth", test_growth);
    g_test_add_func("/inventory/keep-link", test_keep_link);
    g_test_add_func("/inventory/shared", test_shared);
    g_test_add_func("/inventory/one-pf-twice-in-a-pool", test_one_pf_twice_in_a_pool);
    g_test_add_func("/inventory/no-pools", test_no_pools);
    g_test_add_func("/inventory/problem/absent", test_absent);
    g_test_add_func("/inventory/problem/no-sriov", test_no_sriov);
    g_test_add_func("/inventory/problem/above-total", test_above_total);
    g_test_add_func("/inventory/problem/slots-end-with-the-card", test_slots_end_with_the_card);
    g_test_add_func("/inventory/problem/no-driver", test_no_driver);
    g_test_add_func("/inventory/problem/vfio-pf", test_vfio_pf);
    g_test_add_func("/inventory/problem/first-stays", test_first_problem_stays);
    g_test_add_func("/inventory/problem/no-sysfs", test_no_sysfs);
    g_test_add_func("/inventory/route/direct", test_default_route);
    g_test_add_func("/inventory/route/above", test_default_route_above);
    g_test_add_func("/inventory/route/circle", test_interfaces_in_a_circle);
    g_test_add_func("/inventory/route/others", test_other_routes);
    g_test_add_func("/inventory/route/v6", test_default_route_v6);
    g_test_add_func("/inventory/addresses", test_addresses);
    g_test_add_func("/inventory/no-geometry", test_no_geometry);
    g_test_add_func("/inventory/same-slots", test_same_slots);
    return g_test_run();
}
