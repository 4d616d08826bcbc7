// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn status: what a person asks first, in 80 columns: is everything well, which functions are
// there, who has them, what is stuck and why. Runs of functions that tell nothing new share a line.

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "table.h"
#include "virtfn.h"

// Cause and remedy, each wrapped: INDENT LABEL cause, and deeper the remedy.
static void print_trouble(const VfCli *cli, VfColor color, const char *indent, const char *label,
                          const char *message)
{
    g_autofree char *first = g_strconcat(indent, label, NULL);
    g_autofree char *deeper = g_strconcat(indent, "  ", NULL);
    g_autofree char *cause = g_strdup(message);
    char *remedy = strstr(cause, VF_REMEDY);

    if (remedy != NULL)
        *remedy = '\0';
    vf_cli_say_wrapped(cli, color, first, deeper, cause);
    if (remedy == NULL)
        return;
    g_autofree char *help_first = g_strconcat(deeper, "remedy: ", NULL);
    g_autofree char *help_rest = g_strconcat(deeper, "  ", NULL);
    g_autofree char *help = vf_text_wrap(help_first, help_rest, remedy + strlen(VF_REMEDY));
    fputs(help, stdout);
}

static void print_problem(const VfCli *cli, const char *indent, const char *label,
                          const json_t *problem)
{
    g_autoptr(GError) error = vf_client_problem("virtfnd", problem);

    print_trouble(cli, VF_RED, indent, label, error->message);
}

// Two functions that can share a line: neighbours in the same state that nobody holds.
static gboolean alike(const json_t *a, const json_t *b)
{
    return !json_is_object(json_object_get(a, "lease")) &&
           !json_is_object(json_object_get(b, "lease")) &&
           vf_cell_number(b, "index") == vf_cell_number(a, "index") + 1 &&
           strcmp(vf_cell_text(a, "pf"), vf_cell_text(b, "pf")) == 0 &&
           strcmp(vf_cell_text(a, "state"), vf_cell_text(b, "state")) == 0 &&
           strcmp(vf_cell_text(a, "problem"), vf_cell_text(b, "problem")) == 0 &&
           json_is_true(json_object_get(a, "exists")) == json_is_true(json_object_get(b, "exists"));
}

// What is to be said about a function beside its state. Caller frees.
static char *remark(const json_t *function)
{
    g_autofree char *holder = vf_cell_holder(function);

    if (holder != NULL)
        return g_strdup_printf("%s, %s", holder,
                               vf_cell_text(json_object_get(function, "lease"), "state"));
    return g_strdup(json_is_true(json_object_get(function, "exists")) ? "" : "not made yet");
}

// The functions from `first` to `last`, which are alike. The PF's own problem was printed with it.
static void print_functions(const VfCli *cli, const json_t *first, const json_t *last,
                            const char *pf_problem)
{
    const char *state = vf_cell_text(first, "state");
    const char *problem = json_string_value(json_object_get(first, "problem"));
    const char *address = first == last ? vf_cell_text(first, "address") : "";
    g_autofree char *text = remark(first);
    g_autofree char *range = first == last
                                 ? g_strdup_printf("#%d", (int)vf_cell_number(first, "index"))
                                 : g_strdup_printf("#%d-%d", (int)vf_cell_number(first, "index"),
                                                   (int)vf_cell_number(last, "index"));
    g_autofree char *line =
        g_strdup_printf("    %-9s %-12s  %-11s  %s", range, address, state, text);
    g_autofree char *clean = vf_text_clean(g_strchomp(line));
    gboolean plain = strcmp(state, "free") == 0;
    VfColor color = strcmp(state, "quarantined") == 0 ? VF_RED : VF_BOLD;

    printf("%s%s%s\n", plain ? "" : vf_cli_color(cli, color), clean,
           plain ? "" : vf_cli_plain(cli));
    if (problem != NULL && g_strcmp0(problem, pf_problem) != 0)
        print_trouble(cli, VF_RED, "      ", "", problem);
    g_autofree char *pause = vf_cell_pause(json_object_get(first, "lease"));
    if (pause != NULL)
        print_trouble(cli, VF_YELLOW, "      ", "paused ", pause);
}

static void print_pf(const VfCli *cli, const json_t *pool, const json_t *pf)
{
    const json_t *functions = json_object_get(pool, "functions");
    const char *address = vf_cell_text(pf, "address");
    const char *netdev = json_string_value(json_object_get(pf, "netdev"));
    const char *driver = json_string_value(json_object_get(pf, "driver"));
    const char *problem = json_string_value(json_object_get(pf, "problem"));
    const char *configured = json_string_value(json_object_get(pool, "profile"));
    const char *chosen =
        json_string_value(json_object_get(json_object_get(pool, "chosen"), address));
    const json_t *function, *first = NULL, *last = NULL;
    size_t i;

    vf_cli_say("  %s%s%s, %s%s, %d of %d functions", address, netdev != NULL ? " " : "",
               netdev != NULL ? netdev : "", driver != NULL ? "driver " : "no driver",
               driver != NULL ? driver : "", (int)vf_cell_number(pf, "vfs"),
               (int)vf_cell_number(pf, "total"));
    if (chosen != NULL)
        vf_cli_say("    profile %s, as `virtfn reconf` was told; the configuration has %s", chosen,
                   configured != NULL ? configured : "none");
    if (problem != NULL)
        print_trouble(cli, VF_RED, "    ", "", problem);
    json_array_foreach(functions, i, function)
    {
        if (strcmp(vf_cell_text(function, "pf"), address) != 0)
            continue;
        if (first != NULL && !alike(last, function))
            print_functions(cli, first, last, problem);
        if (first == NULL || !alike(last, function))
            first = function;
        last = function;
    }
    if (first != NULL)
        print_functions(cli, first, last, problem);
}

static guint count_state(const json_t *functions, const char *state)
{
    const json_t *function;
    guint count = 0;
    size_t i;

    json_array_foreach(functions, i, function)
    {
        count += strcmp(vf_cell_text(function, "state"), state) == 0;
    }
    return count;
}

// A profile that was chosen has to be named again, or the configured one is given.
static void print_outdated(const VfCli *cli, const json_t *pool, const char *name)
{
    json_t *chosen = json_object_get(pool, "chosen");
    const char *profile = json_string_value(json_object_iter_value(json_object_iter(chosen)));
    int count = (int)vf_cell_number(pool, "outdated");

    if (count == 0)
        return;
    g_autofree char *text =
        g_strdup_printf("%d functions in use have the settings of a profile of before" VF_REMEDY
                        "give them the present ones: virtfn reconf %s%s%s%s",
                        count, profile != NULL ? "--profile " : "", profile != NULL ? profile : "",
                        profile != NULL ? " " : "", name);
    print_trouble(cli, VF_YELLOW, "  ", "", text);
}

static void print_pool(const VfCli *cli, const json_t *pool)
{
    g_autofree char *name = vf_text_clean(vf_cell_text(pool, "name"));
    const char *problem = json_string_value(json_object_get(pool, "problem"));
    const json_t *pf, *functions = json_object_get(pool, "functions");
    guint quarantined = count_state(functions, "quarantined");
    size_t i;

    printf("\n%spool %s%s: ", vf_cli_color(cli, VF_BOLD), name, vf_cli_plain(cli));
    // A pool that is made of ranges of functions has no count.
    if (json_is_integer(json_object_get(pool, "count")))
        printf("%d functions on each PF", (int)vf_cell_number(pool, "count"));
    else
        printf("%zu functions", json_array_size(functions));
    if (strcmp(vf_cell_text(pool, "growth"), "grow") == 0)
        printf(", up to %d", (int)vf_cell_number(pool, "max"));
    printf("; %d free, %d leased", (int)vf_cell_number(pool, "free"),
           (int)vf_cell_number(pool, "leased"));
    if (quarantined > 0)
        printf(", %u quarantined", quarantined);
    printf("\n");
    if (problem != NULL)
        print_trouble(cli, VF_RED, "  ", "", problem);
    print_outdated(cli, pool, name);
    json_array_foreach(json_object_get(pool, "pfs"), i, pf) print_pf(cli, pool, pf);
}

// Domains that wait for something or failed; the others are where their functions are shown.
static void print_domain(const VfCli *cli, const json_t *domain, gboolean *any)
{
    const char *state = vf_cell_text(domain, "state");
    const json_t *attach = json_object_get(domain, "attach");
    gboolean stuck = strcmp(state, "pending") == 0 || strcmp(state, "failed") == 0;

    if (!stuck && (attach == NULL || json_is_null(attach)))
        return;
    g_autofree char *first = g_strdup_printf("%s: ", vf_cell_text(domain, "name"));
    g_autofree char *clean = vf_text_clean(first);
    if (!*any)
        printf("\ndomains\n");
    *any = TRUE;
    if (strcmp(state, "pending") == 0)
        print_trouble(cli, VF_YELLOW, "  ", clean, "waits to be rendered");
    else if (stuck)
        print_problem(cli, "  ", clean, json_object_get(domain, "error"));
    if (json_is_string(attach))
        print_trouble(cli, VF_YELLOW, "  ", clean, "waits for its functions to be attached");
    else if (json_is_object(attach))
        print_problem(cli, "  ", clean, attach);
}

// TRUE when a problem was printed with the pool, the PF or the card that has it.
static gboolean is_shown(const json_t *status, const char *problem)
{
    const json_t *pool, *pf, *card, *pools = json_object_get(status, "pools");
    size_t i, p;

    json_array_foreach(json_object_get(status, "cards"), i, card)
    {
        if (strcmp(vf_cell_text(card, "problem"), problem) == 0)
            return TRUE;
    }

    json_array_foreach(pools, i, pool)
    {
        if (strcmp(vf_cell_text(pool, "problem"), problem) == 0)
            return TRUE;
        json_array_foreach(json_object_get(pool, "pfs"), p, pf)
        {
            if (strcmp(vf_cell_text(pf, "problem"), problem) == 0)
                return TRUE;
        }
    }
    return FALSE;
}

static void print_problems(const VfCli *cli, const json_t *status)
{
    const json_t *problem;
    gboolean any = FALSE;
    size_t i;

    json_array_foreach(json_object_get(status, "problems"), i, problem)
    {
        const char *text = json_string_value(problem);

        if (text == NULL || is_shown(status, text))
            continue;
        if (!any)
            printf("\nproblems\n");
        any = TRUE;
        print_trouble(cli, VF_RED, "  ", "", text);
    }
}

static void print_head(const VfCli *cli, const json_t *status)
{
    const json_t *libvirt = json_object_get(status, "libvirt");
    gboolean connected = json_is_true(json_object_get(libvirt, "connected"));
    g_autofree char *link =
        g_strdup_printf("libvirt %s: %s%s%s", vf_cell_text(libvirt, "uri"),
                        connected ? "connected" : "not connected", connected ? "" : ": ",
                        connected ? "" : vf_cell_text(libvirt, "error"));

    vf_cli_say("virtfnd %s, since %s", vf_cell_text(status, "version"),
               vf_cell_text(status, "since"));
    print_trouble(cli, connected ? VF_GREEN : VF_YELLOW, "", "", link);
}

static void print_settling(const VfCli *cli, const json_t *guests)
{
    g_autoptr(GString) text = g_string_new("libvirt's daemon is starting: no reconf begins");
    const json_t *guest;
    size_t i;

    json_array_foreach(guests, i, guest)
    {
        g_string_append_printf(text, "%s%s", i == 0 ? " until it has found " : ", ",
                               vf_cell_text(guest, "name"));
    }
    printf("\n");
    print_trouble(cli, VF_YELLOW, "", "", text->str);
}

static void print_status(const VfCli *cli, const json_t *status)
{
    const json_t *item, *pools = json_object_get(status, "pools");
    gboolean any = FALSE;
    size_t i;

    print_head(cli, status);
    if (json_array_size(pools) == 0)
        printf("\nno pools: describe one in " VF_SYSCONFDIR "/virtfn/, see virtfn.conf(5)\n");
    json_array_foreach(pools, i, item) print_pool(cli, item);
    vf_status_cards(cli, status);
    if (json_is_array(json_object_get(status, "settling")))
        print_settling(cli, json_object_get(status, "settling"));
    json_array_foreach(json_object_get(status, "domains"), i, item) print_domain(cli, item, &any);
    print_problems(cli, status);
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    VfClientRequest request = {.method = "GET", .path = "/v1/status"};
    json_t *status = vf_cli_ask(cli, request, NULL, error);

    if (status != NULL && !cli->json)
        print_status(cli, status);
    json_decref(status);
    return status != NULL;
}

const VfCommand vf_command_status = {
    .name = "status",
    .arguments = "",
    .summary = "show pools, who holds their functions, and what is wrong",
    .run = run,
};
