// SPDX-License-Identifier: GPL-2.0-or-later
//
// The examples as a set: the pool files load together, every guest asks for pools and accelerators
// that they define, within its limits, and its settings make sense on top of the pool's. That each
// guest renders is in render.c.

#include "config.h"
#include "domxml.h"

#define EXAMPLES "xml-templates/examples"

static const VfPoolConfig *find_pool(const VfConfig *config, const char *name)
{
    for (guint i = 0; i < config->pools->len; i++) {
        const VfPoolConfig *pool = g_ptr_array_index(config->pools, i);

        if (g_str_equal(pool->name, name))
            return pool;
    }
    g_error("no example defines the pool '%s'", name);
}

static const VfAcceleratorConfig *find_accelerator(const VfConfig *config, const char *name)
{
    for (guint i = 0; i < config->accelerators->len; i++) {
        const VfAcceleratorConfig *accelerator = g_ptr_array_index(config->accelerators, i);

        if (g_str_equal(accelerator->name, name))
            return accelerator;
    }
    g_error("no example defines the accelerator '%s'", name);
}

static void check_ask(const VfConfig *config, const VfDomain *domain, const VfClaim *claim)
{
    guint group = vf_config_group(config, domain->name);
    const VfAccelGroup *limits =
        &((const VfGroupConfig *)g_ptr_array_index(config->groups, group))->limits;

    g_assert_nonnull(find_pool(config, claim->pool)->card);
    g_assert_cmpuint(claim->ask.priority, <=, limits->ceiling);
    if (claim->ask.shared)
        g_assert_true(find_accelerator(config, claim->ask.accelerator)->shareable);
    else
        find_accelerator(config, claim->ask.accelerator);
}

// Returns how many of its devices ask for an accelerator.
static guint check_guest(const VfConfig *config, const char *path)
{
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;
    guint asks = 0;
    gsize length;

    g_file_get_contents(path, &xml, &length, &error);
    g_assert_no_error(error);
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, length, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < domain->claims->len; i++) {
        const VfClaim *claim = g_ptr_array_index(domain->claims, i);
        VfSettings merged;

        vf_settings_merge(&merged, &find_pool(config, claim->pool)->settings, &claim->settings);
        vf_settings_check(&merged, &error);
        g_assert_no_error(error);
        vf_settings_clear(&merged);
        if (claim->ask.accelerator == NULL)
            continue;
        check_ask(config, domain, claim);
        asks++;
    }
    return asks;
}

static void test_guests_match_pools(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = vf_config_load(EXAMPLES, &error);
    g_autoptr(GDir) dir = g_dir_open(EXAMPLES, 0, NULL);
    const char *file;
    guint guests = 0, asks = 0;

    g_assert_no_error(error);
    g_assert_nonnull(dir);
    while ((file = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(EXAMPLES, file, NULL);

        if (!g_str_has_suffix(file, ".xml"))
            continue;
        asks += check_guest(config, path);
        guests++;
    }
    g_assert_cmpuint(guests, >, 0);
    g_assert_cmpuint(asks, >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/examples/guests-match-pools", test_guests_match_pools);
    return g_test_run();
}
