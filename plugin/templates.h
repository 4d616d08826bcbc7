// SPDX-License-Identifier: GPL-2.0-or-later
//
// The files of xml-templates/ as strings (the build makes them, see xml-templates/templates.mk),
// and the filling of their placeholders.

#pragma once

#include <glib.h>

extern const char vf_template_hostdev[];
extern const char vf_template_qmp[];

// Replaces each @NAME@ by its value, escaped for XML. `values` is NAME, value, NAME, value, …,
// NULL. They are replaced one after another: text from outside comes last. Caller frees.
char *vf_template_fill(const char *text, const char *const *values);
