// SPDX-License-Identifier: GPL-2.0-or-later
//
// libvirt hook, installed as /etc/libvirt/hooks/qemu.d/50-virtfn: hands the moments of a domain's
// life that concern virtfn to virtfnd. One request, one answer, at most one line on stderr, one
// exit code. A domain without the annotation and without PCI pass-through costs a scan of stdin.
//
// Invariant: it ends within VF_HOOK_TIMEOUT_MS whatever stdin, the socket and virtfnd do, because
// libvirt waits for a hook without limit and holds the domain's lock meanwhile. Deliberately no
// XML parser, no state, no library but libc: an unrelated domain pays for the start of a process.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"

#define SOCKET_PATH "/run/virtfn/virtfn.sock"
#define HEADER_MAX 512
#define MESSAGE_MAX 1280

enum { DONE = 0, REFUSED = 1, BAD_CALL = 2 };

typedef struct {
    const char *name;
    const char *phase;
    bool refuses;  // may fail; libvirt kills the guest, or does not care, when the others do
    bool rewrites; // stdout replaces the XML
    bool reasoned; // the extra argument says why the guest stopped
} Operation;

static const Operation operations[] = {
    {"prepare", "begin", .refuses = true},
    {"start", "begin", .refuses = true},
    {"started", "begin", .refuses = false},
    {"stopped", "end", .reasoned = true},
    {"release", "end", .reasoned = true},
    {"reconnect", "begin", .refuses = false},
    {"migrate", "begin", .refuses = true, .rewrites = true},
    {"restore", "begin", .refuses = true, .rewrites = true},
};

// The header is put right before the XML, so that both are one piece.
static char request[HEADER_MAX + VF_ASK_BODY_MAX + 1];
static char *const xml = request + HEADER_MAX;

// NULL for what virtfnd need not know, also for what a newer libvirt may send.
static const Operation *find_operation(const char *name, const char *phase)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (!strcmp(operations[i].name, name) && !strcmp(operations[i].phase, phase))
            return &operations[i];
    return NULL;
}

// Pieces of 4096 bytes (PIPE_BUF) never block on a pipe that poll() calls writable.
static bool put(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = vf_ask_ready(fd, POLLOUT) ? write(fd, text, length < 4096 ? length : 4096) : -1;

        if (n <= 0)
            return false;
        text += n;
        length -= n;
    }
    return true;
}

// One line on stderr, whatever bytes a name or an answer holds.
__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
    char line[MESSAGE_MAX] = "virtfn: ";
    const size_t prefix = strlen(line);
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    size_t length;
    va_list args;

    va_start(args, format);
    vsnprintf(line + prefix, sizeof line - prefix - 1, format, args);
    va_end(args);
    length = strlen(line);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[length++] = '\n';
    // No put(): the deadline may be what there is to complain of. Of a failure nobody would hear.
    if (poll(&p, 1, 0) > 0)
        (void)!write(STDERR_FILENO, line, length);
}

static void explain(const char *domain, const char *path, int cause, bool reached)
{
    const char *what = cause == EBADMSG      ? "gave an answer that makes no sense"
                       : cause == ECONNRESET ? "ended the connection without an answer"
                                             : "did not answer in time";

    if (reached)
        complain("domain '%s': virtfnd %s (%s) -- look at 'journalctl -u virtfnd', then try again",
                 domain, what, path);
    else if (cause == EACCES || cause == EPERM)
        complain("domain '%s': the hook may not connect to %s: %s -- allow it in the AppArmor "
                 "profile or SELinux policy of libvirt's daemon",
                 domain, path, strerror(cause));
    else
        complain("domain '%s': virtfnd is not running (%s: %s) -- start it with 'systemctl start "
                 "virtfnd'",
                 domain, path, strerror(cause));
}

// Up to one byte more than VF_ASK_BODY_MAX, which tells that there is too much of it.
static ssize_t read_xml(void)
{
    size_t length = 0;

    while (length <= VF_ASK_BODY_MAX) {
        ssize_t n = -1;

        errno = ETIMEDOUT;
        if (vf_ask_ready(STDIN_FILENO, POLLIN))
            n = read(STDIN_FILENO, xml + length, VF_ASK_BODY_MAX + 1 - length);
        if (n <= 0)
            return n < 0 ? -1 : (ssize_t)length;
        length += n;
    }
    return length;
}

static bool is_annotated(const char *text, size_t length)
{
    static const char namespace[] = "urn:virtfn:domain:";

    return memmem(text, length, namespace, sizeof namespace - 1) != NULL;
}

// Whether a TAG holds the quoted WORD before the next '<', which no attribute can contain. What
// this finds too much costs a request; it cannot miss an attribute.
static bool tag_says(const char *text, size_t length, const char *tag, const char *word)
{
    const char *end = text + length;

    while ((text = memmem(text, end - text, tag, strlen(tag)))) {
        const char *from = text + strlen(tag);
        const char *stop = memchr(from, '<', end - from);

        text = stop ? stop : end;
        for (; (from = memmem(from, text - from, word, strlen(word))); from++)
            if (from[-1] == '\'' || from[-1] == '"')
                return true;
    }
    return false;
}

static bool passes_through(const char *text, size_t length)
{
    return tag_says(text, length, "<hostdev", "pci") ||
           tag_says(text, length, "<interface", "hostdev");
}

// Writes the header right before the XML; the size of the header.
static size_t put_header(const Operation *op, const char *extra, size_t length)
{
    char header[HEADER_MAX];
    bool reason = op->reasoned && strlen(extra) <= 32 && extra[0] != '-' && extra[0] != '\0' &&
                  extra[strspn(extra, "abcdefghijklmnopqrstuvwxyz-")] == '\0';
    int n = snprintf(header, sizeof header,
                     "POST /v1/hooks/%s%s%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n"
                     "Content-Type: application/xml\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n",
                     op->name, reason ? "?reason=" : "", reason ? extra : "", length);

    memcpy(xml - n, header, n);
    return n;
}

// What the reply means: the exit code of an operation that may fail.
static int obey(const Operation *op, const char *domain, const char *path, const VfReply *reply)
{
    int line = 0;

    if (reply->status == 204)
        return DONE;
    if (reply->status == 200 && op->rewrites) {
        if (put(STDOUT_FILENO, reply->body, reply->length))
            return DONE;
        complain("domain '%s': the new XML cannot be written to libvirt -- try again", domain);
        return REFUSED;
    }
    if (reply->status < 400 || reply->status > 599) {
        explain(domain, path, EBADMSG, true);
        return REFUSED;
    }
    while ((size_t)line < reply->length && line < MESSAGE_MAX && !strchr("\r\n", reply->body[line]))
        line++;
    if (line > 0)
        complain("%.*s", line, reply->body);
    else
        complain("domain '%s': virtfnd refused '%s' without a reason (status %d) -- look at "
                 "'journalctl -u virtfnd'",
                 domain, op->name, reply->status);
    return REFUSED;
}

int main(int argc, char **argv)
{
    const char *path = secure_getenv("VIRTFN_SOCKET"); // for tests; libvirt cleans the environment
    const Operation *op;
    bool annotated, reached;
    VfReply reply;
    ssize_t length;
    size_t header;

    vf_ask_begin();
    signal(SIGPIPE, SIG_IGN);
    if (argc < 4) {
        complain("usage: 50-virtfn DOMAIN OPERATION SUB-OPERATION EXTRA <DOMAIN.xml");
        return BAD_CALL;
    }
    if (!path)
        path = SOCKET_PATH;
    op = find_operation(argv[2], argv[3]);
    if (!op)
        return DONE;
    length = read_xml();
    if (length < 0) {
        complain("domain '%s': no XML on standard input: %s", argv[1], strerror(errno));
        return op->refuses ? BAD_CALL : DONE;
    }
    annotated = is_annotated(xml, length);
    if (!annotated && !passes_through(xml, length))
        return DONE;
    if (length > VF_ASK_BODY_MAX) {
        complain("domain '%s': its XML is larger than 4 MiB -- shorten its description or metadata",
                 argv[1]);
        return annotated && op->refuses ? REFUSED : DONE;
    }
    header = put_header(op, argc > 4 ? argv[4] : "-", length);
    errno = vf_ask(path, xml - header, header + length, &reply, &reached);
    if (errno) {
        explain(argv[1], path, errno, reached);
        // A device that is merely passed through may have nothing to do with virtfn.
        return op->refuses && (annotated || reached) ? REFUSED : DONE;
    }
    return obey(op, argv[1], path, &reply) && op->refuses ? REFUSED : DONE;
}
