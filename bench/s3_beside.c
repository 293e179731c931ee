/* What bench/s3.mjs measures with: objects put to, or got from, one URL by as many threads as there
 * are connections, each with one handle of libcurl. With keys in the environment (S3_ACCESS,
 * S3_SECRET) each request is signed, which makes it the barest client of an S3 service; without,
 * the same loop talks to lakehouse.
 * usage: s3_beside put|get URL COUNT SIZE CONNECTIONS      prints seconds */
#include "base/base.h"
#include "storage/s3_sign.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 64

typedef struct Load {
    bool puts;
    Str url, host;
    Str path; /* the URL's, encoded as it is */
    long count, size;
    uint8_t *body;
    S3Signer signer;
    KeyPair keys;
    _Atomic long next;
} Load;

typedef struct Position {
    const Load *load;
    long done;
} Position;

static size_t on_read(char *buffer, size_t unit, size_t count, void *context) {
    Position *at = context;
    size_t n = MIN(unit * count, (size_t)(at->load->size - at->done));
    memcpy(buffer, at->load->body + at->done, n);
    at->done += (long)n;
    return n;
}

static size_t on_write(char *data, size_t unit, size_t count, void *context) {
    Position *at = context;
    (void)data;
    at->done += (long)(unit * count);
    return unit * count;
}

static struct curl_slist *make_headers(Load *load, long number, Arena *arena) {
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (!load->keys.generation) return list;
    size_t count;
    S3Signing signing = {.method = load->puts ? "PUT" : "GET",
                         .path = arena_print(arena, "%.*s/%ld", SHOW(load->path), number),
                         .host = load->host,
                         .payload = S3_UNSIGNED,
                         .now_s = clock_now_ms() / 1000};
    Str *lines = s3_sign(&load->signer, &load->keys, &signing, arena, &count);
    for (size_t i = 0; i < count; i++) list = curl_slist_append(list, arena_cstr(arena, lines[i]));
    return list;
}

static void request(Load *load, CURL *curl, long number) {
    OWNED(arena_close) Arena arena = {0};
    Position at = {load, 0};
    long status = 0;
    Str url = arena_print(&arena, "%.*s/%ld", SHOW(load->url), number);
    struct curl_slist *headers = make_headers(load, number, &arena);
    curl_easy_setopt(curl, CURLOPT_URL, arena_cstr(&arena, url));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, (long)load->puts);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)load->size);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, &at);
    Position answer = {load, 0};
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (code == CURLE_OK && status / 100 == 2 && (load->puts || answer.done == load->size)) return;
    fprintf(stderr, "object %ld: %s, %ld, %ld bytes\n", number, curl_easy_strerror(code), status,
            answer.done);
    exit(1);
}

static void *run(void *context) {
    Load *load = context;
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    for (long number; (number = load->next++) < load->count;) request(load, curl, number);
    curl_easy_cleanup(curl);
    return NULL;
}

/* http://HOST/PATH */
static void read_url(Load *load, const char *url) {
    load->url = str_from(url);
    Str rest = str_slice(load->url, strlen("http://"), load->url.len);
    load->host = str_until(&rest, '/');
    load->path = str_slice(load->url, strlen("http://") + load->host.len, load->url.len);
}

int main(int argc, char **argv) {
    pthread_t threads[CONNECTIONS_MAX];
    if (argc != 6) return 2;
    Load load = {.puts = strcmp(argv[1], "put") == 0,
                 .count = atol(argv[3]),
                 .size = atol(argv[4]),
                 .signer = {.region = STR("us-east-1")}};
    int connections = MIN(atoi(argv[5]), CONNECTIONS_MAX);
    read_url(&load, argv[2]);
    pthread_mutex_init(&load.signer.lock, NULL);
    if (getenv("S3_ACCESS")) {
        snprintf(load.keys.access_key_id, sizeof load.keys.access_key_id, "%s",
                 getenv("S3_ACCESS"));
        snprintf(load.keys.secret_access_key, sizeof load.keys.secret_access_key, "%s",
                 getenv("S3_SECRET"));
        load.keys.generation = 1;
    }
    load.body = malloc((size_t)load.size);
    if (!load.body) return 1;
    for (long i = 0; i < load.size; i++) load.body[i] = (uint8_t)(i * 2654435761u >> 24);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int64_t began = clock_us();
    for (int i = 0; i < connections; i++) pthread_create(&threads[i], NULL, run, &load);
    for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
    printf("%.4f\n", (double)(clock_us() - began) / 1e6);
    free(load.body);
    return 0;
}
