// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the broker-*.c files share. broker.c keeps the clock, broker-rows.c the rows; broker-table.c
// makes the table; broker-ask.c takes requests and lets go of them; broker-change.c and
// broker-carry.c carry decisions out; broker-settle.c brings one device to what its request says;
// broker-slices.c takes turns on shared regions; broker-watch.c notices first accesses and idle
// regions; broker-hot.c plugs devices in.

#pragma once

#include "accel.h"
#include "broker.h"
#include "images.h"
#include "slices.h"
#include "watch.h"

typedef enum {
    VF_ATTACH_PLANNED, // its domain is starting, or its device is being plugged in
    VF_ATTACH_ASLEEP,  // paused until the guest touches it
    VF_ATTACH_ASKED,   // in the table, whose state counts
    VF_ATTACH_LEAVING, // asks for nothing any more
} VfAttachState;

// Parts of a change, as they are timed.
typedef enum {
    VF_PART_PAUSE,
    VF_PART_SAVE,
    VF_PART_DISCONNECT,
    VF_PART_LOAD,
    VF_PART_RESTORE,
    VF_PART_CONNECT,
    VF_PART_RESUME,
    VF_PARTS,
} VfPart;

typedef struct {
    char *key; // "UUID/DEVICE"
    char uuid[37];
    char *device, *domain;
    VfBrokerAsk ask;
    VfPciAddr pf;
    guint index;   // of its function
    gboolean hot;  // its lease was made for it
    gboolean gone; // its lease has ended: the row goes once its change has
    VfAttachState state;
    VfAccelRequest *request; // NULL: not in the table
    VfAccelAnswer answer;    // the last one
    gboolean active;         // its function is connected, as far as is known
    gboolean due;            // its device may be other than it should
    gboolean suspect;        // a daemon before this one, or a failure, may have left it connected
    gboolean unsettled;      // that failed, and `problem` says why
    gboolean settling;       // a job looks after that
    gboolean detaching;      // a job takes it off its region
    char *problem;           // of the last thing that failed, NULL = nothing did
    guint preemptions, failures; // of earlier tables
    gint64 idle_since;           // its region has not run since, 0 = it runs
    gint64 since;                // of a row that is not in the table
    guint sharer;                // in the slices of its region, VF_SLICES_NONE = none
    guint sharing_region;
    gint64 parts[VF_PARTS]; // of the last change for it, microseconds
    VfWatch *watch;         // for its first access
    // As the ledger had it when the table was made:
    guint stored_region;
    gboolean stored_preempted;
    const char *stored_word;
} VfAttachment;

typedef struct {
    VfPciAddr pf;
    char *spec;
    guint functions;
    VfCard *card;    // NULL: could not be opened; lanes only
    GArray *regions; // of VfCardRegion, as it last said
    char *problem;
    guint first, count; // of its regions in the table
} VfBrokerCard;

// Turns on a region that several hold.
typedef struct {
    VfBroker *broker;
    guint region;
    VfSlices slices;
    gboolean used;
    guint timer;
    guint turn;       // sharer whose turn it is, VF_SLICES_NONE = nobody's
    gint64 began;     // of the turn
    gint64 switching; // that the switch to it took
    gint64 length;    // of the turn that it leads to
    gboolean switching_now;
} VfTurns;

struct VfBroker {
    VfDaemon *daemon;
    VfAccel *accel;       // NULL until the cards have been asked
    GPtrArray *cards;     // of VfBrokerCard, by their numbers in the table
    GPtrArray *old_cards; // which the configuration has no more: jobs may still have them
    GHashTable *rows;     // key -> VfAttachment
    VfTurns turns[VF_ACCEL_REGIONS_MAX];
    guint busy;             // changes and looks under way
    gboolean stale;         // the table is to be made anew
    gboolean looking;       // cards are being asked for it
    gboolean quiet;         // begins nothing more
    GHashTable *unplugging; // keys of leases whose guests are asked for the device
    GQueue parked;          // of VfParked: requests that wait for the table
    GQueue unsettled;       // keys of rows to be looked after
    guint settle_source;
    GQueue unstarted; // of VfChange, durable
    guint start_source, start_timer;
    guint tick, clock_source, idle_timer, look_source;
    char *contexts;                    // directory
    VfAccelDecision out[VF_ACCEL_OUT]; // of the call at hand
};

typedef struct {
    void (*run)(gpointer data);
    gpointer data;
} VfParked;

// ---- broker.c

static inline gint64 vf_broker_now(void)
{
    return g_get_monotonic_time();
}

VfBrokerCard *vf_broker_card_of(const VfBroker *broker, const VfPciAddr *pf);
guint vf_broker_card_number(const VfBroker *broker, const VfPciAddr *pf);
guint vf_broker_accelerator(const VfBroker *broker, const char *name); // number, or VF_ACCEL_NONE
const VfAcceleratorConfig *vf_broker_accelerator_config(const VfBroker *broker, guint number);
VfLease *vf_broker_lease(const VfBroker *broker, const VfAttachment *row);
char *vf_broker_context_path(const VfBroker *broker, const VfAttachment *row);
// "waiting", "holding", … for people and for the ledger.
const char *vf_broker_state_word(const VfAttachment *row);

gboolean vf_broker_ready(const VfBroker *broker);

// A change or a look begins / has ended; the last one lets the table be made anew.
void vf_broker_begin(VfBroker *broker);
void vf_broker_end(VfBroker *broker);

// Carries out the first `n` decisions of broker->out, and sets the clock for the next tick.
void vf_broker_carry_out(VfBroker *broker, guint n);

// ---- broker-rows.c

void vf_broker_row_free(gpointer row);
VfAttachment *vf_broker_find(const VfBroker *broker, const char *uuid, const char *device);
VfAttachment *vf_broker_row_of(const VfBroker *broker, const VfAccelRequest *request);
// All of them, not owned. Caller unrefs.
GPtrArray *vf_broker_rows(const VfBroker *broker, GCompareFunc order);
VfAttachment *vf_broker_add_row(VfBroker *broker, const char *uuid, const char *device);
// Takes it out of memory and ledger, and its context with it.
void vf_broker_drop_row(VfBroker *broker, VfAttachment *row);
// Writes it to the ledger; a failure is the commit's.
void vf_broker_store(VfBroker *broker, const VfAttachment *row);
G_GNUC_PRINTF(2, 3)
void vf_broker_set_problem(VfAttachment *row, const char *format, ...);

// ---- broker-table.c
void vf_broker_look(VfBroker *broker);

// ---- broker-images.c
void vf_broker_add_images(VfBroker *broker); // to a table that has none
gboolean vf_broker_has_image(const VfBroker *broker, guint accelerator, guint kind);
VfImage *vf_broker_image(const VfBroker *broker, guint number); // a copy, NULL: it is gone

// ---- broker-ask.c
gboolean vf_broker_ask(VfBroker *broker, VfAttachment *row, GError **error);
gboolean vf_broker_verdict(const VfBroker *broker, const VfAttachment *row, VfAccelVerdict verdict,
                           GError **error);
void vf_broker_fill_ask(const VfBroker *broker, const VfAttachment *row, VfAccelAsk *ask);
gboolean vf_broker_check(const VfBroker *broker, const char *domain, const VfPciAddr *pf,
                         const VfBrokerAsk *ask, GError **error);
// The function is off its region, or never was on one: the row goes.
void vf_broker_forget(VfBroker *broker, VfAttachment *row);
// The guest has touched the device of a row that is asleep.
void vf_broker_wake(VfBroker *broker, VfAttachment *row);
// Off its region, then forgotten; a change of it ends first.
void vf_broker_let_go(VfBroker *broker, VfAttachment *row);
gboolean vf_broker_remap_check(const VfBroker *broker, const VfAttachment *row,
                               const char *accelerator, GError **error);
gboolean vf_broker_remap(VfBroker *broker, VfAttachment *row, const char *accelerator,
                         GError **error);

// ---- broker-api.c
// Answers when all of now is durable: with the row, or NULL = 204.
void vf_broker_answer(VfBroker *broker, VfRequest *request, unsigned status,
                      const VfAttachment *row);

// ---- broker-change.c
void vf_broker_change(VfBroker *broker, const VfAccelDecision *decision);
// The turn on a shared region goes from one to the other; from NULL = nobody has it.
void vf_broker_switch(VfBroker *broker, VfTurns *turns, VfAttachment *from, VfAttachment *to);
// Those that have not begun: the next daemon goes on with them.
void vf_broker_changes_drop(VfBroker *broker);

// ---- broker-settle.c
void vf_broker_settle(VfBroker *broker, VfAttachment *row);
typedef void (*VfDetached)(VfAttachment *row, const GError *error, gpointer data);
// Pauses the device and disconnects its function; `resume`: then lets the device go on without. The
// row is NULL when it has gone. `done` may be NULL.
void vf_broker_detach(VfBroker *broker, VfAttachment *row, gboolean resume, VfDetached done,
                      gpointer data);

// ---- broker-slices.c
// Whoever holds the region has changed: VF_ACCEL_NONE = all regions.
void vf_broker_turns(VfBroker *broker, guint region);
void vf_broker_turn_ended(VfBroker *broker, VfTurns *turns, gint64 switching, gboolean ok);
void vf_broker_turns_clear(VfBroker *broker);

// ---- broker-watch.c
void vf_broker_watch(VfBroker *broker, VfAttachment *row);
void vf_broker_idle_arm(VfBroker *broker);

// ---- broker-hot.c
// The row is PLANNED; NULL with an error.
typedef void (*VfHotDone)(const VfAttachment *row, const GError *error, gpointer data);
// Leases a function of the pool and plugs it into the running domain; device NULL = any name.
void vf_broker_plug(VfBroker *broker, const char *domain, const char *pool, const char *device,
                    const VfBrokerAsk *ask, VfHotDone done, gpointer data);
// Asks the guest for such a device; its lease ends when it has given it back.
void vf_broker_unplug(VfBroker *broker, const char *uuid, const char *device);

// ---- broker-view.c
void vf_broker_view_row(GString *out, const VfBroker *broker, const VfAttachment *row);

// ---- broker-work.c: blocking, in a lane
typedef struct {
    const VfDaemonOptions *options;
    VfCard *card;
    VfPciAddr pf;
    gint64 *parts;
} VfBrokerWork;

// Devices of guests, by owners that were added to a plan.
// Only asks whether they could be paused and resumed.
gboolean vf_broker_reach(const VfBrokerWork *work, VfReconf *owners, GError **error);
gboolean vf_broker_pause(const VfBrokerWork *work, VfReconf *owners, GError **error);
gboolean vf_broker_resume(const VfBrokerWork *work, VfReconf *owner, GError **error);
// The context goes into the file. TRUE without one when the card cannot.
gboolean vf_broker_save(const VfBrokerWork *work, guint region, const char *path, GError **error);
gboolean vf_broker_disconnect(const VfBrokerWork *work, guint index, GError **error);
// Restores what the file has, if there is one, and connects. keep: without a file, the region has
// the function's context still.
gboolean vf_broker_connect(const VfBrokerWork *work, guint region, guint index, const char *path,
                           gboolean keep, GError **error);
