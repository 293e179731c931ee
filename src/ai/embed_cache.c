/* A hash table of vectors whose entries are also a list by use. The text itself is kept and
 * compared: a hash that meets another cannot give a wrong vector. One lock: what is done under it
 * is a look-up and a copy of a few kilobytes. */
#include "ai/provider.h"

#include <stdlib.h>
#include <string.h>

typedef struct Item Item;
struct Item {
    Item *chain;         /* of its slot */
    Item *newer, *older; /* by use */
    uint64_t hash, model;
    size_t dimensions, text_len;
    float values[]; /* then the text */
};

struct EmbedCache {
    pthread_mutex_t lock;
    Item **slots;
    size_t slot_count; /* a power of two */
    size_t bytes, bytes_max;
    Item *newest, *oldest;
};

EmbedCache *embed_cache_open(size_t bytes_max) {
    if (bytes_max == 0) return NULL;
    EmbedCache *cache = calloc(1, sizeof *cache);
    if (!cache) abort();
    cache->bytes_max = bytes_max;
    cache->slot_count = 1024;
    while (cache->slot_count < bytes_max / 4096) cache->slot_count *= 2;
    cache->slots = calloc(cache->slot_count, sizeof *cache->slots);
    if (!cache->slots) abort();
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

static size_t item_size(size_t dimensions, size_t text_len) {
    return sizeof(Item) + dimensions * sizeof(float) + text_len;
}

static const char *item_text(const Item *item) {
    return (const char *)(item->values + item->dimensions);
}

static void unlink_use(EmbedCache *cache, Item *item) {
    *(item->newer ? &item->newer->older : &cache->newest) = item->older;
    *(item->older ? &item->older->newer : &cache->oldest) = item->newer;
}

static void link_newest(EmbedCache *cache, Item *item) {
    item->newer = NULL;
    item->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = item;
    cache->newest = item;
}

static Item **slot_of(EmbedCache *cache, uint64_t hash) {
    return &cache->slots[hash & (cache->slot_count - 1)];
}

static void drop_oldest(EmbedCache *cache) {
    Item *item = cache->oldest, **at = slot_of(cache, item->hash);
    while (*at != item) at = &(*at)->chain;
    *at = item->chain;
    unlink_use(cache, item);
    cache->bytes -= item_size(item->dimensions, item->text_len);
    free(item);
}

void embed_cache_close(EmbedCache **slot) {
    EmbedCache *cache = *slot;
    if (!cache) return;
    while (cache->oldest) drop_oldest(cache);
    pthread_mutex_destroy(&cache->lock);
    free(cache->slots);
    free(cache);
    *slot = NULL;
}

static uint64_t hash_of(uint64_t model, Str text) {
    return hash_mix(model ^ hash64(bytes_of(text)));
}

static Item *item_find(EmbedCache *cache, uint64_t hash, uint64_t model, Str text) {
    Item *item = *slot_of(cache, hash);
    while (item && !(item->hash == hash && item->model == model &&
                     str_equal(text, (Str){item_text(item), item->text_len})))
        item = item->chain;
    return item;
}

bool embed_cache_get(EmbedCache *cache, uint64_t model, Str text, float *out, size_t dimensions) {
    if (!cache) return false;
    uint64_t hash = hash_of(model, text);
    pthread_mutex_lock(&cache->lock);
    Item *item = item_find(cache, hash, model, text);
    bool found = item && item->dimensions == dimensions;
    if (found) {
        memcpy(out, item->values, dimensions * sizeof *out);
        unlink_use(cache, item);
        link_newest(cache, item);
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void embed_cache_put(EmbedCache *cache, uint64_t model, Str text, const float *vector,
                     size_t dimensions) {
    size_t size = item_size(dimensions, text.len);
    if (!cache || size > cache->bytes_max) return;
    uint64_t hash = hash_of(model, text);
    pthread_mutex_lock(&cache->lock);
    if (!item_find(cache, hash, model, text)) {
        while (cache->bytes + size > cache->bytes_max) drop_oldest(cache);
        Item *item = malloc(size), **at = slot_of(cache, hash);
        if (!item) abort();
        *item = (Item){.chain = *at,
                       .hash = hash,
                       .model = model,
                       .dimensions = dimensions,
                       .text_len = text.len};
        memcpy(item->values, vector, dimensions * sizeof *vector);
        if (text.len) memcpy(item->values + dimensions, text.data, text.len);
        *at = item;
        link_newest(cache, item);
        cache->bytes += size;
    }
    pthread_mutex_unlock(&cache->lock);
}
