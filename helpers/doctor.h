// SPDX-License-Identifier: GPL-2.0-or-later
//
// The checks of `virtfn doctor`. Each reads files below a root and adds findings; none changes
// anything, none needs the daemon, and a file that is missing or unreadable is never an error of
// the check. Themes: doctor-host.c, doctor-libvirt.c, doctor-pf.c, doctor-owners.c.

#pragma once

#include <glib.h>

#include "inventory.h"

typedef enum { VF_FINDING_OK, VF_FINDING_WARNING, VF_FINDING_PROBLEM } VfFindingLevel;

typedef struct {
    VfFindingLevel level;
    const char *check; // a word that scripts can rely on: "iommu", "netplan"
    char *object;      // "host", a pool's name or a PF's address
    char *what;        // one line
    char *remedy;      // NULL for an OK
} VfFinding;

typedef struct {
    const char *root;    // "" on a real host
    GPtrArray *findings; // of VfFinding
} VfDoctor;

void vf_doctor_init(VfDoctor *doctor, const char *root);
void vf_doctor_clear(VfDoctor *doctor);
guint vf_doctor_count(const VfDoctor *doctor, VfFindingLevel level);

// Adds a finding; the formatted text is "WHAT" or "WHAT -- REMEDY" (VF_REMEDY in error.h).
G_GNUC_PRINTF(5, 6)
void vf_doctor_add(VfDoctor *doctor, VfFindingLevel level, const char *check, const char *object,
                   const char *format, ...);

// Text of a regular file below the root, at most 1 MiB of it, NULL when there is none to read.
// Caller frees.
G_GNUC_PRINTF(2, 3)
char *vf_doctor_read(const VfDoctor *doctor, const char *format, ...);

// Names in a directory below the root that end in `suffix`, in order; empty when there is none.
GPtrArray *vf_doctor_list(const VfDoctor *doctor, const char *directory, const char *suffix);

// IOMMU, vfio-pci, what the kernel's version means.
void vf_doctor_check_host(VfDoctor *doctor);

// Hook, QMP directory, AppArmor, drop-in.
void vf_doctor_check_libvirt(VfDoctor *doctor);

// One PF of the configuration: limits, driver, IOMMU groups, ARI, bus numbers, link.
void vf_doctor_check_pf(VfDoctor *doctor, const VfInvPf *pf);

// Who else would write sriov_numvfs, bind the PF or hand out its functions.
void vf_doctor_check_owners(VfDoctor *doctor, const VfInvPf *pf);

// TRUE when a kernel has per-VF locks in vfio-pci (upstream commit e908f58b6beb). `version` is the
// upstream version, "6.12.95". Exported for tests.
gboolean vf_doctor_has_vf_dev_set(const char *version);
