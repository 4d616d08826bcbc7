// SPDX-License-Identifier: GPL-2.0-or-later
//
// How commands print for people: one line of text, text that is broken into lines, errors. All of
// it is shown without control characters, as names and reasons come from elsewhere. Colours and
// marks are for terminals; their own codes are the only ones that get out.

#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "table.h"
#include "virtfn.h"

void vf_cli_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *clean = vf_text_clean(line);
    printf("%s\n", clean);
}

void vf_cli_say_wrapped(const VfCli *cli, VfColor color, const char *first, const char *rest,
                        const char *text)
{
    g_autofree char *lines = vf_text_wrap(first, rest, text);

    printf("%s%s%s", vf_cli_color(cli, color), lines, vf_cli_plain(cli));
}

void vf_cli_report(const GError *error)
{
    g_autofree char *text = vf_text_clean(error->message);
    char *remedy = strstr(text, VF_REMEDY);

    if (remedy != NULL && isatty(STDERR_FILENO)) {
        *remedy = '\0';
        fprintf(stderr, "virtfn: %s\n  remedy: %s\n", text, remedy + strlen(VF_REMEDY));
    } else {
        fprintf(stderr, "virtfn: %s\n", text);
    }
}

const char *vf_cli_color(const VfCli *cli, VfColor color)
{
    static const char *const codes[] = {"\033[31m", "\033[33m", "\033[32m", "\033[1m"};

    return cli->color ? codes[color] : "";
}

const char *vf_cli_plain(const VfCli *cli)
{
    return cli->color ? "\033[0m" : "";
}

void vf_cli_tick(const VfCli *cli)
{
    const char *tick = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "✓" : "+";

    printf("%s%s%s ", vf_cli_color(cli, VF_GREEN), tick, vf_cli_plain(cli));
}
