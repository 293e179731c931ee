#include "vector/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVAL_FORMAT 1
#define EVAL_SIZE_MAX (256 << 20)
#define SAMPLE_WORDS 12   /* of a chunk's text, asked as a query */
#define SAMPLE_NOISE 0.25 /* of a vector's length, where there is no text to ask with */

const Option eval_options[] = {
    {"queries",    LH_JSON, AT(EvalSpec, queries), NULL, "texts, or vectors, to ask"},
    {"sample", LH_INT, AT(EvalSpec, sample), NULL,
     "or so many queries made from the index's own rows", .min = 1, .max = EVAL_QUERIES_MAX},
    {"seed",        LH_INT, AT(EvalSpec, seed), "1", "which rows a sample takes"},
    {0           },
};

double eval_score(Metric metric, const float *query, const float *vector, size_t dimensions) {
    double sum = 0;
    for (size_t i = 0; i < dimensions; i++) {
        double difference = (double)query[i] - vector[i];
        sum += metric == METRIC_L2 ? difference * difference : (double)query[i] * vector[i];
    }
    return metric == METRIC_L2 ? -sqrt(sum) : sum;
}

static bool name_check(Str name, Err *err) {
    bool ok = name.len > 0 && name.len <= INDEX_NAME_MAX && name.data[0] != '.';
    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-' || c == '.';
    }
    return ok || err_code(err, LH_INVALID, "bad_eval_name",
                          "'%.*s' is no name of an eval set: 1 to %d of letters, digits, _ - .",
                          (int)MIN(name.len, 80), name.data, INDEX_NAME_MAX);
}

static Str eval_key(Str index, Str name, Arena *arena) {
    return arena_print(arena, "vectors/%.*s/evals/%.*s.json", SHOW(index), SHOW(name));
}

static float *new_vector(const Index *index, Arena *arena) {
    size_t size = index->stride * sizeof(float);
    uintptr_t at = (uintptr_t)arena_alloc(arena, size + 64);
    return memset((void *)((at + 63) / 64 * 64), 0, size);
}

/* ---- Answers ---- */

typedef struct Answering {
    IndexEntry *entry;
    EvalSet *set;
    Arena *arenas; /* one per query: what a thread allocates is its own */
    pthread_mutex_t lock;
    Err err;
} Answering;

static int answer_order(const void *a, const void *b) {
    double x = ((const EvalAnswer *)a)->score, y = ((const EvalAnswer *)b)->score;
    return (x < y) - (x > y);
}

static bool answer_one(IndexEntry *entry, EvalQuery *query, Arena *arena, Err *err) {
    Index *index = entry->index;
    Metric metric = metric_of(entry->meta.metric);
    SearchParams params = {.k = MIN(index->count, EVAL_DEPTH), .ef = EVAL_DEPTH, .exact = true};
    Hit *hits = arena_array(arena, Hit, params.k + 1);
    query->answers = arena_array(arena, EvalAnswer, params.k + 1);
    if (!index->ops->search(index, query->vector, &params, hits, &query->answer_count, err))
        return false;
    for (size_t i = 0; i < query->answer_count; i++)
        query->answers[i] = (EvalAnswer){
            .doc_id = arena_copy(arena, index->ops->id(index, hits[i].row)),
            .chunk = index->ops->chunk(index, hits[i].row),
            .score = eval_score(metric, query->vector, index->ops->vector(index, hits[i].row),
                                index->dimensions)};
    qsort(query->answers, query->answer_count, sizeof *query->answers, answer_order);
    return true;
}

static void answer_range(void *context, size_t from, size_t to) {
    Answering *all = context;
    Err err = {0};
    for (size_t i = from; i < to; i++) {
        if (answer_one(all->entry, &all->set->queries[i], &all->arenas[i], &err)) continue;
        pthread_mutex_lock(&all->lock);
        all->err = err;
        pthread_mutex_unlock(&all->lock);
    }
}

static void move_answers(EvalQuery *query, Arena *from, Arena *to) {
    EvalAnswer *kept = arena_array(to, EvalAnswer, query->answer_count + 1);
    for (size_t i = 0; i < query->answer_count; i++) {
        kept[i] = query->answers[i];
        kept[i].doc_id = arena_copy(to, kept[i].doc_id);
    }
    query->answers = kept;
    arena_close(from);
}

static bool answer_all(IndexEntry *entry, EvalSet *set, Arena *arena, Err *err) {
    Answering all = {.entry = entry, .set = set, .lock = PTHREAD_MUTEX_INITIALIZER};
    all.arenas = arena_array(arena, Arena, set->query_count + 1);
    parallel_for(parallel_threads(), set->query_count, 1, answer_range, &all);
    for (size_t i = 0; i < set->query_count; i++)
        move_answers(&set->queries[i], &all.arenas[i], arena);
    set->rows = index_rows(entry);
    if (all.err.kind != LH_OK) return *err = all.err, false;
    return true;
}

/* ---- Queries ---- */

static bool embed_text(IndexEntry *entry, Str text, Arena *arena, EvalQuery *out, Err *err) {
    *out = (EvalQuery){.text = arena_copy(arena, text), .vector = new_vector(entry->index, arena)};
    if (!index_entry_embed(entry, &text, 1, out->vector, err)) return false;
    return metric_prepare(metric_of(entry->meta.metric), out->vector, entry->index->dimensions,
                          err);
}

static bool take_vector(IndexEntry *entry, const Json *json, Arena *arena, EvalQuery *out,
                        Err *err) {
    size_t dimensions = entry->index->dimensions;
    if (json->len != dimensions)
        return err_code(err, LH_IMPOSSIBLE, "wrong_dimension",
                        "a query has %zu numbers, index '%.*s' has %zu dimensions", json->len,
                        SHOW(entry->meta.index), dimensions);
    *out = (EvalQuery){.vector = new_vector(entry->index, arena)};
    if (!json_floats(json, out->vector))
        return err_code(err, LH_INVALID, "wrong_type", "a query must hold numbers");
    return metric_prepare(metric_of(entry->meta.metric), out->vector, dimensions, err);
}

static bool take_query(IndexEntry *entry, const Json *json, Arena *arena, EvalQuery *out,
                       Err *err) {
    if (json->kind == JSON_TEXT && json->text.len)
        return embed_text(entry, json->text, arena, out, err);
    if (json->kind == JSON_ARRAY) return take_vector(entry, json, arena, out, err);
    return err_code(err, LH_INVALID, "wrong_type", "a query is a text or a list of numbers, not %s",
                    json_kind_name(json->kind));
}

static bool take_queries(IndexEntry *entry, const Json *queries, Arena *arena, EvalSet *out,
                         Err *err) {
    if (queries->kind != JSON_ARRAY || queries->len == 0 || queries->len > EVAL_QUERIES_MAX)
        return err_code(err, LH_INVALID, "bad_queries", "'queries' is a list of 1 to %d",
                        EVAL_QUERIES_MAX);
    out->queries = arena_array(arena, EvalQuery, queries->len);
    for (; out->query_count < queries->len; out->query_count++)
        if (!take_query(entry, &queries->items[out->query_count], arena,
                        &out->queries[out->query_count], err))
            return err_while(err, "query %zu", out->query_count);
    return true;
}

/* Some words from somewhere in a text. */
static Str some_words(Str text, uint64_t *random) {
    size_t from = random_next(random) % (text.len + 1), to, words = 0;
    while (from > 0 && text.data[from - 1] != ' ') from--;
    if (text.len - from < 20) from = 0;
    for (to = from; to < text.len && words < SAMPLE_WORDS; to++) words += text.data[to] == ' ';
    return str_slice(text, from, to);
}

/* About the row's vector, but not it: with the same words of the seed, the same each time. */
static void blur(const Index *index, const float *vector, uint64_t *random, float *out) {
    double length = 0;
    for (size_t i = 0; i < index->dimensions; i++) length += (double)vector[i] * vector[i];
    double noise = SAMPLE_NOISE * sqrt(length * 12 / (double)index->dimensions);
    for (size_t i = 0; i < index->dimensions; i++)
        out[i] = vector[i] + (float)(noise * ((double)(random_next(random) >> 11) * 0x1p-53 - 0.5));
}

static bool sample_query(IndexEntry *entry, size_t row, uint64_t *random, Arena *arena,
                         EvalQuery *out, Err *err) {
    const Index *index = entry->index;
    Str words = entry->embedder ? some_words(index->ops->text(index, row), random) : (Str){0};
    if (words.len) return embed_text(entry, words, arena, out, err);
    *out = (EvalQuery){.vector = new_vector(index, arena)};
    blur(index, index->ops->vector(index, row), random, out->vector);
    return metric_prepare(metric_of(entry->meta.metric), out->vector, index->dimensions, err);
}

static bool sample_queries(IndexEntry *entry, const EvalSpec *spec, Arena *arena, EvalSet *out,
                           Err *err) {
    uint64_t random = (uint64_t)spec->seed;
    size_t rows = entry->index->count, want = MIN((size_t)spec->sample, rows);
    if (rows == 0)
        return err_code(err, LH_IMPOSSIBLE, "empty_index", "index '%.*s' has no rows to sample",
                        SHOW(entry->meta.index));
    out->queries = arena_array(arena, EvalQuery, want);
    for (; out->query_count < want; out->query_count++)
        if (!sample_query(entry, random_next(&random) % rows, &random, arena,
                          &out->queries[out->query_count], err))
            return false;
    return true;
}

/* ---- As an object ---- */

static void write_query(const EvalQuery *query, size_t dimensions, bool vectors, JsonWriter *w) {
    jw_object(w);
    if (query->text.len) jw_member_text(w, "text", query->text);
    if (vectors || query->text.len == 0) {
        jw_name(w, "vector");
        jw_array(w);
        for (size_t i = 0; i < dimensions; i++) jw_float(w, query->vector[i]);
        jw_end(w);
    }
    jw_name(w, "answers");
    jw_array(w);
    for (size_t i = 0; i < query->answer_count; i++) {
        jw_object(w);
        jw_member_text(w, "doc_id", query->answers[i].doc_id);
        jw_member_int(w, "chunk", query->answers[i].chunk);
        jw_member_real(w, "score", query->answers[i].score);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void write_set(const IndexEntry *entry, const EvalSet *set, bool queries, bool vectors,
                      JsonWriter *w) {
    jw_object(w);
    jw_member_int(w, "format", EVAL_FORMAT);
    jw_member_text(w, "index", entry->meta.index);
    jw_member_text(w, "name", set->name);
    jw_member_text(w, "rows", set->rows);
    jw_member_int(w, "count", (int64_t)set->query_count);
    jw_member_int(w, "depth", EVAL_DEPTH);
    jw_member_time(w, "created_at", set->created_ms);
    if (queries) {
        jw_name(w, "queries");
        jw_array(w);
        for (size_t i = 0; i < set->query_count; i++)
            write_query(&set->queries[i], entry->index->dimensions, vectors, w);
        jw_end(w);
    }
    jw_end(w);
}

static bool store_set(Indexes *indexes, const IndexEntry *entry, const EvalSet *set, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(text_close) Text text = {0};
    OWNED(arena_close) Arena arena = {0};
    write_set(entry, set, true, true, &(JsonWriter){.out = &text});
    if (!index_place(indexes, entry->meta.index, &bucket, err)) return false;
    bool ok = store_write(bucket_store(bucket), eval_key(entry->meta.index, set->name, &arena),
                          text_bytes(&text), NULL, err);
    index_place_end(indexes);
    return ok;
}

static bool corrupt(Str name, Err *err) {
    return err_set(err, LH_CORRUPT, "eval set '%.*s' is damaged: delete it and put it again",
                   SHOW(name));
}

static void read_answers(const Json *json, Arena *arena, EvalQuery *out) {
    double score;
    const Json *answers = json_get(json, "answers");
    if (!answers || answers->kind != JSON_ARRAY) return;
    out->answers = arena_array(arena, EvalAnswer, answers->len + 1);
    for (size_t i = 0; i < answers->len && out->answer_count < EVAL_DEPTH; i++) {
        const Json *one = &answers->items[i], *number = json_get(one, "score");
        if (!number || !json_number(number, &score)) continue;
        out->answers[out->answer_count++] = (EvalAnswer){json_get_text(one, "doc_id", (Str){0}),
                                                         json_get_int(one, "chunk", 0), score};
    }
}

static bool read_set(IndexEntry *entry, Str name, const Json *json, Arena *arena, EvalSet *out,
                     Err *err) {
    const Json *queries = json_get(json, "queries");
    if (json_get_int(json, "format", 0) != EVAL_FORMAT || !queries || queries->kind != JSON_ARRAY ||
        queries->len > EVAL_QUERIES_MAX)
        return corrupt(name, err);
    *out = (EvalSet){.name = name, .rows = json_get_text(json, "rows", (Str){0})};
    clock_read(json_get_text(json, "created_at", (Str){0}), &out->created_ms);
    out->queries = arena_array(arena, EvalQuery, queries->len + 1);
    for (; out->query_count < queries->len; out->query_count++) {
        const Json *query = &queries->items[out->query_count];
        const Json *vector = json_get(query, "vector");
        EvalQuery *to = &out->queries[out->query_count];
        if (!vector || vector->kind != JSON_ARRAY || !take_vector(entry, vector, arena, to, err))
            return corrupt(name, err);
        to->text = json_get_text(query, "text", (Str){0});
        read_answers(query, arena, to);
    }
    return true;
}

bool eval_load(Indexes *indexes, IndexEntry *entry, Str name, Arena *arena, EvalSet *out,
               Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    Bytes text;
    const Json *json;
    if (!name_check(name, err) || !bucket_find(indexes->buckets, entry->meta.bucket, &bucket, err))
        return false;
    if (!store_read(bucket_store(bucket), eval_key(entry->meta.index, name, arena), EVAL_SIZE_MAX,
                    arena, &text, err))
        return err->kind == LH_MISSING &&
               err_code(err, LH_MISSING, "eval_not_found",
                        "index '%.*s' has no eval set '%.*s': make one with PUT "
                        "/vectors/evals/%.*s/%.*s",
                        SHOW(entry->meta.index), SHOW(name), SHOW(entry->meta.index), SHOW(name));
    if (!json_read(str_of(text), arena, &json, err)) return corrupt(name, err);
    if (!read_set(entry, name, json, arena, out, err)) return false;
    if (str_equal(out->rows, index_rows(entry))) return true;
    return answer_all(entry, out, arena, err) && store_set(indexes, entry, out, err);
}

/* ---- Routes ---- */

bool index_eval_put(Indexes *indexes, Str index, Str name, const EvalSpec *spec, Text *result,
                    Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(arena_close) Arena arena = {0};
    EvalSet set = {.name = name, .created_ms = clock_now_ms()};
    if (!name_check(name, err) || !indexes_find(indexes, index, &entry, err)) return false;
    if (!spec->queries == !spec->sample)
        return err_code(err, LH_INVALID, "missing_field", "give either 'queries' or 'sample'");
    bool ok = spec->queries ? take_queries(entry, spec->queries, &arena, &set, err)
                            : sample_queries(entry, spec, &arena, &set, err);
    if (!ok || !answer_all(entry, &set, &arena, err) || !store_set(indexes, entry, &set, err))
        return false;
    write_set(entry, &set, false, false, &(JsonWriter){.out = result});
    return true;
}

bool index_eval_write(Indexes *indexes, Str index, Str name, Text *result, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(arena_close) Arena arena = {0};
    EvalSet set;
    if (!indexes_find(indexes, index, &entry, err) ||
        !eval_load(indexes, entry, name, &arena, &set, err))
        return false;
    write_set(entry, &set, true, false, &(JsonWriter){.out = result});
    return true;
}

static Str name_of_key(Str key, size_t prefix) {
    return str_slice(key, prefix, key.len - strlen(".json"));
}

bool index_evals_write(Indexes *indexes, Str index, Text *result, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.limit = STORE_LIST_MAX};
    ObjectList list;
    JsonWriter w = {.out = result};
    if (!indexes_find(indexes, index, &entry, err) ||
        !bucket_find(indexes->buckets, entry->meta.bucket, &bucket, err))
        return false;
    options.prefix = meta_key(index, "evals/", &arena);
    jw_array(&w);
    do {
        if (!store_list(bucket_store(bucket), &options, &arena, &list, err)) return false;
        for (size_t i = 0; i < list.object_count; i++) {
            if (!str_ends(list.objects[i].key, STR(".json"))) continue;
            jw_object(&w);
            jw_member_text(&w, "index", index);
            jw_member_text(&w, "name", name_of_key(list.objects[i].key, options.prefix.len));
            jw_member_int(&w, "bytes", (int64_t)list.objects[i].info.size);
            jw_member_time(&w, "updated_at", list.objects[i].info.modified_ms);
            jw_end(&w);
        }
        options.after = list.next;
    } while (list.next.len > 0);
    jw_end(&w);
    return true;
}

static bool drop_from(Store *store, Str index, Str name, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    ObjectInfo info;
    Str key = eval_key(index, name, &arena);
    if (!store_head(store, key, &info, err))
        return err->kind == LH_MISSING &&
               err_code(err, LH_MISSING, "eval_not_found", "index '%.*s' has no eval set '%.*s'",
                        SHOW(index), SHOW(name));
    return store_remove(store, key, err);
}

bool index_eval_drop(Indexes *indexes, Str index, Str name, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    if (!name_check(name, err) || !index_place(indexes, index, &bucket, err)) return false;
    bool ok = drop_from(bucket_store(bucket), index, name, err);
    index_place_end(indexes);
    return ok;
}
