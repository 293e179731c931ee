/* What a user's SQL may say. Two walls, because each alone has holes:
 *
 * 1. This file. The statement is parsed (and no more) by DuckDB's json_serialize_sql, and the tree
 *    is walked: exactly one SELECT; tables are CTEs or plain names, which only resolve.c answers,
 *    with datasets; table functions come from a short list; functions that reach out of the query
 *    (settings, logs, sleep, SQL in a text) are refused. Statement kinds are no help: a PRAGMA and
 *    `CALL enable_logging` count as SELECT in DuckDB, and EXPLAIN ANALYZE runs what it explains.
 * 2. The sandbox (sandbox.c): an instance without extensions, with locked settings, that can open
 *    files below the warehouses it was opened for and no others. It alone would still let
 *    statements read foreign files of those directories, write there and list settings.
 *
 * There is no rewriting of what is run, with one exception: DuckDB drops the schema of a name that
 * it does not know, so ns.t is spelled "ns$t" AS "t" before it is prepared.
 *
 * Bombs. Functions whose result grows with a number they are given (repeat, lpad, range as a list,
 * printf widths) take constants up to a bound only, and a replacement is short: DuckDB's memory
 * limit does not count strings inside a batch. What multiplies texts otherwise (s || s over many
 * rows) is held by memory_bound in engine.c: the allocation fails, the query ends with
 * "memory_limit", and the instance lives on. Everything else is held by the time limit and DuckDB's
 * memory limit. A single call over a text of many megabytes is not interrupted half-way. */
#include "query/engine.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define RENAMES_MAX 64

typedef struct Rename { /* ns.t in the text */
    size_t from, to;
    Str name, alias;
} Rename;

typedef struct Policy {
    Str sql;
    Rename renames[RENAMES_MAX];
    size_t rename_count;
    Shape *shape;
    Arena *arena;
    Err *err;
} Policy;

static bool forbid(Policy *p, const Json *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool forbid(Policy *p, const Json *node, const char *format, ...) {
    va_list args;
    va_start(args, format);
    Str why = arena_vprint(p->arena, format, args);
    va_end(args);
    int64_t at = json_get_int(node, "query_location", -1);
    if (at < 0 || (uint64_t)at >= p->sql.len)
        return err_code(p->err, LH_DENIED, "sql_forbidden", "%.*s", SHOW(why));
    sql_error_at(p->sql, (size_t)at, why, p->err);
    p->err->kind = LH_DENIED;
    p->err->code = "sql_forbidden";
    return false;
}

static bool is_one_of(Str name, const char *const *list) {
    for (; *list; list++)
        if (str_equal_nocase(name, str_from(*list))) return true;
    return false;
}

static bool starts_nocase(Str name, const char *prefix) {
    Str wanted = str_from(prefix);
    return str_equal_nocase(str_slice(name, 0, wanted.len), wanted);
}

static bool starts_with_one_of(Str name, const char *const *list) {
    for (; *list; list++)
        if (starts_nocase(name, *list)) return true;
    return false;
}

/* Names that DuckDB answers itself, before anybody is asked. */
static bool is_reserved(Str name) {
    static const char *const prefixes[] = {"duckdb_",   "pg_",       "sqlite_", "pragma_",
                                           "lake_scan", "lake_rows", NULL};
    return starts_with_one_of(name, prefixes);
}

/* A letter or an underscore, then letters, digits, underscores, and bytes above ASCII: no name that
 * DuckDB could take for a file. */
static bool is_plain_name(Str name) {
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        bool letter = isalpha(c) || c == '_' || c >= 0x80;
        if (!letter && !(i > 0 && (isdigit(c) || c == ' '))) return false;
    }
    return name.len > 0;
}

/* A WITH that is out of scope where its name is used must not let the name mean something of
 * DuckDB's own. */
static bool check_cte(Policy *p, Str name) {
    if (is_plain_name(name) && !is_reserved(name)) return true;
    return forbid(p, NULL, "a WITH may not be named '%.*s'", SHOW(name));
}

static bool check_ctes(Policy *p, const Json *node) {
    const Json *map = json_get(json_get(node, "cte_map"), "map");
    for (size_t i = 0; map && map->kind == JSON_ARRAY && i < map->len; i++)
        if (!check_cte(p, json_get_text(&map->items[i], "key", (Str){0}))) return false;
    const Json *name = json_get(node, "cte_name");
    if (name && name->kind == JSON_TEXT && name->text.len && !check_cte(p, name->text))
        return false;
    if (node->kind != JSON_ARRAY && node->kind != JSON_OBJECT) return true;
    for (size_t i = 0; i < node->len; i++)
        if (!check_ctes(p, &node->items[i])) return false;
    return true;
}

/* Past one identifier, quoted or not, and the spaces and comments behind it. */
static size_t skip_name(Str sql, size_t at) {
    if (at < sql.len && sql.data[at] == '"') {
        for (at++; at < sql.len; at++) {
            if (sql.data[at] != '"') continue;
            if (at + 1 >= sql.len || sql.data[at + 1] != '"') return at + 1;
            at++;
        }
        return at;
    }
    while (at < sql.len && (isalnum((unsigned char)sql.data[at]) || sql.data[at] == '_' ||
                            sql.data[at] == '$' || (unsigned char)sql.data[at] >= 0x80))
        at++;
    return at;
}

static size_t skip_blank(Str sql, size_t at) {
    while (at < sql.len && isspace((unsigned char)sql.data[at])) at++;
    return at;
}

/* ns.t as written. Comments between its parts are legal SQL that nobody writes: refused. */
static bool add_rename(Policy *p, const Json *node, Str schema, Str table) {
    int64_t location = json_get_int(node, "query_location", -1);
    if (location < 0 || (uint64_t)location >= p->sql.len || p->rename_count == RENAMES_MAX)
        return forbid(p, node, "'%.*s.%.*s' cannot be read here", SHOW(schema), SHOW(table));
    size_t from = (size_t)location;
    size_t dot = skip_blank(p->sql, skip_name(p->sql, from));
    if (dot >= p->sql.len || p->sql.data[dot] != '.')
        return forbid(p, node, "'%.*s.%.*s' must be written without comments", SHOW(schema),
                      SHOW(table));
    bool aliased = json_get_text(node, "alias", (Str){0}).len > 0;
    p->renames[p->rename_count++] = (Rename){
        from, skip_name(p->sql, skip_blank(p->sql, dot + 1)),
        arena_print(p->arena, "%.*s$%.*s", SHOW(schema), SHOW(table)), aliased ? (Str){0} : table};
    return true;
}

static bool check_table(Policy *p, const Json *node) {
    static const char *const schemas[] = {"information_schema", "system", "temp", "memory", NULL};
    Str table = json_get_text(node, "table_name", (Str){0});
    Str schema = json_get_text(node, "schema_name", (Str){0});
    const Json *at = json_get(node, "at_clause");
    if (json_get_text(node, "catalog_name", (Str){0}).len)
        return forbid(p, node, "only datasets can be read, not '%.*s'", SHOW(table));
    if (at && at->kind != JSON_NULL)
        return forbid(p, node, "AT is not read: name the version in 'as_of'");
    if (!is_plain_name(table) || is_reserved(table) || is_reserved(schema) ||
        is_one_of(schema, schemas) || (schema.len && !is_plain_name(schema)))
        return forbid(p, node, "only datasets can be read, not '%.*s'", SHOW(table));
    p->shape->tables++;
    p->shape->table = table;
    if (schema.len && !str_equal_nocase(schema, STR("main")))
        return p->shape->table = (Str){0}, add_rename(p, node, schema, table);
    return true;
}

static bool check_function(Policy *p, const Json *node, bool as_list) {
    static const char *const prefixes[] = {"__",
                                           "duckdb_",
                                           "pg_get",
                                           "enable_",
                                           "disable_",
                                           "json_serialize",
                                           "json_deserialize",
                                           "json_execute",
                                           "read_",
                                           "lake_",
                                           NULL};
    static const char *const names[] = {"write_log",
                                        "sleep_ms",
                                        "pg_sleep",
                                        "current_setting",
                                        "getvariable",
                                        "nextval",
                                        "currval",
                                        "setseed",
                                        "stats",
                                        "query",
                                        "query_table",
                                        "current_query",
                                        "in_search_path",
                                        "txid_current",
                                        "parse_duckdb_log_message",
                                        "getenv",
                                        "glob",
                                        "which_secret",
                                        "inet_server_addr",
                                        "inet_client_addr",
                                        "error",
                                        "current_connection_id",
                                        "pg_conf_load_time",
                                        "pg_postmaster_start_time",
                                        "copy_database",
                                        NULL};
    Str name = json_get_text(node, "function_name", (Str){0});
    if (is_one_of(name, names) || starts_with_one_of(name, prefixes))
        return forbid(p, node, "the function %.*s() is not available", SHOW(name));
    Str schema = json_get_text(node, "schema", (Str){0});
    Str catalog = json_get_text(node, "catalog", (Str){0});
    /* [1, 2] is main.list_value(1, 2) */
    if ((schema.len && !str_equal_nocase(schema, STR("main"))) || catalog.len)
        return forbid(p, node, "functions are called by their plain name, not '%.*s.%.*s'",
                      SHOW(schema), SHOW(name));
    const Json *arguments = json_get(node, "children");
    if (!arguments || arguments->kind != JSON_ARRAY) return true;
    Str why = growth_refusal(name, arguments, as_list, p->arena);
    return why.len == 0 || forbid(p, node, "%.*s", SHOW(why));
}

static bool walk(Policy *p, const Json *node);

static bool walk_children(Policy *p, const Json *node) {
    if (node->kind != JSON_ARRAY && node->kind != JSON_OBJECT) return true;
    for (size_t i = 0; i < node->len; i++)
        if (!walk(p, &node->items[i])) return false;
    return true;
}

static bool check_table_function(Policy *p, const Json *node) {
    static const char *const allowed[] = {"range",     "generate_series", "unnest", "json_each",
                                          "json_tree", "vector_search",   NULL};
    const Json *function = json_get(node, "function");
    Str name = json_get_text(function, "function_name", (Str){0});
    if (!is_one_of(name, allowed) || !check_function(p, function, false))
        return forbid(p, node, "the table function %.*s() is not available", SHOW(name));
    return walk_children(p, function);
}

/* What a FROM may hold; a kind that this list does not know is refused. */
static bool is_table_ref(const Json *node) {
    return json_get(node, "sample") && json_get(node, "alias");
}

static void note_shape(Shape *shape, const Json *node, Str type) {
    static const char *const growing[] = {"JOIN",  "TABLE_FUNCTION",     "SET_OPERATION_NODE",
                                          "PIVOT", "RECURSIVE_CTE_NODE", "EXPRESSION_LIST",
                                          NULL};
    const Json *where = json_get(node, "where_clause"),
               *groups = json_get(node, "group_expressions");
    Str function = json_get_text(node, "function_name", (Str){0});
    if ((where && where->kind != JSON_NULL) || (groups && groups->len > 0)) shape->narrows = true;
    if (is_one_of(type, growing) || str_equal_nocase(function, STR("unnest"))) shape->grows = true;
    if (str_is(type, "VALUE_PARAMETER")) shape->parameters = true;
}

static bool walk(Policy *p, const Json *node) {
    static const char *const refs[] = {"SUBQUERY",        "JOIN",  "EMPTY",
                                       "EXPRESSION_LIST", "PIVOT", NULL};
    if (node->kind != JSON_OBJECT) return walk_children(p, node);
    Str type = json_get_text(node, "type", (Str){0});
    note_shape(p->shape, node, type);
    if (str_is(type, "BASE_TABLE") && !check_table(p, node)) return false;
    if (str_is(type, "TABLE_FUNCTION")) return check_table_function(p, node);
    if (str_is(type, "SHOW_REF"))
        return forbid(p, node,
                      "SHOW, DESCRIBE and SUMMARIZE are not available; "
                      "GET /catalog/datasets/NAME has a dataset's columns");
    if (is_table_ref(node) && !str_is(type, "BASE_TABLE") && !is_one_of(type, refs))
        return forbid(p, node, "a FROM may not hold %.*s", SHOW(type));
    if (json_get(node, "function_name") && !check_function(p, node, true)) return false;
    return walk_children(p, node);
}

static int by_place(const void *a, const void *b) {
    const Rename *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static void apply_renames(Policy *p, Text *out) {
    size_t done = 0;
    qsort(p->renames, p->rename_count, sizeof *p->renames, by_place);
    for (size_t i = 0; i < p->rename_count; i++) {
        const Rename *rename = &p->renames[i];
        if (rename->from < done) continue; /* the same place, named twice by the tree */
        text_add(out, str_slice(p->sql, done, rename->from));
        sql_quote_name(out, rename->name);
        if (rename->alias.len) {
            text_add(out, STR(" AS "));
            sql_quote_name(out, rename->alias);
        }
        done = rename->to;
    }
    text_add(out, str_slice(p->sql, done, p->sql.len));
}

static bool syntax_error(Str sql, const Json *answer, Err *err) {
    uint64_t position;
    Str message = json_get_text(answer, "error_message", STR("not valid SQL"));
    Str kind = json_get_text(answer, "error_type", (Str){0});
    if (str_is(kind, "not implemented"))
        return err_code(err, LH_DENIED, "sql_forbidden",
                        "only one SELECT is accepted (a PIVOT needs its IN list)");
    if (str_to_u64(json_get_text(answer, "position", (Str){0}), &position))
        return sql_error_at(sql, position, message, err);
    return err_code(err, LH_INVALID, "sql_error", "%.*s", SHOW(message));
}

/* The same text within the statement, which outlives the tree; empty when it is written otherwise.
 */
static Str find_text(Str sql, Str name) {
    size_t at;
    return str_find(sql, name, &at) ? str_slice(sql, at, at + name.len) : (Str){0};
}

bool policy_walk(Str ast, Str sql, Text *out, Shape *shape, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *answer;
    Err unread;
    if (!json_read(ast, &arena, &answer, &unread))
        return err_code(err, LH_DENIED, "sql_forbidden", "the statement is nested too deeply");
    if (json_get_flag(answer, "error", true)) return syntax_error(sql, answer, err);
    const Json *statements = json_get(answer, "statements");
    if (!statements || statements->kind != JSON_ARRAY || statements->len != 1)
        return err_code(err, LH_DENIED, "sql_forbidden", "exactly one SELECT is accepted, not %zu",
                        statements && statements->kind == JSON_ARRAY ? statements->len : 0);
    Policy policy = {.sql = sql, .shape = shape, .arena = &arena, .err = err};
    if (!check_ctes(&policy, statements) || !walk(&policy, statements)) return false;
    apply_renames(&policy, out);
    shape->table = shape->tables == 1 ? find_text(sql, shape->table) : (Str){0};
    return true;
}

static bool check_text(Str sql, Err *err) {
    if (sql.len > SQL_SIZE_MAX)
        return err_code(err, LH_TOO_BIG, "sql_too_long", "the statement has %zu bytes, at most %d",
                        sql.len, SQL_SIZE_MAX);
    if (sql.len && memchr(sql.data, 0, sql.len))
        return err_code(err, LH_INVALID, "sql_error", "the statement holds a NUL byte");
    if (!str_is_utf8(sql))
        return err_code(err, LH_INVALID, "sql_error", "the statement is not UTF-8");
    if (str_trim(sql).len == 0)
        return err_code(err, LH_INVALID, "sql_error", "the statement is empty");
    return true;
}

static bool serialize(Conn *conn, Str sql, duckdb_result *result, Str *ast) {
    if (duckdb_bind_varchar_length(conn->serialize, 1, sql.data, sql.len) != DuckDBSuccess ||
        duckdb_execute_prepared(conn->serialize, result) != DuckDBSuccess)
        return false;
    duckdb_data_chunk chunk = duckdb_fetch_chunk(*result);
    if (!chunk) return false;
    Cells cells = {0};
    cells_load(&cells, duckdb_data_chunk_get_vector(chunk, 0));
    Str text = cell_str(&cells, 0);
    char *copy = malloc(text.len + 1); /* the chunk goes */
    if (!copy) abort();
    memcpy(copy, text.data, text.len);
    *ast = (Str){copy, text.len};
    duckdb_destroy_data_chunk(&chunk);
    return true;
}

bool policy_check(Conn *conn, Str sql, Text *out, Shape *shape, Err *err) {
    duckdb_result result = {0};
    Str ast = {0};
    if (!check_text(sql, err)) return false;
    bool ok = serialize(conn, sql, &result, &ast);
    if (!ok) sql_error(duckdb_result_error(&result), sql, err);
    duckdb_destroy_result(&result);
    if (ok) ok = policy_walk(ast, sql, out, shape, err);
    free((char *)ast.data);
    return ok;
}
