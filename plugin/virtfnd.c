// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfnd: options, the listening socket, the main loop, signals. Everything else is in the
// library. Hooks are served before libvirt is asked for anything, and whether or not it answers.

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <locale.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "broker.h"
#include "daemon.h"
#include "domains.h"
#include "doubts.h"
#include "error.h"
#include "events.h"
#include "lifecycle.h"
#include "log.h"
#include "nodedev.h"
#include "reconf-jobs.h"
#include "routes.h"
#include "server.h"
#include "virconn.h"

#define RECHECK_SECONDS 15
#define SWEEP_SECONDS 60
#define STOP_SECONDS 30

typedef struct {
    VfDaemonOptions daemon;
    char *socket;
    gboolean version;
} Options;

typedef struct {
    VfDaemon *daemon;
    VfServer *server;
    GMainLoop *loop;
    guint nodedev_source;
    GPtrArray *nodedevs; // on its way from libvirt's thread
    gboolean stopping;
} Main;

static gboolean parse_options(int argc, char **argv, Options *options, GError **error)
{
    GOptionEntry entries[] = {
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.config_dir,
         "directory of the pool files", "DIR"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &options->socket,
         "socket to listen on (default RUN/virtfn.sock)", "PATH"},
        {"run", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.run_dir,
         "directory of this boot's state", "DIR"},
        {"state", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.state_dir,
         "directory of lasting state", "DIR"},
        {"helper", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.helper, "the numvfs helper",
         "PATH"},
        {"root", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.root,
         "prefix of /sys, /proc and /dev (tests)", "DIR"},
        {"connect", 'c', 0, G_OPTION_ARG_STRING, &options->daemon.uri, "libvirt connection", "URI"},
        {"no-libvirt", 0, 0, G_OPTION_ARG_NONE, &options->daemon.no_libvirt,
         "serve hooks only, never connect to libvirt", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "print the version", NULL},
        G_OPTION_ENTRY_NULL};
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_set_summary(context, "Gives libvirt guests their SR-IOV virtual functions.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return FALSE;
    if (argc > 1) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "'%s': virtfnd takes options only", argv[1]);
        return FALSE;
    }
    return TRUE;
}

// ---- the socket

static int listen_on(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *fresh = g_strconcat(path, ".new", NULL);
    int fd = -1;

    if (g_strlcpy(address.sun_path, fresh, sizeof(address.sun_path)) >= sizeof(address.sun_path))
        errno = ENAMETOOLONG;
    else if (g_mkdir_with_parents(directory, 0755) == 0)
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        // Peers are told apart by their credentials; connecting alone gives no right. A hook always
        // finds a socket: the old one, where it is refused and tries again, or this one.
        unlink(fresh);
        mode_t old = umask(0111);
        int failed = bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
                     listen(fd, SOMAXCONN) != 0 || rename(fresh, path) != 0;
        umask(old);
        if (!failed)
            return fd;
    }
    vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

// The socket that systemd opened for us, or our own.
static int get_socket(const char *path, GError **error)
{
    int n = sd_listen_fds(TRUE);

    if (n > 1) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "virtfnd.socket: %d sockets, one is expected",
                    n);
        return -1;
    }
    if (n != 1)
        return listen_on(path, error);
    g_unix_set_fd_nonblocking(SD_LISTEN_FDS_START, TRUE, NULL);
    return SD_LISTEN_FDS_START;
}

// Directory of virtfn's own QMP sockets: guests, as libvirt-qemu, create their sockets in it.
static void make_qmp_dir(const VfDaemon *daemon)
{
    struct passwd *qemu = getpwnam("libvirt-qemu");

    if (qemu == NULL)
        qemu = getpwnam("qemu");
    if (g_mkdir_with_parents(daemon->qmp_dir, 0750) != 0 ||
        (qemu != NULL && chown(daemon->qmp_dir, qemu->pw_uid, qemu->pw_gid) != 0))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s: %s", daemon->qmp_dir, g_strerror(errno));
}

// ---- events

static void list_nodedevs(virConnectPtr connection, gpointer data, GError **error)
{
    Main *self = data;
    GPtrArray *list = vf_nodedev_list(connection, error);

    // Handed over here: only one such job is in flight, and `done` runs after it.
    self->nodedevs = list;
}

static void listed_nodedevs(gpointer data, const GError *error)
{
    Main *self = data;

    if (self->nodedevs == NULL)
        return;
    g_ptr_array_unref(self->daemon->nodedevs);
    self->daemon->nodedevs = g_steal_pointer(&self->nodedevs);
}

static void on_connected(gpointer data)
{
    Main *self = data;

    vf_virconn_submit(self->daemon->virconn, list_nodedevs, listed_nodedevs, self);
    vf_domains_resync(self->daemon);
}

static void on_domain(const char *uuid, const char *name, int event, int detail, gpointer data)
{
    vf_domains_event(((Main *)data)->daemon->domains, uuid, name, event, detail);
}

static void on_unplugged(const char *uuid, gpointer data)
{
    vf_broker_unplugged(((Main *)data)->daemon, uuid);
    vf_domains_unplugged(((Main *)data)->daemon, uuid);
}

static gboolean refresh(gpointer data)
{
    Main *self = data;

    self->nodedev_source = 0;
    if (vf_daemon_refresh(self->daemon))
        vf_domains_resync(self->daemon);
    return G_SOURCE_REMOVE;
}

// Creating VFs is a burst of events: looked at once, when it is over.
static void on_nodedev(gpointer data)
{
    Main *self = data;

    if (self->nodedev_source == 0)
        self->nodedev_source = g_timeout_add(200, refresh, self);
}

// As kill -9 would, which the next daemon copes with: a job may hang in the kernel for long.
static gboolean give_up(gpointer data)
{
    vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "ended with work unfinished");
    _exit(0);
}

static gboolean stop_when_idle(gpointer data)
{
    Main *self = data;

    if (vf_server_waiting(self->server) > 0 || vf_lanes_busy(self->daemon->lanes) > 0)
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
}

// What has begun is finished and answered first, unless told a second time.
static gboolean on_stop(gpointer data)
{
    Main *self = data;

    if (self->stopping)
        give_up(self);
    self->stopping = TRUE;
    sd_notify(0, "STOPPING=1");
    vf_server_quiesce(self->server);
    vf_events_close(self->daemon);
    vf_broker_quiesce(self->daemon);
    if (stop_when_idle(self) == G_SOURCE_CONTINUE) {
        g_timeout_add(50, stop_when_idle, self);
        g_timeout_add_seconds(STOP_SECONDS, give_up, self);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean on_reload(gpointer data)
{
    Main *self = data;

    sd_notify(0, "RELOADING=1");
    vf_daemon_reload(self->daemon);
    vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL, "%s was read again", self->daemon->options.config_dir);
    vf_domains_resync(self->daemon);
    vf_doubts_recheck(self->daemon);
    sd_notify(0, "READY=1");
    return G_SOURCE_CONTINUE;
}

static gboolean recheck(gpointer data)
{
    vf_reconf_recover_all(data);
    vf_lifecycle_recover(data);
    vf_lifecycle_recheck_quarantine(data);
    vf_broker_recheck(data);
    vf_doubts_recheck(data);
    return G_SOURCE_CONTINUE;
}

static gboolean sweep(gpointer data)
{
    VfDaemon *daemon = data;

    if (daemon->virconn != NULL && vf_virconn_connected(daemon->virconn))
        vf_domains_resync(daemon);
    return G_SOURCE_CONTINUE;
}

static void connect_libvirt(Main *self)
{
    static const VfVirconnEvents events = {on_connected, on_domain, on_unplugged, on_nodedev};
    VfDaemon *daemon = self->daemon;

    if (!daemon->options.no_libvirt)
        daemon->virconn =
            vf_virconn_new(daemon->options.uri != NULL ? daemon->options.uri : daemon->config->uri,
                           &events, self);
}

static gboolean serve(const Options *options, GError **error)
{
    Main self = {0};
    g_autoptr(VfDaemon) daemon = self.daemon = vf_daemon_new(&options->daemon, error);
    g_autoptr(VfServer) server = NULL;
    g_autofree char *path = options->socket != NULL
                                ? g_strdup(options->socket)
                                : g_build_filename(options->daemon.run_dir, "virtfn.sock", NULL);
    int fd = daemon != NULL ? get_socket(path, error) : -1;

    if (fd < 0)
        return FALSE;
    server = self.server = vf_server_new(fd, vf_routes, daemon->config->use_group,
                                         daemon->config->read_group, daemon, error);
    if (server == NULL)
        return FALSE;
    make_qmp_dir(daemon);
    vf_reconf_recover_all(daemon);
    vf_lifecycle_recover(daemon);
    vf_doubts_begin(daemon);
    self.loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, on_stop, &self);
    g_unix_signal_add(SIGINT, on_stop, &self);
    g_unix_signal_add(SIGHUP, on_reload, &self);
    g_timeout_add_seconds(RECHECK_SECONDS, recheck, daemon);
    g_timeout_add_seconds(SWEEP_SECONDS, sweep, daemon);
    connect_libvirt(&self);
    sd_notify(0, "READY=1");
    g_main_loop_run(self.loop);
    g_main_loop_unref(self.loop);
    return TRUE;
}

int main(int argc, char **argv)
{
    // Its strings live as long as the process.
    static Options options = {.daemon = {.root = "",
                                         .config_dir = VF_SYSCONFDIR "/virtfn",
                                         .run_dir = "/run/virtfn",
                                         .state_dir = "/var/lib/virtfn",
                                         .helper = VF_LIBEXECDIR "/virtfn-numvfs"}};
    g_autoptr(GError) error = NULL;

    setlocale(LC_ALL, "C");
    signal(SIGPIPE, SIG_IGN);
    if (!parse_options(argc, argv, &options, &error)) {
        g_printerr("virtfnd: %s\n", error->message);
        return 2;
    }
    if (options.version) {
        g_print("virtfnd %s\n", VF_VERSION);
        return 0;
    }
    if (!serve(&options, &error)) {
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", error->message);
        return 1;
    }
    return 0;
}
