// SPDX-License-Identifier: GPL-2.0-or-later
//
// rtnetlink messages for the VFs of a network PF: building and reading them, no socket, so that
// tests can look at them. The kernel's side is net/core/rtnetlink.c, do_setvfinfo() and
// rtnl_fill_vfinfo().

#pragma once

#include <glib.h>
#include <linux/if_link.h>
#include <netlink/msg.h>

#include "settings.h"

// What the kernel reports of a PF's interface and one VF. Members of `vf` are 0 where it is silent.
typedef struct {
    gboolean up, carrier;
    gboolean has_vf;
    guint8 mac[6];
    guint vlan, qos, min_rate, max_rate;
} VfNetState;

// One attribute of IFLA_VF_INFO. Each is sent in a message of its own, so that a refusal names the
// setting and what came before it holds.
typedef struct {
    const char *setting; // key of vf_settings_set()
    int type;            // IFLA_VF_*
    guint length;
    union {
        struct ifla_vf_mac mac;
        struct ifla_vf_vlan vlan;
        struct ifla_vf_spoofchk spoofchk;
        struct ifla_vf_trust trust;
        struct ifla_vf_link_state link_state;
        struct ifla_vf_rate rate;
    } data;
} VfNetStep;

#define VF_NET_STEPS_MAX 6

// TRUE when one of the settings is for a network function.
gboolean vf_net_is_asked(const VfSettings *settings);

// The steps that give VF `index` the settings, in order: MAC, VLAN, spoof check, trust, link state,
// rates. Of two rates the kernel takes both at once; the one that is not set is kept.
guint vf_net_plan(const VfSettings *settings, guint index, const VfNetState *current,
                  VfNetStep *steps);

// The steps that take back what vf_net_plan() gives.
guint vf_net_plan_release(const VfSettings *settings, guint index, VfNetStep *steps);

// Messages; free with nlmsg_free(). NULL when there is no memory.
struct nl_msg *vf_net_build_step(int ifindex, const VfNetStep *step);
struct nl_msg *vf_net_build_up(int ifindex);
struct nl_msg *vf_net_build_query(int ifindex);

// Reads the answer to vf_net_build_query(). FALSE when it is not an RTM_NEWLINK message.
gboolean vf_net_parse(struct nlmsghdr *header, guint index, VfNetState *state);
