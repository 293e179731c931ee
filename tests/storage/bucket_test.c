#include "kit/kit.h"
#include "storage/storage.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static Err err;

typedef struct Home {
    char primary[128], rescue[128], more[128], state[128], away[140];
    BucketOptions options[2];
} Home;

static void home_make(Home *home) {
    const char *dir = kit_dir();
    snprintf(home->primary, sizeof home->primary, "%s/primary", dir);
    snprintf(home->rescue, sizeof home->rescue, "%s/rescue", dir);
    snprintf(home->more, sizeof home->more, "%s/more", dir);
    snprintf(home->state, sizeof home->state, "%s/state", dir);
    snprintf(home->away, sizeof home->away, "%s/away", dir);
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

/* With a state folder, secrets and so S3 buckets; `number` makes the folder one of several. */
static Buckets *open_full(Home *home, Secrets *secrets, bool shared, int number) {
    Buckets *buckets = NULL;
    char state[160];
    snprintf(state, sizeof state, "%s%d", home->state, number);
    CHECK_OK(buckets_open(
        &(BucketsOptions){
            .items = home->options,
            .count = 2,
            .rescue = STR("rescue"),
            .state_dir = state,
            .shared = shared,
            .breaker_failures = 3,
            .breaker_probe_ms = 30,
            .s3 = {.connect_timeout_ms = 200, .answer_timeout_ms = 200, .retry_ms = 1},
            .secrets = secrets
    },
        &buckets, &err));
    return buckets;
}

static Store *store_of(Buckets *buckets, const char *name) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    CHECK_OK(bucket_find(buckets, str_from(name), &bucket, &err));
    return bucket_store(bucket); /* the list holds it on */
}

static bool exists(Buckets *buckets, const char *name, const char *key) {
    ObjectInfo info;
    Err ignored = {0};
    return store_head(store_of(buckets, name), str_from(key), &info, &ignored);
}

static void wait_reachable(Buckets *buckets) {
    for (int i = 0; i < 500 && buckets_unreachable(buckets); i++) usleep(10000);
    CHECK_INT(buckets_unreachable(buckets), 0);
}

static Str primary_file(Home *home, const char *name, Arena *arena) {
    char path[200];
    Bytes data;
    snprintf(path, sizeof path, "%s/_lakehouse/%s", home->primary, name);
    CHECK_OK(file_read(path, 1 << 20, arena, &data, &err));
    return str_of(data);
}

static bool contains(Str text, const char *part) {
    size_t at;
    return str_find(text, str_from(part), &at);
}

TEST(
    "a bucket that is away is answered for at once after a few failures, each an event, and serves "
    "again without being asked for") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(buckets_close) Buckets *buckets = NULL;
    OWNED(text_close) Text metrics = {0};
    OWNED(text_close) Text health = {0};
    ObjectInfo info;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "more", "k", "v");
    Store *store = store_of(buckets, "more");
    CHECK(rename(home.more, home.away) == 0);
    for (int i = 0; i < 5; i++) CHECK(!store_head(store, STR("k"), &info, &err));
    CHECK_STR(str_from(err_word(&err)), "bucket_unreachable");
    CHECK(strstr(err.message, "since"));
    CHECK_INT(buckets_unreachable(buckets), 1);
    CHECK_INT(event_count(buckets, &arena), 5);
    buckets_metrics(buckets, &metrics);
    CHECK(contains(text_str(&metrics), "lakehouse_bucket_up{bucket=\"more\"} 0\n"));
    CHECK(contains(text_str(&metrics), "lakehouse_bucket_up{bucket=\"primary\"} 1\n"));
    CHECK(contains(text_str(&metrics), "lakehouse_bucket_breaker_open{bucket=\"more\"} 1\n"));
    CHECK(contains(text_str(&metrics),
                   "lakehouse_bucket_errors_total{bucket=\"more\",op=\"head\"} 5\n"));
    CHECK_OK(buckets_health(buckets, 5, &(JsonWriter){.out = &health}, &err));
    CHECK(contains(text_str(&health), "\"status\":\"down\""));
    CHECK(rename(home.away, home.more) == 0);
    wait_reachable(buckets);
    CHECK_OK(store_head(store, STR("k"), &info, &err));
    text_clear(&metrics);
    buckets_metrics(buckets, &metrics);
    CHECK(contains(text_str(&metrics), "lakehouse_bucket_breaker_open{bucket=\"more\"} 0\n"));
}

TEST("the list of buckets says where they are, what they honour and whether they are asked") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(buckets_close) Buckets *buckets = NULL;
    char location[160];
    home_make(&home);
    buckets = open_home(&home);
    const Json *all = list(buckets, &arena), *primary = &all->items[0];
    snprintf(location, sizeof location, "file://%s", home.primary);
    CHECK_STR(json_get_text(primary, "backend", STR("")), "local");
    CHECK_STR(json_get_text(primary, "location", STR("")), location);
    CHECK_STR(json_get_text(primary, "breaker", STR("")), "closed");
    CHECK(json_get_flag(primary, "conditional_writes", false));
    char relative[200];
    snprintf(relative, sizeof relative, "%s/../more", home.primary);
    BucketOptions more = {STR("more"), STR("local"), str_from(relative)};
    CHECK_OK(dir_make(home.more, &err));
    CHECK_OK(bucket_add(buckets, &more, &err));
    snprintf(location, sizeof location, "file://%s", home.more);
    CHECK_STR(store_location(store_of(buckets, "more")), location);
}

TEST("a fallback follows the rule that is asked for, for heads too") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(buckets_close) Buckets *buckets = NULL;
    OWNED(text_close) Text metrics = {0};
    Str by;
    ObjectInfo info;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "rescue", "k", "copy");
    CHECK(!get_as(buckets, "more", "k", RESCUE_NEVER, &by));
    CHECK(!get_as(buckets, "more", "k", RESCUE_UNREACHABLE, &by));
    CHECK_INT(err.kind, LH_MISSING);
    CHECK_INT(event_count(buckets, &arena), 0);
    CHECK_OK(get_as(buckets, "more", "k", RESCUE_ANY, &by));
    ObjectRequest request = {.bucket = STR("more"), .key = STR("k")};
    CHECK_OK(buckets_head_object(buckets, &request, &info, &by, &err));
    CHECK_STR(by, "rescue");
    CHECK_INT(info.size, 4);
    CHECK_INT(event_count(buckets, &arena), 2);
    CHECK(rename(home.more, home.away) == 0);
    CHECK(!get_as(buckets, "more", "k", RESCUE_NEVER, &by));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK_OK(get_as(buckets, "more", "k", RESCUE_UNREACHABLE, &by));
    CHECK_STR(by, "rescue");
    CHECK_INT(event_count(buckets, &arena), 4);
    buckets_metrics(buckets, &metrics);
    CHECK(contains(text_str(&metrics), "lakehouse_bucket_rescues_total{bucket=\"more\"} 3\n"));
    CHECK(contains(text_str(&metrics),
                   "lakehouse_bucket_errors_total{bucket=\"more\",op=\"get\"} 1\n"));
}

TEST("an object that was deleted through us does not come back from rescue, after a restart and "
     "without the primary neither, and a later write is served again") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    Str by;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "more", "k", "mine");
    put(buckets, "rescue", "k", "copy");
    CHECK_OK(buckets_remove_object(buckets, STR("more"), STR("k"), &err));
    CHECK(exists(buckets, "rescue", "k"));
    CHECK(!get(buckets, "more", "k", &by));
    CHECK_INT(err.kind, LH_MISSING);
    buckets_close(&buckets);
    buckets = open_full(&home, NULL, false, 1); /* another machine's state */
    CHECK(!get(buckets, "more", "k", &by));
    CHECK(rename(home.primary, home.away) == 0);
    CHECK(!get(buckets, "more", "k", &by));
    CHECK(rename(home.away, home.primary) == 0);
    wait_reachable(buckets);
    put(buckets, "more", "k", "again");
    buckets_object_written(buckets, STR("more"), STR("k"));
    CHECK(rename(home.more, home.away) == 0);
    CHECK_OK(get(buckets, "more", "k", &by));
    CHECK_STR(by, "rescue");
    CHECK(rename(home.away, home.more) == 0);
    buckets_close(&buckets);
    buckets = open_full(&home, NULL, false, 0);
    CHECK(rename(home.more, home.away) == 0);
    CHECK_OK(get(buckets, "more", "k", &by));
}

TEST("a marker stays when the object is gone again by the time the write is told of") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    Str by;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    put(buckets, "rescue", "k", "copy");
    CHECK_OK(buckets_remove_object(buckets, STR("primary"), STR("k"), &err));
    buckets_object_written(buckets, STR("primary"), STR("k"));
    CHECK(!get(buckets, "primary", "k", &by));
    CHECK_INT(err.kind, LH_MISSING);
}

TEST("keys of every length can be deleted, 'a' and 'a/b' one after the other too") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    char key[STORE_KEY_MAX + 1];
    Str by;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    memset(key, 'x', sizeof key);
    for (size_t i = 255; i < STORE_KEY_MAX; i += 256) key[i] = '/';
    key[STORE_KEY_MAX - 1] = 'x';
    key[1000] = '/';
    key[STORE_KEY_MAX] = 0;
    const char *keys[] = {key, "a/b", "a", "a/b/c", "\xc3\xa9 %2F"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        put(buckets, "rescue", keys[i], "copy");
        CHECK_OK(get(buckets, "primary", keys[i], &by));
        CHECK_OK(buckets_remove_object(buckets, STR("primary"), str_from(keys[i]), &err));
        CHECK(!get(buckets, "primary", keys[i], &by));
        CHECK_OK(store_remove(store_of(buckets, "rescue"), str_from(keys[i]), &err));
    }
}

TEST("a delete whose marker cannot be stored deletes nothing, and one of the rescue bucket itself "
     "needs none") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "more", "k", "v");
    put(buckets, "rescue", "k", "v");
    CHECK(rename(home.primary, home.away) == 0);
    CHECK(!buckets_remove_object(buckets, STR("more"), STR("k"), &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK_STR(str_from(err_word(&err)), "marker_not_stored");
    CHECK(exists(buckets, "more", "k"));
    CHECK_OK(buckets_remove_object(buckets, STR("rescue"), STR("k"), &err));
    CHECK(rename(home.away, home.primary) == 0);
}

typedef struct Deleting {
    Home home;
    int from;
} Deleting;

/* Deletes the keys "d/0", "d/1", ... of `more`, and says so. */
static void delete_forever(void *context) {
    Deleting *deleting = context;
    Buckets *buckets = open_full(&deleting->home, NULL, false, 0);
    for (int i = deleting->from;; i++) {
        char key[16];
        snprintf(key, sizeof key, "d/%d", i);
        CHECK_OK(buckets_remove_object(buckets, STR("more"), str_from(key), &err));
        kit_acknowledge(&i, sizeof i);
    }
}

TEST("acknowledged deletes stay deleted after SIGKILL at any moment, with the primary there and "
     "away") {
    Deleting deleting = {.from = 0};
    Home *home = &deleting.home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    Str by;
    home_make(home);
    buckets = open_full(home, NULL, false, 0);
    CHECK_OK(add_more(buckets, home));
    for (int round = 0; round < kit_kills(20); round++) {
        size_t acks;
        buckets_close(&buckets);
        kit_kill(delete_forever, &deleting, 50000, sizeof(int), &acks);
        buckets = open_full(home, NULL, false, 0);
        if (round % 2) CHECK(rename(home->primary, home->away) == 0);
        for (; acks > 0; acks--, deleting.from++) {
            char key[16];
            snprintf(key, sizeof key, "d/%d", deleting.from);
            put(buckets, "rescue", key, "copy");
            CHECK(!get(buckets, "more", key, &by));
            CHECK_INT(err.kind, LH_MISSING);
        }
        if (round % 2) CHECK(rename(home->away, home->primary) == 0);
    }
}

TEST("reads are local when the bucket, its rescue and the markers are") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    CHECK(buckets_read_is_local(buckets, STR("primary")));
    CHECK(buckets_read_is_local(buckets, STR("rescue")));
    CHECK(buckets_read_is_local(buckets, STR("unknown")));
}

TEST("a second server with the same state folder is refused") {
    Home home, other;
    OWNED(buckets_close) Buckets *one = NULL;
    OWNED(buckets_close) Buckets *two = NULL;
    home_make(&home);
    home_make(&other);
    one = open_full(&home, NULL, false, 0);
    CHECK(buckets_cache(one) != NULL);
    char state[160];
    snprintf(state, sizeof state, "%s0", home.state);
    CHECK(!buckets_open(&(BucketsOptions){.items = other.options, .count = 2, .state_dir = state},
                        &two, &err));
    CHECK_STR(str_from(err_word(&err)), "data_in_use");
}

/* A marker as another server left it, without its fsync. */
static void marker_put(Home *home, const char *key) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char text[64], hex[65], path[400];
    int len = snprintf(text, sizeof text, "primary%c%s", 0, key);
    SHA256((const uint8_t *)text, (size_t)len, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(path, sizeof path, "%s/_lakehouse/deleted/primary/%.2s", home->primary, hex);
    CHECK_OK(dir_make(path, &err));
    snprintf(path, sizeof path, "%s/_lakehouse/deleted/primary/%.2s/%s", home->primary, hex, hex);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("{}", file) > 0 && fclose(file) == 0);
}

TEST("many markers are known over a restart, from the primary by pages and from the log without "
     "it, and those taken away are not among them") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    enum { MANY = 2500, STEP = 100 };
    char key[16];
    Str by;
    home_make(&home);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "k%d", i);
        marker_put(&home, key);
    }
    buckets = open_full(&home, NULL, false, 0);
    for (int i = 0; i < MANY; i += STEP) {
        snprintf(key, sizeof key, "k%d", i);
        put(buckets, "rescue", key, "copy");
        CHECK(!get(buckets, "primary", key, &by));
        if (i % 3) continue;
        put(buckets, "primary", key, "new");
        buckets_object_written(buckets, STR("primary"), str_from(key));
        CHECK_OK(store_remove(store_of(buckets, "primary"), str_from(key), &err));
        CHECK_OK(get(buckets, "primary", key, &by));
    }
    buckets_close(&buckets);
    buckets = open_full(&home, NULL, false, 0);
    CHECK(rename(home.primary, home.away) == 0);
    for (int i = 0; i < MANY; i += STEP) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK(get(buckets, "primary", key, &by) == (i % 3 == 0));
    }
    CHECK(rename(home.away, home.primary) == 0);
}

/* Several servers on the same buckets. */

typedef struct Server {
    Buckets *buckets;
    Home *home;
    int number;
    const char *failed;
} Server;

static void *add_run(void *context) {
    Server *server = context;
    for (int i = 0; i < 6; i++) {
        char name[32], root[200];
        Err mine = {0};
        snprintf(name, sizeof name, "s%d-%d", server->number, i);
        snprintf(root, sizeof root, "%s-%s", server->home->more, name);
        BucketOptions options = {str_from(name), STR("local"), str_from(root)};
        if (!bucket_add(server->buckets, &options, &mine)) server->failed = strdup(mine.message);
        if (i % 3 == 2 && !bucket_remove(server->buckets, str_from(name), &mine))
            server->failed = strdup(mine.message);
    }
    return NULL;
}

TEST("two servers that add and remove at once lose none of each other's buckets") {
    Home home;
    Server servers[2];
    pthread_t threads[2];
    size_t count;
    OWNED(arena_close) Arena arena = {0};
    home_make(&home);
    for (int i = 0; i < 2; i++)
        servers[i] = (Server){open_full(&home, NULL, true, i), &home, i, NULL};
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, add_run, &servers[i]) == 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        if (servers[i].failed) kit_fail(__FILE__, __LINE__, "%s", servers[i].failed);
        buckets_close(&servers[i].buckets);
    }
    OWNED(buckets_close) Buckets *buckets = open_full(&home, NULL, true, 0);
    bucket_names(buckets, &arena, &count);
    CHECK_INT(count, 2 + 2 * 4);
}

TEST("a name that another server added is found, and one that nobody added is looked for once a "
     "second") {
    Home home;
    OWNED(buckets_close) Buckets *one = NULL;
    OWNED(buckets_close) Buckets *two = NULL;
    Bucket *bucket = NULL;
    home_make(&home);
    one = open_full(&home, NULL, true, 0);
    two = open_full(&home, NULL, true, 1);
    CHECK_OK(add_more(one, &home));
    CHECK_OK(bucket_find(two, STR("more"), &bucket, &err));
    bucket_release(&bucket);
    CHECK_OK(bucket_remove(one, STR("more"), &err));
    CHECK_OK(add_more(one, &home));
    usleep(1050000);
    CHECK(!bucket_find(two, STR("nowhere"), &bucket, &err));
    CHECK_STR(str_from(err_word(&err)), "bucket_not_found");
}

TEST("an object that one server deleted does not come back through the other, and a write of the "
     "other takes the marker away") {
    Home home;
    OWNED(buckets_close) Buckets *one = NULL;
    OWNED(buckets_close) Buckets *two = NULL;
    Str by;
    home_make(&home);
    one = open_full(&home, NULL, true, 0);
    two = open_full(&home, NULL, true, 1);
    CHECK_OK(add_more(one, &home));
    put(one, "rescue", "k", "copy");
    CHECK_OK(buckets_remove_object(one, STR("more"), STR("k"), &err));
    CHECK(!get(two, "more", "k", &by));
    put(two, "more", "k", "new");
    buckets_object_written(two, STR("more"), STR("k"));
    CHECK(rename(home.more, home.away) == 0);
    CHECK_OK(get(one, "more", "k", &by));
    CHECK_STR(by, "rescue");
}

/* S3 buckets, as far as that needs no server: nobody listens on port 1. */

static BucketOptions far_away(const char *name, const char *prefix) {
    return (BucketOptions){.name = str_from(name),
                           .backend = STR("s3"),
                           .bucket = STR("lake"),
                           .endpoint = STR("http://127.0.0.1:1"),
                           .region = STR("us-east-1"),
                           .prefix = str_from(prefix),
                           .secret_ref = STR("env:KIT_FAR"),
                           .path_style = true};
}

static Secrets *far_secrets(void) {
    Secrets *secrets = NULL;
    setenv("KIT_FAR_ACCESS_KEY_ID", "AKHUSH", 1);
    setenv("KIT_FAR_SECRET_ACCESS_KEY", "SKHUSH", 1);
    CHECK_OK(secrets_open(NULL, NULL, &secrets, &err));
    return secrets;
}

TEST("an S3 bucket that cannot be reached, or whose key pair nobody knows, is refused with what to "
     "do") {
    Home home;
    OWNED(secrets_close) Secrets *secrets = far_secrets();
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_full(&home, secrets, false, 0);
    BucketOptions far = far_away("far", "p");
    CHECK(!bucket_add(buckets, &far, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK(strstr(err.message, "secret_ref"));
    far.secret_ref = STR("nobody");
    CHECK(!bucket_add(buckets, &far, &err));
    CHECK_INT(err.kind, LH_INVALID);
    CHECK_STR(str_from(err_word(&err)), "unknown_secret");
    far = far_away("far", "p");
    far.endpoint = STR("http://AKHUSH:SKHUSH@127.0.0.1:1");
    CHECK(!bucket_add(buckets, &far, &err));
    CHECK_INT(err.kind, LH_INVALID);
    CHECK(!strstr(err.message, "HUSH"));
    far = far_away("far", "p");
    far.root = STR("/tmp/x");
    CHECK(!bucket_add(buckets, &far, &err));
    CHECK_INT(err.kind, LH_INVALID);
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    bucket_names(buckets, &arena, &count);
    CHECK_INT(count, 2);
}

TEST("without a state folder there are no S3 buckets") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_home(&home);
    BucketOptions far = far_away("far", "p");
    CHECK(!bucket_add(buckets, &far, &err));
    CHECK_INT(err.kind, LH_INVALID);
}

TEST("S3 buckets that were added are restored, reported unreachable while they are, kept with all "
     "their fields, and refuse what overlaps them") {
    Home home;
    OWNED(arena_close) Arena arena = {0};
    OWNED(secrets_close) Secrets *secrets = far_secrets();
    OWNED(buckets_close) Buckets *buckets = NULL;
    home_make(&home);
    buckets = open_full(&home, secrets, false, 0);
    put(buckets, "primary", "_lakehouse/buckets.json",
        "{\"buckets\":[{\"name\":\"far\",\"backend\":\"s3\",\"bucket\":\"lake\","
        "\"endpoint\":\"http://127.0.0.1:1\",\"region\":\"us-east-1\",\"prefix\":\"a/b\","
        "\"path_style\":true,\"secret_ref\":\"env:KIT_FAR\",\"later\":7},"
        "{\"name\":\"lost\",\"backend\":\"s3\",\"bucket\":\"other\","
        "\"endpoint\":\"http://127.0.0.1:1\",\"region\":\"us-east-1\",\"path_style\":true,"
        "\"secret_ref\":\"nobody\"}],\"removed\":[]}");
    buckets_close(&buckets);
    buckets = open_full(&home, secrets, false, 0);
    const Json *all = list(buckets, &arena), *far = &all->items[0], *lost = &all->items[1];
    CHECK_INT(all->len, 4);
    CHECK_STR(json_get_text(far, "name", STR("")), "far");
    CHECK_STR(json_get_text(far, "backend", STR("")), "s3");
    CHECK_STR(json_get_text(far, "location", STR("")), "s3://lake/a/b");
    CHECK_STR(json_get_text(far, "endpoint", STR("")), "http://127.0.0.1:1");
    CHECK_STR(json_get_text(far, "secret_ref", STR("")), "env:KIT_FAR");
    CHECK(!json_get_flag(far, "reachable", true));
    CHECK(json_get(far, "conditional_writes")->kind == JSON_NULL);
    CHECK(!json_get_flag(lost, "reachable", true));
    CHECK(contains(json_get_text(lost, "error", STR("")), "[secrets.nobody]"));
    CHECK(buckets_unreachable(buckets) >= 1);
    CHECK(!buckets_read_is_local(buckets, STR("far")));
    CHECK_OK(add_more(buckets, &home));
    Str kept = primary_file(&home, "buckets.json", &arena);
    static const char *const parts[] = {"\"far\"",         "\"a/b\"",     "\"path_style\":true",
                                        "\"env:KIT_FAR\"", "\"later\":7", "\"more\""};
    for (size_t i = 0; i < COUNT(parts); i++) CHECK(contains(kept, parts[i]));
    CHECK(!contains(kept, "HUSH"));
    static const char *const overlapping[] = {"a/b", "a/b/c", "a", "", "a/b/"};
    for (size_t i = 0; i < COUNT(overlapping); i++) {
        BucketOptions options = far_away("again", overlapping[i]);
        options.endpoint = STR("HTTP://127.0.0.1:1/");
        CHECK(!bucket_add(buckets, &options, &err));
        if (err.kind != LH_INVALID) CHECK_STR(str_from(err_word(&err)), "root_overlaps");
    }
    BucketOptions beside = far_away("again", "a/bc");
    CHECK(!bucket_add(buckets, &beside, &err));
    CHECK_INT(err.kind, LH_OFFLINE); /* apart, but nobody listens */
    CHECK_OK(bucket_remove(buckets, STR("far"), &err));
    CHECK(!contains(primary_file(&home, "buckets.json", &arena), "\"far\""));
}

/* Everything at once. */

static void *crowd_run(void *context) {
    Server *server = context;
    Buckets *buckets = server->buckets;
    char name[16], root[200];
    snprintf(name, sizeof name, "t%d", server->number);
    snprintf(root, sizeof root, "%s-%s", server->home->more, name);
    BucketOptions options = {str_from(name), STR("local"), str_from(root)};
    for (int i = 0; i < 12; i++) {
        OWNED(text_close) Text text = {0};
        OWNED(arena_close) Arena arena = {0};
        OWNED(object_close) ObjectReader *reader = NULL;
        JsonWriter w = {.out = &text};
        Err mine = {0};
        Str by;
        size_t count;
        ObjectRequest request = {.bucket = STR("more"), .key = STR("k")};
        if (server->number % 4 == 0 && !bucket_add(buckets, &options, &mine))
            server->failed = "add";
        buckets_open_object(buckets, &request, &reader, &by, &mine);
        if (!buckets_remove_object(buckets, STR("primary"), str_from(name), &mine))
            server->failed = "remove object";
        buckets_object_written(buckets, STR("primary"), str_from(name));
        if (i % 4 == 0) buckets_write(buckets, &w);
        bucket_names(buckets, &arena, &count);
        if (!errors_flush(buckets_errors(buckets), &mine)) server->failed = "flush";
        if (server->number == 1 && !errors_compact(buckets_errors(buckets), NULL, &mine))
            server->failed = "compact";
        buckets_metrics(buckets, &text);
        if (server->number % 4 == 0 && !bucket_remove(buckets, str_from(name), &mine))
            server->failed = "remove";
    }
    return NULL;
}

TEST("16 threads add, remove, read, delete, list, flush and compact at once") {
    Home home;
    OWNED(buckets_close) Buckets *buckets = NULL;
    OWNED(arena_close) Arena arena = {0};
    Server servers[16];
    pthread_t threads[16];
    size_t count;
    home_make(&home);
    buckets = open_full(&home, NULL, false, 0);
    CHECK_OK(add_more(buckets, &home));
    put(buckets, "rescue", "k", "copy");
    for (int i = 0; i < 16; i++) {
        servers[i] = (Server){buckets, &home, i, NULL};
        CHECK(pthread_create(&threads[i], NULL, crowd_run, &servers[i]) == 0);
    }
    for (int i = 0; i < 16; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 16; i++)
        if (servers[i].failed) kit_fail(__FILE__, __LINE__, "%s", servers[i].failed);
    bucket_names(buckets, &arena, &count);
    CHECK_INT(count, 3);
    CHECK_INT(event_count(buckets, &arena), 100); /* the first page of 16 * 12 rescued reads */
}
