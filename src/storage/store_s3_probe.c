/* Is the bucket there, may we write, and does it honour conditions. The last is found by trying: a
 * new object is written if absent twice, then replaced if it matches a wrong and its right etag,
 * and removed. A versioned bucket on Ceph and some servers answer 200 and overwrite: only trying
 * tells.
 *
 * The finding is kept, and refreshed by a probe when it is old, for somebody may have turned
 * versioning on. Probes between ask one small thing that needs the right to write and leaves no
 * trace: to abort an upload that does not exist. */
#include "storage/s3_store.h"

#include <stdio.h>
#include <string.h>

#define FRESH_US ((int64_t)600 * 1000000)
#define PROBE_BODY_MAX 64

typedef struct Trial {
    S3Store *store;
    S3Name name;
    bool touched; /* an object may be there */
    Err *err;
} Trial;

/* One write with a condition: true with its status (200, 412, 501...), false when out of reach. */
static bool try_put(Trial *trial, const char *body, const char *name, const char *value,
                    int *status) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Client *client = trial->store->client;
    S3Pair header = {str_from(name), str_from(value)};
    S3Call call = {.method = "PUT",
                   .key = str_from(trial->name.full),
                   .headers = &header,
                   .header_count = name ? 1 : 0,
                   .body = bytes_of(str_from(body))};
    bool answered = s3_call(client, &call, &answer, trial->err);
    trial->touched |= answered || answer.unknown;
    if (!answered) return false;
    bool told = answer.status / 100 == 2 || answer.status == 412 || answer.status == 409 ||
                answer.status == 501 || answer.status == 400;
    *status = answer.status;
    return told || s3_refused(client, &answer, str_from(trial->name.shown), trial->err);
}

static bool try_get(Trial *trial, const char *body, ObjectInfo *info, bool *same) {
    uint8_t data[PROBE_BODY_MAX];
    S3Fetch fetch = {.client = trial->store->client,
                     .name = &trial->name,
                     .count = sizeof data,
                     .buffer = data,
                     .info = info};
    if (!s3_fetch(&fetch, trial->err)) return false;
    *same = str_is((Str){(const char *)data, fetch.got}, body);
    return true;
}

/* An object that is there now, whether conditions are known or not. */
static bool try_absent(Trial *trial, ObjectInfo *info, bool *honoured) {
    int first, second = 0;
    bool same;
    if (!try_put(trial, "1", "if-none-match", "*", &first)) return false;
    if (first / 100 == 2 && !try_put(trial, "2", "if-none-match", "*", &second)) return false;
    if (first / 100 != 2 && !try_put(trial, "1", NULL, NULL, &second)) return false;
    if (!try_get(trial, "1", info, &same)) return false;
    *honoured = first / 100 == 2 && second == 412 && same;
    return true;
}

static bool try_match(Trial *trial, const ObjectInfo *info, bool *honoured, bool *unquoted) {
    char quoted[STORE_ETAG_SIZE + 2];
    int wrong, right, bare = 0;
    snprintf(quoted, sizeof quoted, "\"%s\"", info->etag);
    if (!try_put(trial, "3", "if-match", "\"00000000000000000000000000000000\"", &wrong))
        return false;
    if (wrong != 412) return *honoured = false, true;
    if (!try_put(trial, "4", "if-match", quoted, &right)) return false;
    if (right == 412 && !try_put(trial, "4", "if-match", info->etag, &bare)) return false;
    *honoured = right / 100 == 2 || bare / 100 == 2;
    *unquoted = right / 100 != 2;
    return true;
}

static void trial_remove(Trial *trial) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    Err err = {0};
    S3Call call = {.method = "DELETE", .key = str_from(trial->name.full)};
    if (!s3_call(trial->store->client, &call, &answer, &err))
        log_warn("'%s' may be left in bucket '%.*s': %s", trial->name.shown,
                 SHOW(trial->store->client->bucket), err.message);
}

static bool find(S3Store *store, Err *err) {
    Trial trial = {.store = store, .err = err};
    OWNED(arena_close) Arena arena = {0};
    ObjectInfo info = {0};
    bool absent = false, match = false, unquoted = false;
    Str key = arena_print(&arena, "_lakehouse/probe-%016llx", (unsigned long long)random_u64());
    if (!s3_name(store, key, &trial.name, err)) return false;
    bool ok = try_absent(&trial, &info, &absent) && try_match(&trial, &info, &match, &unquoted);
    if (trial.touched) trial_remove(&trial);
    if (!ok) return false;
    store->if_absent = absent;
    store->if_match = match;
    store->unquoted = unquoted;
    store->known_us = clock_us();
    store->known = true;
    return true;
}

bool s3_find_abilities(S3Store *store, Err *err) {
    if (store->known) return true;
    pthread_mutex_lock(&store->finding);
    bool ok = store->known || find(store, err);
    pthread_mutex_unlock(&store->finding);
    return ok;
}

/* In store.c a store whose abilities are unknown passes: here is why it is. */
bool s3_conditions_check(S3Store *store, const PutCondition *condition, Err *err) {
    if (!condition || (!condition->if_absent && condition->if_match.len == 0)) return true;
    if (!s3_find_abilities(store, err))
        return err_while(err, "conditional writes need a look at the bucket first");
    bool ok = (!condition->if_absent || store->if_absent) &&
              (condition->if_match.len == 0 || store->if_match);
    return ok || err_code(err, LH_IMPOSSIBLE, "no_conditional_writes",
                          "'%s' does not honour conditional writes", store->location);
}

StoreAbilities s3_store_abilities(Store *base) {
    S3Store *store = (S3Store *)base;
    Err ignored;
    if (!s3_find_abilities(store, &ignored)) return (StoreAbilities){.unknown = true};
    return (StoreAbilities){.if_absent = store->if_absent, .if_match = store->if_match};
}

static bool look(S3Store *store, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Name name;
    S3Pair query = {STR("uploadId"), STR("lakehouse-probe")};
    if (!s3_name(store, STR("_lakehouse/probe"), &name, err)) return false;
    S3Call call = {
        .method = "DELETE", .key = str_from(name.full), .query = &query, .query_count = 1};
    if (!s3_send(store->client, &call, &answer, err)) return false;
    bool as_expected = answer.status / 100 == 2 || !strcmp(answer.error.code, "NoSuchUpload");
    if (as_expected) s3_sweep(store->client);
    return as_expected || s3_refused(store->client, &answer, STR("_lakehouse/probe"), err);
}

bool s3_store_probe(Store *base, Err *err) {
    S3Store *store = (S3Store *)base;
    if (!store->known) return s3_find_abilities(store, err);
    if (clock_us() - store->known_us < FRESH_US) return look(store, err);
    pthread_mutex_lock(&store->finding);
    bool ok = find(store, err);
    pthread_mutex_unlock(&store->finding);
    return ok;
}
