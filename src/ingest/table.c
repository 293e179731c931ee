/* A table of another database into a dataset. Each part of the source is pulled by a thread of its
 * own, which fills batches of a feed; a COPY of the engine's writes them. The caller's thread looks
 * after them: it tells of the progress, and when the caller gives up, a part fails, or the writing
 * does, it cancels the source, so that nobody waits for rows that nobody needs. Then the file lands
 * (landing.c): one commit, or nothing.
 *
 * An incremental run lands chunk by chunk, each with the cursor so far, so that one that is
 * interrupted has not read for nothing: the next goes on after the last chunk.
 *
 * Thread rule: parts share the counters, which are atomic, and what is under the lock. */
#include "ingest/parts.h"
#include "ingest/source.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define LOOK_PERIOD_MS 50

typedef struct TableRun {
    Source *source;
    const TableIngest *what;
    Schema fed;
    Mask *masks;
    Landing landing;
    Str filter; /* of every chunk */
    RowFeed *feed;
    int64_t chunk_started_us, bytes_landed;
    atomic_llong rows, bytes; /* that were moved */
    pthread_mutex_t lock;     /* over all below */
    pthread_cond_t ended;
    size_t pulling; /* parts that have not ended */
    bool failed;    /* a part has */
    bool ending;    /* the source was cancelled: what parts say then is no reason */
    bool has_why;
    Err why; /* of the first part that failed by itself */
} TableRun;

typedef struct PartRun {
    TableRun *run;
    size_t number;
    pthread_t thread;
} PartRun;

static void on_moved(void *context, int64_t rows, int64_t bytes) {
    TableRun *run = context;
    atomic_fetch_add(&run->rows, rows);
    atomic_fetch_add(&run->bytes, bytes);
}

/* ---- The plan ---- */

static void describe_source(TableRun *run) {
    const Source *source = run->source;
    Arena *arena = &run->landing.arena;
    run->fed = (Schema){.fields = arena_array(arena, Field, source->column_count),
                        .len = source->column_count};
    for (size_t i = 0; i < source->column_count; i++)
        run->fed.fields[i] =
            (Field){.name = source->columns[i].name, .type = source->columns[i].type};
}

static bool read_masks(TableRun *run, Err *err) {
    Landing *landing = &run->landing;
    bool *hidden = arena_array(&landing->arena, bool, CATALOG_COLUMNS_MAX + run->fed.len);
    run->masks = arena_array(&landing->arena, Mask, run->fed.len);
    if (!masks_read(run->what->mask, &run->fed, run->masks, err)) return false;
    for (size_t i = 0; i < run->fed.len; i++) {
        hidden[i] = run->masks[i] == MASK_HASH || run->masks[i] == MASK_REDACT;
        if (run->masks[i] && str_equal(run->fed.fields[i].name, run->what->cursor))
            return err_code(err, LH_INVALID, "bad_mask",
                            "the cursor '%.*s' cannot be masked: its last value is kept",
                            SHOW(run->what->cursor));
    }
    landing->hidden = hidden;
    return true;
}

/* A key tells rows apart only when its values are kept as they are. */
static void check_key(TableRun *run) {
    Source *source = run->source;
    size_t kept = 0;
    for (size_t i = 0; i < run->fed.len; i++) {
        const Field *field = &run->fed.fields[i];
        bool is_kept =
            !run->masks[i] && field->type.kind != TYPE_FLOAT && field->type.kind != TYPE_DOUBLE;
        for (size_t k = 0; is_kept && k < source->key_count; k++)
            kept += str_equal(field->name, source->key[k]);
    }
    if (kept < source->key_count) source->key_count = 0;
}

static bool plan(TableRun *run, Err *err) {
    Landing *landing = &run->landing;
    Arena *arena = &landing->arena;
    Schema wanted = {.fields = arena_array(arena, Field, run->fed.len), .len = run->fed.len};
    for (size_t i = 0; i < run->fed.len; i++) {
        wanted.fields[i] = run->fed.fields[i];
        wanted.fields[i].type = mask_type(run->masks[i], &run->fed.fields[i].type);
    }
    if (landing->widen)
        return catalog_plan_widen(landing->catalog, landing->dataset, &wanted, arena,
                                  &landing->schema, &landing->home_name, &landing->location, err);
    return catalog_plan(landing->catalog, landing->dataset, landing->mode, run->what->bucket,
                        &wanted, arena, &landing->schema, &landing->home_name, &landing->location,
                        err);
}

/* Columns of the dataset that the source lacks come last in the plan, and are NULL. */
static Str *make_projection(TableRun *run) {
    OWNED(text_close) Text sql = {0};
    Landing *landing = &run->landing;
    Str *projection = arena_array(&landing->arena, Str, landing->schema->len);
    for (size_t i = 0; i < landing->schema->len; i++) {
        sql.len = 0;
        if (i < run->fed.len)
            mask_sql(run->masks[i], &run->fed.fields[i], &sql);
        else
            text_add(&sql, STR("NULL"));
        projection[i] = arena_copy(&landing->arena, text_str(&sql));
    }
    return projection;
}

/* ---- Pulling ---- */

static void note_end(TableRun *run, bool ok, const Err *err) {
    bool unwanted = feed_ended(run->feed);
    pthread_mutex_lock(&run->lock);
    if (!ok && !run->has_why && !run->ending && !unwanted) {
        run->why = *err;
        run->has_why = true;
    }
    run->failed |= !ok;
    run->pulling--;
    pthread_cond_signal(&run->ended);
    pthread_mutex_unlock(&run->lock);
}

static void *pull(void *context) {
    PartRun *part = context;
    Source *source = part->run->source;
    Err err = {0};
    bool ok = source->ops->pull(source, part->number, part->run->feed, &err);
    note_end(part->run, ok, &err);
    return NULL;
}

static bool is_cancelled(const TableRun *run) {
    return run->what->cancelled && run->what->cancelled(run->what->context);
}

static void tell_progress(TableRun *run) {
    if (run->what->progress)
        run->what->progress(run->what->context, atomic_load(&run->rows),
                            run->source->rows_estimate);
}

/* With the lock held. */
static void wait_a_while(TableRun *run) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_PERIOD_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (run->pulling && !run->failed &&
           pthread_cond_timedwait(&run->ended, &run->lock, &until) != ETIMEDOUT)
        continue;
}

/* Whether there is a reason, now, to cancel the source. */
static bool must_end(TableRun *run) {
    bool end = is_cancelled(run) || feed_ended(run->feed);
    pthread_mutex_lock(&run->lock);
    end = (end || run->failed) && !run->ending;
    run->ending |= end;
    pthread_mutex_unlock(&run->lock);
    return end;
}

static void look_after(TableRun *run) {
    pthread_mutex_lock(&run->lock);
    while (run->pulling) {
        if (run->ending)
            pthread_cond_wait(&run->ended, &run->lock);
        else
            wait_a_while(run);
        pthread_mutex_unlock(&run->lock);
        if (must_end(run)) run->source->ops->cancel(run->source);
        tell_progress(run);
        pthread_mutex_lock(&run->lock);
    }
    pthread_mutex_unlock(&run->lock);
}

static void pull_parts(TableRun *run) {
    PartRun parts[SOURCE_PARTS_MAX];
    size_t started = 0;
    Err err = {0};
    run->pulling = run->source->parts;
    for (; started < run->source->parts; started++) {
        parts[started] = (PartRun){.run = run, .number = started};
        if (pthread_create(&parts[started].thread, NULL, pull, &parts[started])) break;
    }
    for (size_t i = started; i < run->source->parts; i++) {
        err_set(&err, LH_BUSY, "the system gives no thread to read with");
        note_end(run, false, &err);
    }
    look_after(run);
    for (size_t i = 0; i < started; i++) pthread_join(parts[i].thread, NULL);
}

/* The reason is a part's, or the writing knows it, or the caller gave up. */
static bool all_pulled(TableRun *run, Err *err) {
    DataFile ignored;
    if (run->has_why) return *err = run->why, false;
    if (feed_ended(run->feed))
        return feed_finish(run->feed, &run->landing.arena, &ignored, err) && false;
    return !run->failed || err_set(err, LH_CANCELLED, "the ingest was cancelled");
}

static void add_bound(TableRun *run, const char *side, Text *sql) {
    const Field *field = NULL;
    for (size_t i = 0; i < run->fed.len; i++)
        if (str_equal(run->fed.fields[i].name, run->what->cursor)) field = &run->fed.fields[i];
    text_print(sql, "%s.", side);
    sql_quote_name(sql, run->what->cursor);
    text_add(sql, STR(" = CAST("));
    sql_quote_text(sql, run->what->after);
    Str type = field ? type_sql(&field->type, &run->landing.arena) : STR("VARCHAR");
    text_print(sql, " AS %.*s)", SHOW(type));
}

static void add_same(Text *sql, Str name, const char *operator) {
    text_add(sql, STR(" AND had."));
    sql_quote_name(sql, name);
    text_print(sql, " %s fed.", operator);
    sql_quote_name(sql, name);
}

static bool has_key(const Source *source, const Schema *schema) {
    for (size_t i = 0; i < source->key_count; i++)
        if (!schema_find(schema, source->key[i])) return false;
    return source->key_count > 0;
}

/* Rows at the bound that the dataset has were read by the last run: those of the same key, or, when
 * there is none, those that are the same in every column that both have and that is not masked. */
static bool make_filter(TableRun *run, Err *err) {
    OWNED(table_release) Table *table = NULL;
    OWNED(text_close) Text sql = {0};
    const TableIngest *what = run->what;
    const Source *source = run->source;
    if (what->mode != COMMIT_APPEND || what->cursor.len == 0 || what->after.len == 0) return true;
    if (!catalog_load(run->landing.catalog, what->dataset, 0, &table, err)) return false;
    bool by_key = has_key(source, table_schema(table));
    text_add(&sql, STR("NOT ("));
    add_bound(run, "fed", &sql);
    text_add(&sql, STR(" AND EXISTS (SELECT 1 FROM "));
    sql_quote_trusted(&sql, what->dataset);
    text_add(&sql, STR(" AS had WHERE "));
    add_bound(run, "had", &sql);
    for (size_t i = 0; by_key && i < source->key_count; i++) add_same(&sql, source->key[i], "=");
    for (size_t i = 0; !by_key && i < run->fed.len; i++) {
        Str name = run->fed.fields[i].name;
        if (!run->masks[i] && schema_find(table_schema(table), name))
            add_same(&sql, name, "IS NOT DISTINCT FROM");
    }
    text_add(&sql, STR("))"));
    run->filter = arena_copy(&run->landing.arena, text_str(&sql));
    return true;
}

static bool fill(TableRun *run, Err *err) {
    Landing *landing = &run->landing;
    const FeedOptions options = {.fed = &run->fed,
                                 .written = landing->schema,
                                 .projection = make_projection(run),
                                 .filter = run->filter,
                                 .path = landing->staged,
                                 .cancelled = run->what->cancelled,
                                 .context = run->what->context};
    OWNED(feed_close) RowFeed *feed = NULL;
    if (!landing_stage(landing, err) || !feed_open(landing->engine, &options, &feed, err))
        return false;
    run->feed = feed;
    run->source->moved = on_moved;
    run->source->moved_context = run;
    pull_parts(run);
    return all_pulled(run, err) && feed_finish(feed, &landing->arena, &landing->data, err);
}

/* ---- Landing ---- */

static void warn(TableRun *run) {
    const Source *source = run->source;
    for (size_t i = 0; i < source->warning_count; i++) {
        const SourceWarning *warning = &source->warnings[i];
        landing_warn(&run->landing, arena_print(&run->landing.arena, "column '%.*s': %.*s (%lld)",
                                                SHOW(source->columns[warning->column].name),
                                                SHOW(warning->what), (long long)warning->count));
    }
}

/* Without rows the last run's value holds on. */
static void keep_cursor(TableRun *run) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    if (run->what->cursor.len == 0 || run->source->last.len == 0) return;
    jw_object(&w);
    jw_member_text(&w, "column", run->what->cursor);
    jw_member_text(&w, "last", run->source->last);
    jw_end(&w);
    run->landing.cursor = arena_copy(&run->landing.arena, text_str(&json));
}

static bool land(TableRun *run, Err *err) {
    Landing *landing = &run->landing;
    int64_t bytes = atomic_load(&run->bytes);
    if (is_cancelled(run)) return err_set(err, LH_CANCELLED, "the ingest was cancelled");
    keep_cursor(run);
    landing->lineage = (Lineage){.source_system = run->source->system,
                                 .source = run->source->locator,
                                 .query = run->source->query,
                                 .bytes = bytes - run->bytes_landed,
                                 .duration_ms = (clock_us() - run->chunk_started_us) / 1000 + 1};
    run->bytes_landed = bytes;
    return landing_commit(landing, err);
}

/* A source in chunks is pulled until it has no more. */
static bool run_chunks(TableRun *run, Err *err) {
    Source *source = run->source;
    bool in_chunks = run->what->cursor.len > 0 && run->what->mode != COMMIT_REPLACE;
    source->chunk_rows = in_chunks ? run->what->chunk_rows : 0;
    for (;;) {
        run->chunk_started_us = clock_us();
        source->more = false;
        if (!fill(run, err) || !land(run, err)) return false;
        if (!source->more) return true;
        landing_next(&run->landing);
        if (!plan(run, err)) return false;
    }
}

static void run_close(TableRun *run) {
    landing_close(&run->landing);
    pthread_cond_destroy(&run->ended);
    pthread_mutex_destroy(&run->lock);
}

static void run_open(TableRun *run) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&run->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&run->lock, NULL);
}

bool ingest_table(Catalog *catalog, Engine *engine, Buckets *buckets, Source *source,
                  const TableIngest *what, Text *result, Err *err) {
    OWNED(run_close)
    TableRun run = {
        .source = source,
        .what = what,
        .landing = {.catalog = catalog,
                    .engine = engine,
                    .buckets = buckets,
                    .dataset = what->dataset,
                    .mode = what->mode,
                    .widen = what->widen && what->mode == COMMIT_APPEND,
                    .started_us = clock_us()}
    };
    run_open(&run);
    describe_source(&run);
    if (!read_masks(&run, err) || !plan(&run, err)) return false;
    check_key(&run);
    if (!make_filter(&run, err)) return false;
    if (!run_chunks(&run, err))
        return run.landing.commits > 0
                   ? err_while(err, "after %lld rows, which stay: the next run goes on from there",
                               (long long)run.landing.rows)
                   : false;
    warn(&run);
    landing_write(&run.landing, result);
    return true;
}
