/* Writing docs.lance: see index_lance.h. */
#include "vector/index_lance.h"

#include <string.h>

#define KEEP_VERSIONS_MS (10 * 60 * 1000)
#define KEEP_ORPHANS_MS (24 * 3600 * 1000)

static bool docs_same_schema(LanceTable *table, size_t dimensions) {
    static const char *const names[] = {"doc_id", "chunk", "text", "vector"};
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema;
    lance_schema(table, &arena, &schema);
    if (schema.len != COUNT(names)) return false;
    for (size_t i = 0; i < schema.len; i++)
        if (!str_is(schema.fields[i].name, names[i])) return false;
    return schema.fields[3].type.kind == LANCE_VECTOR && schema.fields[3].type.bits == 32 &&
           schema.fields[3].type.dimension == dimensions;
}

bool lance_docs_remove(Store *store, Str key, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    return store_remove_below(store, arena_print(&arena, "%.*s/", SHOW(key)), err);
}

static LanceSchema docs_schema(size_t dimensions, Arena *arena) {
    Str vector = arena_print(arena, "fixed_size_list:float:%zu", dimensions);
    const LanceField fields[] = {
        {.name = STR("doc_id"), .type = lance_type(STR("string"))},
        {.name = STR("chunk"),  .type = lance_type(STR("int32")) },
        {.name = STR("text"),   .type = lance_type(STR("string"))},
        {.name = STR("vector"), .type = lance_type(vector)       },
    };
    LanceSchema schema = {arena_array(arena, LanceField, COUNT(fields)), COUNT(fields)};
    memcpy(schema.fields, fields, sizeof fields);
    return schema;
}

/* A table of other columns is what a build that failed left behind, or of another dimension: the
 * dataset's vectors have changed. Searches go on at the version before. */
bool lance_docs_open(Store *store, const IndexMeta *meta, LanceDocs *out, Err *err) {
    OWNED(lance_close) LanceTable *table = NULL;
    OWNED(arena_close) Arena arena = {0};
    size_t dimensions = (size_t)meta->dimensions;
    Str key = meta_lance_key(meta, &arena);
    LanceSchema schema = docs_schema(dimensions, &arena);
    *out = (LanceDocs){.dimensions = dimensions};
    if (!lance_open(store, key, 0, &table, err)) {
        if (err->kind != LH_MISSING) return false;
        *err = (Err){0};
        if (!lance_create_in(store, key, arena_cstr(&arena, meta->lance_version), &schema, &table,
                             err))
            return false;
    }
    bool same = docs_same_schema(table, dimensions);
    if (!lance_writer_open(table, same ? NULL : &schema, &out->writer, err)) return false;
    out->table = TAKE(table);
    return true;
}

static LanceColumn texts_column(const LanceDoc *rows, size_t count, bool ids, Arena *arena) {
    uint64_t *offsets = arena_array(arena, uint64_t, count + 1);
    for (size_t i = 0; i < count; i++)
        offsets[i + 1] = offsets[i] + (ids ? rows[i].id.len : rows[i].text.len);
    char *bytes = arena_alloc(arena, (size_t)offsets[count] + 1);
    for (size_t i = 0; i < count; i++) {
        Str text = ids ? rows[i].id : rows[i].text;
        if (text.len) memcpy(bytes + offsets[i], text.data, text.len);
    }
    return (LanceColumn){.values = bytes, .offsets = offsets};
}

bool lance_docs_add(LanceDocs *docs, const LanceDoc *rows, size_t count, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    int32_t *chunks = arena_array(&arena, int32_t, count);
    size_t n = docs->dimensions;
    float *vectors = arena_array(&arena, float, count *n);
    for (size_t i = 0; i < count; i++) {
        chunks[i] = (int32_t)rows[i].chunk;
        memcpy(vectors + i * n, rows[i].vector, n * sizeof *vectors);
    }
    LanceColumn columns[] = {texts_column(rows, count, true, &arena),
                             {.values = chunks},
                             texts_column(rows, count, false, &arena),
                             {.values = vectors}};
    LanceBatch batch = {.rows = count, .column_count = COUNT(columns), .columns = columns};
    return lance_writer_add(docs->writer, &batch, err);
}

bool lance_docs_index(LanceTable *table, Metric metric, IndexConfig *config,
                      const LanceVectorIndexOptions *more, const LanceWatch *watch, Err *err) {
    LanceInfo info;
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema;
    lance_info(table, &info);
    lance_schema(table, &arena, &schema);
    LanceVectorIndexOptions options = {.column = STR("vector"),
                                       .metric = lance_metric_of(metric),
                                       .partitions = (uint32_t)config->partitions,
                                       .sub_vectors = (uint32_t)config->sub_vectors};
    if (more) options.bits = more->bits, options.iterations_max = more->iterations_max;
    lance_index_defaults(info.rows, schema.fields[3].type.dimension, &options);
    config->partitions = options.partitions;
    config->sub_vectors = options.sub_vectors;
    if (!config->nprobes) config->nprobes = lance_nprobes_default(info.rows, options.partitions);
    if (!config->refine) config->refine = 10;
    if (info.rows >= LANCE_ROWS_INDEXED && !lance_index_vectors(table, &options, watch, err) &&
        !str_is(str_from(err_word(err)), "lance_nothing_to_index"))
        return false;
    *err = (Err){0};
    return info.rows == 0 || lance_index_scalar(table, STR("doc_id"), watch, err);
}

bool lance_docs_finish(LanceDocs *docs, Metric metric, IndexConfig *config, const LanceWatch *watch,
                       uint64_t *version, Err *err) {
    LanceInfo info;
    if (!lance_writer_replace(docs->writer, err) ||
        !lance_docs_index(docs->table, metric, config, NULL, watch, err))
        return false;
    lance_info(docs->table, &info);
    *version = info.version;
    return true;
}

void lance_docs_close(LanceDocs *docs) {
    lance_writer_close(&docs->writer);
    lance_close(&docs->table);
}

void lance_docs_tidy(Store *store, Str key) {
    OWNED(lance_close) LanceTable *table = NULL;
    LanceCleaned cleaned;
    Err err = {0};
    int64_t now = clock_now_ms();
    if (!lance_open(store, key, 0, &table, &err) ||
        !lance_cleanup(table, now - KEEP_VERSIONS_MS, now - KEEP_ORPHANS_MS, &cleaned, &err))
        log_warn("'%.*s' keeps versions that nobody needs: %s", SHOW(key), err.message);
}

int64_t lance_docs_bytes(LanceTable *table) {
    LanceInfo info;
    lance_info(table, &info);
    return (int64_t)info.bytes;
}
