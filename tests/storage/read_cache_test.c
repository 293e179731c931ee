#include "kit/remote_store.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define OBJECT_SIZE ((size_t)1 << 20)
#define LONG_SIZE ((size_t)3 << 20)

static Err err;

/* The disk is full for the next writes of the cache. */
static _Atomic int full_writes;

__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void *data, size_t size,
                                                      off_t at) {
    int left = full_writes;
    while (left > 0 && !atomic_compare_exchange_weak(&full_writes, &left, left - 1)) continue;
    if (left > 0) return errno = ENOSPC, -1;
    return syscall(SYS_pwrite64, fd, data, size, at);
}

typedef struct Far {
    char dir[128], root[128];
    ReadCache *cache;
    Store *store;
    RemoteStore *remote;
} Far;

static void far_close(Far *far) {
    store_close(&far->store);
    read_cache_close(&far->cache);
}

static void far_open(Far *far, int64_t bytes_max) {
    const char *dir = kit_dir();
    snprintf(far->dir, sizeof far->dir, "%s/cache", dir);
    snprintf(far->root, sizeof far->root, "%s/store", dir);
    CHECK_OK(read_cache_open(far->dir, bytes_max, &far->cache, &err));
    CHECK_OK(store_local_open(str_from(far->root), &far->store, &err));
    far->remote = remote_make(far->store, far->cache);
    cache_hooked();
}

/* What byte `at` of object `n` is. */
static uint8_t byte_at(unsigned n, uint64_t at) {
    uint64_t x = (at / 8 + n * 977u) * 0x9e3779b97f4a7c15u;
    return (uint8_t)(x >> (at % 8 * 8) | 1); /* never the zero of a hole */
}

static void put(Far *far, unsigned n, size_t size) {
    char key[32];
    uint8_t *data = malloc(size + 1);
    if (!data) abort();
    for (size_t i = 0; i < size; i++) data[i] = byte_at(n, i);
    snprintf(key, sizeof key, "data/%u", n);
    bool ok = store_write(far->store, str_from(key), (Bytes){data, size}, NULL, &err);
    free(data);
    CHECK(ok);
}

static bool hold(Far *far, unsigned n, LocalUse use, bool immutable, LocalFile **out) {
    char key[32];
    snprintf(key, sizeof key, "data/%u", n);
    return store_local_file(far->store, str_from(key), use, immutable, out, &err);
}

/* As DuckDB does it under query's hooks. */
static int hooked_open(const LocalFile *file) {
    int fd = open(local_file_path(file), O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !cache_opened(local_file_path(file), fd)) fd_close(&fd);
    return fd;
}

static void hooked_close(int *fd) {
    if (*fd >= 0) cache_closed(*fd);
    fd_close(fd);
}

/* 1: right, 0: wrong bytes, -1: refused. */
static int read_at(int fd, unsigned n, uint64_t from, size_t count) {
    uint8_t data[100000];
    if (count > sizeof data) abort();
    if (!cache_fill(fd, from, count)) return -1;
    if (pread(fd, data, count, (off_t)from) != (ssize_t)count) return 0;
    for (size_t i = 0; i < count; i++)
        if (data[i] != byte_at(n, from + i)) return 0;
    return 1;
}

static bool is_whole(const LocalFile *file, unsigned n, size_t size) {
    OWNED(fd_close) int fd = open(local_file_path(file), O_RDONLY | O_CLOEXEC);
    uint8_t data[4096];
    for (size_t at = 0; at < size; at += sizeof data) {
        size_t count = MIN(sizeof data, size - at);
        if (pread(fd, data, count, (off_t)at) != (ssize_t)count) return false;
        for (size_t i = 0; i < count; i++)
            if (data[i] != byte_at(n, at + i)) return false;
    }
    return true;
}

TEST("a read fetches its own range once, the end of the file with what stands before it") {
    OWNED(far_close) Far far = {0};
    OWNED(local_file_close) LocalFile *file = NULL;
    OWNED(hooked_close) int fd = -1;
    struct stat info;
    far_open(&far, 1 << 30);
    put(&far, 1, LONG_SIZE);
    CHECK_OK(hold(&far, 1, LOCAL_RANGES, true, &file));
    CHECK((fd = hooked_open(file)) >= 0);
    CHECK(fstat(fd, &info) == 0 && (size_t)info.st_size == LONG_SIZE);
    CHECK_INT(far.remote->requests, 1);
    CHECK_INT(read_at(fd, 1, LONG_SIZE - 8, 8), 1);
    CHECK_INT(read_at(fd, 1, LONG_SIZE - 60000, 60000), 1);
    CHECK_INT(far.remote->requests, 1);
    CHECK(far.remote->bytes <= 80 << 10);
    remote_reset(far.remote);
    CHECK_INT(read_at(fd, 1, 1000000, 90000), 1);
    CHECK_INT(read_at(fd, 1, 1000000, 90000), 1);
    CHECK_INT(read_at(fd, 1, 1050000, 10), 1);
    CHECK_INT(far.remote->requests, 1);
    CHECK(far.remote->bytes <= 90000 + (32 << 10));
    CHECK(fstat(fd, &info) == 0 && (int64_t)info.st_blocks * 512 < (int64_t)LONG_SIZE / 4);
    CHECK(read_cache_bytes(far.cache) < (int64_t)LONG_SIZE / 4);
}

TEST("a descriptor or path that is none of the cache's costs nothing and is never refused") {
    OWNED(far_close) Far far = {0};
    far_open(&far, 1 << 30);
    OWNED(fd_close) int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CHECK(cache_opened("/dev/zero", fd) && !cache_has(fd) && cache_fill(fd, 0, 100));
    cache_closed(fd);
    cache_closed(-1);
    CHECK(cache_fill(-1, 0, 1) && cache_fill(1 << 20, 0, 1));
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/nothing-of-ours", read_cache_dir(far.cache));
    CHECK(!cache_opened(path, fd) && errno == ESTALE);
}

TEST("what is immutable is asked for once, what is not each time, and a new version is another "
     "file") {
    OWNED(far_close) Far far = {0};
    LocalFile *file, *other;
    far_open(&far, 1 << 30);
    put(&far, 1, 1000);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file));
        CHECK(is_whole(file, 1, 1000));
        local_file_close(&file);
    }
    CHECK_INT(far.remote->heads, 1);
    CHECK_INT(far.remote->requests, 1);
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, false, &file));
    CHECK_INT(far.remote->heads, 2);
    CHECK_INT(far.remote->requests, 1);
    put(&far, 1, 2000);
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, false, &other));
    CHECK(strcmp(local_file_path(file), local_file_path(other)) != 0);
    CHECK(is_whole(other, 1, 2000));
    CHECK_INT(far.remote->requests, 2);
    local_file_close(&file);
    local_file_close(&other);
    CHECK_INT(read_cache_bytes(far.cache), 2000);
}

TEST("a whole file comes in parallel parts, an empty one without any") {
    OWNED(far_close) Far far = {0};
    OWNED(local_file_close) LocalFile *file = NULL, *empty = NULL;
    size_t size = ((size_t)20 << 20) + 123;
    far_open(&far, 1 << 30);
    put(&far, 1, size);
    put(&far, 2, 0);
    far.remote->delay_ms = 20;
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file));
    CHECK(is_whole(file, 1, size));
    CHECK_INT(far.remote->bytes, size);
    CHECK_INT(read_cache_bytes(far.cache), size);
    CHECK(far.remote->requests <= 6 && far.remote->running_most > 1);
    CHECK_OK(hold(&far, 2, LOCAL_WHOLE, true, &empty));
}

TEST("a failed fetch says why, and the next one succeeds") {
    OWNED(far_close) Far far = {0};
    OWNED(local_file_close) LocalFile *file = NULL, *later = NULL;
    OWNED(hooked_close) int fd = -1;
    far_open(&far, 1 << 30);
    put(&far, 1, OBJECT_SIZE);
    CHECK_OK(hold(&far, 1, LOCAL_RANGES, true, &file));
    CHECK((fd = hooked_open(file)) >= 0);
    CHECK(local_file_check(file, &err));
    int64_t before = read_cache_bytes(far.cache);
    far.remote->fail_in = 1;
    errno = 0;
    CHECK(read_at(fd, 1, 0, 100) == -1 && errno == EIO);
    CHECK(!local_file_check(file, &err) && err.kind == LH_OFFLINE && strstr(err.message, "down"));
    CHECK_INT(read_cache_bytes(far.cache), before);
    CHECK_INT(read_at(fd, 1, 0, 100), 1);
    CHECK_OK(hold(&far, 1, LOCAL_RANGES, true, &later));
    CHECK(local_file_check(later, &err));
    far.remote->offline = true;
    local_file_close(&later);
    CHECK(!hold(&far, 1, LOCAL_WHOLE, true, &later) && err.kind == LH_OFFLINE);
    CHECK(!hold(&far, 1, LOCAL_RANGES, false, &later) && err.kind == LH_OFFLINE);
    CHECK_OK(hold(&far, 1, LOCAL_RANGES, true, &later));
}

TEST("an object that changed is refused, and read anew by who comes next") {
    OWNED(far_close) Far far = {0};
    LocalFile *file, *later;
    far_open(&far, 1 << 30);
    put(&far, 1, LONG_SIZE);
    CHECK_OK(hold(&far, 1, LOCAL_RANGES, true, &file));
    int fd = hooked_open(file);
    CHECK_INT(read_at(fd, 1, 0, 100), 1);
    put(&far, 1, LONG_SIZE + 1);
    CHECK_INT(read_at(fd, 1, 0, 100), 1);
    CHECK(read_at(fd, 1, 1 << 20, 100) == -1 && errno == ESTALE);
    CHECK(!local_file_check(file, &err) && err.kind == LH_CONFLICT);
    CHECK_OK(hold(&far, 1, LOCAL_RANGES, true, &later));
    int fresh = hooked_open(later);
    CHECK_INT(read_at(fresh, 1, LONG_SIZE - 99, 100), 1);
    CHECK_INT(read_at(fd, 1, 50, 100), 1); /* what it has, it has */
    hooked_close(&fd);
    hooked_close(&fresh);
    local_file_close(&file);
    local_file_close(&later);
    CHECK(read_cache_bytes(far.cache) <= 80 << 10);
}

TEST("the least recently used goes first; what is open stays, what is only held is emptied") {
    OWNED(far_close) Far far = {0};
    LocalFile *file, *open_one, *held;
    far_open(&far, 3 * OBJECT_SIZE + 1000);
    for (unsigned n = 1; n <= 6; n++) put(&far, n, OBJECT_SIZE);
    for (unsigned n = 1; n <= 3; n++) {
        CHECK_OK(hold(&far, n, LOCAL_WHOLE, true, &file));
        local_file_close(&file);
    }
    CHECK_INT(read_cache_bytes(far.cache), 3 * OBJECT_SIZE);
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file)); /* used again: 2 is the oldest */
    local_file_close(&file);
    CHECK_OK(hold(&far, 4, LOCAL_WHOLE, true, &file));
    local_file_close(&file);
    remote_reset(far.remote);
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file));
    local_file_close(&file);
    CHECK_INT(far.remote->requests, 0);
    CHECK_OK(hold(&far, 2, LOCAL_WHOLE, true, &file));
    local_file_close(&file);
    CHECK(far.remote->requests > 0 && read_cache_bytes(far.cache) <= 3 * (int64_t)OBJECT_SIZE);

    CHECK_OK(hold(&far, 5, LOCAL_RANGES, true, &open_one));
    CHECK_OK(hold(&far, 6, LOCAL_RANGES, true, &held));
    int fd = hooked_open(open_one), other = hooked_open(held);
    for (size_t at = 0; at < OBJECT_SIZE; at += 65536) {
        CHECK_INT(read_at(fd, 5, at, 65536), 1);
        CHECK_INT(read_at(other, 6, at, 65536), 1);
    }
    hooked_close(&other);
    for (unsigned n = 1; n <= 2; n++) {
        CHECK_OK(hold(&far, n, LOCAL_WHOLE, true, &file));
        local_file_close(&file);
    }
    CHECK(read_cache_bytes(far.cache) <= 3 * (int64_t)OBJECT_SIZE + 1000);
    remote_reset(far.remote);
    CHECK_INT(read_at(fd, 5, 0, 65536), 1);
    CHECK_INT(far.remote->requests, 0);
    CHECK((other = hooked_open(held)) >= 0);
    CHECK_INT(read_at(other, 6, 0, 65536), 1);
    CHECK(far.remote->requests > 0);
    hooked_close(&other);
    hooked_close(&fd);
    local_file_close(&held);
    local_file_close(&open_one);
}

TEST("a full disk evicts and tries again, and is said when that was not enough") {
    OWNED(far_close) Far far = {0};
    LocalFile *file, *other;
    far_open(&far, 1 << 30);
    put(&far, 1, OBJECT_SIZE);
    put(&far, 2, OBJECT_SIZE);
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file));
    local_file_close(&file);
    full_writes = 1;
    CHECK_OK(hold(&far, 2, LOCAL_WHOLE, true, &other));
    CHECK(is_whole(other, 2, OBJECT_SIZE));
    CHECK_INT(read_cache_bytes(far.cache), OBJECT_SIZE);
    full_writes = 2;
    CHECK(!hold(&far, 1, LOCAL_WHOLE, true, &file) && err.kind == LH_FULL);
    CHECK(is_whole(other, 2, OBJECT_SIZE));
    local_file_close(&other);
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file));
    local_file_close(&file);
}

TEST("a mapped file stays as it is when its entry is evicted") {
    OWNED(far_close) Far far = {0};
    LocalFile *file, *again;
    far_open(&far, 1000);
    put(&far, 1, OBJECT_SIZE);
    put(&far, 2, OBJECT_SIZE);
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file));
    OWNED(fd_close) int fd = open(local_file_path(file), O_RDONLY | O_CLOEXEC);
    CHECK_OK(hold(&far, 1, LOCAL_RANGES, true, &again));
    CHECK(is_whole(file, 1, OBJECT_SIZE)); /* beyond the bound, and held */
    local_file_close(&file);
    CHECK(is_whole(again, 1, OBJECT_SIZE));
    local_file_close(&again);
    CHECK_INT(read_cache_bytes(far.cache), 0);
    for (size_t at = 0; at + 4096 <= OBJECT_SIZE; at += 4096) {
        uint8_t byte;
        CHECK(pread(fd, &byte, 1, (off_t)at) == 1 && byte == byte_at(1, at));
    }
}

TEST("a cache that opens is empty, and leaves nothing when it closes") {
    OWNED(far_close) Far far = {0};
    LocalFile *file;
    char path[PATH_MAX];
    far_open(&far, 1 << 30);
    put(&far, 1, 1000);
    CHECK_OK(read_cache_staging(far.cache, path, &err));
    CHECK_OK(file_replace(path, bytes_of(STR("left by a crash")), &err));
    CHECK_OK(hold(&far, 1, LOCAL_WHOLE, true, &file));
    ReadCache *second; /* as a restart after a crash finds the folder */
    CHECK_OK(read_cache_open(far.dir, 1 << 30, &second, &err));
    CHECK(access(path, F_OK) != 0 && access(local_file_path(file), F_OK) != 0);
    read_cache_close(&second);
    local_file_close(&file);
    store_close(&far.store);
    read_cache_close(&far.cache);
    CHECK(rmdir(far.dir) == 0);
}

/* Sixteen threads read random ranges of more than fits, each checking every byte. */

#define OBJECTS 6
#define READERS 16
#define READS 60

typedef struct Reader {
    Far *far;
    unsigned seed;
    int wrong, refused;
} Reader;

static unsigned next_random(unsigned *seed) {
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void *reader_run(void *context) {
    Reader *reader = context;
    Err why = {0};
    for (int i = 0; i < READS; i++) {
        LocalFile *file = NULL;
        unsigned n = next_random(&reader->seed) % OBJECTS;
        char key[32];
        snprintf(key, sizeof key, "data/%u", n);
        bool whole = next_random(&reader->seed) % 16 == 0;
        if (!store_local_file(reader->far->store, str_from(key), whole ? LOCAL_WHOLE : LOCAL_RANGES,
                              i % 2, &file, &why)) {
            reader->refused++;
            continue;
        }
        if (whole && !is_whole(file, n, OBJECT_SIZE)) reader->wrong++;
        int fd = hooked_open(file);
        for (int k = 0; fd >= 0 && k < 4; k++) {
            size_t count = 1 + next_random(&reader->seed) % 50000;
            uint64_t from = next_random(&reader->seed) % (OBJECT_SIZE - count);
            int right = read_at(fd, n, from, count);
            reader->wrong += right == 0;
            reader->refused += right < 0;
        }
        reader->wrong += fd < 0;
        hooked_close(&fd);
        local_file_close(&file);
    }
    return NULL;
}

static void run_readers(Far *far, int *wrong, int *refused) {
    pthread_t threads[READERS];
    Reader readers[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = (Reader){.far = far, .seed = (unsigned)i * 7919 + 1};
        CHECK(pthread_create(&threads[i], NULL, reader_run, &readers[i]) == 0);
    }
    *wrong = *refused = 0;
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        *wrong += readers[i].wrong;
        *refused += readers[i].refused;
    }
}

TEST("sixteen readers of random ranges see the right bytes while files are evicted") {
    OWNED(far_close) Far far = {0};
    int wrong, refused;
    far_open(&far, 2 * OBJECT_SIZE);
    for (unsigned n = 0; n < OBJECTS; n++) put(&far, n, OBJECT_SIZE);
    run_readers(&far, &wrong, &refused);
    CHECK_INT(wrong, 0);
    CHECK_INT(refused, 0);
    CHECK(read_cache_bytes(far.cache) <= 2 * (int64_t)OBJECT_SIZE);
}

TEST("they see no wrong byte either when requests fail now and then") {
    OWNED(far_close) Far far = {0};
    int wrong, refused;
    far_open(&far, 2 * OBJECT_SIZE);
    for (unsigned n = 0; n < OBJECTS; n++) put(&far, n, OBJECT_SIZE);
    far.remote->fail_in = 15;
    run_readers(&far, &wrong, &refused);
    CHECK_INT(wrong, 0);
    CHECK(refused > 0);
}

TEST("each block is fetched once, however many read it at the same time") {
    OWNED(far_close) Far far = {0};
    int wrong, refused;
    far_open(&far, 1 << 30);
    for (unsigned n = 0; n < OBJECTS; n++) put(&far, n, OBJECT_SIZE);
    far.remote->delay_ms = 1;
    run_readers(&far, &wrong, &refused);
    CHECK_INT(wrong + refused, 0);
    CHECK_INT(far.remote->bytes, read_cache_bytes(far.cache));
    CHECK(far.remote->bytes <= OBJECTS * (int64_t)OBJECT_SIZE);
}
