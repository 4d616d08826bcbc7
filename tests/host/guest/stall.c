// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /bin/stall of the guest: how long a processor of it stands still in accesses that need QEMU's
 * global lock. It reads a register of the real time clock, which QEMU emulates with that lock held,
 * every millisecond, and prints a line "BEGIN TOOK" for each access. At SIGUSR1 it prints
 * "now TIME". All in microseconds, of the wall clock, which KVM gives a guest from its host.
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
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static long microseconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

int main(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    const struct sched_param priority = {.sched_priority = 50};
    const int port = open("/dev/port", O_RDONLY);
    sigset_t report;

    sigemptyset(&report);
    sigaddset(&report, SIGUSR1);
    sigprocmask(SIG_BLOCK, &report, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (port == -1 || sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
        perror("stall");
        return 1;
    }
    for (;;) {
        long begin = microseconds(CLOCK_REALTIME), start = microseconds(CLOCK_MONOTONIC);
        char value;

        if (pread(port, &value, 1, 0x71) != 1) {
            perror("/dev/port");
            return 1;
        }
        printf("%ld %ld\n", begin, microseconds(CLOCK_MONOTONIC) - start);
        if (sigtimedwait(&report, NULL, &pause) == SIGUSR1)
            printf("now %ld\n", microseconds(CLOCK_REALTIME));
    }
}
