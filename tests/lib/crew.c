// SPDX-License-Identifier: GPL-2.0-or-later
//
// The crew: one process, told by lines over a socket pair, one answer for each. It ends with its
// maker, whose end of the pair is closed then.

#include "crew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qmp-peer.h"

#define LINE 1024

struct Crew {
    int fd;
    pid_t pid;
};

// ---- in the crew

typedef struct {
    guint microseconds;
    QmpPeer *peers[CREW_GUESTS];
    GArray *held; // descriptors of strangers
} Members;

static const char *add(Members *members, QmpPeer *peer, char **words)
{
    g_autofree char *host = g_strconcat("/sys/bus/pci/devices/", words[4], NULL);
    int fd = qmp_peer_open_group(words[3], words[4]);

    if (fd < 0)
        return "no";
    qmp_peer_add(peer, words[2], host);
    qmp_peer_hold(peer, words[2], fd);
    return "ok";
}

static const char *hold(Members *members, char **words)
{
    int fd = qmp_peer_open_group(words[1], words[2]);

    if (fd >= 0)
        g_array_append_val(members->held, fd);
    return fd >= 0 ? "ok" : "no";
}

static const char *drop(Members *members)
{
    for (guint i = 0; i < members->held->len; i++)
        close(g_array_index(members->held, int, i));
    g_array_set_size(members->held, 0);
    return "ok";
}

static const char *boot(Members *members, guint guest, const char *socket)
{
    members->peers[guest] = qmp_peer_new(socket);
    qmp_peer_set_duration(members->peers[guest], members->microseconds);
    return "ok";
}

static const char *obey(Members *members, char **words)
{
    static char number[16];
    guint guest = words[1] != NULL ? (guint)strtoul(words[1], NULL, 10) % CREW_GUESTS : 0;
    QmpPeer *peer = members->peers[guest];

    if (strcmp(words[0], "boot") == 0)
        return boot(members, guest, words[2]);
    if (strcmp(words[0], "hold") == 0)
        return hold(members, words);
    if (strcmp(words[0], "drop") == 0)
        return drop(members);
    if (strcmp(words[0], "add") == 0)
        return add(members, peer, words);
    if (strcmp(words[0], "state") == 0)
        return qmp_peer_state(peer, words[2]);
    if (strcmp(words[0], "named") == 0) {
        g_snprintf(number, sizeof(number), "%u", qmp_peer_named(peer));
        return number;
    }
    g_clear_pointer(&members->peers[guest], qmp_peer_free);
    return "ok";
}

static void serve(int fd, guint microseconds)
{
    Members members = {microseconds, {NULL}, g_array_new(FALSE, FALSE, sizeof(int))};
    char line[LINE];
    ssize_t length;

    while ((length = recv(fd, line, sizeof(line) - 1, 0)) > 0 || (length < 0 && errno == EINTR)) {
        line[MAX(length, 0)] = '\0';
        g_auto(GStrv) words = g_strsplit(line, " ", 0);
        const char *answer = obey(&members, words);

        if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            break;
    }
    _exit(0);
}

// ---- its maker

Crew *crew_new(guint microseconds)
{
    Crew *crew = g_new0(Crew, 1);
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), ==, 0);
    crew->pid = fork();
    g_assert_cmpint(crew->pid, >=, 0);
    if (crew->pid == 0) {
        close(fds[0]);
        // It is not what is tested.
        g_setenv("VIRTFN_FAKE_BLIND", "1", TRUE);
        serve(fds[1], microseconds);
    }
    close(fds[1]);
    crew->fd = fds[0];
    return crew;
}

void crew_free(Crew *crew)
{
    close(crew->fd);
    waitpid(crew->pid, NULL, 0);
    g_free(crew);
}

static char *tell(Crew *crew, const char *format, ...) G_GNUC_PRINTF(2, 3);

static char *tell(Crew *crew, const char *format, ...)
{
    char answer[LINE];
    va_list args;

    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    g_assert_cmpint(send(crew->fd, line, strlen(line), MSG_NOSIGNAL), ==, (int)strlen(line));
    ssize_t length = recv(crew->fd, answer, sizeof(answer) - 1, 0);
    g_assert_cmpint(length, >, 0);
    return g_strndup(answer, (gsize)length);
}

static gboolean is_done(char *answer)
{
    gboolean done = strcmp(answer, "ok") == 0;

    g_free(answer);
    return done;
}

void crew_boot(Crew *crew, guint guest, const char *socket)
{
    g_assert_true(is_done(tell(crew, "boot %u %s", guest, socket)));
}

void crew_off(Crew *crew, guint guest)
{
    g_assert_true(is_done(tell(crew, "off %u", guest)));
}

gboolean crew_add(Crew *crew, guint guest, const char *id, const char *root, const VfPciAddr *vf)
{
    char address[VF_PCIADDR_BUFSIZE];

    return is_done(tell(crew, "add %u %s %s %s", guest, id, root, vf_pciaddr_format(vf, address)));
}

char *crew_state(Crew *crew, guint guest, const char *id)
{
    return tell(crew, "state %u %s", guest, id);
}

guint crew_named(Crew *crew, guint guest)
{
    g_autofree char *number = tell(crew, "named %u", guest);

    return (guint)strtoul(number, NULL, 10);
}

gboolean crew_hold(Crew *crew, const char *root, const VfPciAddr *vf)
{
    char address[VF_PCIADDR_BUFSIZE];

    return is_done(tell(crew, "hold %s %s", root, vf_pciaddr_format(vf, address)));
}

void crew_drop(Crew *crew)
{
    g_assert_true(is_done(tell(crew, "drop")));
}
