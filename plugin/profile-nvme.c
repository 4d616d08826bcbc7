// SPDX-License-Identifier: GPL-2.0-or-later
//
// NVMe functions: a VF is a secondary controller that has no queues and is offline after every
// creation (NVM Express Base Specification 1.4, 8.5). The PF, its primary controller, assigns queue
// (VQ) and interrupt (VI) resources while it is offline and takes it online. A controller that is
// right already is left alone: going offline would cost its user the device.

#include "profile-nvme.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"
#include "io.h"
#include "profile-parts.h"

#define RESET_POLL_US 50000
#define RESET_POLLS 200

// Least for going online: the admin queue pair and one of I/O, and a vector (5.22, 8.5.2).
static const guint16 least[VF_NVME_RESOURCES] = {2, 1};
static const char *const setting_names[VF_NVME_RESOURCES] = {"queues", "interrupts"};

static int wanted(const VfSettings *settings, VfNvmeResource resource)
{
    return resource == VF_NVME_VQ ? settings->queues : settings->interrupts;
}

static gboolean is_asked(const VfSettings *settings)
{
    return settings->queues != VF_UNSET || settings->interrupts != VF_UNSET;
}

static gboolean submit(const VfNvmePort *port, struct nvme_admin_cmd *command, const char *what,
                       GError **error)
{
    int status = port->submit(port->data, command);

    if (status < 0)
        vf_error_set_errno(error, VF_ERROR_SYSFS, -status, "%s: %s", port->object, what);
    else if (status > 0)
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: %s: %s (NVMe status 0x%03x)",
                    port->object, what, vf_nvme_status_text(status), (guint)status & 0x7ff);
    return status == 0;
}

// By VF number and not by position: controller ids need not follow the VFs' order.
gboolean vf_nvme_find(const VfNvmePort *port, guint index, VfNvmeSecondary *secondary,
                      gboolean *found, GError **error)
{
    g_autofree guint8 *data = g_malloc0(VF_NVME_DATA_BYTES);
    struct nvme_admin_cmd command;
    guint32 from = 0;

    *found = FALSE;
    while (from <= G_MAXUINT16) {
        VfNvmeSecondary entry = {0};
        guint i;

        vf_nvme_identify(&command, VF_NVME_CNS_SECONDARY_LIST, (guint16)from, data);
        if (!submit(port, &command, "listing secondary controllers", error))
            return FALSE;
        for (i = 0; vf_nvme_list_entry(data, i, &entry); i++)
            if (entry.vfn == index + 1) {
                *secondary = entry;
                *found = TRUE;
                return TRUE;
            }
        // Lists are in order of id; one that is not full, or does not go on, was the last.
        if (i < VF_NVME_LIST_MAX || entry.id < from)
            return TRUE;
        from = entry.id + 1u;
    }
    return TRUE;
}

gboolean vf_nvme_read_caps(const VfNvmePort *port, guint16 primary, VfNvmeCaps *caps,
                           GError **error)
{
    g_autofree guint8 *data = g_malloc0(VF_NVME_DATA_BYTES);
    struct nvme_admin_cmd command;

    vf_nvme_identify(&command, VF_NVME_CNS_PRIMARY_CAPS, primary, data);
    if (!submit(port, &command, "reading the capabilities of the primary controller", error))
        return FALSE;
    vf_nvme_parse_caps(data, caps);
    return TRUE;
}

// The wanted number, or what the controller has.
static guint16 target_number(const VfNvmeSecondary *secondary, const VfSettings *settings,
                             VfNvmeResource resource)
{
    int number = wanted(settings, resource);

    return number == VF_UNSET ? secondary->assigned[resource] : (guint16)number;
}

gboolean vf_nvme_is_ready(const VfNvmeSecondary *secondary, const VfSettings *settings)
{
    for (VfNvmeResource i = VF_NVME_VQ; i < VF_NVME_RESOURCES; i++)
        if (target_number(secondary, settings, i) != secondary->assigned[i])
            return FALSE;
    return secondary->online;
}

// The controller's own refusal is one bare number; these say what there is. Checked before the
// first command, so that a refusal leaves everything as it was.

// What one function may have.
static gboolean check_number(const VfNvmePort *port, const VfNvmeCaps *caps, guint number,
                             VfNvmeResource resource, GError **error)
{
    const char *name = setting_names[resource];

    if (number < least[resource])
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "%s: %s: %u is not enough for an NVMe function" VF_REMEDY
                    "set %s to at least %u in the profile of the pool",
                    port->object, name, number, name, least[resource]);
    else if (!caps->resource[resource].supported)
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "%s: %s: this NVMe controller has no flexible resources of this kind" VF_REMEDY
                    "remove %s from the profile",
                    port->object, name, name);
    else if (number > caps->resource[resource].secondary_max)
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "%s: %s: %u wanted, a function of this controller can have %u" VF_REMEDY
                    "lower %s",
                    port->object, name, number, caps->resource[resource].secondary_max, name);
    else
        return TRUE;
    return FALSE;
}

// What all functions together may have.
static gboolean check_total(const VfNvmePort *port, const VfNvmeCaps *caps, guint count,
                            guint number, VfNvmeResource resource, GError **error)
{
    const char *name = setting_names[resource];
    guint total = caps->resource[resource].total;

    if ((guint64)count * number <= total)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                "%s: %s: %u functions with %u each, but the controller has %u in all" VF_REMEDY
                "lower %s or the pool's count",
                port->object, name, count, number, total, name);
    return FALSE;
}

static gboolean check_free(const VfNvmePort *port, const VfNvmeCaps *caps,
                           const VfNvmeSecondary *secondary, guint number, VfNvmeResource resource,
                           GError **error)
{
    guint available = vf_nvme_free(caps, resource) + secondary->assigned[resource];
    const char *name = setting_names[resource];

    if (number <= available)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                "%s: %s: %u wanted, %u of %u are free, the PF itself holds %u" VF_REMEDY
                "lower %s or the pool's count; `virtfn init` on a PF without VFs takes back "
                "what the PF holds",
                port->object, name, number, available, caps->resource[resource].total,
                caps->resource[resource].primary, name);
    return FALSE;
}

static gboolean check_resources(const VfNvmePort *port, const VfNvmeSecondary *secondary,
                                const VfSettings *settings, GError **error)
{
    VfNvmeCaps caps;

    if (!vf_nvme_read_caps(port, secondary->primary, &caps, error))
        return FALSE;
    for (VfNvmeResource i = VF_NVME_VQ; i < VF_NVME_RESOURCES; i++) {
        guint number = target_number(secondary, settings, i);

        if (wanted(settings, i) == VF_UNSET && !caps.resource[i].supported)
            continue;
        if (!check_number(port, &caps, number, i, error) ||
            !check_free(port, &caps, secondary, number, i, error))
            return FALSE;
    }
    return TRUE;
}

gboolean vf_nvme_check(const VfNvmePort *port, guint16 primary, guint count,
                       const VfSettings *settings, GError **error)
{
    VfNvmeCaps caps;

    if (!vf_nvme_read_caps(port, primary, &caps, error))
        return FALSE;
    for (VfNvmeResource i = VF_NVME_VQ; i < VF_NVME_RESOURCES; i++) {
        int number = wanted(settings, i);

        if (number != VF_UNSET && (!check_number(port, &caps, (guint)number, i, error) ||
                                   !check_total(port, &caps, count, (guint)number, i, error)))
            return FALSE;
    }
    return TRUE;
}

static gboolean manage(const VfNvmePort *port, VfNvmeAction action, guint16 id,
                       VfNvmeResource resource, guint16 number, const char *what, GError **error)
{
    struct nvme_admin_cmd command;

    vf_nvme_manage(&command, action, id, resource, number);
    return submit(port, &command, what, error);
}

gboolean vf_nvme_apply(const VfNvmePort *port, const VfNvmeSecondary *secondary,
                       const VfSettings *settings, GError **error)
{
    guint16 id = secondary->id;
    VfNvmeSecondary after;
    gboolean found;

    if (!check_resources(port, secondary, settings, error) ||
        !manage(port, VF_NVME_OFFLINE, id, VF_NVME_VQ, 0, "taking it offline", error))
        return FALSE;
    // Both, whatever is set: going offline gives up all flexible resources (5.22).
    for (VfNvmeResource i = VF_NVME_VQ; i < VF_NVME_RESOURCES; i++) {
        guint16 number = target_number(secondary, settings, i);

        if (number > 0 &&
            !manage(port, VF_NVME_ASSIGN, id, i, number,
                    i == VF_NVME_VQ ? "assigning queues" : "assigning interrupts", error))
            return FALSE;
    }
    if (!manage(port, VF_NVME_ONLINE, id, VF_NVME_VQ, 0, "taking it online", error) ||
        !vf_nvme_find(port, secondary->vfn - 1u, &after, &found, error))
        return FALSE;
    if (found && after.online &&
        after.assigned[VF_NVME_VQ] == target_number(secondary, settings, VF_NVME_VQ) &&
        after.assigned[VF_NVME_VI] == target_number(secondary, settings, VF_NVME_VI))
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: the controller accepted the commands and did not carry them out" VF_REMEDY
                "see the kernel log and the firmware notes of the drive",
                port->object);
    return FALSE;
}

// The PF keeps what is left over: its own I/O queues come from the same resources.
gboolean vf_nvme_shrink_primary(const VfNvmePort *port, guint16 primary, guint count,
                                const VfSettings *settings, gboolean *changed, GError **error)
{
    VfNvmeCaps caps;

    *changed = FALSE;
    if (!vf_nvme_read_caps(port, primary, &caps, error))
        return FALSE;
    for (VfNvmeResource i = VF_NVME_VQ; i < VF_NVME_RESOURCES; i++) {
        int number = wanted(settings, i);
        guint needed = number == VF_UNSET ? 0 : count * (guint)number;
        guint total = caps.resource[i].total;

        if (number != VF_UNSET && !check_total(port, &caps, count, (guint)number, i, error))
            return FALSE;
        if (needed + caps.resource[i].primary <= total)
            continue;
        if (!manage(port, VF_NVME_PRIMARY_ALLOCATE, primary, i, (guint16)(total - needed),
                    "taking resources from the PF", error))
            return FALSE;
        *changed = TRUE;
    }
    return TRUE;
}

static int submit_ioctl(gpointer data, struct nvme_admin_cmd *command)
{
    int status = ioctl(*(int *)data, NVME_IOCTL_ADMIN_CMD, command);

    return status < 0 ? -errno : status;
}

// Name of the PF's controller ("nvme0"), NULL when nvme does not drive it. Caller frees.
static char *find_controller(const char *root, const VfPciAddr *pf)
{
    char address[VF_PCIADDR_BUFSIZE];
    g_autofree char *path =
        vf_path(root, "/sys/bus/pci/devices/%s/nvme", vf_pciaddr_format(pf, address));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (g_str_has_prefix(name, "nvme"))
            return g_strdup(name);
    return NULL;
}

static int open_controller(const char *root, const char *name, GError **error)
{
    g_autofree char *path = vf_path(root, "/dev/%s", name);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        vf_error_set_errno(error, VF_ERROR_SYSFS, errno, "%s", path);
    return fd;
}

// The device file is open only meanwhile: an open one keeps the nvme driver from being unloaded.
// Runs one pass over the VF's controller: `apply` FALSE only tells whether it is ready.
static gboolean visit(const VfTarget *target, const VfSettings *settings, const char *name,
                      gboolean apply, gboolean *ready, GError **error)
{
    g_autofree char *object = vf_target_text(target);
    int fd = open_controller(target->root, name, error);
    VfNvmePort port = {submit_ioctl, &fd, object};
    VfNvmeSecondary secondary;
    gboolean found, ok;

    if (fd < 0)
        return FALSE;
    ok = vf_nvme_find(&port, target->index, &secondary, &found, error);
    if (ok && !found) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: the controller lists no secondary controller for it", object);
        ok = FALSE;
    }
    *ready = ok && vf_nvme_is_ready(&secondary, settings);
    if (ok && apply && !*ready)
        ok = vf_target_check_unbound(target, "NVMe resources", error) &&
             vf_nvme_apply(&port, &secondary, settings, error);
    close(fd);
    return ok;
}

gboolean vf_profile_nvme_needs_unbound(const VfTarget *target, const VfSettings *settings)
{
    g_autofree char *name = find_controller(target->root, &target->pf);
    gboolean ready = FALSE;

    if (name == NULL)
        return FALSE;
    // A drive that cannot be asked, and for which nothing is set, is left as it is.
    return visit(target, settings, name, FALSE, &ready, NULL) ? !ready : is_asked(settings);
}

gboolean vf_profile_nvme_pre(const VfTarget *target, const VfSettings *settings, GError **error)
{
    g_autofree char *name = find_controller(target->root, &target->pf);
    gboolean ready;

    if (name == NULL && is_asked(settings)) {
        g_autofree char *object = vf_target_text(target);

        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "%s: queues and interrupts are for NVMe, and the nvme driver does not have the "
                    "PF" VF_REMEDY "bind the PF to nvme or remove them from the profile",
                    object);
        return FALSE;
    }
    if (name == NULL)
        return TRUE;
    // Without settings only a drive that lists its secondary controllers is taken online.
    if (!is_asked(settings) && !visit(target, settings, name, FALSE, &ready, NULL))
        return TRUE;
    return visit(target, settings, name, TRUE, &ready, error);
}

// The driver starts the controller again in the background after a reset.
static gboolean wait_live(const char *controller, GError **error)
{
    g_autofree char *path = g_build_filename(controller, "state", NULL);
    g_autofree char *state = NULL;

    for (int i = 0; i < RESET_POLLS; i++) {
        g_free(state);
        state = vf_io_read(path, error);
        if (state == NULL || g_str_equal(state, "live"))
            return state != NULL;
        g_usleep(RESET_POLL_US);
    }
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: '%s' and not 'live' %d s after the reset" VF_REMEDY "see the kernel log", path,
                state, RESET_POLLS * RESET_POLL_US / 1000000);
    return FALSE;
}

// The PF's controller with its device file open; close `fd`.
typedef struct {
    char *name, *directory; // "nvme0", its directory in sysfs
    guint16 id;
    int fd;
} Primary;

static void primary_close(Primary *primary)
{
    if (primary->fd >= 0)
        close(primary->fd);
    g_free(primary->name);
    g_free(primary->directory);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Primary, primary_close)

// TRUE with no `name` when there is nothing to set, or no controller to set it with.
static gboolean primary_open(Primary *primary, const char *root, const VfPciAddr *pf,
                             const VfSettings *settings, GError **error)
{
    char address[VF_PCIADDR_BUFSIZE];
    guint64 id;

    *primary = (Primary){.fd = -1};
    if (is_asked(settings))
        primary->name = find_controller(root, pf);
    if (primary->name == NULL)
        return TRUE;
    primary->directory = vf_path(root, "/sys/bus/pci/devices/%s/nvme/%s",
                                 vf_pciaddr_format(pf, address), primary->name);
    g_autofree char *path = g_build_filename(primary->directory, "cntlid", NULL);
    if (!vf_io_read_uint(path, &id, error))
        return FALSE;
    primary->id = (guint16)id;
    primary->fd = open_controller(root, primary->name, error);
    return primary->fd >= 0;
}

gboolean vf_profile_nvme_check_pf(const char *root, const VfPciAddr *pf, guint count,
                                  const VfSettings *settings, GError **error)
{
    char address[VF_PCIADDR_BUFSIZE];
    g_auto(Primary) primary;
    VfNvmePort port = {submit_ioctl, &primary.fd, vf_pciaddr_format(pf, address)};

    return primary_open(&primary, root, pf, settings, error) &&
           (primary.name == NULL || vf_nvme_check(&port, primary.id, count, settings, error));
}

gboolean vf_profile_nvme_prepare_pf(const char *root, const VfPciAddr *pf, guint count,
                                    const VfSettings *settings, GError **error)
{
    char address[VF_PCIADDR_BUFSIZE];
    g_auto(Primary) primary;
    VfNvmePort port = {submit_ioctl, &primary.fd, vf_pciaddr_format(pf, address)};
    g_autofree char *reset_path = vf_path(root, "/sys/bus/pci/devices/%s/reset", address);
    gboolean changed;

    if (!primary_open(&primary, root, pf, settings, error))
        return FALSE;
    if (primary.name == NULL)
        return TRUE;
    if (!vf_nvme_shrink_primary(&port, primary.id, count, settings, &changed, error))
        return FALSE;
    if (!changed)
        return TRUE;
    close(primary.fd);
    primary.fd = -1;
    // The new allocation counts from the next controller level reset on (5.22).
    return vf_io_write(reset_path, "1", error) && wait_live(primary.directory, error);
}
