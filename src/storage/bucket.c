/* The registry. A Bucket is counted: the list holds one reference, each bucket_find one, a probe
 * one; the last to go closes its store, so that removing a bucket never pulls it from under a
 * reader. Names and roles are immutable.
 *
 * The list of this server agrees with buckets.json of the primary: every change reads the file,
 * brings the list up to it, and writes it back (see bucket_file.c). While the primary is out of
 * reach the configured buckets serve; the others are unknown until it was read. */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OPEN_WAIT_S 2
#define CHANGE_TRIES_MAX 20 /* each lost to a change by another server */
#define READ_AGAIN_US 1000000
#define CACHE_BYTES_DEFAULT ((int64_t)10 << 30)
#define CLOSE_WAIT_MS 30000 /* for probes of S3 buckets, which end by their own time-outs */

_Atomic int far_probes;

Bucket *bucket_hold(Bucket *bucket) {
    bucket->holders++;
    return bucket;
}

void bucket_release(Bucket **holding) {
    Bucket *bucket = *holding;
    *holding = NULL;
    if (!bucket || --bucket->holders > 0) return;
    Store *store = bucket->store;
    store_close(&bucket->guard);
    store_close(&store);
    pthread_mutex_destroy(&bucket->lock);
    arena_close(&bucket->arena);
    free(bucket);
}

Store *bucket_store(Bucket *bucket) {
    return bucket->guard;
}

Str bucket_name(const Bucket *bucket) {
    return str_from(bucket->name);
}

/* Opening a store. */

static bool store_make(Bucket *bucket, Store **out, Err *err) {
    KeyPair pair;
    if (bucket->local)
        return bucket->shared ? store_local_open_shared(str_from(bucket->root), out, err)
                              : store_local_open(str_from(bucket->root), out, err);
    bool known = bucket->s3.secret_ref.len == 0 ||
                 secrets_get(bucket->s3.secrets, bucket->s3.secret_ref, &pair, err);
    explicit_bzero(&pair, sizeof pair);
    return known && store_s3_open(&bucket->s3, out, err);
}

/* The primary counts as open once its format is known to be ours, so that nothing is read from or
 * written to one that a newer version made, however late it is reached. */
static bool store_make_checked(Bucket *bucket, Store **out, Err *err) {
    OWNED(store_close) Store *store = NULL;
    if (!store_make(bucket, &store, err)) return false;
    if (bucket->role == BUCKET_PRIMARY && !format_check(store, err)) return false;
    *out = TAKE(store);
    return true;
}

/* Another thread may hang in the opening (a dead network mount): it is waited for, not for ever. */
bool bucket_ready(Bucket *bucket, Err *err) {
    if (bucket->store) return true;
    Store *store = NULL;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += OPEN_WAIT_S;
    if (pthread_mutex_timedlock(&bucket->lock, &until))
        return err_code(err, LH_OFFLINE, "bucket_unreachable",
                        "the bucket '%s' has been opening for more than %d seconds", bucket->name,
                        OPEN_WAIT_S);
    bool ok = bucket->store || store_make_checked(bucket, &store, err);
    if (store) bucket->store = store;
    pthread_mutex_unlock(&bucket->lock);
    return ok || err_while(err, "the bucket '%s' cannot be opened", bucket->name);
}

/* The list; under either lock. */

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

static bool list_admits(const Buckets *buckets, const Bucket *bucket, Err *err) {
    if (buckets->len == BUCKET_COUNT_MAX)
        return err_set(err, LH_CONFLICT, "there are %d buckets, which is the limit",
                       BUCKET_COUNT_MAX);
    if (list_find(buckets, str_from(bucket->name)))
        return err_code(err, LH_CONFLICT, "bucket_exists", "a bucket named '%s' exists",
                        bucket->name);
    for (size_t i = 0; i < buckets->len; i++)
        if (!bucket_is_apart(bucket, buckets->items[i], err)) return false;
    return true;
}

static void list_add(Buckets *buckets, Bucket *bucket) {
    pthread_rwlock_wrlock(&buckets->lock);
    buckets->items[buckets->len++] = bucket;
    pthread_rwlock_unlock(&buckets->lock);
}

static void list_remove(Buckets *buckets, Bucket *bucket) {
    pthread_rwlock_wrlock(&buckets->lock);
    size_t at = 0;
    while (buckets->items[at] != bucket) at++;
    buckets->items[at] = buckets->items[--buckets->len];
    pthread_rwlock_unlock(&buckets->lock);
    bucket_release(&bucket);
}

/* Reports of the guards: events of the error journal. */
static void report(void *context, Str name, GuardOp op, Str key, const Err *err, bool rescued) {
    Buckets *buckets = context;
    if (!buckets->errors) return;
    errors_add(buckets->errors, &(ErrorEvent){.bucket = name,
                                              .key = key,
                                              .op = guard_op_names[op],
                                              .error = str_from(err->message),
                                              .rescued = rescued});
}

/* Bringing the list up to buckets.json; under `changing`. */

static void apply_removed(Buckets *buckets, const Json *removed) {
    for (size_t i = 0; removed && i < removed->len; i++) {
        if (removed->items[i].kind != JSON_TEXT) continue;
        Bucket *bucket = list_find(buckets, removed->items[i].text);
        if (bucket && bucket->configured && bucket->role == BUCKET_PLAIN)
            list_remove(buckets, bucket);
    }
}

static bool is_listed(const Json *list, const char *name) {
    for (size_t i = 0; list && i < list->len; i++)
        if (str_is(json_get_text(&list->items[i], "name", (Str){0}), name)) return true;
    return false;
}

/* Those that another server removed. */
static void apply_gone(Buckets *buckets, const Json *list) {
    for (size_t i = 0; i < buckets->len;) {
        Bucket *bucket = buckets->items[i];
        if (bucket->configured || is_listed(list, bucket->name))
            i++;
        else
            list_remove(buckets, bucket);
    }
}

static bool apply_entry(Buckets *buckets, const Json *item, Err *err) {
    BucketOptions options = bucket_options_read(item);
    if (list_find(buckets, options.name)) return true;
    if (!bucket_options_check(buckets, &options, err)) return false;
    OWNED(bucket_release)
    Bucket *bucket = bucket_new(buckets, &options, BUCKET_PLAIN, false, report);
    if (!list_admits(buckets, bucket, err)) return false;
    list_add(buckets, TAKE(bucket));
    return true;
}

static void apply(Buckets *buckets, const BucketsFile *file) {
    apply_removed(buckets, file->removed);
    apply_gone(buckets, file->buckets);
    for (size_t i = 0; file->buckets && i < file->buckets->len; i++) {
        Err err = {0};
        if (!apply_entry(buckets, &file->buckets->items[i], &err) && !buckets->warned)
            log_warn("buckets.json: %s", err.message);
    }
    buckets->warned = true; /* once: the file is read again and again */
    buckets->restored = true;
}

static bool reload(Buckets *buckets, Store *primary, BucketsFile *file, Err *err) {
    if (!buckets_file_read(primary, file, err)) return false;
    apply(buckets, file);
    return true;
}

bool buckets_reload(Buckets *buckets, Err *err) {
    OWNED(buckets_file_close) BucketsFile file = {0};
    pthread_mutex_lock(&buckets->changing);
    bool ok = reload(buckets, guard_quiet(buckets->primary->guard), &file, err);
    pthread_mutex_unlock(&buckets->changing);
    return ok;
}

/* Finding. */

Bucket *bucket_hold_listed(Buckets *buckets, Str name) {
    pthread_rwlock_rdlock(&buckets->lock);
    Bucket *bucket = list_find(buckets, name);
    if (bucket) bucket_hold(bucket);
    pthread_rwlock_unlock(&buckets->lock);
    return bucket;
}

/* A name that another server may have added meanwhile, or that was never read: at most one look a
 * second, however often it is asked for. */
static Bucket *look_again(Buckets *buckets, Str name) {
    Err ignored = {0};
    int64_t now = clock_us(), last = buckets->read_again_us;
    if (buckets->restored && !buckets->options.shared) return NULL;
    if (last && now - last < READ_AGAIN_US) return NULL;
    if (!atomic_compare_exchange_strong(&buckets->read_again_us, &last, now)) return NULL;
    buckets_reload(buckets, &ignored);
    return bucket_hold_listed(buckets, name);
}

bool bucket_find(Buckets *buckets, Str name, Bucket **out, Err *err) {
    Bucket *bucket = bucket_hold_listed(buckets, name);
    if (!bucket) bucket = look_again(buckets, name);
    if (bucket) return *out = bucket, true;
    if (!buckets->restored)
        return err_code(err, LH_OFFLINE, "bucket_unreachable",
                        "whether there is a bucket '%.*s' is not known while the primary bucket is "
                        "out of reach",
                        (int)MIN(name.len, (size_t)BUCKET_NAME_MAX), name.data);
    pthread_rwlock_rdlock(&buckets->lock);
    not_found(buckets, name, err);
    pthread_rwlock_unlock(&buckets->lock);
    return false;
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

bool buckets_shared(const Buckets *buckets) {
    return buckets->options.shared;
}

ErrorJournal *buckets_errors(Buckets *buckets) {
    return buckets->errors;
}

ReadCache *buckets_cache(Buckets *buckets) {
    return buckets->cache;
}

/* Adding and removing. */

/* One try: true with *again when another server changed the file between. */
static bool change_once(Buckets *buckets, Bucket *add, Str drop, bool *again, Err *err) {
    OWNED(buckets_file_close) BucketsFile file = {0};
    *again = false;
    if (!reload(buckets, buckets->primary->guard, &file, err)) return false;
    if (add && !list_admits(buckets, add, err)) return false;
    Bucket *dropped = drop.len ? list_find(buckets, drop) : NULL;
    if (drop.len && !dropped) return not_found(buckets, drop, err);
    if (dropped && dropped->role != BUCKET_PLAIN)
        return err_code(err, LH_DENIED, "bucket_has_role",
                        "'%s' is the %s bucket and cannot be removed", dropped->name,
                        dropped->role == BUCKET_PRIMARY ? "primary" : "rescue");
    if (!buckets_file_write(buckets->primary->guard, &file, add, drop,
                            dropped && dropped->configured, err)) {
        *again = err->kind == LH_PRECONDITION;
        return false;
    }
    if (add) list_add(buckets, bucket_hold(add));
    if (dropped) list_remove(buckets, dropped);
    return true;
}

static bool change(Buckets *buckets, Bucket *add, Str drop, Err *err) {
    bool ok = false, again = true;
    pthread_mutex_lock(&buckets->changing);
    for (int i = 0; i < CHANGE_TRIES_MAX && !ok && again; i++)
        ok = change_once(buckets, add, drop, &again, err);
    pthread_mutex_unlock(&buckets->changing);
    if (!ok && again)
        return err_set(err, LH_BUSY, "other servers keep changing the list of buckets: try again");
    return ok;
}

/* What cannot be reached now was most likely written wrong, so it is refused: later an outage is
 * no reason to forget a bucket. */
static bool try_out(Bucket *bucket, Err *err) {
    Err why = {0};
    if (guard_look(bucket->guard, &why)) return true;
    if (bucket->local) return err_code(err, LH_INVALID, "bad_root", "%s", why.message);
    if (why.kind == LH_INVALID) return *err = why, false;
    return err_code(err, LH_OFFLINE, "bucket_unreachable",
                    "%s (check endpoint, bucket, region and secret_ref, and add it again)",
                    why.message);
}

bool bucket_add(Buckets *buckets, const BucketOptions *asked, Err *err) {
    BucketOptions options = *asked;
    char root[PATH_MAX];
    if (!bucket_options_check(buckets, asked, err) || !bucket_options_resolve(&options, root, err))
        return false;
    OWNED(bucket_release)
    Bucket *bucket = bucket_new(buckets, &options, BUCKET_PLAIN, false, report);
    pthread_rwlock_rdlock(&buckets->lock); /* before a folder is made for one that is refused */
    bool admitted = list_admits(buckets, bucket, err);
    pthread_rwlock_unlock(&buckets->lock);
    if (!admitted || !try_out(bucket, err) || !change(buckets, bucket, (Str){0}, err)) return false;
    StoreAbilities can = store_abilities(bucket->store);
    if (!can.unknown && (!can.if_absent || !can.if_match))
        log_warn("the bucket '%s' does not honour conditional writes: datasets and indexes cannot "
                 "live in it",
                 bucket->name);
    return true;
}

bool bucket_remove(Buckets *buckets, Str name, Err *err) {
    if (name.len) return change(buckets, NULL, name, err);
    return err_code(err, LH_MISSING, "bucket_not_found", "no bucket has an empty name");
}

size_t buckets_unreachable(Buckets *buckets) {
    size_t count = 0;
    pthread_rwlock_rdlock(&buckets->lock);
    for (size_t i = 0; i < buckets->len; i++) count += guard_is_open(buckets->items[i]->guard);
    pthread_rwlock_unlock(&buckets->lock);
    return count;
}

/* Opening. */

static BucketRole role_of(Str name, Str rescue) {
    if (str_is(name, "primary")) return BUCKET_PRIMARY;
    return rescue.len && str_equal(name, rescue) ? BUCKET_RESCUE : BUCKET_PLAIN;
}

static bool open_configured(Buckets *buckets, BucketOptions options, Str rescue, Err *err) {
    char root[PATH_MAX];
    if (!bucket_options_check(buckets, &options, err) ||
        !bucket_options_resolve(&options, root, err))
        return false;
    OWNED(bucket_release)
    Bucket *bucket = bucket_new(buckets, &options, role_of(options.name, rescue), true, report);
    if (!list_admits(buckets, bucket, err)) return false;
    if (bucket->role == BUCKET_PRIMARY) buckets->primary = bucket_hold(bucket);
    if (bucket->role == BUCKET_RESCUE) buckets->rescue = bucket_hold(bucket);
    list_add(buckets, TAKE(bucket));
    return true;
}

static bool open_all_configured(Buckets *buckets, const BucketsOptions *options, Err *err) {
    Str rescue = options->rescue;
    for (size_t i = 0; i < options->count; i++)
        if (!open_configured(buckets, options->items[i], rescue, err)) return false;
    if (!buckets->primary)
        return err_set(err, LH_INVALID, "no bucket is named 'primary': it is the default home");
    if (rescue.len && !buckets->rescue)
        return err_set(err, LH_INVALID, "the rescue bucket '%.*s' is not among the buckets%s",
                       SHOW(rescue), str_is(rescue, "primary") ? " other than the primary" : "");
    return true;
}

static void or_default(int64_t *value, int64_t fallback) {
    if (*value <= 0) *value = fallback;
}

static void fill_defaults(BucketsOptions *options) {
    const S3Limits *s3 = &s3_limits_default;
    or_default(&options->breaker_failures, 5);
    or_default(&options->breaker_probe_ms, 2000);
    or_default(&options->cache_bytes_max, CACHE_BYTES_DEFAULT);
    or_default(&options->s3.part_bytes, s3->part_bytes);
    or_default(&options->s3.parallel, s3->parallel);
    or_default(&options->s3.connect_timeout_ms, s3->connect_timeout_ms);
    or_default(&options->s3.answer_timeout_ms, s3->answer_timeout_ms);
    or_default(&options->s3.stall_timeout_ms, s3->stall_timeout_ms);
    or_default(&options->s3.retry_ms, s3->retry_ms);
}

static Buckets *buckets_new(const BucketsOptions *options) {
    Buckets *buckets = calloc(1, sizeof *buckets);
    if (!buckets) abort();
    buckets->lock_fd = buckets->state_fd = -1;
    pthread_rwlock_init(&buckets->lock, NULL);
    pthread_mutex_init(&buckets->changing, NULL);
    pthread_mutex_init(&buckets->closing_lock, NULL);
    pthread_cond_init(&buckets->closed, NULL);
    buckets->options = *options;
    buckets->options.items = NULL;
    buckets->options.rescue = (Str){0};
    fill_defaults(&buckets->options);
    return buckets;
}

/* The folder of this machine: its lock, the read cache. */
static bool open_state(Buckets *buckets, Err *err) {
    char path[PATH_MAX];
    const char *dir = buckets->options.state_dir;
    if (!dir) return true;
    buckets->options.state_dir = arena_cstr(&buckets->arena, str_from(dir));
    if (snprintf(path, sizeof path, "%s/lock", dir) >= PATH_MAX - 64)
        return err_set(err, LH_INVALID, "the path of the state folder is too long");
    if (!dir_make(dir, err) || !folder_lock(path, dir, &buckets->state_fd, err)) return false;
    snprintf(path, sizeof path, "%s/cache", dir);
    return read_cache_open(path, buckets->options.cache_bytes_max, &buckets->cache, err);
}

/* An S3 primary that is down does not keep the server from starting: the breaker is open then, and
 * the watch goes on. */
static bool open_primary(Buckets *buckets, Err *err) {
    char path[PATH_MAX + 32];
    Bucket *primary = buckets->primary;
    if (guard_look(primary->guard, err)) {
        if (!primary->local || primary->shared) return true;
        snprintf(path, sizeof path, "%s/.lakehouse/lock", primary->root);
        return folder_lock(path, primary->root, &buckets->lock_fd, err);
    }
    if (primary->local || (err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT)) return false;
    *err = (Err){0};
    return true;
}

static void open_errors(Buckets *buckets) {
    const char *dir = buckets->options.state_dir;
    ErrorsOptions options = {.store = guard_quiet(buckets->primary->guard)};
    if (dir)
        options.spool_path =
            arena_cstr(&buckets->arena, arena_print(&buckets->arena, "%s/errors.spool", dir));
    errors_open(&options, &buckets->errors);
}

/* What is there of buckets.json and of the delete markers; an outage leaves both to the watch. */
static bool open_kept(Buckets *buckets, Err *err) {
    Err why = {0};
    if (buckets->rescue) markers_open(buckets, &buckets->markers);
    if (guard_is_open(buckets->primary->guard)) return true;
    if (!buckets_reload(buckets, &why) && why.kind != LH_OFFLINE && why.kind != LH_TIMEOUT)
        return *err = why, false;
    if (buckets->markers && !markers_load(buckets->markers, &why))
        log_warn("the delete markers cannot be read yet: %s", why.message);
    return true;
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
    OWNED(buckets_close) Buckets *buckets = buckets_new(options);
    if (!open_state(buckets, err) || !open_all_configured(buckets, options, err) ||
        !open_primary(buckets, err))
        return false;
    open_errors(buckets);
    if (!open_kept(buckets, err)) return false;
    open_the_rest(buckets);
    buckets_watch_open(buckets);
    *out = TAKE(buckets);
    return true;
}

/* Those of local buckets are not waited for: a dead mount may never answer, and they hold all that
 * they use. */
static bool wait_for_probes(void) {
    for (int ms = 0; far_probes > 0 && ms < CLOSE_WAIT_MS; ms += 5)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    return far_probes == 0;
}

void buckets_close(Buckets **closing) {
    Buckets *buckets = *closing;
    if (!buckets) return;
    buckets_watch_close(buckets);
    errors_close(&buckets->errors);
    markers_close(&buckets->markers);
    bucket_release(&buckets->rescue);
    bucket_release(&buckets->primary);
    for (size_t i = 0; i < buckets->len; i++) bucket_release(&buckets->items[i]);
    if (wait_for_probes())
        read_cache_close(&buckets->cache);
    else
        log_warn("a request to a bucket is still under way: the read cache stays open");
    fd_close(&buckets->lock_fd);
    fd_close(&buckets->state_fd);
    arena_close(&buckets->arena);
    pthread_cond_destroy(&buckets->closed);
    pthread_mutex_destroy(&buckets->closing_lock);
    pthread_mutex_destroy(&buckets->changing);
    pthread_rwlock_destroy(&buckets->lock);
    free(buckets);
    *closing = NULL;
}
