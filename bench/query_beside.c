/* The same work through a running server and directly through DuckDB's C API, in turns, so that
 * whatever else the machine does falls on both. Prints the two medians in microseconds.
 *
 *     query_beside query URL SQL_FOR_US SQL_FOR_DUCKDB ROUNDS
 *     query_beside ingest URL FILE.csv SCRATCH.parquet ROUNDS */
#include "base/base.h"
#include "net/net.h"

#include <duckdb.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Beside {
    HttpClient *client;
    duckdb_database database;
    duckdb_connection connection;
    Str base; /* of the server's URL */
    int fd;   /* of the connection for queries; -1: none yet */
    Text answer;
    Arena arena;
} Beside;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "query_beside: %s: %s\n", what, why);
    exit(1);
}

/* Every row is fetched, none is kept, as the server's client keeps none. */
static void run_direct(Beside *b, const char *sql) {
    duckdb_result result;
    duckdb_data_chunk chunk;
    if (duckdb_query(b->connection, sql, &result) != DuckDBSuccess)
        fail(sql, duckdb_result_error(&result));
    while ((chunk = duckdb_fetch_chunk(result))) duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_result(&result);
}

static void call(Beside *b, const HttpCall *request) {
    HttpReply reply = {0};
    Err err;
    if (!http_client_call(b->client, request, &reply, &err)) fail("the server", err.message);
    text_add_byte(&reply.body, 0);
    if (reply.status >= 300) fail("the server", reply.body.data);
    http_reply_close(&reply);
}

/* Queries go over a plain socket that stays open: what is measured is the server, not a client
 * library. */
static int dial(Str base) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t port = 0;
    size_t colon = base.len;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (colon > 0 && base.data[colon - 1] != ':') colon--;
    str_to_u64(str_slice(base, colon, base.len), &port);
    to.sin_port = htons((uint16_t)port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        fail("the server", "no connection");
    return fd;
}

/* Reads one answer to its end: a body of a given length, or chunks until the empty one. */
static void read_answer(int fd, Text *answer) {
    size_t at, body, length = 0;
    text_clear(answer);
    for (;;) {
        ssize_t n = read(fd, text_reserve(answer, 1 << 18), 1 << 18);
        if (n <= 0) fail("the server", "the connection broke");
        answer->len += (size_t)n;
        Str all = text_str(answer);
        if (!str_find(all, STR("\r\n\r\n"), &body)) continue;
        if (!str_starts(all, STR("HTTP/1.1 200"))) fail("the server", "an error");
        if (!str_find(str_slice(all, 0, body), STR("content-length: "), &at)) {
            if (str_ends(all, STR("\r\n0\r\n\r\n"))) return;
            continue;
        }
        sscanf(all.data + at, "content-length: %zu", &length);
        if (answer->len >= body + 4 + length) return;
    }
}

static void ask_server(Beside *b, const char *sql) {
    OWNED(text_close) Text body = {0}, request = {0};
    JsonWriter json = {.out = &body};
    jw_object(&json);
    jw_member_text(&json, "sql", str_from(sql));
    jw_member_text(&json, "format", STR("csv"));
    jw_end(&json);
    text_print(&request,
               "POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\n\r\n%.*s",
               body.len, SHOW(text_str(&body)));
    if (b->fd < 0) b->fd = dial(b->base);
    Err err;
    if (!fd_write(b->fd, text_bytes(&request), &err)) fail("the server", err.message);
    read_answer(b->fd, &b->answer);
}

static bool read_file(void *context, void *buffer, size_t size, size_t *got, Err *err) {
    ssize_t n = read(*(int *)context, buffer, size);
    if (n < 0) return err_errno(err, "cannot read the file");
    *got = (size_t)n;
    return true;
}

static void send_file(Beside *b, const char *path) {
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info)) fail(path, "cannot be opened");
    call(b, &(HttpCall){.method = "POST",
                        .url = arena_print(
                            &b->arena, "%.*s/ingest/file?dataset=beside&format=csv&mode=replace",
                            SHOW(b->base)),
                        .content_type = STR("text/csv"),
                        .source = read_file,
                        .source_context = &fd,
                        .source_size = info.st_size,
                        .connect_timeout_ms = 5000});
}

static int by_size(const void *x, const void *y) {
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

static int64_t median(int64_t *times, size_t count) {
    qsort(times, count, sizeof *times, by_size);
    return times[count / 2];
}

static void compare(Beside *b, bool ingest, const char *ours, const char *direct, size_t rounds) {
    int64_t *times[2];
    for (int side = 0; side < 2; side++) times[side] = arena_array(&b->arena, int64_t, rounds);
    for (size_t i = 0; i < rounds * 2; i++) {
        size_t side = i % 2;
        int64_t start = clock_us();
        if (side)
            run_direct(b, direct);
        else
            ingest ? send_file(b, ours) : ask_server(b, ours);
        times[side][i / 2] = clock_us() - start;
    }
    printf("%lld %lld\n", (long long)median(times[0], rounds), (long long)median(times[1], rounds));
}

int main(int argc, char **argv) {
    Beside b = {.fd = -1};
    Err err;
    if (argc != 6) fail("usage", "query|ingest URL OURS DIRECT ROUNDS");
    bool ingest = strcmp(argv[1], "ingest") == 0;
    size_t rounds = (size_t)MAX(atoi(argv[5]), 1);
    b.base = str_from(argv[2]);
    if (!http_client_open(&b.client, &err)) fail("client", err.message);
    if (duckdb_open(NULL, &b.database) != DuckDBSuccess ||
        duckdb_connect(b.database, &b.connection) != DuckDBSuccess)
        fail("DuckDB", "does not open");
    const char *direct = argv[4];
    if (ingest)
        direct = arena_print(&b.arena,
                             "COPY (SELECT * FROM read_csv('%s')) TO '%s' (FORMAT parquet, "
                             "COMPRESSION zstd)",
                             argv[3], argv[4])
                     .data;
    compare(&b, ingest, argv[3], direct, rounds);
    duckdb_disconnect(&b.connection);
    duckdb_close(&b.database);
    fd_close(&b.fd);
    text_close(&b.answer);
    http_client_close(&b.client);
    arena_close(&b.arena);
    return 0;
}
