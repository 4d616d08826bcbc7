// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /bin/stall of the guest: how long a processor of it stands still in an access to a port. `stall
 * lock` reads the status of the third serial port, which QEMU emulates with its global lock held;
 * `stall kernel` reads the mask of the interrupt controller, which KVM emulates by itself: what
 * that one waits for is not QEMU's lock. Each is read every millisecond. When a byte has arrived at
 * the third serial port, the longest of the accesses since the byte before and their number are
 * printed, "MICROSECONDS COUNT". The first line, "0 0", says that it listens.
 *
 * Invariant: only the access is timed, never the sleep between two, so an idle processor that wakes
 * up late is no stall. A stall that begins while it sleeps is seen shorter by at most a
 * millisecond. The thread that times touches nothing but its port: with `kernel` another one, on
 * the first processor, looks for bytes.
 *
 * Pin it with taskset to a processor that has nothing else to do. It goes through /dev/port,
 * because an emulated processor refuses a port access that ioperm() has allowed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SERIAL 0x3e8
#define STATUS (SERIAL + 5)
#define DATA_READY 1
#define INTERRUPT_MASK 0x21

static int ports;              // /dev/port
static atomic_bool byte_there; // a byte has arrived and has not been reported

static long microseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static int input(int port)
{
    unsigned char value;

    if (pread(ports, &value, 1, port) != 1) {
        perror("/dev/port");
        exit(1);
    }
    return value;
}

static void wait_a_millisecond(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

// Says so if a byte has arrived by what the status, just read, shows.
static void look(int status)
{
    if (status & DATA_READY) {
        input(SERIAL);
        byte_there = true;
    }
}

static void *look_for_bytes(void *unused)
{
    cpu_set_t first;

    (void)unused;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof(first), &first);
    for (;; wait_a_millisecond()) {
        look(input(STATUS));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const struct sched_param priority = {.sched_priority = 50};
    bool kernel = argc == 2 && !strcmp(argv[1], "kernel");
    long longest = 0, count = 0;
    pthread_t looker;

    if (argc != 2 || (!kernel && strcmp(argv[1], "lock") != 0)) {
        fputs("usage: stall lock|kernel\n", stderr);
        return 2;
    }
    ports = open("/dev/port", O_RDONLY);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (ports == -1 || sched_setscheduler(0, SCHED_FIFO, &priority) != 0 ||
        (kernel && pthread_create(&looker, NULL, look_for_bytes, NULL) != 0)) {
        perror("stall");
        return 1;
    }
    puts("0 0");
    for (;; wait_a_millisecond()) {
        long start = microseconds(), took;
        int value = input(kernel ? INTERRUPT_MASK : STATUS);

        took = microseconds() - start;
        longest = took > longest ? took : longest;
        count++;
        if (!kernel) {
            look(value);
        }
        if (atomic_exchange(&byte_there, false)) {
            printf("%ld %ld\n", longest, count);
            longest = count = 0;
        }
    }
}
