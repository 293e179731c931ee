#include "storage/store_contract.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static Store *open_root(const char *root) {
    Store *store = NULL;
    CHECK_OK(store_local_open(str_from(root), &store, &err));
    return store;
}

static Store *contract_store(void) {
    return open_root(kit_dir());
}

static void path_in(char out[PATH_MAX], const char *root, const char *rest) {
    CHECK(snprintf(out, PATH_MAX, "%s/%s", root, rest) < PATH_MAX);
}

static void check_refused(Store *store, Str key) {
    OWNED(object_close) ObjectReader *reader = NULL;
    ObjectInfo info;
    LocalFile *file;
    err = (Err){0};
    CHECK(!store_open(store, key, NULL, &reader, &err));
    CHECK_INT(err.kind, LH_INVALID);
    CHECK(str_is(str_from(err_word(&err)), "bad_key"));
    CHECK(!store_head(store, key, &info, &err));
    CHECK(!store_write(store, key, bytes_of(STR("x")), NULL, &err));
    CHECK(!store_remove(store, key, &err));
    CHECK(!store_local_file(store, key, LOCAL_WHOLE, false, &file, &err));
    CHECK_INT(err.kind, LH_INVALID);
}

TEST("keys that are empty, too long, climb, hold control bytes or are ours are refused") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    static char longest[STORE_KEY_MAX + 2];
    memset(longest, 'a', sizeof longest);
    const char *bad[] = {"",     "/",    "a/",        "/a",         "a//b",           ".",
                         "..",   "a/..", "../a",      "a/./b",      "a/../b",         "a\n",
                         "\x7f", "\xff", "a\xc0\xaf", ".lakehouse", ".lakehouse/lock"};
    for (size_t i = 0; i < COUNT(bad); i++) check_refused(store, str_from(bad[i]));
    check_refused(store, (Str){"a\0b", 3});
    check_refused(store, (Str){longest, STORE_KEY_MAX + 1});
    check_refused(store, (Str){longest, 256});
    put(store, ".lakehousekeeper/x", "fine");
    put(store, "...", "fine");
}

/* The disk is told to begin every 8 MiB; pieces end before, at and behind that. */
TEST("an object of many megabytes is what was written, in whatever pieces it came") {
    static const size_t pieces[] = {(8 << 20) - 1, 8 << 20, (8 << 20) + 1, 20 << 20};
    enum { SIZE = 33 << 20 };
    OWNED(store_close) Store *store = open_root(kit_dir());
    uint8_t *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)hash_mix(i);
    for (size_t i = 0; i < COUNT(pieces); i++) {
        OWNED(writer_close) ObjectWriter *writer = NULL;
        OWNED(arena_close) Arena arena = {0};
        Bytes data;
        CHECK_OK(store_create(store, STR("large"), NULL, &writer, &err));
        for (size_t at = 0; at < SIZE; at += pieces[i])
            CHECK_OK(writer_write(writer, (Bytes){bytes + at, MIN(pieces[i], SIZE - at)}, &err));
        CHECK_OK(writer_commit(writer, NULL, &err));
        CHECK_OK(store_read(store, STR("large"), SIZE, &arena, &data, &err));
        CHECK(data.size == SIZE && memcmp(data.data, bytes, SIZE) == 0);
    }
    free(bytes);
}

TEST("more than a page of a listing is removed below a prefix") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    OWNED(arena_close) Arena arena = {0};
    for (int i = 0; i <= STORE_LIST_MAX; i++) {
        char key[32];
        snprintf(key, sizeof key, "many/%d", i);
        put(store, key, "x");
    }
    CHECK_OK(store_remove_below(store, STR("many/"), &err));
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "");
}

TEST("a symbolic link in the root is never followed, whatever is asked") {
    const char *root = kit_dir(), *outside = kit_dir();
    OWNED(store_close) Store *store = open_root(root);
    OWNED(arena_close) Arena arena = {0};
    char path[PATH_MAX], secret[PATH_MAX];
    LocalFile *local;
    path_in(secret, outside, "secret");
    CHECK_OK(file_replace(secret, bytes_of(STR("secret")), &err));
    path_in(path, root, "out");
    CHECK(symlink(outside, path) == 0);
    path_in(path, root, "file");
    CHECK(symlink(secret, path) == 0);
    put(store, "real/x", "x");
    path_in(path, root, "real/up");
    CHECK(symlink("..", path) == 0);
    check_missing(store, "out/secret");
    check_missing(store, "file");
    check_missing(store, "real/up/real/x");
    CHECK(!store_local_file(store, STR("file"), LOCAL_WHOLE, false, &local, &err));
    CHECK(!store_write(store, STR("out/new"), bytes_of(STR("x")), NULL, &err));
    CHECK_INT(err.kind, LH_CONFLICT);
    CHECK_OK(store_remove(store, STR("out/secret"), &err));
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "real/x");
    CHECK_STR(listing(store, (ListOptions){.prefix = STR("out/")}, &arena, NULL), "");
    put(store, "file", "mine"); /* replaces the link, not what it points to */
    Bytes data;
    CHECK_OK(file_read(secret, 100, &arena, &data, &err));
    CHECK_STR(str_of(data), "secret");
    path_in(path, outside, "new");
    CHECK(access(path, F_OK) != 0);
}

TEST("a named pipe or a device in the root is no object and blocks nobody") {
    const char *root = kit_dir();
    OWNED(store_close) Store *store = open_root(root);
    char path[PATH_MAX];
    path_in(path, root, "pipe");
    CHECK(mkfifo(path, 0600) == 0);
    check_missing(store, "pipe");
}

TEST("'a' and 'a/b' at once are refused with a clear word, an empty folder is in nobody's way") {
    const char *root = kit_dir();
    OWNED(store_close) Store *store = open_root(root);
    char path[PATH_MAX];
    put(store, "a", "1");
    CHECK(!store_write(store, STR("a/b"), bytes_of(STR("2")), NULL, &err));
    CHECK_INT(err.kind, LH_CONFLICT);
    CHECK(str_is(str_from(err_word(&err)), "key_conflict"));
    put(store, "c/d", "3");
    CHECK(!store_write(store, STR("c"), bytes_of(STR("4")), NULL, &err));
    CHECK(str_is(str_from(err_word(&err)), "key_conflict"));
    CHECK(!put_if(store, "c", "4", (PutCondition){.if_absent = true}));
    CHECK(str_is(str_from(err_word(&err)), "key_conflict"));
    path_in(path, root, "empty");
    CHECK(mkdir(path, 0755) == 0);
    put(store, "empty", "5");
    check_object(store, "empty", "5");
}

TEST("pages are full and in order although empty folders and strangers lie between") {
    const char *root = kit_dir();
    OWNED(store_close) Store *store = open_root(root);
    OWNED(arena_close) Arena arena = {0};
    char path[PATH_MAX], name[40];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "f%02d/empty", i);
        path_in(path, root, name);
        CHECK_OK(dir_make(path, &err));
    }
    path_in(path, root, "f05/no\nkey");
    CHECK_OK(file_replace(path, bytes_of(STR("x")), &err));
    put(store, "f17/a", "1");
    put(store, "f33/b", "2");
    put(store, "g", "3");
    ListOptions options = {.limit = 2};
    CHECK_STR(listing(store, options, &arena, &options.after), "f17/a f33/b");
    CHECK_STR(listing(store, options, &arena, &options.after), "g");
    CHECK(options.after.len == 0);
    CHECK_STR(listing(store, (ListOptions){.limit = 1}, &arena, NULL), "f17/a");
    CHECK_STR(listing(store, (ListOptions){.delimiter = STR("/")}, &arena, NULL),
              "g [f17/] [f33/]");
}

TEST("removing the last object of a folder removes the folder") {
    const char *root = kit_dir();
    OWNED(store_close) Store *store = open_root(root);
    char path[PATH_MAX];
    put(store, "a/b/c/d", "x");
    put(store, "a/e", "x");
    CHECK_OK(store_remove(store, STR("a/b/c/d"), &err));
    path_in(path, root, "a/b");
    CHECK(access(path, F_OK) != 0);
    path_in(path, root, "a/e");
    CHECK(access(path, F_OK) == 0);
}

TEST("a root that is moved away is out of reach at once, and serves again when it is back") {
    const char *dir = kit_dir();
    char root[PATH_MAX], away[PATH_MAX];
    path_in(root, dir, "root");
    path_in(away, dir, "away");
    OWNED(store_close) Store *store = open_root(root);
    ObjectInfo info;
    put(store, "k", "1");
    CHECK(rename(root, away) == 0);
    CHECK(!store_head(store, STR("k"), &info, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK(!store_write(store, STR("k"), bytes_of(STR("2")), NULL, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK(!store_probe(store, &err));
    CHECK(mkdir(root, 0755) == 0); /* as a mount point without its disk */
    CHECK(!store_write(store, STR("k"), bytes_of(STR("2")), NULL, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK(rmdir(root) == 0 && rename(away, root) == 0);
    CHECK_OK(store_probe(store, &err));
    check_object(store, "k", "1");
    put(store, "k", "3");
}

TEST("what the server may not do on its own disk is an outage, not the client's lack of rights") {
    const char *root = kit_dir();
    OWNED(store_close) Store *store = open_root(root);
    int status;
    put(store, "a/k", "1");
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) { /* somebody who may read the root, not write below it */
        if (getuid() == 0 && setuid(65534)) _exit(1);
        if (getuid() != 65534) _exit(0);
        bool ok = store_write(store, STR("a/n"), bytes_of(STR("x")), NULL, &err);
        _exit(!ok && err.kind == LH_OFFLINE ? 0 : 2);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Every operation once as it should be and once in vain. */
static void operate(Store *store) {
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(writer_close) ObjectWriter *writer = NULL;
    OWNED(arena_close) Arena arena = {0};
    ObjectInfo info;
    LocalFile *file;
    put(store, "a/b/c", "1");
    CHECK(!put_if(store, "a/b/c", "2", (PutCondition){.if_absent = true}));
    CHECK(!put_if(store, "a/b/c/d", "2", (PutCondition){.if_absent = true}));
    CHECK(!put_if(store, "a/b", "2", (PutCondition){.if_match = STR("x")}));
    CHECK(!store_open(store, STR("a/b"), NULL, &reader, &err));
    CHECK_OK(store_open(store, STR("a/b/c"), NULL, &reader, &err));
    int fd = object_take_fd(reader);
    CHECK(fd >= 0 && object_take_fd(reader) == -1);
    close(fd);
    CHECK_OK(store_create(store, STR("a/x"), NULL, &writer, &err));
    CHECK(!store_head(store, STR("a/x"), &info, &err));
    CHECK(!store_local_file(store, STR("a/x"), LOCAL_WHOLE, false, &file, &err));
    CHECK(!store_adopt(store, "/nonexistent", STR("a/x"), NULL, NULL, &err));
    listing(store, (ListOptions){.delimiter = STR("/")}, &arena, NULL);
    listing(store, (ListOptions){0}, &arena, NULL);
    CHECK_OK(store_probe(store, &err));
    CHECK_OK(store_remove(store, STR("a/b/c"), &err));
    CHECK_OK(store_remove(store, STR("a/b/c/d"), &err));
}

TEST("no operation leaves a descriptor open") {
    OWNED(store_close) Store *store = open_root(kit_dir());
    int before = open_descriptors();
    for (int i = 0; i < 3; i++) operate(store);
    CHECK_INT(open_descriptors(), before);
    store_close(&store);
    CHECK_INT(open_descriptors(), before - 2);
}

static void count_files(const char *path, int *count) {
    char command[PATH_MAX + 64];
    snprintf(command, sizeof command, "find '%s' -type f | wc -l", path);
    FILE *pipe = popen(command, "r");
    CHECK(pipe && fscanf(pipe, "%d", count) == 1);
    pclose(pipe);
}

TEST("what a crash left in staging is swept at open, what another store stages is not") {
    const char *root = kit_dir();
    char path[PATH_MAX], left[PATH_MAX];
    int files;
    path_in(left, root, ".lakehouse/staging/0123456789abcdef");
    CHECK_OK(dir_make(left, &err));
    path_in(path, left, "junk");
    CHECK_OK(file_replace(path, bytes_of(STR("junk")), &err));
    OWNED(store_close) Store *one = open_root(root);
    CHECK(access(left, F_OK) != 0);
    CHECK_OK(store_staging(one, path, &err));
    CHECK_OK(file_replace(path, bytes_of(STR("staged")), &err));
    OWNED(store_close) Store *two = open_root(root);
    CHECK(access(path, F_OK) == 0);
    store_close(&two);
    store_close(&one);
    path_in(path, root, ".lakehouse/staging");
    count_files(path, &files);
    CHECK_INT(files, 0);
}

typedef struct Writing {
    const char *root;
    int seed;
} Writing;

/* Writes objects of one repeated digit, in two sizes, over and over; acknowledges each as the digit
 * that was written last under its key. */
static void write_forever(void *context) {
    const Writing *writing = context;
    Store *store = open_root(writing->root);
    static char data[200000];
    for (int i = writing->seed;; i++) {
        char key[16], ack[2] = {(char)(i % 7), (char)('0' + i % 10)};
        size_t size = i % 2 ? sizeof data : 100;
        snprintf(key, sizeof key, "k/%d", i % 7);
        memset(data, ack[1], size);
        CHECK_OK(store_write(store, str_from(key), (Bytes){(uint8_t *)data, size}, NULL, &err));
        kit_acknowledge(ack, 2);
    }
}

/* Whole, of one digit; and not older than what was acknowledged: the write after an
 * acknowledgement may or may not have happened, so that the next digit of the key is right too. */
static void check_whole(Store *store, int k, char last) {
    OWNED(arena_close) Arena arena = {0};
    char key[16];
    Bytes data;
    snprintf(key, sizeof key, "k/%d", k);
    CHECK_OK(store_read(store, str_from(key), 1 << 20, &arena, &data, &err));
    CHECK(data.size == 100 || data.size == 200000);
    for (size_t i = 1; i < data.size; i++) CHECK(data.data[i] == data.data[0]);
    CHECK(data.data[0] == (uint8_t)last || data.data[0] == '0' + (last - '0' + 7) % 10);
}

TEST("killed at any moment: acknowledged objects are intact, none is half, staging is swept") {
    const char *root = kit_dir();
    char last[7] = {0}, path[PATH_MAX];
    int files, checked = 0;
    size_t count;
    for (int round = 0; round < 20; round++) {
        memset(last, 0, sizeof last);
        Writing writing = {root, round * 13};
        const char(*acks)[2] = kit_kill(write_forever, &writing, 30000, sizeof *acks, &count);
        for (size_t i = 0; i < count; i++) last[(int)acks[i][0]] = acks[i][1];
        OWNED(store_close) Store *store = open_root(root);
        for (int k = 0; k < 7; k++)
            if (last[k]) check_whole(store, k, last[k]), checked++;
        path_in(path, root, ".lakehouse/staging");
        count_files(path, &files);
        CHECK_INT(files, 0);
    }
    CHECK(checked >= 20);
}

/* Adds one to the number under "n", `times` times, by If-Match; exits 0. */
static void count_up(const char *root, int times) {
    Store *store = NULL;
    Err why = {0};
    if (!store_local_open_shared(str_from(root), &store, &why)) _exit(1);
    while (times > 0) {
        OWNED(arena_close) Arena arena = {0};
        OWNED(object_close) ObjectReader *reader = NULL;
        char text[16] = "";
        size_t got;
        if (!store_open(store, STR("n"), NULL, &reader, &why)) _exit(2);
        if (!object_read(reader, 0, text, sizeof text - 1, &got, &why)) _exit(3);
        PutCondition same = {.if_match = str_from(object_info(reader)->etag)};
        Str next = arena_print(&arena, "%d", atoi(text) + 1);
        if (store_write(store, STR("n"), bytes_of(next), &same, &why))
            times--;
        else if (why.kind != LH_PRECONDITION)
            _exit(4);
    }
    store_close(&store);
    _exit(0);
}

TEST("If-Match holds between processes that share a root") {
    const char *root = kit_dir();
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = NULL;
    pid_t children[4];
    Bytes data;
    CHECK_OK(store_local_open_shared(str_from(root), &store, &err));
    CHECK_OK(store_write(store, STR("n"), bytes_of(STR("0")), NULL, &err));
    for (size_t i = 0; i < COUNT(children); i++)
        if ((children[i] = fork()) == 0) count_up(root, 50);
    for (size_t i = 0; i < COUNT(children); i++) {
        int status;
        waitpid(children[i], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK_OK(store_read(store, STR("n"), 16, &arena, &data, &err));
    CHECK_STR(str_of(data), "200");
}
