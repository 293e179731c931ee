/* The registry on a real S3 server, which stops answering (SIGSTOP) and comes back. */
#include "kit/kit.h"
#include "kit/s3.h"
#include "storage/storage.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static Err err;

static const KitS3 *ceph(void) {
    return kit_s3("ceph");
}

/* A lake of its own: an S3 primary below a fresh prefix, a local rescue bucket. */
typedef struct Lake {
    char prefix[40], rescue[128], state[128];
    BucketOptions options[2];
    bool patient; /* waits long for an answer */
    S3Options s3;
} Lake;

static BucketOptions bucket_of(const S3Options *s3, Str name, Str prefix) {
    return (BucketOptions){.name = name,
                           .backend = STR("s3"),
                           .bucket = s3->bucket,
                           .endpoint = s3->endpoint,
                           .region = s3->region,
                           .prefix = prefix,
                           .secret_ref = s3->secret_ref,
                           .path_style = s3->path_style};
}

static void lake_make(Lake *lake) {
    const char *dir = kit_dir();
    lake->s3 = kit_s3_options(ceph(), "registry");
    snprintf(lake->prefix, sizeof lake->prefix, "lake-%016llx", (unsigned long long)random_u64());
    snprintf(lake->rescue, sizeof lake->rescue, "%s/rescue", dir);
    snprintf(lake->state, sizeof lake->state, "%s/state", dir);
    lake->options[0] = bucket_of(&lake->s3, STR("primary"), str_from(lake->prefix));
    lake->options[1] = (BucketOptions){STR("rescue"), STR("local"), str_from(lake->rescue)};
}

static bool open_lake(Lake *lake, int number, Buckets **out) {
    char state[160];
    snprintf(state, sizeof state, "%s%d", lake->state, number);
    return buckets_open(
        &(BucketsOptions){
            .items = lake->options,
            .count = 2,
            .rescue = STR("rescue"),
            .state_dir = state,
            .shared = number > 0,
            .breaker_failures = 2,
            .breaker_probe_ms = 50,
            .s3 = {.answer_timeout_ms = lake->patient ? 3000 : 700,
                   .retry_ms = lake->patient ? 10000 : 1},
            .secrets = lake->s3.secrets
    },
        out, &err);
}

static Buckets *opened(Lake *lake, int number) {
    Buckets *buckets = NULL;
    CHECK_OK(open_lake(lake, number, &buckets));
    return buckets;
}

static bool is_stopped(const char *folder, const char *thread) {
    char path[128], state = 0;
    snprintf(path, sizeof path, "%s/%.16s/stat", folder, thread);
    FILE *file = fopen(path, "r");
    if (!file) return true;
    bool read = fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
    fclose(file);
    return read && state == 'T';
}

/* On a busy machine threads go on for a while after the signal. */
static void server_stop(void) {
    int pid = kit_s3_pid(ceph(), "rgw1");
    char folder[64];
    kill(pid, SIGSTOP);
    snprintf(folder, sizeof folder, "/proc/%d/task", pid);
    for (bool all = false; !all; usleep(2000)) {
        DIR *dir = opendir(folder);
        all = true;
        for (struct dirent *entry; dir && (entry = readdir(dir));)
            all = all && (entry->d_name[0] == '.' || is_stopped(folder, entry->d_name));
        if (dir) closedir(dir);
    }
}

static void server_go_on(void) {
    kill(kit_s3_pid(ceph(), "rgw1"), SIGCONT);
}

static bool add_more(Lake *lake, Buckets *buckets, const char *name) {
    char prefix[80];
    snprintf(prefix, sizeof prefix, "%s-%s", lake->prefix, name);
    BucketOptions options = bucket_of(&lake->s3, str_from(name), str_from(prefix));
    return bucket_add(buckets, &options, &err);
}

static bool put(Buckets *buckets, const char *name, const char *key, const char *text) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    return bucket_find(buckets, str_from(name), &bucket, &err) &&
           store_write(bucket_store(bucket), str_from(key), bytes_of(str_from(text)), NULL, &err);
}

static bool get(Buckets *buckets, const char *name, const char *key, Str *by) {
    OWNED(object_close) ObjectReader *reader = NULL;
    ObjectRequest request = {.bucket = str_from(name), .key = str_from(key)};
    *by = (Str){0};
    return buckets_open_object(buckets, &request, &reader, by, &err);
}

static bool finds(Buckets *buckets, const char *name) {
    Bucket *bucket = NULL;
    bool found = bucket_find(buckets, str_from(name), &bucket, &err);
    bucket_release(&bucket);
    return found;
}

static void wait_reachable(Buckets *buckets) {
    for (int i = 0; i < 800 && buckets_unreachable(buckets); i++) usleep(10000);
    CHECK_INT(buckets_unreachable(buckets), 0);
}

static size_t event_count(Buckets *buckets) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const Json *json = NULL;
    CHECK_OK(errors_write(buckets_errors(buckets), (Str){0}, 0, 1000, &w, &err));
    CHECK_OK(json_read(text_str(&text), &arena, &json, &err));
    return json->len;
}

TEST("a lake with an S3 primary keeps its buckets over a restart, and no key pair with them") {
    Lake lake;
    OWNED(buckets_close) Buckets *buckets = NULL;
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text listed = {0};
    OWNED(bucket_release) Bucket *primary = NULL;
    Bytes file;
    size_t at;
    lake_make(&lake);
    buckets = opened(&lake, 0);
    CHECK_OK(add_more(&lake, buckets, "more"));
    CHECK(!add_more(&lake, buckets, "more"));
    CHECK_INT(err.kind, LH_CONFLICT);
    CHECK_OK(put(buckets, "more", "k", "v"));
    buckets_close(&buckets);
    buckets = opened(&lake, 0);
    CHECK(finds(buckets, "more"));
    buckets_write(buckets, &(JsonWriter){.out = &listed});
    CHECK(str_find(text_str(&listed), STR("\"conditional_writes\":true"), &at));
    CHECK(!str_find(text_str(&listed), str_from(ceph()->secret), &at));
    CHECK_OK(bucket_find(buckets, STR("primary"), &primary, &err));
    CHECK_OK(store_read(bucket_store(primary), STR("_lakehouse/buckets.json"), 1 << 20, &arena,
                        &file, &err));
    CHECK(str_find(str_of(file), STR("env:KIT_S3"), &at));
    CHECK(!str_find(str_of(file), str_from(ceph()->secret), &at));
    bucket_release(&primary);
    CHECK_OK(bucket_remove(buckets, STR("more"), &err));
    buckets_close(&buckets);
    buckets = opened(&lake, 0);
    CHECK(!finds(buckets, "more"));
}

TEST(
    "a server starts while its S3 primary does not answer, knows what it may not know, and has all "
    "of it once the primary is back") {
    Lake lake;
    OWNED(buckets_close) Buckets *buckets = NULL;
    Str by;
    lake_make(&lake);
    buckets = opened(&lake, 0);
    CHECK_OK(add_more(&lake, buckets, "more"));
    CHECK_OK(put(buckets, "rescue", "gone", "copy"));
    CHECK_OK(put(buckets, "rescue", "kept", "copy"));
    CHECK_OK(buckets_remove_object(buckets, STR("primary"), STR("gone"), &err));
    buckets_close(&buckets);
    server_stop();
    bool ok = open_lake(&lake, 0, &buckets);
    if (!ok) server_go_on();
    CHECK_OK(ok);
    bool found = finds(buckets, "more");
    Err unknown = err;
    bool added = add_more(&lake, buckets, "other");
    bool served = get(buckets, "primary", "kept", &by);
    bool came_back = get(buckets, "primary", "gone", &by);
    Err flush_err = {0};
    bool flushed = errors_flush(buckets_errors(buckets), &flush_err);
    size_t events = event_count(buckets);
    server_go_on();
    CHECK(!found);
    CHECK_INT(unknown.kind, LH_OFFLINE); /* and not "not found" */
    CHECK(!added);
    CHECK(served);
    CHECK(!came_back);
    CHECK(flushed);
    CHECK(events >= 2);
    wait_reachable(buckets);
    for (int i = 0; i < 300 && !finds(buckets, "more"); i++) usleep(10000);
    CHECK(finds(buckets, "more"));
    CHECK_OK(add_more(&lake, buckets, "other"));
    CHECK_OK(errors_flush(buckets_errors(buckets), &err));
    buckets_close(&buckets);
    buckets = opened(&lake, 7); /* another machine: what it has is the primary's */
    CHECK(finds(buckets, "more") && finds(buckets, "other"));
    CHECK(event_count(buckets) >= events);
    CHECK(!get(buckets, "primary", "gone", &by));
}

TEST("a format newer than ours that is found late keeps the primary refused, and untouched") {
    Lake lake;
    OWNED(buckets_close) Buckets *buckets = NULL;
    lake_make(&lake);
    buckets = opened(&lake, 0);
    CHECK_OK(put(buckets, "primary", "_lakehouse/format", "{\"format\":7}"));
    buckets_close(&buckets);
    CHECK(!open_lake(&lake, 0, &buckets));
    CHECK_STR(str_from(err_word(&err)), "format_newer");
    server_stop();
    bool ok = open_lake(&lake, 0, &buckets);
    server_go_on();
    CHECK_OK(ok);
    usleep(1500000);
    CHECK(!put(buckets, "primary", "k", "v"));
    CHECK_INT(err.kind, LH_OFFLINE);
    if (!strstr(err.message, "format 7")) kit_fail(__FILE__, __LINE__, "%s", err.message);
    CHECK(!add_more(&lake, buckets, "more"));
}

TEST("an S3 bucket that stops answering is answered for at once, reads from rescue, and comes back "
     "by itself") {
    Lake lake;
    OWNED(buckets_close) Buckets *buckets = NULL;
    Str by;
    lake_make(&lake);
    buckets = opened(&lake, 0);
    CHECK_OK(put(buckets, "primary", "k", "mine"));
    CHECK_OK(put(buckets, "rescue", "k", "copy"));
    server_stop();
    bool first = get(buckets, "primary", "k", &by), second = get(buckets, "primary", "k", &by);
    int64_t started = clock_us();
    bool all = true;
    for (int i = 0; i < 100; i++) all = get(buckets, "primary", "k", &by) && all;
    int64_t took_us = clock_us() - started;
    bool written = put(buckets, "primary", "k", "new");
    server_go_on();
    CHECK(first && second && all && !written);
    CHECK_STR(by, "rescue");
    CHECK(took_us < 5000000); /* one that was asked alone takes 700 ms */
    wait_reachable(buckets);
    CHECK_OK(get(buckets, "primary", "k", &by));
    CHECK_STR(by, "");
    CHECK_INT(event_count(buckets), 103);
}

typedef struct Server {
    Lake *lake;
    Buckets *buckets;
    int number;
    char failed[512];
} Server;

static void *add_run(void *context) {
    Server *server = context;
    for (int i = 0; i < 4; i++) {
        char name[32], prefix[80];
        Err mine = {0};
        snprintf(name, sizeof name, "s%d-%d", server->number, i);
        snprintf(prefix, sizeof prefix, "%s-%s", server->lake->prefix, name);
        BucketOptions options = bucket_of(&server->lake->s3, str_from(name), str_from(prefix));
        if (!bucket_add(server->buckets, &options, &mine))
            memcpy(server->failed, mine.message, sizeof mine.message);
    }
    return NULL;
}

TEST("two servers on one S3 primary lose none of each other's buckets") {
    Lake lake;
    Server servers[2];
    pthread_t threads[2];
    lake_make(&lake);
    lake.patient = true;
    for (int i = 0; i < 2; i++)
        servers[i] = (Server){.lake = &lake, .buckets = opened(&lake, i + 1), .number = i};
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, add_run, &servers[i]) == 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        if (servers[i].failed[0]) kit_fail(__FILE__, __LINE__, "%s", servers[i].failed);
    CHECK(finds(servers[0].buckets, "s1-3") && finds(servers[1].buckets, "s0-3"));
    for (int i = 0; i < 2; i++) buckets_close(&servers[i].buckets);
    OWNED(buckets_close) Buckets *buckets = opened(&lake, 1);
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    bucket_names(buckets, &arena, &count);
    CHECK_INT(count, 2 + 2 * 4);
}

TEST("a registry that is closed while its probes hang waits for them") {
    Lake lake;
    Buckets *buckets;
    Str by;
    lake_make(&lake);
    for (int i = 0; i < 3; i++) {
        buckets = opened(&lake, 0);
        CHECK_OK(put(buckets, "primary", "k", "v"));
        server_stop();
        get(buckets, "primary", "k", &by);
        get(buckets, "primary", "k", &by);
        usleep(120000); /* a probe is on its way */
        buckets_close(&buckets);
        server_go_on();
    }
    CHECK(buckets == NULL);
}

TEST("a probe that hangs keeps no other bucket from coming back") {
    Lake lake;
    OWNED(buckets_close) Buckets *buckets = NULL;
    Str by;
    char away[140];
    lake_make(&lake);
    lake.patient = true;
    buckets = opened(&lake, 0);
    CHECK_OK(put(buckets, "rescue", "k", "copy"));
    snprintf(away, sizeof away, "%s.away", lake.rescue);
    server_stop();
    bool first = get(buckets, "primary", "k", &by), second = get(buckets, "primary", "k", &by);
    usleep(120000); /* its probe waits for the server now */
    bool moved = rename(lake.rescue, away) == 0;
    for (int i = 0; i < 2; i++) get(buckets, "rescue", "k", &by);
    size_t both = buckets_unreachable(buckets);
    moved = rename(away, lake.rescue) == 0 && moved;
    int64_t started = clock_us();
    while (buckets_unreachable(buckets) == 2 && clock_us() - started < 2000000) usleep(5000);
    size_t one = buckets_unreachable(buckets);
    server_go_on();
    CHECK(first && second && moved);
    CHECK_INT(both, 2);
    CHECK_INT(one, 1);
}
