// SPDX-License-Identifier: GPL-2.0-or-later
//
// The state of the door, and nothing else.

#include "door.h"

struct VfDoor {
    guint inside;
    gint64 deadline;     // 0 = open
    gboolean settled;    // nobody was inside since it was closed
    GHashTable *awaited; // a set of UUIDs
};

VfDoor *vf_door_new(void)
{
    VfDoor *door = g_new0(VfDoor, 1);

    door->awaited = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return door;
}

void vf_door_free(VfDoor *door)
{
    g_hash_table_unref(door->awaited);
    g_free(door);
}

gboolean vf_door_enter(VfDoor *door)
{
    if (vf_door_is_closed(door))
        return FALSE;
    door->inside++;
    return TRUE;
}

void vf_door_leave(VfDoor *door)
{
    door->inside--;
}

guint vf_door_inside(const VfDoor *door)
{
    return door->inside;
}

void vf_door_close(VfDoor *door, gint64 deadline)
{
    door->deadline = deadline;
    door->settled = FALSE;
    g_hash_table_remove_all(door->awaited);
}

gboolean vf_door_is_closed(const VfDoor *door)
{
    return door->deadline != 0;
}

gint64 vf_door_deadline(const VfDoor *door)
{
    return door->deadline;
}

void vf_door_await(VfDoor *door, const char *uuid)
{
    g_hash_table_add(door->awaited, g_strdup(uuid));
}

gboolean vf_door_met(VfDoor *door, const char *uuid)
{
    return g_hash_table_remove(door->awaited, uuid);
}

GList *vf_door_awaited(const VfDoor *door)
{
    return g_hash_table_get_keys(door->awaited);
}

void vf_door_settle(VfDoor *door)
{
    door->settled = TRUE;
}

gboolean vf_door_is_settled(const VfDoor *door)
{
    return door->settled;
}

gboolean vf_door_open(VfDoor *door, gint64 now)
{
    gboolean nobody = door->settled && g_hash_table_size(door->awaited) == 0;

    if (!vf_door_is_closed(door) || (!nobody && now < door->deadline))
        return FALSE;
    door->deadline = 0;
    return TRUE;
}
