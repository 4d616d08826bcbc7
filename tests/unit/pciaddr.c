// SPDX-License-Identifier: GPL-2.0-or-later
//
// PCI addresses: what parses, what does not, and the address of VF i.

#include "pciaddr.h"

static void test_round_trip(void)
{
    static const char *const good[] = {"0000:3b:10.2", "10000:01:00.0", "ffff:ff:1f.7"};
    char buf[VF_PCIADDR_BUFSIZE];
    VfPciAddr addr;

    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_assert_true(vf_pciaddr_parse(good[i], &addr));
        g_assert_cmpstr(vf_pciaddr_format(&addr, buf), ==, good[i]);
    }
    g_assert_true(vf_pciaddr_parse("3b:10.2", &addr));
    g_assert_cmpstr(vf_pciaddr_format(&addr, buf), ==, "0000:3b:10.2");
}

static void test_refused(void)
{
    static const char *const bad[] = {"",
                                      "0000",
                                      "0000:3b:10",
                                      "0000:3b:20.0",
                                      "0000:3b:1.0",
                                      "0000:3b:10.8",
                                      "0000:3b:10.00",
                                      "0000:3b:10.0 ",
                                      "g000:3b:10.0",
                                      "000000000:3b:10.0"};
    VfPciAddr addr;

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        if (vf_pciaddr_parse(bad[i], &addr))
            g_error("'%s' was accepted", bad[i]);
}

static void test_vf(void)
{
    const VfPciAddr pf = {0, 1, 0, 0};
    char buf[VF_PCIADDR_BUFSIZE];
    VfPciAddr vf;

    g_assert_true(vf_pciaddr_vf(&pf, 128, 2, 6, &vf));
    g_assert_cmpstr(vf_pciaddr_format(&vf, buf), ==, "0000:01:11.4");
    g_assert_true(vf_pciaddr_vf(&pf, 1, 1, 255, &vf));
    g_assert_cmpstr(vf_pciaddr_format(&vf, buf), ==, "0000:02:00.0");
    g_assert_false(vf_pciaddr_vf(&pf, 0xffff, 1, 0, &vf));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pciaddr/round-trip", test_round_trip);
    g_test_add_func("/pciaddr/refused", test_refused);
    g_test_add_func("/pciaddr/vf", test_vf);
    return g_test_run();
}
