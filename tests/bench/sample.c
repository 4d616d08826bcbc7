// SPDX-License-Identifier: GPL-2.0-or-later
//
// Clock and output of the benchmarks written in C. No statistics but median and range: a mean on
// a busy machine says more about the machine.

#include "sample.h"

#include <stdio.h>
#include <stdlib.h>

#define CLOCK_PAIRS 10001

double bench_clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

double bench_now_ms(void)
{
    return bench_clock_ms(CLOCK_MONOTONIC);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)((long long)t.tv_sec * 1000000000 + t.tv_nsec);
}

double bench_clock_cost_ns(void)
{
    static double taken[CLOCK_PAIRS];

    for (int i = 0; i < CLOCK_PAIRS; i++) {
        double start = bench_now_ns();

        taken[i] = bench_now_ns() - start;
    }
    qsort(taken, CLOCK_PAIRS, sizeof *taken, compare);
    return taken[CLOCK_PAIRS / 2];
}

static void print(const char *name, const char *unit, double median, double min, double max, int n)
{
    printf("{\"name\": \"%s\", \"unit\": \"%s\", \"median\": %.4f, \"min\": %.4f, \"max\": %.4f, "
           "\"n\": %d}\n",
           name, unit, median, min, max, n);
    fflush(stdout);
}

void bench_print(const char *name, const char *unit, double *values, int n)
{
    qsort(values, n, sizeof *values, compare);
    print(name, unit, (values[(n - 1) / 2] + values[n / 2]) / 2, values[0], values[n - 1], n);
}

void bench_print_one(const char *name, const char *unit, double value, int n)
{
    print(name, unit, value, value, value, n);
}
