/* What a loss of power could take: every write, fsync and rename of the library is written down, in
 * the order in which they end, and then looked at. */
#include "lance/lance_kit.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTS_MAX 4096
#define VISIBLE __attribute__((visibility("default")))

typedef struct Event {
    enum { WRITTEN, SYNCED, NAMED } kind;
    ino_t file, folder; /* folder: where it was named */
    bool manifest;
} Event;
static Event events[EVENTS_MAX];
static size_t event_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(Event event) {
    pthread_mutex_lock(&lock);
    if (event_count < EVENTS_MAX) events[event_count++] = event;
    pthread_mutex_unlock(&lock);
}

static ino_t inode_of(int fd) {
    struct stat info;
    return fstat(fd, &info) ? 0 : info.st_ino;
}

VISIBLE int fsync(int fd) {
    int rc = (int)syscall(SYS_fsync, fd);
    if (rc == 0) note((Event){SYNCED, .file = inode_of(fd)});
    return rc;
}
VISIBLE ssize_t write(int fd, const void *data, size_t size) {
    if (fd > 2) note((Event){WRITTEN, .file = inode_of(fd)});
    return syscall(SYS_write, fd, data, size);
}
VISIBLE int renameat2(int from, const char *path, int to, const char *name, unsigned flags) {
    int rc = (int)syscall(SYS_renameat2, from, path, to, name, flags);
    struct stat info;
    if (rc == 0 && fstatat(to, name, &info, 0) == 0)
        note((Event){NAMED, info.st_ino, inode_of(to), str_ends(str_from(name), STR(".manifest"))});
    return rc;
}

static bool synced_between(ino_t file, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        if (events[i].kind == SYNCED && events[i].file == file) return true;
    return false;
}

static size_t last_write(ino_t file, size_t before) {
    size_t last = 0;
    for (size_t i = 0; i < before; i++)
        if (events[i].kind == WRITTEN && events[i].file == file) last = i;
    return last;
}

/* Whatever had a name when a version got its own is durable by then, bytes and name; the version's
 * bytes too; and its name when the change is answered. */
static void check_order(size_t versions) {
    size_t seen = 0;
    CHECK(event_count < EVENTS_MAX);
    for (size_t at = 0; at < event_count; at++) {
        if (events[at].kind != NAMED || !events[at].manifest) continue;
        seen++;
        CHECK(synced_between(events[at].folder, at, event_count));
        for (size_t i = 0; i <= at; i++) {
            if (events[i].kind != NAMED) continue;
            CHECK(synced_between(events[i].file, last_write(events[i].file, at), at));
            CHECK(i == at || synced_between(events[i].folder, i, at));
        }
    }
    CHECK_INT(seen, versions);
    event_count = 0;
}

TEST("a version is seen only once all that it names is durable, and is durable when it is "
     "answered") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceField fields[] = {
        {.name = STR("id"), .type = lance_type(STR("int64")),                   .nullable = true},
        {.name = STR("v"),  .type = lance_type(STR("fixed_size_list:float:8")), .nullable = true},
    };
    LanceSchema schema = {fields, 2};
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    LanceVectorIndexOptions index = {.column = STR("v"), .partitions = 2, .sub_vectors = 2};
    uint64_t rows[] = {1, 2};
    LanceBatch batch = made_rows(&schema, 700, 2, &arena);
    LanceCompacted done;
    size_t changed;
    check_order(1);
    CHECK_OK(kit_append(table, &schema, 0, 300));
    check_order(1);
    CHECK_OK(lance_index_vectors(table, &index, NULL, &err));
    check_order(1);
    CHECK_OK(lance_index_scalar(table, STR("id"), NULL, &err));
    check_order(1);
    CHECK_OK(kit_append(table, &schema, 300, 300));
    CHECK_OK(lance_index_update(table, NULL, &changed, &err));
    check_order(1 + changed);
    CHECK_OK(lance_delete(table, rows, 1, NULL, &err));
    CHECK_OK(lance_update(table, rows + 1, 1, &batch, &err));
    check_order(2);
    CHECK_OK(lance_compact(table, NULL, &done, &err));
    check_order(1);
}
