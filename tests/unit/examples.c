// SPDX-License-Identifier: GPL-2.0-or-later
//
// The examples as a set: the pool files load together, every guest asks for pools that they define,
// and its settings make sense on top of the pool's. That each guest renders is in render.c.

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

static void check_guest(const VfConfig *config, const char *path)
{
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;
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
    }
}

static void test_guests_match_pools(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = vf_config_load(EXAMPLES, &error);
    g_autoptr(GDir) dir = g_dir_open(EXAMPLES, 0, NULL);
    const char *file;
    int guests = 0;

    g_assert_no_error(error);
    g_assert_nonnull(dir);
    while ((file = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(EXAMPLES, file, NULL);

        if (!g_str_has_suffix(file, ".xml"))
            continue;
        check_guest(config, path);
        guests++;
    }
    g_assert_cmpint(guests, >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/examples/guests-match-pools", test_guests_match_pools);
    return g_test_run();
}
