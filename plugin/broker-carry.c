// SPDX-License-Identifier: GPL-2.0-or-later
//
// The steps of a change, in their order: whatever can be seen beforehand to fail; victims paused,
// saved, disconnected; the image; the context, the connection, the device. What failed says how far
// it came, and is undone as accel.h asks for.

#include <glib/gstdio.h>

#include "broker-change.h"
#include "error.h"
#include "reconf-jobs.h"

#define LOAD_MS 60000
#define CARD_MS 5000

// Before anybody is disturbed: is there a PF, an image worth loading, a guest to load it for?
static gboolean look_ahead(VfChange *change, const VfBrokerWork *work, GError **error)
{
    gint64 began = g_get_monotonic_time();
    gboolean ok;

    if (!vf_reconf_is_over(work->options->run_dir, &change->pf, error) ||
        !vf_broker_reach(work, change->owner, error))
        return FALSE;
    if (change->loads && change->image == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE, "its image was removed meanwhile");
        return FALSE;
    }
    ok = !change->loads || vf_image_verify(change->image, change->verify, error);
    change->parts[VF_PART_LOAD] += g_get_monotonic_time() - began;
    return ok;
}

static gboolean take_away(VfChange *change, const VfBrokerWork *work, GError **error)
{
    if (!vf_broker_pause(work, change->owners, error))
        return FALSE;
    for (guint i = 0; i < change->victims->len; i++) {
        VfVictim *victim = g_ptr_array_index(change->victims, i);

        if (!victim->active)
            continue;
        if (!vf_broker_save(work, change->local, victim->context, error) ||
            !vf_broker_disconnect(work, victim->index, error))
            return FALSE;
        victim->disconnected = TRUE;
    }
    return TRUE;
}

static void give_back(VfChange *change, const VfBrokerWork *work)
{
    g_autoptr(GError) cause = NULL;
    gboolean ok = TRUE;

    for (guint i = 0; i < change->victims->len; i++) {
        VfVictim *victim = g_ptr_array_index(change->victims, i);

        // One whose disconnect failed half way is looked at, too.
        if (victim->active)
            ok = ok && vf_broker_connect(work, change->local, victim->index, victim->context, TRUE,
                                         &cause);
        if (victim->active && ok)
            g_unlink(victim->context);
    }
    ok = ok && vf_broker_resume(work, change->actives, &cause);
    if (!ok)
        g_prefix_error(&change->error,
                       "the devices paused for it stay so for now (%s): ", cause->message);
    change->lost = !ok;
}

static gboolean load(VfChange *change, const VfBrokerWork *work, GError **error)
{
    gint64 began = g_get_monotonic_time();
    gboolean ok = !change->loads || vf_card_load(work->card, change->local, change->image->path,
                                                 began + LOAD_MS * G_TIME_SPAN_MILLISECOND, error);

    change->parts[VF_PART_LOAD] += g_get_monotonic_time() - began;
    return ok;
}

// A failure before the first step: with victims, they hold as before; without, the region is left
// alone for a while, or this would be tried again at once.
static VfAccelStep first_step(const VfChange *change)
{
    if (change->victims->len > 0)
        return VF_ACCEL_STEP_PAUSE;
    return change->loads ? VF_ACCEL_STEP_LOAD : VF_ACCEL_STEP_CONNECT;
}

void vf_change_run(gpointer data)
{
    VfChange *change = data;
    VfBrokerWork work = {&change->broker->daemon->options, change->card, change->pf, change->parts};

    change->step = first_step(change);
    if (change->error != NULL || !look_ahead(change, &work, &change->error))
        return;
    if (!take_away(change, &work, &change->error)) {
        give_back(change, &work);
        return;
    }
    change->step = VF_ACCEL_STEP_LOAD;
    if (!load(change, &work, &change->error) || change->key == NULL)
        return;
    change->step = VF_ACCEL_STEP_CONNECT;
    // Without a context of its own that was saved, it begins with a clear one.
    if (vf_broker_connect(&work, change->local, change->index, change->context, FALSE,
                          &change->error) &&
        vf_broker_resume(&work, change->owner, &change->error))
        return;
    vf_broker_pause(&work, change->owner, NULL);
    vf_card_disconnect(work.card, change->index,
                       g_get_monotonic_time() + CARD_MS * G_TIME_SPAN_MILLISECOND, NULL);
}
