// SPDX-License-Identifier: GPL-2.0-or-later
//
// The HTTP API: which path means what (openapi.json describes it). A handler reads its request,
// calls one flow, answers. The data of every handler is the VfDaemon.

#pragma once

#include "daemon.h"
#include "server.h"

extern const VfRoute vf_routes[];

// routes-hooks.c, routes-leases.c, init.c, reconf-api.c, pause-api.c
void vf_route_hook(VfRequest *request, gpointer daemon);
void vf_route_lease_post(VfRequest *request, gpointer daemon);
void vf_route_lease_delete(VfRequest *request, gpointer daemon);
void vf_route_render(VfRequest *request, gpointer daemon);
void vf_route_init(VfRequest *request, gpointer daemon);
void vf_route_reconf(VfRequest *request, gpointer daemon);
void vf_route_reconf_cancel(VfRequest *request, gpointer daemon);
void vf_route_pause(VfRequest *request, gpointer daemon);
void vf_route_resume(VfRequest *request, gpointer daemon);

// routes-images.c
void vf_route_images(VfRequest *request, gpointer daemon);
void vf_route_image_post(VfRequest *request, gpointer daemon);
void vf_route_image_delete(VfRequest *request, gpointer daemon);

// routes-accelerators.c
void vf_route_accelerators(VfRequest *request, gpointer daemon);
void vf_route_accelerator(VfRequest *request, gpointer daemon);
void vf_route_accelerator_post(VfRequest *request, gpointer daemon);
void vf_route_accelerator_put(VfRequest *request, gpointer daemon);
void vf_route_accelerator_delete(VfRequest *request, gpointer daemon);
