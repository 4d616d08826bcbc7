// SPDX-License-Identifier: GPL-2.0-or-later
//
// rtnetlink messages of network VFs: each step is built and parsed back attribute by attribute, and
// answers as a kernel gives them are read. Needs no interface and no socket.

#include "netmsg.h"

#include <linux/if.h>
#include <netlink/attr.h>
#include <string.h>

static const VfNetState quiet = {.min_rate = 5, .max_rate = 50};

static VfSettings settings_of(const char *const *pairs)
{
    VfSettings settings;

    vf_settings_init(&settings);
    for (; pairs[0] != NULL; pairs += 2)
        g_assert_true(vf_settings_set(&settings, pairs[0], pairs[1], NULL));
    return settings;
}

// The one attribute of a step's message; checks everything around it.
static struct nlattr *unwrap(struct nl_msg *message, int type)
{
    struct nlmsghdr *header = nlmsg_hdr(message);
    const struct ifinfomsg *info = nlmsg_data(header);
    struct nlattr *tb[IFLA_MAX + 1], *list[IFLA_VF_INFO + 1], *vf[IFLA_VF_MAX + 1];

    g_assert_cmpint(header->nlmsg_type, ==, RTM_SETLINK);
    g_assert_cmpint(header->nlmsg_flags & NLM_F_REQUEST, ==, NLM_F_REQUEST);
    g_assert_cmpint(info->ifi_index, ==, 7);
    g_assert_cmpint(info->ifi_change, ==, 0);
    g_assert_cmpint(nlmsg_parse(header, sizeof(*info), tb, IFLA_MAX, NULL), ==, 0);
    g_assert_nonnull(tb[IFLA_VFINFO_LIST]);
    g_assert_cmpint(nla_parse_nested(list, IFLA_VF_INFO, tb[IFLA_VFINFO_LIST], NULL), ==, 0);
    g_assert_nonnull(list[IFLA_VF_INFO]);
    g_assert_cmpint(nla_parse_nested(vf, IFLA_VF_MAX, list[IFLA_VF_INFO], NULL), ==, 0);
    for (int i = 0; i <= IFLA_VF_MAX; i++)
        g_assert_true((vf[i] != NULL) == (i == type));
    return vf[type];
}

// Message i of the plan holds exactly these bytes in an attribute of this type.
static void assert_step(const VfNetStep *step, const char *setting, int type, const void *data,
                        gsize length)
{
    struct nl_msg *message = vf_net_build_step(7, step);
    struct nlattr *attribute = unwrap(message, type);

    g_assert_cmpstr(step->setting, ==, setting);
    g_assert_cmpmem(nla_data(attribute), nla_len(attribute), data, length);
    nlmsg_free(message);
}

static void test_plan(void)
{
    static const char *const pairs[] = {"max-rate",   "900",     "min-rate", "10",
                                        "link-state", "disable", "trust",    "on",
                                        "spoofchk",   "off",     "vlan",     "42",
                                        "qos",        "3",       "mac",      "52:54:00:12:34:56",
                                        NULL};
    VfSettings settings = settings_of(pairs);
    VfNetStep steps[VF_NET_STEPS_MAX];
    const struct ifla_vf_mac mac = {3, {0x52, 0x54, 0, 0x12, 0x34, 0x56}};
    const struct ifla_vf_vlan vlan = {3, 42, 3};
    const struct ifla_vf_spoofchk spoofchk = {3, 0};
    const struct ifla_vf_trust trust = {3, 1};
    const struct ifla_vf_link_state link_state = {3, IFLA_VF_LINK_STATE_DISABLE};
    const struct ifla_vf_rate rate = {3, 10, 900};

    g_assert_cmpuint(vf_net_plan(&settings, 3, &quiet, steps), ==, 6);
    assert_step(&steps[0], "mac", IFLA_VF_MAC, &mac, sizeof(mac));
    assert_step(&steps[1], "vlan", IFLA_VF_VLAN, &vlan, sizeof(vlan));
    assert_step(&steps[2], "spoofchk", IFLA_VF_SPOOFCHK, &spoofchk, sizeof(spoofchk));
    assert_step(&steps[3], "trust", IFLA_VF_TRUST, &trust, sizeof(trust));
    assert_step(&steps[4], "link-state", IFLA_VF_LINK_STATE, &link_state, sizeof(link_state));
    assert_step(&steps[5], "min-rate", IFLA_VF_RATE, &rate, sizeof(rate));
}

static void test_plan_empty(void)
{
    static const char *const pairs[] = {"queues", "2", "msix", "3", NULL};
    VfSettings settings = settings_of(pairs);
    VfNetStep steps[VF_NET_STEPS_MAX];

    g_assert_false(vf_net_is_asked(&settings));
    g_assert_cmpuint(vf_net_plan(&settings, 0, &quiet, steps), ==, 0);
    g_assert_cmpuint(vf_net_plan_release(&settings, 0, steps), ==, 0);
}

// The kernel sets both rates at once: the one that is not asked for keeps its value.
static void test_one_rate(void)
{
    static const char *const min[] = {"min-rate", "9", NULL}, *const max[] = {"max-rate", "9",
                                                                              NULL};
    VfSettings settings = settings_of(min);
    VfNetStep steps[VF_NET_STEPS_MAX];
    const struct ifla_vf_rate min_rate = {0, 9, 50}, max_rate = {0, 5, 9};

    g_assert_cmpuint(vf_net_plan(&settings, 0, &quiet, steps), ==, 1);
    assert_step(&steps[0], "min-rate", IFLA_VF_RATE, &min_rate, sizeof(min_rate));
    settings = settings_of(max);
    g_assert_cmpuint(vf_net_plan(&settings, 0, &quiet, steps), ==, 1);
    assert_step(&steps[0], "max-rate", IFLA_VF_RATE, &max_rate, sizeof(max_rate));
}

static void test_release(void)
{
    static const char *const pairs[] = {
        "mac", "52:54:00:12:34:56", "vlan",   "42",       "trust", "on", "spoofchk",
        "off", "link-state",        "enable", "max-rate", "900",   NULL};
    VfSettings settings = settings_of(pairs);
    VfNetStep steps[VF_NET_STEPS_MAX];
    const struct ifla_vf_vlan vlan = {1, 0, 0};
    const struct ifla_vf_spoofchk spoofchk = {1, 1};
    const struct ifla_vf_trust trust = {1, 0};
    const struct ifla_vf_link_state link_state = {1, IFLA_VF_LINK_STATE_AUTO};
    const struct ifla_vf_rate rate = {1, 0, 0};
    const struct ifla_vf_mac mac = {1, {0}};

    g_assert_cmpuint(vf_net_plan_release(&settings, 1, steps), ==, 6);
    assert_step(&steps[0], "vlan", IFLA_VF_VLAN, &vlan, sizeof(vlan));
    assert_step(&steps[1], "spoofchk", IFLA_VF_SPOOFCHK, &spoofchk, sizeof(spoofchk));
    assert_step(&steps[2], "trust", IFLA_VF_TRUST, &trust, sizeof(trust));
    assert_step(&steps[3], "link-state", IFLA_VF_LINK_STATE, &link_state, sizeof(link_state));
    assert_step(&steps[4], "max-rate", IFLA_VF_RATE, &rate, sizeof(rate));
    assert_step(&steps[5], "mac", IFLA_VF_MAC, &mac, sizeof(mac));
}

static void test_requests(void)
{
    struct nl_msg *up = vf_net_build_up(7), *query = vf_net_build_query(7);
    const struct ifinfomsg *info = nlmsg_data(nlmsg_hdr(up));
    struct nlattr *mask;

    g_assert_cmpint(nlmsg_hdr(up)->nlmsg_type, ==, RTM_SETLINK);
    g_assert_cmpint(info->ifi_index, ==, 7);
    g_assert_cmphex(info->ifi_flags, ==, IFF_UP);
    g_assert_cmphex(info->ifi_change, ==, IFF_UP);
    g_assert_cmpint(nlmsg_hdr(query)->nlmsg_type, ==, RTM_GETLINK);
    mask = nlmsg_find_attr(nlmsg_hdr(query), sizeof(*info), IFLA_EXT_MASK);
    g_assert_nonnull(mask);
    g_assert_cmphex(nla_get_u32(mask), ==, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
    nlmsg_free(up);
    nlmsg_free(query);
}

// An answer with VFs 0 to n-1, MAC 02:00:00:00:00:0i, VLAN 10 + i; `cut` bytes short of each MAC.
static struct nl_msg *answer(guint n, guint flags, gsize cut)
{
    struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWLINK, 0);
    struct ifinfomsg info = {.ifi_index = 7, .ifi_flags = flags};
    struct nlattr *list;

    nlmsg_append(message, &info, sizeof(info), NLMSG_ALIGNTO);
    list = nla_nest_start(message, IFLA_VFINFO_LIST);
    for (guint i = 0; i < n; i++) {
        struct nlattr *vf = nla_nest_start(message, IFLA_VF_INFO);
        struct ifla_vf_mac mac = {i, {2, 0, 0, 0, 0, (guint8)i}};
        struct ifla_vf_vlan vlan = {i, 10 + i, 1};
        struct ifla_vf_rate rate = {i, 100 + i, 200 + i};

        nla_put(message, IFLA_VF_MAC, (int)(sizeof(mac) - cut), &mac);
        nla_put(message, IFLA_VF_VLAN, sizeof(vlan), &vlan);
        nla_put(message, IFLA_VF_RATE, sizeof(rate), &rate);
        nla_nest_end(message, vf);
    }
    nla_nest_end(message, list);
    return message;
}

static void test_parse(void)
{
    struct nl_msg *message = answer(3, IFF_UP | IFF_LOWER_UP, 0);
    const guint8 mac[] = {2, 0, 0, 0, 0, 2};
    VfNetState state;

    g_assert_true(vf_net_parse(nlmsg_hdr(message), 2, &state));
    nlmsg_free(message);
    g_assert_true(state.up && state.carrier && state.has_vf);
    g_assert_cmpmem(state.mac, 6, mac, 6);
    g_assert_cmpuint(state.vlan, ==, 12);
    g_assert_cmpuint(state.qos, ==, 1);
    g_assert_cmpuint(state.min_rate, ==, 102);
    g_assert_cmpuint(state.max_rate, ==, 202);
}

static void test_parse_absent(void)
{
    struct nl_msg *message = answer(2, 0, 0), *cut = answer(1, IFF_UP, 30);
    VfNetState state;

    g_assert_true(vf_net_parse(nlmsg_hdr(message), 2, &state));
    g_assert_false(state.up || state.carrier || state.has_vf);
    g_assert_true(vf_net_parse(nlmsg_hdr(cut), 0, &state));
    g_assert_true(state.up);
    g_assert_false(state.has_vf);
    nlmsg_hdr(message)->nlmsg_type = RTM_NEWADDR;
    g_assert_false(vf_net_parse(nlmsg_hdr(message), 0, &state));
    nlmsg_free(message);
    nlmsg_free(cut);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/netmsg/plan", test_plan);
    g_test_add_func("/netmsg/plan-empty", test_plan_empty);
    g_test_add_func("/netmsg/one-rate", test_one_rate);
    g_test_add_func("/netmsg/release", test_release);
    g_test_add_func("/netmsg/requests", test_requests);
    g_test_add_func("/netmsg/parse", test_parse);
    g_test_add_func("/netmsg/parse-absent", test_parse_absent);
    return g_test_run();
}
