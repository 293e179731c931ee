#include "lance/lance_kit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* What was acknowledged before the process was killed. */
typedef struct Progress {
    uint64_t version, rows;
} Progress;

static bool change(LanceTable *table, const LanceSchema *schema, uint64_t n) {
    LanceCompacted done;
    LanceInfo info;
    uint64_t row;
    lance_info(table, &info);
    if (n % 7 == 6) return lance_compact(table, NULL, &done, &err);
    if (n % 3 != 2) return kit_append(table, schema, n * 10, 10);
    OWNED(lance_scan_close) LanceScan *scan = NULL;
    LanceBatch batch;
    if (!lance_scan(table, &(LanceScanOptions){.batch_rows = 1}, &scan, &err) ||
        !lance_scan_next(scan, &batch, &err))
        return false;
    row = batch.addresses[0];
    return lance_delete(table, &row, 1, NULL, &err);
}

static void change_until_killed(const char *dir, int acks) {
    LanceSchema schema = kit_small_schema();
    Store *store = kit_store(dir);
    LanceTable *table;
    if (!lance_open(store, STR("a/t.lance"), 0, &table, &err)) _exit(1);
    for (uint64_t n = random_u64() % 7;; n++) {
        if (!change(table, &schema, n)) _exit(1);
        Progress progress = {kit_version(table), kit_rows(table)};
        if (write(acks, &progress, sizeof progress) != sizeof progress) _exit(1);
    }
}

static Progress crash_once(const char *dir) {
    int ends[2];
    Progress progress, last = {0};
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) change_until_killed(dir, ends[1]);
    close(ends[1]);
    CHECK(read(ends[0], &last, sizeof last) == sizeof last);
    usleep((useconds_t)(random_u64() % 30000));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(ends[0], &progress, sizeof progress) == sizeof progress) last = progress;
    close(ends[0]);
    return last;
}

static void kill_often(const char *file_version) {
    const char *kills = getenv("CRASH_KILLS"), *dir = kit_dir();
    static int64_t ids[100000];
    LanceSchema schema = kit_small_schema();
    Store *store = kit_store(dir);
    LanceTable *table = kit_table_in(store, file_version, &schema);
    CHECK_OK(kit_append(table, &schema, 0, 100));
    lance_close(&table);
    store_close(&store);
    for (int round = 0; round < (kills ? atoi(kills) : 50); round++) {
        Progress known = crash_once(dir);
        store = kit_store(dir);
        CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
        CHECK(kit_version(table) == known.version || kit_version(table) == known.version + 1);
        if (kit_version(table) == known.version) CHECK_INT(kit_rows(table), known.rows);
        CHECK_INT(kit_ids(table, ids, COUNT(ids)), kit_rows(table));
        LanceCleaned cleaned;
        if (round % 10 == 9) CHECK_OK(lance_cleanup(table, INT64_MAX, INT64_MAX, &cleaned, &err));
        CHECK_INT(kit_ids(table, ids, COUNT(ids)), kit_rows(table));
        lance_close(&table);
        store_close(&store);
    }
}

TEST("killed at 50 moments of appends, deletes and compactions: what was acknowledged is there, at "
     "most one version more, and every row can be read") {
    kill_often("2.0");
}
TEST("the same in files of LanceDB's default version") {
    kill_often("2.2");
}
