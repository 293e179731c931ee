#include "query/engine.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each instance gets half of the memory: datasets are written and users ask at the same time. */
#define INSTANCES 2

static bool set_option(duckdb_config config, const char *name, const char *value, Err *err) {
    if (duckdb_set_config(config, name, value) == DuckDBSuccess) return true;
    return err_set(err, LH_INVALID, "the SQL engine refuses %s = '%s'", name, value);
}

static bool set_options(const Engine *engine, const char *spill, duckdb_config config, Err *err) {
    char memory[32], threads[16];
    snprintf(memory, sizeof memory, "%lldB", (long long)engine->options.memory_bytes / INSTANCES);
    snprintf(threads, sizeof threads, "%d", engine->options.threads);
    return set_option(config, "autoinstall_known_extensions", "false", err) &&
           set_option(config, "autoload_known_extensions", "false", err) &&
           set_option(config, "allow_community_extensions", "false", err) &&
           set_option(config, "allow_persistent_secrets", "false", err) &&
           set_option(config, "memory_limit", memory, err) &&
           set_option(config, "threads", threads, err) &&
           set_option(config, "temp_directory", spill, err);
}

/* A limit given at open is shown by DuckDB and not kept; one that is set later is.
 *
 * Prefetching reads a row group's columns in as few reads as there are gaps between them, instead
 * of two for each page: of a remote file of 20 columns 33 requests instead of 171, and a local one
 * is read no slower. DuckDB's own cache of files would hold in its memory what the page cache of
 * the system, and the read cache, have already; without it the same queries take as long. Neither
 * is an option of the configuration, and only GLOBAL makes them those of later connections too. */
static bool set_later(const Engine *engine, duckdb_database database, Err *err) {
    duckdb_connection connection;
    char limit[96];
    if (duckdb_connect(database, &connection) != DuckDBSuccess)
        return err_set(err, LH_BUG, "the SQL engine takes no connection");
    snprintf(limit, sizeof limit, "SET max_temp_directory_size='%lldB'",
             (long long)engine->options.spill_bytes_max);
    bool ok = instance_run(connection, str_from(limit), err) &&
              instance_run(connection, STR("SET GLOBAL prefetch_all_parquet_files=true"), err) &&
              instance_run(connection, STR("SET GLOBAL enable_external_file_cache=false"), err);
    duckdb_disconnect(&connection);
    return ok;
}

bool instance_open(const Engine *engine, const char *spill_name, duckdb_database *out, Err *err) {
    char spill[PATH_MAX + 64], *why = NULL;
    duckdb_config config;
    snprintf(spill, sizeof spill, "%s/%s", engine->spill_dir, spill_name);
    if (duckdb_create_config(&config) != DuckDBSuccess)
        return err_set(err, LH_BUG, "the SQL engine has no configuration");
    bool ok = set_options(engine, spill, config, err);
    if (ok && duckdb_open_ext(NULL, out, config, &why) != DuckDBSuccess)
        ok = err_set(err, LH_BUG, "the SQL engine does not start: %s", why ? why : "no reason");
    duckdb_free(why);
    duckdb_destroy_config(&config);
    return ok && set_later(engine, *out, err);
}

bool instance_run(duckdb_connection connection, Str sql, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    duckdb_result result;
    bool ok = duckdb_query(connection, arena_cstr(&arena, sql), &result) == DuckDBSuccess;
    if (!ok) sql_error(duckdb_result_error(&result), (Str){0}, err);
    duckdb_destroy_result(&result);
    return ok;
}

/* Its one column has a field id that no schema uses, so that whatever schema reads it finds all of
 * its own columns missing, and no row. */
static bool write_empty_file(Engine *engine, duckdb_connection connection, Err *err) {
    OWNED(text_close) Text sql = {0};
    snprintf(engine->empty_file, sizeof engine->empty_file, "%s/empty/no-rows.parquet",
             engine->spill_dir);
    text_add(&sql, STR("COPY (SELECT 1 AS nothing WHERE false) TO "));
    sql_quote_text(&sql, str_from(engine->empty_file));
    text_add(&sql, STR(" (FORMAT parquet, FIELD_IDS {nothing: 2147483646})"));
    return instance_run(connection, text_str(&sql), err);
}

static bool open_trusted(Engine *engine, Err *err) {
    duckdb_connection connection;
    if (!instance_open(engine, "trusted", &engine->trusted, err)) return false;
    resolve_setup(engine->trusted);
    if (duckdb_connect(engine->trusted, &connection) != DuckDBSuccess)
        return err_set(err, LH_BUG, "the SQL engine takes no connection");
    bool ok = instance_run(connection, STR(RESOLVE_MACRO), err) &&
              write_empty_file(engine, connection, err) && feed_setup(connection, err) &&
              parquet_setup(connection, err) && vectors_setup(connection, err);
    duckdb_disconnect(&connection);
    return ok;
}

/* Only what engines leave there is removed: the directory itself may be a user's choice. */
static bool empty_spill(Engine *engine, bool make, Err *err) {
    static const char *const parts[] = {"trusted", "sandbox", "feeding", "empty"};
    char path[PATH_MAX + 16];
    struct stat info;
    for (size_t i = 0; i < COUNT(parts); i++) {
        snprintf(path, sizeof path, "%s/%s", engine->spill_dir, parts[i]);
        if (lstat(path, &info) == 0 && !dir_remove(path, err)) return false;
        if (make && mkdir(path, 0700)) return err_errno(err, "cannot make '%s'", path);
    }
    return true;
}

static bool set_spill_dir(Engine *engine, Err *err) {
    const char *given = engine->options.spill_dir;
    if (!dir_make(given, err)) return false;
    if (!realpath(given, engine->spill_dir)) return err_errno(err, "cannot find '%s'", given);
    return empty_spill(engine, true, err);
}

/* DuckDB does not count the strings of a batch, so that one statement could ask for more than the
 * machine has and the kernel would end the process. With the data of the process bounded to the
 * memory there is, such an allocation fails instead, which DuckDB turns into an error. Mapped files
 * do not count. */
static void memory_bound(void) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit limit;
    rlim_t memory = (rlim_t)sysconf(_SC_PHYS_PAGES) * (rlim_t)sysconf(_SC_PAGESIZE);
    if (getrlimit(RLIMIT_DATA, &limit) || limit.rlim_cur <= memory) return;
    limit.rlim_cur = memory;
    setrlimit(RLIMIT_DATA, &limit);
#endif
}

bool engine_open(const EngineOptions *options, Catalog *catalog, Engine **out, Err *err) {
    OWNED(engine_close) Engine *engine = calloc(1, sizeof *engine);
    if (!engine) abort();
    engine->options = *options;
    if (engine->options.threads <= 0)
        engine->options.threads = (int)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
    engine->catalog = catalog;
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->slot_free, NULL);
    memory_bound();
    file_reads_hook();
    policy_cache_open(&engine->passed);
    if (!set_spill_dir(engine, err)) return false;
    if (!open_trusted(engine, err)) return false;
    if (!sandbox_first(engine, err)) return false;
    if (!watch_open(engine, err)) return false;
    *out = TAKE(engine);
    return true;
}

void engine_close(Engine **engine) {
    Engine *e = TAKE(*engine);
    Err ignored;
    if (!e) return;
    watch_close(e);
    policy_cache_close(&e->passed);
    sandbox_close(&e->sandbox);
    if (e->feeding) duckdb_close(&e->feeding);
    if (e->trusted) duckdb_close(&e->trusted);
    if (e->spill_dir[0]) empty_spill(e, false, &ignored);
    pthread_cond_destroy(&e->slot_free);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
