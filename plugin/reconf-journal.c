// SPDX-License-Identifier: GPL-2.0-or-later
//
// The journal of a reconf: DIRECTORY/PF.json, written beside and renamed over; what a killed daemon
// left beside it is overwritten by the next one. It holds all that
// ending the reconf takes, so that neither ledger nor configuration need agree with it.

#include "reconf.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "reconf-card.h"

#define VERSION 1

static const char *const phases[] = {"pausing",  "disruptive", "creating",
                                     "resuming", "undoing",    NULL};

static char *journal_path(const char *directory, const VfPciAddr *pf)
{
    char address[VF_PCIADDR_BUFSIZE];
    g_autofree char *name = g_strconcat(vf_pciaddr_format(pf, address), ".json", NULL);

    return g_build_filename(directory, name, NULL);
}

VfReconf *vf_reconf_new(const VfPciAddr *pf, guint from, guint to)
{
    VfReconf *reconf = g_new0(VfReconf, 1);

    reconf->pf = *pf;
    reconf->from = from;
    reconf->to = to;
    vf_settings_init(&reconf->before);
    vf_settings_init(&reconf->after);
    reconf->owners = g_ptr_array_new();
    reconf->since = g_get_real_time();
    return reconf;
}

static void owner_free(VfReconfOwner *owner)
{
    g_free(owner->uuid);
    g_free(owner->domain);
    g_free(owner->device);
    g_free(owner->pool);
    g_free(owner->socket);
    g_free(owner->reset_methods);
    vf_settings_clear(&owner->before);
    vf_settings_clear(&owner->after);
    g_free(owner);
}

void vf_reconf_free(VfReconf *reconf)
{
    for (guint i = 0; i < reconf->owners->len; i++)
        owner_free(g_ptr_array_index(reconf->owners, i));
    g_ptr_array_unref(reconf->owners);
    vf_settings_clear(&reconf->before);
    vf_settings_clear(&reconf->after);
    g_free(reconf->pool);
    g_free(reconf->program);
    g_free(reconf->bitstream);
    g_free(reconf->card);
    g_clear_pointer(&reconf->connections, g_array_unref);
    g_free(reconf->autoprobe);
    g_free(reconf->note);
    g_free(reconf);
}

VfReconfOwner *vf_reconf_add(VfReconf *reconf, const char *uuid, const char *device, guint index)
{
    VfReconfOwner *owner = g_new0(VfReconfOwner, 1);

    owner->uuid = g_strdup(uuid);
    owner->device = g_strdup(device);
    owner->index = index;
    vf_settings_init(&owner->before);
    vf_settings_init(&owner->after);
    g_ptr_array_add(reconf->owners, owner);
    return owner;
}

// ---- writing

static json_t *settings_json(const VfSettings *settings)
{
    json_t *json = json_object();

    for (const char *const *key = vf_settings_keys; *key != NULL; key++) {
        g_autofree char *value = vf_settings_get(settings, *key);

        if (value != NULL)
            json_object_set_new(json, *key, json_string(value));
    }
    return json;
}

static json_t *owner_json(const VfReconfOwner *owner)
{
    char address[VF_PCIADDR_BUFSIZE];

    return json_pack("{s:s, s:s*, s:s, s:s*, s:s*, s:i, s:s, s:b, s:o, s:o, s:b, s:b, "
                     "s:s*}",
                     "uuid", owner->uuid, "domain", owner->domain, "device", owner->device, "pool",
                     owner->pool, "socket", owner->socket, "index", owner->index, "address",
                     vf_pciaddr_format(&owner->address, address), "keep-link", owner->keep_link,
                     "before", settings_json(&owner->before), "after", settings_json(&owner->after),
                     "stays-paused", owner->stays_paused, "absent",
                     owner->presence == VF_PRESENCE_NONE, "reset-methods", owner->reset_methods);
}

static char *reconf_text(const VfReconf *reconf)
{
    char address[VF_PCIADDR_BUFSIZE];
    json_t *owners = json_array(), *json;

    for (guint i = 0; i < reconf->owners->len; i++)
        json_array_append_new(owners, owner_json(g_ptr_array_index(reconf->owners, i)));
    json = json_pack("{s:i, s:s, s:s, s:i, s:i, s:o, s:o, s:s*, s:s*, s:s*, s:s*, s:s*, s:s, s:I, "
                     "s:o, s:s*, s:o}",
                     "version", VERSION, "pf", vf_pciaddr_format(&reconf->pf, address), "phase",
                     phases[reconf->phase], "from", reconf->from, "to", reconf->to, "before",
                     settings_json(&reconf->before), "after", settings_json(&reconf->after), "pool",
                     reconf->pool, "program", reconf->program, "bitstream", reconf->bitstream,
                     "autoprobe", reconf->autoprobe, "note", reconf->note, "signal",
                     vf_resume_signal_words[reconf->signal], "since", (json_int_t)reconf->since,
                     "owners", owners, "card", reconf->card, "connections",
                     vf_reconf_connections_json(reconf));
    char *text = json_dumps(json, JSON_INDENT(1));
    json_decref(json);
    return text;
}

static gboolean sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    gboolean ok = fd >= 0 && fsync(fd) == 0;
    int saved_errno = errno;

    if (fd >= 0)
        close(fd);
    errno = saved_errno;
    return ok;
}

// Durable once its name is, see sync_directory().
static gboolean write_synced(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    ssize_t length = (ssize_t)strlen(text), written = fd < 0 ? -1 : write(fd, text, (size_t)length);
    gboolean ok = written == length && fsync(fd) == 0;
    int saved_errno = written >= 0 && written < length ? ENOSPC : errno;

    if (fd >= 0)
        close(fd);
    errno = saved_errno;
    return ok;
}

static gboolean replace(const char *directory, const char *path, const char *beside,
                        const char *text)
{
    return write_synced(beside, text) && rename(beside, path) == 0 && sync_directory(directory);
}

gboolean vf_reconf_save(const VfReconf *reconf, const char *journals, GError **error)
{
    g_autofree char *path = journal_path(journals, &reconf->pf);
    g_autofree char *beside = g_strconcat(path, ".new", NULL);
    char *text = reconf_text(reconf);
    gboolean ok = text != NULL && g_mkdir_with_parents(journals, 0700) == 0 &&
                  replace(journals, path, beside, text);

    if (!ok)
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: this journal cannot be written: %s" VF_REMEDY "free some space in %s",
                    path, g_strerror(errno), journals);
    free(text);
    return ok;
}

gboolean vf_reconf_forget(const VfReconf *reconf, const char *journals, GError **error)
{
    g_autofree char *path = journal_path(journals, &reconf->pf);
    g_autofree char *beside = g_strconcat(path, ".new", NULL);

    g_unlink(beside);
    if ((g_unlink(path) == 0 || errno == ENOENT) && sync_directory(journals))
        return TRUE;
    vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", path);
    return FALSE;
}

// ---- reading

static gboolean read_settings(json_t *json, VfSettings *settings)
{
    const char *key;
    json_t *value;

    json_object_foreach(json, key, value)
    {
        const char *text = json_string_value(value);

        if (text == NULL || !vf_settings_set(settings, key, text, NULL))
            return FALSE;
    }
    return json_is_object(json);
}

static gboolean read_owner(VfReconf *reconf, json_t *json)
{
    const char *uuid, *device, *domain = NULL, *pool = NULL, *socket = NULL, *address;
    const char *reset_methods = NULL;
    int index, keep_link, stays_paused, absent;
    json_t *before, *after;

    if (json_unpack(json, "{s:s, s?s, s:s, s?s, s?s, s:i, s:s, s:b, s:o, s:o, s:b, s:b, s?s !}",
                    "uuid", &uuid, "domain", &domain, "device", &device, "pool", &pool, "socket",
                    &socket, "index", &index, "address", &address, "keep-link", &keep_link,
                    "before", &before, "after", &after, "stays-paused", &stays_paused, "absent",
                    &absent, "reset-methods", &reset_methods) != 0 ||
        index < 0)
        return FALSE;
    VfReconfOwner *owner = vf_reconf_add(reconf, uuid, device, index);
    owner->domain = g_strdup(domain);
    owner->pool = g_strdup(pool);
    owner->socket = g_strdup(socket);
    owner->reset_methods = g_strdup(reset_methods);
    owner->keep_link = keep_link;
    owner->stays_paused = stays_paused;
    owner->presence = absent ? VF_PRESENCE_NONE : VF_PRESENCE_RUNNING;
    return vf_pciaddr_parse(address, &owner->address) && read_settings(before, &owner->before) &&
           read_settings(after, &owner->after);
}

static gboolean read_word(const char *const *words, const char *word, guint *value)
{
    for (*value = 0; words[*value] != NULL; ++*value)
        if (strcmp(words[*value], word) == 0)
            return TRUE;
    return FALSE;
}

static VfReconf *read_reconf(json_t *json, const VfPciAddr *pf)
{
    const char *address, *phase, *pool = NULL, *program = NULL, *bitstream = NULL;
    const char *autoprobe = NULL, *note = NULL, *signal, *card = NULL;
    int version, from, to;
    json_int_t since;
    json_t *owners, *before, *after, *connections = NULL;
    guint phase_value, signal_value;
    VfPciAddr read;

    if (json_unpack(json,
                    "{s:i, s:s, s:s, s:i, s:i, s:o, s:o, s?s, s?s, s?s, s?s, s?s, s:s, s:I, s:o, "
                    "s?s, s?o !}",
                    "version", &version, "pf", &address, "phase", &phase, "from", &from, "to", &to,
                    "before", &before, "after", &after, "pool", &pool, "program", &program,
                    "bitstream", &bitstream, "autoprobe", &autoprobe, "note", &note, "signal",
                    &signal, "since", &since, "owners", &owners, "card", &card, "connections",
                    &connections) != 0 ||
        version != VERSION || from < 0 || to < 0 || !vf_pciaddr_parse(address, &read) ||
        !vf_pciaddr_equal(&read, pf) || !json_is_array(owners) ||
        !read_word(phases, phase, &phase_value) ||
        !read_word(vf_resume_signal_words, signal, &signal_value))
        return NULL;

    g_autoptr(VfReconf) reconf = vf_reconf_new(pf, from, to);
    reconf->phase = phase_value;
    reconf->signal = signal_value;
    reconf->pool = g_strdup(pool);
    reconf->program = g_strdup(program);
    reconf->bitstream = g_strdup(bitstream);
    reconf->autoprobe = g_strdup(autoprobe);
    reconf->note = g_strdup(note);
    reconf->since = since;
    if (!read_settings(before, &reconf->before) || !read_settings(after, &reconf->after))
        return NULL;
    for (gsize i = 0; i < json_array_size(owners); i++)
        if (!read_owner(reconf, json_array_get(owners, i)))
            return NULL;
    return vf_reconf_read_connections(reconf, card, connections) ? g_steal_pointer(&reconf) : NULL;
}

VfReconf *vf_reconf_load(const char *journals, const VfPciAddr *pf, GError **error)
{
    g_autofree char *path = journal_path(journals, pf);
    json_error_t where;
    json_t *json;

    if (!vf_reconf_has_journal(journals, pf))
        return NULL;
    json = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    VfReconf *reconf = json != NULL ? read_reconf(json, pf) : NULL;
    json_decref(json);
    if (reconf == NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL,
                    "%s: this journal of a reconf cannot be understood" VF_REMEDY
                    "shut down the guests of that card, and remove the file",
                    path);
    return reconf;
}

gboolean vf_reconf_has_journal(const char *journals, const VfPciAddr *pf)
{
    g_autofree char *path = journal_path(journals, pf);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

GArray *vf_reconf_open(const char *journals)
{
    GArray *found = g_array_new(FALSE, FALSE, sizeof(VfPciAddr));
    g_autoptr(GDir) dir = g_dir_open(journals, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *address = g_strdup(name);
        VfPciAddr pf;

        if (!g_str_has_suffix(name, ".json"))
            continue;
        address[strlen(address) - strlen(".json")] = '\0';
        if (vf_pciaddr_parse(address, &pf))
            g_array_append_val(found, pf);
    }
    return found;
}
