/* From a request to the statement of each part.
 *
 * All connections stand on one state of the table: while each takes its snapshot, the table (or,
 * where the user may not lock one, the server) is locked against writers, for as long as that takes
 * and no longer than LOCK_WAIT_S is waited for. Without the lock there is one part, which needs
 * none. Parts are ranges of the primary key's first column, which InnoDB keeps its rows in order
 * of; they are cut where the numbers are, not where the rows are. */
#include "ingest/mysql.h"

#include "base/base.h"

#include <string.h>

#define LOCK_WAIT_S "3"
#define CELLS_MAX 8
#define TABLE_NAME_MAX 1000

/* Questions to the catalog. */

typedef struct Answers {
    Str (*rows)[CELLS_MAX];
    size_t count, cap;
} Answers;

static void answers_add(Answers *answers, const Str *cells, size_t count, Arena *arena) {
    if (answers->count == answers->cap) {
        size_t cap = MAX(answers->cap * 2, 16);
        Str(*rows)[CELLS_MAX] = arena_alloc(arena, cap * sizeof *rows);
        if (answers->count) memcpy(rows, answers->rows, answers->count * sizeof *rows);
        answers->rows = rows;
        answers->cap = cap;
    }
    memcpy(answers->rows[answers->count++], cells, count * sizeof *cells);
}

/* Rows of at most CELLS_MAX cells, as text. */
static bool ask(MyConn *conn, Str sql, const Str *params, size_t param_count, Arena *arena,
                Answers *out, Err *err) {
    OWNED(mystmt_close) MYSQL_STMT *stmt = NULL;
    MyColumn *columns;
    Str cells[CELLS_MAX] = {0};
    size_t count;
    Bytes packet;
    bool more;
    *out = (Answers){0};
    if (!myconn_prepare(conn, sql, &stmt, err) ||
        !myconn_execute(conn, stmt, params, param_count, err) || /* types follow parameters */
        !my_columns(stmt, MAPPING_EXACT, arena, &columns, &count, err))
        return false;
    if (count > CELLS_MAX) return err_set(err, LH_BUG, "%zu cells", count);
    for (;;) {
        if (!myconn_row(conn, stmt, &packet, &more, err)) return false;
        if (!more) return true;
        if (!my_row_texts(columns, count, packet, arena, cells, err)) return false;
        answers_add(out, cells, count, arena);
    }
}

/* Names. */

static void add_name(Text *sql, Str name) {
    text_add_byte(sql, '`');
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '`') text_add_byte(sql, '`');
        text_add_byte(sql, name.data[i]);
    }
    text_add_byte(sql, '`');
}

static void add_table(Text *sql, const MyPlan *plan) {
    add_name(sql, plan->schema);
    text_add_byte(sql, '.');
    add_name(sql, plan->table);
}

/* The table. */

typedef struct MyTable {
    bool found, transactional;
    bool key_is_integer; /* the first column of the primary key is */
    Str rows;
} MyTable;

/* As the server spells it: exactly as given first, for servers that tell cases apart. */
static bool look_up(MyConn *conn, Str schema, Str name, Arena *arena, MyPlan *plan, MyTable *table,
                    Err *err) {
    Str sql = STR("SELECT t.table_schema, t.table_name, t.table_rows, e.transactions "
                  "FROM information_schema.tables t "
                  "LEFT JOIN information_schema.engines e ON e.engine = t.engine "
                  "WHERE t.table_schema = ? AND t.table_name = ? "
                  "ORDER BY BINARY t.table_name = ? DESC LIMIT 1");
    Str params[] = {schema, name, name};
    Answers answers;
    if (!ask(conn, sql, params, 3, arena, &answers, err)) return false;
    if (answers.count == 0) return true;
    const Str *row = answers.rows[0];
    plan->schema = row[0];
    plan->table = row[1];
    table->rows = row[2];
    table->transactional = str_is(row[3], "YES");
    return table->found = true;
}

static bool no_table(Str name, Err *err) {
    return err_code(err, LH_INVALID, "table_not_found",
                    "the MySQL server shows this user no table '%.*s'; name it as table or "
                    "schema.table",
                    (int)MIN(name.len, (size_t)200), name.data);
}

/* A name may hold dots itself: first all of it in the dsn's schema, then cut at each dot. */
static bool find_table(MyConn *conn, Str name, Arena *arena, MyPlan *plan, MyTable *table,
                       Err *err) {
    Str database = conn->dsn->database;
    if (name.len > TABLE_NAME_MAX || !str_is_utf8(name)) return no_table(name, err);
    if (database.len && !look_up(conn, database, name, arena, plan, table, err)) return false;
    for (size_t i = 0; i < name.len && !table->found; i++)
        if (name.data[i] == '.' &&
            !look_up(conn, str_slice(name, 0, i), str_slice(name, i + 1, name.len), arena, plan,
                     table, err))
            return false;
    return table->found || no_table(name, err);
}

/* "bigint(20) unsigned" */
static bool is_integer(Str declared) {
    static const char *const integers[] = {"tinyint", "smallint", "mediumint", "int", "bigint"};
    size_t len = 0;
    while (len < declared.len && declared.data[len] >= 'a' && declared.data[len] <= 'z') len++;
    for (size_t i = 0; i < COUNT(integers); i++)
        if (str_is(str_slice(declared, 0, len), integers[i])) return true;
    return false;
}

/* Without a join: MariaDB would look at the columns of all tables (0.1 s on a small server). */
static bool find_key(MyConn *conn, Arena *arena, MyPlan *plan, const Answers *columns,
                     MyTable *table, Err *err) {
    Str sql = STR("SELECT column_name FROM information_schema.statistics WHERE table_schema = ? "
                  "AND table_name = ? AND index_name = 'PRIMARY' ORDER BY seq_in_index");
    Str params[] = {plan->schema, plan->table};
    Answers answers;
    if (!ask(conn, sql, params, 2, arena, &answers, err)) return false;
    if (answers.count == 0) return true;
    plan->key = arena_array(arena, Str, answers.count);
    plan->key_count = answers.count;
    for (size_t i = 0; i < answers.count; i++) plan->key[i] = answers.rows[i][0];
    for (size_t i = 0; i < columns->count; i++)
        if (str_equal(columns->rows[i][0], plan->key[0]))
            table->key_is_integer = is_integer(columns->rows[i][1]);
    return true;
}

/* SELECT * would leave invisible columns out. */
static Str select_table(Arena *arena, const MyPlan *plan, const Answers *columns) {
    OWNED(text_close) Text text = {0};
    text_add(&text, STR("SELECT "));
    for (size_t i = 0; i < columns->count; i++) {
        if (i) text_add(&text, STR(", "));
        add_name(&text, columns->rows[i][0]);
    }
    text_add(&text, STR(" FROM "));
    add_table(&text, plan);
    return arena_copy(arena, text_str(&text));
}

static bool table_columns(MyConn *conn, Arena *arena, const MyPlan *plan, Answers *out, Err *err) {
    Str sql = STR("SELECT column_name, column_type FROM information_schema.columns "
                  "WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position");
    Str params[] = {plan->schema, plan->table};
    if (!ask(conn, sql, params, 2, arena, out, err)) return false;
    return out->count > 0 || no_table(plan->table, err);
}

/* Columns. */

static bool describe(MyConn *conn, Str sql, TypeMapping mapping, Arena *arena, MyPlan *plan,
                     Err *err) {
    OWNED(mystmt_close) MYSQL_STMT *stmt = NULL;
    if (!myconn_prepare(conn, sql, &stmt, err) ||
        !my_columns(stmt, mapping, arena, &plan->columns, &plan->column_count, err))
        return false;
    if (mysql_stmt_param_count(stmt) > 0)
        return err_code(err, LH_INVALID, "source_refused",
                        "the query has a parameter ('?'), and nothing to put there");
    for (size_t i = 0; i < plan->column_count; i++)
        for (size_t j = 0; j < i; j++)
            if (str_equal(plan->columns[i].name, plan->columns[j].name))
                return err_code(err, LH_INVALID, "source_refused",
                                "the query gives two columns named '%.*s'; name one with AS",
                                SHOW(plan->columns[i].name));
    return true;
}

static MyColumn *column_find(const MyPlan *plan, Str name) {
    for (size_t i = 0; i < plan->column_count; i++)
        if (str_equal(plan->columns[i].name, name)) return &plan->columns[i];
    return NULL;
}

static bool no_column(Str name, Err *err) {
    return err_code(err, LH_INVALID, "column_not_found", "the source has no column '%.*s'",
                    (int)MIN(name.len, (size_t)200), name.data);
}

/* Of each column the cast that makes the type the user wants; NULL: none. */
static bool wanted_types(const SourceRequest *request, Arena *arena, MyPlan *plan,
                         const char **casts, Err *err) {
    const Json *types = request->types;
    for (size_t i = 0; types && types->kind == JSON_OBJECT && i < types->len; i++) {
        const Json *one = &types->items[i];
        MyColumn *column = column_find(plan, one->name);
        Type wanted;
        if (!column) return no_column(one->name, err);
        if (one->kind != JSON_TEXT)
            return err_set(err, LH_INVALID, "the type of column '%.*s' is not text",
                           SHOW(one->name));
        const char **cast = &casts[column - plan->columns];
        if (!type_from_sql(one->text, arena, &wanted, err) ||
            !my_cast(column, &wanted, arena, cast, err))
            return false;
        plan->has_casts |= *cast != NULL;
    }
    return true;
}

/* One scan for up to CELLS_MAX columns: whether each holds something else than 0, 1 and NULL. */
static bool ask_booleans(MyConn *conn, Arena *arena, const MyPlan *plan, MyColumn **columns,
                         size_t count, Err *err) {
    OWNED(text_close) Text sql = {0};
    Answers answers;
    text_add(&sql, STR("SELECT "));
    for (size_t i = 0; i < count; i++) {
        text_add(&sql, i ? STR(", MAX(") : STR("MAX("));
        add_name(&sql, columns[i]->name);
        text_add(&sql, STR(" NOT IN (0, 1))"));
    }
    text_add(&sql, STR(" FROM "));
    add_table(&sql, plan);
    if (!ask(conn, text_str(&sql), NULL, 0, arena, &answers, err)) return false;
    for (size_t i = 0; i < count; i++)
        if (answers.count != 1 || str_is(answers.rows[0][i], "1")) my_make_int(columns[i]);
    return true;
}

/* Which of the columns that say tinyint(1) are booleans, in the snapshot that is read. A query's
 * are not asked about: it would run twice. */
static bool settle_booleans(MyConn *conn, Arena *arena, MyPlan *plan, Err *err) {
    MyColumn *asked[CELLS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < plan->column_count; i++) {
        MyColumn *column = &plan->columns[i];
        if (my_is_maybe_boolean(column) && !plan->table.len) my_make_int(column);
        if (my_is_maybe_boolean(column)) asked[count++] = column;
        if (count == CELLS_MAX || (count && i + 1 == plan->column_count)) {
            if (!ask_booleans(conn, arena, plan, asked, count, err)) return false;
            count = 0;
        }
    }
    return true;
}

/* The cursor. */

static const char *cursor_cast(const MyColumn *column) {
    switch (column->shape) {
    case SHAPE_INT:
        return "CAST(? AS SIGNED)";
    case SHAPE_UINT64:
        return "CAST(? AS UNSIGNED)";
    case SHAPE_DECIMAL:
        return "CAST(? AS DECIMAL(65,30))";
    case SHAPE_FLOAT:
    case SHAPE_DOUBLE:
        return "(? + 0E0)";
    case SHAPE_YEAR:
        return "CAST(? AS UNSIGNED)";
    case SHAPE_DATE:
        return "CAST(? AS DATE)";
    case SHAPE_DATETIME:
        return "CAST(? AS DATETIME(6))";
    case SHAPE_TIME:
        return "CAST(? AS TIME(6))";
    case SHAPE_TEXT:
        return "?";
    default:
        return NULL;
    }
}

/* Whether the server takes it without a warning: 'abc' as a number would be 0, and everything would
 * be read again. */
static bool check_after(MyConn *conn, const char *cast, Str after, Arena *arena, Err *err) {
    Answers answers;
    Str sql = arena_print(arena, "SELECT %s", cast);
    if (!ask(conn, sql, &after, 1, arena, &answers, err)) return false;
    bool is_null = answers.count != 1 || !answers.rows[0][0].data;
    if (!ask(conn, STR("SELECT @@warning_count"), NULL, 0, arena, &answers, err)) return false;
    return (!is_null && answers.count == 1 && str_is(answers.rows[0][0], "0")) ||
           err_code(err, LH_INVALID, "bad_cursor",
                    "'%.*s' is no value of the cursor column: nothing can be read after it",
                    (int)MIN(after.len, (size_t)100), after.data);
}

static bool plan_cursor(MyConn *conn, const SourceRequest *request, const char **casts,
                        Arena *arena, MyPlan *plan, Err *err) {
    plan->cursor = plan->column_count;
    if (!request->cursor.len) return true;
    const MyColumn *column = column_find(plan, request->cursor);
    if (!column) return no_column(request->cursor, err);
    const char *cast = cursor_cast(column);
    plan->cursor = (size_t)(column - plan->columns);
    if (!cast || casts[plan->cursor])
        return err_code(err, LH_INVALID, "bad_cursor", "column '%.*s' cannot be a cursor: %s",
                        SHOW(column->name),
                        cast ? "it is read as another type" : "its values have no order as text");
    plan->after = arena_copy(arena, request->after);
    plan->has_after = request->after.len > 0;
    return !plan->has_after || check_after(conn, cast, plan->after, arena, err);
}

/* Statements. */

static void add_cast_column(Text *sql, const MyColumn *column, const char *cast) {
    Str rest = str_from(cast ? cast : "%s"), head;
    size_t at;
    if (str_find(rest, STR("%s"), &at)) {
        head = str_slice(rest, 0, at);
        text_add(sql, head);
        add_name(sql, column->name);
        text_add(sql, str_slice(rest, at + 2, rest.len));
    }
    if (!cast) return;
    text_add(sql, STR(" AS "));
    add_name(sql, column->name);
}

/* A query stays as it is, unless its columns are cast or ordered. */
static Str make_select(const SourceRequest *request, const MyPlan *plan, const char **casts,
                       Str query, Str range, Arena *arena) {
    OWNED(text_close) Text sql = {0};
    bool has_cursor = plan->cursor < plan->column_count;
    if (!plan->table.len && !plan->has_casts && !has_cursor) return arena_copy(arena, query);
    text_add(&sql, STR("SELECT "));
    for (size_t i = 0; i < plan->column_count; i++) {
        if (i) text_add(&sql, STR(", "));
        add_cast_column(&sql, &plan->columns[i], casts[i]);
    }
    text_add(&sql, STR(" FROM "));
    if (plan->table.len)
        add_table(&sql, plan);
    else
        text_print(&sql, "(%.*s\n) AS given", SHOW(query));
    text_add(&sql, range);
    if (plan->has_after) {
        text_add(&sql, STR(" WHERE "));
        add_name(&sql, request->cursor);
        text_print(&sql, " >= %s", cursor_cast(&plan->columns[plan->cursor]));
    }
    if (has_cursor) {
        text_add(&sql, STR(" ORDER BY "));
        add_name(&sql, request->cursor);
    }
    return arena_copy(arena, text_str(&sql));
}

static void add_int128(Text *sql, __int128 value) {
    char digits[48];
    size_t at = sizeof digits;
    unsigned __int128 rest = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    do digits[--at] = (char)('0' + (int)(rest % 10));
    while (rest /= 10);
    if (value < 0) digits[--at] = '-';
    text_add(sql, (Str){digits + at, sizeof digits - at});
}

static Str make_range(Str key, __int128 low, __int128 high, size_t part, size_t parts,
                      Arena *arena) {
    OWNED(text_close) Text sql = {0};
    __int128 span = high - low + 1;
    text_add(&sql, STR(" WHERE "));
    if (part > 0) {
        add_name(&sql, key);
        text_add(&sql, STR(" >= "));
        add_int128(&sql, low + span * (__int128)part / (__int128)parts);
    }
    if (part > 0 && part + 1 < parts) text_add(&sql, STR(" AND "));
    if (part + 1 < parts) {
        add_name(&sql, key);
        text_add(&sql, STR(" < "));
        add_int128(&sql, low + span * (__int128)(part + 1) / (__int128)parts);
    }
    return arena_copy(arena, text_str(&sql));
}

/* *has is false when the table is empty. */
static bool key_bounds(MyConn *conn, const MyPlan *plan, Str key, Arena *arena, __int128 *low,
                       __int128 *high, bool *has, Err *err) {
    OWNED(text_close) Text sql = {0};
    Answers answers;
    text_add(&sql, STR("SELECT MIN("));
    add_name(&sql, key);
    text_add(&sql, STR("), MAX("));
    add_name(&sql, key);
    text_add(&sql, STR(") FROM "));
    add_table(&sql, plan);
    if (!ask(conn, text_str(&sql), NULL, 0, arena, &answers, err)) return false;
    *has = answers.count == 1 && my_decimal(answers.rows[0][0], 20, 0, low) &&
           my_decimal(answers.rows[0][1], 20, 0, high);
    return true;
}

/* Snapshots. */

#define SNAPSHOT "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

static bool lock_writers(MyConn *conn, const MyPlan *plan, Err *err) {
    OWNED(text_close) Text sql = {0};
    Err why = {0};
    if (!myconn_run(conn, "SET SESSION lock_wait_timeout = " LOCK_WAIT_S, err)) return false;
    text_add(&sql, STR("LOCK TABLES "));
    add_table(&sql, plan);
    text_add(&sql, STR(" READ"));
    text_add_byte(&sql, 0);
    if (myconn_run(conn, sql.data, &why)) return true;
    if (why.kind != LH_DENIED) return *err = why, false;
    return myconn_run(conn, "FLUSH TABLES WITH READ LOCK", err);
}

static bool start_all(MyConn *conns, size_t count, Err *err) {
    for (size_t i = 0; i < count; i++)
        if (!myconn_run(&conns[i], SNAPSHOT, err)) return false;
    return true;
}

/* Opens the connections of parts 1.. and one that holds the lock while all take their snapshots.
 * Without a lock the first alone goes on. */
static bool snapshots(const SourceRequest *request, MyConn *conns, MyPlan *plan, Err *err) {
    OWNED(myconn_close) MyConn locker = {.socket = -1};
    Err why = {0};
    if (plan->parts == 1) return start_all(conns, 1, err);
    if (!myconn_again(&conns[0], request->connect_timeout_ms, &locker, err)) return false;
    if (!lock_writers(&locker, plan, &why)) {
        if (why.kind != LH_DENIED && why.kind != LH_BUSY) return *err = why, false;
        plan->one_part =
            why.kind == LH_BUSY
                ? "read in one part: others were writing when the table was locked"
                : "read in one part: the user may lock neither the table (LOCK TABLES) "
                  "nor the server (RELOAD)";
        plan->parts = 1;
    }
    for (size_t i = 1; i < plan->parts; i++)
        if (!myconn_again(&conns[0], request->connect_timeout_ms, &conns[i], err)) return false;
    return start_all(conns, plan->parts, err);
}

/* What stands against reading in parts; NULL: nothing. */
static const char *why_one_part(const SourceRequest *request, const MyTable *table) {
    if (request->query.len) return "read in one part: a query has no ranges";
    if (request->cursor.len) return "read in one part: rows come in the order of the cursor column";
    if (!table->transactional) return "read in one part: a view, or an engine without snapshots";
    return table->key_is_integer ? NULL
                                 : "read in one part: no primary key that begins with an integer";
}

static size_t parts_wanted(const SourceRequest *request) {
    return (size_t)MIN(MAX(request->parallel, 1), SOURCE_PARTS_MAX);
}

static bool plan_table(MyConn *conn, const SourceRequest *request, Arena *arena, MyPlan *plan,
                       MyTable *table, Answers *columns, Err *err) {
    int64_t rows;
    if (!find_table(conn, request->table, arena, plan, table, err) ||
        !table_columns(conn, arena, plan, columns, err) ||
        !find_key(conn, arena, plan, columns, table, err))
        return false;
    if (!request->after.len && str_to_i64(table->rows, &rows)) plan->rows_estimate = rows;
    return true;
}

/* A key that cannot be cut leaves one part; the other connections go. */
static bool plan_parts(const SourceRequest *request, MyConn *conns, const char **casts, Str query,
                       Arena *arena, MyPlan *plan, Err *err) {
    __int128 low = 0, high = 0;
    bool has = false;
    size_t wanted = plan->parts;
    if (wanted > 1 && !key_bounds(&conns[0], plan, plan->key[0], arena, &low, &high, &has, err))
        return false;
    if (!has || high - low + 1 < (__int128)wanted) plan->parts = 1;
    for (size_t i = plan->parts; i < wanted; i++) myconn_close(&conns[i]);
    plan->sql = arena_array(arena, Str, plan->parts);
    for (size_t i = 0; i < plan->parts; i++) {
        Str range = {0};
        if (plan->parts > 1) range = make_range(plan->key[0], low, high, i, plan->parts, arena);
        plan->sql[i] = make_select(request, plan, casts, query, range, arena);
    }
    return true;
}

/* The server says how what it casts lies on the wire. */
static bool settle_casts(MyConn *conn, const char **casts, Arena *arena, MyPlan *plan, Err *err) {
    OWNED(mystmt_close) MYSQL_STMT *stmt = NULL;
    MyColumn *made;
    size_t count;
    if (!plan->has_casts) return true;
    if (!myconn_prepare(conn, plan->sql[0], &stmt, err) ||
        !my_columns(stmt, MAPPING_EXACT, arena, &made, &count, err))
        return false;
    for (size_t i = 0; i < plan->column_count && i < count; i++)
        if (casts[i] && !my_cast_made(&plan->columns[i], &made[i], arena, err)) return false;
    return true;
}

static void set_declared(MyPlan *plan, const Answers *columns) {
    for (size_t i = 0; i < plan->column_count && i < columns->count; i++)
        plan->columns[i].declared = columns->rows[i][1];
}

static Str without_semicolon(Str query) {
    query = str_trim(query);
    while (str_ends(query, STR(";"))) query = str_trim(str_slice(query, 0, query.len - 1));
    return query;
}

bool my_plan(const SourceRequest *request, MyConn *conns, Arena *arena, MyPlan *out, Err *err) {
    MyPlan plan = {.rows_estimate = -1, .parts = 1};
    MyTable table = {0};
    Answers columns = {0};
    Str query = without_semicolon(request->query);
    if (request->table.len && !plan_table(&conns[0], request, arena, &plan, &table, &columns, err))
        return false;
    if (parts_wanted(request) > 1) plan.one_part = why_one_part(request, &table);
    if (!plan.one_part) plan.parts = parts_wanted(request);
    if (!snapshots(request, conns, &plan, err)) return false;
    if (request->table.len) query = select_table(arena, &plan, &columns);
    if (!describe(&conns[0], query, request->mapping, arena, &plan, err)) return false;
    set_declared(&plan, &columns);
    const char **casts = arena_array(arena, const char *, plan.column_count + 1);
    if (!wanted_types(request, arena, &plan, casts, err) ||
        !settle_booleans(&conns[0], arena, &plan, err) ||
        !plan_cursor(&conns[0], request, casts, arena, &plan, err) ||
        !plan_parts(request, conns, casts, query, arena, &plan, err) ||
        !settle_casts(&conns[0], casts, arena, &plan, err))
        return false;
    *out = plan;
    return true;
}
