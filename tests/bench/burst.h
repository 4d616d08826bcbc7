// SPDX-License-Identifier: GPL-2.0-or-later
//
// Many HTTP requests at once: connections to the daemon that are opened beforehand and kept, one
// request on each, and the clock from before the first byte is sent until the last reply is read
// whole. Any failure ends the program.

#pragma once

#include <time.h>

#define BURST_MOST 1000

// Opens all connections; the first takes replies of up to 1 MiB, the others of 2 KiB.
void burst_connect(const char *socket);
// Clock of the daemon's processor time.
clockid_t burst_daemon_clock(void);

// The request of connection i, whole, as it goes over the wire.
__attribute__((format(printf, 2, 3))) void burst_set(int i, const char *format, ...);
// A request with this JSON or XML body.
void burst_set_post(int i, const char *path, const char *type, const char *body);

// Sends the first n requests at once; milliseconds until the last reply, each of which is one of
// success.
double burst_exchange(int n);
// What connection i was answered.
const char *burst_reply(int i);

// Domain i of many: spread like random UUIDs, and the same in every round; daemon-rss makes its
// domains alike.
const char *burst_uuid(int i);
