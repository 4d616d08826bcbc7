// SPDX-License-Identifier: GPL-2.0-or-later
//
// What libvirt needs of virtfn: the hook, and for pausing guests the directory of virtfn's QMP
// sockets, where AppArmor confines guests the rule that lets QEMU create its socket there, and the
// drop-in that keeps libvirt's daemon from starting while guests are paused.

#include <string.h>
#include <unistd.h>

#include "doctor.h"
#include "error.h"
#include "io.h"

#define HOOK "/etc/libvirt/hooks/qemu.d/50-virtfn"
#define QMP_DIRECTORY "/run/virtfn/qmp"
#define QMP_RULE "run/virtfn/qmp/" // of a path that may begin with /{,var/}
#define APPARMOR_ABSTRACTION "/etc/apparmor.d/abstractions/libvirt-qemu"
#define APPARMOR_LOCAL "/etc/apparmor.d/local/abstractions/libvirt-qemu"

static void check_hook(VfDoctor *doctor)
{
    g_autofree char *path = vf_path(doctor->root, HOOK);

    if (access(path, X_OK) == 0)
        vf_doctor_add(doctor, VF_FINDING_OK, "hook", "host", "the libvirt hook is installed");
    else if (access(path, F_OK) == 0)
        vf_doctor_add(doctor, VF_FINDING_PROBLEM, "hook", "host",
                      HOOK " is not executable, so libvirt does not call it" VF_REMEDY
                           "chmod 0755 " HOOK " and restart libvirt's QEMU daemon");
    else
        vf_doctor_add(doctor, VF_FINDING_PROBLEM, "hook", "host",
                      HOOK
                      " is missing, so guests start without virtfn" VF_REMEDY
                      "install it (make install) and restart libvirt's QEMU daemon, which looks "
                      "for hooks when it starts");
}

static void check_qmp(VfDoctor *doctor)
{
    g_autofree char *path = vf_path(doctor->root, QMP_DIRECTORY);

    if (g_file_test(path, G_FILE_TEST_IS_DIR))
        vf_doctor_add(doctor, VF_FINDING_OK, "qmp", "host", QMP_DIRECTORY " is there");
    else
        vf_doctor_add(doctor, VF_FINDING_WARNING, "qmp", "host",
                      QMP_DIRECTORY " is missing, so rendered guests cannot start" VF_REMEDY
                                    "start the daemon, which makes it: systemctl start virtfnd");
}

static gboolean allows_qmp(const char *rules)
{
    return rules != NULL && strstr(rules, QMP_RULE) != NULL;
}

// Older libvirt reads the local file only (9.0 does), newer ones a directory as well, so a rule
// counts only in a place that the abstraction includes.
static gboolean has_apparmor_rule(const VfDoctor *doctor)
{
    g_autofree char *abstraction = vf_doctor_read(doctor, APPARMOR_ABSTRACTION);
    g_autofree char *local = vf_doctor_read(doctor, APPARMOR_LOCAL);
    g_autoptr(GPtrArray) names = vf_doctor_list(doctor, APPARMOR_ABSTRACTION ".d", "");

    if (abstraction == NULL)
        return FALSE;
    if (allows_qmp(local) && strstr(abstraction, "<local/abstractions/libvirt-qemu>") != NULL)
        return TRUE;
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *rules =
            vf_doctor_read(doctor, APPARMOR_ABSTRACTION ".d/%s", (const char *)names->pdata[i]);
        if (allows_qmp(rules) && strstr(abstraction, "<abstractions/libvirt-qemu.d>") != NULL)
            return TRUE;
    }
    return FALSE;
}

static void check_apparmor(VfDoctor *doctor)
{
    g_autofree char *enabled = vf_doctor_read(doctor, "/sys/module/apparmor/parameters/enabled");

    if (enabled == NULL || enabled[0] != 'Y')
        vf_doctor_add(doctor, VF_FINDING_OK, "apparmor", "host", "AppArmor is off");
    else if (has_apparmor_rule(doctor))
        vf_doctor_add(doctor, VF_FINDING_OK, "apparmor", "host",
                      "AppArmor lets guests have virtfn's QMP socket");
    else
        vf_doctor_add(doctor, VF_FINDING_PROBLEM, "apparmor", "host",
                      "AppArmor is on and has no rule for virtfn's QMP socket, so rendered guests "
                      "cannot start" VF_REMEDY "add the line \"/{,var/}" QMP_RULE
                      "*.sock rw,\" to " APPARMOR_LOCAL);
}

// Where systemd looks for units and their drop-ins.
static const char *const unit_directories[] = {"/etc/systemd/system", "/run/systemd/system",
                                               "/usr/local/lib/systemd/system",
                                               "/usr/lib/systemd/system", "/lib/systemd/system"};

static gboolean has_unit(const VfDoctor *doctor, const char *unit)
{
    for (guint i = 0; i < G_N_ELEMENTS(unit_directories); i++) {
        g_autofree char *path = vf_path(doctor->root, "%s/%s", unit_directories[i], unit);

        if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
            return TRUE;
    }
    return FALSE;
}

static gboolean settles(const VfDoctor *doctor, const char *unit)
{
    for (guint i = 0; i < G_N_ELEMENTS(unit_directories); i++) {
        g_autofree char *directory = g_strdup_printf("%s/%s.d", unit_directories[i], unit);
        g_autoptr(GPtrArray) names = vf_doctor_list(doctor, directory, ".conf");

        for (guint n = 0; n < names->len; n++) {
            g_autofree char *text =
                vf_doctor_read(doctor, "%s/%s", directory, (const char *)names->pdata[n]);
            if (text != NULL && strstr(text, "virtfn settle") != NULL)
                return TRUE;
        }
    }
    return FALSE;
}

static void check_settle(VfDoctor *doctor)
{
    static const char *const units[] = {"libvirtd.service", "virtqemud.service"};

    for (guint i = 0; i < G_N_ELEMENTS(units); i++) {
        if (!has_unit(doctor, units[i]))
            continue;
        if (settles(doctor, units[i]))
            vf_doctor_add(doctor, VF_FINDING_OK, "settle", "host",
                          "%s waits for the end of a reconf before it starts", units[i]);
        else
            vf_doctor_add(doctor, VF_FINDING_WARNING, "settle", "host",
                          "%s may start in the middle of a reconf, and would end the guests that "
                          "are paused" VF_REMEDY "install its drop-in (make install), with "
                          "ExecStartPre=virtfn settle, and systemctl daemon-reload",
                          units[i]);
    }
}

void vf_doctor_check_libvirt(VfDoctor *doctor)
{
    check_hook(doctor);
    check_qmp(doctor);
    check_apparmor(doctor);
    check_settle(doctor);
}
