// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fuzzes what a guest's QEMU says, on a real socket. The first byte of an input chooses what is
// asked; bit 3 spares the input the negotiation. The rest is cut at each '~': one piece for each
// greeting and each request, in which '#' stands for the request's id; then the connection ends.
// More than "does not crash" is asked: a result or a reason, messages of one printable line, every
// deadline kept, and no descriptor left over.

#include <dirent.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "pause.h"

#define TIME_US 2000
#define SLACK_US (2 * G_USEC_PER_SEC)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *directory, *path;
static int listener;
static guint first_sockets;

static GMutex lock;
// under the lock
static const char *rest = "", *rest_end = "";
static gboolean is_negotiated;

static void demand(gboolean holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not true: %s\n", what);
        abort();
    }
}

// ---- the peer

// The next piece with the id in it; FALSE when it is the last.
static gboolean next_piece(GString *piece, const char *id)
{
    gboolean more;

    g_mutex_lock(&lock);
    while (rest < rest_end && *rest != '~') {
        if (*rest == '#')
            g_string_append(piece, id);
        else
            g_string_append_c(piece, *rest);
        rest++;
    }
    more = rest < rest_end;
    rest += more;
    g_mutex_unlock(&lock);
    return more;
}

static gboolean say(int client, const char *id)
{
    GString *piece = g_string_new(NULL);
    gboolean more = next_piece(piece, id);

    more = send(client, piece->str, piece->len, MSG_NOSIGNAL) == (ssize_t)piece->len && more;
    g_string_free(piece, TRUE);
    return more;
}

// One request a call, which is how the client sends them.
static char *hear(int client)
{
    char request[4096];
    ssize_t length = recv(client, request, sizeof(request) - 1, 0);

    if (length <= 0)
        return NULL;
    request[length] = '\0';
    const char *id = strstr(request, "\"id\":");
    return id != NULL ? g_strndup(id + 5, strcspn(id + 5, ",}")) : g_strdup("0");
}

static void talk(int client)
{
    static const char welcome[] = "{\"QMP\":{}}\n{\"return\":{},\"id\":\"hello\"}\n";
    gboolean more = TRUE;
    char *id;

    if (is_negotiated)
        send(client, welcome, strlen(welcome), MSG_NOSIGNAL);
    if (is_negotiated)
        g_free(hear(client));
    else
        more = say(client, "");
    while (more && (id = hear(client)) != NULL) {
        more = say(client, id);
        g_free(id);
    }
    shutdown(client, SHUT_WR);
    while ((id = hear(client)) != NULL)
        g_free(id);
}

static gpointer serve(gpointer data)
{
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (client < 0)
            continue;
        talk(client);
        close(client);
    }
    return NULL;
}

// The fuzzer itself opens pipes to its symbolizer now and then.
static guint open_sockets(void)
{
    DIR *fds = opendir("/proc/self/fd");
    const struct dirent *entry;
    struct stat status;
    guint count = 0;

    while ((entry = readdir(fds)) != NULL)
        count += fstatat(dirfd(fds), entry->d_name, &status, 0) == 0 && S_ISSOCK(status.st_mode);
    closedir(fds);
    return count;
}

static void clean_up(void)
{
    g_unlink(path);
    g_rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    directory = g_dir_make_tmp("virtfn-fuzz-XXXXXX", NULL);
    demand(directory != NULL, "there is a directory for temporary files");
    path = g_build_filename(directory, "qmp.sock", NULL);
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    demand(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0, "sockets bind");
    demand(listen(listener, 64) == 0, "sockets listen");
    atexit(clean_up);
    g_thread_new("peer", serve, NULL);
    first_sockets = open_sockets();
    return 0;
}

// ---- what is asked

static gint64 in_time(void)
{
    return g_get_monotonic_time() + TIME_US;
}

static void check_error(GError *error)
{
    demand(error->domain == VF_ERROR, "an error is one of virtfn's");
    demand(g_utf8_validate(error->message, -1, NULL), "a message is UTF-8");
    demand(strlen(error->message) < 8192, "a message is short");
    for (const char *p = error->message; *p != '\0'; p = g_utf8_next_char(p))
        demand(g_unichar_isprint(g_utf8_get_char(p)), "a message is one printable line");
    g_error_free(error);
}

static void check_result(gboolean done, GError *error)
{
    demand(done == (error == NULL), "there is a result or a reason");
    if (error != NULL)
        check_error(error);
}

static void ask_execute(VfQmp *qmp)
{
    GError *error = NULL;
    json_t *value = vf_qmp_execute(qmp, "query-status", NULL, in_time(), &error);
    const char *refused = vf_qmp_refused(qmp);

    demand(refused == NULL || error != NULL, "what was refused is no result");
    check_result(value != NULL, error);
    json_decref(value);
}

static void ask_events(VfQmp *qmp)
{
    for (guint i = 0; i < 4; i++) {
        GError *error = NULL;
        json_t *event = vf_qmp_wait_event(qmp, "VFIO_PAUSE_STATE", NULL, NULL, 0, &error);

        demand(event == NULL || error == NULL, "there is an event or a reason");
        json_decref(event);
        if (error != NULL)
            check_error(error);
    }
}

static void ask_query(VfQmp *qmp)
{
    GError *error = NULL;
    GPtrArray *infos = vf_pause_query(qmp, in_time(), &error);

    check_result(infos != NULL, error);
    for (guint i = 0; infos != NULL && i < infos->len; i++) {
        const VfPauseInfo *info = g_ptr_array_index(infos, i);
        demand(info->qom_path != NULL && info->state != VF_PAUSE_UNKNOWN, "a device is described");
    }
    g_clear_pointer(&infos, g_ptr_array_unref);
}

static void ask_supported(VfQmp *qmp)
{
    GError *error = NULL;
    gboolean supported = vf_pause_supported(qmp, in_time(), &error);

    check_result(supported, error);
}

static void ask_pause(VfQmp *qmp)
{
    VfPauseTarget targets[] = {{.id = "a"}, {.id = "b"}};
    VfPausePolicy policy = {VF_PAUSE_ACCESS_HOLD, 7};
    gboolean all = vf_pause_devices(qmp, targets, 2, &policy, in_time()), each = TRUE;

    for (guint i = 0; i < 2; i++) {
        demand(targets[i].error != NULL || targets[i].state == VF_PAUSE_PAUSED,
               "what has no error is paused");
        each = each && targets[i].error == NULL;
        if (targets[i].error != NULL)
            check_error(targets[i].error);
    }
    demand(all == each, "all are paused when each is");
}

static void ask_resume(VfQmp *qmp)
{
    static const VfPciAddr host = {0, 1, 16, 2};
    GError *error = NULL;
    gboolean done =
        vf_resume_device(qmp, "a", &host, listener, VF_RESUME_SIGNAL_FATAL, in_time(), &error);

    check_result(done, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const asks[])(VfQmp *) = {ask_execute, ask_query, ask_supported, ask_pause,
                                            ask_resume};
    static guint runs;
    GError *error = NULL;
    gint64 begin = g_get_monotonic_time();

    if (size == 0)
        return 0;
    g_mutex_lock(&lock);
    rest = (const char *)data + 1;
    rest_end = (const char *)data + size;
    is_negotiated = (data[0] & 8) != 0;
    g_mutex_unlock(&lock);
    VfQmp *qmp = vf_qmp_connect(path, "fuzzed", in_time(), &error);
    check_result(qmp != NULL, error);
    if (qmp != NULL) {
        asks[(data[0] & 7) % G_N_ELEMENTS(asks)](qmp);
        ask_events(qmp);
    }
    vf_qmp_free(qmp);
    demand(g_get_monotonic_time() - begin < SLACK_US, "deadlines are kept");
    g_mutex_lock(&lock);
    rest = rest_end;
    g_mutex_unlock(&lock);
    // The peer may be about to close the last connection, and that only.
    if (++runs % 256 == 0)
        demand(open_sockets() <= first_sockets + 1, "no descriptor is left over");
    return 0;
}
