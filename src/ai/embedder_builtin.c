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
#include "ai/embedder.h"
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

typedef struct Builtin {
    Embedder embedder;
    Statistics *statistics;
    char digest[32];
    pthread_mutex_t lock; /* over kept */
    Features *kept[KEPT_MAX];
    size_t kept_count;
} Builtin;

static void builtin_sign(Builtin *builtin) {
    Bytes all = {(const uint8_t *)builtin->statistics, sizeof *builtin->statistics};
    uint32_t crc = builtin->statistics->texts ? crc32c(0, all) : 0;
    snprintf(builtin->digest, sizeof builtin->digest, "builtin-1-%08x", crc);
}

static void builtin_close(Embedder *embedder) {
    Builtin *builtin = (Builtin *)embedder;
    while (builtin->kept_count > 0) features_close(&builtin->kept[--builtin->kept_count]);
    pthread_mutex_destroy(&builtin->lock);
    free(builtin->statistics);
    free(builtin);
}

static Str builtin_digest(const Embedder *embedder) {
    return str_from(((const Builtin *)embedder)->digest);
}

static bool builtin_expect(Embedder *embedder, Str digest, size_t dimensions, Err *err) {
    if (dimensions != BUILTIN_DIMENSIONS) return wrong_model(embedder, "number of dimensions", err);
    return str_equal(digest, builtin_digest(embedder)) || wrong_model(embedder, "digest", err);
}

static bool features_borrow(Builtin *builtin, Features **out, Err *err) {
    Features *features = NULL;
    pthread_mutex_lock(&builtin->lock);
    if (builtin->kept_count > 0) features = builtin->kept[--builtin->kept_count];
    pthread_mutex_unlock(&builtin->lock);
    if (!features) return features_open(out, err);
    *out = features;
    return true;
}

static void features_return(Builtin *builtin, Features *features) {
    pthread_mutex_lock(&builtin->lock);
    if (builtin->kept_count < KEPT_MAX) builtin->kept[builtin->kept_count++] = TAKE(features);
    pthread_mutex_unlock(&builtin->lock);
    features_close(&features);
}

static bool builtin_observe(Embedder *embedder, Str text, Err *err) {
    Builtin *builtin = (Builtin *)embedder;
    Features *features;
    size_t count;
    if (!features_borrow(builtin, &features, err)) return false;
    const Feature *list = features_of(features, text, &count);
    for (size_t i = 0; i < count; i++) builtin->statistics->holders[list[i].hash % SLOTS]++;
    builtin->statistics->texts++;
    features_return(builtin, features);
    return true;
}

static void builtin_statistics(Embedder *embedder, Text *out) {
    Builtin *builtin = (Builtin *)embedder;
    builtin_sign(builtin);
    text_add(out, (Str){(const char *)builtin->statistics, sizeof *builtin->statistics});
}

static bool builtin_load(Embedder *embedder, Bytes statistics, Err *err) {
    Builtin *builtin = (Builtin *)embedder;
    if (statistics.size != sizeof(Statistics) || memcmp(statistics.data, magic, sizeof magic) != 0)
        return err_set(err, LH_CORRUPT, "the embedder's statistics are not what was written");
    memcpy(builtin->statistics, statistics.data, statistics.size);
    builtin_sign(builtin);
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

static bool builtin_embed(Embedder *embedder, const Str *texts, size_t count, float *out,
                          Err *err) {
    Builtin *builtin = (Builtin *)embedder;
    Features *features;
    if (!features_borrow(builtin, &features, err)) return false;
    for (size_t i = 0; i < count; i++)
        embed_one(builtin->statistics, features, texts[i], out + i * BUILTIN_DIMENSIONS);
    features_return(builtin, features);
    return true;
}

static const EmbedderOps builtin_ops = {
    .digest = builtin_digest,
    .expect = builtin_expect,
    .embed = builtin_embed,
    .observe = builtin_observe,
    .statistics = builtin_statistics,
    .load = builtin_load,
    .close = builtin_close,
};

bool embedder_open(Str model, Embedder **out, Err *err) {
    if (!str_is(model, "builtin"))
        return err_code(err, LH_MISSING, "model_not_found",
                        "no model named '%.*s'; there is 'builtin'", (int)MIN(model.len, 80),
                        model.data);
    Builtin *builtin = calloc(1, sizeof *builtin);
    if (!builtin || !(builtin->statistics = calloc(1, sizeof *builtin->statistics))) abort();
    builtin->embedder =
        (Embedder){.ops = &builtin_ops, .model = "builtin", .dimensions = BUILTIN_DIMENSIONS};
    memcpy(builtin->statistics->magic, magic, sizeof magic);
    pthread_mutex_init(&builtin->lock, NULL);
    builtin_sign(builtin);
    *out = &builtin->embedder;
    return true;
}
