// SPDX-License-Identifier: GPL-2.0-or-later
//
// The words of a request for an accelerator. Numbers are decimal and nothing else.

#include "attachment.h"

#include <string.h>

#include "accel.h"
#include "slices.h"

void vf_broker_ask_clear(VfBrokerAsk *ask)
{
    g_clear_pointer(&ask->accelerator, g_free);
}

void vf_broker_ask_copy(VfBrokerAsk *to, const VfBrokerAsk *from)
{
    char *accelerator = g_strdup(from->accelerator);

    vf_broker_ask_clear(to);
    *to = *from;
    to->accelerator = accelerator;
}

static gboolean read_number(const char *text, guint64 least, guint64 most, guint *number)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 10, least, most, &value, NULL))
        return FALSE;
    *number = (guint)value;
    return TRUE;
}

gboolean vf_broker_ask_sharing(VfBrokerAsk *ask, const char *text)
{
    ask->shared = strcmp(text, "no") != 0;
    ask->weight = VF_ASK_WEIGHT;
    return !ask->shared || strcmp(text, "yes") == 0 ||
           read_number(text, 1, VF_SLICES_WEIGHT_MAX, &ask->weight);
}

gboolean vf_broker_ask_priority(VfBrokerAsk *ask, const char *text)
{
    G_STATIC_ASSERT(VF_ASK_PRIORITY_MAX == VF_ACCEL_PRIORITY_MAX);
    return read_number(text, 0, VF_ASK_PRIORITY_MAX, &ask->priority);
}
