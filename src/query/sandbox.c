#include "query/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Sandbox {
    duckdb_database database;
    Str *directories; /* that it may read, each ending in '/' */
    size_t directory_count;
    int holders; /* the engine, while it is the newest, and each connection in use */
    Conn *idle;
    Arena arena;
};

static void conn_close(Conn *conn) {
    duckdb_destroy_prepare(&conn->serialize);
    duckdb_disconnect(&conn->handle);
    free(conn);
}

void sandbox_close(Sandbox **sandbox) {
    Sandbox *s = TAKE(*sandbox);
    if (!s) return;
    for (Conn *conn = s->idle, *next; conn; conn = next) {
        next = conn->next;
        conn_close(conn);
    }
    if (s->database) duckdb_close(&s->database);
    arena_close(&s->arena);
    free(s);
}

/* The second wall, should the policy ever miss something: no file outside these directories, no
 * extension, no setting. */
static bool lock_down(Sandbox *sandbox, duckdb_connection connection, Err *err) {
    OWNED(text_close) Text sql = {0};
    text_add(&sql, STR("SET allowed_directories=["));
    for (size_t i = 0; i < sandbox->directory_count; i++) {
        if (i) text_add_byte(&sql, ',');
        sql_quote_text(&sql, sandbox->directories[i]);
    }
    text_add_byte(&sql, ']');
    return instance_run(connection, STR(RESOLVE_MACRO), err) && vectors_setup(connection, err) &&
           instance_run(connection, text_str(&sql), err) &&
           instance_run(connection, STR("SET GLOBAL parquet_metadata_cache=true"), err) &&
           instance_run(connection, STR("SET enable_external_access=false"), err) &&
           instance_run(connection, STR("SET lock_configuration=true"), err);
}

static bool sandbox_open(Engine *engine, const Str *directories, size_t count, Sandbox **out,
                         Err *err) {
    OWNED(sandbox_close) Sandbox *sandbox = calloc(1, sizeof *sandbox);
    duckdb_connection connection;
    if (!sandbox) abort();
    sandbox->holders = 1;
    sandbox->directory_count = count;
    sandbox->directories = arena_array(&sandbox->arena, Str, count);
    for (size_t i = 0; i < count; i++)
        sandbox->directories[i] = arena_copy(&sandbox->arena, directories[i]);
    char spill[32]; /* of its own: an instance that closes sweeps its directory */
    snprintf(spill, sizeof spill, "sandbox/%d", ++engine->sandboxes);
    if (!instance_open(engine, spill, &sandbox->database, err)) return false;
    resolve_setup(sandbox->database);
    if (duckdb_connect(sandbox->database, &connection) != DuckDBSuccess)
        return err_set(err, LH_BUG, "the SQL engine takes no connection");
    bool ok = lock_down(sandbox, connection, err);
    duckdb_disconnect(&connection);
    if (ok) *out = TAKE(sandbox);
    return ok;
}

/* With the lock held; the caller closes what is returned, outside of it. */
static Sandbox *let_go(Sandbox *sandbox) {
    return --sandbox->holders == 0 ? sandbox : NULL;
}

bool sandbox_covers(const Sandbox *sandbox, Str directory) {
    for (size_t i = 0; i < sandbox->directory_count; i++)
        if (str_equal(sandbox->directories[i], directory)) return true;
    return false;
}

static Str *add_directories(const Sandbox *sandbox, const Str *more, size_t more_count,
                            Arena *arena, size_t *count) {
    size_t old = sandbox ? sandbox->directory_count : 0;
    Str *all = arena_array(arena, Str, old + more_count);
    for (size_t i = 0; i < old; i++) all[(*count)++] = sandbox->directories[i];
    for (size_t i = 0; i < more_count; i++)
        if (!sandbox || !sandbox_covers(sandbox, more[i])) all[(*count)++] = more[i];
    return all;
}

/* What every sandbox reads: the file without rows, and the copies of remote objects. */
bool sandbox_first(Engine *engine, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str directories[2] = {arena_print(&arena, "%s/empty/", engine->spill_dir)};
    size_t count = 1;
    if (engine->options.cache_dir)
        directories[count++] = arena_print(&arena, "%s/", engine->options.cache_dir);
    return sandbox_widen(engine, directories, count, err);
}

/* Under the lock, so that two queries that find the same new bucket open one sandbox. */
bool sandbox_widen(Engine *engine, const Str *directories, size_t count, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Sandbox *wider = NULL, *old;
    size_t all_count = 0;
    pthread_mutex_lock(&engine->lock);
    Str *all = add_directories(engine->sandbox, directories, count, &arena, &all_count);
    if (count && engine->sandbox && all_count == engine->sandbox->directory_count) {
        pthread_mutex_unlock(&engine->lock); /* another query was quicker */
        return true;
    }
    bool ok = sandbox_open(engine, all, all_count, &wider, err);
    old = ok && engine->sandbox ? let_go(engine->sandbox) : NULL;
    if (ok) engine->sandbox = wider;
    pthread_mutex_unlock(&engine->lock);
    sandbox_close(&old);
    return ok;
}

static bool conn_open(Sandbox *sandbox, Conn **out, Err *err) {
    Conn *conn = calloc(1, sizeof *conn);
    if (!conn) abort();
    conn->sandbox = sandbox;
    if (duckdb_connect(sandbox->database, &conn->handle) == DuckDBSuccess &&
        duckdb_prepare(conn->handle, "SELECT json_serialize_sql($1::VARCHAR)", &conn->serialize) ==
            DuckDBSuccess)
        return *out = conn, true;
    conn_close(conn);
    return err_set(err, LH_BUG, "the SQL engine takes no connection");
}

bool conn_acquire(Engine *engine, Conn **out, Err *err) {
    pthread_mutex_lock(&engine->lock);
    Sandbox *sandbox = engine->sandbox;
    Conn *conn = sandbox->idle;
    if (conn) sandbox->idle = conn->next;
    sandbox->holders++;
    pthread_mutex_unlock(&engine->lock);
    if (conn || conn_open(sandbox, &conn, err)) return *out = conn, true;
    pthread_mutex_lock(&engine->lock);
    sandbox = let_go(sandbox);
    pthread_mutex_unlock(&engine->lock);
    sandbox_close(&sandbox);
    return false;
}

static void replace_broken(Engine *engine, Sandbox *broken) {
    Err err;
    if (engine->sandbox != broken) return;
    pthread_mutex_unlock(&engine->lock);
    if (!sandbox_widen(engine, NULL, 0, &err)) log_error("a new SQL instance: %s", err.message);
    pthread_mutex_lock(&engine->lock);
}

void conn_release(Engine *engine, Conn **conn, bool broken) {
    Conn *c = TAKE(*conn);
    if (!c) return;
    Sandbox *sandbox = c->sandbox;
    pthread_mutex_lock(&engine->lock);
    if (broken) replace_broken(engine, sandbox);
    bool keep = engine->sandbox == sandbox;
    if (keep) {
        c->next = sandbox->idle;
        sandbox->idle = c;
    }
    pthread_mutex_unlock(&engine->lock);
    if (!keep) conn_close(c);
    pthread_mutex_lock(&engine->lock);
    sandbox = let_go(sandbox);
    pthread_mutex_unlock(&engine->lock);
    sandbox_close(&sandbox);
}
