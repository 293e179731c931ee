/* A lake in a temporary directory for tests of the catalog: real Parquet files, written by DuckDB
 * with the field ids that the catalog planned and described by the statistics that it returned. */
#pragma once

#include "catalog/catalog.h"
#include "kit/kit.h"

#include <duckdb.h>
#include <limits.h>
#include <stdlib.h>

typedef struct Lake {
    char primary[128], rescue[128];
    Buckets *buckets;
    Catalog *catalog;
} Lake;

static Err err;

static void lake_close(Lake *lake) {
    catalog_close(&lake->catalog);
    buckets_close(&lake->buckets);
}

static void lake_open(Lake *lake, const char *dir) {
    snprintf(lake->primary, sizeof lake->primary, "%s/primary", dir);
    snprintf(lake->rescue, sizeof lake->rescue, "%s/rescue", dir);
    BucketOptions options[] = {
        {STR("primary"), STR("local"), str_from(lake->primary)},
        {STR("rescue"),  STR("local"), str_from(lake->rescue) }
    };
    CHECK_OK(buckets_open(&(BucketsOptions){.items = options, .count = 2, .rescue = STR("rescue")},
                          &lake->buckets, &err));
    CHECK_OK(catalog_open(lake->buckets, NULL, &lake->catalog, &err));
}

/* One thread: DuckDB is not instrumented, so that its own locks would look like races. */
static duckdb_connection duck(void) {
    static duckdb_database database;
    static duckdb_connection connection;
    if (!connection && (duckdb_open(NULL, &database) != DuckDBSuccess ||
                        duckdb_connect(database, &connection) != DuckDBSuccess ||
                        duckdb_query(connection, "SET threads = 1", NULL) != DuckDBSuccess))
        kit_fail(__FILE__, __LINE__, "DuckDB does not open");
    return connection;
}

static void duck_run(const char *sql, duckdb_result *result) {
    duckdb_result own;
    if (duckdb_query(duck(), sql, result ? result : &own) != DuckDBSuccess)
        kit_fail(__FILE__, __LINE__, "%s: %s", sql, duckdb_result_error(result ? result : &own));
    if (!result) duckdb_destroy_result(&own);
}

static int64_t duck_int(const char *sql) {
    duckdb_result result;
    duck_run(sql, &result);
    int64_t value = duckdb_value_int64(&result, 0, 0);
    duckdb_destroy_result(&result);
    return value;
}

/* The columns of a query, as the catalog knows types. */
static Schema lake_schema(const char *select, Arena *arena) {
    duckdb_result result;
    Str sql = arena_print(arena, "DESCRIBE %s", select);
    duck_run(arena_cstr(arena, sql), &result);
    Schema schema = {.len = duckdb_row_count(&result)};
    schema.fields = arena_array(arena, Field, schema.len);
    for (size_t i = 0; i < schema.len; i++) {
        char *name = duckdb_value_varchar(&result, 0, i),
             *type = duckdb_value_varchar(&result, 1, i);
        schema.fields[i].name = arena_copy(arena, str_from(name));
        CHECK_OK(type_from_sql(str_from(type), arena, &schema.fields[i].type, &err));
        duckdb_free(name);
        duckdb_free(type);
    }
    duckdb_destroy_result(&result);
    return schema;
}

static void lake_ids(const Field *field, Text *out) {
    const Type *type = &field->type;
    if (type->field_count == 0) {
        text_print(out, "%d", field->id);
        return;
    }
    text_print(out, "{__duckdb_field_id:%d", field->id);
    for (size_t i = 0; i < type->field_count; i++) {
        text_print(out, ", \"%.*s\":", SHOW(type->fields[i].name));
        lake_ids(&type->fields[i], out);
    }
    text_add_byte(out, '}');
}

static Str lake_text(duckdb_vector vector, idx_t at, Arena *arena) {
    duckdb_string_t *texts = duckdb_vector_get_data(vector);
    return arena_copy(arena,
                      (Str){duckdb_string_t_data(&texts[at]), duckdb_string_t_length(texts[at])});
}

static int64_t lake_number(Str text) {
    int64_t value = -1;
    str_to_i64(text, &value);
    return value;
}

static void lake_stat(ColumnStats *stats, Str name, Str value) {
    if (str_is(name, "column_size_bytes")) stats->size_bytes = lake_number(value);
    if (str_is(name, "num_values")) stats->value_count = lake_number(value);
    if (str_is(name, "null_count")) stats->null_count = lake_number(value);
    if (str_is(name, "has_nan")) stats->has_nan = str_is(value, "true") || str_is(value, "1");
    if (str_is(name, "min")) stats->lower = value, stats->has_bounds = true;
    if (str_is(name, "max")) stats->upper = value;
}

/* map(path -> map(statistic -> text)), of the only row. A path in double quotes is a column. */
static void lake_stats(duckdb_vector vector, const Schema *schema, DataFile *file, Arena *arena) {
    duckdb_list_entry *outer = duckdb_vector_get_data(vector);
    duckdb_vector pair = duckdb_list_vector_get_child(vector);
    duckdb_vector paths = duckdb_struct_vector_get_child(pair, 0);
    duckdb_vector maps = duckdb_struct_vector_get_child(pair, 1);
    duckdb_list_entry *inner = duckdb_vector_get_data(maps);
    duckdb_vector stat = duckdb_list_vector_get_child(maps);
    file->columns = arena_array(arena, ColumnStats, outer->length + 1);
    for (idx_t i = outer->offset; i < outer->offset + outer->length; i++) {
        Str path = lake_text(paths, i, arena);
        if (path.len && path.data[0] == '"') path = str_slice(path, 1, path.len - 1);
        const Field *field = schema_find(schema, path);
        if (!field) continue;
        ColumnStats *stats = &file->columns[file->column_count++];
        *stats = (ColumnStats){field->id, -1, -1, -1, false, false, {0}, {0}};
        for (idx_t j = inner[i].offset; j < inner[i].offset + inner[i].length; j++)
            lake_stat(stats, lake_text(duckdb_struct_vector_get_child(stat, 0), j, arena),
                      lake_text(duckdb_struct_vector_get_child(stat, 1), j, arena));
    }
}

/* One Parquet file of the query, adopted into the dataset's folder. */
static void lake_file(Lake *lake, const char *select, const Schema *schema, Str bucket,
                      Str location, Arena *arena, DataFile *out) {
    OWNED(bucket_release) Bucket *home = NULL;
    OWNED(text_close) Text ids = {0};
    char path[PATH_MAX], uuid[UUID_SIZE];
    duckdb_result result;
    CHECK_OK(bucket_find(lake->buckets, bucket, &home, &err));
    CHECK_OK(store_staging(bucket_store(home), path, &err));
    for (size_t i = 0; i < schema->len; i++) {
        text_print(&ids, "%s\"%.*s\":", i ? ", " : "", SHOW(schema->fields[i].name));
        lake_ids(&schema->fields[i], &ids);
    }
    Str copy =
        arena_print(arena, "COPY (%s) TO '%s' (FORMAT parquet, FIELD_IDS {%.*s}, RETURN_STATS)",
                    select, path, SHOW(text_str(&ids)));
    duck_run(arena_cstr(arena, copy), &result);
    duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
    *out = (DataFile){0};
    out->rows = *(int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 1));
    out->bytes = *(int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 2));
    lake_stats(duckdb_data_chunk_get_vector(chunk, 4), schema, out, arena);
    duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_result(&result);
    random_uuid(uuid);
    out->key = arena_print(arena, "%.*s/data/%s.parquet", SHOW(location), uuid);
    CHECK_OK(store_adopt(bucket_store(home), path, out->key, NULL, NULL, &err));
}

/* What ingest does: plan, write, commit. */
__attribute__((unused)) static bool lake_ingest(Lake *lake, const char *name, CommitMode mode,
                                                const char *select, int64_t *version) {
    OWNED(arena_close) Arena arena = {0};
    Schema wanted = lake_schema(select, &arena);
    const Schema *schema;
    DataFile file;
    Str bucket, location;
    if (!catalog_plan(lake->catalog, str_from(name), mode, (Str){0}, &wanted, &arena, &schema,
                      &bucket, &location, &err))
        return false;
    lake_file(lake, select, schema, bucket, location, &arena, &file);
    Commit commit = {
        .dataset = str_from(name),
        .mode = mode,
        .schema = schema,
        .files = &file,
        .file_count = 1,
        .lineage = {.source_system = "query",
                    .source = str_from(select),
                    .rows = file.rows,
                    .bytes = file.bytes,
                    .at_ms = clock_now_ms()}
    };
    return catalog_commit(lake->catalog, &commit, version, &err);
}

/* SELECT `what` over the files of a version of a dataset, read by field id. */
__attribute__((unused)) static int64_t lake_read(Lake *lake, const char *name, int64_t version,
                                                 const char *what) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(table_release) Table *table = NULL;
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(text_close) Text sql = {0};
    const DataFile *files;
    size_t count;
    CHECK_OK(catalog_load(lake->catalog, str_from(name), version, &table, &err));
    CHECK_OK(table_files(table, &files, &count, &err));
    CHECK_OK(bucket_find(lake->buckets, table_bucket(table), &bucket, &err));
    text_print(&sql, "SELECT %s FROM read_parquet([", what);
    for (size_t i = 0; i < count; i++) {
        OWNED(local_file_close) LocalFile *file = NULL;
        CHECK_OK(
            store_local_file(bucket_store(bucket), files[i].key, LOCAL_WHOLE, true, &file, &err));
        text_print(&sql, "%s'%s'", i ? ", " : "", local_file_path(file));
    }
    text_print(&sql, "], schema=MAP{");
    const Schema *schema = table_schema(table);
    for (size_t i = 0; i < schema->len; i++) {
        Str type = type_sql(&schema->fields[i].type, &arena);
        text_print(&sql, "%s%d:{name:'%.*s',type:'%.*s',default_value:NULL}", i ? ", " : "",
                   schema->fields[i].id, SHOW(schema->fields[i].name), SHOW(type));
    }
    text_add(&sql, STR("})"));
    return count ? duck_int(arena_cstr(&arena, text_str(&sql))) : 0;
}
