#include "net/wire.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define CLOSE_GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define FILE_SIZE (3 << 20)

static Err err;
static TlsServer *tls;
static char file_path[128];

static HttpPlan plan(void *context, Request *request) {
    (void)context;
    bool streams = str_is(request->path, "/stream");
    return (HttpPlan){
        .pool = !str_is(request->path, "/"), .stream_body = streams, .body_max = 1 << 20};
}

/* Says how many bytes came, each of them 'u'. */
static void count_body(Request *request, Response *response) {
    char buffer[1000]; /* less than a record: the rest stays within TLS */
    size_t got = 1, size = 0, right = 0;
    Err why;
    while (got > 0 && request_read(request, buffer, sizeof buffer, &got, &why))
        for (size_t i = 0; i < got; i++) size++, right += buffer[i] == 'u';
    Str text = arena_print(request->arena, "%zu of %zu", right, size);
    response_body(response, "text/plain", text);
}

static void write_parts(Response *response, bool whole) {
    Err why;
    if (!response_stream(response, "text/plain", &why)) return;
    for (int i = 0; i < 1000; i++)
        if (!response_write(response, bytes_of(STR("part ")), &why)) return;
    if (!whole) response_abort(response);
}

static void answer(void *context, Request *request, Response *response) {
    (void)context;
    Str path = request->path;
    if (str_is(path, "/stream")) return count_body(request, response);
    if (str_is(path, "/parts")) return write_parts(response, true);
    if (str_is(path, "/cut")) return write_parts(response, false);
    if (str_is(path, "/file"))
        return response_file(response, open(file_path, O_RDONLY | O_CLOEXEC), 0, FILE_SIZE);
    response_body(response, "text/plain", request->has_body ? str_of(request->body) : path);
}

static void refuse(void *context, Response *response, int status, const char *reason) {
    (void)context, (void)status;
    response_body(response, "text/plain", str_from(reason));
}

static const HttpApp app = {.plan = plan, .answer = answer, .refuse = refuse};

/* cert.pem and key.pem in a folder of their own. */
static const char *make_files(void) {
    static const char *dir;
    char command[512];
    if (dir) return dir;
    dir = kit_dir();
    snprintf(command, sizeof command,
             "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
             "-keyout key.pem -out cert.pem -days 2 -subj /CN=test 2>openssl.log",
             dir);
    if (system(command) != 0) kit_fail(__FILE__, __LINE__, "%s", command);
    snprintf(file_path, sizeof file_path, "%s/file", dir);
    OWNED(text_close) Text data = {0};
    memset(text_reserve(&data, FILE_SIZE), 'f', FILE_SIZE);
    data.len = FILE_SIZE;
    CHECK_OK(file_replace(file_path, text_bytes(&data), &err));
    return dir;
}

static HttpServer *open_server(void) {
    HttpServer *server = NULL;
    HttpOptions options = http_options_default;
    char cert[160], key[160];
    snprintf(cert, sizeof cert, "%s/cert.pem", make_files());
    snprintf(key, sizeof key, "%s/key.pem", make_files());
    CHECK_OK(tls_server_open(str_from(cert), str_from(key), &tls, &err));
    options.port = 0;
    options.event_threads = 1;
    options.tls = tls;
    CHECK_OK(http_server_open(&options, &app, &server, &err));
    return server;
}

static void close_server(HttpServer **server) {
    http_server_stop(server, 1000);
    tls_server_close(&tls);
}

typedef struct Client {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
} Client;

static Client client_open(const HttpServer *server, int version) {
    Client client = {.context = SSL_CTX_new(TLS_client_method()), .fd = wire_connect(server)};
    SSL_CTX_set_max_proto_version(client.context, version);
    client.ssl = SSL_new(client.context);
    SSL_set_fd(client.ssl, client.fd);
    if (SSL_connect(client.ssl) != 1) kit_fail(__FILE__, __LINE__, "no handshake");
    return client;
}

static void client_close(Client *client) {
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    close(client->fd);
}

static void say(Client *client, Str text) {
    CHECK_INT(SSL_write(client->ssl, text.data, (int)text.len), text.len);
}

/* Reads until the server ends; whether it ended as TLS has it. */
static bool hear(Client *client, Text *out) {
    int n;
    while ((n = SSL_read(client->ssl, text_reserve(out, 65536), 65536)) > 0) out->len += (size_t)n;
    bool clean = SSL_get_error(client->ssl, n) == SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
    return clean;
}

static bool ends_with(const Text *text, const char *end) {
    return str_ends(text_str(text), str_from(end));
}

/* One answer of "/", whose body is its last byte. */
static void hear_one(Client *client) {
    OWNED(text_close) Text heard = {0};
    while (!ends_with(&heard, "\r\n\r\n/")) {
        int n = SSL_read(client->ssl, text_reserve(&heard, 65536), 65536);
        CHECK(n > 0);
        heard.len += (size_t)n;
    }
}

TEST("requests that came in one record are all answered, though no event follows it") {
    OWNED(text_close) Text many = {0}, heard = {0};
    HttpServer *server = open_server();
    Client client = client_open(server, TLS1_3_VERSION);
    for (int i = 0; i < 300; i++) text_add(&many, STR(GET("/")));
    text_add(&many, STR(CLOSE_GET("/pool")));
    CHECK(many.len < 16384);
    say(&client, text_str(&many));
    CHECK(hear(&client, &heard));
    CHECK_INT(wire_count(text_str(&heard), STR("HTTP/1.1 200")), 301);
    client_close(&client);
    close_server(&server);
}

TEST("a head that comes byte by byte, each in a record of its own, is read") {
    OWNED(text_close) Text heard = {0};
    HttpServer *server = open_server();
    Client client = client_open(server, TLS1_2_VERSION);
    Str head = STR(CLOSE_GET("/"));
    for (size_t i = 0; i < head.len; i++) say(&client, str_slice(head, i, i + 1));
    CHECK(hear(&client, &heard));
    CHECK(ends_with(&heard, "\r\n\r\n/"));
    client_close(&client);
    close_server(&server);
}

TEST("a body that is read in pieces smaller than a record arrives whole, gathered or streamed") {
    static char body[200000];
    memset(body, 'u', sizeof body);
    for (int streamed = 0; streamed < 2; streamed++) {
        OWNED(text_close) Text heard = {0};
        HttpServer *server = open_server();
        Client client = client_open(server, TLS1_3_VERSION);
        say(&client, streamed ? STR("PUT /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                    "Content-Length: 200000\r\n\r\n")
                              : STR("PUT /pool HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                    "Content-Length: 200000\r\n\r\n"));
        say(&client, (Str){body, sizeof body});
        CHECK(hear(&client, &heard));
        if (streamed)
            CHECK(ends_with(&heard, "\r\n\r\n200000 of 200000"));
        else
            CHECK(heard.len > sizeof body &&
                  memcmp(heard.data + heard.len - sizeof body, body, sizeof body) == 0);
        client_close(&client);
        close_server(&server);
    }
}

TEST("an answer that is whole ends with TLS's own end, one that is cut does not") {
    static const struct {
        const char *request;
        bool whole;
    } cases[] = {
        {CLOSE_GET("/parts"), true },
        {CLOSE_GET("/file"),  true },
        {CLOSE_GET("/cut"),   false}
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        OWNED(text_close) Text heard = {0};
        HttpServer *server = open_server();
        Client client = client_open(server, TLS1_3_VERSION);
        say(&client, str_from(cases[i].request));
        CHECK_INT(hear(&client, &heard), cases[i].whole);
        client_close(&client);
        close_server(&server);
    }
}

TEST("a client that has said its last word is still answered") {
    OWNED(text_close) Text heard = {0};
    HttpServer *server = open_server();
    Client client = client_open(server, TLS1_3_VERSION);
    say(&client, STR(GET("/file")));
    CHECK_INT(SSL_shutdown(client.ssl), 0);
    hear(&client, &heard);
    CHECK(heard.len > FILE_SIZE);
    client_close(&client);
    close_server(&server);
}

TEST("the server's stop says the end to a client that is idle") {
    OWNED(text_close) Text heard = {0};
    HttpServer *server = open_server();
    Client client = client_open(server, TLS1_3_VERSION);
    say(&client, STR(GET("/")));
    hear_one(&client);
    close_server(&server);
    CHECK(hear(&client, &heard));
    client_close(&client);
}

TEST("a client of TLS 1.2 cannot have the handshake repeated") {
    OWNED(text_close) Text heard = {0};
    HttpServer *server = open_server();
    Client client = client_open(server, TLS1_2_VERSION);
    SSL_renegotiate(client.ssl);
    CHECK(SSL_do_handshake(client.ssl) != 1);
    client_close(&client);
    close_server(&server);
}

/* As many new keys as it takes a server a second to follow, and a request behind them. */
static Str make_flood(Client *client) {
    BIO *out = BIO_new(BIO_s_mem());
    char *data;
    SSL_set0_wbio(client->ssl, out);
    for (int i = 0; i < 100000; i++)
        CHECK(SSL_key_update(client->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
              SSL_do_handshake(client->ssl) == 1);
    say(client, STR(GET("/")));
    long size = BIO_get_mem_data(out, &data);
    return (Str){data, (size_t)size};
}

typedef struct Flood {
    int fd;
    Str bytes;
} Flood;

static void *send_flood(void *context) {
    const Flood *flood = context;
    wire_send(flood->fd, flood->bytes);
    return NULL;
}

TEST("a client that renews its keys over and over keeps no other waiting, and is answered") {
    HttpServer *server = open_server();
    Client busy = client_open(server, TLS1_3_VERSION);
    struct pollfd look = {.fd = busy.fd, .events = POLLIN};
    pthread_t thread;
    say(&busy, STR(GET("/")));
    hear_one(&busy);
    Flood flood = {busy.fd, make_flood(&busy)};
    Client other = client_open(server, TLS1_3_VERSION);
    CHECK(pthread_create(&thread, NULL, send_flood, &flood) == 0);
    for (int i = 0; i < 3; i++) {
        usleep(10000);
        say(&other, STR(GET("/")));
        hear_one(&other);
    }
    CHECK_INT(poll(&look, 1, 0), 0); /* it has not been answered yet */
    hear_one(&busy);
    pthread_join(thread, NULL);
    client_close(&busy);
    client_close(&other);
    close_server(&server);
}
