// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn list: one object a line, as a table on a terminal and parted by tabs for scripts.

#include "virtfn.h"

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    const VfColumns *columns = vf_columns_find(args[0] != NULL ? args[0] : "functions");

    if (columns == NULL)
        return vf_cli_bad_call(
            error, "%s: not one of pools, functions, leases, domains, images, attachments",
            args[0]);
    return vf_cli_list(cli, columns, error);
}

const VfCommand vf_command_list = {
    .name = "list",
    .arguments = "[pools|functions|leases|domains|images|attachments]",
    .summary = "list objects, one a line; functions when nothing is named",
    .details = "Without a terminal there is no header and a tab parts the columns; \"-\" stands\n"
               "for an empty one. --json prints what the API answers, unchanged.",
    .max_args = 1,
    .run = run,
};
