/* The built-in embedder: a text's lexical features (features.h), each weighed by tf^3/4 * sqrt(idf)
 * and thrown onto 384 dimensions by a sparse random projection of +1 and -1 (Achlioptas, 2003; Li,
 * Hastie and Church, 2006), then scaled to length 1. The same text gives the same vector on every
 * machine: hashes and projection are fixed, and what is learned from a corpus - how many texts hold
 * each feature, in 2^18 hashed counters - is kept with the index.
 *
 * Statistics:
 *     offset  size     meaning
 *     0       8        "LHDFREQ1"
 *     8       8        texts observed, little-endian
 *     16      4 * 2^18 texts that hold a feature of this slot
 *
 * Thread rule: observe from one thread, then embed from any number: each embed call borrows a
 * Features of its own from a small free list. */
#include "ai/ai.h"

#include "ai/features.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (1u << 18)
#define SIGNS 8 /* places of the projection that a feature touches */
#define KEPT_MAX 16

typedef struct Statistics {
    char magic[8];
    uint64_t texts;
    uint32_t holders[SLOTS];
} Statistics;

static const char magic[8] = {'L', 'H', 'D', 'F', 'R', 'E', 'Q', '1'};
/* Stems carry the meaning; words and n-grams only matter where stems do not meet. Chosen
 * by hand from a small sweep, twelve sentences over 64,000 package descriptions: among the better
 * ones, no tuned optimum. */
static const float kind_weight[FEATURE_KINDS] = {
    [FEATURE_STEM] = 1.0f, [FEATURE_WORD] = 0.2f, [FEATURE_GRAM] = 0.15f};

struct Embedder {
    Statistics *statistics;
    char digest[32];
    pthread_mutex_t lock; /* over kept */
    Features *kept[KEPT_MAX];
    size_t kept_count;
};

static void embedder_sign(Embedder *embedder) {
    Bytes all = {(const uint8_t *)embedder->statistics, sizeof *embedder->statistics};
    uint32_t crc = embedder->statistics->texts ? crc32c(0, all) : 0;
    snprintf(embedder->digest, sizeof embedder->digest, "builtin-1-%08x", crc);
}

bool embedder_open(Str model, Embedder **out, Err *err) {
    if (!str_is(model, "builtin"))
        return err_code(err, LH_MISSING, "model_not_found",
                        "no model named '%.*s'; there is 'builtin'", (int)MIN(model.len, 80),
                        model.data);
    Embedder *embedder = calloc(1, sizeof *embedder);
    if (!embedder || !(embedder->statistics = calloc(1, sizeof *embedder->statistics))) abort();
    memcpy(embedder->statistics->magic, magic, sizeof magic);
    pthread_mutex_init(&embedder->lock, NULL);
    embedder_sign(embedder);
    *out = embedder;
    return true;
}

void embedder_close(Embedder **embedder) {
    if (!*embedder) return;
    while ((*embedder)->kept_count > 0)
        features_close(&(*embedder)->kept[--(*embedder)->kept_count]);
    pthread_mutex_destroy(&(*embedder)->lock);
    free((*embedder)->statistics);
    free(*embedder);
    *embedder = NULL;
}

Str embedder_model(const Embedder *embedder) {
    (void)embedder;
    return STR("builtin");
}

Str embedder_digest(const Embedder *embedder) {
    return str_from(embedder->digest);
}

size_t embedder_dimensions(const Embedder *embedder) {
    (void)embedder;
    return BUILTIN_DIMENSIONS;
}

static bool features_borrow(Embedder *embedder, Features **out, Err *err) {
    Features *features = NULL;
    pthread_mutex_lock(&embedder->lock);
    if (embedder->kept_count > 0) features = embedder->kept[--embedder->kept_count];
    pthread_mutex_unlock(&embedder->lock);
    if (!features) return features_open(out, err);
    *out = features;
    return true;
}

static void features_return(Embedder *embedder, Features *features) {
    pthread_mutex_lock(&embedder->lock);
    if (embedder->kept_count < KEPT_MAX) embedder->kept[embedder->kept_count++] = TAKE(features);
    pthread_mutex_unlock(&embedder->lock);
    features_close(&features);
}

bool embedder_observe(Embedder *embedder, Str text, Err *err) {
    Features *features;
    size_t count;
    if (!features_borrow(embedder, &features, err)) return false;
    const Feature *list = features_of(features, text, &count);
    for (size_t i = 0; i < count; i++) embedder->statistics->holders[list[i].hash % SLOTS]++;
    embedder->statistics->texts++;
    features_return(embedder, features);
    return true;
}

void embedder_statistics(Embedder *embedder, Text *out) {
    embedder_sign(embedder);
    text_add(out, (Str){(const char *)embedder->statistics, sizeof *embedder->statistics});
}

bool embedder_load(Embedder *embedder, Bytes statistics, Err *err) {
    if (statistics.size != sizeof(Statistics) || memcmp(statistics.data, magic, sizeof magic) != 0)
        return err_set(err, LH_CORRUPT, "the embedder's statistics are not what was written");
    memcpy(embedder->statistics, statistics.data, statistics.size);
    embedder_sign(embedder);
    return true;
}

/* The square root, for a feature that meets counts twice, once on each side. Zero texts observed:
 * every feature weighs the same. */
static float rarity(const Statistics *statistics, uint64_t hash) {
    if (statistics->texts == 0) return 1;
    double holders = statistics->holders[hash % SLOTS];
    return (float)sqrt(log(1.0 + (double)statistics->texts / (1.0 + holders)));
}

static void project(float *out, uint64_t hash, float weight) {
    for (int i = 0; i < SIGNS; i++) {
        hash += 0x9e3779b97f4a7c15u; /* splitmix64 */
        uint64_t mixed = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
        mixed ^= mixed >> 31;
        out[(mixed >> 1) % BUILTIN_DIMENSIONS] += mixed & 1 ? weight : -weight;
    }
}

static void scale_to_one(float *vector) {
    double sum = 0;
    for (size_t i = 0; i < BUILTIN_DIMENSIONS; i++) sum += (double)vector[i] * vector[i];
    if (sum <= 0) return;
    float scale = (float)(1.0 / sqrt(sum));
    for (size_t i = 0; i < BUILTIN_DIMENSIONS; i++) vector[i] *= scale;
}

static void embed_one(const Statistics *statistics, Features *features, Str text, float *out) {
    size_t count;
    const Feature *list = features_of(features, text, &count);
    memset(out, 0, BUILTIN_DIMENSIONS * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        float root = sqrtf(sqrtf(list[i].count));
        project(out, list[i].hash,
                kind_weight[list[i].kind] * root * root * root * rarity(statistics, list[i].hash));
    }
    scale_to_one(out);
}

bool embedder_embed(Embedder *embedder, const Str *texts, size_t count, float *out, Err *err) {
    Features *features;
    if (!features_borrow(embedder, &features, err)) return false;
    for (size_t i = 0; i < count; i++)
        embed_one(embedder->statistics, features, texts[i], out + i * BUILTIN_DIMENSIONS);
    features_return(embedder, features);
    return true;
}
