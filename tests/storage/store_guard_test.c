#include "kit/kit.h"
#include "storage/faulty.h"
#include "storage/store_guard.h"

#include <limits.h>
#include <pthread.h>
#include <unistd.h>

static Err err;

/* A guard over a store that fails on demand, and what it reported. */
typedef struct Watched {
    Faulty faulty;
    Store *guard;
    bool shut; /* the store cannot be opened */
    pthread_mutex_t lock;
    int events, by_op[GUARD_OP_COUNT];
    char last_key[64], last_error[512];
    bool last_rescued;
} Watched;

static Store *ready(void *context, Err *why) {
    Watched *watched = context;
    if (watched->shut) return err_set(why, LH_INVALID, "no such secret"), NULL;
    return &watched->faulty.store;
}

static void report(void *context, Str name, GuardOp op, Str key, const Err *why, bool rescued) {
    Watched *watched = context;
    pthread_mutex_lock(&watched->lock);
    watched->events++;
    watched->by_op[op]++;
    watched->last_rescued = rescued;
    snprintf(watched->last_key, sizeof watched->last_key, "%.*s", SHOW(key));
    memcpy(watched->last_error, why->message, sizeof why->message);
    pthread_mutex_unlock(&watched->lock);
    (void)name;
}

static void watch(Watched *out) {
    Store *inner = NULL;
    CHECK_OK(store_local_open(str_from(kit_dir()), &inner, &err));
    *out = (Watched){.lock = PTHREAD_MUTEX_INITIALIZER};
    faulty_make(&out->faulty, inner);
    out->guard = store_guard_new(&(GuardOptions){.name = STR("far"),
                                                 .location = STR("s3://far"),
                                                 .failures = 3,
                                                 .ready = ready,
                                                 .ready_context = out,
                                                 .report = report,
                                                 .report_context = out});
    CHECK_OK(store_write(out->guard, STR("k"), bytes_of(STR("0123456789")), NULL, &err));
}

static void watched_close(Watched *watched) {
    Store *store = &watched->faulty.store;
    store_close(&watched->guard);
    store_close(&store);
}

static bool head(Watched *watched, const char *key) {
    ObjectInfo info;
    err = (Err){0};
    return store_head(watched->guard, str_from(key), &info, &err);
}

TEST("after so many failures in a row the store is not asked any more, and the answer says why and "
     "since when") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    watched.faulty.fail = INT_MAX;
    for (int i = 0; i < 3; i++) {
        CHECK(!guard_is_open(watched.guard));
        CHECK(!head(&watched, "k"));
        CHECK_STR(str_from(err.message), "it broke");
    }
    int calls = watched.faulty.calls;
    CHECK(guard_is_open(watched.guard));
    CHECK(!head(&watched, "k"));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK_STR(str_from(err_word(&err)), "bucket_unreachable");
    CHECK(strstr(err.message, "'far'") && strstr(err.message, "it broke"));
    CHECK(strstr(err.message, "since 20"));
    CHECK_INT(watched.faulty.calls, calls);
    CHECK_INT(watched.events, 4); /* one a call, whoever answered */
}

TEST("an answer between failures, be it that the key is missing, keeps the breaker closed") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    for (int i = 0; i < 10; i++) {
        watched.faulty.fail = 2;
        CHECK(!head(&watched, "k"));
        CHECK(!head(&watched, "k"));
        CHECK(!head(&watched, "none"));
        CHECK_INT(err.kind, LH_MISSING);
    }
    CHECK(!guard_is_open(watched.guard));
    CHECK_INT(watched.events, 20);
}

TEST("what succeeds without the store, such as the begin of a write, ends no row of failures") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    watched.faulty.fail = 3;
    for (int i = 0; i < 3; i++) {
        CHECK(!guard_is_open(watched.guard));
        CHECK(!store_write(watched.guard, STR("n"), bytes_of(STR("x")), NULL, &err));
    }
    CHECK(guard_is_open(watched.guard));
}

TEST("keys that are refused before the store is asked count for nothing") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    watched.faulty.fail = 2;
    CHECK(!head(&watched, "k"));
    CHECK(!head(&watched, "k"));
    CHECK(!head(&watched, "../k"));
    CHECK_INT(err.kind, LH_INVALID);
    watched.faulty.fail = 1;
    CHECK(!head(&watched, "k"));
    CHECK(guard_is_open(watched.guard));
}

TEST("a look closes the breaker once the store answers, and not before") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    watched.faulty.fail = 5;
    for (int i = 0; i < 3; i++) CHECK(!head(&watched, "k"));
    CHECK(!guard_look(watched.guard, &err));
    CHECK(!guard_look(watched.guard, &err));
    CHECK(guard_is_open(watched.guard));
    CHECK_OK(guard_look(watched.guard, &err));
    CHECK(!guard_is_open(watched.guard));
    CHECK_OK(head(&watched, "k"));
    watched.faulty.fail = 2; /* counted from nothing again */
    CHECK(!head(&watched, "k"));
    CHECK(!head(&watched, "k"));
    CHECK(!guard_is_open(watched.guard));
}

TEST("a store that cannot be opened opens the breaker at once, and serves when it can") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    watched.shut = true;
    CHECK(!head(&watched, "k"));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK(strstr(err.message, "no such secret"));
    CHECK(guard_is_open(watched.guard));
    CHECK(!guard_look(watched.guard, &err));
    watched.shut = false;
    CHECK(!head(&watched, "k"));
    CHECK_OK(guard_look(watched.guard, &err));
    CHECK_OK(head(&watched, "k"));
}

TEST("every operation that fails is one event with its name and key") {
    OWNED(watched_close) Watched watched;
    OWNED(arena_close) Arena arena = {0};
    watch(&watched);
    ObjectReader *reader = NULL;
    ObjectInfo info;
    ObjectList list;
    LocalFile *file = NULL;
    ListOptions options = {.prefix = STR("p/"), .limit = 10};
    Store *store = watched.guard;
#define FAILS(op, wanted_key, call)                                                                \
    do {                                                                                           \
        watched.faulty.fail = 1;                                                                   \
        int before = watched.by_op[op], all = watched.events;                                      \
        CHECK(!(call));                                                                            \
        CHECK_INT(watched.by_op[op], before + 1);                                                  \
        CHECK_INT(watched.events, all + 1);                                                        \
        CHECK_STR(str_from(watched.last_key), wanted_key);                                         \
        CHECK_OK(head(&watched, "k"));                                                             \
    } while (0)
    FAILS(GUARD_GET, "k", store_open(store, STR("k"), NULL, &reader, &err));
    FAILS(GUARD_GET, "k", store_local_file(store, STR("k"), LOCAL_WHOLE, true, &file, &err));
    FAILS(GUARD_HEAD, "k", store_head(store, STR("k"), &info, &err));
    FAILS(GUARD_DELETE, "k", store_remove(store, STR("k"), &err));
    FAILS(GUARD_LIST, "p/", store_list(store, &options, &arena, &list, &err));
    FAILS(GUARD_PUT, "n", store_write(store, STR("n"), bytes_of(STR("x")), NULL, &err));
    FAILS(GUARD_PUT, "n", store_adopt(store, "/nowhere", STR("n"), NULL, NULL, &err));
    FAILS(GUARD_PROBE, "", store_probe(store, &err));
#undef FAILS
}

TEST("a full or corrupt store is an event and no outage") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    static const ErrKind kinds[] = {LH_FULL, LH_CORRUPT};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        watched.faulty.kind = kinds[i];
        watched.faulty.fail = 5;
        for (int j = 0; j < 5; j++) CHECK(!head(&watched, "k"));
    }
    CHECK_INT(watched.events, 10);
    CHECK(!guard_is_open(watched.guard));
}

TEST("a probe that goes on failing is one event, until it answered again") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    for (int i = 0; i < 2; i++) {
        watched.faulty.fail = 2;
        CHECK(!store_probe(watched.guard, &err));
        CHECK(!store_probe(watched.guard, &err));
        CHECK_OK(store_probe(watched.guard, &err));
    }
    CHECK_INT(watched.by_op[GUARD_PROBE], 2);
}

TEST("a body that breaks off in the middle counts, in a reader that outlived its guard too") {
    Watched watched;
    OWNED(object_close) ObjectReader *reader = NULL;
    char byte[4];
    size_t got;
    watch(&watched);
    watched.faulty.read_fail_at = 4;
    CHECK_OK(store_open(watched.guard, STR("k"), NULL, &reader, &err));
    store_close(&watched.guard);
    CHECK_OK(object_read(reader, 0, byte, 4, &got, &err));
    CHECK_INT(got, 4);
    CHECK(!object_read(reader, 4, byte, 4, &got, &err));
    CHECK_INT(watched.by_op[GUARD_GET], 1);
    CHECK_STR(str_from(watched.last_key), "k");
    object_close(&reader);
    watched_close(&watched);
}

TEST("a file whose later read failed is an event when it is asked") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    LocalFile *file = NULL;
    CHECK_OK(store_local_file(watched.guard, STR("k"), LOCAL_RANGES, true, &file, &err));
    CHECK_STR(str_from(local_file_path(file)), "/nowhere");
    CHECK(!local_file_check(file, &err));
    CHECK_INT(watched.by_op[GUARD_GET], 1);
    local_file_close(&file);
}

TEST("the quiet side reports nothing, shares the breaker, and its failure can be reported once as "
     "rescued") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    ObjectInfo info;
    ObjectReader *reader = NULL;
    GuardState state;
    watched.faulty.fail = 3;
    CHECK(!store_head(guard_quiet(watched.guard), STR("k"), &info, &err));
    CHECK(!store_head(guard_quiet(watched.guard), STR("k"), &info, &err));
    CHECK(!guard_open_object(watched.guard, STR("k"), NULL, &reader, &err));
    CHECK_INT(watched.events, 0);
    CHECK(guard_is_open(watched.guard));
    guard_report(watched.guard, GUARD_GET, STR("k"), &err, true);
    CHECK_INT(watched.events, 1);
    CHECK(watched.last_rescued);
    guard_state(watched.guard, &state);
    CHECK_INT(state.rescues, 1);
    CHECK_INT(state.errors[GUARD_GET], 0);
}

TEST("a reader that was opened without a report still reports its body") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    OWNED(object_close) ObjectReader *reader = NULL;
    char byte;
    size_t got;
    CHECK_OK(guard_open_object(watched.guard, STR("k"), NULL, &reader, &err));
    watched.faulty.read_fail_at = 0;
    CHECK(!object_read(reader, 0, &byte, 1, &got, &err));
    CHECK_INT(watched.by_op[GUARD_GET], 1);
}

TEST("a local file's descriptor passes through") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    OWNED(object_close) ObjectReader *reader = NULL;
    CHECK_OK(store_open(watched.guard, STR("k"), NULL, &reader, &err));
    OWNED(fd_close) int fd = object_take_fd(reader);
    char byte;
    CHECK(fd >= 0 && pread(fd, &byte, 1, 3) == 1 && byte == '3');
}

TEST("of a store that cannot be asked no condition is refused for what it may honour") {
    OWNED(watched_close) Watched watched;
    watch(&watched);
    watched.shut = true;
    PutCondition absent = {.if_absent = true};
    CHECK(!store_write(watched.guard, STR("n"), bytes_of(STR("x")), &absent, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
}

static void *hammer(void *context) {
    Watched *watched = context;
    for (int i = 0; i < 300; i++) {
        ObjectInfo info;
        ObjectReader *reader = NULL;
        Err mine = {0};
        char bytes[16];
        size_t got;
        if (i % 50 == 0) watched->faulty.fail = 4;
        store_head(watched->guard, STR("k"), &info, &mine);
        if (store_open(watched->guard, STR("k"), NULL, &reader, &mine))
            object_read(reader, 0, bytes, sizeof bytes, &got, &mine);
        object_close(&reader);
        if (guard_is_open(watched->guard)) guard_look(watched->guard, &mine);
        GuardState state;
        guard_state(watched->guard, &state);
    }
    return NULL;
}

TEST("16 threads that open and close the breaker end with a store that serves") {
    OWNED(watched_close) Watched watched;
    pthread_t threads[16];
    GuardState state;
    int64_t errors = 0;
    watch(&watched);
    for (size_t i = 0; i < COUNT(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, &watched) == 0);
    for (size_t i = 0; i < COUNT(threads); i++) pthread_join(threads[i], NULL);
    watched.faulty.fail = 0;
    CHECK_OK(guard_look(watched.guard, &err));
    CHECK_OK(head(&watched, "k"));
    guard_state(watched.guard, &state);
    for (int op = 0; op < GUARD_OP_COUNT; op++) errors += state.errors[op];
    CHECK_INT(errors, watched.events);
}
