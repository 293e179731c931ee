/* A client of the server under measurement: a plain socket that stays open, on the machine that
 * serves. What it cannot do ends the program. */
#pragma once

#include "base/base.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void client_fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static inline int client_dial(const char *url) {
    uint16_t port = (uint16_t)atoi(strrchr(url, ':') + 1);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        client_fail("the server", "no connection");
    return fd;
}

/* Sends a request and reads its whole answer, which must be 200. */
static inline void client_ask(int fd, Bytes request, Text *answer) {
    size_t body, at, length = 0;
    Err err = {0};
    if (!fd_write(fd, request, &err)) client_fail("the server", err.message);
    text_clear(answer);
    for (;;) {
        ssize_t n = read(fd, text_reserve(answer, 1 << 16), 1 << 16);
        if (n <= 0) client_fail("the server", "the connection broke");
        answer->len += (size_t)n;
        Str all = text_str(answer);
        if (!str_find(all, STR("\r\n\r\n"), &body)) continue;
        if (!str_starts(all, STR("HTTP/1.1 200"))) client_fail("the server", "an error");
        if (!str_find(str_slice(all, 0, body), STR("content-length: "), &at))
            client_fail("the server", "no length");
        sscanf(all.data + at, "content-length: %zu", &length);
        if (answer->len >= body + 4 + length) return;
    }
}
