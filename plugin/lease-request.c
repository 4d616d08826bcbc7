// SPDX-License-Identifier: GPL-2.0-or-later
//
// The scan has no case of its own for anything unusual: it gives up, and what it has overwritten
// was a copy.

#include "lease-request.h"

#include <string.h>

#include "error.h"

// ---- the scan

static void skip_space(char **at)
{
    while (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r')
        (*at)++;
}

static gboolean take(char **at, char c)
{
    skip_space(at);
    if (**at != c)
        return FALSE;
    (*at)++;
    skip_space(at);
    return TRUE;
}

static gboolean take_string(char **at, const char **value)
{
    char *end = *at + 1;

    if (**at != '"')
        return FALSE;
    while (*end >= ' ' && *end <= '~' && *end != '"' && *end != '\\')
        end++;
    if (*end != '"')
        return FALSE;
    *end = '\0';
    *value = *at + 1;
    *at = end + 1;
    return TRUE;
}

// Where a member's value belongs; NULL when there is no such member.
static const char **member_of(VfLeaseRequest *request, const char *name)
{
    if (strcmp(name, "domain") == 0)
        return &request->domain;
    if (strcmp(name, "device") == 0)
        return &request->device;
    if (strcmp(name, "pool") == 0)
        return &request->pool;
    return strcmp(name, "name") == 0 ? &request->name : NULL;
}

gboolean vf_lease_request_scan(char *text, gsize length, VfLeaseRequest *request)
{
    char *at = text;

    *request = (VfLeaseRequest){0};
    if (!take(&at, '{'))
        return FALSE;
    do {
        const char *name, **value;

        if (!take_string(&at, &name) || !take(&at, ':'))
            return FALSE;
        value = member_of(request, name);
        if (value == NULL || *value != NULL || !take_string(&at, value))
            return FALSE;
    } while (take(&at, ','));
    if (!take(&at, '}') || at != text + length)
        return FALSE;
    if (request->name == NULL)
        request->name = "";
    return request->domain != NULL && request->device != NULL && request->pool != NULL;
}

// ---- jansson

gboolean vf_lease_request_unpack(json_t *json, VfLeaseRequest *request, GError **error)
{
    json_error_t where;

    *request = (VfLeaseRequest){.name = ""};
    if (json_unpack_ex(json, &where, JSON_STRICT, "{s:s, s:s, s:s, s?s}", "domain",
                       &request->domain, "device", &request->device, "pool", &request->pool, "name",
                       &request->name) == 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "lease: %s" VF_REMEDY "give domain (UUID), device and pool, and name if you like",
                where.text);
    return FALSE;
}

// ---- what is said

static gboolean valid_device(const char *name)
{
    gsize length = strlen(name);

    return length >= 1 && length <= 32 && g_ascii_isalnum(*name) &&
           strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-") == length;
}

// As libvirt has them, and as they go into lines of logs and answers.
static gboolean valid_domain_name(const char *name)
{
    gboolean valid = strlen(name) <= 255;

    for (const char *p = name; valid && *p != '\0'; p++)
        valid = !g_ascii_iscntrl(*p);
    return valid;
}

gboolean vf_lease_request_check(const VfLeaseRequest *request, GError **error)
{
    if (!g_uuid_string_is_valid(request->domain)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "lease: '%.40s' is no UUID", request->domain);
        return FALSE;
    }
    if (!valid_device(request->device)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "lease: '%.40s' is no device name" VF_REMEDY
                    "1 to 32 letters, digits, '_' and '-', a letter or digit first",
                    request->device);
        return FALSE;
    }
    if (!valid_domain_name(request->name)) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "lease: name is no domain's name" VF_REMEDY
                    "give up to 255 bytes without control characters");
        return FALSE;
    }
    return TRUE;
}
