// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who gets which region of which card: the decisions about accelerators and the table they are made
// on, in memory. Pure: no I/O, no libvirt, no clock (`now` is any clock in microseconds that does
// not go back), no allocation after vf_accel_new() and the _add_ calls. Names of things are the
// caller's; here they are numbers. Main thread only.
//
// What the daemon does with it
//
//   A request is one (domain, device) that wants one accelerator. vf_accel_request() answers at
//   once:
//
//     ASSIGN         region holds the accelerator: connect function to region, resume the device
//     ASSIGN_LOAD    load `image` into region, then as above
//     PREEMPT        pause each victim's device, save its context, disconnect it; then as ASSIGN
//     PREEMPT_LOAD   the same, then as ASSIGN_LOAD
//     WAIT           nothing to do; the answer is in the out list of a later call
//
//   `restore` says that the region is to get the request's saved context back before the device is
//   resumed. A decision is only made in the table: the daemon journals it, carries it out step by
//   step, and ends it with exactly one of vf_accel_done() or vf_accel_failed(). Until then the
//   region takes part in no other decision, the request is TAKING, its victims are YIELDING; both
//   hold their ledger rows. At most one change is under way in a region.
//
//   Every call that can free something has `out`: room for VF_ACCEL_OUT decisions, filled with the
//   answers that waiters get by it (each to be carried out like one of a request; never a WAIT);
//   the number of them is returned. So waiting needs no polling; what only time brings (ageing, the
//   end of a guard or of a backoff) comes by vf_accel_tick(), due at vf_accel_due().
//
//   A step that fails, vf_accel_failed():
//
//     step     the daemon undoes         the table
//     PAUSE    resumes and reconnects    victims hold as before, nothing was loaded; they are
//              all victims paused        not preempted again before the backoff is over
//     LOAD     nothing                   region is blank, victims wait; this accelerator is not
//                                        loaded into it again before the backoff is over
//     CONNECT  disconnects               region has its accelerator, victims wait; the region is
//                                        left alone until the backoff is over
//
//   (PAUSE stands for pause, save and disconnect of victims; CONNECT for restore, connect and
//   resume.) In each case the request is back in the queue with the age it had, `failures` counted,
//   and the queue is answered: perhaps the same request by another region, perhaps a victim that
//   gets its region back. A daemon that gives up calls vf_accel_leave() before vf_accel_failed().
//   A region that is broken for good: vf_accel_set_usable().
//
//   A device that goes (detach, domain gone): vf_accel_leave() at once, so that nothing is decided
//   about it any more; then pause, disconnect and scrub; then vf_accel_release(), the last step.
//   A change that is under way is ended first.
//
//   After a restart the daemon ends or undoes its journaled changes and hands over what the ledger
//   and the cards say, vf_accel_set_loaded() and vf_accel_adopt(), then calls vf_accel_tick().
//   What a ledger row needs: key, accelerator, priority, group, sharing, weight, movable, card,
//   function, region, state, since, preempted.
//
// Policy
//
//   Order of places: a free region that holds the accelerator; a free region whose kind there is an
//   image for, blank ones first, then the longest free; a place beside sharers; the region whose
//   holder has the lowest priority below one's own, of these one that needs no load, of these the
//   youngest. Idle holders are below all.
//   Order of waiters: priority plus one for each `age_step` waited (the level), then those that
//   were preempted, then the longest waiting. A waiter preempts whom its level exceeds; one that
//   was lifted by its age cannot be preempted for `tenure`, so nobody waits for ever and nobody is
//   thrown out on arrival (who is over its quota, or bound to a card that serves nobody, waits for
//   that to end). A holder's priority is that of its request: age does not count.
//
//   Quotas: above `held` the request waits until its group or domain gives something back; above
//   `waiting` or the ceiling it is refused.
//
//   A remap gives the place up and asks anew, before the queue is answered: its age begins again.

#pragma once

#include <glib.h>

#define VF_ACCEL_REGIONS_MAX 64
#define VF_ACCEL_ACCELERATORS_MAX 64
#define VF_ACCEL_KINDS_MAX 32
#define VF_ACCEL_CARDS_MAX 15
#define VF_ACCEL_GROUPS_MAX 64
#define VF_ACCEL_PRIORITY_MAX 15 // 0 = lowest
#define VF_ACCEL_SHARERS_MAX 8
#define VF_ACCEL_OUT (VF_ACCEL_REGIONS_MAX + 1)
#define VF_ACCEL_NONE G_MAXUINT
#define VF_ACCEL_NEVER G_MAXINT64

typedef struct {
    gint64 age_step; // one level more for each; above 0
    gint64 tenure;   // no preemption of a holder that age brought in
    gint64 backoff;  // after a step that failed
    guint waiting;   // most requests in the queue that have not held yet
    guint sharers;   // on one region, up to VF_ACCEL_SHARERS_MAX
} VfAccelPolicy;

typedef struct {
    guint held;            // regions (or places on them) of the group; VF_ACCEL_NONE = no limit
    guint held_per_domain; // of one domain of it
    guint waiting;         // requests of the group in the queue that have not held yet
    guint ceiling;         // highest priority
} VfAccelGroup;

typedef enum {
    VF_ACCEL_WAITING,
    VF_ACCEL_TAKING, // a decision for it is being carried out
    VF_ACCEL_HOLDING,
    VF_ACCEL_YIELDING, // it still holds, a decision against it is being carried out
    VF_ACCEL_OUTSIDE,  // neither holds nor waits: it left, or it was idle when it was preempted
} VfAccelState;

typedef enum {
    VF_ACCEL_ASSIGN,
    VF_ACCEL_ASSIGN_LOAD,
    VF_ACCEL_PREEMPT,
    VF_ACCEL_PREEMPT_LOAD,
    VF_ACCEL_WAIT,
} VfAccelAnswer;

const char *vf_accel_answer_name(VfAccelAnswer answer);
const char *vf_accel_state_name(VfAccelState state);

typedef enum {
    VF_ACCEL_OK,
    VF_ACCEL_BAD_ASK,    // device name empty or too long, no such group, card or function
    VF_ACCEL_UNKNOWN,    // no such accelerator
    VF_ACCEL_NO_IMAGE,   // no image of it fits a region that it could be connected to
    VF_ACCEL_CEILING,    // priority above that of the group, or above VF_ACCEL_PRIORITY_MAX
    VF_ACCEL_NOT_SHARED, // sharing asked for, the accelerator is not shareable
    VF_ACCEL_IN_USE,     // the named function is somebody else's
    VF_ACCEL_ALREADY,    // this device has a request that waits or holds
    VF_ACCEL_QUEUE_FULL, // of all, or of its group
    VF_ACCEL_TABLE_FULL, // as many requests as vf_accel_new() made room for
    VF_ACCEL_SAME,       // remap to the accelerator it has
    VF_ACCEL_NOT_NOW,    // remap of one that is neither waiting nor holding, or that leaves
} VfAccelVerdict;

typedef enum {
    VF_ACCEL_STEP_PAUSE,
    VF_ACCEL_STEP_LOAD,
    VF_ACCEL_STEP_CONNECT,
} VfAccelStep;

typedef struct {
    const char *uuid; // of the domain, 36 characters
    const char *device;
    guint accelerator, priority, group;
    guint card, function; // VF_ACCEL_NONE = any; a function needs its card
    gboolean movable;     // may get any function each time, preferably the named or last one, and
                          // has none while it waits; else it keeps what it has until the release
    gboolean shared;      // takes time slices with others
    guint weight;         // of its slices, kept for slices.h
} VfAccelAsk;

typedef struct VfAccelRequest VfAccelRequest;
typedef struct VfAccelDomain VfAccelDomain;

// Read-only for callers; valid until vf_accel_release().
struct VfAccelRequest {
    char device[60];
    VfAccelState state;
    guint accelerator, priority, group, weight;
    guint card, function; // VF_ACCEL_NONE = none
    guint region;         // while TAKING, HOLDING, YIELDING
    gint64 since;         // of the present wait, or of the present hold
    gint64 asked;         // of the wait that is counted as age; kept over failed steps
    gboolean movable, shared, idle, leaving;
    gboolean preempted; // it held before and wants to again
    gboolean saved;     // a context of it was saved when it was preempted
    guint preemptions, failures;
    // The rest is the table's own.
    gboolean fixed;                              // `card` binds it
    gboolean lifted;                             // by its age
    gboolean loads, takes;                       // the change loads; gave it its function
    guint64 ticket;                              // order of arrival
    guint last_region, last_card, last_function; // held before
    VfAccelRequest *lender;                      // victim whose function it got
    VfAccelDomain *domain;                       // of the same UUID
    VfAccelRequest *previous, *next;             // in the queue
    VfAccelRequest *sibling;                     // of the same domain
    VfAccelRequest *neighbour;                   // on the same region
};

struct VfAccelDomain {
    char uuid[37];
    guint held;
    VfAccelRequest *requests; // by `sibling`
    VfAccelDomain *spare;
};

typedef struct {
    guint card, kind;
    guint loaded; // accelerator, VF_ACCEL_NONE = blank, unknown or being loaded
    gboolean usable;
    VfAccelRequest *holders; // by `neighbour`: HOLDING, or YIELDING while it is preempted
    VfAccelRequest *taking;  // who gets it by the change under way
    gint64 since;            // of the last change
    // The rest is the table's own.
    guint before; // loaded before the change
    guint n_holders, grip;
    gint64 guarded_until, avoided_until, failed_until;
} VfAccelRegion;

typedef struct {
    VfAccelAnswer answer;
    VfAccelRequest *request;
    guint card, region, function; // VF_ACCEL_NONE with WAIT
    guint image;                  // with _LOAD
    gboolean restore;
    guint n_victims;
    VfAccelRequest *victims[VF_ACCEL_SHARERS_MAX];
} VfAccelDecision;

typedef struct VfAccel VfAccel;

// Room for `requests` requests of as many domains.
VfAccel *vf_accel_new(const VfAccelPolicy *policy, guint requests);
void vf_accel_free(VfAccel *accel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfAccel, vf_accel_free)

// Each returns the number of the new thing, 0, 1, …, or VF_ACCEL_NONE when there are too many.
guint vf_accel_add_accelerator(VfAccel *accel, gboolean shareable);
guint vf_accel_add_group(VfAccel *accel, const VfAccelGroup *group);
guint vf_accel_add_card(VfAccel *accel, guint functions);
guint vf_accel_add_region(VfAccel *accel, guint card, guint kind);

// The image of an accelerator for a kind; VF_ACCEL_NONE removes it. What is loaded stays usable.
// An image that is new may be tried again where the old one failed.
guint vf_accel_set_image(VfAccel *accel, guint accelerator, guint kind, guint image, gint64 now,
                         VfAccelDecision *out);

// What a card says is in a free region.
void vf_accel_set_loaded(VfAccel *accel, guint region, guint accelerator);

// A region, or a function, that is not usable is in no decision; who has it keeps it.
guint vf_accel_set_usable(VfAccel *accel, guint region, gboolean usable, gint64 now,
                          VfAccelDecision *out);
guint vf_accel_set_function(VfAccel *accel, guint card, guint function, gboolean usable, gint64 now,
                            VfAccelDecision *out);

// One request. Only with VF_ACCEL_OK is anything changed and *decision set. A request that is
// OUTSIDE is asked anew by its key (a device that is touched again after it was idle).
VfAccelVerdict vf_accel_request(VfAccel *accel, const VfAccelAsk *ask, gint64 now,
                                VfAccelDecision *decision);

// The change of a TAKING request ended well.
guint vf_accel_done(VfAccel *accel, VfAccelRequest *request, gint64 now, VfAccelDecision *out);
// It failed, and the daemon undid what the table above says.
guint vf_accel_failed(VfAccel *accel, VfAccelRequest *request, VfAccelStep step, gint64 now,
                      VfAccelDecision *out);

// The device is about to go: out of the queue, or held until vf_accel_release().
void vf_accel_leave(VfAccel *accel, VfAccelRequest *request);
// It is gone; frees `request`, which is not TAKING.
guint vf_accel_release(VfAccel *accel, VfAccelRequest *request, gint64 now, VfAccelDecision *out);

// Another accelerator for the same device: _check() first, then, when the request holds, pause and
// disconnect, then vf_accel_remap(): out[0] is the answer to it, maybe WAIT, then those of waiters.
VfAccelVerdict vf_accel_remap_check(const VfAccel *accel, const VfAccelRequest *request,
                                    guint accelerator);
guint vf_accel_remap(VfAccel *accel, VfAccelRequest *request, guint accelerator, gint64 now,
                     VfAccelDecision *out);

// A HOLDING request does nothing with its region: anybody may take it. When somebody does, the
// request is OUTSIDE until it asks again.
guint vf_accel_set_idle(VfAccel *accel, VfAccelRequest *request, gboolean idle, gint64 now,
                        VfAccelDecision *out);

// What only time brings. A call before vf_accel_due() answers nobody; a late one is only late.
guint vf_accel_tick(VfAccel *accel, gint64 now, VfAccelDecision *out);
// When that is, VF_ACCEL_NEVER: not without another call.
gint64 vf_accel_due(const VfAccel *accel, gint64 now);

// A request as it was: holding `region`, or waiting with VF_ACCEL_NONE. ALREADY when the key is
// known, IN_USE when the region or the function is somebody else's. Nobody is answered.
VfAccelVerdict vf_accel_adopt(VfAccel *accel, const VfAccelAsk *ask, guint region, gint64 since,
                              gboolean preempted, VfAccelRequest **request);

VfAccelRequest *vf_accel_find(const VfAccel *accel, const char *uuid, const char *device);
// The requests of one domain by `sibling`; NULL when it has none.
VfAccelRequest *vf_accel_domain(const VfAccel *accel, const char *uuid);
const VfAccelRegion *vf_accel_region(const VfAccel *accel, guint region);
guint vf_accel_regions(const VfAccel *accel);
guint vf_accel_functions_free(const VfAccel *accel, guint card);
// Of an accelerator, or of all with VF_ACCEL_NONE.
guint vf_accel_waiting(const VfAccel *accel, guint accelerator);
// Waiters for the same accelerator that would be answered before it.
guint vf_accel_ahead(const VfAccel *accel, const VfAccelRequest *request, gint64 now);
