#include "ai/provider.h"
#include "kit/kit.h"

static Str text_of(int i, char buffer[32]) {
    return (Str){buffer, (size_t)snprintf(buffer, 32, "text number %d", i)};
}

static bool has(EmbedCache *cache, uint64_t model, int i, float *first) {
    char buffer[32];
    float row[8] = {0};
    bool found = embed_cache_get(cache, model, text_of(i, buffer), row, COUNT(row));
    *first = row[0];
    return found;
}

static void put(EmbedCache *cache, uint64_t model, int i) {
    char buffer[32];
    float row[8] = {(float)i};
    embed_cache_put(cache, model, text_of(i, buffer), row, COUNT(row));
}

TEST("a vector is found again for the same text of the same model, and for no other") {
    OWNED(embed_cache_close) EmbedCache *cache = embed_cache_open(1 << 20);
    float first, four[4];
    put(cache, 1, 7);
    CHECK(has(cache, 1, 7, &first) && first == 7);
    CHECK(!has(cache, 2, 7, &first));
    CHECK(!has(cache, 1, 8, &first));
    CHECK(!embed_cache_get(cache, 1, STR("text number 7"), four, COUNT(four)));
}

TEST("beyond its bound the least used go, and what was used last stays") {
    OWNED(embed_cache_close) EmbedCache *cache = embed_cache_open(64 << 10);
    float first;
    int found = 0;
    for (int i = 0; i < 5000; i++) {
        put(cache, 1, i);
        CHECK(has(cache, 1, 0, &first)); /* used each time */
    }
    CHECK(has(cache, 1, 4999, &first) && first == 4999);
    for (int i = 0; i < 5000; i++) found += has(cache, 1, i, &first);
    CHECK(found > 100 && found < 1000);
}

TEST("a cache of nothing, and a vector larger than all of it, are no harm") {
    OWNED(embed_cache_close) EmbedCache *none = embed_cache_open(0);
    OWNED(embed_cache_close) EmbedCache *small = embed_cache_open(64);
    float first;
    put(none, 1, 1);
    put(small, 1, 1);
    CHECK(!has(none, 1, 1, &first) && !has(small, 1, 1, &first));
}

TEST("names with and without the tag 'latest' are one model") {
    CHECK(model_same(STR("mistral"), STR("mistral:latest")));
    CHECK(!model_same(STR("mistral"), STR("mistral:7b")));
}
