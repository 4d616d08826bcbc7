// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /bin/cardjob of the guest: drives a virtual function of the emulated FPGA card from user space,
 * through sysfs, and checks every result against its own computation.
 *
 *   cardjob [-d FUNCTION] [-n JOBS] [-e EVERY] [-p MILLISECONDS] [-s SEED]
 *
 * -d is the function, as 0000:05:00.0 (default: the first one there is), -n how many jobs (default:
 * until killed), -e after how many good ones to say so (default 10), -p a rest after each, -s what
 * the data is made from. It prints, with milliseconds since boot:
 *
 *   accelerator N at MS           it started that accelerator anew, also after another one came
 *   ok JOBS at MS, repeated R     so many good jobs; R of the attempts had no effect
 *
 * Status 2, after a line "wrong: ..." on the standard output: a wrong result, or a context that is
 * not the one of its last job. Status 1: anything else that should not be.
 *
 * Invariant: nothing that the card says is taken as input of the next computation. The function may
 * be reset, disconnected or gone (all ones) between any two accesses, for as long as it likes. A
 * job without effect is given again, one that happened is not: the card counts the jobs of a
 * context together with their effect. It does nothing to get its function back, and it polls,
 * since interrupts need a driver.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "compute.h"
#include "hw/misc/virtfn-card-regs.h"

#define DEVICES "/sys/bus/pci/devices"

enum { page = 4096, command = 4, memory_and_master = 6, dma_errors_max = 3 };

/* What there is to see when a function is there and connected. */
struct view {
    uint32_t accelerator;
    uint64_t jobs;
};

static volatile uint32_t *registers;
static uint8_t *source, *destination;
static uint64_t source_address, destination_address;
static uint64_t repeated;

__attribute__((format(printf, 2, 3))) _Noreturn static void fail(int status, const char *format,
                                                                 ...)
{
    va_list arguments;

    va_start(arguments, format);
    printf(status == 2 ? "wrong: " : "cardjob: ");
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    exit(status);
}

static void rest(long milliseconds)
{
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static int64_t uptime(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int open_file(const char *function, const char *name, int flags)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), DEVICES "/%s/%s", function, name);
    fd = open(path, flags);
    if (fd == -1)
        fail(1, "%s: %s", path, strerror(errno));
    return fd;
}

static unsigned long read_number(const char *function, const char *name)
{
    const int fd = open_file(function, name, O_RDONLY);
    char text[16] = "";

    if (read(fd, text, sizeof(text) - 1) <= 0)
        fail(1, "%s of %s: %s", name, function, strerror(errno));
    close(fd);
    return strtoul(text, NULL, 16);
}

static const char *first_function(void)
{
    static char found[256];
    DIR *devices = opendir(DEVICES);
    const struct dirent *entry;

    while (devices && (entry = readdir(devices))) {
        if (entry->d_name[0] != '.' && read_number(entry->d_name, "vendor") == CARD_VENDOR_ID &&
            read_number(entry->d_name, "device") == CARD_VF_DEVICE_ID &&
            (!found[0] || strcmp(entry->d_name, found) < 0))
            snprintf(found, sizeof(found), "%s", entry->d_name);
    }
    if (!found[0])
        fail(1, "there is no function of the FPGA card");
    return found;
}

/* A page that stays where it is, and where that is. */
static uint8_t *dma_page(uint64_t *address)
{
    const int map = open("/proc/self/pagemap", O_RDONLY);
    uint64_t entry;
    uint8_t *memory = mmap(NULL, page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        fail(1, "no memory: %s", strerror(errno));
    memory[0] = 1;
    if (map == -1 || pread(map, &entry, 8, (off_t)((uintptr_t)memory / page * 8)) != 8 ||
        (*address = (entry & ((UINT64_C(1) << 55) - 1)) * page) == 0)
        fail(1, "/proc/self/pagemap does not tell where memory is");
    close(map);
    return memory;
}

static void set_up(const char *function)
{
    const uint16_t value = memory_and_master;

    if (pwrite(open_file(function, "config", O_RDWR), &value, sizeof(value), command) !=
        sizeof(value))
        fail(1, "%s: cannot be enabled: %s", function, strerror(errno));
    registers = mmap(NULL, CARD_VF_BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                     open_file(function, "resource0", O_RDWR | O_SYNC), 0);
    if (registers == MAP_FAILED)
        fail(1, "%s: resource0: %s", function, strerror(errno));
    source = dma_page(&source_address);
    destination = dma_page(&destination_address);
}

static uint32_t get(unsigned offset)
{
    return registers[offset / 4];
}

static void set(unsigned offset, uint32_t value)
{
    registers[offset / 4] = value;
}

static void set64(unsigned offset, uint64_t value)
{
    set(offset, (uint32_t)value);
    set(offset + 4, (uint32_t)(value >> 32));
}

static bool look_once(struct view *view)
{
    const bool there = get(CARD_VF_MAGIC) == CARD_VF_MAGIC_VALUE;

    view->accelerator = get(CARD_VF_ACCELERATOR);
    view->jobs = get(CARD_VF_JOBS) | (uint64_t)get(CARD_VF_JOBS + 4) << 32;
    return there && view->accelerator != 0;
}

/* Wait until the function is there and connected, and its answers stay the same. */
static struct view look(void)
{
    struct view one, two;

    for (;;) {
        if (look_once(&one) && look_once(&two) && one.accelerator == two.accelerator &&
            one.jobs == two.jobs && get(CARD_VF_MAGIC) == CARD_VF_MAGIC_VALUE)
            return one;
        rest(20);
    }
}

static uint32_t attempt(uint32_t operation, uint32_t length)
{
    uint32_t status;

    set64(CARD_VF_SOURCE, source_address);
    set64(CARD_VF_DESTINATION, destination_address);
    set(CARD_VF_LENGTH, length);
    set(CARD_VF_DOORBELL, operation);
    while ((status = get(CARD_VF_STATUS)) == CARD_VF_BUSY)
        rest(1);
    return status;
}

/* Reset, disconnected, or (all ones) not there. */
static bool is_interrupted(uint32_t status)
{
    return status == CARD_VF_IDLE || status == CARD_VF_ERROR_REGION ||
           status == CARD_VF_ERROR_ABORTED || status == CARD_VF_ERROR_RESET || status == UINT32_MAX;
}

/*
 * Give one job until it has happened. Returns false if another accelerator came instead; `last` is
 * what there was to see after the last job, and then after this one.
 */
static bool run(struct view *last, uint32_t operation, uint32_t length)
{
    int dma_errors = 0;

    for (;;) {
        const uint32_t status = attempt(operation, length);
        const struct view view = look();

        if (view.accelerator != last->accelerator)
            return false;
        if (view.jobs == last->jobs + 1) {
            *last = view;
            return true;
        }
        if (view.jobs != last->jobs)
            fail(2, "the context has %" PRIu64 " jobs instead of %" PRIu64 " (status %" PRIu32 ")",
                 view.jobs, last->jobs, status);
        if (status == CARD_VF_DONE)
            fail(2, "job %" PRIu64 " of the context is done and not in it", last->jobs + 1);
        /* Memory may go before the function does. */
        if (!is_interrupted(status) &&
            (status != CARD_VF_ERROR_DMA || ++dma_errors == dma_errors_max))
            fail(1, "a job of %" PRIu32 " bytes ended with status %" PRIu32, length, status);
        repeated++;
    }
}

/* Start over with whatever accelerator there is. */
static struct view start(struct compute *compute)
{
    for (;;) {
        struct view view = look();
        const int length = compute_start(compute, view.accelerator, source);

        if (length < 0)
            fail(1, "there is no accelerator %" PRIu32, view.accelerator);
        if (run(&view, CARD_OPERATION_INIT, (uint32_t)length)) {
            printf("accelerator %" PRIu32 " at %" PRId64 "\n", view.accelerator, uptime());
            return view;
        }
    }
}

/* One job with made-up data; false if another accelerator came. */
static bool job(struct compute *compute, struct view *view)
{
    static uint8_t expected[compute_input_max];
    const uint32_t length = ((uint32_t)random() % (compute_input_max / 4) + 1) * 4;
    uint32_t size;

    for (uint32_t i = 0; i < length; i++)
        source[i] = (uint8_t)random();
    memset(destination, 0, page);
    if (!run(view, CARD_OPERATION_RUN, length))
        return false;
    size = compute_run(compute, source, length, expected);
    if (memcmp(destination, expected, size) != 0)
        fail(2,
             "job %" PRIu64 " of accelerator %" PRIu32 ": %" PRIu32 " bytes, %" PRIu32 " of result",
             view->jobs, view->accelerator, length, size);
    return true;
}

static void work(uint64_t jobs, uint64_t every, long pause)
{
    static struct compute compute;
    struct view view = start(&compute);

    for (uint64_t done = 0; done < jobs;) {
        if (!job(&compute, &view)) {
            view = start(&compute);
            continue;
        }
        if (++done == 1 || done % every == 0 || done == jobs)
            printf("ok %" PRIu64 " at %" PRId64 ", repeated %" PRIu64 "\n", done, uptime(),
                   repeated);
        rest(pause);
    }
}

int main(int argc, char **argv)
{
    const char *function = NULL;
    uint64_t jobs = UINT64_MAX, every = 10;
    long pause = 0;
    int option;

    while ((option = getopt(argc, argv, "d:n:e:p:s:")) != -1) {
        switch (option) {
        case 'd':
            function = optarg;
            break;
        case 'n':
            jobs = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            every = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            pause = strtol(optarg, NULL, 10);
            break;
        case 's':
            srandom((unsigned)strtoul(optarg, NULL, 10));
            break;
        default:
            return 1;
        }
    }
    if (optind != argc || jobs == 0 || every == 0 || pause < 0) {
        fprintf(stderr,
                "usage: cardjob [-d FUNCTION] [-n JOBS] [-e EVERY] [-p MILLISECONDS] [-s SEED]\n");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    set_up(function ? function : first_function());
    work(jobs, every, pause);
    return 0;
}
