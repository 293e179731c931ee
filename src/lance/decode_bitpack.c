/* Bit-packed integers in FastLanes' order: 1024 values in T rows of 1024 / T lanes, where T is the
 * width of a word. The value of row r and lane l is number order[r / 8] * 16 + r % 8 * 128 + l, and
 * its W bits begin at bit r * W of the lane's own string of words, which are 1024 / T apart. */
#include "lance/codec.h"

#include <string.h>

#define GROUP 1024

static const uint8_t order[8] = {0, 4, 2, 6, 1, 5, 3, 7};

/* `packed` holds 1024 * width / bits words; the compiler makes vectors of the inner loop. */
#define UNPACK(Word, T)                                                                            \
    static void unpack_##T(const uint8_t *packed, uint32_t width, Word *out) {                     \
        enum { LANES = GROUP / T };                                                                \
        Word mask = width == T ? (Word) ~(Word)0 : (Word)(((Word)1 << width) - 1);                 \
        for (uint32_t row = 0; row < T; row++) {                                                   \
            uint32_t word = row * width / T, shift = row * width % T;                              \
            Word *place = out + order[row / 8] * 16 + row % 8 * 128;                               \
            bool two = shift + width > T;                                                          \
            for (uint32_t lane = 0; lane < LANES; lane++) {                                        \
                Word low, high = 0;                                                                \
                memcpy(&low, packed + ((size_t)word * LANES + lane) * sizeof low, sizeof low);     \
                if (two)                                                                           \
                    memcpy(&high, packed + ((size_t)(word + 1) * LANES + lane) * sizeof high,      \
                           sizeof high);                                                           \
                Word value = (Word)(low >> shift);                                                 \
                if (two) value |= (Word)(high << (T - shift));                                     \
                place[lane] = value & mask;                                                        \
            }                                                                                      \
        }                                                                                          \
    }

UNPACK(uint8_t, 8)
UNPACK(uint16_t, 16)
UNPACK(uint32_t, 32)
UNPACK(uint64_t, 64)

static void unpack(const uint8_t *packed, uint32_t bits, uint32_t width, void *out) {
    if (width == 0) return (void)memset(out, 0, GROUP * bits / 8);
    switch (bits) {
    case 8:
        return unpack_8(packed, width, out);
    case 16:
        return unpack_16(packed, width, out);
    case 32:
        return unpack_32(packed, width, out);
    default:
        return unpack_64(packed, width, out);
    }
}

static bool torn(Bytes data, size_t count, Err *err) {
    return err_set(err, LH_CORRUPT, "%zu bytes are not %zu packed values", data.size, count);
}

/* One word says how wide the values are, then one group follows. */
bool bitpack_inline(Bytes data, uint32_t bits, size_t count, Arena *arena, const uint8_t **out,
                    Err *err) {
    uint64_t width = 0;
    if (count > GROUP || data.size < bits / 8) return torn(data, count, err);
    memcpy(&width, data.data, bits / 8);
    if (width > bits || (data.size - bits / 8) / (GROUP / 8) < width) return torn(data, count, err);
    uint8_t *values = arena_alloc(arena, GROUP * bits / 8);
    unpack(data.data + bits / 8, bits, (uint32_t)width, values);
    *out = values;
    return true;
}

/* Groups of 1024; what is left over is one more group, or plain words when those are as many as
 * there are bytes. */
bool bitpack_out_of_line(Bytes data, uint32_t bits, uint32_t packed_bits, size_t count,
                         Arena *arena, const uint8_t **out, Err *err) {
    size_t full = count / GROUP, rest = count % GROUP, word = bits / 8;
    size_t group = ((size_t)GROUP * packed_bits + bits - 1) / bits * word;
    if (count > CODEC_VALUES_MAX || (group > 0 && full > data.size / group))
        return torn(data, count, err);
    uint8_t *values = arena_alloc(arena, (full + 1) * GROUP * word);
    for (size_t i = 0; i < full; i++)
        unpack(data.data + i * group, bits, packed_bits, values + i * GROUP * word);
    Bytes tail = {data.data + full * group, data.size - full * group};
    uint8_t *place = values + full * GROUP * word;
    if (rest > 0 && tail.size == rest * word)
        memcpy(place, tail.data, tail.size);
    else if (rest > 0 && tail.size < group)
        return torn(data, count, err);
    else if (rest > 0)
        unpack(tail.data, bits, packed_bits, place);
    *out = values;
    return true;
}
