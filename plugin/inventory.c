// SPDX-License-Identifier: GPL-2.0-or-later
//
// Matches the selectors of the pools against the PFs of the host and lays out their slots.
// Reads only. What must not be given out (no SR-IOV, too few VFs, the default route) is said here,
// once, for the status, for a refused start and for the doctor alike.

#include "inventory.h"

#include <string.h>

#include "allocator.h"
#include "error.h"
#include "io.h"
#include "sriov.h"

static void pf_free(gpointer data)
{
    VfInvPf *pf = data;

    g_free(pf->netdev);
    g_free(pf->driver);
    g_free(pf->problem);
    g_free(pf);
}

static void pool_free(gpointer data)
{
    VfInvPool *pool = data;

    g_ptr_array_unref(pool->pfs);
    g_array_unref(pool->slots);
    g_free(pool->problem);
    g_free(pool);
}

void vf_inventory_free(VfInventory *inventory)
{
    g_ptr_array_unref(inventory->pools);
    g_ptr_array_unref(inventory->pfs);
    g_free(inventory);
}

// First name in a directory, NULL when it is empty or absent.
static char *first_entry(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);

    return dir != NULL ? g_strdup(g_dir_read_name(dir)) : NULL;
}

// TRUE when `iface` is `netdev` or stands above it (bridge, bond, vlan): /sys/class/net/*/upper_*.
static gboolean is_above(const char *root, const char *netdev, const char *iface, guint depth)
{
    g_autofree char *path = vf_path(root, "/sys/class/net/%s", netdev);
    g_autoptr(GDir) dir = NULL;
    const char *name;

    if (strcmp(netdev, iface) == 0)
        return TRUE;
    if (depth == 0 || (dir = g_dir_open(path, 0, NULL)) == NULL)
        return FALSE;
    while ((name = g_dir_read_name(dir)) != NULL)
        if (g_str_has_prefix(name, "upper_") && is_above(root, name + 6, iface, depth - 1))
            return TRUE;
    return FALSE;
}

// Interface of a line of /proc/net/route (v4) or ipv6_route when the line is a default route.
static char *default_route_iface(char **words, gboolean v6)
{
    guint n = g_strv_length(words);

    if (!v6)
        return n >= 8 && strcmp(words[1], "00000000") == 0 && strcmp(words[7], "00000000") == 0
                   ? g_strdup(words[0])
                   : NULL;
    if (n < 10 || strspn(words[0], "0") != 32 || strcmp(words[1], "00") != 0)
        return NULL;
    return strcmp(words[9], "lo") != 0 ? g_strdup(words[9]) : NULL;
}

static gboolean carries_default_route(const char *root, const char *netdev)
{
    static const char *const tables[] = {"/proc/net/route", "/proc/net/ipv6_route"};

    for (guint t = 0; t < G_N_ELEMENTS(tables); t++) {
        g_autofree char *path = vf_path(root, "%s", tables[t]);
        g_autofree char *text = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
            continue;
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (guint i = 0; lines[i] != NULL; i++) {
            g_autoptr(GPtrArray) words = g_ptr_array_new();
            char *save = NULL;

            for (char *w = strtok_r(lines[i], " \t", &save); w; w = strtok_r(NULL, " \t", &save))
                g_ptr_array_add(words, w);
            g_ptr_array_add(words, NULL);
            g_autofree char *iface = default_route_iface((char **)words->pdata, t == 1);
            if (iface != NULL && is_above(root, netdev, iface, 4))
                return TRUE;
        }
    }
    return FALSE;
}

static VfInvPf *pf_new(const char *root, const VfPf *pci)
{
    VfInvPf *pf = g_new0(VfInvPf, 1);
    char address[VF_PCIADDR_BUFSIZE];
    g_autofree char *net =
        vf_path(root, "/sys/bus/pci/devices/%s/net", vf_pciaddr_format(&pci->address, address));
    g_autofree char *total = vf_path(root, "/sys/bus/pci/devices/%s/sriov_totalvfs", address);
    guint64 limit;

    pf->pci = *pci;
    // The PF's driver or firmware may allow fewer VFs than the capability: 7 of igb's 8.
    if (vf_io_read_uint(total, &limit, NULL))
        pf->pci.cap.total_vfs = (guint16)MIN(limit, pci->cap.total_vfs);
    pf->netdev = first_entry(net);
    pf->driver = vf_sriov_driver(root, &pci->address);
    pf->vfs = vf_sriov_count(root, &pci->address);
    return pf;
}

static gboolean matches(const VfSelector *selector, const VfInvPf *pf)
{
    switch (selector->kind) {
    case VF_SELECT_ADDRESS:
        return vf_pciaddr_equal(&selector->address, &pf->pci.address);
    case VF_SELECT_ID:
        return selector->vendor == pf->pci.vendor && selector->device == pf->pci.device;
    case VF_SELECT_NETDEV:
        return g_strcmp0(selector->netdev, pf->netdev) == 0;
    }
    return FALSE;
}

static char *selector_text(const VfSelector *selector)
{
    char address[VF_PCIADDR_BUFSIZE];

    switch (selector->kind) {
    case VF_SELECT_ADDRESS:
        return g_strdup(vf_pciaddr_format(&selector->address, address));
    case VF_SELECT_ID:
        return g_strdup_printf("%04x:%04x", selector->vendor, selector->device);
    default:
        return g_strdup(selector->netdev);
    }
}

G_GNUC_PRINTF(3, 4)
static void set_problem(char **problem, const VfPoolConfig *config, const char *format, ...)
{
    va_list args;

    if (*problem != NULL)
        return; // the first one is the cause, others follow from it
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    *problem =
        g_strdup_printf("%s:%u: pool '%s': %s", config->file, config->line, config->name, text);
}

// Why a PF that a selector matched cannot serve its pool.
static void judge_pf(const char *root, const VfPoolConfig *config, VfInvPf *pf, guint last)
{
    char address[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(&pf->pci.address, address);
    if (last > pf->pci.cap.total_vfs)
        set_problem(&pf->problem, config,
                    "%u functions are above the %u that %s offers" VF_REMEDY
                    "lower count, max or the #range, or raise the limit in the card's firmware",
                    last, pf->pci.cap.total_vfs, address);
    if (pf->driver == NULL)
        set_problem(&pf->problem, config,
                    "%s has no driver" VF_REMEDY "load the driver of the physical function, or "
                    "bind it to pci-pf-stub",
                    address);
    else if (strcmp(pf->driver, "vfio-pci") == 0 && pf->vfs > 0)
        set_problem(&pf->problem, config,
                    "%s is bound to vfio-pci and has VFs" VF_REMEDY
                    "bind the physical function to its own driver",
                    address);
    if (pf->netdev != NULL && !config->allow_default_route &&
        carries_default_route(root, pf->netdev))
        set_problem(&pf->problem, config,
                    "%s (%s) carries this host's default route" VF_REMEDY
                    "choose another card, or say allow-default-route=true in the pool",
                    pf->netdev, address);
}

static guint functions_per_pf(const VfPoolConfig *config, const VfSelector *selector, guint grown)
{
    if (selector->first != VF_UNSET)
        return (guint)selector->last + 1;
    return grown ? (guint)config->max : (guint)config->count;
}

typedef struct {
    VfInvPf *pf;
    guint first, end; // indexes [first, end)
} Range;

static void add_selector(VfInventory *inventory, VfInvPool *pool, const VfSelector *selector,
                         const char *root, GArray *ranges)
{
    g_autofree char *text = selector_text(selector);
    guint found = 0;

    for (guint i = 0; i < inventory->pfs->len; i++) {
        VfInvPf *pf = g_ptr_array_index(inventory->pfs, i);
        guint limit = functions_per_pf(pool->config, selector, TRUE);
        guint first = selector->first != VF_UNSET ? (guint)selector->first : 0;

        if (!matches(selector, pf))
            continue;
        found++;
        judge_pf(root, pool->config, pf, limit);
        pf->count = MAX(pf->count, functions_per_pf(pool->config, selector, FALSE));
        pf->limit = MAX(pf->limit, limit);
        pf->keep_link |= pool->config->keep_link;
        if (!g_ptr_array_find(pool->pfs, pf, NULL))
            g_ptr_array_add(pool->pfs, pf);
        Range range = {pf, first, MIN(limit, pf->pci.cap.total_vfs)};
        g_array_append_val(ranges, range);
    }
    if (found == 0)
        set_problem(&pool->problem, pool->config,
                    "no physical function with SR-IOV matches '%s' on this host" VF_REMEDY
                    "'virtfn doctor' lists those there are",
                    text);
}

// Slot order: index 0 of every PF, index 1 of every PF, …
static void lay_out(VfInvPool *pool, const GArray *ranges)
{
    for (guint index = 0, end = 1; index < end; index++) {
        for (guint r = 0; r < ranges->len; r++) {
            const Range *range = &g_array_index(ranges, Range, r);

            end = MAX(end, range->end);
            if (index >= range->first && index < range->end &&
                vf_inventory_slot(pool, &range->pf->pci.address, index) == VF_NO_SLOT) {
                VfSlot slot = {range->pf, index};

                g_array_append_val(pool->slots, slot);
            }
        }
    }
}

// A function that two pools would own (one by address, the other by netdev) is in the first only.
static void refuse_shared(VfInventory *inventory)
{
    for (guint p = 1; p < inventory->pools->len; p++) {
        VfInvPool *pool = g_ptr_array_index(inventory->pools, p);

        for (guint s = pool->slots->len; s-- > 0;) {
            VfSlot slot = g_array_index(pool->slots, VfSlot, s);

            for (guint q = 0; q < p; q++) {
                VfInvPool *other = g_ptr_array_index(inventory->pools, q);
                g_autofree char *name = NULL;

                if (vf_inventory_slot(other, &slot.pf->pci.address, slot.index) == VF_NO_SLOT)
                    continue;
                name = vf_inventory_name(&slot);
                set_problem(&pool->problem, pool->config,
                            "%s belongs to pool '%s' (%s:%u) already" VF_REMEDY
                            "give each pool a #range of its own",
                            name, other->config->name, other->config->file, other->config->line);
                g_array_remove_index(pool->slots, s);
                break;
            }
        }
    }
}

VfInventory *vf_inventory_read(const char *root, const VfConfig *config)
{
    VfInventory *inventory = g_new0(VfInventory, 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) found = vf_pci_list_pfs(root, &error);

    inventory->pfs = g_ptr_array_new_with_free_func(pf_free);
    inventory->pools = g_ptr_array_new_with_free_func(pool_free);
    for (guint i = 0; found != NULL && i < found->len; i++)
        g_ptr_array_add(inventory->pfs, pf_new(root, &g_array_index(found, VfPf, i)));
    for (guint p = 0; p < config->pools->len; p++) {
        VfInvPool *pool = g_new0(VfInvPool, 1);
        g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(Range));

        pool->config = g_ptr_array_index(config->pools, p);
        pool->pfs = g_ptr_array_new();
        pool->slots = g_array_new(FALSE, FALSE, sizeof(VfSlot));
        if (error != NULL)
            set_problem(&pool->problem, pool->config, "%s", error->message);
        for (guint s = 0; s < pool->config->selectors->len; s++)
            add_selector(inventory, pool, &g_array_index(pool->config->selectors, VfSelector, s),
                         root, ranges);
        lay_out(pool, ranges);
        g_ptr_array_add(inventory->pools, pool);
    }
    refuse_shared(inventory);
    return inventory;
}

gboolean vf_inventory_same_slots(const VfInventory *a, const VfInventory *b)
{
    if (a->pools->len != b->pools->len)
        return FALSE;
    for (guint p = 0; p < a->pools->len; p++) {
        const VfInvPool *x = g_ptr_array_index(a->pools, p), *y = g_ptr_array_index(b->pools, p);

        if (x->slots->len != y->slots->len || strcmp(x->config->name, y->config->name) != 0)
            return FALSE;
        for (guint s = 0; s < x->slots->len; s++) {
            const VfSlot *u = &g_array_index(x->slots, VfSlot, s);
            const VfSlot *v = &g_array_index(y->slots, VfSlot, s);

            if (u->index != v->index || !vf_pciaddr_equal(&u->pf->pci.address, &v->pf->pci.address))
                return FALSE;
        }
    }
    return TRUE;
}

VfInvPool *vf_inventory_pool(const VfInventory *inventory, const char *name, guint *number)
{
    for (guint p = 0; p < inventory->pools->len; p++) {
        VfInvPool *pool = g_ptr_array_index(inventory->pools, p);

        if (strcmp(pool->config->name, name) == 0) {
            *number = p;
            return pool;
        }
    }
    return NULL;
}

VfInvPf *vf_inventory_pf(const VfInventory *inventory, const VfPciAddr *address)
{
    for (guint i = 0; i < inventory->pfs->len; i++) {
        VfInvPf *pf = g_ptr_array_index(inventory->pfs, i);

        if (vf_pciaddr_equal(&pf->pci.address, address))
            return pf;
    }
    return NULL;
}

guint vf_inventory_slot(const VfInvPool *pool, const VfPciAddr *pf, guint index)
{
    for (guint s = 0; s < pool->slots->len; s++) {
        const VfSlot *slot = &g_array_index(pool->slots, VfSlot, s);

        if (slot->index == index && vf_pciaddr_equal(&slot->pf->pci.address, pf))
            return s;
    }
    return VF_NO_SLOT;
}

gboolean vf_inventory_address(const VfSlot *slot, VfPciAddr *address)
{
    const VfSriovCap *cap = &slot->pf->pci.cap;

    return cap->offset != 0 &&
           vf_pciaddr_vf(&slot->pf->pci.address, cap->offset, cap->stride, slot->index, address);
}

gboolean vf_inventory_find(const VfInventory *inventory, const VfPciAddr *address, guint *pool,
                           guint *slot)
{
    for (guint p = 0; p < inventory->pools->len; p++) {
        const VfInvPool *candidate = g_ptr_array_index(inventory->pools, p);

        for (guint s = 0; s < candidate->slots->len; s++) {
            VfPciAddr expected;

            if (vf_inventory_address(&g_array_index(candidate->slots, VfSlot, s), &expected) &&
                vf_pciaddr_equal(&expected, address)) {
                *pool = p;
                *slot = s;
                return TRUE;
            }
        }
    }
    return FALSE;
}

char *vf_inventory_name(const VfSlot *slot)
{
    char address[VF_PCIADDR_BUFSIZE];

    return g_strdup_printf("%s#%u",
                           slot->pf->netdev != NULL
                               ? slot->pf->netdev
                               : vf_pciaddr_format(&slot->pf->pci.address, address),
                           slot->index);
}
