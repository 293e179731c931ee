/* An index becomes part of the table: CreateIndex {1: new entries, 2: removed ones}. Rows may come
 * and go meanwhile; the fragments that it covers must have the files that they had. */
#include "lance/ivf.h"
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

static bool index_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    IndexChange *change = context;
    LanceIndex index = change->index;
    (void)nothing, (void)err;
    draft->kind = OP_CREATE_INDEX;
    index.dataset_version = snapshot_manifest(change->then)->version;
    index.created_ms = (uint64_t)clock_now_ms();
    index.fragment_bitmap = covered_now(change, draft);
    index_encode(&index, draft->arena);
    wire_put_bytes(&draft->operation, 1, index.raw);
    const Manifest *base = draft->base;
    for (size_t i = 0; change->replace && i < base->index_count; i++) {
        if (!str_equal(base->indexes[i].name, index.name)) continue;
        wire_put_bytes(&draft->operation, 2, base->indexes[i].raw);
        draft_remove_index(draft, base->indexes[i].uuid);
    }
    draft_add_index(draft, &index);
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
