/* One of libcurl's handles kept for its connections, driven through a multi handle of its own so
 * that silence is noticed to the millisecond (libcurl's blocking call looks once a second). Only
 * http and https are spoken, redirects are not followed: who calls us names the server it means. */
#include "net/http_client.h"

#include "base/base.h"

#include <curl/curl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_SIZE_MAX (64u << 20)
#define HEADERS_SIZE_MAX (256u << 10)
#define SMALL_BODY_SIZE (60u << 10) /* libcurl's own bound for that is 64 KiB */
#define CONNECT_TIMEOUT_MS 10000
#define LOOK_MS 100 /* between two looks at progress and time-outs while nothing moves */

struct HttpClient {
    CURLM *multi;
    CURL *curl;
    int socket; /* the newest connection's, or -1 */
};

typedef struct Transfer {
    const HttpCall *call;
    CURL *curl;
    Bytes unsent;       /* of call->body */
    int64_t source_got; /* from call->source */
    bool source_ended, answered;
    int64_t moved_us; /* when a byte last moved; 0: not connected yet */
    int unsent_queue; /* bytes in the kernel that the peer has not taken */
    HttpReply reply;
    bool failed;                  /* ours: err says why */
    char detail[CURL_ERROR_SIZE]; /* why, in the words of libcurl */
    Err *err;
} Transfer;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool http_client_open(HttpClient **out, Err *err) {
    pthread_once(&curl_once, curl_start);
    HttpClient *client = calloc(1, sizeof *client);
    if (!client) abort();
    client->socket = -1;
    client->multi = curl_multi_init();
    client->curl = curl_easy_init();
    if (!client->curl || !client->multi) {
        http_client_close(&client);
        return err_set(err, LH_OFFLINE, "cannot start the HTTP client");
    }
    *out = client;
    return true;
}

void http_client_close(HttpClient **slot) {
    if (!*slot) return;
    if ((*slot)->curl) curl_easy_cleanup((*slot)->curl);
    if ((*slot)->multi) curl_multi_cleanup((*slot)->multi);
    free(*slot);
    *slot = NULL;
}

void http_reply_close(HttpReply *reply) {
    text_close(&reply->body);
    text_close(&reply->headers);
    reply->status = 0;
}

static size_t on_read(char *buffer, size_t unit, size_t count, void *context) {
    Transfer *t = context;
    size_t size = unit * count, got = 0;
    t->moved_us = clock_us();
    if (t->call->source) {
        t->failed = !t->call->source(t->call->source_context, buffer, size, &got, t->err);
        t->source_got += (int64_t)got;
        t->source_ended = got == 0 || t->source_got == t->call->source_size;
        return t->failed ? CURL_READFUNC_ABORT : got;
    }
    got = MIN(size, t->unsent.size);
    if (got) memcpy(buffer, t->unsent.data, got);
    t->unsent = (Bytes){t->unsent.data + got, t->unsent.size - got};
    return got;
}

/* libcurl goes back to the start when a kept connection turned out to be closed. */
static int on_seek(void *context, curl_off_t offset, int origin) {
    Transfer *t = context;
    if (t->call->source || t->call->once || origin != SEEK_SET || offset < 0 ||
        (size_t)offset > t->call->body.size)
        return CURL_SEEKFUNC_CANTSEEK;
    t->unsent = (Bytes){t->call->body.data + offset, t->call->body.size - (size_t)offset};
    return CURL_SEEKFUNC_OK;
}

static size_t on_body(char *data, size_t unit, size_t count, void *context) {
    Transfer *t = context;
    Str part = {data, unit * count};
    long status = 0;
    t->moved_us = clock_us();
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->call->sink && status / 100 == 2) {
        t->failed = !t->call->sink(t->call->sink_context, bytes_of(part), t->err);
        return t->failed ? 0 : part.len;
    }
    if (t->reply.body.len + part.len > BODY_SIZE_MAX) {
        t->failed = true;
        err_set(t->err, LH_TOO_BIG, "the answer is larger than %u bytes", BODY_SIZE_MAX);
        return 0;
    }
    text_add(&t->reply.body, part);
    return part.len;
}

/* The empty line after the headers; those of a 100 Continue are not the answer's. */
static bool head_ended(Transfer *t) {
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) t->answered = false;
    if (status < 200 || !t->call->head) return true;
    t->failed =
        !t->call->head(t->call->sink_context, (int)status, text_str(&t->reply.headers), t->err);
    return !t->failed;
}

static size_t on_header(char *data, size_t unit, size_t count, void *context) {
    Transfer *t = context;
    Str line = {data, unit * count};
    t->moved_us = clock_us();
    t->answered = true;
    if (str_trim(line).len == 0) return head_ended(t) ? line.len : 0;
    if (str_starts(line, STR("HTTP/"))) text_clear(&t->reply.headers); /* after a 100 Continue */
    if (t->reply.headers.len + line.len > HEADERS_SIZE_MAX) return 0;
    text_add(&t->reply.headers, line);
    return line.len;
}

static int on_progress(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up) {
    const HttpCall *call = context;
    (void)down_total, (void)up_total;
    return !call->progress(call->progress_context, up, down);
}

/* The newest connection is known by number, for the kernel to be asked what it has not sent. */
static curl_socket_t on_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    HttpClient *client = context;
    (void)purpose;
    client->socket = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    return client->socket;
}

static int on_socket_close(void *context, curl_socket_t number) {
    HttpClient *client = context;
    if (client->socket == number) client->socket = -1;
    return close(number);
}

static void add_header(struct curl_slist **list, const char *name, Str value) {
    OWNED(text_close) Text line = {0};
    text_print(&line, "%s: %.*s", name, SHOW(value));
    text_add_byte(&line, 0);
    *list = curl_slist_append(*list, line.data);
}

static struct curl_slist *make_headers(const HttpCall *call) {
    struct curl_slist *list = curl_slist_append(NULL, "User-Agent: lakehouse/" LAKEHOUSE_VERSION);
    if (call->content_type.len)
        add_header(&list, "Content-Type", call->content_type);
    else
        list = curl_slist_append(list, "Content-Type:"); /* not libcurl's guess */
    if (call->content_encoding.len) add_header(&list, "Content-Encoding", call->content_encoding);
    if (call->accept.len) add_header(&list, "Accept", call->accept);
    if (call->bearer.len) {
        OWNED(text_close) Text value = {0};
        text_print(&value, "Bearer %.*s", SHOW(call->bearer));
        add_header(&list, "Authorization", text_str(&value));
    }
    if (call->source && call->source_size < 0)
        add_header(&list, "Transfer-Encoding", STR("chunked"));
    for (size_t i = 0; i < call->header_count; i++) {
        OWNED(text_close) Text line = {0};
        text_add(&line, call->headers[i]);
        text_add_byte(&line, 0);
        list = curl_slist_append(list, line.data);
    }
    return list;
}

/* libcurl sends a small body in memory with the head, in one packet. */
static bool goes_with_head(const HttpCall *call) {
    return !call->source && call->body.size > 0 && call->body.size <= SMALL_BODY_SIZE;
}

static void set_body(CURL *curl, const HttpCall *call) {
    /* A request without a body libcurl would send again by itself on a kept connection that broke,
     * whatever on_seek says; on a new one it does not. */
    if (call->once && !call->source && call->body.size == 0)
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    bool has_body = call->source || call->body.size > 0 || str_is(str_from(call->method), "POST") ||
                    str_is(str_from(call->method), "PUT");
    int64_t size = call->source ? call->source_size : (int64_t)call->body.size;
    if (str_is(str_from(call->method), "HEAD")) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (!has_body) return;
    if (goes_with_head(call)) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.data);
        return;
    }
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    if (size >= 0) curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
}

static void set_up(HttpClient *client, const HttpCall *call, Transfer *t, const char *url) {
    CURL *curl = client->curl;
    curl_easy_reset(curl); /* keeps its connections */
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, client);
    curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
    curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, client);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    /* OpenSSL's own variable, for servers with a certificate of their owner's authority. */
    const char *authorities = getenv("SSL_CERT_FILE");
    if (authorities) curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    set_body(curl, call);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, t);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    int64_t connect_ms = call->connect_timeout_ms ? call->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    if (!call->progress) return;
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, call);
}

/* What stands before any user name, password or query, so that no message tells a secret. */
static Str shown(Str url) {
    size_t at;
    Str head = str_until(&url, '?');
    return str_find(head, STR("@"), &at) ? STR("the server") : head;
}

static bool failure(const Transfer *t, CURLcode code, Err *err) {
    Str url = shown(t->call->url);
    if (t->failed) return false;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return err_code(err, LH_OFFLINE, "cannot_connect", "cannot connect to '%.*s'", SHOW(url));
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, LH_TIMEOUT, "no answer from '%.*s' in time", SHOW(url));
    case CURLE_ABORTED_BY_CALLBACK:
        return err_set(err, LH_CANCELLED, "cancelled");
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(err, LH_OFFLINE,
                       "the certificate of '%.*s' is not trusted (%s); SSL_CERT_FILE may name a "
                       "file with its authority",
                       SHOW(url), t->detail);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(err, LH_OFFLINE, "TLS with '%.*s' failed: %s", SHOW(url), t->detail);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(err, LH_INVALID, "'%.*s' is not an http address", SHOW(url));
    default:
        return err_set(err, LH_OFFLINE, "talking to '%.*s' failed: %s", SHOW(url),
                       curl_easy_strerror(code));
    }
}

static bool all_sent(const Transfer *t) {
    return t->call->source ? t->source_ended : t->unsent.size == 0;
}

/* What the kernel still holds may be megabytes on a slow line: while it drains, bytes move. */
static void look_at_queue(HttpClient *client, Transfer *t, int64_t now) {
    int queue = 0;
    if (client->socket < 0 || ioctl(client->socket, SIOCOUTQ, &queue)) return;
    if (queue < t->unsent_queue) t->moved_us = now;
    t->unsent_queue = queue;
}

/* Connecting has libcurl's own time-out; from then on these. */
static bool is_too_slow(HttpClient *client, Transfer *t) {
    bool waits = all_sent(t) && !t->answered;
    int64_t limit_ms = waits ? t->call->answer_timeout_ms : t->call->stall_timeout_ms;
    int64_t now = clock_us();
    curl_off_t connected = 0;
    if (!t->moved_us) {
        curl_easy_getinfo(t->curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
        if (connected > 0) t->moved_us = now;
        return false;
    }
    if (!t->answered) look_at_queue(client, t, now);
    return limit_ms > 0 && now - t->moved_us > limit_ms * 1000;
}

static CURLcode perform(HttpClient *client, Transfer *t) {
    CURLcode code = CURLE_OK;
    int running = 1, left;
    curl_multi_add_handle(client->multi, client->curl);
    while (curl_multi_perform(client->multi, &running) == CURLM_OK && running) {
        if (is_too_slow(client, t)) {
            code = CURLE_OPERATION_TIMEDOUT;
            break;
        }
        curl_multi_poll(client->multi, NULL, 0, LOOK_MS, NULL);
    }
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left));)
        if (message->msg == CURLMSG_DONE && code == CURLE_OK) code = message->data.result;
    curl_multi_remove_handle(client->multi, client->curl);
    return code;
}

Str http_header(Str headers, const char *name) {
    Str found = {0};
    while (headers.len > 0) {
        Str line = str_until(&headers, '\n');
        Str before = str_until(&line, ':');
        if (str_equal_nocase(before, str_from(name))) found = str_trim(line);
    }
    return found;
}

bool http_client_call(HttpClient *client, const HttpCall *call, HttpReply *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(http_reply_close) HttpReply none = {0};
    CURL *curl = client->curl;
    Bytes unsent = goes_with_head(call) ? (Bytes){0} : call->body;
    Transfer t = {.call = call, .curl = curl, .unsent = unsent, .err = err};
    long status = 0;
    set_up(client, call, &t, arena_cstr(&arena, call->url));
    struct curl_slist *headers = make_headers(call);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t.detail);
    CURLcode code = perform(client, &t);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL); /* t ends before the handle */
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    none = t.reply;
    /* A server may answer, and close, before it has taken the whole body: that is an answer. */
    bool early = code == CURLE_SEND_ERROR && status >= 400;
    if (code != CURLE_OK && !early) return failure(&t, code, err);
    *out = none;
    out->status = (int)status;
    none = (HttpReply){0};
    return true;
}
