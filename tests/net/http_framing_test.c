/* Requests that two readers could understand differently, and what a strict server answers. After
 * each malformed one stands a second request: answered, it would have been smuggled. */
#include "net/wire.h"

#define SECOND "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST "POST /json HTTP/1.1\r\nHost: a\r\n"
#define GET "GET /health HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

typedef enum After { CLOSES, STAYS_OPEN, EITHER } After;
typedef struct Framing {
    const char *name;
    Str before; /* then `fill` times `count`, then `rest` */
    Str fill;
    int count;
    Str rest;
    int status, other_status; /* either is right; 0: no other */
    After after;
} Framing;

#define CASE(name, text, ...)                                                                      \
    { name, STR(text), {0}, 0, {0}, __VA_ARGS__ }

static const Framing framings[] = {
    CASE("CL+TE", POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND,
         400, 0, CLOSES),
    CASE("TE+CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" SECOND,
         400, 0, CLOSES),
    CASE("two CL differ", POST "Content-Length: 0\r\nContent-Length: 33\r\n\r\n" SECOND, 400, 0,
         CLOSES),
    CASE("two CL same", POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, 0, CLOSES),
    CASE("CL list", POST "Content-Length: 2, 2\r\n\r\n{}", 400, 0, CLOSES),
    CASE("CL +2", POST "Content-Length: +2\r\n\r\n{}", 400, 0, CLOSES),
    CASE("CL -1", POST "Content-Length: -1\r\n\r\n{}", 400, 0, CLOSES),
    CASE("CL 0x2", POST "Content-Length: 0x2\r\n\r\n{}", 400, 0, CLOSES),
    CASE("CL 2abc", POST "Content-Length: 2abc\r\n\r\n{}", 400, 0, CLOSES),
    CASE("CL empty", POST "Content-Length: \r\n\r\n{}", 400, 0, CLOSES),
    CASE("CL 2^64+2", POST "Content-Length: 18446744073709551618\r\n\r\n{}", 400, 413, CLOSES),
    CASE("TE xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" SECOND, 400, 501,
         CLOSES),
    CASE("TE identity", POST "Transfer-Encoding: identity\r\n\r\n" SECOND, 400, 501, CLOSES),
    CASE("TE gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, 0,
         CLOSES),
    CASE("TE chunked, identity",
         POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" SECOND, 400, 0, CLOSES),
    CASE("TE twice",
         POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND,
         400, 0, CLOSES),
    CASE("TE vertical tab",
         POST "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n0\r\n\r\n" SECOND,
         400, 0, CLOSES),
    CASE("TE space before colon", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SECOND, 400,
         0, CLOSES),
    CASE("TE folded", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" SECOND, 400, 0,
         CLOSES),
    CASE("TE in HTTP/1.0",
         "POST /json HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n" SECOND,
         400, 0, CLOSES),
    CASE("chunk size 0x2", CHUNKED "0x2\r\n{}\r\n0\r\n\r\n" SECOND, 400, 0, CLOSES),
    CASE("chunk size -1", CHUNKED "-1\r\n{}\r\n0\r\n\r\n" SECOND, 400, 0, CLOSES),
    CASE("chunk size with a space", CHUNKED " 2\r\n{}\r\n0\r\n\r\n" SECOND, 400, 0, CLOSES),
    CASE("chunk size 2^64+2", CHUNKED "10000000000000002\r\n{}\r\n0\r\n\r\n" SECOND, 400, 0,
         CLOSES),
    CASE("chunk size empty", CHUNKED "\r\n{}\r\n0\r\n\r\n" SECOND, 400, 0, CLOSES),
    CASE("chunk size ends in LF", CHUNKED "2\n{}\r\n0\r\n\r\n" SECOND, 400, 0, CLOSES),
    CASE("chunk data runs on", CHUNKED "2\r\n{}XX0\r\n\r\n" SECOND, 400, 0, CLOSES),
    {"chunk extension of 100k", STR(CHUNKED "2;a="),                STR("x"),        100000,  STR("\r\n{}\r\n0\r\n\r\n"),
                                                                                 400,                                                                                                                               0, CLOSES},
    {"trailer of 100k",         STR(CHUNKED "2\r\n{}\r\n0\r\nA: "), STR("x"),        100000,  STR("\r\n\r\n"),                     400,
                                                                                 431,                                                                                                                                  CLOSES},
    CASE("bare LF lines", "GET /health HTTP/1.1\nHost: a\n\n", 400, 0, CLOSES),
    CASE("bare CR in a value", GET "X: a\rb\r\n\r\n", 400, 0, CLOSES),
    CASE("NUL in a value", GET "X: a\0b\r\n\r\n", 400, 0, CLOSES),
    CASE("NUL in a name", GET "X\0: ab\r\n\r\n", 400, 0, CLOSES),
    CASE("NUL in the path", "GET /health\0x HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, CLOSES),
    CASE("%00 in the path", "GET /objects/s/1k%00x HTTP/1.1\r\nHost: a\r\n\r\n", 400, 404, EITHER),
    CASE("bad escape", "GET /objects/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, 404, EITHER),
    CASE("dot segments", "GET /objects/../../../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400,
         404, EITHER),
    CASE("%2e%2e%2f", "GET /objects/%2e%2e%2f%2e%2e%2fetc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400,
         404, EITHER),
    CASE("%2e%2e/", "GET /objects/%2e%2e/%2E%2E/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400, 404,
         EITHER),
    CASE("dots at the end", "GET /objects/.. HTTP/1.1\r\nHost: a\r\n\r\n", 400, 404, EITHER),
    CASE("..%5c", "GET /objects/..%5c..%5cetc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400, 404,
         EITHER),
    CASE("no Host", "GET /health HTTP/1.1\r\n\r\n", 400, 0, CLOSES),
    CASE("two Hosts", "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, 0, CLOSES),
    CASE("HTTP/1.2", "GET /health HTTP/1.2\r\nHost: a\r\n\r\n", 505, 0, CLOSES),
    CASE("HTTP/2.7", "GET /health HTTP/2.7\r\nHost: a\r\n\r\n", 505, 0, CLOSES),
    CASE("HTTP/0.9", "GET /health\r\n\r\n", 400, 0, CLOSES),
    CASE("lower case http/1.1", "GET /health http/1.1\r\nHost: a\r\n\r\n", 400, 0, CLOSES),
    CASE("control byte in the method", "G\x01T /health HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0,
         CLOSES),
    CASE("space in the path", "GET /hea lth HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, CLOSES),
    CASE("tabs in the request line", "GET\t/health\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, CLOSES),
    CASE("space before the first header", "GET /health HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", 400,
         0, CLOSES),
    CASE("header without a colon", GET "foo\r\n\r\n", 400, 0, CLOSES),
    CASE("empty header name", GET ": foo\r\n\r\n", 400, 0, CLOSES),
    {"one header of 64k",       STR(GET "X: "),                     STR("a"),        65536,   STR("\r\n\r\n"),                     431, 0, CLOSES},
    {"5000 headers",            STR(GET),                           STR("X: y\r\n"), 5000,    STR("\r\n"),                         431, 0, CLOSES},
    {"1 MiB of headers",        STR(GET "X: "),                     STR("a"),        1 << 20, STR("\r\n\r\n"),                     431, 0, CLOSES},
    {"64k of target",           STR("GET /"),                       STR("a"),        65536,   STR(" HTTP/1.1\r\nHost: a\r\n\r\n"), 414, 0,
                                                                                 CLOSES                                                                                                                                      },
    CASE("absolute-form", "GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, CLOSES),
    CASE("asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, CLOSES),
    CASE("a body on GET", GET "Content-Length: 33\r\n\r\n" SECOND, 200, 0, STAYS_OPEN),
    CASE("unknown expectation",
         "PUT /objects/b/e HTTP/1.1\r\nHost: a\r\nExpect: xyz\r\nContent-Length: 2\r\n\r\n{}", 417,
         0, CLOSES),
    CASE("unknown method", "BREW /health HTTP/1.1\r\nHost: a\r\n\r\n", 501, 0, CLOSES),
    CASE("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 400, CLOSES),
    {"TLS hello",
                                                                                 STR("\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"),
                                                                                 STR("\0"),
                                                                                 200,                                                                                     {0},
                                                                                 400,                                                                                                                               0,
                                                                                 CLOSES                                                                                                                                      },
    CASE("HTTP/1.0 closes", "GET /health HTTP/1.0\r\n\r\n" SECOND, 200, 0, CLOSES),
    CASE("HTTP/1.0 kept alive", "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, 0,
         STAYS_OPEN),
    CASE("HTTP/1.1 asked to close", GET "Connection: close\r\n\r\n" SECOND, 200, 0, CLOSES),
    CASE("one empty line before", "\r\n" GET "\r\n", 200, 0, STAYS_OPEN),
    CASE("a body too large", POST "Content-Length: 70000\r\n\r\n", 413, 0, CLOSES),
    {"chunks too large",        STR(CHUNKED "11170\r\n"),           STR("x"),        70000,   {0},                                 413, 0, CLOSES},
};

static HttpPlan plan(void *context, Request *request) {
    (void)context, (void)request;
    return (HttpPlan){.body_max = 65536};
}

static void answer(void *context, Request *request, Response *response) {
    (void)context;
    bool known = str_is(request->path, "/health") || str_is(request->path, "/json");
    response_status(response, known ? 200 : 404);
    response_body(response, "text/plain", STR("answer"));
}

static void refuse(void *context, Response *response, int status, const char *reason) {
    (void)context, (void)status;
    response_body(response, "text/plain", str_from(reason));
}

static HttpServer *open_server(void) {
    Err err;
    HttpServer *server = NULL;
    HttpApp app = {.plan = plan, .answer = answer, .refuse = refuse};
    HttpOptions options = http_options_default;
    options.port = 0;
    CHECK_OK(http_server_open(&options, &app, &server, &err));
    return server;
}

static void send_case(int fd, const Framing *f) {
    OWNED(text_close) Text raw = {0};
    text_add(&raw, f->before);
    for (int i = 0; i < f->count; i++) text_add(&raw, f->fill);
    text_add(&raw, f->rest);
    wire_send(fd, text_str(&raw));
}

/* NULL when the server did what it must, else what is wrong. */
static const char *judge(const Framing *f, Str answer_text, bool closed) {
    int status = wire_status(answer_text);
    if (status == 0) return "no answer";
    if (status != f->status && status != f->other_status) return "another status";
    if (wire_count(answer_text, STR("x-request-id: ")) != 1) return "not one answer";
    if (f->after == CLOSES && !closed) return "left open";
    if (f->after == STAYS_OPEN && closed) return "closed";
    return NULL;
}

TEST("every ambiguous or malformed request gets the strict answer, and nothing is smuggled") {
    HttpServer *server = open_server();
    size_t wrong = 0;
    for (size_t i = 0; i < COUNT(framings); i++) {
        const Framing *f = &framings[i];
        OWNED(text_close) Text got = {0};
        int fd = wire_connect(server);
        send_case(fd, f);
        bool closed = wire_receive(fd, f->after == CLOSES ? 3000 : 100, &got);
        close(fd);
        const char *fault = judge(f, text_str(&got), closed);
        if (fault) printf("  %s: %s: %.*s\n", f->name, fault, (int)MIN(got.len, 12), got.data);
        wrong += fault != NULL;
    }
    http_server_stop(&server, 100);
    CHECK_INT(wrong, 0);
}

TEST("a request torn into single bytes is read like a whole one") {
    OWNED(text_close) Text got = {0};
    HttpServer *server = open_server();
    Str request = STR(CHUNKED "2;x=1\r\n{}\r\n1\r\n \r\n0\r\nT: v\r\n\r\n" SECOND);
    int fd = wire_connect(server);
    for (size_t i = 0; i < request.len; i++) CHECK(wire_send(fd, str_slice(request, i, i + 1)));
    CHECK(wire_receive_until(fd, STR("\r\n\r\nanswer"), 2, &got));
    close(fd);
    http_server_stop(&server, 100);
}

TEST("bytes of every value are refused, not understood") {
    OWNED(text_close) Text got = {0}, all = {0};
    HttpServer *server = open_server();
    for (int i = 0; i < 1024; i++) text_add_byte(&all, (char)i);
    int fd = wire_connect(server);
    wire_send(fd, text_str(&all));
    CHECK(wire_receive(fd, 3000, &got));
    CHECK_INT(wire_status(text_str(&got)), 400);
    close(fd);
    http_server_stop(&server, 100);
}
