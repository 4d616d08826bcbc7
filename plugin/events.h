// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who listens to what becomes of the requests for accelerators: GET /v1/events, a line for each
// that there is and then one for each change. Several changes of one within a turn of the main loop
// are one. A listener that does not read is let go. Main thread.

#pragma once

#include "daemon.h"
#include "server.h"

VfEvents *vf_events_new(VfDaemon *daemon);
void vf_events_free(VfEvents *events);

// Something about requests may have changed; what did is found out in the next turn.
void vf_events_touch(VfDaemon *daemon);

// Ends every listener's answer: the daemon is about to stop.
void vf_events_close(VfDaemon *daemon);

void vf_route_events(VfRequest *request, gpointer daemon);
