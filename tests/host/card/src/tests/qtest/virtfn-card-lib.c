/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A QEMU with an emulated FPGA card behind a root port, for its tests
 *
 * No firmware and no guest run: the test sets up bridge, BARs and SR-IOV
 * itself, at fixed addresses, and steps the clock that jobs and commands
 * take time of.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "virtfn-card-lib.h"

#define MMCFG 0xb0000000ULL
#define PORT_DEVFN 0x20
#define FUNCTION_STEP 0x100000
#define BAR_MSIX 0xe0080000ULL
#define VF_BAR_MSIX 0xe3000000ULL

uint64_t pf_address(int pf)
{
    return 0xe0000000ULL + pf * FUNCTION_STEP;
}

uint64_t window_address(int pf)
{
    return 0xe1000000ULL + pf * FUNCTION_STEP;
}

uint64_t vf_address(int pf, int vf)
{
    return 0xe2000000ULL + pf * FUNCTION_STEP + vf * CARD_VF_BAR_SIZE;
}

uint32_t config_get(CardTest *t, int devfn, int offset)
{
    return qtest_readl(t->qts, MMCFG + (1 << 20) + (devfn << 12) + offset);
}

void config_set(CardTest *t, int devfn, int offset, uint32_t value)
{
    qtest_writel(t->qts, MMCFG + (1 << 20) + (devfn << 12) + offset, value);
}

int vf_devfn(CardTest *t, int pf, int vf)
{
    return pf + t->functions * (1 + vf);
}

uint32_t pf_get_of(CardTest *t, int pf, int offset)
{
    return qtest_readl(t->qts, pf_address(pf) + offset);
}

void pf_set_of(CardTest *t, int pf, int offset, uint32_t value)
{
    qtest_writel(t->qts, pf_address(pf) + offset, value);
}

uint32_t pf_get(CardTest *t, int offset)
{
    return pf_get_of(t, 0, offset);
}

void pf_set(CardTest *t, int offset, uint32_t value)
{
    pf_set_of(t, 0, offset, value);
}

uint32_t vf_get(CardTest *t, int vf, int offset)
{
    return qtest_readl(t->qts, vf_address(0, vf) + offset);
}

void vf_set(CardTest *t, int vf, int offset, uint32_t value)
{
    qtest_writel(t->qts, vf_address(0, vf) + offset, value);
}

uint32_t region_get(CardTest *t, int region, int field)
{
    return pf_get(t, CARD_PF_REGION_ROW(region) + field);
}

void expect_state(CardTest *t, int region, uint32_t state)
{
    g_assert_cmpint(region_get(t, region, CARD_REGION_STATE), ==, state);
}

static void set_up_port(CardTest *t)
{
    const uint64_t port = MMCFG + (PORT_DEVFN << 12);

    qtest_outl(t->qts, 0xcf8, 0x80000060); /* PCIEXBAR of q35 */
    qtest_outl(t->qts, 0xcfc, MMCFG | 1);
    qtest_writel(t->qts, port + PCI_PRIMARY_BUS, 0x00010100);
    qtest_writel(t->qts, port + PCI_MEMORY_BASE, 0xe0f0e000);
    qtest_writel(t->qts, port + PCI_PREF_MEMORY_BASE, 0xe4f0e100);
    qtest_writel(t->qts, port + PCI_COMMAND,
                 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void set_up_pf(CardTest *t, int pf)
{
    const int bar = SRIOV_CAP + PCI_SRIOV_BAR;

    config_set(t, pf, PCI_BASE_ADDRESS_0, pf_address(pf));
    config_set(t, pf, PCI_BASE_ADDRESS_2, window_address(pf));
    config_set(t, pf, PCI_BASE_ADDRESS_4, BAR_MSIX + pf * FUNCTION_STEP);
    config_set(t, pf, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    config_set(t, pf, bar, vf_address(pf, 0));
    config_set(t, pf, bar + 4, 0);
    config_set(t, pf, bar + 16, VF_BAR_MSIX + pf * FUNCTION_STEP);
    config_set(t, pf, bar + 20, 0);
}

/* QEMU maps the BARs of a VF only if the VF itself has memory enabled. */
void enable(CardTest *t, int devfn)
{
    config_set(t, devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void set_vfs_of(CardTest *t, int pf, int vfs)
{
    const int control = SRIOV_CAP + PCI_SRIOV_CTRL;

    config_set(t, pf, control, PCI_SRIOV_CTRL_ARI);
    config_set(t, pf, SRIOV_CAP + PCI_SRIOV_NUM_VF, vfs);
    if (!vfs) {
        return;
    }
    config_set(t, pf, control, PCI_SRIOV_CTRL_ARI | PCI_SRIOV_CTRL_VFE |
               PCI_SRIOV_CTRL_MSE);
    for (int i = 0; i < vfs; i++) {
        enable(t, vf_devfn(t, pf, i));
    }
}

void set_vfs(CardTest *t, int vfs)
{
    set_vfs_of(t, 0, vfs);
}

void card_set_up(CardTest *t)
{
    set_up_port(t);
    for (int i = 0; i < t->functions; i++) {
        set_up_pf(t, i);
    }
}

void card_start(CardTest *t, int functions, const char *options)
{
    g_autoptr(GString) line = g_string_new(
        "-machine q35 -nodefaults -m 64 -device "
        "pcie-root-port,id=rp0,bus=pcie.0,addr=4.0,chassis=1");

    for (int i = 0; i < functions; i++) {
        g_string_append_printf(line, " -device virtfn-card,id=card%d,"
                               "bus=rp0,addr=0.%d,multifunction=on,"
                               "functions=%d,%s", i, i, functions,
                               options ?: "regions=3,kinds=2");
    }
    t->functions = functions;
    t->qts = qtest_init(line->str);
    card_set_up(t);
}

void card_stop(CardTest *t)
{
    qtest_quit(t->qts);
}

static int find_capability(CardTest *t, int devfn, int id)
{
    int at = config_get(t, devfn, PCI_CAPABILITY_LIST) & 0xfc;

    while (at && (config_get(t, devfn, at) & 0xff) != id) {
        at = config_get(t, devfn, at) >> 8 & 0xfc;
    }
    g_assert_cmpint(at, !=, 0);
    return at;
}

void flr(CardTest *t, int devfn)
{
    int control = find_capability(t, devfn, PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL;

    config_set(t, devfn, control,
               (config_get(t, devfn, control) & 0xffff) |
               PCI_EXP_DEVCTL_BCR_FLR);
}

void flr_vf(CardTest *t, int vf)
{
    flr(t, vf_devfn(t, 0, vf));
    enable(t, vf_devfn(t, 0, vf));
}

void catch_msix(CardTest *t, int devfn, uint64_t table, uint64_t address,
                uint32_t data)
{
    int cap = find_capability(t, devfn, PCI_CAP_ID_MSIX);

    config_set(t, devfn, cap, config_get(t, devfn, cap) |
               (uint32_t)PCI_MSIX_FLAGS_ENABLE << 16);
    qtest_writel(t->qts, table + PCI_MSIX_ENTRY_LOWER_ADDR, address);
    qtest_writel(t->qts, table + PCI_MSIX_ENTRY_UPPER_ADDR, address >> 32);
    qtest_writel(t->qts, table + PCI_MSIX_ENTRY_DATA, data);
    qtest_writel(t->qts, table + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

void step_ms(CardTest *t, int ms)
{
    qtest_clock_step(t->qts, ms * 1000000LL);
}

uint32_t command_on(CardTest *t, int pf, uint32_t command, uint32_t region,
                    uint32_t vf, uint64_t address, uint32_t length,
                    uint32_t flags)
{
    pf_set_of(t, pf, CARD_PF_REGION, region);
    pf_set_of(t, pf, CARD_PF_VF, vf);
    pf_set_of(t, pf, CARD_PF_ADDRESS, address);
    pf_set_of(t, pf, CARD_PF_ADDRESS + 4, address >> 32);
    pf_set_of(t, pf, CARD_PF_LENGTH, length);
    pf_set_of(t, pf, CARD_PF_FLAGS, flags);
    pf_set_of(t, pf, CARD_PF_COMMAND, command);
    for (int i = 0; i < 100; i++) {
        uint32_t status = pf_get_of(t, pf, CARD_PF_STATUS);

        if (status != CARD_BUSY) {
            return status;
        }
        step_ms(t, 1);
    }
    g_assert_not_reached();
}

uint32_t command(CardTest *t, uint32_t number, uint32_t region, uint32_t vf)
{
    return command_on(t, 0, number, region, vf, 0, 0, 0);
}

uint32_t save(CardTest *t, uint32_t region, uint64_t address)
{
    return command_on(t, 0, CARD_COMMAND_SAVE, region, 0, address,
                      CARD_CONTEXT_BYTES, 0);
}

uint32_t restore(CardTest *t, uint32_t region, uint64_t address)
{
    return command_on(t, 0, CARD_COMMAND_RESTORE, region, 0, address,
                      CARD_CONTEXT_BYTES, 0);
}

/* CRC-32 bit by bit: the device has zlib's. */
static uint32_t crc32_of(const uint8_t *data, uint32_t length)
{
    uint32_t sum = ~0u;

    while (length--) {
        sum ^= *data++;
        for (int bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
        }
    }
    return ~sum;
}

void seal(CardTest *t, uint64_t address, uint32_t length)
{
    g_autofree uint8_t *data = g_malloc(length);
    const int after = CARD_IMAGE_CRC + 4;

    qtest_memread(t->qts, address, data, length);
    qtest_writel(t->qts, address + CARD_IMAGE_CRC,
                 crc32_of(data + after, length - after));
}

uint32_t make_image(CardTest *t, uint32_t kind, uint32_t accelerator,
                    uint32_t length)
{
    qtest_memset(t->qts, IMAGE, 0, CARD_IMAGE_HEADER);
    qtest_memset(t->qts, IMAGE + CARD_IMAGE_HEADER, 0xa5, length);
    qtest_writel(t->qts, IMAGE + CARD_IMAGE_MAGIC, CARD_IMAGE_MAGIC_VALUE);
    qtest_writel(t->qts, IMAGE + CARD_IMAGE_VERSION, CARD_VERSION);
    qtest_writel(t->qts, IMAGE + CARD_IMAGE_KIND, kind);
    qtest_writel(t->qts, IMAGE + CARD_IMAGE_ACCELERATOR, accelerator);
    qtest_writel(t->qts, IMAGE + CARD_IMAGE_LENGTH, length);
    seal(t, IMAGE, CARD_IMAGE_HEADER + length);
    return CARD_IMAGE_HEADER + length;
}

void begin_load(CardTest *t, uint32_t region, uint32_t length)
{
    pf_set(t, CARD_PF_REGION, region);
    pf_set(t, CARD_PF_ADDRESS, IMAGE);
    pf_set(t, CARD_PF_LENGTH, length);
    pf_set(t, CARD_PF_COMMAND, CARD_COMMAND_LOAD);
}

uint32_t load(CardTest *t, uint32_t region, uint32_t kind,
              uint32_t accelerator)
{
    return command_on(t, 0, CARD_COMMAND_LOAD, region, 0, IMAGE,
                      make_image(t, kind, accelerator, 1000), 0);
}

void give(CardTest *t, uint32_t region, uint32_t accelerator, uint32_t vf)
{
    g_assert_cmpint(load(t, region, region % 2, accelerator), ==, CARD_IDLE);
    g_assert_cmpint(command(t, CARD_COMMAND_CONNECT, region, vf), ==,
                    CARD_IDLE);
}

void reconnect(CardTest *t, uint32_t region, uint32_t vf)
{
    g_assert_cmpint(command_on(t, 0, CARD_COMMAND_CONNECT, region, vf, 0, 0,
                               CARD_FLAG_KEEP), ==, CARD_IDLE);
}

void ring(CardTest *t, int vf, uint32_t operation, uint32_t length)
{
    vf_set(t, vf, CARD_VF_SOURCE, SOURCE);
    vf_set(t, vf, CARD_VF_SOURCE + 4, 0);
    vf_set(t, vf, CARD_VF_DESTINATION, DESTINATION);
    vf_set(t, vf, CARD_VF_DESTINATION + 4, 0);
    vf_set(t, vf, CARD_VF_LENGTH, length);
    vf_set(t, vf, CARD_VF_DOORBELL, operation);
}

uint32_t job(CardTest *t, int vf, uint32_t operation, const void *data,
             uint32_t length)
{
    if (length) {
        qtest_memwrite(t->qts, SOURCE, data, length);
    }
    ring(t, vf, operation, length);
    step_ms(t, 10);
    return vf_get(t, vf, CARD_VF_STATUS);
}

void expect_bytes(CardTest *t, int vf, const void *data, uint32_t length,
                  const char *expected)
{
    g_autoptr(GString) got = g_string_new(NULL);
    uint32_t size;

    g_assert_cmpint(job(t, vf, CARD_OPERATION_RUN, data, length), ==,
                    CARD_VF_DONE);
    size = vf_get(t, vf, CARD_VF_RESULT);
    for (uint32_t i = 0; i < size; i++) {
        g_string_append_printf(got, "%02x",
                               qtest_readb(t->qts, DESTINATION + i));
    }
    g_assert_cmpstr(got->str, ==, expected);
}

void expect(CardTest *t, int vf, const char *data, const char *expected)
{
    expect_bytes(t, vf, data, strlen(data), expected);
}

void start_stream(CardTest *t)
{
    card_start(t, 1, NULL);
    set_vfs(t, 4);
    give(t, 0, CARD_CRC32C, 1);
    expect(t, 1, "12345", CRC_12345);
}

void end_stream(CardTest *t)
{
    expect(t, 1, "6789", CRC_123456789);
    card_stop(t);
}
