// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /bin/stall of the guest: how long a processor of it stands still in an access that needs QEMU's
 * global lock. It reads the status of the third serial port, which QEMU emulates with that lock
 * held, every millisecond. When a byte has arrived there it prints the longest of the accesses
 * since the byte before and their number, "MICROSECONDS COUNT". Its first line, "0 0", says that it
 * listens.
 *
 * Invariant: only the access is timed, never the sleep between two, so an idle processor that wakes
 * up late is no stall. A stall that begins while it sleeps is seen shorter by at most a
 * millisecond.
 *
 * Pin it with taskset to a processor that has nothing else to do. It goes through /dev/port,
 * because an emulated processor refuses a port access that ioperm() has allowed.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PORT 0x3e8
#define STATUS (PORT + 5)
#define DATA_READY 1

static int serial; // /dev/port

static long microseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static int input(int port)
{
    unsigned char value;

    if (pread(serial, &value, 1, port) != 1) {
        perror("/dev/port");
        exit(1);
    }
    return value;
}

int main(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    const struct sched_param priority = {.sched_priority = 50};
    long longest = 0, count = 0;

    serial = open("/dev/port", O_RDONLY);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (serial == -1 || sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
        perror("stall");
        return 1;
    }
    puts("0 0");
    for (;;) {
        long start = microseconds(), took;
        int arrived = input(STATUS) & DATA_READY;

        took = microseconds() - start;
        longest = took > longest ? took : longest;
        count++;
        if (arrived) {
            input(PORT);
            printf("%ld %ld\n", longest, count);
            longest = count = 0;
        }
        nanosleep(&pause, NULL);
    }
}
