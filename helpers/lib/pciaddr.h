// SPDX-License-Identifier: GPL-2.0-or-later
//
// PCI addresses (DDDD:BB:DD.F). Addresses are looked up late and never stored as the identity of a
// function: that is PF + index (design: a VF's address may move when NumVFs changes).

#pragma once

#include <glib.h>

typedef struct {
    guint32 domain; // up to 32 bits: VMD domains start at 0x10000
    guint8 bus;
    guint8 device;   // 0..31
    guint8 function; // 0..7
} VfPciAddr;

#define VF_PCIADDR_BUFSIZE 20

// Parses "0000:3b:10.2" or "3b:10.2" (domain 0). FALSE on anything else, trailing text included.
gboolean vf_pciaddr_parse(const char *text, VfPciAddr *addr);

// Writes the sysfs form into buf (VF_PCIADDR_BUFSIZE bytes) and returns buf.
const char *vf_pciaddr_format(const VfPciAddr *addr, char *buf);

gboolean vf_pciaddr_equal(const VfPciAddr *a, const VfPciAddr *b);

// Address of VF `index` (from 0) of a PF: routing id of the PF + offset + index * stride (PCIe
// SR-IOV, First VF Offset and VF Stride). FALSE when the sum leaves the 16 bits of a routing id.
gboolean vf_pciaddr_vf(const VfPciAddr *pf, guint16 offset, guint16 stride, guint index,
                       VfPciAddr *vf);
