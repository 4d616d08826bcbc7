// SPDX-License-Identifier: GPL-2.0-or-later
//
// NVMe virtualization: commands as bytes, identify data from bytes, and the schedule against a
// controller that keeps the rules of the specification (resources only while offline, going offline
// gives them up, online needs two queues and a vector, the primary's share changes at its reset).

#include "profile-nvme.h"

#include <errno.h>
#include <string.h>

#include "error.h"

#define SECONDARIES 130

typedef struct {
    VfNvmeSecondary secondary[SECONDARIES];
    guint n;
    guint total[2], primary[2], next_primary[2], secondary_max[2];
    guint8 types;
    GString *log;  // one word for each Virtualization Management command
    int fail_with; // what the next of these returns, 0 = as it should
    gboolean deaf; // accepts commands and does nothing
} Controller;

static void put16(guint8 *bytes, guint value)
{
    bytes[0] = (guint8)value;
    bytes[1] = (guint8)(value >> 8);
}

static void identify_list(const Controller *controller, guint from, guint8 *data)
{
    for (guint i = 0; i < controller->n && data[0] < VF_NVME_LIST_MAX; i++) {
        const VfNvmeSecondary *secondary = &controller->secondary[i];
        guint8 *bytes = data + 32 + 32 * data[0];

        if (secondary->id < from)
            continue;
        put16(bytes, secondary->id);
        put16(bytes + 2, secondary->primary);
        bytes[4] = (guint8)secondary->online;
        put16(bytes + 8, secondary->vfn);
        put16(bytes + 10, secondary->assigned[0]);
        put16(bytes + 12, secondary->assigned[1]);
        data[0]++;
    }
}

static guint assigned(const Controller *controller, guint resource)
{
    guint sum = 0;

    for (guint i = 0; i < controller->n; i++)
        sum += controller->secondary[i].assigned[resource];
    return sum;
}

static void identify_caps(const Controller *controller, guint8 *data)
{
    data[4] = controller->types;
    for (guint i = 0; i < 2; i++) {
        guint8 *bytes = data + 32 * (i + 1);

        put16(bytes, controller->total[i]);
        put16(bytes + 4, assigned(controller, i));
        put16(bytes + 8, controller->primary[i]);
        put16(bytes + 12, controller->secondary_max[i]);
    }
}

static int assign(Controller *controller, VfNvmeSecondary *secondary, guint resource, guint number)
{
    guint others = assigned(controller, resource) - secondary->assigned[resource];

    if (secondary->online)
        return 0x4120;
    if (number > controller->secondary_max[resource])
        return 0x4121;
    if (number + others + controller->primary[resource] > controller->total[resource])
        return 0x4122;
    secondary->assigned[resource] = (guint16)number;
    return 0;
}

static int manage(Controller *controller, guint32 cdw10, guint number)
{
    guint action = cdw10 & 0xf, resource = cdw10 >> 8 & 7, id = cdw10 >> 16;
    VfNvmeSecondary *secondary = NULL;

    g_string_append_printf(controller->log, "%u:%u:%u:%u ", action, id, resource, number);
    if (controller->fail_with != 0 || controller->deaf)
        return controller->fail_with;
    for (guint i = 0; i < controller->n; i++)
        if (controller->secondary[i].id == id)
            secondary = &controller->secondary[i];
    if (action == VF_NVME_PRIMARY_ALLOCATE)
        controller->next_primary[resource] = number;
    else if (secondary == NULL)
        return 0x411f;
    else if (action == VF_NVME_ASSIGN)
        return assign(controller, secondary, resource, number);
    else if (action == VF_NVME_OFFLINE)
        secondary->online = secondary->assigned[0] = secondary->assigned[1] = 0;
    else if (secondary->assigned[0] < 2 || secondary->assigned[1] < 1)
        return 0x4120;
    else
        secondary->online = TRUE;
    return 0;
}

static int fake_submit(gpointer data, struct nvme_admin_cmd *command)
{
    guint8 *answer = (guint8 *)(gsize)command->addr;

    if (command->opcode == 0x1c)
        return manage(data, command->cdw10, command->cdw11);
    g_assert_cmphex(command->opcode, ==, 0x06);
    memset(answer, 0, command->data_len);
    if ((command->cdw10 & 0xff) == VF_NVME_CNS_SECONDARY_LIST)
        identify_list(data, command->cdw10 >> 16, answer);
    else
        identify_caps(data, answer);
    return 0;
}

// A PF with 16 queues and 8 vectors for 8 VFs, none assigned. Secondary ids begin at 0x20.
static void controller_init(Controller *controller)
{
    *controller = (Controller){
        .n = 8, .total = {16, 8}, .secondary_max = {4, 2}, .types = 3, .log = g_string_new(NULL)};
    for (guint i = 0; i < SECONDARIES; i++)
        controller->secondary[i] =
            (VfNvmeSecondary){.id = (guint16)(0x20 + i), .vfn = (guint16)(i + 1)};
}

static void controller_clear(Controller *controller)
{
    g_string_free(controller->log, TRUE);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Controller, controller_clear)

static VfSettings settings_of(int queues, int interrupts)
{
    VfSettings settings;

    vf_settings_init(&settings);
    settings.queues = queues;
    settings.interrupts = interrupts;
    return settings;
}

static gboolean apply(Controller *controller, guint index, int queues, int interrupts,
                      GError **error)
{
    const VfNvmePort port = {fake_submit, controller, "pf VF"};
    const VfSettings settings = settings_of(queues, interrupts);
    VfNvmeSecondary secondary;
    gboolean found;

    g_string_truncate(controller->log, 0);
    g_assert_true(vf_nvme_find(&port, index, &secondary, &found, error));
    g_assert_true(found);
    return vf_nvme_is_ready(&secondary, &settings) ||
           vf_nvme_apply(&port, &secondary, &settings, error);
}

static void assert_refused(Controller *controller, int queues, int interrupts, VfErrorCode code,
                           const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(apply(controller, 0, queues, interrupts, &error));
    g_assert_error(error, VF_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_encoding(void)
{
    guint8 data[VF_NVME_DATA_BYTES];
    struct nvme_admin_cmd command;

    vf_nvme_identify(&command, VF_NVME_CNS_SECONDARY_LIST, 0x1234, data);
    g_assert_cmphex(command.opcode, ==, 0x06);
    g_assert_cmphex(command.cdw10, ==, 0x12340015);
    g_assert_cmphex(command.addr, ==, (guint64)(gsize)data);
    g_assert_cmpuint(command.data_len, ==, 4096);
    vf_nvme_manage(&command, VF_NVME_ASSIGN, 0x0102, VF_NVME_VI, 0x0304);
    g_assert_cmphex(command.opcode, ==, 0x1c);
    g_assert_cmphex(command.cdw10, ==, 0x01020108);
    g_assert_cmphex(command.cdw11, ==, 0x0304);
    g_assert_cmphex(command.nsid, ==, 0);
    g_assert_cmpuint(command.data_len, ==, 0);
}

static void test_decode_list(void)
{
    g_autofree guint8 *data = g_malloc0(VF_NVME_DATA_BYTES);
    static const guint8 second[] = {0x02, 0x01, 0x04, 0x03, 0xff, 0, 0, 0, 0x06, 0x05, 8, 7, 10, 9};
    VfNvmeSecondary entry;

    data[0] = 2;
    memcpy(data + 64, second, sizeof(second));
    g_assert_true(vf_nvme_list_entry(data, 1, &entry));
    g_assert_cmphex(entry.id, ==, 0x0102);
    g_assert_cmphex(entry.primary, ==, 0x0304);
    g_assert_true(entry.online);
    g_assert_cmphex(entry.vfn, ==, 0x0506);
    g_assert_cmphex(entry.assigned[VF_NVME_VQ], ==, 0x0708);
    g_assert_cmphex(entry.assigned[VF_NVME_VI], ==, 0x090a);
    g_assert_false(vf_nvme_list_entry(data, 2, &entry));
    // A count beyond the buffer.
    data[0] = 255;
    g_assert_true(vf_nvme_list_entry(data, 126, &entry));
    g_assert_false(vf_nvme_list_entry(data, 127, &entry));
}

static void test_decode_caps(void)
{
    g_autofree guint8 *data = g_malloc0(VF_NVME_DATA_BYTES);
    static const guint8 queues[] = {0x10, 0, 1, 0, 4, 0, 0, 0, 2, 0, 9, 9, 8, 1};
    VfNvmeCaps caps;

    data[0] = 7;
    data[4] = 1;
    memcpy(data + 32, queues, sizeof(queues));
    data[64] = 3;
    data[68] = 200;
    vf_nvme_parse_caps(data, &caps);
    g_assert_cmpuint(caps.id, ==, 7);
    g_assert_true(caps.resource[VF_NVME_VQ].supported);
    g_assert_false(caps.resource[VF_NVME_VI].supported);
    g_assert_cmphex(caps.resource[VF_NVME_VQ].total, ==, 0x10010);
    g_assert_cmpuint(caps.resource[VF_NVME_VQ].assigned, ==, 4);
    g_assert_cmpuint(caps.resource[VF_NVME_VQ].primary, ==, 2);
    g_assert_cmphex(caps.resource[VF_NVME_VQ].secondary_max, ==, 0x108);
    g_assert_cmpuint(vf_nvme_free(&caps, VF_NVME_VQ), ==, 0x10010 - 6);
    // More in use than there is: a controller that contradicts itself has none free.
    g_assert_cmpuint(vf_nvme_free(&caps, VF_NVME_VI), ==, 0);
}

static void test_apply(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Controller) controller;

    controller_init(&controller);
    g_assert_true(apply(&controller, 2, 3, 1, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(controller.log->str, ==, "7:34:0:0 8:34:0:3 8:34:1:1 9:34:0:0 ");
    // Right already: not a single command that could disturb its user.
    g_assert_true(apply(&controller, 2, 3, 1, &error));
    g_assert_cmpstr(controller.log->str, ==, "");
    g_assert_true(apply(&controller, 2, VF_UNSET, VF_UNSET, &error));
    g_assert_cmpstr(controller.log->str, ==, "");
    // What is not set stays as it is, although going offline gives it up.
    g_assert_true(apply(&controller, 2, 2, VF_UNSET, &error));
    g_assert_cmpstr(controller.log->str, ==, "7:34:0:0 8:34:0:2 8:34:1:1 9:34:0:0 ");
}

// More VFs than one list holds.
static void test_long_list(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Controller) controller;
    const VfNvmePort port = {fake_submit, &controller, "pf VF"};
    VfNvmeSecondary secondary;
    gboolean found;

    controller_init(&controller);
    controller.n = SECONDARIES;
    g_assert_true(vf_nvme_find(&port, 129, &secondary, &found, &error));
    g_assert_true(found);
    g_assert_cmphex(secondary.id, ==, 0x20 + 129);
    g_assert_true(vf_nvme_find(&port, 130, &secondary, &found, &error));
    g_assert_false(found);
    // Ids up to the last one there can be.
    controller.secondary[129].id = 0xffff;
    g_assert_true(vf_nvme_find(&port, 129, &secondary, &found, &error));
    g_assert_true(found);
}

static void test_limits(void)
{
    g_auto(Controller) controller;

    controller_init(&controller);
    assert_refused(
        &controller, 1, 1, VF_ERROR_CONFIG,
        "pf VF: queues: 1 is not enough for an NVMe function -- set queues to at least 2 "
        "in the profile of the pool");
    assert_refused(
        &controller, 2, VF_UNSET, VF_ERROR_CONFIG,
        "pf VF: interrupts: 0 is not enough for an NVMe function -- set interrupts to at "
        "least 1 in the profile of the pool");
    assert_refused(&controller, 5, 1, VF_ERROR_CONFIG,
                   "pf VF: queues: 5 wanted, a function of this controller can have 4 -- lower "
                   "queues");
    controller.primary[1] = 7;
    assert_refused(&controller, 2, 2, VF_ERROR_EXHAUSTED,
                   "pf VF: interrupts: 2 wanted, 1 of 8 are free, the PF itself holds 7 -- lower "
                   "interrupts or the pool's count; `virtfn init` on a PF without VFs takes back "
                   "what the PF holds");
    controller.types = 1;
    assert_refused(&controller, 2, 2, VF_ERROR_CONFIG,
                   "pf VF: interrupts: this NVMe controller has no flexible resources of this kind "
                   "-- remove interrupts from the profile");
    g_assert_cmpstr(controller.log->str, ==, "");
}

static void test_controller_fails(void)
{
    g_auto(Controller) controller;

    controller_init(&controller);
    controller.fail_with = 0x4120;
    assert_refused(&controller, 2, 1, VF_ERROR_SYSFS,
                   "pf VF: taking it offline: the secondary controller is not in a state that "
                   "allows this (NVMe status 0x120)");
    controller.fail_with = -EINTR;
    assert_refused(&controller, 2, 1, VF_ERROR_SYSFS,
                   "pf VF: taking it offline: Interrupted system call");
    controller.fail_with = 0;
    controller.deaf = TRUE;
    assert_refused(&controller, 2, 1, VF_ERROR_SYSFS,
                   "pf VF: the controller accepted the commands and did not carry them out -- see "
                   "the kernel log and the firmware notes of the drive");
}

static void test_shrink_primary(void)
{
    g_auto(Controller) controller;
    const VfNvmePort port = {fake_submit, &controller, "pf"};
    g_autoptr(GError) error = NULL;
    VfSettings settings = settings_of(2, 1);
    gboolean changed;

    controller_init(&controller);
    controller.primary[0] = 16;
    controller.primary[1] = 2;
    // 4 VFs leave it 8 of 16 queues; it may keep its 2 of 8 vectors.
    g_assert_true(vf_nvme_shrink_primary(&port, 0, 4, &settings, &changed, &error));
    g_assert_true(changed);
    g_assert_cmpstr(controller.log->str, ==, "1:0:0:8 ");
    controller.primary[0] = controller.next_primary[0];
    g_assert_true(vf_nvme_shrink_primary(&port, 0, 4, &settings, &changed, &error));
    g_assert_false(changed);
    g_assert_false(vf_nvme_shrink_primary(&port, 0, 9, &settings, &changed, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
    g_assert_cmpstr(
        error->message, ==,
        "pf: queues: 9 functions with 2 each, but the controller has 16 in all -- lower "
        "queues or the pool's count");
}

// Asked before anything is changed, while other functions have the resources.
static void test_check(void)
{
    g_auto(Controller) controller;
    const VfNvmePort port = {fake_submit, &controller, "pf"};
    static const struct {
        guint count;
        int queues, interrupts;
        const char *refusal; // NULL: none
    } cases[] = {
        {8, 2, 1, NULL},
        {4, 4, 2, NULL},
        {0, 4, 2, NULL},
        {9, VF_UNSET, VF_UNSET, NULL},
        {9, 2, VF_UNSET, "pf: queues: 9 functions with 2 each, but the controller has 16 in all"},
        {8, 2, 2, "pf: interrupts: 8 functions with 2 each, but the controller has 8 in all"},
        {1, 5, 1, "pf: queues: 5 wanted, a function of this controller can have 4"},
        {1, 1, 1, "pf: queues: 1 is not enough for an NVMe function"},
    };

    controller_init(&controller);
    controller.primary[0] = 16;
    controller.primary[1] = 8;
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        VfSettings settings = settings_of(cases[i].queues, cases[i].interrupts);

        if (vf_nvme_check(&port, 0, cases[i].count, &settings, &error)) {
            g_assert_null(cases[i].refusal);
            continue;
        }
        g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
        g_assert_true(g_str_has_prefix(error->message, cases[i].refusal));
    }
    g_assert_cmpstr(controller.log->str, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nvme/encoding", test_encoding);
    g_test_add_func("/nvme/decode-list", test_decode_list);
    g_test_add_func("/nvme/decode-caps", test_decode_caps);
    g_test_add_func("/nvme/apply", test_apply);
    g_test_add_func("/nvme/long-list", test_long_list);
    g_test_add_func("/nvme/limits", test_limits);
    g_test_add_func("/nvme/controller-fails", test_controller_fails);
    g_test_add_func("/nvme/shrink-primary", test_shrink_primary);
    g_test_add_func("/nvme/check", test_check);
    return g_test_run();
}
