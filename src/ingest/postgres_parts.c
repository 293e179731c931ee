/* Parts of a table: ranges of its pages, by TID range scans. A table that has partitions, or that
 * others inherit from, is cut as if their pages lay one after the other: a part reads some of them
 * whole and one or two in part.
 *
 *     SELECT q.c1 FROM (SELECT "id" AS c1, ctid FROM ONLY "s"."p1") AS q WHERE q.ctid >= '(500,0)'
 *     UNION ALL SELECT q.c1 FROM (SELECT "id" AS c1, ctid FROM ONLY "s"."p2") AS q
 *
 * With one snapshot for all, each row lies in one part: the sizes are asked for after the snapshot
 * was taken, so that what it shows lies below them. Columns go by name, since a partition may have
 * them in another order. */
#include "ingest/postgres.h"

#include <string.h>

#define PAGES_MIN 2000        /* below, a second connection costs more than it saves */
#define TID_RANGE_SCAN 140000 /* before this version each part would read the whole table */

/* Whoever may read a parent may not read its partitions by name, and policies on a parent's rows do
 * not hold there. */
static const char find_pieces[] =
    "WITH RECURSIVE tree(oid) AS (SELECT $1::oid UNION SELECT i.inhrelid "
    "FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent = t.oid WHERE NOT "
    "i.inhdetachpending) "
    "SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int, "
    "c.relkind IN ('r', 'm', 'p'), NOT row_security_active(c.oid) "
    "AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') "
    "FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY c.oid";

static bool is_true(const PGresult *result, int row, int column) {
    return *PQgetvalue(result, row, column) == 't';
}

static void add_piece(PgConn *conn, const PGresult *result, int row, Arena *arena, PgPlan *plan) {
    Str space = pg_quoted(conn, PQgetvalue(result, row, 0), arena);
    Str name = pg_quoted(conn, PQgetvalue(result, row, 1), arena);
    int64_t pages = pg_number_at(result, row, 2);
    if (pages == 0) return;
    plan->pieces[plan->piece_count++] =
        (PgPiece){arena_print(arena, "%.*s.%.*s", SHOW(space), SHOW(name)), pages};
    plan->pages += pages;
}

static void set_names(PgConn *conn, Arena *arena, PgPlan *plan) {
    OWNED(text_close) Text names = {0};
    for (size_t i = 0; i < plan->count; i++) {
        Str name = pg_quoted(conn, arena_cstr(arena, plan->columns[i].name), arena);
        text_print(&names, "%.*s AS c%zu, ", SHOW(name), i + 1);
    }
    plan->piece_names = arena_copy(arena, text_str(&names));
}

bool pg_plan_pieces(PgConn *conn, Str oid, Arena *arena, PgPlan *plan, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    const char *params[] = {oid.data};
    if (PQserverVersion(conn->pg) < TID_RANGE_SCAN) return true;
    if (!pgconn_run(conn, find_pieces, params, 1, &result, err)) return false;
    int count = PQntuples(result);
    for (int i = 0; i < count; i++)
        if (!is_true(result, i, 3) || (count > 1 && !is_true(result, i, 4))) return true;
    plan->pieces = arena_array(arena, PgPiece, count);
    for (int i = 0; i < count; i++) add_piece(conn, result, i, arena, plan);
    set_names(conn, arena, plan);
    return true;
}

size_t pg_plan_parts(const PgPlan *plan, int64_t wanted) {
    if (plan->pages <= PAGES_MIN || wanted < 1) return 1;
    return (size_t)MIN(wanted, SOURCE_PARTS_MAX);
}

/* Pages from..to of a piece; to the ends of it without a bound. */
static void add_range(const PgPlan *plan, const PgPiece *piece, int64_t from, int64_t to,
                      Text *sql) {
    const char *joint = " WHERE";
    text_print(sql, "%.*s FROM (SELECT %.*sctid FROM ONLY %.*s) AS q", SHOW(plan->values),
               SHOW(plan->piece_names), SHOW(piece->sql));
    if (from > 0) {
        text_print(sql, "%s q.ctid >= '(%lld,0)'", joint, (long long)from);
        joint = " AND";
    }
    if (to < piece->pages) text_print(sql, "%s q.ctid < '(%lld,0)'", joint, (long long)to);
}

static void add_pieces(const PgPlan *plan, int64_t from, int64_t to, Text *sql) {
    const char *joint = "";
    int64_t first = 0; /* page of the piece, among those of all */
    for (size_t i = 0; i < plan->piece_count; i++) {
        const PgPiece *piece = &plan->pieces[i];
        int64_t low = MAX(from - first, 0), high = MIN(to - first, piece->pages);
        first += piece->pages;
        if (low >= high) continue;
        text_print(sql, "%s", joint);
        add_range(plan, piece, low, high, sql);
        joint = " UNION ALL ";
    }
}

const char *pg_plan_copy(const PgPlan *plan, size_t part, size_t parts, Arena *arena) {
    OWNED(text_close) Text sql = {0};
    text_add(&sql, STR("COPY ("));
    if (parts > 1)
        add_pieces(plan, plan->pages * (int64_t)part / (int64_t)parts,
                   plan->pages * (int64_t)(part + 1) / (int64_t)parts, &sql);
    else
        text_print(&sql, "%.*s%.*s", SHOW(plan->select), SHOW(plan->ending));
    text_add(&sql, STR(") TO STDOUT (FORMAT binary)"));
    return arena_cstr(arena, text_str(&sql));
}
