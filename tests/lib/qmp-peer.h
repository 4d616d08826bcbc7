// SPDX-License-Identifier: GPL-2.0-or-later
//
// A QEMU to talk to: a thread that serves a monitor socket as QEMU does, one client at a time, with
// VFIO devices that pause and resume and with faults on order. It models what plugin/pause.c relies
// on: negotiation before anything else, commands that start a transition and events that end it,
// descriptors that keep their name until they are taken, also over a lost connection.

#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct QmpPeer QmpPeer;

typedef enum {
    QMP_NO_FAULT,
    QMP_REFUSE,       // an error instead of running the command
    QMP_CLOSE_BEFORE, // the connection ends, and the command is not run
    QMP_CLOSE_AFTER,  // the command is run, and the connection ends without an answer
    QMP_CLOSE_HALF,   // the same in the middle of the answer
    QMP_STALL,        // no answer, ever; on libvirt's monitor a late one
    QMP_GARBAGE,      // a line that is not JSON
    QMP_ARRAY,        // JSON, but not an object
    QMP_OTHER_KIND,   // an object that is neither an answer nor an event
    QMP_OTHER_ID,     // the answer to something else
    QMP_HUGE,         // a line longer than any that is accepted
    QMP_ENDLESS,      // the same without its end
    QMP_FLOOD,        // events without end
    QMP_DRIP,         // events without end, slowly and without a line break
    QMP_SPLIT,        // the answer byte by byte
    QMP_BETWEEN,      // the answer between events
    QMP_FAIL_LATER,   // the transition begins, and fails
    QMP_LOSE_EVENT,   // the transition succeeds, and no event tells
    QMP_HANG,         // the transition begins, and never ends
    QMP_ODD,          // an answer of an unexpected type
} QmpFault;

// Serves `path` from here on.
QmpPeer *qmp_peer_new(const char *path);
void qmp_peer_free(QmpPeer *peer);

// A device that runs on `host`. Its QOM path is /machine/peripheral/ID.
void qmp_peer_add(QmpPeer *peer, const char *id, const char *host);
// It has this VFIO group open, which is the peer's from here on: closed when the device pauses, as
// the one that a resume brought.
void qmp_peer_hold(QmpPeer *peer, const char *id, int group);
// Opens the VFIO group of a function, for qmp_peer_hold(). -1: there is none, or somebody has it.
int qmp_peer_open_group(const char *root, const char *address);
// Puts it into a state at once, with QEMU's `error` of how it came there (NULL = none).
void qmp_peer_set(QmpPeer *peer, const char *id, const char *state, const char *error);
// Begins a transition, as if another client had asked: state "pausing" or "resuming".
void qmp_peer_begin(QmpPeer *peer, const char *id, const char *state);
// The guest accesses a BAR of it.
void qmp_peer_touch(QmpPeer *peer, const char *id);
const char *qmp_peer_state(QmpPeer *peer, const char *id);
// What the device's last resume was given as `fd`: its inode, 0 = none.
ino_t qmp_peer_inode(QmpPeer *peer, const char *id);

// The next `times` of a command ("greeting" and "qmp_capabilities" count as such) go wrong.
void qmp_peer_order(QmpPeer *peer, const char *command, QmpFault fault, guint times);
// How long a transition takes, 2 ms unless told.
void qmp_peer_set_duration(QmpPeer *peer, guint microseconds);
// Without vfio-pause among the commands.
void qmp_peer_make_stock(QmpPeer *peer);
void qmp_peer_make_unsignalled(QmpPeer *peer);

// What the guest does besides (static strings): a RunState and a MigrationStatus, NULL = none yet.
void qmp_peer_set_status(QmpPeer *peer, const char *state, const char *migration);

// How often a command came; its last arguments as JSON with sorted keys, "" = none came.
guint qmp_peer_count(QmpPeer *peer, const char *command);
char *qmp_peer_arguments(QmpPeer *peer, const char *command);
// Descriptors that have a name and were not taken.
guint qmp_peer_named(QmpPeer *peer);

// Sends text to the client that is there, and ends its connection.
void qmp_peer_say(QmpPeer *peer, const char *text);
void qmp_peer_hang_up(QmpPeer *peer);

// The same QEMU on libvirt's monitor: one command, its answer as text for free(). fd -1 = none.
char *qmp_peer_run(QmpPeer *peer, const char *request, int fd);

// Number of descriptors that this process has open.
guint qmp_peer_open_fds(void);
