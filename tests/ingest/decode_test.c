#include "ingest/parts.h"
#include "kit/kit.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

static Err err;

static bool take(void *context, Bytes piece, Err *e) {
    (void)e;
    text_add(context, str_of(piece));
    return true;
}

static bool decode(Str encoding, Str data, size_t step, Text *out) {
    OWNED(decoder_close) Decoder *decoder = NULL;
    text_clear(out);
    if (!decoder_open(encoding, bytes_of(data), &decoder, &err)) return false;
    if (!decoder) return err_set(&err, LH_BUG, "no decoder");
    for (; data.len; data = str_slice(data, step, data.len))
        if (!decoder_add(decoder, bytes_of(str_slice(data, 0, step)), take, out, &err))
            return false;
    return decoder_end(decoder, &err);
}

static void make_plain(Text *out) {
    for (int i = 0; i < 60000; i++) text_print(out, "line %d of some text\n", i * 7919);
}

static void make_gzip(Str plain, Text *out) {
    z_stream z = {0};
    if (deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    size_t bound = deflateBound(&z, plain.len);
    z.next_in = (Bytef *)plain.data;
    z.avail_in = (uInt)plain.len;
    z.next_out = (Bytef *)text_reserve(out, bound);
    z.avail_out = (uInt)bound;
    CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->len += z.total_out;
    deflateEnd(&z);
}

static void make_zstd(Str plain, Text *out) {
    size_t bound = ZSTD_compressBound(plain.len);
    text_reserve(out, bound);
    out->len += ZSTD_compress(out->data + out->len, bound, plain.data, plain.len, 3);
}

TEST("gzip and zstd decode by name or by their first bytes, in pieces of any size, joined too") {
    OWNED(text_close) Text plain = {0}, gzip = {0}, zstd = {0}, out = {0};
    static const size_t steps[] = {1, 7, 4096, 1 << 20};
    make_plain(&plain);
    make_gzip(text_str(&plain), &gzip);
    make_zstd(text_str(&plain), &zstd);
    for (size_t i = 0; i < COUNT(steps); i++) {
        CHECK_OK(decode(STR("gzip"), text_str(&gzip), steps[i], &out));
        CHECK(str_equal(text_str(&out), text_str(&plain)));
        CHECK_OK(decode(STR(""), text_str(&zstd), steps[i], &out));
        CHECK(str_equal(text_str(&out), text_str(&plain)));
    }
    make_gzip(text_str(&plain), &gzip);
    make_zstd(text_str(&plain), &zstd);
    CHECK_OK(decode(STR("identity"), text_str(&gzip), 1000, &out));
    CHECK_INT(out.len, plain.len * 2);
    CHECK_OK(decode(STR("zstd"), text_str(&zstd), 1000, &out));
    CHECK_INT(out.len, plain.len * 2);
}

TEST("a stream that is cut anywhere is truncated, and one that is bent is bad") {
    OWNED(text_close) Text plain = {0}, gzip = {0}, zstd = {0}, out = {0};
    make_plain(&plain);
    make_gzip(text_str(&plain), &gzip);
    make_zstd(text_str(&plain), &zstd);
    for (size_t cut = 1; cut < 9; cut++) {
        CHECK(!decode(STR("gzip"), str_slice(text_str(&gzip), 0, gzip.len * cut / 9), 4096, &out));
        CHECK_STR(str_from(err_word(&err)), "truncated_body");
        CHECK(!decode(STR("zstd"), str_slice(text_str(&zstd), 0, zstd.len * cut / 9), 4096, &out));
        CHECK_STR(str_from(err_word(&err)), "truncated_body");
    }
    gzip.data[gzip.len / 2] ^= 0x55;
    CHECK(!decode(STR("gzip"), text_str(&gzip), 4096, &out));
    CHECK_STR(str_from(err_word(&err)), "bad_encoding");
    CHECK(!decode(STR("gzip"), STR("no gzip at all"), 4096, &out) && err.kind == LH_INVALID);
    CHECK(!decode(STR("br"), STR("x"), 4096, &out) && err.kind == LH_MEDIA_TYPE);
}
