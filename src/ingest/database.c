/* From what a client asks for to a source and a sink: the one place that knows both kinds of
 * database, and where an incremental run goes on. */
#include "ingest/source.h"

/* {"column","after"}; what the dataset remembers of the last run when it names no value. */
static bool read_cursor(Catalog *catalog, const DatabaseIngest *what, Arena *arena,
                        SourceRequest *request, Err *err) {
    static const Option options[] = {
        {"column",          LH_TEXT, AT(SourceRequest, cursor), REQUIRED, "a column that only grows"},
        {"after", LH_TEXT, AT(SourceRequest, after), NULL, "the first value wanted"},
        {0        },
    };
    OWNED(table_release) Table *table = NULL;
    const Json *kept;
    if (!what->incremental || what->incremental->kind == JSON_NULL) return true;
    if (!options_read(options, what->incremental, request, err))
        return err_while(err, "incremental");
    if (request->after.len) return true;
    if (!catalog_load(catalog, what->dataset, 0, &table, err)) {
        if (!dataset_is_free(err)) return false;
        *err = (Err){0};
        return true;
    }
    Str text = arena_copy(arena, table_property(table, PROPERTY_CURSOR));
    if (text.len == 0) return true;
    if (!json_read(text, arena, &kept, err)) return false;
    if (str_equal(json_get_text(kept, "column", (Str){0}), request->cursor))
        request->after = json_get_text(kept, "last", (Str){0});
    return true;
}

/* What a user's type makes of a key may no longer tell rows apart. */
static void check_key(Source *source, const Json *types) {
    for (size_t i = 0; types && types->kind == JSON_OBJECT && i < types->len; i++)
        for (size_t k = 0; k < source->key_count; k++)
            if (str_equal(types->items[i].name, source->key[k])) source->key_count = 0;
}

bool ingest_database(Catalog *catalog, Engine *engine, Buckets *buckets, DatabaseKind kind,
                     const DatabaseIngest *what, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    SourceRequest request = {
        .dsn = what->dsn,
        .table = what->table,
        .query = what->query,
        .batch_rows = what->batch_rows,
        .parallel = what->parallel,
        .types = what->types,
        .mapping = what->plain ? MAPPING_PLAIN : MAPPING_EXACT,
        .allow_hosts = what->limits.allow_hosts,
        .connect_timeout_ms = what->limits.connect_timeout_ms,
        .idle_timeout_ms = what->limits.idle_timeout_ms,
    };
    TableIngest table = {
        .dataset = what->dataset,
        .bucket = what->bucket,
        .widen = what->widen,
        .mask = what->mask,
        .cancelled = what->cancelled,
        .progress = what->progress,
        .context = what->context,
    };
    if (!ingest_mode(what->mode, &table.mode, err) ||
        !read_cursor(catalog, what, &arena, &request, err))
        return false;
    table.cursor = request.cursor;
    table.after = request.after;
    table.chunk_rows = what->chunk_rows;
    bool opened = kind == DATABASE_POSTGRES ? source_postgres(&request, &source, err)
                                            : source_mysql(&request, &source, err);
    if (!opened) return false;
    check_key(source, what->types);
    return ingest_table(catalog, engine, buckets, source, &table, result, err);
}
