/* Sets of numbers, and Roaring's portable form of them:
 *
 *     u32 12346, u32 n                 no run containers; or
 *     u16 12347, u16 n - 1, n bits     which containers are runs, in whole bytes
 *     n * {u16 key, u16 values - 1}
 *     n * u32 offset from the start    with runs only when n >= 4
 *     containers: sorted u16 up to 4096 values, else 8192 bytes of bits; runs: u16 count, then
 *     count * {u16 start, u16 length - 1}
 */
#include "lance/deletion.h"

#include <stdlib.h>
#include <string.h>

#define COOKIE 12346u
#define COOKIE_RUNS 12347u
#define CONTAINER_VALUES 65536u
#define ARRAY_VALUES_MAX 4096u
#define BITMAP_SIZE 8192u
#define OFFSETS_FROM 4 /* containers, when there are runs */

void set_close(NumberSet *set) {
    free(set->words);
    *set = (NumberSet){0};
}

static void set_room(NumberSet *set, uint64_t value) {
    if (value < set->bits) return;
    size_t bits = MAX(set->bits * 2, (size_t)(value / 64 + 1) * 64);
    uint64_t *words = realloc(set->words, bits / 8);
    if (!words) abort();
    memset((char *)words + set->bits / 8, 0, (bits - set->bits) / 8);
    set->words = words;
    set->bits = bits;
}

bool set_has(const NumberSet *set, uint64_t value) {
    return value < set->bits && (set->words[value / 64] >> (value % 64) & 1);
}

bool set_add(NumberSet *set, uint32_t value) {
    if (set_has(set, value)) return false;
    set_room(set, value);
    set->words[value / 64] |= (uint64_t)1 << (value % 64);
    set->count++;
    return true;
}

void set_add_all(NumberSet *set, const NumberSet *other) {
    uint32_t value;
    for (uint64_t at = 0; set_next(other, at, &value); at = (uint64_t)value + 1)
        set_add(set, value);
}

bool set_next(const NumberSet *set, uint64_t from, uint32_t *out) {
    if (from >= set->bits) return false;
    uint64_t word = set->words[from / 64] >> (from % 64) << (from % 64);
    for (size_t i = (size_t)(from / 64);;) {
        if (word) return *out = (uint32_t)(i * 64 + (size_t)__builtin_ctzll(word)), true;
        if (++i >= set->bits / 64) return false;
        word = set->words[i];
    }
}

/* Reading. */

typedef struct RoaringReader {
    const uint8_t *at, *end;
    uint64_t limit;
    NumberSet *set;
} RoaringReader;

static bool torn(Err *err) {
    return err_set(err, LH_CORRUPT, "a bitmap of numbers ends too early");
}

static bool take(RoaringReader *reader, void *out, size_t size) {
    if ((size_t)(reader->end - reader->at) < size) return false;
    memcpy(out, reader->at, size);
    reader->at += size;
    return true;
}

static bool value_add(RoaringReader *reader, uint32_t value, Err *err) {
    if (value >= reader->limit)
        return err_set(err, LH_CORRUPT, "a bitmap holds %u, where all is below %llu", value,
                       (unsigned long long)reader->limit);
    if (!set_add(reader->set, value))
        return err_set(err, LH_CORRUPT, "a bitmap holds %u twice", value);
    return true;
}

static bool array_read(RoaringReader *reader, uint32_t base, uint32_t count, Err *err) {
    for (uint32_t i = 0; i < count; i++) {
        uint16_t low;
        if (!take(reader, &low, sizeof low)) return torn(err);
        if (!value_add(reader, base | low, err)) return false;
    }
    return true;
}

static bool bits_read(RoaringReader *reader, uint32_t base, uint32_t count, Err *err) {
    uint8_t bits[BITMAP_SIZE];
    uint32_t seen = 0;
    if (!take(reader, bits, sizeof bits)) return torn(err);
    for (uint32_t i = 0; i < CONTAINER_VALUES; i++) {
        if (!(bits[i >> 3] >> (i & 7) & 1)) continue;
        if (!value_add(reader, base | i, err)) return false;
        seen++;
    }
    return seen == count ||
           err_set(err, LH_CORRUPT, "a bitmap says %u values and has %u", count, seen);
}

static bool runs_read(RoaringReader *reader, uint32_t base, Err *err) {
    uint16_t runs;
    if (!take(reader, &runs, sizeof runs)) return torn(err);
    for (uint32_t i = 0; i < runs; i++) {
        uint16_t run[2];
        if (!take(reader, run, sizeof run)) return torn(err);
        for (uint32_t k = 0; k <= run[1]; k++) {
            if (run[0] + k >= CONTAINER_VALUES)
                return err_set(err, LH_CORRUPT, "a run of a bitmap is too long");
            if (!value_add(reader, base | (run[0] + k), err)) return false;
        }
    }
    return true;
}

typedef struct RoaringHead {
    uint32_t count;
    const uint8_t *run_flags; /* NULL: no runs */
    const uint8_t *keys;
} RoaringHead;

static bool head_read(RoaringReader *reader, RoaringHead *out, Err *err) {
    uint32_t cookie;
    if (!take(reader, &cookie, sizeof cookie)) return torn(err);
    *out = (RoaringHead){0};
    if ((cookie & 0xffff) == COOKIE_RUNS) {
        out->count = (cookie >> 16) + 1;
        out->run_flags = reader->at;
        if ((size_t)(reader->end - reader->at) < (out->count + 7) / 8) return torn(err);
        reader->at += (out->count + 7) / 8;
    } else if (cookie != COOKIE) {
        return err_set(err, LH_CORRUPT, "a bitmap begins with %u, which is no Roaring bitmap",
                       cookie);
    } else if (!take(reader, &out->count, sizeof out->count)) {
        return torn(err);
    }
    if (out->count > CONTAINER_VALUES) return torn(err);
    bool offsets = !out->run_flags || out->count >= OFFSETS_FROM;
    size_t size = (size_t)out->count * (offsets ? 8 : 4);
    if ((size_t)(reader->end - reader->at) < size) return torn(err);
    out->keys = reader->at;
    reader->at += size; /* containers follow each other, so that their offsets say nothing new */
    return true;
}

static bool containers_read(RoaringReader *reader, const RoaringHead *head, Err *err) {
    for (uint32_t i = 0; i < head->count; i++) {
        uint16_t pair[2];
        memcpy(pair, head->keys + (size_t)i * 4, sizeof pair);
        uint32_t base = (uint32_t)pair[0] << 16, count = (uint32_t)pair[1] + 1;
        bool ok;
        if (head->run_flags && head->run_flags[i >> 3] >> (i & 7) & 1)
            ok = runs_read(reader, base, err);
        else if (count <= ARRAY_VALUES_MAX)
            ok = array_read(reader, base, count, err);
        else
            ok = bits_read(reader, base, count, err);
        if (!ok) return false;
    }
    return true;
}

bool roaring_read(Bytes bytes, uint64_t limit, NumberSet *out, Err *err) {
    OWNED(set_close) NumberSet set = {0};
    RoaringHead head = {0};
    RoaringReader reader = {bytes.data, bytes.data + bytes.size, MIN(limit, SET_VALUES_MAX), &set};
    if (!head_read(&reader, &head, err) || !containers_read(&reader, &head, err)) return false;
    *out = set;
    set = (NumberSet){0};
    return true;
}

/* Writing: arrays and bitmaps. */

static void put_u16(Text *out, uint32_t value) {
    uint16_t low = (uint16_t)value;
    text_add(out, (Str){(const char *)&low, sizeof low});
}

static void put_u32(Text *out, uint32_t value) {
    text_add(out, (Str){(const char *)&value, sizeof value});
}

static uint32_t container_count(const NumberSet *set, uint32_t key) {
    uint32_t count = 0;
    size_t first = (size_t)key * (CONTAINER_VALUES / 64), end = first + CONTAINER_VALUES / 64;
    for (size_t i = first; i < MIN(end, set->bits / 64); i++)
        count += (uint32_t)__builtin_popcountll(set->words[i]);
    return count;
}

static void container_write(const NumberSet *set, uint32_t key, uint32_t count, Text *out) {
    uint64_t base = (uint64_t)key * CONTAINER_VALUES;
    uint32_t value;
    if (count <= ARRAY_VALUES_MAX) {
        for (uint64_t at = base; count-- > 0 && set_next(set, at, &value); at = (uint64_t)value + 1)
            put_u16(out, value);
        return;
    }
    size_t first = (size_t)(base / 8), have = MIN(set->bits / 8 - first, (size_t)BITMAP_SIZE);
    char *place = text_reserve(out, BITMAP_SIZE);
    memset(place, 0, BITMAP_SIZE);
    memcpy(place, (const char *)set->words + first, have);
    out->len += BITMAP_SIZE;
}

void roaring_write(const NumberSet *set, Text *out) {
    OWNED(text_close) Text keys = {0};
    OWNED(text_close) Text offsets = {0};
    OWNED(text_close) Text containers = {0};
    uint32_t count = 0, all = (uint32_t)((set->bits + CONTAINER_VALUES - 1) / CONTAINER_VALUES);
    for (uint32_t key = 0; key < all; key++) count += container_count(set, key) > 0;
    for (uint32_t key = 0; key < all; key++) {
        uint32_t values = container_count(set, key);
        if (values == 0) continue;
        put_u16(&keys, key);
        put_u16(&keys, values - 1);
        put_u32(&offsets, 8 + count * 8 + (uint32_t)containers.len);
        container_write(set, key, values, &containers);
    }
    put_u32(out, COOKIE);
    put_u32(out, count);
    text_add(out, text_str(&keys));
    text_add(out, text_str(&offsets));
    text_add(out, text_str(&containers));
}
