/* One connection's life, as steps of a small machine: each step does one thing and says how to go
 * on. Everything here runs on the loop's thread and never blocks.
 *
 * Answers to pipelined requests gather in `out` and leave together, when no further whole request
 * has arrived or enough is there. */
#include "net/http_conn.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHARE (4 << 20)     /* bytes moved before other connections have their turn */
#define REQUEST_SHARE 65536 /* what one request counts for */

typedef enum Step {
    STEP_ON,    /* take the next step */
    STEP_WAIT,  /* until epoll says more */
    STEP_YIELD, /* others first */
    STEP_GIVEN, /* a pool thread owns it now: do not touch */
    STEP_CLOSE
} Step;

static const HttpOptions *options_of(const Conn *conn) {
    return &conn->loop->server->options;
}

static void set_deadline(Conn *conn, int64_t in_ms) {
    conn->deadline_ms = conn->loop->now_ms + in_ms;
}

static Step send_more(Conn *conn) {
    int64_t share = conn->share;
    Sent sent = conn_send(conn);
    if (sent == SENT_ALL) return STEP_ON;
    if (sent == SENT_FAILED) return conn->failed = true, STEP_CLOSE;
    if (conn->share < share) set_deadline(conn, options_of(conn)->stall_timeout_ms);
    return conn->writable ? STEP_YIELD : STEP_WAIT;
}

static Step received(Conn *conn, ssize_t n, size_t wanted) {
    if (n == 0) return STEP_CLOSE;
    if (n < 0 && errno == EINTR) return STEP_YIELD;
    if (n < 0 && errno != EAGAIN) return STEP_CLOSE;
    if (n < 0) return conn->readable = false, STEP_WAIT;
    /* Less than asked for: the socket is empty, and its next byte makes an event. After the peer's
     * FIN there is no further event, so reading goes on to the end. Under TLS it is a record. */
    if ((size_t)n < wanted && !conn->hung_up && !conn->tls) conn->readable = false;
    atomic_fetch_add_explicit(&conn->loop->bytes_in, n, memory_order_relaxed);
    conn->share -= n;
    return STEP_ON;
}

static Step fill(Conn *conn) {
    Queue *in = &conn->in;
    if (!conn->readable) return STEP_WAIT;
    if (in->from > 0) {
        Str rest = str_slice(text_str(&in->text), in->from, in->text.len);
        memmove(in->text.data, rest.data, rest.len);
        in->text.len = rest.len;
        in->from = 0;
    }
    size_t room = HTTP_BUFFER_SIZE - MIN(in->text.len, HTTP_BUFFER_SIZE);
    if (room == 0) return STEP_CLOSE; /* no head and no chunk's frame is that long */
    ssize_t n = conn_receive(conn, text_reserve(&in->text, room), room);
    if (n > 0) in->text.len += (size_t)n;
    return received(conn, n, room);
}

static Step refuse(Conn *conn, HttpRefusal why) {
    if (!conn->exchange) {
        conn->body = (BodyReader){.ended = true};
        exchange_new(conn);
    }
    exchange_refuse(conn->exchange, why);
    conn->state = CONN_SEND;
    return STEP_ON;
}

/* A client that speaks no TLS is told so in the way it speaks, which is plain from its first byte:
 * a method's letter, which no record of TLS begins with. */
static Step step_hello(Conn *conn) {
    char first;
    if (!conn->readable) return STEP_WAIT;
    ssize_t n = recv(conn->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) return received(conn, n, 1);
    conn->state = CONN_HEAD;
    if (first < 'A' || first > 'Z') return STEP_ON;
    tls_close(&conn->tls);
    return refuse(conn, (HttpRefusal){400, "this port speaks HTTPS alone: the address begins with "
                                           "https://"});
}

static Step begin(Conn *conn, const HttpHead *head, size_t size) {
    HttpRefusal why;
    conn->head_begun = false;
    conn->share -= REQUEST_SHARE;
    if (!exchange_begin(conn, head, size, &why)) return refuse(conn, why);
    conn->window_bytes = 0;
    set_deadline(conn, options_of(conn)->stall_timeout_ms);
    bool gathers = !conn->body.ended && !conn->exchange->plan.stream_body;
    conn->state = gathers ? CONN_BODY : CONN_READY;
    return STEP_ON;
}

static Step read_head(Conn *conn) {
    HttpHead head;
    HttpRefusal why;
    size_t size;
    Str in = str_slice(text_str(&conn->in.text), conn->in.from, conn->in.text.len);
    if (in.len == 0) return STEP_WAIT;
    switch (http_head_read(in, &head, &size, &why)) {
    case HEAD_WHOLE:
        return begin(conn, &head, size);
    case HEAD_REFUSED:
        return refuse(conn, why);
    case HEAD_PART:
        break;
    }
    if (!conn->head_begun) set_deadline(conn, options_of(conn)->head_timeout_ms);
    conn->head_begun = true;
    return STEP_WAIT;
}

static Step step_head(Conn *conn) {
    bool full = queue_size(&conn->out) > HTTP_BUFFER_SIZE - 2 * HTTP_SMALL_SIZE;
    if (full || !conn->writable) {
        Step sent = send_more(conn);
        if (sent != STEP_ON) return sent;
    }
    Step step = read_head(conn);
    if (step != STEP_WAIT) return step;
    bool sends = queue_size(&conn->out) > 0;
    step = send_more(conn);
    if (step != STEP_ON) return step;
    if (sends && !conn->head_begun) set_deadline(conn, options_of(conn)->idle_timeout_ms);
    if (conn->loop->stopping && queue_size(&conn->in) == 0) return STEP_CLOSE;
    return fill(conn);
}

/* A large body of known length is received where it will stay. */
static Step fill_gathered(Conn *conn) {
    Text *body = &conn->exchange->gathered;
    if (!conn->readable) return STEP_WAIT;
    size_t room = (size_t)MIN(conn->body.left, (int64_t)MAX(body->len, (size_t)HTTP_BUFFER_SIZE));
    ssize_t n = conn_receive(conn, text_reserve(body, room), room);
    if (n > 0) {
        body->len += (size_t)n;
        conn->body.left -= n;
        conn->body.ended = conn->body.left == 0;
        conn->window_bytes += n;
    }
    return received(conn, n, room);
}

static Step gather(Conn *conn) {
    Exchange *x = conn->exchange;
    Bytes data;
    while (queue_size(&conn->in) && !conn->body.ended) {
        if (!body_next(conn, SIZE_MAX, &data))
            return refuse(conn, (HttpRefusal){400, "the chunked coding is malformed"});
        if (x->gathered.len + data.size > x->plan.body_max)
            return refuse(conn, (HttpRefusal){413, "the request's body is larger than this route "
                                                   "takes"});
        text_add(&x->gathered, str_of(data));
    }
    return STEP_ON;
}

static Step step_body(Conn *conn) {
    Exchange *x = conn->exchange;
    Step step = gather(conn);
    if (step != STEP_ON || conn->state != CONN_BODY) return step;
    if (conn->body.ended) {
        x->request.body = text_bytes(&x->gathered);
        conn->state = CONN_READY;
        return STEP_ON;
    }
    if (x->expects && !x->continued) {
        text_add(&conn->out.text, STR("HTTP/1.1 100 Continue\r\n\r\n"));
        x->continued = true;
    }
    step = send_more(conn);
    if (step != STEP_ON) return step;
    return conn->body.chunked ? fill(conn) : fill_gathered(conn);
}

static Step step_ready(Conn *conn) {
    Exchange *x = conn->exchange;
    Loop *loop = conn->loop;
    if (!x->plan.pool) exchange_answer(x);
    if (!x->plan.pool) { /* still: it was not deferred */
        conn->state = CONN_SEND;
        return STEP_ON;
    }
    Step step = send_more(conn); /* answers before this one, in order */
    if (step != STEP_ON) return step;
    queue_return(&conn->in, &loop->in_spare);
    queue_return(&conn->out, &loop->out_spare);
    if (x->plan.stream_body) conn_disarm(conn);
    conn->state = CONN_POOL;
    conn->share = SHARE;
    pool_submit(loop->server->pool, x);
    return STEP_GIVEN;
}

static Step answered(Conn *conn) {
    bool close = conn->exchange->response.close;
    exchange_end(conn->exchange);
    if (close) {
        conn->state = CONN_LINGER;
        set_deadline(conn, HTTP_LINGER_MS);
    } else if (!conn->body.ended) {
        conn->state = CONN_DRAIN;
        conn->drain_left = HTTP_DRAIN_SIZE_MAX;
        set_deadline(conn, HTTP_DRAIN_MS);
    } else {
        conn->state = CONN_HEAD;
        set_deadline(conn, options_of(conn)->idle_timeout_ms);
    }
    return STEP_ON;
}

static Step step_send(Conn *conn) {
    const Response *response = &conn->exchange->response;
    if (conn->failed) return STEP_CLOSE;
    if (response->body.size > 0 || response->left > 0) {
        Step step = send_more(conn);
        if (step != STEP_ON) return step;
    }
    return answered(conn);
}

static void linger(Conn *conn) {
    conn->state = CONN_LINGER;
    set_deadline(conn, HTTP_LINGER_MS);
}

static Step step_drain(Conn *conn) {
    Bytes data;
    while (queue_size(&conn->in) && !conn->body.ended) {
        if (!body_next(conn, SIZE_MAX, &data)) return linger(conn), STEP_ON;
        conn->drain_left -= (int64_t)data.size;
    }
    if (conn->body.ended) {
        conn->state = CONN_HEAD;
        set_deadline(conn, options_of(conn)->idle_timeout_ms);
        return STEP_ON;
    }
    if (conn->drain_left < 0) return linger(conn), STEP_ON;
    Step step = send_more(conn);
    return step == STEP_ON ? fill(conn) : step;
}

/* Closing at once would reset the connection when bytes of the client are still on their way, and
 * the client could lose the answer: so only our side is closed, and the rest is read. */
static Step step_linger(Conn *conn) {
    Step step = send_more(conn);
    if (step != STEP_ON) return step;
    if (conn->tls && !conn->finished && !tls_finish(conn->tls))
        return conn->writable = false, STEP_WAIT;
    if (!conn->finished) {
        conn->finished = true;
        shutdown(conn->fd, SHUT_WR);
        set_deadline(conn, HTTP_LINGER_MS);
    }
    conn->in.text.len = conn->in.from = 0;
    return fill(conn);
}

static Step take_step(Conn *conn) {
    switch (conn->state) {
    case CONN_HELLO:
        return step_hello(conn);
    case CONN_HEAD:
        return step_head(conn);
    case CONN_BODY:
        return step_body(conn);
    case CONN_READY:
        return step_ready(conn);
    case CONN_SEND:
        return step_send(conn);
    case CONN_DRAIN:
        return step_drain(conn);
    case CONN_LINGER:
        return step_linger(conn);
    case CONN_NEW:
    case CONN_POOL:
    case CONN_CLOSED:
        break;
    }
    return STEP_WAIT;
}

void conn_run(Conn *conn) {
    Loop *loop = conn->loop;
    Step step = STEP_ON;
    conn->share = SHARE;
    queue_lend(&conn->in, &loop->in_spare);
    queue_lend(&conn->out, &loop->out_spare);
    while (step == STEP_ON) step = conn->share > 0 ? take_step(conn) : STEP_YIELD;
    if (step == STEP_GIVEN) return;
    queue_return(&conn->in, &loop->in_spare);
    queue_return(&conn->out, &loop->out_spare);
    if (step == STEP_CLOSE) conn_close(conn);
    if (step == STEP_YIELD) loop_run_later(conn);
}

/* Over one stall time-out a body must have kept up the least rate. */
static bool body_keeps_up(Conn *conn) {
    const HttpOptions *options = options_of(conn);
    int64_t wanted = options->body_rate_min * options->stall_timeout_ms / 1000;
    bool keeps_up = conn->window_bytes >= MAX(wanted, 1);
    conn->window_bytes = 0;
    if (keeps_up) set_deadline(conn, options->stall_timeout_ms);
    return keeps_up;
}

void conn_expire(Conn *conn) {
    bool stuck = queue_size(&conn->out) > 0;
    if (conn->state == CONN_BODY && !stuck) {
        if (body_keeps_up(conn)) return;
        refuse(conn, (HttpRefusal){408, "the request's body came too slowly"});
        return conn_run(conn);
    }
    if (conn->state == CONN_HEAD && conn->head_begun && !stuck) {
        refuse(conn, (HttpRefusal){408, "the request's head came too slowly"});
        return conn_run(conn);
    }
    conn->failed |= stuck;
    conn_close(conn);
}

void conn_close(Conn *conn) {
    Loop *loop = conn->loop;
    if (conn->exchange) {
        conn->failed = true;
        exchange_end(conn->exchange);
    }
    if (conn->failed) { /* a cut answer must not look like a whole one */
        struct linger reset = {.l_onoff = 1};
        setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    if (conn->tls && !conn->failed) tls_finish(conn->tls);
    tls_close(&conn->tls);
    close(conn->fd);
    text_close(&conn->in.text);
    text_close(&conn->out.text);
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        loop->conns = conn->next;
    if (conn->next) conn->next->previous = conn->previous;
    conn->state = CONN_CLOSED;
    conn->next = loop->dead; /* events of this round may still name it: freed at its end */
    loop->dead = conn;
    loop->conn_count--;
    atomic_fetch_sub(&loop->server->connections, 1);
}

void conn_turn_away(Conn *conn) {
    refuse(conn, (HttpRefusal){503, "too many connections are open"});
    conn_run(conn);
}
