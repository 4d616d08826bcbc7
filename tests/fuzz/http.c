// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fuzzes the daemon's API from the socket on: the input is what one client of root's says, to the
// real server and routes with a pool on a host of plain files (no kernel answers there, so every
// preparation fails) and without libvirt. More than "does not crash" is asked: what comes back is
// HTTP, every request ends, and the table of leases adds up.

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"
#include "routes.h"

#define SLOTS 3

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *top;
static VfDaemon *daemon_state;
static VfServer *server;

static void demand(gboolean holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not true: %s\n", what);
        abort();
    }
}

static GLogWriterOutput drop(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer data)
{
    return G_LOG_WRITER_HANDLED;
}

static char *below(const char *path)
{
    return g_build_filename(top, path, NULL);
}

static void put(const char *path, const char *text)
{
    g_autofree char *file = below(path);
    g_autofree char *directory = g_path_get_dirname(file);

    demand(g_mkdir_with_parents(directory, 0755) == 0, "directories can be made");
    demand(g_file_set_contents(file, text, -1, NULL), "files can be written");
}

static void make_host(void)
{
#define DEVICE "sys/bus/pci/devices/0000:01:00.0/"
    static const char *const files[][2] = {
        {DEVICE "vendor", "0x10ee\n"},
        {DEVICE "device", "0x903f\n"},
        {DEVICE "class", "0x120000\n"},
        {DEVICE "sriov_vf_device", "a03f\n"},
        {DEVICE "sriov_totalvfs", "8\n"},
        {DEVICE "sriov_numvfs", "0\n"},
        {DEVICE "sriov_offset", "4\n"},
        {DEVICE "sriov_stride", "1\n"},
        {"proc/sys/kernel/random/boot_id", "fuzz\n"},
        {"config/pools.conf", "[pool fpga0]\npf=10ee:903f\ncount=3\n"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(files); i++)
        put(files[i][0], files[i][1]);
    g_autofree char *driver = below(DEVICE "driver");
    demand(symlink("../../drivers/qdma-pf", driver) == 0, "links can be made");
}

static void remove_all(void)
{
    const char *argv[] = {"rm", "-rf", top, NULL};

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    g_autoptr(GError) error = NULL;

    g_log_set_writer_func(drop, NULL, NULL);
    top = g_dir_make_tmp("virtfn-fuzz-XXXXXX", &error);
    demand(top != NULL, "there is a directory for temporary files");
    atexit(remove_all);
    make_host();
    VfDaemonOptions options = {.root = top,
                               .config_dir = below("config"),
                               .run_dir = below("run"),
                               .state_dir = below("state"),
                               .helper = "/nonexistent/virtfn-numvfs",
                               .no_libvirt = TRUE};
    daemon_state = vf_daemon_new(&options, &error);
    demand(daemon_state != NULL, "the daemon starts");
    server = vf_server_new(-1, vf_routes, NULL, NULL, daemon_state, &error);
    demand(server != NULL, "the server starts");
    return 0;
}

static gboolean is_busy(void)
{
    return vf_server_waiting(server) > 0 || vf_lanes_busy(daemon_state->lanes) > 0 ||
           daemon_state->commit_source != 0;
}

// Turns of the loop until nothing is under way; a request that never ends is found by -timeout.
static void settle(void)
{
    guint quiet = 0;

    while (quiet < 8) {
        quiet = g_main_context_iteration(NULL, FALSE) || is_busy() ? 0 : quiet + 1;
        if (quiet == 0 && vf_lanes_busy(daemon_state->lanes) > 0)
            g_usleep(50);
    }
}

static void hear(int client, GString *heard)
{
    char chunk[65536];
    ssize_t n;

    settle();
    while ((n = recv(client, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0) {
        g_string_append_len(heard, chunk, n);
        settle();
    }
}

static void check_table(void)
{
    const VfAllocator *allocator = daemon_state->allocator;
    g_autoptr(GPtrArray) leases = vf_allocator_leases(allocator, NULL);
    guint set_aside = 0;

    for (guint slot = 0; slot < SLOTS; slot++)
        set_aside += !vf_allocator_usable(allocator, 0, slot);
    demand(leases->len + vf_allocator_free_slots(allocator, 0) + set_aside == SLOTS,
           "each function is leased, free or set aside");
}

// Each input finds the daemon as the first one did.
static void forget_leases(void)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon_state->allocator, NULL);

    for (guint i = 0; i < leases->len; i++)
        vf_daemon_drop(daemon_state, g_ptr_array_index(leases, i));
    settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GString *heard = g_string_new(NULL);
    int fds[2];

    demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
           "there are sockets");
    demand(vf_server_add(server, fds[1]), "the server takes a connection");
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fds[0], data + sent, size - sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            break; // the server has had enough
        sent += n > 0 ? (size_t)n : 0;
        hear(fds[0], heard);
    }
    shutdown(fds[0], SHUT_WR);
    hear(fds[0], heard);
    close(fds[0]);
    settle();
    demand(heard->len == 0 || g_str_has_prefix(heard->str, "HTTP/1."), "the answer is HTTP");
    demand(vf_server_waiting(server) == 0, "every request has ended");
    check_table();
    forget_leases();
    g_string_free(heard, TRUE);
    return 0;
}
