/* Opening, the event loops, stopping. Loop 0 accepts and deals connections out in turn: with a
 * listener for each loop (SO_REUSEPORT) the kernel spreads them by hash, which left one of two
 * threads idle whenever few clients kept their connections. */
#include "net/http_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define ACCEPTS_MAX 64
#define BACKLOG 4096
#define TURNED_AWAY_MAX                                                                            \
    256 /* above connections_max, each told so; beyond that cut without a word */
#define SWEEP_MS_MAX 1000

const HttpOptions http_options_default = {
    .host = {"127.0.0.1", 9},
    .port = 3100,
    .event_threads = 2,
    .pool_threads_max = 64,
    .head_timeout_ms = 10000,
    .idle_timeout_ms = 60000,
    .stall_timeout_ms = 20000,
    .body_rate_min = 1024,
    .connections_max = 10000
};

static void loop_wake(Loop *loop) {
    uint64_t one = 1;
    ssize_t n = write(loop->wake, &one, sizeof one);
    assert(n == sizeof one || errno == EAGAIN);
}

static void inbox_add(Loop *loop, Conn *conn) {
    pthread_mutex_lock(&loop->lock);
    bool first = !loop->inbox;
    conn->next_inbox = loop->inbox;
    loop->inbox = conn;
    pthread_mutex_unlock(&loop->lock);
    if (first) loop_wake(loop);
}

void loop_return(Conn *conn) {
    inbox_add(conn->loop, conn);
}

void loop_run_later(Conn *conn) {
    if (conn->runnable) return;
    conn->runnable = true;
    conn->next_runnable = conn->loop->runnable;
    conn->loop->runnable = conn;
}

static bool watch(Loop *loop, Conn *conn, int operation) {
    struct epoll_event all = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                              .data.ptr = conn};
    return epoll_ctl(loop->epoll, operation, conn->fd, &all) == 0;
}

/* A connection that was just accepted joins its loop. */
static void adopt(Loop *loop, Conn *conn) {
    HttpServer *server = loop->server;
    conn->next = loop->conns;
    if (conn->next) conn->next->previous = conn;
    loop->conns = conn;
    loop->conn_count++;
    conn->state = conn->tls ? CONN_HELLO : CONN_HEAD;
    conn->writable = conn->readable = true; /* the request often came with the connection */
    conn->deadline_ms = loop->now_ms + server->options.head_timeout_ms;
    if (!watch(loop, conn, EPOLL_CTL_ADD)) return conn_close(conn);
    if (atomic_load(&server->connections) > server->options.connections_max)
        conn_turn_away(conn);
    else
        conn_run(conn);
}

/* A pool thread has made its answer. */
static void take_back(Loop *loop, Conn *conn) {
    conn->state = CONN_SEND;
    conn->disarmed = false;
    conn->readable = conn->writable = true;
    conn->deadline_ms = loop->now_ms + loop->server->options.stall_timeout_ms;
    /* Watched anew even if it was not disarmed: what happened meanwhile was not looked at. */
    conn->failed |= !watch(loop, conn, EPOLL_CTL_MOD);
    conn_run(conn);
}

static void take_inbox(Loop *loop) {
    pthread_mutex_lock(&loop->lock);
    Conn *conn = loop->inbox;
    loop->inbox = NULL;
    pthread_mutex_unlock(&loop->lock);
    while (conn) {
        Conn *next = conn->next_inbox;
        if (conn->state == CONN_NEW)
            adopt(loop, conn);
        else
            take_back(loop, conn);
        conn = next;
    }
}

static void pause_listener(HttpServer *server, bool paused) {
    Loop *loop = &server->loops[0];
    struct epoll_event event = {.events = paused ? 0 : EPOLLIN, .data.ptr = server};
    if (server->listener_paused == paused) return;
    server->listener_paused = paused;
    epoll_ctl(loop->epoll, EPOLL_CTL_MOD, server->listener, &event);
}

static void deal_out(HttpServer *server, int fd) {
    int one = 1;
    if (atomic_load(&server->connections) >= server->options.connections_max + TURNED_AWAY_MAX) {
        close(fd);
        return;
    }
    Conn *conn = calloc(1, sizeof *conn);
    if (!conn) abort();
    Loop *loop = &server->loops[server->next_loop];
    server->next_loop = (server->next_loop + 1) % server->loop_count;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *conn = (Conn){.loop = loop, .fd = fd, .state = CONN_NEW};
    if (server->options.tls) conn->tls = tls_accept(server->options.tls, fd);
    atomic_fetch_add(&server->connections, 1);
    atomic_fetch_add(&server->connections_total, 1);
    if (loop->index == 0)
        adopt(loop, conn);
    else
        inbox_add(loop, conn);
}

static void accept_some(HttpServer *server) {
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            deal_out(server, fd);
            continue;
        }
        /* Out of descriptors: asking again at once would only burn time. The sweep resumes. */
        if (errno == EMFILE || errno == ENFILE) pause_listener(server, true);
        return;
    }
}

static void on_event(Loop *loop, const struct epoll_event *event) {
    uint64_t count;
    Conn *conn = event->data.ptr;
    if (event->data.ptr == loop->server) return accept_some(loop->server);
    if (event->data.ptr == loop) {
        if (read(loop->wake, &count, sizeof count) < 0) assert(errno == EAGAIN);
        return;
    }
    if (conn->state == CONN_POOL || conn->state == CONN_CLOSED) return;
    bool broken = event->events & (EPOLLHUP | EPOLLERR);
    conn->hung_up |= broken || event->events & EPOLLRDHUP;
    /* Under TLS a read may wait for room and a write for bytes: whatever came, both are tried. */
    conn->readable |= conn->hung_up || conn->tls || event->events & EPOLLIN;
    conn->writable |= broken || conn->tls || event->events & EPOLLOUT;
    if (!conn->runnable) conn_run(conn);
}

static void close_idle(Loop *loop) {
    for (Conn *conn = loop->conns, *next; conn; conn = next) {
        next = conn->next;
        bool waits = conn->state == CONN_HELLO || conn->state == CONN_HEAD;
        if (waits && queue_size(&conn->in) == 0 && queue_size(&conn->out) == 0) conn_close(conn);
    }
}

static void cut_all(Loop *loop) {
    for (Conn *conn = loop->conns, *next; conn; conn = next) {
        next = conn->next;
        if (conn->state == CONN_POOL)
            shutdown(conn->fd, SHUT_RDWR); /* its thread's next read or write fails */
        else
            conn_close(conn);
    }
}

static void notice_stop(Loop *loop) {
    HttpServer *server = loop->server;
    if (!loop->stopping && atomic_load(&server->stopping)) {
        loop->stopping = true;
        if (loop->index == 0) {
            fd_close(&server->listener);
            atomic_store(&server->accepting, false);
            for (int i = 1; i < server->loop_count; i++) loop_wake(&server->loops[i]);
        }
        close_idle(loop);
    }
    if (atomic_load(&server->cut)) cut_all(loop);
}

static void sweep(Loop *loop) {
    HttpServer *server = loop->server;
    if (loop->now_ms - loop->swept_ms < server->sweep_ms) return;
    loop->swept_ms = loop->now_ms;
    if (loop->index == 0 && server->listener >= 0) pause_listener(server, false);
    for (Conn *conn = loop->conns, *next; conn; conn = next) {
        next = conn->next;
        if (conn->state != CONN_POOL && loop->now_ms >= conn->deadline_ms) conn_expire(conn);
    }
}

static void run_runnable(Loop *loop) {
    Conn *conn = TAKE(loop->runnable);
    while (conn) {
        Conn *next = conn->next_runnable;
        conn->runnable = false;
        if (conn->state != CONN_POOL && conn->state != CONN_CLOSED) conn_run(conn);
        conn = next;
    }
}

static void free_dead(Loop *loop) {
    for (Conn *conn = TAKE(loop->dead), *next; conn; conn = next) {
        next = conn->next;
        free(conn);
    }
}

static bool is_over(Loop *loop) {
    if (!loop->stopping || loop->conn_count > 0) return false;
    if (atomic_load(&loop->server->accepting)) return false;
    pthread_mutex_lock(&loop->lock);
    bool empty = !loop->inbox;
    pthread_mutex_unlock(&loop->lock);
    return empty;
}

static void *loop_thread(void *argument) {
    Loop *loop = argument;
    HttpServer *server = loop->server;
    struct epoll_event events[EVENTS_MAX];
    while (!is_over(loop)) {
        bool idle = loop->conn_count == 0 && !(loop->index == 0 && server->listener_paused);
        int patience = loop->runnable ? 0 : idle ? -1 : (int)server->sweep_ms;
        int n = epoll_wait(loop->epoll, events, EVENTS_MAX, patience);
        loop->now_ms = clock_us() / 1000;
        for (int i = 0; i < n; i++) on_event(loop, &events[i]);
        take_inbox(loop);
        notice_stop(loop);
        sweep(loop);
        run_runnable(loop);
        free_dead(loop);
    }
    pthread_mutex_lock(&server->lock);
    server->running--;
    pthread_cond_broadcast(&server->ended);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static bool read_address(const HttpOptions *options, struct sockaddr_storage *out, socklen_t *size,
                         Err *err) {
    char host[INET6_ADDRSTRLEN + 1];
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    snprintf(host, sizeof host, "%.*s", SHOW(options->host));
    *out = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)options->port);
        return *size = sizeof *four, true;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)options->port);
        return *size = sizeof *six, true;
    }
    return err_code(err, LH_INVALID, "bad_address", "'%.*s' is not an IPv4 or IPv6 address",
                    SHOW(options->host));
}

static bool listen_on(HttpServer *server, Err *err) {
    const HttpOptions *options = &server->options;
    struct sockaddr_storage address;
    socklen_t size;
    int one = 1;
    if (!read_address(options, &address, &size, err)) return false;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_errno(err, "cannot make a socket");
    server->listener = fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, BACKLOG))
        return err_errno(err, "cannot listen on %.*s port %d", SHOW(options->host), options->port);
    getsockname(fd, (struct sockaddr *)&address, &size);
    server->port = ntohs(((struct sockaddr_in *)&address)->sin_port); /* same place in both */
    return true;
}

static bool loop_open(HttpServer *server, int index, Err *err) {
    Loop *loop = &server->loops[index];
    *loop = (Loop){.server = server, .index = index, .id_seed = random_u64()};
    pthread_mutex_init(&loop->lock, NULL);
    loop->now_ms = clock_us() / 1000;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    server->loop_count++;
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = loop};
    struct epoll_event arrival = {.events = EPOLLIN, .data.ptr = server};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &wake) ||
        (index == 0 && epoll_ctl(loop->epoll, EPOLL_CTL_ADD, server->listener, &arrival)))
        return err_errno(err, "cannot set up an event loop");
    return true;
}

static void server_free(HttpServer *server) {
    pool_close(&server->pool);
    fd_close(&server->listener);
    for (int i = 0; i < server->loop_count; i++) {
        Loop *loop = &server->loops[i];
        fd_close(&loop->epoll);
        fd_close(&loop->wake);
        text_close(&loop->in_spare);
        text_close(&loop->out_spare);
        while (loop->spares) {
            Exchange *x = loop->spares;
            loop->spares = x->next_spare;
            free(x);
        }
        pthread_mutex_destroy(&loop->lock);
    }
    pthread_cond_destroy(&server->ended);
    pthread_mutex_destroy(&server->lock);
    free(server->loops);
    free(server);
}

static bool start_loops(HttpServer *server, Err *err) {
    pthread_mutex_lock(&server->lock);
    int count = server->loop_count;
    while (server->running < count &&
           pthread_create(&server->loops[server->running].thread, NULL, loop_thread,
                          &server->loops[server->running]) == 0)
        server->running++;
    bool all = server->running == count;
    int started = server->running;
    pthread_mutex_unlock(&server->lock);
    if (all) return true;
    atomic_store(&server->stopping, true);
    atomic_store(&server->accepting, false);
    for (int i = 0; i < started; i++) loop_wake(&server->loops[i]);
    for (int i = 0; i < started; i++) pthread_join(server->loops[i].thread, NULL);
    return err_set(err, LH_OFFLINE, "cannot start an event thread");
}

static bool server_start(HttpServer *server, HttpServer **out, Err *err) {
    if (!listen_on(server, err)) return false;
    for (int i = 0; i < server->options.event_threads; i++)
        if (!loop_open(server, i, err)) return false;
    if (!pool_open(server->options.pool_threads_max, &server->pool, err)) return false;
    HttpServer *before = *out;
    *out = server;
    if (start_loops(server, err)) return true;
    *out = before;
    return false;
}

bool http_server_open(const HttpOptions *options, const HttpApp *app, HttpServer **out, Err *err) {
    assert(options->event_threads > 0 && options->pool_threads_max > 0);
    signal(SIGPIPE, SIG_IGN); /* sendfile has no flag for it */
    HttpServer *server = calloc(1, sizeof *server);
    if (!server) abort();
    *server = (HttpServer){.app = *app, .options = *options, .listener = -1, .accepting = true};
    server->loops = calloc((size_t)options->event_threads, sizeof *server->loops);
    if (!server->loops) abort();
    int64_t shortest =
        MIN(MIN(options->head_timeout_ms, options->idle_timeout_ms), options->stall_timeout_ms);
    server->sweep_ms = MAX(MIN(shortest / 4, SWEEP_MS_MAX), 10);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&server->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&server->lock, NULL);
    if (server_start(server, out, err)) return true;
    server_free(server);
    return false;
}

int http_server_port(const HttpServer *server) {
    return server->port;
}

static void wait_ended(HttpServer *server, int64_t grace_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nsec = until.tv_nsec + grace_ms % 1000 * 1000000;
    until.tv_sec += grace_ms / 1000 + nsec / 1000000000;
    until.tv_nsec = nsec % 1000000000;
    pthread_mutex_lock(&server->lock);
    while (server->running > 0)
        if (pthread_cond_timedwait(&server->ended, &server->lock, &until)) break;
    pthread_mutex_unlock(&server->lock);
}

void http_server_stop(HttpServer **slot, int64_t grace_ms) {
    HttpServer *server = *slot;
    if (!server) return;
    atomic_store(&server->stopping, true);
    for (int i = 0; i < server->loop_count; i++) loop_wake(&server->loops[i]);
    wait_ended(server, grace_ms);
    atomic_store(&server->cut, true);
    for (int i = 0; i < server->loop_count; i++) loop_wake(&server->loops[i]);
    for (int i = 0; i < server->loop_count; i++) pthread_join(server->loops[i].thread, NULL);
    server_free(server);
    *slot = NULL;
}

void http_server_counts(const HttpServer *server, HttpCounts *out) {
    *out = (HttpCounts){.connections = atomic_load(&server->connections),
                        .connections_total = atomic_load(&server->connections_total),
                        .pool_busy = pool_busy(server->pool)};
    for (int i = 0; i < server->loop_count; i++) {
        const Loop *loop = &server->loops[i];
        out->requests_total += atomic_load(&loop->requests_total);
        out->bytes_in += atomic_load(&loop->bytes_in);
        out->bytes_out += atomic_load(&loop->bytes_out);
    }
}
