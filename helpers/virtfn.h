// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the commands of virtfn(8) share: one VfCommand per command, in helpers/cmd-NAME.c, listed in
// the table of helpers/virtfn.c, from which parsing, help and usage errors follow. A command
// prints its result and returns an error, or reports by itself and returns FALSE without one.

#pragma once

#include <glib.h>
#include <jansson.h>

#include "client.h"

// The options before and after the command's name, and what the terminal allows.
typedef struct {
    const char *socket; // path; NULL when --socket was not given
    gboolean json;
    gboolean terminal; // standard output is one
    gboolean color;
} VfCli;

typedef struct {
    const char *name;
    const char *arguments;       // "[FILE]", as the help shows them
    const char *summary;         // one line, lower case, no full stop
    const char *details;         // whole lines below the options in `virtfn help NAME`
    const GOptionEntry *options; // ends with G_OPTION_ENTRY_NULL; NULL = none of its own
    guint min_args, max_args;

    // Exit code 0 for TRUE, 2 for an error of the domain G_OPTION_ERROR, 1 for everything else.
    gboolean (*run)(const VfCli *cli, char **args, GError **error);
} VfCommand;

extern const VfCommand vf_command_init;
extern const VfCommand vf_command_reconf;
extern const VfCommand vf_command_status;
extern const VfCommand vf_command_list;
extern const VfCommand vf_command_show;
extern const VfCommand vf_command_render;
extern const VfCommand vf_command_doctor;
extern const VfCommand vf_command_settle;
extern const VfCommand vf_command_pause;
extern const VfCommand vf_command_resume;
extern const VfCommand vf_command_image;
extern const VfCommand vf_command_attach;
extern const VfCommand vf_command_detach;
extern const VfCommand vf_command_remap;
extern const VfCommand vf_command_events;

// Standard error, as "virtfn: OBJECT: CAUSE" and the remedy: below it on a terminal, after it in
// one line otherwise.
void vf_cli_report(const GError *error);

// Sets a G_OPTION_ERROR, after which the command's help is named. FALSE.
G_GNUC_PRINTF(2, 3)
gboolean vf_cli_bad_call(GError **error, const char *format, ...);

// helpers/say.c: one line on standard output, shown without control characters.
G_GNUC_PRINTF(1, 2)
void vf_cli_say(const char *format, ...);

typedef enum { VF_RED, VF_YELLOW, VF_GREEN, VF_BOLD } VfColor;

// Text that starts and ends a colour; "" when there is to be none.
const char *vf_cli_color(const VfCli *cli, VfColor color);
const char *vf_cli_plain(const VfCli *cli);

// Text as vf_text_wrap() breaks it, in one colour.
void vf_cli_say_wrapped(const VfCli *cli, VfColor color, const char *first, const char *rest,
                        const char *text);

// The mark before a step that is done, on a terminal.
void vf_cli_tick(const VfCli *cli);

// helpers/ask.c: requests that one answer ends.
VfClient *vf_cli_connect(const VfCli *cli);

// As vf_client_ask(). With --json the answer has been printed, and is not to be shown otherwise.
json_t *vf_cli_ask(const VfCli *cli, VfClientRequest request, const json_t *body, GError **error);

// Adds a text of the command line to a request. VF_ERROR_INPUT when it is not UTF-8.
gboolean vf_cli_add_text(json_t *body, const char *key, const char *text, GError **error);

// Names in the path are escaped by the caller.
gboolean vf_cli_delete(const VfCli *cli, const char *path, GError **error);

// Adds a file's absolute path to a request: the daemon has another working directory.
gboolean vf_cli_add_path(json_t *body, const char *key, const char *path, GError **error);

// helpers/stream.c: a request that is answered by events, one a line.
typedef struct {
    const char *command; // also the last part of the request's path
    const char *object;  // member of an event that names what it is about, for problems
    const char *remedy;  // when virtfnd stopped in between
    gboolean quiet;      // with --json print problems only
    // Every event but problems; prints, unless with --json.
    void (*show)(const VfCli *cli, const json_t *event, gpointer data);
    gpointer data;
} VfCliStream;

// TRUE when all was done. Problems have been printed, and are no error.
gboolean vf_cli_stream(const VfCli *cli, const VfCliStream *stream, json_t *body, GError **error);

// helpers/status-cards.c: the part of virtfn status about cards with accelerators.
void vf_status_cards(const VfCli *cli, const json_t *status);

// helpers/columns.c: how objects of the API are shown to people and to scripts. Members that are
// missing or of another type are shown as absent: the peer may be newer.

typedef struct {
    const char *name; // "functions": path of the API and member of its answer
    const char *const *titles;
    void (*add_row)(gpointer table, const json_t *object);
} VfColumns;

// NULL for an unknown name.
const VfColumns *vf_columns_find(const char *name);

// All objects of a JSON array, as table.h formats it. Caller frees.
char *vf_columns_format(const VfColumns *columns, const json_t *objects, gboolean terminal,
                        const char *indent);

// helpers/ask.c: all objects that the API has under the columns' name, as `virtfn list` shows them.
gboolean vf_cli_list(const VfCli *cli, const VfColumns *columns, GError **error);

// Member as a number, 0 when it is no integer.
gint64 vf_cell_number(const json_t *object, const char *key);

// Member as text: "-" when it is null, absent or no string.
const char *vf_cell_text(const json_t *object, const char *key);

// "web/net0": the domain and the device of a lease, an attachment or an owner. Caller frees.
char *vf_cell_device(const json_t *object);

// "0000:01:00.0#3" and "web/net0"; NULL when the object has no function or no lease.
// Caller frees.
char *vf_cell_function(const json_t *object);
char *vf_cell_holder(const json_t *function);
// "by root, since 2026-01-02T03:04:05Z: REASON"; NULL when the lease's device is not paused.
char *vf_cell_pause(const json_t *lease);
