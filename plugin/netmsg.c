// SPDX-License-Identifier: GPL-2.0-or-later
//
// Settings of a network VF to rtnetlink messages and back. libnl's attribute functions and the
// kernel's structures rather than libnl's own VF object: that one sends all settings in one
// message, and a refusal would not tell which of them it is for. Sends nothing.

#include "netmsg.h"

#include <linux/if.h>
#include <netlink/attr.h>
#include <string.h>

gboolean vf_net_is_asked(const VfSettings *settings)
{
    return settings->has_mac || settings->vlan != VF_UNSET || settings->qos != VF_UNSET ||
           settings->trust != VF_UNSET || settings->spoofchk != VF_UNSET ||
           settings->link_state != VF_UNSET || settings->min_rate != VF_UNSET ||
           settings->max_rate != VF_UNSET;
}

// The structures have padding that goes to the kernel: all of a step is zero first.
static VfNetStep *add_step(VfNetStep *steps, guint *n, const char *setting, int type, gsize length)
{
    VfNetStep *step = &steps[(*n)++];

    memset(step, 0, sizeof(*step));
    step->setting = setting;
    step->type = type;
    step->length = (guint)length;
    return step;
}

static void add_mac(VfNetStep *steps, guint *n, guint index, const guint8 *mac)
{
    VfNetStep *step = add_step(steps, n, "mac", IFLA_VF_MAC, sizeof(step->data.mac));

    step->data.mac.vf = index;
    memcpy(step->data.mac.mac, mac, 6);
}

static void add_vlan(VfNetStep *steps, guint *n, guint index, guint vlan, guint qos)
{
    VfNetStep *step = add_step(steps, n, "vlan", IFLA_VF_VLAN, sizeof(step->data.vlan));

    step->data.vlan = (struct ifla_vf_vlan){index, vlan, qos};
}

static void add_spoofchk(VfNetStep *steps, guint *n, guint index, guint on)
{
    VfNetStep *step = add_step(steps, n, "spoofchk", IFLA_VF_SPOOFCHK, sizeof(step->data.spoofchk));

    step->data.spoofchk = (struct ifla_vf_spoofchk){index, on};
}

static void add_trust(VfNetStep *steps, guint *n, guint index, guint on)
{
    VfNetStep *step = add_step(steps, n, "trust", IFLA_VF_TRUST, sizeof(step->data.trust));

    step->data.trust = (struct ifla_vf_trust){index, on};
}

static void add_link_state(VfNetStep *steps, guint *n, guint index, VfLinkState state)
{
    static const guint values[] = {
        [VF_LINK_AUTO] = IFLA_VF_LINK_STATE_AUTO,
        [VF_LINK_ENABLE] = IFLA_VF_LINK_STATE_ENABLE,
        [VF_LINK_DISABLE] = IFLA_VF_LINK_STATE_DISABLE,
    };
    VfNetStep *step =
        add_step(steps, n, "link-state", IFLA_VF_LINK_STATE, sizeof(step->data.link_state));

    step->data.link_state = (struct ifla_vf_link_state){index, values[state]};
}

static void add_rate(VfNetStep *steps, guint *n, guint index, const char *setting, guint min,
                     guint max)
{
    VfNetStep *step = add_step(steps, n, setting, IFLA_VF_RATE, sizeof(step->data.rate));

    step->data.rate = (struct ifla_vf_rate){index, min, max};
}

guint vf_net_plan(const VfSettings *settings, guint index, const VfNetState *current,
                  VfNetStep *steps)
{
    guint n = 0;

    if (settings->has_mac)
        add_mac(steps, &n, index, settings->mac);
    if (settings->vlan != VF_UNSET)
        add_vlan(steps, &n, index, (guint)settings->vlan, (guint)MAX(settings->qos, 0));
    if (settings->spoofchk != VF_UNSET)
        add_spoofchk(steps, &n, index, (guint)settings->spoofchk);
    if (settings->trust != VF_UNSET)
        add_trust(steps, &n, index, (guint)settings->trust);
    if (settings->link_state != VF_UNSET)
        add_link_state(steps, &n, index, (VfLinkState)settings->link_state);
    if (settings->min_rate != VF_UNSET || settings->max_rate != VF_UNSET)
        add_rate(steps, &n, index, settings->min_rate > 0 ? "min-rate" : "max-rate",
                 settings->min_rate != VF_UNSET ? (guint)settings->min_rate : current->min_rate,
                 settings->max_rate != VF_UNSET ? (guint)settings->max_rate : current->max_rate);
    return n;
}

guint vf_net_plan_release(const VfSettings *settings, guint index, VfNetStep *steps)
{
    static const guint8 zeros[6];
    guint n = 0;

    if (settings->vlan != VF_UNSET)
        add_vlan(steps, &n, index, 0, 0);
    if (settings->spoofchk == 0)
        add_spoofchk(steps, &n, index, 1);
    if (settings->trust != VF_UNSET)
        add_trust(steps, &n, index, 0);
    if (settings->link_state != VF_UNSET)
        add_link_state(steps, &n, index, VF_LINK_AUTO);
    if (settings->min_rate != VF_UNSET || settings->max_rate != VF_UNSET)
        add_rate(steps, &n, index, "max-rate", 0, 0);
    // Last: drivers that refuse zeros have taken back everything else by then.
    if (settings->has_mac)
        add_mac(steps, &n, index, zeros);
    return n;
}

// Without NLM_F_ACK: libnl adds it when it sends.
static struct nl_msg *build(int type, const struct ifinfomsg *info)
{
    struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_REQUEST);

    if (message != NULL && nlmsg_append(message, (void *)info, sizeof(*info), NLMSG_ALIGNTO) != 0) {
        nlmsg_free(message);
        return NULL;
    }
    return message;
}

struct nl_msg *vf_net_build_step(int ifindex, const VfNetStep *step)
{
    const struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex};
    struct nl_msg *message = build(RTM_SETLINK, &info);
    struct nlattr *list = NULL, *vf = NULL;

    if (message == NULL)
        return NULL;
    if ((list = nla_nest_start(message, IFLA_VFINFO_LIST)) == NULL ||
        (vf = nla_nest_start(message, IFLA_VF_INFO)) == NULL ||
        nla_put(message, step->type, (int)step->length, &step->data) != 0) {
        nlmsg_free(message);
        return NULL;
    }
    nla_nest_end(message, vf);
    nla_nest_end(message, list);
    return message;
}

struct nl_msg *vf_net_build_up(int ifindex)
{
    const struct ifinfomsg info = {
        .ifi_family = AF_UNSPEC, .ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};

    return build(RTM_SETLINK, &info);
}

struct nl_msg *vf_net_build_query(int ifindex)
{
    const struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex};
    struct nl_msg *message = build(RTM_GETLINK, &info);

    // Without the counters, which would make the answer of a PF with many VFs too long to send.
    if (message != NULL &&
        nla_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS) != 0) {
        nlmsg_free(message);
        return NULL;
    }
    return message;
}

// The attribute's structure, or NULL when it is absent or too short.
static const void *structure(struct nlattr *attribute, gsize size)
{
    return attribute != NULL && nla_len(attribute) >= (int)size ? nla_data(attribute) : NULL;
}

// FALSE when the entry is another VF's: each structure of it begins with the VF's number.
static gboolean parse_vf(struct nlattr *entry, guint index, VfNetState *state)
{
    struct nlattr *tb[IFLA_VF_MAX + 1];

    if (nla_type(entry) != IFLA_VF_INFO || nla_parse_nested(tb, IFLA_VF_MAX, entry, NULL) != 0)
        return FALSE;
    const struct ifla_vf_mac *mac = structure(tb[IFLA_VF_MAC], sizeof(*mac));
    const struct ifla_vf_vlan *vlan = structure(tb[IFLA_VF_VLAN], sizeof(*vlan));
    const struct ifla_vf_rate *rate = structure(tb[IFLA_VF_RATE], sizeof(*rate));
    if (mac == NULL || mac->vf != index)
        return FALSE;
    state->has_vf = TRUE;
    memcpy(state->mac, mac->mac, 6);
    if (vlan != NULL) {
        state->vlan = vlan->vlan;
        state->qos = vlan->qos;
    }
    if (rate != NULL) {
        state->min_rate = rate->min_tx_rate;
        state->max_rate = rate->max_tx_rate;
    }
    return TRUE;
}

// A PF without VFs has no list at all, and that is no failure.
gboolean vf_net_parse(struct nlmsghdr *header, guint index, VfNetState *state)
{
    struct nlattr *tb[IFLA_MAX + 1];
    struct nlattr *entry;
    int rest;

    memset(state, 0, sizeof(*state));
    if (header->nlmsg_type != RTM_NEWLINK ||
        nlmsg_parse(header, sizeof(struct ifinfomsg), tb, IFLA_MAX, NULL) != 0)
        return FALSE;
    const struct ifinfomsg *info = nlmsg_data(header);
    state->up = (info->ifi_flags & IFF_UP) != 0;
    state->carrier = (info->ifi_flags & IFF_LOWER_UP) != 0;
    if (tb[IFLA_VFINFO_LIST] != NULL)
        nla_for_each_nested(entry, tb[IFLA_VFINFO_LIST],
                            rest) if (parse_vf(entry, index, state)) break;
    return TRUE;
}
