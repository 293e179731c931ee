/* Datasets in a bucket whose store looks remote (kit/remote_store.h): what SQL transfers of them,
 * what it answers when it cannot, and that everything made of datasets works there. */
#include "ai/ai.h"
#include "ingest/ingest.h"
#include "kit/remote_store.h"
#include "query/engine.h"
#include "storage/read_cache_entry.h"
#include "vector/vector.h"

#include <zstd.h>

static Err err;
static Arena arena;

typedef struct Lake {
    char near[128], far[128];
    ReadCache *cache;
    Buckets *buckets;
    Bucket *held;
    RemoteStore *remote;
    Catalog *catalog;
    Engine *engine;
} Lake;
static Lake lake;

static void put(const char *dataset, CommitMode mode, const char *select) {
    Schema wanted;
    const Schema *schema;
    Str home, location;
    Store *store = bucket_store(lake.held);
    DataFile file = {0};
    char path[PATH_MAX], uuid[UUID_SIZE];
    int64_t version;
    CHECK_OK(engine_describe(lake.engine, str_from(select), &arena, &wanted, &err));
    CHECK_OK(catalog_plan(lake.catalog, str_from(dataset), mode, STR("far"), &wanted, &arena,
                          &schema, &home, &location, &err));
    CHECK_OK(store_staging(store, path, &err));
    CHECK_OK(engine_copy_parquet(lake.engine, str_from(select), schema, path, NULL, NULL, &arena,
                                 &file, &err));
    random_uuid(uuid);
    file.key = arena_print(&arena, "%.*s/data/%s.parquet", SHOW(location), uuid);
    CHECK_OK(store_adopt(store, path, file.key, NULL, NULL, &err));
    Commit commit = {
        .dataset = str_from(dataset),
        .bucket = home,
        .mode = mode,
        .schema = schema,
        .files = &file,
        .file_count = 1,
        .lineage = {.source_system = "query", .source = STR("test")}
    };
    CHECK_OK(catalog_commit(lake.catalog, &commit, &version, &err));
}

#define WIDE_ROWS 300000
static void put_wide(void) {
    OWNED(text_close) Text select = {0};
    text_print(&select, "SELECT n AS id, 'name ' || hash(n) AS name");
    for (int i = 0; i < 18; i++) text_print(&select, ", hash(n + %d)::DOUBLE AS c%d", i, i);
    text_print(&select, " FROM range(%d) z(n)", WIDE_ROWS);
    put("wide", COMMIT_CREATE, arena_cstr(&arena, text_str(&select)));
}

static void open_lake(void) {
    if (lake.engine) return;
    char spill[128], cache[128];
    const char *dir = kit_dir();
    snprintf(lake.near, sizeof lake.near, "%s/near", dir);
    snprintf(lake.far, sizeof lake.far, "%s/far", dir);
    snprintf(spill, sizeof spill, "%s/spill", dir);
    snprintf(cache, sizeof cache, "%s/cache", dir);
    BucketOptions buckets[] = {
        {STR("primary"), STR("local"), str_from(lake.near)},
        {STR("far"),     STR("local"), str_from(lake.far) }
    };
    CHECK_OK(read_cache_open(cache, 1 << 30, &lake.cache, &err));
    CHECK_OK(buckets_open(&(BucketsOptions){.items = buckets, .count = 2}, &lake.buckets, &err));
    CHECK_OK(bucket_find(lake.buckets, STR("far"), &lake.held, &err));
    lake.remote = remote_make(bucket_store(lake.held), lake.cache);
    CHECK_OK(catalog_open(lake.buckets, NULL, &lake.catalog, &err));
    EngineOptions options = {.threads = 2,
                             .memory_bytes = 1 << 30,
                             .spill_dir = spill,
                             .spill_bytes_max = 1 << 28,
                             .cache_dir = read_cache_dir(lake.cache),
                             .queries_max = 4};
    CHECK_OK(engine_open(&options, lake.catalog, &lake.engine, &err));
    put_wide();
}

/* Nothing of what was read before is left, and nothing is counted yet. */
static void forget(void) {
    open_lake();
    cache_evict(lake.cache, 0);
    remote_reset(lake.remote);
}

static bool ask_until(const char *sql, int64_t timeout_ms, int64_t *value) {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = str_from(sql), .timeout_ms = timeout_ms};
    size_t count;
    open_lake();
    if (!query_open(lake.engine, &query, &rows, &err) || !rows_next(rows, &count, &err))
        return false;
    *value = count ? rows_int(rows, 0, 0) : -1;
    while (count > 0)
        if (!rows_next(rows, &count, &err)) return false;
    return true;
}

static bool ask(const char *sql, int64_t *value) {
    return ask_until(sql, 60000, value);
}

static int64_t number(const char *sql) {
    int64_t value = 0;
    CHECK_OK(ask(sql, &value));
    return value;
}

static int64_t trusted_number(Str sql) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    CHECK_OK(engine_run(lake.engine, sql, NULL, NULL, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    return rows_int(rows, 0, 0);
}

/* The bytes of two columns as they lie in the file. */
static int64_t bytes_of_columns(const char *dataset, const char *columns) {
    OWNED(table_release) Table *table = NULL;
    const DataFile *files;
    size_t count;
    CHECK_OK(catalog_load(lake.catalog, str_from(dataset), 0, &table, &err));
    CHECK_OK(table_files(table, &files, &count, &err));
    return trusted_number(arena_print(&arena,
                                      "SELECT sum(total_compressed_size)::BIGINT FROM "
                                      "parquet_metadata('%s/%.*s') WHERE path_in_schema IN (%s)",
                                      lake.far, SHOW(files[0].key), columns));
}

TEST("a library whose reads are not those that are known is refused") {
    CHECK(!file_reads_hook_library((void *)ZSTD_versionNumber, &err));
    CHECK(err.kind == LH_IMPOSSIBLE && strstr(err.message, "no slot for 'open'"));
}

TEST("count(*) transfers the footer, in one request") {
    forget();
    CHECK_INT(number("SELECT count(*) FROM wide"), WIDE_ROWS);
    CHECK_INT(lake.remote->requests, 1);
    CHECK(lake.remote->bytes <= 160 << 10);
}

TEST("two of twenty columns transfer two columns and the footer, a chunk a request") {
    forget();
    CHECK_INT(number("SELECT count(*) FROM wide WHERE c3 > c11 OR c3 <= c11"), WIDE_ROWS);
    int64_t columns = bytes_of_columns("wide", "'c3', 'c11'");
    printf("     %lld bytes of columns, %lld transferred, %lld requests\n", (long long)columns,
           (long long)lake.remote->bytes, (long long)lake.remote->requests);
    CHECK(lake.remote->bytes >= columns &&
          lake.remote->bytes <= columns + columns / 5 + (160 << 10));
    CHECK(lake.remote->requests <= 8); /* three row groups, two columns, the footer */
    remote_reset(lake.remote);
    CHECK_INT(number("SELECT count(*) FROM wide WHERE c3 > c11 OR c3 <= c11"), WIDE_ROWS);
    CHECK_INT(lake.remote->requests, 0);
}

TEST("one row by its id reads one row group; all columns come in few requests") {
    forget();
    CHECK_INT(number("SELECT id FROM wide WHERE id = 150000"), 150000);
    CHECK(lake.remote->bytes < bytes_of_columns("wide", "'id'") + (160 << 10));
    forget();
    number("SELECT * FROM wide LIMIT 1");
    CHECK(lake.remote->requests <= 10);
}

TEST("many files are asked for side by side once, and not again") {
    open_lake();
    put("many", COMMIT_CREATE, "SELECT 0 AS id");
    for (int i = 0; i < 24; i++) put("many", COMMIT_APPEND, "SELECT 1 AS id");
    forget();
    CHECK_INT(number("SELECT sum(id)::BIGINT FROM many"), 24);
    CHECK(lake.remote->heads >= 25 && lake.remote->requests <= 25);
    remote_reset(lake.remote);
    CHECK_INT(number("SELECT count(*) FROM many WHERE id = 1"), 24);
    CHECK(lake.remote->heads <= 2); /* the catalog's look for a newer version */
    CHECK_INT(lake.remote->requests, 0);
}

TEST("a read that fails answers with the bucket's words, and the next query works") {
    int64_t value;
    forget();
    lake.remote->fail_in = 3;
    CHECK(!ask("SELECT sum(c1) FROM wide", &value));
    CHECK(err.kind == LH_OFFLINE && strstr(err.message, "the test's store is down"));
    CHECK(strstr(err.message, "wide") && !strstr(err.message, lake.far));
    forget();
    lake.remote->offline = true;
    CHECK(!ask("SELECT count(*) FROM many WHERE id < 7", &value));
    CHECK(err.kind == LH_OFFLINE && strstr(err.message, "the test's store is down"));
    lake.remote->offline = false;
    CHECK_INT(number("SELECT count(*) FROM wide WHERE c1 IS NOT NULL"), WIDE_ROWS);
    CHECK_INT(number("SELECT count(*) FROM many"), 25);
}

TEST("an object that changed below a dataset is a conflict, not a wrong answer") {
    int64_t value;
    forget();
    lake.remote->changed = true;
    CHECK(!ask("SELECT sum(c2) FROM wide", &value));
    CHECK(err.kind == LH_CONFLICT && strstr(err.message, "changed"));
    lake.remote->changed = false;
    CHECK_INT(number("SELECT count(c2) FROM wide WHERE c2 > 0"), WIDE_ROWS);
}

TEST("a slow store does not keep a query beyond its time for longer than its requests take") {
    int64_t value, started;
    forget();
    lake.remote->delay_ms = 150;
    started = clock_us();
    CHECK(
        !ask_until("SELECT sum(c1), sum(c5), sum(c9), sum(c13), max(name) FROM wide", 300, &value));
    lake.remote->delay_ms = 0;
    CHECK(err.kind == LH_TIMEOUT);
    CHECK(clock_us() - started < 1500 * 1000);
    CHECK_INT(number("SELECT count(*) FROM wide"), WIDE_ROWS);
}

TEST("a bound smaller than a dataset makes it slow, not wrong") {
    forget();
    int64_t bound = lake.cache->bytes_max;
    lake.cache->bytes_max = 1 << 20;
    CHECK_INT(number("SELECT count(*) FROM wide WHERE c3 > c11 OR name IS NOT NULL"), WIDE_ROWS);
    CHECK_INT(number("SELECT count(*) FROM wide a JOIN many b ON a.id = b.id"), 25);
    CHECK(read_cache_bytes(lake.cache) <= 1 << 20);
    lake.cache->bytes_max = bound;
}

TEST("a user's SQL does not reach the cache's files") {
    int64_t value;
    open_lake();
    number("SELECT count(*) FROM wide");
    const char *dir = read_cache_dir(lake.cache), *name = lake.cache->newest->name;
    const char *const attacks[] = {"SELECT * FROM read_parquet('%s/%s')",
                                   "SELECT * FROM '%s/%s'",
                                   "SELECT * FROM \"%s/%s\"",
                                   "SELECT * FROM parquet_metadata('%s/%s')",
                                   "SELECT * FROM read_blob('%s/%s')",
                                   "SELECT * FROM glob('%s/*%s')"};
    for (size_t i = 0; i < COUNT(attacks); i++) {
        OWNED(text_close) Text sql = {0};
        text_print(&sql, attacks[i], dir, name);
        CHECK(!ask(arena_cstr(&arena, text_str(&sql)), &value));
        CHECK(err.kind == LH_DENIED);
    }
}

/* Ingest, SQL, compaction, deletion, an index and a search, all on the remote bucket. */

static bool give(void *context, void *buffer, size_t size, size_t *got, Err *e) {
    Str *rest = context;
    (void)e;
    *got = MIN(size, rest->len);
    memcpy(buffer, rest->data, *got);
    *rest = str_slice(*rest, *got, rest->len);
    return true;
}

static void ingest(const char *mode, int from, int to) {
    OWNED(text_close) Text csv = {0}, result = {0};
    text_add(&csv, STR("id,body\n"));
    for (int i = from; i < to; i++)
        text_print(&csv, "%d,\"%s number %d of the lake\"\n", i, i % 2 ? "trout" : "heron", i);
    Str rest = text_str(&csv);
    IngestFile file = {.dataset = STR("notes"),
                       .bucket = STR("far"),
                       .format = STR("csv"),
                       .mode = str_from(mode),
                       .source_system = "http",
                       .source = STR("test")};
    CHECK_OK(
        ingest_file(lake.catalog, lake.engine, lake.buckets, &file, give, &rest, &result, &err));
}

static bool create_index(Job *job, void *context, Text *result, Err *e) {
    IndexSpec spec = {0};
    options_defaults(index_options, &spec);
    spec.index = STR("notes-index");
    spec.dataset = STR("notes");
    spec.bucket = STR("far");
    spec.id_column = STR("id");
    spec.text_column = STR("body");
    return index_create(context, &spec, job, result, e);
}

static void free_nothing(void *context) {
    (void)context;
}

static void run_create(Indexes *indexes) {
    OWNED(jobs_close) Jobs *jobs = NULL;
    OWNED(job_release) Job *job = NULL;
    OWNED(text_close) Text result = {0};
    CHECK_OK(jobs_open(1, &jobs, &err));
    CHECK_OK(jobs_start(jobs, "index", create_index, indexes, free_nothing, &job, &err));
    for (uint64_t seen = 0; job_state(job) < JOB_SUCCEEDED;) seen = job_wait(job, seen, 1000);
    CHECK_OK(job_result(job, &result, &err));
}

static void search(Indexes *indexes, const char *words, const char *hit) {
    OWNED(text_close) Text result = {0};
    Search what = {0};
    size_t at;
    options_defaults(search_options, &what);
    what.index = STR("notes-index");
    what.query = str_from(words);
    what.rows = true;
    CHECK_OK(index_search(indexes, &what, &result, &err));
    CHECK(str_find(text_str(&result), str_from(hit), &at));
}

TEST("ingest, SQL, an index, search, compaction and deletion work on a remote bucket") {
    Indexes *indexes;
    Rewritten rewritten;
    open_lake();
    ingest("create", 0, 500);
    ingest("append", 500, 900);
    CHECK_INT(number("SELECT count(*) FROM notes"), 900);
    CHECK_INT(number("SELECT id FROM notes WHERE body = 'trout number 801 of the lake'"), 801);
    CHECK_OK(indexes_open(lake.buckets, lake.catalog, lake.engine, NULL, &indexes, &err));
    run_create(indexes);
    search(indexes, "heron number 40 of the lake", "heron number 40 of the lake");
    indexes_close(&indexes);
    forget();
    CHECK_OK(indexes_open(lake.buckets, lake.catalog, lake.engine, NULL, &indexes, &err));
    search(indexes, "trout number 41 of the lake", "trout number 41 of the lake");
    Rewriting compact = {.dataset = STR("notes")};
    CHECK_OK(ingest_rewrite(lake.catalog, lake.engine, lake.buckets, &compact, &rewritten, &err));
    CHECK_INT(rewritten.rows, 900);
    forget();
    Rewriting removing = {.dataset = STR("notes"), .where = STR("id % 2 = 1")};
    CHECK_OK(ingest_rewrite(lake.catalog, lake.engine, lake.buckets, &removing, &rewritten, &err));
    CHECK_INT(rewritten.rows_removed, 450);
    CHECK_INT(number("SELECT count(*) FROM notes"), 450);
    cache_evict(lake.cache, 0); /* what was searched from stays mapped */
    search(indexes, "heron number 42 of the lake", "heron number 42 of the lake");
    CHECK_OK(index_drop(indexes, STR("notes-index"), &err));
    indexes_close(&indexes);
}

TEST("the lake closes, and its cache leaves nothing") {
    open_lake();
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", read_cache_dir(lake.cache));
    engine_close(&lake.engine);
    catalog_close(&lake.catalog);
    bucket_release(&lake.held);
    buckets_close(&lake.buckets);
    read_cache_close(&lake.cache);
    arena_close(&arena);
    CHECK(access(dir, F_OK) != 0);
}
