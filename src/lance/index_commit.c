/* An index becomes part of the table: CreateIndex {1: new entries, 2: removed ones}. Rows may come
 * and go meanwhile; the fragments that it covers must have the files that they had. */
#include "lance/index_commit.h"
#include "lance/wire.h"

#include <string.h>

static Bytes bitmap_encode(const NumberSet *set, Arena *arena) {
    OWNED(text_close) Text out = {0};
    roaring_write(set, &out);
    return bytes_of(arena_copy(arena, text_str(&out)));
}

static Bytes covered_now(const IndexChange *change, Draft *draft) {
    OWNED(set_close) NumberSet set = {0};
    for (size_t i = 0; i < change->fragment_count; i++) {
        uint64_t id = change->fragments[i];
        const Fragment *then = manifest_fragment(snapshot_manifest(change->then), id);
        const Fragment *now = manifest_fragment(&draft->next, id);
        if (then && now && fragment_same_files(then, now)) set_add(&set, (uint32_t)id);
    }
    return bitmap_encode(&set, draft->arena);
}

static bool is_removed(const IndexChange *change, const LanceIndex *index) {
    if (change->replace && str_equal(index->name, change->index.name)) return true;
    for (size_t i = 0; i < change->removed_count; i++)
        if (memcmp(index->uuid, change->removed[i], LANCE_UUID_BYTES) == 0) return true;
    return false;
}

static bool lost_race(Err *err) {
    return err_code(err, LH_CONFLICT, "lance_conflict",
                    "index: another writer changed the same index meanwhile: look at the table "
                    "again");
}

/* One more segment must not cover what another covers, and those it takes the place of must be
 * there: else rows would be found twice, or not at all. */
static bool segments_check(const IndexChange *change, const Manifest *base, Bytes bitmap,
                           Err *err) {
    OWNED(set_close) NumberSet mine = {0};
    size_t removed = 0;
    uint32_t id;
    if (!roaring_read(bitmap, SET_VALUES_MAX, &mine, err)) return false;
    for (size_t i = 0; i < base->index_count; i++) {
        OWNED(set_close) NumberSet other = {0};
        const LanceIndex *index = &base->indexes[i];
        if (is_removed(change, index)) removed++;
        if (is_removed(change, index) || !str_equal(index->name, change->index.name) ||
            index->fragment_bitmap.size == 0)
            continue;
        if (!roaring_read(index->fragment_bitmap, SET_VALUES_MAX, &other, err)) return false;
        for (uint64_t at = 0; set_next(&mine, at, &id); at = (uint64_t)id + 1)
            if (set_has(&other, id)) return lost_race(err);
    }
    return removed == change->removed_count || lost_race(err);
}

static bool index_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    IndexChange *change = context;
    LanceIndex index = change->index;
    const Manifest *base = draft->base;
    (void)nothing;
    draft->kind = OP_CREATE_INDEX;
    if (index.file_count > 0) {
        index.dataset_version = snapshot_manifest(change->then)->version;
        index.created_ms = (uint64_t)clock_now_ms();
        index.fragment_bitmap = covered_now(change, draft);
        if (!change->replace && !segments_check(change, base, index.fragment_bitmap, err))
            return false;
        index_encode(&index, draft->arena);
        wire_put_bytes(&draft->operation, 1, index.raw);
    }
    for (size_t i = 0; i < base->index_count; i++) {
        if (!is_removed(change, &base->indexes[i])) continue;
        wire_put_bytes(&draft->operation, 2, base->indexes[i].raw);
        draft_remove_index(draft, base->indexes[i].uuid);
    }
    if (index.file_count > 0) draft_add_index(draft, &index);
    return true;
}

void index_files_remove(LanceTable *table, const LanceIndex *index) {
    OWNED(arena_close) Arena arena = {0};
    Err ignored = {0};
    for (size_t i = 0; i < index->file_count; i++)
        store_remove(table_store(table),
                     index_key(table_path(table), index->uuid, index->files[i].path, &arena),
                     &ignored);
}

bool index_commit(LanceTable *table, IndexChange *index, Err *err) {
    Change change = {"index", rule_rows, index_draft, index};
    bool ok = table_lock(table, err);
    if (ok) {
        ok = lance_commit(table, &change, err);
        table_unlock(table);
    }
    if (!ok && err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT)
        index_files_remove(table, &index->index);
    return ok;
}
