// SPDX-License-Identifier: GPL-2.0-or-later
//
// QMP as both transports have it: a request out of a command and its arguments, and a value or an
// error out of QEMU's answer (QEMU docs/interop/qmp-spec.rst). Knows nothing of sockets, and keeps
// no state but the class of the last refusal.

#include "qmp.h"

#include "error.h"
#include "qmp-transport.h"
#include "quote.h"

#define MAX_DESCRIPTION 400

void vf_qmp_sleep(gint64 microseconds, gint64 deadline)
{
    gint64 left = MIN(microseconds, deadline - g_get_monotonic_time());

    if (left > 0)
        g_usleep((gulong)left);
}

const char *vf_qmp_guest(const VfQmp *qmp)
{
    return qmp->guest;
}

const char *vf_qmp_refused(const VfQmp *qmp)
{
    return qmp->refused;
}

void vf_qmp_free(VfQmp *qmp)
{
    if (qmp == NULL)
        return;
    g_free(qmp->guest);
    g_free(qmp->refused);
    qmp->transport->free(qmp);
}

static json_t *make_request(VfQmp *qmp, const char *command, json_t *arguments)
{
    json_t *request = json_pack("{s:s, s:i}", "execute", command, "id", (int)++qmp->last_id);

    if (arguments != NULL)
        json_object_set_new(request, "arguments", arguments);
    return request;
}

static void set_refusal(VfQmp *qmp, const char *command, const json_t *refusal, GError **error)
{
    const char *class = json_string_value(json_object_get(refusal, "class"));
    const char *description = json_string_value(json_object_get(refusal, "desc"));
    g_autofree char *text = vf_quote_excerpt(description != NULL ? description : "no reason given",
                                             -1, MAX_DESCRIPTION);

    qmp->refused = vf_quote_excerpt(class != NULL ? class : "no class", -1, VF_QUOTE_MAX);
    g_set_error(error, VF_ERROR, VF_ERROR_QMP, "domain '%s': QEMU refuses %s (%s): %s", qmp->guest,
                command, qmp->refused, text);
}

static json_t *execute(VfQmp *qmp, const char *command, json_t *arguments, int fd, gint64 deadline,
                       GError **error)
{
    json_t *request = make_request(qmp, command, arguments);

    g_clear_pointer(&qmp->refused, g_free);
    if (g_get_monotonic_time() >= deadline) {
        g_set_error(error, VF_ERROR, VF_ERROR_QMP,
                    "domain '%s': no time left for %s" VF_REMEDY "allow more time", qmp->guest,
                    command);
        json_decref(request);
        return NULL;
    }
    json_t *answer = qmp->transport->exchange(qmp, request, fd, deadline, error);
    json_decref(request);
    if (answer == NULL)
        return NULL;
    json_t *value = json_incref(json_object_get(answer, "return"));
    if (value == NULL)
        set_refusal(qmp, command, json_object_get(answer, "error"), error);
    json_decref(answer);
    return value;
}

json_t *vf_qmp_execute(VfQmp *qmp, const char *command, json_t *arguments, gint64 deadline,
                       GError **error)
{
    return execute(qmp, command, arguments, -1, deadline, error);
}

static gboolean name_fd(VfQmp *qmp, const char *command, const char *name, int fd, gint64 deadline,
                        GError **error)
{
    json_t *arguments = json_pack("{s:s}", "fdname", name);

    if (arguments == NULL) {
        g_autofree char *quoted = vf_quote(name, -1);
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "domain '%s': %s cannot name a descriptor" VF_REMEDY "use a name in UTF-8",
                    qmp->guest, quoted);
        return FALSE;
    }
    json_t *value = execute(qmp, command, arguments, fd, deadline, error);
    json_decref(value);
    return value != NULL;
}

gboolean vf_qmp_getfd(VfQmp *qmp, const char *name, int fd, gint64 deadline, GError **error)
{
    return name_fd(qmp, "getfd", name, fd, deadline, error);
}

gboolean vf_qmp_closefd(VfQmp *qmp, const char *name, gint64 deadline, GError **error)
{
    return name_fd(qmp, "closefd", name, -1, deadline, error);
}

json_t *vf_qmp_wait_event(VfQmp *qmp, const char *name, VfQmpMatch match, gpointer data,
                          gint64 deadline, GError **error)
{
    return qmp->transport->wait(qmp, name, match, data, deadline, error);
}
