// SPDX-License-Identifier: GPL-2.0-or-later
//
// What libvirt's node-device driver tells about PCI devices that sysfs does not: names of vendor
// and product, and whether libvirt sees the same SR-IOV capability as we do. For people to read;
// decisions rest on the inventory, because node devices trail behind events (facts F-B8).

#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

#include "pciaddr.h"

typedef struct {
    VfPciAddr address;
    char *vendor, *product; // names, NULL when unknown
    int numa_node;          // -1 = none
    guint max_vfs;          // maxCount of the virt_functions capability
} VfNodedev;

void vf_nodedev_free(gpointer nodedev);

// Every SR-IOV capable PCI device of the connection, as VfNodedev. Blocks: libvirt's thread only.
GPtrArray *vf_nodedev_list(virConnectPtr connection, GError **error);

// One <device> document of the node-device driver; NULL without an error when it is no physical
// function. VF_ERROR_LIBVIRT when it cannot be read.
VfNodedev *vf_nodedev_parse(const char *xml, GError **error);

// Calls `callback` on the main loop when a PCI device comes or goes. A connection without the
// node-device driver is fine: FALSE.
gboolean vf_nodedev_watch(virConnectPtr connection, void (*callback)(gpointer data), gpointer data);
