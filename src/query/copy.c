/* Datasets' Parquet files. DuckDB's COPY writes them, each column with its field id, and returns
 * the statistics that the manifest needs: no Parquet is parsed here. */
#include "query/engine.h"

#include <string.h>
#include <sys/stat.h>

/* Level 1: on five million mixed rows 1.2 s and 133 MB, where the default level took 2.0 s for
 * 123 MB (-1: a fifth less of all processor time, and 40 % more bytes). With the limit, a column of
 * many different values is soon known to be none for a dictionary: a twentieth of the time, where
 * most are so, and files as large. Data pages stay version 1, because Iceberg's vectorised reader
 * in Spark refuses the encodings of version 2. */
#define PARQUET_OPTIONS                                                                            \
    "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 8192, "          \
    "USE_TMP_FILE false, RETURN_STATS"

/* A group is held in memory by each thread that makes one: 122,880 rows of 10 KB, as it is by
 * default, would be more than a gigabyte. DuckDB counts bytes only where order does not matter.
 * (An ingest of two million mixed rows by two threads needs 146 MiB of memory, 190 with 16 MiB; the
 * file is 1.5 % larger.) */
#define ROW_GROUP_OPTION ", ROW_GROUP_SIZE_BYTES '8MiB'"

/* DuckDB 1.5.6 asks a Bloom filter for another hash of bytes than it put in, unless they are
 * printable ASCII: `WHERE b = '\xFF'::BLOB` then finds nothing. */
#define BINARY_OPTION ", WRITE_BLOOM_FILTER false"

static bool has_binary(const Field *fields, size_t len) {
    bool has = false;
    for (size_t i = 0; !has && i < len; i++)
        has = fields[i].type.kind == TYPE_BINARY || fields[i].type.kind == TYPE_FIXED ||
              has_binary(fields[i].type.fields, fields[i].type.field_count);
    return has;
}

static void add_field_ids(Text *sql, const Field *field);

static void add_nested_ids(Text *sql, const Field *field) {
    text_print(sql, "{__duckdb_field_id: %d", field->id);
    for (size_t i = 0; i < field->type.field_count; i++) {
        text_add(sql, STR(", "));
        add_field_ids(sql, &field->type.fields[i]);
    }
    text_add_byte(sql, '}');
}

static void add_field_ids(Text *sql, const Field *field) {
    sql_quote_name(sql, field->name);
    text_add(sql, STR(": "));
    if (field->type.field_count)
        add_nested_ids(sql, field);
    else
        text_print(sql, "%d", field->id);
}

/* Every column is cast to its type in the schema: what DuckDB has and Iceberg lacks (HUGEINT, ENUM,
 * arrays of fixed size) must not reach the file. A cast to the same type costs nothing. */
static void add_columns(Text *sql, const Schema *schema, const size_t *order, Arena *arena) {
    for (size_t i = 0; i < schema->len; i++) {
        const Field *field = &schema->fields[order[i]];
        Str type = type_sql(&field->type, arena);
        text_print(sql, "%sc%zu::%.*s AS ", i ? ", " : "", order[i], SHOW(type));
        sql_quote_name(sql, field->name);
    }
}

/* By field id: files of one schema then have one order of columns, whatever order they came in. */
static size_t *order_of(const Schema *schema, Arena *arena) {
    size_t *order = arena_array(arena, size_t, schema->len + 1);
    for (size_t i = 0; i < schema->len; i++) {
        size_t at = i;
        for (; at > 0 && schema->fields[order[at - 1]].id > schema->fields[i].id; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return order;
}

static void make_copy(Text *sql, Str select, const CopyOptions *options, Arena *arena) {
    const Schema *schema = options->schema;
    text_add(sql, STR("COPY (SELECT "));
    add_columns(sql, schema, order_of(schema, arena), arena);
    text_print(sql, " FROM (%.*s\n) AS given(", SHOW(select));
    for (size_t i = 0; i < schema->len; i++) text_print(sql, "%sc%zu", i ? ", " : "", i);
    text_add(sql, STR(")) TO "));
    sql_quote_text(sql, str_from(options->path));
    text_add(sql, STR(" (" PARQUET_OPTIONS));
    if (options->unordered) text_add(sql, STR(ROW_GROUP_OPTION));
    if (has_binary(schema->fields, schema->len)) text_add(sql, STR(BINARY_OPTION));
    text_add(sql, STR(", FIELD_IDS {"));
    for (size_t i = 0; i < schema->len; i++) {
        if (i) text_add(sql, STR(", "));
        add_field_ids(sql, &schema->fields[i]);
    }
    text_add(sql, STR("})"));
}

typedef struct Leaf { /* a column of the file: its dotted path and its field id */
    Str path;
    const Field *field;
} Leaf;

typedef struct Leaves {
    Leaf *items;
    size_t len, cap;
    Arena *arena;
} Leaves;

static void add_path_part(Text *path, Str name) {
    if (path->len) text_add_byte(path, '.');
    sql_quote_name(path, name);
}

static void add_leaves(Leaves *leaves, const Field *field, Str parent) {
    OWNED(text_close) Text path = {0};
    text_add(&path, parent);
    add_path_part(&path, field->name);
    for (size_t i = 0; i < field->type.field_count; i++)
        add_leaves(leaves, &field->type.fields[i], text_str(&path));
    if (field->type.field_count) return;
    if (leaves->len == leaves->cap) {
        size_t cap = leaves->cap ? leaves->cap * 2 : 32;
        Leaf *larger = arena_array(leaves->arena, Leaf, cap);
        if (leaves->len) memcpy(larger, leaves->items, leaves->len * sizeof *larger);
        leaves->items = larger;
        leaves->cap = cap;
    }
    leaves->items[leaves->len++] = (Leaf){arena_copy(leaves->arena, text_str(&path)), field};
}

/* "a"."list"."element" as a dotted path without needless quotes, to compare with what DuckDB
 * writes, whose quoting depends on its keywords. */
static Str bare_path(Str quoted, Arena *arena) {
    char *bare = arena_alloc(arena, quoted.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < quoted.len; i++)
        if (quoted.data[i] != '"') bare[len++] = quoted.data[i];
    return (Str){bare, len};
}

static const Leaf *find_leaf(const Leaves *leaves, Str path, size_t guess, Arena *arena) {
    for (size_t i = 0; i < leaves->len; i++) {
        const Leaf *leaf = &leaves->items[(guess + i) % leaves->len];
        if (str_equal(bare_path(leaf->path, arena), bare_path(path, arena))) return leaf;
    }
    return NULL;
}

static void read_stat(ColumnStats *stats, Str name, Str value, Arena *arena) {
    int64_t number = -1;
    str_to_i64(value, &number);
    if (str_is(name, "column_size_bytes")) stats->size_bytes = number;
    if (str_is(name, "num_values")) stats->value_count = number;
    if (str_is(name, "null_count")) stats->null_count = number;
    if (str_is(name, "has_nan")) stats->has_nan = str_is(value, "true");
    if (str_is(name, "min")) stats->lower = arena_copy(arena, value);
    if (str_is(name, "max")) stats->upper = arena_copy(arena, value);
    stats->has_bounds = stats->lower.data && stats->upper.data;
}

/* column_statistics is MAP(path, MAP(name, value)), all texts. */
static void read_column_stats(const Cells *map, const Leaves *leaves, Arena *arena, DataFile *out) {
    const Cells *paths = &map->children->children[0], *maps = &map->children->children[1];
    const Cells *names = &maps->children->children[0], *values = &maps->children->children[1];
    duckdb_list_entry all = ((const duckdb_list_entry *)map->data)[0];
    out->columns = arena_array(arena, ColumnStats, all.length);
    for (size_t i = 0; i < all.length; i++) {
        const Leaf *leaf = find_leaf(leaves, cell_str(paths, all.offset + i), i, arena);
        if (!leaf) continue;
        ColumnStats *stats = &out->columns[out->column_count++];
        *stats = (ColumnStats){
            .field_id = leaf->field->id, .size_bytes = -1, .value_count = -1, .null_count = -1};
        duckdb_list_entry one = ((const duckdb_list_entry *)maps->data)[all.offset + i];
        for (size_t k = one.offset; k < one.offset + one.length; k++)
            if (!cell_is_null(values, k))
                read_stat(stats, cell_str(names, k), cell_str(values, k), arena);
    }
}

static const Cells *find_cells(const Rows *rows, const char *name) {
    for (size_t i = 0; i < rows->column_count; i++)
        if (str_is(rows->columns[i].name, name)) return &rows->columns[i];
    return NULL;
}

static bool read_stats(Rows *rows, const Schema *schema, Arena *arena, DataFile *out, Err *err) {
    size_t count;
    Leaves leaves = {.arena = arena};
    DataFile file = {0};
    if (!rows_next(rows, &count, err)) return false;
    const Cells *number = find_cells(rows, "count"), *size = find_cells(rows, "file_size_bytes");
    const Cells *columns = find_cells(rows, "column_statistics");
    if (count != 1 || !number || !size || !columns)
        return err_set(err, LH_BUG, "COPY gave no statistics");
    file.rows = ((const int64_t *)number->data)[0];
    file.bytes = ((const int64_t *)size->data)[0];
    for (size_t i = 0; i < schema->len; i++) add_leaves(&leaves, &schema->fields[i], (Str){0});
    read_column_stats(columns, &leaves, arena, &file);
    *out = file;
    return rows_next(rows, &count, err);
}

bool copy_parquet(Engine *engine, Str select, const CopyOptions *options, Arena *arena,
                  DataFile *out, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(text_close) Text sql = {0};
    duckdb_database instance = options->unordered;
    make_copy(&sql, select, options, arena);
    bool ok = instance ? instance_query(engine, instance, text_str(&sql), options->cancelled,
                                        options->context, &rows, err)
                       : engine_run(engine, text_str(&sql), options->cancelled, options->context,
                                    &rows, err);
    return ok && read_stats(rows, options->schema, arena, out, err);
}

bool engine_copy_parquet(Engine *engine, Str select, const Schema *schema, const char *path,
                         bool (*cancelled)(void *), void *context, Arena *arena, DataFile *out,
                         Err *err) {
    const CopyOptions options = {
        .schema = schema, .path = path, .cancelled = cancelled, .context = context};
    return copy_parquet(engine, select, &options, arena, out, err);
}

bool engine_describe(Engine *engine, Str select, Arena *arena, Schema *out, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(text_close) Text sql = {0};
    Schema schema = {0};
    size_t count;
    text_print(&sql, "DESCRIBE (%.*s\n)", SHOW(select));
    if (!engine_run(engine, text_str(&sql), NULL, NULL, &rows, err)) return false;
    schema.fields = arena_array(arena, Field, CATALOG_COLUMNS_MAX);
    for (;;) {
        if (!rows_next(rows, &count, err)) return false;
        if (count == 0) break;
        for (size_t i = 0; i < count; i++) {
            if (schema.len == CATALOG_COLUMNS_MAX)
                return err_code(err, LH_TOO_BIG, "too_many_columns", "at most %d columns are kept",
                                CATALOG_COLUMNS_MAX);
            Field *field = &schema.fields[schema.len++];
            field->name = arena_copy(arena, rows_text(rows, 0, i));
            if (!type_from_sql(rows_text(rows, 1, i), arena, &field->type, err)) return false;
        }
    }
    *out = schema;
    return true;
}
