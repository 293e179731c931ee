/* An answer: its lines are made into the connection's `out`, small bodies beside them, so that one
 * send carries both. Framing headers are the server's own: a handler never writes them. */
#include "net/http_conn.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DATE_SIZE 32

static const char *reason_of(int status) {
    static const char *const reasons[600] = {
        [200] = "OK",
        [201] = "Created",
        [202] = "Accepted",
        [204] = "No Content",
        [206] = "Partial Content",
        [304] = "Not Modified",
        [400] = "Bad Request",
        [401] = "Unauthorized",
        [403] = "Forbidden",
        [404] = "Not Found",
        [405] = "Method Not Allowed",
        [408] = "Request Timeout",
        [409] = "Conflict",
        [411] = "Length Required",
        [412] = "Precondition Failed",
        [413] = "Content Too Large",
        [414] = "URI Too Long",
        [415] = "Unsupported Media Type",
        [416] = "Range Not Satisfiable",
        [417] = "Expectation Failed",
        [422] = "Unprocessable Content",
        [429] = "Too Many Requests",
        [431] = "Request Header Fields Too Large",
        [499] = "Client Closed Request",
        [500] = "Internal Server Error",
        [501] = "Not Implemented",
        [503] = "Service Unavailable",
        [504] = "Gateway Timeout",
        [505] = "HTTP Version Not Supported",
        [507] = "Insufficient Storage",
    };
    return status >= 200 && status < 600 && reasons[status] ? reasons[status] : "Other";
}

/* Each thread makes the text once a second. */
static Str date_now(void) {
    static _Thread_local time_t made_at;
    static _Thread_local char text[DATE_SIZE];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != made_at) {
        struct tm parts;
        gmtime_r(&now.tv_sec, &parts);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        made_at = now.tv_sec;
    }
    return (Str){text, sizeof "Sun, 06 Nov 1994 08:49:37 GMT" - 1};
}

void response_reset(Response *response, Exchange *exchange) {
    if (response->fd >= 0 && response->exchange) close(response->fd);
    text_close(&response->taken);
    *response = (Response){.exchange = exchange, .status = 200, .fd = -1};
}

void response_status(Response *response, int status) {
    assert(status >= 200 && status < 600 && !response->sealed);
    response->status = status;
}

int response_status_of(const Response *response) {
    return response->status;
}

bool response_started(const Response *response) {
    return response->sealed;
}

static char *headers_reserve(Response *response, size_t more) {
    size_t len = response->headers_len;
    if (response->headers_cap - len < more) {
        response->headers_cap = MAX(2 * response->headers_cap, len + more + 256);
        char *larger = arena_alloc(&response->exchange->arena, response->headers_cap);
        if (len) memcpy(larger, response->headers, len);
        response->headers = larger;
    }
    return response->headers + len;
}

static char *put(char *at, Str text) {
    if (text.len) memcpy(at, text.data, text.len);
    return at + text.len;
}

static bool is_one_line(Str value) {
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == 0) return false;
    return true;
}

void response_header(Response *response, const char *name, Str value) {
    assert(!response->sealed);
    if (!is_one_line(value)) return; /* it would become a header, or an answer, of its own */
    Str field = str_from(name);
    char *start = headers_reserve(response, field.len + value.len + 4);
    char *at = put(put(put(put(start, field), STR(": ")), value), STR("\r\n"));
    response->headers_len += (size_t)(at - start);
}

static void set_type(Response *response, const char *content_type) {
    if (content_type) response_header(response, "content-type", str_from(content_type));
}

void response_body(Response *response, const char *content_type, Str body) {
    assert(response->kind == RESPONSE_NONE);
    set_type(response, content_type);
    response->kind = RESPONSE_BYTES;
    response->body = bytes_of(arena_copy(&response->exchange->arena, body));
}

void response_take(Response *response, const char *content_type, Text *body) {
    assert(response->kind == RESPONSE_NONE);
    set_type(response, content_type);
    response->kind = RESPONSE_BYTES;
    response->taken = *body;
    *body = (Text){0};
    response->body = text_bytes(&response->taken);
}

void response_file(Response *response, int fd, uint64_t offset, uint64_t size) {
    assert(response->kind == RESPONSE_NONE);
    response->kind = RESPONSE_FILE;
    response->fd = fd;
    response->offset = offset;
    response->size = response->left = size;
}

static char *put_number(char *at, uint64_t value) {
    char digits[20];
    size_t n = 0;
    do digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n > 0) *at++ = digits[--n];
    return at;
}

/* Whether the connection can carry another request after this one. */
static bool must_close(const Exchange *x) {
    const Conn *conn = x->conn;
    const BodyReader *body = &conn->body;
    if (!x->keep_alive || conn->failed || x->slow || body->malformed) return true;
    if (atomic_load_explicit(&conn->loop->server->stopping, memory_order_relaxed)) return true;
    if (body->ended) return false;
    if (x->expects && !x->continued) return true; /* whether it comes now, nobody can know */
    return !body->chunked && body->left > HTTP_DRAIN_SIZE_MAX;
}

static char *put_length(char *at, uint64_t length) {
    return put(put_number(put(at, STR("content-length: ")), length), STR("\r\n"));
}

static char *put_framing(char *at, const Response *response) {
    bool empty = response->status == 204 || response->status == 304;
    if (response->kind == RESPONSE_STREAM) {
        if (response->chunked) at = put(at, STR("transfer-encoding: chunked\r\n"));
        if (response->sized) at = put_length(at, response->size);
    } else if (!empty) {
        bool file = response->kind == RESPONSE_FILE;
        at = put_length(at, file ? response->size : response->body.size);
    }
    return at;
}

/* Adds the head to the connection's `out`. */
static void add_head(Response *response) {
    const Exchange *x = response->exchange;
    Text *out = &x->conn->out.text;
    char *start = text_reserve(out, 384 + response->headers_len + x->request.id.len), *at = start;
    at = put_number(put(at, STR("HTTP/1.1 ")), (uint64_t)response->status);
    at = put(put(put(at, STR(" ")), str_from(reason_of(response->status))), STR("\r\ndate: "));
    at = put(put(at, date_now()), STR("\r\nx-request-id: "));
    at = put(put(at, x->request.id), STR("\r\n"));
    at = put(at, (Str){response->headers, response->headers_len});
    at = put_framing(at, response);
    if (response->close)
        at = put(at, STR("connection: close\r\n"));
    else if (x->minor == 0)
        at = put(at, STR("connection: keep-alive\r\n"));
    at = put(at, STR("\r\n"));
    out->len += (size_t)(at - start);
}

/* A small file travels with its head: one read and one send instead of a send and a sendfile. */
static void inline_file(Response *response) {
    Text *out = &response->exchange->conn->out.text;
    size_t size = (size_t)response->left;
    char *room = text_reserve(out, size);
    if (pread(response->fd, room, size, (off_t)response->offset) != (ssize_t)size)
        response->exchange->conn->failed = true;
    out->len += size;
    response->sent += size;
    response->left = 0;
}

static void drop_content(Response *response) {
    response->body = (Bytes){0};
    response->left = 0;
}

/* Makes the head and lays small content beside it; what is left is conn_send's. */
void response_seal(Response *response) {
    Exchange *x = response->exchange;
    response->sealed = true;
    response->close |= must_close(x);
    add_head(response);
    if (x->request.method == HTTP_HEAD || response->status == 204 || response->status == 304)
        drop_content(response);
    if (response->body.size <= HTTP_SMALL_SIZE) {
        text_add(&x->conn->out.text, str_of(response->body));
        response->sent += response->body.size;
        response->body = (Bytes){0};
    }
    if (response->left > 0 && response->left <= HTTP_SMALL_SIZE) inline_file(response);
}

static void stream_begin(Response *response, const char *content_type) {
    Exchange *x = response->exchange;
    assert(response->kind == RESPONSE_NONE && x->plan.pool);
    set_type(response, content_type);
    response->kind = RESPONSE_STREAM;
    response->sealed = true;
    response->chunked = x->minor == 1 && !response->sized;
    response->close |= must_close(x) || !(response->chunked || response->sized);
    add_head(response);
    conn_disarm(x->conn);
}

bool response_stream(Response *response, const char *content_type, Err *err) {
    stream_begin(response, content_type);
    return conn_send_waiting(response->exchange->conn, (Bytes){0}, (Bytes){0}, err);
}

/* The head goes out with the first bytes. */
bool response_stream_sized(Response *response, const char *content_type, uint64_t size, Err *err) {
    (void)err;
    response->sized = true;
    response->size = response->left = size;
    stream_begin(response, content_type);
    return true;
}

bool response_write(Response *response, Bytes data, Err *err) {
    Exchange *x = response->exchange;
    Conn *conn = x->conn;
    assert(response->kind == RESPONSE_STREAM);
    if (conn->failed) return err_set(err, LH_CANCELLED, "the client went away");
    if (x->request.method == HTTP_HEAD || data.size == 0) return true;
    assert(!response->sized || data.size <= response->left);
    response->sent += data.size;
    if (response->sized) response->left -= data.size;
    if (!response->chunked) return conn_send_waiting(conn, data, (Bytes){0}, err);
    text_print(&conn->out.text, "%zx\r\n", data.size);
    return conn_send_waiting(conn, data, bytes_of(STR("\r\n")), err);
}

void response_abort(Response *response) {
    response->aborted = true;
}
