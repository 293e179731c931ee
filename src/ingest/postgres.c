/* A table or a query of PostgreSQL as a source. A leader opens a read-only transaction whose
 * snapshot is what all parts read; the other parts' connections take it over, so that writers
 * meanwhile change nothing. The leader pulls the first part itself.
 *
 * Whoever cancels does not wait for the server: its parts are woken by an eventfd and leave at
 * once, and a thread of its own asks the server to cancel, since libpq waits without a deadline
 * there and a server may stand still.
 *
 * Thread rule: as source.h says. What the parts share is under the lock. */
#include "ingest/postgres.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH_BYTES_MAX (4 << 20) /* a batch of large values is given before it is full */

typedef struct Postgres Postgres;

/* From a part's COPY to batches; of a source in chunks it lasts over several calls. */
typedef struct Pull {
    Postgres *postgres;
    RowFeed *feed;
    RowBatch *batch; /* NULL: none is being filled */
    size_t rows, bytes;
    int64_t chunk; /* rows of this call so far */
    char *held;    /* the message that the next chunk begins with, or NULL */
    size_t held_size;
    PgReader reader;
    bool begun;
} Pull;

typedef struct Part {
    PgConn conn;
    const char *copy;
    PGcancel *cancel; /* under the lock; NULL once it is used */
    bool ended;       /* nothing of it runs on the server */
    Pull pull;
} Part;

struct Postgres {
    Source source;
    PgPlan plan;
    Part parts[SOURCE_PARTS_MAX];
    size_t batch_rows;
    atomic_bool cancelled;
    int wake;
    pthread_mutex_t lock; /* over the cancels, the warnings and `last` */
};

/* Cancelling. */

typedef struct Cancels {
    PGcancel *items[SOURCE_PARTS_MAX];
    size_t len;
} Cancels;

static void *cancel_all(void *context) {
    Cancels *cancels = context;
    char why[256];
    for (size_t i = 0; i < cancels->len; i++) {
        PQcancel(cancels->items[i], why, sizeof why);
        PQfreeCancel(cancels->items[i]);
    }
    free(cancels);
    return NULL;
}

static void cancel_on_server(Postgres *postgres) {
    Cancels *cancels = calloc(1, sizeof *cancels);
    pthread_t thread;
    if (!cancels) abort();
    pthread_mutex_lock(&postgres->lock);
    for (size_t i = 0; i < SOURCE_PARTS_MAX; i++)
        if (postgres->parts[i].cancel && !postgres->parts[i].ended)
            cancels->items[cancels->len++] = TAKE(postgres->parts[i].cancel);
    pthread_mutex_unlock(&postgres->lock);
    if (cancels->len == 0 || pthread_create(&thread, NULL, cancel_all, cancels))
        cancel_all(cancels);
    else
        pthread_detach(thread);
}

static void postgres_cancel(Source *source) {
    Postgres *postgres = (Postgres *)source;
    atomic_store(&postgres->cancelled, true);
    eventfd_write(postgres->wake, 1);
    cancel_on_server(postgres);
}

static void postgres_close(Source *source) {
    Postgres *postgres = (Postgres *)source;
    cancel_on_server(postgres);
    for (size_t i = 0; i < SOURCE_PARTS_MAX; i++) {
        if (postgres->parts[i].cancel) PQfreeCancel(postgres->parts[i].cancel);
        PQfreemem(postgres->parts[i].pull.held);
        text_close(&postgres->parts[i].pull.reader.last);
        pgconn_close(&postgres->parts[i].conn);
    }
    fd_close(&postgres->wake);
    pthread_mutex_destroy(&postgres->lock);
    arena_close(&postgres->source.arena);
    free(postgres);
}

/* Pulling. */

/* The arena is the source's: nothing is made for a second chunk. */
static void pull_open(Pull *pull, Postgres *postgres) {
    const PgPlan *plan = &postgres->plan;
    pthread_mutex_lock(&postgres->lock);
    pull->postgres = postgres;
    pull->reader = (PgReader){
        .columns = plan->columns,
        .count = plan->count,
        .has_last = plan->has_last,
        .slots = arena_array(&postgres->source.arena, PgSlot, plan->count),
        .losses = arena_alloc(&postgres->source.arena, sizeof(int64_t[LOSS_COUNTED]) * plan->count),
    };
    pthread_mutex_unlock(&postgres->lock);
}

static bool take_batch(Pull *pull, Err *err) {
    pull->batch = feed_take(pull->feed);
    if (!pull->batch) return err_set(err, LH_CANCELLED, "the rows are not wanted any more");
    for (size_t i = 0; i < pull->reader.count; i++) {
        BatchVector *vector = batch_vector(pull->batch, i);
        pull->reader.slots[i] = (PgSlot){vector, vector_values(vector)};
    }
    return true;
}

static void give_batch(Pull *pull) {
    const Source *source = &pull->postgres->source;
    if (!pull->batch) return;
    feed_give(pull->feed, TAKE(pull->batch), pull->rows);
    if (source->moved)
        source->moved(source->moved_context, (int64_t)pull->rows, (int64_t)pull->bytes);
    pull->chunk += (int64_t)pull->rows;
    pull->rows = pull->bytes = 0;
}

static bool add_message(Pull *pull, Bytes message, Err *err) {
    pull->bytes += message.size;
    do {
        size_t rows;
        if (!pull->batch && !take_batch(pull, err)) return false;
        if (!pg_read(&pull->reader, &message, pull->rows, pull->postgres->batch_rows - pull->rows,
                     &rows, err))
            return false;
        pull->rows += rows;
        if (pull->rows == pull->postgres->batch_rows || pull->bytes >= BATCH_BYTES_MAX)
            give_batch(pull);
    } while (message.size > 0);
    return true;
}

/* Whether a chunk may end before a row: source.h says where. */
static bool chunk_ends(const Pull *pull, Bytes message) {
    const Source *source = &pull->postgres->source;
    Str last = text_str(&pull->reader.last);
    if (source->chunk_rows == 0 || pull->chunk + (int64_t)pull->rows < source->chunk_rows ||
        last.len == 0)
        return false;
    Str next = pg_peek_last(&pull->reader, message);
    return next.data && (source->key_count > 0 || !str_equal(next, last));
}

static bool next_message(Pull *pull, PgConn *conn, char **data, size_t *size, Err *err) {
    if (!pull->held) return pgconn_next(conn, data, size, err);
    *data = TAKE(pull->held);
    *size = pull->held_size;
    return true;
}

/* To the end, or to where the next chunk begins. */
static bool add_rows(Pull *pull, PgConn *conn, Err *err) {
    Source *source = &pull->postgres->source;
    for (;;) {
        char *data;
        size_t size;
        if (!next_message(pull, conn, &data, &size, err)) return false;
        if (!data) break;
        Bytes message = {(const uint8_t *)data, size};
        if (chunk_ends(pull, message)) {
            pull->held = data;
            pull->held_size = size;
            give_batch(pull);
            return source->more = true;
        }
        bool ok = add_message(pull, message, err);
        PQfreemem(data);
        if (!ok) return false;
    }
    if (!pull->reader.ended)
        return err_set(err, LH_CORRUPT, "the source's rows end without a trailer");
    give_batch(pull);
    return true;
}

/* Room for all was made at opening. */
static void add_warning(Source *source, size_t column, const char *what, int64_t count) {
    for (size_t i = 0; i < source->warning_count; i++) {
        SourceWarning *warning = &source->warnings[i];
        if (warning->column != column || !str_is(warning->what, what)) continue;
        warning->count += count;
        return;
    }
    source->warnings[source->warning_count++] = (SourceWarning){column, str_from(what), count};
}

static void conclude(const Pull *pull, Part *part) {
    Source *source = &pull->postgres->source;
    const PgReader *reader = &pull->reader;
    pthread_mutex_lock(&pull->postgres->lock);
    part->ended = !source->more;
    for (size_t i = 0; part->ended && i < reader->count; i++)
        for (int loss = LOSS_NONE + 1; loss < LOSS_COUNTED; loss++)
            if (reader->losses[i][loss])
                add_warning(source, i, pg_loss_words[loss], reader->losses[i][loss]);
    if (reader->last.len) source->last = arena_copy(&source->arena, text_str(&reader->last));
    pthread_mutex_unlock(&pull->postgres->lock);
}

static bool pull_part(Pull *pull, Part *part, Err *err) {
    if (!pull->begun && !pgconn_copy(&part->conn, part->copy, err)) return false;
    pull->begun = true;
    pull->chunk = 0;
    return add_rows(pull, &part->conn, err);
}

static bool postgres_pull(Source *source, size_t index, RowFeed *feed, Err *err) {
    Postgres *postgres = (Postgres *)source;
    Part *part = &postgres->parts[index];
    Pull *pull = &part->pull;
    if (!pull->begun) pull_open(pull, postgres);
    pull->feed = feed;
    bool ok = pull_part(pull, part, err);
    if (pull->batch) feed_give(feed, TAKE(pull->batch), 0);
    if (ok)
        conclude(pull, part);
    else /* a server that waits for us to read what it sends heeds no cancel */
        pgconn_close(&part->conn);
    return ok;
}

/* Opening. */

static bool run(PgConn *conn, const char *sql, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    return pgconn_run(conn, sql, NULL, 0, &result, err);
}

static bool begin(PgConn *conn, Err *err) {
    return run(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
}

static bool export_snapshot(PgConn *conn, Arena *arena, const char **out, Err *err) {
    OWNED(pgresult_close) PGresult *result = NULL;
    if (!pgconn_run(conn, "SELECT pg_export_snapshot()", NULL, 0, &result, err)) return false;
    char *name =
        PQescapeLiteral(conn->pg, PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0));
    *out = arena_cstr(arena, arena_print(arena, "SET TRANSACTION SNAPSHOT %s", name ? name : ""));
    PQfreemem(name);
    return true;
}

/* As many as the server lets us have: it may be short of connections. */
static bool open_parts(Postgres *postgres, const PgDial *dial, size_t wanted, Err *err) {
    Source *source = &postgres->source;
    const char *take_over = NULL;
    source->parts = 1;
    if (wanted > 1 && !export_snapshot(&postgres->parts[0].conn, &source->arena, &take_over, err))
        return false;
    for (; source->parts < wanted; source->parts++) {
        PgConn *conn = &postgres->parts[source->parts].conn;
        Err why = {0};
        if (!pgconn_open(dial, &source->arena, conn, &why)) {
            if (why.kind == LH_CANCELLED) return *err = why, false;
            break;
        }
        if (!begin(conn, err) || !run(conn, take_over, err)) return false;
    }
    for (size_t i = 0; i < source->parts; i++) {
        Part *part = &postgres->parts[i];
        part->cancel = PQgetCancel(part->conn.pg);
        part->copy = pg_plan_copy(&postgres->plan, i, source->parts, &source->arena);
    }
    return true;
}

/* Where it came from, for people: nothing here could hold a password. */
static Str locator(const PGconn *pg, Str table, Arena *arena) {
    const char *host = PQhost(pg), *port = PQport(pg);
    bool is_v6 = strchr(host, ':') != NULL;
    return arena_print(arena, "postgresql://%s@%s%s%s:%s/%s%s%.*s", PQuser(pg), is_v6 ? "[" : "",
                       host, is_v6 ? "]" : "", port, PQdb(pg), table.len ? "#" : "", SHOW(table));
}

static void fill_source(Postgres *postgres, const SourceRequest *request) {
    Source *source = &postgres->source;
    const PgPlan *plan = &postgres->plan;
    Arena *arena = &source->arena;
    source->locator = locator(postgres->parts[0].conn.pg, plan->table, arena);
    source->query = arena_copy(arena, request->query);
    source->rows_estimate = plan->rows_estimate;
    source->last = arena_copy(arena, request->after); /* when no row comes after it */
    source->column_count = plan->count;
    source->key = plan->key;
    source->key_count = plan->key_count;
    source->columns = arena_array(arena, SourceColumn, plan->count);
    source->warnings = arena_array(arena, SourceWarning, plan->count * (LOSS_COUNTED + 1));
    for (size_t i = 0; i < plan->count; i++) {
        const PgColumn *column = &plan->columns[i];
        source->columns[i] = (SourceColumn){column->name, column->type, column->declared};
        if (column->notice.len)
            source->warnings[source->warning_count++] = (SourceWarning){i, column->notice, 1};
    }
}

static Postgres *postgres_new(const SourceRequest *request) {
    static const SourceOps ops = {postgres_pull, postgres_cancel, postgres_close};
    Postgres *postgres = calloc(1, sizeof *postgres);
    if (!postgres) abort();
    postgres->source = (Source){.ops = &ops, .system = "postgresql", .rows_estimate = -1};
    postgres->batch_rows = FEED_BATCH_ROWS;
    if (request->batch_rows > 0 && request->batch_rows < FEED_BATCH_ROWS)
        postgres->batch_rows = (size_t)request->batch_rows;
    postgres->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (postgres->wake < 0) abort();
    pthread_mutex_init(&postgres->lock, NULL);
    return postgres;
}

bool source_postgres(const SourceRequest *request, Source **out, Err *err) {
    OWNED(source_close) Source *source = NULL;
    if ((request->table.len == 0) == (request->query.len == 0))
        return err_set(err, LH_INVALID, "a source is either a table or a query");
    Postgres *postgres = postgres_new(request);
    source = &postgres->source;
    PgDial dial = {
        request->dsn,   request->allow_hosts, request->connect_timeout_ms, request->idle_timeout_ms,
        postgres->wake, &postgres->cancelled};
    PgConn *leader = &postgres->parts[0].conn;
    if (!pgconn_check(&dial, err) || !pgconn_open(&dial, &source->arena, leader, err) ||
        !begin(leader, err) || !pg_plan(leader, request, &source->arena, &postgres->plan, err))
        return false;
    size_t wanted = pg_plan_parts(&postgres->plan, request->parallel);
    if (!open_parts(postgres, &dial, wanted, err)) return false;
    fill_source(postgres, request);
    *out = TAKE(source);
    return true;
}
