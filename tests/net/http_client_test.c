#include "net/wire.h"

static Err err;

static HttpPlan plan(void *context, Request *request) {
    (void)context;
    bool streams = str_is(request->path, "/stream");
    return (HttpPlan){.pool = true, .stream_body = streams, .body_max = 4 << 20};
}

static void count_body(Request *request, Response *response) {
    static _Thread_local uint8_t buffer[1 << 16];
    uint64_t size = 0;
    size_t got = 1;
    Err why;
    while (got > 0) {
        if (!request_read(request, buffer, sizeof buffer, &got, &why)) return;
        size += got;
    }
    Str text = arena_print(request->arena, "%llu", (unsigned long long)size);
    response_body(response, "text/plain", text);
}

static void answer(void *context, Request *request, Response *response) {
    (void)context;
    if (str_is(request->path, "/stream")) return count_body(request, response);
    if (str_is(request->path, "/slow")) usleep(400000);
    if (str_is(request->path, "/mute")) usleep(1500000);
    if (str_is(request->path, "/missing")) response_status(response, 404);
    response_header(response, "x-key", request_header(request, "authorization"));
    response_header(response, "x-type", request_header(request, "content-type"));
    response_body(response, "text/plain",
                  request->has_body ? str_of(request->body) : request->path);
}

static void refuse(void *context, Response *response, int status, const char *reason) {
    (void)context, (void)status;
    response_body(response, "text/plain", str_from(reason));
}

static HttpServer *server;
static HttpClient *client;
static char url[64];

static Str url_of(const char *path) {
    static const HttpApp app = {.plan = plan, .answer = answer, .refuse = refuse};
    HttpOptions options = http_options_default;
    options.port = 0;
    if (!server) CHECK_OK(http_server_open(&options, &app, &server, &err));
    if (!client) CHECK_OK(http_client_open(&client, &err));
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(server), path);
    return str_from(url);
}

__attribute__((destructor)) static void close_all(void) {
    http_client_close(&client);
    http_server_stop(&server, 100);
}

static bool has(const Text *text, const char *part) {
    size_t at;
    return str_find(text_str(text), str_from(part), &at);
}

TEST("a call brings back the status, the headers and the body, whatever the status") {
    OWNED(http_reply_close) HttpReply reply = {0}, missing = {0};
    HttpCall call = {.method = "GET", .url = url_of("/a"), .bearer = STR("key")};
    CHECK_OK(http_client_call(client, &call, &reply, &err));
    CHECK_INT(reply.status, 200);
    CHECK_STR(text_str(&reply.body), "/a");
    CHECK(has(&reply.headers, "x-key: Bearer key"));
    call.url = url_of("/missing");
    CHECK_OK(http_client_call(client, &call, &missing, &err));
    CHECK_INT(missing.status, 404);
}

TEST("a body is sent with its length, its type and its method") {
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < COUNT(methods); i++) {
        OWNED(http_reply_close) HttpReply reply = {0};
        HttpCall call = {.method = methods[i],
                         .url = url_of("/echo"),
                         .content_type = STR("application/json"),
                         .body = bytes_of(STR("{\"a\":1}"))};
        CHECK_OK(http_client_call(client, &call, &reply, &err));
        CHECK_STR(text_str(&reply.body), "{\"a\":1}");
        CHECK(has(&reply.headers, "x-type: application/json"));
    }
    OWNED(http_reply_close) HttpReply reply = {0};
    HttpCall call = {.method = "POST", .url = url_of("/empty")};
    CHECK_OK(http_client_call(client, &call, &reply, &err));
    CHECK_STR(text_str(&reply.body), "/empty");
}

static bool give_zeros(void *context, void *buffer, size_t size, size_t *got, Err *why) {
    size_t *left = context;
    (void)why;
    *got = MIN(size, *left);
    memset(buffer, 0, *got);
    *left -= *got;
    return true;
}

TEST("a source is sent piece by piece, with its size known or not") {
    for (int known = 0; known < 2; known++) {
        OWNED(http_reply_close) HttpReply reply = {0};
        size_t left = 5000000;
        HttpCall call = {.method = "PUT",
                         .url = url_of("/stream"),
                         .source = give_zeros,
                         .source_context = &left,
                         .source_size = known ? (int64_t)left : -1};
        CHECK_OK(http_client_call(client, &call, &reply, &err));
        CHECK_STR(text_str(&reply.body), "5000000");
    }
}

static bool fail_source(void *context, void *buffer, size_t size, size_t *got, Err *why) {
    (void)context, (void)buffer, (void)size, (void)got;
    return err_set(why, LH_CORRUPT, "the source broke");
}
static bool take_all(void *context, Bytes data, Err *why) {
    (void)why;
    text_add(context, str_of(data));
    return true;
}
static bool never(void *context, int64_t sent, int64_t received) {
    (void)context, (void)sent, (void)received;
    return false;
}

TEST("a source that fails, a sink and an abort each say so") {
    OWNED(http_reply_close) HttpReply reply = {0};
    OWNED(text_close) Text sunk = {0};
    HttpCall call = {
        .method = "PUT", .url = url_of("/stream"), .source = fail_source, .source_size = 10};
    CHECK(!http_client_call(client, &call, &reply, &err) && err.kind == LH_CORRUPT);
    call =
        (HttpCall){.method = "GET", .url = url_of("/x"), .sink = take_all, .sink_context = &sunk};
    CHECK_OK(http_client_call(client, &call, &reply, &err));
    CHECK_STR(text_str(&sunk), "/x");
    CHECK_INT(reply.body.len, 0);
    call = (HttpCall){.method = "GET", .url = url_of("/slow"), .progress = never};
    CHECK(!http_client_call(client, &call, &reply, &err) && err.kind == LH_CANCELLED);
}

TEST("nobody there is offline, too slow is a time-out, and no message tells a password") {
    HttpReply reply = {0};
    url_of("/");
    HttpCall call = {.method = "GET", .url = STR("http://user:geheim@127.0.0.1:1/x?key=geheim")};
    CHECK(!http_client_call(client, &call, &reply, &err) && err.kind == LH_OFFLINE);
    CHECK(!strstr(err.message, "geheim"));
    call = (HttpCall){.method = "GET", .url = url_of("/slow"), .timeout_ms = 100};
    CHECK(!http_client_call(client, &call, &reply, &err) && err.kind == LH_TIMEOUT);
    call = (HttpCall){.method = "GET", .url = STR("file:///etc/passwd")};
    CHECK(!http_client_call(client, &call, &reply, &err) && err.kind == LH_INVALID);
}

TEST("whole header lines are sent, and the answer's are found by name") {
    OWNED(http_reply_close) HttpReply reply = {0};
    Str lines[] = {STR("authorization: mine"), STR("Expect:")};
    HttpCall call = {.method = "GET", .url = url_of("/a"), .headers = lines, .header_count = 2};
    CHECK_OK(http_client_call(client, &call, &reply, &err));
    CHECK_STR(http_header(text_str(&reply.headers), "X-KEY"), "mine");
    CHECK_STR(http_header(text_str(&reply.headers), "x-none"), "");
}

static bool see_head(void *context, int status, Str headers, Err *why) {
    int *seen = context;
    *seen = status;
    if (status == 200) return http_header(headers, "content-length").len > 0;
    return err_set(why, LH_CORRUPT, "not this one");
}

TEST("the head of an answer is shown before its body, and may end the call") {
    OWNED(http_reply_close) HttpReply reply = {0};
    int seen = 0;
    HttpCall call = {.method = "GET", .url = url_of("/a"), .head = see_head, .sink_context = &seen};
    CHECK_OK(http_client_call(client, &call, &reply, &err));
    CHECK_INT(seen, 200);
    call.url = url_of("/missing");
    CHECK(!http_client_call(client, &call, &reply, &err) && err.kind == LH_CORRUPT);
    CHECK_INT(seen, 404);
}

TEST("silence after the request is noticed in time, a slow answer within it is waited for") {
    OWNED(http_reply_close) HttpReply reply = {0};
    HttpCall call = {.method = "PUT",
                     .url = url_of("/mute"),
                     .body = bytes_of(STR("x")),
                     .answer_timeout_ms = 200};
    int64_t start = clock_us();
    CHECK(!http_client_call(client, &call, &reply, &err) && err.kind == LH_TIMEOUT);
    CHECK((clock_us() - start) / 1000 < 700);
    call.url = url_of("/slow");
    call.answer_timeout_ms = 1000;
    CHECK_OK(http_client_call(client, &call, &reply, &err));
    CHECK_INT(reply.status, 200);
}

static bool give_slowly(void *context, void *buffer, size_t size, size_t *got, Err *why) {
    usleep(60000);
    return give_zeros(context, buffer, MIN(size, 1000), got, why);
}

TEST("a transfer that moves is never too slow, however long it takes") {
    OWNED(http_reply_close) HttpReply reply = {0};
    size_t left = 10000;
    HttpCall call = {.method = "PUT",
                     .url = url_of("/stream"),
                     .source = give_slowly,
                     .source_context = &left,
                     .source_size = 10000,
                     .answer_timeout_ms = 300,
                     .stall_timeout_ms = 300};
    CHECK_OK(http_client_call(client, &call, &reply, &err));
    CHECK_STR(text_str(&reply.body), "10000");
}
