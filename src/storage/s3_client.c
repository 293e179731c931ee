/* One request is: take a kept connection, sign, send, read. Around it: the server's clock when ours
 * is off, a key pair that was rotated meanwhile, and attempts with growing random pauses.
 *
 * A server that did not answer any attempt of one operation is marked as down: the operations after
 * it try once only, so that reads go to the rescue bucket at once and not after retry_ms each. */
#include "storage/s3_client.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HASHED_SIZE_MAX (1 << 20) /* over TLS; without it everything in memory is hashed */
#define PAUSE_MS_FIRST 50
#define PAUSE_MS_MAX 2000
#define SKEW_S_MAX 300 /* servers refuse 15 minutes */
#define HEADERS_MAX 24
#define ERROR_SIZE_MAX 4096

const S3Limits s3_limits_default = {.part_bytes = 8 << 20,
                                    .parallel = 4,
                                    .connect_timeout_ms = 3000,
                                    .answer_timeout_ms = 10000,
                                    .stall_timeout_ms = 10000,
                                    .retry_ms = 15000};

/* Names of servers and buckets. */

static bool bad(Err *err, const char *what, Str value) {
    return err_code(err, LH_INVALID, "bad_bucket", "%s, not '%.*s'", what, SHOW(value));
}

static bool only(Str text, const char *punctuation) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i], letter = c | 0x20;
        bool plain = (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (!c || !strchr(punctuation, c))) return false;
    }
    return true;
}

/* name, name:port, [address] or [address]:port */
static bool host_is_valid(Str host) {
    bool bracketed = str_starts(host, STR("["));
    uint64_t port;
    Str rest = bracketed ? str_slice(host, 1, host.len) : host;
    Str name = str_until(&rest, bracketed ? ']' : ':');
    bool closed = !bracketed || name.len + 1 < host.len;
    if (bracketed && rest.len && !str_starts(rest, STR(":"))) return false;
    if (bracketed && rest.len) rest = str_slice(rest, 1, rest.len);
    bool has_port = rest.len > 0 || str_ends(host, STR(":"));
    if (has_port && (!str_to_u64(rest, &port) || port < 1 || port > 65535)) return false;
    return closed && name.len > 0 && only(name, bracketed ? ":." : ".-");
}

/* Of a machine, so that a bucket's name cannot stand before it. */
static bool is_address(Str host) {
    for (size_t i = 0; i < host.len && host.data[i] != '['; i++)
        if ((host.data[i] < '0' || host.data[i] > '9') && host.data[i] != '.' &&
            host.data[i] != ':')
            return false;
    return true;
}

static bool endpoint_check(Str endpoint, Str *host, bool *tls, Err *err) {
    Str http = STR("http://"), https = STR("https://");
    *tls = str_starts(endpoint, https);
    if (!*tls && !str_starts(endpoint, http))
        return bad(err, "an endpoint begins with http:// or https://", endpoint);
    *host = str_slice(endpoint, *tls ? https.len : http.len, endpoint.len);
    if (str_ends(*host, STR("/"))) host->len--;
    return host_is_valid(*host) ||
           bad(err, "an endpoint is http(s)://host[:port] without a path, user or query", endpoint);
}

bool store_s3_check(const S3Options *options, Err *err) {
    Str host, bucket = options->bucket;
    bool tls;
    Err why;
    if (bucket.len < 3 || bucket.len > 63 || !only(bucket, options->path_style ? ".-_" : ".-"))
        return bad(err, "an S3 bucket's name has 3 to 63 letters, digits, dots and hyphens",
                   bucket);
    if (!endpoint_check(options->endpoint, &host, &tls, err)) return false;
    if (!options->path_style && is_address(host))
        return bad(err, "an address needs path_style = true", options->endpoint);
    if (!only(options->region, "-_")) return bad(err, "a region is a word", options->region);
    if (options->secret_ref.len == 0)
        return bad(err, "secret_ref names a key pair: a table of [secrets], or env:PREFIX",
                   options->secret_ref);
    if (options->prefix.len && !key_check(options->prefix, &why))
        return err_code(err, LH_INVALID, "bad_bucket", "the prefix is no key: %s", why.message);
    const S3Limits *l = &options->limits;
    if (l->part_bytes && (l->part_bytes < 5 << 20 || l->part_bytes > 1 << 30))
        return err_code(err, LH_INVALID, "bad_bucket", "part_bytes is 5 MiB to 1 GiB, not %lld",
                        (long long)l->part_bytes);
    if (l->part_bytes && (l->parallel < 1 || l->parallel > S3_PARALLEL_MAX))
        return err_code(err, LH_INVALID, "bad_bucket", "parallel is 1 to %d, not %lld",
                        S3_PARALLEL_MAX, (long long)l->parallel);
    return true;
}

/* libcurl leaves a scheme's own port out of the Host header, and we say it so ourselves. */
static Str host_shown(Str host, bool tls) {
    Str port = tls ? STR(":443") : STR(":80");
    return str_ends(host, port) ? str_slice(host, 0, host.len - port.len) : host;
}

static Str lower(Arena *arena, Str text) {
    Str copy = arena_copy(arena, text);
    for (size_t i = 0; i < copy.len; i++)
        if (copy.data[i] >= 'A' && copy.data[i] <= 'Z') ((char *)copy.data)[i] |= 0x20;
    return copy;
}

static void client_name(S3Client *client, const S3Options *options, Str host) {
    Arena *arena = &client->arena;
    Str region = options->region.len ? options->region : STR("us-east-1");
    host = lower(arena, host);
    client->bucket = arena_copy(arena, options->bucket);
    client->endpoint = arena_copy(arena, options->endpoint);
    client->secret_ref = arena_copy(arena, options->secret_ref);
    client->signer.region = arena_copy(arena, region);
    if (!options->path_style)
        host = arena_print(arena, "%.*s.%.*s", SHOW(client->bucket), SHOW(host));
    client->host = host_shown(host, client->tls);
    client->origin = arena_print(arena, "%s%.*s", client->tls ? "https://" : "http://", SHOW(host));
    if (options->path_style) client->root = arena_print(arena, "/%.*s", SHOW(client->bucket));
}

bool s3_client_open(const S3Options *options, S3Client **out, Err *err) {
    Str host;
    bool tls;
    if (!store_s3_check(options, err)) return false;
    if (!endpoint_check(options->endpoint, &host, &tls, err)) return false;
    S3Client *client = calloc(1, sizeof *client);
    if (!client) abort();
    client->holders = 1;
    client->tls = tls;
    client->limits = options->limits.part_bytes ? options->limits : s3_limits_default;
    client->secrets = options->secrets;
    pthread_mutex_init(&client->lock, NULL);
    pthread_mutex_init(&client->signer.lock, NULL);
    crew_open(&client->crew);
    client_name(client, options, host);
    *out = client;
    return true;
}

S3Client *s3_client_hold(S3Client *client) {
    client->holders++;
    return client;
}

void s3_client_release(S3Client **slot) {
    S3Client *client = TAKE(*slot);
    if (!client || --client->holders > 0) return;
    s3_leftovers_close(client);
    while (client->idle_count > 0) http_client_close(&client->idle[--client->idle_count]);
    crew_close(&client->crew);
    pthread_mutex_destroy(&client->lock);
    pthread_mutex_destroy(&client->signer.lock);
    arena_close(&client->arena);
    free(client);
}

/* Connections. */

static bool http_take(S3Client *client, HttpClient **out, Err *err) {
    HttpClient *http = NULL;
    pthread_mutex_lock(&client->lock);
    if (client->idle_count > 0) http = client->idle[--client->idle_count];
    pthread_mutex_unlock(&client->lock);
    if (!http && !http_client_open(&http, err)) return false;
    *out = http;
    return true;
}

static void http_give(S3Client *client, HttpClient *http) {
    pthread_mutex_lock(&client->lock);
    if (client->idle_count < S3_IDLE_MAX) client->idle[client->idle_count++] = TAKE(http);
    pthread_mutex_unlock(&client->lock);
    http_client_close(&http);
}

/* One attempt. */

typedef struct FileSource {
    int fd;
    uint64_t at, left;
} FileSource;

static bool file_source(void *context, void *buffer, size_t size, size_t *got, Err *err) {
    FileSource *source = context;
    size = (size_t)MIN((uint64_t)size, source->left);
    ssize_t n = size ? pread(source->fd, buffer, size, (off_t)source->at) : 0;
    if (n < 0) {
        err_errno(err, "cannot read the file to send");
        err->kind = LH_CORRUPT; /* not the network's fault: another attempt reads no better */
        return false;
    }
    if (n == 0 && size > 0) return err_set(err, LH_CORRUPT, "the file became shorter meanwhile");
    source->at += (uint64_t)n;
    source->left -= (uint64_t)n;
    *got = (size_t)n;
    return true;
}

static bool goes_on(void *context, int64_t sent, int64_t received) {
    const _Atomic bool *cancelled = context;
    (void)sent, (void)received;
    return !*cancelled;
}

static bool has_file(const S3Call *call) {
    return call->fd_size > 0;
}

static void payload_hash(const S3Client *client, const S3Call *call, char out[S3_HEX_SIZE]) {
    if (has_file(call) || (client->tls && call->body.size > HASHED_SIZE_MAX))
        snprintf(out, S3_HEX_SIZE, "%s", S3_UNSIGNED);
    else
        s3_hash(call->body, out);
}

static Str path_of(const S3Client *client, Str key, Arena *arena) {
    OWNED(text_close) Text path = {0};
    text_add(&path, client->root);
    text_add_byte(&path, '/');
    url_encode_path(&path, key);
    if (key.len == 0 && client->root.len) path.len--; /* "/bucket", but "/" for a host's root */
    return arena_copy(arena, text_str(&path));
}

static Str *signed_lines(S3Client *client, const S3Call *call, const KeyPair *pair, Arena *arena,
                         Str *url, size_t *count) {
    char payload[S3_HEX_SIZE];
    payload_hash(client, call, payload);
    S3Signing signing = {.method = call->method,
                         .path = path_of(client, call->key, arena),
                         .query = s3_query(call->query, call->query_count, arena),
                         .host = client->host,
                         .headers = call->headers,
                         .header_count = call->header_count,
                         .payload = payload,
                         .now_s = clock_now_ms() / 1000 + client->skew_s};
    *url = arena_print(arena, "%.*s%.*s%s%.*s", SHOW(client->origin), SHOW(signing.path),
                       signing.query.len ? "?" : "", SHOW(signing.query));
    return s3_sign(&client->signer, pair, &signing, arena, count);
}

static bool out_of_reach(const S3Client *client, Err *err) {
    if (err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT) return false;
    err->kind = LH_OFFLINE;
    err->code = "bucket_unreachable";
    return err_while(err, "bucket '%.*s'", SHOW(client->bucket));
}

static bool attempt(S3Client *client, const S3Call *call, const KeyPair *pair, S3Answer *out,
                    Err *err) {
    OWNED(arena_close) Arena arena = {0};
    HttpClient *http = NULL;
    FileSource file = {call->fd, call->fd_from, call->fd_size};
    Str lines[HEADERS_MAX + 8], url;
    size_t count;
    Str *signed_ones = signed_lines(client, call, pair, &arena, &url, &count);
    assert(count < COUNT(lines));
    memcpy(lines, signed_ones, count * sizeof *lines);
    lines[count++] = STR("Expect:"); /* a round trip less for every write */
    HttpCall http_call = {.method = call->method,
                          .url = url,
                          .headers = lines,
                          .header_count = count,
                          .body = call->body,
                          .source = has_file(call) ? file_source : NULL,
                          .source_context = &file,
                          .source_size = (int64_t)call->fd_size,
                          .once = call->changes,
                          .head = call->head,
                          .sink = call->sink,
                          .sink_context = call->context,
                          .connect_timeout_ms = client->limits.connect_timeout_ms,
                          .answer_timeout_ms = call->answer_timeout_ms
                                                   ? call->answer_timeout_ms
                                                   : client->limits.answer_timeout_ms,
                          .stall_timeout_ms = client->limits.stall_timeout_ms,
                          .progress = call->cancelled ? goes_on : NULL,
                          .progress_context = (void *)call->cancelled};
    if (!http_take(client, &http, err)) return false;
    bool ok = http_client_call(http, &http_call, &out->reply, err);
    http_give(client, http);
    if (!ok) out->unknown = !err->code || strcmp(err->code, "cannot_connect") != 0;
    return ok || out_of_reach(client, err);
}

/* Reading the answer's head. */

static bool http_time(Str text, int64_t *out_s) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char line[64], name[4] = "";
    struct tm t = {0};
    if (text.len >= sizeof line) return false;
    snprintf(line, sizeof line, "%.*s", SHOW(text));
    if (sscanf(line, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &t.tm_mday, name, &t.tm_year, &t.tm_hour,
               &t.tm_min, &t.tm_sec) != 6)
        return false;
    const char *month = strlen(name) == 3 ? strstr(months, name) : NULL;
    if (!month) return false;
    t.tm_mon = (int)(month - months) / 3;
    t.tm_year -= 1900;
    *out_s = (int64_t)timegm(&t);
    return true;
}

bool s3_info(Str headers, ObjectInfo *out, Err *err) {
    ObjectInfo info = {0};
    int64_t seconds = 0;
    Str date = http_header(headers, "last-modified");
    if (!s3_etag(http_header(headers, "etag"), info.etag))
        return err_code(err, LH_CORRUPT, "bad_answer",
                        "the bucket's server answered without a usable ETag");
    /* The answer to a write has no Last-Modified: the server's clock says when it was. */
    if (http_time(date.len ? date : http_header(headers, "date"), &seconds))
        info.modified_ms = seconds * 1000;
    str_to_u64(http_header(headers, "content-length"), &info.size);
    *out = info;
    return true;
}

void s3_info_unknown(uint64_t size, ObjectInfo *out) {
    *out = (ObjectInfo){.size = size, .modified_ms = clock_now_ms()};
    random_uuid(out->etag);
}

/* A server that refuses and whose clock is far from ours most likely refuses for that. */
static bool learn_skew(S3Client *client, const S3Answer *answer) {
    int64_t theirs;
    if (answer->status != 403) return false;
    if (!http_time(http_header(text_str(&answer->reply.headers), "date"), &theirs)) return false;
    int64_t skew = theirs - clock_now_ms() / 1000, before = client->skew_s;
    if (llabs(skew - before) < SKEW_S_MAX) return false;
    client->skew_s = skew;
    return true;
}

static bool pair_changed(S3Client *client, const S3Answer *answer, uint64_t generation) {
    KeyPair pair;
    Err ignored;
    if (answer->status != 403 && answer->status != 400) return false;
    bool changed = secrets_get(client->secrets, client->secret_ref, &pair, &ignored) &&
                   pair.generation != generation;
    OPENSSL_cleanse(&pair, sizeof pair);
    return changed;
}

static void note(S3Client *client, S3Answer *answer) {
    int status = answer->status = answer->reply.status;
    Str headers = text_str(&answer->reply.headers);
    /* A success may be an error after all (completing an upload), but a list is never read twice.
     */
    if (status / 100 != 2 || answer->reply.body.len <= ERROR_SIZE_MAX)
        s3_xml_error(text_bytes(&answer->reply.body), &answer->error);
    if (status / 100 != 2 && !answer->error.region[0])
        s3_word(http_header(headers, "x-amz-bucket-region"), answer->error.region,
                sizeof answer->error.region);
    answer->unknown = status == 500 || (status >= 502 && status <= 504);
    if (status < 500) client->down = false;
    bool found = status / 100 == 2 || status == 412 || status == 416 ||
                 (status == 404 && str_is(str_from(answer->error.code), "NoSuchKey"));
    if (found) client->seen_us = clock_us();
}

bool s3_send(S3Client *client, const S3Call *call, S3Answer *out, Err *err) {
    KeyPair pair;
    for (int tries = 0;; tries++) {
        S3Answer answer = {0};
        if (!secrets_get(client->secrets, client->secret_ref, &pair, err)) {
            err->kind = LH_OFFLINE; /* whoever asks for the object has done nothing wrong */
            return err_while(err, "bucket '%.*s'", SHOW(client->bucket));
        }
        uint64_t generation = pair.generation;
        bool ok = attempt(client, call, &pair, &answer, err);
        OPENSSL_cleanse(&pair, sizeof pair);
        if (ok) note(client, &answer);
        bool again = ok && tries < 2 &&
                     (learn_skew(client, &answer) || pair_changed(client, &answer, generation));
        if (!again) {
            *out = answer;
            return ok;
        }
        s3_answer_close(&answer);
    }
}

void s3_answer_close(S3Answer *answer) {
    http_reply_close(&answer->reply);
    *answer = (S3Answer){0};
}

/* Attempts. */

static bool may_pass(const S3Answer *answer, const Err *err) {
    Str code = str_from(answer->error.code);
    switch (answer->status) {
    case 0:
        return err->kind == LH_OFFLINE && err->code && !strcmp(err->code, "bucket_unreachable");
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return true;
    default:
        return str_is(code, "SlowDown") || str_is(code, "RequestTimeout") ||
               str_is(code, "InternalError");
    }
}

static void pause_ms(int64_t ms, const _Atomic bool *cancelled) {
    for (int64_t left = ms; left > 0 && !(cancelled && *cancelled); left -= 20)
        usleep((useconds_t)MIN(left, 20) * 1000);
}

bool s3_again(S3Client *client, S3Retry *retry, const S3Call *call, const S3Answer *answer,
              const Err *err) {
    if (!may_pass(answer, err) || (call->cancelled && *call->cancelled)) return false;
    if (answer->status == 0 && client->down) return false;
    int64_t longest = MIN((int64_t)PAUSE_MS_FIRST << MIN(retry->tries, 10), PAUSE_MS_MAX);
    int64_t pause = (int64_t)(random_u64() % (uint64_t)(longest + 1));
    if ((clock_us() - retry->start_us) / 1000 + pause > client->limits.retry_ms) {
        if (answer->status == 0) client->down = true;
        return false;
    }
    retry->tries++;
    pause_ms(pause, call->cancelled);
    return true;
}

bool s3_call(S3Client *client, const S3Call *call, S3Answer *out, Err *err) {
    S3Retry retry = {clock_us(), 0};
    for (;;) {
        S3Answer answer = {0};
        bool ok = s3_send(client, call, &answer, err);
        bool settled = call->changes && answer.unknown;
        if (settled || !s3_again(client, &retry, call, &answer, err)) {
            *out = answer;
            return ok;
        }
        s3_answer_close(&answer);
    }
}
