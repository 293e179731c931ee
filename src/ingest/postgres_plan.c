/* From a request to statements. Names are looked up in the catalog, as parameters, and what the
 * catalog answers is quoted. Whatever is read, it is one relation whose columns are called c1, c2,
 * ..., so that a query may give a column any name:
 *
 *     SELECT q.c1, q.c2::text FROM "public"."t" AS q(c1, c2) WHERE q.ctid < '(500,0)'
 *
 * A user's query is first described alone: the extended protocol takes one statement, which must
 * give rows. Only then it is put into parentheses. Parts are postgres_parts.c's. */
#include "ingest/postgres.h"

#include <stdlib.h>
#include <string.h>

/* What is read. */

typedef struct Relation {
    Str sql;   /* that a FROM takes */
    Str alone; /* a statement whose description has its columns */
    Str shown;
    Str oid; /* empty: a query */
    int64_t rows_estimate;
} Relation;

Str pg_quoted(PgConn *conn, const char *name, Arena *arena) {
    char *text = PQescapeIdentifier(conn->pg, name, strlen(name));
    Str out = text ? arena_copy(arena, str_from(text)) : (Str){0};
    PQfreemem(text);
    return out;
}

static bool has_nul(Str text) {
    return text.len > 0 && memchr(text.data, 0, text.len) != NULL;
}

/* A name that is visible without its schema goes before schema.name: names may hold dots. */
static const char find_table[] =
    "SELECT n.nspname, c.relname, c.reltuples::bigint, c.oid "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND "
    "(n.nspname || '.' || c.relname = $1 OR (c.relname = $1 AND pg_table_is_visible(c.oid))) "
    "ORDER BY (c.relname = $1 AND pg_table_is_visible(c.oid)) DESC LIMIT 2";

static bool from_table(PgConn *conn, Str table, Arena *arena, Relation *out, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    const char *params[] = {arena_cstr(arena, table)};
    if (!pgconn_run(conn, find_table, params, 1, &result, err)) return false;
    if (PQntuples(result) == 0)
        return err_code(err, LH_INVALID, "table_not_found",
                        "the database has no table '%.*s' that this user can see: a name is "
                        "table or schema.table, spelled as the catalog has it",
                        (int)MIN(table.len, (size_t)200), table.data);
    const char *space = PQgetvalue(result, 0, 0), *name = PQgetvalue(result, 0, 1);
    Str first = pg_quoted(conn, space, arena), second = pg_quoted(conn, name, arena);
    out->sql = arena_print(arena, "%.*s.%.*s", SHOW(first), SHOW(second));
    out->alone = arena_print(arena, "SELECT * FROM %.*s", SHOW(out->sql));
    out->shown = arena_print(arena, "%s.%s", space, name);
    out->rows_estimate = pg_number_at(result, 0, 2);
    out->oid = arena_copy(arena, str_from(PQgetvalue(result, 0, 3)));
    return true;
}

/* The newline ends a comment that the query may end with. */
static void from_query(Str query, Arena *arena, Relation *out) {
    query = str_trim(query);
    while (str_ends(query, STR(";"))) query = str_trim(str_slice(query, 0, query.len - 1));
    out->sql = arena_print(arena, "(%.*s\n)", SHOW(query));
    out->alone = query;
    out->rows_estimate = -1;
}

/* Its columns. */

/* As arrays: types, typmods, and the table columns that they come from. Of an array's element the
 * domains are seen through. int2vector and oidvector are nobody's typarray. */
static const char describe_types[] =
    "SELECT t.typname, tn.nspname, t.typtype, format_type(q.type, q.mod), coalesce(a.attndims, 0), "
    "e.oid, e.typname, en.nspname, e.typtype, e.mod, scale(1::money::numeric), "
    "coalesce(a.attnotnull, false) "
    "FROM unnest($1::oid[], $2::int[], $3::oid[], $4::int[]) WITH ORDINALITY "
    "AS q(type, mod, rel, att, i) "
    "JOIN pg_catalog.pg_type t ON t.oid = q.type "
    "JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace "
    "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = q.rel AND a.attnum = q.att "
    "LEFT JOIN LATERAL (WITH RECURSIVE d(oid, mod) AS ("
    "SELECT p.oid, q.mod FROM pg_catalog.pg_type p WHERE p.typarray = q.type "
    "OR (q.type IN (22, 30) AND p.oid = t.typelem) "
    "UNION ALL SELECT p.typbasetype, p.typtypmod FROM d JOIN pg_catalog.pg_type p "
    "ON p.oid = d.oid WHERE p.typtype = 'd') "
    "SELECT p.oid, p.typname, p.typnamespace, p.typtype, d.mod FROM d "
    "JOIN pg_catalog.pg_type p ON p.oid = d.oid WHERE p.typtype <> 'd') e ON true "
    "LEFT JOIN pg_catalog.pg_namespace en ON en.oid = e.typnamespace ORDER BY q.i";

static bool load_types(PgConn *conn, const PGresult *fields, PGresult **out, Err *err) {
    Text params[4] = {0};
    const char *values[4];
    for (int i = 0; i < PQnfields(fields); i++) {
        const char *before = i ? "," : "{";
        text_print(&params[0], "%s%u", before, PQftype(fields, i));
        text_print(&params[1], "%s%d", before, PQfmod(fields, i));
        text_print(&params[2], "%s%u", before, PQftable(fields, i));
        text_print(&params[3], "%s%d", before, PQftablecol(fields, i));
    }
    for (int i = 0; i < 4; i++) {
        text_print(&params[i], "}");
        text_add_byte(&params[i], 0);
        values[i] = params[i].data;
    }
    bool ok = pgconn_run(conn, describe_types, values, 4, out, err);
    for (int i = 0; i < 4; i++) text_close(&params[i]);
    return ok;
}

static Str text_at(const PGresult *result, int row, int column, Arena *arena) {
    return arena_copy(arena, str_from(PQgetvalue(result, row, column)));
}

static PgDeclared declared_at(const PGresult *types, const PGresult *fields, int i, Arena *arena) {
    return (PgDeclared){
        .oid = PQftype(fields, i),
        .typmod = PQfmod(fields, i),
        .name = text_at(types, i, 0, arena),
        .space = text_at(types, i, 1, arena),
        .kind = *PQgetvalue(types, i, 2),
        .text = text_at(types, i, 3, arena),
        .dimensions = (int)pg_number_at(types, i, 4),
        .element = (unsigned)pg_number_at(types, i, 5),
        .element_name = text_at(types, i, 6, arena),
        .element_space = text_at(types, i, 7, arena),
        .element_kind = *PQgetvalue(types, i, 8),
        .element_typmod = PQgetisnull(types, i, 9) ? -1 : (int)pg_number_at(types, i, 9),
        .money_digits = (int)pg_number_at(types, i, 10),
    };
}

static PgColumn *find_column(const PgPlan *plan, Str name) {
    for (size_t i = 0; i < plan->count; i++)
        if (str_equal(plan->columns[i].name, name)) return &plan->columns[i];
    return NULL;
}

static bool map_columns(PgConn *conn, const PGresult *fields, const SourceRequest *request,
                        Arena *arena, PgPlan *plan, Err *err) {
    OWNED(pgresult_close) PGresult *types = NULL;
    int count = PQnfields(fields);
    if (!load_types(conn, fields, &types, err)) return false;
    if (PQntuples(types) != count)
        return err_set(err, LH_CORRUPT, "the database's catalog does not know all of its types");
    plan->columns = arena_array(arena, PgColumn, count);
    for (int i = 0; i < count; i++) {
        PgDeclared declared = declared_at(types, fields, i, arena);
        Str name = arena_copy(arena, str_from(PQfname(fields, i)));
        if (find_column(plan, name))
            return err_code(err, LH_INVALID, "source_refused",
                            "the query gives two columns named '%.*s': name one of them otherwise",
                            SHOW(name));
        plan->columns[i].name = name;
        plan->columns[i].not_null = *PQgetvalue(types, i, 11) == 't';
        pg_map(&declared, request->mapping, arena, &plan->columns[i]);
        plan->count++;
    }
    return true;
}

static bool override_types(const Json *types, Arena *arena, PgPlan *plan, Err *err) {
    if (!types) return true;
    if (types->kind != JSON_OBJECT)
        return err_set(err, LH_INVALID, "types is an object: {\"column\": \"SQL type\"}");
    for (size_t i = 0; i < types->len; i++) {
        const Json *item = &types->items[i];
        PgColumn *column = find_column(plan, item->name);
        if (!column || item->kind != JSON_TEXT)
            return err_set(err, LH_INVALID, "types: '%.*s' %s", SHOW(item->name),
                           column ? "has no text for its type" : "is no column of the source");
        if (!pg_map_to(item->text, arena, column, err))
            return err_while(err, "types: '%.*s'", SHOW(item->name));
    }
    return true;
}

/* Statements. */

static void add_select(const PgPlan *plan, Text *sql) {
    text_add(sql, STR("SELECT "));
    for (size_t i = 0; i < plan->count; i++) {
        const PgColumn *column = &plan->columns[i];
        text_print(sql, "%s%.*sq.c%zu%.*s", i ? ", " : "", SHOW(column->before), i + 1,
                   SHOW(column->after));
    }
}

static void add_from(const PgPlan *plan, const Relation *relation, Text *sql) {
    text_print(sql, " FROM %.*s AS q(", SHOW(relation->sql));
    for (size_t i = 0; i < plan->count; i++) text_print(sql, "%sc%zu", i ? ", " : "", i + 1);
    text_add(sql, STR(")"));
}

/* In the order of the cursor, whose last value is then the greatest. NULLs come first: a run that
 * is interrupted goes on after a value. */
static bool add_cursor(PgConn *conn, const SourceRequest *request, Arena *arena, PgPlan *plan,
                       Err *err) {
    const PgColumn *column = find_column(plan, request->cursor);
    if (!column)
        return err_code(err, LH_INVALID, "source_refused",
                        "the incremental column '%.*s' is no column of the source",
                        (int)MIN(request->cursor.len, (size_t)200), request->cursor.data);
    size_t number = (size_t)(column - plan->columns) + 1;
    OWNED(text_close) Text ending = {0};
    if (request->after.len) {
        char *after = PQescapeLiteral(conn->pg, request->after.data, request->after.len);
        if (!after) return err_set(err, LH_INVALID, "the value to go on after is not valid UTF-8");
        text_print(&ending, " WHERE q.c%zu >= %s", number, after);
        PQfreemem(after);
    }
    bool may_be_null = !column->not_null && request->after.len == 0;
    text_print(&ending, " ORDER BY q.c%zu%s", number, may_be_null ? " NULLS FIRST" : "");
    plan->ending = arena_copy(arena, text_str(&ending));
    plan->has_last = true;
    return true;
}

static void make_values(const PgPlan *plan, Str cursor, Text *out) {
    add_select(plan, out);
    if (plan->has_last)
        text_print(out, ", q.c%zu::text", (size_t)(find_column(plan, cursor) - plan->columns) + 1);
}

/* A parent's key says nothing of the rows of the tables that inherit from it. */
static const char find_key[] =
    "SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid "
    "CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(att, n) "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.att "
    "WHERE i.indrelid = $1::oid AND i.indisprimary AND i.indisvalid AND k.n <= i.indnkeyatts "
    "AND (c.relkind = 'p' OR NOT c.relhassubclass) ORDER BY k.n";

static bool load_key(PgConn *conn, Str oid, Arena *arena, PgPlan *plan, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    const char *params[] = {oid.data};
    if (!pgconn_run(conn, find_key, params, 1, &result, err)) return false;
    plan->key_count = (size_t)PQntuples(result);
    plan->key = arena_array(arena, Str, plan->key_count + 1);
    for (size_t i = 0; i < plan->key_count; i++) plan->key[i] = text_at(result, (int)i, 0, arena);
    return true;
}

/* Whether the server takes it: casts that do not exist, a value to go on after that is none. */
static bool check_select(PgConn *conn, const PgPlan *plan, Arena *arena, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    Str sql = arena_print(arena, "%.*s%.*s", SHOW(plan->select), SHOW(plan->ending));
    return pgconn_describe(conn, arena_cstr(arena, sql), &result, err);
}

static bool find_relation(PgConn *conn, const SourceRequest *request, Arena *arena, Relation *out,
                          Err *err) {
    if (has_nul(request->table) || has_nul(request->query) || has_nul(request->cursor) ||
        has_nul(request->after))
        return err_set(err, LH_INVALID, "a NUL stands in what the source is asked for");
    if (request->table.len) return from_table(conn, request->table, arena, out, err);
    from_query(request->query, arena, out);
    return true;
}

static bool check_rows(const PGresult *fields, Err *err) {
    if (PQnparams(fields) > 0)
        return err_code(err, LH_INVALID, "source_refused",
                        "the query has parameters ($1): write their values instead");
    if (PQnfields(fields) == 0)
        return err_code(err, LH_INVALID, "source_refused",
                        "the source gives no columns: a query is one SELECT");
    return true;
}

bool pg_plan(PgConn *conn, const SourceRequest *request, Arena *arena, PgPlan *out, Err *err) {
    OWNED(pgresult_close) PGresult *fields = NULL;
    OWNED(text_close) Text select = {0};
    Relation relation = {0};
    PgPlan plan = {0};
    if (!find_relation(conn, request, arena, &relation, err) ||
        !pgconn_describe(conn, arena_cstr(arena, relation.alone), &fields, err) ||
        !check_rows(fields, err) || !map_columns(conn, fields, request, arena, &plan, err) ||
        !override_types(request->types, arena, &plan, err))
        return false;
    if (request->cursor.len && !add_cursor(conn, request, arena, &plan, err)) return false;
    make_values(&plan, request->cursor, &select);
    plan.values = arena_copy(arena, text_str(&select));
    add_from(&plan, &relation, &select);
    plan.select = arena_copy(arena, text_str(&select));
    plan.table = relation.shown;
    plan.rows_estimate =
        request->after.len || relation.rows_estimate < 0 ? -1 : relation.rows_estimate;
    if (!check_select(conn, &plan, arena, err)) return false;
    bool has_cursor = request->cursor.len > 0;
    if (relation.oid.len && has_cursor && !load_key(conn, relation.oid, arena, &plan, err))
        return false;
    if (relation.oid.len && !has_cursor && request->parallel > 1 &&
        !pg_plan_pieces(conn, relation.oid, arena, &plan, err))
        return false;
    *out = plan;
    return true;
}
