// SPDX-License-Identifier: GPL-2.0-or-later
//
// QEMU's side of the pause commands for tests/lib/qmp-peer.c: devices, named descriptors, time. Not
// thread-safe.

#pragma once

#include <glib.h>
#include <jansson.h>

#include "qmp-peer.h"

typedef struct QmpModel QmpModel;
typedef void (*QmpModelEvent)(json_t *event, gpointer data);

QmpModel *qmp_model_new(QmpModelEvent event, gpointer data);
void qmp_model_free(QmpModel *model);

void qmp_model_add(QmpModel *model, const char *id, const char *host);
void qmp_model_set(QmpModel *model, const char *id, const char *state, const char *error);
void qmp_model_begin(QmpModel *model, const char *id, const char *state, QmpFault fault);
// The guest accesses a BAR of it; that of a paused one is an event.
void qmp_model_touch(QmpModel *model, const char *id);
// The device has this VFIO group open, which is the model's from here on: it is closed when the
// device pauses.
void qmp_model_hold(QmpModel *model, const char *id, int group);
const char *qmp_model_state(QmpModel *model, const char *id);
ino_t qmp_model_inode(QmpModel *model, const char *id);
guint qmp_model_named(QmpModel *model);
void qmp_model_set_duration(QmpModel *model, guint microseconds);
void qmp_model_make_stock(QmpModel *model);
// Its devices are not alone below root ports: a resume with a signal is refused.
void qmp_model_make_unsignalled(QmpModel *model);

// What query-status and query-migrate say (static strings): "running" and none unless told.
void qmp_model_set_status(QmpModel *model, const char *state, const char *migration);

// Ends what is due; milliseconds until the next end, -1 = none.
int qmp_model_tick(QmpModel *model);

// The whole answer, without an id. Takes *fd (and sets it to -1) when the command is getfd.
json_t *qmp_model_execute(QmpModel *model, const char *command, json_t *arguments, int *fd,
                          QmpFault fault);
json_t *qmp_model_error(const char *class, const char *description);
