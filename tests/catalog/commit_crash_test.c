#include "catalog/lake.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static bool commit_one(Lake *lake, CommitMode mode, int64_t *version) {
    Field field = {.id = 1, .name = STR("id"), .type = {.kind = TYPE_LONG}};
    Schema schema = {.fields = &field, .len = 1};
    DataFile file = {.key = STR("warehouse/main/t/data/x.parquet"), .rows = 1, .bytes = 1};
    Commit commit = {
        .dataset = STR("t"), .mode = mode, .schema = &schema, .files = &file, .file_count = 1};
    return catalog_commit(lake->catalog, &commit, version, &err);
}

/* Appends files that exist in name only, for ever, and says each version once it is acknowledged.
 */
static void append_until_killed(const char *dir, int acks) {
    Lake lake;
    lake_open(&lake, dir);
    for (int64_t version;;) {
        if (!commit_one(&lake, COMMIT_APPEND, &version)) _exit(1);
        if (write(acks, &version, sizeof version) != sizeof version) _exit(1);
    }
}

static int64_t crash_once(const char *dir) {
    int ends[2];
    int64_t version, last = 0;
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) append_until_killed(dir, ends[1]);
    close(ends[1]);
    CHECK(read(ends[0], &last, sizeof last) == sizeof last);
    usleep((useconds_t)(random_u64() % 60000));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(ends[0], &version, sizeof version) == sizeof version) last = version;
    close(ends[0]);
    return last;
}

TEST("killed in the middle of commits: every acknowledged version is there, at most one more") {
    Lake lake;
    const char *dir = kit_dir();
    int64_t created;
    lake_open(&lake, dir);
    CHECK_OK(commit_one(&lake, COMMIT_CREATE, &created));
    lake_close(&lake);
    for (int round = 0; round < 12; round++) {
        OWNED(table_release) Table *table = NULL;
        const DataFile *files;
        size_t count;
        int64_t acknowledged = crash_once(dir);
        lake_open(&lake, dir);
        CHECK_OK(catalog_load(lake.catalog, STR("t"), 0, &table, &err));
        int64_t version = table_version(table);
        CHECK(version == acknowledged || version == acknowledged + 1);
        CHECK_OK(table_files(table, &files, &count, &err));
        CHECK_INT(count, version);
        CHECK_INT(table_rows(table), version);
        table_release(&table);
        lake_close(&lake);
    }
}
