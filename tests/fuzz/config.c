// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fuzzes the reader of configuration files: any bytes give a configuration whose pools keep the
// promises of config.h, or an error of one line that names the file.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "config.h"
#include "error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pool(const VfPoolConfig *pool)
{
    g_assert_cmpuint(pool->selectors->len, >, 0);
    g_assert_cmpuint(pool->line, >, 0);
    if (pool->growth == VF_GROWTH_STATIC)
        g_assert_cmpint(pool->max, ==, pool->count);
    else
        g_assert_cmpint(pool->max, >=, pool->count);
    for (guint i = 0; i < pool->selectors->len; i++) {
        const VfSelector *selector = &g_array_index(pool->selectors, VfSelector, i);

        g_assert_true((selector->kind == VF_SELECT_NETDEV) == (selector->netdev != NULL));
        g_assert_cmpint(selector->first, <=, selector->last);
        g_assert_true(selector->first != VF_UNSET || pool->count > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfConfig) config = vf_config_parse((const char *)data, size, "x.conf", &error);

    if (config == NULL) {
        g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
        g_assert_true(g_str_has_prefix(error->message, "x.conf:"));
        g_assert_null(strpbrk(error->message, "\n\r"));
        return 0;
    }
    g_assert_no_error(error);
    for (guint i = 0; i < config->pools->len; i++)
        check_pool(g_ptr_array_index(config->pools, i));
    return 0;
}
