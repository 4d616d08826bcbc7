// SPDX-License-Identifier: GPL-2.0-or-later
//
// Registers, window and commands of the emulated card. Mapped for one call of the driver only; the
// card is believed nothing: a command has a deadline, all-ones means that the card is gone, and a
// reset during a command is told from its success by the count of commands.
//
// When a PF is unplugged the kernel takes the pages away from under a mapping of its BAR (Linux
// fs/kernfs/file.c, kernfs_unmap_file), and the next access is a SIGBUS. Its handler puts a page of
// all-ones there and lets the access go on, which is what a card that is gone says anyway. Every
// other SIGBUS does what it would do without the handler.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card-test.h"
#include "error.h"

#define GONE 0xffffffffu
#define PAUSE_MIN 20   // microseconds between two looks at a command
#define PAUSE_MAX 2000 // …that takes long
#define RETRY 5000     // …at a region that works

// ---- what is gone

// A fault is a thread's own, so is the list that its handler looks at.
static __thread VfCardMap *mapped;
static struct sigaction before; // somebody else's
static gsize page_size;

static VfCardMap *map_at(const guint8 *address)
{
    for (VfCardMap *map = mapped; map != NULL; map = map->next)
        if (address >= map->bytes && address < map->bytes + map->size)
            return map;
    return NULL;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    guint8 *page = (guint8 *)((gsize)info->si_addr & ~(page_size - 1));
    VfCardMap *map = info->si_code > 0 ? map_at(info->si_addr) : NULL;

    if (map != NULL && mmap(page, page_size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
        memset(page, 0xff, page_size);
        map->lost = TRUE;
    } else {
        sigaction(number, &before, NULL);
        // A fault comes again by itself.
        if (info->si_code <= 0)
            raise(number);
    }
    errno = saved_errno;
}

static void catch_bus_errors(void)
{
    static gsize caught;

    if (!g_once_init_enter(&caught))
        return;
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    page_size = (gsize)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
    g_once_init_leave(&caught, 1);
}

static void link_map(VfCardMap *map)
{
    catch_bus_errors();
    map->next = mapped;
    mapped = map;
    atomic_signal_fence(memory_order_seq_cst);
}

// ---- maps

void vf_card_map_clear(VfCardMap *map)
{
    VfCardMap **at = &mapped;

    if (map->bytes == NULL)
        return;
    munmap((void *)map->bytes, map->size);
    while (*at != map)
        at = &(*at)->next;
    *at = map->next;
}

gboolean vf_card_map_bar(const char *directory, int bar, gsize size, VfCardMap *map, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/resource%d", directory, bar);
    int fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
    struct stat status;
    void *bytes;

    if (fd < 0) {
        vf_error_set_errno(error, VF_ERROR_SYSFS, errno, "%s", path);
        return FALSE;
    }
    // Beyond its end a mapping would be fatal to touch.
    errno = EINVAL;
    bytes = fstat(fd, &status) == 0 && (guint64)status.st_size >= size
                ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                : MAP_FAILED;
    int saved_errno = errno;
    close(fd);
    if (bytes == MAP_FAILED) {
        vf_error_set_errno(error, VF_ERROR_SYSFS, saved_errno, "%s: cannot be mapped", path);
        return FALSE;
    }
    *map = (VfCardMap){.bytes = bytes, .size = size};
    link_map(map);
    return TRUE;
}

guint32 vf_card_get(const VfCardMap *registers, guint offset)
{
    return GUINT32_FROM_LE(*(volatile guint32 *)(registers->bytes + offset));
}

void vf_card_put(const VfCardMap *registers, guint offset, guint32 value)
{
    *(volatile guint32 *)(registers->bytes + offset) = GUINT32_TO_LE(value);
}

gboolean vf_card_gone(GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "the card does not answer, all it says is 0xffffffff" VF_REMEDY
                "see whether it is still there: lspci, dmesg");
    return FALSE;
}

gboolean vf_card_map_registers(const char *directory, VfCardMap *registers, GError **error)
{
    guint32 magic, version;

    if (!vf_card_map_bar(directory, CARD_BAR_REGISTERS, CARD_PF_BAR_SIZE, registers, error))
        return FALSE;
    magic = vf_card_get(registers, CARD_PF_MAGIC);
    version = vf_card_get(registers, CARD_PF_VERSION);
    if (magic == GONE)
        return vf_card_gone(error);
    if (magic == CARD_PF_MAGIC_VALUE && version == CARD_VERSION)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                "not registers of this card: magic number 0x%08x, version %u", magic, version);
    return FALSE;
}

static const char *cause(guint32 status)
{
    static const char *const causes[] = {
        [CARD_ERROR_COMMAND] = "the card does not know the command",
        [CARD_ERROR_REGION] = "the card has no such region",
        [CARD_ERROR_VF] = "the card has no such function, or it is not enabled",
        [CARD_ERROR_LENGTH] = "the card does not take so many bytes",
        [CARD_ERROR_DMA] = "the card cannot reach its memory",
        [CARD_ERROR_FORMAT] = "the card does not know the format",
        [CARD_ERROR_KIND] = "the image is for another kind of region",
        [CARD_ERROR_ACCELERATOR] = "the accelerator is unknown, or another one",
        [CARD_ERROR_CRC] = "the checksum is wrong",
        [CARD_ERROR_LOAD] = "the region did not start",
        [CARD_ERROR_CONNECTED] = "the function or the region is connected already",
        [CARD_ERROR_DISCONNECTED] = "the function is not connected",
        [CARD_ERROR_EMPTY] = "the region holds no accelerator",
        [CARD_ERROR_RUNNING] = "the region works",
        [CARD_ERROR_SAVE] = "the context could not be read out",
        [CARD_ERROR_RESTORE] = "the context could not be restored",
    };

    return status < G_N_ELEMENTS(causes) && causes[status] != NULL ? causes[status]
                                                                   : "of an unknown cause";
}

gboolean vf_card_wait_idle(const VfCardMap *registers, const char *what, gint64 deadline,
                           guint32 *status, GError **error)
{
    gulong pause = PAUSE_MIN;

    for (;;) {
        *status = vf_card_get(registers, CARD_PF_STATUS);
        if (*status == GONE)
            return vf_card_gone(error);
        if (*status != CARD_BUSY)
            return TRUE;
        if (g_get_monotonic_time() >= deadline) {
            g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                        "%s: the card is still busy when its time is over", what);
            return FALSE;
        }
        g_usleep(pause);
        pause = MIN(pause * 2, PAUSE_MAX);
    }
}

gboolean vf_card_issue(const VfCardMap *registers, const VfCardCommand *command, guint32 *status,
                       GError **error)
{
    guint32 ended;

    if (!vf_card_wait_idle(registers, command->what, command->deadline, status, error))
        return FALSE;
    ended = vf_card_get(registers, CARD_PF_COMMANDS);
    vf_card_put(registers, CARD_PF_REGION, command->region);
    vf_card_put(registers, CARD_PF_VF, command->vf);
    vf_card_put(registers, CARD_PF_ADDRESS, 0);
    vf_card_put(registers, CARD_PF_ADDRESS + 4, 0);
    vf_card_put(registers, CARD_PF_LENGTH, command->length);
    vf_card_put(registers, CARD_PF_FLAGS, command->flags);
    // What was put into the window is there before the command, and after it what the card put.
    atomic_thread_fence(memory_order_seq_cst);
    vf_card_put(registers, CARD_PF_COMMAND, command->command);
    if (!vf_card_wait_idle(registers, command->what, command->deadline, status, error))
        return FALSE;
    atomic_thread_fence(memory_order_seq_cst);
    // A reset leaves the card idle as a success does.
    if (*status == CARD_IDLE && vf_card_get(registers, CARD_PF_COMMANDS) != ended + 1) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: the card was reset meanwhile",
                    command->what);
        return FALSE;
    }
    return TRUE;
}

gboolean vf_card_failed(const VfCardCommand *command, guint32 status, GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: %s (status %u)", command->what, cause(status),
                status);
    return FALSE;
}

gboolean vf_card_run(const VfCardMap *registers, const VfCardCommand *command, GError **error)
{
    guint32 status;

    return vf_card_issue(registers, command, &status, error) &&
           (status == CARD_IDLE || vf_card_failed(command, status, error));
}

gboolean vf_card_run_when_done(const VfCardMap *registers, const VfCardCommand *command,
                               GError **error)
{
    guint32 status;

    for (;;) {
        if (!vf_card_issue(registers, command, &status, error))
            return FALSE;
        if (status == CARD_IDLE)
            return TRUE;
        if (status != CARD_ERROR_RUNNING || g_get_monotonic_time() + RETRY >= command->deadline)
            return vf_card_failed(command, status, error);
        g_usleep(RETRY);
    }
}
