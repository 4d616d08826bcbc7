// SPDX-License-Identifier: GPL-2.0-or-later
//
// QMP over a guest's socket, against a scripted QEMU: what goes wrong at each step has a message of
// its own, ends by its deadline, leaves no descriptor behind, and the next command works.

#include "qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/qmp-peer.h"
#include "error.h"
#include "qmp-wire.h"

#define PATIENCE_US (5 * G_USEC_PER_SEC)
#define SHORT_US (100 * 1000)

typedef struct {
    char *directory, *path;
    QmpPeer *peer;
    guint fds;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->fds = qmp_peer_open_fds();
    f->directory = g_dir_make_tmp("virtfn-qmp-XXXXXX", &error);
    g_assert_no_error(error);
    f->path = g_build_filename(f->directory, "monitor.sock", NULL);
    f->peer = qmp_peer_new(f->path);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    qmp_peer_free(f->peer);
    unlink(f->path);
    g_assert_cmpint(rmdir(f->directory), ==, 0);
    g_free(f->directory);
    g_free(f->path);
    g_assert_cmpuint(qmp_peer_open_fds(), ==, f->fds);
}

static gint64 in(gint64 microseconds)
{
    return g_get_monotonic_time() + microseconds;
}

static VfQmp *dial(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    VfQmp *qmp = vf_qmp_connect(f->path, "web1", in(PATIENCE_US), &error);

    g_assert_no_error(error);
    return qmp;
}

// An error that names the guest, is one line, says `cause` and has a remedy.
static void assert_error(const GError *error, int code, const char *cause)
{
    g_assert_error(error, VF_ERROR, code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, "domain 'web1'"));
    g_assert_nonnull(strstr(error->message, cause));
    g_assert_nonnull(strstr(error->message, VF_REMEDY));
    for (const char *p = error->message; *p != '\0'; p++)
        g_assert_false(g_ascii_iscntrl(*p));
}

static void assert_works(VfQmp *qmp)
{
    g_autoptr(GError) error = NULL;
    json_t *value = vf_qmp_execute(qmp, "query-commands", NULL, in(PATIENCE_US), &error);

    g_assert_no_error(error);
    g_assert_true(json_is_array(value));
    json_decref(value);
}

static void test_execute(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);

    g_assert_cmpstr(vf_qmp_guest(qmp), ==, "web1");
    assert_works(qmp);
    assert_works(qmp);
    g_assert_null(vf_qmp_refused(qmp));
    g_assert_cmpuint(qmp_peer_count(f->peer, "qmp_capabilities"), ==, 1);
}

static void test_refused(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);
    g_autoptr(GError) error = NULL;

    qmp_peer_order(f->peer, "query-commands", QMP_REFUSE, 1);
    g_assert_null(vf_qmp_execute(qmp, "query-commands", NULL, in(PATIENCE_US), &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_QMP);
    g_assert_cmpstr(error->message, ==,
                    "domain 'web1': QEMU refuses query-commands (GenericError): made to refuse?%s");
    g_assert_cmpstr(vf_qmp_refused(qmp), ==, "GenericError");
    assert_works(qmp);
    g_assert_null(vf_qmp_refused(qmp));
    // A refusal is an answer like any other: the connection stays.
    g_assert_cmpuint(qmp_peer_count(f->peer, "qmp_capabilities"), ==, 1);
}

// ---- faults

typedef struct {
    QmpFault fault;
    const char *cause;
} Fault;

static const Fault faults[] = {
    {QMP_CLOSE_BEFORE, "closed the connection"},
    {QMP_CLOSE_AFTER, "closed the connection"},
    {QMP_CLOSE_HALF, "closed the connection"},
    {QMP_GARBAGE, "sent a line that is not a JSON object: 'no JSON ?[31m'"},
    {QMP_ARRAY, "sent a line that is not a JSON object: '[1,2]'"},
    {QMP_HUGE, "sent a line of more than 1 MiB"},
    {QMP_ENDLESS, "sent a line of more than 1 MiB"},
};

// As every fault on the way, and those that differ from step to step.
static const char *cause_of(QmpFault fault, const char *late, const char *other)
{
    for (guint i = 0; i < G_N_ELEMENTS(faults); i++)
        if (faults[i].fault == fault)
            return faults[i].cause;
    return fault == QMP_STALL || fault == QMP_FLOOD || fault == QMP_DRIP ? late : other;
}

static gboolean is_answer(QmpFault fault)
{
    return fault == QMP_NO_FAULT || fault == QMP_SPLIT || fault == QMP_BETWEEN;
}

static void test_greeting(Fixture *f, gconstpointer data)
{
    for (QmpFault fault = QMP_CLOSE_BEFORE; fault <= QMP_SPLIT; fault++) {
        g_autoptr(GError) error = NULL;
        gint64 begin = g_get_monotonic_time();

        // It is no error that a greeting has an id, and no less one that it is a flood.
        if (fault == QMP_OTHER_ID)
            continue;
        qmp_peer_order(f->peer, "greeting", fault, 1);
        g_autoptr(VfQmp) qmp = vf_qmp_connect(f->path, "web1", in(SHORT_US * 3), &error);
        if (is_answer(fault)) {
            g_assert_no_error(error);
            assert_works(qmp);
            continue;
        }
        g_assert_null(qmp);
        assert_error(error, VF_ERROR_QMP,
                     fault == QMP_FLOOD
                         ? "did not greet as QEMU does"
                         : cause_of(fault, "no greeting in time", "did not greet as QEMU does"));
        g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_US);
    }
}

static void test_negotiation(Fixture *f, gconstpointer data)
{
    for (QmpFault fault = QMP_REFUSE; fault <= QMP_BETWEEN; fault++) {
        g_autoptr(GError) error = NULL;

        qmp_peer_order(f->peer, "qmp_capabilities", fault, 1);
        g_autoptr(VfQmp) qmp = vf_qmp_connect(f->path, "web1", in(SHORT_US * 3), &error);
        if (is_answer(fault)) {
            g_assert_no_error(error);
            assert_works(qmp);
            continue;
        }
        g_assert_null(qmp);
        assert_error(error, VF_ERROR_QMP,
                     fault == QMP_REFUSE ? "refuses to negotiate"
                                         : cause_of(fault, "did not answer qmp_capabilities",
                                                    "neither an event nor an answer"));
    }
}

static void test_command(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);
    guint connections = 1;

    for (QmpFault fault = QMP_CLOSE_BEFORE; fault <= QMP_BETWEEN; fault++) {
        g_autoptr(GError) error = NULL;
        gint64 begin = g_get_monotonic_time();

        qmp_peer_order(f->peer, "query-commands", fault, 1);
        json_t *value = vf_qmp_execute(qmp, "query-commands", NULL, in(SHORT_US * 3), &error);
        if (is_answer(fault)) {
            g_assert_no_error(error);
            g_assert_true(json_is_array(value));
        } else {
            g_assert_null(value);
            assert_error(error, VF_ERROR_QMP,
                         cause_of(fault, "did not answer query-commands in time",
                                  "neither an event nor an answer"));
            connections++;
        }
        json_decref(value);
        g_assert_null(vf_qmp_refused(qmp));
        g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_US);
        assert_works(qmp);
    }
    g_assert_cmpuint(qmp_peer_count(f->peer, "qmp_capabilities"), ==, connections);
}

// A peer that left between two commands: no SIGPIPE, one failure, then a new connection.
static void test_left(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);
    g_autoptr(GError) error = NULL;

    qmp_peer_hang_up(f->peer);
    g_assert_null(vf_qmp_execute(qmp, "query-commands", NULL, in(PATIENCE_US), &error));
    assert_error(error, VF_ERROR_QMP, "closed the connection");
    assert_works(qmp);
}

// No time is left: nothing is sent that nobody would wait for.
static void test_too_late(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_qmp_execute(qmp, "query-commands", NULL, in(-1), &error));
    assert_error(error, VF_ERROR_QMP, "no time left for query-commands");
    assert_works(qmp);
    g_assert_cmpuint(qmp_peer_count(f->peer, "query-commands"), ==, 1);
}

// ---- connecting

static void expect_no_connection(const char *path, gint64 deadline, int code, const char *cause)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_qmp_connect(path, "web1", deadline, &error));
    assert_error(error, code, cause);
}

static void test_no_socket(Fixture *f, gconstpointer data)
{
    g_autofree char *missing = g_build_filename(f->directory, "none.sock", NULL);
    g_autofree char *file = g_build_filename(f->directory, "stale.sock", NULL);
    g_autofree char *name = g_strnfill(120, 'a');
    g_autofree char *longer = g_build_filename(f->directory, name, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, file, sizeof(address.sun_path));
    g_assert_cmpint(bind(stale, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    close(stale);
    expect_no_connection(missing, in(PATIENCE_US), VF_ERROR_NOT_FOUND, "no such socket");
    expect_no_connection(file, in(PATIENCE_US), VF_ERROR_NOT_FOUND, "nobody listens");
    expect_no_connection(longer, in(PATIENCE_US), VF_ERROR_QMP, "name too long");
    g_assert_cmpint(unlink(file), ==, 0);
}

// QEMU serves one; the next has to wait, and where many wait it does not even get into the queue.
static void test_other_client(Fixture *f, gconstpointer data)
{
    VfQmp *first = dial(f);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int waiting[8];
    guint n = 0;

    expect_no_connection(f->path, in(SHORT_US), VF_ERROR_QMP, "has another client");
    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    do {
        waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(waiting[n++], (struct sockaddr *)&address, sizeof(address)) == 0 &&
             n < G_N_ELEMENTS(waiting));
    g_assert_cmpint(errno, ==, EAGAIN);
    expect_no_connection(f->path, in(SHORT_US), VF_ERROR_QMP, "others wait for this monitor");
    assert_works(first);
    while (n > 0)
        close(waiting[--n]);
    vf_qmp_free(first);
    // They are gone, so there is room again.
    g_autoptr(VfQmp) second = dial(f);
    assert_works(second);
}

// ---- events

static gboolean has_number(json_t *event, gpointer number)
{
    const json_t *data = json_object_get(event, "data");

    return json_integer_value(json_object_get(data, "n")) == GPOINTER_TO_INT(number);
}

static void assert_event(VfQmp *qmp, const char *name, VfQmpMatch match, int number)
{
    g_autoptr(GError) error = NULL;
    json_t *event =
        vf_qmp_wait_event(qmp, name, match, GINT_TO_POINTER(number), in(PATIENCE_US), &error);

    g_assert_no_error(error);
    g_assert_nonnull(event);
    g_assert_cmpstr(json_string_value(json_object_get(event, "event")), ==, name);
    g_assert_true(has_number(event, GINT_TO_POINTER(number)));
    json_decref(event);
}

static void assert_no_event(VfQmp *qmp, const char *name, gint64 wait)
{
    g_autoptr(GError) error = NULL;
    gint64 begin = g_get_monotonic_time();

    g_assert_null(vf_qmp_wait_event(qmp, name, NULL, NULL, in(wait), &error));
    g_assert_no_error(error);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, wait);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_US);
}

static void say_event(Fixture *f, const char *name, int number)
{
    g_autofree char *text =
        g_strdup_printf("{\"event\":\"%s\",\"data\":{\"n\":%d}}\r\n", name, number);

    qmp_peer_say(f->peer, text);
}

static void test_events(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);

    say_event(f, "A", 1);
    say_event(f, "B", 2);
    say_event(f, "A", 3);
    say_event(f, "A", 4);
    // They are kept while a command is answered, in order, and for each name.
    assert_works(qmp);
    assert_event(qmp, "A", has_number, 3);
    assert_event(qmp, "A", NULL, 1);
    assert_event(qmp, "B", NULL, 2);
    assert_event(qmp, "A", NULL, 4);
    assert_no_event(qmp, "A", SHORT_US);
    assert_no_event(qmp, "A", 0);
    say_event(f, "A", 5);
    assert_event(qmp, "A", NULL, 5);
}

static void test_split_event(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);

    qmp_peer_say(f->peer, "{\"event\":\"A\",");
    assert_no_event(qmp, "A", SHORT_US);
    qmp_peer_say(f->peer, "\"data\":{\"n\":7}}\r\n{\"event\":\"A\",\"data\":{\"n\":8}}\r\n{");
    assert_event(qmp, "A", NULL, 7);
    assert_event(qmp, "A", NULL, 8);
    qmp_peer_say(f->peer, "\"event\":\"A\",\"data\":{\"n\":9}}\n");
    assert_event(qmp, "A", NULL, 9);
}

typedef struct {
    QmpPeer *peer;
    GString *text;
} Said;

static gpointer say_all(gpointer data)
{
    Said *said = data;

    qmp_peer_say(said->peer, said->text->str);
    return NULL;
}

// Events numbered from 0, each with so much padding, and one more called LAST, all of them read.
static void flood(Fixture *f, VfQmp *qmp, int n, gsize padding)
{
    Said said = {f->peer, g_string_new(NULL)};
    g_autofree char *filler = g_strnfill(padding, 'x');

    for (int i = 0; i < n; i++)
        g_string_append_printf(said.text, "{\"event\":\"A\",\"data\":{\"n\":%d,\"p\":\"%s\"}}\n", i,
                               filler);
    g_string_append(said.text, "{\"event\":\"LAST\",\"data\":{\"n\":0}}\n");
    GThread *thread = g_thread_new("say", say_all, &said);
    assert_event(qmp, "LAST", NULL, 0);
    g_thread_join(thread);
    g_string_free(said.text, TRUE);
}

// A guest that causes events must not fill the daemon: the newest are kept.
static void test_too_many_events(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);

    flood(f, qmp, VF_QMP_MAX_EVENTS + 10, 0);
    for (int i = 11; i < VF_QMP_MAX_EVENTS + 10; i++)
        assert_event(qmp, "A", NULL, i);
    assert_no_event(qmp, "A", 0);
    flood(f, qmp, 5, VF_QMP_MAX_LINE / 3);
    assert_event(qmp, "A", NULL, 3);
    assert_event(qmp, "A", NULL, 4);
    assert_no_event(qmp, "A", 0);
}

static void expect_broken(VfQmp *qmp, const char *cause)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_qmp_wait_event(qmp, "A", NULL, NULL, in(PATIENCE_US), &error));
    assert_error(error, VF_ERROR_QMP, cause);
}

static void test_broken_wait(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *text, *cause;
    } said[] = {
        {"nonsense\n", "not a JSON object"},
        {"{\"return\":{},\"id\":1}\n", "answered although nothing was asked"},
        {"{\"event\":7}\n", "answered although nothing was asked"},
        {"{\"event\":\"A\",\"data\":[]}\n", "answered although nothing was asked"},
        {"{\"event\":\"A\",\"event\":\"A\"}\n", "not a JSON object"},
        {"{\"event\":\"A\\u0000\"}\n", "not a JSON object"},
    };
    g_autoptr(VfQmp) qmp = dial(f);

    for (guint i = 0; i < G_N_ELEMENTS(said); i++) {
        qmp_peer_say(f->peer, said[i].text);
        expect_broken(qmp, said[i].cause);
        expect_broken(qmp, "the connection was lost");
        assert_works(qmp);
    }
    say_event(f, "A", 1);
    qmp_peer_hang_up(f->peer);
    // What came before the end is still there.
    assert_event(qmp, "A", NULL, 1);
    expect_broken(qmp, "closed the connection");
}

static void test_old_events(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);

    say_event(f, "A", 1);
    assert_works(qmp);
    qmp_peer_order(f->peer, "query-commands", QMP_CLOSE_AFTER, 1);
    g_assert_null(vf_qmp_execute(qmp, "query-commands", NULL, in(PATIENCE_US), NULL));
    assert_works(qmp);
    // A new connection begins anew: what happened in between is not known anyway.
    assert_no_event(qmp, "A", 0);
}

// ---- descriptors

static void test_getfd(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);
    g_autoptr(GError) error = NULL;
    int pair[2];

    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    guint before = qmp_peer_open_fds();
    g_assert_true(vf_qmp_getfd(qmp, "a", pair[0], in(PATIENCE_US), &error));
    g_assert_no_error(error);
    // The peer is in this process: one more is its duplicate.
    g_assert_cmpuint(qmp_peer_open_fds(), ==, before + 1);
    g_assert_true(vf_qmp_getfd(qmp, "a", pair[1], in(PATIENCE_US), &error));
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 1);
    g_assert_true(vf_qmp_closefd(qmp, "a", in(PATIENCE_US), &error));
    g_assert_cmpuint(qmp_peer_open_fds(), ==, before);
    g_assert_false(vf_qmp_closefd(qmp, "a", in(PATIENCE_US), &error));
    g_assert_cmpstr(vf_qmp_refused(qmp), ==, "GenericError");
    g_clear_error(&error);
    g_assert_false(vf_qmp_getfd(qmp, "b", -1, in(PATIENCE_US), &error));
    g_assert_nonnull(strstr(error->message, "No file descriptor supplied"));
    g_clear_error(&error);
    g_assert_false(vf_qmp_getfd(qmp, "\xff", pair[0], in(PATIENCE_US), &error));
    assert_error(error, VF_ERROR_INPUT, "'?' cannot name a descriptor");
    close(pair[0]);
    close(pair[1]);
}

static void test_getfd_faults(Fixture *f, gconstpointer data)
{
    g_autoptr(VfQmp) qmp = dial(f);
    int pair[2];

    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    guint before = qmp_peer_open_fds();
    for (QmpFault fault = QMP_REFUSE; fault <= QMP_OTHER_ID; fault++) {
        qmp_peer_order(f->peer, "getfd", fault, 1);
        g_assert_false(vf_qmp_getfd(qmp, "a", pair[0], in(SHORT_US), NULL));
        assert_works(qmp);
        // Whether it arrived or not, it can be taken back, and that leaves nothing.
        vf_qmp_closefd(qmp, "a", in(PATIENCE_US), NULL);
        assert_works(qmp);
        g_assert_cmpuint(qmp_peer_named(f->peer), ==, 0);
        // A refused one stays with QEMU's socket until the next comes, as in QEMU.
        g_assert_cmpuint(qmp_peer_open_fds(), <=, before + 1);
    }
    close(pair[0]);
    close(pair[1]);
}

// ---- the wire by itself

static VfQmpWire wire_new(int *peer)
{
    VfQmpWire wire;
    int pair[2];

    vf_qmp_wire_init(&wire, "domain 'web1'");
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), ==,
                    0);
    wire.fd = pair[0];
    *peer = pair[1];
    return wire;
}

// Nobody reads: the call ends all the same.
static void test_stuck(void)
{
    g_autofree char *much = g_strnfill(8 * VF_QMP_MAX_LINE, ' ');
    g_autoptr(GError) error = NULL;
    int peer;
    VfQmpWire wire = wire_new(&peer);
    gint64 begin = g_get_monotonic_time();

    g_assert_false(vf_qmp_wire_send(&wire, much, strlen(much), -1, in(SHORT_US), &error));
    assert_error(error, VF_ERROR_QMP, "takes no command in time");
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, SHORT_US);
    vf_qmp_wire_clear(&wire);
    close(peer);
}

typedef struct {
    int fd;
    gsize received, rights;
} Reader;

static gpointer read_slowly(gpointer data)
{
    Reader *reader = data;
    char bytes[16384], control[CMSG_SPACE(sizeof(int))];
    int fd;

    for (;;) {
        struct iovec part = {bytes, sizeof(bytes)};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};
        ssize_t length = recvmsg(reader->fd, &message, MSG_CMSG_CLOEXEC);

        if (length == 0)
            return NULL;
        if (length < 0) {
            g_usleep(500);
            continue;
        }
        reader->received += (gsize)length;
        if (CMSG_FIRSTHDR(&message) == NULL)
            continue;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
        close(fd);
        reader->rights++;
    }
}

// In many parts: all of it arrives, and the descriptor once.
static void test_slow_reader(void)
{
    g_autofree char *much = g_strnfill(4 * VF_QMP_MAX_LINE, ' ');
    g_autoptr(GError) error = NULL;
    Reader reader = {0};
    VfQmpWire wire = wire_new(&reader.fd);
    GThread *thread = g_thread_new("reader", read_slowly, &reader);

    g_assert_true(
        vf_qmp_wire_send(&wire, much, strlen(much), STDIN_FILENO, in(PATIENCE_US * 4), &error));
    g_assert_no_error(error);
    vf_qmp_wire_clear(&wire);
    g_thread_join(thread);
    g_assert_cmpuint(reader.received, ==, 4 * VF_QMP_MAX_LINE);
    g_assert_cmpuint(reader.rights, ==, 1);
    close(reader.fd);
}

static gint interruptions;

static void on_alarm(int signal)
{
    g_atomic_int_inc(&interruptions);
}

// Signals without SA_RESTART, much more often than there are events.
static void test_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_alarm}, old;
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {0};
    g_autoptr(GError) error = NULL;
    gsize length;
    int peer;
    VfQmpWire wire = wire_new(&peer);
    gint64 begin = g_get_monotonic_time();

    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    g_assert_null(vf_qmp_wire_read(&wire, &length, in(SHORT_US), &error));
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    g_assert_no_error(error);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, SHORT_US);
    g_assert_cmpint(g_atomic_int_get(&interruptions), >, 3);
    vf_qmp_wire_clear(&wire);
    close(peer);
}

// Longest line that is accepted, and one byte more; descriptors from the peer go nowhere.
static void test_line_limit(void)
{
    g_autofree char *line = g_strnfill(VF_QMP_MAX_LINE + 2, 'x');

    for (gsize extra = 0; extra <= 1; extra++) {
        g_autoptr(GError) error = NULL;
        Reader writer;
        VfQmpWire wire = wire_new(&writer.fd);
        gsize length = 0, sent = 0, total = VF_QMP_MAX_LINE + extra + 1;
        g_autofree char *got = NULL;

        line[total - 1] = '\n';
        while (got == NULL && error == NULL) {
            ssize_t part = send(writer.fd, line + sent, total - sent, MSG_DONTWAIT);
            sent += (gsize)MAX(part, 0);
            got = vf_qmp_wire_read(&wire, &length, in(0), &error);
        }
        line[total - 1] = 'x';
        if (extra == 0)
            g_assert_cmpuint(length, ==, VF_QMP_MAX_LINE);
        else
            assert_error(error, VF_ERROR_QMP, "more than 1 MiB");
        vf_qmp_wire_clear(&wire);
        close(writer.fd);
    }
}

int main(int argc, char **argv)
{
#define ADD(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    g_test_init(&argc, &argv, NULL);
    ADD("/qmp/execute", test_execute);
    ADD("/qmp/refused", test_refused);
    ADD("/qmp/faults/greeting", test_greeting);
    ADD("/qmp/faults/negotiation", test_negotiation);
    ADD("/qmp/faults/command", test_command);
    ADD("/qmp/faults/left", test_left);
    ADD("/qmp/faults/too-late", test_too_late);
    ADD("/qmp/connect/no-socket", test_no_socket);
    ADD("/qmp/connect/other-client", test_other_client);
    ADD("/qmp/events/order", test_events);
    ADD("/qmp/events/split", test_split_event);
    ADD("/qmp/events/too-many", test_too_many_events);
    ADD("/qmp/events/broken", test_broken_wait);
    ADD("/qmp/events/old", test_old_events);
    ADD("/qmp/getfd/named", test_getfd);
    ADD("/qmp/getfd/faults", test_getfd_faults);
    g_test_add_func("/qmp/wire/stuck", test_stuck);
    g_test_add_func("/qmp/wire/slow-reader", test_slow_reader);
    g_test_add_func("/qmp/wire/interrupted", test_interrupted);
    g_test_add_func("/qmp/wire/line-limit", test_line_limit);
    return g_test_run();
}
