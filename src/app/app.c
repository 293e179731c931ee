/* Opens every part in the order of LAYERS. app_open hands out an App whose parts all work; a part
 * that cannot be opened ends it with a message that says which. */
#include "app/app.h"

#include "app/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define JOB_THREADS 2

static void raise_to(int64_t *value, int64_t least) {
    if (*value < least) *value = least;
}

/* A share of the machine for DuckDB: vectors, buffers and the page cache want the rest. */
static int64_t default_memory(void) {
    int64_t total = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), quarter = total / 4;
    raise_to(&quarter, 256 << 20);
    return quarter;
}

static bool open_engine(App *app, const Settings *settings, Err *err) {
    ReadCache *cache = buckets_cache(app->buckets);
    EngineOptions options = {
        .threads = (int)settings->query.threads,
        .memory_bytes =
            settings->query.memory_mib ? settings->query.memory_mib << 20 : default_memory(),
        .spill_dir = arena_cstr(
            &app->arena, arena_print(&app->arena, "%.*s/spill", SHOW(settings->storage.state_dir))),
        .cache_dir = cache ? read_cache_dir(cache) : NULL,
        .spill_bytes_max = settings->query.spill_max_mib << 20,
        .queries_max = (int)settings->query.queries_max,
    };
    return dir_make(options.spill_dir, err) &&
           engine_open(&options, app->catalog, &app->engine, err);
}

static bool open_storage(App *app, const Settings *settings, Err *err) {
    const StorageSettings *storage = &settings->storage;
    BucketsOptions options = {
        .items = settings->buckets,
        .count = settings->bucket_count,
        .rescue = storage->rescue_bucket,
        .shared = storage->shared,
        .state_dir = arena_cstr(&app->arena, storage->state_dir),
        .cache_bytes_max = storage->cache_mib << 20,
        .breaker_failures = storage->breaker_failures,
        .breaker_probe_ms = storage->breaker_probe_ms,
        .s3 = {.part_bytes = storage->s3_part_mib << 20,
               .parallel = storage->s3_parallel,
               .connect_timeout_ms = storage->s3_connect_timeout_ms,
               .answer_timeout_ms = storage->s3_answer_timeout_ms,
               .stall_timeout_ms = storage->s3_stall_timeout_ms,
               .retry_ms = storage->s3_retry_ms},
        .secrets = app->secrets,
    };
    return buckets_open(&options, &app->buckets, err);
}

static bool open_catalog(App *app, const Settings *settings, Err *err) {
    CatalogOptions options = {.postgres_dsn = settings->catalog.dsn,
                              .name = settings->catalog.name};
    return catalog_open(app->buckets, &options, &app->catalog, err);
}

static bool open_profiles(App *app, const Settings *settings, Err *err) {
    Str path = arena_print(&app->arena, "%.*s/slot.json", SHOW(settings->storage.state_dir));
    const ProfilesOptions options = {.indexes = app->indexes,
                                     .ai = app->ai,
                                     .root = settings->storage.profile_root,
                                     .slot_path = arena_cstr(&app->arena, path)};
    return profiles_open(&options, &app->profiles, err) || err_while(err, "profiles");
}

static bool open_parts(App *app, const Settings *settings, const char *config_path, Err *err) {
    if (!secrets_open(settings->secrets, config_path, &app->secrets, err))
        return err_while(err, "secrets");
    if (!open_storage(app, settings, err)) return err_while(err, "storage");
    if (!open_catalog(app, settings, err)) return err_while(err, "catalog");
    if (!open_engine(app, settings, err)) return err_while(err, "query");
    if (!ai_open(&settings->ai, &app->ai, err) ||
        !ai_embedder(app->ai, (Str){0}, &app->embedder, err))
        return err_while(err, "ai");
    if (!indexes_open(app->buckets, app->catalog, app->engine, app->ai, &app->indexes, err))
        return err_while(err, "vector");
    if (settings->limits.index_build_mib)
        indexes_limit_build(app->indexes, settings->limits.index_build_mib << 20);
    if (!open_profiles(app, settings, err)) return false;
    if (!agent_open(&settings->agent, app->indexes, app->catalog, &app->agent, err))
        return err_while(err, "agent");
    return jobs_open(JOB_THREADS, &app->jobs, err) || err_while(err, "jobs");
}

static bool open_watch(App *app, const WatchOptions *options, Err *err) {
    return options->dir.len == 0 ||
           watch_folder_open(app->catalog, app->engine, app->buckets, options, &app->watch, err) ||
           err_while(err, "[ingest.watch]");
}

/* A check works beside a running server: on the buckets as one of several servers, in a state
 * folder of its own. */
static void set_checking(App *app, StorageSettings *storage) {
    Str folder = storage->state_dir;
    storage->shared = true;
    storage->state_dir = arena_print(&app->arena, "%.*s/check-%d", SHOW(folder), (int)getpid());
    app->check_state = arena_cstr(&app->arena, storage->state_dir);
}

static bool open_tls(App *app, const Settings *settings, Err *err) {
    app->http = settings->http;
    if (!settings->tls_cert.len) return true;
    if (!tls_server_open(settings->tls_cert, settings->tls_key, &app->tls, err))
        return err_while(err, "[gateway]");
    app->http.tls = app->tls;
    return true;
}

bool app_open(const AppOptions *options, App **out, Err *err) {
    OWNED(app_close) App *app = calloc(1, sizeof *app);
    Settings settings;
    if (!app) abort();
    app->started_ms = clock_now_ms();
    if (!settings_read(options, &app->config, &app->arena, &settings, err)) return false;
    log_setup(settings.log_level, settings.log_json);
    if (!open_tls(app, &settings, err)) return false;
    app->keys = settings.keys;
    app->local = settings.local;
    app->query_timeout_ms = settings.query.timeout_ms;
    app->ingest = settings.ingest.limits;
    if (!dir_make(arena_cstr(&app->arena, settings.storage.data_dir), err)) return false;
    if (options->checking) set_checking(app, &settings.storage);
    settings.agent.enabled &= !options->checking;
    const char *path =
        options->config_path.len ? arena_cstr(&app->arena, options->config_path) : NULL;
    if (!open_parts(app, &settings, path, err)) return false;
    if (!options->checking && !open_watch(app, &settings.ingest.watched, err)) return false;
    app->sweep_age_ms = settings.storage.sweep_age_s * 1000;
    *out = TAKE(app);
    return true;
}

void app_stop(App *app, int64_t grace_ms) {
    ai_stop(app->ai, grace_ms);
}

void app_close(App **app) {
    Err ignored;
    if (!*app) return;
    watch_folder_close(&(*app)->watch);
    jobs_close(&(*app)->jobs);
    agent_close(&(*app)->agent);
    profiles_close(&(*app)->profiles);
    indexes_close(&(*app)->indexes);
    embedder_close(&(*app)->embedder);
    ai_close(&(*app)->ai);
    engine_close(&(*app)->engine);
    catalog_close(&(*app)->catalog);
    buckets_close(&(*app)->buckets);
    secrets_close(&(*app)->secrets);
    if ((*app)->check_state) dir_remove((*app)->check_state, &ignored);
    tls_server_close(&(*app)->tls);
    config_close(&(*app)->config);
    arena_close(&(*app)->arena);
    free(*app);
    *app = NULL;
}

static void check_line(const char *what, bool ok, const Err *err) {
    printf("%-10s %s%s\n", what, ok ? "ok" : "FAILED: ", ok ? "" : err->message);
}

static void check_bucket(Str name, Bucket *bucket) {
    Store *store = bucket_store(bucket);
    Str location = store_location(store);
    bool conditional = store_abilities(store).if_absent;
    printf("bucket     %.*s: ok, %.*s%s\n", SHOW(name), SHOW(location),
           conditional ? "" : ", but it ignores If-None-Match: no home for datasets and indexes");
}

static bool check_buckets(const App *app, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    bool all = true;
    Str *names = bucket_names(app->buckets, &arena, &count);
    for (size_t i = 0; i < count; i++) {
        OWNED(bucket_release) Bucket *bucket = NULL;
        Err why = {0};
        bool ok = bucket_find(app->buckets, names[i], &bucket, &why) &&
                  store_probe(bucket_store(bucket), &why);
        if (ok)
            check_bucket(names[i], bucket);
        else
            printf("bucket     %.*s: FAILED: %s\n", SHOW(names[i]), why.message);
        if (!ok && all) *err = why;
        all = all && ok;
    }
    return all;
}

/* A key whose profile is not there is refused until somebody makes it. */
static void check_keys(const App *app) {
    for (size_t i = 0; i < app->keys.len; i++) {
        const AccessKey *key = &app->keys.items[i];
        OWNED(text_close) Text scopes = {0}, profile = {0};
        Err why = {0};
        bool ok = !key->profile.len || profile_write(app->profiles, key->profile, &profile, &why);
        key_scopes_write(key->scopes, &scopes);
        printf("key        %.*s: %.*s%s%.*s%s%s\n", SHOW(key->name), SHOW(text_str(&scopes)),
               key->profile.len ? "; profile " : "", SHOW(key->profile), ok ? "" : ": ",
               ok ? "" : why.message);
    }
}

bool app_check(const AppOptions *options, Err *err) {
    OWNED(app_close) App *app = NULL;
    AppOptions beside = *options;
    beside.checking = true;
    bool opened = app_open(&beside, &app, err);
    check_line("open", opened, err);
    if (!opened) return false;
    if (app->tls) check_line("tls", true, err);
    check_keys(app);
    bool buckets = check_buckets(app, err);
    OWNED(arena_close) Arena arena = {0};
    Str *names;
    size_t count;
    bool datasets = catalog_names(app->catalog, &arena, &names, &count, err);
    check_line("catalog", datasets, err);
    if (datasets) printf("datasets   %zu\n", count);
    Err why = {0};
    bool models = ai_probe(app->ai, &why);
    check_line("models", models, &why);
    if (!models && buckets && datasets) *err = why;
    return buckets && datasets && models;
}
