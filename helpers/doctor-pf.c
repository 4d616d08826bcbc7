// SPDX-License-Identifier: GPL-2.0-or-later
//
// One PF: can it have the functions that its pools want, and can they be given to guests one by
// one? Limits are checked from the outside in: configuration, driver and firmware, bus numbers,
// ARI; then what exists: IOMMU groups, the link. sriov_numvfs is never read.

#include <string.h>
#include <unistd.h>

#include "doctor.h"
#include "error.h"
#include "io.h"
#include "sriov.h"

// Files of the PF in sysfs, and its name in findings.
typedef struct {
    VfDoctor *doctor;
    const VfInvPf *pf;
    char name[VF_PCIADDR_BUFSIZE];
} Patient;

static gboolean read_number(const Patient *patient, const char *attribute, guint64 *value)
{
    g_autofree char *path =
        vf_path(patient->doctor->root, "/sys/bus/pci/devices/%s/%s", patient->name, attribute);

    return vf_io_read_uint(path, value, NULL);
}

// What the inventory, and so the daemon, refuses this PF for.
static void check_inventory(Patient *patient)
{
    const VfInvPf *pf = patient->pf;

    if (pf->problem != NULL)
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "pf", patient->name, "%s", pf->problem);
    else
        vf_doctor_add(patient->doctor, VF_FINDING_OK, "pf", patient->name,
                      "driver %s, %u of %u functions exist, the pools want up to %u", pf->driver,
                      pf->vfs, pf->pci.cap.total_vfs, pf->limit);
}

static void check_limit(Patient *patient)
{
    guint64 total;
    g_autofree char *numvfs =
        vf_path(patient->doctor->root, "/sys/bus/pci/devices/%s/sriov_numvfs", patient->name);

    if (!read_number(patient, "sriov_totalvfs", &total))
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "limit", patient->name,
                      "the kernel shows no sriov_totalvfs" VF_REMEDY
                      "use a kernel with CONFIG_PCI_IOV");
    else if (total < patient->pf->limit)
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "limit", patient->name,
                      "driver or firmware allow %u functions, the device could have %u, the pools "
                      "want %u" VF_REMEDY "raise the limit in the card's firmware (mlx5: mstconfig "
                      "set SRIOV_EN=1 NUM_OF_VFS=%u, then a cold boot) or lower count or max",
                      (guint)total, patient->pf->pci.cap.total_vfs, patient->pf->limit,
                      patient->pf->limit);
    else if (access(numvfs, W_OK) != 0)
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "limit", patient->name,
                      "sriov_numvfs cannot be written" VF_REMEDY
                      "run as root, outside of a container with a read-only /sys");
    else
        vf_doctor_add(patient->doctor, VF_FINDING_OK, "limit", patient->name,
                      "driver and firmware allow %u functions", (guint)total);
}

// Last bus number behind the bridge above the PF; FALSE on a root bus, which ends at none.
static gboolean last_bus(const Patient *patient, guint64 *bus)
{
    return read_number(patient, "../subordinate_bus_number", bus);
}

// ARI of the hierarchy. The capability has the bit in the lowest PF of a device only (PCIe,
// SR-IOV Control), the kernel tells it for every device.
static gboolean has_ari(const Patient *patient)
{
    guint64 enabled;

    return read_number(patient, "ari_enabled", &enabled) ? enabled != 0 : patient->pf->pci.cap.ari;
}

// Where the last function would be. Without ARI a function of the PF's own bus is reached only
// as function 0 to 7 of the PF's device (PCIe section 6.13).
static void check_addresses(Patient *patient)
{
    const VfSriovCap *cap = &patient->pf->pci.cap;
    const VfPciAddr *pf = &patient->pf->pci.address;
    guint64 bus;
    VfPciAddr first, last;

    if (cap->offset == 0 || patient->pf->limit == 0)
        return;
    if (!vf_pciaddr_vf(pf, cap->offset, cap->stride, 0, &first) ||
        !vf_pciaddr_vf(pf, cap->offset, cap->stride, patient->pf->limit - 1, &last))
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "buses", patient->name,
                      "function %u would lie behind the last bus number, 255" VF_REMEDY
                      "lower count or max, or move the card to another slot",
                      patient->pf->limit - 1);
    else if (last_bus(patient, &bus) && last.bus > bus)
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "buses", patient->name,
                      "function %u would be on bus %02x, the slot has buses up to %02x" VF_REMEDY
                      "switch on SR-IOV and ARI in the firmware setup, or boot with "
                      "pci=assign-busses",
                      patient->pf->limit - 1, last.bus, (guint)bus);
    else if (!has_ari(patient) && first.bus == pf->bus && last.device != pf->device)
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "ari", patient->name,
                      "ARI is off, so functions beyond device %02x cannot be reached" VF_REMEDY
                      "switch on ARI in the firmware setup, or use a slot whose port has it",
                      pf->device);
    else
        vf_doctor_add(patient->doctor, VF_FINDING_OK, "buses", patient->name,
                      "the functions fit on buses %02x to %02x, ARI is %s", first.bus, last.bus,
                      has_ari(patient) ? "on" : "off");
}

// Other devices in a function's group, "0000:01:10.0, 0000:01:10.2"; NULL when it is alone.
static char *group_mates(const Patient *patient, const VfPciAddr *address)
{
    char own[VF_PCIADDR_BUFSIZE];
    g_autofree char *directory = g_strdup_printf("/sys/bus/pci/devices/%s/iommu_group/devices",
                                                 vf_pciaddr_format(address, own));
    g_autoptr(GPtrArray) names = vf_doctor_list(patient->doctor, directory, "");
    g_autoptr(GString) mates = g_string_new(NULL);

    for (guint i = 0; i < names->len; i++)
        if (strcmp(names->pdata[i], own) != 0)
            g_string_append_printf(mates, "%s%s", mates->len > 0 ? ", " : "",
                                   (const char *)names->pdata[i]);
    return mates->len > 0 ? g_strdup(mates->str) : NULL;
}

static void check_groups(Patient *patient)
{
    guint alone = 0;

    for (guint i = 0; i < patient->pf->vfs; i++) {
        VfPciAddr vf;
        char address[VF_PCIADDR_BUFSIZE];

        if (!vf_sriov_address(patient->doctor->root, &patient->pf->pci.address, i, &vf))
            continue;
        g_autofree char *mates = group_mates(patient, &vf);
        if (mates == NULL) {
            alone++;
            continue;
        }
        // One line tells it: where ACS is missing, all functions share.
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "groups", patient->name,
                      "%s shares its IOMMU group with %s, so they could only go to one guest "
                      "together" VF_REMEDY "switch on ACS in the firmware setup, or use a slot "
                      "whose ports isolate (ACS)",
                      vf_pciaddr_format(&vf, address), mates);
        return;
    }
    if (alone > 0)
        vf_doctor_add(patient->doctor, VF_FINDING_OK, "groups", patient->name,
                      "each of %u functions has an IOMMU group of its own", alone);
    else
        vf_doctor_add(patient->doctor, VF_FINDING_OK, "groups", patient->name,
                      "IOMMU groups are known when functions exist (virtfn init)");
}

static void check_link(Patient *patient)
{
    const char *netdev = patient->pf->netdev;

    if (netdev == NULL)
        return;
    g_autofree char *flags = vf_doctor_read(patient->doctor, "/sys/class/net/%s/flags", netdev);
    g_autofree char *carrier = vf_doctor_read(patient->doctor, "/sys/class/net/%s/carrier", netdev);
    gboolean up = flags != NULL && (g_ascii_strtoull(flags, NULL, 16) & 1) != 0;

    if (!up && patient->pf->keep_link)
        vf_doctor_add(
            patient->doctor, VF_FINDING_WARNING, "link", patient->name,
            "%s is down and the pool says link=keep, so its functions pass no traffic" VF_REMEDY
            "ip link set %s up, or remove link=keep",
            netdev, netdev);
    else if (!up)
        vf_doctor_add(patient->doctor, VF_FINDING_OK, "link", patient->name,
                      "%s is down, virtfn brings it up", netdev);
    else if (carrier != NULL && carrier[0] == '0')
        vf_doctor_add(patient->doctor, VF_FINDING_WARNING, "link", patient->name,
                      "%s has no carrier" VF_REMEDY "check the cable and the switch port", netdev);
    else
        vf_doctor_add(patient->doctor, VF_FINDING_OK, "link", patient->name, "%s is up", netdev);
}

void vf_doctor_check_pf(VfDoctor *doctor, const VfInvPf *pf)
{
    Patient patient = {.doctor = doctor, .pf = pf};

    vf_pciaddr_format(&pf->pci.address, patient.name);
    check_inventory(&patient);
    check_limit(&patient);
    check_addresses(&patient);
    check_groups(&patient);
    check_link(&patient);
}
