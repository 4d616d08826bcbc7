// SPDX-License-Identifier: GPL-2.0-or-later
//
// One question to virtfnd: HTTP/1.1 over its Unix socket, with one deadline for everything that
// the hook waits for. Order of use: vf_ask_begin(), then the others. No libvirt, no GLib: the hook
// links libc only.

#pragma once

#include <stdbool.h>
#include <stddef.h>

#define VF_ASK_BODY_MAX (4 * 1024 * 1024)
#define VF_ASK_HEADER_MAX 8192

// Bounds the whole life of the hook; a test builds it with a shorter one.
#ifndef VF_HOOK_TIMEOUT_MS
#define VF_HOOK_TIMEOUT_MS 10000
#endif

typedef struct {
    int status;
    const char *body; // length bytes, not a string
    size_t length;
} VfReply;

typedef enum { VF_REPLY_PARTIAL, VF_REPLY_WHOLE, VF_REPLY_BAD } VfReplyState;

// Starts the clock of the one deadline.
void vf_ask_begin(void);

// Waits for EVENTS of poll(2); the events that came, 0 when the deadline has passed, even for a
// descriptor that is ready: a peer that sends a byte now and then must not keep the hook alive.
short vf_ask_ready(int fd, short events);

// Reads the SIZE bytes that have come so far. *reply is valid when they are the whole reply.
VfReplyState vf_ask_parse(const char *text, size_t size, VfReply *reply);

// Sends REQUEST to the socket PATH until there is a whole reply, which stays valid until the next
// call. Tries again while nobody listens or a connection ends early, because a virtfnd that was
// killed comes back and each of its operations is idempotent. A socket that was never there is a
// virtfnd that was stopped: no wait. Returns 0 or an errno: of connect(2), ETIMEDOUT, ECONNRESET
// (ended before a whole reply), EBADMSG (not a reply). *reached: whether anybody was there.
int vf_ask(const char *path, const char *request, size_t length, VfReply *reply, bool *reached);
