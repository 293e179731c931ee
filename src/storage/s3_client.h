/* Talks to one bucket: signs, sends, tries again what may be tried again, and says what an answer
 * means. Knows nothing of readers and writers. Thread safe; held by everyone who uses it, since a
 * reader may outlive its store. */
#pragma once

#include "base/base.h"
#include "net/net.h"
#include "storage/s3_crew.h"
#include "storage/s3_sign.h"
#include "storage/s3_xml.h"
#include "storage/store_s3.h"

#include <stdatomic.h>

#define S3_PARALLEL_MAX 32 /* transfers of one object */
#define S3_IDLE_MAX 32     /* connections kept, 512 KiB each; the one used last is used first */

/* An upload in parts that nobody will finish, and what is known of it: see s3_leftovers.c. */
typedef struct S3Leftover S3Leftover;
/* An upload of this process that is under way. */
typedef struct S3Live {
    struct S3Live *next;
    Str id;
} S3Live;

typedef struct S3Client {
    _Atomic int holders;
    Arena arena; /* of the names below */
    Str bucket, endpoint, secret_ref;
    Str origin; /* scheme://host[:port] that requests go to */
    Str host;   /* as the Host header says it */
    Str root;   /* encoded path of the bucket: "/bucket", or "" where the host names it */
    bool tls;
    S3Limits limits;
    Secrets *secrets;
    S3Signer signer;
    S3Crew crew;
    pthread_mutex_t lock; /* of the next four */
    HttpClient *idle[S3_IDLE_MAX];
    size_t idle_count;
    S3Live *live; /* under the lock too */
    S3Leftover *leftovers;
    _Atomic bool has_leftovers;
    _Atomic int64_t skew_s;  /* the server's clock minus ours, once it complained */
    _Atomic int64_t seen_us; /* when the bucket last answered as one that exists; 0: never */
    _Atomic bool down;       /* the last operation gave up: the next ones try once only */
} S3Client;

typedef struct S3Call {
    const char *method;
    Str key; /* of the bucket, the store's prefix in it; empty: the bucket itself */
    const S3Pair *query, *headers; /* names of headers in lower case */
    size_t query_count, header_count;
    Bytes body; /* used when fd_size is 0 */
    int fd;     /* else these bytes of a file, read with pread */
    uint64_t fd_from, fd_size;
    bool changes; /* an outcome that is not known must be settled by the caller, not by trying again
                   */
    HttpHead *head;
    HttpSink *sink;
    void *context;
    const _Atomic bool *cancelled; /* may be NULL */
    int64_t answer_timeout_ms;     /* 0: the limits' own */
} S3Call;

typedef struct S3Answer {
    int status; /* 0: none came */
    HttpReply reply;
    S3Error error;
    bool unknown; /* the request may have been carried out all the same */
} S3Answer;

bool s3_client_open(const S3Options *options, S3Client **out, Err *err);
S3Client *s3_client_hold(S3Client *client);
void s3_client_release(S3Client **client);

/* Whether to try again after this outcome: only what may pass by itself, within retry_ms, after a
 * random part of a growing pause (slept here). */
typedef struct S3Retry {
    int64_t start_us; /* 0: not begun */
    int tries;
} S3Retry;
bool s3_again(S3Client *client, S3Retry *retry, const S3Call *call, const S3Answer *answer,
              const Err *err);

/* One request, sent again only when the clock or the key pair was at fault: nothing was done then.
 * True for every complete answer; false: LH_OFFLINE (LH_CANCELLED, or what head or sink said). */
bool s3_send(S3Client *client, const S3Call *call, S3Answer *out, Err *err);
/* The same, tried again while that helps. With `changes` an unknown outcome ends it. */
bool s3_call(S3Client *client, const S3Call *call, S3Answer *out, Err *err);
void s3_answer_close(S3Answer *answer);
/* What an answer that is no success means; `key` is the caller's, without the store's prefix. */
bool s3_refused(S3Client *client, const S3Answer *answer, Str key, Err *err);
/* For an answer to HEAD, which has no body to say why. */
bool s3_head_refused(S3Client *client, const S3Answer *answer, Str full_key, Str key, Err *err);
/* Etag, size and time from the headers; LH_CORRUPT when there is no etag. */
bool s3_info(Str headers, ObjectInfo *out, Err *err);
/* Of an object that was written, whose etag nobody knows: it gets one that no object has, so that
 * no later condition holds by mistake. */
void s3_info_unknown(uint64_t size, ObjectInfo *out);

/* Remembers an upload to be aborted later; an empty id: one whose creation was not answered, made
 * between the two times of the server's clock. */
void s3_leave(S3Client *client, Str key, Str id, int64_t wait_us, int64_t since_ms,
              int64_t until_ms);
void s3_sweep(S3Client *client); /* aborts what is due; one request tried once for each */
void s3_leftovers_close(S3Client *client);
void s3_live_add(S3Client *client, S3Live *live);
void s3_live_remove(S3Client *client, S3Live *live);
/* True also when it is gone. `once`: no second attempt. */
bool s3_abort(S3Client *client, Str key, Str id, bool once, Err *err);
