// SPDX-License-Identifier: GPL-2.0-or-later
//
// The scripted QEMU: the socket, and the faults. One thread serves; everything it shares with the
// test is under one lock. What QEMU's devices do is in tests/lib/qmp-model.c.

#include "qmp-peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io.h"
#include "qmp-model.h"

#define LONGEST (1024 * 1024)

typedef struct {
    char *command;
    QmpFault fault;
    guint times;
} Order;

struct QmpPeer {
    GThread *thread;
    int listener, wake;
    gint stopping;
    GMutex lock;
    // under the lock
    int client; // -1 = none
    gboolean negotiated;
    GString *in;
    int in_fd; // the descriptor that came last and nobody has asked for
    GArray *orders;
    GHashTable *counts, *arguments;
    QmpModel *model;
};

// ---- what it says

// FALSE when the client does not take it.
static gboolean say(QmpPeer *peer, const char *text, gsize length)
{
    while (length > 0 && !g_atomic_int_get(&peer->stopping)) {
        ssize_t sent = send(peer->client, text, length, MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN)
            return FALSE;
        text += MAX(sent, 0);
        length -= (gsize)MAX(sent, 0);
    }
    return length == 0;
}

static void say_json(QmpPeer *peer, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    say(peer, text, strlen(text));
    say(peer, "\r\n", 2);
    free(text);
    json_decref(json);
}

static void on_event(json_t *event, gpointer data)
{
    QmpPeer *peer = data;

    if (peer->client >= 0 && peer->negotiated)
        say_json(peer, json_incref(event));
}

static void say_other_event(QmpPeer *peer)
{
    say_json(peer, json_pack("{s:s, s:{s:i}}", "event", "RTC_CHANGE", "data", "offset", 1));
}

static void drop_client(QmpPeer *peer)
{
    if (peer->client >= 0)
        close(peer->client);
    peer->client = -1;
    if (peer->in_fd >= 0)
        close(peer->in_fd);
    peer->in_fd = -1;
    g_string_truncate(peer->in, 0);
}

static void say_without_end(QmpPeer *peer, QmpFault fault)
{
    static char block[65536];

    memset(block, 'x', sizeof(block));
    if (fault == QMP_HUGE || fault == QMP_ENDLESS)
        for (guint i = 0; i <= LONGEST / sizeof(block); i++)
            say(peer, block, sizeof(block));
    if (fault == QMP_HUGE)
        say(peer, "\n", 1);
    while (fault == QMP_FLOOD && !g_atomic_int_get(&peer->stopping)) {
        const char *event = "{\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":1}}\r\n";
        if (!say(peer, event, strlen(event)))
            break;
    }
    while (fault == QMP_DRIP && say(peer, "{", 1) && !g_atomic_int_get(&peer->stopping))
        g_usleep(1000);
}

// The answer as the fault wants it.
static void answer(QmpPeer *peer, json_t *reply, QmpFault fault)
{
    char *text = json_dumps(reply, JSON_COMPACT);

    switch (fault) {
    case QMP_CLOSE_AFTER:
        drop_client(peer);
        break;
    case QMP_CLOSE_HALF:
        say(peer, text, strlen(text) / 2);
        drop_client(peer);
        break;
    case QMP_STALL:
        break;
    case QMP_GARBAGE:
        say(peer, "no JSON \x1b[31m\n", 14);
        break;
    case QMP_ARRAY:
        say(peer, "[1,2]\n", 6);
        break;
    case QMP_OTHER_KIND:
        say(peer, "{\"neither\":1}\n", 14);
        break;
    case QMP_OTHER_ID:
        json_object_set_new(reply, "id", json_integer(-1));
        say_json(peer, json_incref(reply));
        break;
    case QMP_ODD:
        json_object_set_new(reply, "return", json_pack("[{s:s}]", "state", "paused"));
        say_json(peer, json_incref(reply));
        break;
    case QMP_HUGE:
    case QMP_ENDLESS:
    case QMP_FLOOD:
    case QMP_DRIP:
        say_without_end(peer, fault);
        break;
    case QMP_SPLIT:
        for (const char *p = text; *p != '\0'; p++)
            say(peer, p, 1);
        say(peer, "\r\n", 2);
        break;
    case QMP_BETWEEN:
        say_other_event(peer);
        say_json(peer, json_incref(reply));
        say_other_event(peer);
        break;
    default:
        say_json(peer, json_incref(reply));
    }
    free(text);
}

// ---- what it is told

static QmpFault take_order(QmpPeer *peer, const char *command)
{
    for (guint i = 0; i < peer->orders->len; i++) {
        Order *order = &g_array_index(peer->orders, Order, i);

        if (order->times == 0 || strcmp(order->command, command) != 0)
            continue;
        order->times--;
        return order->fault;
    }
    return QMP_NO_FAULT;
}

static void note(QmpPeer *peer, const char *command, const json_t *arguments)
{
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(peer->counts, command));
    char *text = arguments != NULL ? json_dumps(arguments, JSON_SORT_KEYS) : NULL;

    g_hash_table_insert(peer->counts, g_strdup(command), GUINT_TO_POINTER(count + 1));
    g_hash_table_insert(peer->arguments, g_strdup(command), g_strdup(text != NULL ? text : ""));
    free(text);
}

// Runs a request; the fault is what it ordered. NULL: it is not to be run or answered.
static json_t *run_request(QmpPeer *peer, json_t *request, int *fd, QmpFault *fault)
{
    const char *command = json_string_value(json_object_get(request, "execute"));
    json_t *arguments = json_object_get(request, "arguments");
    json_t *reply;

    g_assert_nonnull(command);
    note(peer, command, arguments);
    *fault = take_order(peer, command);
    if (*fault == QMP_CLOSE_BEFORE)
        return NULL;
    if (*fault == QMP_REFUSE)
        reply = qmp_model_error("GenericError", "made to refuse\n%s");
    else if (strcmp(command, "qmp_capabilities") == 0)
        reply = json_pack("{s:{}}", "return");
    else if (!peer->negotiated)
        reply = qmp_model_error("CommandNotFound", "Expecting capabilities negotiation");
    else
        reply = qmp_model_execute(peer->model, command, arguments, fd, *fault);
    if (json_object_get(request, "id") != NULL)
        json_object_set(reply, "id", json_object_get(request, "id"));
    return reply;
}

static void serve_request(QmpPeer *peer, json_t *request)
{
    const char *command = json_string_value(json_object_get(request, "execute"));
    QmpFault fault;
    json_t *reply = run_request(peer, request, &peer->in_fd, &fault);

    if (reply == NULL)
        drop_client(peer);
    else
        answer(peer, reply, fault);
    peer->negotiated = peer->negotiated || (strcmp(command, "qmp_capabilities") == 0 &&
                                            json_object_get(reply, "return") != NULL);
    json_decref(reply);
}

static void keep_fd(QmpPeer *peer, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_type != SCM_RIGHTS)
            continue;
        if (peer->in_fd >= 0)
            close(peer->in_fd);
        memcpy(&peer->in_fd, CMSG_DATA(c), sizeof(int));
    }
}

static void receive(QmpPeer *peer)
{
    char bytes[4096], control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {bytes, sizeof(bytes)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t length = recvmsg(peer->client, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (length <= 0) {
        drop_client(peer);
        return;
    }
    keep_fd(peer, &message);
    g_string_append_len(peer->in, bytes, length);
    // As QEMU does: a request is whole when its JSON is, line break or not.
    while (peer->in->len > 0) {
        json_error_t cause;
        json_t *request = json_loadb(peer->in->str, peer->in->len, JSON_DISABLE_EOF_CHECK, &cause);

        if (request == NULL)
            break;
        g_string_erase(peer->in, 0, cause.position);
        serve_request(peer, request);
        json_decref(request);
    }
}

static void greet(QmpPeer *peer)
{
    json_t *greeting = json_pack("{s:{s:{s:{s:i, s:i, s:i}}, s:[]}}", "QMP", "version", "qemu",
                                 "micro", 13, "minor", 0, "major", 10, "capabilities");
    QmpFault fault = take_order(peer, "greeting");

    peer->negotiated = FALSE;
    if (fault == QMP_CLOSE_BEFORE)
        drop_client(peer);
    else
        answer(peer, greeting, fault);
    json_decref(greeting);
}

static void accept_client(QmpPeer *peer)
{
    struct timeval patience = {0, 20000};

    peer->client = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
    if (peer->client < 0)
        return;
    setsockopt(peer->client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    greet(peer);
}

static gpointer serve(gpointer data)
{
    QmpPeer *peer = data;

    while (!g_atomic_int_get(&peer->stopping)) {
        g_mutex_lock(&peer->lock);
        int next = qmp_model_tick(peer->model);
        struct pollfd fds[] = {{peer->client >= 0 ? peer->client : peer->listener, POLLIN, 0},
                               {peer->wake, POLLIN, 0}};
        g_mutex_unlock(&peer->lock);
        guint64 value;

        if (poll(fds, 2, next) < 0 || (fds[1].revents && read(peer->wake, &value, 8) != 8))
            continue;
        g_mutex_lock(&peer->lock);
        if (fds[0].revents != 0 && fds[0].fd == peer->client)
            receive(peer);
        else if (fds[0].revents != 0 && peer->client < 0)
            accept_client(peer);
        g_mutex_unlock(&peer->lock);
    }
    return NULL;
}

// ---- for tests

static void wake(QmpPeer *peer)
{
    guint64 one = 1;

    g_assert_cmpint(write(peer->wake, &one, sizeof(one)), ==, sizeof(one));
}

QmpPeer *qmp_peer_new(const char *path)
{
    QmpPeer *peer = g_new0(QmpPeer, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
                     sizeof(address.sun_path));
    g_mutex_init(&peer->lock);
    peer->client = peer->in_fd = -1;
    peer->in = g_string_new(NULL);
    peer->orders = g_array_new(FALSE, FALSE, sizeof(Order));
    peer->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    peer->arguments = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    peer->model = qmp_model_new(on_event, peer);
    peer->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(path);
    // As QEMU's: room for one that waits (QEMU chardev/char-socket.c listens with a backlog of 1).
    g_assert_cmpint(bind(peer->listener, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(peer->listener, 1), ==, 0);
    peer->thread = g_thread_new("qmp-peer", serve, peer);
    return peer;
}

void qmp_peer_free(QmpPeer *peer)
{
    g_atomic_int_set(&peer->stopping, TRUE);
    wake(peer);
    g_thread_join(peer->thread);
    drop_client(peer);
    close(peer->listener);
    close(peer->wake);
    for (guint i = 0; i < peer->orders->len; i++)
        g_free(g_array_index(peer->orders, Order, i).command);
    g_array_unref(peer->orders);
    g_hash_table_unref(peer->counts);
    g_hash_table_unref(peer->arguments);
    g_string_free(peer->in, TRUE);
    qmp_model_free(peer->model);
    g_mutex_clear(&peer->lock);
    g_free(peer);
}

void qmp_peer_add(QmpPeer *peer, const char *id, const char *host)
{
    g_mutex_lock(&peer->lock);
    qmp_model_add(peer->model, id, host);
    g_mutex_unlock(&peer->lock);
}

void qmp_peer_hold(QmpPeer *peer, const char *id, int group)
{
    g_mutex_lock(&peer->lock);
    qmp_model_hold(peer->model, id, group);
    g_mutex_unlock(&peer->lock);
}

int qmp_peer_open_group(const char *root, const char *address)
{
    g_autofree char *link = vf_path(root, "/sys/bus/pci/devices/%s/iommu_group", address);
    g_autofree char *group = vf_io_link_name(link, NULL);
    g_autofree char *node = vf_path(root, "/dev/vfio/%s", group != NULL ? group : "none");

    return open(node, O_RDWR | O_CLOEXEC);
}

void qmp_peer_set(QmpPeer *peer, const char *id, const char *state, const char *error)
{
    g_mutex_lock(&peer->lock);
    qmp_model_set(peer->model, id, state, error);
    g_mutex_unlock(&peer->lock);
}

void qmp_peer_begin(QmpPeer *peer, const char *id, const char *state)
{
    g_mutex_lock(&peer->lock);
    qmp_model_begin(peer->model, id, state, QMP_NO_FAULT);
    g_mutex_unlock(&peer->lock);
    wake(peer);
}

void qmp_peer_touch(QmpPeer *peer, const char *id)
{
    g_mutex_lock(&peer->lock);
    qmp_model_touch(peer->model, id);
    g_mutex_unlock(&peer->lock);
    wake(peer);
}

const char *qmp_peer_state(QmpPeer *peer, const char *id)
{
    g_mutex_lock(&peer->lock);
    const char *state = qmp_model_state(peer->model, id);
    g_mutex_unlock(&peer->lock);
    return state;
}

ino_t qmp_peer_inode(QmpPeer *peer, const char *id)
{
    g_mutex_lock(&peer->lock);
    ino_t inode = qmp_model_inode(peer->model, id);
    g_mutex_unlock(&peer->lock);
    return inode;
}

void qmp_peer_order(QmpPeer *peer, const char *command, QmpFault fault, guint times)
{
    Order order = {g_strdup(command), fault, times};

    g_mutex_lock(&peer->lock);
    g_array_append_val(peer->orders, order);
    g_mutex_unlock(&peer->lock);
}

void qmp_peer_set_duration(QmpPeer *peer, guint microseconds)
{
    g_mutex_lock(&peer->lock);
    qmp_model_set_duration(peer->model, microseconds);
    g_mutex_unlock(&peer->lock);
}

void qmp_peer_set_status(QmpPeer *peer, const char *state, const char *migration)
{
    g_mutex_lock(&peer->lock);
    qmp_model_set_status(peer->model, state, migration);
    g_mutex_unlock(&peer->lock);
}

void qmp_peer_make_stock(QmpPeer *peer)
{
    g_mutex_lock(&peer->lock);
    qmp_model_make_stock(peer->model);
    g_mutex_unlock(&peer->lock);
}

void qmp_peer_make_unsignalled(QmpPeer *peer)
{
    g_mutex_lock(&peer->lock);
    qmp_model_make_unsignalled(peer->model);
    g_mutex_unlock(&peer->lock);
}

guint qmp_peer_count(QmpPeer *peer, const char *command)
{
    g_mutex_lock(&peer->lock);
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(peer->counts, command));
    g_mutex_unlock(&peer->lock);
    return count;
}

char *qmp_peer_arguments(QmpPeer *peer, const char *command)
{
    g_mutex_lock(&peer->lock);
    char *text = g_strdup(g_hash_table_lookup(peer->arguments, command));
    g_mutex_unlock(&peer->lock);
    return text != NULL ? text : g_strdup("");
}

guint qmp_peer_named(QmpPeer *peer)
{
    g_mutex_lock(&peer->lock);
    guint named = qmp_model_named(peer->model);
    g_mutex_unlock(&peer->lock);
    return named;
}

void qmp_peer_say(QmpPeer *peer, const char *text)
{
    g_mutex_lock(&peer->lock);
    g_assert_true(say(peer, text, strlen(text)));
    g_mutex_unlock(&peer->lock);
}

void qmp_peer_hang_up(QmpPeer *peer)
{
    g_mutex_lock(&peer->lock);
    drop_client(peer);
    g_mutex_unlock(&peer->lock);
    wake(peer);
}

char *qmp_peer_run(QmpPeer *peer, const char *text, int fd)
{
    json_t *request = json_loads(text, 0, NULL);
    QmpFault fault;
    char *out;

    g_assert_nonnull(request);
    g_mutex_lock(&peer->lock);
    peer->negotiated = TRUE;
    int copy = fd >= 0 ? dup(fd) : -1;
    json_t *reply = run_request(peer, request, &copy, &fault);
    qmp_model_tick(peer->model);
    g_mutex_unlock(&peer->lock);
    wake(peer);
    if (fault == QMP_STALL)
        g_usleep(300000);
    out = fault == QMP_GARBAGE ? strdup("no JSON") : json_dumps(reply, 0);
    if (copy >= 0)
        close(copy);
    json_decref(reply);
    json_decref(request);
    return out;
}

guint qmp_peer_open_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    guint count = 0;

    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}
