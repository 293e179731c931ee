/* One request and its answer. */
#include "net/http_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SPARES_MAX 64
#define ID_SIZE_MAX 64

Exchange *exchange_new(Conn *conn) {
    Loop *loop = conn->loop;
    Exchange *x = loop->spares;
    if (x) {
        loop->spares = x->next_spare;
        loop->spare_count--;
    } else if (!(x = malloc(sizeof *x))) {
        abort();
    }
    memset(x, 0, offsetof(Exchange, first_block));
    x->conn = conn;
    x->minor = 1;
    x->arena = (Arena){.next = x->first_block, .end = x->first_block + sizeof x->first_block};
    x->request.arena = &x->arena;
    x->request.content_length = -1;
    x->response = (Response){.exchange = x, .status = 200, .fd = -1};
    conn->exchange = x;
    return x;
}

void exchange_end(Exchange *x) {
    Conn *conn = x->conn;
    Loop *loop = conn->loop;
    const HttpApp *app = &loop->server->app;
    int status = conn->failed ? 499 : x->response.status;
    if (x->planned && app->done) app->done(app->context, &x->request, status, x->response.sent);
    response_reset(&x->response, NULL);
    text_close(&x->gathered);
    arena_close(&x->arena);
    conn->exchange = NULL;
    if (loop->spare_count == SPARES_MAX) return free(x);
    x->next_spare = loop->spares;
    loop->spares = x;
    loop->spare_count++;
}

static bool is_sane_id(Str id) {
    if (!id.data || id.len == 0 || id.len > ID_SIZE_MAX) return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i], letter = c | 0x20;
        if ((c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z')) continue;
        if (c != '.' && c != '_' && c != '-') return false;
    }
    return true;
}

/* 16 hexadecimal digits that do not repeat in this process and are unlikely to in another. */
static Str make_id(Exchange *x) {
    static const char digits[] = "0123456789abcdef";
    Loop *loop = x->conn->loop;
    uint64_t value = (loop->id_seed + ++loop->id_next) * 0x9E3779B97F4A7C15u;
    value ^= value >> 29;
    char *text = arena_alloc(&x->arena, 16);
    for (int i = 15; i >= 0; i--, value >>= 4) text[i] = digits[value & 15];
    return (Str){text, 16};
}

static Str moved(Str part, const char *from, const char *to) {
    return (Str){part.data ? to + (part.data - from) : NULL, part.len};
}

/* The head is copied into the arena: the buffer it came in goes on to other connections. */
static void keep_head(Exchange *x, const HttpHead *head, Str bytes) {
    Request *request = &x->request;
    const char *copy = arena_copy(&x->arena, bytes).data;
    HttpHeader *headers = arena_array(&x->arena, HttpHeader, head->header_count);
    for (size_t i = 0; i < head->header_count; i++) {
        headers[i].name = moved(head->headers[i].name, bytes.data, copy);
        headers[i].value = moved(head->headers[i].value, bytes.data, copy);
    }
    request->method = head->method;
    request->path = moved(head->path, bytes.data, copy);
    request->query = moved(head->query, bytes.data, copy);
    request->headers = headers;
    request->header_count = head->header_count;
}

/* Takes the head off the connection's input and asks the application what to do. False: the body
 * is larger than it takes. */
bool exchange_begin(Conn *conn, const HttpHead *head, size_t size, HttpRefusal *why) {
    Exchange *x = exchange_new(conn);
    Request *request = &x->request;
    const HttpApp *app = &conn->loop->server->app;
    keep_head(x, head, (Str){conn->in.text.data + conn->in.from, size});
    conn->in.from += size;
    request->content_length = head->has_length ? head->length : -1;
    request->has_body = head->chunked || head->length > 0;
    request->started_us = clock_us();
    Str id = request_header(request, "x-request-id");
    request->id = is_sane_id(id) ? id : make_id(x);
    x->minor = head->minor;
    x->keep_alive = head->keep_alive;
    x->expects = head->expect_continue && request->has_body;
    conn->body =
        (BodyReader){.chunked = head->chunked, .left = head->length, .ended = !request->has_body};
    atomic_fetch_add_explicit(&conn->loop->requests_total, 1, memory_order_relaxed);
    x->plan = app->plan(app->context, request);
    x->planned = true;
    x->plan.pool |= x->plan.stream_body;
    if (x->plan.stream_body || head->length <= (int64_t)MIN(x->plan.body_max, INT64_MAX))
        return true;
    *why = (HttpRefusal){413, "the request's body is larger than this route takes"};
    return false;
}

Str request_header(const Request *request, const char *name) {
    Str wanted = str_from(name);
    for (size_t i = 0; i < request->header_count; i++)
        if (str_equal_nocase(request->headers[i].name, wanted)) return request->headers[i].value;
    return (Str){0};
}

void exchange_refuse(Exchange *x, HttpRefusal why) {
    const HttpApp *app = &x->conn->loop->server->app;
    if (x->request.id.len == 0) x->request.id = make_id(x);
    response_reset(&x->response, x);
    x->response.status = why.status;
    x->response.close = true;
    app->refuse(app->context, &x->response, why.status, why.reason);
    response_seal(&x->response);
}

bool request_may_block(const Request *request) {
    return ((const Exchange *)request)->plan.pool;
}

void response_defer(Response *response) {
    assert(!response->exchange->plan.pool && response->kind == RESPONSE_NONE);
    response->exchange->plan.pool = true;
}

static void finish_stream(Exchange *x) {
    Err ignored; /* the connection remembers that it failed */
    Response *response = &x->response;
    bool empty = x->request.method == HTTP_HEAD;
    if (response->aborted || (response->left > 0 && !empty)) x->conn->failed = true;
    if (x->conn->failed) return;
    Str end = response->chunked && !empty ? STR("0\r\n\r\n") : (Str){0};
    conn_send_waiting(x->conn, bytes_of(end), (Bytes){0}, &ignored);
}

/* On a pool thread, or on the loop's when the plan says that it does not block. */
void exchange_answer(Exchange *x) {
    Conn *conn = x->conn;
    const HttpApp *app = &conn->loop->server->app;
    bool deferrable = !x->plan.pool;
    app->answer(app->context, &x->request, &x->response);
    if (deferrable && x->plan.pool) return;
    if (x->response.kind == RESPONSE_STREAM) return finish_stream(x);
    if (x->slow && !conn->failed)
        exchange_refuse(x, (HttpRefusal){408, "the request's body came too slowly"});
    else
        response_seal(&x->response);
    if (x->plan.pool && conn_send(conn) == SENT_FAILED) conn->failed = true;
}
