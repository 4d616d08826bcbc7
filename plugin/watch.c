// SPDX-License-Identifier: GPL-2.0-or-later
//
// One thread for each monitor that is watched, and the rule who has it: users come first. The lock
// is held for moments only, never while QEMU is talked to.

#include "watch.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pause.h"
#include "qmp.h"

// A user that comes while the watch is connecting waits that long at most.
#define CONNECT_MS 200
#define QUERY_MS 2000
#define AGAIN_MS 500
#define WAIT_S 60

typedef struct {
    char *socket, *guest;
    GPtrArray *watches; // of VfWatch
    GThread *thread;
    gboolean holds; // the monitor, or is about to
    gboolean stop;
    gboolean again; // there is a watch more
    int fd;         // a duplicate of the connection, to end it with; -1 = none
} Watcher;

struct VfWatch {
    Watcher *watcher;
    guint serial;
    char *id, *key;
    gboolean fired;
    VfWatchTold told;
    gpointer data;
};

static GMutex lock; // around all of these
static GCond changed;
static GHashTable *watchers; // socket -> Watcher
static GHashTable *users;    // socket -> number
static guint serials;

static void ensure_tables(void)
{
    if (watchers != NULL)
        return;
    watchers = g_hash_table_new(g_str_hash, g_str_equal);
    users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static gboolean is_used(const char *socket)
{
    return g_hash_table_lookup(users, socket) != NULL;
}

// ---- users

static void interrupt(const Watcher *watcher)
{
    if (watcher->fd >= 0)
        shutdown(watcher->fd, SHUT_RDWR);
}

void vf_watch_enter(const char *socket, gint64 deadline)
{
    Watcher *watcher;

    g_mutex_lock(&lock);
    ensure_tables();
    g_hash_table_replace(users, g_strdup(socket),
                         GUINT_TO_POINTER(GPOINTER_TO_UINT(g_hash_table_lookup(users, socket)) +
                                          1));
    while ((watcher = g_hash_table_lookup(watchers, socket)) != NULL && watcher->holds) {
        interrupt(watcher);
        if (!g_cond_wait_until(&changed, &lock, deadline))
            break;
    }
    g_mutex_unlock(&lock);
}

void vf_watch_leave(const char *socket)
{
    g_mutex_lock(&lock);
    guint n = GPOINTER_TO_UINT(g_hash_table_lookup(users, socket));
    if (n > 1)
        g_hash_table_replace(users, g_strdup(socket), GUINT_TO_POINTER(n - 1));
    else
        g_hash_table_remove(users, socket);
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
}

// ---- telling

typedef struct {
    char *socket;
    guint serial;
} Note;

static void note_free(gpointer data)
{
    Note *note = data;

    g_free(note->socket);
    g_free(note);
}

static gboolean tell(gpointer data)
{
    const Note *note = data;
    g_autofree char *key = NULL;
    VfWatchTold told = NULL;
    gpointer told_data = NULL;
    const Watcher *watcher;

    g_mutex_lock(&lock);
    watcher = g_hash_table_lookup(watchers, note->socket);
    for (guint i = 0; watcher != NULL && i < watcher->watches->len; i++) {
        const VfWatch *watch = g_ptr_array_index(watcher->watches, i);

        if (watch->serial != note->serial)
            continue;
        key = g_strdup(watch->key);
        told = watch->told;
        told_data = watch->data;
    }
    g_mutex_unlock(&lock);
    if (told != NULL)
        told(key, told_data);
    return G_SOURCE_REMOVE;
}

// With the lock.
static void fire(Watcher *watcher, const char *id)
{
    for (guint i = 0; id != NULL && i < watcher->watches->len; i++) {
        VfWatch *watch = g_ptr_array_index(watcher->watches, i);

        if (watch->fired || strcmp(watch->id, id) != 0)
            continue;
        watch->fired = TRUE;
        Note *note = g_new(Note, 1);
        *note = (Note){g_strdup(watcher->socket), watch->serial};
        g_idle_add_full(G_PRIORITY_DEFAULT, tell, note, note_free);
    }
}

// ---- the thread

static gboolean wanted(const Watcher *watcher)
{
    return !watcher->stop && !is_used(watcher->socket);
}

static gboolean look(Watcher *watcher, VfQmp *qmp)
{
    g_autoptr(GPtrArray) infos = vf_pause_query(qmp, vf_pause_within(QUERY_MS), NULL);

    g_mutex_lock(&lock);
    for (guint i = 0; infos != NULL && i < infos->len; i++) {
        const VfPauseInfo *info = g_ptr_array_index(infos, i);

        if (info->state == VF_PAUSE_PAUSED && info->accesses > 0)
            fire(watcher, info->id);
    }
    g_mutex_unlock(&lock);
    return infos != NULL;
}

static gboolean next_event(Watcher *watcher, VfQmp *qmp)
{
    GError *error = NULL;
    json_t *event = vf_qmp_wait_event(qmp, "VFIO_PAUSED_ACCESS", NULL, NULL,
                                      vf_pause_within(WAIT_S * 1000), &error);
    gboolean alive = error == NULL;

    if (event != NULL) {
        json_t *data = json_object_get(event, "data");

        g_mutex_lock(&lock);
        fire(watcher, json_string_value(json_object_get(data, "device-id")));
        g_mutex_unlock(&lock);
        json_decref(event);
    }
    g_clear_error(&error);
    return alive;
}

// With the lock, which it gives back meanwhile. TRUE: the connection was there and is over.
static gboolean hold(Watcher *watcher)
{
    VfQmp *qmp;

    watcher->holds = TRUE;
    watcher->again = FALSE;
    g_mutex_unlock(&lock);
    qmp = vf_qmp_connect_watch(watcher->socket, watcher->guest, vf_pause_within(CONNECT_MS), NULL);
    g_mutex_lock(&lock);
    watcher->fd = qmp != NULL ? vf_qmp_dup_fd(qmp) : -1;
    // A wait that could not be ended would keep everybody else away.
    gboolean go_on = watcher->fd >= 0 && wanted(watcher);
    g_mutex_unlock(&lock);
    go_on = go_on && look(watcher, qmp);
    while (go_on && next_event(watcher, qmp)) {
        g_mutex_lock(&lock);
        go_on = wanted(watcher) && !watcher->again;
        g_mutex_unlock(&lock);
    }
    gboolean was_there = qmp != NULL;
    vf_qmp_free(qmp);
    g_mutex_lock(&lock);
    if (watcher->fd >= 0)
        close(watcher->fd);
    watcher->fd = -1;
    watcher->holds = FALSE;
    g_cond_broadcast(&changed);
    return was_there;
}

static gpointer watch_run(gpointer data)
{
    Watcher *watcher = data;

    g_mutex_lock(&lock);
    while (!watcher->stop) {
        if (is_used(watcher->socket))
            g_cond_wait(&changed, &lock);
        else if (!hold(watcher) && !watcher->stop)
            g_cond_wait_until(&changed, &lock, vf_pause_within(AGAIN_MS));
    }
    g_mutex_unlock(&lock);
    return NULL;
}

// ---- watches

VfWatch *vf_watch_new(const char *socket, const char *guest, const char *id, const char *key,
                      VfWatchTold told, gpointer data)
{
    VfWatch *watch = g_new0(VfWatch, 1);
    Watcher *watcher;

    watch->id = g_strdup(id);
    watch->key = g_strdup(key);
    watch->told = told;
    watch->data = data;
    g_mutex_lock(&lock);
    ensure_tables();
    watch->serial = ++serials;
    watcher = g_hash_table_lookup(watchers, socket);
    if (watcher == NULL) {
        watcher = g_new0(Watcher, 1);
        watcher->socket = g_strdup(socket);
        watcher->guest = g_strdup(guest);
        watcher->watches = g_ptr_array_new();
        watcher->fd = -1;
        g_hash_table_insert(watchers, watcher->socket, watcher);
        watcher->thread = g_thread_new("watch", watch_run, watcher);
    }
    watch->watcher = watcher;
    g_ptr_array_add(watcher->watches, watch);
    watcher->again = TRUE;
    interrupt(watcher);
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
    return watch;
}

void vf_watch_free(VfWatch *watch)
{
    Watcher *watcher = watch->watcher;
    gboolean last;

    g_mutex_lock(&lock);
    g_ptr_array_remove_fast(watcher->watches, watch);
    last = watcher->watches->len == 0;
    if (last) {
        watcher->stop = TRUE;
        interrupt(watcher);
        g_cond_broadcast(&changed);
        g_hash_table_remove(watchers, watcher->socket);
    }
    g_mutex_unlock(&lock);
    if (last) {
        g_thread_join(watcher->thread);
        g_ptr_array_unref(watcher->watches);
        g_free(watcher->socket);
        g_free(watcher->guest);
        g_free(watcher);
    }
    g_free(watch->id);
    g_free(watch->key);
    g_free(watch);
}
