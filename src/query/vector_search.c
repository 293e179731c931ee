/* vector_search('index', 'words' or [0.1, ...], k) in a FROM: what a search of the module above
 * found, as rows. DuckDB knows one signature a table function, so that a user calls a macro with
 * defaults, which calls lake_vector_search; users cannot, as the policy refuses its name.
 *
 * The search runs while DuckDB binds, on the thread that prepares, as resolve.c finds datasets: so
 * its errors are the statement's own, before a row is answered, and DuckDB knows how many rows
 * there are when it orders joins. DuckDB binds a statement with parameters again for each run of
 * it; what was found is kept with the plan, so that each search is run once. */
#include "query/engine.h"

#include <stdlib.h>

#define SEARCHES_MAX 16 /* in one statement */
#define ARGUMENTS (sizeof argument_names / sizeof *argument_names)

/* As the macro passes them on. */
static const char *const argument_names[] = {
    "index", "query", "k", "filter", "mode", "ef", "nprobes", "refine", "exact", "per_document"};
#define QUERY_ARGUMENT 1

void engine_set_vector_search(Engine *engine, VectorSearchFn *search, void *context) {
    engine->vector_search = search;
    engine->vector_context = context;
}

static bool is_list(duckdb_type type) {
    return type == DUCKDB_TYPE_LIST || type == DUCKDB_TYPE_ARRAY;
}

static duckdb_type element_type(duckdb_logical_type list) {
    bool array = duckdb_get_type_id(list) == DUCKDB_TYPE_ARRAY;
    duckdb_logical_type child =
        array ? duckdb_array_type_child_type(list) : duckdb_list_type_child_type(list);
    duckdb_type type = duckdb_get_type_id(child);
    duckdb_destroy_logical_type(&child);
    return type;
}

static bool is_whole(duckdb_type type) {
    return (type >= DUCKDB_TYPE_TINYINT && type <= DUCKDB_TYPE_UBIGINT) ||
           type == DUCKDB_TYPE_HUGEINT || type == DUCKDB_TYPE_UHUGEINT;
}

static bool is_number(duckdb_type type) {
    return is_whole(type) || type == DUCKDB_TYPE_FLOAT || type == DUCKDB_TYPE_DOUBLE ||
           type == DUCKDB_TYPE_DECIMAL;
}

static Str value_text(duckdb_value value, Arena *arena) {
    char *text = duckdb_get_varchar(value);
    Str copy = arena_copy(arena, str_from(text ? text : ""));
    duckdb_free(text);
    return copy;
}

/* DuckDB writes numbers, and lists of them, as JSON does; but for NaN, infinity and NULL. */
static bool read_numbers(const char *name, duckdb_value value, Arena *arena, Json *out, Err *err) {
    const Json *read;
    Err unread;
    if (!json_read(value_text(value, arena), arena, &read, &unread))
        return err_code(err, LH_INVALID, "wrong_type", "'%s' must hold finite numbers", name);
    *out = *read;
    return true;
}

static bool read_value(const char *name, duckdb_value value, Arena *arena, Json *out, Err *err) {
    duckdb_logical_type logical = duckdb_get_value_type(value); /* the value's own */
    duckdb_type type = duckdb_get_type_id(logical);
    if (type == DUCKDB_TYPE_VARCHAR)
        return *out = (Json){.kind = JSON_TEXT, .text = value_text(value, arena)}, true;
    if (type == DUCKDB_TYPE_BOOLEAN)
        return *out = (Json){.kind = JSON_FLAG, .flag = duckdb_get_bool(value)}, true;
    if (is_number(type) || (is_list(type) && is_number(element_type(logical))))
        return read_numbers(name, value, arena, out, err);
    return err_code(err, LH_INVALID, "wrong_type",
                    "'%s' must be a text, a number, true or false, or a list of numbers", name);
}

/* The arguments that are not NULL, as the members of a search's request. */
static bool read_arguments(duckdb_bind_info info, Arena *arena, Json *out, Err *err) {
    *out = (Json){.kind = JSON_OBJECT, .items = arena_array(arena, Json, ARGUMENTS)};
    for (size_t i = 0; i < ARGUMENTS; i++) {
        Json *member = &out->items[out->len];
        duckdb_value value = duckdb_bind_get_parameter(info, i);
        bool null = duckdb_is_null_value(value);
        bool ok = null || read_value(argument_names[i], value, arena, member, err);
        duckdb_destroy_value(&value);
        if (!ok) return false;
        if (null) continue;
        bool vector = i == QUERY_ARGUMENT && member->kind == JSON_ARRAY;
        member->name = str_from(vector ? "vector" : argument_names[i]);
        out->len++;
    }
    return true;
}

static bool run_search(Plan *plan, const Json *arguments, VectorHits *out, Err *err) {
    const Engine *engine = plan->engine;
    VectorCall call = {.arguments = arguments,
                       .check = plan->check,
                       .only = plan->only,
                       .only_count = plan->only_count,
                       .scope = plan->scope,
                       .cancelled = watched_is_over,
                       .context = plan->watched};
    if (!engine->vector_search)
        return err_code(err, LH_IMPOSSIBLE, "no_vector_search", "there are no vector indexes here");
    if (plan->nested)
        return err_code(err, LH_DENIED, "sql_forbidden",
                        "a filter of vector_search() may not call vector_search()");
    if (plan->searched_len == SEARCHES_MAX)
        return err_set(err, LH_TOO_BIG, "a statement may call vector_search() at most %d times",
                       SEARCHES_MAX);
    return engine->vector_search(engine->vector_context, &call, plan->arena, out, err);
}

static bool find_hits(Plan *plan, duckdb_bind_info info, const VectorHits **out, Err *err) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    Json arguments;
    if (!read_arguments(info, plan->arena, &arguments, err)) return false;
    jw_json(&w, &arguments);
    for (size_t i = 0; i < plan->searched_len; i++)
        if (str_equal(plan->searched[i].arguments, text_str(&text)))
            return *out = &plan->searched[i].hits, true;
    if (!plan->searched) plan->searched = arena_array(plan->arena, Searched, SEARCHES_MAX);
    Searched searched = {.arguments = arena_copy(plan->arena, text_str(&text))};
    if (!run_search(plan, &arguments, &searched.hits, err)) return false;
    plan->searched[plan->searched_len] = searched;
    *out = &plan->searched[plan->searched_len++].hits;
    return true;
}

static void add_columns(duckdb_bind_info info) {
    static const struct {
        const char *name;
        duckdb_type type;
    } columns[] = {
        {"doc_id", DUCKDB_TYPE_VARCHAR},
        {"chunk",  DUCKDB_TYPE_INTEGER},
        {"score",  DUCKDB_TYPE_FLOAT  },
        {"text",   DUCKDB_TYPE_VARCHAR}
    };
    for (size_t i = 0; i < COUNT(columns); i++) {
        duckdb_logical_type type = duckdb_create_logical_type(columns[i].type);
        duckdb_bind_add_result_column(info, columns[i].name, type);
        duckdb_destroy_logical_type(&type);
    }
}

static void on_bind(duckdb_bind_info info) {
    Plan *plan = plan_current();
    const VectorHits *hits = NULL;
    if (!plan || plan->failed) return duckdb_bind_set_error(info, "no search");
    if (!find_hits(plan, info, &hits, &plan->err)) {
        plan->failed = true;
        return duckdb_bind_set_error(info, "the search failed");
    }
    add_columns(info);
    duckdb_bind_set_cardinality(info, hits->len, true);
    duckdb_bind_set_bind_data(info, (void *)hits, NULL); /* of the plan, which outlives it */
}

static void on_init(duckdb_init_info info) {
    size_t *done = calloc(1, sizeof *done);
    if (!done) abort();
    duckdb_init_set_max_threads(info, 1); /* best first */
    duckdb_init_set_init_data(info, done, free);
}

static void set_text(duckdb_vector column, size_t row, Str text) {
    if (text.data) return duckdb_vector_assign_string_element_len(column, row, text.data, text.len);
    duckdb_vector_ensure_validity_writable(column);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(column), row);
}

static void on_rows(duckdb_function_info info, duckdb_data_chunk chunk) {
    const VectorHits *hits = duckdb_function_get_bind_data(info);
    size_t *done = duckdb_function_get_init_data(info);
    size_t count = MIN(hits->len - *done, duckdb_vector_size());
    duckdb_vector ids = duckdb_data_chunk_get_vector(chunk, 0);
    int32_t *chunks = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 1));
    float *scores = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 2));
    duckdb_vector texts = duckdb_data_chunk_get_vector(chunk, 3);
    for (size_t i = 0; i < count; i++) {
        const VectorHit *hit = &hits->items[*done + i];
        set_text(ids, i, hit->doc_id);
        chunks[i] = hit->chunk;
        scores[i] = hit->score;
        set_text(texts, i, hit->text);
    }
    *done += count;
    duckdb_data_chunk_set_size(chunk, count);
}

bool vectors_setup(duckdb_connection connection, Err *err) {
    const TableFunction function = {.name = "lake_vector_search",
                                    .arguments = ARGUMENTS,
                                    .bind = on_bind,
                                    .init = on_init,
                                    .rows = on_rows};
    return table_function_add(connection, &function, err) &&
           instance_run(connection,
                        STR("CREATE MACRO vector_search(\"index\", query, k := NULL, "
                            "\"filter\" := NULL, \"mode\" := NULL, ef := NULL, nprobes := NULL, "
                            "refine := NULL, exact := NULL, per_document := NULL) AS TABLE "
                            "(SELECT * FROM lake_vector_search(\"index\", query, k, \"filter\", "
                            "\"mode\", ef, nprobes, refine, exact, per_document))"),
                        err);
}
