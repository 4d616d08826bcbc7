// SPDX-License-Identifier: GPL-2.0-or-later
//
// QMP over libvirt's monitor: libvirt's test driver has the connection and the domain, and this
// file has the one function that the driver lacks, which asks the scripted QEMU. What the real
// driver does is for the emulated host to show.

#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/qmp-peer.h"
#include "error.h"
#include "pause.h"
#include "qmp.h"

#define PATIENCE_US (10 * G_USEC_PER_SEC)
#define SHORT_US (100 * 1000)
// The domain that test:///default comes with.
#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define NET0 "ua-virtfn-net0"

typedef struct Fixture Fixture;

struct Fixture {
    char *directory, *path;
    QmpPeer *peer;
    VfVirconn *virconn;
    VfQmp *qmp;
    void (*test)(Fixture *);
    gint ended;
};

static QmpPeer *peer_of_domain;

// Of libvirt-qemu, for this program.
int virDomainQemuMonitorCommandWithFiles(virDomainPtr domain, const char *cmd,
                                         unsigned int ninfiles, int *infiles,
                                         unsigned int *noutfiles, int **outfiles, char **result,
                                         unsigned int flags)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    g_assert_cmpint(virDomainGetUUIDString(domain, uuid), ==, 0);
    g_assert_cmpstr(uuid, ==, UUID);
    g_assert_cmpuint(ninfiles, <=, 1);
    g_assert_null(noutfiles);
    g_assert_null(outfiles);
    g_assert_cmpuint(flags, ==, 0);
    *result = qmp_peer_run(peer_of_domain, cmd, ninfiles > 0 ? infiles[0] : -1);
    return 0;
}

static void on_connected(gpointer data)
{
}

static void on_domain(const char *uuid, const char *name, int event, int detail, gpointer data)
{
}

static const VfVirconnEvents events = {on_connected, on_domain, NULL, on_connected};

static gint64 in(gint64 microseconds)
{
    return g_get_monotonic_time() + microseconds;
}

static gpointer run_test(gpointer data)
{
    Fixture *f = data;

    f->test(f);
    g_atomic_int_set(&f->ended, TRUE);
    g_main_context_wakeup(NULL);
    return NULL;
}

// As in the daemon: the caller is a worker, the main loop turns.
static void run_with(Fixture *f, const char *uri)
{
    f->virconn = vf_virconn_new(uri, &events, f);
    f->qmp = vf_qmp_libvirt_new(f->virconn, UUID, "web1");
    GThread *thread = g_thread_new("worker", run_test, f);
    while (!g_atomic_int_get(&f->ended))
        g_main_context_iteration(NULL, TRUE);
    g_thread_join(thread);
    // The last result, which nobody waited for, is delivered too.
    gint64 end = in(SHORT_US * 4);
    while (g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    vf_qmp_free(f->qmp);
    vf_virconn_free(f->virconn);
}

static void run(gconstpointer test)
{
    g_autoptr(GError) error = NULL;
    Fixture f = {.test = (void (*)(Fixture *))test};

    f.directory = g_dir_make_tmp("virtfn-qmp-XXXXXX", &error);
    g_assert_no_error(error);
    f.path = g_build_filename(f.directory, "monitor.sock", NULL);
    peer_of_domain = f.peer = qmp_peer_new(f.path);
    qmp_peer_add(f.peer, NET0, "0000:01:10.2");
    run_with(&f, "test:///default");
    qmp_peer_free(f.peer);
    unlink(f.path);
    g_assert_cmpint(rmdir(f.directory), ==, 0);
    g_free(f.path);
    g_free(f.directory);
}

static void assert_says(const GError *error, int code, const char *text)
{
    g_assert_error(error, VF_ERROR, code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, text));
}

static json_t *ask(Fixture *f, gint64 time, GError **error)
{
    return vf_qmp_execute(f->qmp, "query-commands", NULL, in(time), error);
}

static void assert_works(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    json_t *value = ask(f, PATIENCE_US, &error);

    g_assert_no_error(error);
    g_assert_true(json_is_array(value));
    json_decref(value);
}

static void refuse(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_order(f->peer, "query-commands", QMP_REFUSE, 1);
    g_assert_null(ask(f, PATIENCE_US, &error));
    assert_says(error, VF_ERROR_QMP, "domain 'web1': QEMU refuses query-commands (GenericError)");
    g_assert_cmpstr(vf_qmp_refused(f->qmp), ==, "GenericError");
    assert_works(f);
}

static void say_garbage(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_order(f->peer, "query-commands", QMP_GARBAGE, 1);
    g_assert_null(ask(f, PATIENCE_US, &error));
    assert_says(error, VF_ERROR_QMP, "domain 'web1': what came back is not an answer of QEMU");
    assert_works(f);
}

// Somebody's job holds the domain: the caller goes at its deadline, and the call ends by itself.
static void be_late(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    gint64 begin = g_get_monotonic_time();
    int pair[2];

    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    qmp_peer_order(f->peer, "getfd", QMP_STALL, 1);
    g_assert_false(vf_qmp_getfd(f->qmp, "a", pair[0], in(SHORT_US), &error));
    assert_says(error, VF_ERROR_LIBVIRT, "domain 'web1': libvirt did not answer in time");
    g_assert_cmpint(g_get_monotonic_time() - begin, <, SHORT_US + G_USEC_PER_SEC);
    g_clear_error(&error);
    // Queued behind it, and not begun any more when its turn comes.
    g_assert_null(ask(f, SHORT_US / 2, &error));
    assert_says(error, VF_ERROR_LIBVIRT, "did not answer in time");
    assert_works(f);
    g_assert_cmpuint(qmp_peer_count(f->peer, "query-commands"), ==, 1);
    g_assert_true(vf_qmp_closefd(f->qmp, "a", in(PATIENCE_US), NULL));
    close(pair[0]);
    close(pair[1]);
}

static void pause_and_resume(Fixture *f)
{
    VfPauseTarget target = {.id = NET0};
    g_autoptr(GError) error = NULL;
    struct stat status;
    VfPciAddr host;
    int pair[2];

    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    g_assert_cmpint(fstat(pair[0], &status), ==, 0);
    g_assert_true(vf_pciaddr_parse("0000:01:10.6", &host));
    g_assert_true(vf_pause_supported(f->qmp, in(PATIENCE_US), &error));
    qmp_peer_set_duration(f->peer, 50000);
    g_assert_true(vf_pause_devices(f->qmp, &target, 1, NULL, in(PATIENCE_US)));
    g_assert_cmpstr(qmp_peer_state(f->peer, NET0), ==, "paused");
    // No events come here: it is asked for.
    g_assert_cmpuint(qmp_peer_count(f->peer, "query-vfio-pause"), >, 2);
    g_assert_cmpuint(qmp_peer_count(f->peer, "query-vfio-pause"), <, 12);
    guint before = qmp_peer_open_fds();
    g_assert_true(vf_resume_device(f->qmp, NET0, &host, pair[0], VF_RESUME_SIGNAL_NONE,
                                   in(PATIENCE_US), &error));
    g_assert_no_error(error);
    g_assert_cmpstr(qmp_peer_state(f->peer, NET0), ==, "running");
    g_assert_cmpuint(qmp_peer_inode(f->peer, NET0), ==, status.st_ino);
    g_assert_cmpuint(qmp_peer_open_fds(), ==, before + 1); // the device's
    qmp_peer_set(f->peer, NET0, "paused", NULL);
    g_assert_cmpuint(qmp_peer_open_fds(), ==, before);
    qmp_peer_order(f->peer, "vfio-resume", QMP_REFUSE, 1);
    g_assert_false(vf_resume_device(f->qmp, NET0, &host, pair[0], VF_RESUME_SIGNAL_NONE,
                                    in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_QMP, "refuses vfio-resume");
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 0);
    g_assert_cmpuint(qmp_peer_open_fds(), ==, before);
    close(pair[0]);
    close(pair[1]);
}

static void lack_domain(Fixture *f)
{
    g_autoptr(VfQmp) qmp =
        vf_qmp_libvirt_new(f->virconn, "00000000-0000-0000-0000-000000000001", "web2");
    g_autoptr(GError) error = NULL;

    g_assert_null(vf_qmp_execute(qmp, "query-commands", NULL, in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_NOT_FOUND, "domain 'web2': libvirt: Domain not found");
    assert_works(f);
}

static void have_no_connection(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    int pair[2];

    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    g_assert_false(vf_qmp_getfd(f->qmp, "a", pair[0], in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_LIBVIRT, "no connection");
    g_clear_error(&error);
    g_assert_false(vf_qmp_getfd(f->qmp, "a", 1 << 20, in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_INTERNAL, "Bad file descriptor");
    close(pair[0]);
    close(pair[1]);
}

static void test_no_connection(void)
{
    Fixture f = {.test = have_no_connection};
    guint before = qmp_peer_open_fds();

    run_with(&f, "test:///nonexistent/file.xml");
    g_assert_cmpuint(qmp_peer_open_fds(), ==, before);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qmp-libvirt/refused", refuse, run);
    g_test_add_data_func("/qmp-libvirt/garbage", say_garbage, run);
    g_test_add_data_func("/qmp-libvirt/late", be_late, run);
    g_test_add_data_func("/qmp-libvirt/pause", pause_and_resume, run);
    g_test_add_data_func("/qmp-libvirt/no-domain", lack_domain, run);
    g_test_add_func("/qmp-libvirt/no-connection", test_no_connection);
    return g_test_run();
}
