// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn doctor: runs the checks of doctor.h on the host and on each configured PF, and shows what
// is well, what is doubtful and what is wrong, with the remedy. Needs no daemon and changes
// nothing.

#include <stdio.h>
#include <string.h>

#include "doctor.h"
#include "error.h"
#include "io.h"
#include "pci.h"
#include "table.h"
#include "virtfn.h"

static char *root, *config_directory;

static const char *const words[] = {"ok", "warning", "problem"};

static void check_daemon(VfDoctor *doctor, const VfCli *cli)
{
    g_autofree char *default_socket = vf_path(doctor->root, VF_CLIENT_SOCKET);
    const char *path = cli->socket != NULL ? cli->socket : default_socket;
    g_autoptr(VfClient) client = vf_client_new(path);
    g_autoptr(GError) error = NULL;
    json_t *status = vf_client_get(client, "/v1/status", NULL, &error);

    if (status == NULL)
        vf_doctor_add(doctor, VF_FINDING_PROBLEM, "daemon", "host", "%s", error->message);
    else
        vf_doctor_add(doctor, VF_FINDING_OK, "daemon", "host", "virtfnd %s answers",
                      vf_cell_text(status, "version"));
    json_decref(status);
}

// TRUE when the user asked for this PF: by address, by network interface, by its pool, or for all.
static gboolean wanted(const char *name, const VfInvPf *pf, const VfInventory *inventory)
{
    char address[VF_PCIADDR_BUFSIZE];
    VfPciAddr given;
    guint number;

    if (name == NULL)
        return TRUE;
    const VfInvPool *pool = vf_inventory_pool(inventory, name, &number);
    if (pool != NULL)
        return g_ptr_array_find(pool->pfs, pf, NULL);
    if (vf_pciaddr_parse(name, &given))
        return vf_pciaddr_equal(&given, &pf->pci.address);
    return g_strcmp0(name, pf->netdev) == 0 ||
           strcmp(name, vf_pciaddr_format(&pf->pci.address, address)) == 0;
}

static gboolean in_a_pool(const VfInventory *inventory, const VfInvPf *pf)
{
    for (guint i = 0; i < inventory->pools->len; i++)
        if (g_ptr_array_find(((const VfInvPool *)inventory->pools->pdata[i])->pfs, pf, NULL))
            return TRUE;
    return FALSE;
}

static void check_pools(VfDoctor *doctor, const VfInventory *inventory, const char *name)
{
    for (guint i = 0; i < inventory->pools->len; i++) {
        const VfInvPool *pool = inventory->pools->pdata[i];

        if (pool->problem != NULL && (name == NULL || strcmp(name, pool->config->name) == 0))
            vf_doctor_add(doctor, VF_FINDING_PROBLEM, "pool", pool->config->name, "%s",
                          pool->problem);
    }
    if (inventory->pools->len == 0)
        vf_doctor_add(doctor, VF_FINDING_WARNING, "pool", "host",
                      "no pool is configured" VF_REMEDY "describe one in " VF_SYSCONFDIR
                      "/virtfn/, see virtfn.conf(5)");
}

// Returns how many PFs the name meant.
static guint check_pfs(VfDoctor *doctor, const VfInventory *inventory, const char *name)
{
    guint number, found = name != NULL && vf_inventory_pool(inventory, name, &number) != NULL;

    for (guint i = 0; i < inventory->pfs->len; i++) {
        const VfInvPf *pf = inventory->pfs->pdata[i];
        char address[VF_PCIADDR_BUFSIZE];

        if (!wanted(name, pf, inventory))
            continue;
        found++;
        if (in_a_pool(inventory, pf)) {
            vf_doctor_check_pf(doctor, pf);
            vf_doctor_check_owners(doctor, pf);
        } else {
            vf_doctor_add(doctor, VF_FINDING_OK, "pf", vf_pciaddr_format(&pf->pci.address, address),
                          "%s%s%04x:%04x with up to %u functions, in no pool: left alone",
                          pf->netdev != NULL ? pf->netdev : "", pf->netdev != NULL ? ", " : "",
                          pf->pci.vendor, pf->pci.device, pf->pci.cap.total_vfs);
        }
    }
    return found;
}

static void print_json(const VfDoctor *doctor)
{
    json_t *findings = json_array();

    for (guint i = 0; i < doctor->findings->len; i++) {
        const VfFinding *finding = doctor->findings->pdata[i];
        g_autofree char *what = vf_text_clean(finding->what);
        g_autofree char *remedy = finding->remedy != NULL ? vf_text_clean(finding->remedy) : NULL;
        json_array_append_new(findings,
                              json_pack("{ss ss ss* ss ss?}", "level", words[finding->level],
                                        "check", finding->check, "object", finding->object, "what",
                                        what, "remedy", remedy));
    }
    json_t *result = json_pack("{so si si}", "findings", findings, "problems",
                               (int)vf_doctor_count(doctor, VF_FINDING_PROBLEM), "warnings",
                               (int)vf_doctor_count(doctor, VF_FINDING_WARNING));
    json_dumpf(result, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(result);
}

static void print_lines(const VfDoctor *doctor)
{
    static const char *const titles[] = {"LEVEL", "CHECK", "OBJECT", "WHAT", "REMEDY", NULL};
    g_autoptr(VfTable) table = vf_table_new(titles);

    for (guint i = 0; i < doctor->findings->len; i++) {
        const VfFinding *finding = doctor->findings->pdata[i];

        vf_table_add(table, words[finding->level]);
        vf_table_add(table, finding->check);
        vf_table_add(table, finding->object);
        vf_table_add(table, finding->what);
        vf_table_add(table, finding->remedy);
    }
    g_autofree char *text = vf_table_format(table, FALSE, "");
    fputs(text, stdout);
}

static void print_for_people(const VfCli *cli, const VfDoctor *doctor)
{
    static const VfColor colors[] = {VF_GREEN, VF_YELLOW, VF_RED};
    guint problems = vf_doctor_count(doctor, VF_FINDING_PROBLEM);
    guint warnings = vf_doctor_count(doctor, VF_FINDING_WARNING);
    const char *object = "";

    for (guint i = 0; i < doctor->findings->len; i++) {
        const VfFinding *finding = doctor->findings->pdata[i];
        g_autofree char *text = vf_text_wrap("           ", "           ", finding->what);

        if (strcmp(finding->object, object) != 0)
            printf("%s%s%s%s\n", i > 0 ? "\n" : "", vf_cli_color(cli, VF_BOLD), finding->object,
                   vf_cli_plain(cli));
        object = finding->object;
        printf("  %s%-8s%s %s", vf_cli_color(cli, colors[finding->level]), words[finding->level],
               vf_cli_plain(cli), text + strlen("           "));
        if (finding->remedy == NULL)
            continue;
        g_autofree char *remedy =
            vf_text_wrap("             remedy: ", "               ", finding->remedy);
        fputs(remedy, stdout);
    }
    printf("\n%u problem%s, %u warning%s\n", problems, problems == 1 ? "" : "s", warnings,
           warnings == 1 ? "" : "s");
}

// Runs all checks. A configuration that cannot be read is a finding; the host is checked anyway.
static gboolean examine(VfDoctor *doctor, const VfCli *cli, const char *name, GError **error)
{
    g_autofree char *directory = config_directory != NULL
                                     ? g_strdup(config_directory)
                                     : vf_path(doctor->root, VF_SYSCONFDIR "/virtfn");
    g_autoptr(GError) cause = NULL;
    g_autoptr(VfConfig) config = vf_config_load(directory, &cause);
    guint found = 0;

    vf_doctor_check_host(doctor);
    vf_doctor_check_libvirt(doctor);
    check_daemon(doctor, cli);
    if (config == NULL) {
        vf_doctor_add(doctor, VF_FINDING_PROBLEM, "config", "host", "%s", cause->message);
        return TRUE;
    }
    g_autoptr(VfInventory) inventory = vf_inventory_read(doctor->root, config);
    check_pools(doctor, inventory, name);
    found = check_pfs(doctor, inventory, name);
    if (name == NULL || found > 0)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                "%s: neither a pool nor a physical function with SR-IOV" VF_REMEDY
                "'virtfn doctor' without a name shows those there are",
                name);
    return FALSE;
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    VfDoctor doctor;
    gboolean healthy = FALSE;

    vf_doctor_init(&doctor, root != NULL ? root : "");
    if (examine(&doctor, cli, args[0], error)) {
        if (cli->json)
            print_json(&doctor);
        else if (cli->terminal)
            print_for_people(cli, &doctor);
        else
            print_lines(&doctor);
        healthy = vf_doctor_count(&doctor, VF_FINDING_PROBLEM) == 0;
    }
    vf_doctor_clear(&doctor);
    vf_pci_cleanup();
    return healthy;
}

static const GOptionEntry options[] = {
    {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config_directory,
     "Read pools from here instead of " VF_SYSCONFDIR "/virtfn", "DIR"},
    {"root", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME, &root, "Look below DIR", "DIR"},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_doctor = {
    .name = "doctor",
    .arguments = "[POOL|PF]",
    .summary = "check host, PFs and configuration; works without the daemon",
    .details = "Run it as root. Exit code 1 when there is a problem, 0 with warnings at most.\n"
               "Without a terminal each finding is a line: level, check, object, what is found\n"
               "and the remedy, parted by tabs.",
    .options = options,
    .max_args = 1,
    .run = run,
};
