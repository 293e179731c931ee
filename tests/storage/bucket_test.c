#include "kit/kit.h"
#include "storage/storage.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static Err err;

typedef struct Home {
    char primary[128], rescue[128], more[128];
    BucketOptions options[2];
} Home;

static void home_make(Home *home) {
    const char *dir = kit_dir();
    snprintf(home->primary, sizeof home->primary, "%s/primary", dir);
    snprintf(home->rescue, sizeof home->rescue, "%s/rescue", dir);
    snprintf(home->more, sizeof home->more, "%s/more", dir);
    home->options[0] = (BucketOptions){STR("primary"), STR("local"), str_from(home->primary)};
    home->options[1] = (BucketOptions){STR("rescue"), STR("local"), str_from(home->rescue)};
}

static Buckets *open_home(Home *home) {
    Buckets *buckets = NULL;
    CHECK_OK(buckets_open(
        &(BucketsOptions){
            .items = home->options, .count = 2, .rescue = STR("rescue"), .breaker_probe_ms = 50},
        &buckets, &err));
    return buckets;
}

static void put(Buckets *buckets, const char *name, const char *key, const char *text) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    CHECK_OK(bucket_find(buckets, str_from(name), &bucket, &err));
    CHECK_OK(
        store_write(bucket_store(bucket), str_from(key), bytes_of(str_from(text)), NULL, &err));
}

static const Json *list(Buckets *buckets, Arena *arena) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const Json *json = NULL;
    buckets_write(buckets, &w);
    CHECK_OK(json_read(text_str(&text), arena, &json, &err));
    return json;
}

static size_t event_count(Buckets *buckets, Arena *arena) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const Json *json = NULL;
    CHECK_OK(errors_write(buckets_errors(buckets), (Str){0}, 0, 100, &w, &err));
    CHECK_OK(json_read(text_str(&text), arena, &json, &err));
    return json->len;
}

/* Reads one byte string; "" when it was not served. *by is the rescue bucket's name then. */
static bool get_as(Buckets *buckets, const char *name, const char *key, RescueRule rule, Str *by) {
    OWNED(object_close) ObjectReader *reader = NULL;
    ObjectRequest request = {.bucket = str_from(name), .key = str_from(key), .rescue = rule};
    err = (Err){0};
    *by = (Str){0};
    return buckets_open_object(buckets, &request, &reader, by, &err);
}

static bool get(Buckets *buckets, const char *name, const char *key, Str *by) {
    return get_as(buckets, name, key, RESCUE_ANY, by);
}

static bool add_more(Buckets *buckets, Home *home) {
    BucketOptions options = {STR("more"), STR("local"), str_from(home->more)};
    err = (Err){0};
    return bucket_add(buckets, &options, &err);
}

TEST("a bucket added at run time survives a restart, a removed one does not, data stays") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(buckets_close) Buckets *buckets = NULL;
    size_t count;
    home_make(&home);
    buckets = open_home(&home);
    CHECK_OK(add_more(buckets, &home));
    CHECK(!add_more(buckets, &home));
    CHECK_INT(err.kind, LH_CONFLICT);
    put(buckets, "more", "k", "v");
    buckets_close(&buckets);
    buckets = open_home(&home);
    Str *names = bucket_names(buckets, &arena, &count);
    CHECK_INT(count, 3);
    CHECK_STR(names[0], "more");
    CHECK_OK(bucket_remove(buckets, STR("more"), &err));
    buckets_close(&buckets);
    buckets = open_home(&home);
    bucket_names(buckets, &arena, &count);
    CHECK_INT(count, 2);
    char path[160];
    snprintf(path, sizeof path, "%s/k", home.more);
    CHECK(access(path, F_OK) == 0);
}

TEST("primary and rescue cannot be removed, an unknown name gets a hint") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    Bucket *bucket;
    home_make(&home);
    buckets = open_home(&home);
    CHECK(!bucket_remove(buckets, STR("primary"), &err));
    CHECK_INT(err.kind, LH_DENIED);
    CHECK(!bucket_remove(buckets, STR("rescue"), &err));
    CHECK_INT(err.kind, LH_DENIED);
    CHECK(!bucket_remove(buckets, STR("other"), &err));
    CHECK_INT(err.kind, LH_MISSING);
    CHECK(!bucket_find(buckets, STR("primray"), &bucket, &err));
    CHECK(str_is(str_from(err_word(&err)), "bucket_not_found"));
    CHECK(strstr(err.message, "did you mean 'primary'"));
}

TEST("a configured bucket without a role that was removed stays removed") {
    Home home;
    home_make(&home);
    BucketOptions options[3] = {
        home.options[0], home.options[1], {STR("third"), STR("local"), str_from(home.more)}
    };
    OWNED(buckets_close) Buckets *buckets = NULL;
    for (int round = 0; round < 3; round++) {
        CHECK_OK(
            buckets_open(&(BucketsOptions){.items = options, .count = 3, .rescue = STR("rescue")},
                         &buckets, &err));
        Bucket *bucket = NULL;
        CHECK(bucket_find(buckets, STR("third"), &bucket, &err) == (round == 0));
        bucket_release(&bucket);
        if (round == 0) CHECK_OK(bucket_remove(buckets, STR("third"), &err));
        buckets_close(&buckets);
    }
}

TEST("a second server on the same primary is refused, and served once the first is gone") {
    Home home;
    home_make(&home);
    OWNED(buckets_close) Buckets *one = open_home(&home);
    OWNED(buckets_close) Buckets *two = NULL;
    CHECK(!buckets_open(
        &(BucketsOptions){.items = home.options, .count = 2, .rescue = STR("rescue")}, &two, &err));
    CHECK(str_is(str_from(err_word(&err)), "data_in_use"));
    buckets_close(&one);
    CHECK_OK(buckets_open(
        &(BucketsOptions){.items = home.options, .count = 2, .rescue = STR("rescue")}, &two, &err));
}

TEST("an on-disk format newer than ours is refused with both numbers") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_home(&home);
    put(buckets, "primary", "_lakehouse/format", "{\"format\":7}");
    buckets_close(&buckets);
    CHECK(
        !buckets_open(&(BucketsOptions){.items = home.options, .count = 2, .rescue = STR("rescue")},
                      &buckets, &err));
    CHECK(str_is(str_from(err_word(&err)), "format_newer"));
    CHECK(strstr(err.message, "format 7"));
}

TEST("roots that overlap, in either direction, through a link or by name, are refused") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    char inner[160], outer[160], link_path[192];
    home_make(&home);
    buckets = open_home(&home);
    snprintf(inner, sizeof inner, "%s/in/side", home.primary);
    snprintf(outer, sizeof outer, "%.*s", (int)(strrchr(home.primary, '/') - home.primary),
             home.primary);
    snprintf(link_path, sizeof link_path, "%s/alias", outer);
    CHECK(symlink(home.rescue, link_path) == 0);
    const char *roots[] = {inner, outer, link_path, home.primary};
    for (size_t i = 0; i < COUNT(roots); i++) {
        BucketOptions options = {STR("x"), STR("local"), str_from(roots[i])};
        CHECK(!bucket_add(buckets, &options, &err));
        CHECK(str_is(str_from(err_word(&err)), "root_overlaps"));
    }
    CHECK_OK(add_more(buckets, &home)); /* beside them is fine */
}

TEST("bad names, backends and roots are refused") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_home(&home);
    const char *names[] = {"", "-a", "A", "a/b", "a b", "\xc3\xa9"};
    for (size_t i = 0; i < COUNT(names); i++) {
        BucketOptions options = {str_from(names[i]), STR("local"), str_from(home.more)};
        CHECK(!bucket_add(buckets, &options, &err));
        CHECK_INT(err.kind, LH_INVALID);
    }
    BucketOptions tape = {STR("a"), STR("tape"), str_from(home.more)};
    BucketOptions blank = {STR("a"), STR("local"), STR("  ")};
    CHECK(!bucket_add(buckets, &tape, &err));
    CHECK_INT(err.kind, LH_INVALID);
    CHECK(!bucket_add(buckets, &blank, &err));
    CHECK_INT(err.kind, LH_INVALID);
}

TEST("reads fall back to rescue and say so, writes never do") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_home(&home);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "more", "mine", "1");
    put(buckets, "rescue", "saved", "2");
    struct {
        const char *key;
        bool ok, rescued;
        ErrKind kind;
        size_t events;
    } cases[] = {
        {"mine",    true,  false, LH_OK,      0},
        {"saved",   true,  true,  LH_OK,      1},
        {"neither", false, false, LH_MISSING, 1}
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Str by;
        CHECK(get(buckets, "more", cases[i].key, &by) == cases[i].ok);
        CHECK_STR(by, cases[i].rescued ? "rescue" : "");
        CHECK_INT(err.kind, cases[i].kind);
        CHECK_INT(event_count(buckets, &arena), cases[i].events);
    }
    CHECK(!get(buckets, "nowhere", "saved", &(Str){0}));
    CHECK(str_is(str_from(err_word(&err)), "bucket_not_found"));
}

TEST("a bucket out of reach reads from rescue, is reported, and serves again when it is back") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(buckets_close) Buckets *buckets = NULL;
    char away[160];
    Str by;
    home_make(&home);
    snprintf(away, sizeof away, "%s.away", home.more);
    buckets = open_home(&home);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "more", "k", "here");
    put(buckets, "rescue", "k", "copy");
    CHECK(rename(home.more, away) == 0);
    CHECK_OK(get(buckets, "more", "k", &by));
    CHECK_STR(by, "rescue");
    CHECK(!get(buckets, "more", "none", &by));
    CHECK_INT(err.kind, LH_OFFLINE);
    const Json *all = list(buckets, &arena);
    CHECK_STR(json_get_text(&all->items[0], "name", STR("")), "more");
    CHECK(!json_get_flag(&all->items[0], "reachable", true));
    CHECK(json_get_text(&all->items[0], "error", STR("")).len > 0);
    CHECK(json_get_flag(&all->items[1], "reachable", false));
    CHECK_STR(json_get_text(&all->items[1], "role", STR("")), "primary");
    CHECK_INT(json_get_int(&all->items[2], "objects", -1), 1);
    CHECK(rename(away, home.more) == 0);
    CHECK_OK(get(buckets, "more", "k", &by));
    CHECK_STR(by, "");
}

TEST("a restored bucket that cannot be opened is kept, reported, and opens later") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(buckets_close) Buckets *buckets = NULL;
    OWNED(bucket_release) Bucket *bucket = NULL;
    Err ignored = {0};
    home_make(&home);
    buckets = open_home(&home);
    CHECK_OK(add_more(buckets, &home));
    buckets_close(&buckets);
    CHECK_OK(dir_remove(home.more, &ignored));
    CHECK_OK(file_replace(home.more, bytes_of(STR("in the way")), &err));
    buckets = open_home(&home);
    CHECK_INT(buckets_unreachable(buckets), 1);
    CHECK_OK(bucket_find(buckets, STR("more"), &bucket, &err));
    CHECK(!store_head(bucket_store(bucket), STR("k"), &(ObjectInfo){0}, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK(!json_get_flag(&list(buckets, &arena)->items[0], "reachable", true));
    CHECK_STR(json_get_text(&list(buckets, &arena)->items[0], "breaker", STR("")), "open");
    CHECK(unlink(home.more) == 0);
    for (int i = 0; i < 200 && buckets_unreachable(buckets); i++) usleep(20000);
    CHECK(!store_head(bucket_store(bucket), STR("k"), &(ObjectInfo){0}, &err));
    CHECK_INT(err.kind, LH_MISSING);
}

static void *use_run(void *context) {
    Buckets *buckets = context;
    for (int i = 0; i < 60; i++) {
        OWNED(bucket_release) Bucket *bucket = NULL;
        OWNED(object_close) ObjectReader *reader = NULL;
        Err mine = {0};
        char text[4];
        size_t got = 0;
        if (!bucket_find(buckets, STR("more"), &bucket, &mine)) continue;
        if (!store_open(bucket_store(bucket), STR("k"), NULL, &reader, &mine)) continue;
        if (!object_read(reader, 0, text, sizeof text, &got, &mine) || got != 1) return "read";
    }
    return NULL;
}

TEST("a bucket in use survives its removal by another thread") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    pthread_t threads[4];
    home_make(&home);
    buckets = open_home(&home);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "more", "k", "v");
    for (size_t i = 0; i < COUNT(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, use_run, buckets) == 0);
    for (int i = 0; i < 10; i++) {
        CHECK_OK(bucket_remove(buckets, STR("more"), &err));
        CHECK_OK(add_more(buckets, &home));
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
}
