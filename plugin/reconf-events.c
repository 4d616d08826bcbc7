// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an operator's reconf tells its client, an event a line (NDJSON): the plan, each step, times,
// problems, the end. Events come in the order of what happened, also those of worker threads.
// Decides nothing.

#include <string.h>

#include "choices.h"
#include "jsontext.h"
#include "reconf-order.h"

static void emit(VfReconfOrder *order, GString *event)
{
    g_string_append_c(event, '\n');
    vf_stream_write(order->stream, event->str);
    g_string_free(event, TRUE);
}

typedef struct {
    VfReconfOrder *order;
    VfReconfStep step;
    char *what, *owner;
} Told;

void vf_order_tell_step(VfReconfOrder *order, VfReconfStep step, const char *what,
                        const char *owner)
{
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'step','pf':%a,'step':%s,'what':%s,'owner':%s}", &order->pf,
                   vf_reconf_step_word(step), what, owner);
    emit(order, event);
}

static Told *told_new(VfReconfOrder *order, VfReconfStep step, const char *what, const char *owner)
{
    Told *told = g_new(Told, 1);

    *told = (Told){order, step, g_strdup(what), g_strdup(owner)};
    return told;
}

static void told_free(gpointer data)
{
    Told *told = data;

    g_free(told->what);
    g_free(told->owner);
    g_free(told);
}

static gboolean emit_told(gpointer data)
{
    const Told *told = data;

    vf_order_tell_step(told->order, told->step, told->what, told->owner);
    return G_SOURCE_REMOVE;
}

// Of the priority that the end of a job has, so that it comes before that.
void vf_order_tell_later(VfReconfStep step, const char *what, const char *owner, gpointer data)
{
    g_idle_add_full(G_PRIORITY_DEFAULT, emit_told, told_new(data, step, what, owner), told_free);
}

static void append_profiles(GString *event, const VfReconfOrder *order)
{
    const VfDaemon *daemon = order->daemon;

    for (guint number = 0; number < daemon->inventory->pools->len; number++) {
        const VfInvPool *pool = vf_daemon_pool(daemon, number);
        const char *before = vf_choice_name(daemon, number, &order->pf), *after = before;

        if (!vf_order_has_pool(order, pool))
            continue;
        if (order->pool == NULL || strcmp(order->pool, pool->config->name) == 0)
            after = order->profile != NULL ? order->profile : pool->config->profile;
        vf_json_next(event);
        vf_json_append(event, "{'pool':%s,'before':%s,'after':%s}", pool->config->name, before,
                       after);
    }
}

static void append_changes(GString *event, const VfReconfOwner *owner)
{
    for (guint i = 0; vf_settings_keys[i] != NULL; i++) {
        g_autofree char *before = vf_settings_get(&owner->before, vf_settings_keys[i]);
        g_autofree char *after = vf_settings_get(&owner->after, vf_settings_keys[i]);

        if (g_strcmp0(before, after) == 0)
            continue;
        vf_json_next(event);
        vf_json_append(event, "{'setting':%s,'before':%s,'after':%s}", vf_settings_keys[i], before,
                       after);
    }
}

void vf_order_tell_plan(VfReconfOrder *order)
{
    const VfReconf *reconf = order->reconf;
    gint64 outage = vf_reconf_last_outage(order->daemon, &order->pf);
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'plan','pf':%a,'from':%i,'to':%i,'needed':%b,", &order->pf,
                   reconf->from, reconf->to, vf_reconf_is_needed(reconf));
    if (outage > 0)
        vf_json_append(event, "'last_outage_us':%I,'profiles':[", outage);
    else
        vf_json_append(event, "'last_outage_us':null,'profiles':[");
    append_profiles(event, order);
    vf_json_append(event, "],'owners':[");
    for (guint i = 0; i < reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);

        vf_json_next(event);
        vf_json_append(event,
                       "{'domain':{'uuid':%s,'name':%s},'device':%s,'index':%i,'address':%a,"
                       "'stays_paused':%b,'changes':[",
                       owner->uuid, owner->domain, owner->device, owner->index, &owner->address,
                       owner->stays_paused);
        append_changes(event, owner);
        vf_json_append(event, "]}");
    }
    vf_json_append(event, "]}");
    emit(order, event);
}

void vf_order_tell_problem(VfReconfOrder *order)
{
    GString *event = g_string_new(NULL);

    order->failed = TRUE;
    vf_json_append(event, "{'event':'problem','pf':%a,'problem':", &order->pf);
    vf_problem_json(event, order->error);
    vf_json_append(event, "}");
    emit(order, event);
}

void vf_order_tell_times(VfReconfOrder *order)
{
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'times','pf':%a,'outage_us':%I,'steps_us':{", &order->pf,
                   order->times.outage);
    for (guint step = 0; step < VF_RECONF_STEPS; step++) {
        g_string_append(event, step > 0 ? "," : "");
        vf_json_append(event, "%s:%I", vf_reconf_step_word(step), order->times.steps[step]);
    }
    vf_json_append(event, "}}");
    emit(order, event);
}

void vf_order_tell_end(VfReconfOrder *order)
{
    GString *event = g_string_new(NULL);

    vf_json_append(event, "{'event':'done','ok':%b}", !order->failed);
    emit(order, event);
    vf_stream_end(order->stream);
}
