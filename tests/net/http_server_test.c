#include "net/wire.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#define HEAD(line) line " HTTP/1.1\r\nHost: a\r\n"
#define GET(path) HEAD("GET " path) "\r\n"
#define CLOSE_GET(path) HEAD("GET " path) "Connection: close\r\n\r\n"

static Err err;
static atomic_int planned, answered, done_count, done_lost, gone_seen, read_failed, writing_failed;
static char big_path[64]; /* a file of BIG_SIZE */
#define BIG_SIZE (8 << 20)
#define LARGE_SIZE (16 << 20)

/* What the application of these tests does for a path. */
static HttpPlan plan(void *context, Request *request) {
    (void)context;
    HttpPlan plan = {.body_max = 1 << 20};
    if (str_starts(request->path, STR("/pool"))) plan.pool = true;
    if (str_starts(request->path, STR("/stream"))) plan.pool = plan.stream_body = true;
    return plan;
}

static void sink_body(Request *request, Response *response) {
    uint8_t *buffer = arena_alloc(request->arena, 1 << 16);
    uint64_t sum = 0, size = 0;
    size_t got = 1;
    Err why;
    while (got > 0) {
        if (!request_read(request, buffer, 1 << 16, &got, &why)) {
            atomic_fetch_add(&read_failed, 1);
            response_status(response, why.kind == LH_INVALID ? 400 : 499);
            return;
        }
        for (size_t i = 0; i < got; i += 4096) sum += buffer[i];
        size += got;
    }
    Str text = arena_print(request->arena, "%llu", (unsigned long long)size);
    response_body(response, "text/plain", text);
}

static void pour(Request *request, Response *response, uint64_t size) {
    static const uint8_t block[65536] = {1};
    Err why;
    (void)request;
    if (!response_stream(response, "application/octet-stream", &why)) return;
    for (uint64_t left = size; left > 0;) {
        size_t n = (size_t)MIN(left, sizeof block);
        if (!response_write(response, (Bytes){block, n}, &why)) {
            atomic_fetch_add(&writing_failed, 1);
            return response_abort(response);
        }
        left -= n;
    }
}

static void wait_gone(Request *request, Response *response) {
    for (int i = 0; i < 500 && !request_gone(request); i++) usleep(10000);
    atomic_store(&gone_seen, request_gone(request));
    response_body(response, "text/plain", STR("late"));
}

static void send_big_file(Response *response) {
    int fd = open(big_path, O_RDONLY | O_CLOEXEC);
    response_file(response, fd, 0, BIG_SIZE);
}

static void answer(void *context, Request *request, Response *response) {
    (void)context;
    Str path = request->path;
    atomic_fetch_add(&answered, 1);
    if (str_is(path, "/stream/in")) return sink_body(request, response);
    if (str_is(path, "/pool/out")) return pour(request, response, 300u << 20);
    if (str_is(path, "/pool/little")) return pour(request, response, 100000);
    if (str_is(path, "/pool/gone")) return wait_gone(request, response);
    if (str_is(path, "/pool/slow")) usleep(300000);
    if (str_is(path, "/later")) {
        if (!request_may_block(request)) return response_defer(response);
        usleep(100000);
    }
    if (str_is(path, "/file") || str_is(path, "/pool/file")) return send_big_file(response);
    if (str_is(path, "/part")) {
        response_status(response, 206);
        return response_file(response, open(big_path, O_RDONLY | O_CLOEXEC), 3, 5);
    }
    if (str_is(path, "/none")) return response_status(response, 204);
    if (str_is(path, "/split")) response_header(response, "x-bad", STR("a\r\nx-evil: 1"));
    if (str_is(path, "/large")) {
        Text body = {0};
        memset(text_reserve(&body, LARGE_SIZE), 'l', LARGE_SIZE);
        body.len = LARGE_SIZE;
        return response_take(response, "text/plain", &body);
    }
    if (request->has_body) return response_body(response, "text/plain", str_of(request->body));
    response_header(response, "x-seen", request_header(request, "X-Sent"));
    response_body(response, "text/plain", path);
}

static void refuse(void *context, Response *response, int status, const char *reason) {
    (void)context, (void)status;
    response_body(response, "text/plain", str_from(reason));
}

static void done(void *context, const Request *request, int status, uint64_t bytes_sent) {
    (void)context, (void)request, (void)bytes_sent;
    atomic_fetch_add(&done_count, 1);
    if (status == 499) atomic_fetch_add(&done_lost, 1);
}

static HttpPlan count_plan(void *context, Request *request) {
    atomic_fetch_add(&planned, 1);
    return plan(context, request);
}

static const HttpApp app = {.plan = count_plan, .answer = answer, .refuse = refuse, .done = done};

static HttpServer *open_with(HttpOptions options) {
    HttpServer *server = NULL;
    options.port = 0;
    CHECK_OK(http_server_open(&options, &app, &server, &err));
    return server;
}

static HttpServer *open_server(void) {
    return open_with(http_options_default);
}

static HttpServer *open_impatient(void) {
    HttpOptions options = http_options_default;
    options.head_timeout_ms = options.stall_timeout_ms = 200;
    options.idle_timeout_ms = 300;
    return open_with(options);
}

static void make_big_file(void) {
    OWNED(text_close) Text data = {0};
    if (big_path[0]) return;
    snprintf(big_path, sizeof big_path, "%s/big", kit_dir());
    memset(text_reserve(&data, BIG_SIZE), 'b', BIG_SIZE);
    data.len = BIG_SIZE;
    CHECK_OK(file_replace(big_path, text_bytes(&data), &err));
}

static Str body_of(Str answer_text) {
    size_t at;
    if (!str_find(answer_text, STR("\r\n\r\n"), &at)) return (Str){0};
    return str_slice(answer_text, at + 4, answer_text.len);
}

static bool has(Str text, const char *part) {
    size_t at;
    return str_find(text, str_from(part), &at);
}

static long rss_kb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

TEST("an answer bears a date, its length and a request id, the client's own when it is sane") {
    OWNED(arena_close) Arena arena = {0};
    HttpServer *server = open_server();
    Str got = wire_ask(server, &arena,
                       STR(HEAD("GET /a?b=c") "x-sent: 7\r\nX-Request-Id: r-1\r\n"
                                              "Connection: close\r\n\r\n"));
    CHECK_INT(wire_status(got), 200);
    CHECK(has(got, "\r\ndate: ") && has(got, " GMT\r\n") && has(got, "\r\ncontent-length: 2\r\n"));
    CHECK(has(got, "\r\nx-request-id: r-1\r\n") && has(got, "\r\nx-seen: 7\r\n"));
    CHECK(has(got, "\r\nconnection: close\r\n"));
    CHECK_STR(body_of(got), "/a");
    got = wire_ask(server, &arena,
                   STR(HEAD("GET /") "x-request-id: \xff\r\nConnection: close\r\n\r\n"));
    CHECK(has(got, "\r\nx-request-id: ") && !has(got, "\xff"));
    got = wire_ask(server, &arena, STR(CLOSE_GET("/split")));
    CHECK(wire_status(got) == 200 && !has(got, "evil"));
    http_server_stop(&server, 1000);
}

TEST("HEAD and 204 carry no body, a part of a file is that part") {
    OWNED(arena_close) Arena arena = {0};
    make_big_file();
    HttpServer *server = open_server();
    Str got = wire_ask(server, &arena, STR(HEAD("HEAD /file") "Connection: close\r\n\r\n"));
    CHECK(has(got, "\r\ncontent-length: 8388608\r\n") && body_of(got).len == 0);
    got = wire_ask(server, &arena, STR(HEAD("HEAD /pool/little") "Connection: close\r\n\r\n"));
    CHECK(has(got, "\r\ntransfer-encoding: chunked\r\n") && body_of(got).len == 0);
    got = wire_ask(server, &arena, STR(CLOSE_GET("/none")));
    CHECK(wire_status(got) == 204 && !has(got, "content-length") && body_of(got).len == 0);
    got = wire_ask(server, &arena, STR(CLOSE_GET("/part")));
    CHECK_INT(wire_status(got), 206);
    CHECK_STR(body_of(got), "bbbbb");
    http_server_stop(&server, 1000);
}

TEST("bodies come in by length, by chunks, and after 100 Continue, gathered and streamed") {
    OWNED(arena_close) Arena arena = {0};
    HttpServer *server = open_server();
    const char *chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                          "3\r\nabc\r\n2;x\r\nde\r\n0\r\nTrailer: 1\r\n\r\n";
    Str by_length = STR(HEAD("POST /e") "Content-Length: 3\r\nConnection: close\r\n\r\nabc");
    CHECK_STR(body_of(wire_ask(server, &arena, by_length)), "abc");
    Str by_chunks = arena_print(&arena, HEAD("POST /e") "%s", chunked);
    CHECK_STR(body_of(wire_ask(server, &arena, by_chunks)), "abcde");
    Str streamed = arena_print(&arena, HEAD("PUT /stream/in") "%s", chunked);
    CHECK_STR(body_of(wire_ask(server, &arena, streamed)), "5");
    http_server_stop(&server, 1000);
}

TEST("100 Continue is sent before the body is waited for, and not when it is not read") {
    HttpServer *server = open_server();
    static const char *const paths[] = {"POST /echo", "POST /pool/echo", "PUT /stream/in"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        OWNED(arena_close) Arena arena = {0};
        OWNED(text_close) Text got = {0};
        int fd = wire_connect(server);
        wire_send(fd, arena_print(&arena,
                                  "%s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                  "Content-Length: 2\r\n\r\n",
                                  paths[i]));
        CHECK(wire_receive_until(fd, STR("HTTP/1.1 100 Continue\r\n\r\n"), 1, &got));
        wire_send(fd, STR("ab"));
        CHECK(wire_receive_until(fd, STR("HTTP/1.1 200 OK\r\n"), 1, &got));
        close(fd);
    }
    OWNED(arena_close) Arena arena = {0};
    Str got = wire_ask(server, &arena,
                       STR(HEAD("POST /e") "Expect: 100-continue\r\n"
                                           "Content-Length: 2000000\r\n\r\n"));
    CHECK(wire_status(got) == 413 && has(got, "connection: close"));
    http_server_stop(&server, 1000);
}

TEST("ten thousand pipelined requests are answered in order") {
    enum { REQUESTS = 10000 };
    OWNED(text_close) Text requests = {0}, got = {0};
    HttpServer *server = open_server();
    for (int i = 0; i < REQUESTS; i++)
        text_print(&requests, "GET /%s%d HTTP/1.1\r\nHost: a\r\n\r\n", i % 1000 ? "" : "pool/", i);
    int fd = wire_connect(server);
    if (fork() == 0) { /* both ways at once, or the two would wait for each other */
        wire_send(fd, text_str(&requests));
        _exit(0);
    }
    CHECK(wire_receive_until(fd, STR("\r\n\r\n/"), REQUESTS, &got));
    Str rest = text_str(&got);
    for (int i = 0; i < REQUESTS; i++) {
        char path[32];
        size_t at;
        snprintf(path, sizeof path, "\r\n\r\n/%s%d", i % 1000 ? "" : "pool/", i);
        CHECK(str_find(rest, str_from(path), &at));
        CHECK(at < 400);
        rest = str_slice(rest, at + 4, rest.len);
    }
    close(fd);
    http_server_stop(&server, 1000);
}

TEST("an answer that would block is deferred to a pool thread, in its place among others") {
    OWNED(arena_close) Arena arena = {0};
    HttpServer *server = open_server();
    int before = atomic_load(&done_count);
    size_t first, second, third;
    Str got = wire_ask(server, &arena,
                       STR("GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
                           "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsecond"
                           "GET /third HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    CHECK(str_find(got, STR("/first"), &first) && str_find(got, STR("second"), &second) &&
          str_find(got, STR("/third"), &third));
    CHECK(first < second && second < third);
    CHECK_INT(atomic_load(&done_count) - before, 3);
    http_server_stop(&server, 1000);
}

TEST("a connection is kept, and a body that nobody read does not become the next request") {
    OWNED(text_close) Text got = {0}, body = {0};
    HttpServer *server = open_server();
    int fd = wire_connect(server);
    wire_send(fd, STR(GET("/one")));
    CHECK(wire_receive_until(fd, STR("\r\n\r\n/one"), 1, &got));
    while (body.len < 100000) text_add(&body, STR(GET("/smuggled")));
    text_clear(&got);
    OWNED(text_close) Text request = {0};
    text_print(&request, HEAD("PUT /stream/unread") "Content-Length: %zu\r\n\r\n%.*s" GET("/two"),
               body.len, SHOW(text_str(&body)));
    wire_send(fd, text_str(&request));
    CHECK(wire_receive_until(fd, STR("\r\n\r\n/two"), 1, &got));
    CHECK_INT(wire_count(text_str(&got), STR("x-request-id")), 2);
    close(fd);
    http_server_stop(&server, 1000);
}

TEST("an answer to a body too large to throw away closes the connection and is still seen") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text request = {0};
    HttpServer *server = open_server();
    text_add(&request, STR(HEAD("PUT /stream/unread") "Content-Length: 50000000\r\n\r\n"));
    memset(text_reserve(&request, 4000000), 'x', 4000000);
    request.len += 4000000;
    Str got = wire_ask(server, &arena, text_str(&request));
    CHECK(wire_status(got) == 200 && has(got, "connection: close"));
    http_server_stop(&server, 1000);
}

TEST("a slow head is answered 408, a slow body too, and both end") {
    HttpServer *server = open_impatient();
    static const char *const starts[] = {
        "GET / HTTP/1.1\r\nHos", HEAD("POST /echo") "Content-Length: 1000\r\n\r\nx",
        HEAD("PUT /stream/in") "Content-Length: 1000\r\n\r\nx",
        HEAD("PUT /stream/in") "Transfer-Encoding: chunked\r\n\r\nfff\r\nx"};
    for (size_t i = 0; i < COUNT(starts); i++) {
        OWNED(text_close) Text got = {0};
        int fd = wire_connect(server);
        wire_send(fd, str_from(starts[i]));
        int64_t began = clock_us();
        bool closed = false; /* a byte now and then must not keep it alive */
        for (int k = 0; k < 100 && !closed; k++) {
            wire_send(fd, STR("x"));
            closed = wire_receive(fd, 30, &got);
        }
        CHECK(closed && clock_us() - began < 2000000);
        CHECK_INT(wire_status(text_str(&got)), 408);
        close(fd);
    }
    http_server_stop(&server, 1000);
}

TEST("idle connections end, and one that never spoke too") {
    OWNED(text_close) Text got = {0};
    HttpServer *server = open_impatient();
    int silent = wire_connect(server), idle = wire_connect(server);
    wire_send(idle, STR(GET("/")));
    CHECK(wire_receive(idle, 3000, &got) && wire_status(text_str(&got)) == 200);
    text_clear(&got);
    CHECK(wire_receive(silent, 3000, &got) && got.len == 0);
    close(silent), close(idle);
    http_server_stop(&server, 1000);
}

TEST("a client that stops reading is dropped, and its handler told") {
    make_big_file();
    HttpServer *server = open_impatient();
    static const char *const requests[] = {GET("/file"), GET("/large"), GET("/pool/out"),
                                           GET("/pool/file")};
    int fds[COUNT(requests)], lost_before = done_lost, failed_before = writing_failed;
    for (size_t i = 0; i < COUNT(requests); i++) {
        fds[i] = wire_connect(server);
        int small = 4096;
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        wire_send(fds[i], str_from(requests[i]));
    }
    for (int i = 0; i < 300 && done_lost < lost_before + 4; i++) usleep(10000);
    CHECK_INT(done_lost - lost_before, 4);
    CHECK_INT(writing_failed - failed_before, 1);
    for (size_t i = 0; i < COUNT(requests); i++) close(fds[i]);
    HttpCounts counts = {.connections = 1};
    for (int i = 0; i < 100 && counts.connections > 0; i++) {
        usleep(10000);
        http_server_counts(server, &counts);
    }
    CHECK_INT(counts.connections, 0);
    http_server_stop(&server, 1000);
}

static uint64_t receive_all(int fd) {
    uint64_t size = 0;
    static _Thread_local char buffer[1 << 16];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) size += (uint64_t)n;
    return size;
}

TEST("hundreds of megabytes stream in and out within bounded memory") {
    enum { SIZE = 300 << 20 };
    static char block[1 << 16];
    OWNED(text_close) Text got = {0};
    HttpServer *server = open_server();
    long before = rss_kb();
    int fd = wire_connect(server);
    wire_send(fd, STR(HEAD("PUT /stream/in") "Content-Length: 314572800\r\n\r\n"));
    for (int sent = 0; sent < SIZE; sent += (int)sizeof block)
        CHECK(wire_send(fd, (Str){block, sizeof block}));
    CHECK(wire_receive_until(fd, STR("\r\n\r\n314572800"), 1, &got));
    wire_send(fd, STR(HEAD("PUT /stream/in") "Transfer-Encoding: chunked\r\n\r\n"));
    for (int sent = 0; sent < SIZE; sent += (int)sizeof block) {
        CHECK(wire_send(fd, STR("10000\r\n")) && wire_send(fd, (Str){block, sizeof block}));
        CHECK(wire_send(fd, STR("\r\n")));
    }
    wire_send(fd, STR("0\r\n\r\n"));
    CHECK(wire_receive_until(fd, STR("\r\n\r\n314572800"), 2, &got));
    wire_send(fd, STR(CLOSE_GET("/pool/out")));
    CHECK(receive_all(fd) > SIZE);
    close(fd);
    CHECK(rss_kb() - before < 32 << 10);
    http_server_stop(&server, 1000);
}

TEST("a large answer arrives whole, from memory, from a file, in chunks") {
    OWNED(arena_close) Arena arena = {0};
    make_big_file();
    HttpServer *server = open_server();
    CHECK_INT(body_of(wire_ask(server, &arena, STR(CLOSE_GET("/large")))).len, LARGE_SIZE);
    CHECK_INT(body_of(wire_ask(server, &arena, STR(CLOSE_GET("/file")))).len, BIG_SIZE);
    CHECK_INT(body_of(wire_ask(server, &arena, STR(CLOSE_GET("/pool/file")))).len, BIG_SIZE);
    Str chunked = body_of(wire_ask(server, &arena, STR(CLOSE_GET("/pool/little"))));
    CHECK(str_starts(chunked, STR("10000\r\n")) && str_ends(chunked, STR("\r\n0\r\n\r\n")));
    Str plain = STR("GET /pool/little HTTP/1.0\r\n\r\n"); /* which knows no chunks */
    CHECK_INT(body_of(wire_ask(server, &arena, plain)).len, 100000);
    http_server_stop(&server, 1000);
}

TEST("a handler sees that its client has gone") {
    HttpServer *server = open_server();
    int fd = wire_connect(server);
    gone_seen = 0;
    wire_send(fd, STR(GET("/pool/gone")));
    usleep(50000);
    close(fd);
    for (int i = 0; i < 200 && !gone_seen; i++) usleep(10000);
    CHECK(gone_seen);
    fd = wire_connect(server);
    int before = read_failed;
    wire_send(fd, STR(HEAD("PUT /stream/in") "Content-Length: 1000\r\n\r\nx"));
    close(fd);
    for (int i = 0; i < 200 && read_failed == before; i++) usleep(10000);
    CHECK_INT(read_failed, before + 1);
    http_server_stop(&server, 1000);
}

static void *stop_in_a_while(void *context) {
    usleep(100000);
    http_server_stop(context, 5000);
    return NULL;
}

TEST("a stop lets a download under way finish, and turns idle connections away at once") {
    make_big_file();
    HttpServer *server = open_server();
    pthread_t stopper;
    int idle = wire_connect(server), slow = wire_connect(server), fd = wire_connect(server);
    wire_send(fd, STR(GET("/file")));
    wire_send(slow, STR(GET("/pool/slow")));
    int64_t began = clock_us();
    CHECK(pthread_create(&stopper, NULL, stop_in_a_while, &server) == 0);
    usleep(200000); /* the server is stopping by now */
    CHECK_INT(receive_all(idle), 0);
    CHECK(receive_all(fd) > BIG_SIZE);
    CHECK(receive_all(slow) > 100);
    close(fd), close(idle), close(slow);
    pthread_join(stopper, NULL);
    CHECK(!server && clock_us() - began < 4000000);
}

TEST("a stop cuts what does not end within its grace") {
    HttpServer *server = open_server();
    int fd = wire_connect(server);
    wire_send(fd, STR(GET("/pool/out"))); /* and nobody reads it */
    usleep(50000);
    int64_t began = clock_us();
    http_server_stop(&server, 100);
    CHECK(clock_us() - began < 2000000);
    close(fd);
}

TEST("connections above the limit are told so, and the others go on") {
    HttpOptions options = http_options_default;
    options.connections_max = 2;
    HttpServer *server = open_with(options);
    OWNED(text_close) Text first = {0}, third = {0};
    int fds[3];
    for (int i = 0; i < 3; i++) fds[i] = wire_connect(server);
    wire_send(fds[2], STR(GET("/")));
    CHECK(wire_receive(fds[2], 5000, &third));
    CHECK_INT(wire_status(text_str(&third)), 503);
    wire_send(fds[0], STR(GET("/first")));
    CHECK(wire_receive_until(fds[0], STR("\r\n\r\n/first"), 1, &first));
    for (int i = 0; i < 3; i++) close(fds[i]);
    http_server_stop(&server, 1000);
}

static void *hammer(void *context) {
    static const char *const requests[] = {
        GET("/a"),
        GET("/pool/b"),
        GET("/part"),
        GET("/pool/little"),
        HEAD("POST /echo") "Content-Length: 3\r\n\r\nabc",
        HEAD("PUT /stream/in") "Content-Length: 5\r\n\r\nabcde",
        HEAD("PUT /stream/in") "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"};
    static const char *const ends[] = {"\r\n\r\n/a",    "\r\n\r\n/pool/b", "\r\n\r\nbbbbb",
                                       "\r\n0\r\n\r\n", "\r\n\r\nabc",     "\r\n\r\n5",
                                       "\r\n\r\n2"};
    size_t good = 0;
    for (size_t round = 0; round < 20; round++) {
        int fd = wire_connect(context);
        for (size_t i = 0; i < COUNT(requests) * 3; i++) {
            OWNED(text_close) Text got = {0};
            size_t which = (i + round) % COUNT(requests);
            wire_send(fd, str_from(requests[which]));
            good += wire_receive_until(fd, str_from(ends[which]), 1, &got);
        }
        close(fd);
    }
    return (void *)good;
}

TEST("sixteen clients at once each get their own answers, and each request ends once") {
    enum { CLIENTS = 16, EACH = 20 * 21 };
    make_big_file();
    HttpServer *server = open_server();
    pthread_t threads[CLIENTS];
    int answered_before = answered, done_before = done_count;
    for (int i = 0; i < CLIENTS; i++) CHECK(pthread_create(&threads[i], NULL, hammer, server) == 0);
    for (int i = 0; i < CLIENTS; i++) {
        void *good;
        pthread_join(threads[i], &good);
        CHECK_INT((size_t)good, EACH);
    }
    HttpCounts counts;
    http_server_counts(server, &counts);
    CHECK_INT(counts.requests_total, CLIENTS * EACH);
    http_server_stop(&server, 1000);
    CHECK_INT(answered - answered_before, CLIENTS * EACH);
    CHECK_INT(done_count - done_before, CLIENTS * EACH);
}

/* Sends a part of some request, reads a part of what comes, and goes. */
static void *come_and_go(void *context) {
    static const char *const requests[] = {
        GET("/large"),
        GET("/pool/little"),
        GET("/file") GET("/pool/file") GET("/a"),
        HEAD("POST /echo") "Content-Length: 20\r\n\r\n01234567890123456789",
        HEAD("PUT /stream/in") "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        HEAD("PUT /stream/unread") "Content-Length: 9\r\n\r\nabcdefghi" GET("/b")};
    static _Thread_local char buffer[1 << 16];
    unsigned seed = (unsigned)random_u64();
    for (int i = 0; i < 60; i++) {
        Str request = str_from(requests[(size_t)rand_r(&seed) % COUNT(requests)]);
        struct linger reset = {.l_onoff = rand_r(&seed) % 2};
        int fd = wire_connect(context);
        wire_send(fd, str_slice(request, 0, (size_t)rand_r(&seed) % (request.len + 20)));
        if (rand_r(&seed) % 2) recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (rand_r(&seed) % 3 == 0) shutdown(fd, SHUT_WR);
        if (rand_r(&seed) % 2) usleep((unsigned)rand_r(&seed) % 2000);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    return NULL;
}

TEST("clients that leave at any point leave nothing behind") {
    enum { CLIENTS = 8 };
    make_big_file();
    HttpServer *server = open_server();
    pthread_t threads[CLIENTS];
    int planned_before = planned, done_before = done_count;
    for (int i = 0; i < CLIENTS; i++)
        CHECK(pthread_create(&threads[i], NULL, come_and_go, server) == 0);
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    HttpCounts counts = {.connections = 1};
    for (int i = 0; i < 3000 && counts.connections > 0; i++) {
        usleep(10000);
        http_server_counts(server, &counts);
    }
    CHECK_INT(counts.connections, 0);
    CHECK_INT(counts.pool_busy, 0);
    CHECK_INT(done_count - done_before, planned - planned_before);
    http_server_stop(&server, 1000);
}

TEST("out of descriptors the server waits, and goes on when there are some") {
    enum { FILLERS = 20 };
    OWNED(text_close) Text got = {0};
    HttpServer *server = open_impatient();
    struct rlimit before, low;
    int fillers[FILLERS], count = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    low = (struct rlimit){(rlim_t)fd + FILLERS, before.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    while (count < FILLERS && (fillers[count] = dup(0)) >= 0) count++;
    wire_join(fd, server); /* the kernel takes it; the server has no descriptor for it */
    wire_send(fd, STR(GET("/waited")));
    bool early = wire_receive(fd, 100, &got) || got.len > 0;
    for (int i = 0; i < count; i++) close(fillers[i]);
    bool late = wire_receive_until(fd, STR("\r\n\r\n/waited"), 1, &got);
    setrlimit(RLIMIT_NOFILE, &before);
    CHECK(!early && late);
    close(fd);
    http_server_stop(&server, 1000);
}

TEST("an address that is taken or is none is refused with a reason") {
    HttpServer *server = open_server(), *other = NULL;
    HttpOptions options = http_options_default;
    options.port = http_server_port(server);
    CHECK(!http_server_open(&options, &app, &other, &err));
    CHECK(has(str_from(err.message), "in use"));
    options.host = STR("localhost");
    CHECK(!http_server_open(&options, &app, &other, &err) && err.kind == LH_INVALID);
    http_server_stop(&server, 0);
}
