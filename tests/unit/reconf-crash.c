// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every point of a reconf (tests/lib/fakepoint.c): it is killed there with -9, the helper is, the
// reconf dies and the helper goes on, the call fails once. On the way to the new configuration, on
// the way back, and in the recovery of a killed one. Whichever it is, what follows ends in the old
// or the new configuration with each guest running on its function, no journal and nothing beside
// it, every removal fenced, and sriov_drivers_autoprobe as it was.
//
// The cases are what one undisturbed run of each way goes through; `-l` lists them by name.
// VIRTFN_CRASH_EVERY=10 takes each tenth only.

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/crew.h"
#include "../lib/fake.h"
#include "../lib/owners.h"
#include "error.h"
#include "reconf.h"
#include "sriov.h"

#define PF_TEXT "0000:01:00.0"
#define PF_DIR "/sys/bus/pci/devices/" PF_TEXT "/"
#define OWNERS 3
#define FROM OWNERS
#define TO 5
#define DEADLINE_MS 30000

static const VfPciAddr pf = {0, 1, 0, 0};
static char *root, *journals, *helper, *card;
static char *sockets[OWNERS_GUESTS];
static Crew *crew;

// ---- the host and its guests: guest 0 has functions 0 and 2, guest 1 has function 1

static VfReconf *plan(guint to)
{
    VfReconf *reconf = vf_reconf_new(&pf, vf_sriov_count(root, &pf), to);

    reconf->program = g_strdup(card);
    reconf->bitstream = g_strdup("/none");
    owners_add(reconf, OWNERS, sockets);
    return reconf;
}

static void put(const char *path, const char *text)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(full, text, -1, &error);
    g_assert_no_error(error);
}

static void drop(const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);

    g_unlink(full);
}

// The program that flashes the card.
static void write_card(const char *order)
{
    g_autofree char *script = g_strdup_printf("#!/bin/sh\n%s\n", order);

    g_unlink(card);
    g_assert_true(g_file_set_contents_full(card, script, -1, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
}

// ---- runs in a process of their own

typedef enum { RECONFIGURE, RECOVER } Task;

static void tell_step(VfReconfStep step, const char *event, const char *owner, gpointer data)
{
    g_autofree char *line = g_strdup_printf("step %s", vf_reconf_step_word(step));

    if (strcmp(event, "begin") == 0 && fake_exists(root, "/.points"))
        fake_append(root, "/.trace", line);
}

static VfReconfOutcome act(Task task, guint to, GError **error)
{
    VfReconfHost host = {.root = root,
                         .helper = helper,
                         .journals = journals,
                         .pause_ms = DEADLINE_MS,
                         .resume_ms = DEADLINE_MS,
                         .tell = tell_step};
    g_autoptr(VfReconf) reconf = task == RECOVER ? vf_reconf_load(journals, &pf, error) : plan(to);

    if (*error != NULL)
        return VF_RECONF_STUCK;
    // No journal is what a run that was killed before the first, or after the last, leaves.
    if (reconf == NULL)
        return VF_RECONF_DONE;
    return task == RECOVER ? vf_reconf_recover(reconf, &host, NULL, error)
                           : vf_reconf_run(reconf, &host, NULL, error);
}

// The wait status of a process that does it, with these orders (NULL = none) for its points; what
// it said is in *said.
static int run(Task task, guint to, const char *orders, char **said)
{
    int status, fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        GError *error = NULL;

        if (orders != NULL)
            put("/.points", orders);
        VfReconfOutcome outcome = act(task, to, &error);
        if (error != NULL)
            dprintf(fds[1], "%s", error->message);
        _exit((int)outcome);
    }
    close(fds[1]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    drop("/.points");
    // A helper that goes on has the other end, unless it closed it; nobody writes any more.
    char text[4096] = "";
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    ssize_t length = read(fds[0], text, sizeof(text) - 1);
    text[MAX(length, 0)] = '\0';
    close(fds[0]);
    g_free(*said);
    *said = g_strdup(text);
    return status;
}

static gboolean was_killed(int status)
{
    g_assert_true(WIFEXITED(status) || WTERMSIG(status) == SIGKILL);
    return WIFSIGNALED(status);
}

// Undisturbed, to its end.
static void run_to_end(Task task, guint to)
{
    g_autofree char *said = NULL;
    int status = run(task, to, NULL, &said);

    if (was_killed(status) || WEXITSTATUS(status) == VF_RECONF_STUCK)
        g_error("it did not end (%x): %s", status, said);
}

// ---- ways through a reconf, and their points

typedef enum { FORWARD, BACK, RECOVERY, WAYS } Way;

static const char *const way_words[] = {"forward", "back", "recovery"};

// What makes it go back: the last owner's function cannot be bound.
#define FAULT_POINT "before write drivers_probe 0000:01:10.4"
#define FAULT "EIO 1 " FAULT_POINT "\n"
// What has to be recovered: killed with the new functions there, and none of them ready.
#define WRECK "orphan 1 numvfs: after write " PF_TEXT "/sriov_numvfs 5\n"

typedef struct {
    Way way;
    const char *action;
    guint nth;
    char *point;
} Case;

static GPtrArray *cases;
static guint reached, missed;
static gint64 slowest;

static void prepare(Way way)
{
    g_autofree char *said = NULL;

    if (vf_sriov_count(root, &pf) != FROM)
        run_to_end(RECONFIGURE, FROM);
    drop("/.trace");
    put("/.log", "");
    if (way == RECOVERY) {
        g_assert_true(was_killed(run(RECONFIGURE, TO, WRECK, &said)));
        drop("/.trace");
    }
}

static int run_way(Way way, const char *order, char **said)
{
    g_autofree char *orders = g_strconcat(way == BACK ? FAULT : "", order, NULL);

    return run(way == RECOVERY ? RECOVER : RECONFIGURE, TO, orders, said);
}

static void assert_settled(const char *said)
{
    g_autofree char *autoprobe = fake_read(root, PF_DIR "sriov_drivers_autoprobe");
    g_autofree char *log = fake_read(root, "/.log");
    g_autoptr(GDir) left = g_dir_open(journals, 0, NULL);
    const char *name = left != NULL ? g_dir_read_name(left) : NULL;
    guint count = vf_sriov_count(root, &pf);

    // What was being written and nobody believed: the next one is written over it.
    if (g_strcmp0(name, PF_TEXT ".json.new") == 0)
        name = g_dir_read_name(left);
    if (name != NULL)
        g_error("%s is left; %s", name, said);
    if (count != FROM && count != TO)
        g_error("there are %u functions; %s", count, said);
    if (strcmp(autoprobe, "1") != 0)
        g_error("sriov_drivers_autoprobe is %s; %s", autoprobe, said);
    if (strstr(log, "unfenced") != NULL)
        g_error("a function was removed that was not fenced; %s", said);
    for (guint i = 0; i < OWNERS; i++) {
        VfPciAddr address = fake_igb_vf(&pf, i);
        g_autofree char *id = owners_id(i), *driver = vf_sriov_driver(root, &address);
        g_autofree char *state = crew_state(crew, owners_guest(i), id);

        if (strcmp(state, "running") != 0 || g_strcmp0(driver, "vfio-pci") != 0 ||
            vf_sriov_check_unused(root, &address, NULL))
            g_error("function %u is %s, its driver is %s; %s", i, state,
                    driver != NULL ? driver : "none", said);
        g_autofree char *methods = vf_sriov_reset_methods(root, &address);
        if (g_strcmp0(methods, "flr") != 0)
            g_error("function %u can be reset by %s; %s", i, methods != NULL ? methods : "nothing",
                    said);
    }
    for (guint i = 0; i < OWNERS_GUESTS; i++)
        g_assert_cmpuint(crew_named(crew, i), ==, 0);
}

static void test_point(gconstpointer data)
{
    const Case *c = data;
    g_autofree char *order = g_strdup_printf("%s %u %s\n", c->action, c->nth, c->point);
    g_autofree char *said = NULL;

    prepare(c->way);
    int status = run_way(c->way, order, &said);
    gboolean killed = was_killed(status);
    gint64 begin = g_get_monotonic_time();

    // Where one call fails once, ending is the reconf's own business, or that of the next recovery.
    if (killed || WEXITSTATUS(status) == VF_RECONF_STUCK) {
        run_to_end(RECOVER, 0);
        slowest = MAX(slowest, g_get_monotonic_time() - begin);
    }
    assert_settled(said);
    if (strcmp(c->action, "kill") == 0 || strcmp(c->action, "orphan") == 0) {
        gboolean engine = strstr(c->point, ": ") == NULL || strcmp(c->action, "orphan") == 0;

        reached += !engine || killed;
        missed += engine && !killed;
    }
}

// ---- the list

static const char *errno_for(const char *point)
{
    static const char *const errors[][2] = {
        {"before read ", "EMFILE"},      {"before list ", "EMFILE"},   {"before make ", "EMFILE"},
        {"before fork ", "EAGAIN"},      {"before follow ", "ENOMEM"}, {"before create ", "ENOSPC"},
        {"before send ", "EPIPE"},       {"before claim ", "EMFILE"},  {"before rename ", "ENOSPC"},
        {"before answer ", "ECONNRESET"}};

    for (gsize i = 0; i < G_N_ELEMENTS(errors); i++)
        if (strstr(point, errors[i][0]) != NULL)
            return errors[i][1];
    return "EIO";
}

// Where nothing has changed since the last point there is nothing to be killed between.
static gboolean changes_nothing(const char *point)
{
    static const char *const calls[] = {"before read ", "before list ", "before follow ",
                                        "before make ", "before fork ", "before answer ",
                                        "before open ", "before sync ", "send query-",
                                        "answer query", "capabilities"};

    for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
        if (strstr(point, calls[i]) != NULL)
            return TRUE;
    return FALSE;
}

static void add_case(Way way, const char *step, const char *action, guint nth, const char *point)
{
    const char *every = g_getenv("VIRTFN_CRASH_EVERY");
    Case *c = g_new(Case, 1);

    *c = (Case){way, action, nth, g_strdup(point)};
    g_ptr_array_add(cases, c);
    if (every != NULL && cases->len % (guint)strtoul(every, NULL, 10) != 0)
        return;
    g_autofree char *object = g_strdelimit(g_strdup(point), "/", '+');
    g_autofree char *times = nth > 1 ? g_strdup_printf(" (%u)", nth) : g_strdup("");
    g_autofree char *name = g_strdup_printf("/reconf-crash/%s/%s: %s %s%s", way_words[way], step,
                                            action, object, times);
    g_test_add_data_func(name, c, test_point);
}

static void add_cases(Way way, const char *step, guint nth, const char *point)
{
    gboolean before = strstr(point, "before ") != NULL;
    gboolean of_helper = strstr(point, ": ") != NULL;

    if (!changes_nothing(point)) {
        add_case(way, step, "kill", nth, point);
        if (of_helper)
            add_case(way, step, "orphan", nth, point);
    }
    if (before && strstr(point, " run it") == NULL)
        add_case(way, step, errno_for(point), nth, point);
}

static void list_points(Way way)
{
    g_autoptr(GHashTable) counts = g_hash_table_new(g_str_hash, g_str_equal);
    g_autofree char *said = NULL, *step = g_strdup("begin");
    gboolean listed = way != BACK;

    prepare(way);
    int status = run_way(way, "", &said);
    g_assert_cmpint(status, ==, way == BACK ? VF_RECONF_UNDONE << 8 : VF_RECONF_DONE << 8);
    g_autofree char *trace = fake_read(root, "/.trace");
    g_auto(GStrv) lines = g_strsplit(trace, "\n", 0);
    for (char **line = lines; *line != NULL; line++) {
        guint nth = GPOINTER_TO_UINT(g_hash_table_lookup(counts, *line)) + 1;

        g_hash_table_insert(counts, *line, GUINT_TO_POINTER(nth));
        if (g_str_has_prefix(*line, "step ")) {
            g_free(step);
            step = g_strdup(*line + strlen("step "));
        } else if (listed) {
            add_cases(way, step, nth, *line);
        }
        listed |= strcmp(*line, FAULT_POINT) == 0;
    }
}

// How often QEMU is asked may differ from run to run, and nothing else.
static void test_all_reached(void)
{
    g_test_message("%u points, %u cases; the longest recovery took %" G_GINT64_FORMAT " ms",
                   reached + missed, cases->len, slowest / G_TIME_SPAN_MILLISECOND);
    if (g_getenv("VIRTFN_CRASH_EVERY") == NULL && reached + missed > 0)
        g_assert_cmpuint(reached, >=, 40);
    g_assert_cmpuint(missed * 20, <=, reached);
}

// ---- the card's program, which is not under the fake kernel

static void test_card(gconstpointer order)
{
    g_autofree char *said = NULL;

    prepare(FORWARD);
    write_card(order);
    int status = run(RECONFIGURE, TO, NULL, &said);
    write_card("exit 0");
    if (was_killed(status))
        run_to_end(RECOVER, 0);
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, VF_RECONF_UNDONE);
    assert_settled(said);
}

// ----

static void make_host(void)
{
    g_autoptr(GError) error = NULL;

    root = fake_host("igb@" PF_TEXT, NULL);
    journals = g_build_filename(root, "reconf", NULL);
    card = g_build_filename(root, "card", NULL);
    helper = fake_helper();
    g_assert_true(
        g_file_set_contents_full(card, "#!/bin/sh\n", -1, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
    vf_sriov_set_count(root, &pf, FROM, helper, &error);
    g_assert_no_error(error);
    // Somebody had it on: it has to be on again.
    g_assert_cmpint(fake_write(root, PF_DIR "sriov_drivers_autoprobe", "1"), ==, 0);
    crew = crew_new(200);
    for (guint i = 0; i < OWNERS_GUESTS; i++) {
        sockets[i] = g_strdup_printf("%s/guest%u.sock", root, i);
        crew_boot(crew, i, sockets[i]);
    }
    for (guint i = 0; i < OWNERS; i++) {
        g_autofree char *id = owners_id(i);
        VfPciAddr address = fake_igb_vf(&pf, i);

        vf_sriov_bind(root, &address, "vfio-pci", &error);
        g_assert_no_error(error);
        g_assert_true(crew_add(crew, owners_guest(i), id, root, &address));
    }
}

static void case_free(gpointer data)
{
    g_free(((Case *)data)->point);
    g_free(data);
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    make_host();
    cases = g_ptr_array_new_with_free_func(case_free);
    for (Way way = FORWARD; way < WAYS; way++)
        list_points(way);
    g_test_add_data_func("/reconf-crash/card/program fails", "exit 1", test_card);
    g_test_add_data_func("/reconf-crash/card/program is killed", "kill -9 $$", test_card);
    g_test_add_data_func("/reconf-crash/card/killed while it runs", "kill -9 $PPID; sleep 0.1",
                         test_card);
    g_test_add_func("/reconf-crash/list/all-reached", test_all_reached);
    int result = g_test_run();
    crew_free(crew);
    for (guint i = 0; i < OWNERS_GUESTS; i++)
        g_free(sockets[i]);
    g_ptr_array_unref(cases);
    g_free(journals);
    g_free(helper);
    g_free(card);
    fake_host_free(root);
    return result;
}
