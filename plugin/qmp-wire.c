// SPDX-License-Identifier: GPL-2.0-or-later
//
// Non-blocking socket calls with ppoll(2) between them. A peer that sends without end, one that
// sends nothing and one that takes nothing all cost no more than the deadline and VF_QMP_MAX_LINE
// bytes. Descriptors that a peer sends are never received: recv(2) makes the kernel drop them.

#include "qmp-wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "qmp-transport.h"

#define CHUNK 65536
#define CONNECT_RETRY_US 10000
#define STILL_RUNS "see whether the guest still runs: virsh domstate, /var/log/libvirt/qemu"

void vf_qmp_wire_init(VfQmpWire *wire, const char *object)
{
    *wire = (VfQmpWire){.fd = -1, .object = object, .in = g_byte_array_new()};
}

void vf_qmp_wire_close(VfQmpWire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
    wire->scanned = 0;
    g_byte_array_set_size(wire->in, 0);
}

void vf_qmp_wire_clear(VfQmpWire *wire)
{
    vf_qmp_wire_close(wire);
    g_byte_array_unref(wire->in);
}

static gboolean fail(VfQmpWire *wire, const char *cause, const char *remedy, GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_QMP, "%s: %s" VF_REMEDY "%s", wire->object, cause,
                remedy);
    return FALSE;
}

static gboolean fail_errno(VfQmpWire *wire, int saved_errno, GError **error)
{
    if (saved_errno == EPIPE || saved_errno == ECONNRESET)
        return fail(wire, "QEMU closed the connection", STILL_RUNS, error);
    return fail(wire, g_strerror(saved_errno), STILL_RUNS, error);
}

// FALSE when the deadline comes first.
static gboolean wait_ready(VfQmpWire *wire, short events, gint64 deadline)
{
    for (;;) {
        gint64 left = MAX(deadline - g_get_monotonic_time(), 0);
        struct timespec timeout = {left / G_USEC_PER_SEC, left % G_USEC_PER_SEC * 1000};
        struct pollfd poll = {wire->fd, events, 0};
        int ready = ppoll(&poll, 1, &timeout, NULL);

        if (ready > 0)
            return TRUE;
        if (ready == 0 || errno != EINTR)
            return FALSE;
    }
}

static gboolean set_connect_error(VfQmpWire *wire, int saved_errno, GError **error)
{
    if (saved_errno == ENOENT || saved_errno == ECONNREFUSED)
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "%s: %s" VF_REMEDY
                    "the guest does not run, or was started without virtfn's monitor socket: "
                    "shut it down and start it",
                    wire->object, saved_errno == ENOENT ? "no such socket" : "nobody listens");
    else if (saved_errno == EAGAIN)
        g_set_error(error, VF_ERROR, VF_ERROR_QMP,
                    "%s: others wait for this monitor already, and QEMU serves one client at a "
                    "time" VF_REMEDY "end what is connected to the socket: see 'ss -xp'",
                    wire->object);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_QMP,
                    "%s: cannot connect: %s" VF_REMEDY
                    "check the socket, and that virtfnd runs as root",
                    wire->object, g_strerror(saved_errno));
    return FALSE;
}

gboolean vf_qmp_wire_connect(VfQmpWire *wire, const char *path, gint64 deadline, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path))
        return set_connect_error(wire, ENAMETOOLONG, error);
    wire->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    while (wire->fd >= 0 && connect(wire->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int saved_errno = errno;
        // There is no event for room in the queue of a Unix socket (connect(2), EAGAIN).
        if (saved_errno == EAGAIN && g_get_monotonic_time() < deadline) {
            vf_qmp_sleep(CONNECT_RETRY_US, deadline);
            continue;
        }
        if (saved_errno == EINTR)
            continue;
        vf_qmp_wire_close(wire);
        return set_connect_error(wire, saved_errno, error);
    }
    return wire->fd >= 0 || set_connect_error(wire, errno, error);
}

static ssize_t send_part(VfQmpWire *wire, const char *bytes, gsize length, int fd)
{
    struct iovec part = {(char *)bytes, length};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &fd, sizeof(int));
    }
    return sendmsg(wire->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

gboolean vf_qmp_wire_send(VfQmpWire *wire, const char *bytes, gsize length, int fd, gint64 deadline,
                          GError **error)
{
    while (length > 0) {
        ssize_t sent = send_part(wire, bytes, length, fd);

        if (sent > 0) {
            bytes += sent;
            length -= (gsize)sent;
            fd = -1;
        } else if (errno == EAGAIN) {
            if (!wait_ready(wire, POLLOUT, deadline))
                return fail(wire, "QEMU takes no command in time", STILL_RUNS, error);
        } else if (errno != EINTR) {
            return fail_errno(wire, errno, error);
        }
    }
    return TRUE;
}

static char *take_line(VfQmpWire *wire, gsize *length)
{
    const guint8 *start = wire->in->data;
    const guint8 *end = wire->in->len > wire->scanned
                            ? memchr(start + wire->scanned, '\n', wire->in->len - wire->scanned)
                            : NULL;

    if (end == NULL) {
        wire->scanned = wire->in->len;
        return NULL;
    }
    *length = (gsize)(end - start);
    char *line = g_malloc(*length + 1);
    memcpy(line, start, *length);
    line[*length] = '\0';
    g_byte_array_remove_range(wire->in, 0, (guint)*length + 1);
    wire->scanned = 0;
    return line;
}

// FALSE without an error when nothing has come.
static gboolean receive(VfQmpWire *wire, GError **error)
{
    guint held = wire->in->len;

    g_byte_array_set_size(wire->in, held + CHUNK);
    ssize_t length = recv(wire->fd, wire->in->data + held, CHUNK, MSG_DONTWAIT);
    int saved_errno = length == 0 ? ECONNRESET : errno;
    g_byte_array_set_size(wire->in, held + (guint)MAX(length, 0));
    if (length > 0)
        return TRUE;
    if (saved_errno != EAGAIN && saved_errno != EINTR)
        fail_errno(wire, saved_errno, error);
    return FALSE;
}

static gboolean check_length(VfQmpWire *wire, gsize length, GError **error)
{
    return length <= VF_QMP_MAX_LINE ||
           fail(wire, "QEMU sent a line of more than 1 MiB",
                "check that QEMU, and nothing else, serves this socket", error);
}

char *vf_qmp_wire_read(VfQmpWire *wire, gsize *length, gint64 deadline, GError **error)
{
    gboolean late = FALSE;
    GError *cause = NULL;

    for (;;) {
        g_autofree char *line = take_line(wire, length);

        if (!check_length(wire, line != NULL ? *length : wire->in->len, error))
            return NULL;
        // Looked at once after the deadline, too: what has come in time is taken.
        if (line != NULL || late)
            return g_steal_pointer(&line);
        late = g_get_monotonic_time() >= deadline;
        if (receive(wire, &cause))
            continue;
        if (cause != NULL)
            g_propagate_error(error, cause);
        if (cause != NULL || !wait_ready(wire, POLLIN, deadline))
            return NULL;
    }
}
