/* Sending: what waits in `out`, then the body's rest, then the file's. An event thread sends what
 * the socket takes now; a pool thread that streams waits for it, which is the back pressure. */
#include "net/http_conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define SENDFILE_SIZE_MAX (1 << 20)

static void count_sent(Conn *conn, size_t size) {
    atomic_fetch_add_explicit(&conn->loop->bytes_out, (int64_t)size, memory_order_relaxed);
    conn->share -= (int64_t)size;
}

static void take_sent(Bytes *part, size_t *sent) {
    size_t size = MIN(part->size, *sent);
    *part = (Bytes){part->data + size, part->size - size};
    *sent -= size;
}

/* One sendmsg of what is left of the parts; they shrink by what went. */
static Sent send_parts(Conn *conn, Bytes *parts, size_t count, int flags) {
    struct iovec pieces[3];
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (struct iovec){(void *)parts[i].data, parts[i].size};
        total += parts[i].size;
    }
    if (total == 0) return SENT_ALL;
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t n = conn->tls ? tls_write(conn->tls, pieces, count)
                          : sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
    if (n < 0 && errno == EINTR) return SENT_PART;
    if (n < 0 && errno != EAGAIN) return SENT_FAILED;
    if (n < 0) return conn->writable = false, SENT_PART;
    size_t sent = (size_t)n;
    count_sent(conn, sent);
    for (size_t i = 0; i < count; i++) take_sent(&parts[i], &sent);
    return (size_t)n == total ? SENT_ALL : SENT_PART;
}

static Bytes queue_bytes(const Queue *queue) {
    return (Bytes){(const uint8_t *)queue->text.data + queue->from, queue_size(queue)};
}

static void queue_set_left(Queue *queue, size_t left) {
    queue->from = queue->text.len - left;
    if (left == 0) queue->text.len = queue->from = 0;
}

static Sent send_buffered(Conn *conn, Response *response) {
    Bytes parts[2] = {queue_bytes(&conn->out), response ? response->body : (Bytes){0}};
    int more = response && response->left > 0 ? MSG_MORE : 0;
    size_t before = parts[1].size;
    Sent sent = send_parts(conn, parts, 2, more);
    if (sent == SENT_FAILED) return sent;
    queue_set_left(&conn->out, parts[0].size);
    if (response) response->sent += before - parts[1].size, response->body = parts[1];
    return sent;
}

static Sent send_file(Conn *conn, Response *response) {
    off_t offset = (off_t)response->offset;
    size_t size = (size_t)MIN(response->left, (uint64_t)SENDFILE_SIZE_MAX);
    ssize_t n = conn->tls ? tls_send_file(conn->tls, response->fd, response->offset, size)
                          : sendfile(conn->fd, response->fd, &offset, size);
    if (n < 0 && errno == EINTR) return SENT_PART;
    if (n < 0 && errno == EAGAIN) return conn->writable = false, SENT_PART;
    if (n <= 0) return SENT_FAILED; /* 0: the file is shorter than it was promised to be */
    count_sent(conn, (size_t)n);
    response->offset += (uint64_t)n;
    response->left -= (uint64_t)n;
    response->sent += (uint64_t)n;
    return response->left ? SENT_PART : SENT_ALL;
}

/* SENT_PART: the socket is full (conn->writable is false), or the connection's share is used. */
Sent conn_send(Conn *conn) {
    Response *response =
        conn->exchange && conn->exchange->response.sealed ? &conn->exchange->response : NULL;
    Sent sent = SENT_PART;
    while (sent == SENT_PART && conn->writable && conn->share > 0)
        sent = send_buffered(conn, response);
    if (sent != SENT_ALL || !response || response->left == 0) return sent;
    sent = SENT_PART;
    while (sent == SENT_PART && conn->writable && conn->share > 0) sent = send_file(conn, response);
    return sent;
}

/* Waits for room at most the stall time-out: the clock starts again whenever something moved. */
static bool wait_writable(Conn *conn) {
    short event = conn->tls ? tls_waits_for(conn->tls) : POLLOUT;
    struct pollfd wait = {.fd = conn->fd, .events = event};
    int64_t stall_ms = conn->loop->server->options.stall_timeout_ms;
    int n;
    do n = poll(&wait, 1, (int)stall_ms);
    while (n < 0 && errno == EINTR);
    return n > 0 && !(wait.revents & (POLLERR | POLLHUP));
}

bool conn_send_waiting(Conn *conn, Bytes data, Bytes end, Err *err) {
    Bytes parts[3] = {queue_bytes(&conn->out), data, end};
    Sent sent;
    while ((sent = send_parts(conn, parts, 3, 0)) == SENT_PART) {
        if (conn->writable) continue;
        conn->writable = true;
        if (wait_writable(conn)) continue;
        sent = SENT_FAILED;
        break;
    }
    queue_set_left(&conn->out, parts[0].size);
    if (sent == SENT_ALL) return true;
    conn->failed = true;
    return err_set(err, LH_CANCELLED, "the client went away or stopped reading");
}

/* Moves what is there into the loop's large buffer and leaves the connection with that. */
void queue_lend(Queue *queue, Text *spare) {
    Text large = *spare;
    *spare = (Text){0};
    large.len = 0;
    text_reserve(&large, HTTP_BUFFER_SIZE);
    if (queue_size(queue)) text_add(&large, str_of(queue_bytes(queue)));
    text_close(&queue->text);
    *queue = (Queue){.text = large};
}

/* Gives the large buffer back; what is still in it moves into one of its own size. */
void queue_return(Queue *queue, Text *spare) {
    Text small = {0};
    if (queue_size(queue)) text_add(&small, str_of(queue_bytes(queue)));
    if (!spare->data && queue->text.cap <= 4 * HTTP_BUFFER_SIZE)
        *spare = queue->text;
    else
        text_close(&queue->text);
    *queue = (Queue){.text = small};
}
