/* A dataset written again: without the rows that a predicate matches, or just into fewer files.
 * Both read one version and replace it; when another commit came between, they begin again from
 * that. */
#include "ingest/ingest.h"

#include <string.h>
#include <unistd.h>

#define ATTEMPTS_MAX 5

typedef struct Rewrite {
    Catalog *catalog;
    Engine *engine;
    Buckets *buckets;
    const Rewriting *what;
    Table *table;
    Bucket *bucket;
    char staged[PATH_MAX];
    DataFile data;
    int64_t version;
    Arena arena;
} Rewrite;

static void rewrite_close(Rewrite *rewrite) {
    if (rewrite->staged[0]) unlink(rewrite->staged);
    table_release(&rewrite->table);
    bucket_release(&rewrite->bucket);
    arena_close(&rewrite->arena);
}

/* The rows that stay. NULL is not true, so that a row whose predicate is NULL stays. */
static Str select_kept(Rewrite *rewrite, bool trusted) {
    OWNED(text_close) Text sql = {0};
    Str where = rewrite->what->where;
    text_add(&sql, STR("SELECT * FROM "));
    (trusted ? sql_quote_trusted : sql_quote_dataset)(&sql, rewrite->what->dataset);
    if (where.len) text_print(&sql, " WHERE NOT coalesce((%.*s\n), false)", SHOW(where));
    return arena_copy(&rewrite->arena, text_str(&sql));
}

/* The predicate is a user's SQL: the very statement that is copied must pass the policy first. */
static bool check_predicate(Rewrite *rewrite, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = select_kept(rewrite, false),
                   .check = true,
                   .cancelled = rewrite->what->cancelled,
                   .context = rewrite->what->context};
    return rewrite->what->where.len == 0 || query_open(rewrite->engine, &query, &rows, err);
}

static bool copy_kept(Rewrite *rewrite, Err *err) {
    Store *store = bucket_store(rewrite->bucket);
    if (!store_staging(store, rewrite->staged, err)) return rewrite->staged[0] = 0, false;
    return engine_copy_parquet(
        rewrite->engine, select_kept(rewrite, true), table_schema(rewrite->table), rewrite->staged,
        rewrite->what->cancelled, rewrite->what->context, &rewrite->arena, &rewrite->data, err);
}

static bool adopt_kept(Rewrite *rewrite, Err *err) {
    char uuid[UUID_SIZE];
    ObjectInfo info;
    Err ignored;
    random_uuid(uuid);
    rewrite->data.key = arena_print(&rewrite->arena, "%.*s/data/%s.parquet",
                                    SHOW(table_location_key(rewrite->table)), uuid);
    if (!store_adopt(bucket_store(rewrite->bucket), rewrite->staged, rewrite->data.key, NULL, &info,
                     err)) {
        /* It may be there, only not durably; nobody else knows its name. */
        store_remove(bucket_store(rewrite->bucket), rewrite->data.key, &ignored);
        return false;
    }
    rewrite->staged[0] = 0;
    return true;
}

static bool commit_kept(Rewrite *rewrite, Err *err) {
    bool any = rewrite->data.rows > 0;
    Err ignored;
    if (any && !adopt_kept(rewrite, err)) return false;
    Commit commit = {
        .dataset = rewrite->what->dataset,
        .bucket = table_bucket(rewrite->table),
        .mode = COMMIT_REPLACE,
        .operation_note = rewrite->what->where.len ? "delete" : "compact",
        .base_version = table_version(rewrite->table),
        .schema = table_schema(rewrite->table),
        .files = &rewrite->data,
        .file_count = any,
        .lineage = {.source_system = "query",
                    .source = rewrite->what->dataset,
                    .query = rewrite->what->where,
                    .rows = rewrite->data.rows,
                    .bytes = rewrite->data.bytes,
                    .at_ms = clock_now_ms()}
    };
    if (catalog_commit(rewrite->catalog, &commit, &rewrite->version, err)) return true;
    if (any && err->kind != LH_OFFLINE) /* then its outcome is unknown: the file stays */
        store_remove(bucket_store(rewrite->bucket), rewrite->data.key, &ignored);
    return false;
}

static bool attempt(Rewrite *rewrite, Rewritten *out, Err *err) {
    if (!catalog_load(rewrite->catalog, rewrite->what->dataset, 0, &rewrite->table, err) ||
        !bucket_find(rewrite->buckets, table_bucket(rewrite->table), &rewrite->bucket, err) ||
        !check_predicate(rewrite, err) || !copy_kept(rewrite, err))
        return false;
    int64_t before = table_rows(rewrite->table);
    *out = (Rewritten){.version = table_version(rewrite->table),
                       .rows = rewrite->data.rows,
                       .rows_removed = before - rewrite->data.rows};
    if (rewrite->what->where.len && out->rows_removed == 0) return true; /* nothing to say */
    if (!commit_kept(rewrite, err)) return false;
    out->version = rewrite->version;
    return true;
}

bool ingest_rewrite(Catalog *catalog, Engine *engine, Buckets *buckets, const Rewriting *what,
                    Rewritten *out, Err *err) {
    for (int i = 1;; i++) {
        OWNED(rewrite_close)
        Rewrite rewrite = {.catalog = catalog, .engine = engine, .buckets = buckets, .what = what};
        if (attempt(&rewrite, out, err)) return true;
        bool changed = err->code && !strcmp(err->code, "dataset_changed");
        if (!changed || i == ATTEMPTS_MAX) return false;
    }
}
