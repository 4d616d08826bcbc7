// SPDX-License-Identifier: GPL-2.0-or-later
//
// Registers, window and commands of the emulated card. Mapped for one call of the driver only; the
// card is believed nothing: a command has a deadline, all-ones means that the card is gone, and a
// reset during a command is told from its success by the count of commands.

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card-test.h"
#include "error.h"

#define GONE 0xffffffffu
#define PAUSE_MIN 20   // microseconds between two looks at a command
#define PAUSE_MAX 2000 // …that takes long
#define RETRY 5000     // …at a region that works

void vf_card_map_clear(VfCardMap *map)
{
    if (map->bytes != NULL)
        munmap((void *)map->bytes, map->size);
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
    *map = (VfCardMap){bytes, size};
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
