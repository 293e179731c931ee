/* From a name in SQL to the files of a dataset's snapshot. DuckDB asks for every table that it does
 * not know (a "replacement scan") while it binds, on the thread that prepares; the answer is a call
 * of lake_scan(files, columns). Compared with rewriting the statement or making views, nothing of
 * the user's text changes and nothing is left in the instance; it costs microseconds.
 *
 * The plan's tables stay held until the result is closed, so that their files stay. */
#include "query/engine.h"

#include "base/parallel.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define TABLES_MAX 64 /* datasets in one statement */
#define OPENING_THREADS 16
#define OPENING_GRAIN 4 /* files that are worth no thread of their own */

static __thread Plan *current;

Plan *plan_enter(Plan *plan) {
    Plan *outer = current;
    current = plan;
    return outer;
}

Plan *plan_current(void) {
    return current;
}

static void close_source(Source *source) {
    duckdb_destroy_value(&source->files);
    duckdb_destroy_value(&source->columns);
    for (size_t i = 0; i < source->held_count; i++) local_file_close(&source->held[i]);
    table_release(&source->table);
    bucket_release(&source->bucket);
}

bool plan_check_files(const Plan *plan, Err *err) {
    for (size_t i = 0; i < plan->len; i++)
        for (size_t k = 0; k < plan->sources[i].held_count; k++)
            if (!local_file_check(plan->sources[i].held[k], err))
                return err_while(err, "reading dataset '%.*s'", SHOW(plan->sources[i].name));
    return true;
}

void plan_close(Plan *plan) {
    while (plan->len > 0) close_source(&plan->sources[--plan->len]);
}

/* Names in SQL are not case sensitive; policy_check spelled ns.t as "ns$t". */
static Str dataset_name(Str written, Arena *arena) {
    char *name = arena_alloc(arena, written.len + 1);
    for (size_t i = 0; i < written.len; i++)
        name[i] = written.data[i] == '$' ? '.' : (char)tolower((unsigned char)written.data[i]);
    Str all = {name, written.len};
    return str_starts(all, STR("main.")) ? str_slice(all, 5, all.len) : all;
}

bool plan_check(Plan *plan, Err *err) {
    const Json *as_of = plan->as_of;
    if (!as_of || as_of->kind == JSON_NULL) return true;
    if (as_of->kind != JSON_OBJECT)
        return err_set(err, LH_INVALID, "'as_of' must be an object: {\"dataset\": version}");
    for (size_t i = 0; i < as_of->len; i++)
        if (as_of->items[i].kind != JSON_INT || as_of->items[i].integer < 1)
            return err_set(err, LH_INVALID, "'as_of' of '%.*s' must be a version, 1 or more",
                           SHOW(as_of->items[i].name));
    return true;
}

static int64_t wanted_version(const Plan *plan, Str name) {
    for (size_t i = 0; plan->as_of && i < plan->as_of->len; i++)
        if (str_equal(dataset_name(plan->as_of->items[i].name, plan->arena), name))
            return plan->as_of->items[i].integer;
    return 0;
}

static duckdb_value text_value(Str text) {
    return duckdb_create_varchar_length(text.data, text.len);
}

static void note_directory(Plan *plan, Str directory) {
    for (size_t i = 0; i < plan->uncovered_len; i++)
        if (str_equal(plan->uncovered[i], directory)) return;
    if (sandbox_covers(plan->sandbox, directory)) return;
    plan->uncovered[plan->uncovered_len++] = directory;
}

typedef struct Opening {
    Store *store;
    const DataFile *files;
    LocalFile **held;
    atomic_bool failed;
    Err err; /* of the one that set `failed` */
} Opening;

static void open_files(void *context, size_t from, size_t to) {
    Opening *opening = context;
    for (size_t i = from; i < to && !opening->failed; i++) {
        Err err = {0};
        if (store_local_file(opening->store, opening->files[i].key, LOCAL_RANGES, true,
                             &opening->held[i], &err))
            continue;
        if (!atomic_exchange(&opening->failed, true)) opening->err = err;
    }
}

/* A remote store is asked for each file that the cache does not know, side by side. */
static bool hold_files(Plan *plan, Source *source, const DataFile *files, size_t count, Err *err) {
    Store *store = bucket_store(source->bucket);
    source->held = arena_array(plan->arena, LocalFile *, MAX(count, 1));
    source->held_count = count;
    Opening opening = {.store = store, .files = files, .held = source->held};
    parallel_for(store_abilities(store).local ? 1 : OPENING_THREADS, count, OPENING_GRAIN,
                 open_files, &opening);
    return !opening.failed || (*err = opening.err, false);
}

/* In a sandbox the bucket's warehouse must be open to it; the read cache always is. */
static void note_warehouse(Plan *plan, const Source *source, const DataFile *first) {
    if (!plan->sandbox || !store_abilities(bucket_store(source->bucket)).local) return;
    Str path = str_from(local_file_path(source->held[0]));
    Str root = str_slice(path, 0, path.len - first->key.len);
    note_directory(plan, arena_print(plan->arena, "%.*swarehouse/", SHOW(root)));
}

/* The files as a list of paths. */
static bool make_files(Plan *plan, Source *source, const DataFile *files, size_t count, Err *err) {
    if (!hold_files(plan, source, files, count, err)) return false;
    if (count) note_warehouse(plan, source, &files[0]);
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    duckdb_value *paths = arena_array(plan->arena, duckdb_value, MAX(count, 1));
    for (size_t i = 0; i < count; i++) {
        paths[i] = text_value(str_from(local_file_path(source->held[i])));
        plan->bytes += files[i].bytes;
    }
    if (count == 0) paths[0] = text_value(str_from(plan->engine->empty_file));
    source->files = duckdb_create_list_value(text, paths, MAX(count, 1));
    for (size_t i = 0; i < MAX(count, 1); i++) duckdb_destroy_value(&paths[i]);
    duckdb_destroy_logical_type(&text);
    return true;
}

static duckdb_value make_column(const Field *field, duckdb_logical_type type, Arena *arena) {
    duckdb_value parts[] = {text_value(field->name), text_value(type_sql(&field->type, arena)),
                            duckdb_create_null_value()};
    duckdb_value column = duckdb_create_struct_value(type, parts);
    for (size_t i = 0; i < COUNT(parts); i++) duckdb_destroy_value(&parts[i]);
    return column;
}

/* MAP{field id: {name, type, default_value}} */
static void make_columns(Plan *plan, Source *source, const Schema *schema) {
    static const char *names[] = {"name", "type", "default_value"};
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    duckdb_logical_type integer = duckdb_create_logical_type(DUCKDB_TYPE_INTEGER);
    duckdb_logical_type texts[] = {text, text, text};
    duckdb_logical_type column = duckdb_create_struct_type(texts, names, COUNT(names));
    duckdb_logical_type map = duckdb_create_map_type(integer, column);
    duckdb_value *ids = arena_array(plan->arena, duckdb_value, schema->len);
    duckdb_value *columns = arena_array(plan->arena, duckdb_value, schema->len);
    for (size_t i = 0; i < schema->len; i++) {
        ids[i] = duckdb_create_int32(schema->fields[i].id);
        columns[i] = make_column(&schema->fields[i], column, plan->arena);
    }
    source->columns = duckdb_create_map_value(map, ids, columns, schema->len);
    for (size_t i = 0; i < schema->len; i++) {
        duckdb_destroy_value(&ids[i]);
        duckdb_destroy_value(&columns[i]);
    }
    duckdb_destroy_logical_type(&map);
    duckdb_destroy_logical_type(&column);
    duckdb_destroy_logical_type(&integer);
    duckdb_destroy_logical_type(&text);
}

static bool load_source(Plan *plan, Source *source, Err *err) {
    const DataFile *files;
    size_t count;
    if (!catalog_load(plan->engine->catalog, source->name, wanted_version(plan, source->name),
                      &source->table, err))
        return false;
    Str home = table_bucket(source->table);
    if (!table_files(source->table, &files, &count, err)) return false;
    if (!bucket_find(catalog_buckets(plan->engine->catalog), home, &source->bucket, err))
        return false;
    if (!make_files(plan, source, files, count, err)) return false;
    if (count == 0 || !table_is_plain(source->table))
        make_columns(plan, source, table_schema(source->table));
    return true;
}

bool dataset_in_scope(const Str *only, size_t count, Str dataset, Err *err) {
    bool found = !only;
    for (size_t i = 0; !found && i < count; i++) found = str_equal_nocase(only[i], dataset);
    return found ||
           err_code(err, LH_DENIED, "out_of_scope", "dataset '%.*s' is outside of the scope",
                    (int)MIN(dataset.len, 80), dataset.data);
}

static Source *find_source(Plan *plan, Str name, Err *err) {
    for (size_t i = 0; i < plan->len; i++)
        if (str_equal(plan->sources[i].name, name)) return &plan->sources[i];
    if (!plan->sources) {
        plan->sources = arena_array(plan->arena, Source, TABLES_MAX);
        plan->uncovered = arena_array(plan->arena, Str, TABLES_MAX);
    }
    if (plan->len == TABLES_MAX) {
        err_set(err, LH_TOO_BIG, "a statement may read at most %d datasets", TABLES_MAX);
        return NULL;
    }
    if (!dataset_in_scope(plan->only, plan->only_count, name, err)) return NULL;
    Source *source = &plan->sources[plan->len];
    *source = (Source){.name = name};
    if (load_source(plan, source, err)) return plan->len++, source;
    close_source(source);
    return NULL;
}

bool plan_load(Plan *plan, Str name, int64_t *rows, Err *err) {
    Source *source = find_source(plan, dataset_name(name, plan->arena), err);
    if (!source) return false;
    *rows = table_rows(source->table);
    return true;
}

static void on_unknown_table(duckdb_replacement_scan_info info, const char *written, void *data) {
    Plan *plan = current;
    (void)data;
    if (!plan || plan->failed || !plan->engine->catalog) return;
    Str name = dataset_name(str_from(written), plan->arena);
    Source *source = find_source(plan, name, &plan->err);
    if (!source) {
        plan->failed = true;
        return duckdb_replacement_scan_set_error(info, "no such dataset");
    }
    duckdb_replacement_scan_set_function_name(info, "lake_scan");
    duckdb_replacement_scan_add_parameter(info, source->files);
    if (source->columns) duckdb_replacement_scan_add_parameter(info, source->columns);
}

void resolve_setup(duckdb_database database) {
    duckdb_add_replacement_scan(database, on_unknown_table, NULL, NULL);
}
