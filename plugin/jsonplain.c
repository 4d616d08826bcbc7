// SPDX-License-Identifier: GPL-2.0-or-later
//
// A reader of plain objects. Invariant: what it takes, jansson takes too, with the same values
// (tests/unit/jsonplain.c asks both); at the first byte that it does not expect it gives up. It
// writes nothing before it has seen the end.

#include "jsonplain.h"

#include <string.h>

#define DIGITS_MAX 18 // fits any json_int_t

typedef struct {
    char *at, *end;
} Reader;

typedef struct {
    gboolean there;
    char *text, *text_end; // of a string
    json_int_t number;
} Found;

static void skip_space(Reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\r' || *reader->at == '\n'))
        reader->at++;
}

// The next byte that is no space, if it is this one.
static gboolean take(Reader *reader, char wanted)
{
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != wanted)
        return FALSE;
    reader->at++;
    return TRUE;
}

static gboolean take_string(Reader *reader, char **text, char **end)
{
    if (!take(reader, '"'))
        return FALSE;
    *text = reader->at;
    while (reader->at < reader->end && *reader->at >= 0x20 && *reader->at < 0x7f &&
           *reader->at != '"' && *reader->at != '\\')
        reader->at++;
    *end = reader->at;
    return reader->at < reader->end && *reader->at++ == '"';
}

static gboolean take_integer(Reader *reader, json_int_t *number)
{
    gboolean negative = take(reader, '-'); // past the space before it, in any case
    const char *first = reader->at;

    for (*number = 0; reader->at < reader->end && g_ascii_isdigit(*reader->at); reader->at++) {
        if (reader->at - first == DIGITS_MAX)
            return FALSE;
        *number = *number * 10 + (*reader->at - '0');
    }
    if (reader->at == first || (*first == '0' && reader->at - first > 1))
        return FALSE;
    if (negative)
        *number = -*number;
    return TRUE; // a fraction or an exponent is no comma, and ends it there
}

static gboolean take_word(Reader *reader, const char *word)
{
    gsize length = strlen(word);

    skip_space(reader);
    if ((gsize)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return FALSE;
    reader->at += length;
    return TRUE;
}

static gboolean take_value(Reader *reader, const VfPlainMember *member, Found *found)
{
    switch (member->type) {
    case VF_PLAIN_STRING:
        return take_string(reader, &found->text, &found->text_end);
    case VF_PLAIN_INTEGER:
        return take_integer(reader, &found->number);
    case VF_PLAIN_BOOLEAN:
        found->number = take_word(reader, "true");
        return found->number || take_word(reader, "false");
    }
    return FALSE;
}

static gboolean take_member(Reader *reader, const VfPlainMember *members, guint n, Found *found)
{
    char *name, *end;
    guint i = 0;

    if (!take_string(reader, &name, &end) || !take(reader, ':'))
        return FALSE;
    while (i < n && (strlen(members[i].name) != (gsize)(end - name) ||
                     memcmp(members[i].name, name, (gsize)(end - name)) != 0))
        i++;
    if (i == n || found[i].there)
        return FALSE;
    found[i].there = TRUE;
    return take_value(reader, &members[i], &found[i]);
}

static void give(const VfPlainMember *member, const Found *found)
{
    switch (member->type) {
    case VF_PLAIN_STRING:
        *found->text_end = '\0';
        *(const char **)member->value = found->text;
        break;
    case VF_PLAIN_INTEGER:
        *(json_int_t *)member->value = found->number;
        break;
    case VF_PLAIN_BOOLEAN:
        *(int *)member->value = (int)found->number;
        break;
    }
}

gboolean vf_json_plain(char *text, gsize length, const VfPlainMember *members, guint n)
{
    Reader reader = {text, text + length};
    Found found[VF_PLAIN_MAX] = {{0}};

    g_assert(n <= VF_PLAIN_MAX);
    if (!take(&reader, '{'))
        return FALSE;
    do {
        if (!take_member(&reader, members, n, found))
            return FALSE;
    } while (take(&reader, ','));
    if (!take(&reader, '}'))
        return FALSE;
    skip_space(&reader);
    if (reader.at != reader.end)
        return FALSE;
    for (guint i = 0; i < n; i++)
        if (members[i].required && !found[i].there)
            return FALSE;
    for (guint i = 0; i < n; i++)
        if (found[i].there)
            give(&members[i], &found[i]);
    return TRUE;
}
