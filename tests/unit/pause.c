// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pause and resume over a guest's socket, against a scripted QEMU: both directions, what is done
// already, what fails for one device of several, and each step going wrong once on the way.

#include "pause.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/qmp-peer.h"
#include "error.h"

#define PATIENCE_US (10 * G_USEC_PER_SEC)
#define SHORT_US (200 * 1000)
#define NET0 "ua-virtfn-net0"
#define NET1 "ua-virtfn-net1"
#define OLD "0000:01:10.2"
#define NEW "0000:01:10.6"

typedef struct {
    char *directory, *path;
    QmpPeer *peer;
    VfQmp *qmp;
    int group; // stands for an open VFIO group
    ino_t inode;
    VfPciAddr host;
    guint fds;
} Fixture;

static gint64 in(gint64 microseconds)
{
    return g_get_monotonic_time() + microseconds;
}

static void set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    struct stat status;
    int pair[2];

    f->fds = qmp_peer_open_fds();
    f->directory = g_dir_make_tmp("virtfn-pause-XXXXXX", &error);
    g_assert_no_error(error);
    f->path = g_build_filename(f->directory, "monitor.sock", NULL);
    f->peer = qmp_peer_new(f->path);
    qmp_peer_add(f->peer, NET0, OLD);
    qmp_peer_add(f->peer, NET1, "0000:01:10.4");
    f->qmp = vf_qmp_connect(f->path, "web1", in(PATIENCE_US), &error);
    g_assert_no_error(error);
    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    close(pair[1]);
    f->group = pair[0];
    g_assert_cmpint(fstat(f->group, &status), ==, 0);
    f->inode = status.st_ino;
    g_assert_true(vf_pciaddr_parse(NEW, &f->host));
}

static void tear_down(Fixture *f, gconstpointer data)
{
    vf_qmp_free(f->qmp);
    qmp_peer_free(f->peer);
    close(f->group);
    unlink(f->path);
    g_assert_cmpint(rmdir(f->directory), ==, 0);
    g_free(f->directory);
    g_free(f->path);
    g_assert_cmpuint(qmp_peer_open_fds(), ==, f->fds);
}

static void assert_says(const GError *error, int code, const char *text)
{
    g_assert_error(error, VF_ERROR, code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, "domain 'web1'"));
    g_assert_nonnull(strstr(error->message, text));
    g_assert_null(strchr(error->message, '\n'));
}

static void assert_state(Fixture *f, const char *id, const char *state)
{
    g_assert_cmpstr(qmp_peer_state(f->peer, id), ==, state);
}

static void assert_arguments(Fixture *f, const char *command, const char *expected)
{
    g_autofree char *arguments = qmp_peer_arguments(f->peer, command);

    g_assert_cmpstr(arguments, ==, expected);
}

// ---- query

static void test_query(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_set(f->peer, NET1, "paused", "no luck");
    g_autoptr(GPtrArray) infos = vf_pause_query(f->qmp, in(PATIENCE_US), &error);
    g_assert_no_error(error);
    g_assert_cmpuint(infos->len, ==, 2);
    const VfPauseInfo *first = g_ptr_array_index(infos, 0), *second = g_ptr_array_index(infos, 1);
    g_assert_cmpstr(first->id, ==, NET0);
    g_assert_cmpstr(first->qom_path, ==, "/machine/peripheral/" NET0);
    g_assert_cmpint(first->state, ==, VF_PAUSE_RUNNING);
    g_assert_cmpstr(first->host_device, ==, OLD);
    g_assert_null(first->error);
    g_assert_cmpint(second->state, ==, VF_PAUSE_PAUSED);
    g_assert_cmpuint(second->paused_ns, ==, 1234);
    g_assert_cmpuint(second->accesses, ==, 5);
    g_assert_cmpstr(second->error, ==, "no luck");
    g_assert_cmpstr(vf_pause_state_word(second->state), ==, "paused");
}

static void test_query_odd(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_order(f->peer, "query-vfio-pause", QMP_ODD, 1);
    g_assert_null(vf_pause_query(f->qmp, in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_QMP, "answers query-vfio-pause with something else");
}

static void test_supported(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(vf_pause_supported(f->qmp, in(PATIENCE_US), &error));
    qmp_peer_order(f->peer, "query-commands", QMP_REFUSE, 1);
    g_assert_false(vf_pause_supported(f->qmp, in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_QMP, "refuses query-commands");
    g_clear_error(&error);
    qmp_peer_make_stock(f->peer);
    g_assert_false(vf_pause_supported(f->qmp, in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_STATE, "its QEMU cannot pause devices");
}

// ---- pause

static gboolean pause_both(Fixture *f, VfPauseTarget *targets, gint64 time)
{
    targets[0] = (VfPauseTarget){.id = NET0};
    targets[1] = (VfPauseTarget){.id = NET1};
    return vf_pause_devices(f->qmp, targets, 2, NULL, in(time));
}

static void assert_both_paused(Fixture *f)
{
    VfPauseTarget targets[2];

    g_assert_true(pause_both(f, targets, PATIENCE_US));
    for (guint i = 0; i < 2; i++) {
        g_assert_no_error(targets[i].error);
        g_assert_cmpint(targets[i].state, ==, VF_PAUSE_PAUSED);
        assert_state(f, targets[i].id, "paused");
    }
}

static void test_pause(Fixture *f, gconstpointer data)
{
    gint64 begin = g_get_monotonic_time();

    // One after the other it would take twice as long.
    qmp_peer_set_duration(f->peer, G_USEC_PER_SEC);
    assert_both_paused(f);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 2 * G_USEC_PER_SEC);
    g_assert_cmpuint(qmp_peer_count(f->peer, "vfio-pause"), ==, 2);
    assert_arguments(f, "vfio-pause", "{\"id\": \"" NET1 "\"}");
    assert_both_paused(f);
    g_assert_cmpuint(qmp_peer_count(f->peer, "vfio-pause"), ==, 2);
    g_assert_true(vf_pause_devices(f->qmp, NULL, 0, NULL, in(0)));
}

// The end of a pause is known from its event: no second question is asked.
static void test_pause_by_event(Fixture *f, gconstpointer data)
{
    assert_both_paused(f);
    g_assert_cmpuint(qmp_peer_count(f->peer, "query-vfio-pause"), ==, 1);
}

static void test_policy(Fixture *f, gconstpointer data)
{
    VfPauseTarget target = {.id = NET0};
    VfPausePolicy policy = {VF_PAUSE_ACCESS_HOLD, 1500};

    g_assert_true(vf_pause_devices(f->qmp, &target, 1, &policy, in(PATIENCE_US)));
    assert_arguments(f, "vfio-pause",
                     "{\"access\": \"hold\", \"hold-ms\": 1500, \"id\": \"" NET0 "\"}");
    assert_state(f, NET1, "running");
    target = (VfPauseTarget){.id = "/machine/peripheral/" NET1};
    policy = (VfPausePolicy){VF_PAUSE_ACCESS_IGNORE, 0};
    g_assert_true(vf_pause_devices(f->qmp, &target, 1, &policy, in(PATIENCE_US)));
    assert_arguments(f, "vfio-pause",
                     "{\"access\": \"ignore\", \"id\": \"/machine/peripheral/" NET1 "\"}");
    assert_state(f, NET1, "paused");
}

// Others' transitions: the one that goes our way is waited for, and so is the one that does not.
static void test_pause_under_way(Fixture *f, gconstpointer data)
{
    qmp_peer_set_duration(f->peer, SHORT_US);
    qmp_peer_begin(f->peer, NET0, "pausing");
    qmp_peer_begin(f->peer, NET1, "resuming");
    assert_both_paused(f);
    g_assert_cmpuint(qmp_peer_count(f->peer, "vfio-pause"), ==, 1);
    assert_arguments(f, "vfio-pause", "{\"id\": \"" NET1 "\"}");
}

static void test_partial(Fixture *f, gconstpointer data)
{
    VfPauseTarget targets[] = {{.id = NET0}, {.id = "ua-virtfn-none"}, {.id = NET1}, {.id = "n2"}};

    qmp_peer_add(f->peer, "n2", OLD);
    qmp_peer_order(f->peer, "vfio-pause", QMP_REFUSE, 1);
    qmp_peer_order(f->peer, "vfio-pause", QMP_FAIL_LATER, 1);
    g_assert_false(vf_pause_devices(f->qmp, targets, 4, NULL, in(PATIENCE_US)));
    assert_says(targets[0].error, VF_ERROR_QMP,
                "device '" NET0
                "': domain 'web1': QEMU refuses vfio-pause (GenericError): made to");
    g_assert_cmpint(targets[0].state, ==, VF_PAUSE_RUNNING);
    assert_says(targets[1].error, VF_ERROR_NOT_FOUND, "'ua-virtfn-none': the guest has no such");
    g_assert_cmpint(targets[1].state, ==, VF_PAUSE_UNKNOWN);
    assert_says(targets[2].error, VF_ERROR_QMP,
                "'" NET1 "': stays running: cannot close?the group");
    g_assert_cmpint(targets[2].state, ==, VF_PAUSE_RUNNING);
    g_assert_no_error(targets[3].error);
    assert_state(f, "n2", "paused");
    for (guint i = 0; i < G_N_ELEMENTS(targets); i++)
        g_clear_error(&targets[i].error);
    // What failed once can be asked for again, whatever reason QEMU still shows.
    assert_both_paused(f);
}

static void test_lost_event(Fixture *f, gconstpointer data)
{
    gint64 begin = g_get_monotonic_time();

    qmp_peer_order(f->peer, "vfio-pause", QMP_LOSE_EVENT, 2);
    assert_both_paused(f);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 2 * G_USEC_PER_SEC);
}

static void test_pause_hangs(Fixture *f, gconstpointer data)
{
    VfPauseTarget targets[2];
    gint64 begin = g_get_monotonic_time();

    qmp_peer_order(f->peer, "vfio-pause", QMP_HANG, 1);
    g_assert_false(pause_both(f, targets, SHORT_US));
    g_assert_cmpint(g_get_monotonic_time() - begin, <, SHORT_US + G_USEC_PER_SEC);
    assert_says(targets[0].error, VF_ERROR_QMP, "pausing when the time was over, not paused");
    g_assert_cmpint(targets[0].state, ==, VF_PAUSE_PAUSING);
    g_assert_no_error(targets[1].error);
    g_clear_error(&targets[0].error);
    // And without any time nothing is begun.
    qmp_peer_set(f->peer, NET1, "running", NULL);
    g_assert_false(pause_both(f, targets, 0));
    assert_says(targets[1].error, VF_ERROR_QMP, "unknown when the time was over, not paused");
    assert_state(f, NET1, "running");
    g_clear_error(&targets[0].error);
    g_clear_error(&targets[1].error);
}

// ---- each step goes wrong once

// Faults after which QEMU can be asked again at once.
static const QmpFault passing[] = {QMP_CLOSE_BEFORE, QMP_CLOSE_AFTER, QMP_CLOSE_HALF, QMP_GARBAGE,
                                   QMP_ARRAY,        QMP_OTHER_KIND,  QMP_OTHER_ID,   QMP_HUGE,
                                   QMP_ENDLESS,      QMP_SPLIT,       QMP_BETWEEN};

static void test_pause_faults(Fixture *f, gconstpointer data)
{
    static const char *const steps[] = {"query-vfio-pause", "vfio-pause"};

    for (guint step = 0; step < G_N_ELEMENTS(steps); step++) {
        for (guint i = 0; i < G_N_ELEMENTS(passing); i++) {
            g_test_message("%s, fault %d", steps[step], passing[i]);
            qmp_peer_set(f->peer, NET0, "running", NULL);
            qmp_peer_set(f->peer, NET1, "running", NULL);
            qmp_peer_order(f->peer, steps[step], passing[i], 1);
            assert_both_paused(f);
        }
    }
}

// The connection goes while the end is awaited, and each new one goes wrong once.
static void test_reconnect_faults(Fixture *f, gconstpointer data)
{
    for (guint i = 0; i < G_N_ELEMENTS(passing); i++) {
        if (passing[i] == QMP_OTHER_ID)
            continue; // a greeting has none
        qmp_peer_set(f->peer, NET0, "running", NULL);
        qmp_peer_set(f->peer, NET1, "running", NULL);
        qmp_peer_hang_up(f->peer);
        qmp_peer_order(f->peer, "greeting", passing[i], 1);
        assert_both_paused(f);
    }
}

static void test_gives_up(Fixture *f, gconstpointer data)
{
    VfPauseTarget targets[2];
    gint64 begin = g_get_monotonic_time();

    qmp_peer_order(f->peer, "vfio-pause", QMP_CLOSE_BEFORE, 1000);
    g_assert_false(pause_both(f, targets, PATIENCE_US));
    // Long before the deadline: somebody waits for the other guests.
    g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_US / 2);
    for (guint i = 0; i < 2; i++) {
        assert_says(targets[i].error, VF_ERROR_QMP, "closed the connection");
        g_clear_error(&targets[i].error);
    }
    g_assert_cmpuint(qmp_peer_count(f->peer, "vfio-pause"), <, 10);
}

static void test_stalls(Fixture *f, gconstpointer data)
{
    static const QmpFault stalling[] = {QMP_STALL, QMP_FLOOD, QMP_DRIP};

    for (guint i = 0; i < G_N_ELEMENTS(stalling); i++) {
        VfPauseTarget targets[2];
        gint64 begin = g_get_monotonic_time();

        qmp_peer_set(f->peer, NET0, "running", NULL);
        qmp_peer_order(f->peer, "vfio-pause", stalling[i], 1);
        g_assert_false(pause_both(f, targets, SHORT_US));
        g_assert_cmpint(g_get_monotonic_time() - begin, <, SHORT_US + G_USEC_PER_SEC);
        assert_says(targets[0].error, VF_ERROR_QMP, "did not answer vfio-pause in time");
        g_clear_error(&targets[0].error);
        g_clear_error(&targets[1].error);
        assert_both_paused(f);
    }
}

static void test_without_extension(Fixture *f, gconstpointer data)
{
    VfPauseTarget targets[2];

    qmp_peer_make_stock(f->peer);
    g_assert_false(pause_both(f, targets, PATIENCE_US));
    for (guint i = 0; i < 2; i++) {
        assert_says(targets[i].error, VF_ERROR_QMP, "refuses query-vfio-pause (CommandNotFound)");
        g_clear_error(&targets[i].error);
    }
}

// ---- resume

static gboolean resume(Fixture *f, gint64 time, GError **error)
{
    return vf_resume_device(f->qmp, NET0, &f->host, f->group, VF_RESUME_SIGNAL_NONFATAL, in(time),
                            error);
}

static void assert_resumes(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(resume(f, PATIENCE_US, &error));
    g_assert_no_error(error);
    assert_state(f, NET0, "running");
    g_assert_cmpuint(qmp_peer_inode(f->peer, NET0), ==, f->inode);
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 0);
    g_assert_cmpint(fcntl(f->group, F_GETFD), ==, FD_CLOEXEC);
}

static void test_resume(Fixture *f, gconstpointer data)
{
    qmp_peer_set(f->peer, NET0, "paused", NULL);
    assert_resumes(f);
    assert_arguments(f, "vfio-resume",
                     "{\"fd\": \"virtfn-" NET0 "\", \"host-device\": \"" NEW "\", \"id\": \"" NET0
                     "\", \"signal\": \"nonfatal\"}");
    // It runs there already.
    assert_resumes(f);
    g_assert_cmpuint(qmp_peer_count(f->peer, "getfd"), ==, 1);
    g_assert_cmpuint(qmp_peer_count(f->peer, "closefd"), ==, 0);
}

static void test_resume_unsignalled(Fixture *f, gconstpointer data)
{
    qmp_peer_make_unsignalled(f->peer);
    qmp_peer_set(f->peer, NET0, "paused", NULL);
    assert_resumes(f);
    assert_arguments(f, "vfio-resume",
                     "{\"fd\": \"virtfn-" NET0 "\", \"host-device\": \"" NEW "\", \"id\": \"" NET0
                     "\"}");
}

// Both at the same time: the one that never ends takes nothing from the other.
static void test_resume_two(Fixture *f, gconstpointer data)
{
    VfResumeTarget targets[] = {{.id = NET0, .group_fd = f->group}, {.id = NET1, .group_fd = -1}};

    qmp_peer_set(f->peer, NET0, "paused", NULL);
    qmp_peer_set(f->peer, NET1, "paused", NULL);
    qmp_peer_order(f->peer, "vfio-resume", QMP_HANG, 1);
    g_assert_false(vf_resume_devices(f->qmp, targets, 2, in(SHORT_US)));
    assert_says(targets[0].error, VF_ERROR_QMP, "resuming when the time was over, not running");
    g_assert_no_error(targets[1].error);
    assert_state(f, NET0, "resuming");
    assert_state(f, NET1, "running");
    g_assert_cmpuint(qmp_peer_count(f->peer, "vfio-resume"), ==, 2);
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 0);
    g_error_free(targets[0].error);
}

static void test_resume_plain(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_set(f->peer, NET0, "paused", NULL);
    g_assert_true(
        vf_resume_device(f->qmp, NET0, NULL, -1, VF_RESUME_SIGNAL_NONE, in(PATIENCE_US), &error));
    assert_arguments(f, "vfio-resume", "{\"id\": \"" NET0 "\"}");
    g_assert_cmpuint(qmp_peer_count(f->peer, "getfd"), ==, 0);
    g_assert_true(
        vf_resume_device(f->qmp, NET0, NULL, -1, VF_RESUME_SIGNAL_FATAL, in(PATIENCE_US), &error));
    g_assert_cmpuint(qmp_peer_count(f->peer, "vfio-resume"), ==, 1);
}

static void test_resume_elsewhere(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(resume(f, PATIENCE_US, &error));
    assert_says(error, VF_ERROR_STATE, "it runs already, on '" OLD "' and not on " NEW);
    g_clear_error(&error);
    g_assert_false(vf_resume_device(f->qmp, "x", &f->host, f->group, VF_RESUME_SIGNAL_NONE,
                                    in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_NOT_FOUND, "'x': the guest has no such VFIO device");
    g_clear_error(&error);
    // Named by its place in sysfs it is the same function; unnamed it may be any.
    qmp_peer_add(f->peer, "s", "/sys/bus/pci/devices/" NEW);
    g_assert_true(vf_resume_device(f->qmp, "s", &f->host, -1, VF_RESUME_SIGNAL_NONE,
                                   in(PATIENCE_US), &error));
    qmp_peer_add(f->peer, "u", NULL);
    g_assert_false(vf_resume_device(f->qmp, "u", &f->host, -1, VF_RESUME_SIGNAL_NONE,
                                    in(PATIENCE_US), &error));
    assert_says(error, VF_ERROR_STATE, "it runs already, on '?'");
    g_assert_cmpuint(qmp_peer_count(f->peer, "getfd"), ==, 0);
}

static void test_resume_under_way(Fixture *f, gconstpointer data)
{
    qmp_peer_set_duration(f->peer, SHORT_US);
    qmp_peer_begin(f->peer, NET0, "pausing");
    assert_resumes(f);
    qmp_peer_begin(f->peer, NET0, "resuming");
    assert_resumes(f);
    g_assert_cmpuint(qmp_peer_count(f->peer, "vfio-resume"), ==, 1);
}

static void test_resume_refused(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_set(f->peer, NET0, "paused", NULL);
    guint before = qmp_peer_open_fds();
    qmp_peer_order(f->peer, "vfio-resume", QMP_REFUSE, 1);
    g_assert_false(resume(f, PATIENCE_US, &error));
    assert_says(error, VF_ERROR_QMP, "refuses vfio-resume (GenericError): made to refuse");
    // Nothing keeps the group busy.
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 0);
    g_assert_cmpuint(qmp_peer_open_fds(), ==, before);
    g_clear_error(&error);
    qmp_peer_order(f->peer, "getfd", QMP_REFUSE, 1);
    g_assert_false(resume(f, PATIENCE_US, &error));
    assert_says(error, VF_ERROR_QMP, "refuses getfd");
    assert_state(f, NET0, "paused");
    assert_resumes(f);
}

static void test_resume_fails(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_set(f->peer, NET0, "paused", NULL);
    qmp_peer_order(f->peer, "vfio-resume", QMP_FAIL_LATER, 1);
    g_assert_false(resume(f, PATIENCE_US, &error));
    assert_says(error, VF_ERROR_QMP, "device '" NET0 "': stays paused: region 0 has another size");
    assert_state(f, NET0, "paused");
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 0);
    assert_resumes(f);
}

// An event of the last attempt that is read late is not the end of this one.
static void test_stale_event(Fixture *f, gconstpointer data)
{
    qmp_peer_set(f->peer, NET0, "paused", "an old failure");
    qmp_peer_say(f->peer, "{\"event\":\"VFIO_PAUSE_STATE\",\"data\":{\"device-id\":\"" NET0
                          "\",\"qom-path\":\"/x\",\"state\":\"running\"}}\n"
                          "{\"event\":\"VFIO_PAUSE_STATE\",\"data\":{\"device-id\":\"" NET0
                          "\",\"qom-path\":\"/x\",\"state\":\"paused\",\"error\":\"old\"}}\n");
    assert_resumes(f);
}

// Events that are not what they should be do not tell anything.
static void test_odd_event(Fixture *f, gconstpointer data)
{
    qmp_peer_set(f->peer, NET0, "paused", NULL);
    qmp_peer_set_duration(f->peer, SHORT_US);
    qmp_peer_say(f->peer,
                 "{\"event\":\"VFIO_PAUSE_STATE\"}\n"
                 "{\"event\":\"VFIO_PAUSE_STATE\",\"data\":{\"device-id\":3,\"state\":\"running\"}}"
                 "\n{\"event\":\"VFIO_PAUSE_STATE\",\"data\":{\"device-id\":\"" NET0
                 "\",\"state\":\"\"}}\n");
    assert_resumes(f);
}

static void test_resume_faults(Fixture *f, gconstpointer data)
{
    static const char *const steps[] = {"query-vfio-pause", "getfd", "vfio-resume"};

    for (guint step = 0; step < G_N_ELEMENTS(steps); step++) {
        for (guint i = 0; i < G_N_ELEMENTS(passing); i++) {
            g_test_message("%s, fault %d", steps[step], passing[i]);
            qmp_peer_set(f->peer, NET0, "paused", NULL);
            qmp_peer_order(f->peer, steps[step], passing[i], 1);
            assert_resumes(f);
        }
    }
}

// The descriptor arrived, the command never did: it is taken back when there is time for it, and
// otherwise the next attempt's takes its place.
static void test_resume_gives_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_set(f->peer, NET0, "paused", NULL);
    qmp_peer_order(f->peer, "vfio-resume", QMP_CLOSE_BEFORE, 4);
    g_assert_false(resume(f, PATIENCE_US, &error));
    assert_says(error, VF_ERROR_QMP, "closed the connection");
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 0);
    g_clear_error(&error);
    qmp_peer_order(f->peer, "getfd", QMP_STALL, 1);
    g_assert_false(resume(f, SHORT_US, &error));
    assert_says(error, VF_ERROR_QMP, "did not answer getfd in time");
    g_assert_cmpuint(qmp_peer_named(f->peer), ==, 1);
    assert_resumes(f);
}

static void test_resume_hangs(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_set(f->peer, NET0, "paused", NULL);
    qmp_peer_order(f->peer, "vfio-resume", QMP_HANG, 1);
    g_assert_false(resume(f, SHORT_US, &error));
    assert_says(error, VF_ERROR_QMP, "resuming when the time was over, not running");
}

int main(int argc, char **argv)
{
#define ADD(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    g_test_init(&argc, &argv, NULL);
    ADD("/pause/query/members", test_query);
    ADD("/pause/query/odd", test_query_odd);
    ADD("/pause/query/supported", test_supported);
    ADD("/pause/pause/both", test_pause);
    ADD("/pause/pause/by-event", test_pause_by_event);
    ADD("/pause/pause/policy", test_policy);
    ADD("/pause/pause/under-way", test_pause_under_way);
    ADD("/pause/pause/partial", test_partial);
    ADD("/pause/pause/lost-event", test_lost_event);
    ADD("/pause/pause/hangs", test_pause_hangs);
    ADD("/pause/pause/faults", test_pause_faults);
    ADD("/pause/pause/reconnect-faults", test_reconnect_faults);
    ADD("/pause/pause/gives-up", test_gives_up);
    ADD("/pause/pause/stalls", test_stalls);
    ADD("/pause/pause/without-extension", test_without_extension);
    ADD("/pause/resume/done", test_resume);
    ADD("/pause/resume/two", test_resume_two);
    ADD("/pause/resume/plain", test_resume_plain);
    ADD("/pause/resume/elsewhere", test_resume_elsewhere);
    ADD("/pause/resume/under-way", test_resume_under_way);
    ADD("/pause/resume/refused", test_resume_refused);
    ADD("/pause/resume/fails", test_resume_fails);
    ADD("/pause/resume/unsignalled", test_resume_unsignalled);
    ADD("/pause/resume/stale-event", test_stale_event);
    ADD("/pause/resume/odd-event", test_odd_event);
    ADD("/pause/resume/faults", test_resume_faults);
    ADD("/pause/resume/gives-up", test_resume_gives_up);
    ADD("/pause/resume/hangs", test_resume_hangs);
    return g_test_run();
}
