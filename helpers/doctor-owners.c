// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who else manages a PF. A second writer of sriov_numvfs destroys functions that guests hold, so
// each known one is looked for where it keeps its settings. What it means for a running host
// decides the level: a problem where it may strike at any time, a warning where only at boot. The
// files are read just far enough to see whether they name the PF; their owners judge the rest.

#include <fnmatch.h>
#include <string.h>

#include "doctor-text.h"
#include "doctor.h"
#include "error.h"
#include "io.h"

typedef struct {
    VfDoctor *doctor;
    const VfInvPf *pf;
    char name[VF_PCIADDR_BUFSIZE];
    const char *netdev; // "" for none
    char *mac;          // "" for none
} Patient;

static void check_netplan(const Patient *patient)
{
    g_autoptr(GPtrArray) names = vf_doctor_list(patient->doctor, "/etc/netplan", ".yaml");

    for (guint i = 0; patient->netdev[0] != '\0' && i < names->len; i++) {
        const char *file = names->pdata[i];
        g_autofree char *text = vf_doctor_read(patient->doctor, "/etc/netplan/%s", file);

        if (text != NULL && vf_text_netplan_sets_vfs(text, patient->netdev, patient->mac))
            vf_doctor_add(
                patient->doctor, VF_FINDING_PROBLEM, "netplan", patient->name,
                "netplan sets the number of functions of %s, also while guests have them" VF_REMEDY
                "remove virtual-function-count from /etc/netplan/%s",
                patient->netdev, file);
    }
}

static void check_network_manager(const Patient *patient)
{
    static const char directory[] = "/etc/NetworkManager/system-connections";
    g_autoptr(GPtrArray) names = vf_doctor_list(patient->doctor, directory, "");

    for (guint i = 0; patient->netdev[0] != '\0' && i < names->len; i++) {
        const char *file = names->pdata[i];
        g_autofree char *text = vf_doctor_read(patient->doctor, "%s/%s", directory, file);
        g_autofree char *total = vf_text_ini(text, "sriov", "total-vfs");
        g_autofree char *interface = vf_text_ini(text, "connection", "interface-name");
        g_autofree char *mac = vf_text_ini(text, "ethernet", "mac-address");

        if (total != NULL && (g_strcmp0(interface, patient->netdev) == 0 ||
                              (mac != NULL && g_ascii_strcasecmp(mac, patient->mac) == 0)))
            vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "networkmanager", patient->name,
                          "NetworkManager sets the number of functions of %s whenever it activates "
                          "a connection" VF_REMEDY "remove total-vfs from %s/%s and reload",
                          patient->netdev, directory, file);
    }
}

// A key of [Match] is a list of patterns; a key that is not there matches everything.
static gboolean link_key_matches(const char *text, const char *key, const char *value)
{
    g_autofree char *patterns = vf_text_ini(text, "Match", key);

    if (patterns == NULL)
        return TRUE;
    g_auto(GStrv) words = g_strsplit_set(patterns, " \t", -1);
    for (guint i = 0; words[i] != NULL; i++)
        if (words[i][0] != '\0' && fnmatch(words[i], value, FNM_CASEFOLD) == 0)
            return TRUE;
    return FALSE;
}

static gboolean link_matches(const Patient *patient, const char *text)
{
    g_autofree char *path = g_strconcat("pci-", patient->name, NULL);
    const char *driver = patient->pf->driver != NULL ? patient->pf->driver : "";

    return link_key_matches(text, "OriginalName", patient->netdev) &&
           link_key_matches(text, "MACAddress", patient->mac) &&
           link_key_matches(text, "PermanentMACAddress", patient->mac) &&
           link_key_matches(text, "Path", path) && link_key_matches(text, "Driver", driver);
}

static void check_systemd_link(const Patient *patient)
{
    static const char *const directories[] = {"/etc/systemd/network", "/run/systemd/network",
                                              "/usr/lib/systemd/network"};

    for (guint d = 0; patient->netdev[0] != '\0' && d < G_N_ELEMENTS(directories); d++) {
        g_autoptr(GPtrArray) names = vf_doctor_list(patient->doctor, directories[d], ".link");

        for (guint i = 0; i < names->len; i++) {
            const char *file = names->pdata[i];
            g_autofree char *text = vf_doctor_read(patient->doctor, "%s/%s", directories[d], file);
            g_autofree char *count = vf_text_ini(text, "Link", "SR-IOVVirtualFunctions");
            g_autofree char *function = vf_text_ini(text, "SR-IOV", "VirtualFunction");

            if ((count != NULL || function != NULL) && link_matches(patient, text))
                vf_doctor_add(patient->doctor, VF_FINDING_WARNING, "systemd-link", patient->name,
                              "systemd configures the functions of %s when it appears" VF_REMEDY
                              "remove SR-IOVVirtualFunctions= and [SR-IOV] from %s/%s",
                              patient->netdev, directories[d], file);
        }
    }
}

static void check_driverctl(const Patient *patient)
{
    g_autofree char *text =
        vf_doctor_read(patient->doctor, "/etc/driverctl.d/pci-%s", patient->name);
    const VfSriovCap *cap = &patient->pf->pci.cap;
    char address[VF_PCIADDR_BUFSIZE];
    VfPciAddr vf;

    if (text != NULL)
        vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "driverctl", patient->name,
                      "driverctl binds the PF to %s" VF_REMEDY "driverctl unset-override %s",
                      g_strchomp(text), patient->name);
    for (guint i = 0; cap->offset != 0 && i < patient->pf->limit; i++) {
        if (!vf_pciaddr_vf(&patient->pf->pci.address, cap->offset, cap->stride, i, &vf))
            return;
        g_autofree char *override = vf_doctor_read(patient->doctor, "/etc/driverctl.d/pci-%s",
                                                   vf_pciaddr_format(&vf, address));
        if (override != NULL)
            vf_doctor_add(patient->doctor, VF_FINDING_WARNING, "driverctl", patient->name,
                          "driverctl binds function %s whenever it appears" VF_REMEDY
                          "driverctl unset-override %s",
                          address, address);
    }
}

static void check_sysfsutils_file(const Patient *patient, const char *file)
{
    g_autofree char *text = vf_doctor_read(patient->doctor, "%s", file);
    g_autofree char *by_address = g_strdup_printf("bus/pci/devices/%s/sriov_numvfs", patient->name);
    g_autofree char *by_netdev =
        g_strdup_printf("class/net/%s/device/sriov_numvfs", patient->netdev);

    if (vf_text_sysfs_conf_sets(text, by_address) || vf_text_sysfs_conf_sets(text, by_netdev))
        vf_doctor_add(patient->doctor, VF_FINDING_WARNING, "sysfsutils", patient->name,
                      "%s sets the number of functions at boot" VF_REMEDY
                      "remove the line with sriov_numvfs from it",
                      file);
}

static void check_sysfsutils(const Patient *patient)
{
    g_autoptr(GPtrArray) names = vf_doctor_list(patient->doctor, "/etc/sysfs.d", ".conf");

    check_sysfsutils_file(patient, "/etc/sysfs.conf");
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *file = g_strconcat("/etc/sysfs.d/", names->pdata[i], NULL);
        check_sysfsutils_file(patient, file);
    }
}

static void check_modprobe(const Patient *patient)
{
    g_autoptr(GPtrArray) names = vf_doctor_list(patient->doctor, "/etc/modprobe.d", ".conf");

    for (guint i = 0; patient->pf->driver != NULL && i < names->len; i++) {
        const char *file = names->pdata[i];
        g_autofree char *text = vf_doctor_read(patient->doctor, "/etc/modprobe.d/%s", file);

        if (vf_text_modprobe_sets(text, patient->pf->driver, "max_vfs"))
            vf_doctor_add(patient->doctor, VF_FINDING_WARNING, "modprobe", patient->name,
                          "an option of driver %s makes functions when it is loaded" VF_REMEDY
                          "remove max_vfs from /etc/modprobe.d/%s",
                          patient->pf->driver, file);
    }
}

// TRUE when an address of a network is one of the PF's functions.
static gboolean has_function(const VfInvPf *pf, const GArray *addresses)
{
    const VfSriovCap *cap = &pf->pci.cap;
    VfPciAddr vf;

    for (guint i = 0; cap->offset != 0 && i < pf->limit; i++)
        for (guint a = 0; a < addresses->len; a++)
            if (vf_pciaddr_vf(&pf->pci.address, cap->offset, cap->stride, i, &vf) &&
                vf_pciaddr_equal(&vf, &g_array_index(addresses, VfPciAddr, a)))
                return TRUE;
    return FALSE;
}

static void check_libvirt_networks(const Patient *patient)
{
    static const char directory[] = "/etc/libvirt/qemu/networks";
    g_autoptr(GPtrArray) names = vf_doctor_list(patient->doctor, directory, ".xml");

    for (guint i = 0; i < names->len; i++) {
        const char *file = names->pdata[i];
        g_autofree char *text = vf_doctor_read(patient->doctor, "%s/%s", directory, file);
        g_autoptr(GArray) addresses = g_array_new(FALSE, FALSE, sizeof(VfPciAddr));
        gboolean by_pf = vf_text_network_passes(text, patient->netdev, addresses);
        g_autofree char *network = g_strndup(file, strlen(file) - strlen(".xml"));

        if (by_pf || has_function(patient->pf, addresses))
            vf_doctor_add(patient->doctor, VF_FINDING_PROBLEM, "libvirt-network", patient->name,
                          "the libvirt network '%s' hands out the same functions" VF_REMEDY
                          "virsh net-destroy %s and virsh net-undefine %s, or take this PF out of "
                          "the pool",
                          network, network, network);
    }
}

void vf_doctor_check_owners(VfDoctor *doctor, const VfInvPf *pf)
{
    Patient patient = {.doctor = doctor, .pf = pf, .netdev = pf->netdev != NULL ? pf->netdev : ""};
    guint before = doctor->findings->len;

    vf_pciaddr_format(&pf->pci.address, patient.name);
    patient.mac = vf_doctor_read(doctor, "/sys/class/net/%s/address", patient.netdev);
    patient.mac = patient.mac != NULL ? g_strchomp(patient.mac) : g_strdup("");
    check_netplan(&patient);
    check_network_manager(&patient);
    check_systemd_link(&patient);
    check_driverctl(&patient);
    check_sysfsutils(&patient);
    check_modprobe(&patient);
    check_libvirt_networks(&patient);
    if (doctor->findings->len == before)
        vf_doctor_add(doctor, VF_FINDING_OK, "owners", patient.name,
                      "nobody else is set up to manage its functions");
    g_free(patient.mac);
}
