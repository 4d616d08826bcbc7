// SPDX-License-Identifier: GPL-2.0-or-later
//
// The part of virtfn status about cards with accelerators: which region holds what, who has it, and
// who waits. Reads the daemon's JSON tolerantly, as all of status.

#include <stdio.h>
#include <string.h>

#include "table.h"
#include "virtfn.h"

static gboolean is_on(const json_t *attachment, const json_t *card, int region)
{
    const json_t *held = json_object_get(attachment, "region");

    return strcmp(vf_cell_text(attachment, "pf"), vf_cell_text(card, "pf")) == 0 &&
           (region < 0 ? !json_is_integer(held)
                       : json_is_integer(held) && json_integer_value(held) == region);
}

static void print_attachment(const VfCli *cli, const json_t *row)
{
    const char *state = vf_cell_text(row, "state");
    const char *problem = json_string_value(json_object_get(row, "problem"));
    const json_t *ahead = json_object_get(row, "ahead"), *share = json_object_get(row, "share");
    gboolean held = json_is_integer(json_object_get(row, "region"));
    g_autofree char *holder = vf_cell_device(row);
    g_autoptr(GString) line = g_string_new(NULL);

    g_string_append_printf(line, "    #%-8d %s%s%s, %s", (int)vf_cell_number(row, "index"), holder,
                           held ? "" : " for ", held ? "" : vf_cell_text(row, "accelerator"),
                           state);
    if (json_is_integer(ahead))
        g_string_append_printf(line, ", %d ahead", (int)json_integer_value(ahead));
    if (json_is_true(json_object_get(row, "preempted")))
        g_string_append(line, ", preempted");
    if (json_is_true(json_object_get(row, "idle")))
        g_string_append(line, ", idle");
    if (json_is_integer(share))
        g_string_append_printf(line, ", %d%% of its share",
                               (int)((json_integer_value(share) + 5) / 10));
    g_string_append_printf(line, ", priority %d", (int)vf_cell_number(row, "priority"));
    g_autofree char *clean = vf_text_clean(line->str);
    printf("%s%s%s\n", vf_cli_color(cli, VF_BOLD), clean, vf_cli_plain(cli));
    vf_cli_say("              since %s", vf_cell_text(row, "since"));
    if (problem != NULL)
        vf_cli_say_wrapped(cli, VF_RED, "              ", "                ", problem);
}

static void print_region(const VfCli *cli, const json_t *card, const json_t *region,
                         const json_t *attachments)
{
    const char *accelerator = json_string_value(json_object_get(region, "accelerator"));
    const char *image = json_string_value(json_object_get(region, "image"));
    const json_t *fairness = json_object_get(region, "fairness"), *row;
    g_autoptr(GString) line = g_string_new(NULL);
    size_t i;

    g_string_append_printf(line, "  region %d, kind %d: %s%s%s%s",
                           (int)vf_cell_number(region, "region"),
                           (int)vf_cell_number(region, "kind"),
                           accelerator != NULL ? accelerator : "no accelerator that is known",
                           image != NULL ? " (image " : "", image != NULL ? image : "",
                           image != NULL ? ")" : "");
    if (json_is_true(json_object_get(region, "changing")))
        g_string_append(line, ", changing");
    if (json_is_false(json_object_get(region, "usable")))
        g_string_append(line, ", broken");
    if (json_is_integer(fairness))
        g_string_append_printf(line, ", fairness %.2f",
                               (double)json_integer_value(fairness) / 1000);
    vf_cli_say("%s", line->str);
    json_array_foreach(attachments, i, row)
    {
        if (is_on(row, card, (int)vf_cell_number(region, "region")))
            print_attachment(cli, row);
    }
}

static void print_card(const VfCli *cli, const json_t *card, const json_t *attachments)
{
    const char *problem = json_string_value(json_object_get(card, "problem"));
    const json_t *region, *row;
    gboolean any = FALSE;
    size_t i;
    g_autofree char *line = g_strdup_printf("card %s: %s, %zu regions, %d functions",
                                            vf_cell_text(card, "pf"), vf_cell_text(card, "card"),
                                            json_array_size(json_object_get(card, "regions")),
                                            (int)vf_cell_number(card, "functions"));

    printf("\n");
    vf_cli_say_wrapped(cli, VF_BOLD, "", "  ", line);
    if (problem != NULL)
        vf_cli_say_wrapped(cli, VF_RED, "  ", "    ", problem);
    json_array_foreach(json_object_get(card, "regions"), i, region)
        print_region(cli, card, region, attachments);
    json_array_foreach(attachments, i, row)
    {
        if (!is_on(row, card, -1))
            continue;
        if (!any)
            printf("  without a region\n");
        any = TRUE;
        print_attachment(cli, row);
    }
}

void vf_status_cards(const VfCli *cli, const json_t *status)
{
    const json_t *card;
    size_t i;

    json_array_foreach(json_object_get(status, "cards"), i, card)
        print_card(cli, card, json_object_get(status, "attachments"));
}
