// SPDX-License-Identifier: GPL-2.0-or-later
//
// /etc/virtfn/*.conf: pools, profiles and the daemon's own settings (man 5 virtfn.conf). Only
// reads and checks text; what the PFs of this host really offer is the inventory's business.

#pragma once

#include <glib.h>

#include "accel.h"
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
    char *card;              // for vf_card_open(), NULL = no accelerators in this pool
} VfPoolConfig;

// What guests ask for by name.
typedef struct {
    char *name;
    char uuid[37]; // UUIDv5 of the name: the same on each host and after each restart
    guint id;      // the cards' own number of it, 0 = they have none
    gboolean shareable;
    char *file; // for messages
    guint line;
} VfAcceleratorConfig;

// Limits for the domains whose names match. One with the name VF_GROUP_DEFAULT and no globs is
// always the last: it has the domains that match none.
typedef struct {
    char *name;
    char **domains; // globs of domain names, NULL-terminated
    VfAccelGroup limits;
    char *file; // for messages, NULL for a default that no file has
    guint line;
} VfGroupConfig;

#define VF_GROUP_DEFAULT "default"

// [accelerators]; times in microseconds.
typedef struct {
    VfAccelPolicy policy;
    gint64 slice_period, slice_minimum;
    gint64 idle;  // after which a device counts as idle, 0 = never
    char *verify; // program that has to agree to an image before each load, NULL = none
} VfAccelConfig;

typedef struct {
    GPtrArray *pools;        // of VfPoolConfig, in order of file name and line
    GHashTable *profiles;    // name -> VfSettings, whether a pool uses it or not
    GPtrArray *accelerators; // of VfAcceleratorConfig, in order of file name and line
    GPtrArray *groups;       // of VfGroupConfig, likewise, at least one
    VfAccelConfig accel;
    char *uri;        // libvirt, default qemu:///system
    char *use_group;  // members may lease and render; default "libvirt", absent group = nobody
    char *read_group; // members may read; default "libvirt"
} VfConfig;

// Reads every *.conf of the directory in order of name. A directory that does not exist is an
// empty configuration. VF_ERROR_CONFIG: "FILE:LINE: cause -- remedy".
VfConfig *vf_config_load(const char *directory, GError **error);

// One file's text, for tests and fuzzing; `file` is used in messages only.
VfConfig *vf_config_parse(const char *text, gsize length, const char *file, GError **error);

// Index of the group in `groups` that a domain belongs to: the first one with a glob that matches.
guint vf_config_group(const VfConfig *config, const char *domain);

void vf_config_free(VfConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfConfig, vf_config_free)
