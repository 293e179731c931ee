/* A request's body: where it ends, and reading it while a handler runs.
 *
 * Slow bodies: time spent waiting for the client is added up; over each stall_timeout_ms of it
 * body_rate_min must have come. Time that the handler takes is not the client's fault and does not
 * count. */
#include "net/http_conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

ssize_t conn_receive(Conn *conn, void *buffer, size_t size) {
    return conn->tls ? tls_read(conn->tls, buffer, size)
                     : recv(conn->fd, buffer, size, MSG_DONTWAIT);
}

bool body_next(Conn *conn, size_t size_max, Bytes *data) {
    BodyReader *body = &conn->body;
    Bytes in = {(const uint8_t *)conn->in.text.data + conn->in.from,
                MIN(queue_size(&conn->in), size_max)};
    size_t given = in.size;
    if (body->chunked) {
        body->malformed = !http_chunks_read(&body->chunks, &in, data);
        body->ended = body->malformed || body->chunks.state == CHUNK_DONE;
    } else {
        *data = (Bytes){in.data, (size_t)MIN((int64_t)in.size, body->left)};
        in.size -= data->size;
        body->left -= (int64_t)data->size;
        body->ended = body->left == 0;
    }
    conn->in.from += given - in.size;
    conn->window_bytes += (int64_t)data->size;
    return !body->malformed;
}

/* While a pool thread waits on the socket itself, events would only wake the loop for nothing. */
void conn_disarm(Conn *conn) {
    struct epoll_event none = {.events = EPOLLET, .data.ptr = conn};
    if (conn->disarmed) return;
    conn->disarmed = epoll_ctl(conn->loop->epoll, EPOLL_CTL_MOD, conn->fd, &none) == 0;
}

static bool lost(Conn *conn, Err *err) {
    conn->failed = true;
    return err_set(err, LH_CANCELLED, "the client went away");
}

static bool wait_readable(Exchange *x, Err *err) {
    Conn *conn = x->conn;
    const HttpOptions *options = &conn->loop->server->options;
    short event = conn->tls ? tls_waits_for(conn->tls) : POLLIN;
    struct pollfd wait = {.fd = conn->fd, .events = event};
    int64_t before = clock_us(), left_ms = options->stall_timeout_ms - x->waited_us / 1000;
    int n = poll(&wait, 1, (int)MAX(left_ms, 1));
    if (n < 0 && errno != EINTR) return lost(conn, err);
    x->waited_us += clock_us() - before;
    if (x->waited_us / 1000 < options->stall_timeout_ms) return true;
    int64_t wanted = options->body_rate_min * options->stall_timeout_ms / 1000;
    x->slow = conn->window_bytes < MAX(wanted, 1);
    x->waited_us = 0;
    conn->window_bytes = 0;
    if (!x->slow) return true;
    return err_set(err, LH_CANCELLED, "the request's body came slower than %lld bytes a second",
                   (long long)options->body_rate_min);
}

static bool send_continue(Exchange *x, Err *err) {
    if (!x->expects || x->continued) return true;
    x->continued = true;
    return conn_send_waiting(x->conn, bytes_of(STR("HTTP/1.1 100 Continue\r\n\r\n")), (Bytes){0},
                             err);
}

/* Reads from the socket into `buffer`, or waits: *got is 0 then. */
static bool receive(Exchange *x, void *buffer, size_t size, size_t *got, Err *err) {
    *got = 0;
    if (!send_continue(x, err)) return false;
    ssize_t n = conn_receive(x->conn, buffer, size);
    if (n == 0) return lost(x->conn, err);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return lost(x->conn, err);
    if (n < 0) return wait_readable(x, err);
    atomic_fetch_add_explicit(&x->conn->loop->bytes_in, n, memory_order_relaxed);
    *got = (size_t)n;
    return true;
}

/* What has arrived already, up to `size` bytes of body. */
static bool read_buffered(Conn *conn, void *buffer, size_t size, size_t *got, Err *err) {
    Bytes data;
    if (!body_next(conn, size, &data))
        return err_code(err, LH_INVALID, "bad_chunk", "the chunked coding is malformed");
    if (data.size) memcpy(buffer, data.data, data.size);
    *got = data.size;
    return true;
}

static bool fill_in(Exchange *x, Err *err) {
    Queue *in = &x->conn->in;
    size_t got;
    in->text.len = in->from = 0;
    char *room = text_reserve(&in->text, HTTP_BUFFER_SIZE);
    if (!receive(x, room, HTTP_BUFFER_SIZE, &got, err)) return false;
    in->text.len = got;
    return true;
}

bool request_read(Request *request, void *buffer, size_t size, size_t *got, Err *err) {
    Exchange *x = (Exchange *)request;
    Conn *conn = x->conn;
    BodyReader *body = &conn->body;
    size_t n = 0;
    if (x->slow || conn->failed) return err_set(err, LH_CANCELLED, "the client went away");
    if (body->malformed)
        return err_code(err, LH_INVALID, "bad_chunk", "the chunked coding is malformed");
    while (n == 0 && !body->ended && size > 0) {
        if (queue_size(&conn->in)) {
            if (!read_buffered(conn, buffer, size, &n, err)) return false;
        } else if (body->chunked) {
            if (!fill_in(x, err)) return false;
        } else {
            if (!receive(x, buffer, (size_t)MIN((int64_t)size, body->left), &n, err)) return false;
            body->left -= (int64_t)n;
            body->ended = body->left == 0;
            conn->window_bytes += (int64_t)n;
        }
    }
    *got = n;
    return true;
}

bool request_gone(Request *request) {
    Conn *conn = ((Exchange *)request)->conn;
    struct pollfd look = {.fd = conn->fd, .events = POLLRDHUP};
    if (conn->failed) return true;
    return poll(&look, 1, 0) > 0 && look.revents & (POLLRDHUP | POLLHUP | POLLERR);
}
