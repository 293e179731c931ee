#include "ingest/parts.h"

#include <string.h>

/* Bytes up to the first that is not plain ASCII, eight at a time. NUL ends it too. */
static size_t ascii_run(const uint8_t *data, size_t size) {
    const uint64_t high = 0x8080808080808080, low = 0x0101010101010101;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t eight;
        memcpy(&eight, data + i, 8);
        if ((eight | ((eight - low) & ~eight)) & high) break;
    }
    while (i < size && data[i] && data[i] < 0x80) i++;
    return i;
}

static size_t sequence_len(uint8_t first) {
    return first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0;
}

static bool refuse(uint64_t offset, uint8_t byte, Err *err) {
    if (byte == 0)
        return err_code(
            err, LH_INVALID, "invalid_utf8",
            "byte %llu is NUL: text must be UTF-8, this looks like UTF-16 or binary data",
            (unsigned long long)offset);
    return err_code(err, LH_INVALID, "invalid_utf8",
                    "byte %llu (0x%02x) is not valid UTF-8: convert the file to UTF-8 first",
                    (unsigned long long)offset, byte);
}

/* Completes the sequence that the last piece cut; *used bytes of this one went into it. */
static bool finish_tail(Utf8 *utf8, Bytes piece, size_t *used, Err *err) {
    size_t wanted = sequence_len(utf8->tail[0]);
    while (utf8->tail_len < wanted && *used < piece.size)
        utf8->tail[utf8->tail_len++] = piece.data[(*used)++];
    if (utf8->tail_len < wanted) return true;
    if (!str_is_utf8((Str){(const char *)utf8->tail, wanted}))
        return refuse(utf8->offset, utf8->tail[0], err);
    utf8->offset += wanted;
    utf8->tail_len = 0;
    return true;
}

bool utf8_add(Utf8 *utf8, Bytes piece, Err *err) {
    size_t i = 0;
    if (utf8->tail_len && !finish_tail(utf8, piece, &i, err)) return false;
    if (utf8->tail_len) return true;
    size_t start = i;
    while (i += ascii_run(piece.data + i, piece.size - i), i < piece.size) {
        size_t len = sequence_len(piece.data[i]);
        uint64_t offset = utf8->offset + (i - start);
        if (len == 0) return refuse(offset, piece.data[i], err);
        if (len > piece.size - i) {
            utf8->tail_len = piece.size - i;
            memcpy(utf8->tail, piece.data + i, utf8->tail_len);
            utf8->offset = offset;
            return true;
        }
        if (!str_is_utf8((Str){(const char *)piece.data + i, len}))
            return refuse(offset, piece.data[i], err);
        i += len;
    }
    utf8->offset += piece.size - start;
    return true;
}

bool utf8_end(Utf8 *utf8, Err *err) {
    return utf8->tail_len == 0 || refuse(utf8->offset, utf8->tail[0], err);
}
