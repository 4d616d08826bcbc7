// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pausing and resuming a guest's VFIO devices (QMP commands of virtfn's QEMU, plugin/qemu). Blocks,
// until the deadline (g_get_monotonic_time()) at most. Everything here may be asked again after a
// failure: what is done already counts as done, whoever did it and whether or not the answer came.
//
// A device's ID is the alias that libvirt gave it: ua-virtfn-NAME, or hostdevN.

#pragma once

#include <glib.h>

#include "pciaddr.h"
#include "qmp.h"

typedef enum {
    VF_PAUSE_UNKNOWN, // QEMU could not be asked, or has no such device
    VF_PAUSE_RUNNING,
    VF_PAUSE_PAUSING,
    VF_PAUSE_PAUSED,
    VF_PAUSE_RESUMING,
} VfPauseState;

const char *vf_pause_state_word(VfPauseState state);   // "paused"
VfPauseState vf_pause_state_parse(const json_t *word); // UNKNOWN for anything else

typedef struct {
    char *id;       // NULL when the device has none
    char *qom_path; // always there
    VfPauseState state;
    char *host_device;   // PCI address or sysfs path, NULL when QEMU does not say
    gboolean can_signal; // vfio-resume takes a signal for it
    guint64 paused_ns, accesses;
    char *error; // why the last pause or resume failed, NULL when it did not
} VfPauseInfo;

// A deadline from now on, for the calls below.
static inline gint64 vf_pause_within(guint milliseconds)
{
    return g_get_monotonic_time() + milliseconds * G_TIME_SPAN_MILLISECOND;
}

// Every VFIO device of the guest, as VfPauseInfo, which the array owns.
GPtrArray *vf_pause_query(VfQmp *qmp, gint64 deadline, GError **error);

// TRUE when the guest's QEMU can pause. VF_ERROR_STATE: it answers, and cannot.
gboolean vf_pause_supported(VfQmp *qmp, gint64 deadline, GError **error);

// TRUE when nothing is under way that a pause would break, or that would refuse it half way.
// VF_ERROR_BUSY, with the remedy: the guest is being migrated, saved, restored or snapshotted. A
// guest that stands still for any other reason can be paused and resumed as one that runs.
gboolean vf_pause_possible(VfQmp *qmp, gint64 deadline, GError **error);

// What the guest meets when it accesses a paused device.
typedef enum {
    VF_PAUSE_ACCESS_DEFAULT, // as the device's properties say
    VF_PAUSE_ACCESS_IGNORE,
    VF_PAUSE_ACCESS_HOLD,
} VfPauseAccess;

typedef struct {
    VfPauseAccess access;
    guint hold_ms; // 0 = as the device's property says
} VfPausePolicy;

typedef struct {
    const char *id;
    VfPauseState state; // out: the last that is known
    GError *error;      // out: why it is not paused; NULL when it is. The caller's to free
} VfPauseTarget;

// Starts the pause of all devices, then waits for the end of each. TRUE when all are paused.
// Otherwise those without an error are: nothing is taken back here. VF_ERROR_NOT_FOUND: no such
// device in this guest. policy NULL = the devices' own.
gboolean vf_pause_devices(VfQmp *qmp, VfPauseTarget *targets, guint n_targets,
                          const VfPausePolicy *policy, gint64 deadline);

// How the guest learns that its function was reset.
typedef enum {
    VF_RESUME_SIGNAL_NONE,
    VF_RESUME_SIGNAL_NONFATAL,
    VF_RESUME_SIGNAL_FATAL,
} VfResumeSignal;

extern const char *const vf_resume_signal_words[]; // QEMU's, by value, NULL-terminated

typedef struct {
    const char *id;
    const VfPciAddr *host; // the function it gets; NULL: the one it had
    int group_fd; // the open VFIO group of that function, the caller's; -1: QEMU opens it by path
                  // (design.md rule 7 says when not to)
    VfResumeSignal signal; // not given to a device whose guest cannot be told
    GError *error;         // out: why it does not run; NULL when it does. The caller's to free
} VfResumeTarget;

// Starts the resume of all devices, then waits until each runs. TRUE when all do. A device that
// runs on `host` already is done; one that runs on another function is VF_ERROR_STATE. A failure's
// message holds QEMU's reason, and the device stays paused. QEMU keeps no descriptor of a resume
// that failed, as long as it can still be told so; where it cannot, the next resume of the device
// replaces that one.
gboolean vf_resume_devices(VfQmp *qmp, VfResumeTarget *targets, guint n_targets, gint64 deadline);

// QEMU closes what a resume of this device handed over and did not live to use, if there is
// anything: it keeps it beyond the connection, and with it the function's group open.
void vf_resume_forget(VfQmp *qmp, const char *id, gint64 deadline);

// One device.
gboolean vf_resume_device(VfQmp *qmp, const char *id, const VfPciAddr *host, int group_fd,
                          VfResumeSignal signal, gint64 deadline, GError **error);
