// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a claim, or a request through the API, asks of a card: which accelerator, and how. Values
// only; what becomes of it is broker.h's.

#pragma once

#include <glib.h>

#define VF_ASK_WEIGHT 100 // of time slices, unless told
#define VF_ASK_PRIORITY_MAX 15

typedef struct {
    char *accelerator;  // name; NULL = it asks for none
    guint priority;     // 0 = lowest
    guint weight;       // of its time slices; kept also when it does not share
    gboolean shared;    // takes turns with others
    gboolean on_access; // begins paused, and asks when the guest touches the device
} VfBrokerAsk;

void vf_broker_ask_clear(VfBrokerAsk *ask);
void vf_broker_ask_copy(VfBrokerAsk *to, const VfBrokerAsk *from);

// "no", "yes" (VF_ASK_WEIGHT) or a weight from 1. FALSE for anything else.
gboolean vf_broker_ask_sharing(VfBrokerAsk *ask, const char *text);
// FALSE unless it is a number up to VF_ASK_PRIORITY_MAX.
gboolean vf_broker_ask_priority(VfBrokerAsk *ask, const char *text);
