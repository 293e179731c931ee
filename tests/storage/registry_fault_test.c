/* The n-th system call fails, for every n, while the registry keeps what must not be lost: what was
 * acknowledged holds, and what was refused can be done again. */
#include "storage/fault.h"

#include "kit/kit.h"
#include "storage/storage.h"

static Err err;

typedef struct Home {
    char primary[128], rescue[128], state[128], more[128], spool[128], away[128];
    BucketOptions options[2];
} Home;

static void home_make(Home *home) {
    const char *dir = kit_dir();
    snprintf(home->primary, sizeof home->primary, "%s/primary", dir);
    snprintf(home->rescue, sizeof home->rescue, "%s/rescue", dir);
    snprintf(home->state, sizeof home->state, "%s/state", dir);
    snprintf(home->more, sizeof home->more, "%s/more", dir);
    snprintf(home->spool, sizeof home->spool, "%s/spool", dir);
    snprintf(home->away, sizeof home->away, "%s/away", dir);
    home->options[0] = (BucketOptions){STR("primary"), STR("local"), str_from(home->primary)};
    home->options[1] = (BucketOptions){STR("rescue"), STR("local"), str_from(home->rescue)};
}

/* The background threads sleep through the test, so that the calls that fail are its own. */
static Buckets *open_home(Home *home) {
    Buckets *buckets = NULL;
    CHECK_OK(buckets_open(&(BucketsOptions){.items = home->options,
                                            .count = 2,
                                            .rescue = STR("rescue"),
                                            .state_dir = home->state,
                                            .breaker_failures = 1000,
                                            .breaker_probe_ms = 600000},
                          &buckets, &err));
    return buckets;
}

static Store *open_root(const char *root) {
    Store *store = NULL;
    CHECK_OK(store_local_open(str_from(root), &store, &err));
    return store;
}

/* Whether the fault was met by the call that follows fault_in = n. */
static bool fault_met(void) {
    bool met = fault_in == 0;
    fault_in = 0;
    return met;
}

static bool is_listed(Buckets *buckets, const char *name) {
    Bucket *bucket = NULL;
    Err ignored = {0};
    bool found = bucket_find(buckets, str_from(name), &bucket, &ignored);
    bucket_release(&bucket);
    return found;
}

TEST("a change of the list of buckets that fails half-way can be done again, one that was "
     "acknowledged holds after a restart") {
    Home home;
    home_make(&home);
    int n = 0;
    for (bool met = true; met && n < 100;) {
        OWNED(buckets_close) Buckets *buckets = open_home(&home);
        BucketOptions more = {STR("more"), STR("local"), str_from(home.more)};
        fault_in = ++n;
        bool ok = bucket_add(buckets, &more, &err);
        met = fault_met();
        if (!ok) CHECK(err.kind == LH_OFFLINE || err.kind == LH_INVALID);
        bool listed = is_listed(buckets, "more");
        if (ok) CHECK(listed);
        buckets_close(&buckets);
        buckets = open_home(&home);
        if (ok) CHECK(is_listed(buckets, "more"));
        if (!is_listed(buckets, "more")) CHECK_OK(bucket_add(buckets, &more, &err));
        fault_in = n;
        ok = bucket_remove(buckets, STR("more"), &err);
        met = fault_met() || met;
        if (!ok && !bucket_remove(buckets, STR("more"), &err))
            CHECK_INT(err.kind, LH_MISSING); /* it was written, and only not known to be durable */
        CHECK(!is_listed(buckets, "more"));
        buckets_close(&buckets);
        buckets = open_home(&home);
        CHECK(!is_listed(buckets, "more"));
    }
    CHECK(n > 5 && n < 100);
}

static bool is_rescued(Buckets *buckets, const char *key) {
    OWNED(object_close) ObjectReader *reader = NULL;
    ObjectRequest request = {.bucket = STR("primary"), .key = str_from(key)};
    Str by;
    Err ignored = {0};
    return buckets_open_object(buckets, &request, &reader, &by, &ignored) && by.len > 0;
}

static void put(Buckets *buckets, const char *name, const char *key) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    CHECK_OK(bucket_find(buckets, str_from(name), &bucket, &err));
    CHECK_OK(store_write(bucket_store(bucket), str_from(key), bytes_of(STR("x")), NULL, &err));
}

static bool exists(Buckets *buckets, const char *name, const char *key) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    ObjectInfo info;
    CHECK_OK(bucket_find(buckets, str_from(name), &bucket, &err));
    Err ignored = {0};
    return store_head(bucket_store(bucket), str_from(key), &info, &ignored);
}

TEST("a delete that fails half-way has kept the object or its marker, one that was acknowledged is "
     "for good") {
    Home home;
    int n = 0;
    home_make(&home);
    for (bool met = true; met && n < 100;) {
        char key[16];
        snprintf(key, sizeof key, "k%d", ++n);
        OWNED(buckets_close) Buckets *buckets = open_home(&home);
        put(buckets, "primary", key);
        put(buckets, "rescue", key);
        fault_in = n;
        bool ok = buckets_remove_object(buckets, STR("primary"), str_from(key), &err);
        met = fault_met();
        if (ok) CHECK(!exists(buckets, "primary", key));
        if (!ok) CHECK_INT(err.kind, LH_OFFLINE);
        buckets_close(&buckets);
        buckets = open_home(&home);
        CHECK(!is_rescued(buckets, key)); /* it is there, or known to be deleted */
        CHECK_OK(buckets_remove_object(buckets, STR("primary"), str_from(key), &err));
        CHECK(!exists(buckets, "primary", key) && !is_rescued(buckets, key));
    }
    CHECK(n > 4 && n < 100);
}

TEST("a write whose marker cannot be taken away at once is served all the same") {
    Home home;
    int n = 0;
    home_make(&home);
    for (bool met = true; met && n < 100;) {
        char key[16];
        snprintf(key, sizeof key, "k%d", ++n);
        OWNED(buckets_close) Buckets *buckets = open_home(&home);
        put(buckets, "rescue", key);
        CHECK_OK(buckets_remove_object(buckets, STR("primary"), str_from(key), &err));
        put(buckets, "primary", key);
        fault_in = n;
        buckets_object_written(buckets, STR("primary"), str_from(key));
        met = fault_met();
        CHECK(exists(buckets, "primary", key));
        buckets_object_written(buckets, STR("primary"), str_from(key));
        OWNED(bucket_release) Bucket *primary = NULL;
        CHECK_OK(bucket_find(buckets, STR("primary"), &primary, &err));
        CHECK_OK(store_remove(bucket_store(primary), str_from(key), &err)); /* not through us */
        CHECK(is_rescued(buckets, key));
    }
    CHECK(n >= 2 && n < 100);
}

static void add(ErrorJournal *journal, int number) {
    char key[16];
    snprintf(key, sizeof key, "%d", number);
    errors_add(journal, &(ErrorEvent){.bucket = STR("a"),
                                      .key = str_from(key),
                                      .op = "get",
                                      .error = STR("it broke")});
}

static int64_t events_in(ErrorJournal *journal) {
    OWNED(text_close) Text text = {0};
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = &text};
    const Json *json = NULL;
    CHECK_OK(errors_write(journal, (Str){0}, 0, ERRORS_KEPT_MAX, &w, &err));
    CHECK_OK(json_read(text_str(&text), &arena, &json, &err));
    return (int64_t)json->len;
}

static int64_t events_on_disk(ErrorJournal *journal) {
    OWNED(text_close) Text text = {0};
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = &text};
    const Json *json = NULL;
    CHECK_OK(errors_compact(journal, &w, &err));
    CHECK_OK(json_read(text_str(&text), &arena, &json, &err));
    return json_get_int(json, "events", -1);
}

typedef enum Step { FLUSH, FLUSH_AWAY, DRAIN, COMPACT } Step;

/* Does the step with its n-th call failing, then closes and opens: nothing is lost or doubled. */
static bool step_once(Step step, int n) {
    Home home;
    home_make(&home);
    OWNED(store_close) Store *store = open_root(home.primary);
    OWNED(errors_close) ErrorJournal *journal = NULL;
    ErrorsOptions options = {.store = store, .spool_path = home.spool};
    errors_open(&options, &journal);
    for (int i = 0; i < 3; i++) {
        add(journal, i);
        CHECK_OK(errors_flush(journal, &err));
    }
    bool away = step == FLUSH_AWAY || step == DRAIN;
    if (away) CHECK(rename(home.primary, home.away) == 0);
    add(journal, 3);
    if (step == DRAIN) CHECK_OK(errors_flush(journal, &err));
    if (step == DRAIN) CHECK(rename(home.away, home.primary) == 0);
    fault_in = n;
    bool ok = step == COMPACT ? errors_compact(journal, NULL, &err) : errors_flush(journal, &err);
    bool met = fault_met();
    if (!ok) CHECK(err.kind == LH_OFFLINE || err.kind == LH_FULL);
    CHECK_INT(events_in(journal), 4);
    if (!ok && !away) CHECK_OK(errors_flush(journal, &err));
    if (step == FLUSH_AWAY) CHECK(rename(home.away, home.primary) == 0);
    errors_close(&journal);
    errors_open(&options, &journal);
    CHECK_INT(events_in(journal), 4);
    CHECK_INT(events_on_disk(journal), 4);
    return met;
}

static int step_all(Step step) {
    for (int n = 1; n < 200; n++)
        if (!step_once(step, n)) return n;
    return 200;
}

TEST("a flush of the error journal that fails at any call loses and doubles nothing") {
    int calls = step_all(FLUSH);
    CHECK(calls > 4 && calls < 60);
}

TEST("a flush into the spool that fails at any call loses and doubles nothing") {
    int calls = step_all(FLUSH_AWAY);
    CHECK(calls > 2 && calls < 60);
}

TEST("emptying the spool into the primary, failing at any call, loses and doubles nothing") {
    int calls = step_all(DRAIN);
    CHECK(calls > 4 && calls < 60);
}

TEST("a compaction that fails at any call loses and doubles nothing") {
    int calls = step_all(COMPACT);
    CHECK(calls > 8 && calls < 100);
}
