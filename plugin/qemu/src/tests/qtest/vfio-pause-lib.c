/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A QEMU with vfio-pci devices of a fake kernel, for tests of their pause
 *
 * Each test has its own directory with a fake sysfs, the fake kernel's
 * objects and state, and a QEMU that runs no guest code: the test is the
 * guest, by config and memory accesses through libqtest.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/syscall.h>
#include "standard-headers/linux/pci_regs.h"
#include "vfio-pause-lib.h"

#define PORT_SLOT 4     /* of rp0 on the root bus */
#define WINDOW 0x2000000
#define MMCFG 0xb0000000ULL

/*
 * Set-up
 */
static void make_object(PauseTest *t, const char *kind, int n, ino_t *ino,
                        off_t size)
{
    g_autofree char *path = g_strdup_printf("%s/%s-%d", t->dir, kind, n);
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    if (ftruncate(fd, size)) {
        g_error("%s: a sparse file of 9 TiB is needed: %s", path,
                strerror(errno));
    }
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    *ino = st.st_ino;
    t->fv->fs = st.st_dev;
    close(fd);
}

static void make_state(PauseTest *t)
{
    g_autofree char *path = g_strdup_printf("%s/state", t->dir);
    int i, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    pthread_mutexattr_t attr;

    g_assert_cmpint(ftruncate(fd, sizeof(*t->fv)), ==, 0);
    t->fv = mmap(NULL, sizeof(*t->fv), PROT_READ | PROT_WRITE, MAP_SHARED,
                 fd, 0);
    g_assert(t->fv != MAP_FAILED);
    close(fd);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&t->fv->lock, &attr);

    for (i = 0; i < FV_SPACES; i++) {
        make_object(t, "container", i, &t->fv->container_ino[i], 0);
        make_object(t, "iommu", i, &t->fv->iommu_ino[i], 0);
    }
    for (i = 0; i < FV_GROUPS; i++) {
        make_object(t, "group", i, &t->fv->group_ino[i], 0);
        t->fv->group[i].container = -1;
    }
    for (i = 0; i < FV_DEVICES; i++) {
        make_object(t, "device", i, &t->fv->device_ino[i], 9LL << 40);
    }
}

char *host_path(PauseTest *t, int n)
{
    return g_strdup_printf("%s/sys/%s", t->dir, t->fv->device[n].name);
}

static void remove_tree(const char *path)
{
    GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL :
                g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        remove_tree(child);
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_remove(path);
}

void host_place(PauseTest *t, int n, int group, int minor)
{
    FvDevice *d = &t->fv->device[n];
    g_autofree char *path = host_path(t, n);
    g_autofree char *link = g_strdup_printf("%s/iommu_group", path);
    g_autofree char *to = g_strdup_printf("../../iommu_groups/%d", group);
    g_autofree char *node = g_strdup_printf("%s/vfio-dev/vfio%d", path, minor);
    g_autofree char *file = g_strdup_printf("%s/dev", node);
    g_autofree char *text = g_strdup_printf("%d:%d\n", FV_MAJOR, minor);

    d->group = group;
    d->minor = minor;
    remove_tree(path);
    g_assert_cmpint(g_mkdir_with_parents(node, 0700), ==, 0);
    g_assert_cmpint(symlink(to, link), ==, 0);
    g_assert(g_file_set_contents(file, text, -1, NULL));
}

int host_add(PauseTest *t)
{
    int n = 0;

    while (t->fv->device[n].name[0]) {
        n++;
    }
    g_snprintf(t->fv->device[n].name, sizeof(t->fv->device[n].name),
               "0000:01:10.%d", n);
    t->fv->device[n].vendor = 0x10ee;
    t->fv->device[n].device = 0x9048;
    t->fv->device[n].bar0_size = 0x10000;
    t->fv->device[n].vectors = 8;
    host_place(t, n, n + 1, n);
    return n;
}

PauseTest *pause_new(bool iommufd, int devices)
{
    PauseTest *t = g_new0(PauseTest, 1);
    int i;

    t->dir = g_dir_make_tmp("vfio-pause-XXXXXX", NULL);
    g_assert(t->dir);
    make_state(t);
    g_queue_init(&t->events);
    t->iommufd = iommufd;
    t->devices = devices;
    for (i = 0; i < devices; i++) {
        host_add(t);
    }
    return t;
}

/* How to start QEMU with the fake kernel: libqtest hands it to a shell. */
static void set_command(PauseTest *t)
{
    const char *lib = g_getenv("FAKEVFIO_LIB");
    const char *asan = g_getenv("ASAN_OPTIONS");
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *self_dir = g_path_get_dirname(self);
    g_autofree char *found = lib ? realpath(lib, NULL) :
        g_build_filename(self_dir, "fakevfio.so", NULL);
    g_autofree char *command = NULL;

    if (!found || !g_file_test(found, G_FILE_TEST_EXISTS)) {
        g_error("fakevfio.so is neither in FAKEVFIO_LIB nor in %s", self_dir);
    }
    /* the sanitizer's library wants to be first, but needs not to be */
    command = g_strdup_printf("env " FV_ENV "=%s LD_PRELOAD=%s "
                              "MALLOC_ARENA_MAX=1 "
                              "ASAN_OPTIONS=%s%sverify_asan_link_order=0%s %s",
                              t->dir, found, asan ?: "", asan ? ":" : "",
                              t->quits_early ? ":detect_leaks=0" : "",
                              g_getenv("QTEST_QEMU_BINARY"));
    g_setenv("VFIO_PAUSE_QEMU", command, true);
}

static bool keep_event(QTestState *s, const char *name, QDict *event,
                       void *opaque)
{
    PauseTest *t = opaque;

    g_queue_push_tail(&t->events, qobject_ref(event));
    return true;
}

void ecfg_enable(PauseTest *t)
{
    qtest_outl(t->qts, 0xcf8, 0x80000064);
    qtest_outl(t->qts, 0xcfc, 0);
    qtest_outl(t->qts, 0xcf8, 0x80000060);
    qtest_outl(t->qts, 0xcfc, MMCFG | 1);
}

void pause_start(PauseTest *t, const char *device_options)
{
    g_autofree char *bios = g_strdup_printf("%s/bios", t->dir);
    GString *args = g_string_new("-machine q35 -m 64 -nodefaults -global "
        "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off "
        "-global apic-common.vapic=off");
    static const char zeros[64 * 1024];
    int i;

    g_assert(g_file_set_contents(bios, zeros, sizeof(zeros), NULL));
    g_string_append_printf(args, " -bios %s", bios);
    if (t->iommufd) {
        g_string_append(args, " -object iommufd,id=iommufd0");
    }
    for (i = 0; i < t->devices + t->free_ports; i++) {
        g_string_append_printf(args,
            " -device pcie-root-port,id=rp%d,addr=0x%x,chassis=%d,slot=%d", i,
            PORT_SLOT + i, i + 1, i + 1);
    }
    for (i = 0; i < t->devices; i++) {
        g_autofree char *path = host_path(t, i);

        g_string_append_printf(args,
            " -device vfio-pci,id=d%d,bus=rp%d%s%s%s%s", i, i,
            t->hostless ? "" : ",sysfsdev=", t->hostless ? "" : path,
            t->iommufd ? ",iommufd=iommufd0" : "", device_options ?: "");
    }
    if (t->options) {
        g_string_append_printf(args, " %s", t->options);
    }
    set_command(t);
    t->qts = qtest_init_with_env("VFIO_PAUSE_QEMU", args->str, true);
    qtest_qmp_set_event_callback(t->qts, keep_event, t);
    g_string_free(args, true);
    ecfg_enable(t);
}

PauseTest *pause_started(bool iommufd, int devices)
{
    PauseTest *t = pause_new(iommufd, devices);
    int i;

    pause_start(t, NULL);
    for (i = 0; i < devices; i++) {
        guest_setup(t, i);
    }
    return t;
}

void forget_events(PauseTest *t)
{
    QDict *event;

    while ((event = g_queue_pop_head(&t->events))) {
        qobject_unref(event);
    }
}

void pause_end(PauseTest *t)
{
    if (t->qts) {
        qtest_quit(t->qts);
    }
    forget_events(t);
    munmap(t->fv, sizeof(*t->fv));
    remove_tree(t->dir);
    g_free(t->dir);
    g_free(t);
}

/*
 * The guest
 */
static uint32_t config(PauseTest *t, int bus, int slot, int off, int len,
                       bool write, uint32_t val)
{
    QTestState *s = t->qts;
    int port = 0xcfc + (off & 3);

    qtest_outl(s, 0xcf8, 0x80000000 | bus << 16 | slot << 11 | (off & 0xfc));
    if (write) {
        len == 1 ? qtest_outb(s, port, val) :
        len == 2 ? qtest_outw(s, port, val) : qtest_outl(s, port, val);
        return 0;
    }
    return len == 1 ? qtest_inb(s, port) :
           len == 2 ? qtest_inw(s, port) : qtest_inl(s, port);
}

uint32_t cfg_read(PauseTest *t, int n, int off, int len)
{
    return config(t, n + 1, 0, off, len, false, 0);
}

void cfg_write(PauseTest *t, int n, int off, uint32_t val, int len)
{
    config(t, n + 1, 0, off, len, true, val);
}

uint32_t port_read(PauseTest *t, int n, int off, int len)
{
    return config(t, 0, PORT_SLOT + n, off, len, false, 0);
}

void port_write(PauseTest *t, int n, int off, uint32_t val, int len)
{
    config(t, 0, PORT_SLOT + n, off, len, true, val);
}

uint32_t ecfg_read(PauseTest *t, int n, int off)
{
    return qtest_readl(t->qts, MMCFG + ((n + 1) << 20) + off);
}

void ecfg_write(PauseTest *t, int n, int off, uint32_t val)
{
    qtest_writel(t->qts, MMCFG + ((n + 1) << 20) + off, val);
}

uint64_t bar(int n, int nr)
{
    return 0xe0000000ULL + n * WINDOW + nr * 0x100000;
}

void vector_set(PauseTest *t, int n, int vector, bool masked)
{
    uint64_t entry = bar(n, FV_MSIX_BAR) + vector * PCI_MSIX_ENTRY_SIZE;

    qtest_writel(t->qts, entry, RAM_MSI + n * 0x100 + vector * 16);
    qtest_writel(t->qts, entry + 4, 0);
    qtest_writel(t->qts, entry + 8, vector + 1);
    qtest_writel(t->qts, entry + 12, masked);
}

/* What firmware and a driver set up */
void guest_setup(PauseTest *t, int n)
{
    uint32_t base = bar(n, 0) >> 16;

    port_write(t, n, PCI_PRIMARY_BUS, (n + 1) << 16 | (n + 1) << 8, 4);
    port_write(t, n, PCI_MEMORY_BASE,
               (base + (WINDOW >> 16) - 1) << 16 | base, 4);
    port_write(t, n, PCI_COMMAND, COMMAND_ON, 2);
    g_assert_cmphex(cfg_read(t, n, PCI_VENDOR_ID, 4), ==, 0x904810ee);
    cfg_write(t, n, PCI_BASE_ADDRESS_0, bar(n, 0), 4);
    cfg_write(t, n, PCI_BASE_ADDRESS_2, bar(n, FV_MSIX_BAR), 4);
    cfg_write(t, n, PCI_BASE_ADDRESS_3, 0, 4);
    cfg_write(t, n, PCI_COMMAND, COMMAND_ON, 2);
    cfg_write(t, n, PCI_CACHE_LINE_SIZE, 0x10, 1);
    cfg_write(t, n, FV_CAP_EXP + PCI_EXP_DEVCTL, 0x283f, 2);
    vector_set(t, n, 0, false);
    vector_set(t, n, 1, false);
    vector_set(t, n, 3, false);
    cfg_write(t, n, FV_CAP_MSIX + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
}

static void slot_control(PauseTest *t, int n, int val)
{
    int cap = port_read(t, n, PCI_CAPABILITY_LIST, 1);

    while (port_read(t, n, cap, 1) != PCI_CAP_ID_EXP) {
        cap = port_read(t, n, cap + 1, 1);
        g_assert_cmpint(cap, !=, 0);
    }
    port_write(t, n, cap + PCI_EXP_SLTCTL, val, 2);
}

/* What pciehp does when it is asked to: take power from the slot */
void guest_unplugs(PauseTest *t, int n)
{
    slot_control(t, n, PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF);
}

/* and give it power when it is no longer empty */
void guest_plugs(PauseTest *t, int n)
{
    slot_control(t, n, PCI_EXP_SLTCTL_PWR_IND_ON);
}

bool guest_gets_vector(PauseTest *t, int n, int vector)
{
    uint64_t addr = RAM_MSI + n * 0x100 + vector * 16, one = 1;
    int their = t->fv->device[n].irq[2][vector];
    int pid, fd, i;

    if (their < 0) {
        return false;
    }
    pid = syscall(SYS_pidfd_open, qtest_pid(t->qts), 0);
    fd = syscall(SYS_pidfd_getfd, pid, their, 0);
    g_assert_cmpint(fd, >=, 0);
    qtest_writel(t->qts, addr, 0);
    g_assert_cmpint(write(fd, &one, sizeof(one)), ==, sizeof(one));
    close(fd);
    close(pid);
    for (i = 0; i < 500; i++) {
        if (qtest_readl(t->qts, addr) == vector + 1) {
            return true;
        }
        g_usleep(1000);
    }
    return false;
}

/*
 * QMP
 */
QDict *take_event(PauseTest *t, const char *name)
{
    GList *l;

    for (l = t->events.head; l; l = l->next) {
        QDict *event = l->data;

        if (!strcmp(qdict_get_str(event, "event"), name)) {
            g_queue_delete_link(&t->events, l);
            return event;
        }
    }
    return NULL;
}

QDict *wait_event(PauseTest *t, const char *name)
{
    QDict *event;

    while (!(event = take_event(t, name))) {
        event = qtest_qmp_receive_dict(t->qts);
        g_assert(qdict_haskey(event, "event"));
        g_queue_push_tail(&t->events, event);
    }
    return event;
}

void pause_begin(PauseTest *t, int n)
{
    g_autofree char *id = g_strdup_printf("d%d", n);

    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-pause', "
                             "'arguments': { 'id': %s } }", id);
}

void resume_begin(PauseTest *t, int n)
{
    g_autofree char *id = g_strdup_printf("d%d", n);

    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-resume', "
                             "'arguments': { 'id': %s } }", id);
}

char *wait_end(PauseTest *t, int n, const char *expected)
{
    g_autofree char *id = g_strdup_printf("d%d", n);

    for (;;) {
        QDict *event = wait_event(t, "VFIO_PAUSE_STATE");
        QDict *data = qdict_get_qdict(event, "data");
        const char *state = qdict_get_str(data, "state");
        bool end = !strcmp(qdict_get_str(data, "device-id"), id) &&
                   (!strcmp(state, "running") || !strcmp(state, "paused"));
        char *error = g_strdup(qdict_get_try_str(data, "error"));

        if (end && expected) {
            g_test_message("%s: %s", id, error ?: state);
            g_assert_cmpstr(state, ==, expected);
        }
        qobject_unref(event);
        if (end) {
            return error;
        }
        g_free(error);
    }
}

void pause_ok(PauseTest *t, int n)
{
    char *error;

    pause_begin(t, n);
    error = wait_end(t, n, "paused");
    g_assert_cmpstr(error, ==, NULL);
}

void resume_ok(PauseTest *t, int n)
{
    char *error;

    resume_begin(t, n);
    error = wait_end(t, n, "running");
    g_assert_cmpstr(error, ==, NULL);
}

void system_reset(PauseTest *t)
{
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'system_reset' }");
    qobject_unref(wait_event(t, "RESET"));
}

char *qmp_error(PauseTest *t, const char *fmt, ...)
{
    va_list ap;
    QDict *response;
    char *desc;

    va_start(ap, fmt);
    response = qtest_vqmp(t->qts, fmt, ap);
    va_end(ap);
    g_assert(qdict_haskey(response, "error"));
    desc = g_strdup(qdict_get_str(qdict_get_qdict(response, "error"), "desc"));
    qobject_unref(response);
    return desc;
}

void assert_error(char *error, const char *part)
{
    if (!error || !strstr(error, part)) {
        g_error("'%s' expected in the error '%s'", part, error ?: "(none)");
    }
    g_free(error);
}

QDict *query(PauseTest *t, int n)
{
    g_autofree char *id = g_strdup_printf("d%d", n);
    QDict *response = qtest_qmp(t->qts, "{ 'execute': 'query-vfio-pause' }");
    QDict *found = NULL;
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        if (!g_strcmp0(qdict_get_try_str(info, "device-id"), id)) {
            found = qobject_ref(info);
        }
    }
    qobject_unref(response);
    return found;
}

char *query_state(PauseTest *t, int n)
{
    QDict *info = query(t, n);
    char *state = info ? g_strdup(qdict_get_str(info, "state")) : NULL;

    qobject_unref(info);
    return state;
}

/*
 * What the kernel sees
 */
static bool is_object(PauseTest *t, const char *path)
{
    const char *at = strstr(path, t->dir);

    return at && !g_str_has_prefix(at + strlen(t->dir), "/state");
}

static int scan_fds(PauseTest *t, int *ours)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qtest_pid(t->qts));
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    int all = 0;

    g_assert(dir);
    *ours = 0;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *fd = g_build_filename(path, name, NULL);
        g_autofree char *link = g_file_read_link(fd, NULL);

        all++;
        *ours += link && is_object(t, link);
    }
    g_dir_close(dir);
    return all;
}

static int scan_maps(PauseTest *t, int *ours)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps",
                                            qtest_pid(t->qts));
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    int i;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    *ours = 0;
    for (i = 0; lines[i]; i++) {
        *ours += is_object(t, lines[i]);
    }
    return i;
}

void count_refs(PauseTest *t, int *fds, int *maps)
{
    scan_fds(t, fds);
    scan_maps(t, maps);
}

int all_fds(PauseTest *t)
{
    int ours;

    return scan_fds(t, &ours);
}

int all_maps(PauseTest *t)
{
    int ours;

    return scan_maps(t, &ours);
}

int rss_kib(PauseTest *t)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            qtest_pid(t->qts));
    g_autofree char *text = NULL;
    const char *line;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    line = strstr(text, "VmRSS:");
    g_assert(line);
    return atoi(line + 6);
}

int dma_maps(PauseTest *t)
{
    int i, count = 0;

    for (i = 0; i < FV_MAPS; i++) {
        count += !!t->fv->map[i].size;
    }
    return count;
}

int dma_maps_of_ram(PauseTest *t)
{
    int i, count = 0;

    for (i = 0; i < FV_MAPS; i++) {
        count += t->fv->map[i].size && (t->fv->map[i].iova < bar(0, 0) ||
                 t->fv->map[i].iova >= bar(t->devices, 0));
    }
    return count;
}

uint64_t vectors_on(PauseTest *t, int n)
{
    uint64_t on = 0;
    int i;

    for (i = 0; i < FV_VECTORS; i++) {
        on |= (uint64_t)(t->fv->device[n].irq[2][i] >= 0) << i;
    }
    return on;
}

void fail_nth(PauseTest *t, int kinds, int nth, int error)
{
    t->fv->fail = (FvFail) { .kinds = kinds, .nth = nth, .error = error };
}

bool fail_end(PauseTest *t)
{
    bool fired = t->fv->fail.fired;

    t->fv->fail.kinds = 0;
    return fired;
}

void assert_released(PauseTest *t)
{
    int i, fds, maps;

    count_refs(t, &fds, &maps);
    g_assert_cmpint(fds, ==, 0);
    g_assert_cmpint(maps, ==, 0);
    g_assert_cmpint(dma_maps(t), ==, 0);
    for (i = 0; i < FV_DEVICES; i++) {
        g_assert_false(t->fv->device[i].open);
    }
}

/* Sees its host device in each way that it did after guest_setup() */
void assert_running(PauseTest *t, int n)
{
    FvDevice *d = &t->fv->device[n];
    int fds, maps;

    count_refs(t, &fds, &maps);
    g_assert_cmpint(fds, >=, t->iommufd ? 2 : 3);
    g_assert_cmpint(maps, >=, 3);
    g_assert_cmpint(dma_maps(t), >, 0);
    g_assert_true(d->open);
    g_assert_cmphex(qtest_readl(t->qts, bar(n, 0)), ==, FV_MAGIC + n);
    g_assert_cmphex(qtest_readl(t->qts, bar(n, 0) + FV_SLOW_START), ==,
                    FV_MAGIC + n);
    g_assert_cmphex(d->config[PCI_COMMAND], ==, COMMAND_ON);
    g_assert_cmphex(vectors_on(t, n), ==, VECTORS_ON);
    g_assert_true(guest_gets_vector(t, n, 3));
}

/*
 * Registration
 */
typedef struct Case {
    void (*func)(PauseTest *t);
    int devices;
    bool iommufd;
} Case;

static void run_case(const void *opaque)
{
    const Case *c = opaque;
    PauseTest *t = c->devices ? pause_started(c->iommufd, c->devices) :
                                pause_new(c->iommufd, 1);

    c->func(t);
    pause_end(t);
}

void add_case(const char *name, void (*func)(PauseTest *t), int devices)
{
    int i;

    for (i = 0; i < 2; i++) {
        g_autofree char *path = g_strdup_printf("vfio-pause/%s/%s",
                                                i ? "iommufd" : "group", name);
        Case *c = g_new(Case, 1);

        *c = (Case) { func, devices, i };
        qtest_add_data_func_full(path, c, run_case, g_free);
    }
}
