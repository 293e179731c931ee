/* Raw sockets for the tests of the server: what a client may send, byte for byte. */
#pragma once

#include "kit/kit.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void wire_join(int fd, const HttpServer *server) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) abort();
}

static inline int wire_connect(const HttpServer *server) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) abort();
    wire_join(fd, server);
    return fd;
}

/* False when the server has closed, which it may do before it took everything. */
static inline bool wire_send(int fd, Str text) {
    while (text.len > 0) {
        ssize_t n = send(fd, text.data, text.len, MSG_NOSIGNAL);
        if (n <= 0) return false;
        text = str_slice(text, (size_t)n, text.len);
    }
    return true;
}

/* Adds what arrives until the server closes (true) or `quiet_ms` pass without a byte (false). */
static inline bool wire_receive(int fd, int quiet_ms, Text *out) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (poll(&wait, 1, quiet_ms) > 0) {
        char *room = text_reserve(out, 65536);
        ssize_t n = recv(fd, room, 65536, 0);
        if (n <= 0) return true;
        out->len += (size_t)n;
    }
    return false;
}

/* Receives until `text` holds `count` times `part`; false when the server closed or fell silent. */
static inline bool wire_receive_until(int fd, Str part, size_t count, Text *out) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (size_t from = 0, found = 0;;) {
        size_t at;
        while (str_find(str_slice(text_str(out), from, out->len), part, &at))
            from += at + part.len, found++;
        if (found >= count) return true;
        if (poll(&wait, 1, 10000) <= 0) return false;
        char *room = text_reserve(out, 65536);
        ssize_t n = recv(fd, room, 65536, 0);
        if (n <= 0) return false;
        out->len += (size_t)n;
    }
}

static inline size_t wire_count(Str text, Str part) {
    size_t count = 0, at;
    for (; str_find(text, part, &at); count++) text = str_slice(text, at + part.len, text.len);
    return count;
}

/* One request on a connection of its own that it asks to be closed; everything that came back. */
static inline Str wire_ask(const HttpServer *server, Arena *arena, Str request) {
    OWNED(text_close) Text answer = {0};
    int fd = wire_connect(server);
    wire_send(fd, request);
    wire_receive(fd, 10000, &answer);
    close(fd);
    return arena_copy(arena, text_str(&answer));
}

static inline int wire_status(Str answer) {
    uint64_t status;
    if (!str_starts(answer, STR("HTTP/1.1 "))) return 0;
    return str_to_u64(str_slice(answer, 9, 12), &status) ? (int)status : 0;
}
