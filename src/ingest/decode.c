#include "ingest/parts.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct Decoder {
    z_stream gzip;
    ZSTD_DCtx *zstd; /* NULL: gzip */
    bool gzip_open;
    bool whole; /* the input so far ends where a stream ends */
    Bytef out[SPOOL_PIECE_SIZE];
};

static bool starts_with(Bytes data, const char *magic, size_t size) {
    return data.size >= size && memcmp(data.data, magic, size) == 0;
}

bool decoder_open(Str encoding, Bytes head, Decoder **out, Err *err) {
    bool none = encoding.len == 0 || str_is(encoding, "identity");
    bool gzip = str_is(encoding, "gzip") || (none && starts_with(head, "\x1f\x8b", 2));
    bool zstd = str_is(encoding, "zstd") || (none && starts_with(head, "\x28\xb5\x2f\xfd", 4));
    if (!gzip && !zstd && !none)
        return err_code(err, LH_MEDIA_TYPE, "unsupported_encoding",
                        "the encoding '%.*s' is not read: gzip, zstd or identity", SHOW(encoding));
    if (!gzip && !zstd) return *out = NULL, true;
    Decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder) abort();
    *out = decoder;
    if (zstd && (decoder->zstd = ZSTD_createDCtx())) return true;
    if (zstd || inflateInit2(&decoder->gzip, 16 + MAX_WBITS) != Z_OK) abort(); /* no memory */
    decoder->gzip_open = true;
    return true;
}

void decoder_close(Decoder **decoder) {
    Decoder *d = TAKE(*decoder);
    if (!d) return;
    if (d->gzip_open) inflateEnd(&d->gzip);
    ZSTD_freeDCtx(d->zstd);
    free(d);
}

static bool add_gzip(Decoder *d, Bytes piece, DecodeSink *sink, void *context, Err *err) {
    d->gzip.next_in = (Bytef *)piece.data;
    d->gzip.avail_in = (uInt)piece.size;
    do {
        if (d->whole && d->gzip.avail_in == 0) break;
        if (d->whole) inflateReset(&d->gzip); /* gzip files may be joined end to end */
        d->gzip.next_out = d->out;
        d->gzip.avail_out = sizeof d->out;
        int result = inflate(&d->gzip, Z_NO_FLUSH);
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return err_code(err, LH_INVALID, "bad_encoding", "not a valid gzip stream: %s",
                            d->gzip.msg ? d->gzip.msg : "corrupt");
        d->whole = result == Z_STREAM_END;
        if (!sink(context, (Bytes){d->out, sizeof d->out - d->gzip.avail_out}, err)) return false;
    } while (d->gzip.avail_in > 0 || d->gzip.avail_out == 0);
    return true;
}

static bool add_zstd(Decoder *d, Bytes piece, DecodeSink *sink, void *context, Err *err) {
    ZSTD_inBuffer in = {piece.data, piece.size, 0};
    ZSTD_outBuffer out;
    do {
        out = (ZSTD_outBuffer){d->out, sizeof d->out, 0};
        size_t result = ZSTD_decompressStream(d->zstd, &out, &in);
        if (ZSTD_isError(result))
            return err_code(err, LH_INVALID, "bad_encoding", "not a valid zstd stream: %s",
                            ZSTD_getErrorName(result));
        d->whole = result == 0;
        if (!sink(context, (Bytes){d->out, out.pos}, err)) return false;
    } while (in.pos < in.size || out.pos == out.size);
    return true;
}

bool decoder_add(Decoder *d, Bytes piece, DecodeSink *sink, void *context, Err *err) {
    if (piece.size == 0) return true;
    return d->zstd ? add_zstd(d, piece, sink, context, err)
                   : add_gzip(d, piece, sink, context, err);
}

bool decoder_end(Decoder *d, Err *err) {
    if (!d || d->whole) return true;
    return err_code(err, LH_INVALID, "truncated_body", "the %s stream ends before its end",
                    d->zstd ? "zstd" : "gzip");
}
