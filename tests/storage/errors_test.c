#include "kit/kit.h"
#include "storage/storage.h"

#include <pthread.h>
#include <signal.h>
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
