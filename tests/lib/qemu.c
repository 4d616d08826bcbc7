// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest's QEMU for tests of the daemon: serves a monitor with devices whose VFIO groups it has
// open, and ends when its standard input does.
//
//     qemu SOCKET ROOT ID=ADDRESS...        prints "ready", then at each line it reads the devices:
//                                           "ID STATE", and "end"; at the line "vfio-pause" or
//                                           "vfio-resume" the arguments of the last one, and "end";
//                                           at "touch ID" the guest accesses that device, at "set
//                                           ID STATE" it is in that state, at "status STATE
//                                           [MIGRATION]" query-status and query-migrate say so, and
//                                           "end"
//
// In the environment: QEMU_PAUSE_US, how long a pause or a resume takes, in microseconds;
// QEMU_STATUS and QEMU_MIGRATION, what query-status and query-migrate say from the beginning.

#include <stdio.h>
#include <string.h>

#include "qmp-peer.h"

static void add(QmpPeer *peer, const char *root, const char *id, const char *address)
{
    int fd = qmp_peer_open_group(root, address);

    if (fd < 0)
        g_error("%s: its VFIO group: %m", address);
    qmp_peer_add(peer, id, address);
    qmp_peer_hold(peer, id, fd);
}

// What somebody does behind virtfn's back. FALSE: the line is something else.
static gboolean obey(QmpPeer *peer, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 3);
    guint n = g_strv_length(words);

    if (n == 3 && strcmp(words[0], "set") == 0)
        qmp_peer_set(peer, words[1], words[2], NULL);
    else if (n >= 2 && strcmp(words[0], "status") == 0)
        qmp_peer_set_status(peer, g_intern_string(words[1]),
                            n == 3 ? g_intern_string(words[2]) : NULL);
    else if (n == 2 && strcmp(words[0], "touch") == 0)
        qmp_peer_touch(peer, words[1]);
    else
        return FALSE;
    return TRUE;
}

int main(int argc, char **argv)
{
    g_autofree char **ids = g_new0(char *, argc);
    char line[80];

    if (argc < 3)
        g_error("usage: qemu SOCKET ROOT ID=ADDRESS...");
    // As a real one, it answers nobody before its devices are there.
    g_autofree char *early = g_strconcat(argv[1], ".new", NULL);
    QmpPeer *peer = qmp_peer_new(early);
    if (g_getenv("QEMU_PAUSE_US") != NULL)
        qmp_peer_set_duration(peer, g_ascii_strtoull(g_getenv("QEMU_PAUSE_US"), NULL, 10));
    if (g_getenv("QEMU_STATUS") != NULL || g_getenv("QEMU_MIGRATION") != NULL)
        qmp_peer_set_status(peer, g_getenv("QEMU_STATUS") ? g_getenv("QEMU_STATUS") : "running",
                            g_getenv("QEMU_MIGRATION"));
    for (int i = 3; i < argc; i++) {
        char *address = strchr(argv[i], '=');

        *address++ = '\0';
        ids[i] = argv[i];
        add(peer, argv[2], argv[i], address);
    }
    if (rename(early, argv[1]) != 0)
        g_error("%s: %m", argv[1]);
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        g_strstrip(line);
        if (g_str_has_prefix(line, "vfio-")) {
            g_autofree char *arguments = qmp_peer_arguments(peer, line);

            printf("%s\n", arguments);
        } else if (!obey(peer, line)) {
            for (int i = 3; i < argc; i++)
                printf("%s %s\n", ids[i], qmp_peer_state(peer, ids[i]));
        }
        printf("end\n");
        fflush(stdout);
    }
    qmp_peer_free(peer);
    return 0;
}
