/* The backend "lance": see index_lance.h. Rows are numbered in order of address, without those that
 * are deleted, at one version of the table; another version is another Index. */
#include "vector/index_lance.h"

#include <stdlib.h>
#include <string.h>

#define FEW_ROWS 4096 /* that a filter leaves: handed over one by one */
#define WORDS_BYTES_MAX (1u << 30)

enum { COLUMN_ID, COLUMN_CHUNK, COLUMN_TEXT, COLUMN_VECTOR, COLUMNS };

typedef struct LanceIndexed {
    Index index;
    Store *store;
    Str key; /* of the table */
    LanceTable *table;
    LanceRows *rows;
    float *padded; /* vectors with zeros beyond their dimensions, where they lie in no such way */
    LanceMetric metric;
    Bytes words; /* of the embedder */
    Arena arena;
} LanceIndexed;

static const IndexOps lance_ops;

LanceMetric lance_metric_of(Metric metric) {
    return metric == METRIC_L2 ? LANCE_L2 : metric == METRIC_DOT ? LANCE_DOT : LANCE_COSINE;
}

LanceTable *index_lance_table(const Index *index) {
    return index->ops == &lance_ops ? ((const LanceIndexed *)index)->table : NULL;
}

static void lance_index_close(Index *index) {
    LanceIndexed *lance = (LanceIndexed *)index;
    lance_rows_close(&lance->rows);
    lance_close(&lance->table);
    free(lance->padded);
    arena_close(&lance->arena);
    free(lance);
}

/* Opening. */

static bool table_open(Store *store, Str key, uint64_t version, LanceTable **out, Err *err) {
    if (lance_open(store, key, version, out, err)) return true;
    if (!str_is(str_from(err_word(err)), "version_not_found")) return false;
    *err = (Err){0};
    if (!lance_open(store, key, 0, out, err)) return false;
    log_warn("'%.*s': version %llu was cleaned up, the latest is taken", SHOW(key),
             (unsigned long long)version);
    return true;
}

/* Readers of vectors take `stride` floats, zero beyond the dimensions. */
static void vectors_pad(LanceIndexed *lance) {
    size_t n = lance->index.dimensions, stride = lance->index.stride, count = lance->index.count;
    if (n == stride || count == 0) return;
    lance->padded = calloc(count, stride * sizeof *lance->padded);
    if (!lance->padded) abort();
    for (size_t i = 0; i < count; i++) {
        const void *vector = lance_rows_value(lance->rows, COLUMN_VECTOR, i);
        if (vector) memcpy(lance->padded + i * stride, vector, n * sizeof *lance->padded);
    }
}

static size_t dimensions_of(LanceTable *table) {
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema;
    lance_schema(table, &arena, &schema);
    for (size_t i = 0; i < schema.len; i++)
        if (str_is(schema.fields[i].name, "vector")) return schema.fields[i].type.dimension;
    return 0;
}

bool index_lance_fits(LanceTable *table, size_t dimensions, Err *err) {
    LanceInfo info;
    lance_info(table, &info);
    size_t found = dimensions_of(table);
    return found == dimensions ||
           err_code(err, LH_CONFLICT, "table_changed",
                    "version %llu of the index's table has vectors of %zu dimensions, the index "
                    "has %zu: refresh the index, or restore the table's version before",
                    (unsigned long long)info.version, found, dimensions);
}

static bool rows_open(LanceIndexed *lance, Err *err) {
    static const Str names[] = {STR("doc_id"), STR("chunk"), STR("text"), STR("vector")};
    if (!lance_rows_open(lance->table, names, COLUMNS, &lance->rows, err)) return false;
    lance->index.dimensions = dimensions_of(lance->table);
    if (lance_rows_count(lance->rows) > GRAPH_ROWS_MAX)
        return err_set(err, LH_TOO_BIG, "the table has %llu rows, at most %u fit",
                       (unsigned long long)lance_rows_count(lance->rows), GRAPH_ROWS_MAX);
    lance->index.count = (size_t)lance_rows_count(lance->rows);
    lance->index.stride =
        (lance->index.dimensions + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
    vectors_pad(lance);
    return true;
}

static bool indexed_open(Store *store, Str key, uint64_t version, LanceMetric metric,
                         LanceIndexed **out, Err *err) {
    LanceIndexed *lance = calloc(1, sizeof *lance);
    if (!lance) abort();
    lance->index.ops = &lance_ops;
    lance->store = store;
    lance->key = arena_copy(&lance->arena, key);
    lance->metric = metric;
    if (!table_open(store, key, version, &lance->table, err) || !rows_open(lance, err)) {
        lance_index_close(&lance->index);
        return false;
    }
    *out = lance;
    return true;
}

bool index_lance_open(Store *store, const IndexMeta *meta, Index **out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    LanceIndexed *lance;
    uint64_t version;
    if (!str_to_u64(meta->build, &version))
        return err_set(err, LH_CORRUPT, "meta.json names no version of docs.lance");
    if (!indexed_open(store, meta_lance_key(meta, &arena), version,
                      lance_metric_of(metric_of(meta->metric)), &lance, err))
        return false;
    OWNED(index_close) Index *opened = &lance->index;
    Err missing = {0};
    if (!index_lance_fits(lance->table, (size_t)meta->dimensions, err)) return false;
    if (!store_read(store, meta_words_key(meta, &arena), WORDS_BYTES_MAX, &lance->arena,
                    &lance->words, &missing) &&
        missing.kind != LH_MISSING)
        return *err = missing, false;
    *out = TAKE(opened);
    return true;
}

/* Searching. */

static const uint64_t *allowed_addresses(const LanceIndexed *lance, const RowSet *allowed,
                                         Arena *arena) {
    uint64_t *out = arena_array(arena, uint64_t, allowed->count);
    size_t count = 0;
    for (size_t word = 0; word * 64 < lance->index.count; word++)
        for (uint64_t bits = allowed->bits[word]; bits; bits &= bits - 1) {
            size_t row = word * 64 + (size_t)__builtin_ctzll(bits);
            if (row < lance->index.count && count < allowed->count)
                out[count++] = lance_rows_address(lance->rows, row);
        }
    return out;
}

typedef struct Allowed {
    const LanceIndexed *lance;
    const RowSet *set;
} Allowed;

static bool allows(void *context, uint64_t address) {
    const Allowed *allowed = context;
    uint64_t row = lance_rows_number(allowed->lance->rows, address);
    return row < allowed->lance->index.count && rowset_has(allowed->set, (size_t)row);
}

/* Larger is nearer, as graph.h has it. */
static float similarity(LanceMetric metric, float distance) {
    return metric == LANCE_L2 ? distance / -2 : 1 - distance;
}

/* A query without a direction is equally near to every row. */
static size_t any_rows(const LanceIndexed *lance, const SearchParams *params, Hit *hits) {
    size_t count = 0;
    for (size_t row = 0; row < lance->index.count && count < params->k; row++)
        if (rowset_has(params->allowed, row)) hits[count++] = (Hit){.row = (uint32_t)row};
    return count;
}

static bool is_zero(const float *vector, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (vector[i] != 0) return false;
    return true;
}

static bool lance_index_search(Index *index, const float *query, const SearchParams *params,
                               Hit *hits, size_t *count, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    LanceIndexed *lance = (LanceIndexed *)index;
    Allowed allowed = {lance, params->allowed};
    LanceHit *found;
    size_t k = MIN(params->k, index->count);
    *count = 0;
    if (k == 0) return true;
    if (lance->metric == LANCE_COSINE && is_zero(query, index->dimensions))
        return *count = any_rows(lance, params, hits), true;
    LanceSearchOptions options = {.column = STR("vector"),
                                  .query = query,
                                  .dimension = index->dimensions,
                                  .k = MIN(k, (size_t)LANCE_HITS_MAX),
                                  .metric = lance->metric,
                                  .nprobes = params->nprobes,
                                  .refine = params->refine,
                                  .exact = params->exact};
    if (params->allowed && params->allowed->count <= FEW_ROWS) {
        options.allowed = allowed_addresses(lance, params->allowed, &arena);
        options.allowed_count = params->allowed->count;
    } else if (params->allowed) {
        options.allows = allows;
        options.context = &allowed;
    }
    if (!lance_search(lance->table, &options, &arena, &found, &k, err)) return false;
    for (size_t i = 0; i < k; i++) {
        uint64_t row = lance_rows_number(lance->rows, found[i].address);
        if (row >= index->count) continue;
        hits[(*count)++] = (Hit){(uint32_t)row, similarity(lance->metric, found[i].distance)};
    }
    return true;
}

/* Rows. */

static Str lance_index_id(const Index *index, size_t row) {
    return lance_rows_text(((const LanceIndexed *)index)->rows, COLUMN_ID, row);
}

static Str lance_index_text(const Index *index, size_t row) {
    return lance_rows_text(((const LanceIndexed *)index)->rows, COLUMN_TEXT, row);
}

static const float *lance_index_vector(const Index *index, size_t row) {
    const LanceIndexed *lance = (const LanceIndexed *)index;
    if (lance->padded) return lance->padded + row * index->stride;
    return lance_rows_value(lance->rows, COLUMN_VECTOR, row);
}

static uint32_t lance_index_chunk(const Index *index, size_t row) {
    const void *value = lance_rows_value(((const LanceIndexed *)index)->rows, COLUMN_CHUNK, row);
    int32_t chunk = 0;
    if (value) memcpy(&chunk, value, sizeof chunk);
    return (uint32_t)chunk;
}

static bool lance_index_rows_of(const Index *index, Str doc_id, Arena *arena, uint32_t **rows,
                                size_t *count, Err *err) {
    const LanceIndexed *lance = (const LanceIndexed *)index;
    const LanceKey key = {.kind = LANCE_TEXT, .text = doc_id};
    uint64_t *found;
    if (!lance_find(lance->table, STR("doc_id"), &key, arena, &found, count, err)) return false;
    *rows = arena_array(arena, uint32_t, *count + 1);
    for (size_t i = 0; i < *count; i++)
        (*rows)[i] = (uint32_t)lance_rows_number(lance->rows, found[i]);
    return true;
}

static Bytes lance_index_embedder(const Index *index) {
    return ((const LanceIndexed *)index)->words;
}

static int64_t lance_index_memory(const Index *index) {
    const LanceIndexed *lance = (const LanceIndexed *)index;
    size_t padded = lance->padded ? index->count * index->stride * sizeof(float) : 0;
    return (int64_t)(lance_rows_bytes(lance->rows) + lance->arena.size_total + padded) +
           lance_docs_bytes(lance->table);
}

/* Other configurations. */

static LanceVectorIndexOptions options_of(const LanceIndexed *lance, const IndexConfig *config) {
    LanceVectorIndexOptions options = {.column = STR("vector"),
                                       .metric = lance->metric,
                                       .partitions = (uint32_t)config->partitions,
                                       .sub_vectors = (uint32_t)config->sub_vectors};
    lance_index_defaults(lance->index.count, lance->index.dimensions, &options);
    return options;
}

static bool lance_index_variant(const Index *index, const IndexRewrite *rewrite, Index **out,
                                Err *err) {
    const LanceIndexed *lance = (const LanceIndexed *)index;
    LanceVectorIndexOptions options = options_of(lance, rewrite->config);
    LanceWatch watch = {.cancelled = rewrite->cancelled, .context = rewrite->context};
    LanceIndexed *variant;
    LanceInfo info;
    lance_info(lance->table, &info);
    if (!indexed_open(lance->store, lance->key, info.version, lance->metric, &variant, err))
        return false;
    if (index->count > 0 && !lance_try_index(variant->table, &options, &watch, err)) {
        lance_index_close(&variant->index);
        return false;
    }
    *out = &variant->index;
    return true;
}

bool index_lance_behind(const Index *index, LanceTable *latest) {
    LanceInfo now, then;
    lance_info(latest, &now);
    lance_info(((const LanceIndexed *)index)->table, &then);
    return now.version != then.version;
}

/* Rows that others changed need words of their own too: see index_lance_index. */
static bool lance_index_commit(const Index *index, const IndexRewrite *rewrite, uint64_t *version,
                               Err *err) {
    OWNED(lance_close) LanceTable *table = NULL;
    const LanceIndexed *lance = (const LanceIndexed *)index;
    LanceVectorIndexOptions options = options_of(lance, rewrite->config);
    LanceWatch watch = {.cancelled = rewrite->cancelled, .context = rewrite->context};
    LanceInfo info;
    if (!lance_open(lance->store, lance->key, 0, &table, err)) return false;
    if (index_lance_behind(index, table))
        return err_code(err, LH_CONFLICT, "table_changed",
                        "another program has changed '%.*s': POST /vectors/lance/index takes its "
                        "rows in",
                        SHOW(lance->key));
    if (index->count > 0 && !lance_index_vectors(table, &options, &watch, err)) return false;
    lance_info(table, &info);
    *version = info.version;
    return true;
}

static const IndexOps lance_ops = {.name = "lance",
                                   .commit = lance_index_commit,
                                   .variant = lance_index_variant,
                                   .search = lance_index_search,
                                   .id = lance_index_id,
                                   .text = lance_index_text,
                                   .vector = lance_index_vector,
                                   .chunk = lance_index_chunk,
                                   .rows_of = lance_index_rows_of,
                                   .embedder = lance_index_embedder,
                                   .memory_bytes = lance_index_memory,
                                   .close = lance_index_close};
