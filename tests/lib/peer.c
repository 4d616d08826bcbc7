// SPDX-License-Identifier: GPL-2.0-or-later
//
// peer SOCKET DIRECTORY: an HTTP peer with prepared answers, for tests of the client. The bytes of
// DIRECTORY/METHOD_PATH ('/' as '_': GET_v1_pools), or else of DIRECTORY/default, are sent as they
// are, right or wrong, and the connection is closed. Each request is kept in DIRECTORY/log: its
// first line, and its body in the line below when there is one. The socket appears when the peer
// is ready; it serves one connection after the other until it is killed.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int serve(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    // Bound under another name first: a test that sees the socket can connect to it.
    snprintf(address.sun_path, sizeof(address.sun_path), "%s.new", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 16) != 0 || rename(address.sun_path, path) != 0)
        die(path);
    return fd;
}

static size_t body_length(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");

    return field != NULL ? strtoul(field + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

// Reads head and body; returns the body, which is part of `request`.
static char *read_request(int fd, char *request, size_t size)
{
    size_t length = 0;
    char *body = NULL;

    while (length + 1 < size) {
        ssize_t part = read(fd, request + length, size - 1 - length);

        if (part <= 0)
            return body;
        length += (size_t)part;
        request[length] = '\0';
        char *end = strstr(request, "\r\n\r\n");
        if (end == NULL)
            continue;
        body = end + 4;
        if ((size_t)(request + length - body) >= body_length(request))
            return body;
    }
    return body;
}

static void send_file(int fd, const char *directory, const char *name)
{
    char path[4096], bytes[65536];
    ssize_t length;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        snprintf(path, sizeof(path), "%s/default", directory);
        file = open(path, O_RDONLY | O_CLOEXEC);
    }
    while (file >= 0 && (length = read(file, bytes, sizeof(bytes))) > 0)
        if (send(fd, bytes, (size_t)length, MSG_NOSIGNAL) != length)
            break;
    if (file >= 0)
        close(file);
}

static void answer(int fd, const char *directory, FILE *log)
{
    static char request[8 * 1024 * 1024];
    char name[1024];
    char *body = read_request(fd, request, sizeof(request));

    if (body == NULL)
        return;
    *strstr(request, "\r\n") = '\0';
    fprintf(log, "%s\n%s%s", request, body, *body != '\0' ? "\n" : "");
    fflush(log);
    char *end = strstr(request, " HTTP/");
    if (end != NULL)
        *end = '\0';
    // "GET /v1/pools" becomes "GET_v1_pools".
    char *out = name;
    for (const char *in = request; *in != '\0' && out < name + sizeof(name) - 1; in++)
        if (*in != ' ')
            *out++ = *in == '/' ? '_' : *in;
    *out = '\0';
    send_file(fd, directory, name);
}

int main(int argc, char **argv)
{
    char path[4096];

    if (argc != 3) {
        fprintf(stderr, "usage: peer SOCKET DIRECTORY\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/log", argv[2]);
    FILE *log = fopen(path, "ae");
    if (log == NULL)
        die(path);
    for (int listener = serve(argv[1]);;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            die("accept");
        answer(fd, argv[2], log);
        close(fd);
    }
}
