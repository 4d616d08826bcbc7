// SPDX-License-Identifier: GPL-2.0-or-later
//
// Starts a hook the way libvirt starts it, for the benchmarks that measure what one costs.

#pragma once

#include <stddef.h>

typedef struct {
    const char *path;      // of the program
    const char *operation; // "prepare"
    const char *phase;     // "begin"
    const char *socket;    // of virtfnd, NULL = where it is by default
    const char *xml;
    size_t length;
} BenchHook;

// Runs it once: fork, execve with a clean environment, the XML through a pipe to stdin, stdout and
// stderr drained, wait. Milliseconds of all that. Ends the program when the hook fails.
double bench_hook(const BenchHook *hook);

// A whole file; never returned to the heap.
char *bench_load(const char *path, size_t *length);
