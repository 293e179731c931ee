/* General compression inside Lance files: see decompress.h. The length that is told is allocated,
 * so that it is first held against what the format could expand to at most. */
#include "lance/decompress.h"

#include <lz4.h>
#include <lz4frame.h>
#include <zstd.h>

#define LZ4_RATIO_MAX 256 /* a byte of a block stands for 255 at most */

static bool size_check(Bytes data, uint64_t size, bool lz4, Err *err) {
    if (size > DECOMPRESSED_MAX)
        return err_set(err, LH_TOO_BIG, "a compressed buffer expands to %llu bytes, at most %u",
                       (unsigned long long)size, DECOMPRESSED_MAX);
    if (lz4 && size / LZ4_RATIO_MAX > data.size)
        return err_set(err, LH_CORRUPT, "%zu bytes of LZ4 cannot expand to %llu", data.size,
                       (unsigned long long)size);
    return true;
}

static bool mismatch(const char *what, uint64_t size, Err *err) {
    return err_set(err, LH_CORRUPT, "%s does not decompress to the %llu bytes it is said to hold",
                   what, (unsigned long long)size);
}

/* A frame that names its own length is believed no more than the length that was told. */
bool zstd_expand(Bytes data, uint64_t size, Arena *arena, Bytes *out, Err *err) {
    if (!size_check(data, size, false, err)) return false;
    unsigned long long named = ZSTD_getFrameContentSize(data.data, data.size);
    if (named == ZSTD_CONTENTSIZE_ERROR || (named != ZSTD_CONTENTSIZE_UNKNOWN && named != size))
        return mismatch("a zstd frame", size, err);
    uint8_t *expanded = arena_alloc(arena, (size_t)size + 1);
    size_t got = ZSTD_decompress(expanded, (size_t)size, data.data, data.size);
    if (ZSTD_isError(got) || got != size) return mismatch("a zstd frame", size, err);
    *out = (Bytes){expanded, (size_t)size};
    return true;
}

bool lz4_block_expand(Bytes data, uint64_t size, Arena *arena, Bytes *out, Err *err) {
    if (!size_check(data, size, true, err)) return false;
    if (data.size > INT32_MAX) return mismatch("an LZ4 block", size, err);
    uint8_t *expanded = arena_alloc(arena, (size_t)size + 1);
    int got =
        LZ4_decompress_safe((const char *)data.data, (char *)expanded, (int)data.size, (int)size);
    if (got < 0 || (uint64_t)got != size) return mismatch("an LZ4 block", size, err);
    *out = (Bytes){expanded, (size_t)size};
    return true;
}

bool lz4_frame_expand(Bytes data, uint64_t size, Arena *arena, Bytes *out, Err *err) {
    LZ4F_dctx *context = NULL;
    if (!size_check(data, size, true, err)) return false;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
        return err_set(err, LH_BUG, "LZ4 gave no context");
    uint8_t *expanded = arena_alloc(arena, (size_t)size + 1);
    size_t done = 0, used = 0, hint = 1;
    while (hint != 0 && used < data.size) {
        size_t room = (size_t)size - done, left = data.size - used;
        hint = LZ4F_decompress(context, expanded + done, &room, data.data + used, &left, NULL);
        done += room;
        used += left;
        if (LZ4F_isError(hint) || (room == 0 && left == 0)) break;
    }
    LZ4F_freeDecompressionContext(context);
    if (hint != 0 || done != size) return mismatch("an LZ4 frame", size, err);
    *out = (Bytes){expanded, (size_t)size};
    return true;
}
