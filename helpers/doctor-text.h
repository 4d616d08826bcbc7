// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading other programs' settings just far enough to see whether they concern a PF. Pure functions
// of a text (NULL = no such file: nothing is set); no text is an error.

#pragma once

#include <glib.h>

// First value of `key` in [section] of an ini file (NetworkManager, systemd); NULL when it is not
// there. Caller frees.
char *vf_text_ini(const char *text, const char *section, const char *key);

// TRUE when an interface of a netplan file has virtual-function-count and is called `netdev` or
// matches it by name or MAC address.
gboolean vf_text_netplan_sets_vfs(const char *text, const char *netdev, const char *mac);

// TRUE when sysfs.conf(5) sets `attribute`, "bus/pci/devices/…".
gboolean vf_text_sysfs_conf_sets(const char *text, const char *attribute);

// TRUE when modprobe.d(5) gives the module the option.
gboolean vf_text_modprobe_sets(const char *text, const char *module, const char *option);

// Reads a libvirt network: TRUE when it forwards in mode hostdev to the PF `netdev`; appends the
// addresses (VfPciAddr) of functions that it lists one by one.
gboolean vf_text_network_passes(const char *text, const char *netdev, GArray *addresses);
