/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's memory, which a resume maps for DMA and a pause unmaps
 *
 * The fake kernel holds these calls for as long as a test wants.  QEMU must
 * answer meanwhile, and what happens to memory or other devices in that time
 * must end in the right mappings.
 */

#include "qemu/osdep.h"
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include "qemu/atomic.h"
#include "vfio-pause-lib.h"

#define DIMM_SIZE (128 << 20)
#define MEMHP_PORT 0xa00    /* of the guest's ACPI code */
#define MEMHP_EJECT 8

static void wait_all(PauseTest *t, const char *state)
{
    int ended = 0;

    while (ended < t->devices) {
        QDict *event = wait_event(t, "VFIO_PAUSE_STATE");

        ended += !strcmp(qdict_get_str(qdict_get_qdict(event, "data"),
                                       "state"), state);
        qobject_unref(event);
    }
}

/*
 * What is mapped
 */
static int compare_maps(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(FvMap));
}

/* Sorted, for any container; sizes tell mappings apart from holes. */
static GArray *mapped(PauseTest *t)
{
    GArray *maps = g_array_new(false, true, sizeof(FvMap));
    int i;

    for (i = 0; i < FV_MAPS; i++) {
        FvMap map = t->fv->map[i];

        if (map.size) {
            map.space = 0;
            g_array_append_val(maps, map);
        }
    }
    g_array_sort(maps, compare_maps);
    return maps;
}

static void assert_mapped(PauseTest *t, GArray *expected)
{
    GArray *maps = mapped(t);

    g_assert_cmpmem(maps->data, maps->len * sizeof(FvMap), expected->data,
                    expected->len * sizeof(FvMap));
    g_array_unref(maps);
}

static int spaces_in_use(PauseTest *t)
{
    int i, count = 0;

    for (i = 0; i < FV_SPACES; i++) {
        count += t->fv->container[i].open;
    }
    for (i = 0; i < FV_IOMMU_OBJECTS; i++) {
        count += t->fv->object[i].type == FV_IOAS;
    }
    return count;
}

static uint64_t dimm_mapped(PauseTest *t)
{
    uint64_t size = 0;
    int i;

    for (i = 0; i < FV_MAPS; i++) {
        if (t->fv->map[i].size == DIMM_SIZE) {
            size += t->fv->map[i].size;
        }
    }
    return size;
}

/*
 * Memory and devices that come and go
 */
static void dimm_plug(PauseTest *t)
{
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'object-add', 'arguments':"
        "{ 'qom-type': 'memory-backend-memfd', 'id': 'mem', 'size': %d } }",
        DIMM_SIZE);
    qtest_qmp_device_add(t->qts, "pc-dimm", "dimm", "{ 'memdev': 'mem' }");
}

/* Its memory must be given back, too: nobody refers to it any more. */
static void dimm_unplug(PauseTest *t)
{
    qtest_qmp_device_del_send(t->qts, "dimm");
    qtest_outl(t->qts, MEMHP_PORT, 0);
    qtest_outb(t->qts, MEMHP_PORT + 0x14, MEMHP_EJECT);
    qobject_unref(wait_event(t, "DEVICE_DELETED"));
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'object-del', "
                             "'arguments': { 'id': 'mem' } }");
}

static bool dimm_in_use(PauseTest *t)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps",
                                            qtest_pid(t->qts));
    g_autofree char *text = NULL;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    return strstr(text, "/memfd:memory-backend-memfd");
}

static void assert_dimm_freed(PauseTest *t)
{
    int i;

    /* RCU's thread does it */
    for (i = 0; dimm_in_use(t); i++) {
        g_assert_cmpint(i, <, 1000);
        g_usleep(10 * 1000);
    }
}

/* One device, and what the others need to be plugged later */
static void start(PauseTest *t)
{
    t->options = "-m 64,slots=1,maxmem=1G "
        "-device pcie-root-port,id=rp1,addr=5,chassis=2,slot=2";
    pause_start(t, NULL);
    guest_setup(t, 0);
}

/* QEMU answers when the device is plugged. */
static void send_device_add(PauseTest *t, int n)
{
    g_autofree char *id = g_strdup_printf("d%d", n);
    g_autofree char *bus = g_strdup_printf("rp%d", n);
    g_autofree char *path = host_path(t, n);
    QDict *args = qdict_new();

    qdict_put_str(args, "driver", "vfio-pci");
    qdict_put_str(args, "id", id);
    qdict_put_str(args, "bus", bus);
    qdict_put_str(args, "sysfsdev", path);
    if (t->iommufd) {
        qdict_put_str(args, "iommufd", "iommufd0");
    }
    qtest_qmp_send(t->qts, "{ 'execute': 'device_add', 'arguments': %p }",
                   args);
}

static QDict *receive(PauseTest *t)
{
    QDict *response = qtest_qmp_receive(t->qts);

    g_assert(response);
    return response;
}

/* QEMU is on its way to the container of a device that it has opened. */
static void wait_opened(PauseTest *t, int n)
{
    FvDevice *d = &t->fv->device[n];
    int ms;

    for (ms = 0; t->iommufd ? !qatomic_read(&d->open) :
                 !qatomic_read(&t->fv->group[d->group].open); ms++) {
        g_assert_cmpint(ms, <, FV_HOLD_MS);
        g_usleep(1000);
    }
}

static void plugged(PauseTest *t, int n)
{
    QDict *response = receive(t);

    g_assert(qdict_haskey(response, "return"));
    qobject_unref(response);
    guest_plugs(t, n);
    guest_setup(t, n);
    assert_running(t, n);
}

/*
 * Cases
 */
static void test_resume(PauseTest *t)
{
    FvHeld *dma = &t->fv->map_dma;
    GArray *before = mapped(t);

    pause_ok(t, 0);
    assert_released(t);
    hold(dma);
    resume_begin(t, 0);
    wait_for(&dma->held);
    assert_answers(t, dma, "resuming");
    let_go(dma);
    g_free(wait_end(t, 0, "running"));
    assert_running(t, 0);
    assert_mapped(t, before);
    g_array_unref(before);
}

static void test_pause(PauseTest *t)
{
    FvHeld *dma = &t->fv->unmap_dma;

    hold(dma);
    pause_begin(t, 0);
    wait_for(&dma->held);
    assert_answers(t, dma, "pausing");
    let_go(dma);
    g_free(wait_end(t, 0, "paused"));
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
}

static void test_plug(PauseTest *t)
{
    FvHeld *dma = &t->fv->map_dma;
    GArray *with_dimm;

    start(t);
    pause_ok(t, 0);
    hold(dma);
    resume_begin(t, 0);
    wait_for(&dma->held);
    dimm_plug(t);
    assert_answers(t, dma, "resuming");
    let_go(dma);
    g_free(wait_end(t, 0, "running"));
    assert_running(t, 0);
    g_assert_cmpint(dimm_mapped(t), ==, DIMM_SIZE);

    with_dimm = mapped(t);
    pause_ok(t, 0);
    assert_released(t);
    resume_ok(t, 0);
    assert_mapped(t, with_dimm);
    g_array_unref(with_dimm);
}

static void test_unplug(PauseTest *t)
{
    FvHeld *dma = &t->fv->map_dma;
    GArray *without_dimm;

    start(t);
    without_dimm = mapped(t);
    dimm_plug(t);
    g_assert_cmpint(dimm_mapped(t), ==, DIMM_SIZE);
    pause_ok(t, 0);
    hold(dma);
    resume_begin(t, 0);
    wait_for(&dma->held);
    dimm_unplug(t);
    assert_answers(t, dma, "resuming");
    g_assert_true(dimm_in_use(t));  /* the kernel is about to look for it */
    let_go(dma);
    g_free(wait_end(t, 0, "running"));
    assert_running(t, 0);
    assert_mapped(t, without_dimm);
    assert_dimm_freed(t);
    g_array_unref(without_dimm);
}

static void test_unplug_pausing(PauseTest *t)
{
    FvHeld *dma = &t->fv->unmap_dma;
    GArray *without_dimm;

    start(t);
    without_dimm = mapped(t);
    dimm_plug(t);
    hold(dma);
    pause_begin(t, 0);
    wait_for(&dma->held);
    dimm_unplug(t);
    assert_answers(t, dma, "pausing");
    let_go(dma);
    g_free(wait_end(t, 0, "paused"));
    assert_dimm_freed(t);
    assert_released(t);
    resume_ok(t, 0);
    assert_mapped(t, without_dimm);
    g_array_unref(without_dimm);
}

/* Memory that can't be mapped, plugged in the midst of the resume */
static void test_plug_fails(PauseTest *t)
{
    FvHeld *dma = &t->fv->map_dma;
    int ram;

    start(t);
    ram = dma_maps_of_ram(t);
    pause_ok(t, 0);
    hold(dma);
    resume_begin(t, 0);
    wait_for(&dma->held);
    dimm_plug(t);
    fail_nth(t, FV_IOCTL, ram + 1, ENOMEM);
    t->fv->fail.cmd = t->iommufd ? IOMMU_IOAS_MAP : VFIO_IOMMU_MAP_DMA;
    let_go(dma);
    assert_error(wait_end(t, 0, "paused"), "of mem at 0x");
    g_assert_true(fail_end(t));
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
    g_assert_cmpint(dimm_mapped(t), ==, DIMM_SIZE);
    pause_ok(t, 0);
    dimm_unplug(t);
    assert_dimm_freed(t);
}

/* Without one mapping the others are not worth the time. */
static void test_fails_early(PauseTest *t)
{
    FvHeld *dma = &t->fv->map_dma;
    uint32_t calls;

    pause_ok(t, 0);
    fail_nth(t, FV_IOCTL, 1, ENOMEM);
    t->fv->fail.cmd = t->iommufd ? IOMMU_IOAS_MAP : VFIO_IOMMU_MAP_DMA;
    calls = dma->calls;
    resume_begin(t, 0);
    assert_error(wait_end(t, 0, "paused"), "limit of locked memory");
    g_assert_true(fail_end(t));
    g_assert_cmpint(dma->calls, ==, calls + 1);
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
}

/* The memory is pinned once for all devices that are resumed together. */
static void test_once(PauseTest *t)
{
    FvHeld *map = &t->fv->map_dma, *unmap = &t->fv->unmap_dma;
    GArray *before = mapped(t);
    uint32_t calls = unmap->calls;
    int i;

    hold(unmap);
    for (i = 0; i < 4; i++) {
        pause_begin(t, i);
    }
    wait_for(&unmap->held);
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'query-status' }");
    let_go(unmap);
    wait_all(t, "paused");
    assert_released(t);
    g_assert_cmpint(unmap->calls, ==, calls + before->len);

    calls = map->calls;
    hold(map);
    for (i = 0; i < 4; i++) {
        resume_begin(t, i);
    }
    wait_for(&map->held);
    assert_answers(t, map, "resuming");
    g_assert_cmpint(spaces_in_use(t), ==, 1);
    let_go(map);
    wait_all(t, "running");
    for (i = 0; i < 4; i++) {
        assert_running(t, i);
    }
    assert_mapped(t, before);
    g_assert_cmpint(map->calls, ==, calls + before->len);
    g_assert_cmpint(spaces_in_use(t), ==, 1);
    g_array_unref(before);
}

/* A device plugged while the memory is mapped for another shares that. */
static void test_add_resuming(PauseTest *t)
{
    FvHeld *dma = &t->fv->map_dma;
    int n = host_add(t);
    uint32_t calls;

    start(t);
    pause_ok(t, 0);
    calls = dma->calls;
    hold(dma);
    resume_begin(t, 0);
    wait_for(&dma->held);
    send_device_add(t, n);
    wait_opened(t, n);
    let_go(dma);
    plugged(t, n);
    g_free(wait_end(t, 0, "running"));
    assert_running(t, 0);
    g_assert_cmpint(spaces_in_use(t), ==, 1);
    g_assert_cmpint(dma->calls, ==, calls + dma_maps(t));
}

/* One plugged while it is unmapped for another maps it again. */
static void test_add_pausing(PauseTest *t)
{
    FvHeld *dma = &t->fv->unmap_dma;
    int n = host_add(t);

    start(t);
    hold(dma);
    pause_begin(t, 0);
    wait_for(&dma->held);
    send_device_add(t, n);
    wait_opened(t, n);
    let_go(dma);
    plugged(t, n);
    g_free(wait_end(t, 0, "paused"));
    assert_running(t, n);
    g_assert_false(t->fv->device[0].open);
    g_assert_cmpint(spaces_in_use(t), ==, 1);
    resume_ok(t, 0);
    assert_running(t, 0);
    assert_running(t, n);
    g_assert_cmpint(spaces_in_use(t), ==, 1);
}

/* A group that is about to be given back takes no other device. */
static void test_add_same_group(PauseTest *t)
{
    FvHeld *dma = &t->fv->unmap_dma;
    int n = host_add(t);
    QDict *response;

    if (t->iommufd) {
        g_test_message("devices open by themselves there");
        return;
    }
    host_place(t, n, 1, n);
    start(t);
    hold(dma);
    pause_begin(t, 0);
    wait_for(&dma->held);
    send_device_add(t, n);
    response = receive(t);
    g_assert(strstr(qdict_get_str(qdict_get_qdict(response, "error"), "desc"),
                    "group 1 is being paused or resumed"));
    qobject_unref(response);
    g_assert_cmpint(dma->held, ==, 1);
    let_go(dma);
    g_free(wait_end(t, 0, "paused"));
    assert_released(t);
    resume_ok(t, 0);
    assert_running(t, 0);
}

static void test_del_pausing(PauseTest *t)
{
    hold(&t->fv->unmap_dma);
    pause_begin(t, 0);
    del_while_held(t, &t->fv->unmap_dma);
}

static void test_del_resuming(PauseTest *t)
{
    pause_ok(t, 0);
    hold(&t->fv->map_dma);
    resume_begin(t, 0);
    del_while_held(t, &t->fv->map_dma);
}

void add_memory_cases(void)
{
    add_case("memory/resume", test_resume, 1);
    add_case("memory/pause", test_pause, 1);
    add_case("memory/plug", test_plug, 0);
    add_case("memory/plug-fails", test_plug_fails, 0);
    add_case("memory/unplug", test_unplug, 0);
    add_case("memory/unplug-pausing", test_unplug_pausing, 0);
    add_case("memory/fails-early", test_fails_early, 1);
    add_case("memory/once", test_once, 4);
    add_case("memory/add-resuming", test_add_resuming, 0);
    add_case("memory/add-pausing", test_add_pausing, 0);
    add_case("memory/add-same-group", test_add_same_group, 0);
    add_case("memory/del-pausing", test_del_pausing, 1);
    add_case("memory/del-resuming", test_del_resuming, 1);
}
