// SPDX-License-Identifier: GPL-2.0-or-later
//
// /etc/virtfn/*.conf: pools, profiles and the daemon's own settings (man 5 virtfn.conf). Only
// reads and checks text; what the PFs of this host really offer is the inventory's business.

#pragma once

#include <glib.h>

#include "pciaddr.h"
#include "settings.h"

typedef enum {
    VF_GROWTH_STATIC, // `count` functions, never more
    VF_GROWTH_GROW,   // up to `max` when a domain starts that does not fit
} VfGrowth;

typedef enum {
    VF_SELECT_ADDRESS, // 0000:3b:00.0
    VF_SELECT_ID,      // 8086:10c9
    VF_SELECT_NETDEV,  // eno1
} VfSelectKind;

// One item of `pf = …`: which PFs, and which of their functions.
typedef struct {
    VfSelectKind kind;
    VfPciAddr address;
    guint16 vendor, device;
    char *netdev;
    int first, last; // #first-last, VF_UNSET when no range was given
} VfSelector;

// What a guest is told at the end of a reconf; AUTO: what suits drivers of that class of device.
typedef enum {
    VF_SIGNAL_AUTO,
    VF_SIGNAL_NONE,
    VF_SIGNAL_NONFATAL,
    VF_SIGNAL_FATAL,
} VfSignal;

extern const char *const vf_signal_words[]; // by value, NULL-terminated

typedef struct {
    char *name;
    char *file;        // path, for messages
    guint line;        // of the [pool NAME] header
    GArray *selectors; // of VfSelector
    int count;         // functions per PF; VF_UNSET = the range's length
    int max;           // functions per PF when grown; equals count for static pools
    VfGrowth growth;
    VfSignal signal;
    char *profile;       // its name, NULL = none
    VfSettings settings; // of its profile, resolved
    gboolean allow_default_route;
    gboolean keep_link;      // leave the PF's network link alone instead of bringing it up
    char *bitstream_program; // run by `virtfn init --bitstream`, NULL = none
} VfPoolConfig;

typedef struct {
    GPtrArray *pools;     // of VfPoolConfig, in order of file name and line
    GHashTable *profiles; // name -> VfSettings, whether a pool uses it or not
    char *uri;            // libvirt, default qemu:///system
    char *use_group;      // members may lease and render; default "libvirt", absent group = nobody
    char *read_group;     // members may read; default "libvirt"
} VfConfig;

// Reads every *.conf of the directory in order of name. A directory that does not exist is an
// empty configuration. VF_ERROR_CONFIG: "FILE:LINE: cause -- remedy".
VfConfig *vf_config_load(const char *directory, GError **error);

// One file's text, for tests and fuzzing; `file` is used in messages only.
VfConfig *vf_config_parse(const char *text, gsize length, const char *file, GError **error);

void vf_config_free(VfConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfConfig, vf_config_free)
