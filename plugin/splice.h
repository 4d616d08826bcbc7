// SPDX-License-Identifier: GPL-2.0-or-later
//
// Changes elements in the bytes of a loaded XML text. Edits are collected in any order, must not
// overlap, and are applied at once: what no edit names comes out byte for byte. New elements take
// their indentation and line ends from their neighbours.

#pragma once

#include "xmltext.h"

typedef struct VfSplice VfSplice;

VfSplice *vf_splice_new(const VfXmlText *text);
void vf_splice_free(VfSplice *splice);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfSplice, vf_splice_free)

// Puts `with` in place of the bytes from start to end.
void vf_splice_replace(VfSplice *splice, gsize start, gsize end, const char *with);

// Removes an element; when it is the first on its line, with that line's break and indentation.
void vf_splice_remove(VfSplice *splice, const xmlNode *element);

// Adds a block of XML (lines, two blanks for each level, the last one with its line break) behind
// the child `after`, or at the end of what `parent` has when that is NULL. Where the children are
// not on lines of their own the block becomes one line too. One call per empty parent.
void vf_splice_append(VfSplice *splice, const xmlNode *parent, const xmlNode *after,
                      const char *block);

// The text with all edits. Caller frees.
GString *vf_splice_apply(VfSplice *splice);
