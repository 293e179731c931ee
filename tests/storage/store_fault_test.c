#include "storage/fault.h"

#include "kit/kit.h"
#include "storage/storage.h"

static Err err;

static Store *open_root(const char *root) {
    Store *store = NULL;
    CHECK_OK(store_local_open(str_from(root), &store, &err));
    return store;
}

static Str content(Store *store, const char *key, Arena *arena) {
    Bytes data;
    err = (Err){0};
    if (!store_read(store, str_from(key), 1 << 20, arena, &data, &err)) return STR("(none)");
    return str_of(data);
}

static int staged(const char *root) {
    char command[200];
    int count = -1;
    snprintf(command, sizeof command, "find '%s/.lakehouse/staging' -type f | wc -l", root);
    FILE *pipe = popen(command, "r");
    CHECK(pipe && fscanf(pipe, "%d", &count) == 1);
    pclose(pipe);
    return count;
}

typedef bool Step(Store *store);

static bool overwrite(Store *store) {
    return store_write(store, STR("a/k"), bytes_of(STR("new")), NULL, &err);
}

static bool create(Store *store) {
    return store_write(store, STR("x/y/z"), bytes_of(STR("new")),
                       &(PutCondition){.if_absent = true}, &err);
}

static bool adopt(Store *store) {
    char path[PATH_MAX];
    if (!store_staging(store, path, &err)) return false;
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("new", file) > 0);
    fclose(file);
    bool ok = store_adopt(store, path, STR("a/k"), NULL, NULL, &err);
    if (!ok) unlink(path);
    return ok;
}

/* Fails the first call, then the second, until the step gets through without meeting a failure. */
static int fail_each_call(Step *step, const char *key, const char *before) {
    for (int n = 1;; n++) {
        OWNED(arena_close) Arena arena = {0};
        const char *root = kit_dir();
        OWNED(store_close) Store *store = open_root(root);
        CHECK_OK(store_write(store, STR("a/k"), bytes_of(STR("old")), NULL, &err));
        fault_in = n;
        bool ok = step(store);
        bool met = fault_in == 0;
        fault_in = 0;
        Str now = content(store, key, &arena);
        if (ok) CHECK_STR(now, "new");
        if (!ok) CHECK(str_is(now, before) || str_is(now, "new"));
        CHECK_INT(staged(root), 0);
        CHECK_OK(store_write(store, str_from(key), bytes_of(STR("after")), NULL, &err));
        CHECK_STR(content(store, key, &arena), "after");
        if (!met) return n - 1;
        CHECK(!ok || n > 4); /* only the tidying at the end may fail unnoticed */
    }
}

TEST("whichever call of an overwrite fails, readers see the old object or the new, whole") {
    CHECK(fail_each_call(overwrite, "a/k", "old") >= 5);
}

TEST("whichever call of a create in new folders fails, there is no object or the whole one") {
    CHECK(fail_each_call(create, "x/y/z", "(none)") >= 8);
}

TEST("whichever call of an adoption fails, readers see the old object or the new, whole") {
    CHECK(fail_each_call(adopt, "a/k", "old") >= 4);
}

TEST("where the file system knows no exclusive rename, conditions hold by links") {
    OWNED(arena_close) Arena arena = {0};
    const char *root = kit_dir();
    OWNED(store_close) Store *store = open_root(root);
    fault_as_nfs = true;
    bool first = create(store), second = create(store);
    bool refused = err.kind == LH_PRECONDITION;
    int steps = fail_each_call(create, "x/y/z", "(none)");
    fault_as_nfs = false;
    CHECK(first && !second && refused);
    CHECK(steps >= 8);
    CHECK_STR(content(store, "x/y/z", &arena), "new");
    CHECK_INT(staged(root), 0);
}
