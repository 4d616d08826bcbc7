/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pausing and resuming vfio-pci devices: the commands and the round trip
 *
 * The other cases are in vfio-pause-access.c (the guest meets a paused
 * device), vfio-pause-resume.c (with which host device it goes on),
 * vfio-pause-life.c (what else happens to QEMU or the device meanwhile),
 * vfio-pause-memory.c and vfio-pause-config.c (the guest's memory and config
 * space in a resume), vfio-pause-failure.c, vfio-pause-identity.c (devices
 * that start paused) and vfio-pause-identity-file.c.  All run with groups
 * and with iommufd.
 */

#include "qemu/osdep.h"
#include "qobject/qstring.h"
#include "standard-headers/linux/pci_regs.h"
#include "vfio-pause-lib.h"

static void test_round_trip(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];
    int off, maps = dma_maps(t);
    uint32_t before[64], opens = d->opens, resets = d->resets;

    assert_running(t, 0);
    for (off = 0; off < 256; off += 4) {
        before[off / 4] = cfg_read(t, 0, off, 4);
    }
    pause_ok(t, 0);
    assert_released(t);
    g_assert_cmpint(d->closes, ==, 1);
    for (off = 0; off < 256; off += 4) {
        g_assert_cmphex(cfg_read(t, 0, off, 4), ==, before[off / 4]);
    }

    resume_ok(t, 0);
    assert_running(t, 0);
    for (off = 0; off < 256; off += 4) {
        g_assert_cmphex(cfg_read(t, 0, off, 4), ==, before[off / 4]);
    }
    g_assert_cmpint(dma_maps(t), ==, maps);
    g_assert_cmpint(d->opens, ==, opens + 1);
    g_assert_cmpint(d->resets, ==, resets);
    g_assert_cmphex(*(uint32_t *)(d->config + PCI_BASE_ADDRESS_0), ==,
                    bar(0, 0));
    g_assert_cmphex(d->config[PCI_CACHE_LINE_SIZE], ==, 0x10);
    g_assert_cmphex(d->config[FV_CAP_EXP + PCI_EXP_DEVCTL], ==, 0x3f);
    g_assert_cmpint(d->irq[3][0], >=, 0);
    g_assert_cmpint(d->irq[4][0], >=, 0);
}

static void test_query(PauseTest *t)
{
    QDict *info = query(t, 0);
    g_autofree char *path = host_path(t, 0);

    g_assert_cmpstr(qdict_get_str(info, "state"), ==, "running");
    g_assert_cmpstr(qdict_get_str(info, "host-device"), ==, path);
    g_assert_cmpstr(qdict_get_str(info, "access"), ==, "ignore");
    g_assert_cmpint(qdict_get_int(info, "hold-ms"), ==, 5000);
    g_assert_true(qdict_get_bool(info, "can-signal"));
    g_assert_cmpint(qdict_get_int(info, "paused-ns"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "pauses"), ==, 0);
    qobject_unref(info);

    qtest_qmp_assert_success(t->qts, "{ 'execute': 'vfio-pause', 'arguments':"
                             "{ 'id': '/machine/peripheral/d0', "
                             "  'access': 'hold', 'hold-ms': 70 } }");
    g_free(wait_end(t, 0, "paused"));
    info = query(t, 0);
    g_assert_cmpstr(qdict_get_str(info, "state"), ==, "paused");
    g_assert_cmpstr(qdict_get_str(info, "access"), ==, "hold");
    g_assert_cmpint(qdict_get_int(info, "hold-ms"), ==, 70);
    g_assert_cmpint(qdict_get_int(info, "paused-ns"), >, 0);
    g_assert_cmpint(qdict_get_int(info, "pauses"), ==, 1);
    g_assert(!qdict_haskey(info, "error"));
    qobject_unref(info);
}

/* Each operation announces its start, too. */
static void test_events(PauseTest *t)
{
    static const char *const states[] = {
        "pausing", "paused", "resuming", "running"
    };
    int i;

    pause_begin(t, 0);
    for (i = 0; i < 4; i++) {
        QDict *event = wait_event(t, "VFIO_PAUSE_STATE");
        QDict *data = qdict_get_qdict(event, "data");

        g_assert_cmpstr(qdict_get_str(data, "state"), ==, states[i]);
        g_assert_cmpstr(qdict_get_str(data, "device-id"), ==, "d0");
        g_assert_cmpstr(qdict_get_str(data, "qom-path"), ==,
                        "/machine/peripheral/d0");
        g_assert(!qdict_haskey(data, "error"));
        qobject_unref(event);
        if (i == 1) {
            resume_begin(t, 0);
        }
    }
}

static void test_wrong_state(PauseTest *t)
{
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', "
                           "'arguments': { 'id': 'd0' } }"), "is running");
    assert_error(qmp_error(t, "{ 'execute': 'vfio-pause', "
                           "'arguments': { 'id': 'nix' } }"), "'nix'");
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', "
                           "'arguments': { 'id': 'nix' } }"), "'nix'");
    assert_error(qmp_error(t, "{ 'execute': 'vfio-pause', "
                           "'arguments': { 'id': 'rp0' } }"),
                 "not a vfio-pci device");
    t->fv->device[0].close_ms = t->fv->device[0].open_ms = 200;
    pause_begin(t, 0);
    assert_error(qmp_error(t, "{ 'execute': 'vfio-pause', "
                           "'arguments': { 'id': 'd0' } }"), "is pausing");
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', "
                           "'arguments': { 'id': 'd0' } }"), "is pausing");
    g_free(wait_end(t, 0, "paused"));
    assert_error(qmp_error(t, "{ 'execute': 'vfio-pause', "
                           "'arguments': { 'id': 'd0' } }"), "is paused");
    resume_begin(t, 0);
    assert_error(qmp_error(t, "{ 'execute': 'vfio-resume', "
                           "'arguments': { 'id': 'd0' } }"), "is resuming");
    g_free(wait_end(t, 0, "running"));
    assert_running(t, 0);
}

/* A management application learns from the schema what there is. */
static void test_schema(PauseTest *t)
{
    static const char *const wanted[] = {
        "vfio-pause", "vfio-resume", "query-vfio-pause", "VFIO_PAUSE_STATE",
        "VFIO_PAUSED_ACCESS", "query-vfio-identity"
    };
    QDict *response = qtest_qmp(t->qts, "{ 'execute': 'query-qmp-schema' }");
    const QListEntry *entry;
    unsigned i, found = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        for (i = 0; i < ARRAY_SIZE(wanted); i++) {
            found |= !strcmp(qdict_get_str(info, "name"), wanted[i]) << i;
        }
    }
    g_assert_cmphex(found, ==, 0x3f);
    qobject_unref(response);
}

static bool migration_blocked(PauseTest *t, const char *part)
{
    QDict *response = qtest_qmp(t->qts, "{ 'execute': 'query-migrate' }");
    QList *reasons = qobject_to(QList,
        qdict_get(qdict_get_qdict(response, "return"), "blocked-reasons"));
    const QListEntry *entry;
    bool found = false;

    if (reasons) {
        QLIST_FOREACH_ENTRY(reasons, entry) {
            QString *reason = qobject_to(QString, qlist_entry_obj(entry));

            found |= !!strstr(qstring_get_str(reason), part);
        }
    }
    qobject_unref(response);
    return found;
}

static void test_migration(PauseTest *t)
{
    g_autofree char *hmp = NULL;

    g_assert_false(migration_blocked(t, "is paused"));
    pause_ok(t, 0);
    g_assert_true(migration_blocked(t, "is paused"));
    g_free(qmp_error(t, "{ 'execute': 'migrate', 'arguments': "
                     "{ 'uri': 'exec:cat>/dev/null' } }"));
    hmp = qtest_hmp(t->qts, "savevm s0");
    g_assert(strstr(hmp, "Error"));
    resume_ok(t, 0);
    g_assert_false(migration_blocked(t, "is paused"));
    assert_running(t, 0);
}

/* Devices without MSI-X on, and with a pin */
static void test_interrupts_off(PauseTest *t)
{
    cfg_write(t, 0, FV_CAP_MSIX + PCI_MSIX_FLAGS, 0, 2);
    pause_ok(t, 0);
    assert_released(t);
    resume_ok(t, 0);
    g_assert_cmphex(vectors_on(t, 0), ==, 0);
    g_assert_false(t->fv->device[0].irq_on[2]);
    cfg_write(t, 0, FV_CAP_MSIX + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
    assert_running(t, 0);
}

static void test_msi(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    cfg_write(t, 0, FV_CAP_MSIX + PCI_MSIX_FLAGS, 0, 2);
    cfg_write(t, 0, FV_CAP_MSI + PCI_MSI_ADDRESS_LO, RAM_MSI, 4);
    cfg_write(t, 0, FV_CAP_MSI + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | 0x10,
              2);
    g_assert_true(d->irq_on[1]);
    g_assert_cmpint(d->irq[1][1], >=, 0);
    pause_ok(t, 0);
    assert_released(t);
    resume_ok(t, 0);
    g_assert_true(d->irq_on[1]);
    g_assert_cmpint(d->irq[1][0], >=, 0);
    g_assert_cmpint(d->irq[1][1], >=, 0);
    g_assert_cmpint(d->irq[1][2], ==, -1);
}

static void test_intx(PauseTest *t)
{
    FvDevice *d = &t->fv->device[0];

    d->pin = 1;
    pause_start(t, NULL);
    g_assert_true(d->irq_on[0]);
    pause_ok(t, 0);
    assert_released(t);
    resume_ok(t, 0);
    g_assert_true(d->irq_on[0]);
    g_assert_cmpint(d->irq[0][0], >=, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_case("round-trip", test_round_trip, 1);
    add_case("query", test_query, 1);
    add_case("events", test_events, 1);
    add_case("wrong-state", test_wrong_state, 1);
    add_case("schema", test_schema, 1);
    add_case("migration", test_migration, 1);
    add_case("interrupts/off", test_interrupts_off, 1);
    add_case("interrupts/msi", test_msi, 1);
    add_case("interrupts/intx", test_intx, 0);
    add_access_cases();
    add_config_cases();
    add_resume_cases();
    add_life_cases();
    add_memory_cases();
    add_failure_cases();
    add_identity_cases();
    add_identity_file_cases();
    return g_test_run();
}
