/* Statements that passed the policy, by their text: a client that asks the same thing again pays
 * for the check once. A verdict depends on the text alone, never on which datasets there are. One
 * entry a slot; a newer statement takes the slot of an older one. */
#include "query/engine.h"

#include <stdlib.h>

#define SLOTS 512
#define CACHED_SIZE_MAX 8192 /* longer statements are checked each time */

typedef struct Passed {
    Text sql, checked;
    size_t table_at; /* shape.table is sql[table_at ...] */
    Shape shape;
} Passed;

struct PolicyCache {
    pthread_mutex_t lock;
    Passed slots[SLOTS];
};

void policy_cache_open(PolicyCache **out) {
    PolicyCache *cache = calloc(1, sizeof *cache);
    if (!cache) abort();
    pthread_mutex_init(&cache->lock, NULL);
    *out = cache;
}

void policy_cache_close(PolicyCache **cache) {
    if (!*cache) return;
    for (size_t i = 0; i < SLOTS; i++) {
        text_close(&(*cache)->slots[i].sql);
        text_close(&(*cache)->slots[i].checked);
    }
    pthread_mutex_destroy(&(*cache)->lock);
    free(*cache);
    *cache = NULL;
}

static Passed *slot_of(PolicyCache *cache, Str sql) {
    return &cache->slots[hash64(bytes_of(sql)) % SLOTS];
}

static bool find(PolicyCache *cache, Str sql, Text *checked, Shape *shape) {
    pthread_mutex_lock(&cache->lock);
    const Passed *passed = slot_of(cache, sql);
    bool found = passed->sql.len > 0 && str_equal(text_str(&passed->sql), sql);
    if (found) {
        text_add(checked, text_str(&passed->checked));
        *shape = passed->shape;
        shape->table = str_slice(sql, passed->table_at, passed->table_at + shape->table.len);
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

static void keep(PolicyCache *cache, Str sql, Str checked, const Shape *shape) {
    if (sql.len > CACHED_SIZE_MAX) return;
    pthread_mutex_lock(&cache->lock);
    Passed *passed = slot_of(cache, sql);
    text_clear(&passed->sql), text_add(&passed->sql, sql);
    text_clear(&passed->checked), text_add(&passed->checked, checked);
    passed->shape = *shape;
    passed->table_at = shape->table.len ? (size_t)(shape->table.data - sql.data) : 0;
    pthread_mutex_unlock(&cache->lock);
}

bool policy_pass(PolicyCache *cache, Conn *conn, Str sql, Text *checked, Shape *shape, Err *err) {
    if (find(cache, sql, checked, shape)) return true;
    if (!policy_check(conn, sql, checked, shape, err)) return false;
    keep(cache, sql, text_str(checked), shape);
    return true;
}
