// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon without its socket and without libvirt, in a process that is forked and may be killed;
// what hooks and operators ask comes over a socket pair. One card, pool "uplink" with two functions
// that grows to four; domain N has one device, net0, whose XML names a function by number. Order of
// use: fake_host(), forked_new(), forked_start(), then requests one after the other:
//
//   prepare DOMAIN INDEX, adopt DOMAIN INDEX, release DOMAIN      as hooks do
//   reconf COUNT                                                 as an operator does
//   look                                                         what it does at start and now and
//   then leases                                                       "ok DOMAIN:INDEX ..."
//
// The answer to all but the last is "ok" or an error's message.

#pragma once

#include <glib.h>

#include "pciaddr.h"

#define FORKED_PF "0000:01:00.0"
#define FORKED_SLOTS 4

typedef struct Forked Forked;

Forked *forked_new(const char *root);
void forked_free(Forked *forked);

// A daemon on what the last one left.
void forked_start(Forked *forked);
void forked_stop(Forked *forked);

void forked_send(Forked *forked, const char *request);
// NULL: it was killed, and another one may be started. Caller frees.
char *forked_receive(Forked *forked);
// Both.
char *forked_ask(Forked *forked, const char *request);

VfPciAddr forked_address(guint index);
// Of a domain's monitor, and the directory of journals. Caller frees.
char *forked_socket(const Forked *forked, guint domain);
const char *forked_journals(const Forked *forked);
