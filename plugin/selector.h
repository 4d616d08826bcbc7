// SPDX-License-Identifier: GPL-2.0-or-later
//
// The items of `pf = …` in a [pool]: their text form and whether two of them mean the same
// function.

#pragma once

#include <glib.h>

#include "config.h"

// Highest index of a function: NumVFs is a 16-bit register (PCIe section 9.3.3.7).
#define VF_SELECTOR_LAST_MAX 65534

// Parses "0000:01:00.0", "8086:10c9" or "eno1", each optionally with "#FIRST-LAST" or "#INDEX".
// VF_ERROR_INPUT says what is wrong with it. *selector then owns `netdev`.
gboolean vf_selector_parse(const char *text, VfSelector *selector, GError **error);

// Text form; the inverse of vf_selector_parse() (a single index as "#N"). Caller frees.
char *vf_selector_format(const VfSelector *selector);

// TRUE when both are of one kind, name the same PF (or the same vendor:device) and share an index.
// Selectors of different kinds are compared by the inventory, which knows the PFs of the host.
gboolean vf_selector_overlap(const VfSelector *a, const VfSelector *b);

// Number of functions of a range; 0 when the selector has none.
guint vf_selector_length(const VfSelector *selector);

void vf_selector_clear(VfSelector *selector);
