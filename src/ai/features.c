/* Words are runs of letters and digits (any byte of a multi-byte sequence counts as a letter),
 * folded to lower case for Latin, Greek and Cyrillic. Stems come from Snowball's English stemmer;
 * other languages keep their words, whose n-grams still meet. */
#include "ai/features.h"

#include <assert.h>
#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>

#define WORD_SIZE_MAX 64 /* a longer word is cut: the rest says little */
#define SLOTS_MIN 256
#define GRAM_LEN_MIN 3
#define GRAM_LEN_MAX 5

struct Features {
    struct sb_stemmer *stemmer;
    Feature *slots; /* open addressing, slot_count a power of two */
    uint32_t *used; /* the slots in use, in order of first occurrence */
    Feature *list;
    size_t slot_count, used_count;
};

static void features_reserve(Features *features, size_t slot_count) {
    features->slots = calloc(slot_count, sizeof *features->slots);
    features->used = malloc(slot_count * sizeof *features->used);
    features->list = malloc(slot_count * sizeof *features->list);
    if (!features->slots || !features->used || !features->list) abort();
    features->slot_count = slot_count;
    features->used_count = 0;
}

static void features_free(Features *features) {
    free(features->slots);
    free(features->used);
    free(features->list);
}

bool features_open(Features **out, Err *err) {
    OWNED(features_close) Features *features = calloc(1, sizeof *features);
    if (!features) abort();
    features->stemmer = sb_stemmer_new("english", "UTF_8");
    if (!features->stemmer) return err_set(err, LH_BUG, "the stemmer does not know English");
    features_reserve(features, SLOTS_MIN);
    *out = TAKE(features);
    return true;
}

void features_close(Features **features) {
    if (!*features) return;
    if ((*features)->stemmer) sb_stemmer_delete((*features)->stemmer);
    features_free(*features);
    free(*features);
    *features = NULL;
}

static void features_add(Features *features, uint64_t hash, FeatureKind kind, float count);

static void features_grow(Features *features) {
    Features old = *features;
    features_reserve(features, old.slot_count * 2);
    for (size_t i = 0; i < old.used_count; i++) {
        Feature *feature = &old.slots[old.used[i]];
        features_add(features, feature->hash, feature->kind, feature->count);
    }
    features_free(&old);
}

static void features_add(Features *features, uint64_t hash, FeatureKind kind, float count) {
    hash += hash == 0;
    size_t at = hash & (features->slot_count - 1);
    while (features->slots[at].hash && features->slots[at].hash != hash)
        at = (at + 1) & (features->slot_count - 1);
    Feature *slot = &features->slots[at];
    if (!slot->hash) {
        *slot = (Feature){.hash = hash, .kind = kind};
        features->used[features->used_count++] = (uint32_t)at;
    }
    slot->count += count;
    if (features->used_count * 2 > features->slot_count) features_grow(features);
}

static bool is_word_byte(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

/* Lower case in place: ASCII, and the two-byte capitals that sit a fixed distance from their small
 * letters (Latin-1, Greek, basic Cyrillic). */
static void fold(unsigned char *word, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char lead = word[i], *next = i + 1 < len ? &word[i + 1] : NULL;
        if (lead >= 'A' && lead <= 'Z') word[i] += 32;
        if (!next) continue;
        if (lead == 0xC3 && *next >= 0x80 && *next <= 0x9E && *next != 0x97) *next += 0x20;
        if (lead == 0xCE && *next >= 0x91 && *next <= 0x9F) *next += 0x20;
        if (lead == 0xCE && *next >= 0xA0 && *next <= 0xA9) word[i] = 0xCF, *next -= 0x20;
        if (lead == 0xD0 && *next >= 0x90 && *next <= 0x9F) *next += 0x20;
        if (lead == 0xD0 && *next >= 0xA0 && *next <= 0xAF) word[i] = 0xD1, *next -= 0x20;
    }
}

static uint64_t hash_kind(FeatureKind kind, Bytes data) {
    return (hash64(data) ^ (uint64_t)(kind + 1) * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
}

/* The n-grams of "^word$", which together weigh as one occurrence. */
static void add_grams(Features *features, Str word) {
    char framed[WORD_SIZE_MAX + 2];
    size_t len = word.len + 2, grams = 0;
    framed[0] = '^';
    memcpy(framed + 1, word.data, word.len);
    framed[len - 1] = '$';
    for (size_t n = GRAM_LEN_MIN; n <= GRAM_LEN_MAX && n <= len; n++) grams += len - n + 1;
    for (size_t n = GRAM_LEN_MIN; n <= GRAM_LEN_MAX && n <= len; n++)
        for (size_t i = 0; i + n <= len; i++)
            features_add(features, hash_kind(FEATURE_GRAM, bytes_of((Str){framed + i, n})),
                         FEATURE_GRAM, 1.0f / (float)grams);
}

static void add_stem(Features *features, Str word) {
    const sb_symbol *stem =
        sb_stemmer_stem(features->stemmer, (const sb_symbol *)word.data, (int)word.len);
    Bytes stem_bytes = {stem, stem ? (size_t)sb_stemmer_length(features->stemmer) : 0};
    features_add(features, hash_kind(FEATURE_STEM, stem ? stem_bytes : bytes_of(word)),
                 FEATURE_STEM, 1);
}

static void add_word(Features *features, Str word) {
    add_stem(features, word);
    features_add(features, hash_kind(FEATURE_WORD, bytes_of(word)), FEATURE_WORD, 1);
    add_grams(features, word);
}

typedef void AddWord(Features *features, Str word);

static const Feature *collect(Features *features, Str text, AddWord *add, size_t *count) {
    for (size_t i = 0; i < features->used_count; i++)
        features->slots[features->used[i]] = (Feature){0};
    features->used_count = 0;
    for (size_t at = 0; at < text.len;) {
        unsigned char word[WORD_SIZE_MAX];
        size_t len = 0;
        for (; at < text.len && is_word_byte((unsigned char)text.data[at]); at++)
            if (len < WORD_SIZE_MAX) word[len++] = (unsigned char)text.data[at];
        fold(word, len);
        if (len > 0) add(features, (Str){(char *)word, len});
        while (at < text.len && !is_word_byte((unsigned char)text.data[at])) at++;
    }
    for (size_t i = 0; i < features->used_count; i++)
        features->list[i] = features->slots[features->used[i]];
    *count = features->used_count;
    return features->list;
}

const Feature *features_of(Features *features, Str text, size_t *count) {
    return collect(features, text, add_word, count);
}

const Feature *features_stems(Features *features, Str text, size_t *count) {
    return collect(features, text, add_stem, count);
}
