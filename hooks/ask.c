// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hook's HTTP client: one request, one reply with a Content-Length, no other framing, no
// redirect, nothing kept open. The peer is not trusted: what it sends is bounded and read strictly,
// and no wait outlives the deadline. Deliberately not a general client: the commands use libcurl.

#include "ask.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 100

static char answer[VF_ASK_HEADER_MAX + VF_ASK_BODY_MAX];
static long long deadline;

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int left_ms(void)
{
    long long left = deadline - now_ms();

    return left > 0 ? (int)left : 0;
}

void vf_ask_begin(void)
{
    deadline = now_ms() + VF_HOOK_TIMEOUT_MS;
}

short vf_ask_ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    while (poll(&p, 1, left_ms()) < 0 && errno == EINTR)
        continue;
    return left_ms() > 0 ? p.revents : 0;
}

// Names longer than what is left are not compared: some readers of both strings (libFuzzer's hook
// of strncasecmp() is one) look at all bytes whatever the first ones say.
static bool is_field(const char *line, const char *end, const char *name)
{
    const size_t length = strlen(name);

    return (size_t)(end - line) >= length && !strncasecmp(line, name, length);
}

// The value of Content-Length, -1 when there is none, -2 when the end of the body is in doubt.
// Nothing here reads past the CR LF CR LF that END points at.
static long body_length(const char *line, const char *end)
{
    long length = -1;

    while ((line = memmem(line, end - line, "\r\n", 2))) {
        size_t digits;

        line += 2;
        if (is_field(line, end, "Transfer-Encoding:"))
            return -2;
        if (!is_field(line, end, "Content-Length:"))
            continue;
        line += 15 + strspn(line + 15, " ");
        digits = strspn(line, "0123456789");
        if (length >= 0 || digits < 1 || digits > 7 || line[digits] != '\r')
            return -2;
        length = atol(line);
    }
    return length;
}

VfReplyState vf_ask_parse(const char *text, size_t size, VfReply *reply)
{
    const size_t head = size < VF_ASK_HEADER_MAX ? size : VF_ASK_HEADER_MAX;
    const char *end = memmem(text, head, "\r\n\r\n", 4);
    long length, got;

    if (memcmp(text, "HTTP/1.1 ", size < 9 ? size : 9))
        return VF_REPLY_BAD;
    if (!end)
        return size < VF_ASK_HEADER_MAX ? VF_REPLY_PARTIAL : VF_REPLY_BAD;
    if (strspn(text + 9, "0123456789") != 3 || (text[12] != ' ' && text[12] != '\r'))
        return VF_REPLY_BAD;
    reply->status = atoi(text + 9);
    reply->body = end + 4;
    length = body_length(text, end);
    if (reply->status == 204 && length == -1)
        length = 0; // RFC 9110, 8.6: such a reply has no Content-Length
    got = text + size - reply->body;
    if (length < 0 || length > VF_ASK_BODY_MAX || got > length ||
        (reply->status == 204 && length > 0))
        return VF_REPLY_BAD;
    reply->length = length;
    return got < length ? VF_REPLY_PARTIAL : VF_REPLY_WHOLE;
}

// 0, also when the rest of the request is not wanted: the peer has answered already or hung up,
// and receive() tells which.
static int transmit(int fd, const char *request, size_t length)
{
    while (length > 0) {
        short events = vf_ask_ready(fd, POLLIN | POLLOUT);
        ssize_t n;

        if (!events)
            return ETIMEDOUT;
        if (events & (POLLIN | POLLHUP))
            return 0;
        n = send(fd, request, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return 0;
        request += n > 0 ? n : 0;
        length -= n > 0 ? n : 0;
    }
    return 0;
}

static int receive(int fd, VfReply *reply)
{
    VfReplyState state;
    size_t got = 0;

    while ((state = vf_ask_parse(answer, got, reply)) == VF_REPLY_PARTIAL) {
        ssize_t n;

        if (!vf_ask_ready(fd, POLLIN))
            return ETIMEDOUT;
        n = recv(fd, answer + got, sizeof answer - got, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return ECONNRESET;
        got += n > 0 ? n : 0;
    }
    return state == VF_REPLY_WHOLE ? 0 : EBADMSG;
}

int vf_ask(const char *path, const char *request, size_t length, VfReply *reply, bool *reached)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *reached = false;
    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    strcpy(address.sun_path, path);
    for (bool first = true;; first = false) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int cause = 0;

        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
            cause = errno;
        *reached = cause == 0 || cause == EAGAIN; // EAGAIN: a full queue, so somebody listens
        if (cause == 0)
            cause = transmit(fd, request, length);
        if (cause == 0)
            cause = receive(fd, reply);
        if (fd >= 0)
            close(fd);
        if (left_ms() <= RETRY_MS || !(cause == ECONNREFUSED || cause == ECONNRESET ||
                                       cause == EAGAIN || (cause == ENOENT && !first)))
            return cause;
        poll(NULL, 0, RETRY_MS);
    }
}
