// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hot-plug for libvirt's test driver, which has none: preloaded into virtfnd, these three calls go
// to a script of the test's, $VIRTFN_FAKE_LIBVIRT:
//
//     SCRIPT xml UUID              prints the live XML
//     SCRIPT detach UUID ALIAS     asks the guest for the device; returns at once, as libvirt does
//     SCRIPT attach UUID           gives it the device whose XML is on standard input
//
// Looking up a domain, and all the rest, is the test driver's own.

#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *call(virDomainPtr domain, const char *verb, const char *more, const char *mode)
{
    const char *script = getenv("VIRTFN_FAKE_LIBVIRT");
    char uuid[VIR_UUID_STRING_BUFLEN], command[4096];

    if (script == NULL || virDomainGetUUIDString(domain, uuid) < 0)
        return NULL;
    // The script's programs are not on the fake host.
    snprintf(command, sizeof(command), "LD_PRELOAD= '%s' %s %s '%s'", script, verb, uuid, more);
    return popen(command, mode);
}

char *virDomainGetXMLDesc(virDomainPtr domain, unsigned int flags)
{
    FILE *script = call(domain, "xml", "", "r");
    size_t size = 64 * 1024, length;
    char *xml = calloc(1, size);

    if (script == NULL || xml == NULL)
        abort();
    length = fread(xml, 1, size - 1, script);
    if (pclose(script) == 0 && length > 0)
        return xml;
    free(xml);
    return NULL;
}

int virDomainDetachDeviceAlias(virDomainPtr domain, const char *alias, unsigned int flags)
{
    FILE *script = call(domain, "detach", alias, "r");

    return script != NULL && pclose(script) == 0 ? 0 : -1;
}

int virDomainAttachDeviceFlags(virDomainPtr domain, const char *xml, unsigned int flags)
{
    FILE *script = call(domain, "attach", "", "w");

    if (script == NULL)
        return -1;
    fputs(xml, script);
    return pclose(script) == 0 ? 0 : -1;
}
