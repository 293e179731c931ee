/* A store before a real one that fails on demand, as a remote one would: the next `fail` calls
 * answer `kind`, and each reader fails once it passed `read_fail_at`. */
#pragma once

#include "base/base.h"
#include "storage/store_ops.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct Faulty {
    Store store;
    Store *inner;
    _Atomic int fail; /* INT_MAX: until told otherwise */
    ErrKind kind;
    _Atomic int calls;            /* that reached it */
    _Atomic int64_t read_fail_at; /* -1: never */
} Faulty;

typedef struct FaultyReader {
    ObjectReader reader;
    ObjectReader *inner;
    Faulty *faulty;
} FaultyReader;

typedef struct FaultyWriter {
    ObjectWriter writer;
    ObjectWriter *inner;
    Faulty *faulty;
} FaultyWriter;

static bool faulty_passes(Faulty *faulty, Err *err) {
    faulty->calls++;
    if (faulty->fail <= 0) return true;
    faulty->fail--;
    return err_set(err, faulty->kind, "it broke");
}

static bool faulty_open(Store *base, Str key, const ReadHint *hint, ObjectReader **out, Err *err) {
    Faulty *faulty = (Faulty *)base;
    ObjectReader *inner;
    if (!faulty_passes(faulty, err) || !store_open(faulty->inner, key, hint, &inner, err))
        return false;
    FaultyReader *reader = calloc(1, sizeof *reader);
    if (!reader) abort();
    *reader = (FaultyReader){
        {base->ops, inner->info},
        inner, faulty
    };
    *out = &reader->reader;
    return true;
}
static bool faulty_reader_read(ObjectReader *base, uint64_t offset, void *buffer, size_t size,
                               size_t *got, Err *err) {
    FaultyReader *reader = (FaultyReader *)base;
    int64_t limit = reader->faulty->read_fail_at;
    if (limit >= 0 && (int64_t)offset >= limit) return err_set(err, LH_OFFLINE, "cut off");
    return object_read(reader->inner, offset, buffer, size, got, err);
}
static int faulty_reader_take_fd(ObjectReader *base) {
    return object_take_fd(((FaultyReader *)base)->inner);
}
static void faulty_reader_close(ObjectReader *base) {
    object_close(&((FaultyReader *)base)->inner);
    free(base);
}
static bool faulty_head(Store *base, Str key, ObjectInfo *out, Err *err) {
    Faulty *faulty = (Faulty *)base;
    return faulty_passes(faulty, err) && store_head(faulty->inner, key, out, err);
}
static bool faulty_create(Store *base, Str key, const PutCondition *condition, ObjectWriter **out,
                          Err *err) {
    Faulty *faulty = (Faulty *)base;
    ObjectWriter *inner;
    if (!store_create(faulty->inner, key, condition, &inner, err)) return false;
    FaultyWriter *writer = calloc(1, sizeof *writer);
    if (!writer) abort();
    *writer = (FaultyWriter){{base->ops}, inner, faulty};
    *out = &writer->writer;
    return true;
}
static bool faulty_writer_write(ObjectWriter *base, Bytes data, Err *err) {
    return writer_write(((FaultyWriter *)base)->inner, data, err);
}
static bool faulty_writer_commit(ObjectWriter *base, ObjectInfo *out, Err *err) {
    FaultyWriter *writer = (FaultyWriter *)base;
    return faulty_passes(writer->faulty, err) && writer_commit(writer->inner, out, err);
}
static void faulty_writer_close(ObjectWriter *base) {
    writer_close(&((FaultyWriter *)base)->inner);
    free(base);
}
static bool faulty_remove(Store *base, Str key, Err *err) {
    Faulty *faulty = (Faulty *)base;
    return faulty_passes(faulty, err) && store_remove(faulty->inner, key, err);
}
static bool faulty_list(Store *base, const ListOptions *options, Arena *arena, ObjectList *out,
                        Err *err) {
    Faulty *faulty = (Faulty *)base;
    return faulty_passes(faulty, err) && store_list(faulty->inner, options, arena, out, err);
}
static bool faulty_probe(Store *base, Err *err) {
    Faulty *faulty = (Faulty *)base;
    return faulty_passes(faulty, err) && store_probe(faulty->inner, err);
}
static StoreAbilities faulty_abilities(Store *base) {
    return store_abilities(((Faulty *)base)->inner);
}
static bool faulty_file_check(LocalFile *file, Err *err) {
    (void)file;
    return err_set(err, LH_OFFLINE, "a block could not be fetched");
}
static void faulty_file_close(LocalFile *file) {
    free(file);
}
static bool faulty_local_file(Store *base, Str key, LocalUse use, bool immutable, LocalFile **out,
                              Err *err) {
    (void)key, (void)use, (void)immutable;
    if (!faulty_passes((Faulty *)base, err)) return false;
    LocalFile *file = calloc(1, sizeof *file);
    if (!file) abort();
    *file = (LocalFile){faulty_file_check, faulty_file_close, "/nowhere"};
    *out = file;
    return true;
}
static bool faulty_staging(Store *base, char out[PATH_MAX], Err *err) {
    return store_staging(((Faulty *)base)->inner, out, err);
}
static bool faulty_adopt(Store *base, const char *path, Str key, const PutCondition *condition,
                         ObjectInfo *out, Err *err) {
    Faulty *faulty = (Faulty *)base;
    return faulty_passes(faulty, err) && store_adopt(faulty->inner, path, key, condition, out, err);
}
static void faulty_close(Store *base) {
    store_close(&((Faulty *)base)->inner);
}

static const StoreOps faulty_ops = {
    .name = "faulty",
    .open = faulty_open,
    .head = faulty_head,
    .create = faulty_create,
    .remove = faulty_remove,
    .list = faulty_list,
    .probe = faulty_probe,
    .abilities = faulty_abilities,
    .local_file = faulty_local_file,
    .staging = faulty_staging,
    .adopt = faulty_adopt,
    .close = faulty_close,
    .reader_read = faulty_reader_read,
    .reader_take_fd = faulty_reader_take_fd,
    .reader_close = faulty_reader_close,
    .writer_write = faulty_writer_write,
    .writer_commit = faulty_writer_commit,
    .writer_close = faulty_writer_close,
};

/* Takes `inner`, which store_close of it closes. */
static void faulty_make(Faulty *out, Store *inner) {
    *out = (Faulty){
        .store = {&faulty_ops, store_location(inner)},
        .inner = inner,
        .kind = LH_OFFLINE,
        .read_fail_at = -1
    };
}
