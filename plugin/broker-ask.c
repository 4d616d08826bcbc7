// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests as they come and go: from a domain that starts, from the API, from a guest that touches
// its device; and their end with the lease. Only the table is asked here; hardware is for
// broker-change.c and broker-settle.c.

#include <glib/gstdio.h>
#include <string.h>

#include "broker-parts.h"
#include "error.h"
#include "log.h"

void vf_broker_fill_ask(const VfBroker *broker, const VfAttachment *row, VfAccelAsk *ask)
{
    *ask = (VfAccelAsk){
        .uuid = row->uuid,
        .device = row->device,
        .accelerator = vf_broker_accelerator(broker, row->ask.accelerator),
        .priority = row->ask.priority,
        .group = vf_config_group(broker->daemon->config, row->domain),
        .card = vf_broker_card_number(broker, &row->pf),
        .function = row->index,
        .shared = row->ask.shared,
        .weight = row->ask.weight,
    };
}

// ---- what is wrong with a request

static void set_unknown(const VfBroker *broker, const char *accelerator, GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "accelerator '%.40s': there is no such accelerator" VF_REMEDY
                "accelerators are described in %s",
                accelerator, broker->daemon->options.config_dir);
}

static void set_ceiling(const VfBroker *broker, const char *domain, guint priority, GError **error)
{
    const GPtrArray *groups = broker->daemon->config->groups;
    const VfGroupConfig *group =
        g_ptr_array_index(groups, vf_config_group(broker->daemon->config, domain));

    g_set_error(error, VF_ERROR, VF_ERROR_DENIED,
                "domain '%s': priority %u is above the ceiling %u of group '%s'" VF_REMEDY
                "ask with a lower one",
                domain, priority, MIN(group->limits.ceiling, VF_ACCEL_PRIORITY_MAX), group->name);
}

static void set_no_image(const VfBroker *broker, const VfPciAddr *pf, const char *accelerator,
                         GError **error)
{
    const VfBrokerCard *card = vf_broker_card_of(broker, pf);
    char address[VF_PCIADDR_BUFSIZE];

    if (card != NULL && card->problem != NULL)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE, "%s", card->problem);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "accelerator '%s': no image of it fits a region of %s" VF_REMEDY
                    "add one with 'virtfn image add'",
                    accelerator, vf_pciaddr_format(pf, address));
}

gboolean vf_broker_verdict(const VfBroker *broker, const VfAttachment *row, VfAccelVerdict verdict,
                           GError **error)
{
    const char *domain = *row->domain != '\0' ? row->domain : row->uuid;

    switch (verdict) {
    case VF_ACCEL_OK:
        return TRUE;
    case VF_ACCEL_UNKNOWN:
        set_unknown(broker, row->ask.accelerator, error);
        break;
    case VF_ACCEL_NO_IMAGE:
        set_no_image(broker, &row->pf, row->ask.accelerator, error);
        break;
    case VF_ACCEL_CEILING:
        set_ceiling(broker, domain, row->ask.priority, error);
        break;
    case VF_ACCEL_NOT_SHARED:
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "accelerator '%s': it is not shareable" VF_REMEDY
                    "ask without sharing, or set 'shareable = yes' in its [accelerator]",
                    row->ask.accelerator);
        break;
    case VF_ACCEL_ALREADY:
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s', device '%s': it has a request already" VF_REMEDY
                    "remap it, or detach it first",
                    domain, row->device);
        break;
    case VF_ACCEL_QUEUE_FULL:
    case VF_ACCEL_TABLE_FULL:
        g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                    "domain '%s', device '%s': as many requests wait as may" VF_REMEDY
                    "try again later, or raise 'waiting' in [accelerators] or in its [group]",
                    domain, row->device);
        break;
    case VF_ACCEL_SAME:
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s', device '%s': it is mapped to accelerator '%s' already", domain,
                    row->device, row->ask.accelerator);
        break;
    case VF_ACCEL_NOT_NOW:
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "domain '%s', device '%s': a change of it is under way" VF_REMEDY
                    "try again in a moment",
                    domain, row->device);
        break;
    case VF_ACCEL_BAD_ASK:
    case VF_ACCEL_IN_USE: {
        char pf[VF_PCIADDR_BUFSIZE];

        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s', device '%s': VF %u of %s cannot be connected" VF_REMEDY
                    "see 'virtfn status' for its card",
                    domain, row->device, row->index, vf_pciaddr_format(&row->pf, pf));
        break;
    }
    }
    return FALSE;
}

static gboolean has_place(const VfBroker *broker, const VfBrokerCard *card, guint accelerator)
{
    for (guint i = 0; i < card->count; i++) {
        const VfAccelRegion *region = vf_accel_region(broker->accel, card->first + i);

        if (region->loaded == accelerator || vf_broker_has_image(broker, accelerator, region->kind))
            return TRUE;
    }
    return FALSE;
}

gboolean vf_broker_check(const VfBroker *broker, const char *domain, const VfPciAddr *pf,
                         const VfBrokerAsk *ask, GError **error)
{
    const VfConfig *config = broker->daemon->config;
    const VfGroupConfig *group = g_ptr_array_index(config->groups, vf_config_group(config, domain));
    guint accelerator = vf_broker_accelerator(broker, ask->accelerator);
    const VfBrokerCard *card = vf_broker_card_of(broker, pf);
    VfAttachment row = {.domain = (char *)domain, .ask = *ask, .pf = *pf};
    VfAccelVerdict verdict = VF_ACCEL_OK;
    char address[VF_PCIADDR_BUFSIZE];

    if (accelerator == VF_ACCEL_NONE)
        verdict = VF_ACCEL_UNKNOWN;
    else if (ask->priority > MIN(group->limits.ceiling, VF_ACCEL_PRIORITY_MAX))
        verdict = VF_ACCEL_CEILING;
    else if (ask->shared && !vf_broker_accelerator_config(broker, accelerator)->shareable)
        verdict = VF_ACCEL_NOT_SHARED;
    else if (card != NULL && card->problem == NULL && vf_broker_ready(broker) &&
             !has_place(broker, card, accelerator)) // one that is away may be back in time
        verdict = VF_ACCEL_NO_IMAGE;
    if (verdict == VF_ACCEL_OK && card == NULL && vf_broker_ready(broker)) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "domain '%s': %s is no card with accelerators" VF_REMEDY
                    "name a pool with a 'card', or give its pool one",
                    domain, vf_pciaddr_format(pf, address));
        return FALSE;
    }
    return vf_broker_verdict(broker, &row, verdict, error);
}

// ---- asking

gboolean vf_broker_ask(VfBroker *broker, VfAttachment *row, GError **error)
{
    VfAccelAsk ask;
    VfAccelVerdict verdict;

    vf_broker_fill_ask(broker, row, &ask);
    verdict = vf_accel_request(broker->accel, &ask, vf_broker_now(), &broker->out[0]);
    if (!vf_broker_verdict(broker, row, verdict, error))
        return FALSE;
    row->request = broker->out[0].request;
    row->state = VF_ATTACH_ASKED;
    g_clear_pointer(&row->watch, vf_watch_free);
    g_clear_pointer(&row->problem, g_free);
    vf_broker_carry_out(broker, 1);
    if (broker->quiet) // the next daemon answers
        vf_broker_store(broker, row);
    return TRUE;
}

// A guest that runs cannot be refused: its device stays paused, and it is tried again.
static void ask_for_guest(VfBroker *broker, VfAttachment *row)
{
    g_autoptr(GError) error = NULL;

    if (vf_broker_ask(broker, row, &error))
        return;
    if (g_strcmp0(row->problem, error->message) != 0)
        vf_log(G_LOG_LEVEL_WARNING, row->domain, NULL, "%s", error->message);
    vf_broker_set_problem(row, "%s", error->message);
    row->due = TRUE;
    vf_broker_settle(broker, row);
}

void vf_broker_wake(VfBroker *broker, VfAttachment *row)
{
    if (row->state == VF_ATTACH_ASLEEP && vf_broker_ready(broker))
        ask_for_guest(broker, row);
}

gboolean vf_broker_plan(VfDaemon *daemon, const VfLease *lease, const VfBrokerAsk *ask,
                        GError **error)
{
    VfBroker *broker = daemon->broker;
    const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);
    VfAttachment *row = vf_broker_find(broker, lease->uuid, lease->device);

    if (!vf_broker_check(broker, vf_lease_holder(lease), &slot->pf->pci.address, ask, error)) {
        g_prefix_error(error, "domain '%s', device '%s': ", vf_lease_holder(lease), lease->device);
        return FALSE;
    }
    if (row != NULL) // of an earlier run
        vf_broker_forget(broker, row);
    if (vf_broker_find(broker, lease->uuid, lease->device) != NULL)
        return vf_broker_verdict(broker, row, VF_ACCEL_NOT_NOW, error);
    row = vf_broker_add_row(broker, lease->uuid, lease->device);
    row->domain = g_strdup(vf_lease_holder(lease));
    vf_broker_ask_copy(&row->ask, ask);
    row->pf = slot->pf->pci.address;
    row->index = slot->index;
    row->state = VF_ATTACH_PLANNED;
    vf_broker_store(broker, row);
    return TRUE;
}

// ---- the lease's life

static void lease_runs(VfBroker *broker, VfAttachment *row)
{
    if (row->state == VF_ATTACH_PLANNED && row->ask.on_access) {
        row->state = VF_ATTACH_ASLEEP;
        row->due = TRUE;
        vf_broker_store(broker, row);
    }
    if (!vf_broker_ready(broker))
        return; // the new table comes by
    if (row->state == VF_ATTACH_PLANNED)
        ask_for_guest(broker, row);
    else if (row->due)
        vf_broker_settle(broker, row);
}

static void begin_leaving(VfBroker *broker, VfAttachment *row)
{
    if (row->state == VF_ATTACH_LEAVING)
        return;
    row->state = VF_ATTACH_LEAVING;
    g_clear_pointer(&row->watch, vf_watch_free);
    if (row->request != NULL)
        vf_accel_leave(broker->accel, row->request);
    vf_broker_store(broker, row);
}

void vf_broker_lease_changed(VfDaemon *daemon, const VfLease *lease)
{
    VfBroker *broker = daemon->broker;
    VfAttachment *row = broker != NULL ? vf_broker_find(broker, lease->uuid, lease->device) : NULL;

    if (row == NULL)
        return;
    if (lease->state == VF_LEASE_RUNNING && !lease->attach)
        lease_runs(broker, row);
    else if (lease->state == VF_LEASE_RELEASING)
        begin_leaving(broker, row);
    else if (lease->state == VF_LEASE_RESERVED)
        vf_broker_forget(broker, row);
}

void vf_broker_lease_gone(VfDaemon *daemon, const VfLease *lease)
{
    VfAttachment *row =
        daemon->broker != NULL ? vf_broker_find(daemon->broker, lease->uuid, lease->device) : NULL;

    if (row != NULL)
        vf_broker_forget(daemon->broker, row);
}

void vf_broker_forget(VfBroker *broker, VfAttachment *row)
{
    guint n = 0, region = VF_ACCEL_NONE;

    if (row->request != NULL && row->request->state == VF_ACCEL_TAKING) {
        row->gone = TRUE; // its change has to end first
        begin_leaving(broker, row);
        return;
    }
    if (row->request != NULL) {
        region = row->request->region;
        n = vf_accel_release(broker->accel, row->request, vf_broker_now(), broker->out);
    }
    vf_broker_drop_row(broker, row);
    vf_broker_carry_out(broker, n);
    if (region != VF_ACCEL_NONE)
        vf_broker_turns(broker, region);
}

// ---- letting go on request

static void detached(VfAttachment *row, const GError *error, gpointer data)
{
    VfBroker *broker = data;

    if (row == NULL)
        return;
    if (error == NULL) {
        vf_log(G_LOG_LEVEL_MESSAGE, row->domain, NULL,
               "domain '%s', device '%s': accelerator '%s' detached", row->domain, row->device,
               row->ask.accelerator);
        if (row->hot)
            vf_broker_unplug(broker, row->uuid, row->device);
        vf_broker_forget(broker, row);
        return;
    }
    vf_log(G_LOG_LEVEL_WARNING, row->domain, NULL, "domain '%s', device '%s': detach: %s",
           row->domain, row->device, error->message);
    vf_broker_set_problem(row, "%s", error->message);
    row->due = TRUE; // tried again
}

void vf_broker_let_go(VfBroker *broker, VfAttachment *row)
{
    gboolean changing = row->request != NULL && (row->request->state == VF_ACCEL_TAKING ||
                                                 row->request->state == VF_ACCEL_YIELDING);

    begin_leaving(broker, row);
    if (!changing && !row->detaching)
        vf_broker_detach(broker, row, TRUE, detached, broker);
}

// ---- another accelerator

gboolean vf_broker_remap_check(const VfBroker *broker, const VfAttachment *row,
                               const char *accelerator, GError **error)
{
    guint number = vf_broker_accelerator(broker, accelerator);
    VfAttachment wish = *row;

    if (row->request == NULL || row->state != VF_ATTACH_ASKED || row->detaching)
        return vf_broker_verdict(broker, row, VF_ACCEL_NOT_NOW, error);
    wish.ask.accelerator = (char *)accelerator;
    return vf_broker_verdict(broker, &wish,
                             vf_accel_remap_check(broker->accel, row->request, number), error);
}

// Its function was disconnected, if it had a region.
gboolean vf_broker_remap(VfBroker *broker, VfAttachment *row, const char *accelerator,
                         GError **error)
{
    g_autofree char *context = NULL;
    guint region;

    if (!vf_broker_remap_check(broker, row, accelerator, error))
        return FALSE;
    region = row->request->region;
    context = vf_broker_context_path(broker, row);
    g_unlink(context); // of no use to another accelerator
    g_free(row->ask.accelerator);
    row->ask.accelerator = g_strdup(accelerator);
    row->active = FALSE;
    guint n =
        vf_accel_remap(broker->accel, row->request, vf_broker_accelerator(broker, accelerator),
                       vf_broker_now(), broker->out);
    vf_broker_carry_out(broker, n);
    if (broker->quiet)
        vf_broker_store(broker, row);
    if (region != VF_ACCEL_NONE)
        vf_broker_turns(broker, region);
    return TRUE;
}
