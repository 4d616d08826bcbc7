// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random histories against a small model: domains start (and grow the card) and stop, operators
// reconfigure, daemons are killed anywhere, guests die, strangers open functions, somebody else
// writes sriov_numvfs. The daemon is the real one without its socket, in a process that is killed
// with -9; kernel and QEMU are the fakes. After each step, and after each kill, what must never be
// is looked for: see check().
//
// History N is made from seed N: `VIRTFN_HISTORIES=4711:1` runs that one again and tells its steps,
// `100:2000` two thousand from number 100 on.

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/crew.h"
#include "../lib/fake.h"
#include "../lib/forked.h"
#include "reconf.h"
#include "sriov.h"

#define PF_DIR "/sys/bus/pci/devices/" FORKED_PF "/"
#define DOMAINS 3
#define SLOTS FORKED_SLOTS
#define TOTAL 5
#define WORKERS 2

static const VfPciAddr pf = {0, 1, 0, 0};
static char *root;
static Forked *forked;
static Crew *crew;

static void drop(const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);

    g_unlink(full);
}

// ---- the model

typedef struct {
    gboolean on;
    guint index;
} Domain;

static Domain domains[DOMAINS];
static gboolean stranger;
static gboolean disturbed; // what was asked last, by a kill or by somebody else
static char *autoprobe;
static int dead; // the domain that died meanwhile, -1 = none
static GRand *dice;
static GString *story;
static guint kills, reconfs, growths, stuck;

static guint roll(guint below)
{
    return (guint)g_rand_int_range(dice, 0, (gint)below);
}

static void tell(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void tell(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_string_append_vprintf(story, format, args);
    va_end(args);
    g_string_append_c(story, '\n');
}

static void fail(const char *format, ...) G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN;

static guint history; // its number

static void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *cause = g_strdup_vprintf(format, args);
    va_end(args);
    g_printerr("%s\n%s", cause, story->str);
    g_error("history %u: %s; VIRTFN_HISTORIES=%u:1 runs it again", history, cause, history);
}

static guint owners(void)
{
    guint count = 0;

    for (guint i = 0; i < DOMAINS; i++)
        count += domains[i].on;
    return count;
}

static gboolean is_free(guint index)
{
    for (guint i = 0; i < DOMAINS; i++)
        if (domains[i].on && domains[i].index == index)
            return FALSE;
    return TRUE;
}

// ---- what must hold

static gboolean has_journal(void)
{
    return vf_reconf_has_journal(forked_journals(forked), &pf);
}

// Also while nobody is there to mend it: a guest is without its device only if that is written.
static void check_paused(void)
{
    for (guint i = 0; i < DOMAINS; i++) {
        g_autofree char *state =
            domains[i].on ? crew_state(crew, i, "ua-virtfn-net0") : g_strdup("running");

        if (strcmp(state, "running") != 0 && !has_journal())
            fail("g%u's device is %s and there is no journal", i, state);
    }
}

static void check_removals(void)
{
    g_autofree char *log = fake_read(root, "/.log");

    if (strstr(log, "unfenced") != NULL)
        fail("sriov_numvfs was written without a fence:\n%s", log);
}

static void check_leases(void)
{
    guint seen = 0;

    g_autofree char *text = forked_ask(forked, "leases");
    g_auto(GStrv) words = g_strsplit(text, " ", 0);
    for (char **word = words + 1; *word != NULL; word++) {
        guint domain, index;

        g_assert_cmpint(sscanf(*word, "%u:%u", &domain, &index), ==, 2);
        if (domain >= DOMAINS || !domains[domain].on || domains[domain].index != index)
            fail("the ledger says that g%u has function %u", domain, index);
        seen++;
    }
    if (seen != owners())
        fail("%u guests have functions, and the ledger knows %u", owners(), seen);
}

// Whether somebody has its group open, asked past the fake kernel: that would look in all processes
// for who it is.
static gboolean is_open(const VfPciAddr *vf)
{
    char address[VF_PCIADDR_BUFSIZE];
    g_autofree char *link =
        g_strdup_printf("/sys/bus/pci/devices/%s/iommu_group", vf_pciaddr_format(vf, address));
    g_autofree char *group = fake_link(root, link);
    g_autofree char *node = g_strdup_printf("%s/dev/vfio/%s", root, group);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, node, O_RDWR | O_CLOEXEC);
    gboolean held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;

    if (fd >= 0)
        close(fd);
    return held;
}

static void check_functions(void)
{
    g_autofree char *override = fake_read(root, PF_DIR "driver_override");
    g_autofree char *now = fake_read(root, PF_DIR "sriov_drivers_autoprobe");

    if (strcmp(override, "(null)") != 0)
        fail("the PF's driver_override is %s", override);
    if (!has_journal() && strcmp(now, autoprobe) != 0)
        fail("sriov_drivers_autoprobe is %s and was %s", now, autoprobe);
    for (guint i = 0; i < DOMAINS; i++) {
        VfPciAddr address = forked_address(domains[i].index);
        g_autofree char *driver = domains[i].on ? vf_sriov_driver(root, &address) : NULL;

        if (domains[i].on && !has_journal() &&
            (g_strcmp0(driver, "vfio-pci") != 0 || !is_open(&address)))
            fail("g%u runs and has not got function %u, whose driver is %s", i, domains[i].index,
                 driver != NULL ? driver : "none");
        g_autofree char *methods = vf_sriov_reset_methods(root, &address);
        if (domains[i].on && !has_journal() && g_strcmp0(methods, "flr") != 0)
            fail("g%u's function %u cannot be reset", i, domains[i].index);
    }
}

// After a step, with the daemon at rest.
static void check(void)
{
    check_paused();
    check_removals();
    check_leases();
    check_functions();
    stuck += has_journal();
    if (has_journal() && !stranger && !disturbed)
        fail("a journal is open, and nobody is in the way");
}

// ---- steps

// Kills the daemon, or its helper, at a point of the next step.
static void arm(void)
{
    g_autofree char *text = g_strdup_printf("kill %u *\n", 1 + roll(roll(2) ? 60 : 400));
    g_autofree char *path = g_strconcat(root, "/.points", NULL);

    drop("/.trace");
    g_assert_true(g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
    tell("  %s", g_strchomp(text));
}

// What others do while the daemon is at it. `but`: the domain that it is about.
static void meddle(guint kind, guint but)
{
    guint slot = roll(SLOTS), domain = roll(DOMAINS), patience = roll(8);
    gboolean opened = FALSE;

    if (kind > 1)
        return;
    if (domains[domain].on && roll(2))
        slot = domains[domain].index; // which is free for a moment only
    VfPciAddr address = forked_address(slot);
    g_usleep(roll(8000));
    for (guint i = 0; kind == 0 && !opened && i <= patience; i++) {
        opened = crew_hold(crew, root, &address);
        g_usleep(opened ? 0 : 1000);
    }
    if (opened) {
        stranger = disturbed = TRUE;
        tell("  meanwhile a stranger opened function %u", slot);
    } else if (kind == 1 && domain != but && domains[domain].on) {
        crew_off(crew, domain);
        domains[domain].on = FALSE;
        dead = (int)domain;
        disturbed = TRUE;
        tell("  meanwhile g%u died", domain);
    }
}

// VFs that are made while none has an owner leave it off (plugin/sriov.h).
static void accept_off(void)
{
    g_autofree char *now = fake_read(root, PF_DIR "sriov_drivers_autoprobe");

    if (strcmp(now, "0") == 0)
        strcpy(autoprobe, now);
}

// At start, and now and then. Functions that were set aside are tried again, and made for that.
static void look(void)
{
    g_autofree char *said = forked_ask(forked, "look");

    g_assert_cmpstr(said, ==, "ok");
    if (owners() == 0 && !has_journal())
        accept_off();
}

// TRUE when the daemon said yes: the one that was asked, or, if that was killed, the next one, as a
// hook does.
static gboolean ask(guint but, const char *request)
{
    guint kind = roll(10);

    tell("%s", request);
    disturbed = roll(5) < 2;
    dead = -1;
    if (disturbed)
        arm();
    forked_send(forked, request);
    meddle(kind, but);
    g_autofree char *said = forked_receive(forked);
    drop("/.points");
    if (said == NULL) {
        kills++;
        tell("  killed%s", has_journal() ? ", with a journal" : "");
        check_paused();
        forked_start(forked);
        look();
        said =
            g_str_has_prefix(request, "reconf") ? g_strdup("killed") : forked_ask(forked, request);
        g_assert_nonnull(said);
    }
    if (strcmp(said, "ok") != 0)
        tell("  %s", said);
    gboolean yes = strcmp(said, "ok") == 0;
    if (dead >= 0) {
        g_autofree char *over = g_strdup_printf("release %d", dead);

        g_free(forked_ask(forked, over));
    }
    // A helper that was killed is what it looks for again later.
    if (disturbed && has_journal())
        look();
    return yes;
}

static void stop(guint domain)
{
    g_autofree char *request = g_strdup_printf("release %u", domain);

    if (domains[domain].on)
        crew_off(crew, domain);
    domains[domain].on = FALSE;
    ask(domain, request);
}

static gboolean boot(guint domain, guint index)
{
    g_autofree char *socket = forked_socket(forked, domain);
    VfPciAddr address = forked_address(index);

    crew_boot(crew, domain, socket);
    if (crew_add(crew, domain, "ua-virtfn-net0", root, &address))
        return TRUE;
    crew_off(crew, domain);
    if (!stranger)
        fail("g%u was given function %u and cannot open it", domain, index);
    return FALSE;
}

static void step_start(guint domain)
{
    guint index = roll(SLOTS), before = owners();
    gboolean calm = !stranger && !has_journal() && is_free(index);
    g_autofree char *prepare = g_strdup_printf("prepare %u %u", domain, index);
    g_autofree char *adopt = g_strdup_printf("adopt %u %u", domain, index);
    guint vfs = vf_sriov_count(root, &pf);

    gboolean yes = ask(domain, prepare);
    if (before == 0)
        accept_off();
    else
        growths += vf_sriov_count(root, &pf) != vfs;
    if (yes && !is_free(index))
        fail("function %u was given to g%u and has an owner", index, domain);
    if (!yes && calm && !disturbed)
        fail("g%u was refused for nothing", domain);
    if (!yes || !boot(domain, index)) {
        stop(domain);
        return;
    }
    domains[domain] = (Domain){TRUE, index};
    if (!ask(domain, adopt))
        fail("g%u runs, and the daemon does not believe it", domain);
}

static void step_reconf(void)
{
    guint least = 1;

    for (guint i = 0; i < DOMAINS; i++)
        if (domains[i].on)
            least = MAX(least, domains[i].index + 1);
    guint count = roll(2) ? least : least + roll(TOTAL + 1 - least);
    gboolean calm = !stranger && !has_journal();
    g_autofree char *request = g_strdup_printf("reconf %u", count);
    gboolean yes = ask(DOMAINS, request);

    reconfs++;
    if (yes && vf_sriov_count(root, &pf) != count)
        fail("there are %u functions", vf_sriov_count(root, &pf));
    if (!yes && calm && !disturbed)
        fail("it was refused for nothing");
}

static void step_stranger(void)
{
    guint slot = roll(SLOTS);
    VfPciAddr address = forked_address(slot);

    disturbed = FALSE;
    if (stranger) {
        tell("the strangers go");
        crew_drop(crew);
        stranger = FALSE;
        look();
    } else if (crew_hold(crew, root, &address)) {
        tell("a stranger opens function %u", slot);
        stranger = TRUE;
    }
}

// Somebody writes sriov_numvfs, which he may as long as nobody has a function open.
static void step_external(void)
{
    g_autofree char *count = g_strdup_printf("%u", roll(TOTAL + 1));

    disturbed = FALSE;
    if (!has_journal()) {
        g_free(autoprobe);
        autoprobe = g_strdup(roll(2) ? "1" : "0");
        tell("sriov_drivers_autoprobe is set to %s", autoprobe);
        fake_write(root, PF_DIR "sriov_drivers_autoprobe", autoprobe);
    }
    if (owners() > 0 || stranger || has_journal())
        return;
    tell("sriov_numvfs is set to %s", count);
    fake_write(root, PF_DIR "sriov_numvfs", count);
    drop("/.log");
}

static void step(void)
{
    guint kind = roll(10), domain = roll(DOMAINS);

    if (kind < 5)
        domains[domain].on ? stop(domain) : step_start(domain);
    else if (kind < 8)
        step_reconf();
    else if (kind == 8)
        step_stranger();
    else
        step_external();
    check();
}

static void run_history(void)
{
    dice = g_rand_new_with_seed(history);
    g_string_truncate(story, 0);
    g_free(autoprobe);
    autoprobe = g_strdup("1");
    disturbed = FALSE;
    fake_write(root, PF_DIR "sriov_numvfs", "0");
    fake_write(root, PF_DIR "sriov_drivers_autoprobe", autoprobe);
    drop("/.log");
    for (guint i = 3 + roll(2); i > 0; i--)
        step();
    for (guint i = 0; i < DOMAINS; i++)
        if (domains[i].on)
            stop(i);
    if (stranger)
        step_stranger();
    disturbed = FALSE;
    look();
    check();
    g_rand_free(dice);
}

// ----

static void make_host(void)
{
    root = fake_host("igb@" FORKED_PF, NULL);
    forked = forked_new(root);
    crew = crew_new(400);
}

static void free_host(void)
{
    crew_free(crew);
    forked_free(forked);
    g_string_free(story, TRUE);
    g_free(autoprobe);
    fake_host_free(root);
}

// Every WORKERS-th history from `first` on, on a host of its own.
static void run_histories(guint first, guint end, guint every)
{
    make_host();
    forked_start(forked);
    story = g_string_new(NULL);
    for (history = first; history < end; history += every)
        run_history();
    forked_stop(forked);
    g_test_message("histories %u to %u, each %u.: %u reconfs, %u growths, %u kills, "
                   "%u times stuck",
                   first, end - 1, every, reconfs, growths, kills, stuck);
    if (end - first == 1)
        g_test_message("%s", story->str);
    free_host();
}

static void test_histories(void)
{
    const char *wanted = g_getenv("VIRTFN_HISTORIES");
    guint first = 0, count = 10000, every;
    pid_t workers[WORKERS];

    if (wanted != NULL)
        g_assert_cmpint(sscanf(wanted, "%u:%u", &first, &count), ==, 2);
    every = MIN(count, WORKERS);
    for (guint i = 0; i < every; i++) {
        workers[i] = fork();
        g_assert_cmpint(workers[i], >=, 0);
        if (workers[i] == 0) {
            run_histories(first + i, first + count, every);
            fflush(NULL);
            _exit(0);
        }
    }
    for (guint i = 0; i < every; i++) {
        int status;

        g_assert_cmpint(waitpid(workers[i], &status, 0), ==, workers[i]);
        g_assert_cmpint(status, ==, 0);
    }
}

// What is logged is not looked at here, and a warning is no failure.
static GLogWriterOutput drop_log(GLogLevelFlags level, const GLogField *fields, gsize n,
                                 gpointer data)
{
    return (level & G_LOG_FLAG_FATAL) != 0 ? g_log_writer_default(level, fields, n, data)
                                           : G_LOG_WRITER_HANDLED;
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_writer_func(drop_log, NULL, NULL);
    g_test_add_func("/reconf-histories/random", test_histories);
    return g_test_run();
}
