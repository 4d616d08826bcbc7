// SPDX-License-Identifier: GPL-2.0-or-later
//
// The connection to libvirt: opened, watched and opened again in one place. Every libvirt call is
// made in one worker thread, because any of them may block for as long as somebody's hook runs
// (facts F-B3); the main loop, which answers hooks, makes none. Events arrive on the main loop.

#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

typedef struct VfVirconn VfVirconn;

typedef struct {
    // Main thread. The connection is new or back: everything has to be looked at.
    void (*connected)(gpointer data);
    // A domain was defined, undefined, started or stopped; event is a virDomainEventType.
    void (*domain)(const char *uuid, const char *name, int event, int detail, gpointer data);
    // A running domain has given a device back, whoever asked for it.
    void (*unplugged)(const char *uuid, gpointer data);
    // A PCI device came or went.
    void (*nodedev)(gpointer data);
} VfVirconnEvents;

// Starts connecting, and tries again for ever. uri as virConnectOpen() takes it.
VfVirconn *vf_virconn_new(const char *uri, const VfVirconnEvents *events, gpointer data);
void vf_virconn_free(VfVirconn *virconn);

// Runs `run` in the worker thread with the connection, then `done` in the main thread. run sets
// *error on failure; without a connection it is not called and *error says so. libvirt's own
// errors are turned into VF_ERROR_LIBVIRT by vf_virconn_error().
typedef void (*VfVirRun)(virConnectPtr connection, gpointer data, GError **error);
typedef void (*VfVirDone)(gpointer data, const GError *error);
void vf_virconn_submit(VfVirconn *virconn, VfVirRun run, VfVirDone done, gpointer data);

// The last libvirt error of this thread as VF_ERROR_LIBVIRT (NOT_FOUND for a missing domain).
void vf_virconn_error(GError **error, const char *object);

gboolean vf_virconn_connected(const VfVirconn *virconn);
const char *vf_virconn_problem(const VfVirconn *virconn); // why not, NULL when connected
