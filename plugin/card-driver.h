// SPDX-License-Identifier: GPL-2.0-or-later
//
// The drivers' side of card.h. A driver is a table of functions; its VfCard begins with the struct
// below. card.c has checked regions against the number that the driver gave, and prefixes messages
// with the PF's address.

#pragma once

#include "card.h"

typedef struct {
    const char *name; // in a pool's `card`
    // `argument` is what stands behind "NAME:", NULL when nothing does. The new card has `regions`
    // and `can_save` set; the rest of the head is filled in by card.c.
    VfCard *(*open)(const char *argument, const char *root, const VfPciAddr *pf, GError **error);
    void (*close)(VfCard *card); // frees it
    gboolean (*query)(VfCard *card, GArray *regions, GError **error);
    gboolean (*load)(VfCard *card, guint region, const char *path, gint64 deadline, GError **error);
    gboolean (*connect)(VfCard *card, guint region, guint vf, gboolean keep, gint64 deadline,
                        GError **error);
    gboolean (*disconnect)(VfCard *card, guint vf, gint64 deadline, GError **error);
    // Not called unless `can_save`; may be NULL when no card of the driver can.
    gboolean (*save)(VfCard *card, guint region, GBytes **context, gint64 deadline, GError **error);
    gboolean (*restore)(VfCard *card, guint region, GBytes *context, gint64 deadline,
                        GError **error);
} VfCardDriver;

struct VfCard {
    const VfCardDriver *driver;
    char pf[VF_PCIADDR_BUFSIZE];
    guint regions;
    gboolean can_save;
};

extern const VfCardDriver vf_card_program;
extern const VfCardDriver vf_card_dfl;
extern const VfCardDriver vf_card_test; // the emulated card
