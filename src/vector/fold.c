/* A new build of an index as a search sees it: the base's rows that are alive, then the overlay's.
 * Texts and vectors are taken as they are. What is put meanwhile has a higher number in the log and
 * lies over the new build as it did over the old one. The log stays, for a refresh applies all of
 * it again; only its small objects are joined. */
#include "vector/build.h"
#include "vector/index_lance.h"

#define FOLD_ROWS_MIN 2000  /* of the overlay; a search compares each of them */
#define FOLD_SHARE 20       /* or a twentieth of the base */
#define LOG_OBJECTS_MAX 128 /* batches after which the log is merged */
#define UPKEEP_US 60000000  /* between asking for one index, where the last time did not help */

static bool is_large(IndexEntry *entry) {
    OWNED(rows_view_release) RowsView *view = overlay_view(entry->overlay);
    return view->count > MAX(FOLD_ROWS_MIN, view->base_count / FOLD_SHARE);
}

bool entry_wants_upkeep(Indexes *indexes, IndexEntry *entry) {
    int64_t now = clock_us();
    bool merge = entry->rows_known >= entry->rows_merged + LOG_OBJECTS_MAX;
    if ((!merge && !is_large(entry)) || now < entry->upkeep_us ||
        indexes_is_held(indexes, entry->meta.index))
        return false;
    entry->upkeep_us = now + UPKEEP_US;
    return true;
}

static bool fold_plan(Build *b, Err *err) {
    IndexEntry *entry = b->previous;
    b->meta = meta_copy(&entry->meta, &b->arena);
    b->metric = metric_of(b->meta.metric);
    pthread_mutex_lock(&entry->rows_lock); /* so that the number is the view's */
    b->fold = overlay_view(entry->overlay);
    b->meta.rows_after = (int64_t)entry->rows_known;
    pthread_mutex_unlock(&entry->rows_lock);
    b->meta.documents += (int64_t)b->fold->live_documents - (int64_t)b->fold->dead_documents;
    return bucket_find(b->indexes->buckets, b->meta.bucket, &b->bucket, err) &&
           build_keep_statistics(b, err);
}

static void write_result(const Build *b, Text *result) {
    JsonWriter w = {.out = result};
    jw_object(&w);
    jw_member_text(&w, "index", b->meta.index);
    jw_member_int(&w, "rows", b->meta.rows);
    jw_member_int(&w, "documents", b->meta.documents);
    jw_member_int(&w, "rows_put", (int64_t)b->fold->live.count);
    jw_member_int(&w, "rows_deleted", (int64_t)b->fold->dead);
    jw_end(&w);
}

static bool fold_run(Build *b, Str name, Text *result, Err *err) {
    if (!indexes_follow(b->indexes, name, err) ||
        !indexes_find(b->indexes, name, &b->previous, err) || !fold_plan(b, err))
        return false;
    if (b->fold->count == 0)
        b->meta.rows = (int64_t)b->fold->base_count;
    else if (!build_run(b, err))
        return false;
    build_merge_log(b);
    write_result(b, result);
    return true;
}

bool index_fold(Indexes *indexes, Str name, Job *job, Text *result, Err *err) {
    OWNED(build_close) Build b = BUILD_EMPTY(indexes, job);
    if (!indexes_hold(indexes, name, err)) return false;
    bool ok = fold_run(&b, name, result, err);
    indexes_unreserve(indexes, name);
    return ok;
}

/* What it merged counts from now on. */
static void note_merged(IndexEntry *entry) {
    pthread_mutex_lock(&entry->rows_lock);
    entry->rows_merged = entry->rows_known;
    entry->upkeep_us = 0;
    pthread_mutex_unlock(&entry->rows_lock);
}

static bool upkeep_run(Build *b, Str name, Text *result, Err *err) {
    if (!indexes_follow(b->indexes, name, err) ||
        !indexes_find(b->indexes, name, &b->previous, err))
        return false;
    if (!is_large(b->previous)) {
        b->meta = meta_copy(&b->previous->meta, &b->arena);
        note_merged(b->previous);
        build_merge_log(b);
    }
    if (!is_large(b->previous)) { /* it may be by now: what is put meanwhile asks for nothing */
        text_add(result, STR("{}"));
        return true;
    }
    index_entry_release(&b->previous);
    return fold_run(b, name, result, err);
}

bool index_upkeep(Indexes *indexes, Str name, Job *job, Text *result, Err *err) {
    OWNED(build_close) Build b = BUILD_EMPTY(indexes, job);
    if (!indexes_hold_upkeep(indexes, name, err)) return false;
    bool ok = upkeep_run(&b, name, result, err);
    indexes_unreserve(indexes, name);
    return ok;
}

/* ---- The other backend ---- */

/* Trials and promotions are of configurations that the new backend does not have. */
static void remove_old(Build *b) {
    Store *store = bucket_store(b->bucket);
    const IndexMeta *old = &b->previous->meta;
    Err err = {0};
    store_remove(store, meta_key(old->index, "trials.log", &b->arena), &err);
    store_remove(store, meta_key(old->index, "promotions.log", &b->arena), &err);
    if (index_lance_table(b->previous->index) &&
        !lance_docs_remove(store, meta_lance_key(old, &b->arena), &err))
        log_warn("index '%.*s' leaves its table behind: %s", SHOW(old->index), err.message);
}

const Option migrate_options[] = {
    {"to",            LH_TEXT, AT(MigrateSpec, to), "lance", "the backend it shall have",
     .choices = "lance|parquet"},
    LANCE_VERSION_OPTION(MigrateSpec),
    {0},
};

static bool migrate_run(Build *b, Str name, const MigrateSpec *spec, Err *err) {
    Str backend = spec->to;
    if (!indexes_follow(b->indexes, name, err) ||
        !indexes_find(b->indexes, name, &b->previous, err))
        return false;
    if (str_equal(b->previous->meta.vector_backend, backend))
        return err_code(err, LH_CONFLICT,
                        str_is(backend, "lance") ? "already_lance" : "already_parquet",
                        "index '%.*s' is of backend '%.*s' already", SHOW(name), SHOW(backend));
    if (!fold_plan(b, err)) return false;
    b->meta.vector_backend = backend;
    b->meta.lance_version = str_is(backend, "lance") ? spec->lance_version : (Str){0};
    b->meta.config = config_default(backend);
    b->meta.promotion = 0;
    if (!build_run(b, err)) return false;
    remove_old(b);
    return true;
}

bool index_migrate(Indexes *indexes, Str name, const MigrateSpec *spec, Job *job, Text *result,
                   Err *err) {
    OWNED(build_close) Build b = BUILD_EMPTY(indexes, job);
    if (!indexes_hold(indexes, name, err)) return false;
    bool ok = migrate_run(&b, name, spec, err);
    indexes_unreserve(indexes, name);
    return ok && index_write(indexes, name, &(JsonWriter){.out = result}, err);
}
