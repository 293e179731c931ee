/* An HTTP/1.1 server (RFC 9110, 9112): keep-alive, pipelining, bodies of any size both ways in
 * bounded memory, sendfile, strict parsing, absolute time-outs, graceful stop.
 *
 * Event threads (one epoll each) own idle connections, parse heads and gather small bodies, and
 * send what a handler left behind; they never block. A request that may block runs on a pool thread
 * that owns the connection until the answer is made: there, body reads and streamed writes wait on
 * the socket, which is the back pressure. Each request's memory is its arena.
 *
 * Thread rule: a Request and its Response belong to the thread that runs the handler. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"
#include "net/tls.h"

typedef enum HttpMethod {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_METHOD_COUNT
} HttpMethod;

typedef struct HttpHeader {
    Str name, value;
} HttpHeader;

typedef struct Request {
    HttpMethod method;
    Str path;  /* as sent, still percent-encoded, begins with '/' */
    Str query; /* after '?', still encoded; empty when there is none */
    Str id; /* x-request-id: the client's own when it is sane (1..64 of [A-Za-z0-9._-]), else ours
             */
    const HttpHeader *headers;
    size_t header_count;
    int64_t content_length; /* -1: chunked or none; see has_body */
    bool has_body;
    Bytes body;    /* the whole body under HTTP_GATHER; empty under HTTP_STREAM */
    Arena *arena;  /* freed after the answer was sent */
    void *matched; /* what plan() found, for answer() */
    int64_t started_us;
} Request;

typedef struct Response Response;

/* What plan() wants done with a request. */
typedef struct HttpPlan {
    bool pool;        /* answer() may block: run it on a pool thread. Else on the event thread */
    bool stream_body; /* answer() reads the body with request_read (needs pool) */
    size_t body_max;  /* gathered: a longer body is 413. Streamed: 0, no bound */
} HttpPlan;

typedef struct HttpApp {
    void *context;
    /* On an event thread, once the head is parsed. Must not block. */
    HttpPlan (*plan)(void *context, Request *request);
    /* Makes the answer. Called once for a planned request (response_defer: twice), unless its body
     * could not be gathered (too large, malformed, too slow, or the client was lost): then refuse()
     * or nobody answers. */
    void (*answer)(void *context, Request *request, Response *response);
    /* Turns a protocol error (400, 408, 413, 431, 501, 505 ...) into an answer's body. */
    void (*refuse)(void *context, Response *response, int status, const char *reason);
    /* Called once for each planned request, on an event thread: after the answer was handed to the
     * socket, or the client was lost (status 499). May be NULL. */
    void (*done)(void *context, const Request *request, int status, uint64_t bytes_sent);
} HttpApp;

typedef struct HttpOptions {
    Str host; /* an IPv4 or IPv6 address */
    int port; /* 0: a free one */
    int event_threads, pool_threads_max;
    int64_t head_timeout_ms;  /* from the first byte of a head to its end: 408 */
    int64_t idle_timeout_ms;  /* between requests */
    int64_t stall_timeout_ms; /* a body or an answer that does not move */
    int64_t body_rate_min;    /* bytes/s that a body must keep up over any stall_timeout_ms */
    int connections_max;
    TlsServer *tls; /* NULL: plain HTTP. The caller's, and longer there than the server */
} HttpOptions;

extern const HttpOptions http_options_default;

typedef struct HttpServer HttpServer;

/* *out is set before the first request can come: a handler may use it. */
bool http_server_open(const HttpOptions *options, const HttpApp *app, HttpServer **out, Err *err);
int http_server_port(const HttpServer *server);
/* Stops accepting, lets what is under way finish for `grace_ms`, cuts the rest, frees all. */
void http_server_stop(HttpServer **server, int64_t grace_ms);

typedef struct HttpCounts {
    int64_t connections, connections_total, requests_total, bytes_in, bytes_out, pool_busy;
} HttpCounts;
void http_server_counts(const HttpServer *server, HttpCounts *out);

/* Request. */
Str request_header(const Request *request, const char *name); /* empty when absent */
/* Up to `size` bytes of a streamed body; *got is 0 at its end. LH_CANCELLED: the client went away
 * or was too slow; LH_INVALID: bad chunk framing. Sends 100 Continue when it was asked for. */
bool request_read(Request *request, void *buffer, size_t size, size_t *got, Err *err);
/* True once the client has closed its side: nobody will read the answer. Cheap (one poll). */
bool request_gone(Request *request);
/* Whether this is a pool thread. */
bool request_may_block(const Request *request);

/* Response. Status and headers first, then exactly one of body, file or stream (or none). */
void response_status(Response *response, int status);
void response_header(Response *response, const char *name, Str value); /* copies; CR/LF refused */
void response_body(Response *response, const char *content_type, Str body); /* copies */
/* Takes `body`'s memory and leaves it empty. */
void response_take(Response *response, const char *content_type, Text *body);
/* Sends size bytes of fd from offset with sendfile; takes fd. The content type header is the
 * caller's. For HEAD, fd may be -1. */
void response_file(Response *response, int fd, uint64_t offset, uint64_t size);
/* Begins a chunked answer; each write blocks until the socket has taken it. LH_CANCELLED when the
 * client is gone. A handler that fails after this point calls response_abort so that the client
 * sees a cut body, not a short whole one. */
bool response_stream(Response *response, const char *content_type, Err *err);
/* The same for a body of known size, which goes out with a Content-Length: exactly so many bytes
 * must be written, or the client sees a cut body. */
bool response_stream_sized(Response *response, const char *content_type, uint64_t size, Err *err);
bool response_write(Response *response, Bytes data, Err *err);
void response_abort(Response *response);
/* On an event thread, in place of an answer: making it may take long after all. answer() is called
 * once more, on a pool thread. */
void response_defer(Response *response);
bool response_started(const Response *response); /* a stream's head has gone out */
int response_status_of(const Response *response);
