// SPDX-License-Identifier: GPL-2.0-or-later
//
// Small JSON objects without a tree. Reading the body of a request with jansson, character by
// character into a tree and out of it again, took more instructions than all that the request is
// about (make bench BENCH=attach-1000). Most bodies are as plain as can be: those are read here,
// and whatever is not is left to jansson, which also says what is wrong with it.

#pragma once

#include <glib.h>
#include <jansson.h>

// What becomes of a member that is there; one that is not leaves its value as it was.
typedef struct {
    const char *name;
    enum { VF_PLAIN_STRING, VF_PLAIN_INTEGER, VF_PLAIN_BOOLEAN } type;
    gboolean required;
    void *value; // const char **, json_int_t * or int *
} VfPlainMember;

#define VF_PLAIN_MAX 8 // members

// TRUE: `text` is an object of these members and no others, each once, whose strings are ASCII
// without escapes and whose integers have at most 18 digits. Strings are terminated where they
// stand, and live as long as `text`. FALSE says nothing about it, and has changed nothing.
gboolean vf_json_plain(char *text, gsize length, const VfPlainMember *members, guint n);
