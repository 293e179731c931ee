/* What every backend of objects must do: a test program of a backend defines contract_store() and
 * includes this. The store it gives is empty. A backend whose etag is a hash of the bytes defines
 * CONTRACT_ETAG_OF_BYTES. A store that cannot honour conditional writes must refuse them. */
#pragma once

#include "kit/kit.h"
#include "storage/storage.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static Store *contract_store(void);
static Err err;

static void put(Store *store, const char *key, const char *text) {
    CHECK_OK(store_write(store, str_from(key), bytes_of(str_from(text)), NULL, &err));
}

static bool put_if(Store *store, const char *key, const char *text, PutCondition condition) {
    return store_write(store, str_from(key), bytes_of(str_from(text)), &condition, &err);
}

static void check_object(Store *store, const char *key, const char *text) {
    OWNED(arena_close) Arena arena = {0};
    Bytes data;
    CHECK_OK(store_read(store, str_from(key), 1 << 20, &arena, &data, &err));
    CHECK_STR(str_of(data), text);
}

static void check_missing(Store *store, const char *key) {
    ObjectInfo info;
    err = (Err){0};
    CHECK(!store_head(store, str_from(key), &info, &err));
    CHECK_INT(err.kind, LH_MISSING);
}

static Str etag_of(Store *store, const char *key, ObjectInfo *info) {
    CHECK_OK(store_head(store, str_from(key), info, &err));
    return str_from(info->etag);
}

/* The keys and common prefixes of a page in the order they were given, as one text. */
static Str listing(Store *store, ListOptions options, Arena *arena, Str *next) {
    Text text = {0};
    ObjectList list;
    if (options.limit == 0) options.limit = STORE_LIST_MAX;
    CHECK_OK(store_list(store, &options, arena, &list, &err));
    for (size_t i = 0; i < list.object_count; i++)
        text_print(&text, "%s%.*s", i ? " " : "", SHOW(list.objects[i].key));
    for (size_t i = 0; i < list.prefix_count; i++)
        text_print(&text, "%s[%.*s]", i || list.object_count ? " " : "", SHOW(list.prefixes[i]));
    if (next) *next = list.next;
    Str out = arena_copy(arena, text_str(&text));
    text_close(&text);
    return out;
}

TEST("contract: what was written is read back, in parts too, with its size and an etag") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(object_close) ObjectReader *reader = NULL;
    char part[4];
    size_t got;
    put(store, "a/b/c.txt", "hello world");
    check_object(store, "a/b/c.txt", "hello world");
    CHECK_OK(store_open(store, STR("a/b/c.txt"), NULL, &reader, &err));
    CHECK_INT(object_info(reader)->size, 11);
    CHECK(object_info(reader)->etag[0]);
    CHECK_OK(object_read(reader, 6, part, 4, &got, &err));
    CHECK_STR(((Str){part, got}), "worl");
    CHECK_OK(object_read(reader, 10, part, 4, &got, &err));
    CHECK_INT(got, 1);
    CHECK_OK(object_read(reader, 11, part, 4, &got, &err));
    CHECK_INT(got, 0);
}

TEST("contract: an open reader is unaffected by later writes and by removal") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(object_close) ObjectReader *reader = NULL;
    char text[8];
    size_t got;
    put(store, "k", "old");
    CHECK_OK(store_open(store, STR("k"), NULL, &reader, &err));
    put(store, "k", "newer");
    CHECK_OK(store_remove(store, STR("k"), &err));
    CHECK_OK(object_read(reader, 0, text, sizeof text, &got, &err));
    CHECK_STR(((Str){text, got}), "old");
}

/* Whether it honours them; if not, that it says so and writes nothing. */
static bool conditions_honoured(Store *store) {
    StoreAbilities can = store_abilities(store);
    CHECK(!can.unknown);
    if (can.if_absent && can.if_match) return true;
    CHECK(!put_if(store, "k", "1", (PutCondition){.if_absent = true}));
    CHECK_INT(err.kind, LH_IMPOSSIBLE);
    CHECK(str_is(str_from(err_word(&err)), "no_conditional_writes"));
    CHECK(!put_if(store, "k", "1", (PutCondition){.if_match = STR("x")}));
    CHECK_INT(err.kind, LH_IMPOSSIBLE);
    check_missing(store, "k");
    return false;
}

#ifdef CONTRACT_ETAG_OF_BYTES
TEST("contract: a write of other bytes changes the etag, one of equal bytes keeps it") {
    OWNED(store_close) Store *store = contract_store();
    ObjectInfo first, second, third;
    put(store, "k", "same");
    etag_of(store, "k", &first);
    put(store, "k", "same");
    CHECK_STR(etag_of(store, "k", &second), first.etag);
    put(store, "k", "other");
    CHECK(!str_equal(etag_of(store, "k", &third), str_from(first.etag)));
}
#else
TEST("contract: every write changes the etag, of equal bytes too") {
    OWNED(store_close) Store *store = contract_store();
    ObjectInfo before, after;
    put(store, "k", "same");
    for (int i = 0; i < 200; i++) {
        etag_of(store, "k", &before);
        put(store, "k", "same");
        CHECK(!str_equal(str_from(before.etag), etag_of(store, "k", &after)));
    }
}
#endif

TEST("contract: if_absent and if_match are held") {
    OWNED(store_close) Store *store = contract_store();
    ObjectInfo info;
    if (!conditions_honoured(store)) return;
    CHECK(put_if(store, "k", "1", (PutCondition){.if_absent = true}));
    CHECK(!put_if(store, "k", "2", (PutCondition){.if_absent = true}));
    CHECK_INT(err.kind, LH_PRECONDITION);
    Str etag = etag_of(store, "k", &info);
    CHECK(put_if(store, "k", "3", (PutCondition){.if_match = etag}));
    CHECK(!put_if(store, "k", "4", (PutCondition){.if_match = etag}));
    CHECK_INT(err.kind, LH_PRECONDITION);
    CHECK(!put_if(store, "other", "5", (PutCondition){.if_match = etag}));
    CHECK_INT(err.kind, LH_PRECONDITION);
    check_object(store, "k", "3");
    check_missing(store, "other");
}

TEST("contract: a writer that is closed without a commit leaves nothing") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    OWNED(writer_close) ObjectWriter *writer = NULL;
    CHECK_OK(store_create(store, STR("k"), NULL, &writer, &err));
    CHECK_OK(writer_write(writer, bytes_of(STR("half")), &err));
    writer_close(&writer);
    check_missing(store, "k");
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "");
}

TEST("contract: removing is idempotent and leaves neighbours alone") {
    OWNED(store_close) Store *store = contract_store();
    put(store, "a/b/c", "1");
    put(store, "a/d", "2");
    CHECK_OK(store_remove(store, STR("a/b/c"), &err));
    CHECK_OK(store_remove(store, STR("a/b/c"), &err));
    CHECK_OK(store_remove(store, STR("a"), &err));
    check_missing(store, "a/b/c");
    check_object(store, "a/d", "2");
}

TEST("contract: what is below a prefix is removed, and its neighbours are not") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    put(store, "a/a", "1");
    put(store, "a/b/c", "2");
    put(store, "a/b/d/e", "3");
    put(store, "a/bc", "4");
    CHECK_OK(store_remove_below(store, STR("a/b/"), &err));
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "a/a a/bc");
    CHECK_OK(store_remove_below(store, STR("a/b/"), &err));
}

TEST("contract: listing is in byte order of keys, whatever the folders") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    const char *keys[] = {"b", "a/z", "a.txt", "a/b/c", "a0", "a/b.c", "\xc3\xa9"};
    for (size_t i = 0; i < COUNT(keys); i++) put(store, keys[i], "x");
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL),
              "a.txt a/b.c a/b/c a/z a0 b \xc3\xa9");
    CHECK_STR(listing(store, (ListOptions){.prefix = STR("a/")}, &arena, NULL), "a/b.c a/b/c a/z");
    CHECK_STR(listing(store, (ListOptions){.prefix = STR("a/b")}, &arena, NULL), "a/b.c a/b/c");
    CHECK_STR(listing(store, (ListOptions){.prefix = STR("nothing/")}, &arena, NULL), "");
    CHECK_STR(listing(store, (ListOptions){.after = STR("a/b/c")}, &arena, NULL),
              "a/z a0 b \xc3\xa9");
    CHECK_STR(listing(store, (ListOptions){.delimiter = STR("/")}, &arena, NULL),
              "a.txt a0 b \xc3\xa9 [a/]");
    CHECK_STR(
        listing(store, (ListOptions){.prefix = STR("a/"), .delimiter = STR("/")}, &arena, NULL),
        "a/b.c a/z [a/b/]");
}

TEST("contract: pages of every size join to the whole listing, with a delimiter too") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    char key[32];
    for (int i = 0; i < 24; i++) {
        snprintf(key, sizeof key, "%c/%d/x%d", 'a' + i % 3, i % 4, i);
        put(store, key, "x");
        snprintf(key, sizeof key, "%c/f%d", 'a' + i % 3, i);
        put(store, key, "x");
    }
    for (size_t limit = 1; limit <= 49; limit += limit < 4 ? 1 : 15) {
        size_t keys = 0, prefixes = 0;
        ListOptions all = {.limit = limit},
                    level = {.prefix = STR("a/"), .delimiter = STR("/"), .limit = limit};
        ObjectList list;
        Str last = {0};
        do {
            CHECK_OK(store_list(store, &all, &arena, &list, &err));
            CHECK(list.object_count <= limit);
            for (size_t i = 0; i < list.object_count; i++, keys++) {
                CHECK(str_compare(last, list.objects[i].key) < 0);
                last = list.objects[i].key;
            }
        } while ((all.after = list.next).len);
        CHECK_INT(keys, 48);
        keys = 0;
        do {
            CHECK_OK(store_list(store, &level, &arena, &list, &err));
            CHECK(list.object_count + list.prefix_count <= limit);
            keys += list.object_count;
            prefixes += list.prefix_count;
        } while ((level.after = list.next).len);
        CHECK_INT(keys, 8);
        CHECK_INT(prefixes, 4);
    }
}

TEST("contract: a file made in staging becomes an object and is gone from there") {
    OWNED(store_close) Store *store = contract_store();
    char path[PATH_MAX];
    ObjectInfo info;
    PutCondition absent = {.if_absent = true};
    bool honoured = conditions_honoured(store);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(store_staging(store, path, &err));
        CHECK_OK(file_replace(path, bytes_of(STR("adopted")), &err));
        bool ok = store_adopt(store, path, STR("x/y"), honoured || i ? &absent : NULL, &info, &err);
        CHECK(ok == (i == 0));
        CHECK_INT(access(path, F_OK), i == 0 ? -1 : 0); /* a refused one stays the caller's */
    }
    CHECK(unlink(path) == 0);
    CHECK_INT(err.kind, honoured ? LH_PRECONDITION : LH_IMPOSSIBLE);
    CHECK_INT(info.size, 7);
    check_object(store, "x/y", "adopted");
}

typedef struct Race {
    Store *store;
    char etag[STORE_ETAG_SIZE];
    _Atomic int won, refused, go;
    bool if_absent;
    int round;
} Race;

static void *race_run(void *context) {
    Race *race = context;
    Err mine = {0};
    char key[32], text[64];
    snprintf(key, sizeof key, "race/%d", race->round);
    snprintf(text, sizeof text, "%p", (void *)&mine);
    PutCondition condition = {.if_absent = race->if_absent};
    if (!race->if_absent) condition.if_match = str_from(race->etag);
    while (!race->go) continue;
    bool ok = store_write(race->store, str_from(key), bytes_of(str_from(text)), &condition, &mine);
    race->won += ok;
    race->refused += !ok && mine.kind == LH_PRECONDITION;
    return NULL;
}

static void race_round(Store *store, int round, bool if_absent) {
    pthread_t threads[16];
    char key[32];
    ObjectInfo info = {0};
    Race race = {.store = store, .if_absent = if_absent, .round = round};
    snprintf(key, sizeof key, "race/%d", round);
    if (!if_absent) {
        put(store, key, "start");
        etag_of(store, key, &info);
        memcpy(race.etag, info.etag, sizeof race.etag);
    }
    for (size_t i = 0; i < COUNT(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, race_run, &race) == 0);
    race.go = 1;
    for (size_t i = 0; i < COUNT(threads); i++) pthread_join(threads[i], NULL);
    CHECK_INT(race.won, 1);
    CHECK_INT(race.refused, 15);
}

TEST("contract: of 16 racing conditional writes exactly one wins, the others are told") {
    OWNED(store_close) Store *store = contract_store();
    if (!conditions_honoured(store)) return;
    for (int round = 0; round < 20; round++) race_round(store, round, round % 2);
}

static void *churn_run(void *context) {
    Store *store = context;
    Err mine = {0};
    for (int i = 0; i < 20; i++) {
        char key[32];
        snprintf(key, sizeof key, "deep/%d/er/%d", i % 3, i % 5);
        if (!store_write(store, str_from(key), bytes_of(STR("x")), NULL, &mine) ||
            !store_remove(store, str_from(key), &mine))
            return strdup(mine.message);
    }
    return NULL;
}

TEST("contract: writes and removals in the same folders never fail each other") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    pthread_t threads[6];
    for (size_t i = 0; i < COUNT(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, churn_run, store) == 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        if (failed) kit_fail(__FILE__, __LINE__, "%s", (char *)failed);
    }
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "");
}
