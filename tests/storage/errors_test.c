#include "kit/kit.h"
#include "storage/storage.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static Err err;

static Store *open_root(const char *root) {
    Store *store = NULL;
    CHECK_OK(store_local_open(str_from(root), &store, &err));
    return store;
}

static void add(ErrorJournal *journal, const char *bucket, const char *key, bool rescued) {
    ErrorEvent event = {.bucket = str_from(bucket),
                        .key = str_from(key),
                        .error = STR("it broke"),
                        .op = "get",
                        .rescued = rescued};
    errors_add(journal, &event);
}

static const Json *answer(ErrorJournal *journal, const char *bucket, size_t limit, Arena *arena) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const Json *json = NULL;
    CHECK_OK(errors_write(journal, str_from(bucket), 0, limit, &w, &err));
    CHECK_OK(json_read(text_str(&text), arena, &json, &err));
    return json;
}

static const Json *compact(ErrorJournal *journal, Arena *arena) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const Json *json = NULL;
    CHECK_OK(errors_compact(journal, &w, &err));
    CHECK_OK(json_read(text_str(&text), arena, &json, &err));
    return json;
}

TEST("a flushed event survives SIGKILL") {
    const char *root = kit_dir();
    pid_t pid = fork();
    if (pid == 0) {
        Store *store = open_root(root);
        ErrorJournal *journal;
        errors_open(&(ErrorsOptions){.store = store}, &journal);
        add(journal, "a", "kept", false);
        if (!errors_flush(journal, &err)) _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(pid, &status, 0);
    CHECK(WIFSIGNALED(status));
    OWNED(store_close) Store *store = open_root(root);
    OWNED(errors_close) ErrorJournal *journal = NULL;
    OWNED(arena_close) Arena arena = {0};
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    CHECK_INT(answer(journal, "a", 50, &arena)->len, 1);
}

TEST("events come newest first, by bucket too, and again after a restart") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    OWNED(arena_close) Arena arena = {0};
    for (int round = 0; round < 2; round++) {
        OWNED(errors_close) ErrorJournal *journal = NULL;
        errors_open(&(ErrorsOptions){.store = store}, &journal);
        if (round == 0) {
            add(journal, "a", "first", false);
            add(journal, "b", "second", true);
            add(journal, "a", "third", false);
        }
        const Json *all = answer(journal, "", 50, &arena), *a = answer(journal, "a", 1, &arena);
        CHECK_INT(all->len, 3);
        CHECK_INT(a->len, 1);
        CHECK_STR(json_get_text(&a->items[0], "key", STR("")), "third");
        CHECK_STR(json_get_text(&all->items[1], "key", STR("")), "second");
        CHECK(json_get_flag(&all->items[1], "rescued", false));
        CHECK_STR(json_get_text(&all->items[1], "error", STR("")), "it broke");
    }
}

static void *add_many(void *context) {
    ErrorJournal *journal = context;
    Err mine = {0};
    for (int i = 0; i < 500; i++) {
        add(journal, "busy", "key", false);
        if (i % 50 == 0 && !errors_flush(journal, &mine)) return "flush";
        if (i % 170 == 0 && !errors_compact(journal, NULL, &mine)) return "compact";
    }
    return NULL;
}

TEST("compaction loses no event, while others add and flush, and leaves fewer files") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    OWNED(errors_close) ErrorJournal *journal = NULL;
    OWNED(arena_close) Arena arena = {0};
    pthread_t threads[4];
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    for (size_t i = 0; i < COUNT(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, add_many, journal) == 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
    const Json *done = compact(journal, &arena);
    CHECK_INT(json_get_int(done, "events", 0), 2000);
    CHECK_INT(json_get_int(done, "files_after", 0), 1);
    errors_close(&journal);
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    CHECK_INT(answer(journal, "", ERRORS_KEPT_MAX, &arena)->len, 2000);
}

TEST("batches that a crashed compaction left beside the merged one show nothing twice") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    OWNED(errors_close) ErrorJournal *journal = NULL;
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.prefix = STR("_lakehouse/errors/"), .limit = 10};
    ObjectList before;
    Bytes batches[3];
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    for (int i = 0; i < 3; i++) {
        add(journal, "a", "key", false);
        CHECK_OK(errors_flush(journal, &err));
    }
    CHECK_OK(store_list(store, &options, &arena, &before, &err));
    CHECK_INT(before.object_count, 3);
    for (int i = 0; i < 3; i++)
        CHECK_OK(store_read(store, before.objects[i].key, 1 << 20, &arena, &batches[i], &err));
    compact(journal, &arena);
    errors_close(&journal);
    for (int i = 0; i < 3; i++)
        CHECK_OK(store_write(store, before.objects[i].key, batches[i], NULL, &err));
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    CHECK_INT(answer(journal, "", 50, &arena)->len, 3);
    CHECK_INT(json_get_int(compact(journal, &arena), "events", 0), 3);
}

TEST("a damaged batch is left as it is by a compaction that merges the others") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    OWNED(errors_close) ErrorJournal *journal = NULL;
    OWNED(arena_close) Arena arena = {0};
    ObjectList after;
    ListOptions options = {.prefix = STR("_lakehouse/errors/"), .limit = 10};
    Str damaged = STR("_lakehouse/errors/00000000000000000001-0000000000000001.log");
    CHECK_OK(store_write(store, damaged, bytes_of(STR("not framed")), NULL, &err));
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    for (int i = 0; i < 3; i++) {
        add(journal, "a", "key", false);
        CHECK_OK(errors_flush(journal, &err));
    }
    const Json *done = compact(journal, &arena);
    CHECK_INT(json_get_int(done, "events", 0), 3);
    CHECK_INT(json_get_int(done, "files_after", 0), 2);
    CHECK_OK(store_list(store, &options, &arena, &after, &err));
    CHECK_INT(after.object_count, 2);
    CHECK_STR(after.objects[0].key, damaged.data);
}

TEST("while the primary is away events wait, and are written once it is back") {
    const char *dir = kit_dir();
    char root[128], away[128];
    snprintf(root, sizeof root, "%s/root", dir);
    snprintf(away, sizeof away, "%s/away", dir);
    OWNED(store_close) Store *store = open_root(root);
    OWNED(arena_close) Arena arena = {0};
    OWNED(errors_close) ErrorJournal *journal = NULL;
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    CHECK(rename(root, away) == 0);
    add(journal, "a", "one", false);
    CHECK(!errors_flush(journal, &err));
    add(journal, "a", "two", false);
    CHECK_INT(answer(journal, "", 50, &arena)->len, 2);
    CHECK(rename(away, root) == 0);
    CHECK_OK(errors_flush(journal, &err));
    errors_close(&journal);
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    const Json *all = answer(journal, "", 50, &arena);
    CHECK_INT(all->len, 2);
    CHECK_STR(json_get_text(&all->items[0], "key", STR("")), "two");
}

TEST("health counts per bucket and says healthy, degraded or down, the last of an open breaker "
     "too") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    OWNED(errors_close) ErrorJournal *journal = NULL;
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    HealthOf names[] = {
        {STR("calm"),  false},
        {STR("shaky"), false},
        {STR("gone"),  false},
        {STR("dark"),  true }
    };
    const Json *json;
    errors_open(&(ErrorsOptions){.store = store}, &journal);
    add(journal, "shaky", "k", true);
    for (int i = 0; i < 12; i++) add(journal, "gone", "k", false);
    CHECK_OK(errors_health(journal, names, 4, 5, &w, &err));
    CHECK_OK(json_read(text_str(&text), &arena, &json, &err));
    const Json *list = json_get(json, "buckets");
    CHECK_STR(json_get_text(&list->items[0], "status", STR("")), "healthy");
    CHECK_STR(json_get_text(&list->items[1], "status", STR("")), "degraded");
    CHECK_STR(json_get_text(&list->items[2], "status", STR("")), "down");
    CHECK_STR(json_get_text(&list->items[3], "status", STR("")), "down");
    CHECK_INT(json_get_int(&list->items[1], "rescues", 0), 1);
    CHECK_INT(json_get_int(json_get(&list->items[2], "by_op"), "get", 0), 12);
}

/* A journal of a primary that can be moved away and back, with a spool beside it. */
typedef struct Outage {
    char root[128], away[128], spool[128];
    Store *store;
    ErrorJournal *journal;
} Outage;

static void outage_make(Outage *out) {
    const char *dir = kit_dir();
    *out = (Outage){0};
    snprintf(out->root, sizeof out->root, "%s/root", dir);
    snprintf(out->away, sizeof out->away, "%s/away", dir);
    snprintf(out->spool, sizeof out->spool, "%s/errors.spool", dir);
    out->store = open_root(out->root);
}

static void outage_open(Outage *outage) {
    errors_open(&(ErrorsOptions){.store = outage->store, .spool_path = outage->spool},
                &outage->journal);
}

static void outage_close(Outage *outage) {
    errors_close(&outage->journal);
    store_close(&outage->store);
}

static void outage_begin(Outage *outage) {
    CHECK(rename(outage->root, outage->away) == 0);
}

static void outage_end(Outage *outage) {
    CHECK(rename(outage->away, outage->root) == 0);
}

static long file_size(const char *path) {
    struct stat info;
    return stat(path, &info) ? -1 : (long)info.st_size;
}

TEST("while the primary is away a flush is durable in the spool, over SIGKILL too, and each event "
     "reaches the primary once") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(outage_close) Outage outage;
    outage_make(&outage);
    pid_t pid = fork();
    if (pid == 0) {
        outage_open(&outage);
        outage_begin(&outage);
        add(outage.journal, "a", "one", false);
        add(outage.journal, "a", "two", false);
        if (!errors_flush(outage.journal, &err)) _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(pid, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(file_size(outage.spool) > 0);
    outage_open(&outage); /* the primary is still away */
    CHECK_INT(answer(outage.journal, "", 50, &arena)->len, 2);
    add(outage.journal, "a", "three", false);
    CHECK_OK(errors_flush(outage.journal, &err));
    outage_end(&outage);
    CHECK_OK(errors_flush(outage.journal, &err));
    CHECK_INT(file_size(outage.spool), 0);
    CHECK_INT(answer(outage.journal, "", 50, &arena)->len, 3);
    errors_close(&outage.journal);
    errors_open(&(ErrorsOptions){.store = outage.store}, &outage.journal);
    CHECK_INT(answer(outage.journal, "", 50, &arena)->len, 3);
    CHECK_INT(json_get_int(compact(outage.journal, &arena), "events", 0), 3);
}

TEST("a spool that was written to the primary but not yet emptied shows nothing twice") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(outage_close) Outage outage;
    Bytes spool;
    outage_make(&outage);
    outage_open(&outage);
    outage_begin(&outage);
    for (int i = 0; i < 5; i++) add(outage.journal, "a", "k", false);
    CHECK_OK(errors_flush(outage.journal, &err));
    CHECK_OK(file_read(outage.spool, 1 << 20, &arena, &spool, &err));
    outage_end(&outage);
    CHECK_OK(errors_flush(outage.journal, &err));
    errors_close(&outage.journal);
    CHECK_OK(file_replace(outage.spool, spool, &err));
    outage_open(&outage);
    CHECK_OK(errors_flush(outage.journal, &err));
    CHECK_INT(answer(outage.journal, "", 50, &arena)->len, 5);
    CHECK_INT(json_get_int(compact(outage.journal, &arena), "events", 0), 5);
}

TEST("a torn spool gives what is whole of it, and takes events again") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(outage_close) Outage outage;
    outage_make(&outage);
    outage_open(&outage);
    outage_begin(&outage);
    for (int i = 0; i < 3; i++) add(outage.journal, "a", "k", false);
    CHECK_OK(errors_flush(outage.journal, &err));
    errors_close(&outage.journal);
    CHECK(truncate(outage.spool, file_size(outage.spool) - 5) == 0);
    outage_open(&outage);
    CHECK_INT(answer(outage.journal, "", 50, &arena)->len, 2);
    add(outage.journal, "a", "k", false);
    CHECK_OK(errors_flush(outage.journal, &err));
    outage_end(&outage);
    CHECK_OK(errors_flush(outage.journal, &err));
    CHECK_INT(json_get_int(compact(outage.journal, &arena), "events", 0), 3);
}

TEST("a spool that is full refuses the flush, and what it acknowledged reaches the primary") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(outage_close) Outage outage;
    char text[4000];
    outage_make(&outage);
    outage_open(&outage);
    outage_begin(&outage);
    memset(text, 'x', sizeof text);
    int acknowledged = 0;
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j < 50; j++)
            errors_add(outage.journal, &(ErrorEvent){
                                           .bucket = STR("a"),
                                           .key = STR("k"),
                                           .op = "get",
                                           .error = {text, sizeof text}
            });
        if (!errors_flush(outage.journal, &err)) break;
        acknowledged += 50;
    }
    CHECK_INT(err.kind, LH_FULL);
    CHECK(acknowledged > 1500 && acknowledged < 2500);
    CHECK(file_size(outage.spool) <= 8 << 20);
    outage_end(&outage);
    CHECK_OK(errors_flush(outage.journal, &err));
    CHECK_INT(file_size(outage.spool), 0);
    CHECK_INT(json_get_int(compact(outage.journal, &arena), "events", 0), acknowledged + 50);
}

TEST("what a primary has that was away at the start is loaded once it is back") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(outage_close) Outage outage;
    outage_make(&outage);
    outage_open(&outage);
    add(outage.journal, "a", "old", false);
    errors_close(&outage.journal);
    outage_begin(&outage);
    outage_open(&outage);
    add(outage.journal, "a", "new", false);
    CHECK_INT(answer(outage.journal, "", 50, &arena)->len, 1);
    outage_end(&outage);
    for (int i = 0; i < 500 && answer(outage.journal, "", 50, &arena)->len < 2; i++) usleep(10000);
    const Json *all = answer(outage.journal, "", 50, &arena);
    CHECK_INT(all->len, 2);
    CHECK_STR(json_get_text(&all->items[0], "key", STR("")), "new");
    CHECK_STR(json_get_text(&all->items[1], "key", STR("")), "old");
}

typedef struct Adding {
    char root[128], moved[140], spool[128];
    int from;
    bool away;
} Adding;

/* Adds events with consecutive keys, flushes each, and says so. */
static void add_forever(void *context) {
    const Adding *adding = context;
    ErrorJournal *journal;
    Store *store = open_root(adding->root);
    errors_open(&(ErrorsOptions){.store = store, .spool_path = adding->spool}, &journal);
    if (adding->away) CHECK(rename(adding->root, adding->moved) == 0);
    for (int i = adding->from;; i++) {
        char key[16];
        snprintf(key, sizeof key, "%06d", i);
        add(journal, "a", key, false);
        CHECK_OK(errors_flush(journal, &err));
        if (i % 7 == 0 && !adding->away) CHECK_OK(errors_compact(journal, NULL, &err));
        kit_acknowledge(&i, sizeof i);
    }
}

/* Every acknowledged event is there once, in the answer and on disk. */
static void check_events(ErrorJournal *journal, const bool *acknowledged, int count) {
    OWNED(arena_close) Arena arena = {0};
    const Json *all = answer(journal, "", ERRORS_KEPT_MAX, &arena);
    bool *seen = arena_array(&arena, bool, count + 16);
    for (size_t i = 0; i < all->len; i++) {
        int64_t key;
        CHECK(str_to_i64(json_get_text(&all->items[i], "key", STR("x")), &key));
        CHECK(key < count + 16 && !seen[key]);
        seen[key] = true;
    }
    for (int i = 0; i < count; i++) CHECK(seen[i] || !acknowledged[i]);
    CHECK_INT(json_get_int(compact(journal, &arena), "events", 0), all->len);
}

TEST("acknowledged events survive SIGKILL at any moment, with the primary there and away") {
    const char *dir = kit_dir();
    Adding adding = {.from = 0};
    static bool acknowledged[ERRORS_KEPT_MAX + 1];
    int count = 0;
    snprintf(adding.root, sizeof adding.root, "%s/root", dir);
    snprintf(adding.moved, sizeof adding.moved, "%s.moved", adding.root);
    snprintf(adding.spool, sizeof adding.spool, "%s/spool", dir);
    for (int i = 0; i < kit_kills(30); i++) {
        size_t acks;
        adding.away = i % 2;
        kit_kill(add_forever, &adding, 60000, sizeof(int), &acks);
        for (; acks > 0; acks--, count++) acknowledged[adding.from++] = true;
        adding.from++; /* that one may be there without having been acknowledged */
        if (adding.away) CHECK(rename(adding.moved, adding.root) == 0);
    }
    CHECK(count > 0 && adding.from < ERRORS_KEPT_MAX);
    OWNED(store_close) Store *store = open_root(adding.root);
    OWNED(errors_close) ErrorJournal *journal = NULL;
    errors_open(&(ErrorsOptions){.store = store, .spool_path = adding.spool}, &journal);
    CHECK_OK(errors_flush(journal, &err));
    check_events(journal, acknowledged, adding.from);
}

typedef struct Rival {
    ErrorJournal *journal;
    int from;
    const char *failed;
} Rival;

static void *rival_run(void *context) {
    Rival *rival = context;
    Err mine = {0};
    for (int i = 0; i < 60; i++) {
        char key[16];
        snprintf(key, sizeof key, "%06d", rival->from + i);
        add(rival->journal, "a", key, false);
        if (!errors_flush(rival->journal, &mine)) rival->failed = "flush";
        if (i % 5 == 4 && !errors_compact(rival->journal, NULL, &mine)) rival->failed = "compact";
    }
    return NULL;
}

TEST("two servers that compact the same primary fail neither and lose nothing") {
    const char *root = kit_dir();
    OWNED(store_close) Store *one = open_root(root);
    OWNED(store_close) Store *two = open_root(root);
    Rival rivals[2] = {0};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        rivals[i].from = i * 60;
        errors_open(&(ErrorsOptions){.store = i ? two : one}, &rivals[i].journal);
        CHECK(pthread_create(&threads[i], NULL, rival_run, &rivals[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        CHECK(!rivals[i].failed);
        errors_close(&rivals[i].journal);
    }
    OWNED(errors_close) ErrorJournal *journal = NULL;
    errors_open(&(ErrorsOptions){.store = one}, &journal);
    static bool acknowledged[120];
    memset(acknowledged, true, sizeof acknowledged);
    check_events(journal, acknowledged, 120);
}
