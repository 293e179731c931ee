/* Inside the server: loops, connections, exchanges, and who owns what when.
 *
 * A Loop is one event thread. A Conn belongs to its loop, except in state CONN_POOL: then a pool
 * thread owns it and all it holds (buffers, body reader, exchange) and the loop reads nothing of it
 * but `state`; it comes back through the loop's inbox, whose lock orders the two. An Exchange is
 * one request and its answer; it comes from its loop's spares and is ended by the loop.
 *
 *     CONN_HEAD -> CONN_BODY -> CONN_READY -> (CONN_POOL) -> CONN_SEND -> CONN_HEAD
 *                                                               |-> CONN_DRAIN -> CONN_HEAD
 *                                                               `-> CONN_LINGER -> closed
 *
 * Under TLS it begins in CONN_HELLO, and its bytes go through its `tls`: in conn_receive and in the
 * two sends of http_send.c, where the socket's own calls stand beside.
 *
 * The buffers `in` and `out` are lent by the loop while it works on a connection; between events a
 * connection keeps only bytes that are really there, so an idle one holds none. */
#pragma once

#include "base/base.h"
#include "net/http_parse.h"
#include "net/http_server.h"
#include "net/tls.h"

#include <pthread.h>
#include <stdatomic.h>

#define HTTP_BUFFER_SIZE 65536
#define HTTP_SMALL_SIZE 16384         /* answers up to this are copied beside their head */
#define HTTP_DRAIN_SIZE_MAX (1 << 20) /* of a body that the handler left unread */
#define HTTP_DRAIN_MS 5000
#define HTTP_LINGER_MS 2000

typedef struct Loop Loop;
typedef struct Conn Conn;
typedef struct Exchange Exchange;
typedef struct Pool Pool;

typedef enum ConnState {
    CONN_NEW,    /* accepted, not yet in its loop */
    CONN_HELLO,  /* under TLS: waiting for its first byte */
    CONN_HEAD,   /* waiting for a request or in its head */
    CONN_BODY,   /* gathering the body */
    CONN_READY,  /* to be answered */
    CONN_POOL,   /* a pool thread answers it */
    CONN_SEND,   /* the answer is made and leaves */
    CONN_DRAIN,  /* answered; the rest of its body is thrown away */
    CONN_LINGER, /* nothing more to say; reads until the client has seen it and closes */
    CONN_CLOSED
} ConnState;

/* Where the current request's body ends. */
typedef struct BodyReader {
    bool chunked, ended, malformed;
    int64_t left; /* not chunked */
    HttpChunks chunks;
} BodyReader;

/* Bytes that have arrived or wait to leave: [from, text.len). */
typedef struct Queue {
    Text text;
    size_t from;
} Queue;

struct Conn {
    Loop *loop;
    Conn *previous, *next; /* all of the loop's */
    Conn *next_inbox, *next_runnable;
    int fd;
    Tls *tls; /* NULL: the bytes go as they are */
    ConnState state;
    bool readable, writable, hung_up;
    bool runnable;   /* is on the loop's list */
    bool head_begun; /* deadline_ms is that of a head under way */
    bool disarmed;   /* epoll does not report it: a pool thread waits on the socket itself */
    bool finished;   /* our side is shut */
    bool failed;     /* the client is lost or the answer cannot be finished: close at once */
    int64_t share;   /* work left to it before others have their turn */
    int64_t deadline_ms;
    int64_t drain_left;
    int64_t window_bytes; /* body bytes since the rate was last looked at */
    Queue in, out;
    BodyReader body;
    Exchange *exchange;
};

typedef enum ResponseKind {
    RESPONSE_NONE,
    RESPONSE_BYTES,
    RESPONSE_FILE,
    RESPONSE_STREAM
} ResponseKind;

struct Response {
    Exchange *exchange;
    ResponseKind kind;
    int status;
    char *headers; /* lines, in the arena */
    size_t headers_len, headers_cap;
    Text taken;
    Bytes body; /* what is left to send */
    int fd;
    uint64_t offset, size, left;         /* of the file; left to send */
    bool sealed;                         /* its head is made */
    bool chunked, sized, close, aborted; /* sized: `left` bytes of a stream are still to come */
    uint64_t sent;
};

struct Exchange {
    Request request; /* first: a Request * from outside is an Exchange * */
    Response response;
    Conn *conn;
    Exchange *next_spare;
    HttpPlan plan;
    bool planned, keep_alive, expects, continued, slow;
    int minor;
    int64_t waited_us; /* by request_read, in this window */
    Text gathered;
    Arena arena;
    char first_block[3072]; /* where the arena begins, so that most requests allocate nothing */
};

struct Loop {
    HttpServer *server;
    pthread_t thread;
    int epoll, wake, index;
    Conn *conns, *runnable, *dead;
    int64_t conn_count;
    Exchange *spares;
    int spare_count;
    Text in_spare, out_spare;
    int64_t now_ms, swept_ms;
    uint64_t id_seed, id_next;
    bool stopping, cut;
    pthread_mutex_t lock;
    Conn *inbox;
    _Atomic int64_t requests_total, bytes_in, bytes_out;
};

struct HttpServer {
    HttpApp app;
    HttpOptions options;
    int port, listener;
    bool listener_paused; /* of loop 0: out of descriptors */
    int next_loop;
    int loop_count;
    Loop *loops;
    Pool *pool;
    int64_t sweep_ms;
    atomic_bool stopping, cut, accepting;
    _Atomic int64_t connections, connections_total;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int running; /* loops */
};

/* http_conn.c: on the loop's thread. */
void conn_run(Conn *conn);
void conn_expire(Conn *conn); /* its deadline has passed */
void conn_close(Conn *conn);
void conn_turn_away(Conn *conn); /* too many are open */
/* http_exchange.c: on whichever thread owns the connection, but for new and end: the loop's. */
Exchange *exchange_new(Conn *conn);
bool exchange_begin(Conn *conn, const HttpHead *head, size_t size, HttpRefusal *why);
void exchange_end(Exchange *exchange);
void exchange_refuse(Exchange *exchange, HttpRefusal why);
void exchange_answer(Exchange *exchange);
/* http_body.c */
ssize_t conn_receive(Conn *conn, void *buffer, size_t size); /* as recv, not blocking */
bool body_next(Conn *conn, size_t size_max, Bytes *data);    /* false: malformed coding */
void conn_disarm(Conn *conn);
/* http_response.c */
void response_reset(Response *response, Exchange *exchange);
void response_seal(Response *response);
/* http_send.c */
typedef enum Sent { SENT_ALL, SENT_PART, SENT_FAILED } Sent;
Sent conn_send(Conn *conn);
bool conn_send_waiting(Conn *conn, Bytes data, Bytes end, Err *err);
static inline size_t queue_size(const Queue *queue) {
    return queue->text.len - queue->from;
}
void queue_lend(Queue *queue, Text *spare);
void queue_return(Queue *queue, Text *spare);
/* http_server.c: thread safe. */
void loop_return(Conn *conn);
void loop_run_later(Conn *conn); /* the loop's thread */
/* http_pool.c: thread safe. */
bool pool_open(int threads_max, Pool **out, Err *err);
void pool_submit(Pool *pool, Exchange *exchange);
int64_t pool_busy(Pool *pool);
void pool_close(Pool **pool); /* nothing may be queued any more */
