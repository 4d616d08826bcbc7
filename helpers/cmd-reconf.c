// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn reconf: changes a card under its guests. What would happen is asked first (a dry run), so
// that a person can say no; then each step is shown when it is done.

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "virtfn.h"

#define NOT_GIVEN G_MININT

static int vfs = NOT_GIVEN;
static char *profile, *bitstream;
static gboolean allow_detach, dry_run, yes, cancel;

typedef struct {
    const VfCli *cli;
    gboolean planned; // the plan was shown before
    gsize owners;     // that will be paused, or
    gsize detached;   // detached
} Progress;

// "a before -> after" of each thing that changes, "" when nothing does. Caller frees.
static char *list_changes(const json_t *changes, const char *name)
{
    GString *list = g_string_new(NULL);
    const json_t *change;
    size_t i;

    json_array_foreach(changes, i, change)
    {
        if (!json_equal(json_object_get(change, "before"), json_object_get(change, "after")))
            g_string_append_printf(list, "%s%s %s -> %s", list->len > 0 ? ", " : "",
                                   vf_cell_text(change, name), vf_cell_text(change, "before"),
                                   vf_cell_text(change, "after"));
    }
    return g_string_free(list, FALSE);
}

static void print_outlook(const json_t *event)
{
    const char *pf = vf_cell_text(event, "pf");

    if (json_is_false(json_object_get(event, "needed")))
        vf_cli_say("%s: nothing to change, nobody is paused", pf);
    else if (json_array_size(json_object_get(event, "owners")) == 0)
        return;
    else if (json_is_integer(json_object_get(event, "last_outage_us")))
        vf_cli_say("%s: guests will be without their functions for about %" G_GINT64_FORMAT
                   " ms, as last time",
                   pf, vf_cell_number(event, "last_outage_us") / 1000);
    else
        vf_cli_say("%s: how long guests will be without their functions is not known yet", pf);
}

static void print_plan(const json_t *event)
{
    const json_t *owners = json_object_get(event, "owners");
    g_autofree char *profiles = list_changes(json_object_get(event, "profiles"), "pool");

    vf_cli_say("%s: %" G_GINT64_FORMAT " VFs, %" G_GINT64_FORMAT " now; %zu functions in use",
               vf_cell_text(event, "pf"), vf_cell_number(event, "to"),
               vf_cell_number(event, "from"), json_array_size(owners));
    if (*profiles != '\0')
        vf_cli_say("  profile of pool %s", profiles);
    for (gsize i = 0; i < json_array_size(owners); i++) {
        const json_t *owner = json_array_get(owners, i);
        g_autofree char *changes = list_changes(json_object_get(owner, "changes"), "setting");
        g_autofree char *device = vf_cell_device(owner);

        vf_cli_say("  VF %" G_GINT64_FORMAT " %s  %s%s%s%s", vf_cell_number(owner, "index"),
                   vf_cell_text(owner, "address"), device, *changes != '\0' ? ": " : "", changes,
                   json_is_true(json_object_get(owner, "stays_paused"))
                       ? ", paused by an operator and stays so"
                       : "");
    }
    print_outlook(event);
}

static void print_step(const VfCli *cli, const json_t *event)
{
    const char *what = vf_cell_text(event, "what");
    const char *owner = json_string_value(json_object_get(event, "owner"));
    gboolean done = strcmp(what, "end") == 0;

    if (strcmp(what, "begin") == 0)
        return;
    if (owner != NULL && strcmp(what, "detach") == 0) {
        vf_cli_say("  %s: cannot pause, is detached and attached again", owner);
    } else if (owner != NULL) {
        vf_cli_say("  %s: %s", owner, what);
    } else {
        if (cli->terminal && done)
            vf_cli_tick(cli);
        vf_cli_say("%s: %s%s", vf_cell_text(event, "pf"), vf_cell_text(event, "step"),
                   done ? "" : " failed, going back");
    }
}

static void print_times(const json_t *event)
{
    g_autoptr(GString) line = g_string_new(NULL);
    json_t *steps = json_object_get(event, "steps_us"), *value;
    const char *step;

    g_string_printf(line, "%s: no function was away for longer than %" G_GINT64_FORMAT " ms (",
                    vf_cell_text(event, "pf"), vf_cell_number(event, "outage_us") / 1000);
    json_object_foreach(steps, step, value)
    {
        g_string_append_printf(line, "%s %" G_GINT64_FORMAT ", ", step,
                               (gint64)json_integer_value(value) / 1000);
    }
    g_string_truncate(line, line->len - 2);
    g_string_append_c(line, ')');
    vf_cli_say("%s", line->str);
}

static void show(const VfCli *cli, const json_t *event, gpointer data)
{
    Progress *progress = data;
    const char *kind = vf_cell_text(event, "event");

    // A daemon that does not say is taken to do something.
    if (strcmp(kind, "plan") == 0 && !json_is_false(json_object_get(event, "needed")))
        progress->owners += json_array_size(json_object_get(event, "owners"));
    else if (strcmp(vf_cell_text(event, "what"), "detach") == 0)
        progress->detached++;
    if (cli->json)
        return;
    if (strcmp(kind, "plan") == 0 && !progress->planned)
        print_plan(event);
    else if (strcmp(kind, "step") == 0)
        print_step(cli, event);
    else if (strcmp(kind, "times") == 0)
        print_times(event);
}

static json_t *new_body(const char *target, gboolean dry, GError **error)
{
    json_t *body = json_object();

    if (vfs != NOT_GIVEN)
        json_object_set_new(body, "vfs", json_integer(vfs));
    json_object_set_new(body, "dry_run", json_boolean(dry));
    if (allow_detach)
        json_object_set_new(body, "allow_detach", json_true());
    if (vf_cli_add_text(body, "target", target, error) &&
        (profile == NULL || vf_cli_add_text(body, "profile", profile, error)) &&
        (bitstream == NULL || vf_cli_add_path(body, "bitstream", bitstream, error)))
        return body;
    json_decref(body);
    return NULL;
}

static gboolean ask_daemon(Progress *progress, const char *target, gboolean dry, GError **error)
{
    const VfCli *cli = progress->cli;
    VfCliStream stream = {.command = "reconf",
                          .object = "pf",
                          .remedy = "the next one ends it",
                          .quiet = dry && !dry_run, // asked before the work, for the plan
                          .show = show,
                          .data = progress};
    json_t *body = new_body(target, dry, error);
    gboolean ok = body != NULL && vf_cli_stream(cli, &stream, body, error);

    json_decref(body);
    return ok;
}

static gboolean agreed(const Progress *look, GError **error)
{
    char answer[8] = "";

    if (look->owners == 0)
        return TRUE;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "reconf: guests would be paused and nobody can be asked" VF_REMEDY
                    "give --yes, or --dry-run to see the plan");
        return FALSE;
    }
    printf("Pause them%s, and go on? [y/N] ", look->detached > 0 ? ", or detach them as said" : "");
    fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) != NULL && (*answer == 'y' || *answer == 'Y');
}

static gboolean cancel_it(const VfCli *cli, const char *pf, GError **error)
{
    g_autofree char *escaped = g_uri_escape_string(pf, NULL, FALSE);
    g_autofree char *path = g_strconcat("/v1/reconf/", escaped, NULL);

    return vf_cli_delete(cli, path, error);
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    Progress look = {.cli = cli};
    Progress work = {.cli = cli, .planned = !yes};

    if (cancel)
        return cancel_it(cli, args[0], error);
    if (vfs != NOT_GIVEN && (vfs < 1 || vfs > G_MAXUINT16))
        return vf_cli_bad_call(error, "--vfs is a number from 1 to 65535");
    if (dry_run)
        return ask_daemon(&look, args[0], TRUE, error);
    if (!yes && (!ask_daemon(&look, args[0], TRUE, error) || !agreed(&look, error)))
        return FALSE;
    return ask_daemon(&work, args[0], FALSE, error);
}

static const GOptionEntry options[] = {
    {"vfs", 'n', 0, G_OPTION_ARG_INT, &vfs, "Number of VFs (default: as configured)", "N"},
    {"profile", 'p', 0, G_OPTION_ARG_STRING, &profile,
     "Profile of the pool's functions, from now on (default: as configured)", "NAME"},
    {"bitstream", 'b', 0, G_OPTION_ARG_FILENAME, &bitstream,
     "Load this file into the card while it has no functions", "FILE"},
    {"allow-detach", 0, 0, G_OPTION_ARG_NONE, &allow_detach,
     "Unplug the functions of guests that cannot pause, and plug them in again", NULL},
    {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Show who would be paused, change nothing",
     NULL},
    {"yes", 'y', 0, G_OPTION_ARG_NONE, &yes, "Do not ask", NULL},
    {"cancel", 0, 0, G_OPTION_ARG_NONE, &cancel,
     "Stop the reconf of this PF (an address), as long as nothing was destroyed", NULL},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_reconf = {
    .name = "reconf",
    .arguments = "POOL|PF",
    .summary = "change the VFs of a card under its guests",
    .details = "Guests are paused for it and go on with the functions they had. Without --vfs the\n"
               "number is what the configuration says, without --profile the profile is. --json\n"
               "prints one event a line.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
