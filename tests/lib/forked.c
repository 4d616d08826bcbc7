// SPDX-License-Identifier: GPL-2.0-or-later
//
// The forked daemon: the flows of plugin/ on the fake host, and the loop that serves them.

#include "forked.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "fake.h"
#include "lifecycle.h"
#include "reconf-jobs.h"

#define LINE 2048

struct Forked {
    char *root, *helper, *config, *run_dir, *state_dir, *journals;
    int fd; // -1 = none runs
    pid_t pid;
};

static const VfPciAddr pf = {0, 1, 0, 0};

VfPciAddr forked_address(guint index)
{
    return fake_igb_vf(&pf, index);
}

static char *uuid_of(guint domain)
{
    return g_strdup_printf("%08u-0000-4000-8000-000000000000", domain);
}

// ---- in its process

static gboolean answered;
static GError *answer;

static void on_answer(const GError *error, gpointer data)
{
    answered = TRUE;
    g_clear_error(&answer);
    if (error != NULL)
        answer = g_error_copy(error);
}

static void settle(VfDaemon *daemon)
{
    while (vf_lanes_busy(daemon->lanes) > 0 || daemon->commit_source != 0)
        g_main_context_iteration(NULL, TRUE);
}

static char *domain_xml(guint domain, guint index)
{
    g_autofree char *uuid = uuid_of(domain);
    VfPciAddr a = forked_address(index);

    return g_strdup_printf(
        "<domain><name>g%u</name><uuid>%s</uuid><metadata><v:devices xmlns:v='urn:"
        "virtfn:domain:1.0'><v:device name='net0' pool='uplink'/></v:devices></metadata>"
        "<devices><hostdev mode='subsystem' type='pci' managed='no'><source><address "
        "domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/></source>"
        "<alias name='ua-virtfn-net0'/></hostdev></devices></domain>",
        domain, uuid, a.domain, a.bus, a.device, a.function);
}

static void do_prepare(VfDaemon *daemon, guint domain, guint index)
{
    g_autofree char *xml = domain_xml(domain, index);

    vf_lifecycle_prepare(daemon, xml, strlen(xml), on_answer, NULL);
}

static void do_adopt(VfDaemon *daemon, guint domain, guint index)
{
    g_autofree char *xml = domain_xml(domain, index);

    g_clear_error(&answer);
    vf_lifecycle_adopt(daemon, xml, strlen(xml), &answer);
    answered = TRUE;
}

static void do_release(VfDaemon *daemon, guint domain)
{
    g_autofree char *uuid = uuid_of(domain);

    vf_lifecycle_release(daemon, uuid, on_answer, NULL);
}

typedef struct {
    VfDaemon *daemon;
    guint count;
    VfReconf *reconf;
} Order;

static void order_begin(gpointer data)
{
    Order *order = data;

    order->reconf = vf_reconf_plan(order->daemon, &pf, order->count, NULL);
}

static void order_run(gpointer data)
{
    Order *order = data;
    g_autofree char *directory = NULL;
    VfReconfHost host = vf_reconf_host(&order->daemon->options, &directory);
    VfReconfTimes times;

    if (vf_reconf_is_over(order->daemon->options.run_dir, &pf, &answer))
        vf_reconf_do(order->reconf, &host, &times, &answer);
}

static void order_done(gpointer data)
{
    Order *order = data;

    vf_daemon_refresh(order->daemon);
    answered = TRUE;
    vf_reconf_free(order->reconf);
    g_free(order);
}

static void do_reconf(VfDaemon *daemon, guint count)
{
    Order *order = g_new0(Order, 1);
    VfLaneJob job = {order_begin, order_run, order_done, order};

    g_clear_error(&answer);
    order->daemon = daemon;
    order->count = count;
    vf_lanes_submit(daemon->lanes, &pf, &job);
}

// What the daemon does now and then, and when it starts.
static void do_look(VfDaemon *daemon)
{
    vf_reconf_recover_all(daemon);
    settle(daemon);
    vf_lifecycle_recover(daemon);
    settle(daemon);
    vf_lifecycle_recheck_quarantine(daemon);
    answered = TRUE;
}

// "DOMAIN:INDEX ..." of the leases that there are.
static char *list_leases(VfDaemon *daemon)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);
    GString *text = g_string_new("ok");

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        g_string_append_printf(text, " %u:%u", (guint)strtoul(lease->uuid, NULL, 10),
                               vf_daemon_slot(daemon, lease->pool, lease->slot)->index);
    }
    return g_string_free(text, FALSE);
}

static char *obey(VfDaemon *daemon, const char *line)
{
    char verb[16];
    guint first = 0, second = 0;

    g_assert_cmpint(sscanf(line, "%15s %u %u", verb, &first, &second), >=, 1);
    if (strcmp(verb, "leases") == 0)
        return list_leases(daemon);
    answered = FALSE;
    g_clear_error(&answer);
    if (strcmp(verb, "prepare") == 0)
        do_prepare(daemon, first, second);
    else if (strcmp(verb, "adopt") == 0)
        do_adopt(daemon, first, second);
    else if (strcmp(verb, "release") == 0)
        do_release(daemon, first);
    else if (strcmp(verb, "reconf") == 0)
        do_reconf(daemon, first);
    else
        do_look(daemon);
    settle(daemon);
    g_assert_true(answered);
    return answer != NULL ? g_strdup(answer->message) : g_strdup("ok");
}

static void serve(const Forked *forked, int fd)
{
    VfDaemonOptions options = {.root = forked->root,
                               .config_dir = forked->config,
                               .run_dir = forked->run_dir,
                               .state_dir = forked->state_dir,
                               .helper = forked->helper,
                               .no_libvirt = TRUE};
    g_autoptr(GError) error = NULL;
    VfDaemon *daemon = vf_daemon_new(&options, &error);
    char line[LINE];
    ssize_t length;

    g_assert_no_error(error);
    while ((length = recv(fd, line, sizeof(line) - 1, 0)) > 0) {
        line[length] = '\0';
        g_autofree char *said = obey(daemon, line);

        if (send(fd, said, strlen(said), MSG_NOSIGNAL) < 0)
            break;
    }
    _exit(0);
}

// ---- its maker

Forked *forked_new(const char *root)
{
    Forked *forked = g_new0(Forked, 1);
    g_autoptr(GError) error = NULL;

    forked->fd = -1;
    forked->root = g_strdup(root);
    forked->helper = fake_helper();
    forked->config = g_build_filename(root, "config", NULL);
    forked->run_dir = g_build_filename(root, "run", NULL);
    forked->state_dir = g_build_filename(root, "state", NULL);
    forked->journals = g_build_filename(forked->run_dir, "reconf", NULL);
    g_autofree char *file = g_build_filename(forked->config, "pools.conf", NULL);
    g_autofree char *sockets = g_build_filename(forked->run_dir, "qmp", NULL);
    g_assert_cmpint(g_mkdir_with_parents(forked->config, 0755), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(sockets, 0755), ==, 0);
    g_file_set_contents(file, "[pool uplink]\npf=" FORKED_PF "\ncount=2\ngrowth=grow\nmax=4\n", -1,
                        &error);
    g_assert_no_error(error);
    return forked;
}

void forked_free(Forked *forked)
{
    forked_stop(forked);
    g_free(forked->root);
    g_free(forked->helper);
    g_free(forked->config);
    g_free(forked->run_dir);
    g_free(forked->state_dir);
    g_free(forked->journals);
    g_free(forked);
}

void forked_start(Forked *forked)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), ==, 0);
    forked->pid = fork();
    g_assert_cmpint(forked->pid, >=, 0);
    if (forked->pid == 0) {
        close(fds[0]);
        serve(forked, fds[1]);
    }
    close(fds[1]);
    forked->fd = fds[0];
}

void forked_stop(Forked *forked)
{
    if (forked->fd < 0)
        return;
    close(forked->fd);
    forked->fd = -1;
    waitpid(forked->pid, NULL, 0);
}

void forked_send(Forked *forked, const char *request)
{
    g_assert_cmpint(send(forked->fd, request, strlen(request), MSG_NOSIGNAL), ==,
                    (int)strlen(request));
}

char *forked_receive(Forked *forked)
{
    char text[LINE];
    ssize_t length = recv(forked->fd, text, sizeof(text) - 1, 0);
    int status;

    if (length > 0)
        return g_strndup(text, (gsize)length);
    close(forked->fd);
    forked->fd = -1;
    g_assert_cmpint(waitpid(forked->pid, &status, 0), ==, forked->pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        g_error("the daemon ended by itself (%x)", status);
    return NULL;
}

char *forked_ask(Forked *forked, const char *request)
{
    forked_send(forked, request);
    return forked_receive(forked);
}

char *forked_socket(const Forked *forked, guint domain)
{
    g_autofree char *uuid = uuid_of(domain);

    return g_strdup_printf("%s/qmp/%s.sock", forked->run_dir, uuid);
}

const char *forked_journals(const Forked *forked)
{
    return forked->journals;
}
