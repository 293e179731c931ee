/* MySQL and MariaDB as a source: each part is one prepared statement on a connection of its own,
 * whose rows are decoded into batches as they come off the wire. Nothing is held but a batch and
 * the library's buffer of one row: the result is neither stored here nor in a cursor there. */
#include "ingest/mysql.h"

#include "base/base.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES_MAX (4 << 20) /* of a batch's packets: long values make batches of few rows */
#define KILL_TIMEOUT_MS 3000

typedef struct MySource MySource;

/* A part's statement and what its rows are decoded by; of a source in chunks it lasts over several
 * calls. */
typedef struct Pull {
    MySource *my;
    MyConn *conn;
    MYSQL_STMT *stmt; /* NULL: not begun */
    MyRow row;
    int64_t bytes; /* of the batch that is being filled */
    int64_t chunk; /* rows of this call so far */
    Bytes held;    /* the row that the next chunk begins with; in the library's buffer */
    bool ended;    /* so has the call: the rows, or a chunk */
    Arena arena;
} Pull;

struct MySource {
    Source source;
    MyDsn dsn;
    MyPlan plan;
    MyConn conns[SOURCE_PARTS_MAX]; /* of the parts */
    Pull pulls[SOURCE_PARTS_MAX];
    int64_t batch_rows, connect_ms;
    atomic_bool cancelled;
    pthread_mutex_t lock; /* of the warnings and of `last` */
    size_t warning_cap;
    Text last;
};

/* Warnings. */

static void add_warning(MySource *my, size_t column, const char *what, int64_t count) {
    Source *source = &my->source;
    for (size_t i = 0; i < source->warning_count; i++)
        if (source->warnings[i].column == column && str_is(source->warnings[i].what, what)) {
            source->warnings[i].count += count;
            return;
        }
    if (source->warning_count == my->warning_cap) {
        my->warning_cap = MAX(my->warning_cap * 2, 8);
        source->warnings = realloc(source->warnings, my->warning_cap * sizeof *source->warnings);
        if (!source->warnings) abort();
    }
    source->warnings[source->warning_count++] = (SourceWarning){column, str_from(what), count};
}

/* Pulling. */

static void pull_open(Pull *pull) {
    Arena *arena = &pull->arena;
    const MyPlan *plan = &pull->my->plan;
    pull->row = (MyRow){.count = plan->column_count, .last_column = plan->cursor};
    pull->row.cells = arena_array(arena, MyCell, plan->column_count);
    pull->row.decode = arena_array(arena, MyDecode *, plan->column_count);
    for (size_t i = 0; i < plan->column_count; i++) {
        const MyColumn *column = &plan->columns[i];
        pull->row.cells[i].column = column;
        pull->row.decode[i] = my_decoder(column->shape, column->type.kind);
    }
}

static void pull_close(Pull *pull) {
    for (size_t i = 0; i < pull->row.count; i++) text_close(&pull->row.cells[i].text);
    text_close(&pull->row.last);
    mystmt_close(&pull->stmt);
    arena_close(&pull->arena);
    *pull = (Pull){0};
}

static void bind_batch(Pull *pull, RowBatch *batch) {
    for (size_t i = 0; i < pull->row.count; i++) {
        MyCell *cell = &pull->row.cells[i];
        cell->vector = batch_vector(batch, i);
        cell->values = vector_values(cell->vector);
    }
}

/* Whether a chunk may end before a row: source.h says where. */
static bool chunk_ends(const Pull *pull, Bytes packet, size_t rows) {
    const Source *source = &pull->my->source;
    Str last = text_str(&pull->row.last);
    if (source->chunk_rows == 0 || pull->chunk + (int64_t)rows < source->chunk_rows ||
        last.len == 0)
        return false;
    Str next = my_row_peek(&pull->row, packet);
    return next.data && (source->key_count > 0 || !str_equal(next, last));
}

/* The end of the rows, or of a chunk of them. */
static bool next_row(Pull *pull, size_t rows, Bytes *packet, Err *err) {
    bool more = true;
    *packet = pull->held;
    pull->held = (Bytes){0};
    if (packet->data) return true;
    if (!myconn_row(pull->conn, pull->stmt, packet, &more, err)) return false;
    pull->ended = !more;
    if (!more || !chunk_ends(pull, *packet, rows)) return true;
    pull->held = *packet;
    return pull->ended = pull->my->source.more = true;
}

static bool fill(Pull *pull, RowBatch *batch, size_t *rows, Err *err) {
    size_t capacity = batch_capacity(batch);
    if (pull->my->batch_rows > 0) capacity = MIN(capacity, (size_t)pull->my->batch_rows);
    bind_batch(pull, batch);
    pull->bytes = 0;
    while (*rows < capacity && pull->bytes < BATCH_BYTES_MAX) {
        Bytes packet;
        if (!next_row(pull, *rows, &packet, err)) return false;
        if (pull->ended) return true;
        if (!my_row_decode(&pull->row, packet, *rows, err)) return false;
        pull->bytes += (int64_t)packet.size;
        ++*rows;
    }
    return true;
}

static bool pull_rows(Pull *pull, RowFeed *feed, Err *err) {
    Source *source = &pull->my->source;
    pull->chunk = 0;
    pull->ended = false;
    while (!pull->ended) {
        RowBatch *batch = feed_take(feed);
        size_t rows = 0;
        if (!batch) return err_set(err, LH_CANCELLED, "the rows are taken no longer");
        bool ok = !atomic_load(&pull->my->cancelled) ? fill(pull, batch, &rows, err)
                                                     : myconn_failed(pull->conn, NULL, err);
        feed_give(feed, batch, ok ? rows : 0);
        if (!ok) return false;
        pull->chunk += (int64_t)rows;
        if (rows && source->moved) source->moved(source->moved_context, (int64_t)rows, pull->bytes);
    }
    return true;
}

/* What a cast could not keep is a warning of the server's. */
static bool check_casts(Pull *pull, Err *err) {
    if (!pull->my->plan.has_casts || pull->my->source.more) return true;
    OWNED(arena_close) Arena arena = {0};
    Str words;
    mystmt_close(&pull->stmt);
    if (!myconn_warning(pull->conn, &arena, &words, err)) return false;
    return !words.len ||
           err_code(err, LH_INVALID, "value_misfit",
                    "a value cannot become the type that was asked for: %.*s", SHOW(words));
}

/* The cursor's greatest value is the last, since rows came in its order. */
static bool keep_last(Pull *pull, Err *err) {
    MySource *my = pull->my;
    if (my->plan.cursor == my->plan.column_count || !pull->row.last.len) return true;
    const MyColumn *column = &my->plan.columns[my->plan.cursor];
    const uint8_t *at = (const uint8_t *)pull->row.last.data;
    text_clear(&my->last);
    MyBytes in = {at, at + pull->row.last.len};
    if (!my_value_text(column, &in, &my->last, err)) return false;
    my->source.last = text_str(&my->last);
    return true;
}

static bool finish(Pull *pull, Err *err) {
    MySource *my = pull->my;
    pthread_mutex_lock(&my->lock);
    for (size_t i = 0; !my->source.more && i < pull->row.count; i++)
        for (int odd = 0; odd < ODD_COUNT; odd++)
            if (pull->row.cells[i].odd[odd])
                add_warning(my, i, my_odd_names[odd], pull->row.cells[i].odd[odd]);
    bool ok = keep_last(pull, err);
    pthread_mutex_unlock(&my->lock);
    return ok;
}

/* The table may have been altered since it was looked at, before the snapshot was read from. */
static bool check_columns(Pull *pull, Err *err) {
    const MyPlan *plan = &pull->my->plan;
    MyColumn *columns;
    size_t count;
    if (!my_columns(pull->stmt, MAPPING_EXACT, &pull->arena, &columns, &count, err)) return false;
    bool same = count == plan->column_count;
    for (size_t i = 0; same && i < count; i++) same = my_same_wire(&columns[i], &plan->columns[i]);
    return same || err_set(err, LH_CONFLICT, "the columns changed while the source was read");
}

static bool begin(Pull *pull, MySource *my, size_t part, Err *err) {
    pull->my = my;
    pull->conn = &my->conns[part];
    pull_open(pull);
    return myconn_prepare(pull->conn, my->plan.sql[part], &pull->stmt, err) &&
           myconn_execute(pull->conn, pull->stmt, &my->plan.after, my->plan.has_after, err) &&
           check_columns(pull, err);
}

static bool pull_part(MySource *my, size_t part, RowFeed *feed, Err *err) {
    Pull *pull = &my->pulls[part];
    bool ok = (pull->stmt || begin(pull, my, part, err)) && pull_rows(pull, feed, err) &&
              check_casts(pull, err) && finish(pull, err);
    if (!ok || !my->source.more) pull_close(pull);
    return ok;
}

static bool mysql_pull(Source *base, size_t part, RowFeed *feed, Err *err) {
    mysql_thread_init();
    bool ok = pull_part((MySource *)base, part, feed, err);
    mysql_thread_end();
    return ok;
}

/* Whoever waits here goes first, for the server may not answer; then the server is told, on a
 * connection of its own, to stop computing what nobody reads. */
static void mysql_cancel(Source *base) {
    MySource *my = (MySource *)base;
    atomic_bool never = false;
    OWNED(myconn_close) MyConn conn = {.socket = -1};
    Err why = {0};
    if (atomic_exchange(&my->cancelled, true)) return;
    for (size_t i = 0; i < base->parts; i++) myconn_stop(&my->conns[i]);
    int64_t timeout = MIN(my->connect_ms, KILL_TIMEOUT_MS);
    if (!myconn_open(&my->dsn, timeout, timeout, &never, &conn, &why)) return;
    for (size_t i = 0; i < base->parts; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "KILL QUERY %lu", my->conns[i].id);
        myconn_run(&conn, sql, &why); /* one that is gone already is as good */
    }
}

static void my_source_close(MySource **my) {
    if (!*my) return;
    for (size_t i = 0; i < SOURCE_PARTS_MAX; i++) {
        pull_close(&(*my)->pulls[i]);
        myconn_close(&(*my)->conns[i]);
    }
    pthread_mutex_destroy(&(*my)->lock);
    text_close(&(*my)->last);
    free((*my)->source.warnings);
    arena_close(&(*my)->source.arena);
    free(*my);
    *my = NULL;
}

static void mysql_close_source(Source *base) {
    MySource *my = (MySource *)base;
    my_source_close(&my);
}

/* Opening. */

static MySource *my_source_new(const SourceRequest *request) {
    static const SourceOps ops = {mysql_pull, mysql_cancel, mysql_close_source};
    MySource *my = calloc(1, sizeof *my);
    if (!my) abort();
    my->source = (Source){.ops = &ops, .system = "mysql"};
    my->batch_rows = request->batch_rows;
    my->connect_ms = request->connect_timeout_ms;
    pthread_mutex_init(&my->lock, NULL);
    for (size_t i = 0; i < SOURCE_PARTS_MAX; i++) my->conns[i].socket = -1;
    return my;
}

static void describe(MySource *my, const SourceRequest *request) {
    Source *source = &my->source;
    Arena *arena = &source->arena;
    const MyPlan *plan = &my->plan;
    OWNED(text_close) Text locator = {0};
    text_add(&locator, my->dsn.locator);
    if (plan->table.len) text_print(&locator, "#%.*s.%.*s", SHOW(plan->schema), SHOW(plan->table));
    source->locator = arena_copy(arena, text_str(&locator));
    source->query = arena_copy(arena, request->query);
    source->columns = arena_array(arena, SourceColumn, plan->column_count);
    source->column_count = plan->column_count;
    for (size_t i = 0; i < plan->column_count; i++)
        source->columns[i] =
            (SourceColumn){plan->columns[i].name, plan->columns[i].type, plan->columns[i].declared};
    source->parts = plan->parts;
    source->key = plan->key;
    source->key_count = plan->key_count;
    source->rows_estimate = plan->rows_estimate;
    if (plan->one_part) add_warning(my, 0, plan->one_part, 1);
}

static bool check_request(const SourceRequest *request, Err *err) {
    if (!request->table.len == !request->query.len)
        return err_set(err, LH_INVALID, "exactly one of 'table' and 'query' says what to read");
    return !request->after.len || request->cursor.len ||
           err_set(err, LH_INVALID, "'after' is a value of a cursor column, and none is named");
}

bool source_mysql(const SourceRequest *request, Source **out, Err *err) {
    OWNED(my_source_close) MySource *my = my_source_new(request);
    Arena *arena = &my->source.arena;
    if (!check_request(request, err) || !mydsn_read(request->dsn, arena, &my->dsn, err) ||
        !mydsn_allowed(&my->dsn, request->allow_hosts, err) ||
        !myconn_open(&my->dsn, request->connect_timeout_ms, request->idle_timeout_ms,
                     &my->cancelled, &my->conns[0], err) ||
        !my_plan(request, my->conns, arena, &my->plan, err))
        return false;
    describe(my, request);
    *out = &TAKE(my)->source;
    return true;
}
