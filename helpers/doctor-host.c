// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the host as a whole needs: an IOMMU that is on, vfio-pci, and a kernel that opens the VFs of
// one bus side by side. The upstream version is taken from where distributions put it, because the
// release string of many of them ("6.1.0-37-amd64") does not carry it.

#include <stdio.h>
#include <string.h>

#include "doctor.h"
#include "error.h"

static gboolean has_word(const char *text, const char *word)
{
    g_auto(GStrv) words = g_strsplit_set(text != NULL ? text : "", " \n", -1);

    return g_strv_contains((const char *const *)words, word);
}

static const char *iommu_remedy(const VfDoctor *doctor, const char *command_line)
{
    g_autofree char *cpu = vf_doctor_read(doctor, "/proc/cpuinfo");

    if (cpu != NULL && strstr(cpu, "AuthenticAMD") != NULL)
        return "switch on IOMMU (AMD-Vi) in the firmware setup and reboot";
    if (cpu != NULL && strstr(cpu, "GenuineIntel") != NULL)
        return has_word(command_line, "intel_iommu=on")
                   ? "switch on VT-d in the firmware setup and reboot"
                   : "switch on VT-d in the firmware setup, add intel_iommu=on to the kernel "
                     "command line and reboot";
    return "switch on the IOMMU in the firmware setup and on the kernel command line, and reboot";
}

static void check_iommu(VfDoctor *doctor)
{
    static const char *const off[] = {"intel_iommu=off", "amd_iommu=off", "iommu=off"};
    g_autoptr(GPtrArray) groups = vf_doctor_list(doctor, "/sys/kernel/iommu_groups", "");
    g_autofree char *command_line = vf_doctor_read(doctor, "/proc/cmdline");
    g_autofree char *unsafe =
        vf_doctor_read(doctor, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");

    if (unsafe != NULL && unsafe[0] == 'Y')
        vf_doctor_add(
            doctor, VF_FINDING_WARNING, "iommu", "host",
            "vfio may give out devices without an IOMMU: guests could read all memory" VF_REMEDY
            "remove enable_unsafe_noiommu_mode from the options of vfio");
    if (groups->len > 0) {
        vf_doctor_add(doctor, VF_FINDING_OK, "iommu", "host", "the IOMMU is on, %u groups",
                      groups->len);
        return;
    }
    for (guint i = 0; i < G_N_ELEMENTS(off); i++)
        if (has_word(command_line, off[i])) {
            vf_doctor_add(doctor, VF_FINDING_PROBLEM, "iommu", "host",
                          "the kernel command line switches the IOMMU off (%s)" VF_REMEDY
                          "remove %s from the kernel command line and reboot",
                          off[i], off[i]);
            return;
        }
    vf_doctor_add(doctor, VF_FINDING_PROBLEM, "iommu", "host",
                  "there is no IOMMU group" VF_REMEDY "%s", iommu_remedy(doctor, command_line));
}

static gboolean module_exists(const VfDoctor *doctor, const char *release)
{
    static const char *const lists[] = {"modules.dep", "modules.builtin"};

    for (guint i = 0; release != NULL && i < G_N_ELEMENTS(lists); i++) {
        g_autofree char *text = vf_doctor_read(doctor, "/lib/modules/%s/%s", release, lists[i]);
        if (text != NULL && strstr(text, "/vfio-pci.ko") != NULL)
            return TRUE;
    }
    return FALSE;
}

static void check_vfio(VfDoctor *doctor)
{
    g_autoptr(GPtrArray) driver = vf_doctor_list(doctor, "/sys/bus/pci/drivers/vfio-pci", "");
    g_autofree char *release = vf_doctor_read(doctor, "/proc/sys/kernel/osrelease");

    if (release != NULL)
        g_strchomp(release);
    if (driver->len > 0)
        vf_doctor_add(doctor, VF_FINDING_OK, "vfio", "host", "vfio-pci is loaded");
    else if (module_exists(doctor, release))
        vf_doctor_add(doctor, VF_FINDING_OK, "vfio", "host", "vfio-pci can be loaded");
    else
        vf_doctor_add(doctor, VF_FINDING_PROBLEM, "vfio", "host",
                      "kernel %s has no vfio-pci" VF_REMEDY
                      "install the kernel's package with all modules, or build CONFIG_VFIO_PCI",
                      release != NULL ? release : "(unknown)");
}

gboolean vf_doctor_has_vf_dev_set(const char *version)
{
    // First release of each stable series that has the commit; 6.17 had it from the start.
    static const struct {
        guint major, minor, patch;
    } since[] = {{6, 1, 148}, {6, 6, 102}, {6, 12, 42}, {6, 15, 10}, {6, 16, 1}};
    guint major = 0, minor = 0, patch = 0;

    if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) < 2)
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(since); i++)
        if (major == since[i].major && minor == since[i].minor)
            return patch >= since[i].patch;
    return major > 6 || (major == 6 && minor >= 17);
}

// "… #1 SMP Debian 6.1.148-1 (…)", Ubuntu's "Ubuntu 6.8.0-31.31-generic 6.8.1", or the release.
static char *upstream_version(const VfDoctor *doctor)
{
    g_autofree char *signature = vf_doctor_read(doctor, "/proc/version_signature");
    g_autofree char *banner = vf_doctor_read(doctor, "/proc/version");
    const char *debian = banner != NULL ? strstr(banner, " Debian ") : NULL;
    char *release;

    if (signature != NULL && (release = strrchr(g_strchomp(signature), ' ')) != NULL)
        return g_strdup(release + 1);
    if (debian != NULL) {
        const char *version = debian + strlen(" Debian ");
        return g_strndup(version, strcspn(version, " )\n"));
    }
    release = vf_doctor_read(doctor, "/proc/sys/kernel/osrelease");
    return release != NULL ? g_strchomp(release) : NULL;
}

static void check_kernel(VfDoctor *doctor)
{
    g_autofree char *version = upstream_version(doctor);

    if (version != NULL && vf_doctor_has_vf_dev_set(version))
        vf_doctor_add(doctor, VF_FINDING_OK, "kernel", "host",
                      "kernel %s opens the functions of a card side by side", version);
    else
        vf_doctor_add(
            doctor, VF_FINDING_WARNING, "kernel", "host",
            "kernel %s may open the functions of a card one after another, 100 ms each" VF_REMEDY
            "use 6.1.148, 6.6.102, 6.12.42, 6.15.10, 6.16.1, 6.17 or newer of "
            "these series (\"vfio/pci: Separate SR-IOV VF dev_set\")",
            version != NULL ? version : "of unknown version");
}

void vf_doctor_check_host(VfDoctor *doctor)
{
    check_iommu(doctor);
    check_vfio(doctor);
    check_kernel(doctor);
}
