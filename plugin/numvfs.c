// SPDX-License-Identifier: GPL-2.0-or-later
//
// Making and removing VFs. The write to sriov_numvfs happens in the helper process virtfn-numvfs,
// because it cannot be interrupted and may hang (Linux drivers/pci/iov.c, sriov_numvfs_store); this
// side waits for it with a deadline, puts its errno into words, and believes only the virtfnN links
// that are there afterwards.

#include "sriov.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "io.h"

#define HELPER_TIMEOUT_MS 120000
#define LINKS_TIMEOUT_MS 500
#define LINKS_POLL_MS 10
#define MESSAGE_MAX 4096

static guint helper_timeout = HELPER_TIMEOUT_MS;

void vf_sriov_set_helper_timeout(guint milliseconds)
{
    helper_timeout = milliseconds;
}

static const struct {
    const char *name;
    VfErrorCode code;
    const char *cause, *remedy;
} explanations[] = {
    {"ERANGE", VF_ERROR_SYSFS, "that is more than its sriov_totalvfs",
     "ask for less, or raise the limit in the card's firmware settings"},
    {"EBUSY", VF_ERROR_BUSY,
     "VFs were made by somebody else meanwhile, or its driver has them in use",
     "stop what else writes sriov_numvfs (a udev rule, systemd-networkd, a vendor tool)"},
    {"ENOENT", VF_ERROR_SYSFS, "it has no driver, or one without SR-IOV support",
     "load the PF's driver; pci-pf-stub serves a PF that the host does not use itself"},
    {"ENODEV", VF_ERROR_NOT_FOUND, "it is gone, or has no SR-IOV capability",
     "switch on SR-IOV in the firmware of host and card"},
    {"ENOMEM", VF_ERROR_SYSFS, "there is not enough MMIO space or not enough bus numbers for them",
     "boot with pci=realloc, switch on 'above 4G decoding' and ARI in the firmware, or ask for "
     "less"},
    {"ENOSPC", VF_ERROR_SYSFS, "the card has not enough resources (MSI-X vectors, queues) for them",
     "ask for less, or take queues or vectors away from the PF"},
    {"EPERM", VF_ERROR_SYSFS, "its driver refuses while VFs are assigned or in its present mode",
     "see the kernel's log (dmesg) and the driver's settings"},
    {"EACCES", VF_ERROR_SYSFS, "sriov_numvfs may not be written", "run the daemon as root"},
};

static void set_refused(GError **error, const char *root, const VfPciAddr *pf, guint count,
                        const char *name)
{
    char buf[VF_PCIADDR_BUFSIZE];
    gsize i = 0;

    while (i < G_N_ELEMENTS(explanations) && strcmp(explanations[i].name, name) != 0)
        i++;
    gboolean known = i < G_N_ELEMENTS(explanations);
    g_set_error(error, VF_ERROR, known ? explanations[i].code : VF_ERROR_SYSFS,
                "%s: cannot have %u VFs, it has %u: %s (%s)" VF_REMEDY "%s",
                vf_pciaddr_format(pf, buf), count, vf_sriov_count(root, pf),
                known ? explanations[i].cause : "the kernel or the PF's driver refused", name,
                known ? explanations[i].remedy : "the kernel's log (dmesg) has the reason");
}

// Collects what the helper says until it is gone; FALSE when the deadline comes first.
static gboolean read_to_end(int fd, gint64 deadline, char *text)
{
    gsize length = 0;

    for (;;) {
        gint64 left = (deadline - g_get_monotonic_time()) / 1000;
        struct pollfd ready = {fd, POLLIN, 0};
        char chunk[256];

        int count = left > 0 ? poll(&ready, 1, (int)MIN(left, G_MAXINT)) : 0;
        if (count == 0)
            return FALSE;
        ssize_t got = count > 0 ? read(fd, chunk, sizeof(chunk)) : -1;
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        gsize kept = MIN((gsize)got, MESSAGE_MAX - 1 - length);
        memcpy(text + length, chunk, kept);
        length += kept;
    }
    text[length] = '\0';
    return TRUE;
}

static void reap(GPid pid, int status, gpointer data)
{
    g_spawn_close_pid(pid);
}

static gboolean judge(const char *root, const VfPciAddr *pf, guint count, int status, char *text,
                      GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return TRUE;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1 && g_str_has_prefix(text, "errno=")) {
        char *name = text + strlen("errno=");
        name[strcspn(name, " \n")] = '\0';
        set_refused(error, root, pf, count, name);
        return FALSE;
    }
    g_autofree char *end =
        WIFSIGNALED(status)
            ? g_strdup_printf("was killed by signal %d", WTERMSIG(status))
            : g_strdup_printf("failed (%s)", *g_strstrip(text) != '\0' ? text : "no message");
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: cannot have %u VFs, it has %u: virtfn-numvfs %s" VF_REMEDY "try again",
                vf_pciaddr_format(pf, buf), count, vf_sriov_count(root, pf), end);
    return FALSE;
}

static void give_up(GPid pid, const VfPciAddr *pf, guint count, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];

    kill(pid, SIGKILL);
    g_child_watch_add(pid, reap, NULL); // it ends when the kernel lets go of it, if ever
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "%s: the kernel has not finished setting %u VFs after %u ms" VF_REMEDY
                "a program has a VF open, or the PF's driver hangs: see the kernel's log (dmesg)",
                vf_pciaddr_format(pf, buf), count, helper_timeout);
}

// One write, by the helper.
static gboolean run_helper(const char *root, const VfPciAddr *pf, guint count, const char *helper,
                           GError **error)
{
    char address[VF_PCIADDR_BUFSIZE], number[16], text[MESSAGE_MAX];
    const char *argv[6] = {helper};
    guint argc = 1;
    g_autoptr(GError) cause = NULL;
    GPid pid;
    int fd, status;

    g_snprintf(number, sizeof(number), "%u", count);
    if (*root != '\0') {
        argv[argc++] = "--root";
        argv[argc++] = root;
    }
    argv[argc++] = vf_pciaddr_format(pf, address);
    argv[argc] = number;
    if (!g_spawn_async_with_pipes(NULL, (char **)argv, NULL,
                                  G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
                                      G_SPAWN_CLOEXEC_PIPES,
                                  NULL, NULL, &pid, NULL, NULL, &fd, &cause)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: %s" VF_REMEDY "install virtfn completely (make install)", helper,
                    cause->message);
        return FALSE;
    }
    gint64 deadline = g_get_monotonic_time() + (gint64)helper_timeout * 1000;
    gboolean ended = read_to_end(fd, deadline, text);
    close(fd);
    if (!ended) {
        give_up(pid, pf, count, error);
        return FALSE;
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno == EINTR)
            continue;
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s: its exit status is lost", helper);
        return FALSE;
    }
    return judge(root, pf, count, status, text, error);
}

// Writes and reads back: a driver may enable fewer than it was asked for and still succeed.
static gboolean write_count(const char *root, const VfPciAddr *pf, guint count, const char *helper,
                            GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    guint found;

    if (!run_helper(root, pf, count, helper, error))
        return FALSE;
    for (int waited = 0; (found = vf_sriov_count(root, pf)) != count; waited += LINKS_POLL_MS) {
        if (waited < LINKS_TIMEOUT_MS) {
            g_usleep(LINKS_POLL_MS * 1000);
            continue;
        }
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: asked for %u VFs, the kernel reported success and made %u" VF_REMEDY
                    "set the pool's count to that, or see the driver's limits in the kernel's log",
                    vf_pciaddr_format(pf, buf), count, found);
        return FALSE;
    }
    return TRUE;
}

static gboolean disable_autoprobe(const char *root, const VfPciAddr *pf, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *path = vf_path(root, "/sys/bus/pci/devices/%s/sriov_drivers_autoprobe",
                                    vf_pciaddr_format(pf, buf));

    return vf_io_write(path, "0", error);
}

static gboolean read_total(const char *root, const VfPciAddr *pf, guint64 *total, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *path =
        vf_path(root, "/sys/bus/pci/devices/%s/sriov_totalvfs", vf_pciaddr_format(pf, buf));

    if (access(path, F_OK) == 0)
        return vf_io_read_uint(path, total, error);
    g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "%s: no such physical function with SR-IOV" VF_REMEDY
                "check the address; switch on SR-IOV in the firmware of host and card",
                buf);
    return FALSE;
}

gboolean vf_sriov_clear(const char *root, const VfPciAddr *pf, const VfFence *fence,
                        const char *helper, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];

    if (!vf_fence_covers(fence, root, pf)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "%s: the fence is another PF's",
                    vf_pciaddr_format(pf, buf));
        return FALSE;
    }
    if (vf_sriov_count(root, pf) == 0)
        return TRUE;
    return disable_autoprobe(root, pf, error) && write_count(root, pf, 0, helper, error);
}

static gboolean clear_fenced(const char *root, const VfPciAddr *pf, const char *helper,
                             GError **error)
{
    g_autoptr(VfFence) fence = vf_fence_acquire(root, pf, error);

    return fence != NULL && vf_sriov_clear(root, pf, fence, helper, error);
}

gboolean vf_sriov_set_count(const char *root, const VfPciAddr *pf, guint count, const char *helper,
                            GError **error)
{
    g_autofree char *driver = vf_sriov_driver(root, pf);
    guint existing = vf_sriov_count(root, pf);
    guint64 total;

    if (!read_total(root, pf, &total, error))
        return FALSE;
    if (existing == count)
        return TRUE;
    // Known to fail: say so while the present VFs are still there.
    if (count > total || driver == NULL) {
        set_refused(error, root, pf, count, driver == NULL ? "ENOENT" : "ERANGE");
        return FALSE;
    }
    if (existing > 0 && !clear_fenced(root, pf, helper, error))
        return FALSE;
    return count == 0 ||
           (disable_autoprobe(root, pf, error) && write_count(root, pf, count, helper, error));
}
