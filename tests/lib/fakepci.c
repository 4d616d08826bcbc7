// SPDX-License-Identifier: GPL-2.0-or-later
//
// The PCI core of the fake kernel: sriov_numvfs and what it creates and removes (Linux
// drivers/pci/iov.c), IOMMU groups, matching of drivers (drivers/base/bus.c, pci-driver.c), reset.
//
// .pf/BDF says what the PF can do, one line each, the last of a kind wins:
//   driver NAME                  its own driver, for drivers_probe
//   vfdriver NAME                the host driver that takes its VFs when autoprobe is 1
//   nosriov                      that driver has no sriov_configure
//   short N                      a write of more than N enables N and still succeeds
//   geometry COUNT OFFSET STRIDE First VF Offset and VF Stride from COUNT VFs on
//   group one                    all its VFs share one IOMMU group; "group none": they have none
//   attr NAME VALUE              an attribute that each VF has when it appears

#include "fakekernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define DEVICE "/sys/bus/pci/devices/%s"
#define BDF_SIZE 32
#define WORD_SIZE 64

struct geometry {
    unsigned domain, rid, offset, stride;
};

// The text after the last line of .pf/BDF that begins with `key`.
static bool setting(const char *root, const char *pf, const char *key, char *value, size_t size)
{
    char text[FK_TEXT];
    size_t length = strlen(key);
    bool found = false;

    fk_get(text, sizeof(text), root, "/.pf/%s", pf);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(line, key, length) != 0 || (line[length] != ' ' && line[length] != '\0'))
            continue;
        snprintf(value, size, "%s", line[length] == ' ' ? line + length + 1 : "");
        found = true;
    }
    return found;
}

static bool parse_u16(const char *text, unsigned *value)
{
    char *end;
    unsigned long number = strtoul(text, &end, 0);

    *value = (unsigned)number;
    return *text >= '0' && *text <= '9' && *end == '\0' && number <= 0xffff;
}

static unsigned get_number(const char *root, const char *bdf, const char *name)
{
    char text[WORD_SIZE];

    fk_get(text, sizeof(text), root, DEVICE "/%s", bdf, name);
    return (unsigned)strtoul(text, NULL, 0);
}

static void put_number(const char *root, const char *bdf, const char *name, unsigned value)
{
    char text[WORD_SIZE];

    snprintf(text, sizeof(text), "%u", value);
    fk_put(text, 0644, root, DEVICE "/%s", bdf, name);
}

// First VF Offset and VF Stride are the PF's, unless .pf has others for this count.
static struct geometry geometry_for(const char *root, const char *pf, unsigned count)
{
    char text[FK_TEXT];
    unsigned bus, slot, function, from, offset, stride, best = 0;
    struct geometry geometry = {0};

    if (sscanf(pf, "%x:%x:%x.%x", &geometry.domain, &bus, &slot, &function) == 4)
        geometry.rid = bus << 8 | slot << 3 | function;
    geometry.offset = get_number(root, pf, "sriov_offset");
    geometry.stride = get_number(root, pf, "sriov_stride");
    fk_get(text, sizeof(text), root, "/.pf/%s", pf);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (sscanf(line, "geometry %u %u %u", &from, &offset, &stride) != 3 || from > count ||
            from < best)
            continue;
        best = from;
        geometry.offset = offset;
        geometry.stride = stride;
    }
    return geometry;
}

static int join_group(const char *root, const char *pf, const char *bdf)
{
    char policy[WORD_SIZE] = "", name[WORD_SIZE], target[FK_PATH];
    int group = -1;

    setting(root, pf, "group", policy, sizeof(policy));
    if (strcmp(policy, "none") == 0)
        return 0;
    if (strcmp(policy, "one") == 0 &&
        fk_link_name(name, sizeof(name), root, DEVICE "/virtfn0/iommu_group", pf) > 0)
        group = atoi(name);
    if (group < 0) {
        group = fk_number_take(root, "groups");
        if (group < 0)
            return group;
        fk_mkdir(root, "/sys/kernel/iommu_groups/%d", group);
        fk_mkdir(root, "/sys/kernel/iommu_groups/%d/devices", group);
        fk_put("DMA-FQ", 0644, root, "/sys/kernel/iommu_groups/%d/type", group);
    }
    snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%d", group);
    fk_link(target, root, DEVICE "/iommu_group", bdf);
    snprintf(target, sizeof(target), "../../../../devices/pci%.*s:00/%s",
             (int)(strchr(bdf, ':') - bdf), bdf, bdf);
    return fk_link(target, root, "/sys/kernel/iommu_groups/%d/devices/%s", group, bdf);
}

static void leave_group(const char *root, const char *bdf)
{
    char name[WORD_SIZE];

    if (fk_link_name(name, sizeof(name), root, DEVICE "/iommu_group", bdf) < 0)
        return;
    fk_unlink(root, "/sys/kernel/iommu_groups/%s/devices/%s", name, bdf);
    if (fk_rmdir(root, "/sys/kernel/iommu_groups/%s/devices", name) < 0)
        return; // others are in it
    fk_unlink(root, "/sys/kernel/iommu_groups/%s/type", name);
    fk_rmdir(root, "/sys/kernel/iommu_groups/%s", name);
    fk_number_mark(root, "groups", atoi(name), '.');
}

static void make_attributes(const char *root, const char *pf, const char *bdf)
{
    static const char *const defaults[][2] = {{"driver_override", "(null)"},
                                              {"reset_method", "flr"},
                                              {"numa_node", "-1"}};
    static const char *const inherited[] = {"vendor", "class"};
    char text[FK_TEXT], name[WORD_SIZE], value[WORD_SIZE];

    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        fk_put(defaults[i][1], 0644, root, DEVICE "/%s", bdf, defaults[i][0]);
    for (size_t i = 0; i < sizeof(inherited) / sizeof(inherited[0]); i++) {
        fk_get(value, sizeof(value), root, DEVICE "/%s", pf, inherited[i]);
        fk_put(value, 0444, root, DEVICE "/%s", bdf, inherited[i]);
    }
    fk_get(value, sizeof(value), root, DEVICE "/sriov_vf_device", pf);
    snprintf(text, sizeof(text), "0x%s", value);
    fk_put(text, 0444, root, DEVICE "/device", bdf);
    fk_put("", 0200, root, DEVICE "/reset", bdf);
    fk_get(text, sizeof(text), root, "/.pf/%s", pf);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (sscanf(line, "attr %63s %63[^\n]", name, value) != 2)
            continue;
        char *slash = strchr(name, '/');
        if (slash != NULL)
            fk_mkdir(root, DEVICE "/%.*s", bdf, (int)(slash - name), name);
        fk_put(value, 0644, root, DEVICE "/%s", bdf, name);
    }
}

// The name of the driver that takes the device, as pci_match_device(); false when none does.
static bool find_driver(const char *root, const char *bdf, char *driver)
{
    char pf[BDF_SIZE], autoprobe[WORD_SIZE];

    fk_get(driver, WORD_SIZE, root, DEVICE "/driver_override", bdf);
    if (strcmp(driver, "(null)") == 0) {
        bool is_vf = fk_link_name(pf, sizeof(pf), root, DEVICE "/physfn", bdf) > 0;

        if (is_vf) {
            fk_get(autoprobe, sizeof(autoprobe), root, DEVICE "/sriov_drivers_autoprobe", pf);
            if (strcmp(autoprobe, "0") == 0)
                return false;
        }
        if (!setting(root, is_vf ? pf : bdf, is_vf ? "vfdriver" : "driver", driver, WORD_SIZE))
            return false;
    }
    return fk_exists(root, "/sys/bus/pci/drivers/%s", driver);
}

static int add_vf(const char *root, const char *pf, const struct geometry *geometry, unsigned index)
{
    unsigned rid = geometry->rid + geometry->offset + index * geometry->stride;
    char bdf[BDF_SIZE], path[FK_PATH], target[FK_PATH], driver[WORD_SIZE];

    if (rid > 0xffff)
        return -ENOMEM; // iov.c: "SR-IOV: bus number out of range"
    snprintf(bdf, sizeof(bdf), "%04x:%02x:%02x.%x", geometry->domain, rid >> 8, rid >> 3 & 31,
             rid & 7);
    int lock = fk_lock(root, "state");
    int result = fk_mkdir(root, "/sys/devices/pci%04x:00/%s", geometry->domain, bdf);
    if (result == 0) {
        snprintf(target, sizeof(target), "../../../devices/pci%04x:00/%s", geometry->domain, bdf);
        fk_link(target, root, DEVICE, bdf);
        fk_link("../../../bus/pci", root, DEVICE "/subsystem", bdf);
        make_attributes(root, pf, bdf);
        result = join_group(root, pf, bdf);
        snprintf(path, sizeof(path), "../%s", pf);
        fk_link(path, root, DEVICE "/physfn", bdf);
        snprintf(path, sizeof(path), "../%s", bdf);
        fk_link(path, root, DEVICE "/virtfn%u", pf, index);
    }
    close(lock);
    if (result == 0 && find_driver(root, bdf, driver))
        fk_bind(root, bdf, driver);
    return result;
}

// Says in the log whether somebody held the VF's VFIO group: a fence, or a guest that was not
// paused.
static void log_removal(const char *root, const char *bdf)
{
    char group[WORD_SIZE] = "", path[FK_PATH];
    const char *state = "unbound";

    fk_link_name(group, sizeof(group), root, DEVICE "/iommu_group", bdf);
    fk_path(path, root, "/dev/vfio/%s", group);
    int fd = *group != '\0' ? fk_open(path, O_RDWR, 0) : -1;
    if (fd >= 0) {
        state = flock(fd, LOCK_EX | LOCK_NB) == 0 ? "unfenced" : "fenced";
        close(fd);
    }
    fk_log(root, "remove %s %s", bdf, state);
}

static void remove_vf(const char *root, const char *pf, unsigned index)
{
    char bdf[BDF_SIZE], path[FK_PATH];

    if (fk_link_name(bdf, sizeof(bdf), root, DEVICE "/virtfn%u", pf, index) < 0)
        return;
    log_removal(root, bdf);
    fk_unlink(root, DEVICE "/virtfn%u", pf, index);
    fk_unbind(root, bdf);
    int lock = fk_lock(root, "state");
    leave_group(root, bdf);
    fk_unlink(root, DEVICE, bdf);
    fk_path(path, root, "/sys/devices/pci%.*s:00/%s", (int)(strchr(bdf, ':') - bdf), bdf, bdf);
    fk_remove_tree(path);
    close(lock);
}

static int enable(const char *root, const char *pf, unsigned count)
{
    struct geometry geometry = geometry_for(root, pf, count);
    char limit[WORD_SIZE];
    unsigned made = count, added = 0;
    int result = 0;

    if (setting(root, pf, "short", limit, sizeof(limit)) && (unsigned)atoi(limit) < made)
        made = (unsigned)atoi(limit);
    put_number(root, pf, "sriov_offset", geometry.offset);
    put_number(root, pf, "sriov_stride", geometry.stride);
    while (added < made && (result = add_vf(root, pf, &geometry, added)) == 0)
        added++;
    while (result != 0 && added > 0)
        remove_vf(root, pf, --added);
    put_number(root, pf, "sriov_numvfs", added);
    return result;
}

// sriov_numvfs_store(), its checks in its order.
static int set_numvfs(const char *root, const char *pf, const char *value)
{
    char text[WORD_SIZE];
    unsigned count, existing = get_number(root, pf, "sriov_numvfs");

    if (!parse_u16(value, &count))
        return -EINVAL;
    if (count > get_number(root, pf, "sriov_totalvfs"))
        return -ERANGE;
    if (count == existing)
        return 0;
    if (!fk_exists(root, DEVICE "/driver", pf) || setting(root, pf, "nosriov", text, sizeof(text)))
        return -ENOENT;
    if (count != 0)
        return existing != 0 ? -EBUSY : enable(root, pf, count);
    for (unsigned i = 0; i < existing; i++)
        remove_vf(root, pf, i);
    put_number(root, pf, "sriov_numvfs", 0);
    return 0;
}

static int set_autoprobe(const char *root, const char *bdf, const char *value)
{
    if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
        return -EINVAL;
    return fk_put(value, 0644, root, DEVICE "/sriov_drivers_autoprobe", bdf);
}

static int set_override(const char *root, const char *bdf, const char *value)
{
    return fk_put(*value != '\0' ? value : "(null)", 0644, root, DEVICE "/driver_override", bdf);
}

static int reset(const char *root, const char *bdf, const char *value)
{
    char methods[WORD_SIZE];

    if (strcmp(value, "1") != 0)
        return -EINVAL;
    return fk_get(methods, sizeof(methods), root, DEVICE "/reset_method", bdf) > 0 ? 0 : -ENOTTY;
}

static int set_reset_method(const char *root, const char *bdf, const char *value)
{
    if (strcmp(value, "default") == 0)
        value = "flr";
    else if (*value != '\0' && strcmp(value, "flr") != 0)
        return -EINVAL;
    return fk_put(value, 0644, root, DEVICE "/reset_method", bdf);
}

static const struct {
    const char *name;
    int (*store)(const char *root, const char *bdf, const char *value);
} attributes[] = {
    {"sriov_numvfs", set_numvfs},       {"sriov_drivers_autoprobe", set_autoprobe},
    {"driver_override", set_override},  {"reset", reset},
    {"reset_method", set_reset_method},
};

// bus_rescan_devices_helper(): succeeds whether or not a driver took the device.
static int probe(const char *root, const char *bdf)
{
    char driver[WORD_SIZE];

    if (!fk_exists(root, DEVICE, bdf))
        return -ENODEV;
    if (!fk_exists(root, DEVICE "/driver", bdf) && find_driver(root, bdf, driver))
        fk_bind(root, bdf, driver);
    return 0;
}

static int driver_store(const char *root, const char *driver, bool bind, const char *bdf)
{
    char name[WORD_SIZE];

    if (!bind) {
        if (fk_link_name(name, sizeof(name), root, DEVICE "/driver", bdf) < 0 ||
            strcmp(name, driver) != 0)
            return -ENODEV;
        return fk_unbind(root, bdf);
    }
    if (!fk_exists(root, DEVICE, bdf) || !find_driver(root, bdf, name) || strcmp(name, driver) != 0)
        return -ENODEV;
    return fk_exists(root, DEVICE "/driver", bdf) ? -EBUSY : fk_bind(root, bdf, driver);
}

bool fk_pci_store(const FkStore *store, int *result)
{
    char object[WORD_SIZE], name[WORD_SIZE];

    if (strcmp(store->path, "/sys/bus/pci/drivers_probe") == 0) {
        *result = probe(store->root, store->value);
        return true;
    }
    if (sscanf(store->path, "/sys/bus/pci/drivers/%63[^/]/%63s", object, name) == 2 &&
        (strcmp(name, "bind") == 0 || strcmp(name, "unbind") == 0)) {
        *result = driver_store(store->root, object, *name == 'b', store->value);
        return true;
    }
    if (sscanf(store->path, "/sys/bus/pci/devices/%63[^/]/%63s", object, name) != 2)
        return false;
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        if (strcmp(name, attributes[i].name) != 0)
            continue;
        *result = attributes[i].store(store->root, object, store->value);
        return true;
    }
    return false;
}
