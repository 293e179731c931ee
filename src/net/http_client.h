/* A blocking HTTP client over libcurl, for the command line, for model servers and for remote
 * buckets. Thread rule: an HttpClient serves one thread at a time and keeps its connections. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"

typedef struct HttpClient HttpClient;
/* A body to send piece by piece; *got 0 ends it. */
typedef bool HttpSource(void *context, void *buffer, size_t size, size_t *got, Err *err);
/* A piece of the answer's body; false stops the transfer. */
typedef bool HttpSink(void *context, Bytes data, Err *err);
/* The status and the raw header lines of the answer, before its body; false stops the transfer. */
typedef bool HttpHead(void *context, int status, Str headers, Err *err);

typedef struct HttpCall {
    const char *method;
    Str url;
    Str content_type;     /* of the body; empty: none sent */
    Str content_encoding; /* of the body; empty: none sent */
    Str accept;           /* empty: none sent */
    Str bearer;           /* Authorization: Bearer ..., never logged */
    const Str *headers;   /* whole lines without their ends, never logged; "Expect:" sends none */
    size_t header_count;
    Bytes body; /* used when source is NULL */
    HttpSource *source;
    void *source_context;
    int64_t source_size; /* -1: chunked */
    bool once;           /* not even libcurl sends it a second time */
    HttpHead *head;      /* may be NULL */
    HttpSink *sink;      /* gets the body of a 2xx answer; NULL: all goes to reply->body */
    void *sink_context;  /* and head's */
    int64_t connect_timeout_ms, timeout_ms; /* timeout, of the whole call; 0: none */
    int64_t answer_timeout_ms; /* from the last byte sent to the first received; 0: none */
    int64_t stall_timeout_ms;  /* without a byte in either direction; 0: none */
    bool (*progress)(void *context, int64_t sent, int64_t received); /* false aborts; may be NULL */
    void *progress_context;
} HttpCall;

typedef struct HttpReply {
    int status;
    Text body;    /* at most 64 MiB, text_close it */
    Text headers; /* raw lines */
} HttpReply;

/* Servers over TLS are believed by the system's authorities, or those of the file that the
 * environment's SSL_CERT_FILE names. */
bool http_client_open(HttpClient **out, Err *err);
void http_client_close(HttpClient **client);
/* True for any complete answer, whatever its status. LH_OFFLINE: could not connect (its code is
 * "cannot_connect") or the connection broke; LH_TIMEOUT. */
bool http_client_call(HttpClient *client, const HttpCall *call, HttpReply *out, Err *err);
/* The value of a header among raw lines (the last of its name), or the empty Str. */
Str http_header(Str headers, const char *name);
void http_reply_close(HttpReply *reply);
