// SPDX-License-Identifier: GPL-2.0-or-later
//
// External programs: how a site teaches virtfn a device it does not know (man 5 virtfn.conf,
// "EXTERNAL PROGRAM"). Everything here blocks until the program ends or its time is up; safe in
// worker threads.

#pragma once

#include <glib.h>
#include <sys/types.h>

#include "profile.h"

#define VF_PROGRAM_TIMEOUT_MS 30000
#define VF_PROGRAM_FLASH_TIMEOUT_MS (10 * 60 * 1000)
#define VF_PROGRAM_EXIT_NOT_MINE 2

typedef struct {
    const char *const *argv; // argv[0] is the absolute path; NULL-terminated
    const void *input;       // for its standard input
    gsize input_length;      // bytes; 0 = input is text
    guint timeout_ms;        // then it is killed with its process group
    uid_t owner;             // who must own the file: 0
    GByteArray *output;      // gets its standard output; NULL = dropped
    gsize output_max;        // bytes; more is a failure
} VfProgram;

// Checks that the file is a program that nobody but `owner` can change: absolute, regular,
// executable, owned by `owner`, not writable for group or others, the directories above likewise
// (root's too, or sticky). Returns the path without symbolic links, caller frees. VF_ERROR_CONFIG.
char *vf_program_check(const char *path, uid_t owner, GError **error);

// Checks and runs it: in a session of its own, in /, with PATH and LC_ALL as its only environment
// and no open file but 0 to 2. TRUE on exit 0 and on exit 2, which sets
// *not_mine. VF_ERROR_CONFIG when it may not be run; VF_ERROR_SYSFS, with the first line of its
// standard error, when it failed, died or took too long.
gboolean vf_program_run(const VfProgram *program, gboolean *not_mine, GError **error);

// The function as the JSON object that a profile's program reads. Caller frees.
char *vf_program_json(const VfTarget *target, const VfSettings *settings);

// Runs the profile's program, if it has one, as PROGRAM EVENT PF INDEX.
gboolean vf_program_event(const VfTarget *target, const VfSettings *settings, const char *event,
                          GError **error);

// VF_ERROR_CONFIG when a pool names no program that could flash its cards. Runs nothing.
gboolean vf_program_can_flash(const char *program, const char *pool, GError **error);

// Loads `bitstream` into a card that has no VFs: the bitstream-program of a pool, run as PROGRAM
// flash PF FILE. Errors as vf_program_run(), with the pool's name; VF_ERROR_CONFIG also when the
// program says that the card is not its business.
gboolean vf_program_flash(const char *program, const char *pool, const VfPciAddr *pf,
                          const char *bitstream, GError **error);
