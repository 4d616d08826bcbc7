// SPDX-License-Identifier: GPL-2.0-or-later
//
// The emulated card as a model: a PF in a sysfs tree of files, whose registers answer like those of
// tests/host/card. Each access to the first page of BAR 0 traps (x86-64 only) and the model acts
// before or after it, so that nothing depends on timing. A program that uses it is linked with
// --wrap=mmap. One model at a time, one thread.

#pragma once

#include <glib.h>

#include "hw/misc/virtfn-card-regs.h"

#define CARD_MODEL_WINDOW 65536

typedef struct {
    guint32 kind, state, accelerator, vf;
    gboolean running;
    GByteArray *image;                  // that was loaded last
    guint8 context[CARD_CONTEXT_BYTES]; // plain bytes: contents are the card's own tests' business
} CardModelRegion;

typedef struct {
    char *root;
    CardModelRegion region[CARD_MAX_REGIONS];
    guint32 regions;
    GString *log;        // one line for each command
    guint32 fail;        // status that the next command ends with, 0 = none
    guint busy;          // looks at STATUS that a command takes
    guint running_looks; // commands refused because of a running region before it ends
    gboolean stuck;      // commands never end
    gboolean gone;       // all bits are one
    gboolean resets;     // the next command ends in a reset
    guint unplug;        // the PF goes at this access to a register, 0 = it stays: what is mapped
                         // of it is there no longer, and the model does nothing more
} CardModel;

// A PF 0000:3b:00.0 with 2 regions, of kinds 0 and 1, in a new directory.
CardModel *card_model_new(void);
void card_model_free(CardModel *model);

// What the registers say from now on.
void card_model_set(CardModel *model, guint offset, guint32 value);
void card_model_show_regions(CardModel *model);
// Bytes of BAR 2.
guint8 *card_model_window(CardModel *model);
// A file of the PF's directory. Caller frees.
char *card_model_path(const CardModel *model, const char *name);
