// SPDX-License-Identifier: GPL-2.0-or-later
//
// Images come and go in the daemon: the store (images.h), what the configuration and the cards
// have, and what guests use, together. Main thread.

#pragma once

#include "daemon.h"
#include "images.h"
#include "server.h"

typedef struct {
    const char *name, *accelerator;
    const char *path;   // of a file on this host, absolute
    const char *sha256; // expected, NULL = whatever it is
    gint64 kind;
    gboolean replace; // takes the place of the accelerator's image for this kind, if there is one
    void (*reply)(VfRequest *request, VfDaemon *daemon, const VfImage *image);
} VfImageAdd;

// Adds an image, then calls `reply`; answers the request with the error when it cannot.
void vf_image_add(VfDaemon *daemon, VfRequest *request, const VfImageAdd *order);

// Removes one that no device uses.
gboolean vf_image_take_away(VfDaemon *daemon, const char *name, GError **error);

// FALSE when the store cannot be used.
gboolean vf_image_store(const VfDaemon *daemon, GError **error);
