/* POST /vectors/search: the query's vector, the filter as a set of rows, the backend's search and
 * that of the rows put since, then hits with their texts and the dataset's rows. Hits are
 * documents: of a document's chunks the best ones count, `per_document` of them. */
#include "vector/profile.h"
#include "vector/rank.h"

#include "lance/lance.h"

#include <stdlib.h>
#include <string.h>

#define BRIEF_WORK 1000 /* of a brief search: places in beams, and an eighth of rows compared */
#define OVERSAMPLE 3    /* chunks fetched for each hit wanted, before documents are told apart */

typedef struct Run {
    Indexes *indexes;
    const Search *search;
    IndexEntry *entry;
    RowsView *view;
    Arena arena;
    RankMode mode;
    float *query;          /* prepared, entry->index->stride floats; NULL for RANK_TEXT */
    const RowSet *allowed; /* of the base; NULL: all */
    RowSet beside;         /* of the overlay */
    Hit *hits;
    size_t count;
    int64_t embed_us, search_us;
    bool noted; /* among those that are searching */
} Run;

static void note_search(Run *run) {
    atomic_fetch_add(&run->indexes->searches, 1);
    atomic_fetch_add(&run->indexes->searching, 1);
    run->noted = true;
    if (atomic_load(&run->entry->searches) < SEARCHES_WARM)
        atomic_fetch_add(&run->entry->searches, 1);
}

static void run_close(Run *run) {
    if (run->noted) atomic_fetch_sub(&run->indexes->searching, 1);
    rows_view_release(&run->view);
    index_entry_release(&run->entry);
    arena_close(&run->arena);
}

static bool take_vector(Run *run, const Json *vector, Err *err) {
    const IndexEntry *entry = run->entry;
    if (vector->len != entry->index->dimensions)
        return err_code(err, LH_IMPOSSIBLE, "wrong_dimension",
                        "the vector has %zu numbers, index '%.*s' has %zu dimensions", vector->len,
                        SHOW(entry->meta.index), entry->index->dimensions);
    return json_floats(vector, run->query) ||
           err_code(err, LH_INVALID, "wrong_type", "'vector' must hold numbers");
}

static bool embed_query(Run *run, Err *err) {
    const Search *search = run->search;
    return index_entry_embed(run->entry, &search->query, 1, run->query, err);
}

static bool check_given(Run *run, Err *err) {
    const Search *search = run->search;
    bool words = search->query.len > 0, vector = search->vector != NULL;
    if (run->mode == RANK_VECTOR)
        return words != vector ||
               err_code(err, LH_INVALID, "missing_field", "give either 'query' or 'vector'");
    return words || err_code(err, LH_INVALID, "missing_field",
                             "give 'query': mode \"text\" and \"hybrid\" look for its words");
}

static bool make_query(Run *run, Err *err) {
    const Search *search = run->search;
    const Index *index = run->entry->index;
    int64_t started = clock_us();
    if (!check_given(run, err)) return false;
    if (run->mode == RANK_TEXT) return true;
    float *query = arena_alloc(&run->arena, index->stride * sizeof *query + 64);
    run->query = (float *)(((uintptr_t)query + 63) / 64 * 64);
    if (!(search->vector ? take_vector(run, search->vector, err) : embed_query(run, err)))
        return false;
    if (!metric_prepare(metric_of(run->entry->meta.metric), run->query, index->dimensions, err))
        return false;
    run->embed_us = clock_us() - started;
    return true;
}

static void sql_add_name(Text *sql, Str column) {
    text_add(sql, STR("CAST("));
    sql_quote_name(sql, column);
    text_add(sql, STR(" AS VARCHAR)"));
}

static bool open_rows(Run *run, Str sql, bool trusted, Rows **out, Err *err) {
    const IndexMeta *meta = &run->entry->meta;
    Query query = {.sql = sql,
                   .trusted = trusted,
                   .cancelled = run->search->cancelled,
                   .context = run->search->context,
                   .only = run->search->only,
                   .only_count = run->search->only_count,
                   .scope = run->search->within};
    if (run->search->within)
        query.only = profile_datasets(run->search->within, meta, &run->arena, &query.only_count);
    Str as_of = arena_print(&run->arena, "{\"%.*s\":%lld}", SHOW(meta->dataset),
                            (long long)meta->dataset_version);
    if (meta->dataset_version > 0 && !json_read(as_of, &run->arena, &query.as_of, err))
        return false;
    return query_open(run->indexes->engine, &query, out, err);
}

typedef struct Filter {
    const RowsView *view;
    const DocTable *docs;
    RowSet base, beside;
} Filter;

static void filter_mark(Filter *filter, Str doc_id) {
    const RowsView *view = filter->view;
    size_t at;
    if (!rows_view_find(view, doc_id, &at)) {
        doc_table_mark(filter->docs, doc_id, &filter->base);
        return;
    }
    /* The base's rows of it are dead. */
    for (size_t i = 0; i < rows_view_row(view, at)->rows; i++)
        if (rowset_has(&view->live, at + i)) rowset_add(&filter->beside, at + i);
}

/* The predicate runs as a user's SQL, under the policy, over the version that was indexed. */
static bool run_filter(Run *run, Filter *filter, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(text_close) Text sql = {0};
    IndexEntry *entry = run->entry;
    size_t count;
    text_add(&sql, STR("SELECT "));
    sql_add_name(&sql, entry->meta.id_column);
    text_add(&sql, STR(" FROM "));
    sql_quote_dataset(&sql, entry->meta.dataset);
    text_print(&sql, " WHERE (%.*s\n)", SHOW(run->search->filter));
    if (!open_rows(run, text_str(&sql), false, &rows, err)) return err_while(err, "filter");
    do {
        if (!rows_next(rows, &count, err)) return false;
        for (size_t i = 0; i < count; i++)
            if (!rows_is_null(rows, 0, i)) filter_mark(filter, rows_text(rows, 0, i));
    } while (count > 0);
    return true;
}

/* The rows that may be answered, of the base and of the overlay. */
static bool make_filter(Run *run, Err *err) {
    const RowsView *view = run->view;
    run->beside = view->live;
    if (view->dead) run->allowed = &view->alive;
    if (run->search->filter.len == 0) return true;
    Filter *filter = arena_new(&run->arena, Filter);
    *filter = (Filter){.view = view,
                       .docs = index_entry_docs(run->entry),
                       .base.bits = arena_array(&run->arena, uint64_t, view->base_count / 64 + 1),
                       .beside.bits = arena_array(&run->arena, uint64_t, view->count / 64 + 1)};
    run->allowed = &filter->base;
    if (!run_filter(run, filter, err)) return false;
    run->beside = filter->beside;
    return true;
}

/* A document among the hits. */
typedef struct Told {
    Str id;
    int64_t chunks; /* 0: a free slot */
} Told;

static Told *told_find(Told *table, size_t slots, Str id) {
    size_t at = hash64(bytes_of(id)) % slots;
    while (table[at].chunks > 0 && !str_equal(table[at].id, id)) at = (at + 1) % slots;
    table[at].id = id;
    return &table[at];
}

/* Drops the chunks beyond per_document of each document; hits stay best first. */
static void tell_documents(Run *run) {
    size_t kept = 0, k = (size_t)run->search->k, slots = 2 * MIN(k, run->count) + 1;
    Told *table = arena_array(&run->arena, Told, slots);
    for (size_t i = 0; i < run->count && kept < k; i++) {
        Told *told = told_find(table, slots, rows_view_id(run->view, run->hits[i].row));
        if (told->chunks++ < run->search->per_document) run->hits[kept++] = run->hits[i];
    }
    run->count = kept;
}

/* Fetches more chunks until there are k hits or no more chunks. */
static bool search_hits(Run *run, Err *err) {
    const RowsView *view = run->view;
    const Search *search = run->search;
    int64_t started = clock_us();
    size_t allowed = (run->allowed ? run->allowed->count : view->base_count) + run->beside.count;
    bool single = run->entry->meta.documents == run->entry->meta.rows &&
                  view->live_documents == view->live.count;
    size_t want = (size_t)search->k * (single ? 1 : OVERSAMPLE);
    for (;; want *= 4) {
        SearchParams params = {.k = MIN(want, allowed),
                               .allowed = run->allowed,
                               .exact = search->exact,
                               .ef = search->ef ? (size_t)search->ef
                                                : (size_t)run->entry->meta.config.ef_search};
        params.nprobes =
            (uint32_t)(search->nprobes ? search->nprobes : run->entry->meta.config.nprobes);
        params.refine =
            (uint32_t)(search->refine ? search->refine : run->entry->meta.config.refine);
        const Ranking ranking = {run->mode, run->query, search->query, params, view, run->beside};
        run->hits = arena_array(&run->arena, Hit, params.k + 1);
        run->count = 0;
        if (!rank_rows(run->entry, &ranking, run->hits, &run->count, err)) return false;
        bool all = run->mode == RANK_TEXT && run->count < params.k; /* that match */
        if (single)
            run->count = MIN(run->count, (size_t)search->k);
        else
            tell_documents(run);
        if (all || run->count >= (size_t)search->k || want >= allowed) break;
    }
    run->search_us = clock_us() - started;
    return true;
}

static bool is_integer(Str text) {
    int64_t value;
    return str_to_i64(text, &value);
}

/* "id" IN (...) in the column's own type where that is plain, so that file statistics can help. */
static void sql_add_ids(Run *run, TypeKind kind, Text *sql) {
    bool integer = kind == TYPE_INT || kind == TYPE_LONG, first = true;
    if (integer || kind == TYPE_STRING)
        sql_quote_name(sql, run->entry->meta.id_column);
    else
        sql_add_name(sql, run->entry->meta.id_column);
    text_add(sql, STR(" IN ("));
    for (size_t i = 0; i < run->count; i++) {
        Str id = rows_view_id(run->view, run->hits[i].row);
        if (integer && !is_integer(id)) continue;
        if (!first) text_add(sql, STR(","));
        first = false;
        if (integer)
            text_add(sql, id);
        else
            sql_quote_text(sql, id);
    }
    text_add(sql, first ? STR("NULL)") : STR(")"));
}

static bool collect(void *context, Bytes data, Err *err) {
    (void)err;
    text_add(context, str_of(data));
    return true;
}

/* The dataset's rows of the hits, one JSON object a line, its first member the doc_id. Empty when
 * the dataset is gone: hits then come without rows. */
static bool fetch_rows(Run *run, Text *lines, Err *err) {
    OWNED(table_release) Table *table = NULL;
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(text_close) Text sql = {0};
    RowsWritten written;
    const IndexMeta *meta = &run->entry->meta;
    if (!run->search->rows || run->count == 0) return true;
    if (!catalog_load(run->indexes->catalog, meta->dataset, meta->dataset_version, &table, err))
        return err->kind == LH_MISSING;
    const Field *field = schema_find(table_schema(table), meta->id_column);
    if (!field) return true;
    text_add(&sql, STR("SELECT "));
    sql_add_name(&sql, meta->id_column);
    text_add(&sql, STR(" AS \"doc_id of the hit\", * FROM "));
    sql_quote_trusted(&sql, meta->dataset);
    text_add(&sql, STR(" WHERE "));
    sql_add_ids(run, field->type.kind, &sql);
    return open_rows(run, text_str(&sql), true, &rows, err) &&
           rows_write(rows, ROWS_NDJSON, 0, collect, lines, &written, err);
}

typedef struct RowTexts {
    const Json **rows;
    size_t count;
} RowTexts;

static bool read_lines(Run *run, Str lines, RowTexts *out, Err *err) {
    size_t cap = 1;
    for (size_t i = 0; i < lines.len; i++) cap += lines.data[i] == '\n';
    out->rows = arena_array(&run->arena, const Json *, cap);
    while (lines.len > 0) {
        Str line = str_until(&lines, '\n');
        if (line.len && !json_read(line, &run->arena, &out->rows[out->count++], err)) return false;
    }
    return true;
}

static void write_row(const RowTexts *rows, Str id, JsonWriter *w) {
    for (size_t i = 0; i < rows->count; i++) {
        const Json *row = rows->rows[i];
        if (row->kind != JSON_OBJECT || row->len == 0 || !str_equal(row->items[0].text, id))
            continue;
        jw_name(w, "row");
        jw_object(w);
        for (size_t m = 1; m < row->len; m++) {
            jw_name_str(w, row->items[m].name);
            jw_json(w, &row->items[m]);
        }
        jw_end(w);
        return;
    }
}

static float score_of(const Run *run, Hit hit) {
    if (run->mode != RANK_VECTOR) return hit.score;
    return (float)metric_score(metric_of(run->entry->meta.metric), hit.score, run->query,
                               rows_view_vector(run->view, hit.row), run->entry->index->dimensions);
}

/* What is written of hits lies anywhere in the index: asked for together, it comes together. */
static void fetch_hits(const Run *run) {
    bool texts = run->entry->meta.text_column.len > 0;
    if (!run->entry->index->ops->in_memory) return;
    for (size_t i = 0; i < run->count; i++) {
        size_t row = run->hits[i].row;
        __builtin_prefetch(rows_view_id(run->view, row).data);
        if (texts) __builtin_prefetch(rows_view_text(run->view, row).data);
        rows_view_chunk(run->view, row); /* read, which is all that is wanted */
    }
}

static void write_hits(Run *run, const RowTexts *rows, JsonWriter *w) {
    fetch_hits(run);
    jw_name(w, "hits");
    jw_array(w);
    for (size_t i = 0; i < run->count; i++) {
        Hit hit = run->hits[i];
        Str id = rows_view_id(run->view, hit.row);
        jw_object(w);
        jw_member_text(w, "doc_id", id);
        jw_member_int(w, "chunk", rows_view_chunk(run->view, hit.row));
        jw_name(w, "score");
        jw_float(w, score_of(run, hit));
        if (run->entry->meta.text_column.len)
            jw_member_text(w, "text", rows_view_text(run->view, hit.row));
        write_row(rows, id, w);
        jw_end(w);
    }
    jw_end(w);
}

/* The index, where the search's scope has it. */
static bool find_index(Run *run, Err *err) {
    const Search *search = run->search;
    if (!indexes_find(run->indexes, search->index, &run->entry, err)) return false;
    const IndexMeta *meta = &run->entry->meta;
    return dataset_in_scope(search->only, search->only_count, meta->dataset, err) &&
           (!search->within || profile_admits(search->within, meta, err));
}

static bool check_cancelled(const Run *run, Err *err) {
    const Search *search = run->search;
    return !search->cancelled || !search->cancelled(search->context) ||
           err_set(err, LH_CANCELLED, "the search was cancelled");
}

static bool find_hits(Run *run, Err *err) {
    if (!find_index(run, err)) return false;
    note_search(run);
    entry_look(run->indexes, run->entry);
    run->view = overlay_view(run->entry->overlay);
    return make_query(run, err) && make_filter(run, err) && check_cancelled(run, err) &&
           search_hits(run, err);
}

bool index_search(Indexes *indexes, const Search *search, Text *result, Err *err) {
    OWNED(run_close)
    Run run = {.indexes = indexes, .search = search, .mode = rank_mode(search->mode)};
    OWNED(text_close) Text lines = {0};
    RowTexts rows = {0};
    int64_t started = clock_us();
    JsonWriter w = {.out = result};
    if (!find_hits(&run, err)) return false;
    if (!fetch_rows(&run, &lines, err) || !read_lines(&run, text_str(&lines), &rows, err))
        return false;
    jw_object(&w);
    jw_member_text(&w, "index", run.entry->meta.index);
    jw_member_text(&w, "backend", run.entry->meta.vector_backend);
    write_hits(&run, &rows, &w);
    jw_member_real(&w, "elapsed_ms", (double)(clock_us() - started) / 1000);
    jw_member_real(&w, "embed_ms", (double)run.embed_us / 1000);
    jw_member_real(&w, "search_ms", (double)run.search_us / 1000);
    jw_end(&w);
    return true;
}

/* DuckDB takes UTF-8 for granted, and files may hold anything. */
static bool copy_hit(const Run *run, Hit hit, Arena *arena, VectorHit *out, Err *err) {
    *out = (VectorHit){.doc_id = arena_copy(arena, rows_view_id(run->view, hit.row)),
                       .chunk = (int32_t)rows_view_chunk(run->view, hit.row),
                       .score = score_of(run, hit)};
    if (run->entry->meta.text_column.len)
        out->text = arena_copy(arena, rows_view_text(run->view, hit.row));
    return (str_is_utf8(out->doc_id) && str_is_utf8(out->text)) ||
           err_code(err, LH_CORRUPT, "invalid_utf8",
                    "index '%.*s' has a document whose id or text is not UTF-8",
                    SHOW(run->entry->meta.index));
}

bool index_search_hits(Indexes *indexes, const Search *search, Arena *arena, VectorHits *out,
                       Err *err) {
    OWNED(run_close)
    Run run = {.indexes = indexes, .search = search, .mode = rank_mode(search->mode)};
    if (!find_hits(&run, err)) return false;
    VectorHit *items = arena_array(arena, VectorHit, MAX(run.count, 1));
    for (size_t i = 0; i < run.count; i++)
        if (!copy_hit(&run, run.hits[i], arena, &items[i], err)) return false;
    *out = (VectorHits){items, run.count};
    return true;
}

bool search_in_sql(void *indexes, const VectorCall *call, Arena *arena, VectorHits *out, Err *err) {
    Search search = {.cancelled = call->cancelled,
                     .context = call->context,
                     .within = call->scope,
                     .only = call->only,
                     .only_count = call->only_count};
    if (!options_read(search_options, call->arguments, &search, err)) return false;
    if (!call->check) return index_search_hits(indexes, &search, arena, out, err);
    OWNED(run_close) Run run = {.indexes = indexes, .search = &search};
    return find_index(&run, err) && (*out = (VectorHits){0}, true);
}

static bool reads_memory(const IndexEntry *entry) {
    return entry->index->ops->in_memory && atomic_load(&entry->searches) >= SEARCHES_WARM &&
           clock_us() < atomic_load(&entry->rows_look_us);
}

bool index_search_is_brief(Indexes *indexes, const Search *search, size_t vectors) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(rows_view_release) RowsView *view = NULL;
    Err ignored;
    if (search->query.len || search->filter.len || search->exact || search->rows) return false;
    if (!indexes_find(indexes, search->index, &entry, &ignored) || !reads_memory(entry))
        return false;
    view = overlay_view(entry->overlay);
    int64_t ef = search->ef ? search->ef : entry->meta.config.ef_search;
    size_t work = (size_t)MAX(ef, search->k * OVERSAMPLE) + view->count / 8;
    return work <= BRIEF_WORK && vectors <= BRIEF_WORK / work;
}

bool index_dimensions(Indexes *indexes, Str name, int64_t *out, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    if (!indexes_find(indexes, name, &entry, err)) return false;
    *out = (int64_t)entry->index->dimensions;
    return true;
}
