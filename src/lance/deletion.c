/* Deletion files of fragments: _deletions/<fragment>-<read version>-<id>.arrow or .bin. Each holds
 * every deleted offset of its fragment; a new one takes the place of the last. */
#include "lance/deletion.h"

#define DELETION_BYTES_MAX (256u << 20)

bool deletion_load(Store *store, Str path, const Fragment *fragment, NumberSet *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(set_close) NumberSet set = {0};
    Bytes file;
    const DeletionFile *deletion = &fragment->deletion;
    if (!deletion->present) return *out = (NumberSet){0}, true;
    Str key = deletion_key(path, fragment->id, deletion, &arena);
    if (!store_read(store, key, DELETION_BYTES_MAX, &arena, &file, err)) return false;
    bool ok = deletion->kind == DELETION_BITMAP
                  ? roaring_read(file, fragment->physical_rows, &set, err)
                  : deletion_arrow_read(file, fragment->physical_rows, &set, err);
    if (!ok) return err_while(err, "'%.*s'", SHOW(key));
    if (set.count != deletion->rows)
        return err_set(err, LH_CORRUPT, "'%.*s' deletes %llu rows, its table says %llu", SHOW(key),
                       (unsigned long long)set.count, (unsigned long long)deletion->rows);
    *out = set;
    set = (NumberSet){0};
    return true;
}

bool deletion_save(Store *store, Str path, uint64_t fragment_id, uint64_t read_version,
                   const NumberSet *set, Arena *arena, DeletionFile *out, Err *err) {
    OWNED(text_close) Text bytes = {0};
    DeletionFile deletion = {.present = true,
                             .kind = DELETION_BITMAP,
                             .read_version = read_version,
                             .id = random_u64(),
                             .rows = set->count};
    roaring_write(set, &bytes);
    if (!store_write(store, deletion_key(path, fragment_id, &deletion, arena), text_bytes(&bytes),
                     &(PutCondition){.if_absent = true, .lazy = true}, err))
        return false;
    *out = deletion;
    return true;
}
