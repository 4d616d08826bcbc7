// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tolerant readers for the settings of netplan, NetworkManager, systemd, sysfsutils, modprobe and
// libvirt networks. They look for one fact each and skip what they do not understand.

#include "doctor-text.h"

#include <fnmatch.h>
#include <libxml/parser.h>
#include <string.h>

#include "pciaddr.h"

// The value behind "KEY=" or "KEY =", NULL when the line is another one. Borrowed.
static char *value_of(char *line, const char *key)
{
    gsize length = strlen(key);

    if (strncmp(line, key, length) != 0)
        return NULL;
    line += length + strspn(line + length, " \t");
    return *line == '=' ? g_strstrip(line + 1) : NULL;
}

char *vf_text_ini(const char *text, const char *section, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);
    g_autofree char *header = g_strdup_printf("[%s]", section);
    gboolean inside = FALSE;
    const char *value;

    for (guint i = 0; lines[i] != NULL; i++) {
        char *line = g_strstrip(lines[i]);

        if (line[0] == '[')
            inside = strcmp(line, header) == 0;
        else if (inside && (value = value_of(line, key)) != NULL)
            return g_strdup(value);
    }
    return NULL;
}

static gsize indent_of(const char *line)
{
    return strspn(line, " ");
}

static gboolean is_blank(const char *line)
{
    const char *rest = line + strspn(line, " \t\r");

    return *rest == '\0' || *rest == '#';
}

// "KEY: VALUE" without quotes and comment; the key alone gives "". NULL for another key. Caller
// frees.
static char *yaml_value(const char *line, const char *key)
{
    gsize length = strlen(key);

    line += indent_of(line);
    if (strncmp(line, key, length) != 0 || line[length] != ':')
        return NULL;
    g_autofree char *value = g_strdup(line + length + 1);
    value[strcspn(value, "#")] = '\0';
    g_strstrip(value);
    gsize end = strlen(value);
    if (end >= 2 && (value[0] == '"' || value[0] == '\'') && value[end - 1] == value[0])
        return g_strndup(value + 1, end - 2);
    return g_steal_pointer(&value);
}

// Lines [first, last) that are indented at least as deep as line `at`, around it.
static void find_block(char **lines, guint at, guint *first, guint *last)
{
    gsize indent = indent_of(lines[at]);

    for (*first = at;
         *first > 0 && (is_blank(lines[*first - 1]) || indent_of(lines[*first - 1]) >= indent);)
        --*first;
    for (*last = at;
         lines[*last] != NULL && (is_blank(lines[*last]) || indent_of(lines[*last]) >= indent);)
        ++*last;
}

// The block of one interface: its parent line names it, `match:` in it may name the card instead.
static gboolean block_is_for(char **lines, guint first, guint last, const char *netdev,
                             const char *mac)
{
    g_autofree char *id = first > 0 ? g_strdup(g_strstrip(lines[first - 1])) : g_strdup("");
    gboolean renamed = FALSE, matched = FALSE;

    for (guint i = first; i < last; i++) {
        g_autofree char *name = yaml_value(lines[i], "name");
        g_autofree char *address = yaml_value(lines[i], "macaddress");

        renamed |= name != NULL || address != NULL;
        matched |= name != NULL && fnmatch(name, netdev, 0) == 0;
        matched |= address != NULL && mac[0] != '\0' && g_ascii_strcasecmp(address, mac) == 0;
    }
    if (matched || renamed)
        return matched;
    // The id is "eno1:" or "\"eno1\":".
    g_autofree char *bare = g_strndup(id, strcspn(id, ":"));
    g_strdelimit(bare, "\"'", ' ');
    return strcmp(g_strstrip(bare), netdev) == 0;
}

gboolean vf_text_netplan_sets_vfs(const char *text, const char *netdev, const char *mac)
{
    g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        g_autofree char *count = yaml_value(lines[i], "virtual-function-count");
        guint first, last;

        if (count == NULL)
            continue;
        find_block(lines, i, &first, &last);
        if (block_is_for(lines, first, last, netdev, mac))
            return TRUE;
    }
    return FALSE;
}

gboolean vf_text_sysfs_conf_sets(const char *text, const char *attribute)
{
    g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++)
        if (value_of(g_strstrip(lines[i]), attribute) != NULL)
            return TRUE;
    return FALSE;
}

gboolean vf_text_modprobe_sets(const char *text, const char *module, const char *option)
{
    g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);
    g_autofree char *prefix = g_strconcat(option, "=", NULL);
    // modprobe takes '-' and '_' in a module's name for the same.
    g_autofree char *wanted = g_strdelimit(g_strdup(module), "-", '_');

    for (guint i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) words = g_strsplit_set(g_strstrip(lines[i]), " \t", -1);

        if (g_strv_length(words) < 3 || strcmp(words[0], "options") != 0 ||
            strcmp(g_strdelimit(words[1], "-", '_'), wanted) != 0)
            continue;
        for (guint w = 2; words[w] != NULL; w++)
            if (g_str_has_prefix(words[w], prefix))
                return TRUE;
    }
    return FALSE;
}

static guint hex_attribute(xmlNode *node, const char *name)
{
    xmlChar *text = xmlGetProp(node, (const xmlChar *)name);
    guint64 value = text != NULL ? g_ascii_strtoull((const char *)text, NULL, 0) : 0;

    xmlFree(text);
    return (guint)value;
}

static gboolean has_attribute(xmlNode *node, const char *name, const char *wanted)
{
    xmlChar *text = xmlGetProp(node, (const xmlChar *)name);
    gboolean same = text != NULL && strcmp((const char *)text, wanted) == 0;

    xmlFree(text);
    return same;
}

static gboolean read_forward(xmlNode *forward, const char *netdev, GArray *addresses)
{
    gboolean found = FALSE;

    if (!has_attribute(forward, "mode", "hostdev"))
        return FALSE;
    for (xmlNode *node = forward->children; node != NULL; node = node->next) {
        if (node->type != XML_ELEMENT_NODE)
            continue;
        if (strcmp((const char *)node->name, "pf") == 0 && netdev[0] != '\0')
            found |= has_attribute(node, "dev", netdev);
        if (strcmp((const char *)node->name, "address") != 0)
            continue;
        VfPciAddr address = {hex_attribute(node, "domain"), (guint8)hex_attribute(node, "bus"),
                             (guint8)hex_attribute(node, "slot"),
                             (guint8)hex_attribute(node, "function")};
        g_array_append_val(addresses, address);
    }
    return found;
}

gboolean vf_text_network_passes(const char *text, const char *netdev, GArray *addresses)
{
    int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING;
    gboolean found = FALSE;

    if (text == NULL)
        return FALSE;
    xmlDoc *document = xmlReadMemory(text, (int)strlen(text), "network", NULL, options);
    xmlNode *root = document != NULL ? xmlDocGetRootElement(document) : NULL;
    for (xmlNode *node = root != NULL ? root->children : NULL; node != NULL; node = node->next)
        if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, "forward") == 0)
            found |= read_forward(node, netdev, addresses);
    xmlFreeDoc(document);
    return found;
}
