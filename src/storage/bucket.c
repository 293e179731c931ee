/* The registry. A Bucket is counted: the list holds one reference, each bucket_find one, a probe
 * one; the last to go closes its store, so that removing a bucket never pulls it from under a
 * reader. Names and roles are immutable. */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OPEN_WAIT_S 2

Bucket *bucket_hold(Bucket *bucket) {
    bucket->holders++;
    return bucket;
}

void bucket_release(Bucket **holding) {
    Bucket *bucket = *holding;
    *holding = NULL;
    if (!bucket || --bucket->holders > 0) return;
    Store *store = bucket->store;
    store_close(&store);
    pthread_mutex_destroy(&bucket->lock);
    free(bucket);
}

Store *bucket_store(Bucket *bucket) {
    return bucket->store;
}

Str bucket_name(const Bucket *bucket) {
    return str_from(bucket->name);
}

/* Another thread may hang in the opening (a dead network mount): it is waited for, not for ever. */
bool bucket_ready(Bucket *bucket, Err *err) {
    if (bucket->store) return true;
    Store *store = NULL;
    Err why = {0};
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += OPEN_WAIT_S;
    if (pthread_mutex_timedlock(&bucket->lock, &until))
        return err_code(err, LH_OFFLINE, "bucket_unreachable",
                        "the bucket '%s' has been opening for more than %d seconds", bucket->name,
                        OPEN_WAIT_S);
    bool ok = bucket->store || store_local_open(str_from(bucket->root), &store, &why);
    if (store) bucket->store = store;
    pthread_mutex_unlock(&bucket->lock);
    return ok || err_code(err, LH_OFFLINE, "bucket_unreachable",
                          "the bucket '%s' cannot be opened: %s", bucket->name, why.message);
}

/* Checking what a bucket is described by. */

static bool is_name_byte(char c, bool first) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return true;
    return !first && c && strchr("._:-", c);
}

static bool name_check(Str name, Err *err) {
    bool ok = name.len >= 1 && name.len <= BUCKET_NAME_MAX;
    for (size_t i = 0; ok && i < name.len; i++) ok = is_name_byte(name.data[i], i == 0);
    return ok || err_code(err, LH_INVALID, "bad_bucket_name",
                          "'%.*s' is not a bucket name: 1 to %d of a-z, 0-9 and, not first, '._:-'",
                          (int)MIN(name.len, (size_t)100), name.data, BUCKET_NAME_MAX);
}

static bool options_check(const BucketOptions *options, Err *err) {
    if (!name_check(options->name, err)) return false;
    if (!str_is(options->backend, "local"))
        return err_code(err, LH_INVALID, "bad_backend",
                        "the backend of bucket '%.*s' is 'local', not '%.*s'", SHOW(options->name),
                        (int)MIN(options->backend.len, (size_t)100), options->backend.data);
    if (str_trim(options->root).len == 0)
        return err_code(err, LH_INVALID, "bad_root", "the local bucket '%.*s' needs a root",
                        SHOW(options->name));
    if (options->root.len >= PATH_MAX - 64 || memchr(options->root.data, 0, options->root.len))
        return err_code(err, LH_INVALID, "bad_root",
                        "the root of bucket '%.*s' is no path of at most %d bytes",
                        SHOW(options->name), PATH_MAX - 65);
    return true;
}

static Bucket *bucket_new(const BucketOptions *options, BucketRole role, bool configured) {
    Bucket *bucket = calloc(1, sizeof *bucket);
    if (!bucket) abort();
    bucket->holders = 1;
    bucket->role = role;
    bucket->configured = configured;
    snprintf(bucket->name, sizeof bucket->name, "%.*s", SHOW(options->name));
    snprintf(bucket->root, sizeof bucket->root, "%.*s", SHOW(options->root));
    pthread_mutex_init(&bucket->lock, NULL);
    return bucket;
}

/* Finding; under either lock. */

static Bucket *list_find(const Buckets *buckets, Str name) {
    for (size_t i = 0; i < buckets->len; i++)
        if (str_is(name, buckets->items[i]->name)) return buckets->items[i];
    return NULL;
}

static bool not_found(Buckets *buckets, Str name, Err *err) {
    const Bucket *near = NULL;
    size_t best = 4; /* further away it is another word, not a slip */
    for (size_t i = 0; i < buckets->len; i++) {
        size_t distance = str_distance(name, str_from(buckets->items[i]->name));
        if (distance < best) best = distance, near = buckets->items[i];
    }
    if (name.len > BUCKET_NAME_MAX) name.len = BUCKET_NAME_MAX;
    if (near)
        return err_code(err, LH_MISSING, "bucket_not_found",
                        "no bucket named '%.*s'; did you mean '%s'?", SHOW(name), near->name);
    return err_code(err, LH_MISSING, "bucket_not_found", "no bucket named '%.*s'", SHOW(name));
}

bool bucket_hold_named(Buckets *buckets, Str name, Bucket **out, Err *err) {
    pthread_rwlock_rdlock(&buckets->lock);
    Bucket *bucket = list_find(buckets, name);
    if (bucket)
        *out = bucket_hold(bucket);
    else
        not_found(buckets, name, err);
    pthread_rwlock_unlock(&buckets->lock);
    return bucket != NULL;
}

bool bucket_find(Buckets *buckets, Str name, Bucket **out, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    if (!bucket_hold_named(buckets, name, &bucket, err) || !bucket_ready(bucket, err)) return false;
    *out = TAKE(bucket);
    return true;
}

static int str_order(const void *a, const void *b) {
    return str_compare(*(const Str *)a, *(const Str *)b);
}

Str *bucket_names(Buckets *buckets, Arena *arena, size_t *count) {
    pthread_rwlock_rdlock(&buckets->lock);
    Str *names = arena_array(arena, Str, buckets->len);
    for (size_t i = 0; i < buckets->len; i++)
        names[i] = arena_copy(arena, str_from(buckets->items[i]->name));
    *count = buckets->len;
    pthread_rwlock_unlock(&buckets->lock);
    qsort(names, *count, sizeof *names, str_order);
    return names;
}

ErrorJournal *buckets_errors(Buckets *buckets) {
    return buckets->errors;
}

/* Adding and removing. */

static bool is_below(Str inner, Str outer) {
    if (!str_starts(inner, outer)) return false;
    return inner.len == outer.len || inner.data[outer.len] == '/' || str_is(outer, "/");
}

/* Two buckets over the same files would see each other's objects, and one's rescue copy would be
 * the other's original. */
static bool root_is_free(const Buckets *buckets, const char *root, Err *err) {
    Str mine = str_from(root);
    for (size_t i = 0; i < buckets->len; i++) {
        Str other = str_from(buckets->items[i]->root);
        if (is_below(mine, other) || is_below(other, mine))
            return err_code(err, LH_CONFLICT, "root_overlaps",
                            "the root '%s' overlaps that of bucket '%s'", root,
                            buckets->items[i]->name);
    }
    return true;
}

/* The root as the kernel sees it, even where it does not exist yet: the part that does exist is
 * resolved, the rest must not climb. */
static bool root_resolve(Bucket *bucket, Err *err) {
    char path[PATH_MAX], resolved[PATH_MAX], rest[PATH_MAX] = "";
    if (bucket->root[0] != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return err_errno(err, "cannot find the current folder");
        if (snprintf(path, sizeof path, "%s/%s", here, bucket->root) >= PATH_MAX)
            return err_set(err, LH_INVALID, "the root of '%s' is too long", bucket->name);
    } else {
        memcpy(path, bucket->root, sizeof path);
    }
    while (!realpath(path, resolved)) {
        char *slash = strrchr(path, '/'), longer[PATH_MAX];
        if (!strcmp(slash + 1, "..") || !strcmp(slash + 1, "."))
            return err_code(err, LH_INVALID, "bad_root",
                            "the root '%s' has a '%s' below a folder that does not exist",
                            bucket->root, slash + 1);
        snprintf(longer, sizeof longer, "/%s%s", slash + 1, rest);
        memcpy(rest, longer, sizeof rest);
        slash[slash == path] = 0; /* "/" itself always resolves */
    }
    const char *base = strcmp(resolved, "/") == 0 ? "" : resolved;
    if (snprintf(bucket->root, sizeof bucket->root, "%s%s", base, rest) >= PATH_MAX)
        return err_set(err, LH_INVALID, "the root of '%s' is too long", bucket->name);
    size_t len = str_from(bucket->root).len;
    while (len > 1 && bucket->root[len - 1] == '/') bucket->root[--len] = 0;
    return true;
}

static bool list_admits(const Buckets *buckets, const Bucket *bucket, Err *err) {
    if (buckets->len == BUCKET_COUNT_MAX)
        return err_set(err, LH_CONFLICT, "there are %d buckets, which is the limit",
                       BUCKET_COUNT_MAX);
    if (list_find(buckets, str_from(bucket->name)))
        return err_code(err, LH_CONFLICT, "bucket_exists", "a bucket named '%s' exists",
                        bucket->name);
    return root_is_free(buckets, bucket->root, err);
}

static void list_add(Buckets *buckets, Bucket *bucket) {
    pthread_rwlock_wrlock(&buckets->lock);
    buckets->items[buckets->len++] = bucket;
    pthread_rwlock_unlock(&buckets->lock);
}

static void list_remove(Buckets *buckets, const Bucket *bucket) {
    pthread_rwlock_wrlock(&buckets->lock);
    size_t at = 0;
    while (buckets->items[at] != bucket) at++;
    buckets->items[at] = buckets->items[--buckets->len];
    pthread_rwlock_unlock(&buckets->lock);
}

static void unstrike(Buckets *buckets, Str name) {
    for (size_t i = 0; i < buckets->removed_count; i++)
        if (str_equal(buckets->removed[i], name))
            buckets->removed[i--] = buckets->removed[--buckets->removed_count];
}

static bool add_changing(Buckets *buckets, const BucketOptions *options, Err *err) {
    OWNED(bucket_release) Bucket *bucket = bucket_new(options, BUCKET_PLAIN, false);
    if (!root_resolve(bucket, err) || !list_admits(buckets, bucket, err)) return false;
    Err why = {0};
    if (!bucket_ready(bucket, &why))
        return err_code(err, LH_INVALID, "bad_root", "%s", why.message);
    Bucket *added = bucket_hold(bucket);
    list_add(buckets, added);
    if (buckets_persist(buckets, err)) return true;
    list_remove(buckets, added);
    bucket_release(&added);
    return false;
}

bool bucket_add(Buckets *buckets, const BucketOptions *options, Err *err) {
    if (!options_check(options, err)) return false;
    pthread_mutex_lock(&buckets->changing);
    bool ok = add_changing(buckets, options, err);
    pthread_mutex_unlock(&buckets->changing);
    return ok;
}

static bool remove_changing(Buckets *buckets, Str name, Err *err) {
    Bucket *bucket = list_find(buckets, name);
    if (!bucket) return not_found(buckets, name, err);
    if (bucket->role != BUCKET_PLAIN)
        return err_code(err, LH_DENIED, "bucket_has_role",
                        "'%s' is the %s bucket and cannot be removed", bucket->name,
                        bucket->role == BUCKET_PRIMARY ? "primary" : "rescue");
    list_remove(buckets, bucket);
    bool struck = bucket->configured && buckets->removed_count < BUCKET_COUNT_MAX;
    if (struck) buckets->removed[buckets->removed_count++] = arena_copy(&buckets->arena, name);
    if (buckets_persist(buckets, err)) return bucket_release(&bucket), true;
    if (struck) unstrike(buckets, name);
    list_add(buckets, bucket);
    return false;
}

bool bucket_remove(Buckets *buckets, Str name, Err *err) {
    pthread_mutex_lock(&buckets->changing);
    bool ok = remove_changing(buckets, name, err);
    pthread_mutex_unlock(&buckets->changing);
    return ok;
}

/* Opening. */

static BucketRole role_of(Str name, Str rescue) {
    if (str_is(name, "primary")) return BUCKET_PRIMARY;
    return rescue.len && str_equal(name, rescue) ? BUCKET_RESCUE : BUCKET_PLAIN;
}

static bool open_configured(Buckets *buckets, const BucketOptions *options, Str rescue, Err *err) {
    if (!options_check(options, err)) return false;
    OWNED(bucket_release)
    Bucket *bucket = bucket_new(options, role_of(options->name, rescue), true);
    if (!root_resolve(bucket, err) || !list_admits(buckets, bucket, err)) return false;
    if (bucket->role == BUCKET_PRIMARY) buckets->primary = bucket_hold(bucket);
    if (bucket->role == BUCKET_RESCUE) buckets->rescue = bucket_hold(bucket);
    list_add(buckets, TAKE(bucket));
    return true;
}

static void restore_added(Buckets *buckets, const BucketOptions *options) {
    Err err = {0};
    if (!options_check(options, &err)) {
        log_warn("buckets.json: %s", err.message);
        return;
    }
    OWNED(bucket_release) Bucket *bucket = bucket_new(options, BUCKET_PLAIN, false);
    if (!list_admits(buckets, bucket, &err))
        log_warn("buckets.json: %s", err.message);
    else
        list_add(buckets, TAKE(bucket));
}

static void restore_struck(Buckets *buckets, Str name) {
    Bucket *bucket = list_find(buckets, name);
    if (!bucket || bucket->role != BUCKET_PLAIN || buckets->removed_count == BUCKET_COUNT_MAX)
        return;
    buckets->removed[buckets->removed_count++] = arena_copy(&buckets->arena, name);
    list_remove(buckets, bucket);
    bucket_release(&bucket);
}

/* Probing opens what is not open yet, all side by side and within a bound, so that one dead mount
 * does not keep the server from starting. */
static void open_the_rest(Buckets *buckets) {
    OWNED(text_close) Text answers = {0};
    buckets_write(buckets, &(JsonWriter){.out = &answers});
    for (size_t i = 0; i < buckets->len; i++)
        if (buckets->items[i]->silent)
            log_warn("the bucket '%s' is out of reach", buckets->items[i]->name);
}

bool buckets_open(const BucketsOptions *options, Buckets **out, Err *err) {
    Str rescue = options->rescue;
    OWNED(buckets_close) Buckets *buckets = calloc(1, sizeof *buckets);
    if (!buckets) abort();
    buckets->lock_fd = -1;
    pthread_rwlock_init(&buckets->lock, NULL);
    pthread_mutex_init(&buckets->changing, NULL);
    for (size_t i = 0; i < options->count; i++)
        if (!open_configured(buckets, &options->items[i], rescue, err)) return false;
    if (!buckets->primary)
        return err_set(err, LH_INVALID, "no bucket is named 'primary': it is the default home");
    if (rescue.len && !buckets->rescue)
        return err_set(err, LH_INVALID, "the rescue bucket '%.*s' is not among the buckets%s",
                       SHOW(rescue), str_is(rescue, "primary") ? " other than the primary" : "");
    if (!bucket_ready(buckets->primary, err) ||
        !primary_lock(buckets->primary, &buckets->lock_fd, err) ||
        !format_check(buckets->primary->store, err) ||
        !buckets_restore(buckets, restore_added, restore_struck, err))
        return false;
    errors_open(buckets->primary->store, &buckets->errors);
    open_the_rest(buckets);
    *out = TAKE(buckets);
    return true;
}

void buckets_close(Buckets **closing) {
    Buckets *buckets = *closing;
    if (!buckets) return;
    errors_close(&buckets->errors);
    for (size_t i = 0; i < buckets->len; i++) bucket_release(&buckets->items[i]);
    bucket_release(&buckets->rescue);
    bucket_release(&buckets->primary);
    fd_close(&buckets->lock_fd);
    arena_close(&buckets->arena);
    pthread_mutex_destroy(&buckets->changing);
    pthread_rwlock_destroy(&buckets->lock);
    free(buckets);
    *closing = NULL;
}

/* The rescue rule. */

static bool may_rescue(const Err *err) {
    return err->kind == LH_MISSING || err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT ||
           err->kind == LH_DENIED;
}

static void note(Buckets *buckets, Str bucket, Str key, const Err *why, bool rescued) {
    ErrorEvent event = {.bucket = bucket,
                        .key = key,
                        .op = "get",
                        .error = str_from(why->message),
                        .rescued = rescued};
    errors_add(buckets->errors, &event);
}

static bool open_in(Bucket *bucket, const ObjectRequest *request, ObjectReader **out, Err *err) {
    return bucket_ready(bucket, err) &&
           store_open(bucket->store, request->key, &request->hint, out, err);
}

bool buckets_open_object(Buckets *buckets, const ObjectRequest *request, ObjectReader **out,
                         Str *served_by, Err *err) {
    OWNED(bucket_release) Bucket *asked = NULL;
    Str key = request->key;
    Err why = {0};
    if (!key_check(key, err) || !bucket_hold_named(buckets, request->bucket, &asked, err))
        return false;
    if (open_in(asked, request, out, &why)) {
        *served_by = (Str){0};
        return true;
    }
    Err second = {0};
    bool fallback = buckets->rescue && asked != buckets->rescue && may_rescue(&why);
    bool saved = fallback && open_in(buckets->rescue, request, out, &second);
    if (saved || why.kind != LH_MISSING) note(buckets, request->bucket, key, &why, saved);
    if (fallback && !saved && second.kind != LH_MISSING)
        note(buckets, bucket_name(buckets->rescue), key, &second, false);
    if (!saved) return *err = why, false;
    *served_by = bucket_name(buckets->rescue);
    return true;
}
