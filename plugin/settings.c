// SPDX-License-Identifier: GPL-2.0-or-later
//
// Settings of one function as text and as a value. One table gives every key its member, its kind
// and its range; set, get and merge walk it, so that a new key is one line. What a given device
// really supports is not known here: the profile module finds out when it applies a setting.

#include "settings.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "quote.h"

typedef enum { KIND_MAC, KIND_NUMBER, KIND_SWITCH, KIND_LINK, KIND_PATH } Kind;

// Ranges: VLAN IDs and priorities IEEE 802.1Q; rates up to 1 Tbit/s; an MSI-X table has at most
// 2048 entries (PCIe section 7.7.2), 0 = the driver's default (kernel: sysfs-bus-pci,
// sriov_vf_msix_count); NVMe secondary controller resources are 16 bits; QDMA has 2048 queues.
static const struct {
    const char *key;
    Kind kind;
    gsize offset;
    guint max, min;
} table[] = {
    {"mac", KIND_MAC, offsetof(VfSettings, mac), 0, 0},
    {"vlan", KIND_NUMBER, offsetof(VfSettings, vlan), 4094, 0},
    {"qos", KIND_NUMBER, offsetof(VfSettings, qos), 7, 0},
    {"trust", KIND_SWITCH, offsetof(VfSettings, trust), 1, 0},
    {"spoofchk", KIND_SWITCH, offsetof(VfSettings, spoofchk), 1, 0},
    {"link-state", KIND_LINK, offsetof(VfSettings, link_state), 0, 0},
    {"min-rate", KIND_NUMBER, offsetof(VfSettings, min_rate), 1000000, 0},
    {"max-rate", KIND_NUMBER, offsetof(VfSettings, max_rate), 1000000, 0},
    {"msix", KIND_NUMBER, offsetof(VfSettings, msix), 2048, 0},
    {"queues", KIND_NUMBER, offsetof(VfSettings, queues), 65535, 1},
    {"interrupts", KIND_NUMBER, offsetof(VfSettings, interrupts), 65535, 1},
    {"qmax", KIND_NUMBER, offsetof(VfSettings, qmax), 2048, 1},
    {"program", KIND_PATH, offsetof(VfSettings, program), 0, 0},
};

const char *const vf_settings_keys[] = {
    "mac",      "vlan", "qos",    "trust",      "spoofchk", "link-state", "min-rate",
    "max-rate", "msix", "queues", "interrupts", "qmax",     "program",    NULL,
};
G_STATIC_ASSERT(G_N_ELEMENTS(table) == G_N_ELEMENTS(vf_settings_keys) - 1);

static const char *const link_words[] = {
    [VF_LINK_AUTO] = "auto", [VF_LINK_ENABLE] = "enable", [VF_LINK_DISABLE] = "disable"};

static int *int_member(VfSettings *settings, gsize offset)
{
    return (int *)((char *)settings + offset);
}

static int find_key(const char *key)
{
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++)
        if (g_str_equal(table[i].key, key))
            return (int)i;
    return -1;
}

void vf_settings_init(VfSettings *settings)
{
    memset(settings, 0, sizeof(*settings));
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++)
        if (table[i].kind != KIND_MAC && table[i].kind != KIND_PATH)
            *int_member(settings, table[i].offset) = VF_UNSET;
}

void vf_settings_clear(VfSettings *settings)
{
    g_free(settings->program);
    vf_settings_init(settings);
}

// A station address: group addresses and zeros are what drivers refuse with a bare EINVAL.
static gboolean parse_mac(const char *value, guint8 *mac)
{
    guint8 octets[6], any = 0;

    if (strlen(value) != 17)
        return FALSE;
    for (int i = 0; i < 6; i++) {
        const char *digits = value + 3 * i;

        if (!g_ascii_isxdigit(digits[0]) || !g_ascii_isxdigit(digits[1]) ||
            (i < 5 && digits[2] != ':'))
            return FALSE;
        octets[i] =
            (guint8)(g_ascii_xdigit_value(digits[0]) << 4 | g_ascii_xdigit_value(digits[1]));
        any |= octets[i];
    }
    if ((octets[0] & 1) != 0 || any == 0)
        return FALSE;
    memcpy(mac, octets, sizeof(octets));
    return TRUE;
}

static gboolean parse_switch(const char *value, int *out)
{
    static const char *const words[][4] = {{"off", "no", "false", "0"}, {"on", "yes", "true", "1"}};

    for (int on = 0; on <= 1; on++)
        for (gsize i = 0; i < G_N_ELEMENTS(words[on]); i++)
            if (g_str_equal(value, words[on][i])) {
                *out = on;
                return TRUE;
            }
    return FALSE;
}

static gboolean parse_link(const char *value, int *out)
{
    for (gsize i = 0; i < G_N_ELEMENTS(link_words); i++)
        if (g_str_equal(value, link_words[i])) {
            *out = (int)i;
            return TRUE;
        }
    return FALSE;
}

static gboolean parse_number(const char *value, guint min, guint max, int *out)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, min, max, &number, NULL))
        return FALSE;
    *out = (int)number;
    return TRUE;
}

static gboolean parse_path(const char *value, char **out)
{
    if (value[0] != '/')
        return FALSE;
    for (const char *p = value; *p != '\0'; p++)
        if (g_ascii_iscntrl(*p))
            return FALSE;
    g_free(*out);
    *out = g_strdup(value);
    return TRUE;
}

// What a key takes, as the remedy of a message.
static char *describe(int i)
{
    switch (table[i].kind) {
    case KIND_MAC:
        return g_strdup("give a unicast MAC address such as 52:54:00:12:34:56");
    case KIND_SWITCH:
        return g_strdup("give on or off");
    case KIND_LINK:
        return g_strdup("give auto, enable or disable");
    case KIND_PATH:
        return g_strdup("give the absolute path of a program");
    case KIND_NUMBER:
    default:
        return g_strdup_printf("give a number from %u to %u", table[i].min, table[i].max);
    }
}

static gboolean parse_value(VfSettings *settings, int i, const char *value)
{
    switch (table[i].kind) {
    case KIND_MAC:
        if (!parse_mac(value, settings->mac))
            return FALSE;
        settings->has_mac = TRUE;
        return TRUE;
    case KIND_SWITCH:
        return parse_switch(value, int_member(settings, table[i].offset));
    case KIND_LINK:
        return parse_link(value, int_member(settings, table[i].offset));
    case KIND_PATH:
        return parse_path(value, &settings->program);
    case KIND_NUMBER:
    default:
        return parse_number(value, table[i].min, table[i].max,
                            int_member(settings, table[i].offset));
    }
}

gboolean vf_settings_set(VfSettings *settings, const char *key, const char *value, GError **error)
{
    int i = find_key(key);

    if (i < 0) {
        g_autofree char *quoted = vf_quote(key, -1);
        g_autofree char *keys = g_strjoinv(", ", (char **)vf_settings_keys);

        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "%s: no such setting" VF_REMEDY "settings are %s", quoted, keys);
        return FALSE;
    }
    if (parse_value(settings, i, value))
        return TRUE;

    g_autofree char *quoted = vf_quote(value, -1);
    g_autofree char *allowed = describe(i);
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "%s: %s is not valid" VF_REMEDY "%s", key, quoted,
                allowed);
    return FALSE;
}

char *vf_settings_nth(const VfSettings *settings, guint i)
{
    if (table[i].kind == KIND_PATH)
        return g_strdup(settings->program);
    if (table[i].kind == KIND_MAC) {
        const guint8 *mac = settings->mac;

        return settings->has_mac ? g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
                                                   mac[2], mac[3], mac[4], mac[5])
                                 : NULL;
    }
    int value = *int_member((VfSettings *)settings, table[i].offset);
    if (value == VF_UNSET)
        return NULL;
    if (table[i].kind == KIND_SWITCH)
        return g_strdup(value ? "on" : "off");
    if (table[i].kind == KIND_LINK)
        return g_strdup(link_words[value]);
    return g_strdup_printf("%d", value);
}

char *vf_settings_get(const VfSettings *settings, const char *key)
{
    int i = find_key(key);

    return i < 0 ? NULL : vf_settings_nth(settings, (guint)i);
}

void vf_settings_merge(VfSettings *out, const VfSettings *base, const VfSettings *over)
{
    VfSettings merged = *base;

    if (over->has_mac) {
        merged.has_mac = TRUE;
        memcpy(merged.mac, over->mac, sizeof(merged.mac));
    }
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++)
        if (table[i].kind != KIND_MAC && table[i].kind != KIND_PATH) {
            int value = *int_member((VfSettings *)over, table[i].offset);

            if (value != VF_UNSET)
                *int_member(&merged, table[i].offset) = value;
        }
    merged.program = g_strdup(over->program != NULL ? over->program : base->program);
    *out = merged;
}

gboolean vf_settings_equal(const VfSettings *a, const VfSettings *b)
{
    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *x = vf_settings_nth(a, i), *y = vf_settings_nth(b, i);

        if (g_strcmp0(x, y) != 0)
            return FALSE;
    }
    return TRUE;
}

gboolean vf_settings_check(const VfSettings *settings, GError **error)
{
    if (settings->qos > 0 && settings->vlan <= 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "qos: %d is given without a vlan" VF_REMEDY "add a vlan or leave qos out",
                    settings->qos);
        return FALSE;
    }
    if (settings->max_rate > 0 && settings->min_rate > settings->max_rate) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "min-rate: %d is more than max-rate %d" VF_REMEDY
                    "lower min-rate or raise max-rate",
                    settings->min_rate, settings->max_rate);
        return FALSE;
    }
    return TRUE;
}
