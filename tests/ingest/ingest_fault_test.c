#include "storage/fault.h"

#include "ingest/ingest.h"
#include "kit/engine.h"

#include <stdlib.h>

static Err err;
static Arena arena;
static Buckets *buckets;
static Catalog *catalog;
static Engine *engine;
static char root[128];

static void open_lake(void) {
    snprintf(root, sizeof root, "%s/lake", kit_dir());
    BucketOptions primary = {STR("primary"), STR("local"), str_from(root)};
    CHECK_OK(buckets_open(&(BucketsOptions){.items = &primary, .count = 1}, &buckets, &err));
    CHECK_OK(catalog_open(buckets, NULL, &catalog, &err));
    engine = kit_engine(catalog, 1 << 30, 1 << 28);
}

static bool give(void *context, void *buffer, size_t size, size_t *got, Err *e) {
    Str *rest = context;
    (void)e;
    *got = MIN(size, rest->len);
    memcpy(buffer, rest->data, *got);
    *rest = str_slice(*rest, *got, rest->len);
    return true;
}

static bool ingest(Str dataset, int fault) {
    OWNED(text_close) Text result = {0};
    Str body = STR("id,email\n1,a@example.com\n2,b@example.com\n");
    IngestFile file = {.dataset = dataset, .source_system = "http"};
    fault_in = fault;
    return ingest_file(catalog, engine, buckets, &file, give, &body, &result, &err);
}

/* All files but those of the error journal, which takes a note of each failure in its own time. */
static Str listing(void) {
    OWNED(text_close) Text out = {0};
    char command[320], line[512];
    Err ignored = {0};
    errors_flush(buckets_errors(buckets), &ignored);
    snprintf(command, sizeof command,
             "find %s -path '*/_lakehouse/errors' -prune -o -type f -printf '%%P %%s\n' | "
             "LC_ALL=C sort",
             root);
    FILE *pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) text_add(&out, str_from(line));
    if (pipe) pclose(pipe);
    return arena_copy(&arena, text_str(&out));
}

static int64_t rows_of(Str dataset) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    Query query = {.sql = arena_print(&arena, "SELECT count(*) FROM %.*s", SHOW(dataset))};
    if (!query_open(engine, &query, &rows, &err) || !rows_next(rows, &count, &err)) return -1;
    return rows_int(rows, 0, 0);
}

TEST("whichever call of an ingest fails, the dataset is there and whole or nothing of it stays") {
    bool met = true;
    int failures = 0;
    open_lake();
    for (int n = 1; met; n++) {
        Str dataset = arena_print(&arena, "t%d", n), before = listing();
        bool ok = ingest(dataset, n);
        met = fault_in == 0;
        fault_in = 0;
        bool unknown = !ok && str_is(str_from(err_word(&err)), "commit_unknown");
        failures += !ok;
        if (ok) CHECK_INT(rows_of(dataset), 2);
        if (ok || unknown) continue;
        CHECK_STR(listing(), before.data);
        CHECK_INT(rows_of(dataset), -1);
        CHECK(err.kind == LH_MISSING);
    }
    CHECK(failures >= 8);
}

TEST("the lake closes") {
    engine_close(&engine);
    catalog_close(&catalog);
    buckets_close(&buckets);
    arena_close(&arena);
    CHECK(!engine && !catalog && !buckets);
}
