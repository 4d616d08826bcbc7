// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fuzzes what the hook reads from others: the domain's XML, virtfnd's reply, libvirt's arguments.
// The first byte of an input chooses which. More than "does not crash" is asked: the scan agrees
// with a naive one, a reply is whole exactly once, and no argument gets out of the request line.

int hook_main(int argc, char **argv);
#define main hook_main
#include "../../hooks/ask.c"
#include "../../hooks/qemu.c"
#undef main

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not true: %s\n", what);
        abort();
    }
}

static bool has_at(const char *text, size_t size, size_t at, const char *word)
{
    return size - at >= strlen(word) && !memcmp(text + at, word, strlen(word));
}

static bool naive_tag_says(const char *text, size_t size, const char *tag, const char *word)
{
    bool inside = false;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == '<')
            inside = has_at(text, size, i, tag);
        else if (inside && (text[i] == '\'' || text[i] == '"') && has_at(text, size, i + 1, word))
            return true;
    }
    return false;
}

static void fuzz_scan(const char *text, size_t size)
{
    bool annotated = false;

    for (size_t i = 0; i < size; i++)
        annotated = annotated || has_at(text, size, i, "urn:virtfn:domain:");
    demand(is_annotated(text, size) == annotated, "the annotation is found when it is there");
    demand(passes_through(text, size) == (naive_tag_says(text, size, "<hostdev", "pci") ||
                                          naive_tag_says(text, size, "<interface", "hostdev")),
           "a pass-through is found when it is there");
}

static void fuzz_reply(const char *text, size_t size)
{
    VfReply reply = {0};

    if (vf_ask_parse(text, size, &reply) != VF_REPLY_WHOLE)
        return;
    demand(reply.status >= 0 && reply.status <= 999, "a status has three digits");
    demand(reply.body > text && reply.body + reply.length == text + size,
           "the body is the end of the reply");
    demand(reply.status != 204 || reply.length == 0, "204 has no body");
    // No byte may be missing; with long replies a sample of the prefixes has to do.
    for (size_t i = 0; i < size; i += size / 64 + 1)
        demand(vf_ask_parse(text, i, &reply) == VF_REPLY_PARTIAL, "a part is not the whole");
}

static void fuzz_arguments(const char *text, size_t size)
{
    char extra[256] = "";
    const Operation *op = &operations[size % (sizeof operations / sizeof operations[0])];
    size_t header;

    memcpy(extra, text, size < sizeof extra ? size : sizeof extra - 1);
    header = put_header(op, extra, size);
    demand(header <= HEADER_MAX, "the header has room");
    demand(memmem(xml - header, header, "\r\n\r\n", 4) == xml - 4, "the header ends once");
    demand(memmem(xml - header, header, " HTTP/1.1\r\nHost: localhost\r\n", 28) != NULL,
           "the request line is the first line");
    for (const char *p = xml - header; *p != '\r'; p++)
        demand(*p > ' ' || p[1] == '/' || p[1] == 'H', "the request line has two spaces");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(const char *, size_t) = {fuzz_scan, fuzz_reply, fuzz_arguments};

    if (size > 0)
        targets[data[0] % 3]((const char *)data + 1, size - 1);
    return 0;
}
