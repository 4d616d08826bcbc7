// SPDX-License-Identifier: GPL-2.0-or-later
//
// The door that every reconf passes. It is closed while a libvirt daemon starts, because that one
// ends each guest whose function it does not find (facts F-B4): from the moment it asks until it
// has found again the guests that it has to, or a time is over. Reconfs that are inside go on; the
// daemon waits for them. Pure: no I/O, no clock. Main thread only; settle.c is what uses it.

#pragma once

#include <glib.h>

typedef struct VfDoor VfDoor;

VfDoor *vf_door_new(void); // open
void vf_door_free(VfDoor *door);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfDoor, vf_door_free)

// A reconf begins; FALSE when the door is closed. Each TRUE is followed by one vf_door_leave().
gboolean vf_door_enter(VfDoor *door);
void vf_door_leave(VfDoor *door);
guint vf_door_inside(const VfDoor *door);

// Closes it until `deadline` at the latest, or keeps it closed until then, and awaits nobody.
void vf_door_close(VfDoor *door, gint64 deadline);
gboolean vf_door_is_closed(const VfDoor *door);
gint64 vf_door_deadline(const VfDoor *door); // 0 = open

// A guest, by its UUID, for which it stays closed from vf_door_settle() on.
void vf_door_await(VfDoor *door, const char *uuid);
// FALSE when it was not awaited.
gboolean vf_door_met(VfDoor *door, const char *uuid);
GList *vf_door_awaited(const VfDoor *door); // of char *, borrowed; the list is the caller's

// Nobody is inside: from now on it opens as soon as nobody is awaited.
void vf_door_settle(VfDoor *door);
gboolean vf_door_is_settled(const VfDoor *door);

// TRUE when it was closed and opens now: nobody is awaited any more, or the deadline has passed; in
// that case those who are still awaited stay so until it is closed again.
gboolean vf_door_open(VfDoor *door, gint64 now);
