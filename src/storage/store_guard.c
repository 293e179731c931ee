/* The guard is counted: the store holds one reference, each reader, writer and file one more, for
 * readers outlive the store they came from. While all is well an operation costs two atomic loads;
 * the lock is for the reason of an open breaker. */
#include "storage/store_guard.h"

#include "base/base.h"
#include "storage/store_ops.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const guard_op_names[GUARD_OP_COUNT] = {"get",    "put",  "list",
                                                    "delete", "head", "probe"};

typedef struct Guard Guard;

typedef struct GuardStore {
    Store store;
    Guard *guard;
    bool quiet;
} GuardStore;

struct Guard {
    _Atomic int holders;
    GuardStore loud, quiet;
    GuardOptions options; /* its text in `arena` */
    Arena arena;
    _Atomic int64_t failures; /* in a row */
    atomic_bool open, probe_failed;
    pthread_mutex_t lock; /* of the next two */
    int64_t since_ms;
    char reason[sizeof((Err *)0)->message];
    _Atomic int64_t errors[GUARD_OP_COUNT], rescues;
};

typedef struct GuardReader {
    ObjectReader reader;
    ObjectReader *inner;
    Guard *guard;
    bool quiet;
    size_t key_len;
    char key[];
} GuardReader;

typedef struct GuardWriter {
    ObjectWriter writer;
    ObjectWriter *inner;
    Guard *guard;
    bool quiet;
    size_t key_len;
    char key[];
} GuardWriter;

typedef struct GuardFile {
    LocalFile file;
    LocalFile *inner;
    Guard *guard;
    bool quiet;
    size_t key_len;
    char key[];
} GuardFile;

static Guard *guard_hold(Guard *guard) {
    guard->holders++;
    return guard;
}

static void guard_release(Guard *guard) {
    if (--guard->holders > 0) return;
    pthread_mutex_destroy(&guard->lock);
    arena_close(&guard->arena);
    free(guard);
}

static Guard *guard_of(Store *store) {
    return ((GuardStore *)store)->guard;
}

/* The breaker. */

static bool is_outage(const Err *err) {
    return err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT;
}

static bool is_reported(const Err *err) {
    return is_outage(err) || err->kind == LH_FULL || err->kind == LH_CORRUPT;
}

/* What never reached the store says nothing about it. */
static bool is_answer(const Err *err) {
    switch (err->kind) {
    case LH_MISSING:
    case LH_DENIED:
    case LH_CONFLICT:
    case LH_PRECONDITION:
    case LH_FULL:
    case LH_CORRUPT:
        return true;
    default:
        return false;
    }
}

static void breaker_open(Guard *guard, const Err *why) {
    pthread_mutex_lock(&guard->lock);
    if (!guard->open) guard->since_ms = clock_now_ms();
    memcpy(guard->reason, why->message, sizeof guard->reason);
    guard->open = true;
    pthread_mutex_unlock(&guard->lock);
}

static void breaker_close(Guard *guard) {
    pthread_mutex_lock(&guard->lock);
    guard->failures = 0;
    guard->open = false;
    pthread_mutex_unlock(&guard->lock);
}

static bool breaker_answer(Guard *guard, Err *err) {
    char time[CLOCK_TEXT_SIZE], reason[sizeof guard->reason];
    pthread_mutex_lock(&guard->lock);
    int64_t since_ms = guard->since_ms;
    memcpy(reason, guard->reason, sizeof reason);
    pthread_mutex_unlock(&guard->lock);
    return err_code(err, LH_OFFLINE, "bucket_unreachable",
                    "the bucket '%.*s' has been out of reach since %.*s: %s",
                    SHOW(guard->options.name), SHOW(clock_text(since_ms, time)), reason);
}

static void note(Guard *guard, GuardOp op, Str key, const Err *why, bool rescued) {
    if (rescued)
        guard->rescues++;
    else
        guard->errors[op]++;
    if (guard->options.report)
        guard->options.report(guard->options.report_context, guard->options.name, op, key, why,
                              rescued);
}

static bool failed(Guard *guard, bool quiet, GuardOp op, Str key, const Err *why) {
    if (!quiet && is_reported(why)) note(guard, op, key, why, false);
    return false;
}

/* Counts how an operation that did ask the store ended, and answers that. */
static bool ended(Guard *guard, bool quiet, GuardOp op, Str key, bool ok, const Err *why) {
    if (ok || is_answer(why)) {
        if (guard->failures) guard->failures = 0;
    } else if (is_outage(why) && ++guard->failures >= guard->options.failures) {
        breaker_open(guard, why);
    }
    return ok || failed(guard, quiet, op, key, why);
}

/* The store to ask, or NULL when it is not to be asked. */
static Store *enter(GuardStore *store, GuardOp op, Str key, Err *err) {
    Guard *guard = store->guard;
    Err why = {0};
    if (guard->open) {
        breaker_answer(guard, err);
        failed(guard, store->quiet, op, key, err);
        return NULL;
    }
    Store *inner = guard->options.ready(guard->options.ready_context, &why);
    if (inner) return inner;
    breaker_open(guard, &why);
    err_code(err, LH_OFFLINE, "bucket_unreachable", "%s", why.message);
    failed(guard, store->quiet, op, key, err);
    return NULL;
}

/* Readers. */

static bool open_as(GuardStore *store, Str key, const ReadHint *hint, bool reader_quiet,
                    ObjectReader **out, Err *err) {
    Guard *guard = store->guard;
    ObjectReader *inner = NULL;
    Store *asked = enter(store, GUARD_GET, key, err);
    if (!asked) return false;
    bool ok = asked->ops->open(asked, key, hint, &inner, err);
    if (!ended(guard, store->quiet, GUARD_GET, key, ok, err)) return false;
    GuardReader *reader = malloc(sizeof *reader + key.len);
    if (!reader) abort();
    *reader = (GuardReader){
        .reader = {.ops = store->store.ops, .info = inner->info},
        .inner = inner,
        .guard = guard_hold(guard),
        .quiet = reader_quiet,
        .key_len = key.len
    };
    memcpy(reader->key, key.data, key.len);
    *out = &reader->reader;
    return true;
}

static bool guarded_open(Store *base, Str key, const ReadHint *hint, ObjectReader **out, Err *err) {
    GuardStore *store = (GuardStore *)base;
    return open_as(store, key, hint, store->quiet, out, err);
}

static bool guarded_reader_read(ObjectReader *base, uint64_t offset, void *buffer, size_t size,
                                size_t *got, Err *err) {
    GuardReader *reader = (GuardReader *)base;
    ObjectReader *inner = reader->inner;
    bool ok = inner->ops->reader_read(inner, offset, buffer, size, got, err);
    return ended(reader->guard, reader->quiet, GUARD_GET, (Str){reader->key, reader->key_len}, ok,
                 err);
}

static int guarded_reader_take_fd(ObjectReader *base) {
    return object_take_fd(((GuardReader *)base)->inner);
}

static void guarded_reader_close(ObjectReader *base) {
    GuardReader *reader = (GuardReader *)base;
    object_close(&reader->inner);
    guard_release(reader->guard);
    free(reader);
}

/* Writers. */

static bool guarded_create(Store *base, Str key, const PutCondition *condition, ObjectWriter **out,
                           Err *err) {
    GuardStore *store = (GuardStore *)base;
    ObjectWriter *inner = NULL;
    Store *asked = enter(store, GUARD_PUT, key, err);
    if (!asked) return false;
    bool ok = asked->ops->create(asked, key, condition, &inner, err);
    if (!ended(store->guard, store->quiet, GUARD_PUT, key, ok, err)) return false;
    GuardWriter *writer = malloc(sizeof *writer + key.len);
    if (!writer) abort();
    *writer = (GuardWriter){.writer = {base->ops},
                            .inner = inner,
                            .guard = guard_hold(store->guard),
                            .quiet = store->quiet,
                            .key_len = key.len};
    memcpy(writer->key, key.data, key.len);
    *out = &writer->writer;
    return true;
}

static bool guarded_writer_write(ObjectWriter *base, Bytes data, Err *err) {
    GuardWriter *writer = (GuardWriter *)base;
    bool ok = writer_write(writer->inner, data, err);
    /* Bytes that were taken may still be in a buffer: only the commit tells that all is well. */
    return ok || ended(writer->guard, writer->quiet, GUARD_PUT, (Str){writer->key, writer->key_len},
                       false, err);
}

static bool guarded_writer_commit(ObjectWriter *base, ObjectInfo *out, Err *err) {
    GuardWriter *writer = (GuardWriter *)base;
    bool ok = writer_commit(writer->inner, out, err);
    return ended(writer->guard, writer->quiet, GUARD_PUT, (Str){writer->key, writer->key_len}, ok,
                 err);
}

static void guarded_writer_close(ObjectWriter *base) {
    GuardWriter *writer = (GuardWriter *)base;
    writer_close(&writer->inner);
    guard_release(writer->guard);
    free(writer);
}

/* The rest. */

static bool guarded_head(Store *base, Str key, ObjectInfo *out, Err *err) {
    GuardStore *store = (GuardStore *)base;
    Store *asked = enter(store, GUARD_HEAD, key, err);
    if (!asked) return false;
    bool ok = asked->ops->head(asked, key, out, err);
    return ended(store->guard, store->quiet, GUARD_HEAD, key, ok, err);
}

static bool guarded_remove(Store *base, Str key, Err *err) {
    GuardStore *store = (GuardStore *)base;
    Store *asked = enter(store, GUARD_DELETE, key, err);
    if (!asked) return false;
    bool ok = asked->ops->remove(asked, key, err);
    return ended(store->guard, store->quiet, GUARD_DELETE, key, ok, err);
}

static bool guarded_list(Store *base, const ListOptions *options, Arena *arena, ObjectList *out,
                         Err *err) {
    GuardStore *store = (GuardStore *)base;
    Store *asked = enter(store, GUARD_LIST, options->prefix, err);
    if (!asked) return false;
    bool ok = asked->ops->list(asked, options, arena, out, err);
    return ended(store->guard, store->quiet, GUARD_LIST, options->prefix, ok, err);
}

/* Probes come again and again: only the first of a series that fail is reported. */
static bool guarded_probe(Store *base, Err *err) {
    GuardStore *store = (GuardStore *)base;
    bool quiet = store->quiet || store->guard->probe_failed;
    GuardStore as = {.guard = store->guard, .quiet = quiet};
    Store *asked = enter(&as, GUARD_PROBE, (Str){0}, err);
    bool ok = asked &&
              ended(store->guard, quiet, GUARD_PROBE, (Str){0}, asked->ops->probe(asked, err), err);
    store->guard->probe_failed = !ok;
    return ok;
}

/* Asks nobody while the breaker is open. */
static StoreAbilities guarded_abilities(Store *base) {
    Guard *guard = guard_of(base);
    Err ignored = {0};
    Store *inner =
        guard->open ? NULL : guard->options.ready(guard->options.ready_context, &ignored);
    if (inner) return store_abilities(inner);
    return (StoreAbilities){.unknown = true, .local = guard->options.local};
}

static bool guarded_file_check(LocalFile *base, Err *err) {
    GuardFile *file = (GuardFile *)base;
    bool ok = local_file_check(file->inner, err);
    return ended(file->guard, file->quiet, GUARD_GET, (Str){file->key, file->key_len}, ok, err);
}

static void guarded_file_close(LocalFile *base) {
    GuardFile *file = (GuardFile *)base;
    local_file_close(&file->inner);
    guard_release(file->guard);
    free(file);
}

static LocalFile *file_wrap(GuardStore *store, LocalFile *inner, Str key) {
    GuardFile *file = malloc(sizeof *file + key.len);
    if (!file) abort();
    *file = (GuardFile){
        .file = {guarded_file_check, guarded_file_close, inner->path},
        .inner = inner,
        .guard = guard_hold(store->guard),
        .quiet = store->quiet,
        .key_len = key.len
    };
    memcpy(file->key, key.data, key.len);
    return &file->file;
}

static bool guarded_local_file(Store *base, Str key, LocalUse use, bool immutable, LocalFile **out,
                               Err *err) {
    GuardStore *store = (GuardStore *)base;
    LocalFile *inner = NULL;
    Store *asked = enter(store, GUARD_GET, key, err);
    if (!asked) return false;
    bool ok = asked->ops->local_file(asked, key, use, immutable, &inner, err);
    if (!ended(store->guard, store->quiet, GUARD_GET, key, ok, err)) return false;
    *out = inner->check ? file_wrap(store, inner, key) : inner;
    return true;
}

static bool guarded_read_range(Store *base, Str key, Str etag, uint64_t from, uint64_t count,
                               void *buffer, Err *err) {
    GuardStore *store = (GuardStore *)base;
    Store *asked = enter(store, GUARD_GET, key, err);
    if (!asked) return false;
    if (!asked->ops->read_range) return err_set(err, LH_BUG, "a local bucket needs no ranges");
    bool ok = asked->ops->read_range(asked, key, etag, from, count, buffer, err);
    return ended(store->guard, store->quiet, GUARD_GET, key, ok, err);
}

static bool guarded_staging(Store *base, char out[PATH_MAX], Err *err) {
    GuardStore *store = (GuardStore *)base;
    Store *asked = enter(store, GUARD_PUT, (Str){0}, err);
    if (!asked) return false;
    bool ok = asked->ops->staging(asked, out, err);
    /* A path of the read cache's says nothing about the bucket behind it. */
    return ok || ended(store->guard, store->quiet, GUARD_PUT, (Str){0}, false, err);
}

static bool guarded_adopt(Store *base, const char *path, Str key, const PutCondition *condition,
                          ObjectInfo *out, Err *err) {
    GuardStore *store = (GuardStore *)base;
    Store *asked = enter(store, GUARD_PUT, key, err);
    if (!asked) return false;
    bool ok = asked->ops->adopt(asked, path, key, condition, out, err);
    return ended(store->guard, store->quiet, GUARD_PUT, key, ok, err);
}

static void guarded_close(Store *base) {
    guard_release(guard_of(base));
}

static const StoreOps guard_ops = {
    .name = "guard",
    .open = guarded_open,
    .head = guarded_head,
    .create = guarded_create,
    .remove = guarded_remove,
    .list = guarded_list,
    .probe = guarded_probe,
    .abilities = guarded_abilities,
    .local_file = guarded_local_file,
    .read_range = guarded_read_range,
    .staging = guarded_staging,
    .adopt = guarded_adopt,
    .close = guarded_close,
    .reader_read = guarded_reader_read,
    .reader_take_fd = guarded_reader_take_fd,
    .reader_close = guarded_reader_close,
    .writer_write = guarded_writer_write,
    .writer_commit = guarded_writer_commit,
    .writer_close = guarded_writer_close,
};

/* The interface. */

Store *store_guard_new(const GuardOptions *options) {
    Guard *guard = calloc(1, sizeof *guard);
    if (!guard) abort();
    guard->holders = 1;
    pthread_mutex_init(&guard->lock, NULL);
    guard->options = *options;
    guard->options.name = arena_copy(&guard->arena, options->name);
    guard->options.location = arena_copy(&guard->arena, options->location);
    Store store = {&guard_ops, guard->options.location};
    guard->loud = (GuardStore){store, guard, false};
    guard->quiet = (GuardStore){store, guard, true};
    return &guard->loud.store;
}

Store *guard_quiet(Store *guard) {
    return &guard_of(guard)->quiet.store;
}

bool guard_open_object(Store *base, Str key, const ReadHint *hint, ObjectReader **out, Err *err) {
    Guard *guard = guard_of(base);
    return key_check(key, err) && open_as(&guard->quiet, key, hint, false, out, err);
}

void guard_report(Store *base, GuardOp op, Str key, const Err *why, bool rescued) {
    note(guard_of(base), op, key, why, rescued);
}

bool guard_look(Store *base, Err *err) {
    Guard *guard = guard_of(base);
    Store *inner = guard->options.ready(guard->options.ready_context, err);
    if (inner && store_probe(inner, err)) return breaker_close(guard), true;
    if (!inner || guard->open)
        breaker_open(guard, err);
    else
        ended(guard, true, GUARD_PROBE, (Str){0}, false, err);
    return false;
}

void guard_state(Store *base, GuardState *out) {
    Guard *guard = guard_of(base);
    *out = (GuardState){.open = guard->open,
                        .failing = guard->open || guard->failures > 0,
                        .rescues = guard->rescues};
    for (int op = 0; op < GUARD_OP_COUNT; op++) out->errors[op] = guard->errors[op];
    pthread_mutex_lock(&guard->lock);
    if (guard->open) out->since_ms = guard->since_ms;
    memcpy(out->reason, guard->reason, sizeof out->reason);
    pthread_mutex_unlock(&guard->lock);
}

bool guard_is_open(Store *base) {
    return guard_of(base)->open;
}
