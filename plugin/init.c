// SPDX-License-Identifier: GPL-2.0-or-later
//
// `virtfn init`: brings pools up, pool by pool and function by function, and tells each step as it
// happens (NDJSON). Idempotent: a function that has an owner is left as it is. With a bitstream the
// pool's program flashes each card first, while the card has no owner and no VFs.

#include <string.h>

#include "broker.h"
#include "domains.h"
#include "error.h"
#include "io.h"
#include "jsontext.h"
#include "lifecycle.h"
#include "program.h"
#include "routes.h"
#include "sriov.h"
#include "work.h"

typedef struct {
    VfDaemon *daemon;
    VfStream *stream;
    char *bitstream;
    guint jobs;
    gboolean failed;
} Init;

static void emit(Init *init, GString *event)
{
    g_string_append_c(event, '\n');
    vf_stream_write(init->stream, event->str);
    g_string_free(event, TRUE);
}

static void emit_step(Init *init, const char *pool, const VfPciAddr *pf, const char *text)
{
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'step','pool':%s,'pf':%a,'text':%s}", pool, pf, text);
    emit(init, event);
}

static void emit_problem(Init *init, const char *pool, const VfPciAddr *pf, const GError *error)
{
    GString *event = g_string_new(NULL);

    init->failed = TRUE;
    vf_json_append(event, "{'event':'problem','pool':%s,'pf':%a,'problem':", pool, pf);
    vf_problem_json(event, error);
    vf_json_append(event, "}");
    emit(init, event);
}

static void emit_text_problem(Init *init, const char *pool, const VfPciAddr *pf, const char *text)
{
    g_autoptr(GError) error = g_error_new(VF_ERROR, VF_ERROR_CONFIG, "%s", text);

    emit_problem(init, pool, pf, error);
}

// One job less; the last one ends the story.
static void finish_one(Init *init)
{
    VfDaemon *daemon = init->daemon;
    GString *event;

    if (--init->jobs > 0)
        return;
    vf_daemon_refresh(daemon);
    vf_domains_resync(daemon); // renders, and attaches to the guests that run without
    event = g_string_new(NULL);
    vf_json_append(event, "{'event':'done','ok':%b}", !init->failed);
    emit(init, event);
    vf_stream_end(init->stream);
    g_free(init->bitstream);
    g_free(init);
}

static void slot_ready(VfWork *work, const GError *error, gpointer data)
{
    Init *init = data;
    const VfProvision *p = work->provision;
    VfDaemon *daemon = init->daemon;
    char address[VF_PCIADDR_BUFSIZE];
    guint pool, slot;

    if (error != NULL) {
        emit_problem(init, p->pool, &p->pf, error);
    } else {
        g_autofree char *text = g_strdup_printf("VF %u is ready at %s", p->index,
                                                vf_pciaddr_format(&p->address, address));
        emit_step(init, p->pool, &p->pf, text);
    }
    if (vf_inventory_pool(daemon->inventory, p->pool, &pool) != NULL) {
        slot = vf_inventory_slot(vf_daemon_pool(daemon, pool), &p->pf, p->index);
        if (slot != VF_NO_SLOT && (error == NULL || work->held))
            vf_daemon_quarantine(daemon, pool, slot, error != NULL ? error->message : NULL);
    }
    finish_one(init);
}

// ---- flashing

typedef struct {
    Init *init;
    const char *root, *helper;
    char *program, *bitstream, *pool;
    VfPciAddr pf;
    gboolean has_owner;
    GError *error;
} Flash;

static void flash_begin(gpointer data)
{
    Flash *flash = data;
    VfDaemon *daemon = flash->init->daemon;
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->state != VF_LEASE_RESERVED &&
            vf_pciaddr_equal(vf_daemon_lease_pf(daemon, lease), &flash->pf))
            flash->has_owner = TRUE;
    }
}

static void flash_run(gpointer data)
{
    Flash *flash = data;
    char address[VF_PCIADDR_BUFSIZE];

    if (!vf_program_can_flash(flash->program, flash->pool, &flash->error))
        return;
    if (flash->has_owner) {
        g_set_error(&flash->error, VF_ERROR, VF_ERROR_BUSY,
                    "%s: guests use its functions" VF_REMEDY "stop them before flashing the card",
                    vf_pciaddr_format(&flash->pf, address));
    } else if (vf_sriov_set_count(flash->root, &flash->pf, 0, flash->helper, &flash->error)) {
        vf_program_flash(flash->program, flash->pool, &flash->pf, flash->bitstream, &flash->error);
    }
}

static void flash_done(gpointer data)
{
    Flash *flash = data;

    if (flash->error != NULL)
        emit_problem(flash->init, flash->pool, &flash->pf, flash->error);
    else
        emit_step(flash->init, flash->pool, &flash->pf, "bitstream loaded");
    vf_broker_reload(flash->init->daemon);
    finish_one(flash->init);
    g_clear_error(&flash->error);
    g_free(flash->program);
    g_free(flash->bitstream);
    g_free(flash->pool);
    g_free(flash);
}

static void flash_pf(Init *init, const VfInvPool *pool, const VfInvPf *pf)
{
    Flash *flash = g_new0(Flash, 1);
    VfLaneJob job = {flash_begin, flash_run, flash_done, flash};

    flash->init = init;
    flash->root = init->daemon->options.root;
    flash->helper = init->daemon->options.helper;
    flash->program = g_strdup(pool->config->bitstream_program);
    flash->bitstream = g_strdup(init->bitstream);
    flash->pool = g_strdup(pool->config->name);
    flash->pf = pf->pci.address;
    init->jobs++;
    vf_lanes_submit(init->daemon->lanes, &pf->pci.address, &job);
}

// ---- pools

static void init_slot(Init *init, guint pool, guint slot)
{
    VfDaemon *daemon = init->daemon;
    const VfSlot *s = vf_daemon_slot(daemon, pool, slot);
    const VfLease *lease = vf_allocator_at(daemon->allocator, pool, slot);

    if (s->index >= s->pf->count && s->index >= s->pf->vfs)
        return; // exists only once the pool has grown
    if (lease != NULL && lease->state != VF_LEASE_RESERVED) {
        g_autofree char *text =
            g_strdup_printf("VF %u belongs to domain '%s'", s->index, lease->domain);

        emit_step(init, vf_daemon_pool(daemon, pool)->config->name, &s->pf->pci.address, text);
        return;
    }
    init->jobs++;
    vf_work_ready_slot(daemon, pool, slot, slot_ready, init);
}

static void init_pool(Init *init, guint number)
{
    VfDaemon *daemon = init->daemon;
    const VfInvPool *pool = vf_daemon_pool(daemon, number);

    if (pool->problem != NULL)
        emit_text_problem(init, pool->config->name, NULL, pool->problem);
    for (guint i = 0; i < pool->pfs->len; i++) {
        const VfInvPf *pf = g_ptr_array_index(pool->pfs, i);

        if (pf->problem != NULL)
            emit_text_problem(init, pool->config->name, &pf->pci.address, pf->problem);
        else if (init->bitstream != NULL)
            flash_pf(init, pool, pf);
    }
    for (guint s = 0; s < pool->slots->len; s++)
        if (vf_daemon_slot(daemon, number, s)->pf->problem == NULL)
            init_slot(init, number, s);
}

static gboolean read_request(VfRequest *request, VfDaemon *daemon, json_t *json, GArray *pools,
                             const char **bitstream, GError **error)
{
    json_t *names = NULL, *name;
    json_error_t where;
    size_t i;
    guint number;

    *bitstream = NULL;
    if (json_unpack_ex(json, &where, JSON_STRICT, "{s?o, s?s}", "pools", &names, "bitstream",
                       bitstream) != 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "init: %s", where.text);
        return FALSE;
    }
    if (names != NULL && !json_is_array(names)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "init: pools is no array of names");
        return FALSE;
    }
    if (*bitstream != NULL && !g_path_is_absolute(*bitstream)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "init: bitstream '%.40s' is no absolute path",
                    *bitstream);
        return FALSE;
    }
    if (daemon->config_error != NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s", daemon->config_error);
        return FALSE;
    }
    for (number = 0; names == NULL && number < daemon->inventory->pools->len; number++)
        g_array_append_val(pools, number);
    json_array_foreach(names, i, name)
    {
        const char *text = json_string_value(name);

        if (text == NULL || vf_inventory_pool(daemon->inventory, text, &number) == NULL) {
            g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                        "pool '%.40s': there is no such pool" VF_REMEDY
                        "'virtfn list pools' names them",
                        text != NULL ? text : "(no string)");
            return FALSE;
        }
        g_array_append_val(pools, number);
    }
    return TRUE;
}

void vf_route_init(VfRequest *request, gpointer data)
{
    VfDaemon *daemon = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) pools = g_array_new(FALSE, FALSE, sizeof(guint));
    json_t *json = vf_request_json(request, &error);
    const char *bitstream;

    vf_daemon_reload(daemon);
    if (json == NULL || !read_request(request, daemon, json, pools, &bitstream, &error)) {
        json_decref(json);
        vf_request_reply_error(request, error);
        return;
    }
    Init *init = g_new0(Init, 1);
    init->daemon = daemon;
    init->bitstream = g_strdup(bitstream);
    init->stream = vf_request_stream(request, "application/x-ndjson");
    json_decref(json);
    init->jobs = 1; // this function
    for (guint i = 0; i < pools->len; i++)
        init_pool(init, g_array_index(pools, guint, i));
    finish_one(init);
}
