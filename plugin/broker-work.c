// SPDX-License-Identifier: GPL-2.0-or-later
//
// The steps of changes, each blocking and bounded, in the lane of a PF: guests are paused and
// resumed, contexts saved, regions connected. Each may be done again: what is so already is no
// step. What a failure means is for the callers.

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "broker-parts.h"
#include "error.h"
#include "reconf-guests.h"

// QEMU bounds a pause itself; a resume takes the function's reset, 100 ms as a rule.
#define PAUSE_MS 4000
#define RESUME_MS 8000
#define CARD_MS 5000

static gint64 begin(void)
{
    return g_get_monotonic_time();
}

static void end(const VfBrokerWork *work, VfPart part, gint64 began)
{
    if (work->parts != NULL)
        work->parts[part] += g_get_monotonic_time() - began;
}

// ---- guests

gboolean vf_broker_reach(const VfBrokerWork *work, VfReconf *owners, GError **error)
{
    g_autoptr(VfGuests) guests = vf_guests_new(owners, work->options->root, NULL, NULL);

    return vf_guests_look(guests, vf_pause_within(PAUSE_MS), error);
}

gboolean vf_broker_pause(const VfBrokerWork *work, VfReconf *owners, GError **error)
{
    gint64 began = begin();
    gboolean ok, runs = FALSE;

    if (owners->owners->len == 0)
        return TRUE;
    g_autoptr(VfGuests) guests = vf_guests_new(owners, work->options->root, NULL, NULL);
    ok = vf_guests_look(guests, vf_pause_within(PAUSE_MS), error);
    for (guint i = 0; i < vf_guests_count(guests); i++) {
        VfMember *member = vf_guests_member(guests, i);

        // A pause of what is paused already would be somebody else's to end.
        member->owner->stays_paused = member->state == VF_PAUSE_PAUSED;
        runs |= member->state == VF_PAUSE_RUNNING;
    }
    ok = ok && (!runs || (vf_guests_check(guests, vf_pause_within(PAUSE_MS), error) &&
                          vf_guests_pause(guests, vf_pause_within(PAUSE_MS), error)));
    end(work, VF_PART_PAUSE, began);
    return ok;
}

// Devices that an operator has paused stay so, and those that are not there have nothing to resume.
static gboolean resume(const VfBrokerWork *work, VfReconf *owners, GError **error)
{
    g_autoptr(VfGuests) guests = vf_guests_new(owners, work->options->root, NULL, NULL);

    if (!vf_guests_look(guests, vf_pause_within(PAUSE_MS), error))
        return FALSE;
    for (guint i = 0; i < vf_guests_count(guests); i++) {
        VfMember *member = vf_guests_member(guests, i);

        if (member->state == VF_PAUSE_PAUSED && !member->owner->stays_paused &&
            !vf_guests_ready(guests, member, &owners->pf, work->options->helper,
                             &member->owner->after, error)) {
            g_prefix_error(error, "domain '%s', device '%s': ", member->owner->domain,
                           member->owner->device);
            return FALSE;
        }
    }
    return vf_guests_resume(guests, owners->signal, vf_pause_within(RESUME_MS), error);
}

gboolean vf_broker_resume(const VfBrokerWork *work, VfReconf *owners, GError **error)
{
    gint64 began = begin();
    gboolean ok = owners->owners->len == 0 || resume(work, owners, error);

    end(work, VF_PART_RESUME, began);
    return ok;
}

// ---- contexts

// Whole or not there: a daemon may be killed here. The boot's end takes guest and context alike, so
// nothing is synced.
static gboolean write_context(const char *path, GBytes *context, GError **error)
{
    g_autofree char *beside = g_strconcat(path, ".new", NULL);
    gsize length, written = 0;
    const char *bytes = g_bytes_get_data(context, &length);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    while (fd >= 0 && written < length) {
        ssize_t n = write(fd, bytes + written, length - written);

        if (n < 0)
            break;
        written += (gsize)n;
    }
    int saved_errno = errno;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && written == length && rename(beside, path) == 0)
        return TRUE;
    if (fd >= 0 && written == length)
        saved_errno = errno;
    g_unlink(beside);
    vf_error_set_errno(error, VF_ERROR_INTERNAL, saved_errno, "%s", path);
    return FALSE;
}

gboolean vf_broker_save(const VfBrokerWork *work, guint region, const char *path, GError **error)
{
    g_autoptr(GBytes) context = NULL;
    gint64 began = begin();
    gboolean ok = !vf_card_can_save(work->card) ||
                  (vf_card_save(work->card, region, &context, vf_pause_within(CARD_MS), error) &&
                   write_context(path, context, error));

    end(work, VF_PART_SAVE, began);
    return ok;
}

static gboolean restore(const VfBrokerWork *work, guint region, const char *path,
                        gboolean *restored, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(GBytes) context = NULL;
    char *bytes;
    gsize length;

    *restored = FALSE;
    if (!g_file_get_contents(path, &bytes, &length, &cause)) {
        if (g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return TRUE;
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "%s", cause->message);
        return FALSE;
    }
    context = g_bytes_new_take(bytes, length);
    *restored = vf_card_restore(work->card, region, context, vf_pause_within(CARD_MS), error);
    return *restored;
}

// ---- connections

gboolean vf_broker_disconnect(const VfBrokerWork *work, guint index, GError **error)
{
    gint64 began = begin();
    gboolean ok = vf_card_disconnect(work->card, index, vf_pause_within(CARD_MS), error);

    end(work, VF_PART_DISCONNECT, began);
    return ok;
}

gboolean vf_broker_scrub(VfCard *card, guint index, GError **error)
{
    return card == NULL || vf_card_disconnect(card, index, vf_pause_within(CARD_MS), error);
}

// Who is connected in the way: a function that some daemon left there before it was killed.
static gboolean make_room(const VfBrokerWork *work, guint region, guint index, gboolean *connected,
                          GError **error)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));

    *connected = FALSE;
    if (!vf_card_query(work->card, regions, error))
        return FALSE;
    for (guint i = 0; i < regions->len; i++) {
        guint vf = g_array_index(regions, VfCardRegion, i).vf;

        if (i == region && vf == index)
            *connected = TRUE;
        else if (vf != VF_CARD_NONE && (i == region || vf == index) &&
                 !vf_card_disconnect(work->card, vf, vf_pause_within(CARD_MS), error))
            return FALSE;
    }
    return TRUE;
}

gboolean vf_broker_connect(const VfBrokerWork *work, guint region, guint index, const char *path,
                           gboolean keep, GError **error)
{
    gboolean connected, restored = FALSE, ok;
    gint64 began = begin();

    if (!make_room(work, region, index, &connected, error))
        return FALSE;
    if (connected)
        return TRUE;
    ok = restore(work, region, path, &restored, error);
    end(work, VF_PART_RESTORE, began);
    if (!ok)
        return FALSE;
    began = begin();
    ok = vf_card_connect(work->card, region, index, restored || keep, vf_pause_within(CARD_MS),
                         error);
    end(work, VF_PART_CONNECT, began);
    return ok;
}
