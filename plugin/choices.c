// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table is daemon->choices: "POOL PF" -> name of a profile. The ledger has, beside it, what the
// file said when the choice was made, which tells an edited `profile` key from any other edit.

#include "choices.h"

#include "log.h"

static char *key_of(const char *pool, const VfPciAddr *pf)
{
    char address[VF_PCIADDR_BUFSIZE];

    return g_strdup_printf("%s %s", pool, vf_pciaddr_format(pf, address));
}

static const char *configured_of(const VfPoolConfig *config)
{
    return config->profile != NULL ? config->profile : "";
}

const char *vf_choice_find(const VfDaemon *daemon, const char *pool, const VfPciAddr *pf)
{
    if (g_hash_table_size(daemon->choices) == 0)
        return NULL;
    g_autofree char *key = key_of(pool, pf);
    return g_hash_table_lookup(daemon->choices, key);
}

const char *vf_choice_name(const VfDaemon *daemon, guint pool, const VfPciAddr *pf)
{
    const VfPoolConfig *config = vf_daemon_pool(daemon, pool)->config;
    const char *chosen = vf_choice_find(daemon, config->name, pf);

    return chosen != NULL ? chosen : config->profile;
}

static void write_choice(VfDaemon *daemon, const char *pool, const VfPciAddr *pf,
                         const char *profile, const char *configured)
{
    g_autoptr(GError) error = NULL;

    if (!vf_ledger_put_choice(daemon->ledger, pool, pf, profile, configured, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
}

void vf_choice_set(VfDaemon *daemon, guint pool, const VfPciAddr *pf, const char *profile)
{
    const VfPoolConfig *config = vf_daemon_pool(daemon, pool)->config;
    const char *was = vf_choice_find(daemon, config->name, pf);

    if (g_strcmp0(profile, config->profile) == 0)
        profile = NULL;
    if (g_strcmp0(profile, was) == 0)
        return;
    g_autofree char *key = key_of(config->name, pf);
    write_choice(daemon, config->name, pf, profile, configured_of(config));
    if (profile != NULL)
        g_hash_table_replace(daemon->choices, g_steal_pointer(&key), g_strdup(profile));
    else
        g_hash_table_remove(daemon->choices, key);
}

// Why a choice of the ledger does not hold any more, NULL = it does.
static const char *contradiction(const VfDaemon *daemon, const char *pool, const char *profile,
                                 const char *configured)
{
    guint number;
    const VfInvPool *found = vf_inventory_pool(daemon->inventory, pool, &number);

    if (found == NULL)
        return "the pool is gone";
    if (g_strcmp0(configured_of(found->config), configured) != 0)
        return "the pool's file names another one since";
    if (!g_hash_table_contains(daemon->config->profiles, profile))
        return "there is no such profile any more";
    return NULL;
}

static void restore(const char *pool, const VfPciAddr *pf, const char *profile,
                    const char *configured, gpointer data)
{
    VfDaemon *daemon = data;

    if (contradiction(daemon, pool, profile, configured) == NULL)
        g_hash_table_replace(daemon->choices, key_of(pool, pf), g_strdup(profile));
}

void vf_choices_restore(VfDaemon *daemon)
{
    g_autoptr(GError) error = NULL;

    g_hash_table_remove_all(daemon->choices);
    if (!vf_ledger_each_choice(daemon->ledger, restore, daemon, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
}

typedef struct {
    VfDaemon *daemon;
    GPtrArray *pools; // of char *
    GArray *pfs;      // of VfPciAddr
} Ended;

static void judge(const char *pool, const VfPciAddr *pf, const char *profile,
                  const char *configured, gpointer data)
{
    Ended *ended = data;
    const char *why = contradiction(ended->daemon, pool, profile, configured);
    char address[VF_PCIADDR_BUFSIZE];

    if (why == NULL)
        return;
    vf_log(G_LOG_LEVEL_MESSAGE, NULL, NULL,
           "pool '%s': profile '%s' counts for %s no longer, as `virtfn reconf` had it: %s", pool,
           profile, vf_pciaddr_format(pf, address), why);
    g_ptr_array_add(ended->pools, g_strdup(pool));
    g_array_append_val(ended->pfs, *pf);
}

void vf_choices_settle(VfDaemon *daemon)
{
    g_autoptr(GPtrArray) pools = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) pfs = g_array_new(FALSE, FALSE, sizeof(VfPciAddr));
    Ended ended = {daemon, pools, pfs};
    g_autoptr(GError) error = NULL;

    // Without a configuration it cannot be told what was meant.
    if (daemon->config_error != NULL)
        return;
    if (!vf_ledger_each_choice(daemon->ledger, judge, &ended, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
    for (guint i = 0; i < pools->len; i++)
        write_choice(daemon, g_ptr_array_index(pools, i), &g_array_index(pfs, VfPciAddr, i), NULL,
                     NULL);
    if (pools->len > 0)
        vf_daemon_flush(daemon);
}
