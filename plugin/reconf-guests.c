// SPDX-License-Identifier: GPL-2.0-or-later
//
// A thread for each guest, joined before a call returns: nothing outlives it but the connections.
// QEMU serves one client of a monitor at a time, so the members of a guest share its connection.

#include "reconf-guests.h"

#include <string.h>

#include "error.h"
#include "provision.h"
#include "sriov.h"

#define LOOK_AGAIN_US (10 * 1000)
// A QEMU that ends has closed its monitor before the last of its functions.
#define ENDING_US (500 * 1000)

typedef struct Guest Guest;
typedef gboolean (*GuestTask)(Guest *guest, GError **error);

struct Guest {
    VfGuests *guests;
    GPtrArray *members; // of VfMember, not owned
    VfQmp *qmp;         // NULL: not connected, or gone
    GuestTask task;
    GError *error;
};

struct VfGuests {
    const char *root;
    gboolean allow_detach;
    const VfPausePolicy *policy;
    VfMemberTold told;
    gpointer data;
    GPtrArray *members; // of VfMember
    GPtrArray *guests;  // of Guest
    GMutex lock;        // around `told`
    gint64 deadline;
    VfResumeSignal signal;
};

static const VfReconfOwner *first_owner(const Guest *guest)
{
    return ((VfMember *)g_ptr_array_index(guest->members, 0))->owner;
}

static Guest *find_guest(const VfGuests *guests, const char *uuid)
{
    for (guint i = 0; i < guests->guests->len; i++) {
        Guest *guest = g_ptr_array_index(guests->guests, i);

        if (strcmp(first_owner(guest)->uuid, uuid) == 0)
            return guest;
    }
    return NULL;
}

static Guest *get_guest(VfGuests *guests, const char *uuid)
{
    Guest *guest = find_guest(guests, uuid);

    if (guest != NULL)
        return guest;
    guest = g_new0(Guest, 1);
    guest->guests = guests;
    guest->members = g_ptr_array_new();
    g_ptr_array_add(guests->guests, guest);
    return guest;
}

VfGuests *vf_guests_new(VfReconf *reconf, const char *root, VfMemberTold told, gpointer data)
{
    VfGuests *guests = g_new0(VfGuests, 1);

    guests->root = root;
    guests->policy = &reconf->policy;
    guests->allow_detach = reconf->allow_detach;
    guests->told = told;
    guests->data = data;
    guests->members = g_ptr_array_new();
    guests->guests = g_ptr_array_new();
    g_mutex_init(&guests->lock);
    for (guint i = 0; i < reconf->owners->len; i++) {
        VfMember *member = g_new0(VfMember, 1);

        member->owner = g_ptr_array_index(reconf->owners, i);
        g_ptr_array_add(get_guest(guests, member->owner->uuid)->members, member);
        g_ptr_array_add(guests->members, member);
    }
    return guests;
}

void vf_guests_free(VfGuests *guests)
{
    vf_guests_drop_groups(guests);
    for (guint i = 0; i < guests->members->len; i++) {
        VfMember *member = g_ptr_array_index(guests->members, i);

        g_free(member->id);
        g_free(member);
    }
    for (guint i = 0; i < guests->guests->len; i++) {
        Guest *guest = g_ptr_array_index(guests->guests, i);

        g_clear_error(&guest->error);
        g_ptr_array_unref(guest->members);
        vf_qmp_free(guest->qmp);
        g_free(guest);
    }
    g_ptr_array_unref(guests->members);
    g_ptr_array_unref(guests->guests);
    g_mutex_clear(&guests->lock);
    g_free(guests);
}

guint vf_guests_count(const VfGuests *guests)
{
    return guests->members->len;
}

VfMember *vf_guests_member(const VfGuests *guests, guint number)
{
    return g_ptr_array_index(guests->members, number);
}

const GError *vf_guests_error(const VfGuests *guests, const VfMember *member)
{
    return find_guest(guests, member->owner->uuid)->error;
}

static void tell(const Guest *guest, VfReconfStep step, const char *event, const VfMember *member)
{
    if (guest->guests->told == NULL)
        return;
    g_mutex_lock(&guest->guests->lock);
    guest->guests->told(step, event, member, guest->guests->data);
    g_mutex_unlock(&guest->guests->lock);
}

static gpointer run_task(gpointer data)
{
    Guest *guest = data;

    guest->task(guest, &guest->error);
    return NULL;
}

// The last guest, often the only one, has no thread of its own. The first error is returned; those
// of other guests are of the same kind as a rule.
static gboolean run_all(VfGuests *guests, GuestTask task, gint64 deadline, GError **error)
{
    guint n = guests->guests->len;
    g_autofree GThread **threads = g_new0(GThread *, n);
    gboolean ok = TRUE;

    guests->deadline = deadline;
    for (guint i = 0; i < n; i++) {
        Guest *guest = g_ptr_array_index(guests->guests, i);

        guest->task = task;
        g_clear_error(&guest->error);
        if (i + 1 < n)
            threads[i] = g_thread_new("guest", run_task, guest);
        else
            run_task(guest);
    }
    for (guint i = 0; i < n; i++) {
        Guest *guest = g_ptr_array_index(guests->guests, i);

        if (threads[i] != NULL)
            g_thread_join(threads[i]);
        if (guest->error != NULL && ok && error != NULL)
            *error = g_error_copy(guest->error);
        ok = ok && guest->error == NULL;
    }
    return ok;
}

// ---- look

// QEMU tells the function as it was given: an address, or a path that ends in it.
static gboolean is_function(const char *host_device, const VfPciAddr *address)
{
    g_autofree char *name = host_device != NULL ? g_path_get_basename(host_device) : NULL;
    VfPciAddr found;

    return name != NULL && vf_pciaddr_parse(name, &found) && vf_pciaddr_equal(&found, address);
}

// FALSE while the device is on its way from one state to the other.
static gboolean look_up(VfMember *member, const GPtrArray *infos)
{
    member->state = VF_PAUSE_UNKNOWN;
    for (guint i = 0; i < infos->len; i++) {
        const VfPauseInfo *info = g_ptr_array_index(infos, i);

        if (!is_function(info->host_device, &member->owner->address))
            continue;
        member->state = info->state;
        g_free(member->id);
        member->id = g_strdup(info->id != NULL ? info->id : info->qom_path);
        break;
    }
    return member->state != VF_PAUSE_PAUSING && member->state != VF_PAUSE_RESUMING;
}

static gboolean becomes_unused(const Guest *guest, const VfPciAddr *address, gint64 until,
                               GError **error)
{
    while (!vf_sriov_check_unused(guest->guests->root, address, error)) {
        if (g_get_monotonic_time() >= until)
            return FALSE;
        g_clear_error(error);
        g_usleep(LOOK_AGAIN_US);
    }
    return TRUE;
}

// Nobody listens: the guest is gone, or it was started without the socket.
static gboolean is_gone(Guest *guest, GError **error)
{
    gint64 until = MIN(g_get_monotonic_time() + ENDING_US, guest->guests->deadline);

    for (guint i = 0; i < guest->members->len; i++) {
        VfMember *member = g_ptr_array_index(guest->members, i);
        g_autoptr(GError) cause = NULL;

        member->state = VF_PAUSE_UNKNOWN;
        if (becomes_unused(guest, &member->owner->address, until, &cause))
            continue;
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s', device '%s': it was started without virtfn's monitor, so its "
                    "device cannot be paused (%s)" VF_REMEDY
                    "shut it down and start it again, once its XML has been rendered",
                    member->owner->domain, member->owner->device, cause->message);
        return FALSE;
    }
    return TRUE;
}

// TRUE when each device is in a state that lasts; what a killed reconf began may be under way.
static gboolean look_once(Guest *guest, GError **error)
{
    g_autoptr(GPtrArray) infos = vf_pause_query(guest->qmp, guest->guests->deadline, error);
    gboolean lasts = TRUE;

    for (guint i = 0; infos != NULL && i < guest->members->len; i++)
        lasts &= look_up(g_ptr_array_index(guest->members, i), infos);
    return infos != NULL && lasts;
}

// A reconf that was killed may have handed groups over that no resume took.
static void forget_groups(Guest *guest)
{
    for (guint i = 0; i < guest->members->len; i++) {
        VfMember *member = g_ptr_array_index(guest->members, i);

        if (member->state == VF_PAUSE_PAUSED)
            vf_resume_forget(guest->qmp, member->id, guest->guests->deadline);
    }
}

static gboolean is_starting(const VfReconfOwner *owner, GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                "domain '%s' is starting" VF_REMEDY "try again once it runs", owner->domain);
    return FALSE;
}

static gboolean ask(Guest *guest, GError **error)
{
    const VfReconfOwner *owner = first_owner(guest);
    gint64 deadline = guest->guests->deadline;
    g_autoptr(GError) cause = NULL;

    g_clear_pointer(&guest->qmp, vf_qmp_free);
    if (owner->presence == VF_PRESENCE_NONE)
        return TRUE;
    if (owner->socket != NULL)
        guest->qmp = vf_qmp_connect(owner->socket, owner->domain, deadline, &cause);
    while (owner->presence == VF_PRESENCE_STARTING && !guest->qmp &&
           g_error_matches(cause, VF_ERROR, VF_ERROR_NOT_FOUND)) {
        if (g_get_monotonic_time() > deadline)
            return is_starting(owner, error);
        g_clear_error(&cause);
        g_usleep(LOOK_AGAIN_US);
        guest->qmp = vf_qmp_connect(owner->socket, owner->domain, deadline, &cause);
    }
    if (owner->socket == NULL || g_error_matches(cause, VF_ERROR, VF_ERROR_NOT_FOUND))
        return is_gone(guest, error);
    while (cause == NULL && !look_once(guest, &cause) && cause == NULL)
        g_usleep(LOOK_AGAIN_US);
    // Its list of commands is long: only a QEMU that seems to lack this one is asked for it.
    if (guest->qmp != NULL && g_strcmp0(vf_qmp_refused(guest->qmp), "CommandNotFound") == 0) {
        g_clear_error(&cause);
        vf_pause_supported(guest->qmp, deadline, &cause);
    }
    if (cause == NULL) {
        forget_groups(guest);
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&cause));
    return FALSE;
}

static gboolean look(Guest *guest, GError **error)
{
    g_autoptr(GError) cause = NULL;

    if (ask(guest, &cause))
        return TRUE;
    if (!guest->guests->allow_detach || !g_error_matches(cause, VF_ERROR, VF_ERROR_STATE)) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return FALSE;
    }
    for (guint i = 0; i < guest->members->len; i++)
        ((VfMember *)g_ptr_array_index(guest->members, i))->owner->cannot_pause = TRUE;
    return TRUE;
}

gboolean vf_guests_look(VfGuests *guests, gint64 deadline, GError **error)
{
    return run_all(guests, look, deadline, error);
}

static gboolean has_devices(const Guest *guest)
{
    for (guint i = 0; i < guest->members->len; i++)
        if (((VfMember *)g_ptr_array_index(guest->members, i))->state != VF_PAUSE_UNKNOWN)
            return TRUE;
    return FALSE;
}

static gboolean check(Guest *guest, GError **error)
{
    return guest->qmp == NULL || !has_devices(guest) ||
           vf_pause_possible(guest->qmp, guest->guests->deadline, error);
}

gboolean vf_guests_check(VfGuests *guests, gint64 deadline, GError **error)
{
    return run_all(guests, check, deadline, error);
}

// ---- pause

// TRUE when the guest ended meanwhile: that is not an error of what was asked. QEMU serves one
// client at a time, so the connection is made anew.
static gboolean has_ended(Guest *guest)
{
    const VfReconfOwner *owner = first_owner(guest);
    g_autoptr(GError) cause = NULL;

    g_clear_pointer(&guest->qmp, vf_qmp_free);
    guest->qmp = vf_qmp_connect(owner->socket, owner->domain, guest->guests->deadline, &cause);
    if (!g_error_matches(cause, VF_ERROR, VF_ERROR_NOT_FOUND))
        return FALSE;
    for (guint i = 0; i < guest->members->len; i++)
        ((VfMember *)g_ptr_array_index(guest->members, i))->state = VF_PAUSE_UNKNOWN;
    return TRUE;
}

// Takes `failure`, which may be NULL.
static gboolean end_task(Guest *guest, GError *failure, GError **error)
{
    if (failure == NULL)
        return TRUE;
    if (has_ended(guest)) {
        g_error_free(failure);
        return TRUE;
    }
    g_propagate_error(error, failure);
    return FALSE;
}

static gboolean pause_guest(Guest *guest, GError **error)
{
    g_autofree VfPauseTarget *targets = g_new0(VfPauseTarget, guest->members->len);
    g_autofree VfMember **members = g_new0(VfMember *, guest->members->len);
    guint count = 0;
    GError *first = NULL;

    for (guint i = 0; i < guest->members->len; i++) {
        VfMember *member = g_ptr_array_index(guest->members, i);

        if (member->state == VF_PAUSE_UNKNOWN || member->owner->stays_paused)
            continue;
        members[count] = member;
        // If this fails the close takes as long as the reset does.
        if (member->owner->reset_methods != NULL)
            vf_sriov_set_reset_methods(guest->guests->root, &member->owner->address, "", NULL);
        member->paused_at = g_get_monotonic_time();
        targets[count++].id = member->id;
    }
    if (count == 0)
        return TRUE;
    vf_pause_devices(guest->qmp, targets, count, guest->guests->policy, guest->guests->deadline);
    for (guint i = 0; i < count; i++) {
        if (targets[i].error == NULL) {
            members[i]->state = VF_PAUSE_PAUSED;
            tell(guest, VF_RECONF_STEP_PAUSE, "paused", members[i]);
        } else if (first == NULL) {
            first = g_steal_pointer(&targets[i].error);
        }
        g_clear_error(&targets[i].error);
    }
    return end_task(guest, first, error);
}

gboolean vf_guests_pause(VfGuests *guests, gint64 deadline, GError **error)
{
    return run_all(guests, pause_guest, deadline, error);
}

// ---- ready

static gboolean check_address(const VfReconfOwner *owner, const VfPciAddr *found, GError **error)
{
    char was[VF_PCIADDR_BUFSIZE], is[VF_PCIADDR_BUFSIZE];

    if (vf_pciaddr_equal(&owner->address, found))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "VF %u would move from %s to %s, which libvirt cannot be told" VF_REMEDY
                "shut that guest down before this change",
                owner->index, vf_pciaddr_format(&owner->address, was),
                vf_pciaddr_format(found, is));
    return FALSE;
}

gboolean vf_guests_ready(VfGuests *guests, VfMember *member, const VfPciAddr *pf,
                         const char *helper, const VfSettings *settings, GError **error)
{
    const VfReconfOwner *owner = member->owner;
    VfProvision provision = {.root = guests->root,
                             .helper = helper,
                             .pf = *pf,
                             .index = owner->index,
                             .keep_link = owner->keep_link,
                             .pool = owner->pool,
                             .domain = owner->uuid,
                             .device = owner->device,
                             .settings = *settings}; // borrowed

    if (!vf_provision_prepare(&provision, error) ||
        !check_address(owner, &provision.address, error))
        return FALSE;
    if (owner->stays_paused || member->state != VF_PAUSE_PAUSED)
        return TRUE;
    member->group = vf_fence_acquire_vf(guests->root, &provision.address, error);
    return member->group != NULL;
}

// ---- resume

static gboolean resume_guest(Guest *guest, GError **error)
{
    g_autofree VfResumeTarget *targets = g_new0(VfResumeTarget, guest->members->len);
    g_autofree VfMember **members = g_new0(VfMember *, guest->members->len);
    guint count = 0;
    GError *first = NULL;

    for (guint i = 0; guest->qmp != NULL && i < guest->members->len; i++) {
        VfMember *member = g_ptr_array_index(guest->members, i);

        if (member->group == NULL || member->state != VF_PAUSE_PAUSED)
            continue;
        members[count] = member;
        targets[count++] = (VfResumeTarget){.id = member->id,
                                            .host = &member->owner->address,
                                            .group_fd = vf_fence_fd(member->group),
                                            .signal = guest->guests->signal};
    }
    if (count == 0)
        return TRUE;
    vf_resume_devices(guest->qmp, targets, count, guest->guests->deadline);
    for (guint i = 0; i < count; i++) {
        if (targets[i].error == NULL) {
            members[i]->state = VF_PAUSE_RUNNING;
            members[i]->resumed_at = g_get_monotonic_time();
            tell(guest, VF_RECONF_STEP_RESUME, "resumed", members[i]);
        } else if (first == NULL) {
            first = g_steal_pointer(&targets[i].error);
        }
        g_clear_error(&targets[i].error);
    }
    return end_task(guest, first, error);
}

gboolean vf_guests_resume(VfGuests *guests, VfResumeSignal signal, gint64 deadline, GError **error)
{
    gboolean ok;

    guests->signal = signal;
    ok = run_all(guests, resume_guest, deadline, error);
    vf_guests_drop_groups(guests);
    return ok;
}

void vf_guests_drop_groups(VfGuests *guests)
{
    for (guint i = 0; i < guests->members->len; i++)
        g_clear_pointer(&((VfMember *)g_ptr_array_index(guests->members, i))->group,
                        vf_fence_release);
}
