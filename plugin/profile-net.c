// SPDX-License-Identifier: GPL-2.0-or-later
//
// Network functions: what only the PF can say about a VF goes through rtnetlink on the PF's
// interface. The PF's link comes first: igb ignores VFs and refuses rates while it is down. What a
// driver may accept without doing it (MAC, VLAN) is read back. One socket per call, so any thread
// may call.

#include "netmsg.h"

#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>

#include "error.h"
#include "io.h"
#include "profile-parts.h"

// Gigabit copper negotiates for two to three seconds.
#define CARRIER_POLLS 50
#define CARRIER_POLL_US 100000

typedef struct {
    const VfTarget *target;
    struct nl_sock *socket;
    char *name; // of the PF's interface
    int ifindex;
    char *object; // of messages
} Link;

static void link_clear(Link *link)
{
    if (link->socket != NULL)
        nl_socket_free(link->socket);
    g_free(link->name);
    g_free(link->object);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Link, link_clear)

// Representors of VFs are children of the same PCI device; their port name has "vf" or "sf" in it
// (kernel: Documentation/networking/switchdev.rst).
static gboolean is_representor(const char *directory, const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, "phys_port_name", NULL);
    g_autofree char *port = vf_io_read(path, NULL);

    return port != NULL && (strstr(port, "vf") != NULL || strstr(port, "sf") != NULL);
}

// The PF's interface: first in order of name that is no representor; NULL when there is none.
static char *find_interface(const VfTarget *target)
{
    g_autofree char *directory = vf_target_pf_path(target, "net");
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    char *found = NULL;
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (!is_representor(directory, name) && (found == NULL || strcmp(name, found) < 0)) {
            g_free(found);
            found = g_strdup(name);
        }
    return found;
}

// The index is looked up for every call: interfaces get renamed and come back under other numbers.
static gboolean link_open(Link *link, const VfTarget *target, GError **error)
{
    g_autofree char *vf = vf_target_text(target);
    g_autofree char *path = g_strdup_printf("net/%s/ifindex", link->name);
    g_autofree char *ifindex_path = vf_target_pf_path(target, path);
    guint64 ifindex;
    int failed;

    link->target = target;
    link->object = g_strdup_printf("%s (%s)", vf, link->name);
    if (!vf_io_read_uint(ifindex_path, &ifindex, error))
        return FALSE;
    link->ifindex = (int)ifindex;
    link->socket = nl_socket_alloc();
    failed = link->socket != NULL ? nl_connect(link->socket, NETLINK_ROUTE) : -NLE_NOMEM;
    if (failed == 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: netlink: %s", link->object,
                nl_geterror(failed));
    return FALSE;
}

// Sends a message that changes something, frees it, and waits for the kernel's verdict.
static int send_change(Link *link, struct nl_msg *message)
{
    return message != NULL ? nl_send_sync(link->socket, message) : -NLE_NOMEM;
}

typedef struct {
    guint index;
    VfNetState *state;
    gboolean seen;
} Answer;

static int on_answer(struct nl_msg *message, void *data)
{
    Answer *answer = data;

    answer->seen |= vf_net_parse(nlmsg_hdr(message), answer->index, answer->state);
    return NL_OK;
}

// The answer and the acknowledgement are two datagrams; both are taken, or the next request on this
// socket would read the old acknowledgement.
static gboolean query(Link *link, VfNetState *state, GError **error)
{
    Answer answer = {link->target->index, state, FALSE};
    struct nl_msg *message = vf_net_build_query(link->ifindex);
    int failed = -NLE_NOMEM;

    if (message != NULL) {
        nl_socket_modify_cb(link->socket, NL_CB_VALID, NL_CB_CUSTOM, on_answer, &answer);
        failed = nl_send_auto(link->socket, message);
        nlmsg_free(message);
        if (failed >= 0)
            failed = nl_recvmsgs_default(link->socket);
        if (failed >= 0)
            failed = nl_wait_for_ack(link->socket);
    }
    if (failed >= 0 && answer.seen)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: reading the interface: %s", link->object,
                failed < 0 ? nl_geterror(failed) : "no answer");
    return FALSE;
}

// Flags are asked for again after it: the carrier may be there at once.
static gboolean bring_up(Link *link, VfNetState *state, GError **error)
{
    int failed;

    if (state->up)
        return TRUE;
    failed = send_change(link, vf_net_build_up(link->ifindex));
    if (failed == 0)
        return query(link, state, error);
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: bringing the PF's interface up: %s" VF_REMEDY
                "try `ip link set %s up`, or set link=keep in the pool",
                link->object, nl_geterror(failed), link->name);
    return FALSE;
}

// Drivers compare a rate with the speed of the link, which is unknown without a carrier. No carrier
// in time is not an error yet: not every driver needs it.
static gboolean wait_carrier(Link *link, VfNetState *state, GError **error)
{
    for (int i = 0; i < CARRIER_POLLS && state->up && !state->carrier; i++) {
        g_usleep(CARRIER_POLL_US);
        if (!query(link, state, error))
            return FALSE;
    }
    return TRUE;
}

// What users run into, by what the kernel answers; the driver's own reason is in its log only.
static const char *remedy_for(const VfNetStep *step, int failed)
{
    if (failed == -NLE_PERM)
        return "virtfnd needs CAP_NET_ADMIN";
    if (failed == -NLE_OPNOTSUPP)
        return "remove the setting from the profile or the claim";
    if (step->type == IFLA_VF_RATE)
        return "rates need a link that is up, must not exceed its speed, and many drivers know "
               "no min-rate";
    return "see the kernel log for the driver's reason";
}

static gboolean fail_step(const Link *link, const VfNetStep *step, int failed, GError **error)
{
    g_set_error(error, VF_ERROR, failed == -NLE_OPNOTSUPP ? VF_ERROR_CONFIG : VF_ERROR_SYSFS,
                "%s: %s: %s" VF_REMEDY "%s", link->object, step->setting,
                failed == -NLE_OPNOTSUPP ? "the PF's driver cannot set it" : nl_geterror(failed),
                remedy_for(step, failed));
    return FALSE;
}

// igb reports what it will use; a MAC that the guest's driver set in between would show here too.
static gboolean verify(Link *link, const VfSettings *settings, GError **error)
{
    VfNetState state;
    const char *wrong = NULL;

    if (!query(link, &state, error))
        return FALSE;
    if (settings->has_mac && memcmp(state.mac, settings->mac, 6) != 0)
        wrong = "mac";
    else if (settings->vlan != VF_UNSET && state.vlan != (guint)settings->vlan)
        wrong = "vlan";
    if (wrong == NULL)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: %s: the driver accepted it and reports another one" VF_REMEDY
                "see the kernel log for the driver's reason",
                link->object, wrong);
    return FALSE;
}

// Stops at the first refusal. What was set until then does no harm: it is set again at the next
// try.
static gboolean apply(Link *link, const VfSettings *settings, GError **error)
{
    VfNetStep steps[VF_NET_STEPS_MAX];
    VfNetState state;

    if (!query(link, &state, error) || (!link->target->keep_link && !bring_up(link, &state, error)))
        return FALSE;
    if (!vf_net_is_asked(settings))
        return TRUE;
    if (!state.has_vf) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: the PF's driver does not report this VF" VF_REMEDY
                    "check the driver, or remove the network settings from the profile",
                    link->object);
        return FALSE;
    }
    if ((settings->max_rate > 0 || settings->min_rate > 0) && !wait_carrier(link, &state, error))
        return FALSE;
    guint n = vf_net_plan(settings, link->target->index, &state, steps);
    for (guint i = 0; i < n; i++) {
        int failed = send_change(link, vf_net_build_step(link->ifindex, &steps[i]));

        if (failed != 0)
            return fail_step(link, &steps[i], failed, error);
    }
    return verify(link, settings, error);
}

// Opens the PF's interface. FALSE without an error: there is nothing to do on this PF.
static gboolean start(Link *link, const VfTarget *target, const VfSettings *settings,
                      GError **error)
{
    link->name = find_interface(target);
    // The kernel that answers on netlink is not the one that a tree below a root describes.
    if (link->name != NULL && target->root[0] == '\0')
        return link_open(link, target, error);
    if (vf_net_is_asked(settings)) {
        g_autofree char *object = vf_target_text(target);

        g_set_error(
            error, VF_ERROR, VF_ERROR_CONFIG,
            "%s: mac, vlan, trust, spoofchk, link-state and rates are for network cards, and "
            "the PF has no interface here" VF_REMEDY
            "remove them, or see that the PF has its driver and is in this network "
            "namespace",
            object);
    }
    return FALSE;
}

gboolean vf_profile_net_pre(const VfTarget *target, const VfSettings *settings, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_auto(Link) link = {0};

    if (!vf_net_is_asked(settings) && target->keep_link)
        return TRUE;
    if (start(&link, target, settings, &cause))
        return apply(&link, settings, error);
    if (cause == NULL)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&cause));
    return FALSE;
}

gboolean vf_profile_net_release(const VfTarget *target, const VfSettings *settings, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_auto(Link) link = {0};
    VfNetStep steps[VF_NET_STEPS_MAX];
    guint n = vf_net_plan_release(settings, target->index, steps);

    if (n > 0 && start(&link, target, settings, &cause))
        for (guint i = 0; i < n; i++) {
            int failed = send_change(&link, vf_net_build_step(link.ifindex, &steps[i]));

            // Many drivers do not take zeros; the next lease or re-creation brings another MAC.
            if (failed != 0 && steps[i].type != IFLA_VF_MAC && cause == NULL)
                fail_step(&link, &steps[i], failed, &cause);
        }
    if (cause == NULL)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&cause));
    return FALSE;
}
