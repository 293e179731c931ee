/* What a client sends, read strictly (RFC 9110, 9112) and without I/O, so that it can be fuzzed.
 *
 * Whatever two readers could understand differently is refused, never repaired: two lengths, a
 * length beside a transfer coding, a space before a colon, a folded line, a bare LF. Such a request
 * ends its connection, because where the next one begins is then unknown. Thread rule: pure. */
#pragma once

#include "base/bytes.h"
#include "net/http_server.h"

#define HTTP_HEAD_SIZE_MAX 16384
#define HTTP_TARGET_SIZE_MAX 8192
#define HTTP_METHOD_SIZE_MAX 16
#define HTTP_HEADERS_MAX 64
#define HTTP_CHUNK_EXTENSION_MAX 256
#define HTTP_TRAILER_SIZE_MAX 4096

typedef struct HttpHead {
    HttpMethod method;
    Str path, query; /* all text points into what was read */
    int minor;       /* HTTP/1.minor */
    bool keep_alive, chunked, has_length, expect_continue;
    int64_t length;
    size_t header_count;
    HttpHeader headers[HTTP_HEADERS_MAX];
} HttpHead;

typedef struct HttpRefusal {
    int status;
    const char *reason;
} HttpRefusal;

typedef enum HeadResult { HEAD_WHOLE, HEAD_PART, HEAD_REFUSED } HeadResult;

/* HEAD_WHOLE: *size bytes of `in` are the head. HEAD_PART: more must come. */
HeadResult http_head_read(Str in, HttpHead *out, size_t *size, HttpRefusal *why);

typedef enum ChunkState {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_DONE
} ChunkState;

typedef struct HttpChunks {
    ChunkState state;
    uint64_t left;          /* of the chunk's data; while reading the size, the size so far */
    uint32_t digits, extra; /* of the size; of extensions or trailers */
} HttpChunks;

/* Takes bytes off *in up to the end of one run of data (which may be empty), of `in`, or of the
 * body (state CHUNK_DONE). False when the coding is malformed. */
bool http_chunks_read(HttpChunks *chunks, Bytes *in, Bytes *data);
