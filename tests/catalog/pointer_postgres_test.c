#include "catalog/lake.h"
#include "kit/service.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#define ROW "SELECT 1::BIGINT AS id"

static int catalogs; /* each test has a catalog of its own in the one database */
static char catalog_name[32];

static Catalog *open_catalog(Lake *lake) {
    Catalog *catalog = NULL;
    CatalogOptions options = {str_from(kit_service("postgres", NULL)), str_from(catalog_name)};
    CHECK_OK(catalog_open(lake->buckets, &options, &catalog, &err));
    return catalog;
}

static void lake_open_postgres(Lake *lake) {
    lake_open(lake, kit_dir());
    catalog_close(&lake->catalog);
    snprintf(catalog_name, sizeof catalog_name, "test%d", ++catalogs);
    lake->catalog = open_catalog(lake);
}

/* The one value that a statement gives, or its count of rows. */
static Str sql(const char *statement, Arena *arena) {
    PGconn *conn = PQconnectdb(kit_service("postgres", NULL));
    PGresult *result = PQexec(conn, statement);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        kit_fail(__FILE__, __LINE__, "%s: %s", statement, PQresultErrorMessage(result));
    Str out = {0};
    if (status == PGRES_TUPLES_OK && PQntuples(result) > 0)
        out = arena_copy(arena, str_from(PQgetvalue(result, 0, 0)));
    PQclear(result);
    PQfinish(conn);
    return out;
}

static Str row_of(const char *column, const char *table, Arena *arena) {
    Str statement = arena_print(arena,
                                "SELECT %s FROM iceberg_tables WHERE catalog_name = '%s' AND "
                                "table_namespace = 'main' AND table_name = '%s'",
                                column, catalog_name, table);
    return sql(arena_cstr(arena, statement), arena);
}

TEST("a dataset whose commits are rows in PostgreSQL is made, grows, goes back and is dropped") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lake_close) Lake lake = {0};
    OWNED(table_release) Table *table = NULL;
    int64_t version;
    lake_open_postgres(&lake);
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, ROW, &version));
    Str first = row_of("metadata_location", "t", &arena);
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_APPEND, ROW, &version));
    CHECK_INT(version, 2);
    CHECK_INT(lake_read(&lake, "t", 0, "count(*)"), 2);
    CHECK_STR(row_of("previous_metadata_location", "t", &arena), arena_cstr(&arena, first));
    Str second = row_of("metadata_location", "t", &arena);
    CHECK(str_ends(second, STR(".metadata.json")) && str_starts(second, STR("file:///")));
    CHECK_STR(row_of("iceberg_type", "t", &arena), "TABLE");
    CHECK_OK(catalog_rollback(lake.catalog, STR("t"), 1, &version, &err));
    CHECK_INT(lake_read(&lake, "t", 0, "count(*)"), 1);
    CHECK_OK(catalog_drop(lake.catalog, STR("t"), true, &err));
    CHECK_STR(row_of("metadata_location", "t", &arena), "");
    CHECK(!catalog_load(lake.catalog, STR("t"), 0, &table, &err));
    CHECK(str_is(str_from(err_word(&err)), "dataset_not_found"));
    err = (Err){0};
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, ROW, &version));
    CHECK_INT(version, 1);
}

TEST("datasets are listed from PostgreSQL, another catalog's are not, and it survives a restart") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lake_close) Lake lake = {0};
    int64_t version;
    Str *names;
    size_t count;
    lake_open_postgres(&lake);
    CHECK_OK(lake_ingest(&lake, "b", COMMIT_CREATE, ROW, &version));
    CHECK_OK(lake_ingest(&lake, "x.a", COMMIT_CREATE, ROW, &version));
    sql("INSERT INTO iceberg_tables VALUES ('elsewhere', 'main', 'c', 's3://x/y', NULL, 'TABLE') "
        "ON CONFLICT DO NOTHING",
        &arena);
    catalog_close(&lake.catalog);
    lake.catalog = open_catalog(&lake);
    CHECK_OK(catalog_names(lake.catalog, &arena, &names, &count, &err));
    CHECK_INT(count, 2);
    CHECK_STR(names[0], "b");
    CHECK_STR(names[1], "x.a");
    CHECK_INT(lake_read(&lake, "x.a", 0, "count(*)"), 1);
}

TEST("a table that another engine put elsewhere is named as such, a view is no dataset") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lake_close) Lake lake = {0};
    OWNED(table_release) Table *table = NULL;
    int64_t version;
    lake_open_postgres(&lake);
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, ROW, &version));
    Str insert = arena_print(&arena,
                             "INSERT INTO iceberg_tables VALUES ('%s', 'main', 'far', "
                             "'s3://other/far/metadata/00000-x.metadata.json', NULL, NULL), "
                             "('%s', 'main', 'v', 's3://other/v', NULL, 'VIEW')",
                             catalog_name, catalog_name);
    sql(arena_cstr(&arena, insert), &arena);
    CHECK(!catalog_load(lake.catalog, STR("far"), 0, &table, &err));
    CHECK(str_is(str_from(err_word(&err)), "dataset_elsewhere"));
    CHECK(!catalog_load(lake.catalog, STR("v"), 0, &table, &err));
    CHECK_INT(err.kind, LH_MISSING);
    CHECK_OK(catalog_load(lake.catalog, STR("t"), 0, &table, &err));
}

typedef struct Racer {
    Lake lake; /* the same buckets, a catalog of its own: as another server */
    const Schema *schema;
    DataFile file;
    int commits;
} Racer;

static void *race(void *context) {
    Racer *racer = context;
    for (int i = 0; i < racer->commits; i++) {
        Err mine = {0};
        int64_t version;
        Commit commit = {.dataset = STR("t"),
                         .mode = COMMIT_APPEND,
                         .schema = racer->schema,
                         .files = &racer->file,
                         .file_count = 1};
        if (!catalog_commit(racer->lake.catalog, &commit, &version, &mine)) {
            fprintf(stderr, "%s\n", mine.message);
            return racer;
        }
    }
    return NULL;
}

TEST("4 catalogs that commit side by side through PostgreSQL lose nothing") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lake_close) Lake lake = {0};
    OWNED(table_release) Table *table = NULL;
    Racer racers[4];
    pthread_t threads[COUNT(racers)];
    int64_t version;
    Str bucket, location;
    lake_open_postgres(&lake);
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, ROW, &version));
    Schema wanted = lake_schema(ROW, &arena);
    for (size_t i = 0; i < COUNT(racers); i++) {
        racers[i] = (Racer){.lake = lake, .commits = 20};
        racers[i].lake.catalog = open_catalog(&lake);
        CHECK_OK(catalog_plan(lake.catalog, STR("t"), COMMIT_APPEND, (Str){0}, &wanted, &arena,
                              &racers[i].schema, &bucket, &location, &err));
        lake_file(&lake, ROW, racers[i].schema, bucket, location, &arena, &racers[i].file);
    }
    bool failed = false;
    for (size_t i = 0; i < COUNT(racers); i++) pthread_create(&threads[i], NULL, race, &racers[i]);
    for (size_t i = 0; i < COUNT(racers); i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed |= result != NULL;
        catalog_close(&racers[i].lake.catalog);
    }
    CHECK(!failed);
    CHECK_OK(catalog_load(lake.catalog, STR("t"), 0, &table, &err));
    CHECK_INT(table_version(table), 1 + 4 * 20);
    CHECK_INT(table_rows(table), 1 + 4 * 20);
}

static int server_pid(void) {
    const char *dir;
    char path[128];
    int pid = 0;
    kit_service("postgres", &dir);
    snprintf(path, sizeof path, "%s/pid", dir);
    FILE *from = fopen(path, "r");
    if (!from || fscanf(from, "%d", &pid) != 1) kit_fail(__FILE__, __LINE__, "no pid");
    fclose(from);
    return pid;
}

TEST("PostgreSQL that is killed is out of reach, not empty, and serves again when it is back") {
    OWNED(lake_close) Lake lake = {0};
    OWNED(table_release) Table *table = NULL;
    int64_t version;
    lake_open_postgres(&lake);
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, ROW, &version));
    kill(server_pid(), SIGQUIT);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    CHECK(!catalog_load(lake.catalog, STR("t"), 0, &table, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK(str_is(str_from(err_word(&err)), "catalog_unreachable"));
    kit_service_again("postgres", "again");
    err = (Err){0};
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_APPEND, ROW, &version));
    CHECK_INT(version, 2);
}

TEST("a dsn that is none is refused without being repeated") {
    Catalog *catalog = NULL;
    CatalogOptions options = {.postgres_dsn = STR("postgresql://u:secret@[/x")};
    CHECK(!catalog_open(NULL, &options, &catalog, &err));
    CHECK_INT(err.kind, LH_INVALID);
    CHECK(!strstr(err.message, "secret"));
}
