// SPDX-License-Identifier: GPL-2.0-or-later
//
// Registers, window and commands of the emulated card (tests/host/card), for its driver
// card-test.c. Errors as in card.h.

#pragma once

#include <glib.h>

#include "card-driver.h"
#include "hw/misc/virtfn-card-regs.h"

// A BAR of the PF, mapped for the thread that maps it. Where it has gone from under the mapping, as
// that of a PF that is unplugged does, it reads as all-ones and `lost` is set, instead of SIGBUS.
typedef struct VfCardMap {
    volatile guint8 *bytes; // NULL = not mapped
    gsize size;
    volatile gboolean lost;
    struct VfCardMap *next; // of this thread
} VfCardMap;

// `directory` is the PF's in sysfs. The map stays where it is until it is cleared.
gboolean vf_card_map_bar(const char *directory, int bar, gsize size, VfCardMap *map,
                         GError **error);
// Maps the registers and sees that they are those of the card.
gboolean vf_card_map_registers(const char *directory, VfCardMap *registers, GError **error);
void vf_card_map_clear(VfCardMap *map);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VfCardMap, vf_card_map_clear)

guint32 vf_card_get(const VfCardMap *registers, guint offset);
void vf_card_put(const VfCardMap *registers, guint offset, guint32 value);

// Says that the card answers with all-ones; always FALSE.
gboolean vf_card_gone(GError **error);

typedef struct {
    const char *what; // for messages
    enum CardCommand command;
    guint32 region, vf, length, flags;
    gint64 deadline;
} VfCardCommand;

// Looks until the card is not busy. FALSE when it is gone, or at the deadline.
gboolean vf_card_wait_idle(const VfCardMap *registers, const char *what, gint64 deadline,
                           guint32 *status, GError **error);

// TRUE when the command ended, well or not: *status says. What an earlier one that took too long
// left is waited for.
gboolean vf_card_issue(const VfCardMap *registers, const VfCardCommand *command, guint32 *status,
                       GError **error);

// The error of a status; always FALSE.
gboolean vf_card_failed(const VfCardCommand *command, guint32 status, GError **error);

// TRUE when it ended well.
gboolean vf_card_run(const VfCardMap *registers, const VfCardCommand *command, GError **error);

// The same for a command that the card refuses while the region works: tried until it does not.
gboolean vf_card_run_when_done(const VfCardMap *registers, const VfCardCommand *command,
                               GError **error);
