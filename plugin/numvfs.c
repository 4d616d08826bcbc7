// SPDX-License-Identifier: GPL-2.0-or-later
//
// Making and removing VFs. The write to sriov_numvfs happens in the helper process virtfn-numvfs,
// because it cannot be interrupted and may hang (Linux drivers/pci/iov.c, sriov_numvfs_store). The
// helper may outlive a daemon that is killed, so it inherits the fence and a lock on the PF's
// directory: no later daemon begins before the write is over, and nobody opens a VF meanwhile. This
// side waits for it with a deadline, puts its errno into words, and believes only the virtfnN links
// that are there afterwards.

#include "sriov.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "io.h"

#define HELPER_TIMEOUT_MS 120000
#define LINKS_TIMEOUT_MS 500
#define LINKS_POLL_MS 10
#define LOCK_POLL_US 10000
#define MESSAGE_MAX 4096
// In the helper, after its standard ones.
#define FIRST_HELD 3

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

// The lock on the PF's directory, -1 when another helper has it for too long.
static int lock_pf(const char *root, const VfPciAddr *pf, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *path = vf_path(root, "/sys/bus/pci/devices/%s", vf_pciaddr_format(pf, buf));
    gint64 deadline = g_get_monotonic_time() + (gint64)helper_timeout * 1000;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), number = fd < 0 ? errno : 0;

    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        number = errno;
        if (number != EINTR && (number != EWOULDBLOCK || g_get_monotonic_time() > deadline))
            break;
        number = 0;
        g_usleep(LOCK_POLL_US);
    }
    if (number == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    if (number == EWOULDBLOCK)
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: the kernel has not finished an earlier change of its VFs" VF_REMEDY
                    "see the kernel's log (dmesg)",
                    buf);
    else
        vf_error_set_errno(error, VF_ERROR_SYSFS, number, "%s", path);
    return -1;
}

gboolean vf_sriov_await_helper(const char *root, const VfPciAddr *pf, GError **error)
{
    int lock = lock_pf(root, pf, error);

    if (lock >= 0)
        close(lock);
    return lock >= 0;
}

// The helper, with all `held` open as long as it runs.
static gboolean spawn(const char *const *argv, const GArray *held, GPid *pid, int *errors,
                      GError **error)
{
    g_autofree int *targets = g_new(int, held->len);

    for (guint i = 0; i < held->len; i++)
        targets[i] = FIRST_HELD + (int)i;
    return g_spawn_async_with_pipes_and_fds(NULL, argv, NULL,
                                            G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
                                                G_SPAWN_CLOEXEC_PIPES,
                                            NULL, NULL, -1, -1, -1, (const int *)held->data,
                                            targets, held->len, pid, NULL, NULL, errors, error);
}

// One write, by the helper.
static gboolean run_helper(const char *root, const VfPciAddr *pf, guint count, const char *helper,
                           const GArray *held, GError **error)
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
    if (!spawn(argv, held, &pid, &fd, &cause)) {
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
                            const GArray *held, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    guint found;

    if (!run_helper(root, pf, count, helper, held, error))
        return FALSE;
    for (int waited = 0;; waited += LINKS_POLL_MS) {
        if (!vf_sriov_read_count(root, pf, &found, error))
            return FALSE;
        if (found == count)
            return TRUE;
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

static gboolean clear_locked(const char *root, const VfPciAddr *pf, const VfFence *fence,
                             const char *helper, int lock, GError **error)
{
    g_autoptr(GArray) held = g_array_new(FALSE, FALSE, sizeof(int));
    const GArray *groups = vf_fence_fds(fence);
    guint count;

    if (!vf_sriov_read_count(root, pf, &count, error))
        return FALSE;
    if (count == 0)
        return TRUE;
    g_array_append_val(held, lock);
    g_array_append_vals(held, groups->data, groups->len);
    return disable_autoprobe(root, pf, error) && write_count(root, pf, 0, helper, held, error);
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
    int lock = lock_pf(root, pf, error);
    if (lock < 0)
        return FALSE;
    gboolean ok = clear_locked(root, pf, fence, helper, lock, error);
    close(lock);
    return ok;
}

static gboolean clear_fenced(const char *root, const VfPciAddr *pf, const char *helper, int lock,
                             GError **error)
{
    g_autoptr(VfFence) fence = vf_fence_acquire(root, pf, error);

    return fence != NULL && clear_locked(root, pf, fence, helper, lock, error);
}

static gboolean set_count_locked(const char *root, const VfPciAddr *pf, guint count, guint64 total,
                                 const char *helper, int lock, GError **error)
{
    g_autoptr(GArray) held = g_array_new(FALSE, FALSE, sizeof(int));
    g_autofree char *driver = vf_sriov_driver(root, pf);
    guint existing;

    if (!vf_sriov_read_count(root, pf, &existing, error))
        return FALSE;
    if (existing == count)
        return TRUE;
    // Known to fail: say so while the present VFs are still there.
    if (count > total || driver == NULL) {
        set_refused(error, root, pf, count, driver == NULL ? "ENOENT" : "ERANGE");
        return FALSE;
    }
    if (existing > 0 && !clear_fenced(root, pf, helper, lock, error))
        return FALSE;
    g_array_append_val(held, lock);
    return count == 0 || (disable_autoprobe(root, pf, error) &&
                          write_count(root, pf, count, helper, held, error));
}

gboolean vf_sriov_set_count(const char *root, const VfPciAddr *pf, guint count, const char *helper,
                            GError **error)
{
    guint64 total;
    int lock = read_total(root, pf, &total, error) ? lock_pf(root, pf, error) : -1;

    if (lock < 0)
        return FALSE;
    gboolean ok = set_count_locked(root, pf, count, total, helper, lock, error);
    close(lock);
    return ok;
}
