#include "net/http_parse.h"

#include "base/owned.h"

#include <string.h>

enum { TOKEN = 1, TARGET = 2, VALUE = 4 };

/* Which bytes may stand in a token (RFC 9110 5.6.2), a request target, a field value. */
#define ANY (TOKEN | TARGET | VALUE)
#define NOT_TOKEN (TARGET | VALUE)
static const uint8_t kinds[256] = {
    ['\t'] = VALUE,       [' '] = VALUE,
    ['!'] = ANY,          ['"'] = NOT_TOKEN,
    ['#' ... '\''] = ANY, ['(' ... ')'] = NOT_TOKEN,
    ['*' ... '+'] = ANY,  [','] = NOT_TOKEN,
    ['-' ... '.'] = ANY,  ['/'] = NOT_TOKEN,
    ['0' ... '9'] = ANY,  [':' ... '@'] = NOT_TOKEN,
    ['A' ... 'Z'] = ANY,  ['[' ... ']'] = NOT_TOKEN,
    ['^' ... 'z'] = ANY,  ['{'] = NOT_TOKEN,
    ['|'] = ANY,          ['}'] = NOT_TOKEN,
    ['~'] = ANY,          [0x80 ... 0xFF] = VALUE,
};

typedef struct Reader {
    const char *at, *end;
    HttpHead *head;
    HttpRefusal *why;
    int hosts, codings;
    bool close, keep;
} Reader;

static HeadResult refuse(Reader *r, int status, const char *reason) {
    *r->why = (HttpRefusal){status, reason};
    return HEAD_REFUSED;
}

static Str take_while(Reader *r, uint8_t kind) {
    const char *start = r->at;
    while (r->at < r->end && kinds[(unsigned char)*r->at] & kind) r->at++;
    return (Str){start, (size_t)(r->at - start)};
}

static HeadResult take_crlf(Reader *r, const char *reason) {
    if (r->at == r->end) return HEAD_PART;
    if (*r->at != '\r') return refuse(r, 400, reason);
    if (r->at + 1 == r->end) return HEAD_PART;
    if (r->at[1] != '\n') return refuse(r, 400, reason);
    r->at += 2;
    return HEAD_WHOLE;
}

static HeadResult read_method(Reader *r) {
    static const char *const names[HTTP_METHOD_COUNT] = {"GET",   "HEAD",   "POST",   "PUT",
                                                         "PATCH", "DELETE", "OPTIONS"};
    Str method = take_while(r, TOKEN);
    if (method.len > HTTP_METHOD_SIZE_MAX) return refuse(r, 400, "the method is too long");
    if (r->at == r->end) return HEAD_PART;
    if (method.len == 0 || *r->at != ' ') return refuse(r, 400, "the request line is malformed");
    r->at++;
    r->head->method = HTTP_METHOD_COUNT;
    for (int i = 0; i < HTTP_METHOD_COUNT; i++)
        if (str_is(method, names[i])) r->head->method = (HttpMethod)i;
    return HEAD_WHOLE;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that *at stands for, escapes undone; -1 when the escape is malformed. */
static int path_byte(const char **at, const char *end) {
    if (**at != '%') return (unsigned char)*(*at)++;
    if (end - *at < 3) return -1;
    int high = hex_digit((*at)[1]), low = hex_digit((*at)[2]);
    *at += 3;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* No NUL, no malformed escape, no dot segment, however it is spelled: nothing behind this server
 * has to know how to climb out of a directory. */
static bool path_is_sane(Str path) {
    size_t len = 0, dots = 0; /* of this segment */
    for (const char *at = path.data, *end = at + path.len; at < end;) {
        int c = path_byte(&at, end);
        if (c <= 0) return false;
        if (c == '/' && dots == len && (len == 1 || len == 2)) return false;
        len = c == '/' ? 0 : len + 1;
        dots = c == '/' ? 0 : dots + (c == '.');
    }
    return dots != len || len == 0 || len > 2;
}

static HeadResult read_target(Reader *r) {
    Str target = take_while(r, TARGET);
    if (target.len > HTTP_TARGET_SIZE_MAX)
        return refuse(r, 414, "the request target is longer than 8192 bytes");
    if (r->at == r->end) return HEAD_PART;
    if (target.len == 0 || *r->at != ' ') return refuse(r, 400, "the request line is malformed");
    r->at++;
    r->head->query = target;
    r->head->path = str_until(&r->head->query, '?');
    return HEAD_WHOLE;
}

static HeadResult read_version(Reader *r) {
    static const char prefix[] = "HTTP/";
    for (size_t i = 0; i < 5; i++) {
        if (r->at + i == r->end) return HEAD_PART;
        if (r->at[i] != prefix[i]) return refuse(r, 400, "the request line is malformed");
    }
    if (r->end - r->at < 8) return HEAD_PART;
    const char *digits = r->at + 5;
    r->at += 8;
    if (digits[0] < '0' || digits[0] > '9' || digits[1] != '.')
        return refuse(r, 400, "the protocol version is malformed");
    if (digits[0] != '1' || (digits[2] != '0' && digits[2] != '1'))
        return refuse(r, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    r->head->minor = digits[2] - '0';
    return take_crlf(r, "the request line does not end in CRLF");
}

static HeadResult read_request_line(Reader *r) {
    /* One empty line before it is tolerated (RFC 9112 2.2). */
    if (r->at < r->end && *r->at == '\r') {
        HeadResult skipped = take_crlf(r, "a stray CR before the request line");
        if (skipped != HEAD_WHOLE) return skipped;
    }
    HeadResult result = read_method(r);
    if (result == HEAD_WHOLE) result = read_target(r);
    if (result == HEAD_WHOLE) result = read_version(r);
    return result;
}

static bool list_has(Str list, Str token) {
    while (list.len)
        if (str_equal_nocase(str_trim(str_until(&list, ',')), token)) return true;
    return false;
}

static HeadResult read_length(Reader *r, Str value) {
    enum { DIGITS_MAX = 18 }; /* so that it fits int64_t */
    uint64_t length;
    if (r->head->has_length) return refuse(r, 400, "Content-Length is there twice");
    if (value.len > DIGITS_MAX || !str_to_u64(value, &length))
        return refuse(r, 400, "Content-Length is not a number");
    r->head->has_length = true;
    r->head->length = (int64_t)length;
    return HEAD_WHOLE;
}

/* RFC 9112 6.3: without `chunked` at its end the body's length is unknown. */
static HeadResult read_coding(Reader *r, Str value) {
    Str last = {0}, rest = value;
    while (rest.len) last = str_trim(str_until(&rest, ','));
    if (r->codings++) return refuse(r, 400, "Transfer-Encoding is there twice");
    if (!str_equal_nocase(last, STR("chunked")))
        return refuse(r, 400, "Transfer-Encoding does not end in chunked");
    if (!str_equal_nocase(value, STR("chunked")))
        return refuse(r, 501, "the only transfer coding understood is chunked");
    r->head->chunked = true;
    return HEAD_WHOLE;
}

/* Headers that decide where this request ends and whether another follows. */
static HeadResult note_header(Reader *r, Str name, Str value) {
    switch (name.len) {
    case 4:
        r->hosts += str_equal_nocase(name, STR("host"));
        break;
    case 6:
        if (!str_equal_nocase(name, STR("expect"))) break;
        if (!str_equal_nocase(value, STR("100-continue")))
            return refuse(r, 417, "the only expectation understood is 100-continue");
        r->head->expect_continue = true;
        break;
    case 10:
        if (!str_equal_nocase(name, STR("connection"))) break;
        r->close |= list_has(value, STR("close"));
        r->keep |= list_has(value, STR("keep-alive"));
        break;
    case 14:
        if (str_equal_nocase(name, STR("content-length"))) return read_length(r, value);
        break;
    case 17:
        if (str_equal_nocase(name, STR("transfer-encoding"))) return read_coding(r, value);
        break;
    }
    return HEAD_WHOLE;
}

static HeadResult read_header(Reader *r) {
    Str name = take_while(r, TOKEN);
    if (r->at == r->end) return HEAD_PART;
    if (name.len == 0 || *r->at != ':') return refuse(r, 400, "a header line is malformed");
    r->at++;
    Str value = take_while(r, VALUE);
    HeadResult result = take_crlf(r, "a header's value has a control character");
    if (result != HEAD_WHOLE) return result;
    if (r->head->header_count == HTTP_HEADERS_MAX)
        return refuse(r, 431, "the request has more than 64 headers");
    value = str_trim(value);
    r->head->headers[r->head->header_count++] = (HttpHeader){name, value};
    return note_header(r, name, value);
}

static HeadResult read_headers(Reader *r) {
    for (;;) {
        if (r->at == r->end) return HEAD_PART;
        if (*r->at == '\r') return take_crlf(r, "a stray CR among the headers");
        HeadResult result = read_header(r);
        if (result != HEAD_WHOLE) return result;
    }
}

static HeadResult check_head(Reader *r) {
    HttpHead *head = r->head;
    if (head->chunked && head->has_length)
        return refuse(r, 400, "Content-Length beside Transfer-Encoding");
    if (head->chunked && head->minor == 0) return refuse(r, 400, "HTTP/1.0 has no chunked coding");
    if (r->hosts > 1) return refuse(r, 400, "Host is there twice");
    if (r->hosts == 0 && head->minor == 1) return refuse(r, 400, "Host is missing");
    if (head->path.len == 0 || head->path.data[0] != '/')
        return refuse(r, 400, "the request target must be a path");
    if (!path_is_sane(head->path))
        return refuse(r, 400, "the path has a malformed escape or a dot segment");
    if (head->method == HTTP_METHOD_COUNT) return refuse(r, 501, "the method is not known");
    head->keep_alive = !r->close && (head->minor == 1 || r->keep);
    if (head->minor == 0) head->expect_continue = false; /* RFC 9110 10.1.1 */
    return HEAD_WHOLE;
}

HeadResult http_head_read(Str in, HttpHead *out, size_t *size, HttpRefusal *why) {
    Str within = str_slice(in, 0, HTTP_HEAD_SIZE_MAX);
    Reader r = {.at = within.data, .end = within.data + within.len, .head = out, .why = why};
    /* The headers' array is left as it is: clearing 2 KiB took longer than most parses. */
    memset(out, 0, offsetof(HttpHead, headers));
    HeadResult result = read_request_line(&r);
    if (result == HEAD_WHOLE) result = read_headers(&r);
    if (result == HEAD_WHOLE) result = check_head(&r);
    if (result == HEAD_PART && within.len == HTTP_HEAD_SIZE_MAX)
        return refuse(&r, 431, "the request's head is larger than 16384 bytes");
    if (result == HEAD_WHOLE) *size = (size_t)(r.at - in.data);
    return result;
}

static bool is_text(uint8_t c) {
    return kinds[c] & VALUE;
}

/* One byte of a chunk's framing, that is of anything but its data. */
static bool chunks_step(HttpChunks *c, uint8_t byte) {
    enum { DIGITS_MAX = 15 };
    switch (c->state) {
    case CHUNK_SIZE: {
        int digit = hex_digit((char)byte);
        if (digit >= 0) {
            c->left = c->left << 4 | (unsigned)digit;
            return ++c->digits <= DIGITS_MAX;
        }
        c->state = byte == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
        return c->digits > 0 && (byte == '\r' || byte == ';');
    }
    case CHUNK_EXTENSION:
        if (byte == '\r') return c->state = CHUNK_SIZE_LF, true;
        return is_text(byte) && ++c->extra <= HTTP_CHUNK_EXTENSION_MAX;
    case CHUNK_SIZE_LF:
        c->state = c->left ? CHUNK_DATA : CHUNK_TRAILER_START;
        c->digits = c->extra = 0;
        return byte == '\n';
    case CHUNK_DATA_CR:
        c->state = CHUNK_DATA_LF;
        return byte == '\r';
    case CHUNK_DATA_LF:
        c->state = CHUNK_SIZE;
        return byte == '\n';
    case CHUNK_TRAILER_START:
    case CHUNK_TRAILER:
        if (byte == '\r')
            return c->state = c->state == CHUNK_TRAILER ? CHUNK_TRAILER_LF : CHUNK_END_LF, true;
        c->state = CHUNK_TRAILER;
        return is_text(byte) && ++c->extra <= HTTP_TRAILER_SIZE_MAX;
    case CHUNK_TRAILER_LF:
        c->state = CHUNK_TRAILER_START;
        return byte == '\n';
    case CHUNK_END_LF:
        c->state = CHUNK_DONE;
        return byte == '\n';
    case CHUNK_DATA:
    case CHUNK_DONE:
        break;
    }
    return true;
}

bool http_chunks_read(HttpChunks *chunks, Bytes *in, Bytes *data) {
    *data = (Bytes){0};
    while (in->size > 0 && chunks->state != CHUNK_DONE) {
        if (chunks->state == CHUNK_DATA) {
            size_t size = (size_t)MIN((uint64_t)in->size, chunks->left);
            *data = (Bytes){in->data, size};
            *in = (Bytes){in->data + size, in->size - size};
            chunks->left -= size;
            if (chunks->left == 0) chunks->state = CHUNK_DATA_CR;
            return true;
        }
        if (!chunks_step(chunks, in->data[0])) return false;
        *in = (Bytes){in->data + 1, in->size - 1};
    }
    return true;
}
