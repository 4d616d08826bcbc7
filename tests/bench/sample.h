// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a benchmark written in C shares: a clock, and samples that become one JSON line each on
// stdout, in the form that tests/bench/run reads.

#pragma once

#include <time.h>

// A clock of clock_gettime(2).
double bench_clock_ms(clockid_t clock);

// Monotonic time.
double bench_now_ms(void);

// The same for what takes less than a microsecond, and what it costs to read it twice: the median
// of many pairs with nothing between.
double bench_now_ns(void);
double bench_clock_cost_ns(void);

// Sorts `values` and prints {"name", "unit", "median", "min", "max", "n"}. n is at least 1.
void bench_print(const char *name, const char *unit, double *values, int n);

// Prints a figure that stands for itself, such as a percentile over n measurements.
void bench_print_one(const char *name, const char *unit, double value, int n);
