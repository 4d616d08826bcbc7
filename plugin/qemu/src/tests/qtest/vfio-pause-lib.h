/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A QEMU with vfio-pci devices of a fake kernel, for tests of their pause
 */

#ifndef TESTS_VFIO_PAUSE_LIB_H
#define TESTS_VFIO_PAUSE_LIB_H

#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "fakevfio.h"

#define RAM_MSI 0x100000        /* where MSI-X messages go, 256 per device */
#define COMMAND_ON 0x6          /* memory and bus master */
#define VECTORS_ON 0xb          /* 0, 1 and 3 are set up by guest_setup() */

typedef struct PauseTest {
    QTestState *qts;
    FvState *fv;
    char *dir;
    bool iommufd;
    int devices;
    int free_ports;     /* root ports after those of the devices */
    bool hostless;      /* no host device is given when QEMU starts */
    const char *options;    /* more of QEMU's command line */
    bool quits_early;   /* with work going on, whose memory is not freed */
    GQueue events;      /* that came while another one was waited for */
} PauseTest;

/*
 * Describe @devices host devices, each in a group with its number plus 1 and
 * a minor with its number; the ones that tests of another identity use are
 * made by host_add().
 */
PauseTest *pause_new(bool iommufd, int devices);
int host_add(PauseTest *t);

/* Host device @n is from now on in this group and has this minor. */
void host_place(PauseTest *t, int n, int group, int minor);
char *host_path(PauseTest *t, int n);

/* Start QEMU with devices d0..., each below root port rp0... */
void pause_start(PauseTest *t, const char *device_options);

/* With the guest's side set up, too */
PauseTest *pause_started(bool iommufd, int devices);
void pause_end(PauseTest *t);
void forget_events(PauseTest *t); /* that nobody waited for */

/* The guest */
uint32_t cfg_read(PauseTest *t, int n, int off, int len);
void cfg_write(PauseTest *t, int n, int off, uint32_t val, int len);
uint32_t ecfg_read(PauseTest *t, int n, int off);
void ecfg_write(PauseTest *t, int n, int off, uint32_t val);
void ecfg_enable(PauseTest *t);    /* once more after a reset */
void port_write(PauseTest *t, int n, int off, uint32_t val, int len);
uint32_t port_read(PauseTest *t, int n, int off, int len);
uint64_t bar(int n, int nr);
void vector_set(PauseTest *t, int n, int vector, bool masked);
void guest_setup(PauseTest *t, int n);
void guest_unplugs(PauseTest *t, int n);
void guest_plugs(PauseTest *t, int n);

/* Remove device d0, with the guest's help */
void device_del(PauseTest *t);

/* True if signalling a vector's eventfd reached the guest's memory. */
bool guest_gets_vector(PauseTest *t, int n, int vector);

/* QMP */
void pause_begin(PauseTest *t, int n);
void resume_begin(PauseTest *t, int n);

/* Wait for the end of an operation; free the error, NULL if it went well. */
char *wait_end(PauseTest *t, int n, const char *expected);
void pause_ok(PauseTest *t, int n);
void resume_ok(PauseTest *t, int n);

/*
 * The next event of this kind; both keep the others, unlike libqtest's
 * functions.  take_event() returns NULL if none has come yet.
 */
QDict *take_event(PauseTest *t, const char *name);
QDict *wait_event(PauseTest *t, const char *name);

/* As qtest_system_reset(), which loses events */
void system_reset(PauseTest *t);

/* The error that a command ends with at once; the command must fail. */
char *qmp_error(PauseTest *t, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void assert_error(char *error, const char *part);
QDict *query(PauseTest *t, int n);
char *query_state(PauseTest *t, int n);

/* What the kernel sees */
void count_refs(PauseTest *t, int *fds, int *maps);
int dma_maps(PauseTest *t);
int dma_maps_of_ram(PauseTest *t);
uint64_t vectors_on(PauseTest *t, int n);
int all_fds(PauseTest *t);
int all_maps(PauseTest *t);
int rss_kib(PauseTest *t);
void fail_nth(PauseTest *t, int kinds, int nth, int error);
bool fail_end(PauseTest *t);

/* No reference of any kind is left; or all of those of running devices. */
void assert_released(PauseTest *t);
void assert_running(PauseTest *t, int n);

/*
 * Calls that the fake kernel holds: from hold() on the next one waits, @held
 * tells that it does, let_go() ends it.
 */
void hold(FvHeld *calls);
void wait_for(const int *value);
void let_go(FvHeld *calls);
void assert_answers(PauseTest *t, FvHeld *calls, const char *state);
void del_while_held(PauseTest *t, FvHeld *calls);

/* Registration; each file of cases has one. */
void add_case(const char *name, void (*func)(PauseTest *t), int devices);
void add_access_cases(void);
void add_config_cases(void);
void add_failure_cases(void);
void add_identity_cases(void);
void add_identity_file_cases(void);
void add_life_cases(void);
void add_memory_cases(void);
void add_resume_cases(void);

#endif
