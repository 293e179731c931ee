/* Deleting rows, and updating them, which is deleting some and adding others in one version.
 *
 * A try reads the deletion file that the fragment has in the latest version, adds the offsets, and
 * writes the union under a new name. So deletions that others committed meanwhile stay; a fragment
 * that was rewritten meanwhile makes the addresses meaningless, and is a conflict. */
#include "lance/fragment_write.h"
#include "lance/wire.h"

#include <stdlib.h>
#include <string.h>

typedef struct RowsChange {
    LanceTable *table;
    Snapshot *then;      /* what the addresses are of */
    uint64_t *addresses; /* ascending, each once */
    size_t count;
    bool update;
    Fragment added;   /* of an update; physical_rows 0: none */
    uint64_t deleted; /* by the last try */
    WireNumbers gone; /* fragments of which no row is left, by the last try */
} RowsChange;

static int by_value(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static const char *change_name(const RowsChange *change) {
    return change->update ? "update" : "delete";
}

static bool already_gone(const RowsChange *change, uint64_t address, Err *err) {
    return err_code(err, LH_CONFLICT, "lance_conflict",
                    "%s: row %llu of fragment %llu is gone: look at the table again",
                    change_name(change), (unsigned long long)(address & UINT32_MAX),
                    (unsigned long long)(address >> 32));
}

static bool offsets_add(RowsChange *change, const uint64_t *addresses, size_t count,
                        const Fragment *fragment, NumberSet *set, Err *err) {
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = addresses[i] & UINT32_MAX;
        if (offset >= fragment->physical_rows)
            return err_code(err, LH_MISSING, "row_not_found", "fragment %llu has no row %llu",
                            (unsigned long long)fragment->id, (unsigned long long)offset);
        bool was_there = set_add(set, (uint32_t)offset);
        if (!was_there && change->update) return already_gone(change, addresses[i], err);
        change->deleted += was_there;
    }
    return true;
}

/* A fragment without a row left is dropped: readers expect none such. */
static bool fragment_drop(RowsChange *change, Draft *draft, uint64_t id) {
    WireNumbers *gone = &change->gone;
    uint64_t *items = arena_array(draft->arena, uint64_t, gone->len + 1);
    if (gone->len) memcpy(items, gone->items, gone->len * sizeof *items);
    items[gone->len] = id;
    *gone = (WireNumbers){items, gone->len + 1, gone->len + 1};
    draft_remove_fragment(draft, id);
    return true;
}

static bool fragment_delete(RowsChange *change, Draft *draft, const uint64_t *addresses,
                            size_t count, uint32_t updated_field, Err *err) {
    OWNED(set_close) NumberSet set = {0};
    const Fragment *now;
    DeletionFile deletion;
    const Fragment *then = manifest_fragment(snapshot_manifest(change->then), addresses[0] >> 32);
    uint64_t before = change->deleted;
    if (!then)
        return err_code(err, LH_MISSING, "row_not_found", "there is no fragment %llu",
                        (unsigned long long)(addresses[0] >> 32));
    if (!draft_touch(draft, change_name(change), then, &now, err) ||
        !deletion_load(draft->store, draft->path, now, &set, err) ||
        !offsets_add(change, addresses, count, now, &set, err))
        return false;
    if (change->deleted == before) return true;
    if (set.count == now->physical_rows) return fragment_drop(change, draft, now->id);
    if (!deletion_save(draft->store, draft->path, now->id, draft->base->version, &set, draft->arena,
                       &deletion, err))
        return false;
    draft_made(draft, deletion_key(draft->path, now->id, &deletion, draft->arena));
    Fragment next = *now;
    fragment_set_deletion(&next, &deletion, draft->arena);
    draft_replace_fragment(draft, &next);
    wire_put_bytes(&draft->operation, updated_field, next.raw);
    return true;
}

static bool fragments_delete(RowsChange *change, Draft *draft, uint32_t updated_field, Err *err) {
    change->deleted = 0;
    change->gone = (WireNumbers){0};
    for (size_t from = 0, end; from < change->count; from = end) {
        uint64_t id = change->addresses[from] >> 32;
        for (end = from + 1; end < change->count && change->addresses[end] >> 32 == id;) end++;
        if (!fragment_delete(change, draft, change->addresses + from, end - from, updated_field,
                             err))
            return false;
    }
    return true;
}

/* Delete {1: updated fragments, 2: ids of fragments that are gone, 3: predicate} */
static bool delete_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    RowsChange *change = context;
    draft->kind = OP_DELETE;
    if (!fragments_delete(change, draft, 1, err)) return false;
    wire_put_packed(&draft->operation, 2, change->gone.items, change->gone.len);
    wire_put_text(&draft->operation, 3, STR("rows by address"));
    *nothing = change->deleted == 0;
    return true;
}

/* Update {1: ids of fragments that are gone, 2: updated fragments, 3: new fragments} */
static bool update_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    RowsChange *change = context;
    draft->kind = OP_UPDATE;
    if (!fragments_delete(change, draft, 2, err)) return false;
    wire_put_packed(&draft->operation, 1, change->gone.items, change->gone.len);
    if (change->added.physical_rows > 0) {
        Fragment added = change->added;
        draft_add_fragments(draft, &added, 1);
        wire_put_bytes(&draft->operation, 3, added.raw);
    }
    *nothing = change->deleted == 0 && change->added.physical_rows == 0;
    return true;
}

static void addresses_sort(RowsChange *change, const uint64_t *addresses, size_t count,
                           Arena *arena) {
    change->addresses = arena_array(arena, uint64_t, count);
    if (count == 0) return;
    memcpy(change->addresses, addresses, count * sizeof *addresses);
    qsort(change->addresses, count, sizeof *addresses, by_value);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || change->addresses[i] != change->addresses[i - 1])
            change->addresses[change->count++] = change->addresses[i];
}

bool lance_delete(LanceTable *table, const uint64_t *addresses, size_t count, uint64_t *deleted,
                  Err *err) {
    OWNED(arena_close) Arena arena = {0};
    RowsChange rows = {.table = table};
    Change change = {"delete", rule_rows, delete_draft, &rows};
    addresses_sort(&rows, addresses, count, &arena);
    if (!table_lock(table, err)) return false;
    rows.then = table_snapshot(table);
    bool ok = lance_commit(table, &change, err);
    table_unlock(table);
    snapshot_release(&rows.then);
    if (ok && deleted) *deleted = rows.deleted;
    return ok;
}

static bool update_commit(LanceTable *table, RowsChange *rows, Err *err) {
    Change change = {"update", rule_rows, update_draft, rows};
    if (!table_lock(table, err)) return false;
    bool ok = lance_commit(table, &change, err);
    table_unlock(table);
    return ok;
}

bool lance_update(LanceTable *table, const uint64_t *addresses, size_t count,
                  const LanceBatch *batch, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(fragment_writer_close) FragmentWriter *writer = NULL;
    OWNED(snapshot_release) Snapshot *then = table_snapshot(table);
    RowsChange rows = {.table = table, .then = then, .update = true};
    addresses_sort(&rows, addresses, count, &arena);
    if (!fragment_writer_open(table, NULL, &writer, err) ||
        !fragment_writer_add(writer, batch, err) ||
        !fragment_writer_finish(writer, &arena, &rows.added, err))
        return false;
    bool ok = update_commit(table, &rows, err);
    if (!ok && err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT) fragment_writer_drop(writer);
    return ok;
}
