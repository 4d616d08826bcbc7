// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn(8): the table of commands; options, help and usage errors follow from it. Every command
// is parsed in the same way: options of virtfn, the command's name, then its own options and those
// of virtfn in any order. Exit codes: 0 done, 1 the operation failed, 2 a bad call.

#include "virtfn.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

static const VfCommand *const commands[] = {
    &vf_command_init,   &vf_command_reconf, &vf_command_status, &vf_command_list,
    &vf_command_show,   &vf_command_render, &vf_command_doctor, &vf_command_settle,
    &vf_command_pause,  &vf_command_resume, &vf_command_image,  &vf_command_attach,
    &vf_command_detach, &vf_command_remap,  &vf_command_events,
};

static struct {
    char *socket;
    gboolean json, no_color, help, version;
} given;

static const GOptionEntry common_options[] = {
    {"socket", 0, 0, G_OPTION_ARG_FILENAME, &given.socket, "The daemon's socket", "PATH"},
    {"json", 0, 0, G_OPTION_ARG_NONE, &given.json, "Print JSON", NULL},
    {"no-color", 0, 0, G_OPTION_ARG_NONE, &given.no_color, "Print without colours", NULL},
    {"help", 'h', 0, G_OPTION_ARG_NONE, &given.help, "Print help and exit", NULL},
    {"version", 'V', 0, G_OPTION_ARG_NONE, &given.version, "Print the version and exit", NULL},
    G_OPTION_ENTRY_NULL,
};

static const VfCommand *find_command(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_help(void)
{
    printf("Usage: virtfn [OPTION…] COMMAND [ARGUMENT…]\n\n"
           "Gives libvirt guests PCIe virtual functions and shows who holds them.\n\nCommands:\n");
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++)
        printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
    printf("  %-8s %s\n\nOptions:\n", "help", "print help on a command");
    for (const GOptionEntry *option = common_options; option->long_name != NULL; option++) {
        g_autofree char *name = g_strjoin(" ", option->long_name, option->arg_description, NULL);
        printf("  --%-14s %s\n", name, option->description);
    }
    printf("\n'virtfn help COMMAND' tells more; the manual is virtfn(8).\n");
}

static GOptionContext *new_context(const VfCommand *command)
{
    GOptionContext *context = g_option_context_new(NULL);

    g_option_context_set_help_enabled(context, FALSE);
    if (command != NULL && command->options != NULL)
        g_option_context_add_main_entries(context, command->options, NULL);
    g_option_context_add_main_entries(context, common_options, NULL);
    return context;
}

static void print_command_help(const VfCommand *command)
{
    g_autoptr(GOptionContext) context = new_context(command);

    g_option_context_set_description(context, command->details);
    g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);
    // GLib begins with a usage line that knows nothing of commands, and an empty line.
    const char *rest = strstr(help, "\n\n");
    printf("Usage: virtfn %s [OPTION…]%s%s\n\n%c%s.\n%s", command->name,
           command->arguments[0] != '\0' ? " " : "", command->arguments,
           g_ascii_toupper(command->summary[0]), command->summary + 1,
           rest != NULL ? rest + 1 : "");
}

static int report_usage(const VfCommand *command, const GError *error)
{
    g_autoptr(GError) usage =
        g_error_new(error->domain, error->code, "%s%s%s" VF_REMEDY "see: virtfn help%s%s",
                    command != NULL ? command->name : "", command != NULL ? ": " : "",
                    error->message, command != NULL ? " " : "",
                    command != NULL ? command->name : "");

    vf_cli_report(usage);
    return 2;
}

G_GNUC_PRINTF(2, 3)
static int fail_usage(const VfCommand *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autoptr(GError) error =
        g_error_new_valist(G_OPTION_ERROR, G_OPTION_ERROR_FAILED, format, args);
    va_end(args);
    return report_usage(command, error);
}

gboolean vf_cli_bad_call(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error != NULL)
        *error = g_error_new_valist(G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, format, args);
    va_end(args);
    return FALSE;
}

// Buffered output is written at last here: a full disk must not look like success.
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "virtfn: standard output: %s\n", g_strerror(errno));
    return 1;
}

static int run_command(const VfCommand *command, char **args)
{
    g_autoptr(GError) error = NULL;
    gboolean terminal = isatty(STDOUT_FILENO);
    const char *no_color = g_getenv("NO_COLOR");
    VfCli cli = {
        .socket = given.socket,
        .json = given.json,
        .terminal = terminal,
        .color = terminal && !given.no_color && (no_color == NULL || no_color[0] == '\0'),
    };
    guint n_args = g_strv_length(args);

    if (n_args < command->min_args || n_args > command->max_args)
        return fail_usage(command, "too %s arguments", n_args < command->min_args ? "few" : "many");
    if (command->run(&cli, args, &error))
        return finish(0);
    if (error != NULL && error->domain == G_OPTION_ERROR)
        return report_usage(command, error);
    fflush(stdout);
    if (error != NULL)
        vf_cli_report(error);
    return 1;
}

static int run_help(char **args)
{
    const VfCommand *command = args[0] != NULL ? find_command(args[0]) : NULL;

    if (args[0] != NULL && command == NULL)
        return fail_usage(NULL, "%s: no such command", args[0]);
    if (args[0] != NULL && args[1] != NULL)
        return fail_usage(NULL, "help: too many arguments");
    if (command != NULL)
        print_command_help(command);
    else
        print_help();
    return finish(0);
}

// Parses options, those of virtfn up to the command's name or, with a command, all that follow it;
// leaves the arguments. GLib keeps the "--" that ends the options; it is dropped here, but not when
// it belongs to the command and only virtfn's own options were parsed.
static gboolean parse(const VfCommand *command, char ***args, GError **error)
{
    g_autoptr(GOptionContext) context = new_context(command);
    g_autoptr(GStrvBuilder) rest = g_strv_builder_new();
    gboolean ended = FALSE;

    g_option_context_set_strict_posix(context, command == NULL);
    if (!g_option_context_parse_strv(context, args, error)) {
        // GLib writes "Unknown option --x" for a person, this is the middle of a line.
        (*error)->message[0] = g_ascii_tolower((*error)->message[0]);
        return FALSE;
    }
    for (guint i = 1; (*args)[i] != NULL; i++) {
        gboolean mark = !ended && (i == 1 || command != NULL) && strcmp((*args)[i], "--") == 0;
        if (!mark)
            g_strv_builder_add(rest, (*args)[i]);
        ended |= mark;
    }
    g_strfreev(*args);
    *args = g_strv_builder_end(rest);
    return TRUE;
}

static int dispatch(char ***args)
{
    g_autoptr(GError) error = NULL;
    const VfCommand *command = (*args)[0] != NULL ? find_command((*args)[0]) : NULL;

    if ((*args)[0] == NULL)
        return given.help ? run_help(*args) : fail_usage(NULL, "no command given");
    if (strcmp((*args)[0], "help") == 0)
        return run_help(*args + 1);
    if (command == NULL)
        return run_help(*args);
    if (!parse(command, args, &error))
        return report_usage(command, error);
    if (given.help) {
        print_command_help(command);
        return finish(0);
    }
    return run_command(command, *args);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) args = g_strdupv(argv);

    setlocale(LC_CTYPE, "");
    g_set_prgname("virtfn");
    if (argc < 1 || !parse(NULL, &args, &error))
        return error != NULL ? report_usage(NULL, error) : 2;
    if (given.version) {
        printf("virtfn %s\n", VF_VERSION);
        return finish(0);
    }
    return dispatch(&args);
}
